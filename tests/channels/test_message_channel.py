"""MessageChannel in a simulated world: every move of its table, every deadline, pushes and limits.

Contract T1 to T8, P1 to P4.
"""

from __future__ import annotations

import contextlib
import json
import unittest
from collections.abc import Iterator
from typing import Any
from unittest import mock

from pyliteflux import Router
from pyliteflux.channels.channel import (
    CLOSED,
    CLOSING,
    GREETING,
    HANDLING,
    IDLE,
    RECEIVING,
    SENDING,
    STOP_PATIENCE,
    STREAMING,
    State,
)
from pyliteflux.channels.message_channel import (
    FIRST_MESSAGE_TIMEOUT,
    MESSAGES_PER_TURN,
    NEXT,
    MessageChannel,
)
from pyliteflux.server.stopping import STOP_CHECK
from tests.fakes import Peer, Simulation, noted_moves
from tests.support import captured_logs

SWEEP = 0.5  # Seconds between two looks at the deadlines: a quarter of the shortest default.
MOMENT = 0.001  # Seconds.


class ChannelCase(unittest.TestCase):
    """Commands for all tests, and a simulation when asked for."""

    def setUp(self) -> None:
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.logs = self.stack.enter_context(captured_logs())
        self.closed: list[str] = []
        self.requests: list[Any] = []
        router = self.router = Router()

        @router.register("echo", protocol="tcp")
        def echo(request: Any) -> Any:
            self.requests.append(request)
            return request.data

        @router.register("now", protocol="tcp", blocking=False)
        def now(request: Any) -> Any:
            return request.data

        @router.register("big", protocol="tcp")
        def big(request: Any) -> str:
            return "b" * 1_000_000

        @router.register("large", protocol="tcp", blocking=False)
        def large(request: Any) -> str:
            return "l" * 100_000

        @router.register("stream", protocol="tcp")
        def stream(request: Any) -> Iterator[str]:
            try:
                for _ in range(100):
                    yield "s" * 10_000
            finally:
                self.closed.append("stream")

        @router.register("failing", protocol="tcp")
        def failing(request: Any) -> Iterator[str]:
            yield "begun"
            raise RuntimeError("on purpose")

    def simulate(self, **settings: Any) -> Simulation:
        settings = {"tcp_keep_alive": True, **settings}
        return self.stack.enter_context(Simulation(self.router, **settings))

    def tell(self, simulation: Simulation, data: bytes, **options: Any) -> Peer:
        """Connect, send, and let the server do all that it can."""
        peer = simulation.tcp(**options)
        peer.send(data)
        simulation.settle()
        return peer

    def lines(self, peer: Peer) -> list[str]:
        return peer.take().decode().splitlines()


