"""Where a request body ends: after so many bytes, or after the last chunk.

The rule: a decoder takes its own bytes from the front of the shared buffer, and not one
more; what follows is the next request. RFC 9112 sections 6 and 7.1.

Chapter: docs/http.md.
"""

from __future__ import annotations

import re

from ..errors import BadRequest, BodyTooLarge, HeadTooLarge
from ..headers import TOKEN
from ..word import Word
from .bad_heads import check_trailers
from .http_head import HttpLimits

# Chunks decoded in one call, so that a body of one-byte chunks cannot hold the loop: 64 KB
# of them would take some 20 ms in one go.
CHUNKS_PER_CALL = 512
# All the wire bytes of a chunked body, for so many bytes of content: chunks of one byte cost
# six. Beyond it somebody sends extensions, not content (CVE-2023-39326).
WIRE_FACTOR = 8
WIRE_ALLOWANCE = 64 * 1024

_TOKEN = TOKEN.encode()
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
# RFC 9112 section 7.1: chunk-size [ chunk-ext ]. Sixteen digits are 64 bits: a longer number
# is where parsers overflow. BWS only where the grammar has it: around ";" and "=".
_SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[ \t]*%(t)s(?:[ \t]*=[ \t]*(?:%(t)s|%(q)s))?)*"
    % {b"t": _TOKEN, b"q": _QUOTED}
).fullmatch
_BARE = re.compile(rb"(?<!\r)\n|\r[^\n]").search
_SIZE_SO_FAR = re.compile(
    rb"[0-9A-Fa-f]{1,16}(?:[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r?)?"
).fullmatch


class FixedBody:
    """A body of a known length (RFC 9112 section 6.2)."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = length  # Bytes still to come.

    @property
    def is_complete(self) -> bool:
        """True once every byte has been taken."""
        return self.left == 0

    def take(self, buffer: bytearray) -> bytes:
        """Take from the front of `buffer` what belongs to the body; b"" if nothing is there."""
        data = bytes(buffer[: self.left])
        del buffer[: len(data)]
        self.left -= len(data)
        return data


class ChunkState(Word):
    """What the chunked decoder expects next."""

    SIZE = "a size line"
    DATA = "bytes of a chunk"
    DATA_END = "the CRLF after a chunk"
    TRAILERS = "trailer fields, or the last empty line"
    COMPLETE = "nothing: the body has ended"


SIZE, DATA, DATA_END = ChunkState.SIZE, ChunkState.DATA, ChunkState.DATA_END
TRAILERS, COMPLETE = ChunkState.TRAILERS, ChunkState.COMPLETE

NEXT = {
    SIZE: {DATA, TRAILERS},
    DATA: {DATA_END},
    DATA_END: {SIZE},
    TRAILERS: {COMPLETE},
    COMPLETE: set(),
}


class ChunkedBody:
    """A chunked body (RFC 9112 section 7.1). Extensions are checked and ignored, trailers
    checked and dropped."""

    __slots__ = ("_state", "_limits", "_most", "_left", "_content", "_wire", "_checked")

    def __init__(self, limits: HttpLimits, most: int | None = None) -> None:
        """most: bytes of content, None for what the limits say."""
        self._state = SIZE
        self._limits = limits
        self._most = limits.body if most is None else most
        self._left = 0  # Bytes of the current chunk still to come.
        self._content = 0  # Bytes of content so far.
        self._wire = 0  # Bytes of everything so far.
        self._checked = 0  # So many bytes of the trailers have been looked at.

    @property
    def is_complete(self) -> bool:
        """True once the empty line after the last chunk has been taken."""
        return self._state is COMPLETE

    def _move(self, new: ChunkState) -> None:
        assert new in NEXT[self._state], (self._state, new)
        self._state = new

    def take(self, buffer: bytearray) -> bytes:
        """Take what can be decoded from the front of `buffer` and return the content in it.

        Decodes at most CHUNKS_PER_CALL chunks; b"" means that more data is needed or that
        the body is complete. Raises ProtocolError.
        """
        pieces = []
        at = 0  # How far into the buffer we are: it is cut once, at the end.
        try:
            for _ in range(CHUNKS_PER_CALL):
                if self._state is SIZE:
                    end = self._take_size_line(buffer, at)
                    if end < 0:
                        break
                    at = end
                    if self._wire + at > WIRE_FACTOR * self._most + WIRE_ALLOWANCE:
                        raise BodyTooLarge("the chunks carry far more framing than content")
                if self._state is DATA:
                    piece = bytes(buffer[at : at + self._left])
                    at += len(piece)
                    self._left -= len(piece)
                    pieces.append(piece)
                    if self._left:
                        break
                    self._move(DATA_END)
                if self._state is DATA_END:
                    # h11 once skipped these two bytes unread (CVE-2025-43859).
                    ending = buffer[at : at + 2]
                    if ending != b"\r\n"[: len(ending)]:
                        raise BadRequest("a chunk is longer than its size line says")
                    if len(ending) < 2:
                        break
                    at += 2
                    self._move(SIZE)
                if self._state is TRAILERS:
                    at = self._take_trailers(buffer, at)
                    break
        finally:
            del buffer[:at]
            self._wire += at
        return b"".join(pieces)

    def _take_size_line(self, buffer: bytearray, at: int) -> int:
        """Read a size line that begins at `at`. Return where it ends, or -1."""
        limit = self._limits.chunk_line
        end = buffer.find(b"\r\n", at, at + limit + 2)
        if end < 0:
            line = bytes(buffer[at : at + limit + 2])
            if len(line.removesuffix(b"\r")) > limit:
                raise BadRequest(f"a chunk's size line is over {limit} bytes")
            if line and not _SIZE_SO_FAR(line):
                raise BadRequest("a chunk does not begin with its size in hexadecimal")
            return -1
        match = _SIZE_LINE(buffer, at, end)
        if match is None:
            raise BadRequest("a chunk's size line is not 1 to 16 hexadecimal digits and extensions")
        size = int(match.group(1), 16)
        self._content += size
        if self._content > self._most:
            raise BodyTooLarge(f"the body is over {self._most} bytes")
        self._left = size
        self._move(DATA if size else TRAILERS)
        return end + 2

    def _take_trailers(self, buffer: bytearray, at: int) -> int:
        """Read the trailer section that begins at `at`. Return where it ends, or `at`."""
        if buffer.startswith(b"\r\n", at):
            self._move(COMPLETE)
            return at + 2
        limit = self._limits.head
        fresh = at + max(0, self._checked - 3)  # What was looked at is not looked at again.
        end = buffer.find(b"\r\n\r\n", fresh, at + limit + 4)
        bare = _BARE(buffer, fresh, end if end >= 0 else at + limit)
        if bare is not None:
            raise BadRequest("a trailer line does not end in CRLF")
        if end < 0:
            self._checked = len(buffer) - at
            if self._checked > limit:
                raise HeadTooLarge(f"the trailers are over {limit} bytes")
            return at
        check_trailers(bytes(buffer[at : end + 2]), self._limits.fields)
        self._move(COMPLETE)
        return end + 4
