"""Runtime: accepting and its limits, the end of a run, and whole servers in random worlds.

Contract B3, C4, C5.
"""

from __future__ import annotations

import contextlib
import errno
import json
import random
import selectors
import unittest
from collections.abc import Iterator
from typing import Any
from unittest import mock

from pyliteflux import HTTPError, Router, StreamResponse
from pyliteflux.server import runtime as runtime_module
from tests.fakes import InlinePool, Network, Peer, Simulation
from tests.support import captured_logs

SEEDS = 40  # Random worlds in each run of the tests.
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


class RuntimeCase(unittest.TestCase):
    def setUp(self) -> None:
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.logs = self.stack.enter_context(captured_logs())
        self.router = Router()

        @self.router.register("/")
        def index(request: Any) -> str:
            return "ok"

    def simulate(self, **settings: Any) -> Simulation:
        return self.stack.enter_context(Simulation(self.router, **settings))

    def expect_answer(self, simulation: Simulation, peer: Peer, status: int = 200) -> bytes:
        peer.send(GET)
        simulation.settle()
        data = peer.take()
        self.assertTrue(data.startswith(b"HTTP/1.1 %d " % status), data[:100])
        return data


class Accepting(RuntimeCase):
    def test_out_of_descriptors_accepting_pauses_and_is_tried_again(self) -> None:
        """The waiting connection keeps the listener readable; do not spin."""
        for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            simulation = self.simulate(accept_pause=0.1, protocol="http")
            old = simulation.http()
            simulation.settle()
            simulation.network.accept_errors.extend([number] * 5)
            new = simulation.http()
            self.assertLess(simulation.settle(), 5)
            self.expect_answer(simulation, old)  # The others are served meanwhile.
            self.assertEqual(len(simulation.network.accept_errors), 4)
            simulation.advance(0.099)
            self.assertEqual(len(simulation.network.accept_errors), 4, "too early")
            simulation.advance(0.5)
            self.expect_answer(simulation, new)

    def test_running_out_of_descriptors_is_logged_once_a_second(self) -> None:
        simulation = self.simulate(accept_pause=0.1, protocol="http")
        simulation.network.accept_errors.extend([errno.EMFILE] * 25)
        simulation.advance(2.45)
        self.assertEqual(len(self.logs.find("cannot accept connections")), 3)

    def test_a_connection_that_was_aborted_before_accept_costs_nothing(self) -> None:
        simulation = self.simulate()
        simulation.network.accept_errors.extend([errno.ECONNABORTED, errno.EPROTO])
        self.expect_answer(simulation, simulation.http())

    def test_a_peer_that_was_gone_before_accept_is_dropped(self) -> None:
        """Advisory class "race": every call on its socket fails."""
        simulation = self.simulate(tcp_keep_alive=True)
        simulation.http().reset()
        simulation.tcp().reset()
        simulation.settle()
        self.assertEqual(simulation.runtime.connections, 0)

    def test_a_bug_at_the_accept_costs_that_connection_alone(self) -> None:
        """X2: it is counted already, and must not stay, watched by nobody or by half."""
        steps = (
            "reactor.transport.Transport.set_option",
            "reactor.transport.Transport.attach",
            "push.hub.Hub.add",
            "channels.message_channel.MessageChannel.greet",
        )
        for number, step in enumerate(steps, 1):
            with self.subTest(step):
                simulation = self.simulate(tcp_keep_alive=True)
                simulation.server.on_connect(lambda client: True)
                with mock.patch(f"pyliteflux.{step}", side_effect=LookupError("on purpose")):
                    peer = simulation.tcp()
                    simulation.settle()
                self.assertTrue(peer.is_over)
                self.assertEqual(simulation.runtime.connections, 0)
                self.assertEqual(len(simulation.server.clients), 0)
                self.expect_answer(simulation, simulation.http())
                self.assertEqual(len(self.logs.find("LookupError: on purpose")), number)

    def test_one_turn_accepts_only_so_many(self) -> None:
        simulation = self.simulate(max_accepts=3)
        for _ in range(10):
            simulation.http()
        simulation.turn()
        self.assertEqual(simulation.runtime.connections, 3)
        simulation.settle()
        self.assertEqual(simulation.runtime.connections, 10)

    def test_over_max_connections_a_503_says_so(self) -> None:
        simulation = self.simulate(max_connections=2)
        peers = [simulation.http(), simulation.http()]
        simulation.settle()
        refused = simulation.http()
        simulation.settle()
        data = refused.take()
        self.assertTrue(data.startswith(b"HTTP/1.1 503 "))
        self.assertIn(b"Retry-After: 1\r\n", data)
        self.assertTrue(refused.saw_fin)
        for peer in peers:
            self.expect_answer(simulation, peer)
        tcp = simulation.tcp()
        simulation.settle()
        self.assertIn(b"busy", tcp.take())

    def test_a_refused_client_gets_its_answer_though_it_has_asked(self) -> None:
        simulation = self.simulate(max_connections=1)
        simulation.http()
        simulation.settle()
        refused = simulation.http()
        refused.send(GET)
        simulation.settle()
        refused.close()
        simulation.settle()
        self.assertFalse(refused.saw_reset)
        self.assertTrue(refused.take().startswith(b"HTTP/1.1 503 "))

    def test_far_over_max_connections_they_are_cut(self) -> None:
        simulation = self.simulate(max_connections=1)
        peers = [simulation.http() for _ in range(100)]
        simulation.settle()
        self.assertLessEqual(simulation.runtime.connections, 1 + runtime_module.BUSY_SLACK)
        self.assertTrue(peers[-1].is_over)
        self.expect_answer(simulation, peers[0])

    def test_a_full_server_closes_the_longest_idle_connection_first(self) -> None:
        simulation = self.simulate(max_connections=100)
        peers = []
        for _ in range(100):
            peers.append(simulation.http())
            self.expect_answer(simulation, peers[-1])
            simulation.advance(0.01)
        self.expect_answer(simulation, simulation.http())
        over = [peer.is_over for peer in peers]
        count = over.count(True)
        self.assertEqual(count, runtime_module.EVICT_COUNT)
        self.assertEqual(over, [True] * count + [False] * (100 - count))

    def test_one_address_has_a_limit_of_its_own(self) -> None:
        simulation = self.simulate(max_connections_per_ip=2)
        greedy = [simulation.http(host="10.0.0.1") for _ in range(3)]
        other = simulation.http(host="10.0.0.2")
        simulation.settle()
        self.assertTrue(greedy[2].take().startswith(b"HTTP/1.1 503 "))
        self.expect_answer(simulation, other)
        self.expect_answer(simulation, greedy[1])
        for peer in greedy:
            peer.close()
        simulation.settle()
        self.expect_answer(simulation, simulation.http(host="10.0.0.1"))
        self.assertEqual(len(simulation.runtime._per_address), 2)


