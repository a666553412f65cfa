"""A server with middlewares around its routes, over real sockets."""

from __future__ import annotations

from typing import Any

from pyliteflux import (
    Server,
)
from tests.support import ServerTestCase

ORIGIN = "https://app.example"
GZIP = {"Accept-Encoding": "gzip"}
LONG = "a long answer " * 100


class MiddlewareTestCase(ServerTestCase):
    def serve_with(self, *middlewares: Any) -> Server:
        server = self.serve()
        for middleware in middlewares:
            server.add_middleware(middleware)
        return server
