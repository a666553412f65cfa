"""One registered handler, and what is checked of it where it is registered.

The rule: a route is decided once. What is wrong with it is said at the line that registers it,
with a RouteError, and whether its handler runs on the reactor or on a worker is stored as `run`,
so that nobody asks again per request.

Chapter: docs/requests-and-responses.md.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NoReturn, Protocol, TypeVar

from ..config import FRAMINGS
from ..errors import HTTPError, RouteError
from ..signatures import is_async, misfit
from ..statuses import METHODS
from .paths import Parameters

Handler = Callable[[Any], Any]
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Asker(Protocol):
    """Who waits for an answer: the connection that a request came by.

    may_refuse: it can tell its client that no worker is free; else the request waits for one.
    """

    may_refuse: ClassVar[bool]

    def respond(self, answer: Any) -> object:
        """Reactor thread: take it."""


def run_on_reactor(
    submit: Callable[..., None],
    handle: Callable[[Any], Any],
    request: Any,
    asker: Asker,
) -> None:
    """Run the handler here and now: for routes whose author promised that it never blocks."""
    try:
        answer = handle(request)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # As a worker does.
        answer = error
    asker.respond(answer)


def run_on_workers(
    submit: Callable[..., None],
    handle: Callable[[Any], Any],
    request: Any,
    asker: Asker,
) -> None:
    """Have a worker run the handler; `respond` is called back on the reactor thread."""
    submit(handle, request, asker.respond, asker.may_refuse)


class Verbs:
    """One method for each of HTTP's, of whatever registers handlers: a router, a server."""

    def _register(
        self, path: str, method: str, options: dict[str, Any]
    ) -> Callable[[Decorated], Decorated]:
        raise NotImplementedError

    def get(self, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register a handler for GET; the options are those of `Router.register`."""
        return self._register(path, "GET", options)

    def post(self, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register a handler for POST; the options are those of `Router.register`."""
        return self._register(path, "POST", options)

    def put(self, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register a handler for PUT; the options are those of `Router.register`."""
        return self._register(path, "PUT", options)

    def delete(self, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register a handler for DELETE; the options are those of `Router.register`."""
        return self._register(path, "DELETE", options)

    def patch(self, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register a handler for PATCH; the options are those of `Router.register`."""
        return self._register(path, "PATCH", options)

    def head(self, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register a handler for HEAD; the options are those of `Router.register`."""
        return self._register(path, "HEAD", options)

    def options(self, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register a handler for OPTIONS; the options are those of `Router.register`."""
        return self._register(path, "OPTIONS", options)


class Registry(Verbs):
    """What the default registry is: a `Router`."""

    def register(self, *args: Any, **options: Any) -> Callable[[Decorated], Decorated]:
        """Return a decorator that registers a handler; see `Router.register`."""
        raise NotImplementedError

    def _register(
        self, path: str, method: str, options: dict[str, Any]
    ) -> Callable[[Decorated], Decorated]:
        return self.register(path, method, **options)


class Route:
    """One registered handler. `Route.register` adds to the default registry (R5).

    path: as registered, with the prefix. methods: upper case; () on TCP. blocking: False is
    the author's promise that the handler never blocks. stream: the handler reads the body
    as it arrives, from `request.stream`. max_body: bytes, None for the server's setting.
    framing: how the TCP stream is cut once this command is answered, None: as before. answers:
    False is the author's word that who sends this TCP command reads nothing.
    """

    __slots__ = (
        "path",
        "methods",
        "protocol",
        "handler",
        "blocking",
        "stream",
        "max_body",
        "framing",
        "answers",
        "name",
        "parameters",
        "run",
    )

    default: ClassVar[Registry]

    def __init__(
        self,
        path: str,
        handler: Handler,
        methods: tuple[str, ...] = ("GET",),
        *,
        protocol: str = "http",
        blocking: bool = True,
        stream: bool = False,
        max_body: int | None = None,
        name: str | None = None,
        framing: Any = None,
        answers: bool = True,
    ) -> None:
        self.path = path
        self.methods = methods
        self.protocol = protocol
        self.handler = handler
        self.blocking = blocking
        self.stream = stream
        self.max_body = max_body
        self.framing = framing
        self.answers = answers
        self.name = name or getattr(handler, "__name__", "handler")
        self.parameters: Parameters = ()  # Set by its router.
        self.run = run_on_workers if blocking else run_on_reactor

    def under(self, path: str) -> Route:
        """Return a copy of it for another path."""
        copy = object.__new__(Route)
        for name in Route.__slots__:
            setattr(copy, name, getattr(self, name))
        copy.path = path
        return copy

    @classmethod
    def register(
        cls,
        path: str,
        method: str | Iterable[str] = "GET",
        protocol: str = "http",
        blocking: bool = True,
        *,
        stream: bool = False,
        max_body: int | None = None,
        framing: Any = None,
        answers: bool = True,
        name: str | None = None,
        **unknown: NoReturn,
    ) -> Callable[[Decorated], Decorated]:
        """Register a handler with the default registry; see `Router.register`."""
        return cls.default.register(
            path,
            method,
            protocol,
            blocking,
            stream=stream,
            max_body=max_body,
            framing=framing,
            answers=answers,
            name=name,
            **unknown,
        )

    @classmethod
    def get(cls, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register a handler for GET with the default registry; see `Router.register`."""
        return cls.default.get(path, **options)

    @classmethod
    def post(cls, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register a handler for POST with the default registry; see `Router.register`."""
        return cls.default.post(path, **options)

    @classmethod
    def put(cls, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register a handler for PUT with the default registry; see `Router.register`."""
        return cls.default.put(path, **options)

    @classmethod
    def delete(cls, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register a handler for DELETE with the default registry; see `Router.register`."""
        return cls.default.delete(path, **options)

    @classmethod
    def patch(cls, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register a handler for PATCH with the default registry; see `Router.register`."""
        return cls.default.patch(path, **options)

    @classmethod
    def head(cls, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register a handler for HEAD with the default registry; see `Router.register`."""
        return cls.default.head(path, **options)

    @classmethod
    def options(cls, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register a handler for OPTIONS with the default registry; see `Router.register`."""
        return cls.default.options(path, **options)

    @property
    def place(self) -> str:
        """Where the handler was written: "file:line"."""
        import inspect  # Takes longer than some programs; asked for in warnings only.

        handler = inspect.unwrap(self.handler)
        code = getattr(handler, "__code__", None)
        if code is None:
            return repr(self.handler)
        return f"{code.co_filename}:{code.co_firstlineno}"

    def __repr__(self) -> str:
        methods = ",".join(self.methods) or "TCP"
        return f"<Route {methods} {self.path} -> {self.name}>"


def checked_methods(method: str | Iterable[str]) -> tuple[str, ...]:
    given = [method] if isinstance(method, str) else list(method)
    methods = []
    for item in given:
        upper = item.upper() if isinstance(item, str) else item
        if upper not in METHODS:
            raise RouteError(f"method {item!r} is none of {', '.join(METHODS)}")
        methods.append(upper)
    if not methods:
        raise RouteError(f"a route needs a method: one of {', '.join(METHODS)}")
    return tuple(dict.fromkeys(methods))


def check_handler(handler: Any, path: str) -> None:
    if not callable(handler):
        raise RouteError(f"the handler of {path!r} is {handler!r}, which cannot be called")
    function = handler
    while isinstance(function, functools.partial):
        function = function.func
    if is_async(function):
        raise RouteError(
            f"the handler of {path!r} is async: write a plain def, it runs on a worker thread"
        )
    if isinstance(handler, type):
        raise RouteError(
            f"the handler of {path!r} is the class {handler.__name__}: register a function, or an "
            f"object that can be called: {handler.__name__}()"
        )
    written = misfit(handler, 1)
    if written is not None:
        name = getattr(function, "__name__", "handler")
        hint = "" if written.endswith("()") else "; path parameters are in request.path_params"
        raise RouteError(
            f"the handler of {path!r} is {written}, and is called with the request alone: "
            f"def {name}(request){hint}"
        )


def check_framing(framing: Any, path: str, protocol: str) -> None:
    if protocol != "tcp":
        raise RouteError(f"{path!r}: framing= is for TCP commands, protocol='tcp'")
    if not callable(framing) and framing not in FRAMINGS:
        raise RouteError(
            f"{path!r}: framing {framing!r} is none of {', '.join(FRAMINGS)}, and no callable "
            "that makes a framer"
        )


def _refuse_unknown(request: Any) -> Any:
    raise HTTPError(404)


NOT_FOUND = Route("", _refuse_unknown, METHODS, name="not found")


def not_allowed_route(allow: str) -> Route:
    def refuse(request: Any) -> Any:
        raise HTTPError(405, headers={"Allow": allow})

    return Route("", refuse, METHODS, name="method not allowed")


def options_route(allow: str) -> Route:
    def options(request: Any) -> Any:
        return None, 204, {"Allow": allow}

    return Route("", options, METHODS, name="options")


def refusal_route(error: HTTPError) -> Route:
    """Return a route whose handler raises `error`, so that a refusal passes the middlewares."""

    def refuse(request: Any) -> Any:
        # Not the one object each time: it would keep the traceback of every time it was raised,
        # and with it every request that was refused.
        raise HTTPError(error.status, error.message, error.headers)

    return Route("", refuse, name="refusal")
