"""What the tests of a run have in common: a simulated world with one route in it."""

from __future__ import annotations

import contextlib
import unittest
from typing import Any

from pyliteflux import Router
from tests.fakes import Peer, Simulation
from tests.support import captured_logs

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
