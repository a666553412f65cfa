"""What the simulation has found, each as a plain test beside its seed (regressions.py)."""

from __future__ import annotations

import contextlib
import json
import unittest
from typing import Any

from pyliteflux import EventStream, Middleware, Router
from tests.fakes import Peer, Simulation
from tests.support import captured_logs


class PushQueues(unittest.TestCase):
    """A queue of pushes exists only while something waits; who throws it away, and when?"""

    def setUp(self) -> None:
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.logs = self.stack.enter_context(captured_logs())
        self.router = Router()

        @self.router.register("/news")
        def news(request: Any) -> EventStream:
            return EventStream("news")

    def simulate(self, **settings: Any) -> Simulation:
        return self.stack.enter_context(
            Simulation(self.router, tcp_keep_alive=True, heartbeat=1000.0, **settings)
        )

    def read_all(self, simulation: Simulation, peer: Peer) -> bytes:
        data = b""
        while piece := peer.take():
            data += piece
            simulation.settle()
        return data

    def listen(self, simulation: Simulation, capacity: int) -> Peer:
        peer = simulation.http(capacity=capacity)
        peer.send(b"GET /news HTTP/1.1\r\nHost: test\r\n\r\n")
        simulation.settle()
        return peer

    def numbers(self, data: bytes) -> list[int]:
        """Return the numbers of the pushes in what a client has read."""
        lines = [line[line.find(b"{") :] for line in data.split(b"\n") if b'"push"' in line]
        return [json.loads(line)["data"]["k"] for line in lines]

    def test_a_push_that_flushes_keeps_the_queue_that_it_waits_in(self) -> None:
        simulation = self.simulate(
            tcp_send_limit=1000, write_high_water=500, write_low_water=125, ack_timeout=1000.0
        )
        peer = simulation.tcp(capacity=600)
        simulation.settle()
        for number in range(10):  # In one turn: the later ones flush for the earlier ones.
            simulation.server.push_message({"k": number, "fill": "x" * 200})
            if number == 4:
                peer.capacity = 2000
        simulation.settle()
        data = self.read_all(simulation, peer)
        heard = self.numbers(data)
        self.assertEqual(self.logs.find("Traceback"), [])
        self.assertEqual(self.logs.find("failed"), [])
        self.assertEqual(heard, list(range(len(heard))), "they came out of order")
        self.assertTrue(len(heard) == 10 or b'"closing"' in data, "some were lost without a word")

    def test_an_event_that_flushes_keeps_the_queue_that_it_waits_in(self) -> None:
        simulation = self.simulate(event_buffer=1000, write_high_water=250, write_low_water=60)
        peer = self.listen(simulation, capacity=100_000)
        for number in range(10):
            simulation.server.publish("news", {"k": number, "fill": "x" * 200})
        simulation.settle()
        data = self.read_all(simulation, peer)
        heard = self.numbers(data)
        self.assertEqual(self.logs.find("failed"), [])
        self.assertEqual(heard, list(range(len(heard))), "they came out of order")
        self.assertTrue(len(heard) == 10 or b'"closing"' in data, "some were lost without a word")

    def test_events_that_wait_are_sent_though_nothing_was_congested(self) -> None:
        """Over half of event_buffer is unsent, and yet less than write_high_water."""
        simulation = self.simulate(event_buffer=2000, write_high_water=100_000)
        peer = self.listen(simulation, capacity=500)
        for number in range(4):
            simulation.server.publish("news", {"k": number, "fill": "x" * 300})
            simulation.settle()
        self.assertEqual(self.numbers(self.read_all(simulation, peer)), [0, 1, 2, 3])


class Idleness(unittest.TestCase):
    """When has a client been idle for too long?"""

    def test_a_bad_message_is_one_however_it_came(self) -> None:
        """Arriving in pieces it put the idle timeout off, arriving whole it did not."""
        settings = {"tcp_keep_alive": True, "tcp_idle_timeout": 5.0}
        with captured_logs(), Simulation(Router(), **settings) as simulation:
            whole, pieces = simulation.tcp(), simulation.tcp()
            simulation.advance(4)
            whole.send(b"{bad}\n")
            pieces.send(b"{ba")
            simulation.settle()
            pieces.send(b"d}\n")
            simulation.advance(4)
            self.assertEqual([whole.is_over, pieces.is_over], [False, False])
            self.assertFalse(whole.saw_fin)
            simulation.advance(2.5)
            self.assertTrue(whole.saw_fin and pieces.saw_fin)


class Greeting(unittest.TestCase):
    def test_an_on_connect_that_never_returns_is_given_up_after_handler_timeout(self) -> None:
        """The state had no deadline: the client waited as long as the hook."""
        settings = {"tcp_keep_alive": True, "handler_timeout": 2.0}
        with captured_logs() as logs, Simulation(Router(), **settings) as simulation:
            left: list[str] = []
            simulation.server.on_disconnect(lambda client, reason: left.append(reason.name))
            peer = simulation.tcp()
            saw_fin: list[bool] = []

            @simulation.server.on_connect
            def stuck(client: Any) -> None:
                for seconds in (1.9, 0.7):
                    simulation.advance(seconds, jobs=False)
                    saw_fin.append(peer.saw_fin)
                # Now it returns after all: it has let somebody in who is gone.

            peer.send(b'{"command": "hello"}\n')
            simulation.settle()
            self.assertEqual(saw_fin, [False, True])
            self.assertTrue(logs.find("on_connect has not returned"))
            peer.close()
            simulation.settle()
            self.assertEqual(left, ["HANDLER_TIMEOUT"])
            self.assertEqual(len(simulation.server.clients), 0)


class Counting(Middleware):
    """Holds something for each request, and gives it back at the end."""

    def __init__(self) -> None:
        self.held = self.entered = 0

    def process_request(self, request: Any) -> None:
        self.held += 1
        self.entered += 1

    def on_finish(self, request: Any) -> None:
        self.held -= 1


class GivingBack(unittest.TestCase):
    """What must run when a request ends runs, however far behind its workers are."""

    def ask_by_the_dozen(self, port: str, data: bytes, answer: bytes) -> None:
        router, counting = Router(), Counting()
        router.register("/now", blocking=False)(lambda request: "x")
        router.register("now", protocol="tcp", blocking=False)(lambda request: "x")
        with Simulation(router, tcp_keep_alive=True, max_connections=3) as simulation:
            simulation.server.add_middleware(counting)
            left: list[str] = []
            simulation.server.on_disconnect(lambda client, reason: left.append(client.client_id))
            other = simulation.tcp()
            simulation.settle()
            hog = simulation.network.connect(getattr(simulation.server, f"{port}_address"))
            hog.send(data * 60)
            for _ in range(20):
                simulation.turn()  # The workers are busy elsewhere.
            cleanup = simulation.pools["cleanup"]
            self.assertLessEqual(cleanup.waiting, 2 * 3)  # Or it would grow with what is asked.
            other.close()
            for _ in range(5):
                simulation.turn()
            simulation.settle()
            self.assertEqual((counting.entered, counting.held), (60, 0))
            self.assertEqual(left[:1], [other.client_id])
            self.assertEqual(hog.take().count(answer), 60)
            hog.close()

    def test_of_http_requests_sent_at_once(self) -> None:
        self.ask_by_the_dozen("http", b"GET /now HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 200")

    def test_of_tcp_messages_sent_at_once(self) -> None:
        self.ask_by_the_dozen("tcp", b"now\n", b"x\n")


if __name__ == "__main__":
    unittest.main()
