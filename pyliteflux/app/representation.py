"""How much of a handler's answer this client needs: all, pieces, or nothing new.

The rule: the handler says what its answer is, by an ETag or a Last-Modified, and that pieces of
it may be had, by ``Accept-Ranges: bytes``. Whether the client has it already, and which pieces
it asks for, is found out here, once all middlewares are done: RFC 9110 sections 13 and 14. A
`FileResponse` knows all of this of itself.

Chapter: docs/requests-and-responses.md.
"""

from __future__ import annotations

import os
import time

from ..headers import Headers, MutableHeaders
from ..jsontext import dumps
from ..statuses import phrase
from .conditions import (
    NOT_IN_A_304,
    Validators,
    failed_precondition,
    parse_http_date,
    range_is_current,
)
from .ranges import ByteRange, multipart, parse_range
from .response import BYTES, JSON, HTTPResponse, StreamResponse

# An answer with none of these is sent as it is.
SAYS_MORE = frozenset({"etag", "last-modified", "accept-ranges"})


def select(response: HTTPResponse, method: str, asked_with: Headers) -> HTTPResponse:
    """Return what answers the conditions and the Range of a request: a response, or another.

    method, asked_with: of the request, its fields.

    On the thread of the handler. Conditions are for what would be a 200, and about what the
    target is: the answer to a POST is not a version of it (RFC 9110 section 13.2.1).
    """
    if response.status != 200 or method not in ("GET", "HEAD"):
        return response
    if response.selects_itself:
        return response
    fields = response.headers
    date = fields.get("Last-Modified")
    current = Validators(
        fields.get("ETag") or "",
        None if date is None else parse_http_date(date),
        int(time.time()),
    )
    body = response.body
    has_ranges = fields.get("Accept-Ranges") == "bytes" and not isinstance(response, StreamResponse)
    size = len(body) if has_ranges else None
    status, parts = selected(method, asked_with, current, size)
    if status == 200:
        return response
    if status != 206:
        return _without_content(response, status, size)
    assert size is not None
    response.status = 206
    if len(parts) == 1:
        offset, length = parts[0]
        response.body = body[offset : offset + length]
        fields["Content-Range"] = parts[0].content_range(size)
        return response
    boundary = os.urandom(16).hex()  # Not to be guessed, so in no body on purpose.
    content_type = fields.get("Content-Type") or response.content_type or BYTES
    heads, end = multipart(parts, size, content_type, boundary)
    pieces: list[bytes] = []
    for head, (offset, length) in zip(heads, parts, strict=True):
        pieces += (head, body[offset : offset + length])
    response.body = b"".join((*pieces, end))
    fields["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    return response


def _without_content(response: HTTPResponse, status: int, size: int | None) -> HTTPResponse:
    """Return a 304, 412 or 416 in the place of a response, with the fields that apply to it."""
    response.discard()
    fields = response.headers
    body = empty(fields, status, size)
    return HTTPResponse(body, status, fields, JSON if body else None)


def selected(
    method: str, asked_with: Headers, current: Validators, size: int | None
) -> tuple[int, list[ByteRange]]:
    """Return the status that answers a GET or HEAD of what would be a 200, and the parts of a 206.

    size: of the whole, in bytes; None where no part of it may be had.
    """
    failed = failed_precondition(method, asked_with, current)
    if failed is not None:
        return failed, []
    asked = asked_with.get("range") if method == "GET" else None
    if size is None or asked is None or not range_is_current(asked_with, current):
        return 200, []
    parts = parse_range(asked, size)
    if parts is None:
        return 200, []
    return (206 if parts else 416), parts


def empty(fields: MutableHeaders, status: int, size: int | None) -> bytes:
    """Take from the fields what does not apply to a 304, 412 or 416; return its body."""
    for name in NOT_IN_A_304:
        del fields[name]
    if status == 304:
        return b""
    for name in ("ETag", "Last-Modified", "Cache-Control"):
        del fields[name]
    if status == 416:
        fields["Content-Range"] = f"bytes */{size}"
    return dumps({"error": phrase(status)})
