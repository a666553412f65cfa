"""JSON as both protocols write and read it: UTF-8, strict, and with one kind of error.

Stands on the ground because a body (`app.response`) and a frame (`protocol.message`) must
look the same. The rule: what `loads` lets in, `dumps` can write. So NaN, Infinity and numbers
too large for a double are refused (RFC 8259 section 6), and half a surrogate pair, which has
no UTF-8, is read as U+FFFD, as queries, forms and paths read it.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, time
from enum import Enum
from json import encoder as stdlib
from typing import Any, NoReturn

# What a program may hand over as the setting json_default: takes a value that JSON does not
# know, returns one that it does, or raises TypeError.
Default = Callable[[Any], Any]

# How often what stands for a value may need, or hold, a stand-in itself. An honest function needs
# one; a long linked list of dataclasses some thousands.
_MAX_STAND_INS = 10_000
_MAX_PATH = 200  # Characters of a path in an error: a log line, not a novel.


class _Encoder(threading.local):
    """What turns a value into pieces of JSON text: one for each thread, for all its values.

    `JSONEncoder.encode` builds its C part anew for each value, which costs twice what encoding
    a small one does. It does so for the note that it keeps of the containers it is in, to find
    circles: two threads must not share that. So each thread has a C part and a note of its own.
    """

    def __init__(self) -> None:
        self.open: dict[int, Any] = {}  # The containers it is in, by id.
        self.default: Default | None = None  # Of the value that is being encoded.
        self.pieces = self._build()

    def _build(self) -> Callable[[Any, int], Iterable[str]]:
        public = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=self._stand_in)
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

    def _stand_in(self, value: Any) -> Any:
        """Return what stands for a value that the C part does not know."""
        return plain(value, None if self.default is None else self._ask)

    def _ask(self, value: Any) -> Any:
        """Ask the program's function, which may have us encode something else meanwhile."""
        default, held = self.default, dict(self.open)
        assert default is not None
        self.open.clear()
        try:
            return default(value)
        finally:
            self.default = default
            self.open.clear()
            self.open.update(held)


_encoder = _Encoder()


def dumps(value: Any, default: Default | None = None) -> bytes:
    """Return a value as UTF-8 JSON on one line. Any thread.

    Beside what JSON knows it takes what `plain` does, as a key of a dict too. default: for what
    is left, the setting json_default.
    Raises TypeError where there is no way to write a value, ValueError where it cannot be
    written: NaN, a circle, half a surrogate pair. The text says where in the value, as in
    ``items[2].when``, and what to do.
    """
    _encoder.default = default
    try:
        return "".join(_encoder.pieces(value, 0)).encode()
    except (TypeError, ValueError, RecursionError):
        _encoder.open.clear()  # What it was in when it failed: the next value is in none.
    except BaseException:
        _encoder.open.clear()
        raise
    return _write(value, default).encode()


def plain(value: Any, default: Default | None = None) -> Any:
    """Return what is written in the place of a value that JSON does not know.

    A datetime, date or time: ISO 8601. UUID, Decimal, a path: its text. An Enum: its value. A
    dataclass or another mapping: a dict. A set: a list, in order where its members have one,
    so that it is the same in each process. Anything else: what `default` makes of it.
    Raises TypeError.
    """
    if isinstance(value, (date, time)):  # A datetime is a date.
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if is_record(value):
        return {name: getattr(value, name) for name in _fields_of(type(value))}
    if isinstance(value, (set, frozenset)):
        try:
            return sorted(value)
        except TypeError:
            return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    # A program with such a value has imported its module; others need not pay for it.
    for module, name in (("uuid", "UUID"), ("decimal", "Decimal")):
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(value, kind):
            return str(value)
    return refuse(value) if default is None else default(value)


def refuse(value: Any) -> NoReturn:
    """Raise the TypeError that says what to do about a value that JSON cannot write."""
    raise TypeError(
        f"{type(value).__name__} cannot be written as JSON: hand over something that can, or say "
        f"what is to be written with the setting json_default=function"
    )


def is_record(value: Any) -> bool:
    """Tell whether a value is an object of a dataclass."""
    return hasattr(type(value), "__dataclass_fields__")


def _fields_of(kind: type) -> Iterator[str]:
    from dataclasses import fields  # Here: it takes 5 ms. A program with a dataclass has it.

    return (field.name for field in fields(kind))


