"""What a TCP message says, and how an answer is written: JSON, XML, or a line of text.

The rule: the answer comes in the format of the question, on one line that ends with LF, so a
client needs nothing but ``readline`` to stay in step (T2). The first half of the file reads
the three formats, the second half writes them.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import NO_ID, BadMessage
from ..jsontext import Default, dumps, loads
from ..no_answer import NO_ANSWER
from ..xmltext import read_xml, xml_document
from .frame import MAX_DEPTH, Frame

# What a framing does to a message on its way out; None: the message is a line, or ends itself.
Wrap = Callable[[bytes], bytes]


# What a client's command says: its name, data, id and headers. A plain tuple, since it is taken
# apart at once; its format and its bytes are the frame's.
# data: any JSON value, None where a JSON message has none; of XML a dict of attributes ("@name"),
# children and, beside attributes, text ("#text"), or else the text; of a line the rest of it, a
# str; of a binary message its bytes, and its name is "".
# id: to be echoed in the answer, or `NO_ID`. headers: None where there are none.
Command = tuple[str, Any, Any, dict[str, str] | None]


class Signal(NamedTuple):
    """Not a command: the client acknowledges a push ("ack"), says that it is there ("pong"), or
    asks whether we are ("ping").

    id: of the push. data: the client's reply to it, None without.
    """

    data_type: str
    kind: str
    id: str = ""
    data: Any = None


def decode(frame: Frame, max_depth: int = MAX_DEPTH) -> Command | Signal:
    """Return what a frame says: ``command, data, id, headers``, or a `Signal`. Any thread.

    max_depth: of XML elements; a framer has checked it already.
    A message without a command that says ``{"ack": id}``, ``{"pong": ...}``, `<ack id="...">` or
    `<pong/>` is a `Signal`, and so is ``{"type": "ping"}`` with nothing beside it.
    Raises BadMessage with ``.data_type``, and with ``.id`` where one could be read. Its text
    says what is wrong and what is expected, and repeats no byte of the message. Where it can be
    read but has no command, ``.said`` is what it says to the route ``*``: the name is "", that of
    another XML root its name; the data is all of it, of a line that is no text its bytes.
    """
    if frame.data_type == "json":
        return _decode_json(frame.data, frame.value)
    if frame.data_type == "xml":
        return _decode_xml(frame.data, max_depth)
    if frame.data_type == "raw":
        return _decode_line(frame.data)
    return "", frame.data, NO_ID, None


# A line: command, blank, data.

_split_line = re.compile(r"[ \t]+").split
_has_control = re.compile(r"[\x00-\x1f\x7f-\x9f]").search
_has_line_end = re.compile(rb"[\r\n]").search  # A CR alone is one for many a reader.


def _decode_line(data: bytes) -> Command:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        fault = f"bad line: byte {error.start} is not UTF-8"
        raise BadMessage(fault, "raw", said=("", data, NO_ID, None)) from None
    command, *rest = _split_line(text, maxsplit=1)
    if not command or _has_control(command):
        fault = "bad line: it must begin with a command, without controls"
        raise BadMessage(fault, "raw", said=("", data, NO_ID, None))
    return command, rest[0] if rest else "", NO_ID, None


# JSON: {"command": ..., "data": ..., "id": ..., "headers": ...}.

_PING = {"type": "ping"}  # As the server says it, too.
_JSON_SHAPE = 'expected {"command": "name", "data": ..., "id": ..., "headers": {...}}'


def _decode_json(data: bytes, value: Any) -> Command | Signal:
    """value: what `data` says, if that is known; else None, as an object is never."""
    if value is None:
        try:
            value = loads(data)
        except ValueError as error:
            # No UnicodeDecodeError as it is: its text repeats the byte.
            reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else error
            raise BadMessage(f"bad JSON: {reason}", "json") from None
        if not isinstance(value, dict):
            said = ("", value, NO_ID, None)
            raise BadMessage(f"not a JSON object; {_JSON_SHAPE}", "json", said=said)
    id = value.get("id", NO_ID)
    command = value.get("command")
    if not isinstance(command, str) or not command:
        if "command" not in value:
            if isinstance(value.get("ack"), str):
                return Signal("json", "ack", value["ack"], value.get("data"))
            if "pong" in value:
                return Signal("json", "pong")
            if value == _PING:
                return Signal("json", "ping")
        fault = "must be a str that is not empty" if "command" in value else "is missing"
        headers = value.get("headers")
        said = ("", value, id, headers if _is_headers(headers) else None)
        raise BadMessage(f'"command" {fault}; {_JSON_SHAPE}', "json", id, said)
    headers = value.get("headers")
    if "headers" in value and not _is_headers(headers):
        raise BadMessage(f'"headers" must be an object of str; {_JSON_SHAPE}', "json", id)
    return command, value.get("data"), id, headers


def _is_headers(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


# XML: <request command="name" id="..."><child>text</child>...</request>.

_XML_SHAPE = 'expected <request command="name">...</request>'


def _decode_xml(data: bytes, max_depth: int) -> Command | Signal:
    root, fault = read_xml(data, max_depth)
    id: Any = root.attributes.get("id", NO_ID)
    if fault:
        raise BadMessage(fault, "xml", id)
    if root.name in ("ack", "pong"):
        return Signal("xml", root.name, id if isinstance(id, str) else "", root.content("id"))
    if root.name != "request":
        fault = f"the root element is not <request>; {_XML_SHAPE}"
        raise BadMessage(fault, "xml", id, (root.name, root.content() or {}, id, None))
    command = root.attributes.get("command")
    # Neither children nor text: no child, rather than the blank between tags.
    value = root.content("id", "command") or {}
    if not command:
        fault = f'the attribute "command" is missing or empty; {_XML_SHAPE}'
        raise BadMessage(fault, "xml", id, ("", value, id, None))
    return command, value, id, None


# The other way: answers, streams and pushes to bytes.


def encode_answer(
    value: Any,
    data_type: str,
    id: Any = NO_ID,
    wrap: Wrap | None = None,
    default: Default | None = None,
    is_error: bool = False,
) -> bytes:
    """Return a handler's value as an answer in one format, ended by LF. Any thread.

    json: one line. With an id, a dict gets it as its ``"id"`` (the caller's dict is left as it
    is), anything else becomes ``{"id": ..., "data": value}``, and so does a dict with a key of
    the envelope: an ``"id"`` or ``"type"`` of its own, or ``"error"`` in what is no error. xml:
    `<response>` on one line, the id an attribute. raw: a str or bytes as they are, an LF added
    unless they end with one, or as a JSON str where there is a line end in them; anything else as
    JSON, None too (``null``, since many clients pass over an empty line). Bytes that become text
    have invalid UTF-8 replaced. Any other format, such as binary: a str or bytes as it
    is, None as nothing at all, anything else as a line of JSON.
    `NO_ANSWER`: not a byte, in any format.
    wrap: what the framing makes of the answer; it gets it without the line end. default: the
    setting json_default. is_error: it says that the question failed.
    Raises TypeError or ValueError for a value that JSON cannot write.
    """
    if value is NO_ANSWER:
        return b""
    if wrap is not None:
        return _wrapped(value, data_type, id, wrap, default, is_error)
    if data_type == "json":
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if id is NO_ID:
            return dumps(value, default) + b"\n"
        if isinstance(value, dict):
            if "id" not in value and "type" not in value and (is_error or "error" not in value):
                return dumps({**value, "id": id}, default) + b"\n"
            if is_error:
                return dumps(_error_with_clash(value, id), default) + b"\n"
        return dumps({"id": id, "data": value}, default) + b"\n"
    if data_type == "raw":
        return _line(value, default)
    if data_type == "xml":
        value = value.decode(errors="replace") if isinstance(value, bytes) else value
        return _xml_answer("response", value, id, default)
    return _as_it_is(value, default)


def _error_with_clash(value: dict[str, Any], id: Any) -> dict[str, Any]:
    """Return an error whose own keys clash with the envelope's: it stays one, and loses none."""
    told = {key: item for key, item in value.items() if key != "id" and key != "type"}
    return {**told, "data": value, "id": id}


