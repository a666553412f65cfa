"""Response heads and chunks to bytes: RFC 9112 sections 4, 6 and 7.

The rule: every byte of every head is written here, from checked fields, and the server alone
decides framing and persistence. A handler that could set Transfer-Encoding could make one
response look like two. The Date is handed in: there is no clock in this room.

Chapter: docs/http.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..headers import check_field
from ..statuses import PHRASES

STATUS_LINES: dict[int, bytes] = {
    status: f"HTTP/1.1 {status} {phrase}\r\n".encode() for status, phrase in PHRASES.items()
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

# Fields that are the server's: about this hop (RFC 9110 section 7.6.1) or about framing.
# "close" in Connection is heard elsewhere, as a wish.
SERVER_FIELDS = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "content-length"}
    | {"te", "trailer", "upgrade", "date"}
)


def status_line(status: int) -> bytes:
    """Return the status line; a status without a registered phrase has an empty one."""
    line = STATUS_LINES.get(status)
    return line if line is not None else b"HTTP/1.1 %d \r\n" % status


def body_is_allowed(status: int) -> bool:
    """RFC 9110 section 6.4.1: 1xx, 204 and 304 have no content."""
    return status >= 200 and status != 204 and status != 304


def encode_fields(fields: Iterable[tuple[str, str]]) -> bytes:
    """Return field lines for a head. Raises ValueError for one that must not be sent.

    Fields that are the server's own (SERVER_FIELDS) are left out.
    """
    lines = []
    for name, value in fields:
        check_field(name, value)
        if name.lower() not in SERVER_FIELDS:
            lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("latin-1")


def encode_head(
    status: int,
    fields: bytes,
    date: bytes,
    length: int | None,
    chunked: bool = False,
    close: bool = False,
    keep_alive: bool = False,
) -> bytes:
    """Return a whole head, with the empty line.

    fields: lines from `encode_fields`. date: the whole Date line. length: of the content in
    bytes; None leaves Content-Length out (a stream, or a status without content). close: tell
    the peer that this is the last response. keep_alive: tell a 1.0 peer that it is not.
    """
    parts = [STATUS_LINES.get(status) or status_line(status), date, fields]
    if chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    elif length is not None:
        parts.append(b"Content-Length: %d\r\n" % length)
    if close:
        parts.append(b"Connection: close\r\n")
    elif keep_alive:
        parts.append(b"Connection: keep-alive\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def encode_chunk(data: bytes) -> bytes:
    """Return one chunk (RFC 9112 section 7.1). Empty data would end the body: refused."""
    if not data:
        raise ValueError("an empty chunk would end the body")
    return b"%x\r\n%b\r\n" % (len(data), data)


def encode_error(
    status: int, body: bytes, date: bytes, extra: bytes = b"", head_only: bool = False
) -> bytes:
    """Return a whole JSON error response that closes the connection."""
    fields = b"Content-Type: application/json\r\n" + extra
    head = encode_head(status, fields, date, len(body), close=True)
    return head if head_only else head + body
