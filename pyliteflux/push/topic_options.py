"""How topics are treated: what was said of one by name, or of many by a pattern.

The rule: any thread may say it, the reactor looks it up. What is known is never changed, only
replaced, so that whoever reads it sees a whole.

Chapter: docs/topics.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from ..config import POLICIES
from ..errors import ConfigError


class Options(NamedTuple):
    """How a topic, or all that a pattern matches, is treated. None: as the server's setting."""

    history: int | None = None
    slow_client_policy: str | None = None
    presence: bool | None = None


class TopicOptions:
    """What was said of topics and patterns. Any thread.

    known: all of it, by name; another object whenever something was said.
    """

    def __init__(self) -> None:
        self.known: dict[str, Options] = {}
        self._lock = threading.Lock()  # Guards the options: of two that speak at once none is lost.

    def update(self, name: str, options: dict[str, Any]) -> None:
        """Say how a topic, or what a pattern matches, is treated. Raises ConfigError."""
        for key, value in options.items():
            if key not in _CHECKS:
                known = ", ".join(_CHECKS)
                raise ConfigError(f"topic {name!r}: there is no option {key!r}: {known}")
            if not _CHECKS[key](value):
                raise ConfigError(f"topic {name!r}: {key} = {value!r} is not allowed")
        with self._lock:
            said = self.known.get(name, Options())._replace(**options)
            self.known = {**self.known, name: said}

    def of(self, name: str) -> Options:
        """Return what was said of a topic by name, else by patterns, the longest first."""
        known = self.known
        said = [
            known[key]
            for key in sorted(known, key=len, reverse=True)
            if key != name and key.endswith("*") and name.startswith(key[:-1])
        ]
        said.insert(0, known.get(name, Options()))
        values = ([getattr(options, field) for options in said] for field in Options._fields)
        return Options(*(next((v for v in found if v is not None), None) for found in values))


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "history": lambda value: value is None or (type(value) is int and value >= 0),
    "slow_client_policy": lambda value: value is None or value in POLICIES,
    "presence": lambda value: value is None or type(value) is bool,
}
