"""Siblings of faults that were found by hand: the same two mechanisms, met in other places."""

from __future__ import annotations

import json
import unittest
from collections.abc import Iterator
from typing import Any

from pyliteflux import CORSMiddleware, EventStream, HTTPError, Middleware
from pyliteflux.extras.proxy import ProxyHeadersMiddleware
from tests.support import ServerTestCase, fetch, make_server, stop, wait_until


class TasksOfWhatFailed(ServerTestCase):
    """Contract B1: what a handler adds runs behind its answer, and not beside its error."""

    def setUp(self) -> None:
        super().setUp()
        self.ran: list[str] = []
        ran, router = self.ran.append, self.router

        for blocking in (True, False):

            @router.register(f"/late/{blocking}", blocking=blocking)
            def late(request: Any) -> Iterator[str]:
                request.bg.add(ran, request.path)
                yield "a"

            @router.register(f"/unwritable/{blocking}", blocking=blocking)
            def unwritable(request: Any) -> Any:
                request.bg.add(ran, request.path)
                return {"x": object()}

            @router.register(f"/status/{blocking}", blocking=blocking)
            def status(request: Any) -> Any:
                request.bg.add(ran, request.path)
                return "x", 700

        @router.register("early", protocol="tcp")
        def early_message(request: Any) -> Any:
            request.bg.add(ran, "message")
            return "x", "no status"

    def test_they_do_not_run(self) -> None:
        server = self.serve(tcp_keep_alive=True)
        for path in ("unwritable", "status"):
            for blocking in ("True", "False"):
                self.assertEqual(fetch(server, "GET", f"/{path}/{blocking}").status, 500)
        client = self.connect_tcp(server)
        client.send("early\n")
        self.assertIn("Internal Server Error", client.read_line())
        for blocking in ("True", "False"):
            self.assertEqual(fetch(server, "GET", f"/late/{blocking}").body, b"a")
        wait_until(lambda: len(self.ran) == 2, "those of a stream have run")
        self.assertEqual(sorted(self.ran), ["/late/False", "/late/True"])


class Spoiler(Middleware):
    """A layer whose answer, to whatever it gets, is no answer."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def process_response(self, request: Any, response: Any) -> Any:
        def pieces() -> Iterator[str]:
            if self.error is not None:
                raise self.error
            yield ""

        return pieces() if self.error is not None else {"x": object()}


class LayersThatSpoilIt(ServerTestCase):
    """Contract A6 and M4: the error of a layer is the answer, with the fields of the others."""

    def test_a_generator_that_fails_early_and_what_cannot_be_written(self) -> None:
        for error, status, text in (
            (HTTPError(403, "not yours"), 403, "not yours"),
            (None, 500, "Internal Server Error"),
        ):
            server = make_server(self.router)
            server.add_middleware(CORSMiddleware("*"))
            server.add_middleware(Spoiler(error))
            server.start()
            self.addCleanup(stop, server)
            with self.subTest(status):
                answer = fetch(server, "GET", "/ok")
                self.assertEqual((answer.status, answer.json["error"]), (status, text))
                self.assertEqual(answer.get("Access-Control-Allow-Origin"), "*")

    def setUp(self) -> None:
        super().setUp()

        @self.router.register("/ok")
        def ok(request: Any) -> str:
            return "ok"


class WordsOfPeers(ServerTestCase):
    def test_a_topic_that_a_client_chose_badly_is_its_error(self) -> None:
        """The README's ``/say/{room}``."""
        server = make_server(self.router, tcp_keep_alive=True)

        @self.router.register("/say/{room}", method="POST")
        def say(request: Any) -> Any:
            return {"reached": server.publish(request.path_params["room"], request.text)}

        server.start()
        self.addCleanup(stop, server)
        for name in ("a%20b", "%00", "*", "a*b", "a*", "x" * 300):
            answer = fetch(server, "POST", f"/say/{name}")
            self.assertEqual(answer.status, 400, name)
            self.assertIn("topic", answer.json["error"])
        self.assertEqual(fetch(server, "POST", "/say/a").status, 200)
        with self.assertRaises(ValueError):
            server.publish("a b", 1)

    def test_empty_members_of_a_list_of_proxies(self) -> None:
        server = make_server(self.router)
        server.add_middleware(ProxyHeadersMiddleware(["127.0.0.1"]))

        @self.router.register("/who")
        def who(request: Any) -> Any:
            return [request.client_address[0], request.scheme]

        server.start()
        self.addCleanup(stop, server)
        for value in ("1.2.3.4", "1.2.3.4,", "1.2.3.4, ,", ",1.2.3.4, 127.0.0.1,"):
            fields = {"X-Forwarded-For": value, "X-Forwarded-Proto": "https,"}
            answer = fetch(server, "GET", "/who", fields=fields)
            self.assertEqual(json.loads(answer.body), ["1.2.3.4", "https"], value)


class WhatTcpCannotAnswer(ServerTestCase):
    def test_an_event_stream_is_refused_and_not_silently_empty(self) -> None:
        @self.router.register("events", protocol="tcp")
        def events(request: Any) -> EventStream:
            return EventStream("news")

        client = self.connect_tcp(self.serve(tcp_keep_alive=True))
        client.send('{"command": "events", "id": 1}\n')
        self.assertEqual(json.loads(client.read_line())["code"], "internal")


if __name__ == "__main__":
    unittest.main()
