"""What answers a TCP message: a value, with what HTTP would say in a head put beside it (T5).

The rule: a handler for both protocols need not know which one asks. Of what it says for HTTP,
the status and a code go into the answer where there is room for them, the fields are left out.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

from typing import Any

from ..headers import says_close
from ..jsontext import is_record
from ..no_answer import NO_ANSWER
from .events import EventStream
from .request import TCPRequest
from .response import HTTPJSONResponse, HTTPResponse, StreamResponse
from .values import fields_of, make_response, settle

# Messages whose answer is text, so that a status can be told beside it. Bytes that answer any
# other, such as "binary", say what there is to say.
_HAS_FIELDS = ("json", "xml", "raw")
_PLAIN = (dict, list, int, float, str, bytes)


def message_answer(request: TCPRequest, value: Any) -> Any:
    """Return what answers a handler's value: a value to be encoded, or a StreamResponse.

    `NO_ANSWER` stays what it is. Of the fields one counts: ``Connection: close`` ends a long-lived
    connection after its answer.
    """
    is_response = isinstance(value, HTTPResponse)
    if is_response:
        settle(value, request)
    if is_response or request.response_headers:
        connection = fields_of(request, value).getlist("Connection")
        request.wants_close = says_close(connection)
    if is_response:
        value = _content(value, request)
    elif not (value is None or isinstance(value, _PLAIN) or is_record(value)):
        if value is NO_ANSWER:
            return value
        response = make_response(value)  # A generator, or a TypeError that says what is wrong.
        value = response if isinstance(response, StreamResponse) else response.body
    return value if isinstance(value, StreamResponse) else _with_status(value, request)


def _content(response: HTTPResponse, request: TCPRequest) -> Any:
    """Return what there is in a response object to answer; of a stream that is all of it."""
    if isinstance(response, EventStream):
        raise TypeError("an EventStream answers HTTP; on TCP a client subscribes, or is pushed to")
    if isinstance(response, StreamResponse):
        return response
    if isinstance(response, HTTPJSONResponse):
        return response.as_value()
    response.encode()
    response.prepare(request)
    if request.data_type not in _HAS_FIELDS:
        return response.body
    return response.body.decode("utf-8", "replace")


def _with_status(value: Any, request: TCPRequest) -> Any:
    """Return the value to send: a status that the handler set, or a code, is added to it (T5)."""
    status, code = request.response_status, request.error_code
    if code is not None:
        return {**value, "code": code} if isinstance(value, dict) else value
    if status == 200 or (status == 204 and value is None):
        return value
    if not isinstance(value, dict):
        if isinstance(value, bytes):
            if request.data_type not in _HAS_FIELDS:
                return value
            value = value.decode("utf-8", "replace")
        return {"data": value, "status": status}
    if value.get("code") == "unknown_command":
        return value
    if value.get("status", status) == status:
        return {**value, "status": status}
    # A status of its own, such as that of an order, is not ours to replace.
    told = {"error": value["error"]} if "error" in value else {}
    return {**told, "data": value, "status": status}
