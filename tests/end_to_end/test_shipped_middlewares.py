"""The middlewares that come with the package, over real sockets."""

from __future__ import annotations

import base64
import gzip
import random
import threading
import unittest
import zlib
from collections.abc import Iterator
from typing import Any

from pyliteflux import (
    BasicAuthMiddleware,
    CORSMiddleware,
    EventStream,
    FileResponse,
    GzipMiddleware,
    HTMLResponse,
    HTTPError,
    HTTPJSONResponse,
    HTTPResponse,
    ProxyHeadersMiddleware,
    Server,
    StreamResponse,
    TimingMiddleware,
    g,
)
from tests.support import Response, ServerTestCase, fetch, wait_for

ORIGIN = "https://app.example"
GZIP = {"Accept-Encoding": "gzip"}
LONG = "a long answer " * 100


class MiddlewareTestCase(ServerTestCase):
    def serve_with(self, *middlewares: Any) -> Server:
        server = self.serve()
        for middleware in middlewares:
            server.add_middleware(middleware)
        return server


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


class GzipTest(MiddlewareTestCase):
    def setUp(self) -> None:
        super().setUp()
        values: dict[str, Any] = {
            "text": LONG,
            "bytes": LONG.encode(),
            "json": {"text": LONG, "ü": [1, 2, 3]},
            "html": HTMLResponse(LONG),
            "object": HTTPJSONResponse({"text": LONG}, 201, {"X-Kept": "yes"}),
        }
        self.values = values

        @self.router.get("/value/{name}")
        def value(request: Any) -> Any:
            return values[request.path_params["name"]]

    def test_what_is_long_is_compressed_for_who_takes_it(self) -> None:
        server = self.serve_with(GzipMiddleware())
        for name in self.values:
            with self.subTest(name):
                plain = fetch(server, "GET", f"/value/{name}")
                self.assertIsNone(plain.get("Content-Encoding"))
                self.assertEqual(plain.get("Vary"), "Accept-Encoding")
                packed = fetch(server, "GET", f"/value/{name}", fields=GZIP)
                self.assertEqual(packed.get("Content-Encoding"), "gzip")
                self.assertEqual(packed.get("Vary"), "Accept-Encoding")
                self.assertEqual(packed.get("Content-Type"), plain.get("Content-Type"))
                self.assertEqual(packed.status, plain.status)
                self.assertEqual(packed.get("X-Kept"), plain.get("X-Kept"))
                self.assertLess(len(packed.body), len(plain.body) / 5)
                self.assertEqual(gzip.decompress(packed.body), plain.body)
                head = fetch(server, "HEAD", f"/value/{name}", fields=GZIP)
                self.assertEqual(head.get("Content-Length"), packed.get("Content-Length"))
                self.assertEqual(head.get("Content-Encoding"), "gzip")

    def test_what_would_gain_nothing_is_left_alone(self) -> None:
        noise = random.Random(1).randbytes(5000)

        @self.router.get("/small")
        def small(request: Any) -> str:
            return "x" * 499

        @self.router.get("/noise")
        def dense(request: Any) -> bytes:
            return noise

        @self.router.get("/image")
        def image(request: Any) -> Any:
            return HTTPResponse(b"\0" * 5000, content_type="image/png")

        @self.router.get("/coded")
        def coded(request: Any) -> Any:
            return b"\0" * 5000, {"Content-Encoding": "br"}

        @self.router.get("/part")
        def part(request: Any) -> Any:
            return b"\0" * 5000, 206, {"Content-Range": "bytes 0-4999/9999"}

        @self.router.get("/secret")
        def secret(request: Any) -> Any:
            return LONG, {"Cache-Control": "private, no-transform"}

        @self.router.get("/nothing")
        def nothing(request: Any) -> None:
            return None

        @self.router.get("/file")
        def file(request: Any) -> FileResponse:
            return FileResponse(__file__)

        @self.router.get("/events")
        def events(request: Any) -> EventStream:
            return EventStream(iter(["x" * 600]))

        server = self.serve_with(GzipMiddleware())
        for path in (
            "small",
            "noise",
            "image",
            "coded",
            "part",
            "secret",
            "nothing",
            "file",
            "events",
            "unknown",
        ):
            with self.subTest(path):
                plain = fetch(server, "GET", f"/{path}")
                response = fetch(server, "GET", f"/{path}", fields=GZIP)
                self.assertEqual((response.status, response.body), (plain.status, plain.body))
                expected = "br" if path == "coded" else None
                self.assertEqual(response.get("Content-Encoding"), expected)

    def test_quality_values_decide(self) -> None:
        server = self.serve_with(GzipMiddleware())
        for accept, is_coded in (
            ("gzip;q=0", False),
            ("*;q=0", False),
            ("br, identity", False),
            ("identity;q=1, gzip;q=0.2", False),
            ("br;q=1, gzip;q=0.2", True),
            ("*", True),
        ):
            with self.subTest(accept):
                fields = {"Accept-Encoding": accept}
                response = fetch(server, "GET", "/value/text", fields=fields)
                self.assertEqual(response.get("Content-Encoding") == "gzip", is_coded)

    def test_a_strong_tag_becomes_weak(self) -> None:
        @self.router.get("/tagged")
        def tagged(request: Any) -> Any:
            return LONG, {"ETag": '"v1"', "Vary": "Cookie"}

        server = self.serve_with(GzipMiddleware())
        response = fetch(server, "GET", "/tagged", fields=GZIP)
        self.assertEqual(response.get("ETag"), 'W/"v1"')
        self.assertEqual(response.get("Vary"), "Cookie, Accept-Encoding")
        self.assertEqual(fetch(server, "GET", "/tagged").get("ETag"), '"v1"')

    def test_cookies_and_the_status_of_a_tuple_survive(self) -> None:
        @self.router.get("/tuple")
        def of_tuple(request: Any) -> Any:
            return {"text": LONG}, 201, [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]

        server = self.serve_with(GzipMiddleware())
        response = fetch(server, "GET", "/tuple", fields=GZIP)
        self.assertEqual((response.status, response.get("Content-Encoding")), (201, "gzip"))
        self.assertEqual(response.all("Set-Cookie"), ["a=1", "b=2"])

    def test_errors_are_compressed_like_any_answer(self) -> None:
        @self.router.get("/error")
        def error(request: Any) -> Any:
            raise HTTPError(409, LONG, {"X-Why": "because"})

        server = self.serve_with(GzipMiddleware())
        response = fetch(server, "GET", "/error", fields=GZIP)
        self.assertEqual((response.status, response.get("X-Why")), (409, "because"))
        self.assertIn(LONG.encode(), gzip.decompress(response.body))

    def test_a_value_that_json_cannot_say_is_still_a_500(self) -> None:
        @self.router.get("/bad")
        def bad(request: Any) -> Any:
            return {"bad": object()}

        response = fetch(self.serve_with(GzipMiddleware()), "GET", "/bad", fields=GZIP)
        self.assertEqual(response.status, 500)
        self.assertEqual(response.json["error"], "Internal Server Error")

    def test_each_piece_of_a_stream_leaves_at_once(self) -> None:
        # A2: the first chunk leaves at once, compressed or not.
        go_on = threading.Event()

        @self.router.get("/stream")
        def stream(request: Any) -> Iterator[str]:
            def pieces() -> Iterator[str]:
                yield "first "
                yield ""
                wait_for(go_on, "the client has read the first piece")
                yield "second"

            return StreamResponse(pieces(), headers={"Content-Length": "12"})

        client = self.connect(self.serve_with(GzipMiddleware()))
        client.send_request("GET", "/stream", fields=GZIP)
        head = client.read_head()
        self.assertEqual(head.get("Content-Encoding"), "gzip")
        self.assertEqual(head.get("Transfer-Encoding"), "chunked")
        inflate = zlib.decompressobj(31)
        self.assertEqual(inflate.decompress(client.read_chunk()), b"first ")
        go_on.set()
        rest = b""
        while chunk := client.read_chunk():
            rest += inflate.decompress(chunk)
        self.assertEqual(rest, b"second")
        self.assertTrue(inflate.eof)

    def test_a_plain_generator_is_compressed_too(self) -> None:
        @self.router.get("/lines")
        def lines(request: Any) -> Any:
            for number in range(100):
                yield f"line {number}\n"

        response = fetch(self.serve_with(GzipMiddleware()), "GET", "/lines", fields=GZIP)
        self.assertEqual(response.get("Content-Encoding"), "gzip")
        self.assertEqual(len(gzip.decompress(response.body).splitlines()), 100)

    def test_the_generator_is_closed_when_the_client_leaves(self) -> None:
        closed = threading.Event()

        @self.router.get("/endless")
        def endless(request: Any) -> Any:
            try:
                while True:
                    yield random.Random(1).randbytes(10000)
            finally:
                closed.set()

        client = self.connect(self.serve_with(GzipMiddleware()))
        client.send_request("GET", "/endless", fields=GZIP)
        client.read_head()
        client.read_chunk()
        client.reset()
        wait_for(closed, "the generator is closed")

    def test_a_stream_that_is_never_begun_is_given_back(self) -> None:
        closed = threading.Event()

        class Source:
            def __iter__(self) -> Iterator[bytes]:
                return iter([b"x"])

            def close(self) -> None:
                closed.set()

        @self.router.get("/stream")
        def stream(request: Any) -> StreamResponse:
            return StreamResponse(Source())

        fetch(self.serve_with(GzipMiddleware()), "HEAD", "/stream", fields=GZIP)
        wait_for(closed, "the source is closed")

    def test_a_stream_that_fails_does_not_look_complete(self) -> None:
        @self.router.get("/stream")
        def stream(request: Any) -> Any:
            yield "first"
            raise RuntimeError("broken")

        client = self.connect(self.serve_with(GzipMiddleware()))
        client.send_request("GET", "/stream", fields=GZIP)
        client.read_head()
        inflate = zlib.decompressobj(31)
        inflate.decompress(client.read_chunk())
        self.assertEqual(client.read_rest(), b"")  # No last chunk.
        self.assertFalse(inflate.eof)

    def test_a_level_that_zlib_has_not_is_refused(self) -> None:
        for level in (0, 10, -1):
            with self.assertRaises(ValueError):
                GzipMiddleware(level=level)


