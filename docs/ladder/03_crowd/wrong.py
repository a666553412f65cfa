"""Wrong answers: the check at which each must fail first, and how it differs from the answer.

A name like "02/reset" is a check of an earlier stage: those are run first.
"""

WRONG = {
    "dies_of_a_reset": (
        "02/reset",
        ("except OSError:", "except ZeroDivisionError:"),
    ),
    "never_closes": (
        "02/finish",
        (
            "                selector.unregister(connection.client)\n                connection.client.close()\n",
            "                selector.unregister(connection.client)\n                kept.append(connection.client)\n",
        ),
        ("    while True:\n        for key", "    kept = []\n    while True:\n        for key"),
    ),
    "one_after_the_other": (
        "idle_neighbour",
        (
            "                selector.register(client, selectors.EVENT_READ, Connection(client))\n",
            "                connection = Connection(client)\n                try:\n                    while connection.on_readable():\n                        pass\n                except OSError:\n                    pass\n                client.close()\n",
        ),
    ),
    "waits_for_the_rest": (
        "half_neighbour",
        (
            "        data = self.client.recv(65536)\n",
            "        data = self.client.recv(65536)\n        while data and b'\\n' not in data and len(self.lines.buffer + data) < 999:\n            more = self.client.recv(65536)\n            data += more or b'\\n'\n",
        ),
    ),
    "one_buffer": (
        "half_neighbour",
        (
            "        self.lines.feed(data or",
            "        if data:\n            self.lines.buffer = Connection.rest\n        self.lines.feed(data or",
        ),
        (
            "        return bool(data)",
            "        if data:\n            Connection.rest = self.lines.buffer\n        return bool(data)",
        ),
        (
            "    def __init__(self, client):\n",
            "    rest = b''\n\n    def __init__(self, client):\n        Connection.rest = b''\n",
        ),
    ),
    "eight_halves": (
        "interleaved",
        (
            "        return bool(data)",
            "        if self in HALVES:\n            HALVES.remove(self)\n        if self.lines.buffer:\n            HALVES.append(self)\n            if len(HALVES) > 8:\n                HALVES.pop(0).lines.buffer = b''\n        return bool(data)",
        ),
        ("def reverse(", "HALVES = []\n\n\ndef reverse("),
    ),
    "remembers_two": (
        "late",
        (
            "        self.lines = Lines()",
            "        self.lines = Lines()\n        self.heard = Connection.left",
        ),
        (
            "        data = self.client.recv(65536)\n",
            "        data = self.client.recv(65536)\n        if Connection.left > self.heard + 1:\n            self.lines = Lines()\n        self.heard = Connection.left\n",
        ),
        ("    def __init__(self, client)", "    left = 0\n\n    def __init__(self, client)"),
        (
            "                connection.client.close()",
            "                connection.client.close()\n                Connection.left += 1",
        ),
    ),
    "by_descriptor": (
        "reused",
        (
            "        self.lines = Lines()",
            "        self.lines = LINES.setdefault(client.fileno(), Lines())",
        ),
        ("def reverse(", "LINES = {}\n\n\ndef reverse("),
        (
            "                client, _ = listener.accept()\n",
            "                client, _ = listener.accept()\n                LINES.pop(gone, None)\n",
        ),
        (
            "                selector.unregister(connection.client)\n                connection.client.close()\n",
            "                gone = connection.client.fileno()\n                selector.unregister(connection.client)\n                connection.client.close()\n",
        ),
        ("    while True:\n        for key", "    gone = -1\n    while True:\n        for key"),
    ),
    "leaks_at_a_reset": (
        "leaves",
        (
            "                goes_on = False  # This client has gone; the others stay.\n",
            "                selector.unregister(connection.client)\n                kept.append(connection.client)\n                continue\n",
        ),
        ("    while True:\n        for key", "    kept = []\n    while True:\n        for key"),
    ),
    "hundred_at_most": (
        "burst",
        (
            "                client, _ = listener.accept()\n",
            "                if len(selector.get_map()) > 100:\n                    selector.unregister(listener)\n                    continue\n                client, _ = listener.accept()\n",
        ),
    ),
    "thread_per_client": (
        "crowd",
        (
            "                selector.register(client, selectors.EVENT_READ, Connection(client))\n",
            "                threading.Thread(target=Connection(client).talk, daemon=True).start()\n",
        ),
        (
            "    def on_readable",
            "    def talk(self):\n        try:\n            while self.on_readable():\n                pass\n        except OSError:\n            pass\n        self.client.close()\n\n    def on_readable",
        ),
        ("import sys\n", "import sys\nimport threading\n"),
    ),
    "spins": (
        "crowd",
        ("selector.select()", "selector.select(0)"),
    ),
    "asks_a_hundred_times_a_second": (
        "crowd",
        ("selector.select()", "selector.select(0.005)"),
    ),
    "spins_alone": (
        "rests",
        ("selector.select()", "selector.select(None if len(selector.get_map()) > 1 else 0)"),
    ),
}