class Sweeping(RuntimeCase):
    def test_a_channel_that_fails_in_the_sweep_costs_no_other_its_deadline(self) -> None:
        simulation = self.simulate()
        peers = [simulation.http(), simulation.http()]
        simulation.settle()
        name = "pyliteflux.channels.http_channel.HttpChannel.on_deadline"
        with mock.patch(name, side_effect=RuntimeError("bug")):
            simulation.advance(11)
        self.assertTrue(all(peer.is_over for peer in peers))
        simulation.advance(11)
        self.expect_answer(simulation, simulation.http())

    def test_after_a_long_sleep_data_comes_before_deadlines(self) -> None:
        """The machine was suspended; what arrived in time is not late."""
        simulation = self.simulate(keep_alive_timeout=30)
        peer = simulation.http()
        self.expect_answer(simulation, peer)
        peer.send(GET)
        simulation.clock.advance(3600)
        simulation.settle()
        self.assertTrue(peer.take().startswith(b"HTTP/1.1 200 "))


class TheEnd(RuntimeCase):
    def test_a_port_in_use_leaves_nothing_behind(self) -> None:
        """Both ports are bound before anything starts."""
        network = Network()
        bind = network.socket()
        bind.bind(("127.0.0.1", 999))
        bind.listen(1)
        with mock.patch("tests.fakes.Network", lambda seed: network):
            with self.assertRaisesRegex(OSError, "127.0.0.1:999: the port is in use"):
                Simulation(self.router, tcp_port=999)
        self.assertEqual(list(network.sockets.values()), [bind])

    def test_a_stop_closes_the_listeners_at_once(self) -> None:
        simulation = self.simulate()
        peer = simulation.http()
        peer.send(GET)
        simulation.settle(jobs=False)
        simulation.server.stop()
        simulation.settle(jobs=False)
        with self.assertRaises(ConnectionRefusedError):
            simulation.http()
        simulation.settle()
        self.assertTrue(peer.take().startswith(b"HTTP/1.1 200 "))

    def test_a_stop_while_accepting_is_paused_ends_in_order(self) -> None:
        simulation = self.simulate()
        simulation.network.accept_errors.append(errno.EMFILE)
        simulation.settle()
        simulation.server.stop()
        simulation.advance(1)
        self.assertTrue(simulation.reactor._stopping)

    def test_a_task_added_at_the_last_moment_is_not_waited_for_by_the_next_run(self) -> None:
        """Contract B3. A running task adds another one while the server gives everything back."""
        case = self

        class LatePool(InlinePool):
            def stop(self) -> list[Any]:
                if self.name == "task":
                    tasks = simulation.server.tasks
                    case.task = tasks.add(print, (), {}, "late")  # type: ignore[attr-defined]
                    tasks.launch(case.task)  # type: ignore[attr-defined]
                return super().stop()

        simulation = self.simulate(pool_factory=LatePool)
        simulation.end()
        self.assertTrue(simulation.server.tasks.is_idle, "the next stop would wait for it")
        self.assertTrue(self.logs.find("print"), "it was dropped without a word")
        with self.assertRaises(RuntimeError):
            self.task.result(0)  # type: ignore[attr-defined]

    def test_a_server_stopped_before_its_first_turn_ends(self) -> None:
        simulation = self.simulate()
        simulation.server.stop()
        simulation.server._serve(simulation.runtime)
        simulation._is_over = True
        self.assertFalse(simulation.server.is_running)


