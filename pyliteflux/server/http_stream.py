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
from ..reactor.loop import Reactor
from ..reactor.transport import CloseReason, Transport
from ..reactor.workers import WorkerPool
from .stream import StreamPull

# Between the two comments that find out whether a silent listener is still there, in seconds.
PROBE_DELAY = 0.25


class HttpStream:
    """One streamed response. Reactor thread only.

    chunked: the framing; else `length` bytes, or up to the end of the connection. on_end:
    called once, with True where the body is complete (what is unsent is with the transport).
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
        "sent",
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
    ) -> None:
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
        self.sent = 0  # Bytes of content.

    @property
    def is_framed(self) -> bool:
        """True where the client can tell a whole body from one that was cut short."""
        return self._chunked or self._left is not None

    @property
    def is_pushed(self) -> bool:
        """True for events that come when they please: such a stream has no end to wait for."""
        return isinstance(self._response, EventStream) and self._response.is_pushed

    def start(self) -> None:
        """Begin to pull, or connect to whoever pushes."""
        response = self._response
        if isinstance(response, EventStream) and response.is_pushed:
            response.connect(self._deliver)
            return
        self._pull = StreamPull(
            response.pieces,
            response.encode_piece,
            response.discard,
            self._request,
            self._pool,
            self._reactor,
            self._on_piece,
            self._on_pull_end,
            self._room,
        )
        self._pull.go_on()

    def go_on(self) -> None:
        """The transport has drained."""
        if self._pull is not None:
            self._pull.go_on()

    def beat(self) -> float:
        """Send a comment on an event stream that has been silent; return when to look again."""
        if not isinstance(self._response, EventStream):
            return inf
        now = self._reactor.now
        interval: float = self._config.heartbeat
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
        self._on_event(None)

    def cancel(self, then: Callable[[Any], object]) -> None:
        """The client has left, or is cut off: close the generator, tell who pushes.

        then: called on a worker with the request, when that is done.
        """
        self._is_over = True
        if self._pull is not None:
            self._pull.cancel(then)
        else:
            self._disconnect(then)

    def on_failure(self, error: Exception) -> None:
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
        if is_complete and self._chunked:
            self._transport.write(LAST_CHUNK)
        self._on_end(is_complete)

    def _deliver(self, data: bytes | None) -> None:
        """Any thread: an event to send, or None: the stream has been closed."""
        try:
            self._reactor.call_soon_threadsafe(self._on_event, data)
        except ReactorClosed:
            pass

    def _on_event(self, data: bytes | None) -> None:
        if self._is_over:
            return
        if data is None:
            self._disconnect()
            self._end(True)
        elif self._transport.size + len(data) > self._config.event_buffer:
            self._transport.abort(CloseReason.SLOW_CLIENT)
        else:
            self._on_piece(data)

    def _disconnect(self, then: Callable[[Any], object] | None = None) -> None:
        """Tell the EventStream that nobody listens, on a worker: `on_close` is the user's."""
        try:
            self._pool.submit(self._run_disconnect, then)
        except (PoolFull, ReactorClosed):
            self._run_disconnect(then)

    def _run_disconnect(self, then: Callable[[Any], object] | None) -> None:
        # A copy: `on_finish` may be running in the request's context at the same time.
        self._request.context.copy().run(self._response.discard)
        if then is not None:
            then(self._request)
