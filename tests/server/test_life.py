"""A TCP client's life: admitted, asked whether it is there, told why it has to go."""

from __future__ import annotations

import json
import unittest
from typing import Any

from pyliteflux import Router
from pyliteflux.channels.channel import STOP_PATIENCE
from pyliteflux.server.stopping import STOP_CHECK
from tests.fakes import Peer, Simulation
from tests.support import captured_logs

HELLO = b'{"command": "hello"}\n'


def lines(data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.splitlines()]


class LifeTestCase(unittest.TestCase):
    def setUp(self) -> None:
        stack = captured_logs()
        self.logs = stack.__enter__()
        self.addCleanup(stack.__exit__, None, None, None)
        self.router = Router()
        self.handled: list[str] = []

        @self.router.register("hello", protocol="tcp", blocking=False)
        def hello(request: Any) -> Any:
            self.handled.append(request.client_id)
            return {"answer": len(self.handled)}

        self.router.register("work", protocol="tcp")(lambda request: {"worked": True})

    def simulate(self, **settings: Any) -> Simulation:
        return Simulation(self.router, tcp_keep_alive=True, **settings)

    def connect(self, simulation: Simulation, hello: bytes = HELLO) -> Peer:
        peer = simulation.tcp()
        peer.send(hello)
        simulation.settle()
        peer.take()
        return peer


