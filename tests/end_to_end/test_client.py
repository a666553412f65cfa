"""`pyliteflux.client` and ``python -m pyliteflux call | listen`` against the real server."""

from __future__ import annotations

import contextlib
import socket
import threading
import unittest
from typing import Any

from pyliteflux import HTTPError, Server
from pyliteflux.client import TCPClient
from pyliteflux.client.events import Event
from pyliteflux.client.link import Backoff
from pyliteflux.errors import CallError, ConnectionLost
from tests.support import DEADLINE, ServerTestCase, make_server, stop, wait_until


class ClientCase(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        router = self.router

        @router.register("echo", protocol="tcp")
        def echo(request: Any) -> Any:
            return request.data

        @router.register("headers", protocol="tcp")
        def headers(request: Any) -> Any:
            return {"who": request.headers.get("X-Who")}

        @router.register("me", protocol="tcp", blocking=False)
        def me(request: Any) -> Any:
            return request.client_id

        @router.register("fail", protocol="tcp")
        def fail(request: Any) -> Any:
            raise HTTPError(418, "a teapot")

        @router.register("count", protocol="tcp")
        def count(request: Any) -> Any:
            yield from range(request.data)

    def long_lived(self, **settings: Any) -> Server:
        """Run a server whose clients stay, and may hear room:* and news."""
        server = make_server(self.router, tcp_keep_alive=True, **settings)
        server.allow_subscribe("room:*", "news")
        server.start()
        self.addCleanup(stop, server)
        return server

    def client(self, server: Server, **options: Any) -> TCPClient:
        assert server.tcp_address is not None
        host, port = server.tcp_address[:2]
        options.setdefault("backoff", Backoff(0.001, 0.01))
        options.setdefault("on_event", lambda event: None)
        client = TCPClient(host, port, **options)
        self.addCleanup(client.close)
        return client

    def restart(self, server: Server) -> None:
        """Stop it, and start it on the same port."""
        assert server.tcp_address is not None
        port = server.tcp_address[1]
        stop(server)
        server.start(tcp_port=port)

    def taken(self, client: TCPClient, count: int) -> list[Any]:
        found = []
        for _ in range(count):
            push = client.next_push(DEADLINE)
            assert push is not None, f"only {found} came"
            found.append(push.data)
        return found


class CallTests(ClientCase):
    def test_values_of_all_kinds_come_back(self) -> None:
        server = self.long_lived()
        client = self.client(server)
        for value in (None, True, 0, 1.5, "", "\u00e9\U0001f600", [], [1, [2]], {}, {"data": 1},
                      {"id": 77, "name": "Ada"}, {"type": "stream", "data": "rtsp://x"},
                      {"type": "end"}, {"error": "of yesterday"}, {"error": None, "id": 0},
                      {"id": 1, "data": 2}, {"data": 2, "id": 1}, {"type": "push", "data": 1},
                      {"type": "closing", "reason": "x"}, {"ack": "a1"}, {"status": 500},
                      {"a": {"b": None}}, "x" * 200_000):  # fmt: skip
            with self.subTest(repr(value)[:40]):
                self.assertEqual(client.call("echo", value), value)
        self.assertEqual(client.call("headers", headers={"X-Who": "me"}), {"who": "me"})
        self.assertEqual(client.call("count", 3), [0, 1, 2])
        self.assertEqual(client.call("count", 0), [])

    def test_an_error_that_has_an_id_of_its_own_is_an_error(self) -> None:
        """F3: the record's id is in what the error says, the question's is not lost."""

        @self.router.register("taken", protocol="tcp")
        def taken(request: Any) -> Any:
            return {"error": "taken", "id": 77, "type": "end"}, 409

        with self.assertRaisesRegex(CallError, "taken") as caught:
            self.client(self.long_lived()).call("taken")
        self.assertEqual(caught.exception.status, 409)
        self.assertEqual(caught.exception.answer["data"]["id"], 77)

    def test_items_of_a_generator_may_look_like_anything(self) -> None:
        items = [{"type": "end"}, {"id": 5}, {"error": "x"}, {"type": "stream", "data": 1}, None]

        @self.router.register("items", protocol="tcp")
        def some(request: Any) -> Any:
            yield from items

        self.assertEqual(self.client(self.long_lived()).call("items"), items)

    def test_errors_of_the_server(self) -> None:
        server = self.long_lived()
        client = self.client(server)
        deep: Any = 0
        for _ in range(server.config.tcp_max_depth + 1):
            deep = [deep]
        cases: list[tuple[str, Any, str]] = [
            ("fail", None, "teapot"),
            ("nope", None, "unknown_command"),
            ("echo", deep, "nested"),
        ]
        for command, data, text in cases:
            with self.subTest(command), self.assertRaisesRegex(CallError, text):
                client.call(command, data)
        self.assertEqual(client.call("echo", "still here"), "still here")
        with self.assertRaises((CallError, ConnectionLost)):  # The server may cut it off first.
            client.call("echo", "x" * (server.config.tcp_max_message + 1))
        again = client.call("echo", "back again", idempotent=True)  # It may meet the end.
        self.assertEqual(again, "back again")

    def test_forty_threads_each_get_their_own_answers(self) -> None:
        server = self.long_lived()
        client = self.client(server)
        wrong: list[Any] = []

        def ask(number: int) -> None:
            for turn in range(25):
                question = {"thread": number, "turn": turn}
                answer = client.call("echo", question)
                if answer != question:
                    wrong.append((question, answer))

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(6 * DEADLINE)
        self.assertFalse(any(thread.is_alive() for thread in threads))
        self.assertEqual(wrong, [])
        self.assertEqual(len(server.clients), 1)

    def test_a_server_that_hangs_up_after_an_answer(self) -> None:
        server = self.serve(tcp_keep_alive=False)
        client = self.client(server, keep_alive=False)
        for number in range(5):
            self.assertEqual(client.call("echo", number), number)
        self.assertEqual(client.call("count", 2), [0, 1])
        with self.assertRaisesRegex(CallError, "teapot"):
            client.call("fail")

    def test_such_a_server_asked_by_a_client_that_would_stay(self) -> None:
        """Each call may meet the end of the connection before; idempotent ones get through."""
        server = self.serve(tcp_keep_alive=False)
        client = self.client(server)
        for number in range(5):
            self.assertEqual(client.call("echo", number, idempotent=True), number)

    def test_calls_go_on_after_a_restart(self) -> None:
        server = self.long_lived()
        client = self.client(server)
        self.assertEqual(client.call("echo", 1), 1)
        self.restart(server)
        self.assertEqual(client.call("echo", 2, idempotent=True), 2)

    def test_a_line_protocol_server_is_told_apart(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def greet() -> None:
            with contextlib.suppress(OSError):
                connection = listener.accept()[0]
                connection.sendall(b"220 mail.example ESMTP\r\n")
                connection.recv(1000)
                connection.close()

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        with TCPClient("127.0.0.1", listener.getsockname()[1]) as client:
            with self.assertRaisesRegex(ConnectionLost, "does not speak JSON"):
                client.call("echo", 1)
        thread.join(DEADLINE)


class TopicTests(ClientCase):
    def test_topics_patterns_and_presence(self) -> None:
        server = self.long_lived()
        server.topic("room:*", presence=True)
        events: list[Event] = []
        client = self.client(server, on_event=events.append)
        client.subscribe("room:1", info={"name": "me"})
        with self.client(server) as other:
            other.subscribe("room:1", info={"name": "other"})
            other_id = other.call("me")
        server.publish("room:1", {"n": 1})
        push = client.next_push(DEADLINE)
        assert push is not None
        self.assertEqual((push.topic, push.seq, push.data), ("room:1", 1, {"n": 1}))
        # The other leaves at its own time; the push may come before that.
        while len(events) < 3:
            item = client.next_event(DEADLINE)
            assert isinstance(item, Event)
            events.append(item)
        kinds = [(event.type, event.fields.get("client")) for event in events]
        self.assertEqual(kinds, [("subscribed", None), ("join", other_id), ("leave", other_id)])
        self.assertEqual(list(events[0].fields["members"].values()), [{"name": "me"}])
        client.unsubscribe("room:1")
        self.assertEqual(server.publish("room:1", 2), 0)

    def test_only_what_is_allowed(self) -> None:
        server = self.long_lived()
        client = self.client(server)
        with self.assertRaises(CallError) as caught:
            client.subscribe("secret")
        self.assertEqual((caught.exception.code, caught.exception.status), ("forbidden", 403))
        self.assertEqual(client.subscriptions, {})

    def test_since(self) -> None:
        server = self.long_lived()
        for number in range(5):
            server.publish("news", number)
        first = self.client(server)
        first.subscribe("news", since=0)
        pushes = [first.next_push(DEADLINE) for _ in range(5)]
        self.assertEqual([push.data for push in pushes if push], list(range(5)))
        assert pushes[2] is not None
        second = self.client(server)
        second.subscribe("news", pushes[2].id)
        self.assertEqual(self.taken(second, 2), [3, 4])

    def test_pushes_to_all_and_acknowledged_ones(self) -> None:
        server = self.long_lived()
        client = self.client(server)
        me = client.call("me")
        server.push_message({"to": "all"})
        ack = server.push_message({"to": "one"}, me, ack=True)
        self.assertEqual(self.taken(client, 1), [{"to": "all"}])
        self.assertEqual(ack.state, "waiting")
        self.assertEqual(self.taken(client, 1), [{"to": "one"}])
        self.assertTrue(ack.wait(DEADLINE))
        with self.client(server, auto_ack=False) as other:
            ack = server.push_message("question", other.call("me"), ack=True)
            push = other.next_push(DEADLINE)
            assert push is not None
            self.assertTrue(push.ack({"answer": 42}))
            self.assertTrue(ack.wait(DEADLINE))
            self.assertEqual(ack.reply, {"answer": 42})

    def test_nothing_is_lost_by_disconnections_and_restarts(self) -> None:
        """Forty messages, published while the connection is cut again and again."""
        server = self.long_lived()
        client = self.client(server, timeout=DEADLINE)
        client.subscribe("room:*")
        client.subscribe("news")
        sent = []
        for number in range(40):
            topic = ("room:1", "news", "room:2")[number % 3]
            server.publish(topic, number)  # Even if nobody is there: it is kept.
            sent.append(number)
            if number % 4 == 1:
                for client_id in server.clients.copy():
                    server.disconnect(client_id, "test")
            if number == 20:
                self.restart(server)
        got = self.taken(client, len(sent))
        self.assertEqual(sorted(got), sent)
        for remainder in range(3):  # In the order of each topic.
            mine = [number for number in got if number % 3 == remainder]
            self.assertEqual(mine, sorted(mine))
        self.assertIsNone(client.next_push(0.05))  # And none twice.

    def test_another_process_on_the_same_port_is_a_gap(self) -> None:
        server = self.long_lived()
        assert server.tcp_address is not None
        port = server.tcp_address[1]
        events: list[str] = []
        client = self.client(server, on_event=lambda event: events.append(event.type))
        client.subscribe("news")
        server.publish("news", 1)
        self.assertEqual(self.taken(client, 1), [1])
        stop(server)
        second = make_server(self.router, tcp_keep_alive=True, tcp_port=port)
        second.allow_subscribe("news")
        second.start()
        self.addCleanup(stop, second)
        wait_until(lambda: second.topic("news").subscribers == 1, "it has come back")
        second.publish("news", 2)
        self.assertEqual(self.taken(client, 1), [2])
        self.assertEqual(
            [kind for kind in events if kind != "closing"],
            ["subscribed", "disconnected", "connected", "subscribed", "gap"],
        )

    def test_the_server_says_why_it_closes(self) -> None:
        server = self.long_lived()
        client = self.client(server, reconnect=False)
        server.disconnect(client.call("me"), "go home")
        with self.assertRaisesRegex(ConnectionLost, "disconnected: go home"):
            for _ in client:
                pass

    def test_a_heartbeat_keeps_a_silent_client(self) -> None:
        server = self.long_lived(tcp_ping_interval=1.0)  # It has as long to answer.
        client = self.client(server, reconnect=False)
        client.subscribe("news")
        me = client.call("me")
        before = server.clients[me].bytes_in
        pong = len(b'{"pong": true}\n')
        wait_until(lambda: server.clients[me].bytes_in >= before + pong, "a ping is answered")
        self.assertEqual(client.call("me"), me)

    def test_a_publisher_in_many_threads_and_a_consumer_that_calls(self) -> None:
        server = self.long_lived()
        client = self.client(server, queue_limit=4000)
        client.subscribe("room:*")

        def publish(number: int) -> None:
            for turn in range(50):  # 200 in all are over the limit, and not over the hard one.
                server.publish(f"room:{number}", turn)

        threads = [threading.Thread(target=publish, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        got: dict[str, list[int]] = {}
        for _ in range(200):
            push = client.next_push(DEADLINE)
            assert push is not None and push.topic is not None
            self.assertEqual(client.call("echo", push.data), push.data)
            got.setdefault(push.topic, []).append(push.data)
        for thread in threads:
            thread.join(DEADLINE)
        self.assertEqual(got, {f"room:{n}": list(range(50)) for n in range(4)})


if __name__ == "__main__":
    unittest.main()
