"""One side of an HTTP/1.1 conversation, without the socket: RFC 9112 section 9.

The rule: bytes go in with `receive_data`, and `next_event` says what they mean. After an
error the machine is dead: it raises the same error again and never looks at the rest, for
the rest may be a request that only an attacker and a confused parser can see.

A request without a body is one event, straight from the buffer to a `RequestHead`. The next
request is not read before `start_next_cycle`: answers leave in the order of the requests
because nobody can hold two at once.

Chapter: docs/http.md.
"""

from __future__ import annotations

import re

from ..errors import BadRequest, BodyTooLarge, ProtocolError
from ..word import Word, before
from .bad_heads import check_head_so_far
from .http_body import ChunkedBody, FixedBody
from .http_head import (
    DEFAULT_LIMITS,
    MAX_EMPTY_LINES,
    HttpLimits,
    RequestHead,
    parse_head,
)
from .known_heads import LONGEST_KNOWN


class Mark(Word):
    """What `next_event` returns where it is neither a head nor a piece of a body."""

    NEED_DATA = "nothing whole is here: receive more"
    END = "the body of the current request is complete"


NEED_DATA = Mark.NEED_DATA
END = Mark.END


class RequestState(Word):
    """What the peer is in the middle of."""

    IDLE = "between requests, or within a head"
    BODY = "within a body"
    DONE = "the request is whole; the next one waits for start_next_cycle"
    CLOSED = "the peer has ended its side properly"
    FAILED = "the peer has broken the protocol"


IDLE, BODY, DONE = RequestState.IDLE, RequestState.BODY, RequestState.DONE
CLOSED, FAILED = RequestState.CLOSED, RequestState.FAILED

NEXT = {
    IDLE: {BODY, DONE, CLOSED, FAILED},
    BODY: {DONE, FAILED},
    DONE: {IDLE},
    CLOSED: set(),
    FAILED: set(),
}
# The two moves of each request are checked in place, against the states they may come from.
_BEFORE_DONE = before(NEXT, DONE)
_BEFORE_IDLE = before(NEXT, IDLE)


# Of a head that was refused, in bytes: enough to tell what was asked for.
REFUSED_LIMIT = 160
_ASKED = re.compile(
    rb"(?:\r\n)*([A-Za-z][A-Za-z0-9!#$%&'*+\-.^_`|~]{0,31})(?: ([^\r\n ]{0,100})|(?=[\r\n]|$))"
).match


