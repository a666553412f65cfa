"""Cut a TCP stream into messages: text lines, JSON objects, XML documents, in any mixture.

TCP delivers bytes, not messages: one ``recv`` may hold half a message or three (sticky and
half packets). The rule here: **no byte is looked at twice for lack of data**. Each scanner
remembers where it stopped, so a message costs the same work whether it comes whole or one
byte at a time (a framer that starts over with each byte is quadratic, and a free attack).

The first byte tells the format: ``{`` JSON, ``<`` XML, anything else a line. The scanners
look for the *end* of a message only; whether it means something, `protocol.message` decides.
That holds for XML too: expat gets whole documents, never pieces (CVE-2023-52425: versions
before 2.6.0 start a large token over with each piece).

Chapter: docs/tcp.md.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import ClassVar, NamedTuple, NoReturn

from ..errors import BadMessage, FrameTooLong

MAX_MESSAGE = 1024 * 1024  # Bytes. Config.tcp_max_message.
MAX_DEPTH = 64  # Levels. Config.tcp_max_depth.

# Consumed bytes are cut off the buffer's front only now and then: each cut may move the rest,
# and a hundred thousand small messages in one buffer must not move it a hundred thousand times.
COMPACT_AT = 64 * 1024

# A pattern below repeats a group at most so often in one match: the engine keeps notes for
# each round (to be able to backtrack), and a hostile megabyte must not turn into notes.
_ROUNDS = rb"{0,64}"

BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
_skip_blank = re.compile(rb"[ \t\r\n]*").match

# JSON, as far as its end is concerned: the text between strings, and whole strings.
_IN_STRING = rb'[^"\\\x00-\x1f]*(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*)' + _ROUNDS
_BETWEEN_STRINGS = rb'[^"{}\[\]]*'
_PLAIN = _BETWEEN_STRINGS + rb'(?:"' + _IN_STRING + rb'"' + _BETWEEN_STRINGS + rb")" + _ROUNDS
_to_quote = re.compile(_IN_STRING).match
# Where a string is not whole, this one ends before its quote.
_to_bracket = re.compile(_PLAIN).match
# The commonest message: an object that is here to its end and nested two levels at most. What
# this does not match costs one pass over SMALL bytes, and is then scanned with a memory.
_small_object = re.compile(
    rb"(\{%b(?:(?:\{%b\}|\[%b\])%b){0,16}\})(?:\r?\n)?" % (_PLAIN, _PLAIN, _PLAIN, _PLAIN)
).match
_SMALL = 4096
_SMALL_DEPTH = 2

# Bytes as indexing yields them.
_LF, _QUOTE, _SLASH, _LESS, _GREATER, _BACKSLASH = b'\n"/<>\\'
_BRACE, _BOM_START = b"{\xef"
_EXCLAMATION, _QUESTION = b"!?"


class Frame(NamedTuple):
    """One message as bytes, without its line end. data_type: 'json', 'xml' or 'raw'."""

    data_type: str
    data: bytes


class State(enum.Enum):
    """Where in the stream a `MessageFramer` is."""

    BETWEEN = "no byte of the next message"
    INSIDE = "part of a message is here"
    SKIPPING = "dropping the rest of a refused line"
    LOST = "a message over the limit: nobody knows where it ends"

    __hash__ = object.__hash__  # Members are unique; Enum's own hash is a Python call.


BETWEEN, INSIDE = State.BETWEEN, State.INSIDE
SKIPPING, LOST = State.SKIPPING, State.LOST

NEXT: dict[State, tuple[State, ...]] = {
    BETWEEN: (INSIDE,),
    INSIDE: (BETWEEN, SKIPPING, LOST),
    SKIPPING: (BETWEEN,),
    LOST: (),
}


def bad_message(text: str, data_type: str, **known: object) -> BadMessage:
    """Return the error for a message in this format; known: ``id``, where it could be read."""
    error = BadMessage(text)
    vars(error).update(data_type=data_type, **known)
    return error


class MessageFramer:
    """Rebuild messages from the pieces TCP delivers, wherever it cut them. Reactor thread.

    max_message: the longest message accepted, in bytes, the LF of a line not counted.
    max_depth: the deepest nesting of a JSON or XML message, its outermost level included.
    """

    __slots__ = (
        "_buffer",
        "_eof",
        "_failure",
        "_max_depth",
        "_max_message",
        "_scanner",
        "_small",
        "_start",
        "_state",
    )

    def __init__(self, max_message: int = MAX_MESSAGE, max_depth: int = MAX_DEPTH) -> None:
        # Set once.
        self._max_message = max_message
        self._max_depth = max_depth
        self._small = min(_SMALL, max_message) if max_depth >= _SMALL_DEPTH else 0
        # Reactor thread only.
        self._state = BETWEEN
        self._buffer = bytearray()
        self._start = 0  # Bytes before it are consumed; INSIDE: the message's first byte.
        self._scanner: LineScanner | JsonScanner | XmlScanner | None = None  # INSIDE: whose turn.
        self._failure: FrameTooLong | None = None  # LOST: why.
        self._eof = False

    def receive_data(self, data: bytes) -> None:
        """Add bytes just received. Looks at none of them."""
        if self._state is not LOST:
            self._buffer += data

    def receive_eof(self) -> None:
        """Note that no byte will follow: what is left is a last message (T1)."""
        self._eof = True

    def next_frame(self) -> Frame | None:
        """Return the next message, or None if more data is needed.

        Blank lines, spaces, tabs and a byte order mark before a message are skipped.
        Raises BadMessage, once for each message that cannot be read; the next call goes on
        with the line after it. Raises FrameTooLong when a message crosses the limit, and from
        then on always. Both say in ``.data_type`` how the message began.
        """
        if self._state is SKIPPING:
            self._skip_line()
        if self._state is BETWEEN:
            frame = self._begin()
            if frame is not None:
                return frame
        if self._state is INSIDE:
            return self._scan()
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        return None

    @property
    def is_mid_message(self) -> bool:
        """Part of a message is here: the channel's deadline runs.

        What may stand between messages, and the rest of a refused line, are no part of one.
        """
        if self._state is BETWEEN:
            return self._first_byte() < len(self._buffer)
        return self._state is INSIDE

    @property
    def data_type(self) -> str:
        """The format of the message that is here in part; 'raw' where none is."""
        return "raw" if self._scanner is None else self._scanner.data_type

    @property
    def buffered(self) -> int:
        """Bytes received and not yet returned or dropped."""
        return len(self._buffer) - self._start

    def _first_byte(self) -> int:
        """Return the offset of the first byte that belongs to a message."""
        buffer = self._buffer
        position = _end_of(_skip_blank(buffer, self._start))
        while buffer.startswith(BOM, position):
            position = _end_of(_skip_blank(buffer, position + len(BOM)))
        return position

    def _begin(self) -> Frame | None:
        """Sense the format of the next message by its first byte, if there is one.

        Returns the message where it is small and here to its end.
        """
        buffer = self._buffer
        start = self._start
        if start == len(buffer):
            return None
        if buffer[start] != _BRACE:  # The commonest message has nothing to skip before it.
            self._drop_before(self._first_byte())
            start = self._start
            if start == len(buffer):
                return None
        first = buffer[start]
        if first == _BRACE:
            small = _small_object(buffer, start, start + self._small)
            if small is not None:
                frame = Frame("json", small.group(1))  # Copied before the buffer changes.
                self._drop_before(small.end())
                return frame
            self._scanner = JsonScanner(start, self._max_depth)
        elif first == _LESS:
            self._scanner = XmlScanner(start, self._max_depth)
        elif first == _BOM_START and not self._eof and BOM.startswith(buffer[start:]):
            return None  # Perhaps a byte order mark, perhaps a line: the next byte will tell.
        else:
            self._scanner = LineScanner(start)
        self._move(INSIDE)
        return None

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
                self._lose(received, scanner.data_type)
            if not self._eof:
                return None
            if scanner.data_type != "raw":
                self._consume(len(buffer))
                raise bad_message("the stream ended inside the message", scanner.data_type)
        data = bytes(buffer[start : scanner.position]).rstrip(_BLANK)
        self._consume(scanner.position)
        return Frame(scanner.data_type, data)

    def _consume(self, end: int) -> None:
        self._drop_before(end)
        self._move(BETWEEN)

    def _lose(self, received: int, data_type: str) -> NoReturn:
        self._failure = FrameTooLong(
            f"message of {received} bytes or more, limit {self._max_message}"
        )
        vars(self._failure).update(data_type=data_type)
        self._drop_before(len(self._buffer))
        self._move(LOST)
        raise self._failure

    def _skip_line(self) -> None:
        """Drop bytes up to the next LF; without one, all of them: memory stays bounded."""
        end = self._buffer.find(b"\n", self._start)
        if end < 0:
            self._drop_before(len(self._buffer))
        else:
            self._consume(end + 1)

    def _drop_before(self, position: int) -> None:
        """Count the bytes before `position` as consumed. Offsets may change."""
        if position == len(self._buffer):
            self._buffer.clear()
            self._start = 0
        elif position > COMPACT_AT and position * 2 > len(self._buffer):
            # At least half is dropped, so each byte is moved once on average.
            del self._buffer[:position]
            self._start = 0
        else:
            self._start = position

    def _move(self, new: State) -> None:
        assert new in NEXT[self._state], f"{self._state} -> {new}"
        self._state = new


def _end_of(found: re.Match[bytes] | None) -> int:
    """Return where a match ended whose pattern cannot fail: it matches the empty string too."""
    assert found is not None
    return found.end()


class LineScanner:
    """Finds the LF that ends a line of text."""

    __slots__ = ("position",)
    data_type: ClassVar[str] = "raw"

    def __init__(self, start: int) -> None:
        self.position = start  # No LF before it; behind the line once it is whole.

    def scan(self, buffer: bytearray, end: int) -> bool:
        """Return True if the line is whole. Looks one byte past `end`: the LF is not counted."""
        found = buffer.find(b"\n", self.position, end + 1)
        self.position = end if found < 0 else found + 1
        return found >= 0


_CLOSER = {ord("{"): ord("}"), ord("["): ord("]")}


class JsonScanner:
    """Finds the bracket that closes a JSON object: a stack of brackets, and "in a string".

    RFC 8259 section 7: a string holds no control character, so a raw line end in one is
    where a broken message ends, and the next one begins.
    """

    __slots__ = ("_closers", "_in_string", "_max_depth", "position")
    data_type: ClassVar[str] = "json"

    def __init__(self, start: int, max_depth: int) -> None:
        self.position = start + 1  # Every byte before it has been scanned.
        self._closers = [_CLOSER[_BRACE]]  # What must close, innermost last.
        self._in_string = False
        self._max_depth = max_depth

    def scan(self, buffer: bytearray, end: int) -> bool:
        """Return True if the object is whole, False if it does not end before `end`.

        Raises BadMessage; `position` is then where to look for the end of the line.
        """
        while not self._in_string or self._end_string(buffer, end):
            position = self.position = _end_of(_to_bracket(buffer, self.position, end))
            if position == end:
                return False
            self.position += 1
            byte = buffer[position]
            if byte == _QUOTE:
                self._in_string = True
            elif byte in _CLOSER:
                self._closers.append(_CLOSER[byte])
                if len(self._closers) > self._max_depth:
                    raise bad_message(f"nested over {self._max_depth} levels", "json")
            elif byte != self._closers.pop():
                raise bad_message(f"bad JSON: {chr(byte)!r} closes nothing that is open", "json")
            elif not self._closers:
                return True
        return False

    def _end_string(self, buffer: bytearray, end: int) -> bool:
        """Go to behind the closing quote; False: it is not here yet."""
        while self._in_string:
            position = self.position = _end_of(_to_quote(buffer, self.position, end))
            if position == end:
                return False
            byte = buffer[position]
            if byte == _BACKSLASH:
                if position + 1 == end:
                    return False
                self.position += 1  # The escaped byte cannot end the string, but be a control.
                byte = buffer[position + 1]
            elif byte == _QUOTE:
                self._in_string = False
            if byte < 0x20:
                raise bad_message("bad JSON: a control character in a string", "json")
            self.position += 1
        return True


class Part(enum.Enum):
    """Which part of an XML document an `XmlScanner` is in."""

    TEXT = "text, or the blank before the root element"
    MARKUP = "at a '<' of unknown kind"
    START_TAG = "in a start tag, outside quotes"
    VALUE = "in a quoted attribute value"
    END_TAG = "in an end tag"
    SECTION = "in a comment, CDATA section or processing instruction"
    WHOLE = "behind the root element"

    __hash__ = object.__hash__  # See State.


TEXT, MARKUP, SECTION, WHOLE = Part.TEXT, Part.MARKUP, Part.SECTION, Part.WHOLE
START_TAG, VALUE, END_TAG = Part.START_TAG, Part.VALUE, Part.END_TAG

NEXT_PART: dict[Part, tuple[Part, ...]] = {
    TEXT: (MARKUP,),
    MARKUP: (START_TAG, END_TAG, SECTION),
    START_TAG: (VALUE, TEXT, WHOLE),
    VALUE: (START_TAG,),
    END_TAG: (TEXT, WHOLE),
    SECTION: (TEXT,),
    WHOLE: (),
}

_PI, _COMMENT, _CDATA = b"<?", b"<!--", b"<![CDATA["
_is_name_start = re.compile(rb"[A-Za-z_:\x80-\xff]").match
_in_end_tag = re.compile(rb"""[^<>"'/]*""").match
# Over whole attributes; where a value is not whole it ends before the quote.
_in_start_tag = re.compile(rb"""[^<>"'/]*(?:(?:"[^"<]*"|'[^'<]*')[^<>"'/]*)""" + _ROUNDS).match
_in_value = {ord('"'): re.compile(rb'[^"<]*').match, ord("'"): re.compile(rb"[^'<]*").match}


