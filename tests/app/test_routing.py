"""routing: what is registered, what is refused, and which route a path finds (R1 to R8)."""

from __future__ import annotations

import inspect
import itertools
import random
import re
import unittest
from collections.abc import Callable
from typing import Any

from pyliteflux import HTTPError, Route, RouteError, Router
from pyliteflux.app.route import run_on_reactor
from pyliteflux.statuses import METHODS
from tests.support import captured_logs


def handler(request: Any) -> str:
    return "answer"


def named(name: str) -> Callable[[Any], str]:
    def handler(request: Any) -> str:
        return name

    handler.__name__ = name
    return handler


def found(router: Router, path: str, method: str = "GET") -> tuple[str, dict[str, Any]]:
    """Return the name of the route and the parameters."""
    route, params = router.resolve(method, path)
    return route.name, params


def error_of(router: Router, method: str, path: str) -> HTTPError:
    """Return the error that a path answers with."""
    route, params = router.resolve(method, path)
    assert params == {}
    try:
        route.handler(None)
    except HTTPError as error:
        return error
    raise AssertionError(f"{method} {path} is answered by {route}")


class RegistrationTests(unittest.TestCase):
    def test_register_has_the_promised_signature(self) -> None:
        """R1: path, method="GET", protocol="http", blocking=True, in this order."""
        for register in (Route.register, Router().register):
            parameters = list(inspect.signature(register).parameters.values())[:4]
            self.assertEqual(
                [(p.name, p.default) for p in parameters],
                [("path", inspect.Parameter.empty), ("method", "GET"), ("protocol", "http"),
                 ("blocking", True)],
            )  # fmt: skip

    def test_it_returns_the_function_unchanged_so_that_decorators_stack(self) -> None:
        """R1."""
        router = Router()
        self.assertIs(router.register("/a")(handler), handler)

        @router.register("/b")
        @router.register("/c", method="POST")
        @router.register("d", protocol="tcp")
        def stacked(request: Any) -> None:
            """Its docstring."""

        self.assertEqual(stacked.__doc__, "Its docstring.")
        self.assertIs(router.resolve("GET", "/b")[0].handler, stacked)
        self.assertIs(router.resolve("POST", "/c")[0].handler, stacked)
        command = router.resolve_command("d")
        assert command is not None
        self.assertIs(command.handler, stacked)

    def test_arguments_may_be_given_by_position(self) -> None:
        """R1."""
        router = Router()
        router.register("/a", "POST", "both", False)(handler)
        route = router.resolve("POST", "/a")[0]
        command = router.resolve_command("a")
        assert command is not None
        self.assertIs(route.blocking, False)
        self.assertIs(command.blocking, False)

    def test_every_method_is_taken_in_any_letter_case(self) -> None:
        """R2."""
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"):
            for spelled in (method, method.lower(), method.title()):
                router = Router()
                router.register("/a", method=spelled)(handler)
                self.assertEqual(found(router, "/a", method), ("handler", {}))

    def test_several_methods_may_be_given(self) -> None:
        """R2."""
        for methods in (["get", "POST"], ("Get", "post"), {"GET", "POST"}, iter(["GET", "post"])):
            router = Router()
            router.register("/a", method=methods)(handler)
            self.assertEqual(found(router, "/a", "GET"), ("handler", {}))
            self.assertEqual(found(router, "/a", "POST"), ("handler", {}))
            self.assertEqual(error_of(router, "PUT", "/a").status, 405)

    def test_one_handler_may_serve_either_protocol_or_both(self) -> None:
        """R2."""
        for protocol, http, tcp in (("http", 1, 0), ("tcp", 0, 1), ("both", 1, 1)):
            router = Router()
            path = "a" if protocol == "tcp" else "/a"
            router.register(path, protocol=protocol)(handler)
            self.assertEqual(router.resolve("GET", "/a")[0].handler is handler, bool(http))
            self.assertEqual(router.resolve_command("a") is not None, bool(tcp))

    def test_another_protocol_is_refused_with_the_valid_ones(self) -> None:
        """R2."""
        for protocol in ("HTTP", "udp", "", None):
            with self.assertRaisesRegex(RouteError, "http, tcp, both"):
                Router().register("/a", protocol=protocol)  # type: ignore[arg-type]

    def test_a_path_without_a_slash_asks_whether_tcp_was_meant(self) -> None:
        """R7."""
        for path in ("hello", "user/{id}", " /a", "*"):
            with self.assertRaises(RouteError) as caught:
                Router().register(path)
            self.assertIn(repr(path), str(caught.exception))
            self.assertIn("did you mean protocol='tcp'?", str(caught.exception))
        Router().register("hello", protocol="tcp")(handler)
        router = Router()
        router.register("hello", protocol="both")(handler)
        self.assertEqual(found(router, "/hello"), ("handler", {}))

    def test_a_path_that_is_none_is_refused(self) -> None:
        for path in ("", None, 5, b"/a"):
            with self.assertRaises(RouteError):
                Router().register(path)  # type: ignore[arg-type]

    def test_a_command_is_one_word(self) -> None:
        for path in ("two words", "a{b}", "tab\tbed", "line\n"):
            with self.subTest(path), self.assertRaisesRegex(RouteError, "one word"):
                Router().register(path, protocol="tcp")(handler)

    def test_a_failed_registration_changes_nothing(self) -> None:
        router = Router()
        for path in ("/{a}{b}", "/*/a"):
            with self.assertRaises(RouteError):
                router.register(path)(handler)
        self.assertEqual(router.routes(), [])
        self.assertEqual(error_of(router, "GET", "/x").status, 404)

    def test_a_both_route_that_cannot_be_a_command_is_not_half_registered(self) -> None:
        router = Router()
        with self.assertRaises(RouteError):
            router.register("/user/{id}", protocol="both")(handler)
        self.assertEqual(router.routes(), [])
        self.assertEqual(error_of(router, "GET", "/user/1").status, 404)