def _wrapped(
    value: Any, data_type: str, id: Any, wrap: Wrap, default: Default | None, is_error: bool
) -> bytes:
    if data_type == "json" or data_type == "xml":
        return wrap(encode_answer(value, data_type, id, None, default, is_error)[:-1])
    if isinstance(value, (str, bytes)):
        return wrap(value.encode() if isinstance(value, str) else value)
    return b"" if value is None and data_type != "raw" else wrap(dumps(value, default))


def encode_error(
    text: str,
    code: str,
    data_type: str,
    id: Any = NO_ID,
    status: int | None = None,
    wrap: Wrap | None = None,
) -> bytes:
    """Return an error in the format of the question; else it is its JSON object (T5).

    Never fails for an id that `decode` returned.
    """
    # Half a surrogate pair in the text must not cost the client its answer.
    value: dict[str, Any] = {"error": text.encode(errors="replace").decode(), "code": code}
    if status is not None:
        value["status"] = status
    try:
        return encode_answer(value, data_type, id, wrap, is_error=True)
    except UnicodeError:  # A framing in another encoding; the text may hold the peer's words.
        value["error"] = text.encode("ascii", "replace").decode()
        return encode_answer(value, data_type, id, wrap, is_error=True)


def encode_item(
    item: Any,
    data_type: str,
    id: Any = NO_ID,
    wrap: Wrap | None = None,
    default: Default | None = None,
) -> bytes:
    """Return one item of a stream. Raises as `encode_answer` does. Any thread.

    json: ``{"type": "stream", "data": item, "id": ...}``. xml: ``<stream id="...">...</stream>``.
    Any other format: as an answer, but a str or bytes may have line ends in them.
    """
    if item is NO_ANSWER:
        return b""
    if data_type == "raw" and wrap is None and isinstance(item, (str, bytes)):
        data = item.encode() if isinstance(item, str) else item
        return data if data.endswith(b"\n") else data + b"\n"
    if data_type != "json" and data_type != "xml":
        return encode_answer(item, data_type, id, wrap, default)
    if isinstance(item, bytes):
        item = item.decode(errors="replace")
    if data_type == "xml":
        return _framed(_xml_answer("stream", item, id, default), wrap)
    return _framed(_json_event("stream", {"data": item}, id, default), wrap)


