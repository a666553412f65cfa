"""Code around every handler: authentication, logging, resources that must be closed.

The rule is an onion: requests pass the middlewares in the order added, responses in reverse,
and a middleware whose `process_request` was called sees the response, whatever happened in
between, because what it opened it has to close.

Chapter: docs/middleware.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

PROTOCOLS = ("http", "tcp", "both")


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
        """
        return response

    def on_finish(self, request: Any) -> None:
        """The last byte is sent, or the client has left: free what a stream still needed."""


class ContextMiddleware(Middleware):
    """Does nothing any more: every request has its `g`. Kept so that old imports work."""


class Link(NamedTuple):
    """One middleware's place in the chain. A method that it does not have, or inherits from
    `Middleware` where it does nothing, is None and costs nothing per request."""

    process_request: Callable[[Any], Any] | None
    process_response: Callable[[Any, Any], Any] | None
    on_finish: Callable[[Any], Any] | None
    name: str


Chain = tuple[Link, ...]


def _link(middleware: Any) -> Link:
    def find(name: str) -> Callable[..., Any] | None:
        method = getattr(middleware, name, None)
        if getattr(method, "__func__", None) is getattr(Middleware, name):
            return None
        return method if callable(method) else None

    return Link(
        find("process_request"),
        find("process_response"),
        find("on_finish"),
        type(middleware).__name__,
    )


class MiddlewareManager:
    """The middlewares of one server, in order. Any thread may add one; requests under way
    keep the chain they began with."""

    def __init__(self) -> None:
        self._chains: dict[str, Chain] = {"http": (), "tcp": ()}

    def add_middleware(self, middleware: Any, protocol: str = "both") -> None:
        """Append a middleware for "http", "tcp" or "both".

        Raises TypeError for a class where an object is meant, or an object with none of the
        three methods, ValueError for another protocol.
        """
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol {protocol!r} is none of {', '.join(PROTOCOLS)}")
        if isinstance(middleware, type):
            raise TypeError(f"add an object, not the class: {middleware.__name__}()")
        if not any(
            callable(getattr(middleware, name, None))
            for name in ("process_request", "process_response", "on_finish")
        ):
            raise TypeError(f"{middleware!r} has none of a middleware's methods")
        link = _link(middleware)
        for name in self._chains:
            if protocol in (name, "both"):
                self._chains[name] = (*self._chains[name], link)

    def chain(self, protocol: str) -> Chain:
        """Return the middlewares for a protocol, in order."""
        return self._chains[protocol]
