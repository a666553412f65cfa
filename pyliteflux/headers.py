"""Header fields: names in any letter case, a name may come more than once.

`Headers` is what a handler reads (RFC 9110 section 5). `check_field` is the one gate that
every field we *send* passes: a value with a line end in it would become a second field, or
a second response, of the attacker's choosing (response splitting, CVE-2018-1000164).

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

# RFC 9110 section 5.6.2, token.
TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# RFC 9110 section 5.5, field-value: visible characters, SP, HTAB and obs-text (80 to FF).
VALUE = r"[\t\x20-\x7e\x80-\xff]*"
FIELD_LINES = rf"(?:{TOKEN}:{VALUE}\r\n)*"
is_token = re.compile(TOKEN).fullmatch
OWS = " \t"  # RFC 9110 section 5.6.3, optional whitespace.
# What a value must not hold: every control but HTAB (RFC 9110 section 5.5), and what latin-1
# cannot write.
_BAD_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]").search


# Name, and value without the blanks around it, of each line of a head that has been checked.
_FIELDS = re.compile(r"([^:]+):[ \t]*((?:[^\r]*[^\r \t])?)[ \t]*\r\n").findall


class Headers(Mapping[str, str]):
    """The fields of one received message, read-only. Look-up ignores letter case.

    Repeated fields read as one value joined with ``", "`` (RFC 9110 section 5.3);
    `getlist` gives each. Iteration yields each name once, in lower case.
    lines: instead of pairs a whole head, checked; it is cut when a field is first asked for.
    """

    __slots__ = ("_lines", "_pairs", "_joined")

    def __init__(self, pairs: Iterable[tuple[str, str]] = (), lines: str = "") -> None:
        self._lines = lines
        self._pairs: list[tuple[str, str]] | None = None if lines else list(pairs)
        self._joined: dict[str, str] | None = None  # Lower-case name -> joined value.

    # Two threads may come here at once, as heads are shared: both store the same.
    def _split(self) -> list[tuple[str, str]]:
        pairs = self._pairs
        if pairs is None:
            pairs = self._pairs = _FIELDS(self._lines, self._lines.find("\n") + 1)
        return pairs

    def _join(self) -> dict[str, str]:
        """Return lower-case name -> joined value."""
        pairs = self._split()
        joined = {name.lower(): value for name, value in pairs}
        if len(joined) < len(pairs):
            joined.clear()
            for name, value in pairs:
                name = name.lower()
                if name in joined:
                    # Cookie is the one list that is joined with "; " (RFC 6265 section 5.4).
                    separator = "; " if name == "cookie" else ", "
                    value = joined[name] + separator + value  # At most max_headers times.
                joined[name] = value
        self._joined = joined
        return joined

    def __getitem__(self, name: str) -> str:
        return (self._joined or self._join())[name.lower()]

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """Return the value of a field, repeated ones joined, or `default`."""
        return (self._joined or self._join()).get(name.lower(), default)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in (self._joined or self._join())

    def __iter__(self) -> Iterator[str]:
        return iter(self._joined or self._join())

    def __len__(self) -> int:
        return len(self._joined or self._join())

    def getlist(self, name: str) -> list[str]:
        """Return every value of a field, in the order received; [] if there is none."""
        name = name.lower()
        return [value for field, value in self._split() if field.lower() == name]

    def pairs(self) -> list[tuple[str, str]]:
        """Return a copy of the fields as they were received: names, order, repetition."""
        return list(self._split())

    def __repr__(self) -> str:
        return f"Headers({self._split()!r})"


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def date_field(moment: time.struct_time) -> str:
    """Return a UTC time as fields say it: Sun, 06 Nov 1994 08:49:37 GMT (RFC 9110, 5.6.7).

    Not by strftime: that one knows the names of the days in the administrator's language. Not
    by email.utils: to import it takes longer than all else that is done with HTTP here.
    """
    year, month, day, hour, minute, second, weekday = moment[:7]
    return (
        f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} "
        f"{hour:02}:{minute:02}:{second:02} GMT"
    )


def says_close(values: Iterable[str]) -> bool:
    """Tell whether Connection fields ask for the end of the connection (RFC 9112 section 9.6)."""
    return any(
        option.strip(OWS).lower() == "close" for value in values for option in value.split(",")
    )


# Names of fields that were sent: an app has a few dozen.
@lru_cache(maxsize=256)
def _checked_name(name: str) -> str:
    """Return a name in lower case. Raises ValueError where it is none."""
    if not is_token(name):
        raise ValueError(f"header name {name!r} is not a token (RFC 9110 section 5.6.2)")
    return name.lower()


def check_field(name: str, value: str) -> str:
    """Let a field to be sent pass, or raise ValueError that names what is wrong with it.

    Returns the name in lower case.
    """
    if not isinstance(name, str):
        raise ValueError(f"header name {name!r} is not a token: it is no str")
    lower = _checked_name(name)
    if not isinstance(value, str):
        raise ValueError(f"header {name}: the value must be a str, not {type(value).__name__}")
    if not (value.isascii() and value.isprintable()):
        bad = _BAD_IN_VALUE(value)  # HTAB and obs-text are allowed.
        if bad is not None:
            raise ValueError(f"header {name}: {bad.group()!r} is not allowed in a value")
    return lower


# Fields that are the server's: about this hop (RFC 9110 section 7.6.1) or about framing.
# "close" in Connection is heard elsewhere, as a wish.
SERVER_FIELDS = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "content-length"}
    | {"te", "trailer", "upgrade", "date"}
)


def format_fields(fields: Iterable[tuple[str, str]]) -> str:
    """Return field lines for a head. Raises ValueError for one that must not be sent.

    Fields that are the server's own (SERVER_FIELDS) are left out.
    """
    lines = []
    for name, value in fields:
        if check_field(name, value) not in SERVER_FIELDS:
            lines.append(f"{name}: {value}\r\n")
    return "".join(lines)


class MutableHeaders:
    """The fields of a response to be sent. Look-up ignores letter case; order is kept.

    Assigning replaces every field of that name, `add` appends one more (Set-Cookie). Values
    are checked when the head is written, so that a mistake is one 500 and one log line.
    """

    __slots__ = ("_pairs", "_names")

    def __init__(self, fields: object = None) -> None:
        self._pairs: list[tuple[str, str]] = []
        self._names: set[str] = set()  # In lower case.
        if fields is not None:
            self.update(fields)

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: str) -> None:
        del self[name]
        self.add(name, value)

    def __delitem__(self, name: str) -> None:
        lower = name.lower()
        if lower in self._names:
            self._names.remove(lower)
            self._pairs = [pair for pair in self._pairs if pair[0].lower() != lower]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self._pairs))

    def __len__(self) -> int:
        return len(self._pairs)

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of a field, or `default`."""
        lower = name.lower()
        if lower in self._names:
            for field, value in self._pairs:
                if field.lower() == lower:
                    return value
        return default

    def keys(self) -> list[str]:
        """Return the names, each once: ``{**headers}`` is a dict of the first values."""
        return list(self)

    def names(self) -> set[str]:
        """Return the names that are there, in lower case. Not to be changed."""
        return self._names

    def setdefault(self, name: str, value: str) -> str:
        """Set a field unless it is there; return what it is then."""
        present = self.get(name)
        if present is None:
            self.add(name, value)
            return value
        return present

    def add(self, name: str, value: str) -> None:
        """Append a field, whether or not one of that name is there."""
        self._names.add(name.lower())
        self._pairs.append((name, value))

    def getlist(self, name: str) -> list[str]:
        """Return every value of a field; [] if there is none."""
        lower = name.lower()
        if lower not in self._names:
            return []
        return [value for field, value in self._pairs if field.lower() == lower]

    def update(self, fields: object) -> None:
        """Set fields from a mapping or an iterable of (name, value) pairs.

        What was there before under one of these names is replaced; a name that comes twice
        among the pairs is there twice afterwards. Raises TypeError where it is neither;
        numbers are taken for their decimal text.
        """
        if isinstance(fields, MutableHeaders):
            for name in self._names & fields._names:
                del self[name]
            self._pairs += fields._pairs  # All of a name: there may be several Set-Cookie.
            self._names |= fields._names
            return
        items = getattr(fields, "items", None)
        if items is not None:
            names, pairs = self._names, self._pairs  # local: looked up once per field
            for name, value in items():
                lower = name.lower()
                if lower in names:
                    del self[name]
                    pairs = self._pairs
                names.add(lower)
                pairs.append((name, value if type(value) is str else _field_text(name, value)))
            return
        new = MutableHeaders()
        try:
            for name, value in fields:  # type: ignore[attr-defined]
                new.add(name, _field_text(name, value))
        except (TypeError, ValueError, AttributeError) as error:
            raise TypeError(f"headers must be a mapping or (name, value) pairs: {error}") from None
        self.update(new)

    def add_vary(self, name: str) -> None:
        """Note that the response depends on a request field (RFC 9110 section 12.5.5)."""
        present = self.getlist("Vary")
        names = {item.strip().lower() for value in present for item in value.split(",")}
        if "*" not in names and name.lower() not in names:
            self["Vary"] = ", ".join([*present, name])  # Of several fields one: section 5.3.

    def items(self) -> list[tuple[str, str]]:
        """Return a copy of the fields, in order."""
        return list(self._pairs)

    def __repr__(self) -> str:
        return f"MutableHeaders({self._pairs!r})"


def _field_text(name: object, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return str(value)
    raise TypeError(f"header {name!r}: the value must be a str, not {type(value).__name__}")
