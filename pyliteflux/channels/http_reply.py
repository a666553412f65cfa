"""A handler's response as it goes on the wire: which fields, how it is framed, who closes.

The rule: the app says what, this module says how. Framing and persistence are the server's
alone (A3): a handler that could set them could make one response look like two.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

from ..app.context import new_request_id, request_id_of
from ..app.request import HTTPRequest
from ..app.response import HTTPResponse, StreamResponse
from ..headers import format_fields, says_close
from ..jsontext import dumps
from ..log import framework as log
from ..protocol.http_head import RequestHead
from ..protocol.http_response import WITHOUT_CONTENT, Heads, encode_head
from ..statuses import phrase

# A body up to this size goes into one piece with its head: the copy is cheaper than a piece.
JOIN_LIMIT = 16 * 1024


class Rest:
    """What is to follow the first bytes of a response.

    has_content: False for HEAD, 204, 205 and 304, where nothing may follow, whatever the handler
    gave. chunked, length: how a stream is framed, and what it has declared.
    """

    __slots__ = ("has_content", "chunked", "length")

    def __init__(self, has_content: bool, chunked: bool = False, length: int | None = None) -> None:
        self.has_content = has_content
        self.chunked = chunked
        self.length = length


# The first bytes; does the connection persist; bytes of content, as far as known; what follows.
Reply = tuple[bytes, bool, int, "Rest | None"]


def make_reply(
    response: HTTPResponse,
    head: RequestHead | None,
    request: HTTPRequest | None,
    heads: Heads,
    keep: bool,
) -> Reply:
    """Return the reply to a request. Raises ValueError for a field that must not be sent.

    head, request: None where there was none that could be read. heads: of this second. keep:
    whether the connection may persist, as far as peer and server decide it.
    """
    if keep and type(response) is HTTPResponse and response.own_headers is None:
        # Nine of ten: a small body of our making to an ordinary request. Nothing to decide.
        status, body = response.status, response.body
        size = len(body)
        if (
            request is not None
            and head is not None
            and head.is_plain
            and size <= JOIN_LIMIT
            and status not in WITHOUT_CONTENT
        ):
            data = heads.encode(status, response.content_type, request_id_of(request), size)
            return data + body, True, size, None
    return _make_reply(response, head, request, heads, keep)


def _make_reply(
    response: HTTPResponse,
    head: RequestHead | None,
    request: HTTPRequest | None,
    heads: Heads,
    keep: bool,
) -> Reply:
    """Return any reply."""
    status, custom = response.status, response.own_headers
    fields = response.lines
    if fields is None:
        fields = format_fields(response.fields())  # Of an answer that is made on the reactor.
    names = custom.names() if custom is not None else ()
    if "transfer-encoding" in names:
        log.warning("%r: Transfer-Encoding of a handler is ignored: it is ours", request)
    if custom is not None and "connection" in names:
        keep = keep and not says_close(custom.getlist("Connection"))
    if "x-request-id" not in names:
        request_id = new_request_id() if request is None else request_id_of(request)
        fields = f"{fields}X-Request-ID: {request_id}\r\n"
    is_old = head is not None and head.version == (1, 0)
    # RFC 9110 section 9.3.2: to HEAD the fields of a GET, nothing after them.
    is_head = head is not None and head.method == "HEAD"
    has_content = status not in WITHOUT_CONTENT and not is_head
    chunked = is_stream = isinstance(response, StreamResponse)
    length: int | None = response.length
    if isinstance(response, StreamResponse):
        length = response.declared_length()
        chunked = length is None and not is_old
        if length is None and is_old:
            keep = False  # In 1.0 its end is the end of the connection.
    if status in WITHOUT_CONTENT:
        # A 205 alone has a length: RFC 9110 section 15.3.6, and clients that wait for its end.
        length, chunked = 0 if status == 205 else None, False
    elif is_head and not length and not is_stream:
        # No other length than GET would have, rather none (section 8.6): a handler of its own
        # for HEAD makes no body that could be measured.
        length = response.declared_length()
        if length is None and (request is None or "HEAD" not in request.route.methods):
            length = 0  # What GET's own handler has returned.
    data = encode_head(status, fields, heads.date, length, chunked, not keep, keep and is_old)
    if not has_content:
        is_whole = not is_stream and not response.segments
        return data, keep, 0, None if is_whole else Rest(False)
    if is_stream:
        return data, keep, length or 0, Rest(True, chunked, length)
    if len(response.body) > JOIN_LIMIT:
        return data, keep, length or 0, Rest(True)
    return data + response.body, keep, length or 0, Rest(True) if response.segments else None


def plain_error(
    status: int, headers: dict[str, str] | None = None, request: HTTPRequest | None = None
) -> HTTPResponse:
    """Return an answer made on the reactor, without the app. Of a request it has the id (A5)."""
    body = {"error": phrase(status)}
    if request is not None:
        body["request_id"] = request_id_of(request)
        request.response_status = status  # For `on_finish`.
    return HTTPResponse(dumps(body), status, headers, "application/json")
