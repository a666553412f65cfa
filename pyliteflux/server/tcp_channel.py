"""One TCP client: its commands in order, one at a time, and pushes in between.

Like `HttpChannel`, but a conversation without heads and bodies: a `MessageFramer` cuts the
stream, `decode` reads a message, a route answers it in the format of the question. A message
that cannot be read costs one error, never the connection: the framer is in step at the next.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Any

from ..app.pipeline import Answer, Pipeline, refusal_route
from ..app.request import Request, TCPRequest
from ..app.response import StreamResponse
from ..app.routing import Router
from ..config import Config
from ..errors import BadMessage, HTTPError, PoolFull, ProtocolError, ReactorClosed
from ..headers import Headers
from ..log import escape
from ..log import framework as log
from ..protocol.framing import MessageFramer
from ..protocol.message import (
    NO_ID,
    Message,
    PushFrame,
    decode,
    encode_answer,
    encode_chunk,
    encode_end,
    encode_error,
)
from ..reactor.loop import Reactor
from ..reactor.transport import CloseReason, Transport
from ..reactor.workers import WorkerPool
from .stream import StreamPull

# Messages answered for one connection in one turn; then the others have theirs.
MESSAGES_PER_TURN = 16
# A client that connects for one answer (tcp_keep_alive off) must ask within this, in seconds.
FIRST_MESSAGE_TIMEOUT = 60.0


class State(Enum):
    """Whose turn it is. The same words as for HTTP."""

    IDLE = "between messages, no byte of the next"
    RECEIVING = "part of a message is here"
    HANDLING = "a handler has the turn; later bytes wait unparsed, up to a limit"
    SENDING = "a stream is under way, or more is unsent than the high watermark"
    CLOSING = "last bytes go out, then FIN, then we drain a little"
    CLOSED = "final"

    __hash__ = object.__hash__  # Members are unique; Enum's own hash is a Python call.


IDLE, RECEIVING, HANDLING = State.IDLE, State.RECEIVING, State.HANDLING
SENDING, CLOSING, CLOSED = State.SENDING, State.CLOSING, State.CLOSED

NEXT = {
    IDLE: {RECEIVING, HANDLING, SENDING, CLOSING, CLOSED},
    RECEIVING: {IDLE, HANDLING, SENDING, CLOSING, CLOSED},
    HANDLING: {IDLE, SENDING, CLOSING, CLOSED},
    SENDING: {IDLE, CLOSING, CLOSED},
    CLOSING: {CLOSED},
    CLOSED: set(),
}

UNKNOWN_COMMAND = refusal_route(
    HTTPError(404, {"error": "Command not found", "code": "unknown_command"})
)


class TcpService:
    """What all TCP channels of a server share. Set once, but for `is_stopping` and counts."""

    def __init__(
        self,
        reactor: Reactor,
        config: Config,
        router: Router,
        pipeline: Pipeline,
        workers: WorkerPool,
        streams: WorkerPool,
        on_closed: Callable[[TcpChannel], None],
        on_finished: Callable[[Request, int, int], None] | None = None,
    ) -> None:
        self.reactor = reactor
        self.config = config
        self.router = router
        self.pipeline = pipeline
        self.workers = workers
        self.streams = streams
        self.on_closed = on_closed
        self.on_finished = on_finished
        self.is_stopping = False
        self.requests = 0
        self.push_dropped = 0

    def handle(self, request: TCPRequest) -> bytes | Answer:
        """Answer a message, encoded. On the thread of the handler: bytes, or a stream."""
        answer = self.pipeline.handle_message(request)
        if answer.stream is not None:
            return answer
        data_type, id = request.data_type, request.message_id
        try:
            return encode_answer(_with_status(answer), data_type, id)
        except (TypeError, ValueError) as error:
            log.error(
                "TCP %s: the answer cannot be sent: %s",
                escape(request.command),
                escape(str(error)),
                extra={"request_id": request.request_id},
            )
            return encode_error("Internal Server Error", "internal", data_type, id)


def _with_status(answer: Answer) -> Any:
    """Return the value to send: a status that the handler set is added to it (T5)."""
    value, status, code = answer.value, answer.status, answer.code
    if code is not None:
        return {**value, "code": code} if isinstance(value, dict) else value
    if status is None:
        return value
    if not isinstance(value, dict):
        return {"data": value, "status": status}
    return value if value.get("code") == "unknown_command" else {**value, "status": status}


class TcpChannel:
    """One TCP connection. Reactor thread only, but for what is set once.

    client_id: "host:port" (T8). address: the peer's. connected_at: time.monotonic().
    """

    __slots__ = (
        "_service",
        "_transport",
        "_framer",
        "_request",
        "_pull",
        "_pushes",
        "_pushed_size",
        "_at_eof",
        "_sent",
        "_advancing",
        "_wants_xml",
        "_overdue",
        "_keep_alive",
        "client_id",
        "address",
        "connected_at",
        "state",
        "deadline",
        "__weakref__",
    )

    def __init__(self, service: TcpService, transport: Transport, address: Any) -> None:
        config = service.config
        self._service = service
        self._transport = transport
        self._framer = MessageFramer(config.tcp_max_message, config.tcp_max_depth)
        self._request: TCPRequest | None = None
        self._pull: StreamPull | None = None
        self._pushes: deque[bytes] | None = None  # What the transport has no room for.
        self._pushed_size = 0
        self._at_eof = False
        self._sent = 0
        self._advancing = False
        self._wants_xml = False
        self._overdue: TCPRequest | None = None  # Answered, but its handler still runs.
        self._keep_alive: bool = config.tcp_keep_alive
        # Set once; any thread may read.
        self.client_id = f"{address[0]}:{address[1]}"
        self.address = address
        self.connected_at = service.reactor.now
        self.state = IDLE
        self.deadline = service.reactor.now + self._idle_timeout()
        if self._keep_alive and config.so_keepalive:
            _probe_silence(transport)

    def _move(self, new: State) -> None:
        assert new in NEXT[self.state], (self.state, new)
        self.state = new

    @property
    def transport(self) -> Transport:
        """The connection's transport."""
        return self._transport

    @property
    def is_long_lived(self) -> bool:
        """True where the connection stays after an answer, and can be pushed to."""
        return self._keep_alive

    def _idle_timeout(self) -> float:
        if not self._keep_alive:
            return FIRST_MESSAGE_TIMEOUT
        return self._service.config.tcp_idle_timeout or inf

    # --- from the transport

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        self._framer.receive_data(data)
        if self.state is IDLE or self.state is RECEIVING:
            self._advance()
        elif self._framer.buffered >= self._service.config.recv_size:
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """The peer will send no more: answer what it has sent, then close."""
        self._at_eof = True
        self._framer.receive_eof()
        if self._request is not None:
            self._request.gone = True
        if self.state is IDLE or self.state is RECEIVING:
            self._advance()

    def flushed(self) -> None:
        """All that was written is with the kernel."""
        if self.state is CLOSING:
            if self._transport.fin_is_sent:
                self.deadline = self._service.reactor.now + self._service.config.linger_timeout
        else:
            self.drained()

    def drained(self) -> None:
        """There is room again: for pushes first, then for a stream or the next message."""
        self._send_pushes()
        if self.state is SENDING:
            if self._pull is not None:
                self._pull.go_on()
            elif not self._transport.is_congested:
                self._end_cycle()

    def connection_lost(self, reason: CloseReason) -> None:
        """The transport is closed: give back what this connection held."""
        if log.isEnabledFor(10):
            log.debug("TCP %s closed: %s", self.client_id, reason.value)
        if self._request is not None:
            self._request.gone = True
        pull, self._pull = self._pull, None
        if pull is not None:
            pull.cancel(self._service.pipeline.finish)
        if self.state is HANDLING:
            self._overdue = self._request  # Its handler is still at work.
        elif self._request is not None:
            self._finish_request(is_finished_by_stream=pull is not None)
        self._pushes = None
        self._pushed_size = 0
        self._move(CLOSED)
        self.deadline = inf
        self._service.on_closed(self)

    # --- messages

    def _advance(self) -> None:
        """Take messages from what is buffered, as far as it goes and its turn allows."""
        self._advancing = True
        try:
            for _ in range(MESSAGES_PER_TURN):
                if not self._receive_one():
                    return
                if self.state is not IDLE and self.state is not RECEIVING:
                    return
            if self._framer.buffered >= self._service.config.recv_size:
                self._transport.pause_reading()  # Or we would read faster than we answer.
            self._service.reactor.call_soon(self._continue)
        finally:
            self._advancing = False

    def _continue(self) -> None:
        if self.state is IDLE or self.state is RECEIVING:
            self._advance()

    def _receive_one(self) -> bool:
        """Dispatch the next message and return True, or False where more data is needed."""
        try:
            frame = self._framer.next_frame()
            if frame is None:
                self._await_data()
                return False
            message = decode(frame, self._service.config.tcp_max_depth)
        except BadMessage as error:
            self._answer_error(error)
            return True
        except ProtocolError as error:  # FrameTooLong: where the next message begins is unknown.
            self._answer_error(error, close=True)
            return False
        self._dispatch(message)
        return True

    def _await_data(self) -> None:
        config = self._service.config
        if self._at_eof:
            self._close(CloseReason.PEER_CLOSED)
            return
        if self._framer.is_mid_message:
            if self.state is IDLE:
                self._move(RECEIVING)
                self.deadline = self._service.reactor.now + config.tcp_message_timeout
        elif self.state is RECEIVING:  # Only the rest of a bad line was here.
            self._move(IDLE)
            self.deadline = self._service.reactor.now + self._idle_timeout()
        self._transport.resume_reading()

    def _answer_error(self, error: ProtocolError, close: bool = False) -> None:
        """Answer a message that could not be read, in its own format."""
        data_type = getattr(error, "data_type", "raw")
        self._transport.write(
            encode_error(str(error), error.code, data_type, getattr(error, "id", NO_ID))
        )
        if close or not self._keep_alive:
            self._close(CloseReason.PROTOCOL_ERROR if close else CloseReason.DONE)
        elif self._transport.is_congested:
            self._move(SENDING)  # Who sends errors and reads no answer must not fill our memory.
            self.deadline = inf
        elif self.state is RECEIVING:
            self._move(IDLE)
            self.deadline = self._service.reactor.now + self._idle_timeout()

    def _dispatch(self, message: Message) -> None:
        """Hand a message to the route of its command."""
        service = self._service
        self._wants_xml = message.data_type == "xml"
        self._request = request = TCPRequest(
            message.command,
            message.data,
            message.data_type,
            message.raw,
            Headers(list(message.headers.items())),
            self.address,
            service.config,
        )
        request.message_id = message.id
        request.gone = self._at_eof
        request._make_bg = service.pipeline.make_bg
        request.started = service.reactor.now
        request.route = route = service.router.resolve_command(message.command) or UNKNOWN_COMMAND
        self._move(HANDLING)
        timeout = service.config.handler_timeout
        self.deadline = service.reactor.now + timeout if timeout else inf
        try:
            route.run(service.workers.submit, service.handle, request, self.respond)
        except PoolFull:
            self.respond(encode_error("Service Unavailable", "busy", message.data_type, message.id))

    # --- answers

    def respond(self, answer: Any) -> None:
        """Send a handler's answer. Called once per message, on the reactor thread."""
        if self.state is not HANDLING:
            # The client has left, or has been told of the timeout.
            if isinstance(answer, Answer) and answer.stream is not None:
                self._discard(answer.stream)
            self._finish(self._overdue)
            self._overdue = None
            return
        request = self._request
        assert request is not None
        self.deadline = inf
        if isinstance(answer, Answer) and answer.stream is not None:
            self._start_stream(answer.stream, request)
            return
        if not isinstance(answer, bytes):
            log.error("a worker could not handle %r: %r", request, answer)
            answer = encode_error(
                "Internal Server Error", "internal", request.data_type, request.message_id
            )
        self._sent = len(answer)
        self._transport.write(answer)
        if self._transport.is_congested:
            self._move(SENDING)
        else:
            self._end_cycle()

    def _start_stream(self, response: StreamResponse, request: TCPRequest) -> None:
        """Send each item of a generator as a message of its own, then one that says "end"."""
        data_type, id = request.data_type, request.message_id
        self._move(SENDING)
        self._sent = 0
        self._pull = StreamPull(
            response.pieces,
            lambda item: encode_chunk(item, data_type, id),
            response.discard,
            request,
            self._service.streams,
            self._service.reactor,
            self._on_piece,
            self._on_stream_end,
            self._room,
        )
        self._pull.go_on()

    def _room(self) -> int:
        return self._transport.room

    def _on_piece(self, data: bytes) -> None:
        if self.state is SENDING:
            self._sent += len(data)
            self._transport.write(data)

    def _on_stream_end(self, error: BaseException | None) -> None:
        self._pull = None
        request = self._request
        if self.state is not SENDING or request is None:
            return
        data_type, id = request.data_type, request.message_id
        if error is None:
            self._transport.write(encode_end(data_type, id))
        else:
            self._transport.write(encode_error("Internal Server Error", "internal", data_type, id))
        if not self._transport.is_congested:
            self._end_cycle()

    def _end_cycle(self) -> None:
        """A message is answered: on to the next."""
        if self._request is not None and self._request.wants_close:
            self._keep_alive = False
        self._finish_request()
        if not self._keep_alive or self._service.is_stopping:
            self._close(CloseReason.DONE)
            return
        self._move(IDLE)
        self.deadline = self._service.reactor.now + self._idle_timeout()
        if self._framer.buffered or self._at_eof:
            if not self._advancing:
                self._advance()
        else:
            self._transport.resume_reading()

    def _finish_request(self, is_finished_by_stream: bool = False) -> None:
        request, self._request = self._request, None
        service = self._service
        service.requests += 1
        if request is not None:
            if service.on_finished is not None:
                service.on_finished(request, request.response_status, self._sent)
            if not is_finished_by_stream:
                self._finish(request)

    def _finish(self, request: TCPRequest | None) -> None:
        """Have a worker call `on_finish`, where there is any. Its handler has returned."""
        service = self._service
        if request is not None and service.pipeline.needs_finish(request):
            try:
                service.streams.submit(service.pipeline.finish, request)
            except (PoolFull, ReactorClosed) as error:
                log.error("%r: on_finish cannot run: %s", request, error)

    def _discard(self, stream: StreamResponse) -> None:
        try:
            self._service.streams.submit(lambda given_up: given_up.discard(), stream)
        except (PoolFull, ReactorClosed):
            pass  # The generator's own finalizer must do.

    # --- pushes

    def push(self, frame: PushFrame) -> None:
        """Send a push, or keep it until there is room; over the limit the policy decides (P4)."""
        if self.state is CLOSING or self.state is CLOSED:
            return
        data = frame.xml if self._wants_xml else frame.json
        config, transport = self._service.config, self._transport
        while self._is_too_much(len(data)) and transport.flush_is_due:
            transport.flush()  # A burst within one turn does not make a client slow.
        if self._is_too_much(len(data)):
            if not self._make_room(len(data), config.slow_client_policy):
                return
        if not self._pushes and transport.size < self._direct_limit():
            transport.write(data)
            return
        if self._pushes is None:
            self._pushes = deque()
        self._pushes.append(data)
        self._pushed_size += len(data)

    def _is_too_much(self, size: int) -> bool:
        # Answers in the transport are no pushes: a client that reads a long one is not slow.
        waiting = min(self._transport.size, self._direct_limit()) + self._pushed_size
        limit: int = self._service.config.tcp_send_limit
        return waiting > 0 and waiting + size > limit

    def _direct_limit(self) -> int:
        """Return up to how many unsent bytes a push goes straight to the transport.

        What is there cannot be dropped any more, so that it is half of what may wait at most.
        """
        config = self._service.config
        limit: int = min(config.write_high_water, (config.tcp_send_limit + 1) // 2)
        return limit

    def _make_room(self, size: int, policy: str) -> bool:
        """Deal with a client that does not keep up. Return True where the push is to be kept."""
        service = self._service
        pushes = self._pushes or deque()
        if policy == "disconnect":
            service.push_dropped += 1 + len(pushes)
            log.warning("TCP %s is too slow for its pushes: disconnected", self.client_id)
            self._transport.abort(CloseReason.SLOW_CLIENT)
            return False
        if policy == "drop_newest":
            service.push_dropped += 1
            return False
        in_transport = min(self._transport.size, self._direct_limit())
        limit = service.config.tcp_send_limit - in_transport - size
        while pushes and (policy == "latest" or self._pushed_size > limit):
            self._pushed_size -= len(pushes.popleft())
            service.push_dropped += 1
        return True

    def _send_pushes(self) -> None:
        pushes, transport = self._pushes, self._transport
        if pushes is None:
            return
        limit = self._direct_limit()
        while pushes and transport.size < limit and transport.is_open:
            data = pushes.popleft()
            self._pushed_size -= len(data)
            transport.write(data)
        if not pushes:
            self._pushes = None

    # --- the end

    def on_deadline(self) -> None:
        """The deadline of the current state has passed."""
        state = self.state
        if state is IDLE:
            self._close(CloseReason.IDLE_TIMEOUT)
        elif state is RECEIVING:
            error = BadMessage("the message did not arrive in time")
            error.code = "timeout"
            error.data_type = self._framer.data_type
            self._answer_error(error, close=True)
        elif state is HANDLING:
            self._on_handling_timeout()
        elif state is CLOSING:
            self._transport.close(CloseReason.LINGER_TIMEOUT)

    def _on_handling_timeout(self) -> None:
        service, request = self._service, self._request
        assert request is not None
        stack = service.workers.stack_of(request)
        log.error(
            "%r: the handler has not returned after %g s; it is here:\n%s",
            request,
            service.config.handler_timeout,
            stack.rstrip(),
        )
        if stack:
            service.workers.add_replacement()
        # Closed with it: the handler's own answer, when it comes, must not pass for another's.
        self._transport.write(
            encode_error("Gateway Timeout", "timeout", request.data_type, request.message_id)
        )
        self._overdue, self._request = request, None
        self._close(CloseReason.DONE)

    def on_failure(self, error: Exception) -> None:
        """A bug of ours came up while a call for this connection ran: it cannot go on."""
        self._transport.on_failure(error)

    def shutdown(self) -> None:
        """The server stops: end at once what is between messages; the rest ends when answered."""
        if self.state is IDLE or self.state is RECEIVING:
            self._close(CloseReason.SHUTDOWN)

    def refuse_busy(self) -> None:
        """There are too many connections already: say so and close."""
        self._transport.write(encode_error("Service Unavailable", "busy", "raw"))
        self._close(CloseReason.BUSY)

    def _close(self, reason: CloseReason) -> None:
        self._move(CLOSING)
        self.deadline = inf
        self._send_pushes()
        self._transport.finish(reason)

    def __repr__(self) -> str:
        return f"<TcpChannel {self.client_id} {self.state.name}>"


# The kernel's probes of a silent peer, in seconds and counts: it is given up after two minutes.
_PROBES = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))


def _probe_silence(transport: Transport) -> None:
    """SO_KEEPALIVE: find out about a peer whose machine or network has gone."""
    transport.set_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES:
        option = getattr(socket, name, None)
        if option is not None:
            transport.set_option(socket.IPPROTO_TCP, option, value)
