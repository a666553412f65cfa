"""Logging: a thin front of the standard module, and the escaping that keeps lines honest.

The framework logs below ``pyliteflux.server``; what users log (logger.py) is made into a record
here, too. Whatever came from the network passes `escape` first, so that no peer can forge a line
or send colours to a terminal (CVE-2020-7694).

The rule: a line costs its writer nothing but the line. Whatever a handler, a filter or a
value's own `__repr__` raises ends in `emit`, and while a server runs another thread does the
writing (log_writer.py).

Chapter: docs/running.md.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from contextvars import copy_context
from types import FrameType
from typing import Any

from .forking import after_fork
from .log_writer import LogWriter

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


class Levels:
    """The methods of a logger, one for each level. Any thread.

    Their arguments are those of `logging.Logger`.
    """

    __slots__ = ()

    def _log(self, level: int, message: Any, args: tuple[Any, ...], kw: dict[str, Any]) -> None:
        raise NotImplementedError

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


class GuardedLogger(Levels):
    """A front of a `logging.Logger` for the framework: no call of it raises, or blocks a server."""

    __slots__ = ("logger", "isEnabledFor")

    def __init__(self, name: str) -> None:
        self.logger = logging.getLogger(name)
        self.isEnabledFor = self.logger.isEnabledFor

    def log(self, level: int, message: Any, *args: Any, **kw: Any) -> None:
        """Log at `level`."""
        self._log(level, message, args, kw)

    def _log(self, level: int, message: Any, args: tuple[Any, ...], kw: dict[str, Any]) -> None:
        if self.isEnabledFor(level):
            emit(self.logger, level, message, args, **kw)


framework = GuardedLogger("pyliteflux.server")
access = GuardedLogger("pyliteflux.server.access")  # A line for each request.

# So many lines that wait keep the exception and the context they were logged with, for handlers
# and filters that look at them. Both keep requests alive, bodies and all: the lines behind them
# have only their text.
KEPT_WHOLE = 64
_Write = tuple[Callable[..., object], Callable[[Any], object], Any]
_OURS = {__name__, f"{__package__}.logger"}  # A line was logged by who called one of these.


def emit(
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
        tag_with_request_id(record)
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
                record.exc_text = trace_of(record)
                record.exc_info = None
            job = _call, logger.callHandlers, record
        writer.put(_write, job)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        writer.put(_complain, error)


def tag_with_request_id(record: logging.LogRecord) -> bool:
    """A filter that lets everything pass and notes which request it was logged for."""
    if not hasattr(record, "request_id"):
        args = record.args if isinstance(record.args, tuple) else ()
        record.request_id = request_id_of_this_thread() or next(
            # On the reactor thread: the request that the line is about says it.
            (arg.request_id for arg in args if hasattr(arg, "request_id")),
            None,
        )
    return True


def _caller(level: int) -> FrameType:
    """Return the frame that logs: the first one outside these modules, or further out."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        is_ours = frame.f_globals.get("__name__") in _OURS
        if level <= 1 and not is_ours:
            break
        level -= not is_ours
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


def trace_of(record: logging.LogRecord) -> str:
    """Return the traceback of a record's exception."""
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
after_fork(writer.forget)


def write_later(write: Callable[[Any], object], argument: Any) -> bool:
    """Have ``write(argument)`` called where it may block; return False where there is no room."""
    return writer.offer(_write, (_call, write, argument))
