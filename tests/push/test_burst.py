"""Pushes to all in a burst: they share a send, wait for nobody, and keep their order."""

from __future__ import annotations

import json
import unittest
from typing import Any
from unittest import mock

from pyliteflux import Router
from pyliteflux.push.burst import LINGER, MOST_HELD
from pyliteflux.reactor.transport import Transport
from tests.fakes import Peer, Simulation


def command(name: str, data: Any = None) -> bytes:
    return json.dumps({"command": name, "data": data}).encode() + b"\n"


def told(peer: Peer) -> list[Any]:
    """Return what a client has been told since it was asked last: data of pushes, else all."""
    messages = [json.loads(line) for line in peer.take().splitlines()]
    return [one["data"] if isinstance(one, dict) and "data" in one else one for one in messages]


class BurstCase(unittest.TestCase):
    def setUp(self) -> None:
        router = Router()

        @router.register("all", protocol="tcp")
        def push_to_all(request: Any) -> Any:
            simulation.server.push_message(request.data)
            return {"told": request.data}

        @router.register("one", protocol="tcp")
        def push_to_one(request: Any) -> Any:
            simulation.server.push_message(request.data, self.other.client_id)

        @router.register("acked", protocol="tcp")
        def push_acked(request: Any) -> Any:
            simulation.server.push_message(request.data, self.other.client_id, ack=True)

        @router.register("publish", protocol="tcp")
        def publish(request: Any) -> Any:
            simulation.server.publish("news", request.data)

        @router.register("part", protocol="tcp")
        def part(request: Any) -> Any:
            simulation.server.disconnect(self.other.client_id, "goodbye")

        @router.register("hear", protocol="tcp")
        def hear(request: Any) -> Any:
            request.subscribe("news")

        router.register("hello", protocol="tcp", blocking=False)(lambda request: "hello")
        router.register("work", protocol="tcp")(lambda request: "worked")
        simulation = self.simulation = Simulation(router, tcp_keep_alive=True)
        simulation.__enter__()
        self.addCleanup(simulation.__exit__, None, None, None)
        self.pool = simulation.pools["worker"]
        self.sender, self.other, self.third = (self.connect() for _ in range(3))

    def connect(self) -> Peer:
        peer = self.simulation.tcp()
        peer.send(command("hello"))
        self.simulation.settle()
        peer.take()
        return peer

    def send(self, *commands: bytes, sender: Peer | None = None) -> None:
        """Send commands all at once; none of their handlers runs yet."""
        (sender or self.sender).send(b"".join(commands))
        self.simulation.settle(jobs=False)

    def handle_one(self) -> None:
        """Let the handler that waits longest run, and the loop do what it then can."""
        self.pool.run_one()
        self.simulation.settle(jobs=False)


class Together(BurstCase):
    def test_a_burst_is_one_send_for_each_client(self) -> None:
        sends: list[Any] = []
        flush = Transport.flush

        def counted(transport: Transport) -> None:
            if transport._channel is channel:
                sends.append(transport.size)
            flush(transport)

        channel = self.simulation.channel(self.other)
        with mock.patch.object(Transport, "flush", counted):
            self.send(*(command("all", number) for number in range(8)))
            self.simulation.settle()
        self.assertEqual(told(self.other), list(range(8)))
        self.assertEqual(told(self.third), list(range(8)))
        self.assertEqual(len(sends), 1)

    def test_a_push_that_comes_alone_waits_for_nothing(self) -> None:
        self.send(command("all", 1))
        self.handle_one()
        self.assertEqual(told(self.other), [1])

    def test_the_sender_hears_its_push_before_its_answer(self) -> None:
        self.send(command("all", 1), command("all", 2))
        self.simulation.settle()
        self.assertEqual(told(self.sender), [1, {"told": 1}, 2, {"told": 2}])

    def test_nothing_is_held_without_an_end(self) -> None:
        self.send(*(command("all", number) for number in range(MOST_HELD + 2)))
        for _ in range(MOST_HELD):
            self.handle_one()
            self.assertEqual(told(self.other), [])
        self.handle_one()
        self.assertEqual(told(self.other), list(range(MOST_HELD)))
        self.handle_one()
        self.assertEqual(told(self.other), [MOST_HELD, MOST_HELD + 1])


class Waiting(BurstCase):
    def test_a_handler_that_takes_its_time_holds_no_push(self) -> None:
        self.send(command("all", 1), command("work"))
        self.handle_one()
        self.assertEqual(told(self.other), [])
        self.simulation.advance(LINGER, jobs=False)
        self.assertEqual(told(self.other), [1])

    def test_a_sender_that_leaves_takes_no_push_with_it(self) -> None:
        self.send(command("all", 1), command("work"))
        self.handle_one()
        self.sender.reset()
        self.simulation.advance(LINGER, jobs=False)
        self.assertEqual(told(self.other), [1])

    def test_a_server_that_stops_delivers_first(self) -> None:
        self.send(command("all", 1), command("work"))
        self.handle_one()
        self.simulation.server.stop()
        self.simulation.settle()
        self.assertEqual(told(self.other)[0], 1)

    def test_a_client_that_leaves_meanwhile_harms_nothing(self) -> None:
        self.send(command("all", 1), command("work"))
        self.handle_one()
        self.other.reset()
        self.simulation.advance(LINGER, jobs=False)
        self.assertEqual(told(self.third), [1])


class Order(BurstCase):
    """What is held comes before all that is said later, by whomever."""

    def test_what_is_said_to_one_comes_after_it(self) -> None:
        self.send(command("all", 1), command("one", 2), command("work"))
        self.handle_one()
        self.handle_one()
        self.assertEqual(told(self.other), [1, 2])

    def test_what_is_to_be_acknowledged_comes_after_it(self) -> None:
        self.send(command("all", 1), command("acked", 2), command("work"))
        self.handle_one()
        self.handle_one()
        self.assertEqual(told(self.other), [1, 2])

    def test_what_is_published_comes_after_it(self) -> None:
        self.send(command("hear"), sender=self.other)
        self.simulation.settle()
        told(self.other)
        self.send(command("all", 1), command("publish", 2), command("work"))
        self.handle_one()
        self.handle_one()
        self.assertEqual(told(self.other), [1, 2])

    def test_a_goodbye_comes_after_it(self) -> None:
        self.send(command("all", 1), command("part"), command("work"))
        self.handle_one()
        self.handle_one()
        heard = told(self.other)
        self.assertEqual((heard[0], heard[1]["type"]), (1, "closing"))

    def test_another_senders_push_lets_it_go(self) -> None:
        self.send(command("all", 1), command("work"))
        self.send(command("all", 2), command("work"), sender=self.third)
        self.handle_one()
        self.assertEqual(told(self.other), [])
        self.handle_one()
        self.assertEqual(told(self.other), [1])
        self.simulation.advance(LINGER, jobs=False)
        self.assertEqual(told(self.other), [2])


if __name__ == "__main__":
    unittest.main()
