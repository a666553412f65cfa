"""Logging: a thin front of the standard module, and the escaping that keeps lines honest.

`Logger` is for users (``pyliteflux.app``); the framework itself logs below ``pyliteflux``.
Nothing is installed at import: a `Server` attaches a console handler when it runs and takes
it away when it has stopped. Whatever came from the network passes `escape` first, so that
no peer can forge a line or send colours to a terminal (CVE-2020-7694).

Chapter: docs/running.md.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

framework = logging.getLogger("pyliteflux.server")
access = logging.getLogger("pyliteflux.server.access")  # A line for each request.
application = logging.getLogger("pyliteflux.app")

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

# What the log lines of a request carry. `app.context` sets it to the request's id; the ground
# cannot import the app, so it holds the hook and the app fills it.
request_id_of_this_thread: Callable[[], str | None] = lambda: None  # noqa: E731


def one_line(text: str) -> str:
    """Return text with its controls (C0, DEL, C1, line separators) written as escapes."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found.group()):02x}", text)


def escape(text: str) -> str:
    """Return a peer's text fit for a log line: backslashes too, so that no escape is forged."""
    return one_line(text.replace("\\", "\\\\"))


class _OneLine:
    """A value whose text has no controls; made into text only if the line is written."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __str__(self) -> str:
        return one_line(str(self.value))

    def __repr__(self) -> str:
        return one_line(repr(self.value))


def _safe(value: Any) -> Any:
    """Return a log argument that cannot bring controls into the line."""
    if isinstance(value, str):
        return one_line(value)
    if value is None or isinstance(value, (int, float)):
        return value  # Numbers stay numbers, for "%d".
    return _OneLine(value)


class _Logger:
    """``Logger.info("text %s", value)`` and its siblings. Any thread.

    The levels and arguments are those of `logging.Logger`. One call is one line: whatever a
    client put into the message or its arguments, their controls are written as escapes.
    """

    def log(self, message: Any, *args: Any, level: int | str = logging.INFO, **kw: Any) -> None:
        """Log at `level` (a number or a name), INFO unless said otherwise."""
        number = logging.getLevelName(level.upper()) if isinstance(level, str) else level
        self._log(number, message, args, kw)

    def debug(self, message: Any, *args: Any, **kw: Any) -> None:
        """Log at DEBUG."""
        self._log(logging.DEBUG, message, args, kw)

    def info(self, message: Any, *args: Any, **kw: Any) -> None:
        """Log at INFO."""
        self._log(logging.INFO, message, args, kw)

    def warning(self, message: Any, *args: Any, **kw: Any) -> None:
        """Log at WARNING."""
        self._log(logging.WARNING, message, args, kw)

    def error(self, message: Any, *args: Any, **kw: Any) -> None:
        """Log at ERROR."""
        self._log(logging.ERROR, message, args, kw)

    def exception(self, message: Any, *args: Any, **kw: Any) -> None:
        """Log at ERROR with the traceback of the exception being handled."""
        kw.setdefault("exc_info", True)
        self._log(logging.ERROR, message, args, kw)

    @staticmethod
    def _log(level: int, message: Any, args: tuple[Any, ...], kw: dict[str, Any]) -> None:
        if not application.hasHandlers():
            console.show_user_lines()
        if not application.isEnabledFor(level):
            return
        kw.setdefault("stacklevel", 3)  # Name the caller of info(), not this module.
        if len(args) == 1 and isinstance(args[0], Mapping) and args[0]:
            safe: list[Any] = [{key: _safe(value) for key, value in args[0].items()}]  # %(name)s
        else:
            safe = [_safe(value) for value in args]
        application.log(level, one_line(str(message)), *safe, **kw)


Logger = _Logger()

_COLOURS = {"DEBUG": "\x1b[2m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}
_RESET = "\x1b[0m"
_INDENT = "\n    "  # What belongs to the line above: nothing in it can pass for a line itself.


class _LineFormatter(logging.Formatter):
    """``12:00:01 INFO [request id] text``; the message is escaped, a traceback is indented."""

    def __init__(self, colours: bool) -> None:
        super().__init__(datefmt="%H:%M:%S")
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.name.startswith(framework.name):
            # We escape at the source, so the line ends here are our own: a stack, say.
            text = _INDENT.join(one_line(part) for part in text.split("\n"))
        else:
            text = one_line(text)  # One record is one line, whatever a client made of it.
        request_id = getattr(record, "request_id", None)
        tag = f" [{request_id}]" if request_id else ""
        line = f"{self.formatTime(record, self.datefmt)} {record.levelname}{tag} {text}"
        if self._colours and record.levelname in _COLOURS:
            line = f"{_COLOURS[record.levelname]}{line}{_RESET}"
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            # Each line of the traceback is escaped for itself: its line ends are ours.
            line += "".join(_INDENT + one_line(part) for part in trace.split("\n"))
        if record.stack_info:
            line += "".join(_INDENT + one_line(part) for part in record.stack_info.split("\n"))
        return line


def _tag_with_request_id(record: logging.LogRecord) -> bool:
    """A filter that lets everything pass and notes which request it was logged for."""
    if not hasattr(record, "request_id"):
        args = record.args if isinstance(record.args, tuple) else ()
        record.request_id = request_id_of_this_thread() or next(
            # On the reactor thread: the request that the line is about says it.
            (arg.request_id for arg in args if hasattr(arg, "request_id")),
            None,
        )
    return True


class Console:
    """The console output of running servers: attached while at least one of them runs.

    The framework's own lines show only while a server with ``info=True`` runs (C7); what
    the user logs shows either way. A program that configured logging itself is left alone:
    then nothing is attached and its own handlers get every record.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # start() may be called from any thread
        self._servers: list[bool] = []
        self._handler: logging.Handler | None = None
        self._levels: tuple[int, int] | None = None
        self._is_pinned = False  # The user has logged outside any server: the handler stays.

    def attach(self, info: bool, colours: str = "auto", debug: bool = False) -> None:
        """Note one more running server. colours: "auto", "always" or "never"."""
        with self._lock:
            self._servers.append(info)
            if self._levels is None:
                self._levels = (framework.level, application.level)
                application.addFilter(_tag_with_request_id)
                framework.addFilter(_tag_with_request_id)
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
        stream: TextIO = sys.stderr
        coloured = colours == "always" or (colours == "auto" and stream.isatty())
        self._handler = logging.StreamHandler(stream)
        self._handler.setFormatter(_LineFormatter(coloured))
        package.addHandler(self._handler)

    def detach(self, info: bool) -> None:
        """Note that a server has stopped; the last one takes the handler with it."""
        with self._lock:
            self._servers.remove(info)
            if self._servers:
                self._set_levels(False)
                return
            if self._levels is not None:
                framework.setLevel(self._levels[0])
                application.setLevel(self._levels[1])
                self._levels = None
            application.removeFilter(_tag_with_request_id)
            framework.removeFilter(_tag_with_request_id)
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
            isinstance(handler, logging.StreamHandler)
            and package.handlers == [handler]
            and not (access.handlers or framework.handlers or logging.getLogger().handlers)
        ):
            now = time.strftime("%H:%M:%S")
            text = "".join(f"{now} INFO [{request_id}] {line}\n" for line, request_id in lines)
            with handler.lock or contextlib.nullcontext():
                handler.stream.write(text)
                handler.flush()
            return
        for line, request_id in lines:
            access.info("%s", line, extra={"request_id": request_id})

    def _set_levels(self, debug: bool) -> None:
        assert self._levels is not None
        # Silence is for information: a warning or an error is never the framework chatting.
        if not any(self._servers):
            framework.setLevel(logging.WARNING)
        elif self._program_decides():
            framework.setLevel(self._levels[0])
        else:
            framework.setLevel(logging.DEBUG if debug else logging.INFO)
        if self._levels[1] == logging.NOTSET and not self._program_decides():
            application.setLevel(logging.DEBUG)

    def _program_decides(self) -> bool:
        """Tell whether the program has said which levels it wants: for all, or for us."""
        package = logging.getLogger("pyliteflux")
        return self._handler is None and (
            bool(logging.getLogger().handlers) or package.level != logging.NOTSET
        )


console = Console()
