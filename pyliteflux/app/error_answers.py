"""What a client is told of an exception: an HTTPError's own words, or that it was our fault.

The rule: what a handler raises is answered by the user's error handler where there is one. Else
only an HTTPError speaks; all others are logged once, and the client is told nothing of them (A5).

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..config import Config
from ..errors import HTTPError, PoolFull
from ..log import escape
from ..log import framework as log
from ..statuses import phrase
from .debug_page import debug_page, text_of, traceback_of, wants_html
from .request import HTTPRequest, Request
from .response import HTTPResponse
from .values import split_tuple

RETRY_LATER = {"Retry-After": "1"}


class ErrorAnswers:
    """What answers the exceptions of one server. Any thread.

    handlers: the user's, by status or by class; the closest class comes first, then the status.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self.handlers: dict[int | type[BaseException], Callable[..., Any]] = {}

    def value_of(self, request: Request, error: BaseException, what: str = "failed") -> Any:
        """Return what answers an exception; status and headers go to the request.

        what: for the log line.
        """
        request.response_headers = None
        request.error_code = None  # Of an earlier one.
        handler = self._handler_of(error)
        if handler is not None:
            try:
                request.response_status = 500
                if isinstance(error, HTTPError):
                    # A plain value keeps the fields too: a 405 must have its Allow.
                    request.response_status = error.status
                    request.response_headers = error.headers or None
                value = handler(request, error)
                if type(value) is tuple:
                    return split_tuple(value, request)
                if isinstance(value, HTTPResponse):  # It replaces all, as in `_respond`.
                    request.response_status, request.response_headers = 200, None
                return value
            except KeyboardInterrupt:
                raise
            except BaseException as second:
                request.response_headers = None
                error = second
        if isinstance(error, PoolFull):
            error = HTTPError(503, "Service Unavailable", RETRY_LATER)
            request.error_code = "busy"
        if isinstance(error, HTTPError):
            request.response_status = error.status
            request.response_headers = error.headers or None
            return error_body(error)
        return self.internal(request, error, what)

    def internal(self, request: Request, error: BaseException, what: str) -> Any:
        """Log an error of ours or the user's; return what the client is told of it (A5)."""
        log.error("%s %s %s", request.method, escape(request.path), what, exc_info=error)
        request.response_status, request.response_headers = 500, None
        request.error_code = "internal"
        body: dict[str, Any] = {
            "error": "Internal Server Error",
            "request_id": request.request_id,
        }
        if self._config.debug:
            if isinstance(request, HTTPRequest) and wants_html(request):
                return debug_page(request, error)
            body["exception"] = f"{type(error).__name__}: {text_of(error)}"
            body["traceback"] = traceback_of(error)
        return body

    def _handler_of(self, error: BaseException) -> Callable[..., Any] | None:
        handlers = self.handlers
        if not handlers:
            return None
        for kind in type(error).__mro__:
            if kind in handlers:
                return handlers[kind]
        return handlers.get(error.status if isinstance(error, HTTPError) else 500)


def what_failed(request: Request, error: BaseException) -> str:
    """Return what happened to an answer: of most such tracebacks no line is the user's."""
    if request.stream_has_begun:
        return "failed"  # It is: its generator has raised.
    route = request.route
    text = escape(text_of(error))
    return f"failed: the answer of {route.name} ({route.place}) cannot be written: {text}"


def error_body(error: HTTPError) -> Any:
    """Return the JSON value that answers an HTTPError."""
    if error.message is None:
        return {"error": phrase(error.status)}
    if isinstance(error.message, str):
        return {"error": error.message}
    return error.message
