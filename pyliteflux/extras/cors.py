"""Cross-origin requests: which other web sites' scripts may read the answers (CORS).

The rule: the server only ever says what a browser may let a script do; it refuses nothing
itself but a preflight. Who is not a browser is not stopped by any of this: it is no
authentication. The protocol is in the Fetch standard, section 3.2.

Chapter: docs/middleware.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..app.middleware import Middleware
from ..app.request import HTTPRequest
from ..app.response import HTTPResponse
from ..app.values import fields_of
from ..errors import HTTPError
from ..headers import is_token

# scheme "://" host [":" port], and nothing after it. A host beyond ASCII is sent as xn--.
_ORIGIN = re.compile(
    r"([a-z][a-z0-9+.\-]*)://(\*\.)?([a-z0-9_\-]+(?:\.[a-z0-9_\-]+)*\.?|\[[0-9a-f:.]+\])"
    r"(?::([1-9][0-9]{0,4}))?"
).fullmatch
_ARE_LABELS = re.compile(r"[a-z0-9_\-]+(?:\.[a-z0-9_\-]+)*").fullmatch
_DEFAULT_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}


class CORSMiddleware(Middleware):
    """Let scripts of other origins use this server. Add it before what asks for credentials.

    allow_origins: like "https://app.example", or "*" for all. "https://*.app.example" is every
    host below app.example, at any depth, not app.example itself: whoever can put a page on one
    of them is trusted. There are no other patterns.
    allow_methods, allow_headers: what a preflight grants, "*" for whatever it asks for.
    allow_credentials: cookies and Authorization too; origins must then be named, as "*"
    would lend every site its visitors' logins. expose_headers: fields of the answer that
    scripts may read. max_age: seconds for which the browser need not ask again.
    allow_private_network: pages of the public internet may reach this server in a private
    network, where the browser asks for that (Access-Control-Request-Private-Network).

    A preflight is answered here, whatever the routes say: 204, or 403 for another origin.
    Raises ValueError for an origin that no browser sends, as it would never match. On TCP it
    does nothing.
    """

    def __init__(
        self,
        allow_origins: str | Iterable[str] = (),
        allow_methods: str | Iterable[str] = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
        allow_headers: str | Iterable[str] = (),
        allow_credentials: bool = False,
        expose_headers: str | Iterable[str] = (),
        max_age: int = 600,
        allow_private_network: bool = False,
    ) -> None:
        origins = _listed(allow_origins)
        self._any_origin = "*" in origins
        if self._any_origin and allow_credentials:
            raise ValueError('allow_credentials needs the origins by name: "*" would trust all')
        self._origins: set[str] = set()
        self._below: list[tuple[str, str]] = []  # Of each pattern: what is before and after "*".
        for origin in origins:
            if origin not in ("*", "null"):
                origin = origin.lower()
                if _check_origin(origin):
                    before, _, after = origin.partition("*")
                    self._below.append((before, after))
                    continue
            self._origins.add(origin)
        methods = _listed(allow_methods)
        self._methods = None if "*" in methods else ", ".join(method.upper() for method in methods)
        names = _listed(allow_headers)
        self._headers = None if "*" in names else ", ".join(names)
        self._credentials = allow_credentials
        self._expose = ", ".join(_listed(expose_headers))
        self._max_age = str(int(max_age))
        self._private_network = allow_private_network

    def process_request(self, request: HTTPRequest) -> Any:
        """Answer a preflight, before any route is asked."""
        if not _is_preflight(request):
            return None
        origin = request.headers.get("origin") or ""
        if not self._allows(origin):
            raise HTTPError(403, f"CORS: the origin {origin[:200]} is not allowed")
        headers = {"Access-Control-Max-Age": self._max_age}
        # Asked for by name and granted by name: with credentials a browser takes "*" for a
        # method or a field of that name.
        for grant, name, asked in (
            (self._methods, "Access-Control-Allow-Methods", "access-control-request-method"),
            (self._headers, "Access-Control-Allow-Headers", "access-control-request-headers"),
        ):
            granted = _tokens(request.headers.get(asked)) if grant is None else grant
            if granted:
                headers[name] = granted
        private = request.headers.get("access-control-request-private-network")
        if self._private_network and private == "true":
            headers["Access-Control-Allow-Private-Network"] = "true"
        return HTTPResponse(b"", 204, headers)

    def process_response(self, request: HTTPRequest, response: Any) -> Any:
        """Add what lets the script of this origin read the answer; also to errors."""
        if request.protocol != "http":
            return response
        fields = fields_of(request, response)
        if not self._any_origin:
            fields.add_vary("Origin")  # Also where there is none: caches must not mix them up.
        origin = request.headers.get("origin") or ""
        # "*" is for everybody, so it is always said: a cache may keep the answer to a request
        # without Origin, an <img> say, and give it to a script (Fetch standard, "CORS protocol
        # and HTTP caches").
        if not self._any_origin and not self._allows(origin):
            return response
        fields["Access-Control-Allow-Origin"] = "*" if self._any_origin else origin
        if self._credentials:
            fields["Access-Control-Allow-Credentials"] = "true"
        if self._expose and not _is_preflight(request):
            fields["Access-Control-Expose-Headers"] = self._expose
        return response

    def _allows(self, origin: str) -> bool:
        return self._any_origin or origin.lower() in self._origins or self._is_below(origin.lower())

    def _is_below(self, origin: str) -> bool:
        return any(
            origin.startswith(before)
            and origin.endswith(after)
            and _ARE_LABELS(origin[len(before) : -len(after)]) is not None
            for before, after in self._below
        )


def _check_origin(origin: str) -> bool:
    """Tell whether an origin is a pattern. Raises ValueError where no browser could match it."""
    match = _ORIGIN(origin)
    if match is None:
        raise ValueError(
            f"{origin!r} is no origin: write scheme://host or scheme://host:port, in ASCII "
            f"(IDNA as xn--), without a path or a slash at the end; the only patterns are '*' "
            f"alone and scheme://*.host"
        )
    scheme, star, host, port = match.groups()
    if port is not None and int(port) > 65535:
        raise ValueError(f"{origin!r} never matches: there is no port {port}")
    if port is not None and port == _DEFAULT_PORTS.get(scheme):
        right = origin[: -len(port) - 1]
        raise ValueError(f"{origin!r} never matches: browsers leave this port out, write {right!r}")
    if star and ("." not in host.rstrip(".") and host != "localhost"):
        raise ValueError(f"{origin!r} would be all of a top-level domain")
    if host.startswith("["):
        from ipaddress import IPv6Address  # Not above, as few name such a host.

        if star or f"[{IPv6Address(host[1:-1])}]" != host:
            raise ValueError(
                f"{origin!r} never matches: browsers write an IPv6 address in its shortest form"
            )
    return star is not None


def _is_preflight(request: HTTPRequest) -> bool:
    return (
        request.method == "OPTIONS"
        and "origin" in request.headers
        and "access-control-request-method" in request.headers
    )


def _listed(value: str | Iterable[str]) -> list[str]:
    """ "a, b" and ["a", "b"] are the same."""
    items = value.split(",") if isinstance(value, str) else value
    return [item.strip() for item in items if item.strip()]


def _tokens(field: str | None) -> str:
    """Return the names of a list that are names; the field is the client's and goes back."""
    names = (name.strip(" \t") for name in (field or "").split(","))
    return ", ".join(name for name in names if is_token(name))
