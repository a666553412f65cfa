"""What a server tells its client unasked: the messages it pushes, and the events around them.

The rule: a `Push` is what somebody has sent. An `Event` is what happened on the way, and stands
in the same queue at its place, since "here some are missing" has a place.

Chapter: docs/client.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Push:
    """A message that the server has pushed.

    topic: None where it was not published to a topic. seq: its number in the topic, from 1, or
    None. id: its position, good for ``since=``, or None. data: the message, any JSON value.
    """

    __slots__ = ("_acknowledge", "ack_id", "data", "id", "seq", "topic")

    type = "push"

    def __init__(self, message: dict[str, Any], acknowledge: Callable[[Any], bool]) -> None:
        self.topic: str | None = message.get("topic")
        self.seq: int | None = message.get("seq")
        self.id: str | None = message.get("id")
        self.data: Any = message.get("data")
        self.ack_id: Any = message.get("ack")
        self._acknowledge = acknowledge

    def ack(self, reply: Any = None) -> bool:
        """Tell the server that it has arrived, with a reply if there is one. Any thread.

        Returns False where it asks for none, or the connection that it came by has ended: the
        server knows then that it was not acknowledged. Raises TypeError or ValueError for a
        reply that JSON cannot write.
        """
        if self.ack_id is None:
            return False
        answer = {"ack": self.ack_id}
        return self._acknowledge(answer if reply is None else {**answer, "data": reply})

    def as_dict(self) -> dict[str, Any]:
        """Return what it holds and is not None."""
        names = ("topic", "seq", "id", "data")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def __repr__(self) -> str:
        return f"<Push {self.as_dict()!r}>"


# type -> what it means. Each field of an event may stand in its sentence.
SENTENCES = {
    "connected": "connected again",
    "disconnected": "the connection is lost: {reason}",
    "closing": "the server closes the connection: {reason}: {text}",
    "subscribed": "subscribed to {topic}",
    "gap": "a gap in {topic}: what was published meanwhile is no longer kept",
    "refused": "no longer subscribed to {topic}: {error}",
    "dropped": "{count} messages were given up",
    "unsubscribed": "unsubscribed from {topic}",
    "join": "{client} joins {topic}",
    "leave": "{client} leaves {topic}",
}
# Of these a program that counts on each message must hear, even if it has not asked.
LOSSES = ("disconnected", "gap", "refused", "dropped")


class Event:
    """Something that happened between two pushes.

    type: one of `SENTENCES`, or another that a server may send. topic: None where it concerns
    none. fields: what else is known: the server's object without its "type". ``str()`` of it is
    a sentence.
    """

    __slots__ = ("fields", "topic", "type")

    def __init__(self, type: str, /, **fields: Any) -> None:
        self.type = type
        self.fields = fields
        self.topic: str | None = fields.get("topic")

    def __str__(self) -> str:
        try:
            return SENTENCES[self.type].format(**self.fields)
        except KeyError:  # Another server, or another version of it.
            return f"{self.type} {self.fields}"

    def __repr__(self) -> str:
        return f"<Event {self.type} {self.fields!r}>"


class Subscription:
    """A topic that a client is to hear, and how far it has heard it. Reader thread.

    first, last: all of it between these two positions has come, or was told to be lost.
    is_ours: the reader brings it back after a loss; until the first answer its caller does.
    is_live: the server has confirmed it on this connection.
    """

    __slots__ = ("first", "info", "is_live", "is_ours", "last", "topic")

    def __init__(self, topic: str, since: Any, info: Any) -> None:
        self.topic = topic
        self.info = info
        self.last: Any = since
        self.first: Any = None
        self.is_ours = False
        self.is_live = False

    def covers(self, topic: str) -> bool:
        """Tell whether the messages of a topic are among its own."""
        name = self.topic
        return name == topic or (name.endswith("*") and topic.startswith(name[:-1]))

    def wanted(self) -> dict[str, Any]:
        """Return the data of the command that asks for it, or for what is missing."""
        data: dict[str, Any] = {"topic": self.topic}
        if self.last is not None:
            data["since"] = self.last
        if self.info is not None:
            data["info"] = self.info
        return data

    def confirm(self, id: Any) -> None:
        """The subscription has taken effect: what comes after this position will come."""
        if not self.is_ours or _parts(self.first)[0] != _parts(id)[0]:
            self.first = id
        self.last = id
        self.is_ours = self.is_live = True

    def has_had(self, id: Any) -> bool:
        """Tell whether the message at a position is no news.

        A position is "epoch-number": numbers of one epoch can be compared. Others are news.
        """
        epoch, number = _parts(id)
        first_epoch, first = _parts(self.first)
        last_epoch, last = _parts(self.last)
        return epoch != "" and epoch == first_epoch == last_epoch and first < number <= last


def _parts(id: Any) -> tuple[str, int]:
    epoch, _, number = id.rpartition("-") if isinstance(id, str) else ("", "", "")
    if not number.isascii() or not number.isdigit() or len(number) > 20:
        return "", 0
    return epoch, int(number)
