"""A question that a client has asked, and what the server's lines mean to it.

The rule: an answer belongs to the question with its id, whatever comes in between. A generator
of the server answers with several lines, and the last of them says that it is.

Chapter: docs/client.md.
"""

from __future__ import annotations

import threading
from typing import Any

from ..errors import BadMessage, CallError, FrameTooLong
from ..jsontext import loads


class Call:
    """A question on its way. topic: where the reader asks it itself, to resume."""

    __slots__ = ("_answer", "_error", "_items", "_limit", "done", "id", "topic")

    def __init__(self, id: int, limit: int, topic: str | None = None) -> None:
        self.id = id
        self.topic = topic
        self.done = threading.Event()
        self._limit = limit
        self._answer: dict[str, Any] = {}
        self._items: list[Any] | None = None
        self._error: Exception | None = None

    def take(self, message: dict[str, Any], size: int) -> None:
        """Take an answer, or an item of one."""
        kind = message.get("type")
        if kind == "stream" and "data" in message:
            self._items = [] if self._items is None else self._items
            self._items.append(message["data"])
            self._limit -= size
            if self._limit < 0:
                self.fail(FrameTooLong("the answer is over the limit of a message"))
            return
        if kind == "end" and len(message) == 2 and self._items is None:
            self._items = []
        if kind != "end":
            self._items = None
        self._answer = message
        self.done.set()

    def fail(self, error: Exception) -> None:
        """There will be no answer. Changes nothing where there is one."""
        if not self.done.is_set():
            self._error = error
            self.done.set()

    def result(self) -> Any:
        """Return the answer, or raise what it says."""
        if self._error is not None:
            raise self._error
        if self._items is not None:
            return self._items
        answer = self._answer
        if "error" in answer:
            raise CallError(answer)
        # The server puts the id first where it wraps a value, and last where it joins a dict. A
        # dict with an "id", "type" or "error" of its own comes wrapped: what is here is all of it.
        if list(answer) == ["id", "data"]:
            return answer["data"]
        return {name: value for name, value in answer.items() if name != "id"}


def read_message(line: bytes) -> dict[str, Any]:
    """Return a line as the object it must be. Raises BadMessage."""
    try:
        message = loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise BadMessage("it does not speak JSON objects, one a line")
    return message


def is_error_without_id(message: dict[str, Any]) -> bool:
    return "error" in message and "id" not in message and "type" not in message
