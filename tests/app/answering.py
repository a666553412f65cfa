"""What a handler's value becomes, by way of the whole pipeline."""

from __future__ import annotations

from typing import Any

from pyliteflux import Config, HTTPRequest, HTTPResponse
from pyliteflux.app.app import App
from pyliteflux.app.route import Route
from pyliteflux.app.routing import Router


def answer(value: Any, **settings: Any) -> HTTPResponse:
    """Return the response to a handler that returns this value, or raises it."""

    def handler(request: Any) -> Any:
        if isinstance(value, BaseException):
            raise value
        return value

    app = App(Config(**settings), Router())
    request = HTTPRequest("GET", "/path", app=app)
    request.route = Route("/path", handler)
    return app.pipeline.handle(request)


def fields(response: HTTPResponse) -> dict[str, str]:
    return dict(response.fields())
