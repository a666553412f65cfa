"""Routes over real sockets (R1 to R8)."""

from __future__ import annotations

import itertools
import json
import threading
from typing import Any
from urllib.parse import quote

from pyliteflux import Middleware, Route, RouteError, Router
from tests.support import Client, ServerTestCase, fetch, make_server, stop, wait_for

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")


class RegistrationTests(ServerTestCase):
    def test_a_route_may_come_before_or_after_the_server(self) -> None:
        """R1: even while it runs."""
        previous = Route.default
        Route.default = Router()
        self.addCleanup(setattr, Route, "default", previous)
        Route.register("/before")(lambda request: "before")
        server = make_server(Route.default)
        Route.register("/after")(lambda request: "after")
        server.start()
        self.addCleanup(stop, server)
        client = self.connect(server)
        self.assertEqual(client.get("/later").status, 404)
        Route.register("/later")(lambda request: "later")
        for name in ("before", "after", "later"):
            self.assertEqual(client.get(f"/{name}").text, name)

    def test_decorators_stack(self) -> None:
        """R1: the function can still be called, and is registered under each path."""

        @self.router.register("/one")
        @self.router.register("/two", method="post")
        @self.router.register("three", protocol="tcp")
        def handler(request: Any) -> str:
            return f"{request.method} {request.path}"

        server = self.serve()
        self.assertEqual(fetch(server, "GET", "/one").text, "GET /one")
        self.assertEqual(fetch(server, "POST", "/two", b"").text, "POST /two")
        client = self.connect_tcp(server)
        client.send("three\n")
        self.assertEqual(client.read_line(), "TCP three")

    def test_each_method_is_served(self) -> None:
        """R2: in any letter case, or as a list."""
        for method in METHODS:
            self.router.register("/own", method=method.title())(
                lambda request, method=method: (f"own {method}", {"X-Method": request.method})
            )
        self.router.register("/list", method=["get", "Post"])(lambda request: request.method)
        client = self.connect(self.serve())
        for method in METHODS:
            answer = client.request(method, "/own")
            self.assertEqual((answer.status, answer.get("X-Method")), (200, method))
            self.assertEqual(answer.text, "" if method == "HEAD" else f"own {method}")
        self.assertEqual(client.get("/list").text, "GET")
        self.assertEqual(client.request("POST", "/list").text, "POST")
        self.assertEqual(client.request("PUT", "/list").status, 405)

    def test_one_handler_may_serve_both_protocols(self) -> None:
        """R2: the command is the path, with or without its slash."""

        @self.router.register("/hello", protocol="both")
        def hello(request: Any) -> dict[str, str]:
            return {"path": request.path}

        @self.router.register("/http-only")
        def http_only(request: Any) -> str:
            return "http"

        server = self.serve(tcp_keep_alive=True)
        self.assertEqual(fetch(server, "GET", "/hello").json, {"path": "/hello"})
        client = self.connect_tcp(server)
        for command in ("hello", "/hello"):
            client.send(json.dumps({"command": command}) + "\n")
            self.assertEqual(json.loads(client.read_line()), {"path": command})
        client.send('{"command": "http-only"}\n')
        self.assertEqual(json.loads(client.read_line())["code"], "unknown_command")

    def test_the_same_route_twice_answers_with_the_last(self) -> None:
        """R4."""
        self.router.register("/a")(lambda request: "first")
        self.router.register("/a")(lambda request: "second")
        self.assertEqual(len(self.logs.find("registered twice")), 1)
        self.assertEqual(self.logs.find("registered twice")[0].count(__file__ + ":"), 2)
        self.assertEqual(fetch(self.serve(), "GET", "/a").text, "second")

    def test_an_async_handler_is_refused(self) -> None:
        """R8."""

        async def handler(request: Any) -> str:
            return "never"

        with self.assertRaisesRegex(RouteError, "async"):
            self.router.register("/async")(handler)
        self.assertEqual(fetch(self.serve(), "GET", "/async").status, 404)

    def test_a_tcp_command_under_http_asks_what_was_meant(self) -> None:
        """R7."""
        with self.assertRaisesRegex(RouteError, "did you mean protocol='tcp'"):
            self.router.register("hello")


