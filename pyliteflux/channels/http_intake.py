"""The body of a request on its way in: kept until it is whole, or handed on piece by piece.

The rule: a body that is kept counts, in one account with all others, until nobody needs it
any more. One that its handler reads as it arrives is not kept: the handler's pace is the client's.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

from collections.abc import Callable

from ..app.body_stream import BodyStream
from ..errors import HTTPError
from ..protocol.http_connection import END, NEED_DATA, HttpConnection, Mark
from ..protocol.http_head import RequestHead
from ..word import Word


class Pause(Word):
    """Why an intake stops with bytes of the body at hand."""

    BUDGET = "this connection has had its time in this turn"
    LAGGING = "its handler reads more slowly than the client sends"
    REFUSED = "all bodies together take more memory than they may, and this one had to go"


BUDGET, LAGGING, REFUSED = Pause.BUDGET, Pause.LAGGING, Pause.REFUSED


class Bodies:
    """The account of all request bodies in memory, arriving or being handled.

    most: bytes. make_room: called with this when there are more; gives up those that take longest.
    """

    __slots__ = ("size", "most", "make_room")

    def __init__(self, most: float, make_room: Callable[[Bodies], object]) -> None:
        self.size = 0
        self.most = most
        self.make_room = make_room


class Intake:
    """The bodies of one connection, one after the other. Reactor thread only.

    body: what has come of one that is kept until it is whole; None while none arrives. stream: who
    reads the one that is arriving, where a handler does. began: when it began. size: bytes of it
    that have come. held: bytes that count in the account, of what arrives or is being handled.
    """

    __slots__ = ("_bodies", "held", "body", "stream", "began", "size")

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.held = 0
        self.body: bytes | bytearray | None = None  # What came in one piece stays as it is.
        self.stream: BodyStream | None = None
        self.began = 0.0
        self.size = 0

    def take(
        self, event: RequestHead | bytes | Mark, http: HttpConnection, is_spent: Callable[[], bool]
    ) -> Mark | Pause:
        """Keep pieces, the first of them `event`, until END, NEED_DATA or a Pause."""
        bodies = self._bodies
        while event is not END and event is not NEED_DATA:
            assert isinstance(event, bytes)
            size = len(event)
            if not self.body:
                self.body = event
            else:  # Not a list of pieces: there may be one for each byte.
                if isinstance(self.body, bytes):
                    self.body = bytearray(self.body)
                self.body += event
            self.size += size
            self.held += size
            bodies.size += size
            if bodies.size > bodies.most:
                bodies.make_room(bodies)
                if not self.held:
                    return REFUSED
            # One-byte chunks: 64 KiB of them would hold the loop for some 20 ms. The first piece
            # is most often the only one.
            if self.size > size and is_spent():
                return BUDGET
            event = http.next_event()
        return event

    def feed(self, http: HttpConnection, is_spent: Callable[[], bool]) -> Mark | Pause:
        """Hand pieces to the handler until END, NEED_DATA or a Pause."""
        stream = self.stream
        assert stream is not None
        while True:
            event = http.next_event()
            if not isinstance(event, bytes):
                assert event is END or event is NEED_DATA
                if event is END:
                    stream.complete()
                    self.stream = None
                return event
            self.size += len(event)
            if not stream.feed(event):
                return LAGGING
            if is_spent():
                return BUDGET

    def fail(self, error: HTTPError) -> None:
        """The stream will never be whole: its handler is told so, if it reads."""
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.fail(error)

    def is_trickling(self, now: float, timeout: float, rate: int) -> bool:
        """Tell whether a body comes too slowly: a byte every 19 s would pass the timeout."""
        elapsed = now - self.began
        return elapsed > timeout and self.size < rate * elapsed

    def release(self) -> None:
        """The body is not needed any more, nor what has come of it."""
        self.body = None
        self._bodies.size -= self.held
        self.held = 0
