"""Events that come when they please: pushed by the application, or told to a topic's listeners.

The rule: who sends events never waits for who reads them. What is on its way to a client and
what waits for it counts together, and over the limit the client is cut, or events are dropped.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

from ..app.events import EventStream
from ..app.request import HTTPRequest
from ..errors import PoolFull, ReactorClosed
from ..log import framework as log
from ..protocol.push import Announcement
from ..push.push_queue import PushQueue
from ..reactor.transport import PIECE_COST
from ..why import CloseReason
from .http_reply import Rest
from .http_stream import HttpStream, Shared, StreamOwner
from .journal import Kind
from .stream_pull import Then

# Of a Last-Event-ID, in characters: ours are shorter.
MAX_EVENT_ID = 64


class EventFeed(HttpStream):
    """What the application pushes into an EventStream. Reactor thread only, but for `_deliver`."""

    __slots__ = ("_posted", "_arrived")

    _response: EventStream

    is_pushed = True

    def __init__(
        self,
        owner: StreamOwner,
        service: Shared,
        request: HTTPRequest,
        response: EventStream,
        rest: Rest,
    ) -> None:
        super().__init__(owner, service, request, response, rest)
        # Bytes of events, and what each costs: given to us (its senders), come here (reactor).
        self._posted = self._arrived = 0

    def start(self) -> None:
        """Connect to whoever pushes."""
        self._response.connect(self._deliver)

    def close(self) -> None:
        """End it properly, now: the server stops, and nobody else would end these events."""
        self.on_event(None)

    def cancel(self, then: Then) -> None:
        """The client has left, or is cut off: tell who pushes, then call `then`."""
        self._is_over = True
        self._disconnect(then)

    def _deliver(self, data: bytes | None) -> None:
        """Any thread, one at a time: an event to send, or None: the stream has been closed.

        What is on its way here counts as what waits here does. Once it is too much this stream
        will be cut, and nothing more is queued for it, however fast its sender is.
        """
        if data is not None:
            if self._posted - self._arrived > self._service.config.event_buffer:
                return
            self._posted += len(data) + PIECE_COST
        try:
            self._service.reactor.call_soon_threadsafe(self.on_event, data)
        except ReactorClosed:
            pass

    def on_event(self, data: bytes | None) -> None:
        """An event has come from its sender, or the end (None)."""
        limit = self._service.config.event_buffer
        is_overrun = self._posted - self._arrived > limit
        if data is not None:
            self._arrived += len(data) + PIECE_COST
        if self._is_over:
            return
        if data is None and not is_overrun:
            self._disconnect()
            self._end(True)
        elif data is None or is_overrun or self._transport.size + len(data) > limit:
            self._owner.note(Kind.PUSH_DROPPED, "event_buffer")
            self._transport.abort(CloseReason.SLOW_CLIENT)
        else:
            self.on_piece(data)

    def _disconnect(self, then: Then | None = None) -> None:
        """Tell the EventStream that nobody listens, on a worker: `on_close` is the user's."""
        try:
            self._service.cleanup.submit(self._run_disconnect, then)
        except (PoolFull, ReactorClosed):
            self._run_disconnect(then)

    def _run_disconnect(self, then: Then | None) -> None:
        # A copy: `on_finish` may be running in the request's context at the same time.
        try:
            self._request.context.copy().run(self._response.discard)
        except KeyboardInterrupt:
            raise
        except BaseException:
            log.exception("closing the stream of %r failed", self._request)
        if then is not None:
            then(self._request)


class TopicFeed(EventFeed):
    """The events of a topic: its `Listener`, and what the application pushes beside.

    topics: what it is subscribed to, else None.
    """

    __slots__ = ("_queue", "client_id", "topics")

    def __init__(
        self,
        owner: StreamOwner,
        service: Shared,
        request: HTTPRequest,
        response: EventStream,
        rest: Rest,
    ) -> None:
        super().__init__(owner, service, request, response, rest)
        self._queue: PushQueue | None = None  # What the transport has no room for.
        # Not the client's: many that one proxy stands for may have the same.
        self.client_id = request.connection_id
        self.topics: dict[str, int] | None = None

    def start(self) -> None:
        """Subscribe: a browser that comes back says what it has seen (HTML standard 9.2.4)."""
        super().start()
        topic = self._response.topic
        if topic is None or self._is_over:
            return
        since = self._request.headers.get("Last-Event-ID")
        if since is not None and len(since) > MAX_EVENT_ID:
            since = "?"  # None of ours: it has a gap.
        self._owner.note(Kind.SUBSCRIBED, topic)
        self._service.topics.subscribe(self, topic, since, self._response.info)

    def go_on(self) -> None:
        """The transport has drained: what waits comes first."""
        if self._queue is not None:
            self._queue.send()
            if self._queue.is_idle:
                self._queue = None

    def close(self) -> None:
        """The server stops: say so, behind all that waits."""
        if self.topics is not None:
            if self._queue is not None:
                self._queue.flush()
            self._tell(Announcement("closing", reason="shutdown", text="the server stops"))
        super().close()

    def cancel(self, then: Then) -> None:
        """The client has left, or is cut off: it listens no more."""
        self._is_over = True
        self._service.topics.drop(self)
        super().cancel(then)

    def _end(self, is_complete: bool) -> None:
        self._is_over = True
        self._service.topics.drop(self)
        if self._queue is not None:  # Of one that is too slow it is empty.
            self._queue.flush()
        super()._end(is_complete)

    def deliver(self, frame: Announcement, topic: str | None, policy: str) -> None:
        """Send an event, or keep it until there is room; over the limit the policy decides."""
        if self._is_over:
            return
        data = frame.event_chunk if self._chunked else frame.event
        transport = self._transport
        direct = (self._service.config.event_buffer + 1) // 2
        if self._queue is None and (transport.size == 0 or transport.size + len(data) <= direct):
            self._write(data, data)
        else:
            self._keep(data, direct, topic, policy)

    def _keep(self, data: bytes, direct: int, topic: str | None, policy: str) -> None:
        queue = self._queue
        if queue is None:
            limit = self._service.config.event_buffer
            queue = self._queue = PushQueue(self._transport, self, limit, direct)
        keeps_up = queue.push(data, topic, policy)
        if self._is_over:
            return  # The push has found out that nobody is there any more.
        self._queue = None if queue.is_idle else queue
        self.sent += len(data)
        self._last_write = self._service.reactor.now
        if not keeps_up:
            text = f"{queue.give_up()} events could not be kept for you"
            self._tell(Announcement("closing", reason="slow", text=text))
            self.close_reason = CloseReason.SLOW_CLIENT
            self._disconnect()
            self._end(False)

    def on_loss(self, topic: str | None) -> None:
        """An event was given up (`PushQueue`)."""
        self._service.topics.dropped += 1
        if topic is not None:
            self._service.topics.on_loss(topic)
        self._owner.note(Kind.PUSH_DROPPED, topic)

    def send_loss(self, topic: str | None, count: int) -> None:
        """Tell the client that events were given up (`PushQueue`)."""
        self._tell(Announcement("dropped", topic=topic, count=count))

    def replay_room(self) -> int:
        """Return how many bytes of missed events it can be sent at once."""
        return self._service.config.event_buffer // 2 - self._transport.size

    def _tell(self, news: Announcement) -> None:
        data = news.event_chunk if self._chunked else news.event
        self._write(data, data)
