"""Heads and trailers that are refused: what is wrong with them, in words that say what to mend.

The rule: only the faulty pay for this. It runs when the grammar of a whole head has not matched
(http_head.py), and over a head that is not whole yet.

Chapter: docs/http.md.
"""

from __future__ import annotations

import re
from typing import NoReturn

from ..errors import BadRequest, HeadTooLarge, ProtocolError, RequestLineTooLong
from ..headers import FIELD_LINES, TOKEN

_TOKEN = TOKEN.encode()
_FIELDS = re.compile(FIELD_LINES.encode("latin-1")).fullmatch
_BARE_LF = re.compile(rb"(?<!\r)\n").search
_LINE = re.compile(rb"%s [\x21-\x7e]+ HTTP/[0-9]\.[0-9]" % _TOKEN).fullmatch
# What every request line begins like, however little of it is here.
_LINE_SO_FAR = re.compile(
    rb"%s(?: (?:[\x21-\x7e]+(?: (?:H(?:T(?:T(?:P(?:/(?:[0-9](?:\.(?:[0-9]\r?)?)?)?)?)?)?)?)?)?)?)?"
    % _TOKEN
).match


def check_head_so_far(data: bytes | bytearray, most_line: int, most: int, checked: int = 0) -> None:
    """Refuse a head that is not whole yet but cannot become a good one.

    Without this a TLS handshake, or a client that ends its lines with a bare LF, would be
    waited for until the deadline. most_line, most: bytes of the request line and of the head;
    checked: so many leading bytes have passed before.
    Raises ProtocolError for the fault that comes first in the stream, so that the answer
    does not depend on how the network cut it.
    """
    faults: list[tuple[int, ProtocolError]] = []
    line_end = data.find(b"\r\n")
    if line_end < 0 or line_end >= checked - 1:
        line = bytes(data if line_end < 0 else data[:line_end])
        good = _LINE_SO_FAR(line)
        if line and (good is None or good.end() < len(line)):
            faults.append((good.end() if good else 0, _bad_line(line)))
        elif line_end >= 0 and not _LINE(line):
            faults.append(
                (line_end, _bad_line(line))
            )  # The line ends too early: HTTP/0.9, a banner.
        if len(line.removesuffix(b"\r")) > most_line:
            error = RequestLineTooLong(f"the request line is over {most_line} bytes")
            faults.append((most_line, error))
    if len(data) > most:
        faults.append((most, HeadTooLarge(f"the head is over {most} bytes")))
    bare = _BARE_LF(data, max(0, checked - 1))
    if bare is not None:
        faults.append((bare.start(), BadRequest("a line ends in LF without CR")))
    if faults:
        raise min(faults, key=lambda fault: fault[0])[1]


def explain_bad_head(data: bytes) -> NoReturn:
    """Raise what is wrong with a whole head that the grammar refused."""
    lines = data.split(b"\r\n")
    if not _LINE(lines[0]):
        raise _bad_line(lines[0])
    for number, line in enumerate(lines[1:-2], 2):
        if not _FIELDS(line + b"\r\n"):
            raise BadRequest(f"line {number} of the head: {_field_fault(line)}")
    raise BadRequest("the head cannot be read")


def _bad_line(line: bytes) -> ProtocolError:
    if line.startswith(b"\x16\x03"):
        return BadRequest("this looks like a TLS handshake; this port speaks plain HTTP")
    if line[:1] in (b"{", b"<"):
        return BadRequest("this looks like a TCP message; this port speaks HTTP")
    if any(byte >= 0x80 for byte in line):
        return BadRequest("the request line holds a byte that is not ASCII: percent-encode it")
    return BadRequest("the request line is not 'method SP target SP HTTP/1.1'")


def _field_fault(line: bytes) -> str:
    if line[:1] in (b" ", b"\t"):
        return "it begins with a blank; folded lines are not accepted"  # section 5.2
    name, colon, value = line.partition(b":")
    if not colon:
        return "it has no colon"
    if name != name.rstrip(b" \t"):
        return "there is a blank before the colon"  # section 5.1: MUST be refused
    if not re.fullmatch(_TOKEN, name):
        return "the field name is not a token"
    return "the field value holds a control character"


def check_trailers(data: bytes, most: int) -> None:
    """Check a chunked body's trailer fields (RFC 9112 section 7.1.2), to be dropped.

    most: how many there may be. They are never merged into the header: a trailer that says
    Host or Content-Length would be read by whoever comes after us (RFC 9110 section 6.5.1).
    """
    if not _FIELDS(data):
        raise BadRequest("a trailer field is not 'name: value'")
    count = data.count(b"\r\n")
    if count > most:
        raise HeadTooLarge(f"{count} trailer fields, limit {most}")
