"""A property that is computed once: most handlers look at two or three things of a request.

Chapter: docs/requests-and-responses.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class lazy(Generic[Value]):
    """A property that is computed once and then is an ordinary attribute.

    `functools.cached_property` without its lock: a request has one owner at a time.
    """

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Value:
        if instance is None:
            return self  # type: ignore[return-value]
        value = self._compute(instance)
        # Not by way of __dict__: since 3.11 that builds the dict that an object has not yet.
        setattr(instance, self._name, value)
        return value
