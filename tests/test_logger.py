"""logger: a thin front of the standard one, and lines that no client can forge (L1)."""

from __future__ import annotations

import contextlib
import logging
import unittest
from collections.abc import Iterator

from pyliteflux import Logger
from pyliteflux.log import application
from tests.support import captured_logs


class LoggerTests(unittest.TestCase):
    def test_each_method_logs_at_its_level(self) -> None:
        """L1: with arguments, at the place of the caller."""
        with captured_logs() as logs, self.level(logging.DEBUG):
            Logger.debug("a %s", 1)
            Logger.info("b %d", 2)
            Logger.warning("c")
            Logger.error("d %(x)s", {"x": 4})
            Logger.log("e")
            Logger.log("f", level="error")
            Logger.log("g", level=logging.WARNING)
        self.assertEqual(
            [(record.levelname, record.getMessage()) for record in logs.records],
            [("DEBUG", "a 1"), ("INFO", "b 2"), ("WARNING", "c"), ("ERROR", "d 4"), ("INFO", "e"),
             ("ERROR", "f"), ("WARNING", "g")],
        )  # fmt: skip
        for record in logs.records:
            self.assertEqual(record.name, "pyliteflux.app")
            self.assertEqual(record.pathname, __file__)
            self.assertEqual(record.funcName, "test_each_method_logs_at_its_level")

    def test_an_exception_comes_with_its_traceback(self) -> None:
        with captured_logs() as logs:
            try:
                raise ValueError("inside")
            except ValueError:
                Logger.exception("it failed")
        self.assertIn("ValueError: inside", logs.lines()[0])

    def test_anything_may_be_logged(self) -> None:
        """L1."""
        with captured_logs() as logs, self.level(logging.INFO):
            for value in (5, None, {"a": 1}, ValueError("x"), "100%"):
                Logger.info(value)
        self.assertEqual(logs.lines(), ["5", "None", "{'a': 1}", "x", "100%"])

    def test_controls_never_reach_a_line_raw(self) -> None:
        """L1: CVE-2020-7694; neither in the message nor in its arguments."""
        with captured_logs() as logs, self.level(logging.INFO):
            Logger.info("user \x1b[31mred\n%s", "12:00 ERROR forged\r\n")
        (line,) = logs.lines()
        self.assertEqual(line, "user \\x1b[31mred\\x0a12:00 ERROR forged\\x0d\\x0a")

    @contextlib.contextmanager
    def level(self, level: int) -> Iterator[None]:
        before = application.level
        application.setLevel(level)
        try:
            yield
        finally:
            application.setLevel(before)


if __name__ == "__main__":
    unittest.main()
