"""cors: who may read an answer from another origin."""

from __future__ import annotations

import unittest
from typing import Any

from pyliteflux import (
    CORSMiddleware,
    HTTPError,
    HTTPResponse,
    Server,
)
from tests.extras.middleware_case import ORIGIN, MiddlewareTestCase
from tests.support import Response, fetch


class CORSTest(MiddlewareTestCase):
    def setUp(self) -> None:
        super().setUp()

        @self.router.register("/data", ["GET", "POST"])
        def data(request: Any) -> dict[str, int]:
            return {"a": 1}

    def preflight(self, server: Server, origin: str = ORIGIN, path: str = "/data") -> Response:
        return fetch(
            server,
            "OPTIONS",
            path,
            fields={
                "Origin": origin,
                "Access-Control-Request-Method": "PUT",
                "Access-Control-Request-Headers": "x-token, content-type",
            },
        )

    def test_a_preflight_is_answered_before_any_route(self) -> None:
        server = self.serve_with(
            CORSMiddleware(
                [ORIGIN], allow_methods=["get", "put"], allow_headers="X-Token", max_age=9
            )
        )
        for path in ("/data", "/unknown"):  # It would be a 405 and a 404.
            response = self.preflight(server, path=path)
            self.assertEqual(response.status, 204)
            self.assertEqual(response.get("Access-Control-Allow-Origin"), ORIGIN)
            self.assertEqual(response.get("Access-Control-Allow-Methods"), "GET, PUT")
            self.assertEqual(response.get("Access-Control-Allow-Headers"), "X-Token")
            self.assertEqual(response.get("Access-Control-Max-Age"), "9")
            self.assertEqual(response.get("Vary"), "Origin")
            self.assertIsNone(response.get("Access-Control-Allow-Credentials"))

    def test_an_ordinary_options_is_not_a_preflight(self) -> None:
        server = self.serve_with(CORSMiddleware([ORIGIN]))
        response = fetch(server, "OPTIONS", "/data", fields={"Origin": ORIGIN})
        self.assertEqual(response.get("Allow"), "GET, HEAD, OPTIONS, POST")
        self.assertIsNone(response.get("Access-Control-Allow-Methods"))

    def test_another_origin_gets_no_permission(self) -> None:
        server = self.serve_with(CORSMiddleware([ORIGIN]))
        for origin in ("https://evil.example", ORIGIN + ".evil.example", "null", ORIGIN + ":81"):
            response = self.preflight(server, origin)
            self.assertEqual(response.status, 403)
            self.assertIsNone(response.get("Access-Control-Allow-Origin"))
            response = fetch(server, "GET", "/data", fields={"Origin": origin})
            self.assertEqual(response.json, {"a": 1})
            self.assertIsNone(response.get("Access-Control-Allow-Origin"))
            self.assertEqual(response.get("Vary"), "Origin")

    def test_answers_may_be_read_errors_too(self) -> None:
        @self.router.get("/broken")
        def broken(request: Any) -> Any:
            raise RuntimeError("broken")

        @self.router.get("/teapot")
        def teapot(request: Any) -> Any:
            raise HTTPError(418, "short and stout", {"X-Pot": "yes"})

        server = self.serve_with(
            CORSMiddleware([ORIGIN], allow_credentials=True, expose_headers=["X-Pot", "ETag"])
        )
        for method, path, status in (
            ("GET", "/data", 200),
            ("GET", "/unknown", 404),
            ("PUT", "/data", 405),
            ("GET", "/broken", 500),
            ("GET", "/teapot", 418),
        ):
            with self.subTest(path):
                body = b"" if method == "PUT" else None
                response = fetch(server, method, path, body, fields={"Origin": ORIGIN})
                self.assertEqual(response.status, status)
                self.assertEqual(response.get("Access-Control-Allow-Origin"), ORIGIN)
                self.assertEqual(response.get("Access-Control-Allow-Credentials"), "true")
                self.assertEqual(response.get("Access-Control-Expose-Headers"), "X-Pot, ETag")
                self.assertEqual(response.get("X-Pot"), "yes" if status == 418 else None)
                self.assertEqual(response.get("Allow") is not None, status == 405)

    def test_all_origins(self) -> None:
        server = self.serve_with(CORSMiddleware("*", allow_methods="*", allow_headers="*"))
        response = self.preflight(server, "https://any.example")
        self.assertEqual(response.get("Access-Control-Allow-Origin"), "*")
        # By name: browsers that send credentials take a star for a name.
        self.assertEqual(response.get("Access-Control-Allow-Methods"), "PUT")
        self.assertEqual(response.get("Access-Control-Allow-Headers"), "x-token, content-type")
        self.assertIsNone(response.get("Vary"))
        response = fetch(server, "GET", "/data", fields={"Origin": "null"})
        self.assertEqual(response.get("Access-Control-Allow-Origin"), "*")

    def test_a_pattern_is_every_host_below_one(self) -> None:
        """`cors-origin-with-a-star`"""
        server = self.serve_with(CORSMiddleware("https://*.app.example, http://*.localhost:3000"))
        for origin, allowed in (
            ("https://a.app.example", True),
            ("https://A.b-c.App.example", True),
            ("http://x.localhost:3000", True),
            ("https://app.example", False),
            ("https://evilapp.example", False),
            ("https://a.app.example.evil.example", False),
            ("https://evil.example/.app.example", False),
            ("https://evil.example#.app.example", False),
            ("https://u@.app.example", False),
            ("https://.app.example", False),
            ("https://a..app.example", False),
            ("http://a.app.example", False),
            ("https://a.app.example:8443", False),
            ("http://x.localhost", False),
        ):
            with self.subTest(origin):
                response = self.preflight(server, origin)
                self.assertEqual(response.status, 204 if allowed else 403)
                answer = fetch(server, "GET", "/data", fields={"Origin": origin})
                expected = origin if allowed else None
                self.assertEqual(answer.get("Access-Control-Allow-Origin"), expected)
                self.assertEqual(answer.get("Vary"), "Origin")

    def test_a_private_network_is_opened_where_that_was_said(self) -> None:
        asked = {
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Private-Network": "true",
        }
        for allow, expected in ((False, None), (True, "true")):
            server = self.serve_with(CORSMiddleware([ORIGIN], allow_private_network=allow))
            response = fetch(server, "OPTIONS", "/data", fields=asked)
            self.assertEqual(response.get("Access-Control-Allow-Private-Network"), expected)

    def test_what_the_client_asks_for_is_only_echoed_as_names(self) -> None:
        server = self.serve_with(CORSMiddleware([ORIGIN], allow_headers="*"))
        response = fetch(
            server,
            "OPTIONS",
            "/data",
            fields={
                "Origin": ORIGIN,
                "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "x-ok, <script>, a b,, x-fine",
            },
        )
        self.assertEqual(response.get("Access-Control-Allow-Headers"), "x-ok, x-fine")

    def test_settings_that_cannot_be_meant_are_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "credentials"):
            CORSMiddleware("*", allow_credentials=True)
        for origin in (
            "app.example",
            "https://app.example/",
            "https://*.app.example/x",
            # Patterns that are none, and hosts that no browser writes so: they would never match.
            "http://localhost:*",
            "https://app.*.example",
            "https://*app.example",
            "https://*",
            "*.app.example",
            "https://a.example:",
            "https://a.example:080",
            "https://数据.example",
            "https://u@a.example",
            "https://a..example",
            "https://",
        ):
            with self.assertRaisesRegex(ValueError, "no origin"):
                CORSMiddleware([origin])

    def test_it_leaves_other_fields_alone(self) -> None:
        shared = {"Vary": "Accept", "X-Shared": "1"}  # A constant that two requests use.

        @self.router.get("/shared")
        def of_tuple(request: Any) -> Any:
            return {"a": 1}, 201, shared

        @self.router.get("/object")
        def of_object(request: Any) -> Any:
            response = HTTPResponse("x", 202)
            response.set_cookie("a", "1")
            response.set_cookie("b", "2")
            return response

        server = self.serve_with(CORSMiddleware([ORIGIN]))
        for _ in range(2):
            response = fetch(server, "GET", "/shared", fields={"Origin": ORIGIN})
            self.assertEqual((response.status, response.get("Vary")), (201, "Accept, Origin"))
        self.assertEqual(shared, {"Vary": "Accept", "X-Shared": "1"})
        response = fetch(server, "GET", "/object", fields={"Origin": ORIGIN})
        self.assertEqual((response.status, len(response.all("Set-Cookie"))), (202, 2))

    def test_cookies_of_a_tuple_survive(self) -> None:
        @self.router.get("/cookies")
        def cookies(request: Any) -> Any:
            return "x", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]

        server = self.serve_with(CORSMiddleware([ORIGIN]))
        response = fetch(server, "GET", "/cookies", fields={"Origin": ORIGIN})
        self.assertEqual(response.all("Set-Cookie"), ["a=1", "b=2"])

    def test_tcp_messages_pass(self) -> None:
        @self.router.register("ping", protocol="tcp")
        def ping(request: Any) -> str:
            return "pong"

        client = self.connect_tcp(self.serve_with(CORSMiddleware("*")))
        client.send("ping\n")
        self.assertEqual(client.read_line(), "pong")


if __name__ == "__main__":
    unittest.main()
