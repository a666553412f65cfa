"""route: what a handler must be, and what a registered one knows of itself (R2, R8)."""

from __future__ import annotations

import functools
import inspect
import unittest
from typing import Any

from pyliteflux import HTTPError, RouteError, Router
from pyliteflux.app.route import (
    NOT_FOUND,
    Route,
    checked_methods,
    not_allowed_route,
    options_route,
    run_on_reactor,
    run_on_workers,
)
from pyliteflux.statuses import METHODS


def handler(request: Any) -> str:
    return "answer"


class Handlers(unittest.TestCase):
    def test_an_async_handler_is_refused(self) -> None:
        """R8: whatever shape it comes in."""

        async def coroutine(request: Any) -> None: ...

        async def generator(request: Any) -> Any:
            yield ""

        class Callable_:
            async def __call__(self, request: Any) -> None: ...

        class Methods:
            async def method(self, request: Any) -> None: ...

            @staticmethod
            async def static(request: Any) -> None: ...

        for bad in (
            coroutine, generator, Callable_(), Methods().method, Methods.static,
            functools.partial(coroutine, 1), functools.partial(Callable_(), 1),
            functools.partial(functools.partial(coroutine)),
        ):  # fmt: skip
            for protocol in ("http", "tcp", "both"):
                with self.subTest(bad), self.assertRaisesRegex(RouteError, "async.*plain def"):
                    Router().register(
                        "a" if protocol == "tcp" else "/a", protocol=protocol
                    )(bad)  # fmt: skip

    @unittest.skipUnless(hasattr(inspect, "markcoroutinefunction"), "since Python 3.12")
    def test_a_plain_function_that_is_marked_as_async_is_refused(self) -> None:
        marked = inspect.markcoroutinefunction(lambda request: None)  # type: ignore[attr-defined]
        with self.assertRaisesRegex(RouteError, "async.*plain def"):
            Router().register("/a")(marked)

    def test_a_handler_must_be_callable(self) -> None:
        with self.assertRaisesRegex(RouteError, "cannot be called"):
            Router().register("/a")("not a function")  # type: ignore[type-var]


class Routes(unittest.TestCase):
    def test_any_other_method_is_refused_with_the_valid_ones(self) -> None:
        """R2: a RouteError, which is a ValueError."""
        for method in ("TRACE", "CONNECT", "", "GET POST", "GET,POST", ["GET", "FOO"], [None], []):
            with self.subTest(method), self.assertRaises(RouteError) as caught:
                Router().register("/a", method=method)  # type: ignore[arg-type]
            self.assertIsInstance(caught.exception, ValueError)
            for valid in METHODS:
                self.assertIn(valid, str(caught.exception))

    def test_methods_are_said_once_and_in_upper_case(self) -> None:
        self.assertEqual(checked_methods("get"), ("GET",))
        self.assertEqual(checked_methods(["post", "GET", "Post"]), ("POST", "GET"))

    def test_the_choice_of_the_thread_is_made_at_registration(self) -> None:
        """R8: blocking=True is the default."""
        router = Router()
        router.register("/pool")(handler)
        router.register("/loop", blocking=False)(handler)
        self.assertIs(router.resolve("GET", "/pool")[0].run, run_on_workers)
        self.assertIs(router.resolve("GET", "/loop")[0].run, run_on_reactor)

    def test_a_copy_differs_by_its_path_alone(self) -> None:
        route = Route("/a", handler, ("GET",), blocking=False, max_body=5, name="one")
        route.parameters = (("x", "int"),)
        copy = route.under("/b/a")
        self.assertEqual((route.path, copy.path), ("/a", "/b/a"))
        for name in set(Route.__slots__) - {"path"}:
            with self.subTest(name):
                self.assertIs(getattr(copy, name), getattr(route, name))

    def test_its_place_is_where_its_handler_was_written(self) -> None:
        @functools.wraps(handler)
        def wrapped(request: Any) -> Any:
            return handler(request)

        for one in (handler, wrapped):
            file, _, line = Route("/a", one).place.rpartition(":")
            self.assertEqual((file, int(line)), (__file__, handler.__code__.co_firstlineno))
        self.assertEqual(Route("/a", print).place, repr(print))

    def test_what_answers_where_there_is_no_route(self) -> None:
        with self.assertRaises(HTTPError) as caught:
            NOT_FOUND.handler(None)
        self.assertEqual((caught.exception.status, NOT_FOUND.path), (404, ""))
        with self.assertRaises(HTTPError) as caught:
            not_allowed_route("GET, HEAD").handler(None)
        self.assertEqual(caught.exception.headers, {"Allow": "GET, HEAD"})
        self.assertEqual(options_route("GET").handler(None), (None, 204, {"Allow": "GET"}))


if __name__ == "__main__":
    unittest.main()
