"""`pyliteflux.client` and ``python -m pyliteflux call | listen`` against the real server."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import unittest
from typing import Any
from unittest import mock

from pyliteflux import HTTPError, Server
from pyliteflux.__main__ import main
from pyliteflux.client import TCPClient
from pyliteflux.client.events import Event
from pyliteflux.client.link import Backoff
from pyliteflux.errors import CallError, ConnectionLost
from tests.support import DEADLINE, ROOT, Program, ServerTestCase, make_server, stop, wait_until


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


class CommandLineTests(ClientCase):
    """``python -m pyliteflux call`` and ``listen``."""

    def run_main(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        """Run the command line in this process."""
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch("sys.stdin", io.StringIO(stdin)),
        ):
            try:
                status = main(list(arguments))
            except SystemExit as end:
                status = int(str(end.code))
        return status, out.getvalue(), err.getvalue()

    def address(self, server: Server) -> str:
        assert server.tcp_address is not None
        return f"127.0.0.1:{server.tcp_address[1]}"

    def listen(self, *arguments: str) -> Program:
        program = Program.__new__(Program)
        program.process = subprocess.Popen(
            [sys.executable, "-m", "pyliteflux", "listen", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        return program

    def test_data_is_json_or_else_a_text(self) -> None:
        for server in (self.serve(), self.long_lived()):
            at = self.address(server)
            cases = {
                "[1, 2]": "[1, 2]\n",
                '{"a": 1}': '{"a": 1}\n',
                "42": "42\n",
                '"42"': '"42"\n',
                "null": "null\n",
                "NaN": '"NaN"\n',
                "hello world": '"hello world"\n',
                "{broken": '"{broken"\n',
                "\u00e9": '"\u00e9"\n',
            }
            for data, answer in cases.items():
                with self.subTest(data):
                    self.assertEqual(self.run_main("call", at, "echo", data), (0, answer, ""))
            self.assertEqual(self.run_main("call", at, "echo"), (0, "null\n", ""))
            found = self.run_main("call", at, "echo", "-", stdin='{\n"a": [1]}\n')
            self.assertEqual(found, (0, '{"a": [1]}\n', ""))
            found = self.run_main("call", at, "count", "2")
            self.assertEqual(found, (0, "[0, 1]\n", ""))

    def test_on_a_terminal_it_is_laid_out(self) -> None:
        at = self.address(self.serve())
        with mock.patch("pyliteflux.client.commands._is_terminal", return_value=True):
            found = self.run_main("call", at, "echo", '{"a": [1]}')
        self.assertEqual(found, (0, '{\n  "a": [\n    1\n  ]\n}\n', ""))

    def test_a_server_cannot_steer_the_terminal(self) -> None:
        at = self.address(self.serve())
        status, out, _ = self.run_main("call", at, "echo", '"\\u001b[31m\\u009b31m\\u2028"')
        self.assertEqual((status, out), (0, '"\\u001b[31m\\u009b31m\\u2028"\n'))
        with mock.patch("pyliteflux.client.commands._is_terminal", return_value=True):
            status, out, _ = self.run_main("call", "--raw", at, "echo", "\x1b[31m")
        self.assertEqual((status, out), (0, "\\x1b[31m\n"))

    def test_raw_is_a_line_of_text(self) -> None:
        at = self.address(self.serve())
        self.assertEqual(self.run_main("call", "--raw", at, "echo", "a  b"), (0, "a  b\n", ""))
        self.assertEqual(self.run_main("call", at, "echo", "-", "--raw", stdin="x\n")[1], "x\n")
        status, out, err = self.run_main("call", "--raw", at, "echo", "a\nb")
        self.assertEqual((status, out), (1, ""))
        self.assertRegex(err, r"\Apyliteflux: [^\n]*two lines\n\Z")

    def test_raw_passes_over_what_is_no_answer(self) -> None:
        @self.router.register("busy", protocol="tcp")
        def busy(request: Any) -> Any:
            server.push_message({"n": 1}, request.client_id)
            server.push_message({"n": 2}, request.client_id, ack=True)
            server.publish("news", 3)
            return {"type": "busy", "data": None}

        server = self.long_lived()
        server.on_connect(lambda client: client.push({"welcome": True}) and None)
        at = self.address(server)
        self.assertEqual(self.run_main("call", "--raw", at, "echo", "hi"), (0, "hi\n", ""))
        self.assertEqual(
            self.run_main("call", "--raw", at, "busy"), (0, '{"type": "busy", "data": null}\n', "")
        )
        status, out, _ = self.run_main("call", "--raw", at, "subscribe", "news")
        self.assertEqual((status, "topic" in out, "type" in out), (0, True, False))

    def test_an_error_is_one_line_and_status_1(self) -> None:
        at = self.address(self.serve())
        with socket.create_server(("127.0.0.1", 0)) as silent:
            quiet = f"127.0.0.1:{silent.getsockname()[1]}"
            with socket.create_server(("127.0.0.1", 0)) as gone:
                nobody = f"127.0.0.1:{gone.getsockname()[1]}"
            cases = {
                ("call", at, "nope"): "Command not found (unknown_command)",
                ("call", at, "fail"): "a teapot (418)",
                ("call", nobody, "x"): f"no connection to {nobody}: Connection refused",
                ("call", nobody, "x", "--raw"): "refused",
                ("call", quiet, "x", "--timeout", "0.01"): "in time",
                ("call", quiet, "x", "--timeout", "0.01", "--raw"): "timed out",
                ("listen", nobody, "t"): "refused",
                ("listen", at, "t"): "Command not found",
            }
            for arguments, text in cases.items():
                with self.subTest(arguments):
                    status, out, err = self.run_main(*arguments)
                    self.assertEqual((status, out), (1, ""))
                    self.assertRegex(err, r"\Apyliteflux: [^\n]*\n\Z")
                    self.assertIn(text, err)

    def test_an_address_is_checked(self) -> None:
        for address in ("localhost", "localhost:", ":0", ":65536", "x:y", "", ":\u0661"):
            with self.subTest(address):
                status, _, err = self.run_main("call", address, "x")
                self.assertEqual(status, 2)
                self.assertIn("is not HOST:PORT", err)
        server = self.serve()
        assert server.tcp_address is not None
        port = server.tcp_address[1]
        self.assertEqual(self.run_main("call", f":{port}", "echo", "1")[:2], (0, "1\n"))

    def test_listen_prints_a_line_for_each_message(self) -> None:
        server = self.long_lived()
        for number in range(3):
            server.publish("news", {"n": number})
        status, out, err = self.run_main(
            "listen", self.address(server), "news", "--since", "0", "--count", "3"
        )
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((status, err), (0, "pyliteflux: subscribed to news\n"))
        self.assertEqual([line["data"]["n"] for line in lines], [0, 1, 2])
        self.assertEqual((lines[0]["topic"], lines[0]["seq"]), ("news", 1))
        found = self.run_main(
            "listen", self.address(server), "news", "--since", lines[1]["id"], "--count", "1"
        )
        self.assertEqual(json.loads(found[1])["data"], {"n": 2})
        found = self.run_main("listen", self.address(server), "secret")
        self.assertEqual(found[0], 1)
        self.assertIn("forbidden", found[2])

    def test_listen_comes_back_and_ends_by_ctrl_c(self) -> None:
        server = self.long_lived()
        with self.listen(self.address(server), "news") as program:
            wait_until(lambda: server.topic("news").subscribers, "it listens")
            server.publish("news", "one")
            self.assertEqual(json.loads(program.read_line())["data"], "one")
            self.restart(server)
            server.publish("news", "two")
            self.assertEqual(json.loads(program.read_line())["data"], "two")
            program.signal(signal.SIGINT)
            status, out, err = program.finish()
        self.assertEqual((status, out), (130, ""))
        said = re.sub("(?m)^pyliteflux: ", "", err).splitlines()
        self.assertEqual(said[0], "subscribed to news")
        self.assertIn("connected again", said)
        self.assertEqual(said[-1], "subscribed to news")
        self.assertNotIn("Traceback", err)

    def test_a_reader_that_has_had_enough_ends_it_quietly(self) -> None:
        server = self.long_lived()
        with self.listen(self.address(server), "news") as program:
            wait_until(lambda: server.topic("news").subscribers, "it listens")
            assert program.process.stdout is not None
            program.process.stdout.close()
            server.publish("news", "one")
            program.process.wait(DEADLINE)
            assert program.process.stderr is not None
            err = program.process.stderr.read().decode()
            program.process.stderr.close()
            self.assertEqual(program.process.returncode, 1)
            program.process.stdout = program.process.stderr = None
        self.assertEqual(err, "pyliteflux: subscribed to news\n")

    def test_a_target_is_still_a_target(self) -> None:
        status, _, err = self.run_main("call.py")
        self.assertEqual(status, 1)
        self.assertIn("call.py", err)
        status, out, _ = self.run_main("--help")
        self.assertEqual(status, 0)
        self.assertIn("call", out)
        for command in ("call", "listen"):
            status, out, _ = self.run_main(command, "--help")
            self.assertEqual(status, 0)
            self.assertIn("HOST:PORT", out)


if __name__ == "__main__":
    unittest.main()
