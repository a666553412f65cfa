"""Logging: a thin front of the standard module, and the escaping that keeps lines honest.

`Logger` is for users (``pyliteflux.app``); the framework itself logs below ``pyliteflux``.
Nothing is installed at import: a `Server` attaches a console handler when it runs and takes
it away when it has stopped. Whatever came from the network passes `escape` first, so that
no peer can forge a line or send colours to a terminal (CVE-2020-7694).

The rule: a line costs its writer nothing but the line. Whatever a handler, a filter or a
value's own `__repr__` raises ends in `_emit`, and while a server runs another thread does the
writing (log_writer.py).

Chapter: docs/running.md.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextvars import copy_context
from types import FrameType
from typing import Any, TextIO

from .log_writer import LOOK_AGAIN, PATIENCE, LogWriter, forget_in_child

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


class GuardedLogger:
    """A front of a `logging.Logger` for the framework: no call of it raises, or blocks a server.

    Any thread. The methods and arguments are those of `logging.Logger`.
    """

    __slots__ = ("logger", "isEnabledFor")

    def __init__(self, name: str) -> None:
        self.logger = logging.getLogger(name)
        self.isEnabledFor = self.logger.isEnabledFor

    def log(self, level: int, message: Any, *args: Any, **kw: Any) -> None:
        """Log at `level`."""
        if self.isEnabledFor(level):
            _emit(self.logger, level, message, args, **kw)

    def debug(self, message: Any, *args: Any, **kw: Any) -> None:
        """Log at DEBUG."""
        self.log(logging.DEBUG, message, *args, **kw)

    def info(self, message: Any, *args: Any, **kw: Any) -> None:
        """Log at INFO."""
        self.log(logging.INFO, message, *args, **kw)

    def warning(self, message: Any, *args: Any, **kw: Any) -> None:
        """Log at WARNING."""
        self.log(logging.WARNING, message, *args, **kw)

    def error(self, message: Any, *args: Any, **kw: Any) -> None:
        """Log at ERROR."""
        self.log(logging.ERROR, message, *args, **kw)

    def exception(self, message: Any, *args: Any, **kw: Any) -> None:
        """Log at ERROR with the traceback of the exception being handled."""
        self.log(logging.ERROR, message, *args, exc_info=True, **kw)


framework = GuardedLogger("pyliteflux.server")
access = GuardedLogger("pyliteflux.server.access")  # A line for each request.

# So many lines that wait keep the exception and the context they were logged with, for handlers
# and filters that look at them. Both keep requests alive, bodies and all: the lines behind them
# have only their text.
KEPT_WHOLE = 64
_Write = tuple[Callable[..., object], Callable[[Any], object], Any]
_OUR_FILE = (lambda: None).__code__.co_filename


def _emit(
    logger: logging.Logger,
    level: int,
    message: Any,
    args: tuple[Any, ...],
    exc_info: Any = None,
    stack_info: bool = False,
    stacklevel: int = 1,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Make a record and hand it to the writer. Whatever that raises costs the line (X2)."""
    try:
        if isinstance(exc_info, BaseException):
            exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
        elif exc_info and not isinstance(exc_info, tuple):
            exc_info = sys.exc_info()
        frame = _caller(stacklevel)
        stack = None
        if stack_info:
            lines = "".join(traceback.format_stack(frame)).rstrip()
            stack = f"Stack (most recent call last):\n{lines}"
        code = frame.f_code
        place = code.co_filename, frame.f_lineno
        record = logger.makeRecord(
            logger.name, level, *place, message, args, exc_info, code.co_name, extra, stack
        )
        _tag_with_request_id(record)
        record.msg = _text_of(record)  # Now: what the arguments say may change, or be given back.
        record.args = None
        kept: Any = not logger.disabled and logger.filter(record)  # From 3.12 on maybe another.
        if not kept:
            return
        if isinstance(kept, logging.LogRecord):
            record = kept
        if writer.backlog < KEPT_WHOLE:
            job: _Write = copy_context().run, logger.callHandlers, record
        else:
            if record.exc_info:
                record.exc_text = _trace_of(record)
                record.exc_info = None
            job = _call, logger.callHandlers, record
        writer.put(_write, job)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        writer.put(_complain, error)


def _caller(level: int) -> FrameType:
    """Return the frame that logs: the first one outside this module, or further out."""
    frame = sys._getframe(1)
    while frame.f_back is not None and (frame.f_code.co_filename == _OUR_FILE or level > 1):
        level -= frame.f_code.co_filename != _OUR_FILE
        frame = frame.f_back
    return frame


def _text_of(record: logging.LogRecord) -> str:
    """Return the message with its arguments, or without them where one of them cannot be told."""
    try:
        return record.getMessage()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return f"{record.msg!s} (its arguments cannot be written: {type(error).__name__})"


def _trace_of(record: logging.LogRecord) -> str:
    return logging.Formatter().formatException(record.exc_info or (None, None, None))


def _call(function: Callable[[Any], object], argument: Any) -> None:
    function(argument)


def _write(job: _Write) -> None:
    """Hand a record to its handlers. On the writer's thread, where there is one."""
    run, handle, record = job
    try:
        run(handle, record)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _complain(error)


_has_complained = False


def _complain(error: BaseException) -> None:
    """Logging itself has failed: say so once, where `logging` tells its own failures."""
    global _has_complained
    if _has_complained or not logging.raiseExceptions or sys.stderr is None:
        return
    _has_complained = True
    try:
        print("pyliteflux: logging failed, and a line is lost:", file=sys.stderr)
        traceback.print_exception(error, file=sys.stderr)
    except KeyboardInterrupt:
        raise
    except BaseException:
        pass  # There is nobody left to tell.


def _report_dropped(count: int) -> None:
    framework.warning("%d log lines were dropped: they were not written fast enough", count)


writer = LogWriter(_report_dropped)
forget_in_child(writer)


def write_later(write: Callable[[Any], object], argument: Any) -> bool:
    """Have ``write(argument)`` called where it may block; return False where there is no room."""
    return writer.offer(_write, (_call, write, argument))


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
        if len(args) == 1 and isinstance(args[0], Mapping) and args[0]:
            safe: list[Any] = [{key: _safe(value) for key, value in args[0].items()}]  # %(name)s
        else:
            safe = [_safe(value) for value in args]
        _emit(application, level, _safe(message), tuple(safe), **kw)


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
            trace = record.exc_text or _trace_of(record)
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
        self._order = threading.Lock()
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
                except BlockingIOError:  # Somebody shares our terminal and has set O_NONBLOCK.
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
        self._lock = threading.Lock()  # start() may be called from any thread
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
                application.addFilter(_tag_with_request_id)
                framework.logger.addFilter(_tag_with_request_id)
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
        self._handler.setFormatter(_LineFormatter(coloured))
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
            application.removeFilter(_tag_with_request_id)
            framework.logger.removeFilter(_tag_with_request_id)
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