class Admission(LifeTestCase):
    """on_connect: on a worker, before the first message; what is refused hears nothing."""

    def begin(self, verdict: Any = None, **settings: Any) -> Simulation:
        simulation = self.simulate(**settings)
        self.met: list[Any] = []
        self.left: list[tuple[str, str]] = []

        @simulation.server.on_connect
        def on_connect(client: Any) -> Any:
            self.met.append(client)
            return verdict(client) if callable(verdict) else verdict

        @simulation.server.on_disconnect
        def on_disconnect(client: Any, reason: Any) -> None:
            self.left.append((client.client_id, reason.name))

        return simulation

    def test_the_first_message_waits_for_it(self) -> None:
        with self.begin() as simulation:
            peer = simulation.tcp()
            peer.send(HELLO * 3)
            simulation.settle(jobs=False)
            self.assertEqual(
                (self.handled, peer.take(), len(simulation.server.clients)), ([], b"", 0)
            )
            simulation.settle()
            self.assertEqual(len(lines(peer.take())), 3)
            self.assertEqual([client.client_id for client in self.met], [peer.client_id])
            self.assertIs(simulation.server.clients[peer.client_id], self.met[0])

    def test_only_false_refuses(self) -> None:
        for verdict in (None, True, 0, "", []):
            with self.subTest(verdict), self.begin(verdict) as simulation:
                peer = self.connect(simulation)
                self.assertIn(peer.client_id, simulation.server.clients)

    def test_who_is_refused_is_told_and_its_messages_are_not_handled(self) -> None:
        with self.begin(False) as simulation:
            peer = simulation.tcp()
            peer.send(HELLO)
            simulation.settle()
            (closing,) = lines(peer.take())
            self.assertEqual((closing["type"], closing["reason"]), ("closing", "refused"))
            self.assertTrue(peer.saw_fin)
            peer.close()
            simulation.settle()
            self.assertEqual((self.handled, self.left), ([], []))

    def test_a_hook_that_fails_refuses_and_is_logged(self) -> None:
        def fail(client: Any) -> None:
            raise RuntimeError("no database")

        with self.begin(fail) as simulation:
            peer = simulation.tcp()
            simulation.settle()
            self.assertEqual(lines(peer.take())[0]["reason"], "refused")
            self.assertEqual(len(self.logs.find("no database")), 1)

    def test_the_first_hook_that_refuses_is_the_last_that_is_asked(self) -> None:
        with self.begin(False) as simulation:
            asked: list[Any] = []
            simulation.server.on_connect(asked.append)
            simulation.tcp()
            simulation.settle()
            self.assertEqual((len(self.met), asked), (1, []))

    def test_what_is_pushed_to_all_is_not_for_who_is_not_admitted(self) -> None:
        with self.begin(False) as simulation:
            peer = simulation.tcp()
            simulation.settle(jobs=False)
            self.assertEqual(simulation.server.push_message("secret"), 0)
            simulation.settle(jobs=False)
            self.assertEqual(peer.take(), b"")

    def test_a_hook_may_greet_its_client_before_all_others_speak(self) -> None:
        with self.begin(lambda client: client.push({"welcome": True})) as simulation:
            peer = simulation.tcp()
            peer.send(HELLO)
            simulation.settle()
            first, second = lines(peer.take())
            self.assertEqual(first, {"type": "push", "data": {"welcome": True}})
            self.assertEqual(second, {"answer": 1})

    def test_a_hook_may_disconnect_its_client(self) -> None:
        with self.begin(lambda client: client.disconnect("not you") and None) as simulation:
            peer = simulation.tcp()
            peer.send(HELLO)
            simulation.settle()
            (closing,) = lines(peer.take())
            self.assertEqual((closing["reason"], closing["text"]), ("disconnected", "not you"))
            peer.close()
            simulation.settle()
            self.assertEqual(self.left, [(peer.client_id, "DISCONNECTED")])
            self.assertEqual(self.handled, [])

    def test_who_leaves_meanwhile_is_told_of_both_in_order(self) -> None:
        for leave in ("close", "reset", "half_close"):
            worlds: list[tuple[Simulation, Peer]] = []

            def meanwhile(client: Any, leave: str = leave, worlds: Any = worlds) -> None:
                (simulation, peer), before = worlds[0], self.left
                getattr(peer, leave)()
                simulation.settle(jobs=False)
                self.assertEqual(before, [])

            with self.subTest(leave), self.begin(meanwhile) as simulation:
                peer = simulation.tcp()
                worlds.append((simulation, peer))
                simulation.settle()
                self.assertEqual(len(self.met), 1)
                reason = "PEER_RESET" if leave == "reset" else "PEER_CLOSED"
                self.assertEqual(self.left, [(peer.client_id, reason)])
                self.assertEqual(len(simulation.server.clients), 0)

    def test_who_leaves_meanwhile_and_is_refused_was_never_here(self) -> None:
        with self.begin(False) as simulation:
            peer = simulation.tcp()
            simulation.settle(jobs=False)
            peer.reset()
            simulation.settle()
            self.assertEqual(self.left, [])

    def test_a_stop_while_it_runs(self) -> None:
        with self.begin() as simulation:
            peer = simulation.tcp()
            simulation.settle(jobs=False)
            simulation.server.stop()
            simulation.settle(jobs=False)
            simulation.advance(STOP_PATIENCE + STOP_CHECK)
            self.assertEqual(lines(peer.take())[0]["reason"], "shutdown")

    def test_what_was_sent_before_a_stop_is_answered_once_it_is_admitted(self) -> None:
        """Contract X3."""
        with self.begin() as simulation:
            peer = simulation.tcp()
            simulation.settle(jobs=False)
            peer.send(b'{"command": "none"}\n')
            simulation.server.stop()
            simulation.settle()
            answer, goodbye = lines(peer.take())
            self.assertEqual((answer["code"], goodbye["reason"]), ("unknown_command", "shutdown"))

    def test_where_no_worker_is_free_it_waits(self) -> None:
        with self.begin(worker_queue_limit=1) as simulation:
            peers = [simulation.tcp() for _ in range(3)]
            simulation.settle(jobs=False)
            self.assertEqual(self.met, [])
            simulation.settle()
            ids = [client.client_id for client in self.met]
            self.assertEqual(ids, [peer.client_id for peer in peers])

    def test_connections_for_one_answer_are_no_clients(self) -> None:
        with self.begin() as simulation:
            simulation.server.config.tcp_keep_alive = False
            peer = simulation.tcp()
            peer.send(HELLO)
            simulation.settle()
            self.assertEqual((self.met, len(lines(peer.take()))), ([], 1))

    def test_who_leaves_before_it_begins_was_never_there(self) -> None:
        """X2: or who connects and resets, again and again, fills the memory with what is due."""
        with self.begin() as simulation:
            pool = simulation.pools["worker"]
            for _ in range(50):
                peer = simulation.tcp()
                simulation.settle(jobs=False)
                peer.reset()
                simulation.settle(jobs=False)
            self.assertEqual(pool.dead, 50)  # The pool's to drop, as soon as that is worth it.
            self.assertTrue(all(client.is_abandoned for _, client, _ in pool.jobs))
            simulation.settle()
            self.assertEqual((self.met, self.left), ([], []))
            here = self.connect(simulation)
            self.assertEqual([client.client_id for client in self.met], [here.client_id])
            self.assertFalse(self.met[0].is_abandoned)