class World:
    """A seeded scheduler: who sends what, where it is cut, who resets, what ends first."""

    KINDS = ("get", "now", "post", "stream", "big", "missing", "failing")

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.open_streams = 0
        self.finished = 0
        self.router = Router()
        self._add_routes()

    def _add_routes(self) -> None:
        router = self.router

        @router.register("/get/{n:int}")
        def get(request: Any) -> dict[str, Any]:
            return {"n": request.path_params["n"]}

        @router.register("/now/{n:int}", blocking=False)
        def now(request: Any) -> dict[str, Any]:
            return {"n": request.path_params["n"]}

        @router.register("/post/{n:int}", "POST")
        def post(request: Any) -> dict[str, Any]:
            return {"n": request.path_params["n"], "size": len(request.body)}

        @router.register("/big/{n:int}")
        def big(request: Any) -> dict[str, Any]:
            return {"n": request.path_params["n"], "fill": "f" * 100_000}

        @router.register("/failing/{n:int}")
        def failing(request: Any) -> None:
            raise HTTPError(418, {"n": request.path_params["n"]})

        @router.register("/stream/{n:int}")
        def stream(request: Any) -> StreamResponse:
            def pieces() -> Iterator[str]:
                self.open_streams += 1
                try:
                    yield f'{{"n": {request.path_params["n"]}'
                    for _ in range(20):
                        yield " " * 5000
                    yield "}"
                finally:
                    self.open_streams -= 1

            return StreamResponse(pieces())

    def request(self, n: int) -> bytes:
        kind = self.random.choice(self.KINDS)
        if kind == "post":
            body = b"x" * self.random.randint(0, 2000)
            head = f"POST /post/{n} HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n\r\n"
            return head.encode() + body
        return f"GET /{kind}/{n} HTTP/1.1\r\nHost: t\r\n\r\n".encode()

    def run(self, simulation: Simulation) -> None:
        clients = [Conversation(self, simulation) for _ in range(self.random.randint(1, 6))]
        for _ in range(self.random.randint(20, 150)):
            action = self.random.random()
            client = self.random.choice(clients)
            if action < 0.4:
                client.send_some()
            elif action < 0.6:
                client.read_some()
            elif action < 0.62:
                client.peer.reset()
            elif action < 0.64:
                client.peer.half_close()
            elif action < 0.8:
                for pool in simulation.pools.values():
                    if pool.jobs:
                        pool.run_one(self.random.randrange(len(pool.jobs)))
            elif action < 0.82:
                simulation.clock.advance(self.random.choice((0.1, 1, 5)))
            simulation.turn()
        for client in clients:
            client.finish(simulation)
        simulation.settle()


