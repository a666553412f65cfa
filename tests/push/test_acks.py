"""Acknowledged pushes: decided once, in time or not, and never left open."""

from __future__ import annotations

import json
import threading
import unittest
from typing import Any
from unittest import mock

from pyliteflux import Router
from pyliteflux.channels.pushed_channel import PushedChannel
from pyliteflux.errors import PoolFull
from pyliteflux.push.acks import ACKED, GONE, TIMEOUT, Ack
from tests.fakes import Peer, Simulation
from tests.support import captured_logs


class TheHandle(unittest.TestCase):
    def test_it_is_decided_once_and_for_all(self) -> None:
        ack = Ack("a1", "c:1")
        self.assertEqual((ack.state, ack.wait(0)), ("waiting", False))
        ack.end(ACKED, {"x": 1})
        ack.end(TIMEOUT)
        self.assertEqual((ack.state, ack.reply, ack.wait()), ("acked", {"x": 1}, True))
        self.assertEqual(repr(ack), "<Ack a1 of c:1: acked>")

    def test_who_waits_is_woken_whatever_the_end(self) -> None:
        for state, expected in ((ACKED, True), (TIMEOUT, False), (GONE, False)):
            with self.subTest(state):
                self.assertEqual(self.wait_in_five_threads(state), [expected] * 5)

    def wait_in_five_threads(self, state: str) -> list[bool]:
        ack = Ack("a1", "c:1")
        results: list[bool] = []
        waiters = [threading.Thread(target=lambda: results.append(ack.wait(10))) for _ in range(5)]
        for waiter in waiters:
            waiter.start()
        ack.end(state)
        for waiter in waiters:
            waiter.join(10)
        return results

    def test_callbacks_are_called_once_each_before_or_after(self) -> None:
        ack, seen = Ack("a1", "c:1"), []
        ack.add_done_callback(lambda one: seen.append(("early", one.state)))
        ack.end(ACKED)
        ack.end(GONE)
        ack.add_done_callback(lambda one: seen.append(("late", one.state)))
        self.assertEqual(seen, [("early", "acked"), ("late", "acked")])

    def test_a_callback_that_fails_is_logged_and_the_next_one_runs(self) -> None:
        ack, seen = Ack("a1", "c:1"), []

        def fail(one: Ack) -> None:
            raise RuntimeError("mine")

        with captured_logs() as logs:
            ack.add_done_callback(fail)
            ack.add_done_callback(seen.append)
            ack.end(TIMEOUT)
            ack.add_done_callback(fail)
        self.assertEqual((len(seen), len(logs.find("mine"))), (1, 2))

    def test_a_callback_added_while_it_ends_is_never_lost(self) -> None:
        for _ in range(200):
            ack, seen = Ack("a1", "c:1"), []
            ender = threading.Thread(target=ack.end, args=(ACKED,))
            ender.start()
            ack.add_done_callback(seen.append)
            ender.join(10)
            self.assertEqual(seen, [ack])


