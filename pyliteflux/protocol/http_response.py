"""Response heads and chunks to bytes: RFC 9112 sections 4, 6 and 7.

The rule: every byte of every head is written here, from checked fields, and the server alone
decides framing and persistence. A handler that could set Transfer-Encoding could make one
response look like two. The Date is handed in: there is no clock in this room.

Chapter: docs/http.md.
"""

from __future__ import annotations

from ..headers import format_fields
from ..statuses import PHRASES

STATUS_LINES: dict[int, str] = {
    status: f"HTTP/1.1 {status} {phrase}\r\n" for status, phrase in PHRASES.items()
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

# Kept of one second; applications use a handful of types.
MOST_STARTS = 256

# RFC 9110 section 6.4.1: no content may follow, whatever the fields say. (Nor after a 1xx;
# those are no answers and are not sent by way of `encode_head`.)
WITHOUT_CONTENT = frozenset({204, 205, 304})


def encode_head(
    status: int,
    fields: str,
    date: str,
    length: int | None,
    chunked: bool = False,
    close: bool = False,
    keep_alive: bool = False,
) -> bytes:
    """Return a whole head, with the empty line. It is text until here, and then bytes at once.

    fields: lines from `format_fields`; a character that latin-1 lacks becomes "?". date: the
    whole Date line. length: of the content in bytes; None leaves Content-Length out (a stream,
    or a status without content). close: tell the peer that this is the last response.
    keep_alive: tell a 1.0 peer that it is not.
    """
    # A status without a registered phrase has an empty one (RFC 9112 section 4).
    line = STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    framing = connection = ""
    if chunked:
        framing = "Transfer-Encoding: chunked\r\n"
    elif length is not None:
        framing = f"Content-Length: {length}\r\n"
    if close:
        connection = "Connection: close\r\n"
    elif keep_alive:
        connection = "Connection: keep-alive\r\n"
    return f"{line}{date}{fields}{framing}{connection}\r\n".encode("latin-1", "replace")


class Heads:
    """The heads that are sent within one second: what they share is put together once.

    date: the whole Date line, the same for all of them.
    """

    __slots__ = ("date", "_starts")

    def __init__(self, date: str) -> None:
        self.date = date
        self._starts: dict[tuple[int, str | None], str] = {}  # Up to the value of X-Request-ID.

    def encode(self, status: int, content_type: str | None, request_id: str, length: int) -> bytes:
        """Return the plainest of heads: no fields but ours, and the connection persists.

        Raises ValueError for a Content-Type that must not be sent.
        """
        start = self._starts.get((status, content_type)) or self._start(status, content_type)
        text = f"{start}{request_id}\r\nContent-Length: {length}\r\n\r\n"
        return text.encode("latin-1", "replace")

    def _start(self, status: int, content_type: str | None) -> str:
        fields = "" if content_type is None else format_fields([("Content-Type", content_type)])
        line = STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
        start = f"{line}{self.date}{fields}X-Request-ID: "
        if len(self._starts) < MOST_STARTS:
            self._starts[status, content_type] = start
        return start


def encode_chunk(data: bytes) -> bytes:
    """Return one chunk (RFC 9112 section 7.1). Empty data would end the body: refused."""
    if not data:
        raise ValueError("an empty chunk would end the body")
    return b"%x\r\n%b\r\n" % (len(data), data)


def encode_error_response(
    status: int, body: bytes, date: str, extra: str = "", head_only: bool = False
) -> bytes:
    """Return a whole JSON error response that closes the connection."""
    fields = f"Content-Type: application/json\r\n{extra}"
    head = encode_head(status, fields, date, len(body), close=True)
    return head if head_only else head + body
