"""One HTTP connection: whose turn it is, and until when.

The channel stands between a `Transport` (bytes in and out), an `HttpConnection` (what the
bytes mean) and a route (who answers). It decides nothing about the wire and nothing about
the app; it holds the state of the conversation, the table below, and its deadline.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

from math import inf
from typing import Any

from ..app.body_stream import BodyStream
from ..app.events import EventStream
from ..app.request import HTTPRequest, Request
from ..app.response import JSON, HTTPResponse, StreamResponse
from ..app.route import Route, refusal_route
from ..endpoint import Peer
from ..errors import HTTPError, PoolFull, ProtocolError, ReactorClosed, RequestTimeout
from ..jsontext import dumps
from ..log import escape
from ..log import framework as log
from ..protocol.http_connection import CLOSED as PEER_IS_DONE
from ..protocol.http_connection import END, NEED_DATA, HttpConnection, Mark
from ..protocol.http_head import RequestHead
from ..protocol.http_response import CONTINUE, encode_error_response
from ..reactor.life import READING
from ..reactor.transport import Transport
from ..statuses import METHODS, phrase
from ..why import CloseReason
from ..word import before
from .channel import (
    BODY,
    CLOSED,
    CLOSING,
    HANDLING,
    HEAD,
    IDLE,
    LISTENING,
    SENDING,
    STREAMING,
    Channel,
    State,
)
from .event_feed import EventFeed, TopicFeed
from .http_intake import BUDGET, LAGGING, Intake
from .http_reply import JOIN_LIMIT, Rest, make_reply, plain_error
from .http_service import HttpService
from .http_stream import HttpStream, PulledStream
from .journal import REQUEST, Kind
from .stream_pull import StreamPull

# Pipelined requests answered for one connection in one turn; then the others have theirs.
REQUESTS_PER_TURN = 16
_TURN = range(REQUESTS_PER_TURN)  # Made once, not per request.


NEXT = {
    IDLE: {HEAD, BODY, HANDLING, CLOSING, CLOSED},
    HEAD: {BODY, HANDLING, CLOSING, CLOSED},
    BODY: {HANDLING, CLOSING, CLOSED},
    HANDLING: {SENDING, CLOSED},
    SENDING: {IDLE, STREAMING, CLOSING, CLOSED},
    STREAMING: {SENDING, CLOSING, CLOSED},
    CLOSING: {CLOSED},
    CLOSED: set(),
}
# The moves of each request are checked in place, against the states they may come from:
# a call, or a look-up in the table, costs more than the check.
_BEFORE_BODY = before(NEXT, BODY)
_BEFORE_HANDLING = before(NEXT, HANDLING)
_BEFORE_SENDING = before(NEXT, SENDING)
_BEFORE_IDLE = before(NEXT, IDLE)


class HttpChannel(Channel):
    """One HTTP connection. Reactor thread only."""

    protocol = "http"
    asks = REQUEST
    may_refuse = True

    _service: HttpService
    _request: HTTPRequest | None

    __slots__ = (
        "_http",
        "_route",
        "_intake",
        "_stream",
        "_keep",
        "_status",
        "_requests",
        "_cause",
    )

    def __init__(self, service: HttpService, transport: Transport, peer: Peer) -> None:
        deadline = service.reactor.now + service.config.header_timeout
        super().__init__(service, transport, peer, deadline)
        self._http = HttpConnection(service.limits)
        self._route: Route | None = None
        self._intake = service.no_intake
        self._stream: HttpStream | None = None
        self._keep = False
        self._status = 0
        self._requests = 0
        self._cause = CloseReason.DONE  # Why it will close after this answer, if it does.
        self.connected_at = service.reactor.now

    @property
    def is_used(self) -> bool:
        """True once a request has come: an idle connection that has proved itself."""
        return self._requests > 0

    @property
    def idle_since(self) -> float:
        """When it fell silent: after its last answer, or since it connected."""
        config = self._service.config
        timeout = config.keep_alive_timeout if self._requests else config.header_timeout
        return self.deadline - timeout

    def _move(self, new: State) -> None:
        assert new in NEXT[self.state], (self.state, new)
        self.state = new

    # --- from the transport

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        http = self._http
        http.receive_data(data)
        if not self._will_continue:
            if self.state in LISTENING:
                self._advance()
                return
            if self._intake.stream is not None:
                self._feed_stream()
                return
        self._bound_buffer()

    def _bound_buffer(self) -> None:
        """What waits, waits unparsed, and beyond one read in the peer's memory, not in ours."""
        if self._http.buffered >= self._service.recv_size:
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """The peer will send no more; it may still read what it has asked for."""
        self.note(Kind.PEER_FINISHED)
        self._http.receive_eof()
        if self._request is not None:
            self._request.gone = True
        if self.state in LISTENING or self._intake.stream is not None:
            if not self._will_continue:  # Else it comes to the end by itself.
                self._continue()
        elif self._stream is not None:
            self._stream.eof_received()

    def flushed(self) -> None:
        """All that was written is with the kernel."""
        if self.state is SENDING:
            self._end_cycle()
        elif self._stream is not None:
            self._stream.go_on()  # Events may wait though it was never congested.
        elif self.state is CLOSING:
            self._await_fin()

    def drained(self) -> None:
        """There is room again: the stream may go on."""
        self._note_drained()
        if self._stream is not None:
            self._stream.go_on()

    def connection_lost(self, reason: CloseReason) -> None:
        """The transport is closed: give back what this connection held."""
        if self.state is not HANDLING and self._overdue is None:
            self._intake.release()
        self._intake.fail(HTTPError(400, "the client has left"))
        stream, self._stream = self._stream, None
        if stream is not None:
            self._sent = stream.sent
        self._leave(stream)

    # --- requests

    def _advance(self) -> None:
        """Turn what is buffered into requests, as far as it goes and its turn allows."""
        http = self._http
        self._advancing = True
        self._budget_end = 0.0
        try:
            for _ in _TURN:
                event = http.next_event()
                if type(event) is RequestHead:
                    if not self._on_head(event) and not self._receive_body(http.next_event()):
                        return
                elif not self._receive_body(event):
                    return
                if self.state is not IDLE or not http.has_input():
                    return
                if self._will_continue or self._has_used_budget():
                    break
            self._continue_later()
        except ProtocolError as error:
            self._refuse(error)
        finally:
            self._advancing = False

    def _continue_later(self) -> None:
        self._bound_buffer()  # Or we would read faster than we answer.
        if self.state is BODY or self._intake.stream is not None:
            # It is our turn to be slow: the peer is not late with what we have not looked at.
            service = self._service
            self.deadline = service.reactor.now + service.config.body_timeout
        super()._continue_later()

    def _continue(self) -> None:
        if self.state is HANDLING:
            self._will_continue = False
            self._resume_stream()
        else:
            super()._continue()

    def _receive_body(self, event: RequestHead | bytes | Mark) -> bool:
        """Take pieces until the request is dispatched (True) or more data is needed (False)."""
        intake = self._intake
        pause = intake.take(event, self._http, self._has_used_budget)
        if pause is END:
            body, intake.body = intake.body, None
            request, route = self._request, self._route
            assert body is not None and request is not None and route is not None
            request.body = bytes(body)
            self._dispatch(request, route)
            return True
        if pause is NEED_DATA:
            self._await_data()
        elif pause is BUDGET:
            self._continue_later()
        return False

    def _await_data(self) -> None:
        """Nothing whole is here: set the deadline of what has begun."""
        http, config, now = self._http, self._service.config, self._service.reactor.now
        if http.state is PEER_IS_DONE:
            self._close(CloseReason.PEER_CLOSED)
            return
        if self.state is BODY:
            if self._intake.is_trickling(now, config.body_timeout, config.min_body_rate):
                self._on_late_body()
                return
            self.deadline = now + config.body_timeout
        elif self.state is IDLE and http.buffered:
            self._move(HEAD)
            self.note(Kind.PARTIAL, f"{http.buffered} bytes of a head")
            # The first head's deadline runs from the accept, or a silent client and a slow
            # one could add their times up.
            if self._requests:
                self.deadline = now + config.header_timeout
        self._transport.resume_reading()

    def _on_head(self, head: RequestHead) -> bool:
        """Find the route. Return True once the request is dispatched, False if a body follows."""
        service = self._service
        self._requests += 1
        self._asked, self._asked_at = head.summary, service.reactor.now
        if head.path == "*":
            self._options_of_server(head)
            return True
        route, params = service.router.resolve(head.method, head.path)
        self._route = route
        # By position: an object that is made with keywords costs half as much again.
        self._request = request = HTTPRequest(
            head.method,
            head.target,
            head.headers,
            b"",
            self.address,
            head.path,
            head.query,
            head.host or service.host_of(self._transport),
            head.version,
            params,
            service.app,
        )
        request.route = route
        if not head.has_body:
            if route.stream:  # The handler iterates over it, whatever there is.
                request.stream = BodyStream(self._resume_from_worker)
                request.stream.complete()
            self._dispatch(request, route)
            return True
        http, intake = self._http, self._intake
        if intake is service.no_intake:
            intake = self._intake = Intake(service.bodies)
        intake.began = service.reactor.now
        if route.max_body is not None:
            http.body_limit = route.max_body
        elif route.stream:
            http.body_limit = 1 << 62  # The handler decides when it has had enough.
        if head.content_length is not None and head.content_length > http.body_limit:
            http.next_event()  # Raises the 413, and the machine is dead.
        if head.expects_continue and not http.buffered:
            # RFC 9110 section 10.1.1: the final status at once where the body is not wanted.
            if not route.path:
                self._keep = False
                self._dispatch(request, route)
                return True
            self._transport.write(CONTINUE)
        intake.size = 0
        if route.stream:
            intake.stream = request.stream = BodyStream(self._resume_from_worker)
            self._dispatch(request, route)
            if intake.stream is not None:  # Else it was refused: no worker is free.
                self._feed_stream()
            return True
        assert self.state in _BEFORE_BODY, self.state
        self.state = BODY
        intake.body = b""
        return False

    def _options_of_server(self, head: RequestHead) -> None:
        """OPTIONS *: what this server can do at all (RFC 9110 section 9.3.7)."""
        self._request = self._service.unread_request(head.method, head.target, self.address)
        self._move(HANDLING)
        allow = ", ".join(sorted(METHODS))
        self.respond(HTTPResponse(b"", 204, {"Allow": allow}))

    def _dispatch(
        self, request: HTTPRequest, route: Route, unheard: HTTPResponse | None = None
    ) -> None:
        """A request is whole (or streams, or is refused): hand it to its route.

        unheard: what answers it where no worker is free, instead of a 503.
        """
        service = self._service
        request.started = now = service.reactor.now
        assert self.state in _BEFORE_HANDLING, self.state
        self.state = HANDLING
        self.deadline = now + service.handler_timeout
        run = route.run  # A function that is an attribute: slower where it is called in one step.
        try:
            run(service.submit, service.handle, request, self)
        except PoolFull:
            self.note(Kind.NO_ROOM, "worker_queue_limit or worker_queue_timeout")
            self.respond(unheard or plain_error(503, {"Retry-After": "1"}))

    # --- a body that is read by the handler

    def _feed_stream(self) -> None:
        """Hand the pieces that are here to the handler; stop reading where it lags behind."""
        service, transport = self._service, self._transport
        self._budget_end = 0.0
        try:
            pause = self._intake.feed(self._http, self._has_used_budget)
        except ProtocolError as error:
            self.note(Kind.REFUSED, f"{error.status} {error}")
            self._cause = _reason_of(error)
            self._intake.fail(HTTPError(error.status, str(error)))
            pause = LAGGING  # The handler's answer, or its error, closes.
        if pause is BUDGET:
            self._continue_later()
        elif pause is NEED_DATA:
            self.deadline = service.reactor.now + service.config.body_timeout
            transport.resume_reading()
        else:
            self.deadline = self._handler_deadline()  # It is its turn to be slow.
            if pause is LAGGING:
                transport.pause_reading()

    def _resume_from_worker(self) -> None:
        """Any thread: the handler has caught up."""
        try:
            self._service.reactor.call_soon_threadsafe(self._resume_stream)
        except ReactorClosed:
            pass

    def _resume_stream(self) -> None:
        if self._intake.stream is not None and self.state is HANDLING and not self._will_continue:
            self._feed_stream()

    # --- responses

    def respond(self, response: Any) -> None:
        """Send a handler's response. Called once per request, on the reactor thread."""
        if self.state is not HANDLING:
            # The client has left, or has had its 504: the handler alone did not know.
            self._discard_unsent(response)
            self._finish_overdue()
            return
        if not isinstance(response, HTTPResponse):
            log.error("a worker could not handle %r: %r", self._request, response)
            response = plain_error(500, None, self._request)
        if response.is_held:
            self._begin(response, self._service.pipeline.begin)
            return
        request, http = self._request, self._http
        if self._intake.stream is not None:
            # Answered without reading it all: what follows on the wire is that body. Who still
            # reads (the answer may be a generator over it) would wait for ever.
            self._intake.fail(HTTPError(400, "answered before the whole body was here"))
        service = self._service
        keep = (
            http.keep_alive and not service.is_stopping and self._requests != service.most_requests
        )
        heads = service.heads()
        try:
            data, keep, size, rest = make_reply(response, http.head, request, heads, keep)
        except ValueError as error:
            log.error("%r: the response cannot be sent: %s", request, escape(str(error)))
            self._discard_unsent(response)
            response = plain_error(500, None, request)
            data, keep, size, rest = make_reply(response, http.head, request, heads, keep)
        self._status = response.status
        self._keep = keep
        self._sent = size
        self.deadline = inf  # From here on the transport watches for progress.
        assert self.state in _BEFORE_SENDING, self.state
        self.state = SENDING
        self._transport.write(data)
        if rest is not None and not self._send_rest(response, rest):
            return  # It is a stream.
        self._note_answer(REQUEST, response.status, size)
        if keep and http.has_input() and not self._transport.is_above_low_water:
            # The next request is here already: its answer can share a send with this one.
            self._end_cycle()

    def _send_rest(self, response: HTTPResponse, rest: Rest) -> bool:
        """Send what follows the first bytes; return False where that takes more than a turn."""
        transport = self._transport
        if not rest.has_content:
            self._discard_unsent(response)
        elif isinstance(response, StreamResponse):
            self.note(Kind.STREAM_STARTED, response.status)
            self._start_stream(response, rest)
            return False
        else:
            if len(response.body) > JOIN_LIMIT:
                transport.write(response.body)
            # From here on the transport owns the descriptors, so the response may not.
            if response.segments:
                segments, response.segments = response.segments, ()
                for piece in segments:
                    transport.write(piece)
        return True

    def _end_cycle(self) -> None:
        """A response is out: on to the next request."""
        if self._intake.held and self._overdue is None:
            self._intake.release()
        self._finish_request()
        service = self._service
        if not self._keep:
            is_stopping = service.is_stopping and self._cause is CloseReason.DONE
            self._close(CloseReason.SHUTDOWN if is_stopping else self._cause)
            return
        assert self.state in _BEFORE_IDLE, self.state
        self.state = IDLE
        self.deadline = service.reactor.now + service.idle_time
        if self._http.start_next_cycle():
            if not self._advancing and not self._will_continue:
                self._advance()
        elif self._transport.input is not READING:
            self._transport.resume_reading()
        if service.is_stopping:  # The answer has promised to keep the connection.
            self._wind_down()

    def _status_of(self, request: HTTPRequest) -> int:
        return self._status

    def _await_overdue(self, request: Request | None) -> None:
        super()._await_overdue(request)
        if request is None or not request.has_begun:
            self._intake.release()  # Else the handler still has it.

    def _finish_overdue(self) -> None:
        self._intake.release()
        super()._finish_overdue()

    @property
    def body_began(self) -> float | None:
        """When the body that is arriving began; None where none is."""
        return self._intake.began if self.state is BODY else None

    def refuse_body(self) -> None:
        """All bodies together take more memory than they may: this one is given up."""
        self.note(Kind.NO_ROOM, "max_buffered_bodies")
        self._intake.release()
        self.refuse_busy()

    def _refuse(self, error: ProtocolError) -> None:
        """Answer what broke the protocol, and close: what follows cannot be trusted."""
        if log.isEnabledFor(10):
            log.debug("HTTP %s refused: %s %s", self.address, error.status, escape(str(error)))
        text = f"{error.status} {error}"
        self.note(Kind.REFUSED, f"{text} ({error.setting})" if error.setting else text)
        self._intake.release()
        request = self._request
        reason = _reason_of(error)
        if request is None:  # Its head is not whole: nobody knows what was asked, and by whom.
            self._answer_unread(error.status, str(error))
            self._close(reason)
            return
        # As a 404 it passes the middlewares (M4), or a browser would hide it from its script.
        self._cause = reason  # The machine is dead, so the connection ends with the answer.
        request.route = route = refusal_route(HTTPError(error.status, str(error)))
        body = dumps({"error": str(error)})
        self._dispatch(request, route, HTTPResponse(body, error.status, None, JSON))

    def _answer_unread(self, status: int, text: str, fields: str = "") -> None:
        """Answer what no handler has seen, as the last answer of this connection."""
        head, service = self._http.head, self._service
        request = self._request
        if request is None:
            request = self._request = service.unread_request(
                *self._http.asked_so_far(), self.address
            )
        elif request.started == inf:
            request.started = self._intake.began
        body = dumps({"error": text})
        is_head = head is not None and head.method == "HEAD"
        fields = f"{fields}X-Request-ID: {request.request_id}\r\n"
        self._transport.write(
            encode_error_response(status, body, service.heads().date, fields, is_head)
        )
        self._status, self._sent = status, 0 if is_head else len(body)
        self._finish_request()

    def _start_stream(self, response: StreamResponse, rest: Rest) -> None:
        request, service = self._request, self._service
        assert request is not None
        if not isinstance(response, EventStream) or not response.is_pushed:
            self._stream = PulledStream(self, service, request, response, rest)
        else:
            kind = EventFeed if response.topic is None else TopicFeed
            self._stream = kind(self, service, request, response, rest)
        self._move(STREAMING)
        self.deadline = self._stream.beat()
        self._stream.start()
        if request.gone and self._stream is not None:
            self._stream.eof_received()

    def _current_pull(self) -> StreamPull | None:
        return None if self._stream is None else self._stream.pull

    def on_stream_end(self, is_complete: bool) -> None:
        """All pieces of a stream are with the transport, or there will be no more."""
        stream, self._stream = self._stream, None
        assert stream is not None
        self.deadline = inf
        self._sent = stream.sent
        if is_complete:
            self.note(Kind.STREAM_ENDED, f"{stream.sent} bytes")
        else:
            self.note(Kind.STREAM_FAILED, f"{stream.sent} bytes were sent")
            self._keep = False
            self._cause = CloseReason.STREAM_FAILED
            if stream.close_reason is not None:
                self._finish_request()
                self._close(stream.close_reason)
                self.deadline = self._service.reactor.now + self._service.config.linger_timeout
                return
            if not stream.is_framed:
                self._transport.abort(CloseReason.STREAM_FAILED)
                return
        self._move(SENDING)
        if self._transport.size == 0:
            self._end_cycle()

    # --- the end

    def _on_silence(self) -> None:
        self.note(Kind.DEADLINE, "keep_alive_timeout" if self._requests else "header_timeout")
        self._close(CloseReason.IDLE_TIMEOUT)

    def _on_late_head(self) -> None:
        self.note(Kind.DEADLINE, "header_timeout")
        self._refuse(RequestTimeout("the request did not arrive in time"))

    def _on_late_body(self) -> None:
        text = f"body_timeout or min_body_rate, {self._intake.size} bytes of the body are here"
        self.note(Kind.DEADLINE, text)
        self._refuse(RequestTimeout("the request did not arrive in time"))

    def _on_heartbeat(self) -> None:
        """Only event streams have a deadline here: time for a comment, perhaps."""
        assert self._stream is not None
        self.deadline = self._stream.beat()

    def _on_handling_timeout(self) -> None:
        stream = self._intake.stream
        if stream is not None and not stream.is_paused:  # The client is late, not the handler.
            self.deadline = self._handler_deadline()
            self.note(
                Kind.DEADLINE, f"body_timeout, {self._intake.size} bytes of the body are here"
            )
            self._cause = CloseReason.READ_TIMEOUT
            self._intake.fail(HTTPError(408, "the request body did not arrive in time"))
            return
        self._report_stuck_handler()
        request = self._request
        self._cause = CloseReason.HANDLER_TIMEOUT
        self.respond(plain_error(504, {"Connection": "close"}))
        self._tell_answer(request, 504, self._sent)
        # Now that it is answered: `on_finish` waits until the handler has returned.
        self._await_overdue(request)

    deadlines = {
        IDLE: _on_silence,
        HEAD: _on_late_head,
        BODY: _on_late_body,
        HANDLING: _on_handling_timeout,
        STREAMING: _on_heartbeat,
        CLOSING: Channel.end_closing,
    }

    def shutdown(self) -> None:
        """Beside what all do: an event stream, which has no end, is ended."""
        super().shutdown()
        if self._stream is not None and self._stream.is_pushed:
            self._stream.close()

    def refuse_busy(self) -> None:
        """There are too many connections already: say so and close."""
        self._answer_unread(503, phrase(503), "Retry-After: 1\r\n")
        self._close(CloseReason.BUSY)


def _reason_of(error: ProtocolError) -> CloseReason:
    """Return why a connection ends whose peer has been refused so."""
    if isinstance(error, RequestTimeout):
        return CloseReason.READ_TIMEOUT
    return CloseReason.TOO_LARGE if error.setting else CloseReason.PROTOCOL_ERROR
