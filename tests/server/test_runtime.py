"""Runtime: whole servers in random worlds."""

from __future__ import annotations

import json
import random
import unittest
from collections.abc import Iterator
from typing import Any

from pyliteflux import HTTPError, Router, StreamResponse
from tests.fakes import Simulation
from tests.support import captured_logs

SEEDS = 40  # Random worlds in each run of the tests.


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


if __name__ == "__main__":
    unittest.main()
