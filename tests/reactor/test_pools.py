"""Pools: one for each kind of waiting, and what is asked of all of them."""

from __future__ import annotations

import unittest
from math import inf
from typing import Any

from pyliteflux import Config
from pyliteflux.reactor.loop import Reactor
from pyliteflux.reactor.pools import DECODERS, Pools
from tests.fakes import FakeClock, FakeSelector, InlinePool, Network


class PoolsTest(unittest.TestCase):
    def make(self, **settings: Any) -> Any:
        reactor = Reactor(FakeSelector(Network()), FakeClock())
        self.addCleanup(reactor.close)
        self.made: dict[str, tuple[int, ...]] = {}

        def make(reactor: Reactor, name: str, *limits: int) -> Any:
            self.made[name] = limits
            return InlinePool(reactor, name, *limits)

        return Pools(Config(**settings), reactor, make, print)

    def test_each_has_the_threads_and_the_queue_that_its_settings_say(self) -> None:
        self.make(
            worker_threads=2,
            stream_workers=3,
            cleanup_workers=4,
            task_workers=5,
            max_connections=100,
            task_queue_limit=7,
        )
        expected = {
            "worker": (2, 100),
            "stream": (3, 400),
            "cleanup": (4, 400),
            "decode": (DECODERS, 100),
            "task": (5, 14),
        }
        self.assertEqual(self.made, expected)

    def test_the_queue_of_handlers_has_settings_of_its_own(self) -> None:
        pools = self.make(worker_queue_limit=9, worker_queue_timeout=0.5)
        self.assertEqual(self.made["worker"][1], 9)
        self.assertEqual(pools.workers.max_wait, 0.5)
        self.assertEqual(self.make(worker_queue_timeout=0).workers.max_wait, inf)

    def test_they_are_idle_when_nobody_waits_and_none_is_at_work(self) -> None:
        for name, is_cleanup in (("workers", False), ("streams", True), ("cleanup", True)):
            pools = self.make()
            self.assertTrue(pools.is_idle and pools.cleanup_is_idle)
            getattr(pools, name).submit(print, 1)
            self.assertFalse(pools.is_idle)
            self.assertEqual(pools.cleanup_is_idle, not is_cleanup)
            getattr(pools, name).jobs.clear()
            getattr(pools, name).running = 1
            self.assertFalse(pools.is_idle)

    def test_their_threads_are_told_from_others(self) -> None:
        for name in ("workers", "streams", "cleanup", "tasks"):
            pools = self.make()
            self.assertFalse(pools.own_current_thread)
            getattr(pools, name).owns_current_thread = True
            self.assertTrue(pools.own_current_thread)

    def test_a_stop_stops_all(self) -> None:
        pools = self.make()
        pools.stop()
        for pool in (*pools.of_requests, pools.decoders, pools.tasks):
            self.assertTrue(pool.is_stopped)


if __name__ == "__main__":
    unittest.main()
