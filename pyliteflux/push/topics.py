"""Topics: who hears what, in which order, and what a newcomer has missed.

The rule: everything happens on the reactor thread, one thing after the other, so that "before"
and "after" mean the same for every subscriber: a subscription takes effect between two
messages, what the log holds comes first, and no message comes twice, even to somebody who
subscribed to ``room:1`` and ``room:*``. A delivery may end a connection, and that is news for
others: it waits until the message at hand has reached everybody.

Subscribers are `Listener` objects: a TCP client (pushed_channel.py) or a browser that reads
server-sent events (http_stream.py). Nobody here knows which. Other threads ask `Topics` for
counts and members only, with single look-ups that the GIL makes whole.

Chapter: docs/topics.md.
"""

from __future__ import annotations

import heapq
import os
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterator
from math import inf
from typing import Any

from ..config import Config
from ..errors import HTTPError
from ..jsontext import dumps
from ..log import framework as log
from ..protocol.push import Announcement, TopicFrame
from .door import Listener
from .topic_log import TopicLog
from .topic_options import Options, TopicOptions

SWEEP_INTERVAL = 1.0  # Seconds between two looks for topics to forget.
# What a missed message costs its receiver beside its JSON, about: an entry in a queue, and in a
# browser's stream the lines around it.
REPLAY_COST = 128
# What a member takes in a newcomer's list beside id and info, in bytes of JSON: `"": , `.
MEMBER_COST = 6


class Room:
    """A topic, or a pattern, while anybody listens or anything of it is kept."""

    __slots__ = (
        "name",
        "is_pattern",
        "log",
        "listeners",
        "matching",
        "version",
        "options",
        "touched",
        "deliveries",
        "dropped",
    )

    def __init__(self, name: str, log: TopicLog) -> None:
        self.name = name
        self.is_pattern = name.endswith("*")
        self.log = log  # Empty for a pattern.
        self.listeners: dict[Listener, Any] = {}  # With the info that each gave.
        # Of a topic: the patterns with listeners that match it. Good for `version` only.
        self.matching: list[Room] = []
        self.version: object = None
        self.options = Options()
        self.touched = 0.0  # When it was last published to, or left by its last listener.
        self.deliveries = 0
        self.dropped = 0  # Of these, given up because the subscriber did not keep up.


