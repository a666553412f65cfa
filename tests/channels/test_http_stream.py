"""Streamed responses in a simulated world: who pulls, how they end. Contract A2, M6."""

from __future__ import annotations

import os
import tempfile
import unittest
from typing import Any

from pyliteflux import FileResponse
from pyliteflux.channels.channel import IDLE
from tests.channels.test_http_channel import SWEEP, ChannelCase, get


class Streams(ChannelCase):
    """Contract A2,"""

    def test_a_slow_reader_pauses_the_generator_and_pins_no_worker(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, get("/stream"), capacity=1000)
        transport = simulation.channel(peer).transport
        self.assertLess(transport.size, 300_000)
        self.assertEqual(simulation.pools["stream"].waiting, 0)
        size = 0
        while data := peer.take():
            size += len(data)
            simulation.settle()
        self.assertGreater(size, 1_000_000)
        self.assertIs(simulation.channel(peer).state, IDLE)
        self.assertEqual(self.closed, ["stream"])

    def test_a_reader_that_leaves_closes_the_generator_once(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, get("/stream"), capacity=1000)
        self.assertEqual(self.closed, [])
        peer.reset()
        simulation.settle()
        self.assertEqual(self.closed, ["stream"])

    def test_a_reader_that_stalls_is_reset_and_the_generator_closed(self) -> None:
        simulation = self.simulate(send_timeout=30)
        peer = self.ask(simulation, get("/stream"), capacity=1000)
        simulation.advance(30 + SWEEP)
        self.assertTrue(peer.saw_reset)
        self.assertEqual(self.closed, ["stream"])

    def test_a_failing_chunked_stream_lacks_its_last_chunk(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, get("/failing"))
        data = peer.take()
        self.assertTrue(data.endswith(b"5\r\nbegun\r\n"), data)
        self.assertTrue(peer.saw_fin)
        self.assertEqual(len(self.logs.find("on purpose")), 1)

    def test_a_failing_stream_that_nothing_frames_is_reset(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, get("/failing", version="1.0"))
        self.assertTrue(peer.saw_reset)

    def test_a_response_that_nobody_waits_for_is_closed(self) -> None:
        """The client has left before its handler returned a file: the descriptor goes back."""
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "file")
            with open(path, "wb") as file:
                file.write(b"f" * 100_000)

            @self.router.register("/file")
            def send_file(request: Any) -> FileResponse:
                return FileResponse(path)

            simulation = self.simulate()
            before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
            peer = simulation.http()
            peer.send(get("/file"))
            simulation.settle(jobs=False)
            peer.reset()
            simulation.settle()
            whole = self.ask(simulation, get("/file"))
            self.assertTrue(whole.take().endswith(b"f" * 100_000))
            stalled = self.ask(simulation, get("/file"), capacity=1000)
            stalled.reset()
            simulation.settle()
            if before:
                self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_on_finish_runs_after_the_last_byte_and_after_the_handler(self) -> None:
        """Contract M6."""
        finished: list[str] = []

        class Noting:
            def process_request(self, request: Any) -> None:
                return None

            def on_finish(self, request: Any) -> None:
                finished.append(request.path)

        simulation = self.simulate()
        simulation.server.add_middleware(Noting())
        self.ask(simulation, get("/"))
        self.assertEqual(finished, ["/"])
        peer = self.ask(simulation, get("/big"), capacity=1000)
        self.assertEqual(finished, ["/"])
        while peer.take():
            simulation.settle()
        self.assertEqual(finished, ["/", "/big"])
        peer.send(get("/number/1"))
        simulation.settle(jobs=False)
        simulation.pools["worker"].begin()
        peer.reset()
        simulation.settle(jobs=False)
        self.assertEqual(finished, ["/", "/big"], "its handler is still at work")
        simulation.settle()
        self.assertEqual(finished, ["/", "/big", "/number/1"])


if __name__ == "__main__":
    unittest.main()
