"""PushDesk: what who pushes is told at once, whatever the reactor is at. Contract P1, P2."""

from __future__ import annotations

import unittest
from math import nan
from types import SimpleNamespace
from typing import Any

from pyliteflux import Config, ConfigError, Router
from pyliteflux.errors import PoolFull, ReactorClosed
from pyliteflux.push.acks import GONE, WAITING, Ack
from pyliteflux.push.desk import PushDesk
from tests.fakes import Simulation
from tests.support import captured_logs


def nobody_is_told(*news: object) -> None:
    """No hook is here."""


class Reactor:
    """Takes calls, and makes them when told to."""

    now = 0.0
    thread_id = None

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.is_closed = False

    @property
    def backlog(self) -> int:
        return len(self.calls)

    def call_soon_threadsafe(self, callback: Any, *args: Any) -> None:
        if self.is_closed:
            raise ReactorClosed("closed")
        self.calls.append((callback, args))

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for callback, args in calls:
            callback(*args)


class DeskCase(unittest.TestCase):
    def setUp(self) -> None:
        self.config = Config()
        self.sender: Any = None
        self.desk = PushDesk(self.config, lambda: self.sender)
        self.reactor: Any = Reactor()
        self.heard: list[Any] = []

    def enter(self, client_id: str = "a:1") -> Any:
        """A client comes and is let in."""
        door: Any = SimpleNamespace(
            client_id=client_id,
            client=None,
            topics=None,
            pending_acks=0,
            deliver=lambda frame, topic, policy: self.heard.append((client_id, frame.json)),
            deliver_acked=lambda frame, ack, *_: self.heard.append((client_id, ack.id)),
            disconnect=lambda text: self.heard.append((client_id, text)),
        )
        self.desk.hub.add(door)
        self.desk.hub.admit(door)
        return door


class WhileNothingRuns(DeskCase):
    def test_there_is_nobody_to_hear_it_before_a_run_and_after(self) -> None:
        self.enter()
        for _ in range(2):
            self.assertEqual(self.desk.push_message("x"), 0)
            self.assertEqual(self.desk.push_message("x", "a:1"), 0)
            self.assertEqual(self.desk.publish("news", "x"), 0)
            self.assertFalse(self.desk.disconnect("a:1"))
            ack: Any = self.desk.push_message("x", "a:1", ack=True)
            self.assertEqual(ack.state, GONE)
            self.desk.begin(self.reactor, nobody_is_told)
            self.desk.end()
        self.assertEqual(self.reactor.calls, [])

    def test_a_reactor_that_has_just_ended_takes_nothing_and_nobody_fails(self) -> None:
        self.desk.begin(self.reactor, nobody_is_told)
        self.enter()
        self.reactor.is_closed = True
        self.assertEqual(self.desk.push_message("x"), 0)
        self.assertEqual(self.desk.publish("news", "x"), 0)
        self.assertFalse(self.desk.disconnect("a:1"))
        ack: Any = self.desk.push_message("x", "a:1", ack=True)
        self.assertEqual(ack.state, GONE)

    def test_what_the_last_run_did_not_deliver_is_no_burden_of_the_next(self) -> None:
        self.config.update(push_backlog_bytes=1000)
        self.enter()
        for _ in range(3):
            self.desk.begin(Reactor(), nobody_is_told)  # type: ignore[arg-type]
            self.assertEqual(self.desk.push_message("x" * 900), 1)
            self.desk.end()

    def test_what_cannot_be_is_told_all_the_same(self) -> None:
        with self.assertRaises(TypeError):
            self.desk.push_message(object())
        with self.assertRaises(ValueError):
            self.desk.publish("news:*", "x")
        with self.assertRaises(ConfigError):
            self.desk.topic("news", no_such_option=1)
        with self.assertRaises(ConfigError):
            self.desk.topic("two words\n")


class WhileARunLasts(DeskCase):
    def setUp(self) -> None:
        super().setUp()
        self.desk.begin(self.reactor, nobody_is_told)

    def test_nothing_is_delivered_by_who_pushes(self) -> None:
        self.enter("a:1")
        self.enter("a:2")
        self.assertEqual(self.desk.push_message(1), 2)
        self.assertEqual(self.desk.push_message(2, "a:2"), 1)
        self.assertTrue(self.desk.disconnect("a:1", "enough"))
        self.assertEqual(self.heard, [])
        self.reactor.turn()
        one, two = (b'{"type": "push", "data": %d}\n' % number for number in (1, 2))
        self.assertEqual(self.heard, [("a:1", one), ("a:2", one), ("a:2", two), ("a:1", "enough")])

    def test_an_ack_is_of_one_client_that_is_here_and_has_a_time(self) -> None:
        door = self.enter()
        for client_id, timeout in ((None, 1), ("a:1", 0), ("a:1", nan), ("a:1", "soon")):
            with self.subTest(client_id=client_id, timeout=timeout), self.assertRaises(ValueError):
                self.desk.push_message("x", client_id, True, timeout)  # type: ignore[arg-type]
        ack = self.desk.push_message("x", "a:1", ack=True)
        assert isinstance(ack, Ack)
        self.assertEqual(ack.state, WAITING)
        self.reactor.turn()
        self.assertEqual(self.heard, [("a:1", ack.id)])
        door.pending_acks = self.config.max_pending_acks
        with self.assertRaises(PoolFull):
            self.desk.push_message("x", "a:1", ack=True)

    def test_a_full_backlog_is_told_to_who_pushes_but_does_not_save_who_is_to_go(self) -> None:
        self.config.update(push_backlog=2)
        self.enter()
        for _ in range(2):
            self.desk.push_message("x")
        for push in (self.desk.push_message, lambda text: self.desk.publish("news", text)):
            with self.assertRaises(PoolFull):
                push("x")
        self.assertTrue(self.desk.disconnect("a:1"))


class PushMessage(unittest.TestCase):
    def test_it_returns_the_number_of_clients_and_only_none_broadcasts(self) -> None:
        with captured_logs(), Simulation(Router(), tcp_keep_alive=True) as simulation:
            server = simulation.server
            self.assertEqual(server.push_message("x"), 0)
            one, two = simulation.tcp(), simulation.tcp()
            simulation.settle()
            self.assertEqual(server.push_message("all"), 2)
            self.assertEqual(server.push_message("one", one.client_id), 1)
            self.assertEqual(server.push_message("no", ""), 0)
            with self.assertLogs("pyliteflux.server", "INFO") as logs:
                self.assertEqual(server.push_message("no", "1.2.3.4:5"), 0)
            self.assertEqual(len(logs.output), 1)
            self.assertIn("1.2.3.4:5", logs.output[0])
            simulation.settle()
            self.assertEqual(one.take(), b'{"type": "push", "data": "all"}\n' + push("one"))
            self.assertEqual(two.take(), push("all"))
        self.assertEqual(server.push_message("after the end"), 0)

    def test_only_long_lived_clients_are_listed(self) -> None:
        with Simulation(Router()) as simulation:
            simulation.tcp()
            simulation.settle()
            self.assertEqual(len(simulation.server.clients), 0)

    def test_it_may_be_used_before_the_first_run(self) -> None:
        simulation = Simulation(Router())
        self.assertEqual(simulation.server.push_message("x"), 0)
        with simulation:
            pass


def push(value: str) -> bytes:
    return b'{"type": "push", "data": "%b"}\n' % value.encode()


if __name__ == "__main__":
    unittest.main()
