"""HookCalls: one client's in their order, and no more of them than the application can follow."""

from __future__ import annotations

import unittest
from typing import Any

from pyliteflux import Router
from pyliteflux.errors import HTTPError
from pyliteflux.push.hooks import CALLS_PER_JOB, HookCalls
from pyliteflux.reactor.loop import Reactor
from tests.fakes import InlinePool, Simulation
from tests.support import captured_logs


class Calling(unittest.TestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.addCleanup(self.reactor.close)
        self.pool = InlinePool(self.reactor, "cleanup", 1, 10)
        self.calls = HookCalls(self.pool, limit=3)  # type: ignore[arg-type]
        self.told: list[Any] = []

    def add(self, *numbers: int, client: str = "c:1") -> None:
        for number in numbers:
            self.calls.add(client, [self.told.append], number)

    def run_all(self) -> None:
        while self.pool.jobs:
            self.pool.run_one()
            self.reactor.run_once()

    def test_they_are_made_in_order_one_job_at_a_time(self) -> None:
        self.add(*range(100))
        self.assertEqual(len(self.pool.jobs), 1)
        self.run_all()
        self.assertEqual(self.told, list(range(100)))
        self.assertTrue(self.calls.is_idle)

    def test_a_client_with_many_does_not_keep_a_worker_from_the_others(self) -> None:
        self.add(*range(100))
        self.add(1000, client="c:2")
        self.run_all()
        self.assertLess(self.told.index(1000), 2 * CALLS_PER_JOB)

    def test_over_the_limit_the_check_refuses_and_nothing_is_lost(self) -> None:
        self.add(0, 1, 2)  # The first is with the worker.
        self.calls.check("c:1")
        self.add(3)
        with self.assertRaises(HTTPError) as caught:
            self.calls.check("c:1")
        self.assertEqual(caught.exception.status, 429)
        self.calls.check("c:2")
        self.add(4)
        self.run_all()
        self.assertEqual(self.told, [0, 1, 2, 3, 4])
        self.calls.check("c:1")

    def test_what_cannot_run_is_counted_in_the_log(self) -> None:
        self.add(*range(3 * CALLS_PER_JOB))
        self.pool.run_one()
        self.pool.stop()
        with captured_logs() as logs:
            self.reactor.run_once()
        self.assertEqual((len(self.told), self.calls.is_idle), (1, True))
        self.assertTrue(logs.find(f"{3 * CALLS_PER_JOB - 1} hooks of c:1 cannot run"))


class Looping(unittest.TestCase):
    def test_a_client_that_joins_and_leaves_for_ever(self) -> None:
        """X2: with an on_join that does not return the server keeps a bounded number of calls."""
        router = Router()

        @router.register("join", protocol="tcp")
        def join(request: Any) -> str:
            request.subscribe(request.data)
            return "ok"

        with Simulation(router, tcp_keep_alive=True, max_waiting_hooks=10) as simulation:
            server = simulation.server
            server.allow_subscribe("*")
            server.topic("*", presence=True)
            told: list[tuple[str, str]] = []
            server.on_join(lambda topic, client_id: told.append(("join", topic)))
            server.on_leave(lambda topic, client_id: told.append(("leave", topic)))
            peer = simulation.tcp()
            for number in range(100):
                for command in ("subscribe", "join"):  # Ours runs on the loop, this on a worker.
                    peer.send(f"{command} t{number}\nunsubscribe t{number}\n".encode())
                    simulation.settle(jobs=False)
                    simulation.pools["worker"].run_all()
                    simulation.settle(jobs=False)
            (waiting,) = simulation.runtime.calls._waiting.values()
            self.assertLessEqual(len(waiting), 11)
            answers = peer.take()
            self.assertIn(b'"status": 429', answers)
            self.assertIn(b"max_waiting_hooks", answers)
            peer.close()
            simulation.settle()
            joined = [topic for kind, topic in told if kind == "join"]
            left = [topic for kind, topic in told if kind == "leave"]
            self.assertGreater(len(joined), 5)
            self.assertEqual(joined, left)


if __name__ == "__main__":
    unittest.main()
