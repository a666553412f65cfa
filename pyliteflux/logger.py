"""`Logger`, for users: what they log shows, and no client can forge a line of it.

The rule: one call is one line. Whatever came from the network and is logged, as the message or
as an argument, has its controls written as escapes.

Chapter: docs/running.md.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from .console import console
from .log import Levels, application, emit, one_line


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


class _Logger(Levels):
    """``Logger.info("text %s", value)`` and its siblings. Any thread.

    One call is one line: whatever a client put into the message or its arguments, their
    controls are written as escapes.
    """

    def log(self, message: Any, *args: Any, level: int | str = logging.INFO, **kw: Any) -> None:
        """Log at `level` (a number or a name), INFO unless said otherwise."""
        number = logging.getLevelName(level.upper()) if isinstance(level, str) else level
        self._log(number, message, args, kw)

    def _log(self, level: int, message: Any, args: tuple[Any, ...], kw: dict[str, Any]) -> None:
        if not application.hasHandlers():
            console.show_user_lines()
        if not application.isEnabledFor(level):
            return
        if len(args) == 1 and isinstance(args[0], Mapping) and args[0]:
            safe: list[Any] = [{key: _safe(value) for key, value in args[0].items()}]  # %(name)s
        else:
            safe = [_safe(value) for value in args]
        emit(application, level, _safe(message), tuple(safe), **kw)


Logger = _Logger()
