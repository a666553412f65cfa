"""One TCP client: its commands in order, one at a time, and pushes in between.

Like `HttpChannel`, but a conversation without heads and bodies: a `MessageFramer` cuts the
stream, `decode` reads a message, a route answers it in the format of the question. A message
that cannot be read costs one error, never the connection: the framer is in step at the next.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
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
    Signal,
    decode,
    encode_answer,
    encode_chunk,
    encode_end,
    encode_error,
)
from ..protocol.push import Announcement, PushFrame
from ..reactor.transport import CloseReason, Transport
from .acks import ACKED, GONE, TIMEOUT, Ack
from .channel import CLOSED, CLOSING, HANDLING, IDLE, RECEIVING, SENDING, Channel, Service
from .push_queue import PushQueue
from .stream import StreamPull
from .topics import check_name

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

PING = Announcement("ping")
UNKNOWN_COMMAND = refusal_route(
    HTTPError(404, {"error": "Command not found", "code": "unknown_command"})
)


class TcpService(Service):
    """What all TCP channels of a server share: how an answer is encoded, what was dropped."""

    def __init__(self, *parts: Any, on_leaving: Callable[[Any], None]) -> None:
        super().__init__(*parts)
        self.on_leaving = on_leaving  # A client is told to go: it gets no more pushes.
        self.push_dropped = 0
        self.push_limit: int = self.config.tcp_send_limit
        # Up to how many unsent bytes a push goes straight to the transport, where it cannot be
        # dropped any more: so it is half of what may wait at most.
        self.push_direct = min(self.config.write_high_water, (self.push_limit + 1) // 2)

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
    connected_since, last_message: time.time(). topics: what it is subscribed to, None: nothing.
    """

    moves = NEXT

    __slots__ = (
        "_service",
        "_framer",
        "_request",
        "_pull",
        "_pushes",
        "_acks",
        "_at_eof",
        "_format",
        "_keep_alive",
        "_idle_since",
        "_heard",
        "_pinged",
        "client_id",
        "connected_at",
        "connected_since",
        "last_message",
        "bytes_in",
        "topics",
        "client",
    )

    def __init__(self, service: TcpService, transport: Transport, address: Any) -> None:
        config = service.config
        super().__init__(transport, address, inf)
        self._service = service
        self._framer = MessageFramer(config.tcp_max_message, config.tcp_max_depth)
        self._request: TCPRequest | None = None
        self._pull: StreamPull | None = None
        self._pushes: PushQueue | None = None  # Made when the transport has no room.
        self._acks: dict[str, Ack] | None = None  # Pushes that the client is to acknowledge.
        self._at_eof = False
        self._format = ""  # Of its last message: "json", "xml" or "raw".
        self._keep_alive: bool = config.tcp_keep_alive
        # Set once; any thread may read.
        self.client_id = f"{address[0]}:{address[1]}"
        now = service.reactor.now
        self.connected_at = self._idle_since = self._heard = now
        self._pinged = False  # Since it was last heard.
        self.connected_since = time.time()
        self.last_message: float | None = None
        self.bytes_in = 0
        self.topics: dict[str, Any] | None = None
        self.client: Any = None  # Of a long-lived one that was admitted: what the hooks are told.
        self._await_message()
        if self._keep_alive and config.so_keepalive:
            _probe_silence(transport)

    @property
    def is_long_lived(self) -> bool:
        """True where the connection stays after an answer, and can be pushed to."""
        return self._keep_alive

    def _await_message(self) -> None:
        """The client has the turn: until when may it be silent?"""
        now = self._idle_since = self._service.reactor.now
        if not self._keep_alive:
            self.deadline = now + FIRST_MESSAGE_TIMEOUT
        else:
            self.deadline = self._idle_deadline()

    def _idle_deadline(self) -> float:
        """Return when a long-lived client is to be asked whether it is there, or to be cut."""
        config = self._service.config
        deadline = self._idle_since + (config.tcp_idle_timeout or inf)
        if config.tcp_ping_interval and self._format == "json":
            deadline = min(deadline, self._heard + config.tcp_ping_interval * (1 + self._pinged))
        return deadline

    # --- from the transport

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        self.bytes_in += len(data)
        self._heard = self._service.reactor.now
        self._pinged = False
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
        if self._pushes is not None:
            self._send_waiting()
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
        self._pushes = None
        acks, self._acks = self._acks, None
        self._leave(pull)
        for ack in (acks or {}).values():
            ack.end(GONE)

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
            if isinstance(message, Signal):
                self._on_signal(message)
                return True
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
            self._await_message()
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
            self._await_message()

    def _on_signal(self, signal: Signal) -> None:
        """Not a command: a push is acknowledged, or the client is there."""
        self._format = signal.data_type
        if self.state is RECEIVING:
            self._move(IDLE)
        if self._keep_alive:  # It has asked for nothing: it is as idle as before.
            self.deadline = self._idle_deadline()
        ack = None if self._acks is None else self._acks.pop(signal.id, None)
        if ack is not None:
            ack.end(ACKED, signal.data)

    def _dispatch(self, message: Message) -> None:
        """Hand a message to the route of its command."""
        service = self._service
        self._format = message.data_type
        self.last_message = time.time()
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
        request._door = self
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
        if not self._keep_alive:
            self._close(CloseReason.DONE)
            return
        if self._service.is_stopping:
            self._say_shutdown()
            return
        self._move(IDLE)
        self._await_message()
        if self._framer.buffered or self._at_eof:
            if not self._advancing:
                self._advance()
        else:
            self._transport.resume_reading()

    def _status_of(self, request: TCPRequest) -> int:
        return request.response_status

    # --- what the server says unasked

    def deliver(self, frame: Announcement, topic: str | None, policy: str) -> None:
        """Push, or keep it until there is room; over the limit the policy decides (P4)."""
        state = self.state
        if state is CLOSING or state is CLOSED:
            return
        data = frame.xml if self._format == "xml" else frame.json
        transport, service = self._transport, self._service
        if self._pushes is None:
            unsent = transport.size
            if unsent == 0 or unsent + len(data) <= service.push_direct:
                transport.write(data)
                return
            self._pushes = PushQueue(transport, self, service.push_limit, service.push_direct)
        before = self._pushes.dropped
        is_kept_up_with = self._pushes.push(data, topic, policy)
        lost = self._pushes.dropped - before
        if lost:
            service.push_dropped += lost
        if not is_kept_up_with:
            log.warning("TCP %s is too slow for its pushes: disconnected", self.client_id)
            self.say_goodbye(
                "slow", f"{lost} messages could not be kept for you", CloseReason.SLOW_CLIENT
            )

    def deliver_acked(self, frame: PushFrame, ack: Ack, timeout: float, policy: str) -> None:
        """Push what the client is to acknowledge within `timeout` seconds."""
        if self._acks is None:
            self._acks = {}
        self._acks[ack.id] = ack
        ack.timer = self._service.reactor.call_later(timeout, self._on_ack_timeout, ack)
        self.deliver(frame, None, policy)
        if self.state is CLOSING or self.state is CLOSED:
            ack.end(GONE)

    def _on_ack_timeout(self, ack: Ack) -> None:
        if self._acks is not None:
            self._acks.pop(ack.id, None)
        ack.end(TIMEOUT)

    def send_loss(self, topic: str | None, count: int) -> None:
        """Tell the client that messages to it were given up (`PushQueue`)."""
        self._announce(Announcement("dropped", topic=topic, count=count))

    def _announce(self, news: Announcement) -> None:
        self._transport.write(news.xml if self._format == "xml" else news.json)

    def _send_waiting(self) -> None:
        pushes = self._pushes
        assert pushes is not None
        pushes.send()
        if pushes.is_idle:
            self._pushes = None  # An empty one costs as much as all the rest of a connection.

    @property
    def replay_room(self) -> int:
        """Bytes of missed messages that it can be sent at once: who was away is not slow."""
        limit: int = self._service.push_limit
        return limit // 2

    @property
    def queued(self) -> int:
        """Any thread: bytes that wait for this client."""
        pushes = self._pushes
        return self._transport.size + (0 if pushes is None else pushes.size)

    @property
    def pending_acks(self) -> int:
        """Any thread: pushes that this client has not acknowledged yet."""
        acks = self._acks
        return 0 if acks is None else len(acks)

    # --- what a handler asks of its connection (any thread)

    def subscribe(self, name: str, since: Any, info: Any) -> None:
        """Have the topics subscribe this client. Raises HTTPError."""
        topics = self._service.topics
        check_name(name)
        topics.check_room(self, name)
        self._service.reactor.call_in_turn(self._subscribe, name, since, info)

    def unsubscribe(self, name: str) -> None:
        """Have the topics unsubscribe this client."""
        topics = self._service.topics
        self._service.reactor.call_in_turn(topics.unsubscribe, self, check_name(name))

    def _subscribe(self, name: str, since: Any, info: Any) -> None:
        if self._keep_alive and self.state is not CLOSING and self.state is not CLOSED:
            self._service.topics.subscribe(self, name, since, info)

    # --- the end

    def on_deadline(self) -> None:
        """The deadline of the current state has passed."""
        state = self.state
        if state is IDLE:
            self._on_silence()
        elif state is RECEIVING:
            error = BadMessage("the message did not arrive in time")
            error.code = "timeout"
            error.data_type = self._framer.data_type
            self._answer_error(error, close=True)
        elif state is HANDLING:
            self._on_handling_timeout()
        elif state is CLOSING:
            self._end_closing()

    def _on_silence(self) -> None:
        """Nothing has come for long: is the client still there, and has it been idle too long?"""
        config, now = self._service.config, self._service.reactor.now
        if not self._keep_alive:
            self._close(CloseReason.IDLE_TIMEOUT)
        elif config.tcp_idle_timeout and now >= self._idle_since + config.tcp_idle_timeout:
            text = f"no message for {config.tcp_idle_timeout:g} s"
            self.say_goodbye("idle", text, CloseReason.IDLE_TIMEOUT)
        elif self._pinged:
            text = f"no answer to a ping for {config.tcp_ping_interval:g} s"
            self.say_goodbye("ping_timeout", text, CloseReason.PING_TIMEOUT)
        else:
            self._pinged = True
            self.deliver(PING, None, self._service.config.slow_client_policy)
            self.deadline = now + config.tcp_ping_interval

    def say_goodbye(self, reason: str, text: str, close_reason: CloseReason) -> None:
        """Tell the client why, then close: what waits for it is given up.

        Who does not even read that, within linger_timeout, is reset.
        """
        if self.state is CLOSING or self.state is CLOSED:
            return
        if self._pushes is not None:
            self._pushes.clear()
        self._say_closing(reason, text)
        self._close(close_reason)
        self.deadline = self._service.reactor.now + self._service.config.linger_timeout

    def greet(self, admit: Callable[[Any], bool], client: Any) -> None:
        """Have on_connect run on a worker; what the client sends meanwhile waits."""
        self.client = client
        self._move(HANDLING)
        self.deadline = inf
        try:
            self._service.workers.submit(admit, client, self._on_greeted)
        except PoolFull:
            self._on_greeted(False)

    def _on_greeted(self, is_admitted: Any) -> None:
        if self.state is not HANDLING:
            return
        if is_admitted is not True:
            self.client = None
            self.say_goodbye("refused", "the application refused you", CloseReason.REFUSED)
        elif self._service.is_stopping:
            self.say_goodbye("shutdown", "the server stops", CloseReason.SHUTDOWN)
        else:
            self._move(IDLE)
            self._await_message()
            self._advance()

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
            self._say_shutdown()

    def _say_shutdown(self) -> None:
        self._say_closing("shutdown", "the server stops")
        self._close(CloseReason.SHUTDOWN)

    def _say_closing(self, reason: str, text: str) -> None:
        # A client that speaks lines would take it for an answer: it sees the end, as ever.
        if self._keep_alive and (self._format != "raw" or self.topics):
            self._announce(Announcement("closing", reason=reason, text=text))

    def refuse_busy(self) -> None:
        """There are too many connections already: say so and close."""
        self._transport.write(encode_error("Service Unavailable", "busy", "raw"))
        self._close(CloseReason.BUSY)

    def _close(self, reason: CloseReason) -> None:
        if self._pushes is not None:
            self._pushes.flush()
        self._service.on_leaving(self)
        request = self._request
        if self.state is HANDLING and request is not None:
            # Its handler still runs: its answer, when it comes, has nobody to go to.
            request.gone = True
            self._overdue, self._request = request, None
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
