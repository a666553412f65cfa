"""The console output of running servers: what a line looks like, and who writes it.

Nothing is installed at import: a `Server` attaches the console when it runs and takes it away
when it has stopped. The rule: a program that configured logging itself is left alone.

Chapter: docs/running.md.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import TextIO

from .log import access, application, framework, one_line, tag_with_request_id, trace_of, writer
from .log_writer import LOOK_AGAIN, PATIENCE

_COLOURS = {"DEBUG": "\x1b[2m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}
_RESET = "\x1b[0m"
_INDENT = "\n    "  # What belongs to the line above: nothing in it can pass for a line itself.


class LineFormatter(logging.Formatter):
    """``12:00:01 INFO [request id] text``; the message is escaped, a traceback is indented."""

    def __init__(self, colours: bool) -> None:
        super().__init__(datefmt="%H:%M:%S")
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line, and what belongs to it as indented lines below."""
        text = record.getMessage()
        if record.name.startswith(framework.logger.name):
            # We escape at the source, so the line ends here are our own: a stack, say.
            text = _INDENT.join(one_line(part) for part in text.split("\n"))
        else:
            text = one_line(text)  # One record is one line, whatever a client made of it.
        request_id = getattr(record, "request_id", None)
        tag = f" [{request_id}]" if request_id else ""
        line = f"{self.formatTime(record, self.datefmt)} {record.levelname}{tag} {text}"
        if self._colours and record.levelname in _COLOURS:
            line = f"{_COLOURS[record.levelname]}{line}{_RESET}"
        if record.exc_info or record.exc_text:
            trace = record.exc_text or trace_of(record)
            # Each line of the traceback is escaped for itself: its line ends are ours.
            line += "".join(_INDENT + one_line(part) for part in trace.split("\n"))
        if record.stack_info:
            line += "".join(_INDENT + one_line(part) for part in record.stack_info.split("\n"))
        return line


class _NoLock:
    """In place of a handler's lock: `logging.shutdown` takes that, and would wait for ever."""

    def acquire(self) -> None:
        """Nothing is locked."""

    def release(self) -> None:
        """Nothing is locked."""

    def __enter__(self) -> None:
        """Nothing is locked."""

    def __exit__(self, *_: object) -> None:
        """Nothing is locked."""


class _ConsoleHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to standard error so that a reader who hangs does not keep the process from its end.

    Past the file object: it would be locked by the thread that is stuck in it, and the
    interpreter flushes it at exit.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._order = threading.Lock()  # Held for one write: lines stay whole.
        is_plain = stream is sys.__stderr__ and os.name == "posix"
        self._fd = stream.fileno() if is_plain else -1

    def createLock(self) -> None:
        """Return to `logging` what it may hold for as long as it likes."""
        self.lock = _NoLock()  # type: ignore[assignment]

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            self.write(self.format(record) + self.terminator)
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)

    def write(self, text: str) -> None:
        """Write lines. They do not get between each other."""
        is_mine = self._order.acquire(timeout=PATIENCE)
        try:
            if self._fd < 0 or self.stream.closed:
                self.stream.write(text)
                self.stream.flush()
                return
            data = text.encode(self.stream.encoding or "utf-8", "backslashreplace")
            while data:
                try:
                    data = data[os.write(self._fd, data) :]
                except (
                    BlockingIOError
                ):  # Another process shares our terminal and has set O_NONBLOCK.
                    time.sleep(LOOK_AGAIN)
        finally:
            if is_mine:
                self._order.release()


