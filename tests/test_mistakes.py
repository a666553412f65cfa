"""A programmer's mistake never passes in silence: it is told where it is made, with the way out.

Contract X1; R2, R7, R8 and C3 are its older cases.
"""

from __future__ import annotations

import functools
import operator
import unittest
from typing import Any

from pyliteflux import ConfigError, Middleware, Route, RouteError, Router, Server
from pyliteflux.app.background import TaskQueue
from pyliteflux.app.request import HTTPRequest
from pyliteflux.otherwords import REGISTRATION, REQUEST, SERVER, SETTINGS
from pyliteflux.signatures import misfit
from tests.support import ServerTestCase, fetch, make_server, stop

VERBS = ("get", "post", "put", "delete", "patch", "head", "options")


def handler(request: Any) -> str:
    return "answer"


class Verbs(unittest.TestCase):
    def test_router_server_and_route_have_all_seven(self) -> None:
        router, server = Router(), Server(Router())
        default, Route.default = Route.default, Router()
        self.addCleanup(setattr, Route, "default", default)
        for owner, routes in ((router, router), (server, server.router), (Route, Route.default)):
            for verb in VERBS:
                with self.subTest(owner=owner, verb=verb):
                    decorate = getattr(owner, verb)(f"/{verb}/{{id}}", name=verb)
                    self.assertIs(decorate(handler), handler)
                    route, parameters = routes.resolve(verb.upper(), f"/{verb}/7")
                    self.assertEqual((route.name, parameters), (verb, {"id": "7"}))
                    self.assertEqual(route.methods, (verb.upper(),))


class Paths(unittest.TestCase):
    def test_a_parameter_in_another_spelling_is_refused_with_ours(self) -> None:
        for path, ours in (
            ("/u/<id>", "write {id}"),
            ("/u/<int:id>", "write {id:int}"),
            ("/u/<float:x>/more", "write {x:float}"),
            ("/f/<path:rest>", "write {rest:path}"),
            ("/u/<string:name>", "write {name}"),
            ("/u/<string(length=2):code>", "write {code}"),
            ("/u/<uuid:id>", "write {id}"),
            ("/u/:id", "write {id}"),
            ("/u/:id/posts", "write {id}"),
            (r"/u/(?P<id>\d+)", "write {name} or {name:int}"),
            ("/u/pre-<id>", "write {name} or {name:int}"),
        ):
            with self.subTest(path), self.assertRaises(RouteError) as caught:
                Router().get(path)(handler)
            self.assertIn(ours, str(caught.exception))
            self.assertIn(repr(path), str(caught.exception))

    def test_what_only_looks_like_one_is_a_literal(self) -> None:
        for path in ("/v1/items:batch", "/a:b", "/:", "/::x", "/:1", "/%3Cid%3E"):
            with self.subTest(path):
                router = Router()
                router.get(path)(handler)
                self.assertIs(router.resolve("GET", path)[0].handler, handler)

    def test_a_tcp_command_that_is_a_path_is_refused(self) -> None:
        with self.assertRaisesRegex(RouteError, "'/hello' begins with '/'.*write 'hello'"):
            Router().register("/hello", protocol="tcp")