class TwiceTests(unittest.TestCase):
    def warning(self, register: Callable[[], Any]) -> list[str]:
        with captured_logs() as logs:
            register()
        return logs.lines()

    def test_the_last_wins_with_one_warning_that_names_both_places(self) -> None:
        """R4."""
        for path, protocol in (
            ("/a", "http"), ("/user/{id}", "http"), ("/files/*", "http"), ("a", "tcp"),
            ("/a", "both"),
        ):  # fmt: skip
            with self.subTest(path=path, protocol=protocol):
                router = Router()

                def first(request: Any) -> None: ...

                def second(request: Any) -> None: ...

                router.register(path, protocol=protocol)(first)
                lines = self.warning(
                    lambda router=router, path=path, protocol=protocol, second=second: (
                        router.register(path, protocol=protocol)(second)
                    )
                )
                self.assertEqual(len(lines), 1, lines)
                for function in (first, second):
                    line = function.__code__.co_firstlineno
                    self.assertIn(f"{__file__}:{line}", lines[0])
                self.assertIn(path, lines[0])
                if protocol != "tcp":
                    concrete = path.replace("{id}", "1").replace("*", "x")
                    self.assertIs(router.resolve("GET", concrete)[0].handler, second)
                if protocol != "http":
                    command = router.resolve_command("a")
                    assert command is not None
                    self.assertIs(command.handler, second)

    def test_many_methods_registered_twice_are_one_warning(self) -> None:
        """R4: one, which names the methods that are replaced."""
        router = Router()
        router.register("/a", method=["GET", "POST", "PUT"])(handler)
        lines = self.warning(
            lambda: router.register("/a", method=["POST", "GET", "DELETE"])(named("b"))
        )
        self.assertEqual(len(lines), 1, lines)
        for method in ("GET", "POST"):
            self.assertIn(method, lines[0])
        for method in ("PUT", "DELETE"):
            self.assertNotIn(method, lines[0])
        self.assertEqual(found(router, "/a", "PUT")[0], "handler")
        self.assertEqual(found(router, "/a", "GET")[0], "b")

    def test_a_parameter_of_another_name_is_the_same_route(self) -> None:
        """R4."""
        router = Router()
        router.register("/user/{id}")(named("first"))
        lines = self.warning(lambda: router.register("/user/{name}")(named("second")))
        self.assertEqual(len(lines), 1)
        self.assertEqual(found(router, "/user/x"), ("second", {"name": "x"}))

    def test_what_was_replaced_is_no_longer_listed(self) -> None:
        """R4: and so does not come back with a router that is included."""
        router = Router()
        with captured_logs():
            for name in ("first", "second"):
                router.register("/a", method=["GET", "POST"])(named(name))
                router.register("b", protocol="tcp")(named(name))
                router.register("/c", protocol="both")(named(name))
            router.register("/a", method="POST")(named("third"))
        names = [route.name for route in router.routes()]
        self.assertEqual(names, ["second", "second", "second", "second", "third"])
        outer = Router()
        self.assertEqual(
            [line for line in self.warning(lambda: outer.include(router)) if "POST" not in line], []
        )
        self.assertEqual(found(outer, "/a")[0], "second")
        self.assertEqual(found(outer, "/a", "POST")[0], "third")

    def test_what_only_overlaps_is_no_warning(self) -> None:
        """R4."""
        router = Router()

        def register() -> None:
            for path in ("/a", "/{x}", "/{x:int}", "/{x:float}", "/{x:path}", "/*", "/a/", "/a/b"):
                for method in ("GET", "POST"):
                    router.register(path, method=method)(handler)
            router.register("a", protocol="tcp")(handler)

        self.assertEqual(self.warning(register), [])


