"""A TCP client's life over real sockets: admitted, pinged, acknowledged, told why it has to go.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

import json
import queue
import threading
from typing import Any

from pyliteflux import Server
from tests.support import DEADLINE, Client, ServerTestCase, stop, wait_for, wait_until


class LifeTestCase(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.router.register("hello", protocol="tcp")(lambda request: {"you": request.client_id})
        self.left: queue.Queue[tuple[str, str]] = queue.Queue()
        self.ids: dict[Client, str] = {}  # A closed socket does not know its address any more.

    def serve(self, **settings: Any) -> Server:
        server = super().serve(**{"tcp_keep_alive": True, **settings})
        server.on_disconnect(lambda client, reason: self.left.put((client.client_id, reason.name)))
        return server

    def join(self, server: Server, **options: Any) -> Client:
        """Return a JSON client that the server knows by now."""
        client = self.connect_tcp(server, **options)
        self.ids[client] = client.client_id
        client.send('{"command": "hello"}\n')
        self.assertIn(client.client_id, client.read_line())
        return client

    def expect_left(self, client: Client, reason: str) -> None:
        self.assertEqual(self.left.get(timeout=DEADLINE), (self.ids[client], reason))


class TestAdmission(LifeTestCase):
    def test_a_slow_hook_delays_its_own_client_only(self) -> None:
        server = self.serve()
        go_on = threading.Event()
        self.addCleanup(go_on.set)
        met: list[str] = []

        @server.on_connect
        def on_connect(client: Any) -> None:
            met.append(client.client_id)
            if len(met) == 1:
                wait_for(go_on, "the test lets the first one in")

        first = self.connect_tcp(server)
        first.send('{"command": "hello", "id": 1}\n{"command": "hello", "id": 2}\n')
        wait_until(lambda: met, "the hook of the first is running")
        second = self.join(server)
        self.assertEqual(list(server.clients), [second.client_id])
        go_on.set()
        self.assertEqual([json.loads(first.read_line())["id"] for _ in range(2)], [1, 2])
        self.assertEqual(met, [first.client_id, second.client_id])

    def test_who_is_refused_is_told_and_sees_the_end(self) -> None:
        server = self.serve()
        server.on_connect(lambda client: False)
        client = self.connect_tcp(server)
        client.send('{"command": "hello"}\n')
        closing = json.loads(client.read_line())
        self.assertEqual((closing["type"], closing["reason"]), ("closing", "refused"))
        client.expect_end()
        self.assertEqual(len(server.clients), 0)

    def test_max_connections_per_ip(self) -> None:
        server = self.serve(max_connections_per_ip=2)
        clients = [self.join(server) for _ in range(2)]
        third = self.connect_tcp(server)
        self.assertEqual(json.loads(third.read_line())["code"], "busy")
        third.expect_end()
        clients[0].close()
        self.expect_left(clients[0], "PEER_CLOSED")
        third.close()
        wait_until(lambda: server.stats["connections"] == 1, "two of them have gone")
        self.join(server)


class TestLeaving(LifeTestCase):
    def test_the_reason_is_told_however_it_leaves(self) -> None:
        server = self.serve(tcp_max_message=1000)
        client = self.join(server)
        client.close()
        self.expect_left(client, "PEER_CLOSED")
        client = self.join(server)
        client.reset()
        self.expect_left(client, "PEER_RESET")
        client = self.join(server)
        server.clients[client.client_id].disconnect("enough")
        self.assertEqual(
            json.loads(client.read_line()),
            {"type": "closing", "reason": "disconnected", "text": "enough"},
        )
        client.expect_end()
        client.close()
        self.expect_left(client, "DISCONNECTED")
        client = self.join(server)
        client.send("x" * 2000)
        client.read_line()
        client.close()
        self.expect_left(client, "TOO_LARGE")
        client = self.join(server)
        stop(server)
        self.expect_left(client, "SHUTDOWN")
        self.assertEqual(json.loads(client.read_line())["reason"], "shutdown")

    def test_a_hook_that_takes_its_time_is_waited_for_at_the_stop(self) -> None:
        server = self.serve()
        begun, done = threading.Event(), []

        @server.on_disconnect
        def slowly(client: Any, reason: Any) -> None:
            begun.set()
            threading.Event().wait(0.3)
            done.append(client.client_id)

        clients = [self.join(server) for _ in range(3)]
        stop(server)
        self.assertEqual(sorted(done), sorted(client.client_id for client in clients))
        self.assertTrue(begun.is_set())


class TestHeartbeats(LifeTestCase):
    def test_a_client_that_answers_stays_and_one_that_does_not_is_cut(self) -> None:
        server = self.serve(tcp_ping_interval=0.2)
        alive, dead = self.join(server), self.join(server)
        for _ in range(3):
            self.assertEqual(json.loads(alive.read_line()), {"type": "ping"})
            alive.send('{"pong": true}\n')
        told = [json.loads(line) for line in dead.read_rest().splitlines()]
        self.assertEqual([message["type"] for message in told], ["ping", "closing"])
        self.assertEqual(told[1]["reason"], "ping_timeout")
        dead.close()
        self.expect_left(dead, "PING_TIMEOUT")
        self.assertIn(alive.client_id, server.clients)

    def test_idle_for_too_long(self) -> None:
        server = self.serve(tcp_idle_timeout=0.3)
        client = self.join(server)
        self.assertEqual(json.loads(client.read_line())["reason"], "idle")
        client.expect_end()
        client.close()
        self.expect_left(client, "IDLE_TIMEOUT")


class TestAcknowledged(LifeTestCase):
    def test_the_handle_is_completed_by_the_client(self) -> None:
        server = self.serve()
        client = self.join(server)
        called = threading.Event()
        ack = server.push_message({"do": "open"}, client.client_id, ack=True)
        ack.add_done_callback(lambda one: called.set())
        message = json.loads(client.read_line())
        self.assertEqual(message, {"type": "push", "ack": ack.id, "data": {"do": "open"}})
        client.send(json.dumps({"ack": message["ack"], "data": "opened"}) + "\n")
        self.assertTrue(ack.wait(DEADLINE))
        self.assertEqual(ack.reply, "opened")
        wait_for(called, "the callback")

    def test_a_handler_may_wait_for_another_client(self) -> None:
        server = self.serve()

        @self.router.post("/open/{client_id}")
        def open_door(request: Any) -> Any:
            ack = server.push_message("open", request.path_params["client_id"], ack=True)
            return {"opened": ack.wait(DEADLINE), "reply": ack.reply}

        client = self.join(server)
        http = self.connect(server)
        http.send_request("POST", f"/open/{client.client_id}", b"")
        client.send(json.dumps({"ack": json.loads(client.read_line())["ack"], "data": 7}) + "\n")
        self.assertEqual(http.read_response("POST").json, {"opened": True, "reply": 7})

    def test_too_late_or_gone(self) -> None:
        server = self.serve()
        client = self.join(server)
        late = server.push_message("x", client.client_id, ack=True, ack_timeout=0.05)
        self.assertFalse(late.wait(DEADLINE))
        self.assertEqual(late.state, "timeout")
        gone = server.push_message("x", client.client_id, ack=True)
        client.close()
        self.assertFalse(gone.wait(DEADLINE))
        self.assertEqual(gone.state, "gone")

    def test_many_from_many_threads_each_get_their_own_reply(self) -> None:
        server = self.serve()
        client = self.join(server)
        results: dict[Any, Any] = {}

        def push(name: int) -> None:
            for number in range(50):
                ack = server.push_message([name, number], client.client_id, ack=True)
                self.assertTrue(ack.wait(DEADLINE))
                results[name, number] = ack.reply

        threads = [threading.Thread(target=push, args=(name,)) for name in range(10)]
        for thread in threads:
            thread.start()
        for _ in range(500):
            message = json.loads(client.read_line())
            client.send(json.dumps({"ack": message["ack"], "data": message["data"]}) + "\n")
        for thread in threads:
            thread.join(DEADLINE)
        self.assertEqual(len(results), 500)
        self.assertTrue(all(list(key) == reply for key, reply in results.items()))
