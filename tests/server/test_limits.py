"""Limits that no other module's tests are about: each fires, and not a moment before.

`tests/test_limits.py` has the table of all limits and who tests them.
"""

from __future__ import annotations

import contextlib
import gc
import gzip
import json
import logging
import socket
import threading
import unittest
from collections.abc import Iterator
from typing import Any, ClassVar
from unittest import mock

from pyliteflux import EventStream, HTTPError, Middleware, Router, StreamResponse
from pyliteflux.channels.stream_pull import StreamPull
from pyliteflux.errors import BodyTooLarge, HeadTooLarge, PoolFull
from pyliteflux.protocol.http_body import WIRE_ALLOWANCE, WIRE_FACTOR, ChunkedBody
from pyliteflux.protocol.http_head import DEFAULT_LIMITS
from pyliteflux.reactor import wire
from pyliteflux.reactor.loop import Reactor
from pyliteflux.reactor.workers import WorkerPool
from pyliteflux.server import connections as connections_module
from pyliteflux.why import CloseReason
from tests.fakes import FakeClock, FakeSelector, InlinePool, Network, Peer, Simulation
from tests.support import (
    Client,
    captured_logs,
    make_server,
    running_server,
    stop,
    wait_for,
    wait_until,
)

SWEEP = 1.0  # Seconds between two looks at the deadlines, at most.
MOMENT = 0.001
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


class LimitCase(unittest.TestCase):
    def setUp(self) -> None:
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.logs = self.stack.enter_context(captured_logs())
        router = self.router = Router()

        self.handled = 0

        @router.register("/", ["GET", "POST"])
        @router.register("echo", protocol="tcp")
        def index(request: Any) -> dict[str, Any]:
            self.handled += 1
            return {"size": len(request.body)}

        @router.register("/stream")
        def stream(request: Any) -> StreamResponse:
            return StreamResponse(self.pieces())

        @router.register("stream", protocol="tcp")
        def tcp_stream(request: Any) -> StreamResponse:
            return StreamResponse(self.pieces())

    def pieces(self) -> Iterator[str]:
        yield "first"
        yield "second"

    def simulate(self, **settings: Any) -> Simulation:
        return self.stack.enter_context(Simulation(self.router, **settings))

    def ask(self, simulation: Simulation, data: bytes, **options: Any) -> Peer:
        peer = simulation.http(**options)
        peer.send(data)
        simulation.settle()
        return peer


def head_of(length: int) -> bytes:
    return f"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n".encode()