class Moves(ChannelCase):
    """One test for each move of the table, named after it."""

    def setUp(self) -> None:
        super().setUp()
        self.moves = self.stack.enter_context(noted_moves())

    def expect(self, before: State, after: State) -> None:
        self.assertIn((before, after), self.moves)
        for old, new in self.moves:
            self.assertIn(new, NEXT[old])

    def test_idle_to_receiving(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"ec")
        self.expect(IDLE, RECEIVING)
        self.assertIs(simulation.channel(peer).state, RECEIVING)

    def test_idle_to_handling(self) -> None:
        simulation = self.simulate()
        self.tell(simulation, b"echo a\n")
        self.expect(IDLE, HANDLING)

    def test_idle_to_sending(self) -> None:
        """Errors alone may congest: who sends rubbish and reads nothing is made to wait."""
        simulation = self.simulate(write_high_water=1000, write_low_water=100)
        peer = self.tell(simulation, b"{bad}\n" * 1000, capacity=10)
        self.expect(IDLE, SENDING)
        self.assertLess(simulation.channel(peer).transport.size, 2000)
        answers = 0
        while data := peer.take():
            answers += data.count(b"\n")
            simulation.settle()
        self.assertEqual(answers, 1000)

    def test_idle_to_closing(self) -> None:
        simulation = self.simulate(tcp_idle_timeout=60)
        peer = self.tell(simulation, b"")
        simulation.advance(60 + SWEEP)
        self.expect(IDLE, CLOSING)
        self.assertTrue(peer.saw_fin)

    def test_idle_to_closed(self) -> None:
        simulation = self.simulate()
        self.tell(simulation, b"").reset()
        simulation.settle()
        self.expect(IDLE, CLOSED)

    def test_receiving_to_idle(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b'{"command": ')
        peer.send(b"}\n")
        simulation.settle()
        self.expect(RECEIVING, IDLE)
        self.assertEqual(json.loads(peer.take())["code"], "bad_message")

    def test_receiving_to_handling(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"echo a")
        peer.send(b"b\n")
        simulation.settle()
        self.expect(RECEIVING, HANDLING)
        self.assertEqual(self.lines(peer), ["ab"])

    def test_receiving_to_sending(self) -> None:
        simulation = self.simulate(write_high_water=50, write_low_water=10)
        peer = self.tell(simulation, b"{", capacity=10)
        peer.send(b"}\n" + b"{bad}\n")
        simulation.settle()
        self.expect(RECEIVING, SENDING)

    def test_receiving_to_closing(self) -> None:
        simulation = self.simulate(tcp_max_message=1000)
        peer = self.tell(simulation, b"x" * 1000)
        peer.send(b"x" * 10)
        simulation.settle()
        self.expect(RECEIVING, CLOSING)
        self.assertTrue(peer.saw_fin)

    def test_receiving_to_closed(self) -> None:
        simulation = self.simulate()
        self.tell(simulation, b"ec").reset()
        simulation.settle()
        self.expect(RECEIVING, CLOSED)
        self.assertEqual(self.requests, [])

    def test_handling_to_idle(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"echo a\n")
        self.expect(HANDLING, IDLE)
        self.assertFalse(peer.saw_fin)

    def test_handling_to_sending(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"big\n", capacity=1000)
        self.expect(HANDLING, SENDING)
        self.assertIs(simulation.channel(peer).state, SENDING)

    def test_handling_to_closing(self) -> None:
        """Contract T4: without tcp_keep_alive one answer, then the end."""
        simulation = self.simulate(tcp_keep_alive=False)
        peer = self.tell(simulation, b"echo a\necho b\n")
        self.expect(HANDLING, CLOSING)
        self.assertEqual(self.lines(peer), ["a"])
        self.assertTrue(peer.saw_fin)

    def test_handling_to_closed(self) -> None:
        simulation = self.simulate()
        peer = simulation.tcp()
        peer.send(b"echo a\n")
        simulation.settle(jobs=False)
        simulation.pools["worker"].begin()
        peer.reset()
        simulation.settle(jobs=False)
        self.expect(HANDLING, CLOSED)
        simulation.settle()
        self.assertTrue(self.requests[0].gone)

    def test_sending_to_idle(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"big\necho a\n", capacity=1000)
        data = b""
        while piece := peer.take():
            data += piece
            simulation.settle()
        self.expect(SENDING, IDLE)
        self.assertTrue(data.endswith(b"b\na\n"), data[-10:])

    def test_sending_to_closing(self) -> None:
        simulation = self.simulate(tcp_keep_alive=False)
        peer = self.tell(simulation, b"stream\n", capacity=1000)
        while peer.take():
            simulation.settle()
        self.expect(SENDING, CLOSING)
        self.assertTrue(peer.saw_fin)

    def test_sending_to_closed(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"big\n", capacity=1000)
        peer.reset()
        simulation.settle()
        self.expect(SENDING, CLOSED)

    def test_handling_to_streaming(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"stream\n", capacity=1000)
        self.expect(HANDLING, STREAMING)
        self.assertIs(simulation.channel(peer).state, STREAMING)

    def test_streaming_to_sending(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"stream\n", capacity=1000)
        while peer.take():
            simulation.settle()
        self.expect(STREAMING, SENDING)
        self.assertIs(simulation.channel(peer).state, IDLE)

    def test_streaming_to_closing(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"stream\n", capacity=1000)
        simulation.channel(peer).disconnect("enough")
        simulation.settle()
        self.expect(STREAMING, CLOSING)
        self.assertEqual(self.closed, ["stream"])

    def test_streaming_to_closed(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"stream\n", capacity=1000)
        peer.reset()
        simulation.settle()
        self.expect(STREAMING, CLOSED)
        self.assertEqual(self.closed, ["stream"])

    def greeted(self, is_admitted: bool, jobs: bool = True) -> tuple[Simulation, Peer]:
        """Return a client whose on_connect answers so; it runs if `jobs` do."""
        simulation = self.simulate()
        simulation.server.on_connect(lambda client: is_admitted)
        peer = simulation.tcp()
        simulation.settle(jobs=jobs)
        return simulation, peer

    def test_idle_to_greeting(self) -> None:
        simulation, peer = self.greeted(True, jobs=False)
        self.expect(IDLE, GREETING)
        self.assertIs(simulation.channel(peer).state, GREETING)

    def test_greeting_to_idle(self) -> None:
        simulation, peer = self.greeted(True)
        self.expect(GREETING, IDLE)
        self.assertIs(simulation.channel(peer).state, IDLE)

    def test_greeting_to_closing(self) -> None:
        simulation, peer = self.greeted(False)
        self.expect(GREETING, CLOSING)
        self.assertTrue(peer.saw_fin)

    def test_greeting_to_closed(self) -> None:
        simulation, peer = self.greeted(True, jobs=False)
        peer.reset()
        simulation.settle()
        self.expect(GREETING, CLOSED)

    def test_closing_to_closed(self) -> None:
        simulation = self.simulate(tcp_keep_alive=False)
        peer = self.tell(simulation, b"echo a\n")
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

    def expect_end(self, simulation: Simulation, peer: Peer, seconds: float) -> str:
        """Nothing happens for so many seconds; then the end. Return what came before it."""
        simulation.advance(seconds - MOMENT)
        self.assertFalse(peer.saw_fin or peer.saw_reset or peer.unread, "too early")
        simulation.advance(MOMENT + SWEEP)
        self.assertTrue(peer.saw_fin, "too late")
        return peer.take().decode()

    def test_a_client_for_one_answer_must_ask_in_time(self) -> None:
        simulation = self.simulate(tcp_keep_alive=False)
        peer = self.tell(simulation, b"")
        self.assertEqual(self.expect_end(simulation, peer, FIRST_MESSAGE_TIMEOUT), "")

    def test_a_long_lived_client_may_be_silent_for_ever(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"echo a\n")
        simulation.advance(5_000)
        self.assertFalse(peer.saw_fin)
        self.assertIn(peer.client_id, simulation.server.clients)

    def test_tcp_idle_timeout_runs_from_the_last_answer(self) -> None:
        simulation = self.simulate(tcp_idle_timeout=60)
        peer = self.tell(simulation, b"")
        simulation.advance(50)
        peer.send(b"echo a\n")
        simulation.settle()
        self.assertEqual(self.lines(peer), ["a"])
        self.assertEqual(self.expect_end(simulation, peer, 60), "")

    def test_blank_lines_do_not_renew_tcp_idle_timeout(self) -> None:
        simulation = self.simulate(tcp_idle_timeout=60)
        peer = self.tell(simulation, b"")
        simulation.advance(50)
        peer.send(b"\n\r\n")
        self.assertIn('"reason": "idle"', self.expect_end(simulation, peer, 10))

    def test_tcp_message_timeout_runs_from_the_first_byte_and_bytes_do_not_renew_it(self) -> None:
        simulation = self.simulate(tcp_message_timeout=30)
        peer = self.tell(simulation, b'{"a"')
        for _ in range(10):
            simulation.advance(2)
            peer.send(b" ")
        error = json.loads(self.expect_end(simulation, peer, 10))
        self.assertEqual(error["code"], "timeout")

    def test_a_message_begun_behind_another_has_its_own_time(self) -> None:
        simulation = self.simulate(tcp_message_timeout=30)
        peer = self.tell(simulation, b"echo a\nec")
        self.assertEqual(self.lines(peer), ["a"])
        self.assertIn("timeout", self.expect_end(simulation, peer, 30) or "timeout")

    def test_a_peer_that_takes_no_byte_is_reset_after_send_timeout(self) -> None:
        simulation = self.simulate(send_timeout=30)
        peer = self.tell(simulation, b"big\n", capacity=1000)
        simulation.advance(30 - MOMENT)
        self.assertFalse(peer.saw_reset)
        simulation.advance(MOMENT + SWEEP)
        self.assertTrue(peer.saw_reset)

    def test_a_peer_that_does_not_close_is_closed_after_linger_timeout(self) -> None:
        simulation = self.simulate(tcp_keep_alive=False, linger_timeout=2)
        peer = self.tell(simulation, b"echo a\n")
        simulation.advance(2 - MOMENT)
        self.assertFalse(peer.is_over)
        simulation.advance(MOMENT + SWEEP)
        self.assertTrue(peer.is_over)

    def test_handler_timeout_is_an_error_with_the_stack_in_the_log_and_the_end(self) -> None:
        simulation = self.simulate(handler_timeout=5)
        peer = simulation.tcp()
        peer.send(b'{"command": "echo", "id": 7}\n')
        simulation.settle(jobs=False)
        simulation.advance(5 - MOMENT, jobs=False)
        self.assertEqual(peer.take(), b"")
        simulation.advance(MOMENT + SWEEP, jobs=False)
        error = json.loads(peer.take())
        self.assertEqual((error["code"], error["id"]), ("timeout", 7))
        self.assertIn("in stuck", self.logs.find("has not returned after 5 s")[0])
        simulation.settle()
        self.assertEqual(peer.take(), b"", "the late answer would pass for another's")