def encode_end(data_type: str, id: Any = NO_ID, wrap: Wrap | None = None) -> bytes:
    """Return what ends a stream: ``{"type": "end"}`` or ``<end/>``; else nothing."""
    if data_type == "xml":
        return _framed(_xml_answer("end", None, id, None), wrap)
    if data_type == "json":
        return _framed(_json_event("end", {}, id, None), wrap)
    return b""


def _framed(line: bytes, wrap: Wrap | None) -> bytes:
    """Return a message that ends with LF as the framing sends it."""
    return line if wrap is None else wrap(line[:-1])


def _as_it_is(value: Any, default: Default | None) -> bytes:
    if value is None:
        return b""
    if isinstance(value, str):
        return value.encode()
    return value if isinstance(value, bytes) else dumps(value, default) + b"\n"


def _line(value: Any, default: Default | None) -> bytes:
    if isinstance(value, str):
        value = value.encode()
    if not isinstance(value, bytes):
        value = dumps(value, default)
    elif b"\n" in value or b"\r" in value:
        if _has_line_end(value.removesuffix(b"\n").removesuffix(b"\r")):
            # A client that asked in one line reads one line.
            value = dumps(value.decode(errors="replace"))
    return bytes(value) if value.endswith(b"\n") else value + b"\n"


def _json_event(type: str, value: dict[str, Any], id: Any, default: Default | None) -> bytes:
    known = {} if id is NO_ID else {"id": id}
    return dumps({"type": type, **value, **known}, default) + b"\n"


def _xml_answer(root: str, value: Any, id: Any, default: Default | None) -> bytes:
    return xml_document(root, value, None if id is NO_ID else {"id": id}, default)
