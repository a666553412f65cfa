"""Bodies that a handler reads while they arrive: routes with `stream=True`.

Chapter: docs/requests-and-responses.md.
"""

from __future__ import annotations

import threading
import unittest
from typing import Any

from pyliteflux import HTTPError, RouteError
from tests.support import ServerTestCase, fetch, wait_for, wait_until

LARGE = 1024 * 1024


class StreamedBodies(ServerTestCase):
    def test_a_body_is_read_piece_by_piece_and_the_connection_is_kept(self) -> None:
        @self.router.register("/", method="PUT", stream=True)
        def put(request: Any) -> Any:
            return {"size": sum(len(piece) for piece in request.stream)}

        with self.connect(self.serve()) as client:
            self.assertEqual(client.request("PUT", "/", bytes(LARGE)).json, {"size": LARGE})
            self.assertEqual(client.request("PUT", "/", b"abc").json, {"size": 3})

    def test_an_empty_body_is_an_empty_stream(self) -> None:
        """An empty file is uploaded too: with a length of 0, or none at all."""

        @self.router.register("/", method="PUT", stream=True)
        def put(request: Any) -> Any:
            return {"pieces": list(request.stream), "body": request.text}

        with self.connect(self.serve()) as client:
            for body in (b"", None):
                with self.subTest(body=body):
                    answer = client.request("PUT", "/", body)
                    self.assertEqual(answer.json, {"pieces": [], "body": ""})

    def test_a_handler_may_answer_before_it_has_read_all(self) -> None:
        @self.router.register("/", method="PUT", stream=True)
        def put(request: Any) -> Any:
            raise HTTPError(409, "there is one already")

        with self.connect(self.serve()) as client:
            client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nbegun")
            answer = client.read_response()
            self.assertEqual((answer.status, answer.get("Connection")), (409, "close"))
            client.expect_end()

    def test_a_client_that_breaks_off_ends_the_iteration(self) -> None:
        cleaned_up = threading.Event()
        failures: list[BaseException] = []

        @self.router.register("/", method="PUT", stream=True)
        def put(request: Any) -> Any:
            try:
                for _ in request.stream:
                    pass
            except HTTPError as error:
                failures.append(error)
                raise
            finally:
                cleaned_up.set()

        with self.connect(self.serve()) as client:
            client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nbegun")
            client.reset()
        wait_for(cleaned_up, "the end of the handler")
        self.assertEqual(len(failures), 1)

    def test_a_full_queue_is_a_503_and_not_a_reset(self) -> None:
        """B2 and limit 15: the refusal is made on the reactor, before a handler runs."""
        entered, release = threading.Event(), threading.Event()
        self.addCleanup(release.set)

        @self.router.register("/", method="PUT", stream=True)
        def put(request: Any) -> Any:
            return "read"

        @self.router.register("/wait")
        def wait(request: Any) -> Any:
            entered.set()
            wait_for(release, "the release")
            return "waited"

        server = self.serve(worker_threads=1, worker_queue_limit=1)
        with self.connect(server) as first, self.connect(server) as second:
            first.send_request("GET", "/wait")
            wait_for(entered, "the first handler")
            second.send_request("GET", "/wait")  # Fills the queue.
            self.until_queued(server)
            answer = fetch(server, "PUT", "/", b"body")
            self.assertEqual((answer.status, answer.get("Retry-After")), (503, "1"))
            release.set()
            self.assertEqual(first.read_response().text, "waited")
            self.assertEqual(second.read_response().text, "waited")

    def until_queued(self, server: Any) -> None:
        wait_until(lambda: server.stats["requests_waiting"] >= 1, "a request in the queue")

    def test_a_stream_that_would_hold_the_reactor_is_refused_at_registration(self) -> None:
        """On the reactor thread the handler would wait for bytes that only it can receive."""
        with self.assertRaisesRegex(RouteError, "blocking"):
            self.router.register("/", method="PUT", stream=True, blocking=False)(lambda r: None)


if __name__ == "__main__":
    unittest.main()
