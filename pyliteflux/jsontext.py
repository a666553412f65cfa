"""JSON as both protocols write and read it: UTF-8, strict, and with one kind of error.

Stands on the ground because a body (`app.response`) and a frame (`protocol.message`) must
look the same. NaN and Infinity are not JSON (RFC 8259 section 6) and are refused both ways.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from json import encoder as stdlib
from typing import Any, NoReturn


class _Encoder(threading.local):
    """What turns a value into pieces of JSON text: one for each thread, for all its values.

    `JSONEncoder.encode` builds its C part anew for each value, which costs twice what encoding
    a small one does. It does so for the note that it keeps of the containers it is in, to find
    circles: two threads must not share that. So each thread has a C part and a note of its own.
    """

    def __init__(self) -> None:
        self.open: dict[int, Any] = {}  # The containers it is in, by id.
        self.pieces = self._build()

    def _build(self) -> Callable[[Any, int], Iterable[str]]:
        public = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
        form = (None, ": ", ", ", False, False, False)
        try:
            pieces: Callable[[Any, int], Iterable[str]] = stdlib.c_make_encoder(  # type: ignore[attr-defined]
                self.open, public.default, stdlib.encode_basestring, *form
            )
            probe = {"ä": [0.5, None]}
            if "".join(pieces(probe, 0)) == public.encode(probe):
                return pieces
        except Exception:  # No part of json's interface: another Python may have another.
            pass
        return lambda value, level: public.iterencode(value)


_encoder = _Encoder()


def dumps(value: Any) -> bytes:
    """Return a value as UTF-8 JSON on one line.

    Raises TypeError where JSON has no such type, ValueError where the value cannot be
    written: NaN, a circle, nesting too deep, half a surrogate pair.
    """
    try:
        return "".join(_encoder.pieces(value, 0)).encode()
    except RecursionError:
        _encoder.open.clear()
        raise ValueError("nested too deeply for JSON") from None
    except BaseException:
        _encoder.open.clear()  # What it was in when it failed: the next value is in none.
        raise


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Not `decode`: it looks for blanks before and after with a regular expression each.
# Nor `raw_decode`: that is a Python call around this one.
_scan = json.JSONDecoder(parse_constant=_refuse_constant).scan_once  # type: ignore[attr-defined]
_BLANK = " \t\n\r"


def loads(data: bytes) -> Any:
    """Return the value that UTF-8 JSON stands for; a byte order mark before it is ignored.

    Raises ValueError that says what is wrong and where, whatever the input was.
    """
    try:
        text = data.decode()
        try:
            value, end = _scan(text, 0)
        except StopIteration as error:
            if error.value:
                raise
            text = text.removeprefix("\ufeff").lstrip(_BLANK)  # Most begin with the value.
            value, end = _scan(text, 0)
        if end != len(text) and text[end:].strip(_BLANK):
            raise json.JSONDecodeError("Extra data", text, end)
        return value
    except StopIteration as error:
        raise json.JSONDecodeError("Expecting value", text, error.value) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
