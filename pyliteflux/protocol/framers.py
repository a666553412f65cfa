"""Framers for other protocols: what one has to do, and the parts to write one from.

`Framer` is the whole interface. The rule for all of them: bytes in, messages out, the same
messages wherever TCP cut the bytes; memory bounded by a limit; after a bad message in step at
the next one, or else lost and saying so.

`BufferedFramer` keeps these promises for a subclass that only says where a message ends;
`LengthFramer` is one, and a user's own takes twenty lines. `Framing` is a choice of framer
(the setting tcp_framing, or a route's ``framing=``), checked before the first client comes.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn, Protocol

from ..config import Config
from ..errors import BadMessage, ConfigError, FrameTooLong, ProtocolError
from .frame import Frame
from .framing import BOM, JsonFramer, LineFramer, MessageFramer, XmlFramer
from .scanners import BRACE, LESS, JsonScanner

# Bytes that a message may have around it, beside those that tcp_max_message counts.
OVERHEAD = 64

# Pieces that are no message, such as blank lines, cut off in one call: some milliseconds of work.
MOST_SKIPPED = 4096

_BLANK = b" \t\r\n"
_zeros = re.compile(rb"\0*").match
# What `protocol.message` reads as a line: it begins with a word.
_begins_with_word = re.compile(r"[^\x00-\x20\x7f-\x9f]+(?=[ \t]|\Z)").match


class Framer(Protocol):
    """Cuts the stream of one connection into messages. Reactor thread, but for `wrap`."""

    def receive_data(self, data: bytes) -> None:
        """Add bytes just received."""

    def receive_eof(self) -> None:
        """Note that no byte will follow."""

    def next_frame(self) -> Frame | None:
        """Return the next message, or None if more data is needed.

        Raises BadMessage for a message that it has dropped: it is answered by an error, and
        the next call goes on behind it. Raises FrameTooLong, or any other ProtocolError, where
        the stream is lost: it is answered by an error, and the connection is closed. A framer
        must itself bound what it keeps.
        """

    def take_rest(self) -> bytes:
        """Return what was received and not returned: another framer goes on with it."""

    @property
    def is_mid_message(self) -> bool:
        """Part of a message is here: the rest must come within tcp_message_timeout."""

    @property
    def buffered(self) -> int:
        """Bytes received and not yet returned or dropped."""

    @property
    def data_type(self) -> str:
        """The format of the message that is here in part: an error is written in it."""

    @property
    def wrap(self) -> Callable[[bytes], bytes] | None:
        """None, or a function: it gets a message without its line end, returns what to send.

        None sends messages as the server writes them: JSON, XML and lines ended by LF, bytes
        as they are. Any thread calls the function, and one call may serve all connections of
        this framing (a push is wrapped once): it may depend on nothing but the message.
        """


class BufferedFramer:
    """A framer, but for one method: a subclass says in `cut` where the next message ends.

    config: the limit is its tcp_max_message; `OVERHEAD` bytes more may be around a message.
    """

    def __init__(self, config: Config) -> None:
        self.limit = config.tcp_max_message
        self.max_depth = config.tcp_max_depth
        self.buffer = bytearray()  # What was received and not taken.
        self.at_eof = False
        self._searched: dict[bytes, int] = {}  # By terminator: so many leading bytes hold none.
        self._failure: ProtocolError | None = None  # The stream is lost: why.
        self.has_more = False  # `next_frame` returned None, but may find a message if called again.

    def cut(self) -> Frame | None:
        """Take the next message from `buffer` (`take`), or return None if it is not whole.

        None after something was taken, such as a blank line or a heartbeat: it is called again.
        Raises BadMessage behind a bad message that it has taken, ProtocolError where nobody
        can tell where the next one begins.
        """
        raise NotImplementedError

    def take(self, count: int) -> bytes:
        """Return the first bytes of the buffer, and drop them from it."""
        data = bytes(self.buffer[:count])
        # No byte behind them is moved: CPython's bytearray only notes a new beginning.
        del self.buffer[:count]
        self._searched.clear()
        return data

    def find(self, separator: bytes) -> int:
        """Return where the separator is, -1 if not here yet. No byte is looked at twice."""
        found = self.buffer.find(separator, self._searched.get(separator, 0))
        if found < 0:
            self._searched[separator] = max(0, len(self.buffer) - len(separator) + 1)
        return found

    def receive_data(self, data: bytes) -> None:
        """Add bytes just received. Looks at none of them."""
        if self._failure is None:
            self.buffer += data

    def receive_eof(self) -> None:
        """Note that no byte will follow: what is left in the buffer is part of a message."""
        self.at_eof = True

    def next_frame(self) -> Frame | None:
        """Return the next message, or None if more data is needed; see `Framer`.

        None with `has_more` set: `cut` has taken many pieces and found no message yet, and it is
        somebody else's turn. Raises RuntimeError where it returns a message without taking a byte.
        """
        self.has_more = False
        for _ in range(MOST_SKIPPED):
            left = len(self.buffer)
            frame = self._next_piece()
            # Each round takes a byte at least, or is the last: a `cut` that took what is no
            # message has not looked at what is behind that.
            if frame is not None or not 0 < len(self.buffer) < left:
                return frame
        self.has_more = True
        return None

    def _next_piece(self) -> Frame | None:
        """Call `cut` once; see to the limit, the end of the stream, and what it raises."""
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        if not self.buffer:
            return None
        before = len(self.buffer)
        frame = None
        try:
            frame = self.cut()
        except BadMessage as error:
            if len(self.buffer) < before:
                error.data_type = error.data_type or self.data_type
                raise
            self._lose(ProtocolError(str(error)))  # The next call would find the same again.
        except ProtocolError as error:
            self._lose(error)
        taken = before - len(self.buffer)
        if frame is not None and taken == 0:
            raise RuntimeError(f"{type(self).__name__}.cut() returned a message and took no byte")
        if frame is None and taken > 0:
            return None  # What is left has not been looked at yet.
        size = len(self.buffer) if frame is None else taken
        if size > self.limit + OVERHEAD:
            self._lose(FrameTooLong(f"message of {size} bytes or more, limit {self.limit}"))
        if frame is None and self.at_eof and self.buffer:
            data_type = self.data_type
            self.buffer.clear()
            raise BadMessage("the stream ended inside the message", data_type)
        return frame

    def take_rest(self) -> bytes:
        """Return all that is here and was not returned."""
        return self.take(len(self.buffer))

    @property
    def is_mid_message(self) -> bool:
        """Part of a message is here: the channel's deadline runs."""
        return bool(self.buffer)

    @property
    def buffered(self) -> int:
        """Bytes received and not yet returned or dropped."""
        return len(self.buffer)

    @property
    def data_type(self) -> str:
        """The format of the message that is here in part."""
        return "binary"

    @property
    def wrap(self) -> Callable[[bytes], bytes] | None:
        """None: what goes out is sent as it is. A subclass may have a method of this name."""
        return None

    def _lose(self, error: ProtocolError) -> NoReturn:
        self.buffer.clear()
        self._failure = error
        raise error