class BufferedBodies(LimitCase):
    """max_buffered_bodies: many bodies that each are allowed, and together are too much."""

    def test_up_to_the_limit_all_are_taken_and_over_it_the_oldest_is_given_up(self) -> None:
        simulation = self.simulate(max_buffered_bodies=3000)
        peers = []
        for _ in range(3):
            peers.append(self.ask(simulation, head_of(1500) + b"x" * 1000))
            simulation.advance(0.01)
        self.assertEqual([peer.unread for peer in peers], [b"", b"", b""], "too early")
        peers[2].send(b"x")
        simulation.settle()
        answer = bytes(peers[0].unread)
        self.assertTrue(answer.startswith(b"HTTP/1.1 503 "), answer)
        self.assertIn(b"Retry-After: 1\r\n", answer)
        self.assertTrue(peers[0].saw_fin)
        for peer, rest in zip(peers[1:], (500, 499), strict=True):
            peer.send(b"x" * rest)
            simulation.settle()
            self.assertTrue(peer.unread.startswith(b"HTTP/1.1 200 "), bytes(peer.unread))

    def test_who_is_the_oldest_itself_is_told_so(self) -> None:
        simulation = self.simulate(max_buffered_bodies=1000)
        peer = self.ask(simulation, head_of(2000) + b"x" * 1001)
        self.assertTrue(peer.unread.startswith(b"HTTP/1.1 503 "), bytes(peer.unread))
        self.assertEqual(simulation.runtime.http.bodies.size, 0)

    def test_a_body_counts_until_it_is_answered(self) -> None:
        simulation = self.simulate(max_buffered_bodies=1000)
        first = simulation.http()
        first.send(head_of(1000) + b"x" * 1000)
        simulation.settle(jobs=False)
        second = simulation.http()
        second.send(head_of(1) + b"x")
        simulation.settle(jobs=False)
        self.assertTrue(second.unread.startswith(b"HTTP/1.1 503 "), bytes(second.unread))
        simulation.settle()
        self.assertTrue(first.unread.startswith(b"HTTP/1.1 200 "))
        third = self.ask(simulation, head_of(1000) + b"x" * 1000)
        self.assertTrue(third.unread.startswith(b"HTTP/1.1 200 "))

    def test_however_a_request_ends_its_bytes_are_given_back(self) -> None:
        simulation = self.simulate(body_timeout=5)
        service = simulation.runtime.http
        reset = self.ask(simulation, head_of(100) + b"x" * 10)
        late = self.ask(simulation, head_of(100) + b"x" * 10)
        broken = simulation.http()
        broken.send(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        whole = simulation.http()
        whole.send(head_of(10) + b"x" * 10)
        simulation.settle(jobs=False)
        self.assertEqual(service.bodies.size, 31)
        reset.reset()
        broken.send(b"nonsense\r\n")
        simulation.settle()
        self.assertEqual(service.bodies.size, 10)  # Of `late`.
        simulation.advance(5 + SWEEP)
        self.assertTrue(late.unread.startswith(b"HTTP/1.1 408 "), bytes(late.unread))
        simulation.advance(30)
        self.assertEqual(service.bodies.size, 0)

    def queued(self, simulation: Simulation) -> Peer:
        """Return a client whose request, with a body of 1000 bytes, waits for a worker."""
        peer = simulation.http()
        peer.send(head_of(1000) + b"x" * 1000)
        simulation.settle(jobs=False)
        self.assertEqual(simulation.runtime.http.bodies.size, 1000)
        return peer

    def test_who_leaves_before_its_turn_takes_its_body_along(self) -> None:
        """X2 (`bodies_of_the_gone`): what lies in the workers' queue has no client any more."""
        finished: list[Any] = []

        class Noting(Middleware):
            def on_finish(self, request: Any) -> None:
                finished.append(request)

        simulation = self.simulate()
        simulation.server.add_middleware(Noting())
        pool = simulation.pools["worker"]
        for tcp in (False, True):
            if tcp:
                peer = simulation.tcp()
                peer.send(b'{"command": "echo", "data": "' + b"x" * 1000 + b'"}\n')
                simulation.settle(jobs=False)
            else:
                peer = self.queued(simulation)
            _, request, _ = pool.jobs[-1]
            peer.reset()
            simulation.settle(jobs=False)
            self.assertEqual((request.body, len(request.headers)), (b"", 0))
            self.assertEqual(getattr(request, "data", None), None)
            self.assertEqual(simulation.runtime.http.bodies.size, 0)
        self.assertEqual(pool.dead, 2)
        simulation.settle()
        self.assertEqual((self.handled, finished), (0, []), "nobody asks for it any more")

    def test_what_a_handler_still_holds_counts_until_it_returns(self) -> None:
        simulation = self.simulate(handler_timeout=5)
        for is_late in (False, True):
            peer = self.queued(simulation)
            simulation.pools["worker"].begin()
            if is_late:
                simulation.advance(5 + SWEEP, jobs=False)
                self.assertTrue(peer.unread.startswith(b"HTTP/1.1 504 "))
            peer.reset()
            simulation.settle(jobs=False)
            self.assertEqual(simulation.runtime.http.bodies.size, 1000)
            simulation.settle()
            self.assertEqual(simulation.runtime.http.bodies.size, 0)
        self.assertEqual(self.handled, 2)

    def test_what_has_waited_over_handler_timeout_is_not_begun_after_its_504(self) -> None:
        simulation = self.simulate(handler_timeout=5)
        peer = self.queued(simulation)
        simulation.advance(5 + SWEEP, jobs=False)
        self.assertTrue(peer.unread.startswith(b"HTTP/1.1 504 "))
        self.assertEqual(simulation.runtime.http.bodies.size, 0)
        simulation.settle()
        self.assertEqual(self.handled, 0)

    def test_who_only_sends_no_more_is_answered(self) -> None:
        simulation = self.simulate()
        peer = self.queued(simulation)
        peer.half_close()
        simulation.settle()
        self.assertTrue(peer.unread.startswith(b"HTTP/1.1 200 "))

    def test_it_can_be_switched_off(self) -> None:
        simulation = self.simulate(max_buffered_bodies=0)
        peer = self.ask(simulation, head_of(1000) + b"x" * 1000)
        self.assertTrue(peer.unread.startswith(b"HTTP/1.1 200 "))


class StreamSteps(LimitCase):
    """stream_step_timeout: an iterator that does not come back (row 17)."""

    TIMEOUT = 5.0

    def begin(self, tcp: bool = False, **settings: Any) -> tuple[Simulation, Peer]:
        """Return a client whose stream's generator is in its second step."""
        simulation = self.simulate(**settings)
        case = self

        class Stuck(InlinePool):
            def stack_of(self, argument: Any) -> str:
                return "in the second step" if isinstance(argument, StreamPull) else ""

        def pieces() -> Iterator[str]:
            yield "first"
            # The worker is stuck here, and the world goes on: so it goes on from in here.
            case.meanwhile()
            yield "second"

        pool = simulation.pools["stream"]
        pool.__class__ = Stuck
        self.pieces = pieces  # type: ignore[method-assign]
        peer = simulation.tcp() if tcp else simulation.http()
        peer.send(b"stream\n" if tcp else GET.replace(b"/ ", b"/stream "))
        return simulation, peer

    def pass_time(self, simulation: Simulation, seconds: float) -> None:
        """Let time pass while the worker is in its step: no other job runs."""
        end = simulation.clock.now + seconds
        while True:
            deadline = simulation.reactor._timers.next_deadline()
            if deadline is None or deadline > end:
                break
            simulation.clock.now = max(simulation.clock.now, deadline)
            simulation.reactor.run_once()
        simulation.clock.now = end
        simulation.reactor.run_once()

    def test_a_step_that_takes_longer_cuts_the_stream_and_not_a_moment_before(self) -> None:
        for tcp in (False, True):
            with self.subTest(tcp=tcp):
                simulation, peer = self.begin(tcp, stream_step_timeout=self.TIMEOUT)

                def meanwhile(simulation: Simulation = simulation, peer: Peer = peer) -> None:
                    self.pass_time(simulation, self.TIMEOUT - MOMENT)
                    self.assertIn(b"first", peer.unread)
                    self.assertFalse(peer.saw_reset, "too early")
                    self.pass_time(simulation, MOMENT + SWEEP)
                    self.assertTrue(peer.saw_reset, "a body cut short must not look complete")

                self.meanwhile = meanwhile
                simulation.settle()
                self.assertTrue(peer.saw_reset)
                found = self.logs.find("a step of its stream has not returned after 5 s")
                self.assertIn("in the second step", found[-1])
                self.assertEqual(simulation.pools["stream"].replacements, 1)

    def test_each_step_has_its_own_time_and_a_slow_reader_none(self) -> None:
        simulation, peer = self.begin(stream_step_timeout=self.TIMEOUT)
        self.meanwhile = lambda: self.pass_time(simulation, self.TIMEOUT - MOMENT)
        peer.capacity = 10
        simulation.settle()
        simulation.advance(2 * self.TIMEOUT)  # Nobody steps it: it is the reader who is slow.
        self.assertFalse(peer.saw_reset)
        peer.capacity = 10_000
        simulation.settle()
        self.assertTrue(peer.take().endswith(b"second\r\n0\r\n\r\n"))

    def test_it_is_off_unless_asked_for(self) -> None:
        simulation, peer = self.begin()
        self.meanwhile = lambda: self.pass_time(simulation, 10_000)
        simulation.settle()
        self.assertTrue(peer.take().endswith(b"second\r\n0\r\n\r\n"))


class Orphans(LimitCase):
    """What the kernel still has when we close (row 3). Real sockets: it is their kernel."""

    SIZE = 100_000  # Less than kernel_unsent_limit.

    def ask_for_much(self, server: Any) -> Client:
        """Return a client whose whole answer and FIN are with the kernel, and which reads not."""
        client = Client(server.http_address, receive_buffer=4096)
        self.stack.callback(client.close)
        client.send(b"GET /much HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        runtime = server._runtime

        def is_sent() -> bool:
            return any(channel.transport.fin_is_sent for channel in list(runtime.connections))

        wait_until(is_sent, "all is with the kernel")
        return client

    def serve(self, **settings: Any) -> Any:
        self.router.register("/much")(lambda request: b"m" * self.SIZE)
        if wire.QUEUE_SIZE is None:
            self.skipTest("the system does not tell what it has")
        return self.stack.enter_context(running_server(self.router, **settings))

    def test_a_peer_that_does_not_read_what_the_kernel_has_is_reset(self) -> None:
        """A plain close would leave that with the kernel, for minutes."""
        server = self.serve(linger_timeout=0.02, send_timeout=0.2)
        client = self.ask_for_much(server)
        wait_until(lambda: server.stats["connections"] == 0, "it is given up")
        with self.assertRaisesRegex(AssertionError, "reset"):
            client.read_rest()

    def test_a_peer_that_reads_slowly_gets_all_of_it_however_long_it_takes(self) -> None:
        server = self.serve(linger_timeout=0.02, send_timeout=5.0)
        client = self.ask_for_much(server)
        (channel,) = server._runtime.connections
        turns = [channel.deadline]

        def has_looked_again() -> bool:
            return bool(channel.deadline > turns[-1])

        for _ in range(3):  # Its linger_timeout has passed, again and again.
            client.read_exactly(10_000)
            wait_until(has_looked_again, "the sweep has come by")
            turns.append(channel.deadline)
        self.assertGreater(len(client.read_rest()), self.SIZE - 30_000)
        wait_until(lambda: server.stats["connections"] == 0, "then it is closed")


class BlockedStreams(LimitCase):
    """Generators that wait hold their threads; what is to be given back has threads of its own."""

    def test_they_keep_nobody_from_on_finish_hooks_and_the_end_of_others_generators(self) -> None:
        release, blocked = threading.Event(), threading.Event()
        self.addCleanup(release.set)
        finished, left, closed = threading.Event(), threading.Event(), threading.Event()

        class Freeing(Middleware):
            def on_finish(self, request: Any) -> None:
                if request.path == "/":
                    finished.set()

        def paused() -> Iterator[bytes]:
            try:
                while True:
                    yield b"x" * 100_000
            finally:
                closed.set()

        def waiting() -> Iterator[str]:
            blocked.set()
            release.wait(60)  # Longer than anybody here waits for anything.
            yield "late"

        self.router.register("/paused")(lambda request: StreamResponse(paused()))
        self.router.register("/waiting")(lambda request: StreamResponse(waiting()))
        server = make_server(
            self.router,
            stream_workers=1,
            tcp_keep_alive=True,
            write_high_water=150_000,
            shutdown_timeout=1.0,
        )
        server.add_middleware(Freeing())
        server.on_disconnect(lambda client, reason: left.set())
        server.start()
        self.addCleanup(stop, server)
        reader = Client(server.http_address, receive_buffer=4096)
        self.addCleanup(reader.close)
        reader.send_request("GET", "/paused")
        reader.read_head()
        runtime = server._runtime
        assert runtime is not None
        (channel,) = runtime.connections

        def is_paused() -> bool:
            pull, transport = channel._stream.pull, channel.transport
            return bool(transport.bytes_out > 100_000 and transport.size and not pull._is_running)

        wait_until(is_paused, "the generator is paused")
        with Client(server.http_address) as greedy, Client(server.http_address) as client:
            greedy.send_request("GET", "/waiting")
            wait_for(blocked, "the only thread for generators waits")
            self.assertEqual(client.get("/").status, 200)
            wait_for(finished, "on_finish")
            with Client(server.tcp_address) as tcp:
                tcp.send('{"command": "none"}\n')
                tcp.read_line()
            wait_for(left, "on_disconnect")
            reader.reset()
            wait_for(closed, "the finally of a generator whose client has left")
            release.set()


class FullServer(LimitCase):
    """max_connections: who is idle for longest has to go (row 4)."""

    def test_who_has_said_nothing_for_a_while_goes_and_who_has_just_come_does_not(self) -> None:
        simulation = self.simulate(max_connections=3)
        silent = simulation.http()
        simulation.advance(connections_module.SILENT_TIME - 0.1 - MOMENT)
        used = self.ask(simulation, GET)
        simulation.advance(0.1)
        fresh = simulation.http()
        simulation.settle()
        self.assertEqual([silent.is_over, used.is_over, fresh.is_over], [False] * 3)
        with mock.patch.object(connections_module, "EVICT_COUNT", 1):
            self.assertIn(b" 200 ", self.ask(simulation, GET).unread)
            self.assertEqual([silent.is_over, used.is_over], [False, True], "not a moment before")
            simulation.advance(connections_module.EVICT_INTERVAL)
            self.assertIn(b" 200 ", self.ask(simulation, GET).unread)
        self.assertEqual([silent.is_over, fresh.is_over], [True, False])

    def test_who_is_being_served_stays(self) -> None:
        simulation = self.simulate(max_connections=2)
        busy, receiving = simulation.http(), simulation.http()
        busy.send(GET)
        receiving.send(GET[:-1])
        simulation.advance(5, jobs=False)
        refused = simulation.http()
        simulation.settle(jobs=False)
        self.assertIn(b" 503 ", refused.unread)
        receiving.send(GET[-1:])
        simulation.settle()
        self.assertIn(b" 200 ", busy.unread)
        self.assertIn(b" 200 ", receiving.unread)

    def test_who_fills_one_port_does_not_shut_the_other(self) -> None:
        """X2 (`tcp_fills_http`): a tenth of the places is kept for each."""
        for tcp_fills in (True, False):
            simulation = self.simulate(max_connections=20, tcp_keep_alive=True)
            fillers = []
            for _ in range(100):
                peer = simulation.tcp() if tcp_fills else simulation.http()
                if not tcp_fills:
                    peer.send(GET)
                fillers.append(peer)
                simulation.settle(jobs=False)
            simulation.advance(120, jobs=False)
            self.assertEqual(sum(not peer.is_over for peer in fillers), 18)
            self.assertIn(b"busy" if tcp_fills else b" 503 ", fillers[18].unread)
            for _ in range(2):
                other = simulation.http() if tcp_fills else simulation.tcp()
                other.send(GET if tcp_fills else b"nothing\n")
                simulation.settle(jobs=False)
                simulation.pools["worker"].run_one(-1)
                simulation.settle(jobs=False)
                self.assertIn(b" 200 " if tcp_fills else b"unknown_command", other.take())
            simulation.settle()

    def test_where_there_is_one_port_it_has_all_places(self) -> None:
        simulation = self.simulate(protocol="tcp", max_connections=20, tcp_keep_alive=True)
        peers = [simulation.tcp() for _ in range(30)]
        simulation.settle()
        self.assertEqual(sum(not peer.unread for peer in peers), 20)


class Watching(LimitCase):
    """What the kernel may refuse beside a descriptor (row 11)."""

    def test_a_connection_that_cannot_be_watched_is_closed_and_forgotten(self) -> None:
        simulation = self.simulate()
        with mock.patch.object(FakeSelector, "register", side_effect=OSError(28, "no space")):
            peer = simulation.http()
            simulation.settle()
        self.assertTrue(peer.is_over)
        self.assertEqual(len(simulation.runtime.connections), 0)
        self.assertEqual(simulation.runtime.connections.per_address, {})
        self.assertEqual(len(self.logs.find("cannot watch a new connection: no space")), 1)
        self.assertIn(b" 200 ", self.ask(simulation, GET).unread)


class LongSleep(LimitCase):
    """The machine was suspended, or the process stopped: read first, then judge (row 38)."""

    def test_a_message_that_came_meanwhile_is_not_late_though_it_takes_many_reads(self) -> None:
        self.router.register("echo", protocol="tcp")(lambda request: len(request.data["text"]))
        simulation = self.simulate(tcp_message_timeout=30.0, tcp_keep_alive=True, recv_size=1000)
        peer = simulation.tcp()
        message = json.dumps({"command": "echo", "data": {"text": "x" * 50_000}}).encode()
        peer.send(message[:100])
        simulation.settle()
        peer.send(message[100:] + b"\n")
        simulation.clock.advance(3600)
        simulation.settle()
        self.assertIn(b"50000", peer.unread)

    def test_what_has_not_come_is_late_at_the_next_look(self) -> None:
        simulation = self.simulate(header_timeout=10)
        peer = self.ask(simulation, GET[:10])
        simulation.clock.advance(3600)
        simulation.settle()
        self.assertEqual(peer.unread, b"", "too early")
        simulation.advance(SWEEP)
        self.assertTrue(peer.unread.startswith(b"HTTP/1.1 408 "))

    def test_a_reactor_that_is_always_late_still_judges(self) -> None:
        simulation = self.simulate(header_timeout=10)
        peer = self.ask(simulation, GET[:10])
        for _ in range(3):
            simulation.clock.advance(5)
            simulation.settle()
        self.assertTrue(peer.unread.startswith(b"HTTP/1.1 408 "))

    def test_the_sleep_is_never_longer_than_a_minute_whatever_the_clock_says(self) -> None:
        simulation = self.simulate()
        simulation.settle()
        simulation.clock.advance(-1e9)  # A clock that is no clock: even then it wakes up.
        simulation.turn()
        self.assertLessEqual(simulation.selector.sleep or 0, 60)


class ManyRequests(LimitCase):
    """keep_alive_requests (row 4), what one connection may keep the loop busy with (row 8)."""

    def test_a_connection_is_closed_after_so_many_requests_and_not_one_before(self) -> None:
        simulation = self.simulate(keep_alive_requests=3)
        peer = self.ask(simulation, GET * 2)
        self.assertEqual(peer.unread.count(b"HTTP/1.1 200 "), 2)
        self.assertNotIn(b"Connection: close", peer.unread)
        self.assertFalse(peer.saw_fin)
        peer.send(GET * 2)
        simulation.settle()
        self.assertEqual(peer.unread.count(b"HTTP/1.1 200 "), 3)
        self.assertEqual(peer.unread.count(b"Connection: close"), 1)
        self.assertTrue(peer.saw_fin)

    def test_without_it_there_is_no_end(self) -> None:
        peer = self.ask(self.simulate(), GET * 500)
        self.assertEqual(peer.unread.count(b"HTTP/1.1 200 "), 500)

    def test_a_body_of_tiny_chunks_leaves_the_turn_to_others_after_the_budget(self) -> None:
        """64 KB of them are tens of milliseconds of parsing: a limit in bytes is not enough."""
        count = 10_000
        head = b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
        turns = {}
        for tick in (0.0, 0.004):
            simulation = self.simulate(loop_budget_ms=5)
            watch = FakeClock()

            def look(watch: FakeClock = watch, tick: float = tick) -> float:
                watch.advance(tick)  # Each look at the watch takes so long.
                return watch.now

            simulation.reactor.time = look
            peer = simulation.http()
            peer.send(head + b"1\r\nx\r\n" * count + b"0\r\n\r\n")
            turns[tick] = simulation.settle()
            self.assertIn(b'{"size": %d}' % count, peer.unread)
        self.assertGreater(turns[0.004], turns[0.0] + 3)

    def test_a_message_of_nothing_but_brackets_is_read_in_small_pieces(self) -> None:
        simulation = self.simulate(tcp_keep_alive=True)
        peer = simulation.tcp()
        simulation.settle()
        peer.send(b"{" + b"[]," * 20_000)
        for turn in range(1, 4):
            simulation.turn()
            self.assertEqual(len(peer.sock.incoming), 60_001 - 16 * 1024 * turn)


class ChunkFraming(unittest.TestCase):
    """All the wire bytes of a chunked body: 8 for each of content, and 64 KiB (row 7)."""

    def wire_taken(self, extension: int, limit: int) -> int:
        """Return how many bytes of one-byte chunks with such an extension are read."""
        body = ChunkedBody(DEFAULT_LIMITS, limit)
        chunk = b"1;" + b"e" * extension + b"\r\nx\r\n"
        taken = 0
        for _ in range(limit):
            try:
                body.take(bytearray(chunk))
            except BodyTooLarge:
                return taken
            taken += len(chunk)
        return taken

    def test_a_body_of_one_byte_chunks_passes(self) -> None:
        body = ChunkedBody(DEFAULT_LIMITS, 50_000)
        data = bytearray(b"1\r\nx\r\n" * 50_000)
        size = 0
        while data:
            size += len(body.take(data))
        self.assertEqual(size, 50_000)

    def test_extensions_end_at_the_limit_and_not_before(self) -> None:
        limit = 20_000
        most = WIRE_FACTOR * limit + WIRE_ALLOWANCE
        taken = self.wire_taken(100, limit)
        self.assertGreater(taken, most - 200, "too early")
        self.assertLessEqual(taken, most)

    def test_trailers_are_limited_as_a_head_is(self) -> None:
        for size, is_fine in ((DEFAULT_LIMITS.head - 4, True), (DEFAULT_LIMITS.head + 1, False)):
            body = ChunkedBody(DEFAULT_LIMITS)
            data = bytearray(b"0\r\na: " + b"v" * (size - 3) + b"\r\n\r\n")
            with contextlib.nullcontext() if is_fine else self.assertRaises(HeadTooLarge):
                body.take(data)
                self.assertTrue(body.is_complete)


class Replacements(unittest.TestCase):
    def test_for_stuck_workers_others_start_up_to_twice_as_many(self) -> None:
        """Row 16."""
        reactor = Reactor(FakeSelector(Network()), FakeClock())
        self.addCleanup(reactor.close)
        pool = WorkerPool(reactor, "test", 3, 100)
        for _ in range(10):
            pool.add_replacement()
        self.assertEqual(pool._max_threads, 6)


class AfterTheEnd(LimitCase):
    def test_a_handler_that_returns_after_the_end_still_frees_what_it_held(self) -> None:
        """Row 33: `on_finish` is the place to give back, and a stop does not take it away."""
        finished: list[str] = []
        entered, release, done = threading.Event(), threading.Event(), threading.Event()
        self.addCleanup(release.set)

        class Freeing(Middleware):
            def on_finish(self, request: Any) -> None:
                finished.append(request.path)
                done.set()

        def pieces() -> Iterator[str]:
            try:
                yield "never sent"
            finally:
                finished.append("never begun, so never here")

        @self.router.register("/slow")
        def slow(request: Any) -> Any:
            entered.set()
            wait_for(release, "the test lets the handler go on")
            return StreamResponse(pieces())

        server = make_server(self.router, shutdown_timeout=0.05)
        server.add_middleware(Freeing())
        server.start()
        with Client(server.http_address) as client:
            client.send_request("GET", "/slow")
            wait_for(entered, "the handler runs")
            stop(server)
            self.assertEqual(finished, [])
            release.set()
            wait_for(done, "on_finish has run")
        self.assertEqual(finished, ["/slow"])
        self.assertTrue(self.logs.find("in slow"), "the stack of what was abandoned")


class Probes(LimitCase):
    def test_the_kernel_looks_after_a_silent_client_for_two_minutes(self) -> None:
        """Row 23: a machine that is gone says nothing, not even that."""
        with running_server(self.router, tcp_keep_alive=True) as server:
            with Client(server.tcp_address) as client:
                wait_until(lambda: client.client_id in server.clients, "it is known")
                runtime = server._runtime
                assert runtime is not None
                (channel,) = runtime.connections
                sock = channel.transport._wire
                names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
                for name, value in zip(names, (60, 10, 6), strict=True):
                    if hasattr(socket, name):
                        got = sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
                        self.assertEqual(got, value, name)


class Bodies(LimitCase):
    def test_a_compressed_body_is_handed_over_as_it_is(self) -> None:
        """A megabyte of zeros is a kilobyte on the wire: nobody expands it unasked."""
        seen: list[Any] = []

        @self.router.register("/raw", "POST")
        def raw(request: Any) -> int:
            seen.append(request.body)
            return len(request.json_data)

        bomb = gzip.compress(b"0" * 1_000_000)
        data = b"POST /raw HTTP/1.1\r\nHost: t\r\nContent-Encoding: gzip\r\n"
        data += b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(bomb)
        peer = self.ask(self.simulate(), data + bomb)
        self.assertEqual(seen, [bomb])
        self.assertTrue(peer.unread.startswith(b"HTTP/1.1 400 "), bytes(peer.unread))


class NothingIsKept(LimitCase):
    """What was answered is gone (row 39): found by `make soak`, in refusals of unknown commands.

    An exception that is raised again keeps the traceback of each time, with all that was in it.
    """

    KINDS: ClassVar[dict[str, bytes]] = {
        "an unknown command": b"nothing %d\n",
        "a bad message": b'{"%d" x}\n',
        "an unknown path": b"GET /nothing%d HTTP/1.1\r\nHost: t\r\n\r\n",
        "another method": b"PUT / HTTP/1.1\r\nHost: t\r\nX-Number: %d\r\n\r\n",
        "a request": b"GET / HTTP/1.1\r\nHost: t\r\nX-Number: %d\r\n\r\n",
        "a handler that fails": b"GET /fails HTTP/1.1\r\nHost: t\r\nX-Number: %d\r\n\r\n",
        "an error of HTTP": b"GET /error HTTP/1.1\r\nHost: t\r\nX-Number: %d\r\n\r\n",
    }

    def test_a_thousand_of_a_kind_leave_no_more_than_a_hundred(self) -> None:
        self.router.register("/fails")(lambda request: 1 / 0)

        @self.router.register("/error")
        def error(request: Any) -> None:
            raise HTTPError(418)

        for kind, data in self.KINDS.items():
            with self.subTest(kind):
                simulation = self.simulate(tcp_keep_alive=True)
                peer = simulation.http() if b"HTTP" in data else simulation.tcp()
                counts = []
                for number in range(1100):
                    if number in (100, 1099):
                        self.logs.records.clear()
                        gc.collect()
                        counts.append(len(gc.get_objects()))
                    peer.send(data % (number % 50))  # Heads that were seen before are known.
                    simulation.settle()
                    self.assertTrue(peer.take())
                self.assertLess(counts[1] - counts[0], 500)


class LogLines(LimitCase):
    def test_a_thousand_bad_requests_and_messages_are_no_log_to_fill_a_disk(self) -> None:
        simulation = self.simulate(tcp_keep_alive=True)
        for _ in range(300):
            self.ask(simulation, b"\0\x1b[31m\r\n\r\n").reset()
            peer = simulation.tcp()
            peer.send(b'{"\x1b": \n' * 3)
            simulation.settle()
            peer.reset()
        simulation.settle()
        self.assertEqual(self.logs.lines(logging.WARNING), [])


class Pushes(LimitCase):
    """push_backlog, ack_timeout, max_pending_acks, tcp_ping_interval (rows 23, 24, 42)."""

    def connect(self, **settings: Any) -> tuple[Simulation, Peer]:
        self.router.register("echo", protocol="tcp")(lambda request: request.data)
        simulation = self.simulate(tcp_keep_alive=True, **settings)
        peer = simulation.tcp()
        peer.send(b'{"command": "echo", "data": 1}\n')
        simulation.settle()
        peer.take()
        return simulation, peer

    def test_who_pushes_faster_than_the_reactor_delivers_is_told(self) -> None:
        simulation, peer = self.connect(push_backlog=10)
        server = simulation.server
        for number in range(10):
            self.assertEqual(server.push_message(number), 1)
        with self.assertRaises(PoolFull):
            server.push_message("too much")
        simulation.settle()
        self.assertEqual(len(peer.take().splitlines()), 10)
        self.assertEqual(server.push_message("again"), 1)

    def test_what_waits_for_the_reactor_is_bounded_in_bytes_too(self) -> None:
        """X2: `push_backlog` of them may be a megabyte each."""
        simulation, peer = self.connect(push_backlog_bytes=10_000)
        server = simulation.server
        self.assertEqual(server.push_message("x" * 20_000), 1, "one alone is taken, or never")
        for send in (server.push_message, lambda message: server.publish("topic", message)):
            with self.assertRaisesRegex(PoolFull, "push_backlog_bytes"):
                send("x")
        simulation.settle()
        for _ in range(9):
            server.push_message("x" * 1000)
        with self.assertRaises(PoolFull):
            server.push_message("x" * 1000)
        simulation.settle()
        self.assertEqual(len(peer.take().splitlines()), 10)
        self.assertEqual(server.push_message("again"), 1)

    def test_who_sends_events_faster_than_the_reactor_takes_them_fills_no_inbox(self) -> None:
        """X2: of an EventStream no more is on its way than event_buffer, then it is cut."""
        stream = EventStream()
        self.router.register("/events")(lambda request: stream)
        simulation = self.simulate(event_buffer=10_000)
        peer = self.ask(simulation, GET.replace(b"/ ", b"/events "))
        for _ in range(1000):
            stream.send("x" * 1000)
        self.assertLessEqual(simulation.reactor.backlog, 11)
        simulation.settle()
        self.assertTrue(peer.saw_reset)
        self.assertFalse(stream.send("x"))

    def test_an_ack_has_its_time_and_not_a_moment_less(self) -> None:
        simulation, peer = self.connect(ack_timeout=30.0)
        ack = simulation.server.push_message("x", peer.client_id, ack=True)
        simulation.settle()
        simulation.advance(30 - MOMENT)
        self.assertEqual(ack.state, "waiting")
        simulation.advance(2 * MOMENT)
        self.assertEqual(ack.state, "timeout")

    def test_so_many_pushes_may_lie_unacknowledged_and_no_more(self) -> None:
        simulation, peer = self.connect(max_pending_acks=3)
        server = simulation.server
        for _ in range(3):
            ack = server.push_message("x", peer.client_id, ack=True)
            simulation.settle()
        with self.assertRaises(PoolFull):
            server.push_message("x", peer.client_id, ack=True)
        peer.send(json.dumps({"ack": ack.id}).encode() + b"\n")
        simulation.settle()
        self.assertEqual(ack.state, "acked")
        server.push_message("x", peer.client_id, ack=True)

    def test_a_silent_client_is_pinged_and_cut_after_as_long_again(self) -> None:
        simulation, peer = self.connect(tcp_ping_interval=8.0)
        simulation.advance(8 - MOMENT)
        self.assertEqual(peer.take(), b"", "too early")
        simulation.advance(MOMENT + SWEEP)
        self.assertEqual(json.loads(peer.take())["type"], "ping")
        peer.send(b'{"pong": true}\n')
        simulation.advance(8 + SWEEP)
        self.assertEqual(json.loads(peer.take())["type"], "ping")
        simulation.advance(8 - 2 * SWEEP)
        self.assertFalse(peer.saw_fin, "too early")
        simulation.advance(3 * SWEEP)
        self.assertEqual(json.loads(peer.take())["reason"], "ping_timeout")
        self.assertTrue(peer.saw_fin)


class TheReason(LimitCase):
    def test_who_is_refused_for_want_of_room_has_it_as_the_reason(self) -> None:
        simulation = self.simulate(max_buffered_bodies=10)
        peer = simulation.http()
        peer.send(head_of(20) + b"x")
        simulation.settle()
        channel = simulation.channel(peer)
        peer.send(b"x" * 15)
        simulation.settle()
        self.assertIs(channel.transport.reason, CloseReason.BUSY)


if __name__ == "__main__":
    unittest.main()
