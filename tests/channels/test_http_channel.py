"""HttpChannel in a simulated world: every move of its table, every deadline, to the moment.

Contract A2, A5, C5, M6, Q8.
"""

from __future__ import annotations

import contextlib
import json
import unittest
from collections.abc import Iterator
from typing import Any
from unittest import mock

from pyliteflux import EventStream, HTTPJSONResponse, Router, StreamResponse
from pyliteflux.app.pipeline import Pipeline
from pyliteflux.channels.channel import (
    BODY,
    CLOSED,
    CLOSING,
    HANDLING,
    HEAD,
    IDLE,
    SENDING,
    STOP_PATIENCE,
    STREAMING,
    State,
)
from pyliteflux.channels.http_channel import NEXT, REQUESTS_PER_TURN, HttpChannel
from pyliteflux.errors import HTTPError
from pyliteflux.server.stopping import STOP_CHECK
from tests.fakes import Peer, Simulation, noted_moves
from tests.support import captured_logs

SWEEP = 0.5  # Seconds between two looks at the deadlines: a quarter of the shortest default.
MOMENT = 0.001  # Seconds.


def get(path: str, *fields: str, version: str = "1.1") -> bytes:
    """Return a GET request."""
    lines = [f"GET {path} HTTP/{version}", "Host: test", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def post(path: str, length: int, body: bytes = b"", *fields: str) -> bytes:
    """Return a POST request that announces `length` bytes."""
    lines = [f"POST {path} HTTP/1.1", "Host: test", f"Content-Length: {length}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def statuses(data: bytes) -> list[int]:
    """Return the status of each response in these bytes; bodies must not look like one."""
    return [int(piece[:3]) for piece in data.split(b"HTTP/1.1 ")[1:]]


class ChannelCase(unittest.TestCase):
    """Routes for all tests, a simulation when asked for, and the moves that were made."""

    def setUp(self) -> None:
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.logs = self.stack.enter_context(captured_logs())
        self.closed: list[str] = []
        self.requests: list[Any] = []
        router = self.router = Router()

        @router.register("/", methods("GET", "POST"))
        def index(request: Any) -> dict[str, Any]:
            self.requests.append(request)
            return {"path": request.path, "size": len(request.body)}

        @router.register("/now", methods("GET", "POST"), blocking=False)
        def now(request: Any) -> dict[str, Any]:
            return {"size": len(request.body)}

        @router.register("/number/{n:int}")
        def number(request: Any) -> dict[str, Any]:
            return {"n": request.path_params["n"]}

        @router.register("/big")
        def big(request: Any) -> bytes:
            return b"b" * 1_000_000

        @router.register("/stream")
        def stream(request: Any) -> StreamResponse:
            def pieces() -> Iterator[bytes]:
                try:
                    for _ in range(100):
                        yield b"s" * 10_000
                finally:
                    self.closed.append("stream")

            return StreamResponse(pieces())

        @router.register("/failing")
        def failing(request: Any) -> StreamResponse:
            def pieces() -> Iterator[bytes]:
                yield b"begun"
                raise RuntimeError("on purpose")

            return StreamResponse(pieces())

    def simulate(self, **settings: Any) -> Simulation:
        return self.stack.enter_context(Simulation(self.router, **settings))

    def ask(self, simulation: Simulation, data: bytes, **options: Any) -> Peer:
        """Connect, send, and let the server do all that it can."""
        peer = simulation.http(**options)
        peer.send(data)
        simulation.settle()
        return peer


def methods(*names: str) -> Any:
    """Return methods for a route: a list is allowed (R2)."""
    return list(names)


class Moves(ChannelCase):
    """One test for each move of the table, named after it."""

    def setUp(self) -> None:
        super().setUp()
        self.moves = self.stack.enter_context(noted_moves())

    def expect(self, before: State, after: State) -> None:
        self.assertIn((before, after), self.moves)
        for old, new in self.moves:
            self.assertIn(new, NEXT[old])

    def test_idle_to_head(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, b"GET / HT")
        self.expect(IDLE, HEAD)
        self.assertIs(simulation.channel(peer).state, HEAD)

    def test_idle_to_handling(self) -> None:
        simulation = self.simulate()
        peer = simulation.http()
        peer.send(get("/"))
        simulation.settle(jobs=False)
        self.expect(IDLE, HANDLING)
        self.assertIs(simulation.channel(peer).state, HANDLING)

    def test_idle_to_closing(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, b"")
        simulation.advance(11)
        self.expect(IDLE, CLOSING)
        self.assertTrue(peer.saw_fin)

    def test_idle_to_closed(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, b"")
        peer.reset()
        simulation.settle()
        self.expect(IDLE, CLOSED)
        self.assertTrue(peer.is_over)

    def test_head_to_handling(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, get("/")[:-1])
        peer.send(b"\n")
        simulation.settle()
        self.expect(HEAD, HANDLING)
        self.assertEqual(statuses(peer.take()), [200])

    def test_head_to_closing(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, b"GET / HT")
        peer.send(b"\0\r\n\r\n")
        simulation.settle()
        self.expect(HEAD, CLOSING)
        self.assertEqual(statuses(peer.take()), [400])
        self.assertTrue(peer.saw_fin)

    def test_head_to_closed(self) -> None:
        simulation = self.simulate()
        self.ask(simulation, b"GET / HT").reset()
        simulation.settle()
        self.expect(HEAD, CLOSED)

    def test_idle_to_body(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, post("/", 10, b"12345"))
        self.expect(IDLE, BODY)
        self.assertIs(simulation.channel(peer).state, BODY)

    def test_head_to_body(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, post("/", 10)[:-1])
        peer.send(b"\n")
        simulation.settle()
        self.expect(HEAD, BODY)

    def test_body_to_handling(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, post("/", 10, b"12345"))
        peer.send(b"67890")
        simulation.settle()
        self.expect(BODY, HANDLING)
        self.assertEqual(statuses(peer.take()), [200])

    def test_body_to_closing(self) -> None:
        """Over max_buffered_bodies nobody is asked any more: it is told so, and closed."""
        simulation = self.simulate(max_buffered_bodies=3)
        peer = self.ask(simulation, post("/", 10, b"12345"))
        self.expect(BODY, CLOSING)
        self.assertEqual(statuses(peer.take()), [503])

    def test_body_to_closed(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, post("/", 10, b"12345"))
        peer.reset()
        simulation.settle()
        self.expect(BODY, CLOSED)
        self.assertEqual(self.requests, [])

    def test_handling_to_sending(self) -> None:
        simulation = self.simulate()
        self.ask(simulation, get("/"))
        self.expect(HANDLING, SENDING)

    def test_handling_to_closed(self) -> None:
        simulation = self.simulate()
        peer = simulation.http()
        peer.send(get("/"))
        simulation.settle(jobs=False)
        simulation.pools["worker"].begin()
        peer.reset()
        simulation.settle(jobs=False)
        self.expect(HANDLING, CLOSED)
        simulation.settle()
        self.assertTrue(self.requests[0].gone)

    def test_sending_to_idle(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, get("/"))
        self.expect(SENDING, IDLE)
        self.assertIs(simulation.channel(peer).state, IDLE)

    def test_sending_to_closing(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, get("/", "Connection: close"))
        self.expect(SENDING, CLOSING)
        self.assertTrue(peer.saw_fin)

    def test_sending_to_closed(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, get("/big"), capacity=1000)
        peer.reset()
        simulation.settle()
        self.expect(SENDING, CLOSED)

    def test_sending_to_streaming(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, get("/stream"), capacity=1000)
        self.expect(SENDING, STREAMING)
        self.assertIs(simulation.channel(peer).state, STREAMING)

    def test_streaming_to_sending(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, get("/stream"), capacity=1000)
        while peer.take():
            simulation.settle()
        self.expect(STREAMING, SENDING)
        self.assertIs(simulation.channel(peer).state, IDLE)

    def test_streaming_to_closing(self) -> None:
        """Who does not keep up with a topic is told so, where that is its policy, and closed."""

        @self.router.register("/topic")
        def topic(request: Any) -> EventStream:
            return EventStream("news")

        simulation = self.simulate(event_buffer=1000, slow_client_policy="disconnect")
        self.ask(simulation, get("/topic"), capacity=100)
        for _ in range(40):
            simulation.server.publish("news", "x" * 50)
        simulation.settle()
        self.expect(STREAMING, CLOSING)

    def test_streaming_to_closed(self) -> None:
        simulation = self.simulate()
        self.ask(simulation, get("/stream"), capacity=1000).reset()
        simulation.settle()
        self.expect(STREAMING, CLOSED)
        self.assertEqual(self.closed, ["stream"])

    def test_closing_to_closed(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, get("/", "Connection: close"))
        peer.close()
        simulation.settle()
        self.expect(CLOSING, CLOSED)
        self.assertTrue(peer.is_over)


class Table(unittest.TestCase):
    def test_every_move_of_the_table_has_a_test(self) -> None:
        moves = {f"test_{old.name}_to_{new.name}".lower() for old in NEXT for new in NEXT[old]}
        tests = {name for name in vars(Moves) if name.startswith("test_")}
        self.assertEqual(moves, tests)


class Deadlines(ChannelCase):
    """Each fires, and not a moment before; the sweep may come `SWEEP` later."""

    def expect_at(self, simulation: Simulation, peer: Peer, seconds: float, status: int) -> None:
        """Nothing happens for so many seconds; then the answer and FIN, or FIN alone for 0."""
        simulation.advance(seconds - MOMENT)
        self.assertFalse(peer.saw_fin or peer.saw_reset or peer.unread, "too early")
        simulation.advance(MOMENT + SWEEP)
        self.assertTrue(peer.saw_fin, "too late")
        self.assertEqual(statuses(peer.take()), [status] if status else [])

    def test_a_silent_client_is_closed_header_timeout_after_the_accept(self) -> None:
        simulation = self.simulate(header_timeout=10)
        self.expect_at(simulation, self.ask(simulation, b""), 10, 0)

    def test_the_first_head_has_header_timeout_from_the_accept(self) -> None:
        simulation = self.simulate(header_timeout=10)
        peer = self.ask(simulation, b"")
        simulation.advance(6)
        peer.send(b"GET / HTTP/1.1\r\n")
        self.expect_at(simulation, peer, 4, 408)

    def test_a_later_head_has_header_timeout_from_its_first_byte(self) -> None:
        simulation = self.simulate(header_timeout=10, keep_alive_timeout=30)
        peer = self.ask(simulation, get("/"))
        peer.take()
        simulation.advance(20)
        peer.send(b"GET")
        self.expect_at(simulation, peer, 10, 408)

    def test_bytes_do_not_renew_header_timeout(self) -> None:
        """Slowloris."""
        simulation = self.simulate(header_timeout=10)
        peer = self.ask(simulation, b"GET / HTTP/1.1\r\n")
        for _ in range(9):
            peer.send(b"a")
            simulation.advance(1)
        self.expect_at(simulation, peer, 1, 408)

    def test_empty_lines_do_not_renew_keep_alive_timeout(self) -> None:
        simulation = self.simulate(keep_alive_timeout=30)
        peer = self.ask(simulation, get("/"))
        peer.take()
        simulation.advance(15)
        peer.send(b"\r\n")
        self.expect_at(simulation, peer, 15, 0)

    def test_body_timeout_runs_from_the_last_byte(self) -> None:
        simulation = self.simulate(body_timeout=20)
        peer = self.ask(simulation, post("/", 100_000, b"x" * 50_000))
        simulation.advance(15)
        peer.send(b"x")
        self.expect_at(simulation, peer, 20, 408)

    def test_a_body_below_the_minimal_rate_is_refused_after_body_timeout(self) -> None:
        """A byte every now and then would pass body_timeout for ever."""
        simulation = self.simulate(body_timeout=20, min_body_rate=256)
        peer = self.ask(simulation, post("/", 100_000, b"x"))
        for _ in range(4):
            simulation.advance(5)
            self.assertFalse(peer.unread)
            peer.send(b"x")
        simulation.advance(1)
        peer.send(b"x")
        simulation.settle()
        self.assertEqual(statuses(peer.take()), [408])

    def test_a_body_at_the_minimal_rate_may_take_its_time(self) -> None:
        simulation = self.simulate(body_timeout=20, min_body_rate=256)
        peer = self.ask(simulation, post("/", 257 * 60))
        for _ in range(60):
            peer.send(b"x" * 257)
            simulation.advance(1)
        self.assertEqual(statuses(peer.take()), [200])

    def test_a_kept_connection_is_closed_after_keep_alive_timeout(self) -> None:
        simulation = self.simulate(keep_alive_timeout=30)
        peer = self.ask(simulation, get("/"))
        peer.take()
        self.expect_at(simulation, peer, 30, 0)

    def test_each_answer_renews_keep_alive_timeout(self) -> None:
        simulation = self.simulate(keep_alive_timeout=30)
        peer = self.ask(simulation, get("/"))
        simulation.advance(29)
        peer.send(get("/"))
        simulation.settle()
        self.assertEqual(statuses(peer.take()), [200, 200])
        self.expect_at(simulation, peer, 30, 0)

    def test_a_peer_that_takes_no_byte_is_reset_after_send_timeout(self) -> None:
        """A plain close would leave the kernel with its megabytes."""
        simulation = self.simulate(send_timeout=30)
        peer = self.ask(simulation, get("/big"), capacity=1000)
        simulation.advance(30 - MOMENT)
        self.assertFalse(peer.saw_reset)
        simulation.advance(MOMENT + SWEEP)
        self.assertTrue(peer.saw_reset)

    def test_progress_renews_send_timeout(self) -> None:
        simulation = self.simulate(send_timeout=30)
        peer = self.ask(simulation, get("/big"), capacity=1000)
        simulation.advance(29)
        self.assertEqual(len(peer.take()), 1000)
        simulation.advance(30 - MOMENT)
        self.assertFalse(peer.saw_reset)
        simulation.advance(MOMENT + SWEEP)
        self.assertTrue(peer.saw_reset)

    def test_a_peer_that_does_not_close_is_closed_after_linger_timeout(self) -> None:
        simulation = self.simulate(linger_timeout=2)
        peer = self.ask(simulation, get("/", "Connection: close"))
        simulation.advance(2 - MOMENT)
        self.assertFalse(peer.is_over)
        simulation.advance(MOMENT + SWEEP)
        self.assertTrue(peer.is_over)

    def test_bytes_do_not_renew_linger_timeout(self) -> None:
        simulation = self.simulate(linger_timeout=2)
        peer = self.ask(simulation, b"bad\r\n\r\n")
        for _ in range(5):
            peer.send(b"x" * 1000)
            simulation.advance(0.5)
        self.assertTrue(peer.is_over)

    def test_an_error_stays_readable_while_its_peer_goes_on_sending(self) -> None:
        """A close with unread input would take the 413 back."""
        simulation = self.simulate(max_body_size=1000)
        peer = self.ask(simulation, post("/", 5000, b"x" * 3000))
        peer.send(b"x" * 2000)
        simulation.settle()
        peer.close()
        simulation.settle()
        self.assertFalse(peer.saw_reset)
        self.assertEqual(statuses(peer.take()), [413])

    def test_handler_timeout_is_a_504_with_the_stack_in_the_log(self) -> None:
        simulation = self.simulate(handler_timeout=5)
        peer = simulation.http()
        peer.send(get("/"))
        simulation.settle(jobs=False)
        simulation.advance(5 - MOMENT, jobs=False)
        self.assertEqual(peer.take(), b"")
        simulation.advance(MOMENT + SWEEP, jobs=False)
        self.assertEqual(statuses(peer.take()), [504])
        self.assertTrue(peer.saw_fin)
        self.assertIn("in stuck", self.logs.find("has not returned after 5 s")[0])
        self.assertEqual(simulation.pools["worker"].replacements, 1)
        simulation.settle()
        self.assertEqual(peer.take(), b"", "the late answer was sent")

    def test_without_handler_timeout_a_handler_may_take_for_ever(self) -> None:
        simulation = self.simulate()
        peer = simulation.http()
        peer.send(get("/"))
        simulation.advance(10_000, jobs=False)
        self.assertEqual(peer.take(), b"")
        simulation.settle()
        self.assertEqual(statuses(peer.take()), [200])


class Bodies(ChannelCase):
    """Request bodies that a handler reads as they arrive."""

    def setUp(self) -> None:
        super().setUp()
        self.read: list[Any] = []

        @self.router.register("/upload", "POST", stream=True)
        def upload(request: Any) -> str:
            self.read.append(request)
            return "not read"

    def test_the_body_timeout_of_a_stream_reaches_who_reads_it(self) -> None:
        simulation = self.simulate(body_timeout=20)
        peer = simulation.http()
        peer.send(post("/upload", 100, b"x"))
        simulation.advance(20 + SWEEP, jobs=False)
        request = simulation.pools["worker"].jobs[0][1]
        with self.assertRaises(HTTPError) as caught:
            list(request.stream)
        self.assertEqual(caught.exception.status, 408)
        simulation.settle()
        self.assertEqual(statuses(peer.take()), [200])

    def test_a_broken_body_does_not_start_a_handler_timeout(self) -> None:
        """handler_timeout is off: the handler has all the time that it wants."""
        simulation = self.simulate(body_timeout=20)
        peer = simulation.http()
        head = b"POST /upload HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
        peer.send(head + b"1\r\nx\r\n")
        simulation.settle(jobs=False)
        peer.send(b"this is no chunk\r\n")
        simulation.advance(60, jobs=False)
        self.assertEqual(self.logs.find("has not returned"), [])
        self.assertEqual(peer.take(), b"")
        simulation.settle()
        self.assertEqual(statuses(peer.take()), [200])
        self.assertTrue(peer.saw_fin)

    def test_handler_timeout_holds_while_the_body_waits_for_the_handler(self) -> None:
        """More is here than the handler has taken: it is its turn, and it has a deadline."""
        simulation = self.simulate(handler_timeout=5, body_timeout=20)
        peer = simulation.http()
        peer.send(post("/upload", 10_000_000, b"x" * 1_000_000))
        simulation.advance(5 + SWEEP, jobs=False)
        self.assertEqual(statuses(peer.take()), [504])

    def test_handler_timeout_holds_after_the_body_did_not_arrive(self) -> None:
        simulation = self.simulate(handler_timeout=5, body_timeout=20)
        peer = simulation.http()
        peer.send(post("/upload", 100, b"x"))
        simulation.advance(20 + SWEEP + 5 + SWEEP, jobs=False)
        self.assertEqual(statuses(peer.take()), [504])

    def test_the_peers_end_fails_the_stream(self) -> None:
        simulation = self.simulate()
        peer = simulation.http()
        peer.send(post("/upload", 100, b"x"))
        simulation.settle(jobs=False)
        peer.reset()
        simulation.settle(jobs=False)
        request = simulation.pools["worker"].jobs[0][1]
        with self.assertRaises(HTTPError):
            list(request.stream)

    def test_reading_stops_at_the_high_mark_and_goes_on_when_the_handler_has_read(self) -> None:
        simulation = self.simulate()
        peer = simulation.http()
        peer.send(post("/upload", 1_000_000, b"x" * 1_000_000))
        simulation.settle(jobs=False)
        self.assertGreater(len(peer.sock.incoming), 500_000, "all of it was taken in")
        request = simulation.pools["worker"].jobs[0][1]
        size = 0
        while size < 1_000_000:
            size += len(next(request.stream))
            simulation.settle(jobs=False)
        self.assertEqual(size, 1_000_000)
        self.assertEqual(list(request.stream), [])
        simulation.settle()
        self.assertEqual(statuses(peer.take()), [200])

    def test_who_still_reads_the_body_once_it_is_answered_is_not_kept_waiting(self) -> None:
        """The answer is a generator over the body: after the head nobody feeds it any more, and
        its thread would wait for ever."""

        @self.router.register("/echo", "POST", stream=True)
        def echo(request: Any) -> StreamResponse:
            self.read.append(request.stream)
            return StreamResponse(request.stream)

        simulation = self.simulate()
        peer = simulation.http()
        peer.send(post("/echo", 100, b"x"))
        simulation.settle(jobs=False)
        simulation.pools["worker"].run_one()
        self.addCleanup(self.read[0].fail, HTTPError(500))  # A failure shall not hang the test.
        simulation.turn()
        self.assertIsNotNone(self.read[0]._error, "a thread would wait for ever here")
        simulation.settle()
        peer.close()
        simulation.settle()
        self.assertTrue(peer.is_over)


class Order(ChannelCase):
    """Answers in order, one each, and no more than the peer reads."""

    def test_fifty_pipelined_requests_are_answered_in_order_behind_a_slow_first(self) -> None:
        simulation = self.simulate()
        peer = simulation.http()
        peer.send(b"".join(get(f"/number/{n}") for n in range(50)))
        simulation.settle(jobs=False)
        self.assertEqual(simulation.pools["worker"].waiting, 1, "one at a time has the turn")
        self.assertEqual(peer.take(), b"")
        simulation.settle()
        bodies = [json.loads(piece.split(b"\r\n\r\n")[1]) for piece in responses(peer.take())]
        self.assertEqual(bodies, [{"n": n} for n in range(50)])

    def test_after_a_bad_request_the_good_one_behind_it_is_not_handled(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + get("/"))
        self.assertEqual(statuses(peer.take()), [400])
        self.assertTrue(peer.saw_fin)
        peer.send(get("/"))
        simulation.settle()
        self.assertEqual(peer.take(), b"")
        self.assertEqual(self.requests, [])

    def test_a_bad_request_behind_a_good_one_waits_for_its_answer(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, get("/") + b"bad\r\n\r\n" + get("/"))
        self.assertEqual(statuses(peer.take()), [200, 400])
        self.assertEqual(len(self.requests), 1)

    def test_later_requests_stay_with_the_peer_while_a_handler_works(self) -> None:
        simulation = self.simulate(recv_size=1000)
        peer = simulation.http()
        data = get("/") * 1000
        peer.send(data)
        simulation.settle(jobs=False)
        self.assertGreaterEqual(len(peer.sock.incoming), len(data) - 2 * 1000)
        simulation.settle()
        self.assertEqual(statuses(peer.take()), [200] * 1000)

    def test_one_turn_answers_only_so_many_requests_of_one_connection(self) -> None:
        simulation = self.simulate()
        peer, other = simulation.http(), simulation.http()
        simulation.settle()
        peer.send(get("/now") * 200)
        other.send(get("/now"))
        simulation.turn()
        # One slice among the events, one when all others have had theirs.
        answered = len(statuses(peer.take()))
        self.assertLessEqual(answered, 2 * REQUESTS_PER_TURN)
        self.assertEqual(statuses(other.take()), [200])
        simulation.settle()
        self.assertEqual(len(statuses(peer.take())), 200 - answered)

    def test_large_answers_do_not_lift_the_limit_of_a_turn(self) -> None:
        """Each is sent before the next is made; all that in one turn would starve the others."""

        @self.router.register("/large", blocking=False)
        def large(request: Any) -> bytes:
            return b"l" * 100_000

        simulation = self.simulate()
        peer = simulation.http()
        simulation.settle()
        peer.send(get("/large") * 100)
        simulation.turn()
        self.assertLessEqual(len(statuses(peer.take())), REQUESTS_PER_TURN)
        simulation.settle()
        self.assertEqual(simulation.runtime.http.requests, 100)

    def test_nothing_new_is_answered_while_the_peer_does_not_read(self) -> None:
        """Requests are cheap, answers are not."""

        @self.router.register("/large", blocking=False)
        def large(request: Any) -> bytes:
            return b"l" * 100_000

        simulation = self.simulate()
        peer = self.ask(simulation, get("/large") * 200, capacity=10_000)
        transport = simulation.channel(peer).transport
        self.assertLess(transport.size, 400_000)
        data = bytearray()
        while piece := peer.take():
            data += piece  # Cut anywhere: count when all is here.
            simulation.settle()
        self.assertEqual(statuses(bytes(data)), [200] * 200)

    def test_a_half_closed_client_gets_its_answers_then_the_end(self) -> None:
        simulation = self.simulate()
        peer = simulation.http()
        peer.send(get("/") * 3)
        peer.half_close()
        simulation.settle()
        self.assertEqual(statuses(peer.take()), [200] * 3)
        self.assertTrue(peer.saw_fin and peer.is_over)
        self.assertEqual(peer.sock.reads_of_eof, 1)

    def test_a_half_closed_client_is_not_polled_while_its_handler_works(self) -> None:
        """A socket at EOF stays readable: watching it would spin."""
        simulation = self.simulate()
        peer = simulation.http()
        peer.send(get("/"))
        peer.half_close()
        self.assertLess(simulation.settle(jobs=False), 5)
        self.assertTrue(simulation.is_at_rest)
        self.assertEqual(peer.sock.reads_of_eof, 1)

    def test_a_half_closed_client_that_reads_nothing_is_not_polled_either(self) -> None:
        simulation = self.simulate()
        peer = simulation.http(capacity=1000)
        peer.send(get("/big"))
        peer.half_close()
        simulation.settle()
        self.assertTrue(simulation.is_at_rest)
        size = 0
        while data := peer.take():
            size += len(data)
            simulation.settle()
        self.assertGreater(size, 1_000_000)
        self.assertTrue(peer.is_over)


def responses(data: bytes) -> list[bytes]:
    """Cut pipelined responses apart."""
    return [b"HTTP/1.1 " + piece for piece in data.split(b"HTTP/1.1 ")[1:]]


class Failures(ChannelCase):
    def test_a_full_pool_is_a_503_with_retry_after(self) -> None:
        simulation = self.simulate(worker_queue_limit=1)
        waiting, refused = simulation.http(), simulation.http()
        waiting.send(get("/"))
        simulation.settle(jobs=False)
        refused.send(get("/") + get("/now"))
        simulation.settle(jobs=False)
        data = refused.take()
        self.assertEqual(statuses(data), [503, 200], "the connection is kept")
        self.assertIn(b"Retry-After: 1\r\n", data)
        simulation.settle()
        self.assertEqual(statuses(waiting.take()), [200])

    def test_a_pool_that_is_late_is_a_503_but_not_for_who_needs_no_worker(self) -> None:
        simulation = self.simulate()
        simulation.pools["worker"].is_late = True
        peer = self.ask(simulation, get("/") + get("/now"))
        self.assertEqual(statuses(peer.take()), [503, 200])

    def test_what_a_worker_could_not_handle_is_a_500(self) -> None:
        simulation = self.simulate()
        with mock.patch.object(Pipeline, "_handle", side_effect=SystemExit):
            peer = self.ask(simulation, get("/"))
        self.assertEqual(statuses(peer.take()), [500])

    def test_a_response_that_cannot_be_encoded_is_a_500(self) -> None:
        @self.router.register("/split")
        def split(request: Any) -> HTTPJSONResponse:
            return HTTPJSONResponse(data={}, headers={"X-A": "a\r\nSet-Cookie: b"})

        simulation = self.simulate()
        data = self.ask(simulation, get("/split")).take()
        self.assertEqual(statuses(data), [500])
        self.assertNotIn(b"Set-Cookie", data)

    def test_a_bug_while_responding_costs_the_connection_and_does_not_leave_it_hanging(
        self,
    ) -> None:
        """`respond` comes through the inbox, where nobody knows whom a failure concerns."""
        simulation = self.simulate()
        peer, other = simulation.http(), simulation.http()
        with mock.patch(
            "pyliteflux.channels.http_channel.make_reply", side_effect=RuntimeError("bug")
        ):
            peer.send(get("/"))
            simulation.settle()
        self.assertTrue(peer.saw_reset or peer.saw_fin, "it would wait for ever")
        self.assertTrue(self.logs.find("bug"))
        other.send(get("/"))
        simulation.settle()
        self.assertEqual(statuses(other.take()), [200])

    def test_a_bug_while_flushing_costs_the_connection(self) -> None:
        simulation = self.simulate()
        peer = simulation.http()
        with mock.patch.object(HttpChannel, "_end_cycle", side_effect=RuntimeError("bug")):
            peer.send(get("/"))
            simulation.settle()
        self.assertTrue(peer.is_over, "it would wait for ever")

    def test_every_reset_at_every_state_gives_everything_back(self) -> None:
        simulation = self.simulate()
        beginnings = [b"", b"G", get("/"), post("/", 10, b"x"), get("/big"), get("/stream"), b"\0"]
        for data in beginnings:
            for steps in range(6):
                peer = simulation.http(capacity=1000)
                peer.send(data)
                for step in range(steps):
                    simulation.turn()
                    if step % 2:
                        for pool in simulation.pools.values():
                            pool.run_all()
                peer.reset()
                simulation.settle()
                self.assertEqual(len(simulation.runtime.connections), 0, (data, steps))
        self.assertEqual(statuses(self.ask(simulation, get("/")).take()), [200])


class Stopping(ChannelCase):
    def begin(self, simulation: Simulation) -> None:
        simulation.server.stop()
        simulation.settle(jobs=False)

    def test_a_connection_that_has_been_idle_for_a_while_is_closed_at_once(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, get("/"))
        simulation.advance(STOP_PATIENCE)
        self.begin(simulation)
        self.assertTrue(peer.saw_fin)
        self.assertTrue(simulation.reactor._stopping)

    def test_who_was_just_answered_or_has_just_come_is_listened_to_for_a_moment(self) -> None:
        """Contract X3: its request may be on its way."""
        for request, before in ((get("/"), [200]), (b"", [])):
            with self.subTest(request):
                simulation = self.simulate()
                late, silent = self.ask(simulation, request), self.ask(simulation, request)
                self.assertEqual(statuses(late.take()), before)
                self.begin(simulation)
                simulation.advance(STOP_PATIENCE - MOMENT)
                self.assertFalse(late.saw_fin or silent.saw_fin)
                late.send(get("/"))
                simulation.settle(jobs=False)
                simulation.advance(MOMENT + STOP_CHECK, jobs=False)
                self.assertEqual((late.saw_fin, silent.saw_fin), (False, True))
                simulation.advance(MOMENT)
                self.expect_the_last(late)

    def expect_the_last(self, peer: Peer) -> None:
        """An answer that says that it is the last of its connection."""
        data = peer.take()
        self.assertEqual(statuses(data), [200])
        self.assertIn(b"Connection: close\r\n", data)
        self.assertTrue(peer.saw_fin)
        self.assertFalse(peer.saw_reset)

    def test_what_the_kernel_has_taken_is_answered(self) -> None:
        """Contract X3 (rolling_restart): nobody has read it, or even accepted it, at the stop."""
        simulation = self.simulate(max_accepts=3)
        kept = self.ask(simulation, get("/"))
        kept.take()
        simulation.advance(20)
        kept.send(get("/"))
        new = [simulation.http() for _ in range(10)]
        for number, peer in enumerate(new):
            peer.send(get("/") if number % 2 else post("/", 4, b"body"))
        self.begin(simulation)
        with self.assertRaises(ConnectionRefusedError):
            simulation.http()
        simulation.settle()
        for peer in (kept, *new):
            self.expect_the_last(peer)

    def test_a_head_or_body_that_is_half_here_is_waited_for(self) -> None:
        request = post("/", 4, b"body")
        for cut in (1, 20, len(request) - 1):
            for comes_before in ("the stop", "it is accepted"):
                with self.subTest(cut=cut, comes_before=comes_before):
                    simulation = self.simulate()
                    peer = simulation.http()
                    if comes_before == "the stop":
                        simulation.settle()
                    peer.send(request[:cut])
                    self.begin(simulation)
                    simulation.advance(2)
                    self.assertFalse(peer.saw_fin)
                    peer.send(request[cut:])
                    simulation.settle()
                    self.expect_the_last(peer)

    def test_what_is_pipelined_behind_the_last_answer_is_not_begun_and_does_not_reset_it(
        self,
    ) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, get("/"))
        peer.take()
        peer.send(get("/") * 3)
        self.begin(simulation)
        simulation.settle()
        peer.send(get("/"))  # After our FIN: the socket is not closed while it may do so.
        simulation.advance(1)
        self.assertEqual(len(self.requests), 2)
        self.expect_the_last(peer)
        self.assertFalse(simulation.reactor._stopping, "it lingers")
        peer.close()
        simulation.advance(0.1)
        self.assertTrue(simulation.reactor._stopping)

    def test_what_is_pipelined_behind_an_answer_that_promised_to_keep_is_answered(self) -> None:
        simulation = self.simulate(shutdown_timeout=10)
        peer = self.ask(simulation, get("/big"), capacity=1000)
        peer.send(get("/"))
        self.begin(simulation)
        data = b""
        while piece := peer.take():
            data += piece
            simulation.settle()
        self.assertEqual(statuses(data), [200, 200])
        self.assertIn(b"Connection: close\r\n", data[-300:])
        self.assertTrue(peer.saw_fin)

    def test_a_request_under_way_is_answered_and_the_connection_not_kept(self) -> None:
        simulation = self.simulate()
        peer = simulation.http()
        peer.send(get("/"))
        simulation.settle(jobs=False)
        self.begin(simulation)
        self.assertFalse(simulation.reactor._stopping)
        simulation.advance(1)
        data = peer.take()
        self.assertEqual(statuses(data), [200])
        self.assertIn(b"Connection: close\r\n", data)
        self.assertTrue(simulation.reactor._stopping)

    def test_a_response_half_sent_is_sent_and_the_connection_not_kept(self) -> None:
        """Its head has promised to keep the connection: nobody may wait for that."""
        simulation = self.simulate(shutdown_timeout=10)
        peer = self.ask(simulation, get("/big"), capacity=1000)
        self.begin(simulation)
        size = 0
        while data := peer.take():
            size += len(data)
            simulation.settle()
        self.assertGreater(size, 1_000_000)
        simulation.advance(STOP_PATIENCE + STOP_CHECK)
        self.assertTrue(peer.saw_fin, "the stop would take the whole grace")
        simulation.advance(0.1)
        self.assertTrue(simulation.reactor._stopping)

    def test_what_is_still_busy_after_the_grace_is_cut(self) -> None:
        simulation = self.simulate(shutdown_timeout=10)
        peer = simulation.http()
        peer.send(get("/"))
        simulation.settle(jobs=False)
        self.begin(simulation)
        simulation.advance(10 - MOMENT, jobs=False)
        self.assertFalse(peer.saw_reset)
        simulation.advance(MOMENT + 1, jobs=False)
        self.assertTrue(peer.saw_reset)
        self.assertEqual(len(self.logs.find("still busy after 10 s")), 1)

    def test_one_channel_that_fails_does_not_keep_the_server_from_stopping(self) -> None:
        simulation = self.simulate()
        peers = [self.ask(simulation, b""), self.ask(simulation, b"")]
        with mock.patch.object(HttpChannel, "shutdown", side_effect=RuntimeError("bug")):
            self.begin(simulation)
        simulation.advance(1)
        self.assertTrue(simulation.reactor._stopping, "it would run for ever")
        self.assertTrue(all(peer.saw_fin or peer.saw_reset for peer in peers))


if __name__ == "__main__":
    unittest.main()
