"""Cut a TCP stream into messages: text lines, JSON objects, XML documents, in any mixture.

TCP delivers bytes, not messages: one ``recv`` may hold half a message or three (sticky and
half packets). The rule here: **no byte is looked at twice for lack of data** (a framer that
starts over with each byte is quadratic, and a free attack), and whatever goes wrong with a
message, the framer says where it goes on, or that it cannot.

The first byte tells the format: ``{`` JSON, ``<`` XML, anything else a line. `scanners` knows
where each of them ends. Framers for other protocols are in `framers`.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

import re
from typing import ClassVar, NoReturn

from ..errors import BadMessage, FrameTooLong, ProtocolError, WrongPort
from ..jsontext import loads
from ..word import Word
from .frame import MAX_DEPTH, MAX_MESSAGE, Frame
from .scanners import (
    BRACE,
    LESS,
    SMALL,
    SMALL_DEPTH,
    TLS_HELLO,
    JsonScanner,
    LineScanner,
    Scanner,
    WrongStart,
    XmlScanner,
    begins_word,
    end_of,
    is_request_line,
    skip_blank,
    small_object,
    tls_hello,
)

# Consumed bytes are cut off the buffer's front only now and then: each cut may move the rest,
# and a hundred thousand small messages in one buffer must not move it a hundred thousand times.
COMPACT_AT = 64 * 1024

BOM = b"\xef\xbb\xbf"
_BOM_START = BOM[0]
_BLANK = b" \t\r\n"
_LF, _END_BRACE = b"\n}"
_line_end = re.compile(rb"\n|\0(?=[{<])").search


class FramingState(Word):
    """Where in the stream a `MessageFramer` is."""

    OPENING = "no message yet: is it a TCP client at all?"
    BETWEEN = "no byte of the next message"
    INSIDE = "part of a message is here"
    SKIPPING = "dropping the rest of a refused line"
    LOST = "a message over the limit, or another protocol: nothing more is read"


OPENING, BETWEEN, INSIDE = FramingState.OPENING, FramingState.BETWEEN, FramingState.INSIDE
SKIPPING, LOST = FramingState.SKIPPING, FramingState.LOST

NEXT = {
    OPENING: {BETWEEN, LOST},
    BETWEEN: {INSIDE, LOST},
    INSIDE: {BETWEEN, SKIPPING, LOST},
    SKIPPING: {BETWEEN},
    LOST: set(),
}


class MessageFramer:
    """Rebuild messages from the pieces TCP delivers, wherever it cut them. Reactor thread.

    The framing "auto", and the `Framer` of every connection unless another was chosen.
    max_message: the longest message accepted, in bytes, the LF of a line not counted.
    max_depth: the deepest nesting of a JSON or XML message, its outermost level included.
    """

    __slots__ = (
        "_buffer",
        "_eof",
        "_failure",
        "_max_depth",
        "_max_message",
        "_nuls",
        "_scanner",
        "_small",
        "_start",
        "_state",
        "has_line_end",
    )
    wrap: ClassVar[None] = None  # What goes out is a line already, or an object on one.
    _takes_lines: ClassVar[bool] = True
    _speaks: ClassVar[str] = "raw"  # The format of an error about no message in particular.

    def __init__(self, max_message: int = MAX_MESSAGE, max_depth: int = MAX_DEPTH) -> None:
        # Set once.
        self._max_message = max_message
        self._max_depth = max_depth
        self._small = min(SMALL, max_message) if max_depth >= SMALL_DEPTH else 0
        # Reactor thread only.
        self._state = OPENING
        # The bytes of one `recv` as they are, since that is mostly one whole message; a bytearray
        # from the second piece on, to which a third can be added without a copy of the first two.
        self._buffer: bytes | bytearray = b""
        self._start = 0  # Bytes before it are consumed; INSIDE: the message's first byte.
        self._scanner: Scanner | None = None  # INSIDE: whose turn. OPENING: of the first line.
        self._failure: ProtocolError | None = None  # LOST: why.
        self._eof = False
        self._nuls = 0  # Skipped since the last message: no program sends a thousand of them.
        self.has_line_end = True  # The last message's was taken with it; else it may follow.

    def receive_data(self, data: bytes) -> None:
        """Add bytes just received. Looks at none of them."""
        if not self._buffer:
            if self._state is not LOST:
                self._buffer = data
        elif type(self._buffer) is bytearray:
            self._buffer += data
        else:
            self._buffer = bytearray(self._buffer)
            self._buffer += data

    def receive_eof(self) -> None:
        """Note that no byte will follow: what is left is a last message (T1)."""
        self._eof = True

    def next_frame(self) -> Frame | None:
        """Return the next message, or None if more data is needed.

        Blank lines, spaces, tabs, NULs and a byte order mark before a message are skipped.
        Raises BadMessage, once for each message that cannot be read; the next call goes on
        with the line after it. Raises FrameTooLong when a message crosses the limit, WrongPort
        when the stream begins as HTTP or TLS does, and from then on always. All of them say in
        ``.data_type`` how the message began.
        """
        if self._state is OPENING and not self._open():
            return None
        if self._state is SKIPPING:
            self._skip_line()
        if self._state is BETWEEN:
            frame = self._read_line() or self._begin()
            if frame is not None:
                return frame
        if self._state is INSIDE:
            return self._scan()
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        return None

    def take_rest(self) -> bytes:
        """Return all that is here and was not returned; the framer is then at its end."""
        rest = bytes(self._buffer[self._start :])
        self._drop_before(len(self._buffer))
        return rest

    @property
    def is_mid_message(self) -> bool:
        """Part of a message is here: the channel's deadline runs.

        What may stand between messages, and the rest of a refused line, are no part of one.
        """
        if self._state is BETWEEN or self._state is OPENING:
            return self._first_byte() < len(self._buffer)
        return self._state is INSIDE

    @property
    def data_type(self) -> str:
        """The format of the message that is here in part; where none is, what is spoken here."""
        if self._scanner is None or self._state is OPENING:
            return self._speaks
        return self._scanner.data_type

    @property
    def buffered(self) -> int:
        """Bytes received and not yet returned or dropped."""
        return len(self._buffer) - self._start

    def follow(self) -> None:
        """Go on with a stream that has begun already: whatever its next line is, it is a line."""
        if self._state is OPENING:
            self._scanner = None
            self._move(BETWEEN)

    def _open(self) -> bool:
        """Look at how the stream begins; True: as TCP messages may, False: more is needed.

        A browser sends what any web page asks it to send, to any port of the machine it runs on:
        an HTTP head and behind it, as a body, the lines that the page has chosen. Who answers
        each line of the head with an error and goes on runs them as commands. So a first line
        that is HTTP's is the last one (Redis closes on ``POST`` and ``Host:`` for this reason).
        Raises WrongPort, or FrameTooLong where the first line is over the limit.
        """
        scanner = self._scanner
        if scanner is None:
            self._skip_blank()
            buffer, start = self._buffer, self._start
            opening = bytes(buffer[start : start + TLS_HELLO])
            hello = tls_hello(opening)
            if hello is not None and len(opening) == TLS_HELLO:
                self._lose(WrongPort("a TLS handshake, not a message", "TLS", self._speaks))
            if not self._eof and (hello is not None or BOM.startswith(opening)):
                return False  # Nothing is here yet, or the next byte will tell.
            if not begins_word(opening):
                self._move(BETWEEN)
                return True
            scanner = self._scanner = LineScanner(start)
        buffer, start = self._buffer, self._start
        received = len(buffer) - start
        if not scanner.scan(buffer, start + min(received, self._max_message)):
            if received > self._max_message:
                self._lose_size(received, self._speaks)
            if not self._eof:
                return False
        if is_request_line(buffer, start, scanner.position):
            self._lose(WrongPort("an HTTP request, not a message", "HTTP", self._speaks))
        self.follow()
        return True

    def _first_byte(self) -> int:
        """Return the offset of the first byte that belongs to a message."""
        buffer = self._buffer
        position = end_of(skip_blank(buffer, self._start))
        while buffer.startswith(BOM, position):
            position = end_of(skip_blank(buffer, position + len(BOM)))
        return position

    def _skip_blank(self) -> None:
        """Drop what may stand before a message. Raises FrameTooLong for NULs without an end."""
        start, position = self._start, self._first_byte()
        if position > start:
            self._nuls += self._buffer.count(b"\0", start, position)
            if self._nuls > self._max_message:
                self._lose_size(self._nuls, self._speaks)
            self._drop_before(position)
        if self._buffer:
            self._nuls = 0

    def _read_line(self) -> Frame | None:
        """Return the next message if it is a JSON object and nothing else on a line that is here.

        Most are, and who can read it need not look for its end first. Of anything else, bad JSON
        too, the scanners find out where it ends: None.
        """
        buffer, start = self._buffer, self._start
        # Where a line begins only: of many objects on one line it would look at all that follow,
        # once for each of them.
        if not buffer or buffer[start] != BRACE or (start and buffer[start - 1] != _LF):
            return None
        end = buffer.find(b"\n", start, start + self._small)
        if end < 0:
            return None
        data = buffer[start:end]
        if type(data) is not bytes:
            data = bytes(data)
        if data[-1] != _END_BRACE:
            data = data.removesuffix(b"\r")
            if data[-1] != _END_BRACE:
                return None
        # n levels take 2 n bytes: most messages are too short to be nested too deeply.
        if len(data) > 2 * self._max_depth and _openings(data) > self._max_depth:
            return None
        try:
            value = loads(data)
        except ValueError:
            return None
        if end + 1 == len(buffer):
            self._buffer = b""
            self._start = 0
        else:
            self._drop_before(end + 1)
        self.has_line_end = True
        return Frame("json", data, value)

    def _begin(self) -> Frame | None:
        """Sense the format of the next message by its first byte, if there is one.

        Returns the message where it is small and here to its end.
        """
        buffer = self._buffer
        start = self._start
        if start == len(buffer):
            return None
        if buffer[start] != BRACE:  # The commonest message has nothing to skip before it.
            self._skip_blank()
            buffer = self._buffer
            start = self._start
            if start == len(buffer):
                return None
        first = buffer[start]
        if first == BRACE:
            small = small_object(buffer, start, start + self._small)
            if small is not None:
                frame = Frame("json", small.group(1))  # Copied before the buffer changes.
                self.has_line_end = small.lastindex == 2
                self._drop_before(small.end())
                return frame
        elif first == _BOM_START and not self._eof and BOM.startswith(buffer[start:]):
            return None  # Perhaps a byte order mark, perhaps a line: the next byte will tell.
        elif self._takes_lines and first != LESS:
            end = buffer.find(b"\n", start, start + min(SMALL, self._max_message + 1))
            if end >= 0:
                frame = Frame("raw", bytes(buffer[start:end]).rstrip(_BLANK))
                self.has_line_end = True
                self._drop_before(end + 1)
                return frame
        self._scanner = self._sense(first, start)
        self._move(INSIDE)
        return None

    def _sense(self, first: int, start: int) -> Scanner:
        """Return who finds the end of a message that begins with this byte, at `start`."""
        if first == BRACE:
            return JsonScanner(start, self._max_depth)
        if first == LESS:
            return XmlScanner(start, self._max_depth)
        return LineScanner(start)

    def _scan(self) -> Frame | None:
        """Let the scanner look for the end of the message. It sees no byte over the limit."""
        scanner = self._scanner
        assert scanner is not None
        buffer = self._buffer
        start = self._start
        received = len(buffer) - start
        try:
            whole = scanner.scan(buffer, start + min(received, self._max_message))
        except BadMessage:
            self._drop_before(scanner.position)
            self._move(SKIPPING)
            raise
        if not whole:
            if received > self._max_message:
                self._lose_size(received, scanner.data_type)
            if not self._eof:
                return None
            if scanner.data_type != "raw":
                self._consume(len(buffer))
                raise BadMessage("the stream ended inside the message", scanner.data_type)
        self.has_line_end = scanner.data_type == "raw"
        data = bytes(buffer[start : scanner.position]).rstrip(_BLANK)
        self._consume(scanner.position)
        return Frame(scanner.data_type, data)

    def _consume(self, end: int) -> None:
        self._drop_before(end)
        self._move(BETWEEN)

    def _lose_size(self, received: int, data_type: str) -> NoReturn:
        text = f"message of {received} bytes or more, limit {self._max_message}"
        self._lose(FrameTooLong(text, data_type))

    def _lose(self, error: ProtocolError) -> NoReturn:
        self._failure = error
        self._drop_before(len(self._buffer))
        self._move(LOST)
        raise error

    def _skip_line(self) -> None:
        """Drop bytes up to the next LF; without one, all of them: memory stays bounded.

        Where NULs end messages there may never be an LF, so a NUL will do if JSON or XML begins
        behind it.
        """
        end = _line_end(self._buffer, self._start)
        if end is not None:
            self._consume(end.end())
        elif self._buffer and not self._buffer[-1] and not self._eof:
            self._drop_before(len(self._buffer) - 1)  # What comes next decides.
        else:
            self._drop_before(len(self._buffer))

    def _drop_before(self, position: int) -> None:
        """Count the bytes before `position` as consumed. Offsets may change."""
        if position == len(self._buffer):
            self._buffer = b""
            self._start = 0
        elif position > COMPACT_AT and position * 2 > len(self._buffer):
            # At least half is dropped, so each byte is moved once on average.
            self._buffer = self._buffer[position:]
            self._start = 0
        else:
            self._start = position

    def _move(self, new: FramingState) -> None:
        assert new in NEXT[self._state], (self._state, new)
        self._state = new


def _openings(data: bytes) -> int:
    """Return how deeply JSON is nested at the most."""
    return data.count(b"{") + data.count(b"[")


class LineFramer(MessageFramer):
    """The framing "line": every message is a line, one that begins with { or < as well."""

    __slots__ = ()

    def __init__(self, max_message: int = MAX_MESSAGE, max_depth: int = MAX_DEPTH) -> None:
        super().__init__(max_message, max_depth)
        self._small = 0

    def _sense(self, first: int, start: int) -> Scanner:
        return LineScanner(start)


class JsonFramer(MessageFramer):
    """The framing "json": objects and nothing else; another line is a bad message."""

    __slots__ = ()
    _takes_lines = False
    _speaks = "json"

    def _sense(self, first: int, start: int) -> Scanner:
        if first != BRACE:
            return WrongStart(start, "json", "not a JSON object: it does not begin with {")
        return JsonScanner(start, self._max_depth)


class XmlFramer(MessageFramer):
    """The framing "xml": documents and nothing else; another line is a bad message."""

    __slots__ = ()
    _takes_lines = False
    _speaks = "xml"

    def __init__(self, max_message: int = MAX_MESSAGE, max_depth: int = MAX_DEPTH) -> None:
        super().__init__(max_message, max_depth)
        self._small = 0

    def _sense(self, first: int, start: int) -> Scanner:
        if first != LESS:
            return WrongStart(start, "xml", "not an XML document: it does not begin with <")
        return XmlScanner(start, self._max_depth)
