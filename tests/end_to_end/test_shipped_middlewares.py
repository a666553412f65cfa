"""The middlewares that come with the package, all in one chain, over real sockets."""

from __future__ import annotations

import base64
import gzip
import unittest
from typing import Any

from pyliteflux import (
    BasicAuthMiddleware,
    CORSMiddleware,
    GzipMiddleware,
    ProxyHeadersMiddleware,
    TimingMiddleware,
    g,
)
from tests.extras.middleware_case import GZIP, LONG, ORIGIN, MiddlewareTestCase
from tests.support import fetch


class TogetherTest(MiddlewareTestCase):
    def test_all_of_them_in_one_chain(self) -> None:
        @self.router.get("/data")
        def data(request: Any) -> Any:
            return {"user": g.user, "client": request.client_address[0], "text": LONG}, 201

        server = self.serve_with(
            ProxyHeadersMiddleware(),
            GzipMiddleware(),
            CORSMiddleware([ORIGIN]),
            TimingMiddleware(),
            BasicAuthMiddleware({"anna": "s3cret"}),
        )
        fields = {
            "Origin": ORIGIN,
            "X-Forwarded-For": "203.0.113.7",
            "Authorization": "Basic " + base64.b64encode(b"anna:s3cret").decode(),
            **GZIP,
        }
        response = fetch(server, "GET", "/data", fields=fields)
        self.assertEqual(response.status, 201)
        self.assertEqual(response.get("Vary"), "Origin, Accept-Encoding")
        self.assertEqual(response.get("Access-Control-Allow-Origin"), ORIGIN)
        self.assertIsNotNone(response.get("Server-Timing"))
        self.assertIn(b'"client": "203.0.113.7"', gzip.decompress(response.body))
        response = fetch(server, "GET", "/data", fields={**fields, "Authorization": "x"})
        self.assertEqual(response.status, 401)
        self.assertEqual(response.get("Access-Control-Allow-Origin"), ORIGIN)


if __name__ == "__main__":
    unittest.main()