class Leaving(LifeTestCase):
    """on_disconnect: once, with the reason that came first."""

    def begin(self, **settings: Any) -> Simulation:
        simulation = self.simulate(**settings)
        self.left: list[tuple[str, str]] = []

        @simulation.server.on_disconnect
        def on_disconnect(client: Any, reason: Any) -> None:
            self.left.append((client.client_id, reason.name))

        return simulation

    def expect(self, simulation: Simulation, peer: Peer, reason: str) -> None:
        simulation.advance(10)
        self.assertEqual(self.left, [(peer.client_id, reason)])
        self.assertNotIn(peer.client_id, simulation.server.clients)

    def test_the_peer_closes(self) -> None:
        for leave in ("close", "half_close"):
            with self.subTest(leave), self.begin() as simulation:
                peer = self.connect(simulation)
                getattr(peer, leave)()
                self.expect(simulation, peer, "PEER_CLOSED")

    def test_the_peer_resets(self) -> None:
        with self.begin() as simulation:
            peer = self.connect(simulation)
            peer.reset()
            self.expect(simulation, peer, "PEER_RESET")

    def test_the_application_ends_it_and_the_peer_does_not_close(self) -> None:
        with self.begin() as simulation:
            peer = self.connect(simulation)
            self.assertTrue(simulation.server.disconnect(peer.client_id, "enough"))
            self.expect(simulation, peer, "DISCONNECTED")

    def test_it_is_too_slow(self) -> None:
        with self.begin(tcp_send_limit=500) as simulation:
            peer = self.connect(simulation)
            peer.capacity = 10
            for _ in range(20):
                simulation.server.push_message("x" * 100)
            self.expect(simulation, peer, "SLOW_CLIENT")

    def test_it_is_idle(self) -> None:
        with self.begin(tcp_idle_timeout=5.0) as simulation:
            peer = self.connect(simulation)
            self.expect(simulation, peer, "IDLE_TIMEOUT")
            self.assertEqual(lines(peer.take())[0]["reason"], "idle")

    def test_its_message_is_too_large(self) -> None:
        with self.begin(tcp_max_message=100) as simulation:
            peer = self.connect(simulation)
            peer.send(b"x" * 200)
            self.expect(simulation, peer, "TOO_LARGE")

    def test_its_message_does_not_come_to_an_end(self) -> None:
        with self.begin(tcp_message_timeout=3.0) as simulation:
            peer = self.connect(simulation)
            peer.send(b'{"command": ')
            self.expect(simulation, peer, "READ_TIMEOUT")

    def test_its_handler_does_not_return(self) -> None:
        with self.begin(handler_timeout=3.0) as simulation:
            peer = self.connect(simulation)
            peer.send(b"work\n")
            simulation.advance(10, jobs=False)
            simulation.settle()
            self.expect(simulation, peer, "HANDLER_TIMEOUT")

    def test_the_server_stops(self) -> None:
        """Also of who does not close: that is told before the end, not lost in it."""
        with self.begin() as simulation:
            peers = [self.connect(simulation) for _ in range(3)]
            peers[0].close()
            simulation.end()
            self.assertEqual(
                sorted(self.left),
                sorted(
                    [
                        (peers[0].client_id, "PEER_CLOSED"),
                        (peers[1].client_id, "SHUTDOWN"),
                        (peers[2].client_id, "SHUTDOWN"),
                    ]
                ),
            )

    def test_what_happens_to_one_client_is_told_in_order(self) -> None:
        """join, leave and disconnect: each waits until the one before has returned."""
        with self.begin() as simulation:
            server = simulation.server
            server.allow_subscribe("*")
            server.topic("*", presence=True)
            told: list[Any] = []
            server.on_join(lambda topic, client_id: told.append(("join", topic)))
            server.on_leave(lambda topic, client_id: told.append(("leave", topic)))
            server.on_disconnect(lambda client, reason: told.append("gone"))
            peer = simulation.tcp()
            peer.send(b"subscribe a\nsubscribe b\nunsubscribe a\n")
            simulation.settle(jobs=False)
            peer.close()
            simulation.settle(jobs=False)
            cleanup = simulation.pools["cleanup"]
            self.assertEqual(len(cleanup.jobs), 1)  # The others wait: not even two at once.
            simulation.settle()
            self.assertEqual(
                told, [("join", "a"), ("join", "b"), ("leave", "a"), ("leave", "b"), "gone"]
            )
            self.assertTrue(simulation.runtime.calls.is_idle)

    def test_a_hook_that_fails_costs_no_other(self) -> None:
        with self.begin() as simulation:
            told: list[str] = []

            @simulation.server.on_disconnect
            def fail(client: Any, reason: Any) -> None:
                raise SystemExit("mine")

            simulation.server.on_disconnect(lambda client, reason: told.append("after"))
            self.connect(simulation).close()
            simulation.settle()
            self.connect(simulation).close()
            simulation.settle()
            self.assertEqual((len(self.left), told), (2, ["after"] * 2))
            self.assertEqual(len(self.logs.find("mine")), 2)