class LengthFramer(BufferedFramer):
    """The framing "length": before each message its length in bytes, 4 of them, big-endian.

    A message of length 0 is skipped, as a blank line is. A subclass may have another `prefix`,
    or read what is in a message in another way (`sense`).
    """

    prefix: ClassVar[struct.Struct] = struct.Struct(">I")

    def cut(self) -> Frame | None:
        """Take the next message that is not empty."""
        buffer, size = self.buffer, self.prefix.size
        while len(buffer) >= size:
            (length,) = self.prefix.unpack_from(buffer)
            if not 0 <= length <= self.limit:
                raise FrameTooLong(f"message of {length} bytes, limit {self.limit}")
            if length:
                if len(buffer) < size + length:
                    return None
                return self.sense(self.take(size + length)[size:])
            # In one leap, however many there are.
            zeros = _zeros(buffer)
            self.take((zeros.end() if zeros else size) // size * size)
        return None

    def sense(self, data: bytes) -> Frame:
        """Return a message with its format: JSON, XML, a line, or else binary.

        Raises BadMessage for JSON that is nested over the limit.
        """
        text = _without_blank(data)
        first = text[0] if text else 0
        if first == BRACE or first == LESS:
            text = text.rstrip(_BLANK + b"\0")  # Of a C string that was sent with its end.
        if first == BRACE:
            # Its depth is checked; whether it is JSON is for `protocol.message` to say.
            JsonScanner(0, self.max_depth).scan(bytearray(text), len(text))
            return Frame("json", text)
        if first == LESS:
            return Frame("xml", text)
        try:
            is_line = _begins_with_word(text.decode()) is not None
        except UnicodeDecodeError:
            is_line = False
        return Frame("raw", text) if is_line else Frame("binary", data)

    def wrap(self, data: bytes) -> bytes:
        """Return a message with its length before it."""
        return self.prefix.pack(len(data)) + data

    @property
    def data_type(self) -> str:
        """The format of the message that is here in part, as its first byte tells."""
        start = bytes(self.buffer[self.prefix.size : self.prefix.size + 1])
        return {b"{": "json", b"<": "xml"}.get(start, "raw")


def _without_blank(data: bytes) -> bytes:
    """Return a message without what may stand before and behind it."""
    data = data.strip(_BLANK)
    while data.startswith(BOM):
        data = data[len(BOM) :].lstrip(_BLANK)
    return data


class AfterCommand:
    """Another framer, from which the line end of the command before it is kept away.

    A JSON or XML command ends with its bracket, so the framer that found it may have left the
    line end, which belongs to the command, in the stream, or it has not even come.
    """

    __slots__ = ("_framer", "_held", "_is_waiting")

    def __init__(self, framer: Framer) -> None:
        self._framer = framer
        self._is_waiting = True  # The first byte behind the command has not come.
        self._held = b""  # A CR: its LF may come.

    def receive_data(self, data: bytes) -> None:
        """Add bytes just received."""
        if self._is_waiting:
            data, self._held = self._held + data, b""
            if data in (b"", b"\r"):
                self._held = data
                return
            self._is_waiting = False
            data = data.removeprefix(b"\r\n") if data[0] == 13 else data.removeprefix(b"\n")
        self._framer.receive_data(data)

    def receive_eof(self) -> None:
        """Note that no byte will follow."""
        self._is_waiting = False
        self._framer.receive_data(self._held)
        self._held = b""
        self._framer.receive_eof()

    def next_frame(self) -> Frame | None:
        """Return the next message, or None if more data is needed."""
        return self._framer.next_frame()

    @property
    def has_more(self) -> bool:
        """As of the framer behind it."""
        return bool(getattr(self._framer, "has_more", False))

    def take_rest(self) -> bytes:
        """Return all that is here and was not returned."""
        return self._held + self._framer.take_rest()

    @property
    def is_mid_message(self) -> bool:
        """Part of a message is here."""
        return bool(self._held) or self._framer.is_mid_message

    @property
    def buffered(self) -> int:
        """Bytes received and not yet returned or dropped."""
        return len(self._held) + self._framer.buffered

    @property
    def data_type(self) -> str:
        """The format of the message that is here in part."""
        return self._framer.data_type

    @property
    def wrap(self) -> Callable[[bytes], bytes] | None:
        """As of the framer behind it."""
        return self._framer.wrap


class Framing:
    """A choice of framer: a name of `config.FRAMINGS`, or a function that makes one.

    make: called with the config, for each connection. wrap: see `Framer`. data_type: what a
    client is taken to read before its first message, "" where that is not known.
    Raises ConfigError where a user's function fails, or what it returns is no framer.
    """

    __slots__ = ("data_type", "make", "wrap")

    def __init__(self, choice: Any, config: Config) -> None:
        self.make: Callable[[Config], Framer]
        self.make = _MAKERS[choice] if isinstance(choice, str) else choice
        try:
            framer = self.make(config)
        except Exception as error:
            raise ConfigError(f"the framing {choice!r} could not make a framer: {error}") from error
        missing = [name for name in _INTERFACE if not hasattr(framer, name)]
        if missing:
            raise ConfigError(
                f"the framing {choice!r} made {framer!r}, which is no framer: "
                f"it has no {', '.join(missing)}"
            )
        self.wrap = framer.wrap
        self.data_type = _SPOKEN[choice] if isinstance(choice, str) else framer.data_type


def hand_over(old: Framer, new: Framer, is_at_eof: bool) -> Framer:
    """Return the framer that goes on with what `old` has not returned."""
    if isinstance(new, MessageFramer):
        new.follow()
    if isinstance(old, MessageFramer) and not old.has_line_end:
        new = AfterCommand(new)
    new.receive_data(old.take_rest())
    if is_at_eof:
        new.receive_eof()
    return new


def _maker(kind: type[MessageFramer]) -> Callable[[Config], Framer]:
    return lambda config: kind(config.tcp_max_message, config.tcp_max_depth)


_MAKERS: dict[str, Callable[[Config], Framer]] = {
    "auto": _maker(MessageFramer),
    "line": _maker(LineFramer),
    "json": _maker(JsonFramer),
    "xml": _maker(XmlFramer),
    "length": LengthFramer,
}
_SPOKEN = {"auto": "", "line": "raw", "json": "json", "xml": "xml", "length": ""}
_INTERFACE = (
    "receive_data",
    "receive_eof",
    "next_frame",
    "take_rest",
    "is_mid_message",
    "buffered",
    "data_type",
    "wrap",
)