class LookupTests(unittest.TestCase):
    def test_a_parameter_is_one_non_empty_segment_and_a_str(self) -> None:
        """R3: in 0.1.2 only digits match."""
        router = Router()
        router.register("/user/{id}")(handler)
        for path, value in (
            ("/user/1", "1"), ("/user/007", "007"), ("/user/anna", "anna"), ("/user/-", "-"),
            ("/user/a.b~c", "a.b~c"), ("/user/a+b", "a+b"), ("/user/..", ".."),
        ):  # fmt: skip
            self.assertEqual(found(router, path), ("handler", {"id": value}))
        for path in ("/user/", "/user", "/user/1/", "/user/1/2", "//user/1", "/User/1", "/user//1"):
            with self.subTest(path):
                self.assertEqual(error_of(router, "GET", path).status, 404)

    def test_segments_are_percent_decoded_once_and_after_cutting(self) -> None:
        """R3: an encoded slash is part of its segment."""
        router = Router()
        router.register("/user/{id}/x")(handler)
        for written, value in (
            ("a%20b", "a b"), ("a%2Fb", "a/b"), ("a%2fb", "a/b"), ("%C3%BC", "ü"),
            ("%E4%BD%A0", "你"), ("%2541", "%41"), ("%F0%9F%98%80", "😀"), ("100%25", "100%"),
            ("%", "%"), ("%zz", "%zz"), ("%FF", "\ufffd"), ("%00", "\0"), ("%0A", "\n"),
            ("a+b", "a+b"), ("%3F%23", "?#"),
        ):  # fmt: skip
            with self.subTest(written):
                self.assertEqual(found(router, f"/user/{written}/x"), ("handler", {"id": value}))

    def test_a_static_path_may_be_written_encoded(self) -> None:
        """R3: by the client, and by who registers it."""
        router = Router()
        router.register("/café/%7Ea")(handler)
        for path in ("/caf%C3%A9/~a", "/caf%c3%a9/%7ea", "/%63af%C3%A9/~a"):
            with self.subTest(path):
                self.assertEqual(found(router, path), ("handler", {}))

    def test_types_are_there_on_request(self) -> None:
        """R3."""
        for kind, path, value in (
            ("int", "42", 42), ("int", "007", 7), ("int", "0", 0), ("int", "x", None),
            ("int", "-1", None), ("int", "1.0", None), ("int", "1_0", None), ("int", "", None),
            ("int", "٤", None), ("int", "%D9%A4", None), ("int", "9" * 101, None),
            ("int", "%34%32", 42), ("int", "42%0A", None), ("int", "+1", None),
            ("float", "1.5", 1.5), ("float", "2", 2.0), ("float", "1e5", None),
            ("float", "nan", None), ("float", "inf", None), ("float", ".5", None),
            ("float", "1.", None), ("float", "-1.5", None),
            ("str", "x", "x"), ("path", "a/b/c", "a/b/c"), ("path", "a", "a"),
            ("path", "a%2Fb/c", "a/b/c"), ("path", "", None), ("path", "a/", "a/"),
            ("path", "a//b", "a//b"),
        ):  # fmt: skip
            router = Router()
            router.register(f"/v/{{x:{kind}}}")(handler)
            with self.subTest(kind=kind, path=path):
                if value is None:
                    self.assertEqual(error_of(router, "GET", f"/v/{path}").status, 404)
                else:
                    params = found(router, f"/v/{path}")[1]
                    self.assertEqual(params, {"x": value})
                    self.assertIs(type(params["x"]), type(value))

    def test_a_wildcard_takes_its_folder_and_all_below(self) -> None:
        """R3."""
        router = Router()
        router.register("/files/*")(handler)
        for path, rest in (
            ("/files/", ""), ("/files/a", "a"), ("/files/a/b.txt", "a/b.txt"), ("/files//", "/"),
            ("/files/a/", "a/"), ("/files/%2e%2e/x", "../x"), ("/files/a%20b", "a b"),
        ):  # fmt: skip
            self.assertEqual(found(router, path), ("handler", {"*": rest}))
        for path in ("/files", "/file/", "/filesystem/", "/"):
            self.assertEqual(error_of(router, "GET", path).status, 404)

    def test_parameters_of_all_kinds_may_come_together(self) -> None:
        """R3."""
        router = Router()
        router.register("/{a}/x/{b:int}/{c:float}/*")(handler)
        self.assertEqual(
            found(router, "/p/x/1/2.5/q/r"),
            ("handler", {"a": "p", "b": 1, "c": 2.5, "*": "q/r"}),
        )

    def test_static_beats_parameter_beats_wildcard_in_any_order_of_registration(self) -> None:
        """R3."""
        paths = ["/a/b", "/a/{x:int}", "/a/{x}", "/a/{x:path}", "/a/*", "/{y}/b"]
        wanted = {
            "/a/b": "/a/b", "/a/5": "/a/{x:int}", "/a/c": "/a/{x}", "/a/c/d": "/a/{x:path}",
            "/a/": "/a/*", "/z/b": "/{y}/b",
        }  # fmt: skip
        for order in itertools.permutations(paths):
            router = Router()
            for path in order:
                router.register(path)(named(path))
            for path, name in wanted.items():
                self.assertEqual(found(router, path)[0], name, order)

    def test_the_search_goes_back_where_a_more_specific_branch_ends(self) -> None:
        """R3."""
        for order in itertools.permutations(["/a/b/c", "/a/{x}/d", "/{y}/b/e", "/a/*"]):
            router = Router()
            for path in order:
                router.register(path)(named(path))
            self.assertEqual(found(router, "/a/b/c"), ("/a/b/c", {}))
            self.assertEqual(found(router, "/a/b/d"), ("/a/{x}/d", {"x": "b"}))
            self.assertEqual(found(router, "/a/b/e"), ("/a/*", {"*": "b/e"}))
            self.assertEqual(found(router, "/q/b/e"), ("/{y}/b/e", {"y": "q"}))

    def test_a_method_that_only_a_less_specific_route_has_is_found_there(self) -> None:
        """R3, R6."""
        router = Router()
        router.register("/user/me")(named("me"))
        router.register("/user/{id}", method="DELETE")(named("delete"))
        self.assertEqual(found(router, "/user/me"), ("me", {}))
        self.assertEqual(found(router, "/user/me", "DELETE"), ("delete", {"id": "me"}))
        self.assertEqual(
            error_of(router, "PUT", "/user/me").headers, {"Allow": "DELETE, GET, HEAD, OPTIONS"}
        )

    def test_a_parameter_at_the_end_is_found_as_by_the_whole_search(self) -> None:
        """Such routes have a shorter way. It leads to the same one, in any set of routes."""
        parts = ("a", "b", "{x}", "{x:int}", "{x:float}", "%2F", "{x:path}", "*", "")
        tries = ("a", "b", "1", "1.5", "c", "", "%2F", "%61", "/", "x%")
        chance = random.Random(4)
        for _ in range(300):
            router = Router()
            for number in range(chance.randrange(1, 8)):
                path = "".join("/" + chance.choice(parts) for _ in range(chance.randrange(1, 4)))
                methods = chance.sample(("GET", "POST", "HEAD"), chance.randrange(1, 3))
                try:
                    with captured_logs():
                        router.register(path, methods)(named(f"{path} {number}"))
                except RouteError:
                    continue
            plain = Router()
            plain._root = router._root
            for _ in range(40):
                asked = "/" + "/".join(chance.choice(tries) for _ in range(chance.randrange(1, 4)))
                method = chance.choice(("GET", "POST", "HEAD", "PUT"))
                with self.subTest(asked, method=method, routes=router.routes()):
                    self.assertEqual(found(router, asked, method), found(plain, asked, method))

    def test_commands_are_looked_up_as_they_are(self) -> None:
        router = Router()
        router.register("ping", protocol="tcp")(handler)
        self.assertIsNone(router.resolve_command("PING"))
        self.assertIsNone(router.resolve_command("/ping"))
        self.assertIsNone(router.resolve_command(""))
        router.register("/hello", protocol="both")(handler)
        self.assertIsNotNone(router.resolve_command("hello"))
        self.assertIsNotNone(router.resolve_command("/hello"))

    def test_the_command_that_takes_all_is_a_route_like_others(self) -> None:
        router = Router()
        router.register("*", protocol="tcp", framing="length")(handler)
        route = router.resolve_command("*")
        assert route is not None
        self.assertEqual((route.path, route.framing), ("*", "length"))
        self.assertIsNone(router.resolve_command("ping"))  # Who asks decides what comes before it.

    def test_no_path_makes_it_raise(self) -> None:
        router = Router()
        for path in ("/a", "/{x:int}/b", "/{x:float}", "/f/*", "/p/{x:path}", "/{x}/{y}/{z}"):
            router.register(path)(handler)
        chance = random.Random(3)
        for _ in range(2000):
            path = "/" + "".join(chance.choices("afp/%21.5x+é\0", k=chance.randrange(12)))
            route, params = router.resolve("GET", path)
            self.assertIsInstance(params, dict)

    def test_a_long_path_costs_in_proportion_to_its_length(self) -> None:
        router = Router()
        for kind in ("", ":int", ":float"):
            for depth in range(1, 9):
                router.register("".join(f"/{{p{i}{kind}}}" for i in range(depth)))(handler)
        router.register("/{a}/{b}/*")(handler)
        name, params = found(router, "/1" * 4000)
        self.assertEqual(len(params["*"]), 3998 * 2 - 1)


