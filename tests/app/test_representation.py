"""Conditions and ranges of what handlers return: RFC 9110 sections 13 and 14."""

from __future__ import annotations

import time
import unittest
from collections.abc import Iterator
from typing import Any

from pyliteflux import Config, HTTPResponse, Middleware, StreamResponse
from pyliteflux.app.app import App
from pyliteflux.app.conditions import http_date
from pyliteflux.app.request import HTTPRequest
from pyliteflux.app.route import Route
from pyliteflux.app.routing import Router
from pyliteflux.extras.compression import GzipMiddleware
from pyliteflux.headers import Headers

LONG_AGO = 1_000_000_000
BODY = b"0123456789"


def ask(
    value: Any, *fields: tuple[str, str], method: str = "GET", layers: tuple[Middleware, ...] = ()
) -> HTTPResponse:
    """Return what answers a request of these fields, where the handler returns that value."""
    app = App(Config(), Router())
    for layer in layers:
        app.middlewares.add_middleware(layer)
    request = HTTPRequest(method, "/", Headers(fields), app=app)
    request.route = Route("/", lambda request: value)
    return app.pipeline.handle(request)


class ConditionTests(unittest.TestCase):
    def test_what_the_client_has_is_not_sent_again(self) -> None:
        tagged = {"ETag": '"v1"', "Cache-Control": "max-age=60", "Content-Language": "zh"}
        for value in (
            ({"a": 1}, tagged), ("text", 200, tagged), (b"x", tagged),
            HTTPResponse("x", 200, tagged),
        ):  # fmt: skip
            for condition in ('"v1"', 'W/"v1"', '"v0", "v1"', "*"):
                for method in ("GET", "HEAD"):
                    with self.subTest(value, condition=condition):
                        response = ask(value, ("If-None-Match", condition), method=method)
                        self.assertEqual((response.status, response.body), (304, b""))
                        self.assertEqual(
                            response.fields(), [("ETag", '"v1"'), ("Cache-Control", "max-age=60")]
                        )
        self.assertEqual(ask(("x", tagged), ("If-None-Match", '"v2"')).status, 200)
        self.assertEqual(ask(("x", tagged), ("If-None-Match", "v1")).status, 200)
        self.assertEqual(ask(("x", {"ETag": "v1"}), ("If-None-Match", "v1")).status, 200)

    def test_a_date_counts_where_there_is_no_tag_to_compare(self) -> None:
        fields = {"Last-Modified": http_date(LONG_AGO)}
        for seconds, status in ((0, 304), (60, 304), (-60, 200)):
            condition = ("If-Modified-Since", http_date(LONG_AGO + seconds))
            self.assertEqual(ask(("x", fields), condition).status, status)
            # Section 13.1.3: the date is ignored beside a tag.
            self.assertEqual(ask(("x", fields), condition, ("If-None-Match", '"a"')).status, 200)
        condition = ("If-Modified-Since", http_date(LONG_AGO))
        self.assertEqual(ask(("x", {"ETag": '"a"'}), condition).status, 200)
        self.assertEqual(ask(("x", {"Last-Modified": "today"}), condition).status, 200)

    def test_a_version_that_is_gone_is_a_412(self) -> None:
        fields = {"ETag": '"v2"', "Last-Modified": http_date(LONG_AGO), "Cache-Control": "no-cache"}
        for condition in (
            ("If-Match", '"v1"'), ("If-Match", 'W/"v2"'),
            ("If-Unmodified-Since", http_date(LONG_AGO - 1)),
        ):  # fmt: skip
            with self.subTest(condition):
                response = ask(("x", fields), condition)
                self.assertEqual(response.status, 412)
                self.assertEqual(response.fields(), [("Content-Type", "application/json")])
        self.assertEqual(ask(("x", fields), ("If-Match", '"v1", "v2"')).status, 200)
        self.assertEqual(ask(("x", fields), ("If-Match", "*")).status, 200)
        # Section 13.1.4: without a date the condition is ignored.
        condition = ("If-Unmodified-Since", http_date(0))
        self.assertEqual(ask(("x", {"ETag": '"v2"'}), condition).status, 200)

    def test_only_what_would_be_a_200_to_a_get_is_compared(self) -> None:
        fields = {"ETag": '"v1"'}
        condition = ("If-None-Match", '"v1"')
        self.assertEqual(ask(("x", 201, fields), condition).status, 201)
        self.assertEqual(ask(("x", 404, fields), condition).status, 404)
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            self.assertEqual(ask(("x", fields), condition, method=method).status, 200)
        self.assertEqual(ask(("x", {"X-A": "1"}), condition).status, 200)

    def test_a_stream_that_is_not_sent_is_closed(self) -> None:
        closed = []

        def pieces() -> Iterator[str]:
            try:
                yield "a"
            finally:
                closed.append(True)

        running = pieces()
        next(running)
        response = ask(StreamResponse(running, headers={"ETag": '"v1"'}), ("If-None-Match", "*"))
        self.assertEqual((response.status, type(response)), (304, HTTPResponse))
        self.assertEqual(closed, [True])

    def test_a_tag_outlives_compression_and_keeps_what_layers_add(self) -> None:
        value = "x" * 2000, {"ETag": '"v1"', "Vary": "Cookie"}
        accepts = ("Accept-Encoding", "gzip")
        first = ask(value, accepts, layers=(GzipMiddleware(),))
        self.assertEqual((first.status, first.headers["ETag"]), (200, 'W/"v1"'))
        for tag in ('W/"v1"', '"v1"'):
            second = ask(value, accepts, ("If-None-Match", tag), layers=(GzipMiddleware(),))
            self.assertEqual((second.status, second.body), (304, b""))
            self.assertNotIn("Content-Encoding", second.headers)
            self.assertEqual(second.headers["Vary"], "Cookie, Accept-Encoding")


