"""Which handler answers: paths and commands to routes.

The rule: a route is decided at registration, once. What is wrong with it is said there, with
a RouteError, and whether its handler runs on the reactor or on a worker is stored as `run`,
so that nobody asks again per request.

`Router` is a tree of path segments. At each level a literal segment beats a parameter, and a
parameter beats a wildcard, whatever the order of registration (R3). A route that is all
literals is found by one look-up in a dict.

Chapter: docs/requests-and-responses.md.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol, TypeVar
from urllib.parse import quote, unquote, urlencode

from ..config import FRAMINGS
from ..errors import HTTPError, RouteError
from ..log import framework as log
from ..otherwords import SERVER, check_registration, missing
from ..signatures import misfit

Handler = Callable[[Any], Any]
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
PROTOCOLS = ("http", "tcp", "both")


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


class _Converter:
    """A kind of path parameter: what it matches, what it becomes, how it is written."""

    def __init__(self, matches: Callable[[str], Any], to_python: Callable[[str], Any]) -> None:
        self.matches = matches
        self.to_python = to_python


# In the order in which they are tried: the narrower first.
CONVERTERS = {
    "int": _Converter(re.compile(r"[0-9]{1,100}").fullmatch, int),
    "float": _Converter(re.compile(r"[0-9]{1,100}(?:\.[0-9]{1,100})?").fullmatch, float),
    "str": _Converter(bool, str),  # Anything but the empty segment.
}
# CO_COROUTINE and CO_ASYNC_GENERATOR, the marks of an `async def`. Module `inspect` has them, and
# brings in the compiler's tables: a tenth of what `import pyliteflux` takes.
_ASYNC = 0x80 | 0x200
_TEXT = frozenset({"str", "path", "*"})  # What stays the text that it is.
_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::([a-z]+))?\}").fullmatch


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

    default: ClassVar[Router]

    def __init__(
        self,
        path: str,
        handler: Handler,
        methods: tuple[str, ...] = ("GET",),
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
        self.parameters: tuple[tuple[str, str], ...] = ()  # (name, converter), in path order.
        self.run = run_on_workers if blocking else run_on_reactor

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
        import inspect  # Not above, as `_ASYNC` says; asked for in warnings only.

        handler = inspect.unwrap(self.handler)
        code = getattr(handler, "__code__", None)
        if code is None:
            return repr(self.handler)
        return f"{code.co_filename}:{code.co_firstlineno}"

    def __repr__(self) -> str:
        methods = ",".join(self.methods) or "TCP"
        return f"<Route {methods} {self.path} -> {self.name}>"


class _Node:
    """One segment's place in the tree."""

    __slots__ = ("literals", "parameters", "routes", "tails")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.parameters: dict[str, _Node] = {}  # By converter, kept in the order of CONVERTERS.
        self.routes: dict[str, Route] = {}  # By method: the path ends here.
        self.tails: dict[str, dict[str, Route]] = {}  # "path" and "*": the rest, by method.


