"""timing: the Server-Timing field."""

from __future__ import annotations

import unittest
from typing import Any

from pyliteflux import (
    HTTPResponse,
    TimingMiddleware,
)
from tests.extras.middleware_case import MiddlewareTestCase
from tests.support import fetch


class TimingTest(MiddlewareTestCase):
    def test_the_time_is_told(self) -> None:
        @self.router.get("/plain")
        def plain(request: Any) -> str:
            return "x"

        @self.router.get("/own")
        def own(request: Any) -> Any:
            return HTTPResponse("x", headers={"Server-Timing": "db;dur=5"})

        server = self.serve_with(TimingMiddleware())
        field = r"\Await;dur=[0-9]+\.[0-9]{2}, app;dur=[0-9]+\.[0-9]{2}\Z"
        self.assertRegex(fetch(server, "GET", "/plain").get("Server-Timing") or "", field)
        self.assertRegex(fetch(server, "GET", "/unknown").get("Server-Timing") or "", field)
        values = fetch(server, "GET", "/own").all("Server-Timing")
        self.assertEqual(values[0], "db;dur=5")
        self.assertRegex(values[1], field)


if __name__ == "__main__":
    unittest.main()
