"""Wrong answers: the check at which each must fail first, and how it differs from the answer."""

WHILE = "            while (line := lines.next()) is not None:\n                client.sendall(reverse(line))\n"
WHOLE = '            line, end, rest = self.buffer.partition(b"\\n")'

WRONG = {
    "crlf_only": ("one", ('partition(b"\\n")', 'partition(b"\\r\\n")')),
    "keeps_the_cr": ("one", ('line.removesuffix(b"\\r")', "line")),
    "one_line_per_recv": (
        "sticky",
        (
            WHILE,
            WHILE.replace(
                "while (line := lines.next()) is not None", "if (line := lines.next()) is not None"
            ),
        ),
    ),
    "first_line_counts": ("sticky", ("self.buffer = rest", 'self.buffer = b""')),
    "no_buffer": (
        "half",
        ("self.buffer += data", "self.buffer = data"),
        ("if not end:", "if not end and not line:"),
    ),
    "no_rest": (
        "half",
        (
            "        self.buffer += data",
            "        self.buffer += data\n        if self.buffer[-1:] != b'\\n':\n            self.buffer = self.buffer[: self.buffer.rfind(b'\\n') + 1] or self.buffer",
        ),
    ),
    "waits_for_the_last_end": (
        "half",
        (
            "                return None",
            "                return None\n            if self.buffer[-1:] != b'\\n':\n                return None",
        ),
    ),
    "two_pieces_at_most": (
        "bytes",
        (
            "self.buffer += data",
            "self.buffer += data\n        self.pieces = b'\\n' not in self.buffer and getattr(self, 'pieces', 0) + 1\n        if self.pieces > 3:\n            self.buffer = b''",
        ),
    ),
    "answers_blank_lines": (
        "every_cut",
        (
            "            if line:  # Blank lines are passed over.\n                return line",
            "            return line",
        ),
    ),
    "ends_at_a_blank_line": (
        "every_cut",
        (
            "            if line:  # Blank lines are passed over.\n                return line",
            "            return line or None",
        ),
    ),
    "decodes_pieces": (
        "characters",
        ("self.buffer += data", "self.buffer += data.decode(errors='ignore').encode()"),
    ),
    "reverses_bytes": (
        "characters",
        ('line.decode(errors="replace")[::-1].encode()', "line[::-1]"),
    ),
    "splits_as_str_does": (
        "characters",
        (
            "client.sendall(reverse(line))",
            "client.sendall(b''.join(reverse(part.encode()) for part in line.decode(errors='replace').splitlines()))",
        ),
    ),
    "full_is_whole": (
        "sizes",
        (
            "            if not end:",
            "            if not end and len(line) == 4096:\n                self.buffer = b''\n                return line\n            if not end:",
        ),
    ),
    "impatient": (
        "pause",
        ("    lines = Lines()", "    client.settimeout(1)\n    lines = Lines()"),
    ),
    "a_thousand_lines": (
        "total",
        ("    lines = Lines()", "    lines, count = Lines(), 0"),
        (
            "                client.sendall(reverse(line))",
            "                client.sendall(reverse(line))\n                count += 1\n                if count == 2000:\n                    return",
        ),
    ),
    "no_last_line": ("finish", ('lines.feed(data or b"\\n")', "lines.feed(data)")),
    "forgets_at_fin": (
        "finish",
        (
            "        if not data:\n            return\n\n",
            "        if not data:\n            client.sendall(b'\\n')\n            return\n\n",
        ),
    ),
    "strict": ("garbage", ('line.decode(errors="replace")', "line.decode()")),
    "one_buffer": (
        "reset",
        ("    lines = Lines()\n", "    lines = LINES\n"),
        ("def reverse(", "LINES = Lines()\n\n\ndef reverse("),
    ),
    "dies_of_a_reset": ("reset", ("except OSError:", "except ZeroDivisionError:")),
    "off_by_one": ("limit", ("LIMIT = 64 * 1024", "LIMIT = 64 * 1024 + 1")),
    "too_strict": ("sizes", ("LIMIT = 64 * 1024", "LIMIT = 64 * 1024 - 1")),
    "looks_at_the_end": ("limit", ("if len(line) > LIMIT:", "if end and len(line) > LIMIT:")),
    "goes_on_after_it": (
        "limit",
        (
            '            client.sendall(b"error: this line is too long\\n")\n            return',
            '            client.sendall(b"error: this line is too long\\n")\n            lines = Lines()',
        ),
    ),
    "takes_it_all_first": (
        "endless",
        (
            WHOLE,
            '            line, end, rest = self.buffer.partition(b"\\n")\n            if not end and 66000 < len(line) < 60000000:\n                return None',
        ),
    ),
}
