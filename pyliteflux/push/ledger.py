"""The messages of all topics in their order: their numbers, and what was missed since one of them.

The rule: numbering is one thing, telling is another. Who appends a message is not given its
number; the message comes back by `on_message`, with its position, and only then is it news. Here,
where one process has all the clients, it comes back within `append`. A ledger that several
processes share, in another one or on another machine, answers later. Whoever uses a ledger counts
on this and no more:

* Every message that was appended comes back, once, on the reactor thread. Positions rise, over all
  topics together; messages of one thread come back in the order in which they were appended.
* `missed` tells at once of what has come back, never of what is on its way: so who subscribes
  between the two hears it as news, and once.
* An id is good within its epoch. What cannot be told any more is a gap, never silence.

Chapter: docs/topics.md.
"""

from __future__ import annotations

import heapq
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from math import inf
from typing import Any

from ..config import Config
from ..forking import after_fork
from ..protocol.push import TopicFrame
from .patterns import Patterns
from .topic_log import TopicLog

# What a missed message costs its receiver beside its JSON, about: an entry in a queue, and in a
# browser's stream the lines around it.
REPLAY_COST = 128


class Ledger:
    """Numbers the messages of all topics, and keeps the last ones. Reactor thread only.

    on_message: called with each message that has its number. position: that of the newest.
    epoch: what ids begin with; another one after a restart. Other threads may read `epoch`, and
    of a `log` its number and its length.
    """

    def __init__(self, config: Config, on_message: Callable[[TopicFrame], object]) -> None:
        self._config = config
        self._on_message = on_message
        self._logs: dict[str, TopicLog] = {}
        # Those with messages, in the order in which they were last published to.
        self._kept: OrderedDict[str, TopicLog] = OrderedDict()
        self._kept_bytes = 0
        self._forgotten = 0  # The highest position of a topic that was given up altogether.
        self.position = 0
        self._begin_epoch()
        after_fork(self._begin_epoch)

    def _begin_epoch(self) -> None:
        """Two processes count from a fork on, and a position in the one means nothing in the other.

        So do positions of another run of the program.
        """
        self.epoch = os.urandom(4).hex()

    def append(self, topic: str, data: bytes) -> None:
        """Number a message (its JSON), keep it, and let `on_message` know. The topic is open."""
        self.position = position = self.position + 1
        topic_log = self._logs[topic]
        size = topic_log.size
        frame = topic_log.append(position, self.id_of(position), data)
        self._count_kept(topic_log, topic_log.size - size)
        self._on_message(frame)

    def id_of(self, position: int) -> str:
        """Return the id of the message at a position."""
        return f"{self.epoch}-{position}"

    def _position_of(self, since: Any) -> int | None:
        """Return the position that an id stands for; None for one that is not of this epoch."""
        if since in (0, "0"):
            return 0
        epoch, _, number = str(since).partition("-")
        if epoch != self.epoch or not number.isascii() or not number.isdigit():
            return None
        return min(int(number[:20]), self.position)

    # --- logs

    def keep(self, topic: str, history: int | None) -> None:
        """Open a topic, or say anew how many messages of it are kept; None: as the setting says."""
        config = self._config
        most = config.topic_history if history is None else history
        known = self._logs.get(topic)
        if known is None:
            self._logs[topic] = TopicLog(topic, most, config.topic_history_bytes, self._forgotten)
        else:
            size = known.size
            known.max_messages = most
            known.trim()
            self._count_kept(known, known.size - size)

    def forget(self, topic: str) -> None:
        """Give up an open topic altogether: its numbers begin at 1 again."""
        topic_log = self._logs.pop(topic)
        self._kept.pop(topic, None)
        self._kept_bytes -= topic_log.size
        if topic_log.seq:
            self._forgotten = max(self._forgotten, topic_log.newest)

    def log(self, topic: str) -> TopicLog | None:
        """Any thread: return the log of a topic, where it is open."""
        return self._logs.get(topic)

    def _count_kept(self, topic_log: TopicLog, growth: int) -> None:
        """A log has grown: where all of them are too large, empty the oldest."""
        if topic_log.size:
            self._kept[topic_log.topic] = topic_log
            self._kept.move_to_end(topic_log.topic)
        self._kept_bytes += growth
        while self._kept_bytes > self._config.topic_history_total and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= oldest.size
            oldest.clear()

    # --- what was missed

    def missed(
        self, name: str, since: Any, mine: dict[str, int], room: Callable[[], int]
    ) -> tuple[list[TopicFrame], bool]:
        """Return what came after `since`, and whether some of that is lost.

        name: an open topic, or a pattern. mine: what the client hears by other subscriptions is
        no part of it, it has had that. room: returns how many bytes it can be sent.
        """
        if since is None or since == "":
            return [], False
        position = self._position_of(since)
        start = position or 0
        lost = self._forgotten if name.endswith("*") else 0
        heard_since = _hearing({one: begin for one, begin in mine.items() if one != name})
        logs = []
        for topic_log in self._matching(name):
            if topic_log.lost > lost:
                lost = topic_log.lost
            if topic_log.newest > start:
                logs.append(topic_log)
        # From the end, and no further than there is room: being told everything at once must
        # not be what makes a client too slow, nor take the reactor long.
        space = room()
        frames: list[TopicFrame] = []
        for frame in _newest_first(logs, start, heard_since):
            space -= len(frame.json) + REPLAY_COST
            if space < 0:
                lost = max(lost, frame.position)
                break
            frames.append(frame)
        frames.reverse()
        return frames, position is None or lost > start

    def _matching(self, name: str) -> list[TopicLog]:
        """Return the log of a topic, or all that a pattern matches. O(n) in topics, then."""
        if not name.endswith("*"):
            return [self._logs[name]]
        return [log for topic, log in self._logs.items() if topic.startswith(name[:-1])]


def _newest_first(
    logs: list[TopicLog], after: int, heard_since: Callable[[str], float]
) -> Iterator[TopicFrame]:
    """Yield what several logs keep after a position and was not heard, the last message first.

    A log is opened when its turn comes: of five thousand topics there may be room for ten messages.
    """
    logs.sort(key=_newest_of)
    # The next message of each that is open: by position, and no two have the same one.
    heap: list[tuple[int, TopicFrame, Iterator[TopicFrame]]] = []
    while logs or heap:
        if logs and (not heap or logs[-1].newest > -heap[0][0]):
            log = logs.pop()
            rest = log.newest_first(after, heard_since(log.topic))
            frame = next(rest, None)
            if frame is not None:
                heapq.heappush(heap, (-frame.position, frame, rest))
            continue
        _, frame, rest = heap[0]
        yield frame
        following = next(rest, None)
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (-following.position, following, rest))


def _newest_of(log: TopicLog) -> int:
    return log.newest


def _hearing(mine: dict[str, int]) -> Callable[[str], float]:
    """Return who tells from which position on these subscriptions hear a topic; inf: never."""
    patterns = Patterns(one for one in mine.items() if one[0].endswith("*"))
    return lambda name: min((mine.get(name, inf), *patterns.matching(name)))
