"""Features a user meets by name, over real sockets: error handlers, the debug page, signed
cookies, redirects, groups of routes, the access log, the command line, the trace.

What each of them does inside is tested in tests/app; here it is what a client, a terminal or
a shell gets to see.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest import TestCase, mock

from pyliteflux import (
    HTMLResponse,
    HTTPError,
    HTTPResponse,
    RedirectResponse,
    RouteError,
    Router,
)
from pyliteflux.__main__ import main
from pyliteflux.app import cookies
from tests.support import (
    DEADLINE,
    ROOT,
    Client,
    LogCapture,
    Program,
    ServerTestCase,
    fetch,
    make_server,
    running_server,
)

SECRET = "a secret of many characters, for tests"


class Shortage(LookupError):
    """An exception of the user's; its bases are LookupError and Exception."""


class Famine(Shortage):
    """A subclass of it."""


class Borrowed(Exception):
    """Of another library, which means something else by these names."""

    status = "pending"
    headers = 5


class ErrorHandlerTests(ServerTestCase):
    """`server.error`, for a status or for a class of exceptions."""

    def setUp(self) -> None:
        super().setUp()
        self.errors = {
            "Famine": Famine("bread"),
            "KeyError": KeyError("k"),
            "ValueError": ValueError("a secret"),
            "of another library": Borrowed("not ours"),
            "404": HTTPError(404, "no such user", {"X-Why": "gone"}),
            "409": HTTPError(409),
        }
        for path in ("/raise/{what}", "/now/{what}"):
            self.router.register(path, blocking=path.startswith("/raise"))(self.fail_as_told)
        self.router.register("fail", protocol="tcp")(self.fail_as_told)
        self.router.register("/returned")(lambda request: ({"meant": True}, 404))

    def fail_as_told(self, request: Any) -> Any:
        raise self.errors[request.path_params["what"] if request.path_params else request.data]

    def test_a_value_keeps_the_status_of_the_error(self) -> None:
        server = self.serve()

        @server.error(404)
        def not_found(request: Any, error: Any) -> Any:
            return {"nothing at": request.path, "because": error.message}

        client = self.connect(server)
        answer = client.get("/no%20where")
        self.assertEqual((answer.status, answer.reason), (404, "Not Found"))
        self.assertEqual(answer.json, {"nothing at": "/no where", "because": None})
        for target in ("/raise/404", "/now/404"):
            answer = client.get(target)
            self.assertEqual((answer.status, answer.json["because"]), (404, "no such user"))
        self.assertEqual(client.get("/raise/409").json, {"error": "Conflict"})
        self.assertEqual(self.logs.lines(logging.WARNING), [])

    def test_it_does_not_see_what_a_handler_returned(self) -> None:
        server = self.serve()
        server.error(404)(lambda request, error: "never seen")
        self.assertEqual(fetch(server, "GET", "/returned").json, {"meant": True})

    def test_the_nearest_class_wins_over_its_bases_and_over_the_status(self) -> None:
        server = self.serve()
        for kind in (500, Exception, LookupError):
            server.error(kind)(lambda request, error, kind=kind: {"by": str(kind)})
        client = self.connect(server)
        by_lookup = {"by": str(LookupError)}
        self.assertEqual(client.get("/raise/Famine").json, by_lookup)
        self.assertEqual(client.get("/raise/KeyError").json, by_lookup)
        self.assertEqual(client.get("/raise/ValueError").json, {"by": str(Exception)})
        server.error(Shortage)(lambda request, error: {"short of": str(error)})
        answer = client.get("/raise/Famine")
        self.assertEqual((answer.status, answer.json), (500, {"short of": "bread"}))
        self.assertEqual(client.get("/raise/KeyError").json, by_lookup)
        server.error(404)(lambda request, error: {"by": "404"})
        self.assertEqual(client.get("/raise/404").json, {"by": str(Exception)})

    def test_500_is_for_what_nobody_expected(self) -> None:
        server = self.serve()
        seen = []

        @server.error(500)
        def broken(request: Any, error: Any) -> Any:
            seen.append((type(error), request.request_id))
            return HTMLResponse("<h1>Sorry</h1>", 500)

        client = self.connect(server)
        for target in ("/raise/ValueError", "/now/ValueError"):
            answer = client.get(target)
            self.assertEqual((answer.status, answer.text), (500, "<h1>Sorry</h1>"))
            self.assertEqual(seen.pop(), (ValueError, answer.get("X-Request-ID")))
        self.assertEqual(client.get("/raise/409").status, 409)
        server.error(Borrowed)(lambda request, error: str(error))
        answer = client.get("/raise/of%20another%20library")
        self.assertEqual((answer.status, answer.text), (500, "not ours"))

    def test_405_keeps_its_allow(self) -> None:
        """RFC 9110 section 15.5.6: an Allow must be there, whoever words the answer."""
        server = self.serve()
        server.error(405)(lambda request, error: {"not here": request.method})
        answer = fetch(server, "DELETE", "/returned")
        self.assertEqual((answer.status, answer.json), (405, {"not here": "DELETE"}))
        self.assertEqual(answer.get("Allow"), "GET, HEAD, OPTIONS")

    def test_a_tuple_or_a_response_object_replaces_the_status(self) -> None:
        server = self.serve()
        answers: list[Any] = [
            ({"a": 1}, 410),
            ("gone", 410, {"X-A": "1"}),
            HTMLResponse("<p>gone", 410),
            RedirectResponse("/", 303),
            HTTPResponse("here it is"),
        ]
        expected = [410, 410, 410, 303, 200]
        server.error(404)(lambda request, error: answers.pop(0))
        client = self.connect(server)
        self.assertEqual([client.get("/raise/404").status for _ in expected], expected)

    def test_a_handler_that_fails_itself_is_a_500_and_both_are_logged(self) -> None:
        server = self.serve()

        @server.error(Famine)
        def broken(request: Any, error: Any) -> Any:
            raise RuntimeError("the handler of errors failed")

        @server.error(KeyError)
        def refuses(request: Any, error: Any) -> Any:
            raise HTTPError(422, "better so")

        @server.error(ValueError)
        def leaves(request: Any, error: Any) -> Any:
            sys.exit(3)

        client = self.connect(server)
        answer = client.get("/raise/Famine")
        self.assertEqual((answer.status, answer.json["error"]), (500, "Internal Server Error"))
        line = self.logs.wait_for("the handler of errors failed")
        self.assertIn("Famine: bread", line)
        answer = client.get("/raise/KeyError")
        self.assertEqual((answer.status, answer.json), (422, {"error": "better so"}))
        self.assertEqual(client.get("/raise/ValueError").status, 500)
        self.assertEqual(client.get("/returned").status, 404)

    def test_a_value_that_cannot_be_sent_is_a_500(self) -> None:
        server = self.serve()
        server.error(404)(lambda request, error: {1, 2})
        answer = fetch(server, "GET", "/nowhere")
        self.assertEqual((answer.status, answer.json["error"]), (500, "Internal Server Error"))

    def test_on_tcp_too(self) -> None:
        server = self.serve(tcp_keep_alive=True)
        server.error(Shortage)(lambda request, error: {"short of": str(error)})
        server.error(409)(lambda request, error: ({"when": "later"}, 503))
        server.error(404)(lambda request, error: {"unknown": request.command})
        client = self.connect_tcp(server)
        for line, expected in (
            ("fail Famine", {"short of": "bread", "status": 500}),
            ("fail 409", {"when": "later", "status": 503}),
            ("nothing", {"unknown": "nothing", "status": 404}),
        ):
            with self.subTest(line):
                client.send(line + "\n")
                answer = json.loads(client.read_line())
                self.assertLessEqual(expected.items(), answer.items())

    def test_another_kind_is_refused(self) -> None:
        server = make_server(self.router)
        for kind in (200, 399, 600, "404", None, True, int, BaseException, KeyError("k"), [404]):
            with self.subTest(kind=kind), self.assertRaisesRegex(ValueError, "400 to 599"):
                server.error(kind)  # type: ignore[arg-type]