class Order(ChannelCase):
    """Contract T5, T6."""

    def test_messages_are_answered_in_order_one_at_a_time(self) -> None:
        simulation = self.simulate()
        peer = simulation.tcp()
        peer.send(b"".join(b"echo %d\n" % n for n in range(50)))
        simulation.settle(jobs=False)
        self.assertEqual(simulation.pools["worker"].waiting, 1)
        simulation.settle()
        self.assertEqual(self.lines(peer), [str(n) for n in range(50)])

    def test_a_bad_message_costs_one_error_and_the_next_is_in_step(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"{bad}\necho a\nno such\n<x>\necho b\n")
        lines = self.lines(peer)
        self.assertEqual(json.loads(lines[0])["code"], "bad_message")
        self.assertEqual(lines[1], "a")
        self.assertIn("unknown_command", lines[2])
        self.assertFalse(peer.saw_fin)

    def test_one_turn_answers_only_so_many_messages_of_one_connection(self) -> None:
        simulation = self.simulate()
        peer, other = simulation.tcp(), simulation.tcp()
        simulation.settle()
        peer.send(b"now a\n" * 200)
        other.send(b"now b\n")
        simulation.turn()
        answered = len(self.lines(peer))
        self.assertLessEqual(answered, 2 * MESSAGES_PER_TURN)
        self.assertEqual(self.lines(other), ["b"])
        simulation.settle()
        self.assertEqual(len(self.lines(peer)), 200 - answered)

    def test_large_answers_do_not_lift_the_limit_of_a_turn(self) -> None:
        simulation = self.simulate()
        peer = simulation.tcp()
        simulation.settle()
        peer.send(b"large\n" * 300)
        simulation.turn()
        self.assertLessEqual(len(self.lines(peer)), 3 * MESSAGES_PER_TURN)
        simulation.settle()
        self.assertEqual(simulation.runtime.tcp.requests, 300)

    def test_nothing_new_is_answered_while_the_peer_does_not_read(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"large\n" * 1000, capacity=10_000)
        self.assertLess(simulation.channel(peer).transport.size, 400_000)
        answers = 0
        while data := peer.take():
            answers += data.count(b"\n")
            simulation.settle()
        self.assertEqual(answers, 1000)

    def test_later_messages_stay_with_the_peer_while_a_handler_works(self) -> None:
        simulation = self.simulate(recv_size=1000)
        peer = simulation.tcp()
        peer.send(b"echo a\n" * 1000)
        simulation.settle(jobs=False)
        self.assertGreaterEqual(len(peer.sock.incoming), 5000)
        simulation.settle()
        self.assertEqual(self.lines(peer), ["a"] * 1000)

    def test_a_half_closed_client_gets_its_answers_then_the_end(self) -> None:
        """Contract T1: what is left at EOF is a last message."""
        simulation = self.simulate()
        peer = simulation.tcp()
        peer.send(b"echo a\necho b")
        peer.half_close()
        simulation.settle(jobs=False)
        self.assertTrue(simulation.is_at_rest)
        simulation.settle()
        self.assertEqual(self.lines(peer), ["a", "b"])
        self.assertTrue(peer.is_over)
        self.assertEqual(peer.sock.reads_of_eof, 1)

    def test_where_the_pool_is_full_a_message_waits_and_so_do_those_behind_it(self) -> None:
        """X3 (`burst_of_subscribers`): nobody who comes back after a restart is told "busy"."""
        simulation = self.simulate(worker_queue_limit=1, recv_size=1000)
        first, second = simulation.tcp(), simulation.tcp()
        first.send(b"echo a\n")
        simulation.settle(jobs=False)
        second.send(b'{"command": "echo", "data": "b", "id": 1}\n' + b"now c\n" * 1000)
        simulation.settle(jobs=False)
        self.assertEqual(self.lines(second), [])
        self.assertGreater(len(second.sock.incoming), 3000, "the rest is not read from the peer")
        simulation.settle()
        self.assertEqual(self.lines(first), ["a"])
        lines = self.lines(second)
        self.assertEqual(json.loads(lines[0]), {"id": 1, "data": "b"})
        self.assertEqual(lines[1:], ["c"] * 1000)

    def test_a_stream_pauses_for_a_slow_reader_and_is_whole(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"stream\necho a\n", capacity=1000)
        self.assertLess(simulation.channel(peer).transport.size, 300_000)
        self.assertEqual(simulation.pools["stream"].waiting, 0)
        data = b""
        while piece := peer.take():
            data += piece
            simulation.settle()
        lines = data.decode().splitlines()
        self.assertEqual(len(lines), 101)
        self.assertEqual(lines[-1], "a")
        self.assertEqual(self.closed, ["stream"])

    def test_a_failing_stream_ends_with_an_error_and_stays_in_step(self) -> None:
        simulation = self.simulate()
        lines = self.lines(self.tell(simulation, b"failing\necho a\n"))
        self.assertIn("internal", lines[-2])
        self.assertEqual(lines[-1], "a")

    def test_a_bug_while_responding_costs_the_connection_and_does_not_leave_it_hanging(
        self,
    ) -> None:
        simulation = self.simulate()
        peer = simulation.tcp()
        with mock.patch.object(MessageChannel, "_end_cycle", side_effect=RuntimeError("bug")):
            peer.send(b"echo a\n")
            simulation.settle()
        self.assertTrue(peer.is_over, "it would wait for ever")

    def test_every_reset_at_every_state_gives_everything_back(self) -> None:
        simulation = self.simulate()
        for data in (b"", b"e", b"echo a\n", b"big\n", b"stream\n", b"{bad}\n", b"failing\n"):
            for steps in range(6):
                peer = simulation.tcp(capacity=1000)
                peer.send(data)
                for step in range(steps):
                    simulation.turn()
                    if step % 2:
                        for pool in simulation.pools.values():
                            pool.run_all()
                peer.reset()
                simulation.settle()
                self.assertEqual(len(simulation.runtime.connections), 0, (data, steps))
        self.assertEqual(self.lines(self.tell(simulation, b"echo a\n")), ["a"])


