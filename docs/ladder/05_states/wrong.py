"""Wrong answers: the check at which each must fail first, and how it differs from the answer.

A name like "02/limit" is a check of an earlier stage: those are run first.
"""

WRONG = {
    "closes_at_once": (
        "upload",
        (
            "            self.client.shutdown(socket.SHUT_WR)\n",
            "            self.has_finished = True\n",
        ),
    ),
    "shutdown_then_close": (
        "upload",
        (
            "            self.client.shutdown(socket.SHUT_WR)\n",
            "            self.client.shutdown(socket.SHUT_WR)\n            self.has_finished = True\n",
        ),
    ),
    "no_fin": (
        "upload",
        ("            self.client.shutdown(socket.SHUT_WR)\n", "            pass\n"),
    ),
    "short_of_patience": (
        "patient",
        ("LINGER = 2.0", "LINGER = 0.3"),
    ),
    "hears_on": (
        "deaf",
        (
            "        if self.state != CLOSING:\n            self.lines.feed",
            "        if True:\n            self.lines.feed",
        ),
        (
            "            self.lines = Lines()\n            self.reason",
            "            self.lines = Lines()\n            if self.state == CLOSING:\n                return\n            self.reason",
        ),
    ),
    "two_errors": (
        "02/limit",
        (
            "            self.lines = Lines()\n            self.reason",
            "            self.say(b'error: too long\\n')\n            self.lines = Lines()\n            self.reason",
        ),
    ),
    "lingers_in_the_loop": (
        "neighbour",
        (
            "            self.client.shutdown(socket.SHUT_WR)\n",
            "            self.client.shutdown(socket.SHUT_WR)\n            self.client.settimeout(2)\n            end = time.monotonic() + 2\n            while time.monotonic() < end and self.client.recv(65536):\n                pass\n            self.has_finished = True\n",
        ),
    ),
    "drains_for_ever": (
        "bounded",
        (
            '        while lingering and lingering[0].deadline <= time.monotonic():\n            lingering.popleft().close("late")\n',
            "",
        ),
    ),
    "each_byte_renews_it": (
        "bounded",
        (
            "        self.has_finished = not data\n",
            "        self.has_finished = not data\n        self.deadline = time.monotonic() + LINGER\n",
        ),
        (
            '        while lingering and lingering[0].deadline <= time.monotonic():\n            lingering.popleft().close("late")\n',
            "        for one in list(lingering):\n            if one.deadline <= time.monotonic():\n                lingering.remove(one)\n                one.close('late')\n",
        ),
        (
            "lingering[0].deadline - time.monotonic()",
            "min(one.deadline for one in lingering) - time.monotonic()",
        ),
    ),
    "needs_an_event": (
        "silent",
        ("selector.select(timeout)", "selector.select()"),
    ),
    "polls_for_it": (
        "silent",
        ("selector.select(timeout)", "selector.select(timeout and 0)"),
    ),
    "deaf_to_the_end": (
        "grid",
        (
            "        self.has_finished = not data\n",
            "        self.has_finished = not data and self.state != CLOSING\n",
        ),
    ),
    "says_it_twice": (
        "once",
        (
            '            debug(f"{self.name} closed: {self.reason or reason}")\n',
            '            debug(f"{self.name} closed: {self.reason or reason}")\n            debug(f"{self.name} closed: {self.reason or reason}")\n',
        ),
    ),
    "tells_what_followed": (
        "once",
        ("{self.reason or reason}", "{reason}"),
    ),
    "tells_nothing": (
        "once",
        ('            debug(f"{self.name} closed: {self.reason or reason}")\n', ""),
    ),
    "two_flags": (
        "table",
        ("NEXT = {\n", "ALLOWED = {\n"),
        ("in NEXT[self.state]", "in ALLOWED[self.state]"),
    ),
    "a_move_beside_the_table": (
        "table",
        (
            "    RECEIVING: {IDLE, SENDING, CLOSING, CLOSED},\n",
            "    RECEIVING: {SENDING, CLOSING, CLOSED},\n",
        ),
        ("            assert new in NEXT[self.state], (self.state, new)\n", ""),
    ),
    "a_state_that_is_none": (
        "table",
        ("    CLOSED: set(),\n", "    CLOSED: set(),\n    'BORED': {CLOSED},\n"),
    ),
    "asserts_a_wrong_table": (
        "02/half",
        (
            "    RECEIVING: {IDLE, SENDING, CLOSING, CLOSED},\n",
            "    RECEIVING: {SENDING, CLOSING, CLOSED},\n",
        ),
    ),
}
