"""Topics: who hears what, in which order, and what a newcomer has missed.

The rule: everything happens on the reactor thread, one publication after the other, so that
"before" and "after" mean the same for every subscriber: a subscription takes effect between
two messages, what the log holds comes first, and no message comes twice, even to somebody
who subscribed to ``room:1`` and ``room:*``.

Subscribers are `Listener` objects: a TCP client (tcp_channel.py) or a browser that reads
server-sent events (http_stream.py). Nobody here knows which. Other threads ask `Topics` for
counts and members only, with single look-ups that the GIL makes whole.

Chapter: docs/topics.md.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from typing import Any, NamedTuple, Protocol

from ..config import Config
from ..errors import ConfigError, HTTPError
from ..log import escape
from ..protocol.push import Announcement
from .topic_log import TopicLog

MAX_NAME = 256  # Characters of a topic's name.
SWEEP_INTERVAL = 1.0  # Seconds between two looks for topics to forget.
POLICIES = ("disconnect", "drop_oldest", "drop_newest", "latest")


class Listener(Protocol):
    """Who may subscribe. topics: what it is subscribed to, with the info it gave; None: nothing."""

    client_id: str
    topics: dict[str, Any] | None

    def deliver(self, frame: Announcement, topic: str | None, policy: str) -> None:
        """Send it, or keep it for later; never raises, may end the connection."""

    @property
    def replay_room(self) -> int:
        """Bytes of missed messages that it can be sent at once."""


class Options(NamedTuple):
    """How a topic, or all that a pattern matches, is treated. None: as the server's setting."""

    history: int | None = None
    slow_client_policy: str | None = None
    presence: bool | None = None


def check_name(name: Any) -> str:
    """Return the name of a topic or a pattern. Raises HTTPError 400: it is often the client's."""
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= MAX_NAME
        or not name.isprintable()
        or " " in name
        or "*" in name[:-1]
    ):
        raise HTTPError(
            400,
            f"a topic is 1 to {MAX_NAME} printable characters without blanks, "
            "a '*' only at the end",
        )
    return name


class Room:
    """A topic, or a pattern, while anybody listens or anything of it is kept."""

    __slots__ = ("name", "log", "listeners", "matching", "version", "options", "touched", "stats")

    def __init__(self, name: str, log: TopicLog) -> None:
        self.name = name
        self.log = log
        self.listeners: dict[Listener, Any] = {}  # With the info that each gave.
        # Of a topic: the patterns with listeners that match it. Good for `version` only.
        self.matching: list[Room] = []
        self.version = -1
        self.options = Options()
        self.touched = 0.0  # When it was last published to, or left by its last listener.
        self.stats = {"published": 0, "deliveries": 0}


