"""log: lines that nobody can forge (L1), and a logger that costs its caller no more than a line."""

from __future__ import annotations

import contextlib
import io
import logging
import unittest

from pyliteflux.log import GuardedLogger, application, escape, framework, one_line
from tests.support import captured_logs


class EscapeTests(unittest.TestCase):
    def test_no_control_is_left(self) -> None:
        """L1: C0, DEL, C1, line separators."""
        controls = [*range(0x20), 0x7F, *range(0x80, 0xA0), 0x2028, 0x2029]
        for code in controls:
            for function in (one_line, escape):
                text = function(f"a{chr(code)}b")
                self.assertNotIn(chr(code), text)
                self.assertTrue(text.startswith("a\\x") and text.endswith("b"))
        for fine in ("a b", "é你", "😀", "~"):
            self.assertEqual(escape(fine), fine)

    def test_an_escape_cannot_be_forged(self) -> None:
        """L1: a peer's backslash is told from ours."""
        self.assertEqual(escape("\\x0a"), "\\\\x0a")
        self.assertNotEqual(escape("\\x0a"), escape("\n"))


class GuardedTests(unittest.TestCase):
    def test_each_method_logs_at_its_level_and_at_the_place_of_the_caller(self) -> None:
        logger = GuardedLogger("pyliteflux.server.some")
        logger.logger.setLevel(logging.DEBUG)
        with captured_logs() as logs:
            logger.debug("a %s", 1)
            logger.info("b")
            logger.warning("c")
            logger.error("d")
            logger.log(logging.CRITICAL, "e")
            try:
                raise ValueError("inside")
            except ValueError:
                logger.exception("f")
        self.assertEqual(
            [(record.levelname, record.getMessage()) for record in logs.records],
            [("DEBUG", "a 1"), ("INFO", "b"), ("WARNING", "c"), ("ERROR", "d"),
             ("CRITICAL", "e"), ("ERROR", "f")],
        )  # fmt: skip
        for record in logs.records:
            self.assertEqual(record.pathname, __file__)
            self.assertTrue(record.funcName.startswith("test_each_method_logs"))
        self.assertIn("ValueError: inside", logs.lines()[-1])

    def test_the_place_may_be_further_out(self) -> None:
        def tell() -> None:
            framework.warning("x", stacklevel=2)

        with captured_logs() as logs:
            tell()
        self.assertTrue(logs.records[0].funcName.startswith("test_the_place"))

    def test_an_argument_that_cannot_be_told_costs_the_arguments(self) -> None:
        class Sulky:
            def __str__(self) -> str:
                raise RuntimeError("no")

        with captured_logs() as logs:
            framework.error("value %s", Sulky())
        self.assertEqual(logs.lines(), ["value %s (its arguments cannot be written: RuntimeError)"])

    def test_a_filter_that_raises_costs_the_line_and_not_its_caller(self) -> None:
        def fails(record: logging.LogRecord) -> bool:
            raise SystemExit("a filter of the user's")

        application.addFilter(fails)
        self.addCleanup(application.removeFilter, fails)
        with captured_logs() as logs, contextlib.redirect_stderr(io.StringIO()):
            GuardedLogger("pyliteflux.app").error("lost")
        self.assertEqual(logs.lines(), [])


if __name__ == "__main__":
    unittest.main()
