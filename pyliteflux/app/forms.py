"""Forms: urlencoded text, header parameters, and the dict that keeps repeated keys.

The rule: nothing here backtracks or grows with the square of what a peer sends.

The parameters of a header are scanned here and not by `email.message`, for three faults that
a peer can reach there: time quadratic in an open quote full of ``;``, a ValueError for a
long number after ``filename*``, and every codec that Python knows, by the peer's choice.

Chapter: docs/requests-and-responses.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

from ..charsets import codec_of
from ..config import Config
from ..errors import HTTPError
from ..headers import OWS

# Work and copies are cut to this size, so that a body costs no second body of memory.
PIECE = 64 * 1024

_ESCAPED = re.compile(r'\\(["\\])')

_V = TypeVar("_V")


class MultiDict(dict[str, _V]):
    """A dict of the first value of each key; `getlist` gives them all (contract Q1).

    Assigning replaces every value of the key; `add` is the way to append one.
    """

    __slots__ = ("_all",)

    def __init__(self, *args: Any, **kw: Any) -> None:
        if args or kw:
            super().__init__(*args, **kw)
        # Only keys that came more than once. Absent from most requests, so absent here.
        self._all: dict[str, list[_V]] = {}
        if args and isinstance(args[0], MultiDict):
            self._all = {key: list(values) for key, values in args[0]._all.items()}
            for key in kw:
                self._all.pop(key, None)

    def add(self, key: str, value: _V) -> None:
        """Append a value; the first one stays the one that look-up finds."""
        if key in self:
            self._all.setdefault(key, [self[key]]).append(value)
        else:
            super().__setitem__(key, value)

    def getlist(self, key: str) -> list[_V]:
        """Return every value of a key in the order added; [] if there is none."""
        if key in self._all:
            return list(self._all[key])
        return [self[key]] if key in self else []

    def __setitem__(self, key: str, value: _V) -> None:
        self._all.pop(key, None)
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self._all.pop(key, None)

    def pop(self, key: str, *default: Any) -> Any:
        """Remove a key with all its values; return the first, or `default`."""
        self._all.pop(key, None)
        return super().pop(key, *default)

    def popitem(self) -> tuple[str, _V]:
        """Remove the key added last with all its values; return it and its first value."""
        key, value = super().popitem()
        self._all.pop(key, None)
        return key, value

    def clear(self) -> None:
        """Remove everything."""
        super().clear()
        self._all.clear()

    # dict.update and |= write past __setitem__, so the lists would go stale.
    def update(self, *args: Any, **kw: Any) -> None:
        """Take over keys as `dict.update` does; those of a MultiDict with all their values."""
        added: MultiDict[_V] = MultiDict(*args, **kw)
        for key, value in added.items():
            self[key] = value
        self._all.update(added._all)

    def __ior__(self, other: Any) -> MultiDict[_V]:  # type: ignore[override,misc]
        self.update(other)
        return self

    def copy(self) -> MultiDict[_V]:
        """Return a copy that shares the values and nothing else."""
        return MultiDict(self)

    # The default would set the items on an object that has no `_all` yet.
    def __reduce__(self) -> tuple[Any, ...]:
        return MultiDict._restored, ([(key, self.getlist(key)) for key in self],)

    @staticmethod
    def _restored(lists: list[tuple[str, list[_V]]]) -> MultiDict[_V]:
        made: MultiDict[_V] = MultiDict()
        for key, values in lists:
            for value in values:
                made.add(key, value)
        return made


class FormLimits(NamedTuple):
    """What one form may cost. Counts: fields, parts, part_headers. Bytes: the others."""

    fields: int
    parts: int
    memory: int
    part_headers: int
    part_header_size: int
    upload_memory: int

    @classmethod
    def from_config(cls, config: Config) -> FormLimits:
        """Return the limits that a server's settings ask for."""
        return cls(
            config.max_form_fields,
            config.max_form_parts,
            config.max_form_memory,
            config.max_part_headers,
            config.max_part_header_size,
            config.upload_memory,
        )


def parse_form(body: bytes, max_fields: int, charset: str = "") -> MultiDict[str]:
    """Return the pairs of an application/x-www-form-urlencoded body. Raises HTTPError 413.

    charset: what its Content-Type names, for the bytes that its escapes stand for; "" is UTF-8.
    Browsers send that whatever the page is in; old programs send their own, and say so.
    """
    codec = codec_of(charset) or "utf-8"
    # The separators are looked for in ASCII: in UTF-16 there is none.
    if codec == "utf-8" or codec.startswith("utf-16"):
        return parse_urlencoded(body.decode("utf-8", "replace"), max_fields)
    return parse_urlencoded(body.decode("latin-1"), max_fields, "latin-1", codec)


