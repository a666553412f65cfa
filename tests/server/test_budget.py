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


class LargeMessages(BudgetCase):
    """X2 (`xml_elements`): a megabyte of <a/> is 0.35 s of decoding, so a thread does it. T6."""

    LARGE = b'<request command="say">' + b"<a/>" * 5000 + b"</request>\n"

    def begin(self, data: bytes, **settings: Any) -> tuple[Simulation, Peer]:
        simulation = self.simulate(**settings)
        peer = simulation.tcp()
        peer.send(data)
        simulation.settle(jobs=False)
        return simulation, peer

    def test_one_is_decoded_by_a_worker_and_what_follows_waits_for_it(self) -> None:
        json_message = b'{"command": "say", "id": 2, "data": "' + b"x" * 20_000 + b'"}\n'
        simulation, peer = self.begin(
            self.LARGE + b'{"command": "say", "id": 1}\n' + json_message + b"say it\n"
        )
        self.assertEqual((self.handled, peer.take()), (0, b""))
        self.assertEqual(simulation.pools["decode"].waiting, 1)
        simulation.settle()
        lines = peer.take().decode().splitlines()
        self.assertEqual([line[:5] for line in lines], ["<resp", '{"siz', '{"siz', '{"siz'])
        self.assertIn('"id": 1', lines[1])
        self.assertIn('"id": 2', lines[2])
        self.assertEqual(self.handled, 4)

    def test_a_small_one_is_not(self) -> None:
        simulation, peer = self.begin(b'<request command="say">' + b"<a/>" * 500 + b"</request>\n")
        self.assertEqual(simulation.pools["decode"].waiting, 0)
        self.assertIn(b"<size>", peer.take())

    def test_a_bad_one_costs_one_error_and_the_next_is_in_step(self) -> None:
        bad = self.LARGE.replace(b"</request>", b"<b></c></b></request>").replace(b"</c>", b"")
        simulation, peer = self.begin(bad.replace(b"<b>", b'<b x="&no;">') + b"say it\n")
        self.assertEqual(simulation.pools["decode"].waiting, 1)
        simulation.settle()
        error, answer = peer.take().splitlines()
        self.assertIn(b"bad_message", error)
        self.assertIn(b'{"size"', answer)
        self.assertFalse(peer.saw_fin)

    def test_a_large_acknowledgement_is_none_of_a_command(self) -> None:
        ack = b'{"ack": "x", "data": "' + b"x" * 20_000 + b'"}\n'
        simulation, peer = self.begin(ack + b"say it\n")
        simulation.settle()
        self.assertIn(b'{"size"', peer.take())

    def test_who_leaves_takes_it_along(self) -> None:
        simulation, peer = self.begin(self.LARGE)
        ((_, message, _),) = simulation.pools["decode"].jobs
        self.assertIsNotNone(message.frame)
        peer.reset()
        simulation.settle(jobs=False)
        self.assertIsNone(message.frame)
        self.assertEqual(simulation.pools["decode"].dead, 1)
        simulation.settle()
        self.assertEqual(self.handled, 0)

    def test_the_end_and_a_stop_wait_for_it(self) -> None:
        for stops in (False, True):
            simulation, peer = self.begin(self.LARGE)
            simulation.server.stop() if stops else peer.half_close()
            simulation.settle()
            self.assertIn(b"<response><size>", peer.take())
            self.assertTrue(peer.saw_fin)


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
