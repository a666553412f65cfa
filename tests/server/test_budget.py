"""One connection's share of a turn: 16 requests or messages, or loop_budget_ms of work, once.

X2, limit 8 (`chunk_hogs`, `http_chunk_bomb`). No clock is looked at: a look at the reactor's
costs a millisecond here, so the number of looks says how long a connection had the turn.
"""

from __future__ import annotations

import contextlib
import unittest
from collections.abc import Callable
from typing import Any

from pyliteflux import Router
from pyliteflux.channels.channel import Channel
from pyliteflux.channels.http_channel import REQUESTS_PER_TURN
from tests.fakes import Peer, Simulation

TICK = 0.001  # Seconds that a look at the clock takes.
BUDGET_MS = 5
MOST_LOOKS = 7  # The first begins the budget, the last is over it.
CHUNKED = b"POST %b HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"1\r\nx\r\n" * 10_000


class Looks:
    """The reactor's clock: each look at it takes a while, and is counted."""

    def __init__(self, simulation: Simulation) -> None:
        self.count = 0
        self._clock = simulation.clock
        simulation.reactor.time = self

    def __call__(self) -> float:
        self.count += 1
        self._clock.advance(TICK)
        return self._clock.now

    def take(self) -> int:
        """Return how many there were since it was last asked."""
        count, self.count = self.count, 0
        return count


class BudgetCase(unittest.TestCase):
    def setUp(self) -> None:
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        router = self.router = Router()
        self.handled = 0

        @router.register("/", ("GET", "POST"), blocking=False)
        @router.register("say", protocol="tcp", blocking=False)
        def index(request: Any) -> dict[str, Any]:
            self.handled += 1
            return {"size": len(request.body)}

        @router.register("/upload", "POST", stream=True)
        def upload(request: Any) -> dict[str, Any]:
            return {"size": sum(map(len, request.stream))}

    def simulate(self, **settings: Any) -> Simulation:
        return self.stack.enter_context(
            Simulation(self.router, loop_budget_ms=BUDGET_MS, tcp_keep_alive=True, **settings)
        )


def continuations(simulation: Simulation) -> int:
    """Return how often a connection will go on by itself in the next turn."""
    return sum(
        isinstance(getattr(callback, "__self__", None), Channel)
        for callback, _ in simulation.reactor._ready
    )


class OneContinuation(BudgetCase):
    """Bytes that come while a connection waits for its next turn bring it no further share."""

    def check(self, connect: Callable[..., Peer], head: bytes, more: bytes) -> None:
        simulation = self.simulate()
        peer = getattr(simulation, connect.__name__)()
        self.stack.callback(simulation.settle)
        self.stack.callback(peer.reset)
        simulation.settle()
        peer.send(head)
        simulation.turn()
        looks = Looks(simulation)
        most = total = 0
        for _ in range(30):
            peer.send(more)
            simulation.turn()
            self.assertLessEqual(continuations(simulation), 1)
            count = looks.take()
            total += count
            most = max(most, count)
        # A first turn has two: among the events, and when the others have had theirs.
        self.assertLessEqual(most, 2 * MOST_LOOKS)
        self.assertLessEqual(total, 40 * MOST_LOOKS)
        self.assertGreater(total, 30, "nothing was asked for")
        channel = simulation.channel(peer)
        waiting = channel._http.buffered if hasattr(channel, "_http") else channel._framer.buffered
        self.assertLessEqual(waiting, 2 * 64 * 1024, "what waits is in the peer's memory")

    def test_of_a_body_of_tiny_chunks(self) -> None:
        self.check(Simulation.http, CHUNKED % b"/", CHUNKS)

    def test_of_an_upload_in_tiny_chunks(self) -> None:
        self.check(Simulation.http, CHUNKED % b"/upload", CHUNKS)

    def test_of_pipelined_requests(self) -> None:
        self.check(Simulation.http, b"", b"GET / HTTP/1.1\r\nHost: t\r\n\r\n" * 500)

    def test_of_tcp_messages(self) -> None:
        self.check(Simulation.tcp, b"", b"say it\n" * 500)


class TimeOfATurn(BudgetCase):
    """16 requests that each take long are too much for one turn, too."""

    def check(self, connect: Callable[..., Peer], data: bytes) -> None:
        simulation = self.simulate()
        peer = getattr(simulation, connect.__name__)()
        simulation.settle()

        @self.router.register("/slow", blocking=False)
        @self.router.register("slow", protocol="tcp", blocking=False)
        def slow(request: Any) -> str:
            self.handled += 1
            simulation.clock.advance(0.004)
            return "done"

        peer.send(data * REQUESTS_PER_TURN)
        simulation.turn()
        # Two shares in the first turn, each of three: the second begins within the budget.
        self.assertLessEqual(self.handled, 6)
        before = self.handled
        simulation.turn()
        self.assertLessEqual(self.handled, before + 3)
        simulation.settle()
        self.assertEqual(self.handled, REQUESTS_PER_TURN)

    def test_of_pipelined_requests(self) -> None:
        self.check(Simulation.http, b"GET /slow HTTP/1.1\r\nHost: t\r\n\r\n")

    def test_of_tcp_messages(self) -> None:
        self.check(Simulation.tcp, b"slow\n")


class NobodyIsLate(BudgetCase):
    def test_a_body_that_waits_for_us_is_not_late(self) -> None:
        """Its client has sent all of it; that our turns are full is no fault of it."""
        simulation = self.simulate(body_timeout=2)
        Looks(simulation)
        peer = simulation.http()
        peer.send(CHUNKED % b"/" + CHUNKS + b"0\r\n\r\n")
        for _ in range(4):
            simulation.turn()
            simulation.clock.advance(1.5)  # Others have theirs.
        simulation.settle()
        self.assertIn(b'{"size": 10000}', peer.take())

    def test_the_end_that_comes_meanwhile_is_seen(self) -> None:
        for head, data in ((CHUNKED % b"/", CHUNKS + b"0\r\n\r\n"), (b"", b"")):
            simulation = self.simulate()
            Looks(simulation)
            peer = simulation.http() if head else simulation.tcp()
            peer.send(head + data if head else b"say it\n" * 100)
            simulation.turn()
            peer.half_close()
            simulation.settle()
            self.assertEqual(peer.take().count(b'"size"'), 1 if head else 100)
            self.assertTrue(peer.saw_fin)


if __name__ == "__main__":
    unittest.main()