class Router:
    """A set of routes. Register from any thread, before or while servers run with it.

    prefix: put before every HTTP path that is registered with this router.
    """

    def __init__(self, prefix: str = "") -> None:
        if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
            raise RouteError(f"prefix {prefix!r} must begin with '/' and not end with it")
        self.prefix = prefix
        self._lock = threading.Lock()  # For registration: look-ups see a whole entry or none.
        self._root = _Node()
        self._exact: dict[str, dict[str, Route]] = {}  # Paths without parameters.
        self._stems: dict[str, _Node] = {}  # Paths of literals only, with a parameter after them.
        self._commands: dict[str, Route] = {}
        self._all: list[Route] = []
        self._refusals: dict[tuple[str, ...], Route] = {}
        self._options: dict[tuple[str, ...], Route] = {}

    # --- registration

    def register(
        self,
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
        """Return a decorator that registers a handler and leaves it unchanged.

        path: "/user/{id}", "/user/{id:int}", "/files/*" or "/files/{rest:path}"; for TCP one
        word, or "*" for every message whose command has no route of its own, or that has none.
        method: one of METHODS or several, any letter case. protocol: "http", "tcp" or "both";
        with "both" the command is the path without its slash, or with it. framing: what the
        setting tcp_framing takes; once the command is answered without an error, what follows
        on its connection is cut in this way. answers: False sends not a byte, whatever the
        handler returns or raises; errors are logged.
        Raises RouteError that says what is wrong.
        """
        check_registration(unknown)
        methods = _checked_methods(method)
        if protocol not in PROTOCOLS:
            raise RouteError(f"protocol {protocol!r} is none of {', '.join(PROTOCOLS)}")
        if not isinstance(path, str) or not path:
            raise RouteError(f"a route's path must be a non-empty str, not {path!r}")
        if protocol == "http" and not path.startswith("/"):
            raise RouteError(
                f"the HTTP path {path!r} does not begin with '/': did you mean protocol='tcp'?"
            )
        if protocol == "tcp" and path.startswith("/"):
            raise RouteError(
                f"the TCP command {path!r} begins with '/', which no client will type: "
                f"write {path.lstrip('/') or 'a word'!r}, or protocol='both' for a path, too"
            )
        if framing is not None:
            _check_framing(framing, path, protocol)
        if not answers and protocol != "tcp":
            raise RouteError(
                f"{path!r}: answers=False is for TCP commands, protocol='tcp': "
                "an HTTP request always has an answer"
            )
        if stream and not blocking:
            raise RouteError(
                f"{path!r}: stream=True needs blocking=True: on the reactor thread the handler "
                "would wait for bytes that only that thread can receive"
            )

        def decorate(handler: Decorated) -> Decorated:
            _check_handler(handler, path)
            both = protocol == "both"
            # Both are made before either is added: a mistake leaves nothing half registered.
            if protocol != "http":
                word = path.lstrip("/") if both else path
                command = _tcp_route(word, handler, blocking, name, framing, answers)
            if protocol != "tcp":
                full = self.prefix + (path if path.startswith("/") else "/" + path)
                route = Route(full, handler, methods, "http", blocking, stream, max_body, name)
                replaced = self._add_http(route)
                if both:
                    replaced += self._add_tcp(command, both)
            else:
                route, replaced = command, self._add_tcp(command)
            _warn_of_second(route, replaced)
            return handler

        return decorate

    def get(self, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register for GET; the options are those of `register`."""
        return self.register(path, "GET", **options)

    def post(self, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register for POST; the options are those of `register`."""
        return self.register(path, "POST", **options)

    def put(self, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register for PUT; the options are those of `register`."""
        return self.register(path, "PUT", **options)

    def delete(self, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register for DELETE; the options are those of `register`."""
        return self.register(path, "DELETE", **options)

    def patch(self, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register for PATCH; the options are those of `register`."""
        return self.register(path, "PATCH", **options)

    def head(self, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register for HEAD; the options are those of `register`."""
        return self.register(path, "HEAD", **options)

    def options(self, path: str, **options: Any) -> Callable[[Decorated], Decorated]:
        """Register for OPTIONS; the options are those of `register`."""
        return self.register(path, "OPTIONS", **options)

    if not TYPE_CHECKING:  # Who checks types knows what there is.

        def __getattr__(self, name):
            """Reached only for what a router does not have: say our word for it."""
            raise missing(self, name, SERVER)

    def _add_http(self, route: Route) -> list[tuple[str, Route]]:
        """Add a route; return what it replaces, as (method, route)."""
        segments = _parse(route)
        with self._lock:
            table = self._table(segments)
            replaced = [(method, table[method]) for method in route.methods if method in table]
            table.update(dict.fromkeys(route.methods, route))
            self._forget(replaced, table)
            self._all.append(route)
            if not route.parameters:
                self._exact[route.path] = table
        return replaced

    def _forget(self, replaced: list[tuple[str, Route]], table: dict[str, Route]) -> None:
        """Take routes that nothing in their table leads to any more off the list."""
        live = set(table.values())
        self._all = [r for r in self._all if r in live or all(r is not old for _, old in replaced)]

    def _table(self, segments: list[tuple[str, str]]) -> dict[str, Route]:
        """Return the by-method table at the end of these segments, made if need be."""
        node = self._root
        stem: str | None = ""
        for kind, text in segments:
            if kind == "literal":
                node = node.literals.setdefault(text, _Node())
                # A slash or a percent sign in a literal comes in a request as an escape.
                stem = None if stem is None or "/" in text or "%" in text else f"{stem}/{text}"
            elif kind in ("path", "*"):
                return node.tails.setdefault(kind, {})
            else:
                if kind not in node.parameters:
                    parameters = {**node.parameters, kind: _Node()}
                    node.parameters = {c: parameters[c] for c in CONVERTERS if c in parameters}
                if stem is not None:
                    self._stems[stem] = node
                stem = None
                node = node.parameters[kind]
        return node.routes

    def _add_tcp(self, route: Route, both: bool = False) -> list[tuple[str, Route]]:
        """Add a command, with both=True also under its path; return what it replaces."""
        commands = (route.path, "/" + route.path) if both else (route.path,)
        with self._lock:
            old = {self._commands[name] for name in commands if name in self._commands}
            replaced = [("TCP", route) for route in old]
            self._commands.update(dict.fromkeys(commands, route))
            self._forget(replaced, self._commands)
            self._all.append(route)
        return replaced

    def include(self, router: Router, prefix: str = "") -> None:
        """Register all routes of another router here, HTTP paths under `prefix`."""
        Router(prefix)  # Checks the prefix.
        for route in router.routes():
            if route.protocol == "tcp":
                both = router._commands.get("/" + route.path) is route
                copy = _tcp_route(
                    route.path,
                    route.handler,
                    route.blocking,
                    route.name,
                    route.framing,
                    route.answers,
                )
                replaced = self._add_tcp(copy, both)
            else:
                copy = Route(
                    self.prefix + prefix + route.path,
                    route.handler,
                    route.methods,
                    "http",
                    route.blocking,
                    route.stream,
                    route.max_body,
                    route.name,
                )
                replaced = self._add_http(copy)
            _warn_of_second(copy, replaced)

    def routes(self) -> list[Route]:
        """Return every registered route, in the order of registration. Any thread."""
        with self._lock:
            return list(self._all)

    def url_for(self, name: str, /, **parameters: Any) -> str:
        """Return the path of the route of that name; what is no parameter becomes the query.

        The name is the `name` given at registration, else the handler's. Raises RouteError
        where there is none, or where a parameter is missing or does not fit.
        """
        for route in reversed(self.routes()):
            if route.name == name and route.protocol == "http":
                return _build_url(route, parameters)
        raise RouteError(f"there is no HTTP route named {name!r}")

    # --- look-up, on the reactor thread

    def resolve(self, method: str, path: str) -> tuple[Route, dict[str, Any]]:
        """Return the route for a method and a still percent-encoded path, and its parameters.

        Always returns one: where there is none, it is a route that answers 404 or 405.
        """
        table = self._exact.get(path)
        if table is not None:
            route = table.get(method)
            if route is not None:
                return route, {}
        return self._search(method, path)

    def resolve_command(self, command: str) -> Route | None:
        """Return the route of a TCP command, or None; of ``*`` the one that takes all others."""
        return self._commands.get(command)

    def _search(self, method: str, path: str) -> tuple[Route, dict[str, Any]]:
        stem, _, last = path.rpartition("/")
        node = self._stems.get(stem)
        if node is not None and last not in node.literals and "%" not in last and method != "HEAD":
            # The most common tree, one parameter at the end: what would be found first anyway.
            for kind, child in node.parameters.items():
                route = child.routes.get(method)
                if route is not None and CONVERTERS[kind].matches(last):
                    return _bound(route, (last,))
        segments = path.split("/")[1:]
        if "%" in path:
            # Cut first, decode then: an encoded slash is part of its segment.
            segments = [unquote(segment) for segment in segments]
        allowed: set[str] = set()
        found = _find(self._root, segments, 0, (), method, allowed)
        if found is not None:
            return found
        if not allowed:
            return NOT_FOUND, {}
        if "GET" in allowed:
            allowed.add("HEAD")
        allowed.add("OPTIONS")
        key = tuple(sorted(allowed))
        cache = self._options if method == "OPTIONS" else self._refusals
        known = cache.get(key)
        if known is None:
            make = _options_route if method == "OPTIONS" else _not_allowed_route
            known = cache[key] = make(", ".join(key))
        return known, {}


def _find(
    node: _Node,
    segments: list[str],
    at: int,
    values: tuple[str, ...],
    method: str,
    allowed: set[str],
) -> tuple[Route, dict[str, Any]] | None:
    """Return the most specific match below a node, or None; add to `allowed` what others take."""
    if at == len(segments):
        return _pick(node.routes, values, method, allowed)
    segment = segments[at]
    child = node.literals.get(segment)
    if child is not None:
        found = _find(child, segments, at + 1, values, method, allowed)
        if found is not None:
            return found
    for name, child in node.parameters.items():
        if CONVERTERS[name].matches(segment):
            found = _find(child, segments, at + 1, (*values, segment), method, allowed)
            if found is not None:
                return found
    found = None
    if node.tails:
        rest = "/".join(segments[at:])
        if rest and "path" in node.tails:
            found = _pick(node.tails["path"], (*values, rest), method, allowed)
        if found is None and "*" in node.tails:
            found = _pick(node.tails["*"], (*values, rest), method, allowed)
    return found


def _pick(
    table: dict[str, Route], values: tuple[str, ...], method: str, allowed: set[str]
) -> tuple[Route, dict[str, Any]] | None:
    """Return the route of a table for a method, or None; then add to `allowed` what it takes."""
    route = table.get(method)
    if route is None and method == "HEAD":
        route = table.get("GET")  # RFC 9110 section 9.3.2: GET without the content.
    if route is not None:
        return _bound(route, values)
    allowed.update(table)
    return None


def _bound(route: Route, values: tuple[str, ...]) -> tuple[Route, dict[str, Any]]:
    """Return the route with its parameters named and converted."""
    params: dict[str, Any] = {}
    for (name, kind), value in zip(route.parameters, values, strict=True):
        params[name] = value if kind in _TEXT else CONVERTERS[kind].to_python(value)
    return route, params


def _parse(route: Route) -> list[tuple[str, str]]:
    """Return a path's segments as (kind, text), and note its parameters on the route."""
    parsed: list[tuple[str, str]] = []
    parameters: list[tuple[str, str]] = []
    parts = route.path.split("/")[1:]
    for index, part in enumerate(parts):
        is_last = index == len(parts) - 1
        if part == "*":
            parsed.append(("*", "*"))
            parameters.append(("*", "*"))
        elif "{" in part or "}" in part:
            match = _PARAMETER(part)
            kind = (match.group(2) or "str") if match else ""
            if match is None or kind not in ("path", *CONVERTERS):
                raise RouteError(
                    f"{part!r} in {route.path!r} is no parameter: write {{name}}, "
                    f"{{name:int}}, {{name:float}} or {{name:path}} as a whole segment"
                )
            parsed.append((kind, match.group(1)))
            parameters.append((match.group(1), kind))
        else:
            _check_literal(part, route.path)
            parsed.append(("literal", unquote(part)))
        if parsed[-1][0] in ("*", "path") and not is_last:
            raise RouteError(f"{part!r} in {route.path!r} takes the rest: it must come last")
    names = [name for name, _ in parameters]
    if len(set(names)) < len(names):
        raise RouteError(f"{route.path!r} names a parameter twice")
    route.parameters = tuple(parameters)
    return parsed


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


def _checked_methods(method: str | Iterable[str]) -> tuple[str, ...]:
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


def _check_handler(handler: Any, path: str) -> None:
    if not callable(handler):
        raise RouteError(f"the handler of {path!r} is {handler!r}, which cannot be called")
    function = handler
    while isinstance(function, functools.partial):
        function = function.func
    call = getattr(function, "__call__", None)  # noqa: B004 - an object may have an async one
    if _is_async(function) or _is_async(call):
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


def _is_async(function: Any) -> bool:
    if hasattr(function, "_is_coroutine_marker"):  # Python 3.12: `inspect.markcoroutinefunction`.
        return True
    return bool(getattr(getattr(function, "__code__", None), "co_flags", 0) & _ASYNC)


def _check_framing(framing: Any, path: str, protocol: str) -> None:
    if protocol != "tcp":
        raise RouteError(f"{path!r}: framing= is for TCP commands, protocol='tcp'")
    if not callable(framing) and framing not in FRAMINGS:
        raise RouteError(
            f"{path!r}: framing {framing!r} is none of {', '.join(FRAMINGS)}, and no callable "
            "that makes a framer"
        )


def _tcp_route(
    command: str,
    handler: Handler,
    blocking: bool,
    name: str | None,
    framing: Any = None,
    answers: bool = True,
) -> Route:
    if not command or re.search(r"[\s{}]", command):
        raise RouteError(
            f"the TCP command {command!r} must be one word; parameters come in its data"
        )
    return Route(command, handler, (), "tcp", blocking, name=name, framing=framing, answers=answers)


def _warn_of_second(second: Route, replaced: list[tuple[str, Route]]) -> None:
    """Say in one line what a registration has replaced, if it has (R4)."""
    if replaced:
        log.warning(
            "%s %s is registered twice: %s replaces %s",
            ", ".join(method for method, _ in replaced),
            second.path,
            second.place,
            " and ".join(dict.fromkeys(first.place for _, first in replaced)),
        )


def _build_url(route: Route, parameters: dict[str, Any]) -> str:
    from_path = dict(parameters)
    parts = []
    for kind, text in _parse(Route(route.path, route.handler)):
        if kind == "literal":
            parts.append(quote(text, safe="~!$&'()*+,;=:@"))
            continue
        if text not in from_path:
            raise RouteError(f"{route!r} needs the parameter {text!r}")
        value = str(from_path.pop(text))
        if kind in CONVERTERS and not CONVERTERS[kind].matches(value):
            raise RouteError(f"{value!r} does not fit {{{text}:{kind}}} of {route.path!r}")
        parts.append(quote(value, safe="/" if kind in ("*", "path") else ""))
    path = "/" + "/".join(parts)
    return f"{path}?{urlencode(from_path, doseq=True)}" if from_path else path


def _refuse_unknown(request: Any) -> Any:
    raise HTTPError(404)


NOT_FOUND = Route("", _refuse_unknown, METHODS, name="not found")


def _not_allowed_route(allow: str) -> Route:
    def refuse(request: Any) -> Any:
        raise HTTPError(405, headers={"Allow": allow})

    return Route("", refuse, METHODS, name="method not allowed")


def _options_route(allow: str) -> Route:
    def options(request: Any) -> Any:
        return None, 204, {"Allow": allow}

    return Route("", options, METHODS, name="options")


Route.default = Router()
