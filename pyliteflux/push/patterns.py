"""Which patterns match a topic: found by their lengths, not by trying each.

The rule: a pattern is the beginning of a name and ``*``. So what matches a name is found by as
many look-ups as there are lengths of patterns, and there are few, however many patterns clients
have thought of; and a new pattern makes nothing stale.

Chapter: docs/topics.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Patterns(Generic[Value]):
    """Values by pattern. One thread changes it, any thread may look.

    known: patterns with their values to begin with. lengths: of the beginnings, each with how many
    there are; empty while there is no pattern.
    """

    __slots__ = ("_values", "lengths")

    def __init__(self, known: Iterable[tuple[str, Value]] = ()) -> None:
        self._values: dict[str, Value] = {}  # By what a name begins with.
        self.lengths: dict[int, int] = {}
        for pattern, value in known:
            self.add(pattern, value)

    def add(self, pattern: str, value: Value) -> None:
        """A pattern matches from now on; again, it is its value that changes."""
        prefix = pattern[:-1]
        if prefix not in self._values:
            self.lengths[len(prefix)] = self.lengths.get(len(prefix), 0) + 1
        self._values[prefix] = value

    def remove(self, pattern: str) -> None:
        """A pattern matches no more."""
        prefix = pattern[:-1]
        del self._values[prefix]
        self.lengths[len(prefix)] -= 1
        if not self.lengths[len(prefix)]:
            del self.lengths[len(prefix)]

    def matching(self, name: str) -> list[Value]:
        """Return the values of those that match a name, in no order."""
        values, most = self._values, len(name)
        # list(dict) and values.get are one step each under the GIL.
        found = [values.get(name[:length]) for length in list(self.lengths) if length <= most]
        return [value for value in found if value is not None]