class Disconnecting(LifeTestCase):
    def test_the_client_is_told_in_its_format(self) -> None:
        told = {"type": "closing", "reason": "disconnected", "text": 'a "b" <c>'}
        for hello, expected in (
            (HELLO, json.dumps(told).encode() + b"\n"),
            (
                b'<request command="hello"/>',
                b'<closing reason="disconnected" text="a &quot;b&quot; &lt;c&gt;"/>\n',
            ),
            (b"hello\n", b""),  # It would take it for an answer.
        ):
            with self.subTest(hello), self.simulate() as simulation:
                peer = self.connect(simulation, hello)
                simulation.server.disconnect(peer.client_id, told["text"])
                simulation.settle()
                self.assertEqual(peer.take(), expected)
                self.assertTrue(peer.saw_fin)

    def test_it_is_told_what_it_will_never_get(self) -> None:
        with self.simulate(tcp_send_limit=50_000, write_high_water=200) as simulation:
            peer = self.connect(simulation)
            peer.capacity = 100
            for number in range(50):
                simulation.server.push_message(number)
            simulation.settle()
            simulation.server.disconnect(peer.client_id)
            got = b""
            for _ in range(50):
                simulation.settle()
                got += peer.take()
            *pushes, lost, closing = lines(got)
            self.assertEqual([push["data"] for push in pushes], list(range(len(pushes))))
            self.assertEqual(len(pushes) + lost["count"], 50)
            self.assertEqual(closing["reason"], "disconnected")

    def test_while_a_handler_runs_its_answer_goes_to_nobody(self) -> None:
        with self.simulate() as simulation:
            peer = self.connect(simulation)
            peer.send(b'{"command": "work"}\n')
            simulation.settle(jobs=False)
            simulation.server.disconnect(peer.client_id)
            simulation.settle()
            self.assertEqual([m.get("type") for m in lines(peer.take())], ["closing"])
            self.assertTrue(peer.saw_fin)

    def test_an_endless_stream_is_closed_at_once(self) -> None:
        """Or its generator would be stepped for nobody until the peer closes, too."""
        ended: list[str] = []
        steps: list[int] = []

        @self.router.register("endless", protocol="tcp")
        def endless(request: Any) -> Any:
            def items() -> Any:
                try:
                    while True:
                        steps.append(1)
                        yield "x" * 100
                finally:
                    ended.append("closed")

            return items()

        with self.simulate(write_high_water=2000, write_low_water=500) as simulation:
            peer = simulation.tcp(capacity=1000)
            peer.send(b"endless\n")
            simulation.settle()
            simulation.server.disconnect(peer.client_id)
            simulation.settle()
            self.assertEqual(ended, ["closed"])
            count = len(steps)
            peer.take()
            simulation.advance(1)
            self.assertEqual(len(steps), count)
            simulation.advance(5)

    def test_who_does_not_read_it_is_reset(self) -> None:
        with self.simulate(linger_timeout=2.0) as simulation:
            peer = self.connect(simulation)
            peer.capacity = 0
            simulation.server.disconnect(peer.client_id)
            simulation.advance(1.5)
            self.assertFalse(peer.saw_reset)
            simulation.advance(2)
            self.assertTrue(peer.saw_reset)

    def test_of_nobody_it_returns_false_and_of_nonsense_it_complains(self) -> None:
        with self.simulate() as simulation:
            server = simulation.server
            peer = self.connect(simulation)
            self.assertFalse(server.disconnect("1.2.3.4:5", "x"))
            for bad in (object(), "\ud800"):
                with self.subTest(bad), self.assertRaises((TypeError, ValueError)):
                    server.disconnect(peer.client_id, bad)  # type: ignore[arg-type]
            self.assertTrue(server.disconnect(peer.client_id))
            self.assertTrue(server.disconnect(peer.client_id))  # Not done yet: no error.
            simulation.settle()
            self.assertFalse(server.disconnect(peer.client_id))

    def test_a_client_object_that_outlives_its_client_touches_nobody_else(self) -> None:
        """Its id may be somebody else's by then: the kernel reuses ports."""
        with self.simulate() as simulation:
            peer = self.connect(simulation)
            old = simulation.server.clients[peer.client_id]
            peer.close()
            simulation.settle()
            simulation.network._next_port -= 1
            again = self.connect(simulation)
            self.assertEqual(again.client_id, old.client_id)
            self.assertEqual(old.push("not for you"), 0)
            self.assertEqual(old.push("nor this", ack=True).state, "gone")
            self.assertFalse(old.disconnect())
            simulation.settle()
            self.assertEqual(again.take(), b"")
            self.assertFalse(again.saw_fin)