class Topics:
    """All topics of a server. Reactor thread only, but for what is under "any thread".

    now: the reactor's time. on_presence: called with "join" or "leave", topic, client id.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._rooms: dict[str, Room] = {}
        self._patterns: dict[str, Room] = {}  # Those with listeners, by what a name begins with.
        # In the order in which they fell silent: rooms without listeners, and all with a log.
        self._quiet: OrderedDict[str, Room] = OrderedDict()
        self._kept: OrderedDict[str, Room] = OrderedDict()
        self._kept_bytes = 0
        self._options = TopicOptions()
        # Of patterns and options: where it is another one, what a Room has derived is stale.
        self._version: object = object()
        self._position = 0  # Of the newest message of all.
        self._forgotten = 0  # The highest position of a topic that was given up altogether.
        self._next_sweep = 0.0
        # What is being told to whom, and what waits until that is done.
        self._news: deque[tuple[Announcement, str, Collection[Listener], str]] = deque()
        self.dropped = 0  # Events given up for browsers that did not keep up.
        self.now: Callable[[], float] = lambda: 0.0
        self.on_presence: Callable[[str, str, str], object] | None = None
        self._process = os.getpid()
        self.epoch = os.urandom(4).hex()

    def begin(self, now: Callable[[], float]) -> None:
        """A run of the server begins. Topics outlive it, so that a next run goes on from there."""
        self.now = now
        if self._process != os.getpid():
            # Forked since: two processes count from here on, and a position in the one means
            # nothing in the other. So do positions of another run of the program.
            self._process = os.getpid()
            self.epoch = os.urandom(4).hex()

    # --- subscribing

    def subscribe(self, listener: Listener, name: str, since: Any = None, info: Any = None) -> None:
        """From now on `listener` hears a topic or a pattern; first what it has missed.

        since: an id of a message, or 0 for all that is kept; None for nothing. Subscribing
        again is no error, and a way to have what came after `since` once more.
        """
        room = self._fresh(self._room(name))
        mine = listener.topics
        if mine is None:
            mine = listener.topics = {}
        missed, gap = self._missed(room, since, listener, mine)
        # The id says from where on it hears: whose connection breaks during what follows has
        # not heard that yet.
        start = missed[0].position - 1 if missed else self._position
        fields: dict[str, Any] = {"topic": name, "id": self._id(start), "gap": gap}
        if room.options.presence:
            fields["members"] = self._first_members(room, listener, info)
            fields["count"] = len(room.listeners) + (listener not in room.listeners)
        policy = self._policy(room)
        listener.deliver(Announcement("subscribed", **fields), name, "disconnect")
        for frame in missed:
            listener.deliver(frame, frame.topic, policy)
        if listener.topics is None:
            return  # It has been cut off meanwhile.
        is_new = name not in mine
        mine[name] = min(mine.get(name, start), start)
        room.listeners[listener] = info
        self._quiet.pop(name, None)
        if room.is_pattern and name[:-1] not in self._patterns:
            self._patterns[name[:-1]] = room
            self._version = object()
        if is_new:
            self._tell_presence("join", room, listener, info)

    def _first_members(self, room: Room, newcomer: Listener, info: Any) -> dict[str, Any]:
        """Return the newcomer, and those who have been there for longest, as far as they fit.

        With all of them n clients would cost n times n: their lists alone fill the memory.
        """
        members = {newcomer.client_id: info}
        left = self._config.presence_list_bytes
        for listener, theirs in room.listeners.items():
            left -= len(dumps(theirs)) + len(listener.client_id) + MEMBER_COST
            if left < 0:
                break
            members.setdefault(listener.client_id, theirs)
        return members

    def unsubscribe(self, listener: Listener, name: str) -> None:
        """`listener` hears it no more."""
        if listener.topics and name in listener.topics:
            del listener.topics[name]
            self._leave(listener, name)
            listener.deliver(Announcement("unsubscribed", topic=name), name, "disconnect")

    def drop(self, listener: Listener) -> None:
        """`listener` has gone."""
        mine, listener.topics = listener.topics, None
        for name in mine or ():
            self._leave(listener, name)

    def _leave(self, listener: Listener, name: str) -> None:
        room = self._rooms[name]
        info = room.listeners.pop(listener, None)
        if not room.listeners:
            self._touch(room)
            if room.is_pattern:
                del self._patterns[name[:-1]]
                self._version = object()
                self._remove(room)
        self._tell_presence("leave", room, listener, info)

    def _tell_presence(self, kind: str, room: Room, listener: Listener, info: Any) -> None:
        if not self._fresh(room).options.presence:
            return
        client_id = listener.client_id
        news = Announcement(kind, topic=room.name, client=client_id, info=info)
        others = [one for one in self._audience(room) if one is not listener]
        self._tell(news, room.name, others, self._policy(room))
        if self.on_presence is not None:
            self.on_presence(kind, room.name, client_id)

    # --- publishing

    def publish(self, name: str, data: bytes) -> None:
        """Number a message (its JSON), keep it, and hand it to everybody who listens."""
        room = self._fresh(self._room(name))
        self._position = position = self._position + 1
        self._touch(room)
        size = room.log.size
        frame = room.log.append(position, self._id(position), data)
        self._count_kept(room, room.log.size - size)
        audience = self._audience(room)
        room.deliveries += len(audience)
        if audience:
            self._tell(frame, name, audience, self._policy(room))

    def _tell(
        self, frame: Announcement, topic: str, audience: Collection[Listener], policy: str
    ) -> None:
        """Hand it to each of them; what comes up meanwhile is told after it, to all likewise."""
        news = self._news
        news.append((frame, topic, audience, policy))
        if len(news) > 1:
            return  # Called by a delivery: whoever is at it below will go on with this.
        while news:
            frame, topic, audience, policy = news[0]
            for listener in audience:
                try:
                    listener.deliver(frame, topic, policy)
                except KeyboardInterrupt:
                    raise
                except BaseException as error:  # It costs this one, nobody else a message.
                    log.exception("delivering to %s failed", listener.client_id)
                    listener.on_failure(error)
            news.popleft()

    def _audience(self, room: Room) -> Collection[Listener]:
        """Return who hears a topic, each once. A copy: a delivery may end a connection."""
        if not room.matching:
            return list(room.listeners)
        everybody = dict(room.listeners)
        for pattern in room.matching:
            everybody.update(pattern.listeners)
        return everybody

    def _policy(self, room: Room) -> str:
        return room.options.slow_client_policy or self._config.slow_client_policy

    def on_loss(self, name: str) -> None:
        """A message of a topic was given up for one subscriber."""
        room = self._rooms.get(name)
        if room is not None:
            room.dropped += 1

    # --- what was missed

    def _id(self, position: int) -> str:
        return f"{self.epoch}-{position}"

    def _position_of(self, since: Any) -> int | None:
        """Return the position that an id stands for; None for one that is not of this epoch."""
        if since in (0, "0"):
            return 0
        epoch, _, number = str(since).partition("-")
        if epoch != self.epoch or not number.isascii() or not number.isdigit():
            return None
        return min(int(number[:20]), self._position)

    def _missed(
        self, room: Room, since: Any, listener: Listener, mine: dict[str, int]
    ) -> tuple[list[TopicFrame], bool]:
        """Return what came after `since`, and whether some of that is lost.

        What it hears by another subscription is no part of it: it has had that.
        """
        if since is None or since == "":
            return [], False
        position = self._position_of(since)
        start = position or 0
        lost = self._forgotten if room.is_pattern else 0
        heard_since = _hearing({name: begin for name, begin in mine.items() if name != room.name})
        logs = []
        for topic in self._topics_of(room):
            log = topic.log
            if log.lost > lost:
                lost = log.lost
            if log.newest > start:
                logs.append(log)
        # From the end, and no further than there is room: being told everything at once must
        # not be what makes a client too slow, nor take the reactor long.
        space = listener.replay_room()
        frames: list[TopicFrame] = []
        for frame in _newest_first(logs, start, heard_since):
            space -= len(frame.json) + REPLAY_COST
            if space < 0:
                lost = max(lost, frame.position)
                break
            frames.append(frame)
        frames.reverse()
        return frames, position is None or lost > start

    def _topics_of(self, room: Room) -> Collection[Room]:
        """Return the topic itself, or all that a pattern matches. O(n) in topics, then."""
        if not room.is_pattern:
            return (room,)
        prefix = room.name[:-1]
        return [
            other
            for name, other in self._rooms.items()
            if name.startswith(prefix) and not other.is_pattern
        ]

    # --- rooms

    def _room(self, name: str) -> Room:
        room = self._rooms.get(name)
        if room is None:
            config = self._config
            # Where everybody has listeners there is none to give up: check_room refuses those
            # who want one more, and a topic that is only published to goes when the next comes.
            if len(self._rooms) >= config.max_topics and self._quiet:
                self._remove(next(iter(self._quiet.values())))
            log = TopicLog(name, config.topic_history, config.topic_history_bytes, self._forgotten)
            room = self._rooms[name] = self._quiet[name] = Room(name, log)
            room.touched = self.now()
        return room

    def _touch(self, room: Room) -> None:
        """It was published to, or has lost its last listener: it is the youngest."""
        room.touched = self.now()
        if not room.listeners:
            self._quiet[room.name] = room
            self._quiet.move_to_end(room.name)

    def _count_kept(self, room: Room, growth: int) -> None:
        """Its log has grown: where all of them are too large, empty the oldest."""
        if room.log.size:
            self._kept[room.name] = room
            self._kept.move_to_end(room.name)
        self._kept_bytes += growth
        while self._kept_bytes > self._config.topic_history_total and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= oldest.log.size
            oldest.log.clear()

    def _fresh(self, room: Room) -> Room:
        """Bring in what depends on patterns and options, where these have changed."""
        version = self._version  # Before the options are read: another thread may set them.
        if room.version is not version:
            room.version = version
            if not room.is_pattern:
                room.matching = [
                    pattern
                    for prefix, pattern in self._patterns.items()
                    if room.name.startswith(prefix)
                ]
            room.options = self._options.of(room.name)
            history = room.options.history
            room.log.max_messages = self._config.topic_history if history is None else history
            size = room.log.size
            room.log.trim()
            self._count_kept(room, room.log.size - size)
        return room

    def sweep(self) -> None:
        """Forget topics that nobody listens to and nothing was published to for long."""
        now = self.now()
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_INTERVAL
        limit = now - self._config.topic_history_seconds
        while self._quiet:
            room = next(iter(self._quiet.values()))
            if room.touched > limit:
                return
            if self._fresh(room).matching:
                self._touch(room)  # Heard by a pattern: its numbers are to go on.
            else:
                self._remove(room)

    def _remove(self, room: Room) -> None:
        del self._rooms[room.name]
        self._quiet.pop(room.name, None)
        self._kept.pop(room.name, None)
        self._kept_bytes -= room.log.size
        if room.log.seq:
            self._forgotten = max(self._forgotten, room.log.newest)

    # --- any thread

    def configure(self, name: str, options: dict[str, Any]) -> None:
        """Say how a topic, or what a pattern matches, is treated. Raises ConfigError."""
        self._options.update(name, options)
        self._version = object()

    def check_room(self, mine: dict[str, int] | None, asked: list[str], name: str) -> None:
        """Raise HTTPError where a client has as many subscriptions as it may, or the server.

        mine: those that it has. asked: those on their way.
        """
        limit = self._config.max_subscriptions
        names = {*(mine or {}).copy(), *asked.copy()}
        if len(names) >= limit and name not in names:
            raise HTTPError(429, f"a client may have {limit} subscriptions")
        most = self._config.max_topics
        if len(self._rooms) >= most and name not in self._rooms and not self._quiet:
            raise HTTPError(503, f"all {most} topics have subscribers")

    def count(self, name: str) -> int:
        """Return how many hear a topic now."""
        room = self._rooms.get(name)
        own = {} if room is None else room.listeners
        matching = [
            pattern.listeners
            for prefix, pattern in self._patterns.copy().items()
            if name.startswith(prefix) and pattern is not room
        ]
        if not matching:
            return len(own)
        everybody = own.copy()  # One step under the GIL, as is each update.
        for listeners in matching:
            everybody.update(listeners)
        return len(everybody)

    def members(self, name: str) -> dict[str, Any]:
        """Return who is subscribed under exactly this name: client id to info."""
        room = self._rooms.get(name)
        if room is None:
            return {}
        return {listener.client_id: info for listener, info in room.listeners.copy().items()}

    def room(self, name: str) -> Room | None:
        """Return what there is of a topic now."""
        return self._rooms.get(name)


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
    """Return who tells from which position on a topic is heard by these subscriptions; inf: never.

    It looks at as many beginnings of a name as there are lengths of patterns, not at each pattern.
    """
    starts = {name[:-1]: start for name, start in mine.items() if name.endswith("*")}
    lengths = sorted({len(prefix) for prefix in starts})

    def heard_since(name: str) -> float:
        heard: float = mine.get(name, inf)
        for length in lengths:
            if length > len(name):
                break
            heard = min(heard, starts.get(name[:length], inf))
        return heard

    return heard_since
