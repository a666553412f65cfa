"""A response that is produced while it is sent: how it is framed, and pulled from a generator.

The rule: a body cut short must never look complete. A chunked one then lacks its last chunk,
one with a length lacks bytes, and where the end of the connection is the end of the body
(HTTP/1.0) the connection is reset.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

from math import inf
from typing import Any, ClassVar, Protocol

from ..app.events import HEARTBEAT, EventStream
from ..app.request import HTTPRequest
from ..app.response import StreamResponse
from ..log import framework as log
from ..protocol.http_response import LAST_CHUNK, encode_chunk
from ..push.topics import Topics
from ..reactor.transport import Transport
from ..why import CloseReason
from .http_reply import Rest
from .journal import Kind
from .stream_pull import StreamPull, Then, Threads

# Between the two comments that find out whether a silent listener is still there, in seconds.
PROBE_DELAY = 0.25


class Shared(Threads, Protocol):
    """What streams share with their channel: a service."""

    topics: Topics


class StreamOwner(Protocol):
    """Whose response it is: the channel."""

    @property
    def transport(self) -> Transport:
        """The connection's transport."""

    def note(self, kind: Kind, detail: Any = None) -> None:
        """Remember an event, for `server.why`."""

    def on_stream_end(self, is_complete: bool) -> None:
        """Called once: is the body complete? What is unsent is with the transport."""


class HttpStream:
    """One streamed response: its framing, its heartbeat, its end. Reactor thread only.

    Those below say where the pieces come from. is_pushed: from whoever pleases, so there is no
    end to wait for. pull: who steps the generator, where there is one. sent: bytes of content.
    close_reason: why the connection is to end after it; None where it need not.
    """

    __slots__ = (
        "_owner",
        "_service",
        "_transport",
        "_request",
        "_response",
        "_chunked",
        "_left",
        "_heartbeat",
        "_last_write",
        "_is_over",
        "sent",
        "pull",
        "close_reason",
    )

    is_pushed: ClassVar[bool]

    def __init__(
        self,
        owner: StreamOwner,
        service: Shared,
        request: HTTPRequest,
        response: StreamResponse,
        rest: Rest,
    ) -> None:
        self._owner = owner
        self._service = service
        self._transport = owner.transport
        self._request = request
        self._response = response
        self._chunked = rest.chunked
        self._left = rest.length  # Bytes that were promised and have not come yet.
        # Who reads events expects a sign of life, so many seconds after the last; others do not.
        self._heartbeat = service.config.heartbeat if isinstance(response, EventStream) else inf
        self._last_write = service.reactor.now
        self._is_over = False
        self.sent = 0
        self.pull: StreamPull | None = None
        self.close_reason: CloseReason | None = None

    @property
    def is_framed(self) -> bool:
        """True where the client can tell a whole body from one that was cut short."""
        return self._chunked or self._left is not None

    def start(self) -> None:
        """Begin to pull, or connect to whoever pushes."""
        raise NotImplementedError

    def go_on(self) -> None:
        """The transport has drained."""

    def close(self) -> None:
        """End it properly, now: the server stops, and nobody else would end it."""

    def cancel(self, then: Then) -> None:
        """The client has left, or is cut off: give back what produces for it.

        then: called on a worker with the request, when that is done.
        """
        raise NotImplementedError

    def beat(self) -> float:
        """Send a comment where events have been silent for long; return when to look again."""
        now = self._service.reactor.now
        if now - self._last_write >= self._heartbeat:
            self.on_piece(HEARTBEAT)
        return self._last_write + self._heartbeat

    def eof_received(self) -> None:
        """The peer has closed its half; find out whether it has left, as events may be rare.

        A peer that has left answers a comment with a reset, and the next one runs into that.
        A peer that only sends no more ignores both.
        """
        if self._heartbeat is not inf:
            self.on_piece(HEARTBEAT)
            self._service.reactor.call_later(PROBE_DELAY, self.on_piece, HEARTBEAT)

    def on_failure(self, error: BaseException) -> None:
        """A bug of ours came up while a call for this stream ran: its connection cannot go on."""
        self._transport.on_failure(error)

    def on_piece(self, data: bytes) -> None:
        """A piece has been produced: frame it."""
        if self._is_over:
            return
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self.sent += len(data)
                log.error("%r: the stream is longer than its Content-Length", self._request)
                self._owner.note(Kind.STREAM_FAILED, "it is longer than its Content-Length")
                self._transport.abort(CloseReason.STREAM_FAILED)
                return
        self._write(data, encode_chunk(data) if self._chunked else data)

    def _write(self, data: bytes, framed: bytes) -> None:
        self.sent += len(data)
        self._last_write = self._service.reactor.now
        self._transport.write(framed)

    def _end(self, is_complete: bool) -> None:
        self._is_over = True
        if is_complete and self._chunked:
            self._transport.write(LAST_CHUNK)
        self._owner.on_stream_end(is_complete)


class PulledStream(HttpStream):
    """A body, or events, pulled from a generator while the client keeps up."""

    __slots__ = ()

    is_pushed = False

    def start(self) -> None:
        """Begin to pull."""
        self.pull = StreamPull(self._response, self, self._request, self._service)
        self.pull.go_on()

    def go_on(self) -> None:
        """The transport has drained."""
        if self.pull is not None:
            self.pull.go_on()

    def cancel(self, then: Then) -> None:
        """The client has left: close the generator, then call `then` with the request."""
        self._is_over = True
        assert self.pull is not None
        self.pull.cancel(then)

    @property
    def room(self) -> int:
        """How many bytes may be produced now."""
        return self._transport.room

    def on_end(self, error: BaseException | None) -> None:
        """The generator is exhausted, or has raised (and that has been logged)."""
        if self._is_over:
            return
        if error is None and self._left:
            log.error("%r: the stream is shorter than its Content-Length", self._request)
        self._end(error is None and not self._left)
