"""The promises of tests/limits_table.py: settings, defaults, and tests that exist."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import unittest
from functools import cache

from pyliteflux.config import SETTINGS
from tests.limits_table import ADVISORIES, LIMITS
from tests.support import ROOT

# Settings that limit nothing, or belong to topics, whose chapter says what they bound.
NO_LIMITS = {
    "json_default",
    "http_host",
    "http_port",
    "tcp_host",
    "tcp_port",
    "info",
    "trace",
    "tcp_keep_alive",
    "tcp_framing",
    "heartbeat",
    "closed_connections_kept",
    "topic_history",
    "topic_history_bytes",
    "topic_history_seconds",
    "topic_history_total",
    "max_topics",
    "max_subscriptions",
}
# Where the wall clock may be read: what it says there is for people, or for other machines.
WALL_CLOCK = {
    "app/representation.py",  # What a date of If-Range is compared with.
    "channels/http_service.py",  # The Date field.
    "app/request.py",  # When a cookie was signed.
    "app/cookies.py",
    "extras/files.py",  # Whether a file is older than what the client has.
    "channels/pushed_channel.py",
    "channels/message_channel.py",  # connected_since.
    "channels/journal.py",
    "push/clients.py",
    "log.py",
}


@cache
def names_of(module: str) -> frozenset[str]:
    """Return the tests of a module: "Class" and "Class.test_name", inherited ones left out."""
    path = ROOT / "tests" / (module.replace(".", "/") + ".py")
    names = set()
    if path.is_file():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                tests = [
                    item.name
                    for item in node.body
                    if isinstance(item, ast.FunctionDef) and item.name.startswith("test_")
                ]
                names.update(f"{node.name}.{name}" for name in tests)
                if tests:
                    names.add(node.name)
    return frozenset(names)


def is_a_test(name: str) -> bool:
    """Tell whether "module", "module.Class" or "module.Class.test_name" holds a test."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        names = names_of(".".join(parts[:cut]))
        if names:
            rest = ".".join(parts[cut:])
            return not rest or rest in names
    return False


class Tables(unittest.TestCase):
    def test_every_test_that_is_named_exists(self) -> None:
        rows = [*LIMITS, *ADVISORIES]
        missing = {name for row in rows for name in row.tests if not is_a_test(name)}
        self.assertEqual(missing, set())

    def test_each_row_has_a_test(self) -> None:
        for row in [*LIMITS, *ADVISORIES]:
            self.assertTrue(row.tests, row)

    def test_each_setting_exists_with_the_default_that_is_promised_and_a_reason(self) -> None:
        for row in LIMITS:
            for name, default in row.settings.items():
                with self.subTest(row=row.number, setting=name):
                    self.assertIn(name, SETTINGS)
                    self.assertEqual(SETTINGS[name].default, default)
                    self.assertIs(type(SETTINGS[name].default), type(default))
                    self.assertTrue(SETTINGS[name].reason)

    def test_the_rows_are_numbered_from_1(self) -> None:
        self.assertEqual([row.number for row in LIMITS], list(range(1, len(LIMITS) + 1)))

    def test_each_setting_is_in_a_row_or_limits_nothing(self) -> None:
        in_rows = [name for row in LIMITS for name in row.settings]
        self.assertEqual(len(in_rows), len(set(in_rows)))
        self.assertEqual(set(SETTINGS) - set(in_rows) - NO_LIMITS, set())
        self.assertEqual(NO_LIMITS & set(in_rows), set())

    def test_a_name_that_is_no_test_is_found(self) -> None:
        self.assertTrue(is_a_test("test_limits.Tables"))
        self.assertTrue(is_a_test("test_limits"))
        self.assertFalse(is_a_test("test_limits.Tables.test_of_nothing"))
        self.assertFalse(is_a_test("server.test_of_nothing"))


class WallClock(unittest.TestCase):
    def test_the_wall_clock_decides_nothing(self) -> None:
        """It can be set. Deadlines are monotonic."""
        found = set()
        for path in sorted((ROOT / "pyliteflux").rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if re.search(r"\btime\.time\(|datetime\.now\(|\btime_ns\(", text):
                found.add(path.relative_to(ROOT / "pyliteflux").as_posix())
        self.assertEqual(found - WALL_CLOCK, set())


class Optimized(unittest.TestCase):
    def test_without_asserts_the_protocol_is_as_strict(self) -> None:
        """aiohttp CVE-2025-69227: what an assert checks is not checked under -O."""
        tests = [
            "tests.protocol.test_http_corpus.CorpusTest.test_each_case_fed_whole",
            "tests.protocol.test_message",
        ]
        done = subprocess.run(
            [sys.executable, "-O", "-m", "unittest", "-q", *tests],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
