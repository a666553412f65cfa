"""An application without a server: a request is made with it, and needs nothing else.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

import unittest
from typing import Any

from pyliteflux import Config, HTTPError, HTTPRequest, HTTPResponse, PoolFull, Router, Server
from pyliteflux.app.app import App
from pyliteflux.app.background import DROPPED, WAITING
from tests.support import captured_logs, fetch


class AppTests(unittest.TestCase):
    def setUp(self) -> None:
        self.router = Router()
        self.app = App(Config(max_form_fields=2, task_queue_limit=1), self.router)

    def ask(self, target: str) -> HTTPResponse:
        """Ask as a channel does."""
        route, params = self.router.resolve("GET", target.partition("?")[0])
        self.request = HTTPRequest("GET", target, path_params=params, app=self.app)
        self.request.route = route
        return self.app.pipeline.handle(self.request)

    def test_a_request_has_the_settings_and_the_tasks_of_its_app(self) -> None:
        tasks: list[Any] = []

        @self.router.get("/")
        def handler(request: HTTPRequest) -> Any:
            count = len(request.query_params)
            tasks.append(request.bg.add(print))
            self.assertEqual(tasks[0].state, WAITING)
            with self.assertRaises(PoolFull):
                request.bg.add(print)
            return count

        with captured_logs() as logs:
            self.assertEqual(self.ask("/?a=1&b=2").body, b"2")
        self.assertIs(self.request.config, self.app.config)
        self.assertEqual(tasks[0].state, DROPPED)  # No server runs its tasks.
        self.assertTrue(logs.find("the server does not run"))
        self.assertEqual(self.ask("/?a=1&b=2&c=3").status, 413)

    def test_a_request_that_is_made_by_hand_has_an_app_of_its_own(self) -> None:
        one, other = HTTPRequest(), HTTPRequest()
        one.config.update(max_form_fields=1)
        self.assertNotEqual(one.config.max_form_fields, other.config.max_form_fields)
        self.assertEqual(one.bg.add(print).state, WAITING)

    def test_what_answers_an_error_belongs_to_the_app(self) -> None:
        @self.router.get("/")
        def handler(request: HTTPRequest) -> Any:
            raise HTTPError(404)

        @self.app.error(404)
        def nothing(request: HTTPRequest, error: HTTPError) -> Any:
            return "nothing"

        self.assertEqual((self.ask("/").status, self.ask("/").body), (404, b"nothing"))
        other = App(Config(), self.router)
        request = HTTPRequest(app=other)
        request.route = self.request.route
        self.assertEqual(other.pipeline.handle(request).body, b'{"error": "Not Found"}')

    def test_an_error_handler_is_for_an_error_and_can_be_called(self) -> None:
        for kind in (200, 600, "404", BaseException, object()):
            with self.subTest(kind), self.assertRaises(ValueError):
                self.app.error(kind)  # type: ignore[arg-type]
        with self.assertRaises(TypeError):
            self.app.error(404)(lambda request: None)

    def test_a_server_is_its_app_with_a_wire(self) -> None:
        server = Server(self.router)
        self.assertIs(server.router, self.router)

        @server.error(404)
        def nothing(request: HTTPRequest, error: HTTPError) -> Any:
            return type(request.app).__name__

        server.start("http", http_port=0)
        self.addCleanup(server.stop)
        self.assertEqual(fetch(server, "GET", "/none").body, b"App")


if __name__ == "__main__":
    unittest.main()
