"""Patterns of paths: what a segment matches, what it becomes, and the way back to a URL.

The rule: a pattern is taken apart where it is registered, and what is wrong with it is said
there, with a RouteError. A parameter is a whole segment.

Chapter: docs/requests-and-responses.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlencode

from ..errors import RouteError


class Converter(NamedTuple):
    """A kind of path parameter: what it matches, what it becomes."""

    matches: Callable[[str], Any]
    to_python: Callable[[str], Any]


# In the order in which they are tried: the narrower first.
CONVERTERS = {
    "int": Converter(re.compile(r"[0-9]{1,100}").fullmatch, int),
    "float": Converter(re.compile(r"[0-9]{1,100}(?:\.[0-9]{1,100})?").fullmatch, float),
    "str": Converter(bool, str),  # Anything but the empty segment.
}
LITERAL = "literal"
TAILS = ("path", "*")  # What takes the rest of a path, however many segments that is.
_TEXT = frozenset({"str", *TAILS})  # What stays the text that it is.
_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::([a-z]+))?\}").fullmatch

# A segment: its kind, "literal", "*" or a converter; and the text of a literal, or a name.
Segment = tuple[str, str]
# The parameters of a path in its order: the name and the kind of each.
Parameters = tuple[tuple[str, str], ...]


def parse(path: str) -> list[Segment]:
    """Return the segments of a pattern. Raises RouteError."""
    parsed: list[Segment] = []
    parts = path.split("/")[1:]
    for part in parts:
        if part == "*":
            parsed.append(("*", "*"))
        elif "{" in part or "}" in part:
            match = _PARAMETER(part)
            kind = (match.group(2) or "str") if match else ""
            if match is None or kind not in ("path", *CONVERTERS):
                raise RouteError(
                    f"{part!r} in {path!r} is no parameter: write {{name}}, "
                    f"{{name:int}}, {{name:float}} or {{name:path}} as a whole segment"
                )
            parsed.append((kind, match.group(1)))
        else:
            _check_literal(part, path)
            parsed.append((LITERAL, unquote(part)))
    for part, (kind, _) in zip(parts, parsed[:-1], strict=False):
        if kind in TAILS:
            raise RouteError(f"{part!r} in {path!r} takes the rest: it must come last")
    names = [name for name, _ in parameters_of(parsed)]
    if len(set(names)) < len(names):
        raise RouteError(f"{path!r} names a parameter twice")
    return parsed


def parameters_of(segments: list[Segment]) -> Parameters:
    """Return the parameters among some segments."""
    return tuple((text, kind) for kind, text in segments if kind != LITERAL)


def bound(parameters: Parameters, values: tuple[str, ...]) -> dict[str, Any]:
    """Return parameters by their names, converted."""
    params: dict[str, Any] = {}
    for (name, kind), value in zip(parameters, values, strict=True):
        params[name] = value if kind in _TEXT else CONVERTERS[kind].to_python(value)
    return params


def build_url(path: str, parameters: dict[str, Any], whose: str) -> str:
    """Return a path made of a pattern; what is none of its parameters becomes the query.

    whose: the route, for messages. Raises RouteError.
    """
    from_path = dict(parameters)
    parts = []
    for kind, text in parse(path):
        if kind == LITERAL:
            parts.append(quote(text, safe="~!$&'()*+,;=:@"))
            continue
        if text not in from_path:
            raise RouteError(f"{whose} needs the parameter {text!r}")
        value = str(from_path.pop(text))
        if kind in CONVERTERS and not CONVERTERS[kind].matches(value):
            raise RouteError(f"{value!r} does not fit {{{text}:{kind}}} of {path!r}")
        parts.append(quote(value, safe="/" if kind in TAILS else ""))
    url = "/" + "/".join(parts)
    return f"{url}?{urlencode(from_path, doseq=True)}" if from_path else url


# As Flask and Django write a parameter, <int:id>, and as Express does, :id. In a path a browser
# would send both brackets as escapes, so nobody has meant them.
_FOREIGN = re.compile(
    r"<(?:([A-Za-z_]+)(?:\([^)]*\))?:)?([A-Za-z_][A-Za-z0-9_]*)>|:([A-Za-z_][A-Za-z0-9_]*)"
).fullmatch
_KINDS = {"int": ":int", "float": ":float", "path": ":path"}


def _check_literal(part: str, path: str) -> None:
    """Raise RouteError for a parameter in the spelling of another framework."""
    match = _FOREIGN(part)
    if match:
        kind, name = match.group(1), match.group(2) or match.group(3)
        ours = "{" + name + _KINDS.get(kind or "", "") + "}"
        raise RouteError(f"{part!r} in {path!r} would be taken as it is: write {ours}")
    if "<" in part or ">" in part:
        raise RouteError(
            f"{part!r} in {path!r} is no parameter: write {{name}} or {{name:int}} as a whole "
            "segment; in a literal write %3C and %3E"
        )
    if "?" in part or "#" in part:
        raise RouteError(
            f"{part!r} in {path!r} would never match: a path ends there, and what follows '?' is "
            "in request.query_params; in a literal write %3F and %23"
        )