class OverSimulatedSockets(unittest.TestCase):
    def simulate(self, **settings: Any) -> Simulation:
        stack = captured_logs()
        self.logs = stack.__enter__()
        self.addCleanup(stack.__exit__, None, None, None)
        router = Router()
        router.register("hello", protocol="tcp", blocking=False)(lambda request: "hi")
        return Simulation(router, tcp_keep_alive=True, **settings)

    def push(self, simulation: Simulation, peer: Peer, message: Any = "x", **options: Any) -> Ack:
        ack = simulation.server.push_message(message, peer.client_id, ack=True, **options)
        simulation.settle()
        return ack

    def connect(self, simulation: Simulation, hello: bytes = b'{"command": "hello"}\n') -> Peer:
        peer = simulation.tcp()
        peer.send(hello)
        simulation.settle()
        peer.take()
        return peer

    def say(self, simulation: Simulation, peer: Peer, value: Any) -> bytes:
        peer.send(json.dumps(value).encode() + b"\n")
        simulation.settle()
        return peer.take()

    def test_the_client_completes_it(self) -> None:
        with self.simulate() as simulation:
            peer = self.connect(simulation)
            ack = self.push(simulation, peer, {"do": "open"})
            message = json.loads(peer.take())
            self.assertEqual(message, {"type": "push", "ack": ack.id, "data": {"do": "open"}})
            self.assertEqual(ack.state, "waiting")
            self.assertEqual(self.say(simulation, peer, {"ack": ack.id, "data": [1]}), b"")
            self.assertEqual((ack.state, ack.reply), ("acked", [1]))
            self.assertEqual(simulation.channel(peer).pending_acks, 0)

    def test_without_data_the_reply_is_none(self) -> None:
        with self.simulate() as simulation:
            peer = self.connect(simulation)
            ack = self.push(simulation, peer)
            self.say(simulation, peer, {"ack": ack.id})
            self.assertEqual((ack.state, ack.reply), ("acked", None))

    def test_an_xml_client_acknowledges_in_xml(self) -> None:
        for text, reply in (("", None), ("done", "done"), ("<a>1</a>", {"a": "1"})):
            with self.subTest(text), self.simulate() as simulation:
                peer = self.connect(simulation, b'<request command="hello"/>')
                ack = self.push(simulation, peer, {"n": 1})
                self.assertEqual(peer.take(), f'<push ack="{ack.id}"><n>1</n></push>\n'.encode())
                peer.send(f'<ack id="{ack.id}">{text}</ack>'.encode())
                simulation.settle()
                self.assertEqual((ack.state, ack.reply, peer.take()), ("acked", reply, b""))

    def test_twice_unknown_or_of_another_client_changes_nothing_and_is_not_answered(self) -> None:
        with self.simulate() as simulation:
            one, two = self.connect(simulation), self.connect(simulation)
            ack = self.push(simulation, one)
            one.take()
            self.assertEqual(self.say(simulation, two, {"ack": ack.id}), b"")
            self.assertEqual(ack.state, "waiting")
            self.say(simulation, one, {"ack": ack.id, "data": 1})
            self.assertEqual(self.say(simulation, one, {"ack": ack.id, "data": 2}), b"")
            self.assertEqual(self.say(simulation, one, {"ack": "a999"}), b"")
            self.assertEqual(ack.reply, 1)
            self.assertIn(b"hi", self.say(simulation, one, {"command": "hello"}))

    def test_one_in_the_middle_of_a_command_line_is_no_acknowledgement(self) -> None:
        """A message with a command is a command, whatever else it says."""
        with self.simulate() as simulation:
            peer = self.connect(simulation)
            ack = self.push(simulation, peer)
            peer.take()
            answer = self.say(simulation, peer, {"command": "hello", "ack": ack.id})
            self.assertEqual((json.loads(answer), ack.state), ("hi", "waiting"))
            for bad in ({"ack": 1}, {"ack": None}, {"ack": ["a1"]}):
                self.assertIn(b"bad_message", self.say(simulation, peer, bad))

    def test_in_time_or_not(self) -> None:
        with self.simulate(ack_timeout=5.0) as simulation:
            peer = self.connect(simulation)
            default, own = self.push(simulation, peer), self.push(simulation, peer, ack_timeout=9)
            simulation.advance(4.9)
            self.assertEqual((default.state, own.state), ("waiting", "waiting"))
            simulation.advance(0.2)
            self.assertEqual((default.state, own.state), ("timeout", "waiting"))
            self.say(simulation, peer, {"ack": default.id})  # Too late.
            self.assertEqual(default.state, "timeout")
            simulation.advance(4)
            self.assertEqual(own.state, "timeout")
            self.assertEqual(simulation.channel(peer).pending_acks, 0)
            self.assertEqual(len(simulation.server.clients), 1)

    def test_a_timer_does_not_outlive_its_acknowledgement(self) -> None:
        with self.simulate() as simulation:
            peer = self.connect(simulation)
            ack = self.push(simulation, peer, ack_timeout=1e9)
            self.say(simulation, peer, {"ack": ack.id})
            assert ack.timer is not None
            self.assertFalse(ack.timer.is_active)

    def test_a_timer_that_fails_costs_its_connection(self) -> None:
        """As a failing callback of its socket does, and no other (X2)."""

        def fail(channel: Any, ack: Ack) -> None:
            raise RuntimeError("a bug")

        with mock.patch.object(PushedChannel, "_on_ack_timeout", fail):
            with self.simulate() as simulation:
                peer, other = self.connect(simulation), self.connect(simulation)
                ack = self.push(simulation, peer)
                simulation.advance(60)
                self.assertEqual(ack.state, "gone")
                self.assertTrue(peer.saw_reset)
                self.assertEqual(len(simulation.server.clients), 1)
                self.assertTrue(simulation.channel(other).is_long_lived)

    def test_a_client_that_leaves_ends_all_of_its(self) -> None:
        for leave in ("close", "reset"):
            with self.subTest(leave), self.simulate() as simulation:
                peer = self.connect(simulation)
                acks = [self.push(simulation, peer) for _ in range(3)]
                getattr(peer, leave)()
                simulation.settle()
                self.assertEqual([ack.state for ack in acks], ["gone"] * 3)

    def test_to_nobody_or_to_a_server_that_does_not_run_it_is_gone_at_once(self) -> None:
        with self.simulate() as simulation:
            server = simulation.server
            self.assertEqual(server.push_message("x", "1.2.3.4:5", ack=True).state, "gone")
            peer = self.connect(simulation)
            open_one = self.push(simulation, peer)
        self.assertEqual(open_one.state, "gone")  # The server has stopped.
        self.assertEqual(server.push_message("x", peer.client_id, ack=True).state, "gone")

    def test_a_client_that_leaves_between_the_call_and_the_reactor(self) -> None:
        with self.simulate() as simulation:
            peer = self.connect(simulation)
            ack = simulation.server.push_message("x", peer.client_id, ack=True)
            simulation.channel(peer).transport.close(simulation.channel(peer).transport.reason)
            simulation.settle()
            self.assertEqual(ack.state, "gone")

    def test_a_client_that_is_too_slow_for_it_is_gone(self) -> None:
        with self.simulate(tcp_send_limit=500) as simulation:
            peer = self.connect(simulation)
            peer.capacity = 10
            acks = [self.push(simulation, peer, "x" * 200) for _ in range(6)]
            simulation.advance(5)
            self.assertEqual({ack.state for ack in acks}, {"gone"})

    def test_the_number_of_those_open_is_bounded(self) -> None:
        with self.simulate(max_pending_acks=3) as simulation:
            peer = self.connect(simulation)
            acks = [self.push(simulation, peer) for _ in range(3)]
            with self.assertRaises(PoolFull):
                self.push(simulation, peer)
            self.say(simulation, peer, {"ack": acks[0].id})
            self.push(simulation, peer)

    def test_what_is_wrong_is_said_to_who_pushes(self) -> None:
        with self.simulate() as simulation:
            peer = self.connect(simulation)
            push = simulation.server.push_message
            for options in (
                {"client_id": None, "ack": True},
                *({"ack": True, "ack_timeout": bad} for bad in (0, -1, "5", float("nan"))),
            ):
                with self.subTest(options), self.assertRaises(ValueError):
                    push("x", **{"client_id": peer.client_id, **options})
            with self.assertRaises(TypeError):
                push(object(), peer.client_id, ack=True)
            self.assertEqual(simulation.channel(peer).pending_acks, 0)

    def test_the_reactor_thread_does_not_wait_for_itself(self) -> None:
        with self.simulate() as simulation:
            errors: list[BaseException] = []

            @simulation.server.router.register("wait", protocol="tcp", blocking=False)
            def wait(request: Any) -> Any:
                ack = simulation.server.push_message("x", request.client_id, ack=True)
                try:
                    ack.wait()
                except RuntimeError as error:
                    errors.append(error)

            peer = self.connect(simulation)
            self.say(simulation, peer, {"command": "wait"})
            self.assertEqual(len(errors), 1)

    def test_on_a_connection_for_one_command_it_is_a_bad_message(self) -> None:
        for signal in ({"ack": "a1"}, {"pong": True}):
            with captured_logs(), Simulation(Router()) as simulation:
                peer = simulation.tcp()
                answer = self.say(simulation, peer, signal)
                self.assertIn(b"bad_message", answer)
                self.assertTrue(peer.saw_fin)


if __name__ == "__main__":
    unittest.main()
