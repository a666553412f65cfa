"""One TCP client: its commands in order, one at a time, and pushes in between.

Like `HttpChannel`, but a conversation without heads and bodies: a `Framer` cuts the
stream, `decode` reads a message, a route answers it in the format of the question. A message
that cannot be read costs one error, never the connection: the framer is in step at the next.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import Any

from ..app.context import current_scope
from ..app.request import NO_HEADERS, Request, TCPRequest
from ..app.response import StreamResponse
from ..endpoint import Peer
from ..errors import NO_ID, BadMessage, MessageTimeout, ProtocolError, WrongPort
from ..headers import Headers
from ..log import framework as log
from ..probes import probe_silence
from ..protocol.frame import Frame
from ..protocol.framers import Framer, Framing, hand_over
from ..protocol.message import Command, Signal, decode, encode_end, encode_error
from ..protocol.push import Announcement
from ..push.acks import ACKED
from ..reactor.life import READING
from ..reactor.transport import Transport
from ..why import CloseReason
from ..word import before
from .channel import (
    CLOSED,
    CLOSING,
    GREETING,
    HANDLING,
    IDLE,
    LISTENING,
    RECEIVING,
    SENDING,
    STREAMING,
    State,
)
from .decoding import DECODED_HERE, SLOW, Undecoded, decode_whole
from .journal import DETAIL_LIMIT, MESSAGE, Kind
from .lookahead import LookAhead, Said
from .message_service import ItemSource, MessageService
from .pushed_channel import PushedChannel
from .stream_pull import StreamPull

# Messages answered for one connection in one turn; then the others have theirs.
MESSAGES_PER_TURN = 16
_TURN = range(MESSAGES_PER_TURN)  # Made once, not per message.
# A client that connects for one answer (tcp_keep_alive off) must ask within this, in seconds.
FIRST_MESSAGE_TIMEOUT = 60.0


NEXT = {
    IDLE: {GREETING, RECEIVING, HANDLING, SENDING, CLOSING, CLOSED},
    GREETING: {IDLE, CLOSING, CLOSED},
    RECEIVING: {IDLE, HANDLING, SENDING, CLOSING, CLOSED},
    HANDLING: {IDLE, STREAMING, SENDING, CLOSING, CLOSED},
    STREAMING: {SENDING, CLOSING, CLOSED},
    SENDING: {IDLE, CLOSING, CLOSED},
    CLOSING: {CLOSED},
    CLOSED: set(),
}
# What comes meanwhile waits, but for the signals.
_AT_WORK = (GREETING, HANDLING, STREAMING, SENDING)
# The two moves of each message are checked in place, as in HttpChannel.
_BEFORE_HANDLING = before(NEXT, HANDLING)
_BEFORE_IDLE = before(NEXT, IDLE)

PING, PONG = Announcement("ping"), Announcement("pong")


class MessageChannel(PushedChannel):
    """One TCP connection. Reactor thread only, but for what is set once.

    client_id: "host:port" (T8). address: the peer's. connected_at, last_message_at:
    time.monotonic(). connected_since: time.time(). topics: what it is subscribed to, None: nothing.
    """

    protocol = "tcp"
    asks = MESSAGE
    # It asks one thing at a time and awaits the answer: it can as well await a worker. What it
    # sends meanwhile stays with it, as ever while a message is handled.
    may_refuse = False

    __slots__ = (
        "_framer",
        "_ahead",
        "_undecoded",
        "_newcomer",
        "_pull",
        "_at_eof",
        "_idle_since",
        "_heard",
        "_pinged",
        "connected_since",
        "last_message_at",
        "bytes_in",
    )

    def __init__(self, service: MessageService, transport: Transport, peer: Peer) -> None:
        config = service.config
        super().__init__(service, transport, peer)
        self._framer: Framer = service.framing.make(config)
        self._ahead: LookAhead | None = None  # Made when something comes behind a message.
        self._undecoded: Undecoded | None = None
        self._newcomer: Any = None  # Whose on_connect is due, or running.
        self._pull: StreamPull | None = None
        self._at_eof = False
        # Set once; any thread may read.
        now = service.reactor.now
        self.connected_at = self._idle_since = self._heard = now
        self._pinged = False  # Since it was last heard.
        self.connected_since = time.time()
        self.last_message_at: float | None = None
        self.bytes_in = 0
        self._await_message()
        if self._keep_alive and config.so_keepalive:
            probe_silence(transport.set_option)

    @property
    def is_long_lived(self) -> bool:
        """True where the connection stays after an answer, and can be pushed to."""
        return self._keep_alive

    def _await_message(self) -> None:
        """The client has the turn: until when may it be silent?"""
        service = self._service
        now = self._idle_since = service.reactor.now
        if not self._keep_alive:
            self.deadline = now + FIRST_MESSAGE_TIMEOUT
        elif service.minds_silence:
            self.deadline = self._idle_deadline()
        else:
            self.deadline = inf

    def _idle_deadline(self) -> float:
        """Return when a long-lived client is to be asked whether it is there, or to be cut."""
        config = self._service.config
        deadline = self._idle_since + (config.tcp_idle_timeout or inf)
        if config.tcp_ping_interval and self._format == "json":
            deadline = min(deadline, self._heard + config.tcp_ping_interval * (1 + self._pinged))
        return deadline

    def _move(self, new: State) -> None:
        assert new in NEXT[self.state], (self.state, new)
        self.state = new

    # --- from the transport

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        self.bytes_in += len(data)
        self._heard = self._service.reactor.now
        self._pinged = False
        self._framer.receive_data(data)
        if not self._will_continue and self.state in LISTENING:
            self._advance()
        else:
            self._look_ahead()

    def _look_ahead(self) -> None:
        """A message, or on_connect, is at work: heed the signals behind it. All else waits."""
        request = self._request
        # What is not decoded yet may say that what follows is cut in another way.
        may_look = self._undecoded is None and (request is None or request.route.framing is None)
        if may_look and self.state in _AT_WORK:
            if self._ahead is None:
                service = self._service
                self._ahead = LookAhead(service.changes_framing, service.max_depth)
            if self._ahead.look(self._framer, self._heed):
                self._continue_later()
        self._bound_buffer()

    def _bound_buffer(self) -> None:
        """What waits, waits in the peer's memory beyond one read, not in ours."""
        waiting = self._framer.buffered
        if self._ahead is not None:
            waiting += self._ahead.size
        if waiting >= self._service.recv_size:
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """The peer will send no more: answer what it has sent, then close."""
        self.note(Kind.PEER_FINISHED)
        self._at_eof = True
        self._framer.receive_eof()
        if self._request is not None:
            self._request.gone = True
        if not self._will_continue and self.state in LISTENING:
            self._advance()

    def flushed(self) -> None:
        """All that was written is with the kernel."""
        state = self.state
        if state is CLOSING:
            self._await_fin()
        elif state is SENDING or state is STREAMING or self._pushes is not None:
            self._go_on()

    def drained(self) -> None:
        """The peer reads again."""
        self._note_drained()
        self._go_on()

    def _go_on(self) -> None:
        """There is room again: for pushes first, then for a stream or the next message."""
        if self._pushes is not None:
            self._send_waiting()
        if self._pull is not None:
            self._pull.go_on()
        elif self.state is SENDING and not self._transport.is_congested:
            # Not at once: it may be a push that has made the room, and the next message
            # would be handled in the middle of what is being told to all.
            self._continue_later()

    def _continue_later(self) -> None:
        self._bound_buffer()  # Or we would read faster than we answer.
        super()._continue_later()

    def _continue(self) -> None:
        if self.state not in _AT_WORK:
            super()._continue()
            return
        self._will_continue = False
        if self.state is SENDING and not self._transport.is_congested:
            self._end_cycle()
        elif self._framer.buffered:
            self._look_ahead()

    def connection_lost(self, reason: CloseReason) -> None:
        """The transport is closed: give back what this connection held."""
        pull, self._pull = self._pull, None
        if self._undecoded is not None:
            self._undecoded.forget()
            self._undecoded = None
            self._service.decoders.note_dead()
        if self._newcomer is not None:
            self._service.workers.note_dead()
        self._leave(pull)
        self._give_back()

    # --- messages

    @property
    def has_more(self) -> bool:
        """True while a message is being handled and something of the next is here already."""
        return self.state is HANDLING and (self._framer.buffered > 0 or bool(self._ahead))

    def _advance(self) -> None:
        """Take messages from what is buffered, as far as it goes and its turn allows."""
        self._advancing = True
        self._budget_end = 0.0
        try:
            for _ in _TURN:
                if not self._receive_one():
                    return
                state = self.state
                if state not in LISTENING:
                    if self._framer.buffered and state in _AT_WORK:
                        self._look_ahead()
                    return
                if not self._framer.buffered and not self._at_eof and not self._ahead:
                    if self._service.is_stopping:
                        self._say_shutdown()
                        return
                    if self._transport.input is not READING:
                        self._transport.resume_reading()
                    return
                if self._will_continue or self._has_used_budget():
                    break
            self._continue_later()
        finally:
            self._advancing = False

    def _receive_one(self) -> bool:
        """Dispatch the next message and return True, or False where more data is needed."""
        if self._ahead:
            return self._receive_kept(*self._ahead.take())
        frame = None
        try:
            frame = self._framer.next_frame()
            if frame is None:
                if getattr(self._framer, "has_more", False):
                    return True  # Nothing but blanks and heartbeats so far: the others' turn.
                self._await_data()
                return False
            if len(frame.data) > DECODED_HERE:
                self._hold(len(frame.data))
                if frame.value is None and frame.data_type in SLOW:
                    self._decode_on_worker(frame)
                    return True
            said = decode(frame, self._service.max_depth)
            if isinstance(said, Signal):
                self._on_signal(said)
                return True
        except ProtocolError as error:
            return self._refuse(frame, error)
        self._dispatch(frame, said)
        return True

    def _receive_kept(self, frame: Frame | None, said: Said) -> bool:
        """Dispatch a message that was cut while another was at work."""
        if isinstance(said, ProtocolError):
            return self._refuse(frame, said)
        assert frame is not None
        if said is None:
            self._hold(len(frame.data))
            self._decode_on_worker(frame)
        else:
            self._dispatch(frame, said)
        return True

    def _refuse(self, frame: Frame | None, error: ProtocolError) -> bool:
        """Answer what cannot be read; return False where nothing behind it can be read either."""
        if isinstance(error, BadMessage):
            if not self._dispatch_unclaimed(frame, error):
                self._answer_error(error)
            return True
        if isinstance(error, WrongPort):
            self._turn_away(error)
        else:  # FrameTooLong: where the next message begins is unknown.
            self._answer_error(error, close=True)
        return False

    def _decode_on_worker(self, frame: Frame) -> None:
        """A large message: what comes behind it waits, as if it were handled already (T6)."""
        self._move(HANDLING)
        self.deadline = inf  # Nobody but us is slow.
        self._undecoded = undecoded = Undecoded(frame, self._service.max_depth)
        self._service.decoders.submit(decode_whole, undecoded, self._on_decoded, self.may_refuse)

    def _on_decoded(self, outcome: Any) -> None:
        """A worker has decoded a message: go on as `_receive_one` does."""
        undecoded, self._undecoded = self._undecoded, None
        if self.state is not HANDLING:
            return
        self._move(IDLE)
        try:
            if isinstance(outcome, BaseException):
                raise outcome  # If it is a bug of ours, the reactor gives this connection up.
            frame, said = outcome
            if isinstance(said, Signal):
                self._on_signal(said)
            else:
                self._dispatch(frame, said)
        except BadMessage as error:
            self._refuse(None if undecoded is None else undecoded.frame, error)
        if self.state is IDLE:
            self._continue_later()

    def _await_data(self) -> None:
        config = self._service.config
        if self._at_eof:
            self._close(CloseReason.PEER_CLOSED)
            return
        if self._service.is_stopping and self._transport.input is not READING:
            self._say_shutdown()  # Another was answered since the stop began.
            return
        if self._framer.is_mid_message:
            if self.state is IDLE:
                self._move(RECEIVING)
                self.note(Kind.PARTIAL, f"{self._framer.buffered} bytes of a message")
                self.deadline = self._service.reactor.now + config.tcp_message_timeout
            size = self._framer.buffered
            if size > DECODED_HERE and not self._may_read_on(size):
                return
        elif self.state is RECEIVING:  # Only the rest of a bad line was here.
            self._let_go()
            self._move(IDLE)
            self._await_message()
        self._transport.resume_reading()

    def _answer_error(self, error: ProtocolError, close: bool = False) -> None:
        """Answer a message that could not be read, in its own format."""
        self.note(Kind.REFUSED, f"{error} ({error.setting})" if error.setting else str(error))
        self._let_go()
        answer = b""
        if self._service.tells_errors or isinstance(error, WrongPort):
            data_type = error.data_type or "raw"
            id = error.id if isinstance(error, BadMessage) else NO_ID
            answer = encode_error(str(error), error.code, data_type, id, wrap=self._wrap)
            self._transport.write(answer)
        else:
            self._service.log_unsaid("", error.status, str(error))
        self._tell_unread(error.status, len(answer))
        if isinstance(error, MessageTimeout):
            self._close(CloseReason.READ_TIMEOUT)
        elif error.setting:
            self._close(CloseReason.TOO_LARGE)
        elif close or not self._keep_alive:
            self._close(CloseReason.PROTOCOL_ERROR)
        elif self._transport.is_congested:
            self._move(SENDING)  # Who sends errors and reads no answer must not fill our memory.
            self.deadline = inf
        else:
            if self.state is RECEIVING:
                self._move(IDLE)
            self._await_message()

    def _turn_away(self, error: WrongPort) -> None:
        """Somebody speaks HTTP or TLS to this port: say which port this is, and read no more."""
        service = self._service
        service.warn_of_stranger(self.client_id, error.spoken)
        told = WrongPort(service.directions(error.spoken), error.spoken, error.data_type)
        self._answer_error(told, close=True)

    def _tell_unread(self, status: int, size: int) -> None:
        """Note an answer to what is no message, for the access log."""
        unread = TCPRequest("-", client_address=self.address, app=self._service.app)
        unread.started = self._service.reactor.now
        self._tell_answer(unread, status, size)

    def _on_signal(self, signal: Signal) -> None:
        """Not a command: a push is acknowledged, or the client is there."""
        if not self._keep_alive:
            text = "nothing was pushed to you: this connection is for one command"
            raise BadMessage(text, signal.data_type)
        self._format = signal.data_type
        self._let_go()
        if self.state is RECEIVING:
            self._move(IDLE)
        self.deadline = self._idle_deadline()  # It has asked for nothing: it is as idle as before.
        self._heed(signal)

    def _heed(self, signal: Signal) -> None:
        """Do what a signal says, whoever has the turn."""
        if signal.kind == "ping":
            self.deliver(PONG, None, self._service.config.slow_client_policy)
            return
        ack = None if self._acks is None else self._acks.pop(signal.id, None)
        if ack is not None:
            ack.end(ACKED, signal.data)

    def _dispatch_unclaimed(self, frame: Frame | None, error: BadMessage) -> bool:
        """Hand a message without a command to the route ``*``, if there is one.

        Returns False where there is not, or where the message cannot be read at all.
        """
        if frame is None or error.said is None or not self._service.has_route(error.said[0]):
            return False
        self._dispatch(frame, error.said)
        return True

    def _dispatch(self, frame: Frame, said: Command) -> None:
        """Hand a message to the route of its command."""
        service = self._service
        command, data, id, headers = said
        self._format = data_type = frame.data_type
        self._request = request = TCPRequest(
            command,
            data,
            data_type,
            frame.data,
            Headers(list(headers.items())) if headers else NO_HEADERS,
            self.address,
            service.app,
            id,
        )
        request.caller = self
        self._asked = command[:DETAIL_LIMIT]
        now = service.reactor.now
        request.started = self._asked_at = self.last_message_at = now
        request.route = route = service.route_of(command)
        if self._at_eof:
            request.gone = True
        if self._wrap is not None:
            request.wrap = self._wrap
        if route.framing is not None:
            request.new_framing = service.framing_of(route.framing)
        assert self.state in _BEFORE_HANDLING, self.state
        self.state = HANDLING
        self.deadline = now + service.handler_timeout
        run = route.run  # As in HttpChannel.
        run(service.submit, service.answer, request, self)

    # --- answers

    def respond(self, answer: Any) -> None:
        """Send a handler's answer. Called once per message, on the reactor thread."""
        if self.state is not HANDLING:
            # The client has left, or has been told of the timeout.
            self._discard_unsent(answer)
            self._finish_overdue()
            return
        request = self._request
        assert request is not None
        self.deadline = inf
        if type(answer) is not bytes:
            if isinstance(answer, StreamResponse):
                if answer.is_held:
                    self._begin(answer, self._service.begin)
                else:
                    self._start_stream(answer, request)
                return
            log.error("a worker could not handle %r: %r", request, answer)
            request.new_framing = None
            request.response_status = 500
            answer = self._service.error_answer("Internal Server Error", "internal", request)
        self._sent = size = len(answer)
        self._note_answer(MESSAGE, request.response_status, size)
        if request.new_framing is None:
            is_congested = self._transport.write(answer)
        else:
            is_congested = self._change_framing(answer, request.new_framing)
        if is_congested:
            self._move(SENDING)
        else:
            self._end_cycle()

    def _change_framing(self, answer: bytes, framing: Framing) -> bool:
        """Send the last bytes in the old framing; from here on both sides use the new one.

        Returns whether the transport is congested.
        """
        if self._pushes is not None:
            self._pushes.flush()  # They are framed in the old way: behind the answer is too late.
            self._pushes = None
        is_congested = self._transport.write(answer)
        new = framing.make(self._service.config)
        self._framer = hand_over(self._framer, new, self._at_eof)
        self._wrap = framing.wrap
        self._format = framing.data_type or self._format
        self.note(Kind.FRAMING, type(new).__name__)
        return is_congested

    def _start_stream(self, response: StreamResponse, request: TCPRequest) -> None:
        """Send each item of a generator as a message of its own, then one that says "end"."""
        self.note(Kind.STREAM_STARTED)
        self._move(STREAMING)
        self._sent = 0
        items = ItemSource(response, request, self._service.config.json_default)
        self._pull = StreamPull(items, self, request, self._service)
        self._pull.go_on()

    def _current_pull(self) -> StreamPull | None:
        return self._pull

    @property
    def room(self) -> int:
        """How many bytes of a stream may be produced now."""
        return self._transport.room

    def on_piece(self, data: bytes) -> None:
        """An item of a stream is here, encoded."""
        if self.state is STREAMING:
            self._sent += len(data)
            self._transport.write(data)

    def on_end(self, error: BaseException | None) -> None:
        """A stream has no more items, or has failed."""
        self._pull = None
        request = self._request
        if self.state is not STREAMING or request is None:
            return
        self._move(SENDING)
        kind = Kind.STREAM_ENDED if error is None else Kind.STREAM_FAILED
        self.note(kind, f"{self._sent} bytes sent")
        if error is not None:
            answer = self._service.error_answer("Internal Server Error", "internal", request)
            self._transport.write(answer)
        else:
            end = b""
            if request.route.answers:
                end = encode_end(request.data_type, request.message_id, self._wrap)
            if request.new_framing is None:
                self._transport.write(end)
            else:
                self._change_framing(end, request.new_framing)
        if not self._transport.is_congested:
            self._end_cycle()

    def _end_cycle(self) -> None:
        """A message is answered: on to the next."""
        request = self._request
        if request is not None and request.wants_close:
            self._keep_alive = False
        self._finish_request()
        if self._share is not None:
            self._let_go()
        service = self._service
        if not self._keep_alive:
            self._close(CloseReason.DONE)
            return
        if service.is_stopping:
            self._transport.pause_reading()  # What is here is answered; more is not begun.
            if not self._framer.buffered and not self._ahead:
                self._say_shutdown()
                return
        assert self.state in _BEFORE_IDLE, self.state
        self.state = IDLE
        if service.minds_silence:
            self._await_message()
        else:  # Its deadline is none already.
            self._idle_since = service.reactor.now
        if self._advancing or self._will_continue:
            return  # It goes on by itself.
        if self._framer.buffered or self._at_eof or self._ahead:
            self._advance()
        elif self._transport.input is not READING:
            self._transport.resume_reading()

    def _status_of(self, request: TCPRequest) -> int:
        return request.response_status

    # --- the end

    def _on_late_message(self) -> None:
        text = "the message did not arrive in time"
        self._answer_error(MessageTimeout(text, self._framer.data_type), close=True)

    def _on_silence(self) -> None:
        """Nothing has come for long: is the client still there, and has it been idle too long?"""
        config, now = self._service.config, self._service.reactor.now
        if not self._keep_alive:
            self.note(Kind.DEADLINE, f"no message for {FIRST_MESSAGE_TIMEOUT:g} s")
            self._close(CloseReason.IDLE_TIMEOUT)
        elif config.tcp_idle_timeout and now >= self._idle_since + config.tcp_idle_timeout:
            text = f"no message for {config.tcp_idle_timeout:g} s"
            self.note(Kind.DEADLINE, f"tcp_idle_timeout, {text}")
            self.say_goodbye("idle", text, CloseReason.IDLE_TIMEOUT)
        elif self._pinged:
            text = f"no answer to a ping for {config.tcp_ping_interval:g} s"
            self.note(Kind.DEADLINE, f"tcp_ping_interval, {text}")
            self.say_goodbye("ping_timeout", text, CloseReason.PING_TIMEOUT)
        else:
            self._pinged = True
            self.note(Kind.PING)
            self.deliver(PING, None, self._service.config.slow_client_policy)
            self.deadline = now + config.tcp_ping_interval

    def greet(self, admit: Callable[[Any], bool], client: Any) -> None:
        """Have on_connect run on a worker; what the client sends meanwhile waits."""
        self._move(GREETING)
        self.deadline = self._handler_deadline()
        self._newcomer = client
        self._service.workers.submit(admit, client, self._on_greeted, self.may_refuse)

    def _on_greeted(self, outcome: Any) -> None:
        is_admitted = outcome is True  # Else False, or what has been raised.
        client, self._newcomer = self._newcomer, None
        self._service.on_greeted(self, client, is_admitted)
        if self.state is not GREETING:
            return
        if not is_admitted:
            self.say_goodbye("refused", "the application refused you", CloseReason.REFUSED)
            return
        self._move(IDLE)
        self._await_message()
        self._advance()
        if self._service.is_stopping:
            self._wind_down()

    def _on_greeting_timeout(self) -> None:
        timeout = self._service.config.handler_timeout
        self.note(Kind.DEADLINE, "handler_timeout")
        log.error("%r: on_connect has not returned after %g s", self, timeout)
        text = "the application did not admit you in time"
        self.say_goodbye("refused", text, CloseReason.HANDLER_TIMEOUT)

    def _on_handling_timeout(self) -> None:
        request = self._request
        assert request is not None
        self._report_stuck_handler()
        # Closed with it: the handler's own answer, when it comes, must not pass for another's.
        answer = self._service.error_answer("Gateway Timeout", "timeout", request)
        self._transport.write(answer)
        self._tell_answer(request, 504, len(answer))
        self._await_overdue(request)
        self._close(CloseReason.HANDLER_TIMEOUT)

    deadlines = {
        IDLE: _on_silence,
        GREETING: _on_greeting_timeout,
        RECEIVING: _on_late_message,
        HANDLING: _on_handling_timeout,
        CLOSING: PushedChannel.end_closing,
    }

    @property
    def idle_since(self) -> float:
        """When it fell silent: after its last message was answered, or since it connected."""
        return self._idle_since

    def _say_shutdown(self) -> None:
        if self._pushes is not None:
            self._pushes.flush()  # Before the last word.
        self._say_closing("shutdown", "the server stops")
        self._close(CloseReason.SHUTDOWN)

    def _close(self, reason: CloseReason) -> None:
        pull, self._pull = self._pull, None
        if pull is not None:  # Or its generator would go on for nobody until the peer closes.
            if self._request is not None:
                self._request.gone = True
            pull.cancel(self._service.pipeline.finish)
            self._finish_request(is_finished_by_stream=True)
        super()._close(reason)

    def refuse_busy(self) -> None:
        """There are too many connections already: say so and close."""
        text, data_type = "Service Unavailable", self._format or "raw"
        answer = encode_error(text, "busy", data_type, wrap=self._wrap)
        self._transport.write(answer)
        self._tell_unread(503, len(answer))
        self._close(CloseReason.BUSY)


def sender() -> MessageChannel | None:
    """Any thread: return the connection whose message is being handled on it; None: no message."""
    scope = current_scope.get()
    caller = scope.caller if isinstance(scope, Request) else None
    return caller if isinstance(caller, MessageChannel) else None
