"""compression: what is sent smaller, and what is left alone."""

from __future__ import annotations

import gzip
import random
import threading
import unittest
import zlib
from collections.abc import Iterator
from typing import Any

from pyliteflux import (
    EventStream,
    FileResponse,
    GzipMiddleware,
    HTMLResponse,
    HTTPError,
    HTTPJSONResponse,
    HTTPResponse,
    StreamResponse,
)
from tests.extras.middleware_case import GZIP, LONG, MiddlewareTestCase
from tests.support import fetch, wait_for


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


if __name__ == "__main__":
    unittest.main()