class Pushes(ChannelCase):
    """Contract P1 to P4."""

    SMALL = {"tcp_send_limit": 1000, "write_high_water": 500, "write_low_water": 100}

    def received(self, simulation: Simulation, peer: Peer) -> list[Any]:
        """Read all, as long as something comes; return the data of the pushes."""
        data = b""
        while piece := peer.take():
            data += piece
            simulation.settle()
        said = [json.loads(line) for line in data.splitlines()]
        self.told = [news for news in said if news["type"] != "push"]
        return [news["data"] for news in said if news["type"] == "push"]

    def push_many(self, simulation: Simulation, count: int = 100) -> None:
        for n in range(count):
            simulation.server.push_message(n)
        simulation.settle()

    def test_a_client_that_reads_gets_all_in_order(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"")
        self.push_many(simulation)
        self.assertEqual(self.received(simulation, peer), list(range(100)))

    def test_the_pushes_of_one_turn_share_a_send(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"")
        before = peer.sock.sends
        self.push_many(simulation)
        self.assertEqual(peer.sock.sends - before, 1)

    def test_the_default_policy_resets_a_slow_client_and_delays_nobody(self) -> None:
        simulation = self.simulate(**self.SMALL)
        slow, good = self.tell(simulation, b"", capacity=10), self.tell(simulation, b"")
        self.push_many(simulation)
        self.assertFalse(slow.saw_reset, "it has linger_timeout to read why")
        self.assertNotIn(slow.client_id, simulation.server.clients)
        self.assertEqual(self.received(simulation, good), list(range(100)))
        self.assertGreater(simulation.server.stats["push_dropped"], 0)
        simulation.advance(simulation.server.config.linger_timeout + SWEEP)
        self.assertTrue(slow.saw_reset)

    def test_a_slow_client_that_still_reads_is_told_why_it_is_closed(self) -> None:
        simulation = self.simulate(**self.SMALL)
        slow = self.tell(simulation, b"", capacity=10)
        self.push_many(simulation)
        numbers = self.received(simulation, slow)
        self.assertEqual(numbers, list(range(len(numbers))), "whole, up to where it was cut")
        lost, closing = self.told
        self.assertEqual((closing["type"], closing["reason"]), ("closing", "slow"))
        self.assertEqual(lost["count"], simulation.server.stats["push_dropped"])
        self.assertTrue(slow.saw_fin)

    def test_a_burst_within_one_turn_does_not_make_a_client_slow(self) -> None:
        """The kernel was not even asked: a reader must not be cut for the reactor's batching."""
        for policy in ("disconnect", "drop_oldest", "drop_newest", "latest"):
            simulation = self.simulate(slow_client_policy=policy, **self.SMALL)
            peer = self.tell(simulation, b"")
            for n in range(100):
                simulation.server.push_message(n)
            simulation.settle()
            self.assertEqual(self.received(simulation, peer), list(range(100)), policy)

    def test_a_burst_to_a_peer_that_has_gone_ends_its_connection_only(self) -> None:
        simulation = self.simulate(**self.SMALL)
        gone, good = self.tell(simulation, b""), self.tell(simulation, b"")
        gone.close()
        self.push_many(simulation)
        self.assertTrue(gone.is_over)
        self.assertEqual(self.received(simulation, good), list(range(100)))

    def check_policy(self, policy: str) -> list[Any]:
        simulation = self.simulate(slow_client_policy=policy, **self.SMALL)
        slow = self.tell(simulation, b"", capacity=10)
        for n in range(100):
            simulation.server.push_message(n)
            simulation.settle()
            channel = simulation.channel(slow)
            waiting = channel.queued
            self.assertLessEqual(waiting, 1000, "memory is bounded")
        self.assertFalse(slow.saw_reset or slow.saw_fin)
        numbers = self.received(simulation, slow)
        self.assertEqual(numbers, sorted(set(numbers)), "in order, each once, whole")
        self.assertEqual({news["type"] for news in self.told}, {"dropped"})
        self.assertEqual(sum(news["count"] for news in self.told), 100 - len(numbers))
        self.assertEqual(simulation.server.stats["push_dropped"], 100 - len(numbers))
        return numbers

    def test_drop_oldest_keeps_the_newest(self) -> None:
        self.assertEqual(self.check_policy("drop_oldest")[-1], 99)

    def test_drop_newest_keeps_the_oldest(self) -> None:
        numbers = self.check_policy("drop_newest")
        self.assertEqual(numbers, list(range(len(numbers))))

    def test_latest_keeps_one(self) -> None:
        self.assertEqual(self.check_policy("latest")[-1], 99)

    def test_a_long_answer_is_no_reason_to_call_a_client_slow(self) -> None:
        simulation = self.simulate(tcp_send_limit=10_000)
        peer = self.tell(simulation, b"big\n", capacity=1000)
        simulation.server.push_message("hello", peer.client_id)
        simulation.settle()
        data = b""
        while piece := peer.take():
            data += piece
            simulation.settle()
        self.assertTrue(data.endswith(b"\n"))
        self.assertEqual(json.loads(data.splitlines()[-1])["data"], "hello")

    def test_a_push_in_the_middle_of_a_half_sent_answer_comes_after_it(self) -> None:
        """A frame is whole, whatever the kernel took of it."""
        simulation = self.simulate()
        peer = self.tell(simulation, b"stream\n", capacity=999)
        simulation.server.push_message("p")
        simulation.settle()
        data = b""
        while piece := peer.take():
            data += piece
            simulation.settle()
        lines = data.splitlines()
        self.assertEqual(sum(b'"push"' in line for line in lines), 1)
        self.assertEqual(sum(line.count(b"s" * 10_000) == 1 for line in lines), 100)

    def test_pushes_to_a_client_that_is_being_closed_are_dropped(self) -> None:
        simulation = self.simulate(tcp_max_message=100)
        peer = self.tell(simulation, b"x" * 101)
        peer.take()
        simulation.server.push_message("late")
        simulation.settle()
        self.assertEqual(peer.take(), b"")


