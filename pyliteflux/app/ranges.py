"""Byte ranges: which pieces of a file a request asks for. RFC 9110 section 14.

The rule: a Range is a wish. One that cannot be read, or that asks for more than it is worth
(many parts, overlapping parts), is ignored and the whole is sent; only one that is well
formed and entirely beyond the end is told so, with a 416. Parsing is linear and stops after
MAX_PARTS: a regular expression that backtracked here took servers down (CVE-2025-62727).

Chapter: docs/files.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ..headers import check_field

# Over so many parts a Range is ignored: each costs a descriptor and a seek, and honest clients
# (PDF readers) ask for a few.
MAX_PARTS = 16

_SPEC = re.compile(r"([0-9]*)-([0-9]*)").fullmatch
_FAR = 10**18  # Any longer number is beyond the end of any file.


class ByteRange(NamedTuple):
    """A satisfiable range: `length` bytes from `offset`; length is 1 or more."""

    offset: int
    length: int

    def content_range(self, size: int) -> str:
        """Return the Content-Range field; size: of the whole, in bytes."""
        return f"bytes {self.offset}-{self.offset + self.length - 1}/{size}"


def parse_range(text: str, size: int) -> list[ByteRange] | None:
    """Return the ranges to send, in the order asked for, or None to ignore the field.

    size: of the whole, in bytes. Of several ranges, those beyond the end are left out. [] is a
    416: each one that was asked for begins at or after the end.
    """
    unit, equals, specs = text.partition("=")
    if not equals or unit.strip().lower() != "bytes" or size == 0:
        return None  # No range of nothing can be written down: it is a 200 with nothing in it.
    parts = specs.split(",", MAX_PARTS)
    if len(parts) > MAX_PARTS:
        return None
    ranges = []
    seen = False
    for part in parts:
        part = part.strip(" \t")
        if not part:
            continue  # Lists may have empty elements (RFC 9110 section 5.6.1.2).
        match = _SPEC(part)
        if match is None or part == "-":
            return None
        seen = True
        first, last = match.groups()
        if not first:
            length = min(_number(last), size)
            found = ByteRange(size - length, length)
        else:
            offset = _number(first)
            end = _number(last) if last else size - 1
            if last and end < offset:
                return None
            found = ByteRange(offset, min(end, size - 1) - offset + 1)
        if found.length > 0 and found.offset < size:
            ranges.append(found)
    return ranges if seen and not _overlap(ranges) else None


def multipart(
    parts: Sequence[ByteRange], size: int, content_type: str, boundary: str
) -> tuple[list[bytes], bytes]:
    """Return what comes before each part of a multipart/byteranges, and behind the last.

    RFC 9110 section 14.6. content_type: of the whole. boundary: in none of the parts. Raises
    ValueError for a content type that must not be sent.
    """
    check_field("Content-Type", content_type)  # It does not pass the writer of the head.
    heads = []
    line_end = ""
    for part in parts:
        head = (
            f"{line_end}--{boundary}\r\nContent-Type: {content_type}\r\n"
            f"Content-Range: {part.content_range(size)}\r\n\r\n"
        )
        heads.append(head.encode("latin-1"))
        line_end = "\r\n"
    return heads, f"\r\n--{boundary}--\r\n".encode()


def _number(digits: str) -> int:
    """int() of a hostile number is quadratic (CVE-2020-10735): a long one is just far away."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= 18 else _FAR


def _overlap(ranges: list[ByteRange]) -> bool:
    """The same bytes twice would let a small request fetch a file many times over."""
    end = 0
    for offset, length in sorted(ranges):
        if offset < end:
            return True
        end = offset + length
    return False
