"""signatures: what cannot be called as it will be is refused where it is registered (X1)."""

from __future__ import annotations

import functools
import operator
import unittest
from typing import Any

from pyliteflux import Middleware, RouteError, Router, Server
from pyliteflux.app.background import TaskQueue
from pyliteflux.signatures import misfit

VERBS = ("get", "post", "put", "delete", "patch", "head", "options")


def handler(request: Any) -> str:
    return "answer"


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


if __name__ == "__main__":
    unittest.main()
