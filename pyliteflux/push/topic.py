"""One topic as the user of the library holds it: a name, and what can be asked of it.

The rule: it holds nothing itself. So it may be asked before the first subscriber comes and
after the last has left, from any thread, while the server runs and while it does not.

Chapter: docs/topics.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..log import escape
from .topics import Topics


class Topic:
    """One topic by its name, or a pattern, as `server.topic` returns it. Any thread."""

    __slots__ = ("name", "_topics", "_publish")

    def __init__(self, name: str, topics: Topics, publish: Callable[[str, Any], int]) -> None:
        self.name = name
        self._topics = topics
        self._publish = publish

    def publish(self, message: Any) -> int:
        """Publish to it; see `Server.publish`."""
        return self._publish(self.name, message)

    @property
    def members(self) -> dict[str, Any]:
        """Who is subscribed under exactly this name: client id to the info that it gave."""
        return self._topics.members(self.name)

    @property
    def subscribers(self) -> int:
        """How many hear it, those of patterns included."""
        return self._topics.count(self.name)

    @property
    def seq(self) -> int:
        """The number of its last message; 0 while there is none."""
        kept = self._topics.ledger.log(self.name)
        return 0 if kept is None else kept.seq

    @property
    def epoch(self) -> str:
        """What the ids of this server's messages begin with: another one after a restart."""
        return self._topics.ledger.epoch

    @property
    def stats(self) -> dict[str, int]:
        """What became of its messages.

        published, kept: so many messages. deliveries: to how many subscribers in all. dropped:
        how many of these were given up, as the subscriber did not keep up.
        """
        room, kept = self._topics.room(self.name), self._topics.ledger.log(self.name)
        return {
            "published": 0 if kept is None else kept.seq,
            "deliveries": 0 if room is None else room.deliveries,
            "dropped": 0 if room is None else room.dropped,
            "kept": 0 if kept is None else len(kept),
        }

    def __repr__(self) -> str:
        return f"<Topic {escape(self.name)}: {self.subscribers} subscribers>"