class HttpConnection:
    """The receiving half of one connection: a stream of bytes becomes a stream of requests."""

    __slots__ = (
        "_limits",
        "_buffer",
        "_searched",
        "_empty_lines",
        "_body",
        "_at_eof",
        "_error",
        "_refused",
        "state",
        "head",
        "keep_alive",
        "body_limit",
    )

    def __init__(self, limits: HttpLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        # What came in one piece stays the bytes that it is: most requests do, and nothing has to
        # be copied. A bytearray only where more is added, or a part is taken off.
        self._buffer: bytes | bytearray = b""
        self._searched = 0  # So many leading bytes hold no beginning of the end of a head.
        self._empty_lines = 0
        self._body: FixedBody | ChunkedBody | None = None
        self._at_eof = False
        self._error: ProtocolError | None = None
        self._refused: bytes | bytearray = b""  # How the head began that could not be read.
        self.state = IDLE
        # Bytes. May be changed for the current request between its head and the next event.
        self.body_limit = limits.body
        self.head: RequestHead | None = None  # The current request's.
        # May the connection persist after this request, as far as the peer decides it? Not
        # while its body is not whole: what follows on the wire is that body.
        self.keep_alive = False

    def _move(self, new: RequestState) -> None:
        assert new in NEXT[self.state], (self.state, new)
        self.state = new

    @property
    def buffered(self) -> int:
        """Bytes received and not yet turned into events."""
        return len(self._buffer)

    def has_input(self) -> bool:
        """Tell whether anything is not turned into events yet: bytes, or the peer's end."""
        return True if self._buffer else self._at_eof

    @property
    def is_at_eof(self) -> bool:
        """True once the peer has said that it will send no more."""
        return self._at_eof

    def receive_data(self, data: bytes) -> None:
        """Add bytes just received. Looks at none of them."""
        if self._buffer:
            self._own_buffer().extend(data)
        else:
            self._buffer = data

    def _own_buffer(self) -> bytearray:
        """Return the buffer as one that can be changed."""
        buffer = self._buffer
        if not isinstance(buffer, bytearray):
            buffer = self._buffer = bytearray(buffer)
        return buffer

    def receive_eof(self) -> None:
        """The peer will send no more."""
        self._at_eof = True

    def next_event(self) -> RequestHead | bytes | Mark:
        """Return the next head, piece of its body, END of its body, or NEED_DATA.

        A head whose `has_body` is False is a whole request: no END follows. Raises
        ProtocolError, and from then on raises that one again.
        """
        try:
            if self.state is IDLE:
                buffer, head = self._buffer, None
                if type(buffer) is bytes and len(buffer) <= LONGEST_KNOWN:
                    head = self._limits.known.get(buffer)  # Most: nothing else, and seen before.
                if head is not None:
                    self._buffer = b""
                else:
                    head = self._cut_head()
                    if head is None:
                        return NEED_DATA
                self.head = head
                self._searched = self._empty_lines = 0
                if head.has_body:
                    self._move(BODY)
                    self.keep_alive = False
                    self.body_limit = self._limits.body
                else:
                    assert self.state in _BEFORE_DONE, self.state
                    self.state = DONE
                    self.keep_alive = head.keep_alive
                return head
            if self.state is BODY:
                return self._next_piece()
        except ProtocolError as error:
            self._refused = self._buffer[:REFUSED_LIMIT]
            self._move(FAILED)
            self._error = error
            self._buffer = b""
            raise
        if self._error is not None:
            raise self._error
        return NEED_DATA

    def asked_so_far(self) -> tuple[str, str]:
        """Return method and target of a head that is not whole, or bad; "-" for what is unknown."""
        match = _ASKED(self._refused or self._buffer)
        if match is None:
            return "-", "-"
        method, target = match.groups()
        return method.decode("latin-1"), (target or b"-").decode("latin-1")

    def start_next_cycle(self) -> bool:
        """The answer is given: read the next request. Tell whether any of it is here already."""
        assert self.state in _BEFORE_IDLE, self.state
        self.state = IDLE
        self.head = None
        return True if self._buffer else self._at_eof

    def _cut_head(self) -> RequestHead | None:
        """Take the next head off the buffer and parse it; None while it is not whole."""
        buffer = self._buffer
        if buffer.startswith(b"\r\n"):
            buffer = self._skip_empty_lines()
        end = buffer.find(b"\r\n\r\n", self._searched) + 4
        if end < 4:
            self._await_head(buffer)
            return None
        # One piece, one head: nothing is copied.
        data = buffer if end == len(buffer) else buffer[:end]
        if type(data) is not bytes:
            data = bytes(data)
        limits = self._limits
        if end > limits.request_line or end > limits.head:
            check_head_so_far(data, limits.request_line, limits.head)
        head = parse_head(data, limits)
        if data is buffer:
            self._buffer = b""
        elif head.has_body and type(buffer) is bytes:
            self._buffer = buffer[end:]  # As a rule the body and nothing else: see _next_piece.
        else:
            del self._own_buffer()[:end]
        return head

    def _await_head(self, buffer: bytes | bytearray) -> None:
        """A head is not whole: refuse what cannot become a good one."""
        if buffer and buffer != b"\r":  # A lone CR may become an empty line.
            limits = self._limits
            check_head_so_far(buffer, limits.request_line, limits.head, self._searched)
            self._searched = max(0, len(buffer) - 3)
        if self._at_eof:
            if buffer:
                raise BadRequest("the connection ended within a request head")
            self._move(CLOSED)

    def _skip_empty_lines(self) -> bytearray:
        """RFC 9112 section 2.2: ignore a few CRLFs before a request line. Return the rest."""
        buffer = self._own_buffer()
        while buffer.startswith(b"\r\n"):
            self._empty_lines += 1
            if self._empty_lines > MAX_EMPTY_LINES:
                raise BadRequest(f"more than {MAX_EMPTY_LINES} empty lines before a request")
            del buffer[:2]
        self._searched = 0
        return buffer

    def _next_piece(self) -> bytes | Mark:
        body, head = self._body, self.head
        assert head is not None
        if body is None:
            body = self._body = self._start_body(head)
        buffer = self._buffer
        data: bytes
        if type(buffer) is bytes and type(body) is FixedBody and len(buffer) <= body.left:
            body.left -= len(buffer)
            data, self._buffer = buffer, b""  # One piece, all of it the body's: as above.
        else:
            data = body.take(self._own_buffer())
        if data:
            return data
        if body.is_complete:
            self._move(DONE)
            self._body = None
            self.keep_alive = head.keep_alive
            return END
        if self._at_eof:
            # A body cut short must never look complete (RFC 9112 section 8).
            raise BadRequest("the connection ended within a request body")
        return NEED_DATA

    def _start_body(self, head: RequestHead) -> FixedBody | ChunkedBody:
        length = head.content_length
        if length is None:
            return ChunkedBody(self._limits, self.body_limit)
        if length > self.body_limit:
            # Refused before a byte of it is read (RFC 9110 section 15.5.14).
            raise BodyTooLarge(f"the body has {length} bytes, limit {self.body_limit}")
        return FixedBody(length)
