"""One TCP client: its commands in order, one at a time, and pushes in between.

Like `HttpChannel`, but a conversation without heads and bodies: a `MessageFramer` cuts the
stream, `decode` reads a message, a route answers it in the format of the question. A message
that cannot be read costs one error, never the connection: the framer is in step at the next.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

import socket
from math import inf
from typing import Any

from ..app.pipeline import Answer, refusal_route
from ..app.request import TCPRequest
from ..app.response import StreamResponse
from ..errors import BadMessage, HTTPError, PoolFull, ProtocolError
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
from ..reactor.transport import CloseReason, Transport
from .channel import CLOSED, CLOSING, HANDLING, IDLE, RECEIVING, SENDING, Channel, Service
from .push_queue import PushQueue
from .stream import StreamPull

# Messages answered for one connection in one turn; then the others have theirs.
MESSAGES_PER_TURN = 16
# A client that connects for one answer (tcp_keep_alive off) must ask within this, in seconds.
FIRST_MESSAGE_TIMEOUT = 60.0


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


class TcpService(Service):
    """What all TCP channels of a server share: how an answer is encoded, what was dropped."""

    def __init__(self, *parts: Any, **more: Any) -> None:
        super().__init__(*parts, **more)
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


class TcpChannel(Channel):
    """One TCP connection. Reactor thread only, but for what is set once.

    client_id: "host:port" (T8). address: the peer's. connected_at: time.monotonic().
    """

    moves = NEXT

    __slots__ = (
        "_service",
        "_framer",
        "_request",
        "_pull",
        "_pushes",
        "_at_eof",
        "_wants_xml",
        "_keep_alive",
        "client_id",
        "connected_at",
    )

    def __init__(self, service: TcpService, transport: Transport, address: Any) -> None:
        config = service.config
        super().__init__(transport, address, inf)
        self._service = service
        self._framer = MessageFramer(config.tcp_max_message, config.tcp_max_depth)
        self._request: TCPRequest | None = None
        self._pull: StreamPull | None = None
        self._pushes = PushQueue(transport, config)
        self._at_eof = False
        self._wants_xml = False
        self._keep_alive: bool = config.tcp_keep_alive
        # Set once; any thread may read.
        self.client_id = f"{address[0]}:{address[1]}"
        self.connected_at = service.reactor.now
        self.deadline = service.reactor.now + self._idle_timeout()
        if self._keep_alive and config.so_keepalive:
            _probe_silence(transport)

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
            self._await_fin()
        else:
            self.drained()

    def drained(self) -> None:
        """There is room again: for pushes first, then for a stream or the next message."""
        self._pushes.send()
        if self.state is SENDING:
            if self._pull is not None:
                self._pull.go_on()
            elif not self._transport.is_congested:
                self._end_cycle()

    def connection_lost(self, reason: CloseReason) -> None:
        """The transport is closed: give back what this connection held."""
        if log.isEnabledFor(10):
            log.debug("TCP %s closed: %s", self.client_id, reason.value)
        pull, self._pull = self._pull, None
        self._pushes.clear()
        self._leave(pull)

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
        request._make_bg = service.make_bg
        request.started = service.reactor.now
        request.route = route = service.router.resolve_command(message.command) or UNKNOWN_COMMAND
        self._move(HANDLING)
        self.deadline = self._handler_deadline()
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
                self._give_up(answer.stream)
            self._finish_overdue()
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

    def _status_of(self, request: TCPRequest) -> int:
        return request.response_status

    # --- pushes

    def push(self, frame: PushFrame) -> None:
        """Send a push, or keep it until there is room; over the limit the policy decides (P4)."""
        if self.state is CLOSING or self.state is CLOSED:
            return
        pushes = self._pushes
        before = pushes.dropped
        is_kept_up_with = pushes.push(frame.xml if self._wants_xml else frame.json)
        self._service.push_dropped += pushes.dropped - before
        if not is_kept_up_with:
            log.warning("TCP %s is too slow for its pushes: disconnected", self.client_id)
            self._transport.abort(CloseReason.SLOW_CLIENT)

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
        self._report_stuck_handler()
        request = self._request
        assert request is not None
        # Closed with it: the handler's own answer, when it comes, must not pass for another's.
        self._transport.write(
            encode_error("Gateway Timeout", "timeout", request.data_type, request.message_id)
        )
        self._overdue, self._request = request, None
        self._close(CloseReason.DONE)

    def shutdown(self) -> None:
        """The server stops: end at once what is between messages; the rest ends when answered."""
        if self.state is IDLE or self.state is RECEIVING:
            self._close(CloseReason.SHUTDOWN)

    def refuse_busy(self) -> None:
        """There are too many connections already: say so and close."""
        self._transport.write(encode_error("Service Unavailable", "busy", "raw"))
        self._close(CloseReason.BUSY)

    def _close(self, reason: CloseReason) -> None:
        self._pushes.send()
        super()._close(reason)


# The kernel's probes of a silent peer, in seconds and counts: it is given up after two minutes.
_PROBES = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))


def _probe_silence(transport: Transport) -> None:
    """SO_KEEPALIVE: find out about a peer whose machine or network has gone."""
    transport.set_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES:
        option = getattr(socket, name, None)
        if option is not None:
            transport.set_option(socket.IPPROTO_TCP, option, value)
