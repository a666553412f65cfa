"""`g`: a namespace that is each request's own, without handing it from call to call.

The rule: every request runs in a `contextvars.Context` made for it, and whoever runs a piece
of it (the handler, a step of its stream, `on_finish`) runs that piece inside the same
context. So `g`, and any ContextVar of the user's, is right on every thread, and two requests
can never see each other's.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextvars import ContextVar
from itertools import count
from typing import Any

from .. import log
from ..forking import after_fork

# Unique in this process by the counter, and between processes by the prefix. An id is a name
# for log lines, not a secret.
_prefix = os.urandom(4).hex()
_numbers = count(1)
# The longest id that is taken over, in characters: it goes into each log line of its request.
LONGEST_ID = 200


def new_request_id() -> str:
    """Return an id that no other request has. Any thread."""
    return f"{_prefix}-{next(_numbers)}"


def _renew_prefix() -> None:
    global _prefix
    _prefix = os.urandom(4).hex()


after_fork(_renew_prefix)


class Scope:
    """What `g` belongs to: a request, or a background task. Has an id, a context, a namespace."""

    # Filled when first asked for: most handlers never look.
    _namespace: dict[str, Any] | None = None
    _request_id: str | None = None
    # Kept where more will run in it than the handler. A context holds its scope, so the two are
    # a circle, which only the garbage collector would find: most requests are to be without.
    context: Any = None

    @property
    def json_default(self) -> Callable[[Any], Any] | None:
        """The setting of this name of its server; None where it has none."""
        return None

    @property
    def request_id(self) -> str:
        """The id of this request: in X-Request-ID, in its log lines, in `g.request_id`."""
        return request_id_of(self)

    @request_id.setter
    def request_id(self, value: object) -> None:
        """Take over an id, from a proxy say. It goes into a header field and into log lines.

        What cannot go there as it is, mostly because a client has made it up, changes nothing.
        """
        text = "" if value is None else str(value).strip()
        if 0 < len(text) <= LONGEST_ID and text.isascii() and text.isprintable():
            self._request_id = text

    @property
    def namespace(self) -> dict[str, Any]:
        """What `g` holds."""
        namespace = self._namespace
        if namespace is None:
            namespace = self._namespace = {}
        return namespace


def request_id_of(scope: Scope) -> str:
    """Return the id of a request, made when it is first asked for. (A property costs twice.)"""
    request_id = scope._request_id
    if request_id is None:
        request_id = scope._request_id = f"{_prefix}-{next(_numbers)}"
    return request_id


current_scope: ContextVar[Scope | None] = ContextVar("pyliteflux_scope", default=None)
_outside = threading.local()  # Outside any request g is the thread's own (G4).


# enter(scope) makes it the scope of the running context; it ends with the context.
enter = current_scope.set


def json_default() -> Callable[[Any], Any] | None:
    """Return the setting json_default of the server whose request or task runs here, or None."""
    scope = current_scope.get()
    return None if scope is None else scope.json_default


def _namespace() -> dict[str, Any]:
    scope = current_scope.get()
    return _outside.__dict__ if scope is None else scope.namespace


class _RequestGlobals:
    """The object behind the name `g`. It holds nothing itself."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name == "request_id":
            scope = current_scope.get()
            if scope is not None:
                return scope.request_id
        try:
            return _namespace()[name]
        except KeyError:
            raise AttributeError(f"g.{name} has not been set in this request") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "request_id":
            scope = current_scope.get()
            if scope is not None:
                scope.request_id = value
                return
        _namespace()[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del _namespace()[name]
        except KeyError:
            raise AttributeError(f"g.{name} has not been set in this request") from None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and hasattr(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*_namespace(), "request_id"})

    def __repr__(self) -> str:
        return f"<g {_namespace()!r}>"


g = _RequestGlobals()


def _current_request_id() -> str | None:
    scope = current_scope.get()
    return None if scope is None else scope.request_id


log.request_id_of_this_thread = _current_request_id