class RefusalTests(unittest.TestCase):
    def setUp(self) -> None:
        self.router = Router()
        self.router.register("/a")(named("get"))
        self.router.register("/a", method=["PUT", "DELETE"])(named("change"))
        self.router.register("/post/{id}", method="POST")(named("post"))

    def test_an_unknown_path_is_a_404(self) -> None:
        """R6: for every method."""
        for method in METHODS:
            self.assertEqual(error_of(self.router, method, "/unknown").status, 404)

    def test_another_method_is_a_405_with_all_that_are_allowed(self) -> None:
        """R6: RFC 9110 section 15.5.6."""
        error = error_of(self.router, "POST", "/a")
        self.assertEqual(error.status, 405)
        self.assertEqual(error.headers, {"Allow": "DELETE, GET, HEAD, OPTIONS, PUT"})
        error = error_of(self.router, "GET", "/post/1")
        self.assertEqual(error.headers, {"Allow": "OPTIONS, POST"})
        self.assertEqual(error_of(self.router, "HEAD", "/post/1").status, 405)

    def test_a_method_registered_later_is_allowed_then(self) -> None:
        """R1, R6."""
        error_of(self.router, "POST", "/a")
        self.router.register("/a", method="POST")(named("new"))
        self.assertEqual(found(self.router, "/a", "POST")[0], "new")
        self.assertIn("POST", error_of(self.router, "PATCH", "/a").headers["Allow"])

    def test_head_is_answered_from_get(self) -> None:
        """R6."""
        self.assertEqual(found(self.router, "/a", "HEAD"), ("get", {}))

    def test_a_head_route_of_its_own_wins(self) -> None:
        """R6."""
        self.router.register("/a", method="HEAD")(named("head"))
        self.assertEqual(found(self.router, "/a", "HEAD"), ("head", {}))

    def test_head_finds_the_route_that_get_finds(self) -> None:
        """R3, R6: a less specific HEAD route does not come before it."""
        self.router.register("/{any}", method="HEAD")(named("other"))
        self.assertEqual(found(self.router, "/a", "HEAD"), ("get", {}))
        self.assertEqual(found(self.router, "/b", "HEAD"), ("other", {"any": "b"}))

    def test_options_is_automatic_unless_registered(self) -> None:
        """R6."""
        route, _ = self.router.resolve("OPTIONS", "/a")
        self.assertEqual(
            route.handler(None), (None, 204, {"Allow": "DELETE, GET, HEAD, OPTIONS, PUT"})
        )
        self.router.register("/a", method="OPTIONS")(named("mine"))
        self.assertEqual(found(self.router, "/a", "OPTIONS")[0], "mine")