class MatchingTests(ServerTestCase):
    def test_a_parameter_is_one_decoded_segment(self) -> None:
        """R3: a str; in 0.1.2 only digits match."""

        @self.router.register("/user/{id}")
        def user(request: Any) -> Any:
            return {"id": request.path_params["id"], "path": request.path}

        @self.router.register("/user/{id}/posts/{post}")
        def post(request: Any) -> Any:
            return request.path_params

        client = self.connect(self.serve())
        for value in ("42", "anna", "a b", "a/b", "ü", "你好", "%41", "a+b", "a?b#c", ".", "x&y=z"):
            with self.subTest(value):
                answer = client.get(f"/user/{quote(value, safe='+')}")
                self.assertEqual(answer.json["id"], value)
                self.assertEqual(answer.json["path"], f"/user/{value}")
        self.assertEqual(client.get("/user/a%2Fb").json["id"], "a/b")
        self.assertEqual(client.get("/user/a?id=5").json["id"], "a")
        self.assertEqual(client.get("/user/1/posts/2").json, {"id": "1", "post": "2"})
        for target in ("/user/", "/user", "/user/1/", "/user//posts/2", "/user/1/posts/"):
            self.assertEqual(client.get(target).status, 404, target)

    def test_types_on_request(self) -> None:
        """R3."""
        for kind in ("int", "float", "path"):
            self.router.register(f"/{kind}/{{x:{kind}}}")(lambda request: request.path_params)
        client = self.connect(self.serve())
        self.assertEqual(client.get("/int/5").json, {"x": 5})
        self.assertEqual(client.get("/float/5").json, {"x": 5.0})
        self.assertEqual(client.get("/float/2.5").json, {"x": 2.5})
        self.assertEqual(client.get("/path/a/b%20c/").json, {"x": "a/b c/"})
        for target in ("/int/x", "/int/1.5", "/int/", "/float/x", "/float/nan", "/path/"):
            self.assertEqual(client.get(target).status, 404, target)

    def test_a_wildcard_takes_the_rest(self) -> None:
        """R3."""
        self.router.register("/files/*")(lambda request: request.path_params)
        client = self.connect(self.serve())
        for target, rest in (("/files/", ""), ("/files/a", "a"), ("/files/a/b/c.txt", "a/b/c.txt"),
                             ("/files/a%20b", "a b")):  # fmt: skip
            self.assertEqual(client.get(target).json, {"*": rest})
        self.assertEqual(client.get("/files").status, 404)
        self.assertEqual(client.get("/filesystem").status, 404)

    def test_static_beats_parameter_beats_wildcard(self) -> None:
        """R3: whatever the order of registration."""
        paths = ("/x/me", "/x/{id}", "/x/*")
        for order in itertools.permutations(paths):
            self.router = Router()
            for path in order:
                self.router.register(path)(lambda request, path=path: path)
            client = self.connect(self.serve())
            for target, path in (("/x/me", "/x/me"), ("/x/%6De", "/x/me"), ("/x/you", "/x/{id}"),
                                 ("/x/me/too", "/x/*"), ("/x/", "/x/*")):  # fmt: skip
                self.assertEqual(client.get(target).text, path, order)

    def test_the_query_is_no_part_of_the_path(self) -> None:
        """R3."""
        self.router.register("/a")(lambda request: request.query_params)
        client = self.connect(self.serve())
        self.assertEqual(client.get("/a?x=/b/c?d").json, {"x": "/b/c?d"})
        self.assertEqual(client.get("/a?").json, {})

    def test_a_whole_url_as_target_finds_its_path(self) -> None:
        """RFC 9112 section 3.2.2: as a client of a proxy sends it."""
        self.router.register("/a/{id}")(lambda request: request.path_params)
        self.router.register("/")(lambda request: "root")
        client = self.connect(self.serve())
        self.assertEqual(client.get("http://test/a/5?x=1").json, {"id": "5"})
        self.assertEqual(client.get("http://test").text, "root")


class RefusalTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.router.register("/both", method=["GET", "POST"])(lambda request: {"a": 1})
        self.router.register("/write/{id}", method="PUT")(lambda request: "written")

    def test_an_unknown_path_is_a_404(self) -> None:
        """R6: exactly this body; and the connection lives on."""
        client = self.connect(self.serve())
        for method in METHODS:
            answer = client.request(method, "/unknown")
            self.assertEqual(answer.status, 404)
            if method != "HEAD":
                self.assertEqual(answer.json, {"error": "Not Found"})
        self.assertEqual(client.get("/both").status, 200)

    def test_another_method_is_a_405_with_allow(self) -> None:
        """R6: RFC 9110 section 15.5.6."""
        client = self.connect(self.serve())
        for method, target, allowed in (
            ("PUT", "/both", {"GET", "HEAD", "POST", "OPTIONS"}),
            ("DELETE", "/both", {"GET", "HEAD", "POST", "OPTIONS"}),
            ("GET", "/write/1", {"PUT", "OPTIONS"}),
            ("HEAD", "/write/1", {"PUT", "OPTIONS"}),
        ):
            answer = client.request(method, target)
            self.assertEqual(answer.status, 405)
            self.assertEqual(set((answer.get("Allow") or "").split(", ")), allowed)
            if method != "HEAD":
                self.assertEqual(answer.json, {"error": "Method Not Allowed"})

    def test_head_has_the_fields_of_get_and_no_body(self) -> None:
        """R6: RFC 9110 section 9.3.2."""
        client = self.connect(self.serve())
        for target in ("/both", "/unknown"):
            head, get = client.request("HEAD", target), client.get(target)
            self.assertEqual((head.status, head.body), (get.status, b""))
            for name in ("Content-Length", "Content-Type"):
                self.assertEqual(head.get(name), get.get(name))

    def test_options_is_answered_automatically(self) -> None:
        """R6: for a path, and for the server (RFC 9110 section 9.3.7)."""
        client = self.connect(self.serve())
        answer = client.request("OPTIONS", "/both")
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(answer.get("Allow"), "GET, HEAD, OPTIONS, POST")
        answer = client.request("OPTIONS", "*")
        self.assertEqual(answer.status, 204)
        self.assertEqual(set((answer.get("Allow") or "").split(", ")), set(METHODS))

    def test_an_unknown_method_is_a_501(self) -> None:
        """RFC 9110 section 15.6.2."""
        client = self.connect(self.serve())
        client.send_request("BREW", "/both")
        self.assertEqual(client.read_response().status, 501)


