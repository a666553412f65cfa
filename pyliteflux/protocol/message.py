"""What a TCP message says, and how an answer is written: JSON, XML, or a line of text.

The rule: the answer comes in the format of the question, on one line that ends with LF, so a
client needs nothing but ``readline`` to stay in step (T2). The first half of the file reads
the three formats, the second half writes them.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple
from xml.parsers import expat

from ..charsets import codec_of
from ..errors import NO_ID, BadMessage
from ..jsontext import Default, dumps, loads, plain
from ..no_answer import NO_ANSWER
from .framing import MAX_DEPTH, Frame

MAX_ATTRIBUTES = 64  # Of one XML element; ours has two. Bounds what a start tag makes expat do.


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
_has_line_end = re.compile(r"[\r\n]").search  # A CR alone is one for many a reader.


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


class _Element:
    """An open element: its attributes, its text so far, and its children once there is one."""

    __slots__ = ("attributes", "children", "name", "text")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.text: list[str] = []
        self.children: dict[str, Any] | None = None

    def add(self, name: str, value: Any) -> None:
        """Add a child; from the second of a name on, they are a list."""
        if self.children is None:
            self.children = {}
        elif name in self.children:
            known = self.children[name]
            # A value is a str or a dict, so a list here is always one of ours.
            if isinstance(known, list):
                known.append(value)
            else:
                self.children[name] = [known, value]
            return
        self.children[name] = value

    def value(self) -> Any:
        """Return a dict of attributes and children, or the text where there is neither.

        Text beside attributes is the dict's "#text". Text between children alone is dropped: in a
        message it is how the elements are laid out.
        """
        if not self.attributes:
            return "".join(self.text) if self.children is None else self.children
        value: dict[str, Any] = {f"@{name}": item for name, item in self.attributes.items()}
        text = "".join(self.text)
        if self.children is not None:
            value.update(self.children)
            text = text.strip()
        if text.strip():
            value["#text"] = text  # No element has a name like this, or like "@name".
        return value


class _XmlReader:
    """Builds a message from what expat reports."""

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth
        self._open: list[_Element] = []
        self.root = _Element("", {})  # Replaced by the first start tag.

    def read(self, data: bytes) -> None:
        """Parse a whole document. Raises BadMessage, and whatever expat and codecs raise."""
        # The encoding is given, not left to the declaration: a framer has read ASCII.
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.XmlDeclHandler = self._declared
        parser.StartElementHandler = self._started
        parser.EndElementHandler = self._ended
        parser.CharacterDataHandler = self._text
        # No DTD, no entity, no bomb (billion laughs, CVE-2013-0340), nothing external.
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.ExternalEntityRefHandler = None
        parser.Parse(data, True)

    def _declared(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and codec_of(encoding) != "utf-8":
            raise BadMessage("bad XML: the encoding must be UTF-8", "xml")

    def _refuse(self, *details: Any) -> None:
        raise BadMessage("bad XML: a DOCTYPE or ENTITY declaration is refused", "xml")

    def _started(self, name: str, attributes: dict[str, str]) -> None:
        if len(attributes) > MAX_ATTRIBUTES:
            raise BadMessage(f"bad XML: over {MAX_ATTRIBUTES} attributes", "xml")
        element = _Element(name, attributes)
        if not self._open:
            self.root = element
        self._open.append(element)
        if len(self._open) > self._max_depth:
            raise BadMessage(f"nested over {self._max_depth} levels", "xml")

    def _ended(self, name: str) -> None:
        element = self._open.pop()
        if self._open:
            self._open[-1].add(name, element.value())

    def _text(self, text: str) -> None:
        self._open[-1].text.append(text)


def _decode_xml(data: bytes, max_depth: int) -> Command | Signal:
    reader = _XmlReader(max_depth)
    fault = None
    try:
        reader.read(data)
    except BadMessage as error:
        fault = str(error)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        fault = f"bad XML: {reason}: line {error.lineno}, column {error.offset + 1}"
    except (ValueError, LookupError, RecursionError):
        fault = "bad XML: it cannot be read"
    root = reader.root
    id: Any = root.attributes.get("id", NO_ID)
    if fault is not None:
        raise BadMessage(fault, "xml", id) from None
    if root.name in ("ack", "pong"):
        return Signal("xml", root.name, id if isinstance(id, str) else "", _content(root, "id"))
    if root.name != "request":
        fault = f"the root element is not <request>; {_XML_SHAPE}"
        raise BadMessage(fault, "xml", id, (root.name, _content(root) or {}, id, None))
    command = root.attributes.get("command")
    # Neither children nor text: no child, rather than the blank between tags.
    value = _content(root, "id", "command") or {}
    if not command:
        fault = f'the attribute "command" is missing or empty; {_XML_SHAPE}'
        raise BadMessage(fault, "xml", id, ("", value, id, None))
    return command, value, id, None


def _content(root: _Element, *known: str) -> Any:
    """Return what is in the root, known attributes left out; None where there is nothing."""
    for name in known:
        root.attributes.pop(name, None)
    value = root.value()
    return None if isinstance(value, str) and not value.strip() else value


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
    `<response>` on one line, the id an attribute. raw: a str on one line (as JSON where there is
    a line end in it), bytes as they are, an LF added unless they end with one; anything else as
    JSON, None too (``null``, since many clients pass over an empty line). Bytes become text in
    json and xml, invalid UTF-8 replaced. Any other format, such as binary: a str or bytes as it
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


def encode_chunk(
    item: Any,
    data_type: str,
    id: Any = NO_ID,
    wrap: Wrap | None = None,
    default: Default | None = None,
) -> bytes:
    """Return one item of a stream. Raises as `encode_answer` does. Any thread.

    json: ``{"type": "stream", "data": item, "id": ...}``. xml: ``<stream id="...">...</stream>``.
    Any other format: as an answer, but a str may have line ends in it.
    """
    if item is NO_ANSWER:
        return b""
    if data_type == "raw" and isinstance(item, str):
        item = item.encode()  # Of many lines already: as it is.
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
        has_more = "\n" in value or "\r" in value
        if has_more and _has_line_end(value.removesuffix("\n").removesuffix("\r")):
            return dumps(value) + b"\n"  # Who asked in one line reads one line.
        value = value.encode()
    elif not isinstance(value, bytes):
        value = dumps(value, default)
    return bytes(value) if value.endswith(b"\n") else value + b"\n"


def _json_event(type: str, value: dict[str, Any], id: Any, default: Default | None) -> bytes:
    known = {} if id is NO_ID else {"id": id}
    return dumps({"type": type, **value, **known}, default) + b"\n"


# Names that every XML 1.0 parser takes, the fourth edition's too: ASCII, Latin-1 letters,
# kana, CJK ideographs, hangul. Other keys go into an attribute.
_NAME_START = (
    r"A-Z_a-z\xc0-\xd6\xd8-\xf6\xf8-\xff\u3041-\u3094\u30a1-\u30fa\u4e00-\u9fa5\uac00-\ud7a3"
)
_is_ascii_name = re.compile(r"[A-Z_a-z][A-Z_a-z0-9.\-]*").fullmatch
# XML 1.0 section 2.2: what no document can hold, not even as a reference. Said by what it is,
# not by what is left: ranges up to U+10FFFF take ten times as long to compile.
_not_xml = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ESCAPES = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        '"': "&quot;",
        "\t": "&#9;",  # In an attribute a parser reads a raw one as a space.
        "\n": "&#10;",  # The answer stays on one line.
        "\r": "&#13;",  # A parser reads a raw one as LF.
    }
)


# What is written in a way of its own; anything else is what `plain` makes of it.
_KINDS = (str, dict, list, tuple, int, float, type(None))


@cache
def _name() -> re.Pattern[str]:
    """What a name may be. Compiled for the first one that is not ASCII: that takes 4 ms."""
    return re.compile(rf"[{_NAME_START}][{_NAME_START}0-9.\-]*")


def _escape(text: str) -> str:
    return _not_xml.sub("\ufffd", text).translate(_ESCAPES)


def xml_document(
    root: str,
    value: Any,
    attributes: dict[str, Any] | None = None,
    default: Default | None = None,
) -> bytes:
    """Return ``<root attribute="...">value</root>`` and LF. Any thread.

    Takes what JSON takes; what is nested too deeply for elements is written as its JSON text.
    Of a dict, "@name" becomes an attribute and "#text" text, as they are read.
    default: the setting json_default. Raises as `dumps` does, TypeError or ValueError.
    """
    text = "".join(
        f' {name}="{_escape(item if isinstance(item, str) else dumps(item).decode())}"'
        for name, item in (attributes or {}).items()
    )
    parts: list[str] = []
    try:
        _write(parts, root, text, value, default)
    except (TypeError, ValueError, RecursionError):
        # JSON says what is wrong and where, or can write what elements cannot.
        parts = []
        _write(parts, root, text, dumps(value, default).decode(), None)
    return "".join(parts).encode() + b"\n"


def _xml_answer(root: str, value: Any, id: Any, default: Default | None) -> bytes:
    return xml_document(root, value, None if id is NO_ID else {"id": id}, default)


def _write(
    parts: list[str], name: str, attributes: str, value: Any, default: Default | None
) -> None:
    """Append an element and all below it. Takes what JSON takes, and raises where JSON does."""
    if not isinstance(value, _KINDS):
        _write(parts, name, attributes, plain(value, default), default)
        return
    if value is None:
        parts.append(f"<{name}{attributes}/>")
        return
    if isinstance(value, dict):
        attributes, value = _attributes(attributes, value, default)
    parts.append(f"<{name}{attributes}>")
    if isinstance(value, dict):
        for key, item in value.items():
            text = _scalar(key, default)
            if text == "#text" and not isinstance(item, (dict, list, tuple)):
                parts.append(_escape(_scalar(item, default)))
            elif _is_ascii_name(text) or _name().fullmatch(text):
                _write(parts, text, "", item, default)
            else:
                _write(parts, "item", f' key="{_escape(text)}"', item, default)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _write(parts, "item", "", item, default)
    else:
        parts.append(_escape(_scalar(value, default)))
    parts.append(f"</{name}>")


def _attributes(
    known: str, value: dict[Any, Any], default: Default | None
) -> tuple[str, dict[Any, Any]]:
    """Return the attributes of an element, and its value without those.

    They are the keys "@name", as a message in XML has them when it is read. What cannot be an
    attribute, such as a list, or an id beside the question's, stays in the value.
    """
    names = [key for key in value if isinstance(key, str) and key.startswith("@")]
    if not names:
        return known, value
    rest = dict(value)
    taken = known.partition("=")[0].strip()  # There is one at most: the id, or a key.
    for key in names:
        item, name = value[key], key[1:]
        if name != taken and _is_ascii_name(name) and isinstance(item, (str, int, float)):
            known += f' {name}="{_escape(_scalar(item, default))}"'
            del rest[key]
    return known, rest


def _scalar(value: Any, default: Default | None) -> str:
    """Return the text of a value that has no parts, as JSON writes it but without quotes."""
    if not isinstance(value, _KINDS):
        return _scalar(plain(value, default), default)
    if isinstance(value, (dict, list, tuple)):
        raise TypeError("a key has parts")
    return value if isinstance(value, str) else dumps(value).decode()
