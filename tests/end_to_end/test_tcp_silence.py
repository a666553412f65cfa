"""F5: who sends and never reads is sent nothing: answers=False, and NO_ANSWER. Contract T4, T5."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import pickle
import unittest
from collections.abc import Iterator
from typing import Any

from pyliteflux import NO_ANSWER, HTTPError, Middleware, RouteError, Router, StreamResponse
from tests.fakes import Simulation
from tests.support import captured_logs

FRAMINGS = ("auto", "line", "json", "xml", "length")


def asked(framing: str, command: str) -> bytes:
    """Return a message with this command, as the framing has it."""
    if framing == "xml":
        return f'<request command="{command}" id="1"/>\n'.encode()
    if framing == "json":
        return b'{"command": "%b", "id": 1}\n' % command.encode()
    if framing == "length":
        return len(command).to_bytes(4, "big") + command.encode()
    return command.encode() + b"\n"


class SilenceCase(unittest.TestCase):
    def setUp(self) -> None:
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.stack = stack
        self.logs = stack.enter_context(captured_logs())
        self.router = Router()
        self.ran: list[str] = []

        @self.router.register("ping", protocol="tcp")
        def ping(request: Any) -> str:
            return "pong"

    def simulate(self, **settings: Any) -> Simulation:
        settings = {"tcp_keep_alive": True, **settings}
        return self.stack.enter_context(Simulation(self.router, **settings))

    def heard(self, simulation: Simulation, data: bytes) -> bytes:
        peer = simulation.tcp()
        peer.send(data)
        simulation.settle()
        return peer.take()


class AnswersFalse(SilenceCase):
    """register(..., answers=False): not a byte, whatever happens; what went wrong is logged."""

    def setUp(self) -> None:
        super().setUp()

        def fail(request: Any) -> Any:
            raise RuntimeError("on purpose")

        def refuse(request: Any) -> Any:
            raise HTTPError(400, "not like this")

        def items(request: Any) -> Iterator[str]:
            yield "a"
            self.ran.append("to its end")

        def broken_items(request: Any) -> Iterator[str]:
            yield "a"
            raise RuntimeError("in the middle")

        self.handlers: dict[str, Any] = {
            "none": lambda request: None,
            "dict": lambda request: {"a": 1},
            "bytes": lambda request: b"a",
            "status": lambda request: ("a", 409),
            "fail": fail,
            "refuse": refuse,
            "items": items,
            "broken-items": broken_items,
            "stream": lambda request: StreamResponse(["a", "b"]),
            "unwritable": lambda request: object(),
            "unwritable-inside": lambda request: {"a": object()},
            "nothing": lambda request: NO_ANSWER,
        }
        for name, handler in self.handlers.items():
            for blocking in (True, False):
                path = name if blocking else f"{name}-inline"
                register = self.router.register(
                    path, protocol="tcp", blocking=blocking, answers=False
                )
                register(handler)

    def test_not_a_byte_in_any_framing_and_the_next_message_is_in_step(self) -> None:
        for framing in FRAMINGS:
            for name in self.handlers:
                for command in (name, f"{name}-inline"):
                    with self.subTest(framing, command=command):
                        simulation = self.simulate(tcp_framing=framing)
                        data = asked(framing, command) * 2
                        self.assertEqual(self.heard(simulation, data), b"")
                        pong = self.heard(simulation, data + asked(framing, "ping"))
                        self.assertEqual(pong.count(b"pong"), 1)
                        self.assertLess(len(pong), 50)

    def test_a_generator_runs_to_its_end(self) -> None:
        self.heard(self.simulate(), b"items\nitems\n")
        self.assertEqual(self.ran, ["to its end"] * 2)

    def test_errors_are_logged_one_line_a_second(self) -> None:
        simulation = self.simulate()
        self.heard(simulation, b"refuse\n" * 5)
        (line,) = self.logs.find("not like this", logging.WARNING)
        self.assertIn("TCP refuse: 400", line)
        simulation.advance(2)
        self.heard(simulation, b"status\n")
        self.assertTrue(self.logs.find("and 4 more before it"))
        self.heard(simulation, b"fail\n")
        self.assertEqual(len(self.logs.find("on purpose", logging.ERROR)), 1)

    def test_a_handler_that_does_not_return_ends_the_connection_without_a_word(self) -> None:
        simulation = self.simulate(handler_timeout=5)
        peer = simulation.tcp()
        peer.send(b"dict\n")
        simulation.settle(jobs=False)
        simulation.advance(10, jobs=False)
        simulation.settle(jobs=False)
        self.assertEqual((peer.take(), peer.saw_fin), (b"", True))
        self.assertTrue(self.logs.find("has not returned after 5 s"))

    def test_without_keep_alive_it_is_closed_without_a_word(self) -> None:
        simulation = self.simulate(tcp_keep_alive=False)
        peer = simulation.tcp()
        peer.send(b"dict\n")
        simulation.settle()
        self.assertEqual((peer.take(), peer.saw_fin), (b"", True))

    def test_where_the_route_for_the_rest_is_silent_so_are_errors_of_no_route(self) -> None:
        self.router.register("*", protocol="tcp", answers=False)(lambda request: "x")
        simulation = self.simulate(tcp_max_message=100, tcp_message_timeout=5)
        self.assertEqual(self.heard(simulation, b"unknown\n{]\n<a></b>\nping\n"), b"pong\n")
        self.assertTrue(self.logs.find("closes nothing", logging.WARNING))
        self.assertEqual(self.heard(simulation, b"x" * 101), b"")
        peer = simulation.tcp()
        peer.send(b"half")
        simulation.settle()
        simulation.advance(10)
        self.assertEqual((peer.take(), peer.saw_fin), (b"", True))

    def test_where_there_is_no_such_route_errors_are_told(self) -> None:
        answers = self.heard(self.simulate(), b"unknown\n{]\n").splitlines()
        codes = [json.loads(answer)["code"] for answer in answers]
        self.assertEqual(codes, ["unknown_command", "bad_message"])

    def test_an_http_route_always_has_an_answer(self) -> None:
        for protocol in ("http", "both"):
            with self.assertRaisesRegex(RouteError, "answers=False is for TCP"):
                self.router.register("/a", protocol=protocol, answers=False)
        with self.assertRaisesRegex(RouteError, "answers=False"):
            self.router.get("/a", answers=False)

    def test_a_copied_route_stays_silent(self) -> None:
        outer = Router()
        outer.include(self.router)
        route = outer.resolve_command("dict")
        assert route is not None
        self.assertFalse(route.answers)


class NoAnswer(SilenceCase):
    """NO_ANSWER: this time, not a byte."""

    def setUp(self) -> None:
        super().setUp()
        self.router.register("hush", protocol="tcp")(lambda request: NO_ANSWER)

    def test_not_a_byte_in_any_framing(self) -> None:
        for framing in FRAMINGS:
            with self.subTest(framing):
                simulation = self.simulate(tcp_framing=framing)
                data = asked(framing, "hush")
                self.assertEqual(self.heard(simulation, data), b"")
                heard = self.heard(simulation, data + asked(framing, "ping") + data)
                self.assertEqual(heard.count(b"pong"), 1)

    def test_with_a_status_or_a_field_it_is_none_either(self) -> None:
        self.router.register("status", protocol="tcp")(lambda request: (NO_ANSWER, 202))
        self.router.register("last", protocol="tcp")(
            lambda request: (NO_ANSWER, {"Connection": "close"})
        )
        simulation = self.simulate()
        peer = simulation.tcp()
        peer.send(b'status\n{"command": "status", "id": 1}\nlast\nping\n')
        simulation.settle()
        self.assertEqual((peer.take(), peer.saw_fin), (b"", True))

    def test_an_item_that_is_none_is_not_sent(self) -> None:
        @self.router.register("items", protocol="tcp")
        def items(request: Any) -> Iterator[Any]:
            yield "a"
            yield NO_ANSWER
            yield "b"

        self.assertEqual(self.heard(self.simulate(), b"items\n"), b"a\nb\n")

    def test_an_error_is_still_told(self) -> None:
        @self.router.register("fail", protocol="tcp")
        def fail(request: Any) -> Any:
            raise HTTPError(400, "no")

        self.assertIn(b'"status": 400', self.heard(self.simulate(), b"hush\nfail\n"))

    def test_a_middleware_sees_it_and_may_answer_so(self) -> None:
        seen: list[Any] = []

        class Hush(Middleware):
            def process_request(self, request: Any) -> Any:
                return NO_ANSWER if request.data == "away" else None

            def process_response(self, request: Any, response: Any) -> Any:
                seen.append(response)
                return response

        simulation = self.simulate()
        simulation.server.add_middleware(Hush())
        self.assertEqual(self.heard(simulation, b"hush\nping away\n"), b"")
        self.assertEqual(seen, [NO_ANSWER, NO_ANSWER])

    def test_over_http_it_is_a_204(self) -> None:
        self.router.register("/both", protocol="both")(lambda request: NO_ANSWER)
        simulation = self.simulate()
        peer = simulation.http()
        peer.send(b"GET /both HTTP/1.1\r\nHost: a\r\n\r\n")
        simulation.settle()
        self.assertTrue(peer.take().startswith(b"HTTP/1.1 204 "))

    def test_there_is_one(self) -> None:
        self.assertIs(copy.deepcopy(NO_ANSWER), NO_ANSWER)
        self.assertIs(pickle.loads(pickle.dumps(NO_ANSWER)), NO_ANSWER)
        self.assertEqual(repr(NO_ANSWER), "NO_ANSWER")


if __name__ == "__main__":
    unittest.main()