class Console:
    """The console output of running servers: attached while at least one of them runs.

    The framework's own lines show only while a server with ``info=True`` runs (C7); what
    the user logs shows either way. A program that configured logging itself is left alone:
    then nothing is attached and its own handlers get every record.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # Guards the handler: two servers may start at once.
        self._servers: list[bool] = []
        self._handler: _ConsoleHandler | None = None
        self._levels: tuple[int, int] | None = None
        self._is_pinned = False  # The user has logged outside any server: the handler stays.

    def attach(
        self, info: bool, colours: str = "auto", debug: bool = False, limit: int = 10_000
    ) -> None:
        """Note one more running server, on its reactor thread.

        colours: "auto", "always" or "never". limit: lines that may wait to be written.
        """
        writer.start(limit)
        with self._lock:
            self._servers.append(info)
            if self._levels is None:
                self._levels = (framework.logger.level, application.level)
                application.addFilter(tag_with_request_id)
                framework.logger.addFilter(tag_with_request_id)
            self._add_handler(colours)
            self._set_levels(debug)

    def show_user_lines(self) -> None:
        """Show what a program logs before it runs a server, or without one, from now on."""
        with self._lock:
            self._is_pinned = True
            self._add_handler("auto")
            if application.level == logging.NOTSET:
                application.setLevel(logging.DEBUG)

    def _add_handler(self, colours: str) -> None:
        """Write to standard error, unless the program has arranged for its log itself."""
        package = logging.getLogger("pyliteflux")
        if self._handler is not None or logging.getLogger().handlers or package.handlers:
            return
        stream: TextIO | None = sys.stderr
        if stream is None or getattr(stream, "closed", False):
            return  # ``2>&-``, pythonw, a window without a console: there is nobody to tell.
        coloured = colours == "always" or (colours == "auto" and stream.isatty())
        self._handler = _ConsoleHandler(stream)
        self._handler.setFormatter(LineFormatter(coloured))
        package.addHandler(self._handler)

    def detach(self, info: bool, limit: int = 10_000) -> None:
        """Note that a server has stopped; the last one takes the handler with it.

        With the arguments, and on the thread, of `attach`. What has been logged is written first.
        """
        writer.stop(limit)
        with self._lock:
            if info in self._servers:  # Else `attach` failed.
                self._servers.remove(info)
            if self._servers:
                self._set_levels(False)
                return
            if self._levels is not None:
                framework.logger.setLevel(self._levels[0])
                application.setLevel(self._levels[1])
                self._levels = None
            application.removeFilter(tag_with_request_id)
            framework.logger.removeFilter(tag_with_request_id)
            if self._handler is not None and not self._is_pinned:
                logging.getLogger("pyliteflux").removeHandler(self._handler)
                self._handler = None

    def write_access(self, lines: list[tuple[str, str]]) -> None:
        """Write access lines, each a text and the id of its request. Any thread.

        A batch is one write to the console. Going through `logging`, which other handlers
        may be waiting for, costs ten times as much a line, so it is done only for them.
        """
        handler = self._handler
        package = logging.getLogger("pyliteflux")
        if (
            handler is not None
            and package.handlers == [handler]
            and not (
                access.logger.handlers or framework.logger.handlers or logging.getLogger().handlers
            )
        ):
            now = time.strftime("%H:%M:%S")
            text = "".join(f"{now} INFO [{request_id}] {line}\n" for line, request_id in lines)
            handler.write(text)
            return
        for line, request_id in lines:
            access.info("%s", line, extra={"request_id": request_id})

    def _set_levels(self, debug: bool) -> None:
        assert self._levels is not None
        # Silence is for information: a warning or an error is never the framework chatting.
        if not any(self._servers):
            framework.logger.setLevel(logging.WARNING)
        elif self._program_decides():
            framework.logger.setLevel(self._levels[0])
        else:
            framework.logger.setLevel(logging.DEBUG if debug else logging.INFO)
        if self._levels[1] == logging.NOTSET and not self._program_decides():
            application.setLevel(logging.DEBUG)

    def _program_decides(self) -> bool:
        """Tell whether the program has said which levels it wants: for all, or for us."""
        package = logging.getLogger("pyliteflux")
        return self._handler is None and (
            bool(logging.getLogger().handlers) or package.level != logging.NOTSET
        )


console = Console()
