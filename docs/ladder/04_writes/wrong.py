"""Wrong answers: the check at which each must fail first, and how it differs from the answer.

A name like "02/limit" is a check of an earlier stage: those are run first.
"""

WRONG = {
    "sendall_nonblocking": (
        "partial",
        (
            "        self.unsent += data\n        self.flush()\n",
            "        self.client.sendall(data)\n",
        ),
    ),
    "send_ignored": (
        "partial",
        ("        self.unsent = self.unsent[sent:]", '        self.unsent = b""'),
    ),
    "never_reads_again": (
        "partial",
        (
            "        if not self.has_finished and len(self.unsent) < HIGH_WATER:\n            events |= READ\n",
            "        if len(self.unsent) >= HIGH_WATER:\n            self.was_full = True\n        if not self.has_finished and not self.was_full:\n            events |= READ\n",
        ),
        (
            '        self.unsent = b""\n',
            '        self.unsent = b""\n        self.was_full = False\n',
        ),
        ("        if events != self.events:\n", "        if events != self.events and events:\n"),
    ),
    "short_ones_first": (
        "order",
        (
            "        self.unsent += data\n        self.flush()\n",
            "        if len(data) < 1000:\n            self.client.send(data)\n            return\n        self.unsent += data\n        self.flush()\n",
        ),
        (
            "while len(self.unsent) < HIGH_WATER and (line := self.lines.next()) is not None:",
            "while (line := self.lines.next()) is not None:",
        ),
    ),
    "forgets_what_waits": (
        "order",
        (
            "            if events & WRITE:\n                self.flush()\n            self.work()\n",
            "            if events & WRITE:\n                self.flush()\n            if events & READ:\n                self.work()\n",
        ),
    ),
    "sendall_blocking": (
        "neighbour",
        (
            "        self.unsent += data\n        self.flush()\n",
            "        self.client.setblocking(True)\n        self.client.sendall(data)\n        self.client.setblocking(False)\n",
        ),
    ),
    "waits_for_room": (
        "neighbour",
        (
            "            return  # Its buffer is full. WRITE will say when it is not.\n",
            "            select.select([], [self.client], [])\n            return\n",
        ),
        (
            "        self.unsent += data\n        self.flush()\n",
            "        self.unsent += data\n        self.flush()\n        while self.unsent:\n            self.flush()\n",
        ),
        ("import selectors\n", "import select\nimport selectors\n"),
    ),
    "one_rest_for_all": (
        "reset",
        ('        self.unsent = b""\n', ""),
        (
            "    def __init__(self, client, selector)",
            '    unsent = b""\n\n    def __init__(self, client, selector)',
        ),
        ("        self.unsent += data\n", "        Connection.unsent += data\n"),
        (
            "        self.unsent = self.unsent[sent:]",
            "        Connection.unsent = self.unsent[sent:]",
        ),
    ),
    "one_may_be_stuck": (
        "two",
        (
            "        events = WRITE if self.unsent else 0\n",
            "        if self.unsent and Connection.stuck is None:\n            Connection.stuck = self\n        elif Connection.stuck is self and not self.unsent:\n            Connection.stuck = None\n        events = WRITE if self.unsent and Connection.stuck is self else 0\n",
        ),
        ("        if events != self.events:\n", "        if events and events != self.events:\n"),
        (
            "            events |= READ\n",
            "            events |= READ\n        elif not events:\n            events = READ\n",
        ),
        (
            "    def __init__(self, client, selector)",
            "    stuck = None\n\n    def __init__(self, client, selector)",
        ),
        (
            "        self.selector.unregister(self.client)\n",
            "        self.selector.unregister(self.client)\n        if Connection.stuck is self:\n            Connection.stuck = None\n",
        ),
    ),
    "impatient": (
        "slow",
        (
            '        self.unsent = b""\n',
            '        self.unsent = b""\n        self.sent_at = time.monotonic()\n',
        ),
        (
            "        try:\n            sent = ",
            "        if self.unsent and time.monotonic() > self.sent_at + 1.5:\n            raise OSError\n        try:\n            sent = ",
        ),
        (
            "        self.unsent = self.unsent[sent:]",
            "        self.unsent = self.unsent[sent:]\n        self.sent_at = time.monotonic()",
        ),
        (
            "        self.unsent += data\n",
            "        self.unsent += data\n        self.sent_at = time.monotonic()\n",
        ),
        ("import sys\n", "import sys\nimport time\n"),
    ),
    "write_always": (
        "03/crowd",
        ("        events = WRITE if self.unsent else 0\n", "        events = WRITE\n"),
    ),
    "busy_loop": (
        "stuck",
        (
            "selector.select()",
            "selector.select(0 if any(key.data and key.data.unsent for key in selector.get_map().values()) else None)",
        ),
    ),
    "write_never_disarmed": (
        "drained",
        (
            "        events = WRITE if self.unsent else 0\n",
            "        events = WRITE if self.unsent else self.events & WRITE\n",
        ),
    ),
    "send_error_kills": (
        "reset",
        (
            "        except OSError:\n            self.close()",
            "        except ConnectionResetError if not self.unsent else BlockingIOError:\n            self.close()",
        ),
    ),
    "leaks_at_a_reset": (
        "reset",
        (
            "            self.close()  # This client has gone; the others stay.\n",
            "            self.selector.unregister(self.client)\n            KEPT.append(self) if self.unsent else self.client.close()\n",
        ),
        ("def answer(", "KEPT = []\n\n\ndef answer("),
    ),
    "no_watermark": (
        "memory",
        (
            "while len(self.unsent) < HIGH_WATER and (line := self.lines.next()) is not None:",
            "while (line := self.lines.next()) is not None:",
        ),
        ("not self.has_finished and len(self.unsent) < HIGH_WATER", "not self.has_finished"),
    ),
    "reads_on": (
        "flood",
        ("not self.has_finished and len(self.unsent) < HIGH_WATER", "not self.has_finished"),
    ),
    "closes_at_fin": (
        "finish",
        ("        if self.has_finished and not self.unsent:\n", "        if self.has_finished:\n"),
    ),
    "last_line_is_lost": (
        "02/finish",
        ('self.lines.feed(data or b"\\n")', "self.lines.feed(data)"),
    ),
    "spins_at_fin": (
        "fin_stuck",
        (
            "        if not self.has_finished and len(self.unsent) < HIGH_WATER:\n",
            "        if self.has_finished or len(self.unsent) < HIGH_WATER:\n",
        ),
    ),
    "one_line_for_each_event": (
        "resumes",
        (
            "            self.work()\n        except",
            "            if events & WRITE and not events & READ and not self.unsent and (line := self.lines.next()):\n                self.say(answer(line))\n            if events & READ:\n                self.work()\n        except",
        ),
    ),
}