class Stopping(ChannelCase):
    def test_idle_clients_are_closed_and_their_pushes_sent_first(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"")
        simulation.server.push_message("last")
        simulation.server.stop()
        simulation.advance(STOP_PATIENCE + STOP_CHECK)
        last, closing = map(json.loads, peer.take().splitlines())
        self.assertEqual((last["data"], closing["reason"]), ("last", "shutdown"))
        self.assertTrue(peer.saw_fin)

    def test_messages_that_are_here_are_answered_and_what_comes_then_is_not_begun(self) -> None:
        """Contract X3."""
        simulation = self.simulate()
        peer = simulation.tcp()
        peer.send(b"echo a\necho b\nech")
        simulation.settle(jobs=False)
        simulation.server.stop()
        simulation.settle(jobs=False)
        self.assertFalse(simulation.reactor._stopping)
        simulation.pools["worker"].run_all()
        simulation.settle(jobs=False)
        peer.send(b"o c\n")
        simulation.advance(1)
        self.assertEqual(self.lines(peer), ["a", "b"])
        self.assertTrue(peer.saw_fin)
        self.assertFalse(peer.saw_reset)

    def test_what_the_kernel_has_taken_is_answered_before_the_goodbye(self) -> None:
        """Contract X3: nobody has read it, or even accepted it, at the stop."""
        for keep in (False, True):
            with self.subTest(tcp_keep_alive=keep):
                simulation = self.simulate(tcp_keep_alive=keep)
                peers = [simulation.tcp() for _ in range(3)]
                simulation.advance(20)
                peers += [simulation.tcp() for _ in range(3)]
                for peer in peers:
                    peer.send(b'{"command": "echo", "data": "x"}\n')
                simulation.server.stop()
                simulation.settle()
                for peer in peers:
                    answer, *rest = self.lines(peer)
                    self.assertEqual(json.loads(answer), "x")
                    reasons = [json.loads(line)["reason"] for line in rest]
                    self.assertEqual(reasons, ["shutdown"] if keep else [])
                    self.assertTrue(peer.saw_fin)
                    self.assertFalse(peer.saw_reset)

    def test_half_a_message_is_waited_for(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"echo ha")
        simulation.server.stop()
        simulation.advance(2)
        self.assertFalse(peer.saw_fin)
        peer.send(b"lf\n")
        simulation.settle()
        self.assertEqual(self.lines(peer), ["half"])
        self.assertTrue(peer.saw_fin)

    def test_who_has_just_come_is_listened_to_for_a_moment(self) -> None:
        simulation = self.simulate()
        asks, silent = simulation.tcp(), simulation.tcp()
        simulation.server.stop()
        simulation.advance(STOP_PATIENCE - MOMENT)
        self.assertFalse(asks.saw_fin or silent.saw_fin)
        asks.send(b"echo a\n")
        simulation.settle()
        self.assertEqual((self.lines(asks), silent.saw_fin), (["a"], False))
        simulation.advance(MOMENT + STOP_CHECK)
        self.assertTrue(silent.saw_fin)

    def test_what_is_no_command_ends_it_too(self) -> None:
        for said in (b'{"ack": "a1"}\n', b"{broken}\n", b"\n"):
            with self.subTest(said):
                simulation = self.simulate()
                peer = simulation.tcp()
                peer.send(said)
                simulation.server.stop()
                simulation.advance(STOP_PATIENCE + 0.1)
                self.assertTrue(peer.saw_fin)
                self.assertTrue(simulation.reactor._stopping)