class Heartbeats(LifeTestCase):
    SETTINGS = {"tcp_ping_interval": 10.0}

    def kinds(self, peer: Peer) -> list[str]:
        return [message.get("type", "answer") for message in lines(peer.take())]

    def test_a_silent_json_client_is_pinged_and_one_that_does_not_answer_is_cut(self) -> None:
        with self.simulate(**self.SETTINGS) as simulation:
            peer = self.connect(simulation)
            simulation.advance(9)
            self.assertEqual(self.kinds(peer), [])
            simulation.advance(2.5)
            self.assertEqual(peer.take(), b'{"type": "ping"}\n')
            simulation.advance(8)
            self.assertEqual(self.kinds(peer), [])
            simulation.advance(3)
            (closing,) = lines(peer.take())
            self.assertEqual((closing["type"], closing["reason"]), ("closing", "ping_timeout"))

    def test_anything_that_comes_is_an_answer_to_a_ping(self) -> None:
        for word in (b'{"pong": true}\n', HELLO, b'{"ack": "a9"}\n', b'{"bad"}\n'):
            with self.subTest(word), self.simulate(**self.SETTINGS) as simulation:
                peer = self.connect(simulation)
                for _ in range(6):
                    simulation.advance(11.5)
                    self.assertEqual(self.kinds(peer)[:1], ["ping"])
                    peer.send(word)
                    simulation.settle()
                    self.assertNotIn("ping", self.kinds(peer))
                self.assertIn(peer.client_id, simulation.server.clients)

    def test_a_pong_is_never_answered(self) -> None:
        for pong in ({"pong": True}, {"pong": None}, {"pong": 1, "id": 4}):
            with self.subTest(pong), self.simulate(**self.SETTINGS) as simulation:
                peer = self.connect(simulation)
                peer.send(json.dumps(pong).encode() + b"\n")
                simulation.settle()
                self.assertEqual(peer.take(), b"")

    def test_who_speaks_is_not_pinged(self) -> None:
        with self.simulate(**self.SETTINGS) as simulation:
            peer = self.connect(simulation)
            for _ in range(20):
                simulation.advance(5)
                peer.send(HELLO)
                simulation.settle()
            self.assertNotIn("ping", self.kinds(peer))

    def test_clients_of_other_formats_and_silent_ones_are_not_pinged(self) -> None:
        with self.simulate(**self.SETTINGS) as simulation:
            peers = [
                self.connect(simulation, b"hello\n"),
                self.connect(simulation, b'<request command="hello"/>'),
                self.connect(simulation, b""),
            ]
            simulation.advance(100)
            for peer in peers:
                self.assertEqual((peer.take(), peer.saw_fin), (b"", False))

    def test_a_client_whose_handler_runs_is_not_pinged_but_after_it(self) -> None:
        with self.simulate(**self.SETTINGS) as simulation:
            peer = self.connect(simulation)
            peer.send(b'{"command": "work"}\n')
            simulation.advance(60, jobs=False)
            self.assertEqual(peer.take(), b"")
            simulation.settle()
            simulation.advance(3)
            self.assertEqual(self.kinds(peer), ["answer", "ping"])

    def test_a_message_that_comes_slowly_has_its_own_deadline(self) -> None:
        with self.simulate(**self.SETTINGS, tcp_message_timeout=60.0) as simulation:
            peer = self.connect(simulation)
            peer.send(b'{"command": ')
            simulation.advance(50)
            self.assertEqual(peer.take(), b"")
            peer.send(b'"hello"}\n')
            simulation.settle()
            self.assertEqual(self.kinds(peer), ["answer"])

    def test_a_pong_does_not_renew_the_idle_timeout(self) -> None:
        with self.simulate(tcp_ping_interval=2.0, tcp_idle_timeout=10.0) as simulation:
            peer = self.connect(simulation)
            told: list[Any] = []
            for _ in range(40):
                simulation.advance(0.5)
                news = lines(peer.take())
                told += news
                if any(message["type"] == "ping" for message in news):
                    peer.send(b'{"pong": true}\n')
            self.assertEqual(told[-1]["reason"], "idle")
            self.assertGreaterEqual(len(told), 4)

    def test_the_idle_timeout_counts_messages_and_pushes_do_not_renew_it(self) -> None:
        with self.simulate(tcp_idle_timeout=10.0) as simulation:
            peer = self.connect(simulation)
            for _ in range(9):
                simulation.advance(1)
                simulation.server.push_message("x")
            self.assertIn(peer.client_id, simulation.server.clients)
            simulation.advance(4)
            self.assertEqual(lines(peer.take())[-1]["reason"], "idle")


