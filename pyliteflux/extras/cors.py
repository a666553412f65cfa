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
from ..app.response import HTTPResponse, fields_of
from ..errors import HTTPError
from ..headers import TOKEN

# scheme "://" host [":" port], and nothing after it.
_IS_ORIGIN = re.compile(r"[a-z][a-z0-9+.\-]*://[^\s/?#@,]+").fullmatch
_IS_TOKEN = re.compile(TOKEN).fullmatch


class CORSMiddleware(Middleware):
    """Let scripts of other origins use this server. Add it before what asks for credentials.

    allow_origins: like "https://app.example", or "*" for all; exact, there are no patterns.
    allow_methods, allow_headers: what a preflight grants, "*" for whatever it asks for.
    allow_credentials: cookies and Authorization too; origins must then be named, as "*"
    would lend every site its visitors' logins. expose_headers: fields of the answer that
    scripts may read. max_age: seconds for which the browser need not ask again.

    A preflight is answered here, whatever the routes say: 204, or 403 for another origin.
    Raises ValueError for an origin that no browser can send. On TCP it does nothing.
    """

    def __init__(
        self,
        allow_origins: str | Iterable[str] = (),
        allow_methods: str | Iterable[str] = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
        allow_headers: str | Iterable[str] = (),
        allow_credentials: bool = False,
        expose_headers: str | Iterable[str] = (),
        max_age: int = 600,
    ) -> None:
        origins = _listed(allow_origins)
        self._any_origin = "*" in origins
        if self._any_origin and allow_credentials:
            raise ValueError('allow_credentials needs the origins by name: "*" would trust all')
        for origin in origins:
            if origin not in ("*", "null") and not _IS_ORIGIN(origin.lower()):
                raise ValueError(
                    f"{origin!r} is no origin: write scheme://host or scheme://host:port, "
                    f"without a path or a slash at the end"
                )
        self._origins = {origin if origin == "null" else origin.lower() for origin in origins}
        methods = _listed(allow_methods)
        self._methods = None if "*" in methods else ", ".join(method.upper() for method in methods)
        names = _listed(allow_headers)
        self._headers = None if "*" in names else ", ".join(names)
        self._credentials = allow_credentials
        self._expose = ", ".join(_listed(expose_headers))
        self._max_age = str(int(max_age))

    def process_request(self, request: Any) -> Any:
        """Answer a preflight, before any route is asked."""
        if not _is_preflight(request):
            return None
        origin = request.headers.get("origin")
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
        return HTTPResponse(b"", 204, headers)

    def process_response(self, request: Any, response: Any) -> Any:
        """Add what lets the script of this origin read the answer; also to errors."""
        if request.protocol != "http":
            return response
        fields = fields_of(request, response)
        if not self._any_origin:
            fields.add_vary("Origin")  # Also where there is none: caches must not mix them up.
        origin = request.headers.get("origin")
        if not self._allows(origin):
            return response
        fields["Access-Control-Allow-Origin"] = "*" if self._any_origin else origin
        if self._credentials:
            fields["Access-Control-Allow-Credentials"] = "true"
        if self._expose and not _is_preflight(request):
            fields["Access-Control-Expose-Headers"] = self._expose
        return response

    def _allows(self, origin: str | None) -> bool:
        return origin is not None and (self._any_origin or origin.lower() in self._origins)


def _is_preflight(request: Any) -> bool:
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
    return ", ".join(name for name in names if _IS_TOKEN(name))
