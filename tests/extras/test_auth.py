"""auth: name and password, and the 401."""

from __future__ import annotations

import base64
import unittest
from typing import Any

from pyliteflux import (
    BasicAuthMiddleware,
    CORSMiddleware,
    Server,
    g,
)
from tests.extras.middleware_case import ORIGIN, MiddlewareTestCase
from tests.support import Response, fetch


class BasicAuthTest(MiddlewareTestCase):
    def setUp(self) -> None:
        super().setUp()

        @self.router.register("/me", protocol="both")
        def me(request: Any) -> dict[str, str]:
            return {"user": g.user}

    def login(self, server: Server, credentials: str, scheme: str = "Basic") -> Response:
        encoded = base64.b64encode(credentials.encode()).decode()
        return fetch(server, "GET", "/me", fields={"Authorization": f"{scheme} {encoded}"})

    def test_the_right_password_opens(self) -> None:
        server = self.serve_with(
            BasicAuthMiddleware({"anna": "s3cret:x", "jürgen": "größe", "e": ""})
        )
        for credentials in ("anna:s3cret:x", "jürgen:größe", "e:"):
            with self.subTest(credentials):
                response = self.login(server, credentials)
                self.assertEqual(response.json, {"user": credentials.partition(":")[0]})
        self.assertEqual(self.login(server, "anna:s3cret:x", "bAsIc").status, 200)

    def test_anything_else_is_a_401_with_a_challenge(self) -> None:
        server = self.serve_with(BasicAuthMiddleware({"anna": "s3cret"}, realm='the "club"'))
        for credentials in (
            "anna:wrong",
            "anna:",
            "anna",
            "bob:s3cret",
            "bob:",
            ":",
            "",
            "anna:s3cret\n",
        ):
            with self.subTest(credentials):
                response = self.login(server, credentials)
                self.assertEqual(response.status, 401)
                self.assertEqual(
                    response.get("WWW-Authenticate"),
                    'Basic realm="the \\"club\\"", charset="UTF-8"',
                )
        for field in (None, "", "Basic", "Basic !!!", "Basic /w==", "Bearer YTpi", "Basic Og==, x"):
            with self.subTest(field):
                fields = {} if field is None else {"Authorization": field}
                self.assertEqual(fetch(server, "GET", "/me", fields=fields).status, 401)
        self.assertEqual(fetch(server, "GET", "/unknown").status, 401)  # Nor what there is.

    def test_a_function_may_decide(self) -> None:
        def check(name: str, password: str) -> bool:
            return name == password[::-1]

        server = self.serve_with(BasicAuthMiddleware(check))
        self.assertEqual(self.login(server, "abc:cba").json, {"user": "abc"})
        self.assertEqual(self.login(server, "abc:abc").status, 401)

    def test_a_tcp_message_is_asked_for_its_headers(self) -> None:
        # M7: one middleware guards both protocols.
        client = self.connect_tcp(
            self.serve_with(BasicAuthMiddleware({"anna": "s3cret"})), timeout=10.0
        )
        encoded = base64.b64encode(b"anna:s3cret").decode()
        client.send(f'{{"command": "me", "headers": {{"Authorization": "Basic {encoded}"}}}}\n')
        self.assertEqual(client.read_line(), '{"user": "anna"}')

    def test_a_tcp_message_without_credentials_is_refused(self) -> None:
        client = self.connect_tcp(self.serve_with(BasicAuthMiddleware({"anna": "s3cret"})))
        client.send('{"command": "me"}\n')
        line = client.read_line()
        self.assertIn("Unauthorized", line)
        self.assertIn("401", line)

    def test_a_preflight_passes_when_cors_comes_first(self) -> None:
        server = self.serve_with(CORSMiddleware([ORIGIN]), BasicAuthMiddleware({"a": "b"}))
        fields = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
        self.assertEqual(fetch(server, "OPTIONS", "/me", fields=fields).status, 204)
        response = fetch(server, "GET", "/me", fields={"Origin": ORIGIN})
        self.assertEqual(response.status, 401)
        self.assertEqual(response.get("Access-Control-Allow-Origin"), ORIGIN)

    def test_a_realm_that_cannot_be_quoted_is_refused(self) -> None:
        for realm in ("a\r\nb", "ü"):
            with self.assertRaises(ValueError):
                BasicAuthMiddleware({}, realm)


if __name__ == "__main__":
    unittest.main()