class RouterTests(unittest.TestCase):
    def test_routers_share_nothing(self) -> None:
        """R5: neither with each other nor with the default registry."""
        one, other = Router(), Router()
        one.register("/only-in-one")(handler)
        one.register("only-in-one", protocol="tcp")(handler)
        for router in (other, Route.default):
            self.assertEqual(error_of(router, "GET", "/only-in-one").status, 404)
            self.assertIsNone(router.resolve_command("only-in-one"))

    def test_route_is_the_default_registry(self) -> None:
        """R5."""
        previous = Route.default
        Route.default = Router()
        self.addCleanup(setattr, Route, "default", previous)
        Route.register("/in-default")(handler)
        self.assertEqual(found(Route.default, "/in-default"), ("handler", {}))

    def test_a_prefix_is_put_before_http_paths(self) -> None:
        router = Router("/api")
        router.register("/a")(handler)
        router.register("b", protocol="tcp")(handler)
        self.assertEqual(found(router, "/api/a"), ("handler", {}))
        self.assertEqual(error_of(router, "GET", "/a").status, 404)
        self.assertIsNotNone(router.resolve_command("b"))
        for prefix in ("api", "/api/", "/"):
            with self.assertRaises(RouteError):
                Router(prefix)

    def test_a_router_may_be_included_in_another(self) -> None:
        inner = Router()
        inner.register("/a/{id:int}", method="PUT")(handler)
        inner.register("b", protocol="tcp")(handler)
        inner.register("/c", protocol="both", blocking=False)(handler)
        outer = Router()
        outer.include(inner, "/v1")
        self.assertEqual(found(outer, "/v1/a/5", "PUT"), ("handler", {"id": 5}))
        self.assertIsNotNone(outer.resolve_command("b"))
        self.assertIsNotNone(outer.resolve_command("/c"))
        self.assertIs(outer.resolve("GET", "/v1/c")[0].run, run_on_reactor)

    def test_url_for_writes_what_resolve_reads(self) -> None:
        router = Router()
        for path in ("/a", "/u/{id}", "/n/{n:int}/{f:float}", "/f/{rest:path}", "/w/*"):
            router.register(path, name=path)(handler)
        for name, params in (
            ("/a", {}), ("/u/{id}", {"id": "a/b ü?#%"}), ("/n/{n:int}/{f:float}",
            {"n": 5, "f": 2.5}), ("/f/{rest:path}", {"rest": "a/b c"}), ("/w/*", {"*": "x/y"}),
        ):  # fmt: skip
            url = router.url_for(name, **params)
            self.assertTrue(re.fullmatch(r"[!-~]+", url), url)
            self.assertEqual(found(router, url), (name, params))
        self.assertEqual(router.url_for("/a", q="x y", page=[1, 2]), "/a?q=x+y&page=1&page=2")
        for name, params in (("nothing", {}), ("/u/{id}", {}), ("/n/{n:int}/{f:float}",
            {"n": "x", "f": 1})):  # fmt: skip
            with self.assertRaises(RouteError):
                router.url_for(name, **params)

    def test_routes_lists_what_is_registered(self) -> None:
        router = Router()
        router.register("/a", method="POST", blocking=False, name="first")(handler)
        router.register("b", protocol="tcp")(handler)
        one, two = router.routes()
        self.assertEqual((one.path, one.methods, one.protocol), ("/a", ("POST",), "http"))
        self.assertEqual((one.blocking, one.name, one.handler), (False, "first", handler))
        self.assertEqual((two.path, two.methods, two.protocol), ("b", (), "tcp"))
        self.assertIn("POST /a", repr(one))


if __name__ == "__main__":
    unittest.main()
