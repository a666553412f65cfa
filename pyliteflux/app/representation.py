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

from ..headers import Headers
from ..jsontext import dumps
from ..statuses import phrase
from .conditions import (
    NOT_IN_A_304,
    Validators,
    failed_precondition,
    parse_http_date,
    range_is_current,
)
from .ranges import RangeNotSatisfiable, multipart, parse_range
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
    failed = failed_precondition(method, asked_with, current)
    if failed is not None:
        return _without_content(response, failed)
    if fields.get("Accept-Ranges") != "bytes" or isinstance(response, StreamResponse):
        return response
    asked = asked_with.get("range") if method == "GET" else None
    if asked is None or not range_is_current(asked_with, current):
        return response
    body, size = response.body, len(response.body)
    try:
        parts = parse_range(asked, size)
    except RangeNotSatisfiable:
        refusal = _without_content(response, 416)
        refusal.headers["Content-Range"] = f"bytes */{size}"
        return refusal
    if parts is None:
        return response
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


def _without_content(response: HTTPResponse, status: int) -> HTTPResponse:
    """Return a 304, 412 or 416 in the place of a response, with the fields that apply to it."""
    response.discard()
    fields = response.headers
    for name in NOT_IN_A_304:
        del fields[name]
    if status == 304:
        return HTTPResponse(b"", 304, fields)
    for name in ("ETag", "Last-Modified", "Cache-Control"):
        del fields[name]
    return HTTPResponse(dumps({"error": phrase(status)}), status, fields, JSON)
