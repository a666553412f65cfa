"""What the conversations of both protocols have in common: a state, a deadline, a request.

The rule: what a connection is doing is said by one name, `state`, and the legal moves stand
in one table. Nothing that the state says is kept in a flag as well.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any, ClassVar

from ..app.request import Request
from ..app.response import HTTPResponse, StreamResponse
from ..endpoint import Peer
from ..errors import PoolFull, ReactorClosed
from ..log import framework as log
from ..reactor.transport import Transport
from ..why import CloseReason
from ..word import Word
from .journal import (
    ANSWERED,
    EVENT_WIDTH,
    IDLE_VALUES,
    MOST_VALUES,
    Kind,
    Record,
    add_note,
    trim,
)
from .service import Service
from .stream_pull import StreamPull


class State(Word):
    """Whose turn it is. `docs/architecture.md` draws the moves."""

    IDLE = "between requests, no byte of the next"
    GREETING = "on_connect has the turn; what the client sends waits"
    HEAD = "part of a head is here"
    BODY = "a body arrives, and is kept until it is whole"
    RECEIVING = "part of a message is here"
    HANDLING = "a handler has the turn; later bytes wait unparsed, up to a limit"
    STREAMING = "a response is produced while it is sent"
    SENDING = "the response is not fully with the kernel"
    CLOSING = "last bytes go out, then FIN, then we drain a little"
    CLOSED = "final"


IDLE, GREETING, HEAD, BODY = State.IDLE, State.GREETING, State.HEAD, State.BODY
RECEIVING, HANDLING, STREAMING = State.RECEIVING, State.HANDLING, State.STREAMING
SENDING, CLOSING, CLOSED = State.SENDING, State.CLOSING, State.CLOSED
LISTENING = (IDLE, HEAD, BODY, RECEIVING)  # The peer has the turn.


# While the server stops: how long a connection between requests is listened to, counted from its
# last answer or from its connecting, in seconds. Its next request may be on its way already, and
# there is no word of HTTP that calls it back; a round trip over half of the world fits in here.
STOP_PATIENCE = 0.5

# Who is told to go for these is known not to read: there is nothing to wait for.
_IMPATIENT = (CloseReason.SLOW_CLIENT, CloseReason.PING_TIMEOUT)


class Channel:
    """One connection's conversation. Reactor thread only.

    `deadline` is looked at by the server's sweep; `on_deadline` is what happens then.
    """

    __slots__ = (
        "_service",
        "_transport",
        "_request",
        "_overdue",
        "_sent",
        "_advancing",
        "_will_continue",
        "_budget_end",
        "_events",
        "_asked",
        "_asked_at",
        "address",
        "connected_at",
        "state",
        "deadline",
        "__weakref__",
    )

    protocol: ClassVar[str]
    asks: ClassVar[Kind]  # What a request is called here.
    deadlines: ClassVar[Mapping[State, Callable[[Any], None]]]  # What happens when one passes.
    may_refuse: ClassVar[bool]  # Is there an answer that says that no worker is free?
    # Each protocol says which service and which request are its own.
    _service: Service
    _request: Request | None
    connected_at: float  # time.monotonic()

    def __init__(self, service: Service, transport: Transport, peer: Peer, deadline: float) -> None:
        self._service = service
        self._transport = transport
        self._request = None  # In progress: from its head, or its message, to the answer's end.
        self._overdue: Request | None = None  # Answered or gone, but its handler still runs.
        self._sent = 0  # Bytes of content, for the access log.
        self._advancing = False  # _advance() is on the stack: it will go on by itself.
        self._will_continue = False  # _continue() is posted; until then bytes are only buffered.
        self._budget_end = 0.0  # When this connection has had its share of the turn; 0: not asked.
        # When the request in progress began, and what it is; None: the events say so already.
        self._asked_at: float | None = None
        self._asked = ""
        self._events: list[Any] | None = None  # Until the first note: many connections have none.
        self.address = peer
        self.state = IDLE
        self.deadline = deadline

    def _move(self, new: State) -> None:
        """Change the state; each protocol has its own table of legal moves."""
        raise NotImplementedError

    def note(self, kind: Kind, detail: Any = None) -> None:
        """Remember an event, for `server.why`. Reactor thread only.

        detail: what the kind says of it, put into words when somebody asks.
        """
        events = self._events
        if events is None:
            events = self._events = []
        elif len(events) >= MOST_VALUES:
            trim(events)
        asked_at = self._asked_at
        if asked_at is not None:
            self._asked_at = None
            events += (asked_at, self.asks, self._asked, 1)
        add_note(events, self._service.reactor.now, kind, detail)

    def _note_answer(self, asks: Kind, status: int, size: int) -> None:
        """Remember a request and its answer in one step: most have no other event."""
        events, asked_at, now = self._events, self._asked_at, self._service.reactor.now
        if events is None:
            events = self._events = []
        elif len(events) >= MOST_VALUES:
            trim(events)
        if asked_at is None:
            events += (now, ANSWERED, status, size)
        else:
            self._asked_at = None
            events += (asked_at, asks, self._asked, 1, now, ANSWERED, status, size)

    def rest(self, since: float) -> None:
        """Keep less of a connection that has been silent since then (on the reactor's clock)."""
        events = self._events
        if events is None or len(events) <= IDLE_VALUES or self.state is not IDLE:
            return
        if events[-EVENT_WIDTH] < since:
            trim(events, IDLE_VALUES)

    def record(self) -> Record:
        """Any thread: return what is known of this connection, for its story."""
        service, transport, state = self._service, self._transport, self.state
        is_closed = state is CLOSED
        events = self._events or []
        if not is_closed:
            # The events first: what the reactor tells meanwhile is then missed, not told twice.
            events, asked_at = events[:], self._asked_at
            if asked_at is not None:
                events += (asked_at, self.asks, self._asked, 1)
        return Record(
            self.protocol,
            self.address,
            service.address,
            self.connected_at,
            service.reactor.now if is_closed else None,
            state.name,
            transport.reason if transport.is_finishing or is_closed else None,
            self.queued,
            events,
        )

    @property
    def client_id(self) -> str:
        """Who it is: "host:port"."""
        return self.address.id

    @property
    def is_long_lived(self) -> bool:
        """True where the connection stays after an answer, and can be pushed to."""
        return False

    def refuse_busy(self) -> None:
        """Tell the client that there is no room for it, and close."""
        raise NotImplementedError

    def on_deadline(self) -> None:
        """The deadline of the current state has passed."""
        self.deadlines[self.state](self)

    @property
    def queued(self) -> int:
        """Any thread: bytes that wait for the peer."""
        return self._transport.size

    @property
    def transport(self) -> Transport:
        """The connection's transport."""
        return self._transport

    def _advance(self) -> None:
        """Turn what is buffered into requests, as far as it goes and its turn allows."""
        raise NotImplementedError

    def _has_used_budget(self) -> bool:
        """Tell whether this connection has had its time in this turn (`loop_budget_ms`).

        It runs from the first question, so that who is done after one step never asks.
        """
        service = self._service
        now = service.reactor.time()
        if not self._budget_end:
            self._budget_end = now + service.budget
        return now > self._budget_end

    def _continue_later(self) -> None:
        """This turn's share is used up: go on in the next, when all others have had theirs.

        Posted once. What arrives until then is buffered and nothing else, or each read would
        bring a share of its own, and the turn would grow with every one of them.
        """
        if not self._will_continue:
            self._will_continue = True
            self._service.reactor.call_soon(self._continue)

    def _continue(self) -> None:
        """Go on where `_continue_later` left off."""
        self._will_continue = False
        if self.state in LISTENING:
            self._advance()

    def congested(self) -> None:
        """The peer takes less than we write: what produces for it has stopped."""
        self.note(Kind.CONGESTED, f"{self._transport.size} bytes wait")

    def file_failed(self, text: str) -> None:
        """A file cannot be sent to its end; the connection is about to be reset."""
        self.note(Kind.STREAM_FAILED, text)

    def _note_drained(self) -> None:
        """The low watermark is reached: worth a note where the congestion was."""
        for kind in reversed((self._events or [])[1::EVENT_WIDTH]):
            if kind is Kind.CONGESTED:
                self.note(Kind.DRAINED)
            if kind is Kind.CONGESTED or kind is Kind.DRAINED:
                return

    def _handler_deadline(self) -> float:
        return self._service.reactor.now + self._service.handler_timeout

    def _leave(self, stream: Any) -> None:
        """The transport is closed: the last move, and what a request still needs.

        stream: what was being sent of it piece by piece, if so: it finishes the request once
        its generator has been closed.
        """
        was_handling = self.state is HANDLING
        self._move(CLOSED)
        self.deadline = inf
        self.note(Kind.CLOSED, self._transport.reason)
        # First: whatever fails below, this connection is not counted any more.
        self._service.on_closed(self)
        request = self._request
        if request is not None:
            request.gone = True
        if stream is not None:
            stream.cancel(self._service.pipeline.finish)
        if was_handling:
            self._await_overdue(request)
        elif request is not None:
            self._finish_request(is_finished_by_stream=stream is not None)

    def _finish_request(self, is_finished_by_stream: bool = False) -> None:
        """The answer is out, or will never be: what the request held is given back."""
        request, self._request = self._request, None
        service = self._service
        service.requests += 1
        if request is not None:
            if service.on_finished is not None:
                service.on_finished(request, self._status_of(request), self._sent)
            if request.context is not None and not is_finished_by_stream:
                self._finish(request)  # Most keep no context: nothing is left to do for them.

    def _tell_answer(self, request: Request | None, status: int, size: int) -> None:
        """Note an answer for the access log that `_finish_request` does not see."""
        if self._service.on_finished is not None and request is not None:
            self._service.on_finished(request, status, size)

    def _status_of(self, request: Any) -> int:
        """Return the status that the access log is told."""
        raise NotImplementedError

    def _finish(self, request: Request | None) -> None:
        """Have a worker call `on_finish`, where there is any. Its handler has returned.

        It is never refused, or what a middleware holds for the request would be lost. So that
        nobody fills the queue by asking much, this connection waits for it where many do.
        """
        service = self._service
        if request is not None and service.pipeline.needs_finish(request):
            is_behind = service.cleanup.waiting >= service.config.max_connections
            then = self._on_given_back if is_behind else None
            self._will_continue |= is_behind
            try:
                service.cleanup.submit(service.pipeline.finish, request, then, False)
            except ReactorClosed as error:
                log.error("%r: on_finish cannot run: %s", request, error)

    def _on_given_back(self, result: Any) -> None:
        """The `on_finish` that we have awaited has run."""
        self._continue()

    def _await_overdue(self, request: Request | None) -> None:
        """Nobody waits for a request any more: its handler goes on, if it has begun, else never.

        Who sends much and leaves must not fill our memory: what still lies in the queue of the
        workers is emptied, and later dropped. So either this thread sees that it has begun, or
        the worker sees that it is not to (`Pipeline`), as each writes before it reads.
        """
        self._request, self._overdue = None, request
        if request is None:
            return
        request.is_abandoned = True
        if request.has_begun:
            request.is_abandoned = False  # It is only overdue.
        else:
            request.forget()
            self._service.workers.note_dead()

    def _finish_overdue(self) -> None:
        """A handler has returned whose client has left, or has been told of the timeout."""
        request, self._overdue = self._overdue, None
        if request is None or request.has_returned:
            self.note(Kind.TOO_LATE)
        if request is not None and request.has_timed_out:
            request.response_status = 504  # It is its handler's no more: say what was sent.
        self._finish(request)

    def _begin(self, response: HTTPResponse, begin: Callable[[Any], Any]) -> None:
        """Have a worker take the first step of a generator, and then call `respond` again.

        Its handler never blocks and has run here; what it returned may block (`is_held`). It is
        not refused any more: it is the only one of this connection.
        """
        request = self._request
        assert request is not None
        request.held = response
        self.deadline = self._handler_deadline()
        self._service.workers.submit(begin, request, self.respond, may_refuse=False)

    def respond(self, response: Any) -> None:
        """Send what a handler has answered. Called once it has, on the reactor thread."""
        raise NotImplementedError

    def _discard_unsent(self, response: Any) -> None:
        """A response that nobody will read: close its generator or file, on a worker."""
        if isinstance(response, HTTPResponse) and (
            isinstance(response, StreamResponse) or response.segments
        ):
            try:
                self._service.cleanup.submit(_discard, response)
            except (PoolFull, ReactorClosed):
                pass  # The generator's own finalizer must do.

    def _report_stuck_handler(self) -> None:
        """A handler has not returned in time: log where it is, and let another worker start."""
        self.note(Kind.DEADLINE, "handler_timeout")
        service, request = self._service, self._request
        if request is not None:
            request.has_timed_out = True
        stack = service.workers.stack_of(request)
        log.error(
            "%r: the handler has not returned after %g s; it is here:\n%s",
            request,
            service.config.handler_timeout,
            stack.rstrip(),
        )
        if stack:
            service.workers.add_replacement()

    def _current_pull(self) -> StreamPull | None:
        """Return who steps the generator whose pieces are being sent, if any."""
        raise NotImplementedError

    def check_stream_step(self, timeout: float) -> None:
        """Cut a stream whose generator takes longer for one step: it cannot be interrupted."""
        pull = self._current_pull()
        if pull is None or pull.step_time < timeout:
            return
        streams = self._service.streams
        stack = streams.stack_of(pull).rstrip()
        what = "%r: a step of its stream has not returned after %g s; it is here:\n%s"
        log.error(what, self._request, timeout, stack)
        if stack:
            streams.add_replacement()
        self.note(Kind.DEADLINE, "stream_step_timeout")
        self._transport.abort(CloseReason.STREAM_FAILED)

    def on_failure(self, error: BaseException) -> None:
        """A bug of ours came up while a call for this connection ran: it cannot go on."""
        self._transport.on_failure(error)

    def _close(self, reason: CloseReason) -> None:
        """Send what is queued, then FIN, then drain a little."""
        self.note(Kind.CLOSING, reason)
        self._move(CLOSING)
        self.deadline = inf
        self._transport.finish(reason)

    def shutdown(self) -> None:
        """The server stops: end what is between requests; the rest ends when it is answered."""
        self.note(Kind.SHUTDOWN)
        self._wind_down()

    def _wind_down(self) -> None:
        """The server stops and nobody has asked yet: read once; it is ended now, or in a moment.

        What the kernel has is answered, as the last of its connection.
        """
        if self.state is IDLE:
            self._transport.on_readable()
        self.end_patience()

    def end_patience(self) -> None:
        """The server stops: end it if it has had its moment and nothing of a request is here."""
        if self.state is IDLE and self._service.reactor.now >= self.idle_since + STOP_PATIENCE:
            self._say_shutdown()

    @property
    def idle_since(self) -> float:
        """When it fell silent: after its last answer, or since it connected."""
        raise NotImplementedError

    def _say_shutdown(self) -> None:
        """The server stops: tell the client so, where the protocol has a word for it, and close."""
        self._close(CloseReason.SHUTDOWN)

    def end_closing(self) -> None:
        """The peer had its time: to read what was left, or to close after our FIN."""
        transport = self._transport
        is_undelivered = transport.fin_is_sent and transport.is_undelivered
        if is_undelivered and transport.reason not in _IMPATIENT:
            # It still reads, or it is stalled: the sweep finds that out, and resets. To close
            # now would leave the kernel with megabytes that nobody takes, for minutes.
            self._await_fin()
            return
        self.note(Kind.DEADLINE, "linger_timeout")
        if is_undelivered or not transport.fin_is_sent:
            transport.abort(transport.reason)  # Why it was to end, not that it did not listen.
        else:
            transport.close(CloseReason.LINGER_TIMEOUT)

    def _await_fin(self) -> None:
        """All is with the kernel. If our FIN is too, the peer has `linger_timeout` for its own."""
        if self._transport.fin_is_sent:
            self.deadline = self._service.reactor.now + self._service.config.linger_timeout

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address.id} {self.state.name}>"


def _discard(response: HTTPResponse) -> None:
    response.discard()