def _write(value: Any, default: Default | None) -> str:
    """Return a value as JSON text, slowly: in Python, at any depth, and knowing where it is.

    For what the C part has failed at: keys that are no str, nesting beyond its stack, and what
    cannot be written at all, for then the error is to say where that is.
    """
    parts: list[str] = []
    path: list[str | int] = []
    inside: dict[int, Any] = {}  # The containers it is in, by id, and what `plain` has made.
    stand_ins = 0  # Of these.
    # Of each container that is open: its members to come; its bracket, and what leaves `inside`.
    todo: list[Iterator[tuple[str | int, str, Any]]] = [iter([("", "", value)])]
    ends: list[tuple[str, list[int]]] = [("", [])]
    try:
        while todo:
            member = next(todo[-1], None)
            if member is None:
                todo.pop()
                end, ids = ends.pop()
                parts.append(end)
                _drop(inside, ids)
                stand_ins -= max(0, len(ids) - 1)
                del path[-1:]
                continue
            step, lead, item = member
            path.append(step)
            parts.append(lead)
            ids = []
            while (text := _scalar(item)) is None:
                if id(item) in inside:
                    raise ValueError("circular reference: it is inside of itself")
                inside[id(item)] = item
                ids.append(id(item))
                if isinstance(item, dict):
                    todo.append(_members(item, default))
                    ends.append(("}", ids))
                    parts.append("{")
                    break
                if isinstance(item, (list, tuple)):
                    todo.append(_items(item))
                    ends.append(("]", ids))
                    parts.append("[")
                    break
                item = plain(item, default)
                stand_ins += 1
                if stand_ins > _MAX_STAND_INS:
                    raise ValueError(
                        "no end of stand-ins: json_default returns what it is to replace"
                    )
            else:
                parts.append(text)
                _drop(inside, ids)
                stand_ins -= len(ids)
                path.pop()
    except (TypeError, ValueError) as error:
        place = _place(path)
        if not place:
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{place}: {error}") from error
    return "".join(parts)


def _drop(inside: dict[int, Any], ids: list[int]) -> None:
    for id in ids:
        del inside[id]


def _members(value: dict[Any, Any], default: Default | None) -> Iterator[tuple[str, str, Any]]:
    comma = ""
    for key, item in value.items():
        name = _key(key, default)
        yield name, f"{comma}{stdlib.encode_basestring(name)}: ", item
        comma = ", "


def _items(value: Iterable[Any]) -> Iterator[tuple[int, str, Any]]:
    comma = ""
    for index, item in enumerate(value):
        yield index, comma, item
        comma = ", "


def _key(key: Any, default: Default | None) -> str:
    """Return the key of a dict as JSON has it: a str."""
    name = key
    for _ in range(_MAX_STAND_INS):
        if isinstance(name, str):
            _check_text(name)
            return name
        text = _scalar(name)
        if text is not None:
            return text
        if isinstance(name, (dict, list, tuple)):
            break
        name = plain(name, default)
    raise TypeError(f"a key is a {type(key).__name__}, and in JSON a key is a str")


def _scalar(value: Any) -> str | None:
    """Return a value that has no parts as JSON text; None for any other."""
    if isinstance(value, str):
        _check_text(value)
        return stdlib.encode_basestring(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        if value - value != 0:
            raise ValueError(f"{value!r} is not JSON (RFC 8259 section 6)")
        return float.__repr__(value)
    return None


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            "half a surrogate pair has no UTF-8; text.encode('utf-8', 'replace') takes it out"
        ) from None


def _place(path: list[str | int]) -> str:
    """Return a path as a Python programmer writes it: ``items[2].when``."""
    text = "".join(
        f"[{step}]"
        if isinstance(step, int)
        else f".{step}"
        if step.isidentifier()
        else f"[{ascii(step[:_MAX_PATH])}]"
        for step in path[1:]
    )
    text = text.removeprefix(".")
    return (
        text if len(text) <= _MAX_PATH else f"{text[: _MAX_PATH // 2]}...{text[-_MAX_PATH // 2 :]}"
    )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0:  # 1e999 is an infinity, which nobody could be answered with.
        raise ValueError("a number is beyond the range of a double")
    return value


# Not `decode`: it looks for blanks before and after with a regular expression each.
# Nor `raw_decode`: that is a Python call around this one.
_scan = json.JSONDecoder(  # type: ignore[attr-defined]
    parse_float=_finite, parse_constant=_refuse_constant
).scan_once
_BLANK = " \t\n\r"
# An escaped half of a surrogate pair without its other half, once no escaped backslash is left.
_HALF = re.compile(
    r"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    r"|(?<!\\u[dD][89abAB]..\\u[dD])[c-fC-F][0-9a-fA-F]{2})"
)


def loads(data: bytes) -> Any:
    """Return the value that UTF-8 JSON stands for; a byte order mark before it is ignored.

    Of a name that is there twice the last counts. Half a surrogate pair (``\\ud83d``, what
    JavaScript leaves of an emoji that it has cut in two) becomes U+FFFD.
    Raises ValueError that says what is wrong and where, whatever the input was.
    """
    try:
        text = data.decode()
        if "\\ud" in text or "\\uD" in text:
            text = _without_halves(text)
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
    except ValueError as error:
        if "set_int_max_str_digits" in str(error):  # Python's advice is none for the client.
            raise ValueError("a number has too many digits") from None
        raise


def _without_halves(text: str) -> str:
    r"""Return JSON text in which each half of a surrogate pair is \ufffd. Linear, and in C."""
    if "\0" in text:
        return text  # The text is no JSON, and the scanner says where.
    bare = text.replace("\\\\", "\0\0")  # An escaped backslash escapes nothing.
    return _HALF.sub(r"\\ufffd", bare).replace("\0\0", "\\\\")
