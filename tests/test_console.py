"""console: it shows what is asked for, one record is one line, and it cleans up (C7, L1)."""

from __future__ import annotations

import contextlib
import io
import logging
import subprocess
import sys
import unittest
from collections.abc import Iterator
from typing import Any

from pyliteflux import Logger
from pyliteflux.console import Console
from pyliteflux.log import access, application, framework

PACKAGE = logging.getLogger("pyliteflux")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def console(
    info: bool = True, colours: str = "auto", debug: bool = False, stream: Any = None
) -> Iterator[Any]:
    """Attach a console to a stream of ours; no other handler is in the way."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    stream = io.StringIO() if stream is None else stream
    stderr, sys.stderr = sys.stderr, stream
    one = Console()
    try:
        one.attach(info, colours, debug)
        yield stream
    finally:
        one.detach(info)
        sys.stderr = stderr
        root.handlers = handlers


class ConsoleTests(unittest.TestCase):
    def test_info_shows_and_silences_the_framework_only(self) -> None:
        """C7."""
        for info in (True, False):
            with console(info) as stream:
                framework.info("serving")
                access.info("GET /")
                framework.warning("careful")
                Logger.info("the user")
                Logger.debug("details")
            text = stream.getvalue()
            self.assertEqual("serving" in text, info)
            self.assertEqual("GET /" in text, info)
            for shown in ("careful", "the user", "details"):
                self.assertIn(shown, text)

    def test_everything_is_put_back(self) -> None:
        """C7, N1."""

        def state() -> Any:
            loggers = (PACKAGE, framework.logger, access.logger, application)
            return [(one.level, list(one.handlers), list(one.filters)) for one in loggers]

        before = state()
        for info in (True, False):
            with console(info):
                self.assertNotEqual(state(), before)
            self.assertEqual(state(), before)

    def test_a_program_that_configured_logging_gets_every_record_once(self) -> None:
        stream, own = io.StringIO(), io.StringIO()
        handler = logging.StreamHandler(own)
        PACKAGE.addHandler(handler)
        try:
            with console(stream=stream):
                Logger.info("hello")
        finally:
            PACKAGE.removeHandler(handler)
        self.assertEqual((stream.getvalue(), own.getvalue()), ("", "hello\n"))

    def test_a_program_that_configured_logging_decides_about_levels(self) -> None:
        """C7: with info=False the framework is quiet there too; nothing else is touched."""
        handler = logging.NullHandler()
        PACKAGE.addHandler(handler)
        PACKAGE.setLevel(logging.WARNING)
        try:
            for info, info_lines in ((True, False), (False, False)):
                with console(info):
                    self.assertEqual(framework.isEnabledFor(logging.INFO), info_lines)
                    self.assertTrue(framework.isEnabledFor(logging.WARNING))
                    self.assertFalse(application.isEnabledFor(logging.INFO))
            PACKAGE.setLevel(logging.DEBUG)
            for info, info_lines in ((True, True), (False, False)):
                with console(info):
                    self.assertEqual(framework.isEnabledFor(logging.INFO), info_lines)
        finally:
            PACKAGE.removeHandler(handler)
            PACKAGE.setLevel(logging.NOTSET)

    def test_colours_are_for_terminals(self) -> None:
        """L1: unless they are asked for, or not wanted."""
        for stream, colours, coloured in (
            (io.StringIO(), "auto", False), (Terminal(), "auto", True),
            (io.StringIO(), "always", True), (Terminal(), "never", False),
        ):  # fmt: skip
            with console(colours=colours, stream=stream):
                Logger.error("red")
            self.assertEqual("\x1b[" in stream.getvalue(), coloured)

    def test_one_record_is_one_line_and_what_belongs_to_it_is_indented(self) -> None:
        """L1: the traceback's lines too, in which a client's text may stand."""
        with console() as stream:
            application.error("a\nb %s", "\x1b[2J")
            try:
                raise ValueError("first\n12:00:00 INFO forged\x1b[31m")
            except ValueError:
                framework.exception("failed")
        lines = stream.getvalue().splitlines()
        own = [line for line in lines if not line.startswith("    ")]
        self.assertEqual(len(own), 2, lines)
        self.assertTrue(own[0].endswith("ERROR a\\x0ab \\x1b[2J"), own[0])
        self.assertNotIn("\x1b", stream.getvalue())

    def test_what_is_logged_before_any_server_runs_shows_too(self) -> None:
        """L1: a program's first line must not depend on a server."""
        script = "from pyliteflux import Logger; Logger.info('hello %s', 'a\\nb')"
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
        )
        self.assertRegex(done.stderr, r"\A[0-9:]{8} INFO hello a\\x0ab\n\Z")
        self.assertEqual(done.stdout, "")

    def test_the_last_server_takes_the_console_with_it(self) -> None:
        """C7, C8: while one of two wants information, it shows."""
        root = logging.getLogger()
        handlers, root.handlers = root.handlers, []
        stream = io.StringIO()
        stderr, sys.stderr = sys.stderr, stream
        try:
            one = Console()
            one.attach(False)
            framework.info("first")
            one.attach(True)
            framework.info("second")
            one.detach(True)
            framework.info("third")
            one.detach(False)
            self.assertEqual(PACKAGE.handlers, [])
        finally:
            sys.stderr = stderr
            root.handlers = handlers
        self.assertEqual([line.split()[-1] for line in stream.getvalue().splitlines()], ["second"])


if __name__ == "__main__":
    unittest.main()