class Signatures(unittest.TestCase):
    def test_a_handler_that_cannot_take_a_request_is_refused(self) -> None:
        def nothing() -> str:
            return ""

        def two(request: Any, id: str) -> str:
            return ""

        def named(request: Any, *, id: str) -> str:
            return ""

        class View:
            def without_self() -> str:  # type: ignore[misc]
                return ""

            def get(self, request: Any, id: str) -> str:
                return ""

            def __call__(self) -> str:
                return ""

        for function, said in (
            (nothing, r"is nothing\(\), .*: def nothing\(request\)$"),
            (two, r"is two\(request, id\), .*path parameters are in request.path_params"),
            (named, r"is named\(request, id\)"),
            (lambda: "", r"def <lambda>\(request\)"),
            (View, r"is the class View: register a function, .*: View\(\)"),
            (View().get, r"is get\(request, id\)"),
            (View().without_self, "is without_self"),
            (View(), "is __call__"),
            (functools.partial(nothing), r"nothing\(\)"),
            (functools.partial(two, "x", "y"), "is two"),
        ):
            for protocol in ("http", "tcp", "both"):
                path = "x" if protocol == "tcp" else "/x"
                router = Router()
                with (
                    self.subTest(said, protocol=protocol),
                    self.assertRaisesRegex(RouteError, said),
                ):
                    router.register(path, protocol=protocol)(function)
                self.assertEqual(router.routes(), [])

    def test_whatever_can_take_one_is_accepted(self) -> None:
        def default(request: Any, page: int = 1) -> str:
            return ""

        def starred(*arguments: Any, **named: Any) -> str:
            return ""

        class View:
            def get(self, request: Any) -> str:
                return ""

            @classmethod
            def made(cls, request: Any) -> str:
                return ""

            @staticmethod
            def static(request: Any) -> str:
                return ""

            def __call__(self, request: Any) -> str:
                return ""

        @functools.wraps(handler)
        def wrapped(*arguments: Any) -> str:
            return ""

        def two(request: Any, id: str) -> str:
            return ""

        for function in (
            default, starred, wrapped, View().get, View.made, View().static, View(), len, str.upper,
            functools.partial(two, id="7"), functools.partial(two, "before"), print,
            functools.lru_cache(handler), operator.attrgetter("path"), operator.itemgetter(1),
        ):  # fmt: skip
            with self.subTest(function):
                Router().register("/x")(function)

    def test_it_is_as_python_would_decide(self) -> None:
        """Against the call itself, for all small shapes of functions and calls."""
        lists = (
            *("", "a", "a, b", "a, b=1", "a, /", "a, /, b", "a, *, c", "a, *, c=1", "*rest"),
            *("a, *rest", "**named", "a, **named", "a, /, **named", "a, b=1, *rest, c, **named"),
        )
        for written in lists:
            function = eval(f"lambda {written}: None")
            for count in range(4):
                for names in ((), ("a",), ("b",), ("c",), ("b", "c"), ("z",)):
                    try:
                        function(*[None] * count, **dict.fromkeys(names))
                        fits = True
                    except TypeError:
                        fits = False
                    said = misfit(function, count, names)
                    self.assertEqual(said is None, fits, (written, count, names))

    def test_hooks_error_handlers_middlewares_and_tasks_too(self) -> None:
        server = Server(Router())
        for register, said in (
            (server.on_connect, r"on_connect is called as none\(client\), and none\(\) cannot be"),
            (server.on_disconnect, r"none\(client, reason\)"),
            (server.on_join, r"none\(topic, client_id\)"),
            (server.on_leave, r"none\(topic, client_id\)"),
            (server.error(404), r"an error handler is called as none\(request, error\)"),
        ):

            def none() -> None: ...

            with self.subTest(said), self.assertRaisesRegex(TypeError, said):
                register(none)
            with self.assertRaisesRegex(TypeError, "takes a function, not 7"):
                register(7)  # type: ignore[type-var]
        for name in ("process_request", "process_response", "on_finish"):
            middleware = Middleware()
            setattr(middleware, name, lambda: None)
            with self.assertRaisesRegex(TypeError, f"Middleware.{name} is called as"):
                server.add_middleware(middleware)
        tasks = TaskQueue(10)
        for function, arguments, named in (
            (handler, (), {}),
            (handler, (1, 2), {}),
            (handler, (1,), {"x": 2}),
        ):
            with self.assertRaisesRegex(
                TypeError, r"task handler\(request\) cannot be called with"
            ):
                tasks.add(function, arguments, named, "id")
        self.assertEqual(len(tasks._live), 0)


class OtherWords(ServerTestCase):
    def test_settings_of_others_are_answered_with_ours(self) -> None:
        for name, ours in SETTINGS.items():
            with self.subTest(name), self.assertRaises(ConfigError) as caught:
                Server(**{name: 1})
            self.assertEqual(str(caught.exception), f"there is no setting {name!r}: {ours} here")
        self.assertIn("http_port", SETTINGS["port"])

    def test_arguments_of_a_registration(self) -> None:
        for register in (Router().register, Route.register, Router().get, Server(Router()).post):
            for name, ours in REGISTRATION.items():
                with self.assertRaises(TypeError) as caught:
                    register("/x", **{name: ["GET"]})  # type: ignore[arg-type, operator]
                self.assertEqual(
                    str(caught.exception), f"a registration takes no {name!r}: {ours} here"
                )
            with self.assertRaisesRegex(TypeError, "takes no 'zzz'$"):
                register("/x", zzz=1)  # type: ignore[arg-type, operator]

    def test_attributes_of_servers_routers_and_requests(self) -> None:
        met: list[Any] = []
        self.router.get("/")(lambda request: met.append(request))
        server = make_server(self.router)
        server.start()
        self.addCleanup(stop, server)
        fetch(server, "GET", "/")
        (request,) = met
        assert isinstance(request, HTTPRequest)
        for owner, words in ((server, SERVER), (Router(), SERVER), (request, REQUEST)):
            for name, ours in words.items():
                with self.subTest(owner=owner, name=name):
                    if hasattr(type(owner), name):
                        continue  # It is ours as well, there.
                    self.assertFalse(hasattr(owner, name))
                    self.assertIsNone(getattr(owner, name, None))
                    with self.assertRaises(AttributeError) as caught:
                        getattr(owner, name)
                    said = f"object has no attribute {name!r}. {name!r}: {ours} here"
                    self.assertTrue(str(caught.exception).endswith(said), caught.exception)
            with self.assertRaisesRegex(AttributeError, "has no attribute 'zzz'$"):
                _ = owner.zzz
        request.args = {"a": 1}  # Q6: a middleware may call it so.
        self.assertEqual(request.args, {"a": 1})

    def test_no_word_is_one_of_ours(self) -> None:
        """A word that comes to be ours leaves the table."""
        self.assertEqual([name for name in SETTINGS if hasattr(Server().config, name)], [])
        self.assertEqual([name for name in REQUEST if hasattr(HTTPRequest, name)], [])
        self.assertEqual([name for name in SERVER if hasattr(Server, name)], [])


if __name__ == "__main__":
    unittest.main()