class RouterTests(ServerTestCase):
    def test_routers_isolate_servers(self) -> None:
        """R5: Route is the default, and a server with a router knows nothing of it."""
        previous = Route.default
        Route.default = Router()
        self.addCleanup(setattr, Route, "default", previous)
        Route.register("/shared")(lambda request: "shared")
        self.router.register("/own")(lambda request: "own")
        own, default = self.serve(), make_server(Route.default)
        default.start()
        self.addCleanup(stop, default)
        self.assertEqual(fetch(own, "GET", "/own").text, "own")
        self.assertEqual(fetch(own, "GET", "/shared").status, 404)
        self.assertEqual(fetch(default, "GET", "/shared").text, "shared")
        self.assertEqual(fetch(default, "GET", "/own").status, 404)

    def test_an_empty_router_is_not_the_default(self) -> None:
        """R5: an empty registry is one all the same."""
        previous = Route.default
        Route.default = Router()
        self.addCleanup(setattr, Route, "default", previous)
        Route.register("/shared")(lambda request: "shared")
        self.assertEqual(fetch(self.serve(), "GET", "/shared").status, 404)


class ThreadTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.threads: list[str] = []

        def note(request: Any) -> str:
            self.threads.append(threading.current_thread().name)
            return "noted"

        class Noting(Middleware):
            def process_request(self, request: Any) -> None:
                note(request)

            def process_response(self, request: Any, response: Any) -> Any:
                note(request)
                return response

        self.middleware = Noting()
        self.router.register("/default")(note)
        self.router.register("/pool", blocking=True)(note)
        self.router.register("/loop", blocking=False)(note)
        self.router.register("pool", protocol="tcp")(note)
        self.router.register("loop", protocol="tcp", blocking=False)(note)

    def check(self, is_pool: bool) -> None:
        self.assertEqual(len(self.threads), 3)
        self.assertEqual(len(set(self.threads)), 1, self.threads)
        name = self.threads[0]
        self.assertTrue(name.startswith("pyliteflux-worker" if is_pool else "pyliteflux-reactor"))
        self.threads.clear()

    def test_the_handler_and_its_middlewares_run_where_the_route_says(self) -> None:
        """R8: on the worker pool by default, on the reactor thread on the author's promise."""
        server = self.serve()
        server.add_middleware(self.middleware)
        client = self.connect(server)
        for target, is_pool in (("/default", True), ("/pool", True), ("/loop", False)):
            self.assertEqual(client.get(target).text, "noted")
            self.check(is_pool)
        for command, is_pool in (("pool", True), ("loop", False)):
            with Client(server.tcp_address) as tcp:
                tcp.send(f"{command}\n")
                self.assertEqual(tcp.read_line(), "noted")
            self.check(is_pool)

    def test_a_handler_that_blocks_holds_nobody_up(self) -> None:
        """R8: twenty of them wait at once, and others are answered meanwhile."""
        release = threading.Event()
        entered = threading.Semaphore(0)

        @self.router.register("/block")
        def block(request: Any) -> str:
            entered.release()
            wait_for(release, "the others were answered")
            return "released"

        server = self.serve()
        blocked = [self.connect(server) for _ in range(20)]
        for client in blocked:
            client.send_request("GET", "/block")
        for _ in blocked:
            self.assertTrue(entered.acquire(timeout=10), "all blocking handlers run at once")
        for target in ("/default", "/loop"):
            self.assertEqual(fetch(server, "GET", target).text, "noted")
        release.set()
        for client in blocked:
            self.assertEqual(client.read_response().text, "released")
