"""What a handler's value becomes: a response, and the status and fields that go with it (A1, M5).

The rule: a status and fields may be said in two places, by a tuple or a middleware, and by a
response object. What waits in the request and what the object says are made one in `settle`.

Chapter: docs/requests-and-responses.md.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Protocol

from ..headers import MutableHeaders
from ..jsontext import dumps, is_record
from ..no_answer import NO_ANSWER
from .response import BYTES, JSON, TEXT, HTTPResponse, StreamResponse, kind_of, stand_in


class Asked(Protocol):
    """Of a request: what of its answer waits in it, said by a tuple or a middleware."""

    response_status: int
    response_headers: Any


def make_response(value: Any, request: Asked | None = None) -> HTTPResponse:
    """Return the response that a handler's value stands for (A1), encoded.

    request: where a tuple's status and headers wait (M5); None for plain values. Raises
    TypeError or ValueError that says what came and what is allowed.
    """
    kind = type(value)
    if kind is dict or kind is list:
        response = HTTPResponse(dumps(value, stand_in), 200, None, JSON)
    elif isinstance(value, HTTPResponse):
        response = value
        response.encode()
    elif value is None or value is NO_ANSWER:  # Of a handler for both: HTTP knows no silence.
        value = None
        response = HTTPResponse(b"", 204)
    elif isinstance(value, str):
        response = HTTPResponse(value.encode(), 200, None, TEXT)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        response = HTTPResponse(bytes(value), 200, None, BYTES)
    elif isinstance(value, (dict, list, int, float)) or is_record(value):  # bool is an int
        response = HTTPResponse(dumps(value, stand_in), 200, None, JSON)
    elif isinstance(value, Generator):
        # Its checks run with the first step: see `begin`. Who makes a StreamResponse himself
        # has the head sent at once.
        response = StreamResponse(value)
        response.is_held = True
    else:
        raise TypeError(
            f"the handler returned {kind_of(value)}; allowed are dict, list, int, float, bool, "
            f"None, str, bytes, a dataclass, a generator, a response object, and (body, status), "
            f"(body, headers) or (body, status, headers)"
        )
    if request is not None:
        if response is value:
            settle(response, request)
            response.prepare(request)
        elif request.response_status != 200 or request.response_headers:
            if value is not None or request.response_status != 200:
                response.status = request.response_status
            if request.response_headers:
                response.headers.update(request.response_headers)
        else:
            return response  # The most: what we have made ourselves needs no check.
    status = response.status
    if type(status) is not int and isinstance(status, int) and not isinstance(status, bool):
        status = response.status = int(status)  # An HTTPStatus.
    if type(status) is not int or not 200 <= status <= 599:
        raise ValueError(f"{status!r} is no status that a handler may return (200 to 599)")
    return response


def settle(response: HTTPResponse, request: Asked, before: int = 200) -> None:
    """Make one of what a response object says and what waits in its request (M5).

    There are two places to read and to write a status and fields: a tuple around a response
    object, or a middleware, may have written to either. Afterwards both say the same, and the
    fields are one object. before: the status that waited when both last did.
    """
    if request.response_status != before:
        response.status = request.response_status
    else:
        request.response_status = response.status
    waiting = request.response_headers
    if waiting and waiting is not response.own_headers:
        response.headers.update(waiting)
        request.response_headers = response.headers


def fields_of(request: Asked, value: Any) -> MutableHeaders:
    """Return the fields that go with an answer, to be changed: for `process_response` (M5).

    value: what `process_response` was given. A response object has its own; those of any
    other value wait in `request.response_headers`.
    """
    if isinstance(value, HTTPResponse):
        return value.headers
    # A copy: the handler's mapping may be a constant that every request shares.
    headers = request.response_headers = MutableHeaders(request.response_headers)
    return headers


def split_tuple(value: tuple[Any, ...], request: Asked) -> Any:
    """Return the body of a handler's tuple; status and headers go to the request (M5)."""
    status: Any = None
    headers: Any = None
    if len(value) == 2:
        body, second = value
        if isinstance(second, int) and not isinstance(second, bool):
            status = second
        elif isinstance(second, (Mapping, MutableHeaders, list)):
            if type(body) is int and 100 <= body <= 599:
                raise TypeError(
                    f"({body}, {type(second).__name__}) looks like (status, body): a handler's "
                    f"tuple is (body, status); for the number {body} with headers write "
                    f"({body}, 200, headers)"
                )
            headers = second
        else:
            raise TypeError(f"of (body, x), x must be a status or headers, not {kind_of(second)}")
    elif len(value) == 3:
        body, status, headers = value
        if not isinstance(status, int) or isinstance(status, bool):
            raise TypeError(f"of (body, status, headers), the status is {kind_of(status)}")
    else:
        raise TypeError(
            f"a handler's tuple is (body, status), (body, headers) or (body, status, headers), "
            f"not one of {len(value)}"
        )
    if isinstance(body, tuple):
        raise TypeError("the body of a handler's tuple is itself a tuple")
    if body is None and status == 200:
        body = b""  # A 200 that was asked for in so many words; None alone is a 204.
    request.response_status = 200 if status is None else int(status)
    if headers and not isinstance(headers, Mapping):
        headers = MutableHeaders(headers)  # Pairs: who looks at them looks for names.
    request.response_headers = headers or None
    return body
