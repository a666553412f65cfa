"""Can a function be called in the way in which it will be? Asked where it is registered.

The rule: a programmer's mistake is told at the line that makes it, not by the first request. A
function of Python says by its code object what it takes, so `inspect`, which takes longer to
import than some servers to start, is asked about the rest only.

Chapter: docs/requests-and-responses.md.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from types import FunctionType, MethodType
from typing import Any

# Flags of a code object: *args, **kwargs.
_TAKES_MORE, _TAKES_NAMED = 0x04, 0x08
# And of one that has not run yet when it has returned: yield; async def, with and without yield.
_GENERATOR, _ASYNC = 0x20, 0x80 | 0x200


def misfit(function: Any, count: int, names: Collection[str] = ()) -> str | None:
    """Return how a function is written where it cannot be called so: "user(request, id)".

    count, names: of the positional and of the named arguments that it will be given. None where
    they fit, and where nobody can tell: some that are written in C do not say.
    """
    if isinstance(function, functools.partial):
        return misfit(function.func, count + len(function.args), {*names, *function.keywords})
    bound = 0
    code_of = function
    if isinstance(function, MethodType):
        code_of, bound = function.__func__, 1
    elif not isinstance(function, (FunctionType, type)):
        code_of, bound = getattr(type(function), "__call__", None), 1  # noqa: B004
    if not isinstance(code_of, FunctionType):
        return _misfit_by_signature(function, count, names)
    code, count = code_of.__code__, count + bound
    most = code.co_argcount
    taken = code.co_varnames[:most]
    only_named = code.co_varnames[most : most + code.co_kwonlyargcount]
    needed = {*taken[count : most - len(code_of.__defaults__ or ())], *only_named}
    needed -= {*(code_of.__kwdefaults__ or ())}
    given, by_position = {*names}, code.co_posonlyargcount
    fits = (
        (count <= most or code.co_flags & _TAKES_MORE)
        and needed <= given.difference(taken[:by_position])
        and given.isdisjoint(taken[by_position:count])
        and (code.co_flags & _TAKES_NAMED or given <= {*taken[by_position:], *only_named})
    )
    if fits:
        return None
    return f"{code_of.__name__}({', '.join((*taken[bound:], *only_named))})"


def is_async(function: Any) -> bool:
    """Tell whether a call would return a coroutine, of which nothing has run."""
    function, call, flags = _flags_of(function)
    # Python 3.12: `inspect.markcoroutinefunction`, of an object or of its `__call__`.
    return bool(flags & _ASYNC) or any(
        "_is_coroutine_marker" in getattr(marked, "__dict__", ()) for marked in (function, call)
    )


def check_runs(function: Any, what: str, may_yield: bool = False) -> None:
    """Raise TypeError for a function of which a call runs nothing: async, or a generator.

    what: it is registered as, for the message. may_yield: what it yields is taken.
    """
    if is_async(function):
        raise TypeError(f"{what} is async: write a plain def, it runs on a worker thread")
    if not may_yield and _flags_of(function)[-1] & _GENERATOR:
        raise TypeError(f"{what} is a generator, and nobody would take what it yields")


def _flags_of(function: Any) -> tuple[Any, Any, int]:
    """Return what partials are of, what a call of that calls, and the flags of the latter."""
    while isinstance(function, functools.partial):
        function = function.func
    call = function
    if not isinstance(function, (FunctionType, MethodType, type)):
        call = getattr(type(function), "__call__", function)  # noqa: B004
    return function, call, getattr(getattr(call, "__code__", None), "co_flags", 0)


def check_hook(function: Any, what: str, *arguments: str, may_yield: bool = False) -> None:
    """Raise TypeError for a function that cannot be called with these arguments.

    what: it is registered as, for the message. may_yield: as for `check_runs`.
    """
    if not callable(function):
        raise TypeError(f"{what} takes a function, not {function!r}")
    check_runs(function, what, may_yield)
    written = misfit(function, len(arguments))
    if written is not None:
        name = written.partition("(")[0]
        raise TypeError(
            f"{what} is called as {name}({', '.join(arguments)}), and {written} cannot be"
        )


def _misfit_by_signature(function: Any, count: int, names: Collection[str]) -> str | None:
    import inspect  # Not above: see there.

    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(*[None] * count, **dict.fromkeys(names))
    except TypeError:
        return f"{getattr(function, '__name__', repr(function))}{signature}"
    return None