class RangeTests(unittest.TestCase):
    fields = {"Accept-Ranges": "bytes", "ETag": '"v1"', "Last-Modified": http_date(LONG_AGO)}

    def ask(self, *fields: tuple[str, str], **options: Any) -> HTTPResponse:
        return ask((BODY, 200, {"Content-Type": "audio/x", **self.fields}), *fields, **options)

    def test_a_piece(self) -> None:
        for asked, body, content_range in (
            ("bytes=0-3", b"0123", "bytes 0-3/10"),
            ("bytes=7-", b"789", "bytes 7-9/10"),
            ("bytes=-2", b"89", "bytes 8-9/10"),
            ("bytes=5-99, 20-", b"56789", "bytes 5-9/10"),
        ):
            with self.subTest(asked):
                response = self.ask(("Range", asked))
                self.assertEqual((response.status, response.body), (206, body))
                self.assertEqual(response.headers["Content-Range"], content_range)
                self.assertEqual(response.headers["Content-Type"], "audio/x")
                self.assertEqual(response.headers["ETag"], '"v1"')

    def test_several_pieces(self) -> None:
        response = self.ask(("Range", "bytes=0-1,8-"))
        self.assertEqual(response.status, 206)
        kind, _, boundary = response.headers["Content-Type"].partition("; boundary=")
        self.assertEqual(kind, "multipart/byteranges")
        self.assertNotIn("Content-Range", response.headers)
        parts = [
            f"--{boundary}\r\nContent-Type: audio/x\r\n"
            f"Content-Range: bytes {name}/10\r\n\r\n{text}\r\n"
            for name, text in (("0-1", "01"), ("8-9", "89"))
        ]
        self.assertEqual(response.body.decode(), "".join(parts) + f"--{boundary}--\r\n")

    def test_beyond_the_end(self) -> None:
        response = self.ask(("Range", "bytes=10-"))
        self.assertEqual(response.status, 416)
        self.assertEqual(response.headers["Content-Range"], "bytes */10")
        self.assertNotIn("ETag", response.headers)

    def test_all_where_nothing_else_is_right(self) -> None:
        for fields in (
            (("Range", "bytes=5-3"),),
            (("Range", "items=0-1"),),
            (("Range", "bytes=0-1"), ("If-Range", '"v0"')),
            (("Range", "bytes=0-1"), ("If-Range", 'W/"v1"')),
            (("Range", "bytes=0-1"), ("If-Range", http_date(time.time()))),
        ):
            with self.subTest(fields):
                response = self.ask(*fields)
                self.assertEqual((response.status, response.body), (200, BODY))
        self.assertEqual(self.ask(("Range", "bytes=0-1"), method="HEAD").status, 200)
        self.assertEqual(self.ask(("Range", "bytes=0-1"), method="POST").status, 200)
        for opted in ({}, {"Accept-Ranges": "none"}, {"ETag": '"v1"'}):
            self.assertEqual(ask((BODY, opted), ("Range", "bytes=0-1")).status, 200)

    def test_if_range_with_the_version_that_is_there(self) -> None:
        for value in ('"v1"', http_date(LONG_AGO)):
            response = self.ask(("Range", "bytes=0-1"), ("If-Range", value))
            self.assertEqual((response.status, response.body), (206, b"01"))

    def test_a_condition_comes_first(self) -> None:
        response = self.ask(("Range", "bytes=0-1"), ("If-None-Match", '"v1"'))
        self.assertEqual(response.status, 304)

    def test_text_has_bytes_too(self) -> None:
        response = ask(("数据", {"Accept-Ranges": "bytes"}), ("Range", "bytes=3-"))
        self.assertEqual((response.status, response.body), (206, "据".encode()))

    def test_what_has_ranges_is_not_compressed(self) -> None:
        value = b"x" * 2000, {"Accept-Ranges": "bytes", "Content-Type": "text/plain"}
        fields = ("Accept-Encoding", "gzip"), ("Range", "bytes=0-9")
        response = ask(value, *fields, layers=(GzipMiddleware(),))
        self.assertEqual((response.status, response.body), (206, b"x" * 10))


if __name__ == "__main__":
    unittest.main()
