"""States, reasons and kinds as words: what an `Enum` of ours has that the standard one lacks.

The rule: what something is doing is said by one word, and the legal moves from word to word
stand in one table beside them.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum
from typing import TypeVar

AnyWord = TypeVar("AnyWord", bound="Word")


class Word(Enum):
    """A word whose value is the sentence that explains it. Any thread."""

    __hash__ = object.__hash__  # Members are unique; Enum's own hash is a Python call.


def before(moves: Mapping[AnyWord, Collection[AnyWord]], word: AnyWord) -> tuple[AnyWord, ...]:
    """Return the words from which a table allows the move to `word`."""
    return tuple(one for one in moves if word in moves[one])
