"""Which handler answers: paths and commands to routes.

`Router` is a tree of path segments. At each level a literal segment beats a parameter, and a
parameter beats a wildcard, whatever the order of registration (R3). A route that is all
literals is found by one look-up in a dict.

Chapter: docs/requests-and-responses.md.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote

from ..config import PROTOCOLS
from ..errors import RouteError
from ..log import framework as log
from ..otherwords import SERVER, check_registration, missing
from .paths import CONVERTERS, LITERAL, TAILS, Segment, bound, build_url, parameters_of, parse
from .route import (
    NOT_FOUND,
    Decorated,
    Registry,
    Route,
    check_framing,
    check_handler,
    checked_methods,
    not_allowed_route,
    options_route,
)


class _Node:
    """One segment's place in the tree."""

    __slots__ = ("literals", "parameters", "routes", "tails")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.parameters: dict[str, _Node] = {}  # By converter, kept in the order of CONVERTERS.
        self.routes: dict[str, Route] = {}  # By method: the path ends here.
        self.tails: dict[str, dict[str, Route]] = {}  # "path" and "*": the rest, by method.


class Router(Registry):
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
        methods = checked_methods(method)
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
            check_framing(framing, path, protocol)
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

        shared: dict[str, Any] = {"blocking": blocking, "name": name}

        def decorate(handler: Decorated) -> Decorated:
            check_handler(handler, path)
            both = protocol == "both"
            # Both are made before either is added: a mistake leaves nothing half registered.
            if protocol != "http":
                word = path.lstrip("/") if both else path
                _check_command(word)
                command = Route(
                    word, handler, (), protocol="tcp", framing=framing, answers=answers, **shared
                )
            if protocol != "tcp":
                full = self.prefix + (path if path.startswith("/") else "/" + path)
                route = Route(full, handler, methods, stream=stream, max_body=max_body, **shared)
                replaced = self._add_http(route)
                if both:
                    replaced += self._add_tcp(command, both)
            else:
                route, replaced = command, self._add_tcp(command)
            _warn_of_second(route, replaced)
            return handler

        return decorate

    if not TYPE_CHECKING:  # Who checks types knows what there is.

        def __getattr__(self, name):
            """Reached only for what a router does not have: say our word for it."""
            raise missing(self, name, SERVER)

    def _add_http(self, route: Route) -> list[tuple[str, Route]]:
        """Add a route; return what it replaces, as (method, route)."""
        segments = parse(route.path)
        route.parameters = parameters_of(segments)
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

    def _table(self, segments: list[Segment]) -> dict[str, Route]:
        """Return the by-method table at the end of these segments, made if need be."""
        node = self._root
        stem: str | None = ""
        for kind, text in segments:
            if kind == LITERAL:
                node = node.literals.setdefault(text, _Node())
                # A slash or a percent sign in a literal comes in a request as an escape.
                stem = None if stem is None or "/" in text or "%" in text else f"{stem}/{text}"
            elif kind in TAILS:
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
                copy = route.under(route.path)
                replaced = self._add_tcp(copy, router._commands.get("/" + route.path) is route)
            else:
                copy = route.under(self.prefix + prefix + route.path)
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
                return build_url(route.path, parameters, repr(route))
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
                    return route, bound(route.parameters, (last,))
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
            make = options_route if method == "OPTIONS" else not_allowed_route
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
        return route, bound(route.parameters, values)
    allowed.update(table)
    return None


def _check_command(command: str) -> None:
    if not command or re.search(r"[\s{}]", command):
        raise RouteError(
            f"the TCP command {command!r} must be one word; parameters come in its data"
        )


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


Route.default = Router()
