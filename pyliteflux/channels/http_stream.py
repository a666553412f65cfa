"""A response that is produced while it is sent: pulled from a generator, or pushed as events.

The rule: a body cut short must never look complete. A chunked one then lacks its last chunk,
one with a length lacks bytes, and where the end of the connection is the end of the body
(HTTP/1.0) the connection is reset.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from ..app.events import HEARTBEAT, EventStream
from ..app.request import HTTPRequest
from ..app.response import StreamResponse
from ..config import Config
from ..errors import PoolFull, ReactorClosed
from ..log import framework as log
from ..protocol.http_response import LAST_CHUNK, encode_chunk
from ..protocol.push import Announcement
from ..push.push_queue import PushQueue
from ..push.topics import Topics
from ..reactor.loop import Reactor
from ..reactor.transport import PIECE_COST, Transport
from ..reactor.workers import WorkerPool
from ..why import CloseReason
from .journal import Kind
from .stream_pull import StreamPull

# Between the two comments that find out whether a silent listener is still there, in seconds.
PROBE_DELAY = 0.25
# Of a Last-Event-ID, in characters: ours are shorter.
MAX_EVENT_ID = 64


class HttpStream:
    """One streamed response. Reactor thread only.

    chunked: the framing; else `length` bytes, or up to the end of the connection. on_end:
    called once, with True where the body is complete (what is unsent is with the transport).
    note: the channel's, for its story.
    Of a topic it is the `Listener`; topics: what it is subscribed to, then, else None.
    close_reason: why the connection is to end after it; None where it need not.
    """

    __slots__ = (
        "_transport",
        "_reactor",
        "_pool",
        "_config",
        "_request",
        "_response",
        "_chunked",
        "_left",
        "_on_end",
        "_pull",
        "_last_write",
        "_is_over",
        "_posted",
        "_arrived",
        "_topics",
        "_queue",
        "_note",
        "_cleanup",
        "sent",
        "client_id",
        "topics",
        "close_reason",
    )

    def __init__(
        self,
        transport: Transport,
        reactor: Reactor,
        pool: WorkerPool,
        config: Config,
        request: HTTPRequest,
        response: StreamResponse,
        chunked: bool,
        length: int | None,
        on_end: Callable[[bool], None],
        topics: Topics,
        note: Callable[[Kind, Any], None],
        cleanup: WorkerPool,
    ) -> None:
        self._note = note
        self._cleanup = cleanup
        self._topics = topics
        self._queue: PushQueue | None = None  # Of a topic: what the transport has no room for.
        # Not the client's: many that one proxy stands for may have the same.
        self.client_id = request.connection_id
        self.topics: dict[str, int] | None = None
        self.close_reason: CloseReason | None = None
        self._transport = transport
        self._reactor = reactor
        self._pool = pool
        self._config = config
        self._request = request
        self._response = response
        self._chunked = chunked
        self._left = length  # Bytes that were promised and have not come yet.
        self._on_end = on_end
        self._pull: StreamPull | None = None
        self._last_write = reactor.now
        self._is_over = False
        # Bytes of events, and what each costs: given to us (its senders), come here (reactor).
        self._posted = self._arrived = 0
        self.sent = 0  # Bytes of content.

    @property
    def is_framed(self) -> bool:
        """True where the client can tell a whole body from one that was cut short."""
        return self._chunked or self._left is not None

    @property
    def is_pushed(self) -> bool:
        """True for events that come when they please: such a stream has no end to wait for."""
        return isinstance(self._response, EventStream) and self._response.is_pushed

    @property
    def pull(self) -> StreamPull | None:
        """Who steps the generator; None where events are pushed."""
        return self._pull

    def start(self) -> None:
        """Begin to pull, or connect to whoever pushes."""
        response = self._response
        if isinstance(response, EventStream) and response.is_pushed:
            response.connect(self._deliver)
            if response.topic is not None and not self._is_over:
                self._listen(response.topic, response.info)
            return
        self._pull = StreamPull(
            response.remaining,
            response.encode_piece,
            response.discard,
            self._request,
            self._pool,
            self._reactor,
            self._on_piece,
            self._on_pull_end,
            self._room,
            bool(self._config.stream_step_timeout),
            self._cleanup,
        )
        self._pull.go_on()

    def go_on(self) -> None:
        """The transport has drained."""
        if self._pull is not None:
            self._pull.go_on()
        elif self._queue is not None:
            self._queue.send()
            if self._queue.is_idle:
                self._queue = None

    def beat(self) -> float:
        """Send a comment on an event stream that has been silent; return when to look again."""
        if not isinstance(self._response, EventStream):
            return inf
        now = self._reactor.now
        interval = self._config.heartbeat
        if now - self._last_write >= interval:
            self._on_piece(HEARTBEAT)
        return self._last_write + interval

    def eof_received(self) -> None:
        """The peer has closed its half; find out whether it has left, as events may be rare.

        A peer that has left answers a comment with a reset, and the next one runs into that.
        A peer that only sends no more ignores both.
        """
        if isinstance(self._response, EventStream):
            self._on_piece(HEARTBEAT)
            self._reactor.call_later(PROBE_DELAY, self._on_piece, HEARTBEAT)

    def close(self) -> None:
        """End it properly, now: the server stops, and nobody else would end these events."""
        if self.topics is not None:
            if self._queue is not None:
                self._queue.flush()
            news = Announcement("closing", reason="shutdown", text="the server stops")
            self._write_event(self._form(news))
        self._on_event(None)

    def cancel(self, then: Callable[[Any], object]) -> None:
        """The client has left, or is cut off: close the generator, tell who pushes.

        then: called on a worker with the request, when that is done.
        """
        self._is_over = True
        self._topics.drop(self)
        if self._pull is not None:
            self._pull.cancel(then)
        else:
            self._disconnect(then)

    def on_failure(self, error: BaseException) -> None:
        """A bug of ours came up while a call for this stream ran: its connection cannot go on."""
        self._transport.on_failure(error)

    def _room(self) -> int:
        return self._transport.room

    def _on_piece(self, data: bytes) -> None:
        """A piece has been produced: frame it."""
        if self._is_over:
            return
        self.sent += len(data)
        self._last_write = self._reactor.now
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                log.error("%r: the stream is longer than its Content-Length", self._request)
                self._note(Kind.STREAM_FAILED, "it is longer than its Content-Length")
                self._transport.abort(CloseReason.STREAM_FAILED)
                return
        self._transport.write(encode_chunk(data) if self._chunked else data)

    def _on_pull_end(self, error: BaseException | None) -> None:
        """The generator is exhausted, or has raised (and that has been logged)."""
        if self._is_over:
            return
        if error is None and self._left:
            log.error("%r: the stream is shorter than its Content-Length", self._request)
        self._end(error is None and not self._left)

    def _end(self, is_complete: bool) -> None:
        self._is_over = True
        self._topics.drop(self)
        if self._queue is not None:  # Of one that is too slow it is empty.
            self._queue.flush()
        if is_complete and self._chunked:
            self._transport.write(LAST_CHUNK)
        self._on_end(is_complete)

    def _deliver(self, data: bytes | None) -> None:
        """Any thread, one at a time: an event to send, or None: the stream has been closed.

        What is on its way here counts as what waits here does. Once it is too much this stream
        will be cut, and nothing more is queued for it, however fast its sender is.
        """
        if data is not None:
            if self._posted - self._arrived > self._config.event_buffer:
                return
            self._posted += len(data) + PIECE_COST
        try:
            self._reactor.call_soon_threadsafe(self._on_event, data)
        except ReactorClosed:
            pass

    def _on_event(self, data: bytes | None) -> None:
        limit = self._config.event_buffer
        is_overrun = self._posted - self._arrived > limit
        if data is not None:
            self._arrived += len(data) + PIECE_COST
        if self._is_over:
            return
        if data is None and not is_overrun:
            self._disconnect()
            self._end(True)
        elif data is None or is_overrun or self._transport.size + len(data) > limit:
            self._note(Kind.PUSH_DROPPED, "event_buffer")
            self._transport.abort(CloseReason.SLOW_CLIENT)
        else:
            self._on_piece(data)

    # --- a topic

    def _listen(self, topic: str, info: Any) -> None:
        """Subscribe: a browser that comes back says what it has seen (HTML standard 9.2.4)."""
        since = self._request.headers.get("Last-Event-ID")
        if since is not None and len(since) > MAX_EVENT_ID:
            since = "?"  # None of ours: it has a gap.
        self._note(Kind.SUBSCRIBED, topic)
        self._topics.subscribe(self, topic, since, info)

    def deliver(self, frame: Announcement, topic: str | None, policy: str) -> None:
        """Send an event, or keep it until there is room; over the limit the policy decides."""
        if self._is_over:
            return
        data = frame.event_chunk if self._chunked else frame.event
        transport = self._transport
        direct = (self._config.event_buffer + 1) // 2
        if self._queue is None and (transport.size == 0 or transport.size + len(data) <= direct):
            self._write_event(data)
        else:
            self._queue_event(data, direct, topic, policy)

    def _queue_event(self, data: bytes, direct: int, topic: str | None, policy: str) -> None:
        queue = self._queue
        if queue is None:
            limit = self._config.event_buffer
            queue = self._queue = PushQueue(self._transport, self, limit, direct)
        keeps_up = queue.push(data, topic, policy)
        if self._is_over:
            return  # The push has found out that nobody is there any more.
        self._queue = None if queue.is_idle else queue
        self.sent += len(data)
        self._last_write = self._reactor.now
        if not keeps_up:
            text = f"{queue.give_up()} events could not be kept for you"
            self._write_event(self._form(Announcement("closing", reason="slow", text=text)))
            self.close_reason = CloseReason.SLOW_CLIENT
            self._disconnect()
            self._end(False)

    def on_loss(self, topic: str | None) -> None:
        """An event was given up (`PushQueue`)."""
        self._topics.dropped += 1
        if topic is not None:
            self._topics.on_loss(topic)
        self._note(Kind.PUSH_DROPPED, topic)

    def send_loss(self, topic: str | None, count: int) -> None:
        """Tell the client that events were given up (`PushQueue`)."""
        self._write_event(self._form(Announcement("dropped", topic=topic, count=count)))

    def replay_room(self) -> int:
        """Return how many bytes of missed events it can be sent at once."""
        return self._config.event_buffer // 2 - self._transport.size

    def _form(self, news: Announcement) -> bytes:
        return news.event_chunk if self._chunked else news.event

    def _write_event(self, data: bytes) -> None:
        self.sent += len(data)
        self._last_write = self._reactor.now
        self._transport.write(data)

    def _disconnect(self, then: Callable[[Any], object] | None = None) -> None:
        """Tell the EventStream that nobody listens, on a worker: `on_close` is the user's."""
        try:
            self._cleanup.submit(self._run_disconnect, then)
        except (PoolFull, ReactorClosed):
            self._run_disconnect(then)

    def _run_disconnect(self, then: Callable[[Any], object] | None) -> None:
        # A copy: `on_finish` may be running in the request's context at the same time.
        try:
            self._request.context.copy().run(self._response.discard)
        except KeyboardInterrupt:
            raise
        except BaseException:
            log.exception("closing the stream of %r failed", self._request)
        if then is not None:
            then(self._request)