class WhatIsSeen(LifeTestCase):
    def test_a_client_shows_its_life_and_also_after_it(self) -> None:
        with self.simulate() as simulation:
            simulation.server.allow_subscribe("*")
            peer = simulation.tcp()
            simulation.settle()
            client = simulation.server.clients[peer.client_id]
            self.assertIsNone(client.last_message)
            self.assertEqual((client.state, client.topics, client.queued), ("IDLE", (), 0))
            simulation.advance(5)
            self.assertIsNone(client.last_message)
            peer.send(b"subscribe a\nhello\n")
            simulation.settle()
            got = peer.take()
            self.assertEqual(client.address, peer.address)
            self.assertEqual((client.bytes_in, client.bytes_out), (18, len(got)))
            self.assertEqual(client.topics, ("a",))
            assert client.last_message is not None
            self.assertAlmostEqual(client.last_message, client.connected_since + 5, places=3)
            peer.send(b"work\n")
            simulation.settle(jobs=False)
            self.assertEqual(client.state, "HANDLING")
            simulation.settle()
            peer.take()
            peer.capacity = 0
            simulation.server.push_message("x" * 1000)
            simulation.settle()
            self.assertGreater(client.queued, 1000)
            self.assertTrue(client.is_connected)
            peer.reset()
            simulation.settle()
            self.assertFalse(client.is_connected)
            self.assertEqual((client.state, client.topics), ("CLOSED", ()))
            self.assertGreater(client.bytes_out, len(got))
            self.assertEqual(repr(client), f"<Client {peer.client_id} CLOSED>")


if __name__ == "__main__":
    unittest.main()
