"""Find where a message ends: a line, a JSON object, an XML document. The grammar of framing.

The rule: **no byte is looked at twice for lack of data**. A scanner remembers where it stopped
and what it is in the middle of, so a message costs the same work whether it comes whole or one
byte at a time. It looks for the *end* only; whether the message means something,
`protocol.message` decides. That holds for XML too: expat gets whole documents, never pieces
(CVE-2023-52425: versions before 2.6.0 start a large token over with each piece).

Chapter: docs/tcp.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar, Protocol

from ..errors import BadMessage
from ..word import Word

# A pattern below repeats a group at most so often in one match: the engine keeps notes for
# each round (to be able to backtrack), and a hostile megabyte must not turn into notes.
_ROUNDS = rb"{0,64}"

# What may stand between messages. NUL too: C's programs send the end of their strings.
skip_blank = re.compile(rb"[ \t\r\n\0]*").match
_skip_space = re.compile(rb"[ \t\r\n]*").match  # XML 1.0 section 2.3.

# How a stream begins that is none of ours. An HTTP request line (RFC 9112 section 3), in any
# letter case, as are those of HTTP/2's preface and of a WebSocket's handshake; it is matched
# against a whole line. A TLS ClientHello: the record's type and version, two bytes of length, the
# handshake's type (RFC 8446 sections 4 and 5.1), or as much of that as is here.
begins_word = re.compile(rb"[A-Za-z]").match
is_request_line = re.compile(rb"[A-Za-z][^\x00-\x20]*[ \t]+[^\x00-\x20]+[ \t]+HTTP/[0-9]").match
tls_hello = re.compile(
    rb"\x16(?:\Z|\x03(?:\Z|[\x00-\x04](?:\Z|.(?:\Z|.(?:\Z|\x01)))))", re.DOTALL
).match
TLS_HELLO = 6  # Bytes.

# JSON, as far as its end is concerned: the text between strings, and whole strings.
_IN_STRING = rb'[^"\\\x00-\x1f]*(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*)' + _ROUNDS
_BETWEEN_STRINGS = rb'[^"{}\[\]]*'
_PLAIN = _BETWEEN_STRINGS + rb'(?:"' + _IN_STRING + rb'"' + _BETWEEN_STRINGS + rb")" + _ROUNDS
_to_quote = re.compile(_IN_STRING).match
# Where a string is not whole, this one ends before its quote.
_to_bracket = re.compile(_PLAIN).match
# The commonest message: an object that is here to its end and nested two levels at most. What
# this does not match costs one pass over SMALL bytes, and is then scanned with a memory.
small_object = re.compile(
    rb"(\{%b(?:(?:\{%b\}|\[%b\])%b){0,16}\})(\r?\n)?" % (_PLAIN, _PLAIN, _PLAIN, _PLAIN)
).match
SMALL = 4096
SMALL_DEPTH = 2

# Bytes as indexing yields them.
BRACE, LESS = b"{<"
_QUOTE, _SLASH, _GREATER, _BACKSLASH = b'"/>\\'
_EXCLAMATION, _QUESTION = b"!?"


class Scanner(Protocol):
    """Looks for the end of one message, as far as the bytes that are here go.

    position: every byte before it has been scanned; behind the message once it is whole.
    """

    position: int

    @property
    def data_type(self) -> str:
        """The format: "raw", "json" or "xml"."""

    def scan(self, buffer: bytes | bytearray, end: int) -> bool:
        """Return True if the message is whole, False if it does not end before `end`.

        Raises BadMessage; `position` is then where to look for the end of the line.
        """


def end_of(found: re.Match[bytes] | None) -> int:
    """Return where a match ended whose pattern cannot fail: it matches the empty string too."""
    assert found is not None
    return found.end()


class LineScanner:
    """Finds the LF that ends a line of text."""

    __slots__ = ("position",)
    data_type: ClassVar[str] = "raw"

    def __init__(self, start: int) -> None:
        self.position = start  # No LF before it; behind the line once it is whole.

    def scan(self, buffer: bytes | bytearray, end: int) -> bool:
        """Return True if the line is whole. Looks one byte past `end`: the LF is not counted."""
        found = buffer.find(b"\n", self.position, end + 1)
        self.position = end if found < 0 else found + 1
        return found >= 0


class WrongStart:
    """Refuses a message that does not begin as this framing demands; its line goes with it."""

    __slots__ = ("_text", "data_type", "position")

    def __init__(self, start: int, data_type: str, text: str) -> None:
        self.position = start
        self.data_type = data_type
        self._text = text

    def scan(self, buffer: bytes | bytearray, end: int) -> bool:
        """Raise BadMessage."""
        raise BadMessage(self._text, self.data_type)


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
        self._closers = [_CLOSER[BRACE]]  # What must close, innermost last.
        self._in_string = False
        self._max_depth = max_depth

    def scan(self, buffer: bytes | bytearray, end: int) -> bool:
        """Return True if the object is whole, False if it does not end before `end`.

        Raises BadMessage; `position` is then where to look for the end of the line.
        """
        while not self._in_string or self._end_string(buffer, end):
            position = self.position = end_of(_to_bracket(buffer, self.position, end))
            if position == end:
                return False
            self.position += 1
            byte = buffer[position]
            if byte == _QUOTE:
                self._in_string = True
            elif byte in _CLOSER:
                self._closers.append(_CLOSER[byte])
                if len(self._closers) > self._max_depth:
                    raise BadMessage(f"nested over {self._max_depth} levels", "json")
            elif byte != self._closers.pop():
                raise BadMessage(f"bad JSON: {chr(byte)!r} closes nothing that is open", "json")
            elif not self._closers:
                return True
        return False

    def _end_string(self, buffer: bytes | bytearray, end: int) -> bool:
        """Go to behind the closing quote; False: it is not here yet."""
        while self._in_string:
            position = self.position = end_of(_to_quote(buffer, self.position, end))
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
                raise BadMessage("bad JSON: a control character in a string", "json")
            self.position += 1
        return True


class Part(Word):
    """Which part of an XML document an `XmlScanner` is in."""

    TEXT = "text, or the blank before the root element"
    MARKUP = "at a '<' of unknown kind"
    START_TAG = "in a start tag, outside quotes"
    VALUE = "in a quoted attribute value"
    END_TAG = "in an end tag"
    SECTION = "in a comment, CDATA section or processing instruction"
    WHOLE = "behind the root element"


TEXT, MARKUP, SECTION, WHOLE = Part.TEXT, Part.MARKUP, Part.SECTION, Part.WHOLE
START_TAG, VALUE, END_TAG = Part.START_TAG, Part.VALUE, Part.END_TAG

NEXT_PART = {
    TEXT: {MARKUP},
    MARKUP: {START_TAG, END_TAG, SECTION},
    START_TAG: {VALUE, TEXT, WHOLE},
    VALUE: {START_TAG},
    END_TAG: {TEXT, WHOLE},
    SECTION: {TEXT},
    WHOLE: set(),
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

    def scan(self, buffer: bytes | bytearray, end: int) -> bool:
        """Return True if the document is whole, False if it does not end before `end`.

        Raises BadMessage; `position` is then where to look for the end of the line.
        """
        while self._part is not WHOLE:
            if not _STEPS[self._part](self, buffer, end):
                return False
        return True

    # Each step leaves its part behind and returns True, or needs more data: False.

    def _text(self, buffer: bytes | bytearray, end: int) -> bool:
        if self._depth:
            position = buffer.find(b"<", self.position, end)
            self.position = position if position >= 0 else end
        else:
            self.position = end_of(_skip_space(buffer, self.position, end))
        if self.position == end:
            return False
        if buffer[self.position] != LESS:
            raise BadMessage("bad XML: text before the root element", "xml")
        return self._move(MARKUP)

    def _markup(self, buffer: bytes | bytearray, end: int) -> bool:
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
                raise BadMessage("bad XML: an end tag without a start tag", "xml")
            self.position += 1
            return self._move(END_TAG)
        if not _is_name_start(buffer, kind, end):
            raise BadMessage("bad XML: '<' begins no tag, write &lt; for the character", "xml")
        if self._depth == self._max_depth:
            raise BadMessage(f"nested over {self._max_depth} levels", "xml")
        return self._move(START_TAG)

    def _declaration(self, buffer: bytes | bytearray, end: int) -> bool:
        opening = buffer[self.position : min(end, self.position + len(_CDATA))]
        if opening.startswith(_COMMENT):
            return self._section(len(_COMMENT), b"-->")
        if opening == _CDATA and self._depth:
            return self._section(len(_CDATA), b"]]>")
        if _COMMENT.startswith(opening) or (_CDATA.startswith(opening) and opening != _CDATA):
            return False
        raise BadMessage("bad XML: a DOCTYPE or ENTITY declaration is refused", "xml")

    def _section(self, opening: int, terminator: bytes) -> bool:
        self.position += opening
        self._terminator = terminator
        return self._move(SECTION)

    def _skip_section(self, buffer: bytes | bytearray, end: int) -> bool:
        found = buffer.find(self._terminator, self.position, end)
        if found < 0:
            # The last bytes may be the terminator's first.
            self.position = max(self.position, end - len(self._terminator) + 1)
            return False
        self.position = found + len(self._terminator)
        return self._move(TEXT)

    def _start_tag(self, buffer: bytes | bytearray, end: int) -> bool:
        position = self.position = end_of(_in_start_tag(buffer, self.position, end))
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
        raise BadMessage(f"bad XML: {chr(byte)!r} in a tag", "xml")

    def _value(self, buffer: bytes | bytearray, end: int) -> bool:
        position = self.position = end_of(_in_value[self._quote](buffer, self.position, end))
        if position == end:
            return False
        if buffer[position] == LESS:
            raise BadMessage("bad XML: '<' in an attribute value", "xml")
        self.position += 1
        return self._move(START_TAG)

    def _end_tag(self, buffer: bytes | bytearray, end: int) -> bool:
        position = self.position = end_of(_in_end_tag(buffer, self.position, end))
        if position == end:
            return False
        if buffer[position] != _GREATER:
            raise BadMessage(f"bad XML: {chr(buffer[position])!r} in an end tag", "xml")
        self.position += 1
        self._depth -= 1
        return self._move(TEXT if self._depth else WHOLE)

    def _move(self, new: Part) -> bool:
        assert new in NEXT_PART[self._part], (self._part, new)
        self._part = new
        return True


_STEPS: dict[Part, Callable[[XmlScanner, bytes | bytearray, int], bool]] = {
    TEXT: XmlScanner._text,
    MARKUP: XmlScanner._markup,
    START_TAG: XmlScanner._start_tag,
    VALUE: XmlScanner._value,
    END_TAG: XmlScanner._end_tag,
    SECTION: XmlScanner._skip_section,
}