class XmlScanner:
    """Finds the end of an XML document's root element: a count of open elements.

    It knows where '<' and '>' are markup and where they are text (XML 1.0 sections 2.4 to
    2.7, 3.1). Whether the names of the tags match is left to expat, with the rest of the
    grammar. A DOCTYPE is refused here already: all that it could bring is expansion (T3).
    """

    __slots__ = ("_depth", "_max_depth", "_part", "_quote", "_terminator", "position")
    data_type: ClassVar[str] = "xml"

    def __init__(self, start: int, max_depth: int) -> None:
        self.position = start  # Every byte before it has been scanned.
        self._part = MARKUP
        self._depth = 0  # Open elements.
        self._max_depth = max_depth
        self._quote = 0  # VALUE: the byte that ends it.
        self._terminator = b""  # SECTION: the bytes that end it.

    def scan(self, buffer: bytearray, end: int) -> bool:
        """Return True if the document is whole, False if it does not end before `end`.

        Raises BadMessage; `position` is then where to look for the end of the line.
        """
        while self._part is not WHOLE:
            if not _STEPS[self._part](self, buffer, end):
                return False
        return True

    # Each step leaves its part behind and returns True, or needs more data: False.

    def _text(self, buffer: bytearray, end: int) -> bool:
        if self._depth:
            position = buffer.find(b"<", self.position, end)
            self.position = position if position >= 0 else end
        else:
            self.position = _end_of(_skip_blank(buffer, self.position, end))
        if self.position == end:
            return False
        if buffer[self.position] != _LESS:
            raise bad_message("bad XML: text before the root element", "xml")
        return self._move(MARKUP)

    def _markup(self, buffer: bytearray, end: int) -> bool:
        kind = self.position + 1
        if kind == end:
            return False
        if buffer[kind] == _EXCLAMATION:
            return self._declaration(buffer, end)
        if buffer[kind] == _QUESTION:
            return self._section(len(_PI), b"?>")
        self.position = kind
        if buffer[kind] == _SLASH:
            if not self._depth:
                raise bad_message("bad XML: an end tag without a start tag", "xml")
            self.position += 1
            return self._move(END_TAG)
        if not _is_name_start(buffer, kind, end):
            raise bad_message("bad XML: '<' begins no tag, write &lt; for the character", "xml")
        if self._depth == self._max_depth:
            raise bad_message(f"nested over {self._max_depth} levels", "xml")
        return self._move(START_TAG)

    def _declaration(self, buffer: bytearray, end: int) -> bool:
        opening = buffer[self.position : min(end, self.position + len(_CDATA))]
        if opening.startswith(_COMMENT):
            return self._section(len(_COMMENT), b"-->")
        if opening == _CDATA and self._depth:
            return self._section(len(_CDATA), b"]]>")
        if _COMMENT.startswith(opening) or (_CDATA.startswith(opening) and opening != _CDATA):
            return False
        raise bad_message("bad XML: a DOCTYPE or ENTITY declaration is refused", "xml")

    def _section(self, opening: int, terminator: bytes) -> bool:
        self.position += opening
        self._terminator = terminator
        return self._move(SECTION)

    def _skip_section(self, buffer: bytearray, end: int) -> bool:
        found = buffer.find(self._terminator, self.position, end)
        if found < 0:
            # The last bytes may be the terminator's first.
            self.position = max(self.position, end - len(self._terminator) + 1)
            return False
        self.position = found + len(self._terminator)
        return self._move(TEXT)

    def _start_tag(self, buffer: bytearray, end: int) -> bool:
        position = self.position = _end_of(_in_start_tag(buffer, self.position, end))
        if position == end:
            return False
        byte = buffer[position]
        if byte in _in_value:
            self.position += 1
            self._quote = byte
            return self._move(VALUE)
        if byte == _GREATER:
            self.position += 1
            self._depth += 1
            return self._move(TEXT)
        if byte == _SLASH:
            if position + 1 == end:
                return False
            self.position += 1
            if buffer[position + 1] == _GREATER:
                self.position += 1
                return self._move(TEXT if self._depth else WHOLE)
        raise bad_message(f"bad XML: {chr(byte)!r} in a tag", "xml")

    def _value(self, buffer: bytearray, end: int) -> bool:
        position = self.position = _end_of(_in_value[self._quote](buffer, self.position, end))
        if position == end:
            return False
        if buffer[position] == _LESS:
            raise bad_message("bad XML: '<' in an attribute value", "xml")
        self.position += 1
        return self._move(START_TAG)

    def _end_tag(self, buffer: bytearray, end: int) -> bool:
        position = self.position = _end_of(_in_end_tag(buffer, self.position, end))
        if position == end:
            return False
        if buffer[position] != _GREATER:
            raise bad_message(f"bad XML: {chr(buffer[position])!r} in an end tag", "xml")
        self.position += 1
        self._depth -= 1
        return self._move(TEXT if self._depth else WHOLE)

    def _move(self, new: Part) -> bool:
        assert new in NEXT_PART[self._part], f"{self._part} -> {new}"
        self._part = new
        return True


_STEPS: dict[Part, Callable[[XmlScanner, bytearray, int], bool]] = {
    TEXT: XmlScanner._text,
    MARKUP: XmlScanner._markup,
    START_TAG: XmlScanner._start_tag,
    VALUE: XmlScanner._value,
    END_TAG: XmlScanner._end_tag,
    SECTION: XmlScanner._skip_section,
}
