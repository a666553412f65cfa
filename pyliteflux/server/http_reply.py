"""A handler's response as it goes on the wire: which fields, how it is framed, who closes.

The rule: the app says what, this module says how. Framing and persistence are the server's
alone (A3): a handler that could set them could make one response look like two.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

from ..app.context import new_request_id
from ..app.request import HTTPRequest
from ..app.response import HTTPResponse, StreamResponse
from ..headers import says_close
from ..jsontext import dumps
from ..log import framework as log
from ..protocol.http_head import RequestHead
from ..protocol.http_response import WITHOUT_CONTENT, encode_head, format_fields
from ..statuses import phrase

# A body up to this size goes into one piece with its head: the copy is cheaper than a piece.
JOIN_LIMIT = 16 * 1024
# Content-Type lines already checked; applications use a handful.
_type_lines: dict[str, str] = {}
_MAX_TYPE_LINES = 256


class Reply:
    """The first bytes of a response, and how the rest is sent.

    keep: the connection persists. size: bytes of content as far as known. has_content: False
    for HEAD, 204 and 304, where nothing may follow. length: what a stream has declared.
    """

    __slots__ = ("data", "keep", "size", "has_content", "chunked", "length")

    def __init__(
        self,
        data: bytes,
        keep: bool,
        size: int,
        has_content: bool = True,
        chunked: bool = False,
        length: int | None = None,
    ) -> None:
        self.data = data
        self.keep = keep
        self.size = size
        self.has_content = has_content
        self.chunked = chunked
        self.length = length


def make_reply(
    response: HTTPResponse,
    head: RequestHead | None,
    request: HTTPRequest | None,
    date: str,
    keep: bool,
) -> Reply:
    """Return the reply to a request. Raises ValueError for a field that must not be sent.

    head, request: None where there was none that could be read. keep: whether the connection
    may persist, as far as peer and server decide it.
    """
    status = response.status
    is_old = head is not None and head.version == (1, 0)
    custom = response._headers
    if custom is None:
        content_type = response.content_type
        fields = "" if content_type is None else _type_line(content_type)
    else:
        fields = format_fields(response.fields())
        if "Transfer-Encoding" in custom:
            log.warning("%r: Transfer-Encoding of a handler is ignored: it is ours", request)
        keep = keep and not says_close(custom.getlist("Connection"))
    if custom is None or "X-Request-ID" not in custom:
        request_id = request.request_id if request is not None else new_request_id()
        fields = f"{fields}X-Request-ID: {request_id}\r\n"
    body = response.body
    chunked = False
    has_content = True
    length: int | None
    if isinstance(response, StreamResponse):
        length = _declared_length(response)
        if length is None:
            keep = keep and not is_old  # In 1.0 its end is the end of the connection.
            chunked = not is_old
    else:
        length = response.length
    if status in WITHOUT_CONTENT:
        has_content = chunked = False
        length = None
    elif head is not None and head.method == "HEAD":
        has_content = False  # RFC 9110 section 9.3.2: the fields of a GET, nothing after them.
    line = encode_head(status, fields, date, length, chunked, not keep, keep and is_old)
    if not has_content:
        return Reply(line, keep, 0, False, False, None)
    data = line + body if len(body) <= JOIN_LIMIT else line
    return Reply(data, keep, length or 0, True, chunked, length)


def plain_error(status: int, headers: dict[str, str] | None = None) -> HTTPResponse:
    """Return an answer made on the reactor, without the app."""
    body = dumps({"error": phrase(status)})
    return HTTPResponse(body, status, headers, "application/json")


def _type_line(content_type: str) -> str:
    line = _type_lines.get(content_type)
    if line is None:
        line = format_fields([("Content-Type", content_type)])
        if len(_type_lines) < _MAX_TYPE_LINES:
            _type_lines[content_type] = line
    return line


def _declared_length(response: StreamResponse) -> int | None:
    """Return the Content-Length that the handler gave a stream, if it did."""
    value = None if response._headers is None else response.headers.get("Content-Length")
    if value is None:
        return None
    if not value.isascii() or not value.isdigit():
        raise ValueError(f"Content-Length of a stream is {value!r}")
    return int(value)
