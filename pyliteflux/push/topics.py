"""Topics: who hears what, and in which order. What was missed is for the ledger to say.

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

from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from typing import Any

from ..config import DISCONNECT, Config
from ..errors import HTTPError
from ..jsontext import dumps
from ..log import framework as log
from ..protocol.push import Announcement, TopicFrame
from .door import Listener
from .ledger import Ledger
from .patterns import Patterns
from .topic_options import Options, TopicOptions

SWEEP_INTERVAL = 1.0  # Seconds between two looks for topics to forget.
# What a member takes in a newcomer's list beside id and info, in bytes of JSON: `"": , `.
MEMBER_COST = 6


class Room:
    """A topic, or a pattern, while anybody listens or anything of it is kept."""

    __slots__ = (
        "name",
        "is_pattern",
        "listeners",
        "known",
        "options",
        "touched",
        "deliveries",
        "dropped",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_pattern = name.endswith("*")
        self.listeners: dict[Listener, Any] = {}  # With the info that each gave.
        self.known: object = None  # Of TopicOptions: what `options` were read from.
        self.options = Options()
        self.touched = 0.0  # While it has no listeners: when it was last published to, or left.
        self.deliveries = 0
        self.dropped = 0  # Of these, given up because the subscriber did not keep up.


OnPresence = Callable[[str, str, str], object]


class Topics:
    """All topics of a server. Reactor thread only, but for what is under "any thread".

    now: the reactor's time. on_presence: called with "join" or "leave", topic, client id.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._rooms: dict[str, Room] = {}
        self._patterns: Patterns[Room] = Patterns()  # Those with listeners.
        # Those without listeners, in the order in which they fell silent.
        self._quiet: OrderedDict[str, Room] = OrderedDict()
        self.ledger = Ledger(config, self._on_message)
        self.options = TopicOptions()  # Any thread.
        self._next_sweep = 0.0
        # What is being told to whom, and what waits until that is done.
        self._news: deque[tuple[Announcement, str, Collection[Listener], str]] = deque()
        self.dropped = 0  # Events given up for browsers that did not keep up.
        self.now: Callable[[], float] = lambda: 0.0
        self.on_presence: OnPresence | None = None

    def begin(self, now: Callable[[], float], on_presence: OnPresence | None = None) -> None:
        """A run of the server begins. Topics outlive it, so that a next run goes on from there."""
        self.now = now
        self.on_presence = on_presence

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
        missed, gap = self.ledger.missed(name, since, mine, listener.replay_room)
        # The id says from where on it hears: whose connection breaks during what follows has
        # not heard that yet.
        start = missed[0].position - 1 if missed else self.ledger.position
        fields: dict[str, Any] = {"topic": name, "id": self.ledger.id_of(start), "gap": gap}
        if room.options.presence:
            fields["members"] = self._first_members(room, listener, info)
            fields["count"] = len(room.listeners) + (listener not in room.listeners)
        policy = self._policy(room)
        listener.deliver(Announcement("subscribed", **fields), name, DISCONNECT)
        for frame in missed:
            listener.deliver(frame, frame.topic, policy)
        if listener.topics is None:  # The listener has been cut off meanwhile.
            if room.is_pattern and not room.listeners and self._rooms.get(name) is room:
                self._remove(room)
            return
        is_new = name not in mine
        mine[name] = min(mine.get(name, start), start)
        room.listeners[listener] = info
        self._quiet.pop(name, None)
        if room.is_pattern:
            self._patterns.add(name, room)
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
            listener.deliver(Announcement("unsubscribed", topic=name), name, DISCONNECT)

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
                self._patterns.remove(name)
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
        self._fresh(self._room(name))  # The ledger is to know how much of it is kept.
        self.ledger.append(name, data)

    def _on_message(self, frame: TopicFrame) -> None:
        """A message has its number: it is news."""
        room = self._room(frame.topic)
        if not room.listeners:
            self._touch(room)
        audience = self._audience(room)
        room.deliveries += len(audience)
        if audience:
            self._tell(frame, room.name, audience, self._policy(room))

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
        if not self._patterns.lengths or room.is_pattern:
            return list(room.listeners)
        everybody = dict(room.listeners)
        for pattern in self._patterns.matching(room.name):
            everybody.update(pattern.listeners)
        return everybody

    def _policy(self, room: Room) -> str:
        return room.options.slow_client_policy or self._config.slow_client_policy

    def on_loss(self, name: str) -> None:
        """A message of a topic was given up for one subscriber."""
        room = self._rooms.get(name)
        if room is not None:
            room.dropped += 1

    # --- rooms

    def _room(self, name: str) -> Room:
        room = self._rooms.get(name)
        if room is None:
            config = self._config
            # Where everybody has listeners there is none to give up: check_room refuses those
            # who want one more, and a topic that is only published to goes when the next comes.
            if len(self._rooms) >= config.max_topics and self._quiet:
                self._remove(next(iter(self._quiet.values())))
            room = self._rooms[name] = self._quiet[name] = Room(name)
            room.touched = self.now()
        return room

    def _touch(self, room: Room) -> None:
        """Without listeners, it was published to, or has just lost its last: it is the youngest."""
        room.touched = self.now()
        self._quiet[room.name] = room
        self._quiet.move_to_end(room.name)

    def _fresh(self, room: Room) -> Room:
        """Bring in what depends on options, where these have changed."""
        known = self.options.known  # Before they are read: another thread may set them.
        if room.known is not known:
            room.known = known
            room.options = self.options.of(room.name)
            if not room.is_pattern:
                self.ledger.keep(room.name, room.options.history)
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
            if not room.is_pattern and self._patterns.matching(room.name):
                self._touch(room)  # Heard by a pattern: its numbers are to go on.
            else:
                self._remove(room)

    def _remove(self, room: Room) -> None:
        del self._rooms[room.name]
        self._quiet.pop(room.name, None)
        if not room.is_pattern:
            self.ledger.forget(room.name)

    # --- any thread

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
        if not self._patterns.lengths:
            return len(own)
        everybody = own.copy()  # One step under the GIL, as is each update.
        for pattern in self._patterns.matching(name):
            everybody.update(pattern.listeners)
        return len(everybody)

    def members(self, name: str) -> dict[str, Any]:
        """Return who is subscribed under exactly this name: client id to info."""
        room = self._rooms.get(name)
        if room is None:
            return {}
        return {listener.client_id: info for listener, info in room.listeners.copy().items()}

    def rooms(self) -> list[Room]:
        """Return every topic, and every pattern that somebody listens to, of now."""
        return list(self._rooms.values())  # One step under the GIL.

    def room(self, name: str) -> Room | None:
        """Return what there is of a topic now."""
        return self._rooms.get(name)