class Topics:
    """All topics of a server. Reactor thread only, but for what is under "any thread".

    now: the reactor's time. on_presence: called with "join" or "leave", topic, client id.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._rooms: dict[str, Room] = {}
        self._patterns: dict[str, Room] = {}  # Those with listeners, by what a name begins with.
        self._options: dict[str, Options] = {}
        self._version = 0  # Of patterns and options: what a Room has derived is then stale.
        self._position = 0  # Of the newest message of all.
        self.dropped = 0  # Events given up for browsers that did not keep up.
        self._forgotten = 0  # The highest position of a topic that was given up altogether.
        # Another run of the program counts from 0 again: positions of one epoch mean nothing
        # in another.
        self._next_sweep = 0.0
        self.epoch = secrets.token_hex(4)
        self.now: Callable[[], float] = lambda: 0.0
        self.on_presence: Callable[[str, str, str], object] | None = None

    # --- subscribing

    def subscribe(self, listener: Listener, name: str, since: Any = None, info: Any = None) -> None:
        """From now on `listener` hears a topic or a pattern; first what it has missed.

        since: an id of a message, or 0 for all that is kept; None for nothing. Subscribing
        again is no error, and a way to have what came after `since` once more.
        """
        room = self._room(name)
        subscribed = listener.topics
        if subscribed is None:
            subscribed = listener.topics = {}
        elif name not in subscribed and len(subscribed) >= self._config.max_subscriptions:
            return  # Whoever asked has been told (check_room); this is for a race.
        is_new = name not in subscribed
        subscribed[name] = info
        room.listeners[listener] = info
        if is_new and name.endswith("*") and name[:-1] not in self._patterns:
            self._patterns[name[:-1]] = room
            self._version += 1
        has_presence = self._fresh(room).options.presence
        missed, gap = self._missed(room, since, listener.replay_room)
        # The id says from where on it hears: whose connection breaks during what follows has
        # not heard that yet.
        position = missed[0].position - 1 if missed else self._position
        fields: dict[str, Any] = {"topic": name, "id": self._id(position), "gap": gap}
        if has_presence:
            fields["members"] = self.members(name)
        policy = self._policy(room)
        listener.deliver(Announcement("subscribed", **fields), name, "disconnect")
        for frame in missed:
            listener.deliver(frame, name, policy)
        if is_new and listener.topics:  # It may have been cut off meanwhile.
            self._tell_presence("join", room, listener, info)

    def unsubscribe(self, listener: Listener, name: str) -> None:
        """`listener` hears it no more."""
        if listener.topics and name in listener.topics:
            self._leave(listener, name)
            listener.deliver(Announcement("unsubscribed", topic=name), name, "disconnect")

    def drop(self, listener: Listener) -> None:
        """`listener` has gone."""
        for name in list(listener.topics or ()):
            self._leave(listener, name)
        listener.topics = None

    def _leave(self, listener: Listener, name: str) -> None:
        assert listener.topics is not None
        del listener.topics[name]
        room = self._rooms[name]
        info = room.listeners.pop(listener, None)
        if not room.listeners:
            room.touched = self.now()
            if name.endswith("*"):
                self._patterns.pop(name[:-1], None)
                del self._rooms[name]
                self._version += 1
        self._tell_presence("leave", room, listener, info)

    def _tell_presence(self, kind: str, room: Room, listener: Listener, info: Any) -> None:
        if not self._fresh(room).options.presence:
            return
        client_id = listener.client_id
        news = Announcement(kind, topic=room.name, client=client_id, info=info)
        policy = self._policy(room)
        for other in self._audience(room):
            if other is not listener:
                other.deliver(news, room.name, policy)
        if self.on_presence is not None:
            self.on_presence(kind, room.name, client_id)

    # --- publishing

    def publish(self, name: str, data: bytes) -> None:
        """Number a message (its JSON), keep it, and hand it to everybody who listens."""
        room = self._fresh(self._room(name))
        self._position = position = self._position + 1
        room.touched = self.now()
        frame = room.log.append(position, self._id(position), data)
        policy = self._policy(room)
        audience = self._audience(room)
        room.stats["published"] += 1
        room.stats["deliveries"] += len(audience)
        for listener in audience:
            listener.deliver(frame, name, policy)

    def _audience(self, room: Room) -> Collection[Listener]:
        """Return who hears a topic, each once. A copy: a delivery may end a connection."""
        if not room.matching:
            return list(room.listeners)
        everybody = dict(room.listeners)
        for pattern in room.matching:
            everybody.update(pattern.listeners)
        return everybody

    def _policy(self, room: Room) -> str:
        policy: str = room.options.slow_client_policy or self._config.slow_client_policy
        return policy

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

    def _missed(self, room: Room, since: Any, bytes_limit: int) -> tuple[list[Any], bool]:
        """Return what came after `since`, and whether some of that is lost."""
        if since is None or since == "":
            return [], False
        position = self._position_of(since)
        gap = position is None
        start = 0 if position is None else position
        frames: list[Any] = []
        if room.name.endswith("*"):
            prefix = room.name[:-1]
            lost = self._forgotten
            for name, other in self._rooms.items():
                if name.startswith(prefix) and not name.endswith("*"):
                    frames += other.log.after(start)
                    lost = max(lost, other.log.lost)
            frames.sort(key=lambda frame: frame.position)
        else:
            frames = room.log.after(start)
            lost = room.log.lost
        # Being told everything at once must not be what makes a client too slow.
        size = 0
        for index in range(len(frames) - 1, -1, -1):
            size += len(frames[index].json)
            if size > bytes_limit:
                return frames[index + 1 :], True
        return frames, gap or lost > start

    # --- rooms

    def _room(self, name: str) -> Room:
        room = self._rooms.get(name)
        if room is None:
            if len(self._rooms) >= self._config.max_topics:
                self._forget(len(self._rooms) // 10 + 1)
            config = self._config
            log = TopicLog(name, config.topic_history, config.topic_history_bytes, self._forgotten)
            room = self._rooms[name] = Room(name, log)
            room.touched = self.now()
        return room

    def _fresh(self, room: Room) -> Room:
        """Bring in what depends on patterns and options, where these have changed."""
        if room.version != self._version:
            room.version = self._version
            if not room.name.endswith("*"):
                room.matching = [
                    pattern
                    for prefix, pattern in self._patterns.items()
                    if room.name.startswith(prefix)
                ]
            room.options = self._options_of(room.name)
            history = room.options.history
            room.log.max_messages = self._config.topic_history if history is None else history
            room.log.trim()
        return room

    def _options_of(self, name: str) -> Options:
        """Return what was said of a topic by name, else by patterns, the longest first."""
        said = [
            self._options[key]
            for key in sorted(self._options, key=len, reverse=True)
            if key != name and key.endswith("*") and name.startswith(key[:-1])
        ]
        said.insert(0, self._options.get(name, Options()))
        values = ([getattr(options, field) for options in said] for field in Options._fields)
        return Options(*(next((v for v in found if v is not None), None) for found in values))

    def sweep(self) -> None:
        """Forget topics that nobody listens to and nothing was published to for long."""
        now = self.now()
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_INTERVAL
        limit = now - self._config.topic_history_seconds
        for name, room in list(self._rooms.items()):
            if room.touched <= limit and not room.listeners:
                self._remove(name, room)

    def _forget(self, count: int) -> None:
        """There are too many: give up those that were quiet for longest, several at once."""
        idle = [item for item in self._rooms.items() if not item[1].listeners]
        idle.sort(key=lambda item: item[1].touched)
        for name, room in idle[:count]:
            self._remove(name, room)

    def _remove(self, name: str, room: Room) -> None:
        del self._rooms[name]
        if room.log.seq:
            last = room.log.after(0)
            self._forgotten = max(self._forgotten, room.log.lost, last[-1].position if last else 0)

    # --- any thread

    def configure(self, name: str, options: dict[str, Any]) -> None:
        """Say how a topic, or what a pattern matches, is treated. Raises ConfigError."""
        known = self._options.get(name, Options())._asdict()
        for key, value in options.items():
            if key not in known:
                raise ConfigError(f"topic {name!r}: there is no option {key!r}: {', '.join(known)}")
            if not _OPTION_CHECKS[key](value):
                raise ConfigError(f"topic {name!r}: {key} = {value!r} is not allowed")
        self._options = {**self._options, name: Options(**{**known, **options})}
        self._version += 1

    def check_room(self, listener: Listener, name: str) -> None:
        """Raise HTTPError 429 where a client has as many subscriptions as it may have."""
        limit: int = self._config.max_subscriptions
        topics = listener.topics
        if topics is not None and name not in topics and len(topics) >= limit:
            raise HTTPError(429, f"a client may have {limit} subscriptions")

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


_OPTION_CHECKS: dict[str, Callable[[Any], bool]] = {
    "history": lambda value: value is None or (type(value) is int and value >= 0),
    "slow_client_policy": lambda value: value is None or value in POLICIES,
    "presence": lambda value: value is None or type(value) is bool,
}


class Topic:
    """One topic by its name, as `server.topic` returns it. Any thread.

    It holds nothing itself: it may be asked before the first subscriber comes and after the
    last has left.
    """

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
        room = self._topics.room(self.name)
        return 0 if room is None else room.log.seq

    @property
    def epoch(self) -> str:
        """What the ids of this server's messages begin with: another one after a restart."""
        return self._topics.epoch

    @property
    def stats(self) -> dict[str, int]:
        """How many messages were published, delivered (to how many clients in all), are kept."""
        room = self._topics.room(self.name)
        if room is None:
            return {"published": 0, "deliveries": 0, "kept": 0}
        return {**room.stats, "kept": len(room.log)}

    def __repr__(self) -> str:
        return f"<Topic {escape(self.name)}: {self.subscribers} subscribers>"