class PageText(HTMLParser):
    """What a browser makes of a page: its elements, and the text that it shows."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.text = ""
        self.marked: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        if tag == "mark":
            self.marked.append("")

    def handle_endtag(self, tag: str) -> None:
        self.elements.append("/" + tag)

    def handle_data(self, data: str) -> None:
        self.text += data
        if "mark" in self.elements and "/mark" not in self.elements[-1:]:
            if self.elements[::-1].index("mark") == 0:
                self.marked[-1] += data


class Unspeakable(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class DebugPageTests(ServerTestCase):
    """The page with a traceback that browsers get, with `debug=True` only."""

    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}

    def setUp(self) -> None:
        super().setUp()

        @self.router.register("/fail/{what}")
        def fail(request: Any) -> Any:
            raise ValueError(f"<script>alert('{request.path_params['what']}')</script>")  # Here.

        @self.router.register("/chain")
        def chain(request: Any) -> Any:
            try:
                return {}["missing"]
            except KeyError:
                raise RuntimeError("while handling it") from None

        @self.router.register("/unspeakable")
        def unspeakable(request: Any) -> Any:
            raise Unspeakable

        @self.router.register("/surrogate")
        def surrogate(request: Any) -> Any:
            raise ValueError("half a pair: \ud800")

        @self.router.register("/deep")
        def deep(request: Any) -> Any:
            return deep(request)

    def test_a_browser_sees_the_line_that_raised(self) -> None:
        answer = fetch(self.serve(debug=True), "GET", "/fail/x", fields=self.browser)
        self.assertEqual(answer.status, 500)
        self.assertEqual(answer.get("Content-Type"), "text/html; charset=utf-8")
        page = PageText(answer.text)
        self.assertIn("raise ValueError(", page.marked[0])
        self.assertIn("# Here.", page.marked[0])
        self.assertIn("test_features.py", page.text)
        self.assertIn("Traceback (most recent call last)", page.text)
        self.assertIn(answer.get("X-Request-ID"), page.text)
        self.logs.wait_for("GET /fail/x failed")

    def test_a_program_gets_json(self) -> None:
        client = self.connect(self.serve(debug=True))
        for fields in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
            answer = client.get("/fail/x", fields=fields)
            self.assertEqual(answer.status, 500)
            self.assertIn("ValueError", answer.json["exception"])

    def test_what_came_from_the_client_is_escaped(self) -> None:
        fields = {**self.browser, "X-Evil": "</dd><script>3</script>", "Cookie": "a=\"'><b>"}
        target = "/fail/%3Cscript%3E1%3C%2Fscript%3E?q='&lt;&amp;"
        answer = fetch(self.serve(debug=True), "GET", target, fields=fields)
        page = PageText(answer.text)
        self.assertNotIn("script", page.elements)
        self.assertNotIn("b", set(page.elements[page.elements.index("dl") :]))
        for text in ("<script>alert('<script>1</script>')</script>", fields["X-Evil"],
                     fields["Cookie"], target):  # fmt: skip
            self.assertIn(text, page.text)

    def test_never_without_debug(self) -> None:
        client = self.connect(self.serve())
        for target in ("/fail/x", "/unspeakable", "/surrogate"):
            answer = client.get(target, fields=self.browser)
            self.assertEqual((answer.status, set(answer.json)), (500, {"error", "request_id"}))

    def test_no_page_for_errors_that_were_meant(self) -> None:
        answer = fetch(self.serve(debug=True), "GET", "/nowhere", fields=self.browser)
        self.assertEqual((answer.status, answer.json), (404, {"error": "Not Found"}))

    def test_exceptions_that_are_hard_to_show_are_shown(self) -> None:
        client = self.connect(self.serve(debug=True))
        for fields in (self.browser, {}):
            for target, name in (
                ("/unspeakable", "Unspeakable"),
                ("/surrogate", "half a pair"),
                ("/chain", "while handling it"),
                ("/deep", "RecursionError"),
            ):
                with self.subTest(target, fields=fields):
                    answer = client.get(target, fields=fields)
                    self.assertEqual(answer.status, 500)
                    self.assertIn(name, answer.text)
                    self.assertLess(len(answer.body), 100_000)


class CookieTests(ServerTestCase):
    """Cookies on the wire, plain and signed."""

    def setUp(self) -> None:
        super().setUp()
        self.made: Any = lambda response: None

        @self.router.register("/set")
        def set_one(request: Any) -> Any:
            response = HTTPResponse("set")
            self.made(response)
            return response

        @self.router.register("/sign/{value}")
        def sign(request: Any) -> Any:
            response = HTTPResponse("signed")
            value = request.path_params["value"]
            response.set_cookie("user", request.sign_cookie("user", value), max_age=60)
            return response

        @self.router.register("/read/{name}")
        def read(request: Any) -> Any:
            return {"value": request.signed_cookie(request.path_params["name"], max_age=60)}

    def sign(self, client: Client, value: str) -> str:
        """Have a value signed; return the cookie as a browser would send it back."""
        field = client.get(f"/sign/{value}").get("Set-Cookie")
        assert field is not None
        return field.partition(";")[0]

    def read(self, client: Client, cookie: str, name: str = "user") -> Any:
        answer = client.get(f"/read/{name}", fields={"Cookie": cookie})
        self.assertEqual(answer.status, 200)
        return answer.json["value"]

    def test_a_signed_cookie_comes_back_as_it_was(self) -> None:
        client = self.connect(self.serve(secret_key=SECRET))
        for value, sent in (("anna", "anna"), ("%E4%BD%A0%0D%0A%3B%20b%3D1", "你\r\n; b=1")):
            cookie = self.sign(client, value)
            self.assertRegex(cookie, r"\Auser=[A-Za-z0-9_-]+\.[0-9]+\.[A-Za-z0-9_-]+\Z")
            self.assertEqual(self.read(client, f"theme=dark; {cookie}; x=y"), sent)

    def test_what_was_not_signed_here_for_this_name_is_none(self) -> None:
        client = self.connect(self.serve(secret_key=SECRET))
        cookie = self.sign(client, "anna")
        text, when, mark = cookie.removeprefix("user=").split(".")
        with running_server(self.router, secret_key=SECRET + "2") as other:
            with Client(other.http_address) as elsewhere:
                foreign = self.sign(elsewhere, "anna")
        for name, forged in {
            "plain": "user=anna",
            "empty": "user=",
            "another value": f"user=cm9vdA.{when}.{mark}",
            "a later time": f"user={text}.{int(when) + 1}.{mark}",
            "no mark": f"user={text}.{when}.",
            "a mark cut short": f"{cookie[:-1]}",
            "more dots": f"user={text}.{when}.{mark}.{mark}",
            "not ASCII": f"user={text}.{when}.\xe9{mark}",
            "another secret": foreign,
        }.items():
            with self.subTest(name):
                self.assertIsNone(self.read(client, forged))
        self.assertIsNone(self.read(client, f"admin={cookie.removeprefix('user=')}", "admin"))
        self.assertEqual(self.read(client, cookie), "anna")

    def test_one_that_is_too_old_is_none(self) -> None:
        client = self.connect(self.serve(secret_key=SECRET))
        with mock.patch("pyliteflux.app.request.time.time", lambda: time.monotonic() * 0 + 1e9):
            old = self.sign(client, "anna")
            self.assertEqual(self.read(client, old), "anna")
        with mock.patch("pyliteflux.app.request.time.time", lambda: 1e9 + 60):
            self.assertEqual(self.read(client, old), "anna")
        with mock.patch("pyliteflux.app.request.time.time", lambda: 1e9 + 61):
            self.assertIsNone(self.read(client, old))

    def test_without_a_secret_it_is_a_500_and_a_line_that_says_what_is_missing(self) -> None:
        client = self.connect(self.serve())
        self.assertEqual(client.get("/sign/anna").status, 500)
        self.assertIn("secret_key", self.logs.wait_for("ConfigError"))
        answer = client.get("/read/user", fields={"Cookie": "user=a.1.b"})
        self.assertEqual(answer.status, 500)
        self.assertNotIn("secret_key", answer.text)

    def test_attributes_reach_the_wire(self) -> None:
        """`delete-host-cookie`, `delete-cross-site-cookie`: what was set can be deleted."""

        def made(response: HTTPResponse) -> None:
            response.set_cookie("a", "1")
            response.set_cookie(
                "__Secure-b", "2", max_age=60, expires=0, path="/x", domain="example.org",
                secure=True, httponly=False, samesite="none",
            )  # fmt: skip
            response.delete_cookie("c", path="/x")
            response.delete_cookie("__Host-sid")
            response.delete_cookie("d", secure=True, samesite="None", partitioned=True)
            response.set_cookie("e", "数据")

        self.made = made
        answer = fetch(self.serve(), "GET", "/set")
        epoch = "Thu, 01 Jan 1970 00:00:00 GMT"
        self.assertEqual(
            answer.all("Set-Cookie"),
            [
                "a=1; Path=/; HttpOnly; SameSite=Lax",
                f"__Secure-b=2; Path=/x; Domain=example.org; Max-Age=60; Expires={epoch}; "
                "Secure; SameSite=None",
                f"c=; Path=/x; Max-Age=0; Expires={epoch}; HttpOnly; SameSite=Lax",
                f"__Host-sid=; Path=/; Max-Age=0; Expires={epoch}; Secure; HttpOnly; SameSite=Lax",
                f"d=; Path=/; Max-Age=0; Expires={epoch}; Secure; HttpOnly; SameSite=None; "
                "Partitioned",
                "e=数据; Path=/; HttpOnly; SameSite=Lax".encode().decode("latin-1"),
            ],
        )

    def test_an_injection_is_a_500_and_nothing_of_it_is_sent(self) -> None:
        """A3, RFC 6265 section 4.1.1."""
        client = self.connect(self.serve())
        evil = "x\r\nX-Evil: 1\r\n\r\n<script>"
        for name, made in {
            "value": lambda r: r.set_cookie("a", evil),
            "attribute": lambda r: r.set_cookie("a", "1; Domain=evil.example"),
            "name": lambda r: r.set_cookie(evil, "1"),
            "path": lambda r: r.set_cookie("a", "1", path="/" + evil),
            "domain": lambda r: r.set_cookie("a", "1", domain=evil),
            "samesite": lambda r: r.set_cookie("a", "1", samesite=evil),
            "after a good one": lambda r: (r.set_cookie("a", "1"), r.set_cookie("b", evil)),
            "past set_cookie": lambda r: r.headers.add("Set-Cookie", evil),
            "length": lambda r: r.set_cookie("a", "x" * cookies.COOKIE_LIMIT),
        }.items():
            with self.subTest(name):
                self.made = made
                answer = client.get("/set")
                self.assertEqual(answer.status, 500)
                self.assertEqual((answer.all("Set-Cookie"), answer.all("X-Evil")), ([], []))
                self.assertNotIn(b"script", answer.body)


class RedirectTests(ServerTestCase):
    """`RedirectResponse` and `HTMLResponse`."""

    def test_each_status(self) -> None:
        for status in (301, 302, 303, 307, 308):
            self.router.register(f"/{status}", method=["GET", "POST"])(
                lambda request, status=status: RedirectResponse("/there?a=1&b=2", status)
            )
        self.router.register("/default")(lambda request: RedirectResponse("https://example.org/x"))
        client = self.connect(self.serve())
        for status in (301, 302, 303, 307, 308):
            for method in ("GET", "HEAD", "POST"):
                answer = client.request(method, f"/{status}")
                self.assertEqual(answer.status, status)
                self.assertEqual(answer.get("Location"), "/there?a=1&b=2")
                if method != "HEAD":
                    self.assertIn('href="/there?a=1&amp;b=2"', answer.text)
        answer = client.get("/default")
        self.assertEqual((answer.status, answer.get("Location")), (302, "https://example.org/x"))

    def test_another_host_by_a_path_is_refused(self) -> None:
        """CVE-2021-28861: `//evil` is a host to a browser, and so is what it reads as such."""

        @self.router.register("/to")
        def to(request: Any) -> Any:
            return RedirectResponse(request.query_params["next"])

        client = self.connect(self.serve())
        for evil in ("//evil.example", "/%5Cevil.example", "%5C%5Cevil.example", "%5C/evil.example",
                     "/%09/evil.example", "/%0D%0A/evil.example", "%09//evil.example",
                     "///evil.example"):  # fmt: skip
            with self.subTest(evil):
                answer = client.get(f"/to?next={evil}")
                self.assertEqual((answer.status, answer.get("Location")), (500, None))
                self.logs.wait_for("another host")
                self.logs.records.clear()
        for good in ("/a//b", "/a?next=//x", "a/b", "?x=1", ""):
            answer = client.get(f"/to?next={good.replace('?', '%3F')}")
            self.assertEqual((answer.status, answer.get("Location")), (302, good))

    def test_what_is_not_ascii_is_encoded_and_a_line_end_too(self) -> None:
        locations = {
            "/名字?q=é": "/%E5%90%8D%E5%AD%97?q=%C3%A9",
            "/a b\"<'>": "/a%20b%22%3C'%3E",
            "/a%20b": "/a%20b",
            "/a\r\nSet-Cookie: a=1": "/a%0D%0ASet-Cookie:%20a=1",
            " //evil.example": "%20//evil.example",  # A browser would have dropped the space.
        }
        wanted = list(locations)
        self.router.register("/{n:int}")(
            lambda request: RedirectResponse(wanted[request.path_params["n"]])
        )
        client = self.connect(self.serve())
        for number, location in enumerate(wanted):
            answer = client.get(f"/{number}")
            self.assertEqual(answer.get("Location"), locations[location])
            self.assertEqual(answer.all("Set-Cookie"), [])
            self.assertEqual(PageText(answer.text).elements, ["a", "/a"])

    def test_another_status_is_a_500(self) -> None:
        self.router.register("/")(lambda request: RedirectResponse("/x", 200))
        self.assertEqual(fetch(self.serve(), "GET", "/").status, 500)
        self.logs.wait_for("200 is no redirect")

    def test_an_html_page(self) -> None:
        pages = [HTMLResponse("<p>é 你", 201, {"X-A": "1"}), HTMLResponse(b"<p>"), HTMLResponse()]
        self.router.register("/")(lambda request: pages.pop(0))
        client = self.connect(self.serve())
        answer = client.get("/")
        self.assertEqual((answer.status, answer.text, answer.get("X-A")), (201, "<p>é 你", "1"))
        self.assertEqual(answer.get("Content-Type"), "text/html; charset=utf-8")
        self.assertEqual(client.get("/").get("Content-Type"), "text/html; charset=utf-8")
        self.assertEqual((client.get("/").body, pages), (b"", []))


class RoutingTests(ServerTestCase):
    """Groups of routes, converters, and paths made from names."""

    def test_a_router_with_a_prefix_is_included_under_another(self) -> None:
        admin = Router(prefix="/admin")
        admin.get("/stats/{day:int}", name="stats")(lambda request: request.path_params)
        admin.post("/stats", max_body=10)(lambda request: len(request.body))
        admin.register("ping", protocol="tcp")(lambda request: "pong")
        admin.register("/echo", protocol="both")(lambda request: "echo")
        server = self.serve(tcp_keep_alive=True)
        server.include(admin, prefix="/v1")
        server.include(admin)
        client = self.connect(server)
        for prefix in ("/v1/admin", "/admin"):
            self.assertEqual(client.get(f"{prefix}/stats/5").json, {"day": 5})
            self.assertEqual(client.get(f"{prefix}/echo").text, "echo")
        self.assertEqual(client.get("/stats/5").status, 404)
        self.assertEqual(client.get("/v1/stats/5").status, 404)
        tcp = self.connect_tcp(server)
        tcp.send("ping\necho\n")
        self.assertEqual([tcp.read_line(), tcp.read_line()], ["pong", "echo"])
        self.assertEqual(client.request("POST", "/v1/admin/stats", b"x" * 10).json, 10)
        answer = client.request("POST", "/v1/admin/stats", b"x" * 11)
        self.assertEqual(answer.status, 413)
        for prefix in ("v1", "/v1/", "/"):
            with self.assertRaises(RouteError):
                server.include(admin, prefix)
            with self.assertRaises(RouteError):
                Router(prefix)

    def test_routes_lists_what_is_registered(self) -> None:
        server = make_server(self.router)
        self.router.register("/a", method=["GET", "POST"], name="first")(lambda request: 1)
        self.router.register("b", protocol="tcp")(lambda request: 2)
        self.assertEqual(
            [(r.path, r.methods, r.protocol) for r in server.routes()],
            [("/a", ("GET", "POST"), "http"), ("b", (), "tcp")],
        )
        self.assertEqual(server.routes()[0].name, "first")

    def test_url_for_makes_paths_that_lead_there(self) -> None:
        for name, path in (
            ("int", "/int/{n:int}/x"),
            ("float", "/float/{x:float}"),
            ("str", "/str/{a}/{b}"),
            ("rest", "/rest/{rest:path}"),
            ("star", "/star/*"),
        ):
            self.router.register(path, name=name)(
                lambda request, name=name: {
                    "name": name,
                    **request.path_params,
                    "query": {key: request.query_params.getlist(key)
                              for key in request.query_params},
                }
            )  # fmt: skip
        server = self.serve()
        client = self.connect(server)
        for name, parameters in (
            ("int", {"n": 5}),
            ("float", {"x": 2.5}),
            ("str", {"a": "a/b c", "b": "你?#%"}),
            ("rest", {"rest": "a b/c/ü"}),
            ("star", {"*": "x/y.css"}),
        ):
            with self.subTest(name):
                target = server.url_for(name, **parameters, q=["a b", "&"], page="2")
                answer = client.get(target).json
                self.assertEqual(answer.pop("query"), {"q": ["a b", "&"], "page": ["2"]})
                self.assertEqual(answer, {"name": name, **parameters})
        for name, wrong in (("int", {"n": "x"}), ("int", {}), ("float", {"x": -1}),
                            ("str", {"a": "", "b": "b"}), ("nothing", {})):  # fmt: skip
            with self.subTest(name, wrong=wrong), self.assertRaises(RouteError):
                server.url_for(name, **wrong)

    def test_a_segment_that_the_converter_does_not_match_is_a_404(self) -> None:
        """R3. The length is bounded: `int` of a million digits would take minutes."""
        for kind in ("int", "float", "path"):
            self.router.register(f"/{kind}/{{x:{kind}}}")(lambda request: request.path_params)
        client = self.connect(self.serve())
        self.assertEqual(client.get("/int/007").json, {"x": 7})
        self.assertEqual(client.get("/float/10").json, {"x": 10.0})
        self.assertEqual(client.get("/path/a/../b%2Fc").json, {"x": "a/../b/c"})
        for target in ("/int/-1", "/int/1_0", "/int/%D9%A1", "/int/1/", "/int/" + "9" * 101,
                       "/float/1e5", "/float/.5", "/float/1.", "/float/inf", "/path"):  # fmt: skip
            with self.subTest(target[:20]):
                self.assertEqual(client.get(target).status, 404)


# --- programs


class Command(Program):
    """``python ...`` with a standard input; the end of that is the word to end."""

    def __init__(self, *arguments: str, cwd: Path = ROOT) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self.log = ""  # What it has written to stderr so far, as far as it was read.

    def wait_for_log(self, pattern: str) -> re.Match[str]:
        """Return the first match in what it writes to stderr; fail where none comes in time."""
        assert self.process.stderr is not None
        deadline = time.monotonic() + DEADLINE
        while not (found := re.search(pattern, self.log)):
            ready, _, _ = select.select([self.process.stderr], [], [], deadline - time.monotonic())
            data = self.process.stderr.read(65536) if ready else b""
            if not data:
                raise AssertionError(f"no {pattern!r} in {self.log!r}")
            self.log += data.decode()
        return found

    def finish(self, timeout: float = DEADLINE) -> tuple[int, str, str]:
        """End its input and wait for its end; return status, stdout, stderr from the start."""
        status, out, err = super().finish(timeout)
        return status, out, self.log + err


ACCESS_PROGRAM = """
import logging, sys
from pyliteflux import Router, Server
router = Router()
router.register("/a", method=["GET", "POST"])(lambda request: request.path_params or "12345")
router.register("/x/{what}")(lambda request: request.path_params)
router.register("hello", protocol="tcp")(lambda request: "hi")
server = Server(router, http_port=0, tcp_port=0, tcp_keep_alive=True, %s)
with server:
    print(server.http_address[1], server.tcp_address[1])
    sys.stdin.readline()