class Conversation:
    """One client of a World, and what it is owed."""

    def __init__(self, world: World, simulation: Simulation) -> None:
        self.world = world
        self.asked = 0
        self.data = b""
        self.to_send = b""
        for _ in range(world.random.randint(1, 8)):
            self.to_send += world.request(self.asked)
            self.asked += 1
        self.peer = simulation.http(capacity=world.random.choice((100, 5000, 1 << 20)))

    def send_some(self) -> None:
        size = self.world.random.randint(1, 300)
        if not self.peer.sock.eof_is_here:
            self.peer.send(self.to_send[:size])
            self.to_send = self.to_send[size:]

    def read_some(self) -> None:
        self.data += self.peer.take()

    def finish(self, simulation: Simulation) -> None:
        """Send the rest, read all there is, and check it."""
        if not self.peer.sock.eof_is_here:
            self.peer.send(self.to_send)
            self.to_send = b""
        for _ in range(20_000):
            simulation.settle()
            if not self.peer.unread:
                break
            self.read_some()
        was_cut = self.peer.is_closed or self.peer.saw_reset or self.peer.sock.eof_is_here
        numbers = answers(self.data, may_be_cut=was_cut or self.peer.saw_fin)
        expected = list(range(self.asked))
        if numbers != expected[: len(numbers)]:
            raise AssertionError(f"not in order, or not one each: {numbers}")
        if not was_cut and not self.peer.saw_fin and len(numbers) != self.asked:
            raise AssertionError(f"{self.asked} requests, {len(numbers)} answers")


def answers(data: bytes, may_be_cut: bool) -> list[int]:
    """Return the number in each whole response; strict about their framing."""
    numbers: list[int] = []
    while data:
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found:
            break
        status = int(head[9:12])
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if b"content-length" in fields:
            length = int(fields[b"content-length"])
            body, data = rest[:length], rest[length:]
            if len(body) < length:
                break
        else:
            body, data = b"", rest
            while True:
                size_line, found, data = data.partition(b"\r\n")
                if not found:
                    return numbers
                size = int(size_line, 16)
                body, data = body + data[:size], data[size + 2 :]
                if size == 0:
                    break
        if status in (400, 408, 503):  # Of the server, not of a handler, and the last.
            if data:
                raise AssertionError(f"something came after the end: {data[:200]!r}")
            return numbers
        try:
            numbers.append(json.loads(body)["n"] if status != 404 else len(numbers))
        except ValueError:
            if may_be_cut:
                break
            raise
    else:
        return numbers
    if not may_be_cut:
        raise AssertionError(f"a response was cut short: {data[:200]!r}")
    return numbers


class RandomWorlds(unittest.TestCase):
    def test_every_world_keeps_the_promises(self) -> None:
        """One answer per request, in order; nothing after a close; nothing left over."""
        for seed in range(SEEDS):
            with self.subTest(seed=seed), captured_logs() as logs:
                world = World(seed)
                with Simulation(world.router, seed=seed, keep_alive_timeout=1000.0) as simulation:
                    world.run(simulation)
                self.assertEqual(world.open_streams, 0)
                bugs = [line for line in logs.lines() if "Traceback" in line or "bug" in line]
                self.assertEqual(bugs, [])


class ConnectionLimit(unittest.TestCase):
    def test_select_is_never_asked_to_watch_more_than_it_can(self) -> None:
        with selectors.SelectSelector() as few, selectors.DefaultSelector() as many:
            self.assertLess(runtime_module._capped(10_000, few), 1024)
            self.assertEqual(runtime_module._capped(5, few), 5)
            self.assertEqual(runtime_module._capped(5, many), 5)

    def test_of_few_descriptors_three_quarters_are_for_connections(self) -> None:
        """`few_descriptors`: 64 kept back of 64 would leave one client."""
        expected = {16: 12, 64: 48, 256: 192, 1024: 960, 100_000: 10_000}
        for files, connections in expected.items():
            with (
                self.subTest(files=files),
                mock.patch.object(runtime_module, "_most_files", return_value=files),
                Simulation() as simulation,
            ):
                runtime = simulation.runtime
                self.assertEqual(runtime._max_connections, connections)
                if connections == 10_000:
                    with self.assertNoLogs("pyliteflux"):
                        runtime.log_limits()
                    continue
                with self.assertLogs("pyliteflux") as logs:
                    runtime.log_limits()
                text = f"max_connections is {connections}, not 10000: the process may open {files}"
                self.assertIn(text, logs.output[0])


if __name__ == "__main__":
    unittest.main()
