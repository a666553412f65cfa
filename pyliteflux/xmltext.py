"""XML as both directions write and read it: no entities, no DTD, and nested to a limit.

The rule: what is written is read back as it was, as far as XML can say it. The text of an error
says what is wrong, and repeats no byte of what a peer has sent.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any
from xml.parsers import expat

from .charsets import codec_of
from .jsontext import Default, dumps, plain

MAX_ATTRIBUTES = 64  # Of one XML element; ours has two. Bounds what a start tag makes expat do.

# Reading.


class _Refused(Exception):
    """We do not read this, though expat would. Its text is the fault."""


class Element:
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

    def content(self, *known: str) -> Any:
        """Return what is in it, known attributes left out; None where there is nothing."""
        for name in known:
            self.attributes.pop(name, None)
        value = self.value()
        return None if isinstance(value, str) and not value.strip() else value


class _Reader:
    """Builds a message from what expat reports."""

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth
        self._open: list[Element] = []
        self.root = Element("", {})  # Replaced by the first start tag.

    def read(self, data: bytes) -> None:
        """Parse a whole document. Raises whatever expat and codecs raise."""
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
            raise _Refused("bad XML: the encoding must be UTF-8")

    def _refuse(self, *details: Any) -> None:
        raise _Refused("bad XML: a DOCTYPE or ENTITY declaration is refused")

    def _started(self, name: str, attributes: dict[str, str]) -> None:
        if len(attributes) > MAX_ATTRIBUTES:
            raise _Refused(f"bad XML: over {MAX_ATTRIBUTES} attributes")
        element = Element(name, attributes)
        if not self._open:
            self.root = element
        self._open.append(element)
        if len(self._open) > self._max_depth:
            raise _Refused(f"nested over {self._max_depth} levels")

    def _ended(self, name: str) -> None:
        element = self._open.pop()
        if self._open:
            self._open[-1].add(name, element.value())

    def _text(self, text: str) -> None:
        self._open[-1].text.append(text)


def read_xml(data: bytes, max_depth: int) -> tuple[Element, str]:
    """Return the root element, and what is wrong with the document: "" for nothing.

    Of a bad one the root is what could be read of it, and may tell whose answer the error is.
    """
    reader, fault = _Reader(max_depth), ""
    try:
        reader.read(data)
    except _Refused as error:
        fault = str(error)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        fault = f"bad XML: {reason}: line {error.lineno}, column {error.offset + 1}"
    except (ValueError, LookupError, RecursionError):
        fault = "bad XML: it cannot be read"
    return reader.root, fault


# Writing.

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