def parse_urlencoded(
    text: str, max_fields: int, raw: str = "utf-8", codec: str = "utf-8"
) -> MultiDict[str]:
    """Return the pairs of a query string or of an application/x-www-form-urlencoded body.

    raw: what its bytes were made text by; codec: what they are in, escapes resolved. Blank values
    are kept, ``+`` is a space, ``&`` alone separates (a second separator let caches be
    poisoned, CVE-2021-23336), and bytes that the codec does not know become U+FFFD.
    Raises HTTPError 413 over max_fields, empty ones counted. WHATWG URL section 5.1.
    """
    if text.count("&") >= max_fields:  # Before the split: it would cost a list of them all.
        raise over_limit("max_form_fields", max_fields, "fields")
    pairs: MultiDict[str] = MultiDict()
    if "+" in text:
        text = text.replace("+", " ")  # No separator is one, and escapes are decoded later.
    set_first = dict.__setitem__  # local: of a new key there is nothing else to look after.
    is_plain = "%" not in text and text.isascii()
    for pair in text.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            if not is_plain:
                name, value = _unquote(name, raw, codec), _unquote(value, raw, codec)
            if name in pairs:
                pairs.add(name, value)
            else:
                set_first(pairs, name, value)
    return pairs


def _unquote(text: str, raw: str, codec: str) -> str:
    if "%" not in text and text.isascii():
        return text
    # unquote_to_bytes makes an object of each escape, about 15 times the text at its peak;
    # by the piece that stays small whatever the length of the value.
    decoded = bytearray()
    start = 0
    while start < len(text):
        end = start + PIECE
        escape = text.rfind("%", end - 2, end)
        if escape >= 0 and end < len(text):
            end = escape  # Do not cut an escape in two.
        decoded += unquote_to_bytes(text[start:end].encode(raw, "replace"))
        start = end
    return decoded.decode(codec, "replace")


def content_type_of(value: str) -> tuple[str, dict[str, str]]:
    """Return the media type in lower case and the parameters of a Content-Type.

    The names of parameters are in lower case; the first of a repeated one counts, and
    nothing after a quote that is not closed. Never raises; linear in the value
    (CVE-2024-24762 was a pattern here). RFC 9110 section 8.3.1.
    """
    rest = value.partition(";")[2]
    found: dict[str, str] = {}
    try:
        for name, text in header_parameters(rest):
            found.setdefault(name, text)
    except ValueError:
        pass
    return media_type_of(value), found


def media_type_of(value: str) -> str:
    """Return the media type of a Content-Type in lower case, without its parameters."""
    return value.partition(";")[0].strip(OWS).lower()


def charset_of(value: str) -> str:
    """Return the charset that a Content-Type names; "" where it names none. A peer's word."""
    return content_type_of(value)[1].get("charset", "") if "charset" in value.lower() else ""


def header_parameters(text: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the unquoted value of each ``name=value`` between semicolons.

    Raises ValueError where a quoted value does not end as it should.
    """
    position, end = 0, len(text)
    while position < end:
        stop = text.find(";", position)
        if stop < 0:
            stop = end
        equals = text.find("=", position, stop)
        if equals >= 0:
            name = text[position:equals].strip(OWS).lower()
            value = text[equals + 1 : stop].strip(OWS)
            if value.startswith('"'):
                opening = text.find('"', equals)
                closing = _closing_quote(text, opening + 1)
                # Only these two escapes: older browsers sent the path of a file as it is.
                value = _ESCAPED.sub(r"\1", text[opening + 1 : closing])
                stop = text.find(";", closing)
                if stop < 0:
                    stop = end
                if text[closing + 1 : stop].strip(OWS):
                    raise ValueError("text after a closing quote")
            yield name, value
        position = stop + 1


def _closing_quote(text: str, start: int) -> int:
    position = start
    while True:
        quote = text.find('"', position)
        if quote < 0:
            raise ValueError("a quote that is not closed")
        before = quote
        while before > position and text[before - 1] == "\\":
            before -= 1
        if (quote - before) % 2 == 0:
            return quote
        position = quote + 1


def over_limit(setting: str, limit: int, what: str) -> HTTPError:
    return HTTPError(413, f"the form has more than {setting} = {limit} {what}")