"""

ACCESS_LINE = re.compile(
    r'\d\d:\d\d:\d\d INFO \[(\S+)\] (127\.0\.0\.1:\d+) "([A-Z]+) ([^"]*)" (\d{3}) (\d+) \d+\.\d+ms'
)


class AccessLogTests(ServerTestCase):
    """One line per request."""

    @contextlib.contextmanager
    def program(self, settings: str) -> Iterator[tuple[Client, Client, Any]]:
        """Run the program; yield clients of both ports, and what ends it and gives its log."""
        with Command("-c", ACCESS_PROGRAM % settings) as command:
            http, tcp = map(int, command.read_line().split())
            with Client(("127.0.0.1", http)) as one, Client(("127.0.0.1", tcp)) as two:
                yield one, two, command.finish

    def test_one_line_a_request_with_its_id(self) -> None:
        with self.program("info=True") as (http, tcp, finish):
            requests = [
                http.get("/a"),
                http.request("POST", "/a?x=1", b"body"),
                http.request("HEAD", "/a"),
                http.get("/x/%0aFAKE%1b%5b31m"),
                http.get("/nowhere"),
            ]
            tcp.send('hello\n{"command": "a\\u001b[31m\\nFAKE \\\\"}\n')
            self.assertEqual(tcp.read_line(), "hi")
            tcp.read_line()
            clients = [http.client_id] * 5 + [tcp.client_id] * 2
            status, _, err = finish()
        self.assertEqual(status, 0, err)
        self.assertNotIn("\x1b", err)
        lines = [line for line in err.splitlines() if '"' in line]
        found = [ACCESS_LINE.fullmatch(line) for line in lines]
        self.assertEqual(len(found), 7, err)
        groups = [match.groups() if match else () for match in found]
        self.assertEqual(
            [group[2:] for group in groups],
            [
                ("GET", "/a", "200", "5"),
                ("POST", "/a?x=1", "200", "5"),
                ("HEAD", "/a", "200", "0"),
                ("GET", "/x/%0aFAKE%1b%5b31m", "200", str(len(requests[3].body))),
                ("GET", "/nowhere", "404", str(len(requests[4].body))),
                ("TCP", "hello", "200", "3"),
                ("TCP", "a\\x1b[31m\\x0aFAKE \\\\", "404", groups[6][5]),
            ],
        )
        self.assertEqual(
            [group[0] for group in groups[:5]], [a.get("X-Request-ID") for a in requests]
        )
        self.assertEqual(len({group[0] for group in groups}), 7)
        self.assertEqual([group[1] for group in groups], clients)

    def test_none_where_it_is_off(self) -> None:
        for settings, words in (
            ("info=False", []),
            ("info=True, access_log=False", ["serving", "stopped"]),
        ):
            with self.subTest(settings), self.program(settings) as (http, tcp, finish):
                self.assertEqual(http.get("/a").text, "12345")
                tcp.send("hello\n")
                self.assertEqual(tcp.read_line(), "hi")
                status, _, err = finish()
                self.assertEqual(status, 0, err)
                self.assertEqual([line.split()[2] for line in err.splitlines()], words)

    def test_a_handler_of_the_programs_gets_records(self) -> None:
        self.router.register("/a")(lambda request: "12345")
        own = LogCapture()
        logger = logging.getLogger("pyliteflux.server.access")
        logger.addHandler(own)
        self.addCleanup(logger.removeHandler, own)
        with running_server(self.router, info=True) as server:
            answer = fetch(server, "GET", "/a")
            line = own.wait_for("/a")
        self.assertRegex(line, r'\A127\.0\.0\.1:\d+ "GET /a" 200 5 \d+\.\d+ms\Z')
        self.assertEqual(own.records[0].request_id, answer.get("X-Request-ID"))
        self.assertEqual(own.records[0].levelno, logging.INFO)


APP = """
from pyliteflux import Router, Server
router = Router()
router.get("/")(lambda request: "of the app")
router.register("hi", protocol="tcp")(lambda request: "of the app")
{server} = Server(router, http_port=0, tcp_port=0)
"""


class CommandLineTests(TestCase):
    """``python -m pyliteflux``."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="pyliteflux-test-")
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name).resolve()

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text, encoding="utf-8")

    def command(self, *arguments: str) -> Command:
        return Command("-m", "pyliteflux", *arguments, cwd=self.directory)

    def addresses(self, command: Command) -> dict[str, tuple[str, int]]:
        """Return where it says that it serves."""
        line = command.wait_for_log(r"serving .*\n").group()
        found = re.findall(r"(HTTP|TCP) on (?:http://)?127\.0\.0\.1:([0-9]+)", line)
        return {name: ("127.0.0.1", int(port)) for name, port in found}

    def interrupt(self, command: Command) -> None:
        """Press Ctrl-C: it must end in good order."""
        command.signal(signal.SIGINT)
        status, _, err = command.finish()
        self.assertEqual(status, 0, err)
        self.assertIn("stopped", err)
        self.assertNotIn("Traceback", err)

    def test_without_a_target_it_says_that_it_works(self) -> None:
        with self.command("--set", "http_port=0", "--set", "tcp_port=0") as command:
            at = self.addresses(command)
            with Client(at["HTTP"]) as client:
                answer = client.get("/")
                self.assertEqual(answer.get("Content-Type"), "text/html; charset=utf-8")
                self.assertIn("It works", answer.text)
            with Client(at["TCP"]) as client:
                client.send("ping\n")
                self.assertEqual(client.read_line(), "pong")
            self.interrupt(command)

    def test_a_file_with_one_server(self) -> None:
        self.write("helper.py", "WORD = 'beside it'")
        self.write("app.py", "import helper\n" + APP.format(server="server"))
        with self.command("app.py", "--set", "tcp_keep_alive=yes") as command:
            at = self.addresses(command)
            with Client(at["HTTP"]) as client:
                self.assertEqual(client.get("/").text, "of the app")
            with Client(at["TCP"]) as client:
                for _ in range(2):  # Kept alive: the setting has arrived.
                    client.send("hi\n")
                    self.assertEqual(client.read_line(), "of the app")
            self.interrupt(command)

    def test_a_module_and_a_name_and_one_protocol(self) -> None:
        (self.directory / "package").mkdir()
        self.write("package/web.py", APP.format(server="one") + "two = Server(Router())\n")
        with self.command("package.web:one", "--protocol", "http") as command:
            at = self.addresses(command)
            self.assertEqual(list(at), ["HTTP"])
            with Client(at["HTTP"]) as client:
                self.assertEqual(client.get("/").text, "of the app")
            self.interrupt(command)

    def test_what_cannot_start_is_one_line_and_status_1(self) -> None:
        self.write("none.py", "x = 1\n")
        self.write("two.py", APP.format(server="one") + "two = Server(Router())\n")
        self.write("buggy.py", "{}['a missing key']\n")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            cases = {
                ("--set", "http_prt=1"): "did you mean 'http_port'",
                ("--set", "http_port=many"): "0 to 65535",
                ("--set", "info=maybe"): "True or False",
                ("--set", "http_port"): "NAME=VALUE",
                ("--set", f"http_port={port}", "--set", "tcp_port=0"): port,
                ("absent.py",): "absent.py",
                ("absent.module:server",): "absent",
                ("none.py",): "exactly one Server",
                ("two.py",): "one, two",
                ("two.py:three",): "three",
            }
            for arguments, word in cases.items():
                with self.subTest(arguments):
                    status, out, err = self.main(*arguments)
                    self.assertEqual((status, out), (1, ""))
                    self.assertRegex(err, r"\Apyliteflux: [^\n]*\n\Z")
                    self.assertIn(word, err)
        status, out, err = self.main("buggy.py")
        self.assertEqual((status, out), (1, ""))
        self.assertRegex(err, r"(?s)\ATraceback .*buggy.py.*\nKeyError: 'a missing key'\n\Z")

    def main(self, *arguments: str) -> tuple[int, str, str]:
        """Run the command line in this process: a new one for each would take seconds."""
        out, err, path = io.StringIO(), io.StringIO(), list(sys.path)
        given = [str(self.directory / a) if ".py" in a else a for a in arguments]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main(given)
        finally:
            sys.path[:] = path
        return status, out.getvalue(), err.getvalue()

    def test_a_port_in_use_for_a_shell(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            with self.command("--set", f"http_port={port}") as command:
                status, out, err = command.finish()
        self.assertEqual((status, out), (1, ""))
        self.assertRegex(err, rf"\Apyliteflux: [^\n]*{port}[^\n]*\n\Z")


class TraceTests(ServerTestCase):
    """`config.trace`."""

    def test_the_hops_of_one_request_come_in_order(self) -> None:
        self.router.register("/")(lambda request: "x")
        self.router.register("/fast", blocking=False)(lambda request: "x")
        with running_server(self.router, info=True, trace=True, access_log=False) as server:
            with Client(server.http_address) as client:
                for target, run in (("/", "run_on_workers"), ("/fast", "run_on_reactor")):
                    self.logs.records.clear()
                    self.assertEqual(client.get(target).text, "x")
                    self.logs.wait_for("HttpChannel.respond")
                    hops = [
                        r.getMessage()
                        for r in list(self.logs.records)
                        if r.name == "pyliteflux.server.trace"
                    ]
                    text = "\n".join(hops)
                    position = 0
                    for hop in ("data_received", "parse_head", "Router.resolve ", run,
                                "Pipeline.handle", "make_response", "HttpChannel.respond",
                                "make_reply"):  # fmt: skip
                        with self.subTest(target, hop=hop):
                            position = text.find(hop, position)
                            self.assertGreaterEqual(position, 0, text)
                    thread = "worker" if target == "/" else "reactor"
                    handled = next(hop for hop in hops if "Pipeline.handle" in hop)
                    self.assertTrue(handled.startswith(thread), handled)

    def test_it_is_off_unless_asked_for_and_ends_with_the_server(self) -> None:
        self.router.register("/")(lambda request: "x")
        for trace in (True, False):
            self.logs.records.clear()
            with running_server(self.router, info=True, trace=trace, access_log=False) as server:
                fetch(server, "GET", "/")
        self.assertEqual([r for r in self.logs.records if r.name.endswith("trace")], [])
        self.assertIsNone(sys.getprofile())
