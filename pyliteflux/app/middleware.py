"""Code around every handler: authentication, logging, resources that must be closed.

The rule is an onion: requests pass the middlewares in the order added, responses in reverse,
and a middleware whose `process_request` was called sees the response, whatever happened in
between, because what it opened it has to close.

Chapter: docs/middleware.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..config import PROTOCOLS
from ..signatures import check_hook

# What a middleware may have, and what it is called with.
METHODS = {
    "process_request": ("request",),
    "process_response": ("request", "response"),
    "on_finish": ("request",),
}


class Middleware:
    """The base class. All methods are optional; subclasses need not call `super().__init__()`.

    They run where the handler runs: on its worker thread, or on the reactor thread for a
    route with ``blocking=False``.
    """

    def process_request(self, request: Any) -> Any:
        """Look at a request before its handler. What it returns, unless None, is the answer."""
        return None

    def process_response(self, request: Any, response: Any) -> Any:
        """Return the response to send: the one given, changed or not, or another.

        response: what the handler returned (of a tuple the body, M5), or a dict that says
        what went wrong; its status is `request.response_status`. None keeps the old one.
        Called again where this answer cannot be sent: with the error that is sent instead.
        """
        return response

    def on_finish(self, request: Any) -> None:
        """The last byte is sent, or the client has left: free what a stream still needed."""


class ContextMiddleware(Middleware):
    """Does nothing any more: every request has its `g`. Kept so that old imports work."""


# One method of one middleware: its place in the order added, from 1; the method; its class's name.
Call = tuple[int, Callable[..., Any], str]


class Chain:
    """The middlewares of a protocol, sorted once into what is called when. Never changed.

    A method that a middleware does not have, or inherits from `Middleware` where it does nothing,
    is not in here and costs nothing per request. What runs after the handler is in reverse.
    """

    __slots__ = ("size", "process_request", "process_response", "on_finish")

    def __init__(self, middlewares: tuple[Any, ...] = ()) -> None:
        self.size = len(middlewares)
        self.process_request = _calls(middlewares, "process_request")
        self.process_response = _calls(middlewares, "process_response")[::-1]
        self.on_finish = _calls(middlewares, "on_finish")[::-1]


def _calls(middlewares: tuple[Any, ...], name: str) -> tuple[Call, ...]:
    calls = []
    for place, middleware in enumerate(middlewares, 1):
        method = getattr(middleware, name, None)
        does_nothing = getattr(method, "__func__", None) is getattr(Middleware, name)
        if callable(method) and not does_nothing:
            calls.append((place, method, type(middleware).__name__))
    return tuple(calls)


class MiddlewareManager:
    """The middlewares of one server, in order. Any thread may add one; requests under way
    keep the chain they began with."""

    def __init__(self) -> None:
        self._middlewares: dict[str, tuple[Any, ...]] = {"http": (), "tcp": ()}
        self.chains = {"http": Chain(), "tcp": Chain()}  # By protocol. Not to be changed.

    def add_middleware(self, middleware: Any, protocol: str = "both") -> None:
        """Append a middleware for "http", "tcp" or "both".

        Raises TypeError for a class where an object is meant, or an object with none of the
        three methods or one that cannot be called, ValueError for another protocol.
        """
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol {protocol!r} is none of {', '.join(PROTOCOLS)}")
        if isinstance(middleware, type):
            raise TypeError(f"add an object, not the class: {middleware.__name__}()")
        if not any(callable(getattr(middleware, name, None)) for name in METHODS):
            raise TypeError(f"{middleware!r} has none of a middleware's methods")
        kind = type(middleware).__name__
        for name, arguments in METHODS.items():
            method = getattr(middleware, name, None)
            if method is not None:
                answers = name != "on_finish"
                check_hook(method, f"{kind}.{name}", *arguments, may_yield=answers)
        for name in self.chains:
            if protocol in (name, "both"):
                self._middlewares[name] += (middleware,)
                self.chains[name] = Chain(self._middlewares[name])
