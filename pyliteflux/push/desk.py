"""Where every thread hands in what clients are to hear, and learns at once what cannot be.

The rule: who pushes is told by an exception of what is wrong with the message, and of a reactor
that does not keep up; all the rest is the reactor's business. So everything is checked and
encoded here, on the thread that pushes, counted, and posted once. While no server runs there is
nobody to hear it, and nothing is kept for later.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable
from typing import Any

from ..config import Config
from ..errors import ConfigError, PoolFull, ReactorClosed
from ..jsontext import dumps
from ..log import escape
from ..log import framework as log
from ..protocol.push import PushFrame
from ..reactor.loop import Reactor
from ..topicname import BadTopic, check_topic
from .acks import GONE, Ack
from .burst import Burst
from .clients import Client
from .door import Door
from .hooks import Hooks
from .hub import Hub
from .topic import Topic
from .topics import OnPresence, Topics


class PushInbox:
    """What is on its way to the reactor, in one run. Any thread may `post`.

    Who pushes faster than the reactor delivers must hear of it, or the reactor's inbox would be
    the one buffer without a limit: neither of calls, nor of the bytes that they hold.
    """

    def __init__(self, config: Config, reactor: Reactor, hub: Hub) -> None:
        self._config = config
        self.reactor = reactor
        self.burst = Burst(reactor, hub)
        # Guards the bytes that were posted. Reentrant: a finalizer that pushes may run in between.
        self._lock = threading.RLock()
        # Bytes of pushes: given to us (any thread), and handed on (reactor thread).
        self._posted_bytes = self._delivered_bytes = 0

    def post(self, size: int, callback: Callable[..., object], *args: Any) -> bool:
        """Have the reactor make a call that delivers so many bytes. False: the run has ended.

        Raises PoolFull over push_backlog or push_backlog_bytes, but not for a call of no bytes.
        """
        config = self._config
        if size and self.reactor.backlog >= config.push_backlog:
            raise PoolFull(f"{config.push_backlog} pushes wait for the reactor (push_backlog)")
        with self._lock:
            waiting = self._posted_bytes - self._delivered_bytes
            if size and waiting and waiting + size > config.push_backlog_bytes:
                raise PoolFull(
                    f"pushes of {waiting} bytes wait for the reactor, and {size} more are over "
                    f"push_backlog_bytes"
                )
            self._posted_bytes += size
        try:
            self.reactor.call_soon_threadsafe(self._deliver, size, callback, args)
        except ReactorClosed:
            return False
        return True

    def _deliver(self, size: int, callback: Callable[..., object], args: Any) -> None:
        self._delivered_bytes += size
        callback(*args)


class PushDesk:
    """What a server pushes and publishes, and to whom. Any thread, but for `begin` and `end`.

    sender: returns the door by whose message the calling thread is at work, if any. The public
    methods are those of `Server` of the same name.
    """

    def __init__(self, config: Config, sender: Callable[[], Door | None]) -> None:
        self._config = config
        self._sender = sender
        self.hub = Hub(config, lambda door: Client(door, self.push_message, self.disconnect))
        self.topics = Topics(config)
        self.hooks = Hooks()
        self._ack_ids = itertools.count(1)
        self._inbox: PushInbox | None = None  # While the server runs.

    def begin(self, reactor: Reactor, on_presence: OnPresence) -> None:
        """A run begins. on_presence: as in `Topics`."""
        self.topics.begin(lambda: reactor.now, on_presence)
        self._inbox = PushInbox(self._config, reactor, self.hub)

    def release(self) -> None:
        """Reactor thread: deliver what is held for a burst."""
        if self._inbox is not None:
            self._inbox.burst.release()

    def end(self) -> None:
        """The run has ended: nobody hears anything."""
        self._inbox = None

    def push_message(
        self,
        message: Any,
        client_id: str | None = None,
        ack: bool = False,
        ack_timeout: float | None = None,
    ) -> int | Ack:
        """Push to one client, or to all where client_id is None."""
        if ack:
            return self._push_acked(message, client_id, ack_timeout)
        frame = PushFrame(message, default=self._config.json_default)
        if client_id is not None and self.hub.find(client_id) is None:
            log.info("push to %s: there is no such client", escape(str(client_id)))
            return 0
        inbox = self._inbox
        count = len(self.hub.clients) if client_id is None else 1
        if inbox is None or count == 0:
            return 0
        size, burst = len(frame.json), inbox.burst
        if client_id is None:
            is_posted = inbox.post(size, burst.push, frame, self._sender())
        else:
            is_posted = inbox.post(size, burst.after, self.hub.deliver, frame, client_id)
        return count if is_posted else 0

    def _push_acked(self, message: Any, client_id: str | None, timeout: float | None) -> Ack:
        if client_id is None:
            raise ValueError("ack=True needs the client_id of one client")
        timeout = self._config.ack_timeout if timeout is None else timeout
        if not isinstance(timeout, (int, float)) or not timeout > 0:
            raise ValueError(f"ack_timeout takes seconds, more than 0, not {timeout!r}")
        inbox, door = self._inbox, self.hub.find(client_id)
        ack = Ack(f"a{next(self._ack_ids)}", client_id, None if inbox is None else inbox.reactor)
        frame = PushFrame(message, ack.id, self._config.json_default)
        if inbox is None or door is None:
            ack.end(GONE)
            return ack
        limit = self._config.max_pending_acks
        if door.pending_acks >= limit:
            raise PoolFull(f"{client_id} has not acknowledged {limit} pushes yet")
        deliver = self.hub.deliver_acked
        if not inbox.post(len(frame.json), inbox.burst.after, deliver, frame, ack, timeout):
            ack.end(GONE)
        return ack

    def publish(self, topic: str, message: Any) -> int:
        """Publish to all who hear a topic."""
        data = dumps(message, self._config.json_default)
        _check_topic(topic)
        inbox = self._inbox
        if inbox is None:
            return 0
        count = self.topics.count(topic)
        publish = self.topics.publish
        return count if inbox.post(len(data), inbox.burst.after, publish, topic, data) else 0

    def disconnect(self, client_id: str, reason: str = "") -> bool:
        """End a client's connection; it is told the reason."""
        inbox = self._inbox
        if inbox is None or self.hub.find(client_id) is None:
            return False
        dumps(reason)  # It is told the client: what cannot be, the caller must hear of.
        # Of no bytes: who is to go must go, however many pushes wait.
        return inbox.post(0, inbox.burst.after, self.hub.disconnect, client_id, reason)

    def topic(self, name: str, **options: Any) -> Topic:
        """Return a topic, or a pattern; with options, say how it is treated."""
        try:
            check_topic(name)
        except BadTopic as error:
            raise ConfigError(f"topic {name!r}: {error.message}") from None
        if options:
            self.topics.options.update(name, options)
        return Topic(name, self.topics, self.publish)


@functools.lru_cache(maxsize=1024)
def _check_topic(topic: str) -> None:
    """Raise BadTopic, a ValueError, for what no topic can be called, patterns among it."""
    try:
        check_topic(topic)
    except BadTopic as error:
        raise BadTopic(f"topic {topic!r}: {error.message}") from None
    if topic.endswith("*"):
        raise BadTopic(f"topic {topic!r} is a pattern: one publishes to a topic")