class LargeMessages(ChannelCase):
    """All large messages together take no more memory than they may; who sends more waits."""

    MESSAGE = b'{"command": "echo", "data": "' + b"x" * 100_000 + b'"}\n'
    MOST = 500_000

    def crowd(self, leave: bool) -> tuple[Simulation, list[Peer]]:
        """Connect fifty that each send a large message while no worker is free."""
        simulation = self.simulate(max_buffered_bodies=self.MOST)
        peers = []
        for _ in range(50):
            peers.append(simulation.tcp())
            peers[-1].send(self.MESSAGE)
            if leave:
                peers[-1].half_close()
        simulation.settle(jobs=False)
        return simulation, peers

    def memory(self, simulation: Simulation) -> int:
        """Return how many bytes of messages the server holds."""
        total = 0
        for channel in simulation.runtime.connections:
            total += channel._framer.buffered
            if channel._undecoded is not None:
                total += len(channel._undecoded.frame.data)
            if channel._request is not None:
                total += len(channel._request.raw)
        return total

    def test_who_sends_one_waits_where_all_together_are_too_many(self) -> None:
        for leave in (False, True):
            with self.subTest(leave=leave):
                simulation, peers = self.crowd(leave)
                # One read of each comes before it is known that it will be large.
                most = self.MOST + 50 * 2 * simulation.runtime.tcp.recv_size
                self.assertLess(self.memory(simulation), most)
                self.assertEqual(self.tell(simulation, b"now a\n").take(), b"a\n")
                simulation.advance(100, jobs=False)
                self.assertLess(self.memory(simulation), most)
                simulation.settle()
                for peer in peers:
                    self.assertEqual(len(json.loads(peer.take())), 100_000)
                self.assertEqual(simulation.runtime.tcp.memory.size, 0)

    def test_where_all_wait_for_room_the_first_is_read(self) -> None:
        """Half messages alone fill it: nobody would ever give anything back."""
        simulation = self.simulate(max_buffered_bodies=self.MOST)
        half = len(self.MESSAGE) // 2
        peers = [self.tell(simulation, self.MESSAGE[:half]) for _ in range(20)]
        self.assertLess(self.memory(simulation), self.MOST + 20 * 2 * 16384)
        for peer in peers:
            peer.send(self.MESSAGE[half:])
        simulation.settle()
        for peer in peers:
            self.assertEqual(len(json.loads(peer.take())), 100_000)
        self.assertEqual(simulation.runtime.tcp.memory.size, 0)

    def test_who_leaves_gives_its_room_back(self) -> None:
        for end in (Peer.reset, Peer.close):
            with self.subTest(end.__name__):
                simulation, peers = self.crowd(leave=False)
                for peer in peers:
                    end(peer)
                simulation.settle()
                self.assertEqual(simulation.runtime.tcp.memory.size, 0)

    def test_what_cannot_be_read_gives_its_room_back(self) -> None:
        simulation = self.simulate(max_buffered_bodies=self.MOST, tcp_max_message=200_000)
        for data in (
            b"{" + b"x" * 100_000 + b"}\n",
            b'{"ack": "a", "data": "%s"}\n' % (b"x" * 100_000),  # Read, but no command.
            b"x" * 300_000,
            b'{"ack": "x' + b" " * 50_000,
        ):
            self.tell(simulation, data)
        simulation.advance(100)
        self.assertEqual(simulation.runtime.tcp.memory.size, 0)


if __name__ == "__main__":
    unittest.main()