class ProxyTest(MiddlewareTestCase):
    FIELDS = {
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "app.example",
    }

    def setUp(self) -> None:
        super().setUp()

        @self.router.get("/who")
        def who(request: Any) -> dict[str, Any]:
            return {"client": request.client_address[0], "url": request.url}

    def test_a_named_proxy_is_believed(self) -> None:
        server = self.serve_with(ProxyHeadersMiddleware(["127.0.0.1"]))
        self.assertEqual(
            fetch(server, "GET", "/who", fields=self.FIELDS).json,
            {"client": "203.0.113.7", "url": "https://app.example/who"},
        )
        fields = {"Forwarded": 'for="[2001:db8::7]:99";proto=https;host=app.example'}
        self.assertEqual(
            fetch(server, "GET", "/who", fields=fields).json,
            {"client": "2001:db8::7", "url": "https://app.example/who"},
        )
        self.assertEqual(fetch(server, "GET", "/who", fields={"Forwarded": '"'}).status, 400)

    def test_nobody_else_is(self) -> None:
        plain = {"client": "127.0.0.1", "url": "http://test/who"}
        server = self.serve_with(ProxyHeadersMiddleware(["10.0.0.0/8"]))
        self.assertEqual(fetch(server, "GET", "/who", fields=self.FIELDS).json, plain)
        self.assertEqual(fetch(self.serve(), "GET", "/who", fields=self.FIELDS).json, plain)

    def test_one_request_does_not_colour_the_next(self) -> None:
        client = self.connect(self.serve_with(ProxyHeadersMiddleware()))
        client.get("/who", fields=self.FIELDS)
        self.assertEqual(client.get("/who").json, {"client": "127.0.0.1", "url": "http://test/who"})


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
