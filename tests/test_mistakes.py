"""A programmer's mistake never passes in silence: it is told where it is made, with the way out.

Contract X1; R2, R7, R8 and C3 are its older cases.
"""

from __future__ import annotations

import functools
import unittest
import unittest.mock
from collections.abc import Callable
from typing import Any

from pyliteflux import Route, RouteError, Router, Server

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
        for path in ("/v1/items:batch", "/a:b", "/:", "/::x", "/:1", "/%3Cid%3E", "/a%3Fb"):
            with self.subTest(path):
                router = Router()
                router.get(path)(handler)
                self.assertIs(router.resolve("GET", path)[0].handler, handler)

    def test_a_query_in_a_path_is_refused(self) -> None:
        for path in ("/a?b=1", "/a#b", "/a/{id}/c?d"):
            with self.subTest(path), self.assertRaisesRegex(RouteError, "query_params"):
                Router().get(path)(handler)

    def test_a_tcp_command_that_is_a_path_is_refused(self) -> None:
        with self.assertRaisesRegex(RouteError, "'/hello' begins with '/'.*write 'hello'"):
            Router().register("/hello", protocol="tcp")


def yields(*_: Any) -> Any:
    yield 1


async def later(*_: Any) -> Any:
    return False


class LaterObject:
    async def __call__(self, *_: Any) -> None: ...


class MarkedObject:
    """As `inspect.markcoroutinefunction` (Python 3.12) leaves one that returns a coroutine."""

    def __init__(self) -> None:
        self._is_coroutine_marker = object()

    def __call__(self, *_: Any) -> None: ...


class NeverRuns(unittest.TestCase):
    """X1: a call of an async function, or of a generator, runs nothing, and nobody is told."""

    def expect(self, register: Callable[[Any], Any], may_yield: bool = False) -> None:
        for function in (later, LaterObject(), MarkedObject(), functools.partial(later, 1)):
            with self.subTest(function), self.assertRaisesRegex(TypeError, "async.*plain def"):
                register(function)
        if may_yield:
            register(yields)
        else:
            with self.assertRaisesRegex(TypeError, "generator"):
                register(functools.partial(yields))

    def test_hooks(self) -> None:
        """An async guard let everybody in."""
        server = Server(Router())
        for name in ("on_connect", "on_disconnect", "on_join", "on_leave"):
            with self.subTest(name):
                self.expect(getattr(server, name))

    def test_methods_of_middlewares(self) -> None:
        for name in ("process_request", "process_response", "on_finish"):
            with self.subTest(name):
                self.expect(
                    lambda function, name=name: Server(Router()).add_middleware(
                        type("Layer", (), {name: staticmethod(function)})()
                    ),
                    may_yield=name != "on_finish",
                )

    def test_error_handlers(self) -> None:
        self.expect(lambda function: Server(Router()).error(404)(function), may_yield=True)

    def test_a_mock_says_yes_to_every_name_and_is_none(self) -> None:
        Server(Router()).on_connect(unittest.mock.Mock())

    def test_background_tasks(self) -> None:
        """One that was async counted as done."""
        queue = Server(Router()).tasks
        self.expect(lambda function: queue.add(function, (), {}, "-"))


if __name__ == "__main__":
    unittest.main()
