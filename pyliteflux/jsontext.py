"""JSON as both protocols write and read it: UTF-8, strict, and with one kind of error.

Stands on the ground because a body (`app.response`) and a frame (`protocol.message`) must
look the same. NaN and Infinity are not JSON (RFC 8259 section 6) and are refused both ways.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

# One encoder for all: building one for each value costs more than most values do.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def dumps(value: Any) -> bytes:
    """Return a value as UTF-8 JSON on one line.

    Raises TypeError where JSON has no such type, ValueError where the value cannot be
    written: NaN, a circle, nesting too deep, half a surrogate pair.
    """
    try:
        return _encode(value).encode()
    except RecursionError:
        raise ValueError("nested too deeply for JSON") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode


def loads(data: bytes) -> Any:
    """Return the value that UTF-8 JSON stands for; a byte order mark before it is ignored.

    Raises ValueError that says what is wrong and where, whatever the input was.
    """
    try:
        return _decode(data.decode().removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
