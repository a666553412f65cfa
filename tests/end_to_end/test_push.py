"""Pushed messages: from anywhere, whole, in order, and bounded where a client does not read.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import Any
from xml.etree import ElementTree

from pyliteflux import Server
from tests.support import (
    DEADLINE,
    Client,
    RunningThread,
    ServerTestCase,
    make_server,
    stop,
    wait_for,
    wait_until,
)

# One push of about this size; and so many of them that no kernel buffer holds all: what a
# kernel keeps for one connection is some megabytes.
BIG = 50_000
MANY = 160


class PushTestCase(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.router.register("hello", protocol="tcp")(lambda request: request.client_id)

    def join(self, server: Server, hello: str = "hello\n", **options: Any) -> Client:
        """Return a long-lived client that the server knows by now."""
        client = self.connect_tcp(server, **options)
        client.send(hello)
        self.assertIn(client.client_id, client.read_line())
        return client

    told = 0

    def pushed(self, client: Client) -> Any:
        """Return what the next push carries; note what the client is told to have missed."""
        frame = json.loads(client.read_line())
        while frame["type"] == "dropped":
            self.told += frame["count"]
            frame = json.loads(client.read_line())
        self.assertEqual(set(frame), {"type", "data"})
        self.assertEqual(frame["type"], "push")
        return frame["data"]


class TestWhereFrom(PushTestCase):
    def test_from_the_main_thread_and_from_another(self) -> None:
        """P1: outside any request; returns the number of clients it was queued to."""
        server = self.serve(tcp_keep_alive=True)
        self.assertEqual(server.push_message("nobody"), 0)
        one, two = self.join(server), self.join(server)
        self.assertEqual(server.push_message("to all"), 2)
        self.assertEqual(server.push_message("to one", one.client_id), 1)
        counts: list[int] = []
        RunningThread(lambda: counts.append(server.push_message("last"))).join()
        self.assertEqual(counts, [2])
        self.assertEqual([self.pushed(one) for _ in range(3)], ["to all", "to one", "last"])
        self.assertEqual([self.pushed(two) for _ in range(2)], ["to all", "last"])

    def test_from_handlers_tasks_streams_and_the_reactor_thread(self) -> None:
        """P1: HTTP and TCP, blocking or not, a task, a generator, on_close of nobody."""

        def push(request: Any) -> Any:
            return server.push_message(request.path)

        self.router.get("/worker")(push)
        self.router.get("/reactor", blocking=False)(push)
        self.router.register("tcp-worker", protocol="tcp")(push)
        self.router.register("tcp-reactor", protocol="tcp", blocking=False)(push)

        @self.router.get("/task")
        def task(request: Any) -> Any:
            return {"count": [request.bg.add(push, request) and 1]}

        @self.router.get("/stream")
        def stream(request: Any) -> Any:
            yield str(server.push_message("/stream"))

        server = self.serve(tcp_keep_alive=True)
        listener = self.join(server)
        http = self.connect(server)
        for path in ("/worker", "/reactor", "/task", "/stream"):
            response = http.get(path)
            self.assertEqual(response.status, 200)
            if path != "/task":
                self.assertEqual(response.text, "1")
            self.assertEqual(self.pushed(listener), path)
        for command in ("tcp-worker", "tcp-reactor"):
            other = self.connect_tcp(server)
            other.send(command + "\n")
            lines = [other.read_line() for _ in range(2)]  # Its answer, and its own push.
            self.assertIn("2", lines)
            self.assertEqual(self.pushed(listener), command)
            other.close()
            wait_until(lambda: len(server.clients) == 1, "it has left")

    def test_before_run_and_after_stop_it_is_nobody(self) -> None:
        """P1: 0, and no error; also to an id that was known."""
        server = make_server(self.router, tcp_keep_alive=True)
        self.assertEqual(server.push_message("x"), 0)
        self.assertEqual(server.push_message("x", "127.0.0.1:1"), 0)
        server.start()
        self.addCleanup(stop, server)
        client = self.join(server)
        stop(server)
        self.assertEqual(server.push_message("x"), 0)
        self.assertEqual(server.push_message("x", client.client_id), 0)
        client.expect_end()
        server.start()  # And in a second run it works again.
        client = self.join(server)
        self.assertEqual(server.push_message("again"), 1)
        self.assertEqual(self.pushed(client), "again")

    def test_it_never_blocks(self) -> None:
        """P1: while the reactor is held up by a bad handler, a push returns at once."""
        inside, go_on = threading.Event(), threading.Event()

        @self.router.get("/hold", blocking=False)
        def hold(request: Any) -> str:
            inside.set()
            go_on.wait(DEADLINE)
            return "held"

        server = self.serve(tcp_keep_alive=True)
        self.addCleanup(go_on.set)
        client = self.join(server)
        http = self.connect(server)
        http.send_request("GET", "/hold")
        wait_for(inside, "the reactor is held")
        self.assertEqual([server.push_message(number) for number in range(100)], [1] * 100)
        self.assertFalse(go_on.is_set())
        go_on.set()
        self.assertEqual([self.pushed(client) for _ in range(100)], list(range(100)))

    def test_a_message_that_json_cannot_write_fails_where_it_is_pushed(self) -> None:
        """P1, P3: a TypeError or ValueError for the caller, and nobody gets anything."""
        server = self.serve(tcp_keep_alive=True)
        client = self.join(server)
        for message in (object(), {1j}, float("nan"), "\ud800", b"bytes"):
            with self.assertRaises((TypeError, ValueError)):
                server.push_message(message)
        circle: list[Any] = []
        circle.append(circle)
        with self.assertRaises(ValueError):
            server.push_message(circle)
        server.push_message("fine")
        self.assertEqual(self.pushed(client), "fine")


class TestToWhom(PushTestCase):
    def test_only_none_broadcasts(self) -> None:
        """P2: "" is an unknown id, and so are 0 and False."""
        server = self.serve(tcp_keep_alive=True)
        client = self.join(server)
        for nobody in ("", 0, False, b"", "127.0.0.1", "127.0.0.1:", client.client_id + " "):
            self.assertEqual(server.push_message("no", nobody), 0)  # type: ignore[arg-type]
        self.assertEqual(server.push_message("yes", None), 1)
        self.assertEqual(server.push_message("yes too"), 1)
        self.assertEqual(self.pushed(client), "yes")
        self.assertEqual(self.pushed(client), "yes too")

    def test_an_unknown_id_logs_one_line(self) -> None:
        """P2: and names it."""
        server = self.serve(tcp_keep_alive=True, info=True)
        client = self.join(server)
        client_id = client.client_id
        client.close()
        wait_until(lambda: not server.clients, "it has left")
        self.assertEqual(server.push_message("x", client_id), 0)
        self.assertEqual(len(self.logs.find(f"push to {client_id}")), 1)
        self.assertEqual(len(self.logs.find("no such client")), 1)

    def test_an_id_that_the_user_computed(self) -> None:
        """T8: f"{client_address[0]}:{client_address[1]}", from a handler."""

        @self.router.register("subscribe", protocol="tcp")
        def subscribe(request: Any) -> Any:
            return {"id": f"{request.client_address[0]}:{request.client_address[1]}"}

        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        client.send("subscribe\n")
        self.assertEqual(server.push_message(1, json.loads(client.read_line())["id"]), 1)
        self.assertEqual(self.pushed(client), 1)

    def test_short_lived_clients_get_none(self) -> None:
        """P1, T7: without tcp_keep_alive there is nobody to push to."""
        inside, go_on = threading.Event(), threading.Event()

        @self.router.register("wait", protocol="tcp")
        def wait(request: Any) -> str:
            inside.set()
            go_on.wait(DEADLINE)
            return "answer"

        server = self.serve()
        client = self.connect_tcp(server)
        client.send("wait\n")
        wait_for(inside, "the handler")
        self.assertEqual(server.push_message("x"), 0)
        self.assertEqual(server.push_message("x", client.client_id), 0)
        go_on.set()
        self.assertEqual(client.read_rest(), b"answer\n")


class TestFrames(PushTestCase):
    MESSAGES = (
        "text",
        "你好 & <x>\n\r\u2028",
        7,
        1.5,
        True,
        None,
        [],
        {},
        [1, [2, {"a": None}]],
        {"data": "x", "type": "own"},
    )

    def test_any_json_value_in_one_line(self) -> None:
        """P3: {"type": "push", "data": message} and LF, byte for byte."""
        server = self.serve(tcp_keep_alive=True)
        client = self.join(server)
        for message in self.MESSAGES:
            server.push_message(message)
            self.assertEqual(self.pushed(client), message)
        server.push_message({"a": "ü"})
        self.assertEqual(client.read_line(), '{"type": "push", "data": {"a": "ü"}}')

    def test_a_client_whose_last_message_was_xml_gets_xml(self) -> None:
        """P3: <push>...</push>, escaped, on one line; JSON again after its next other message."""
        server = self.serve(tcp_keep_alive=True)
        other = self.join(server)
        client = self.join(server, '<request command="hello"/>\n')
        for message in self.MESSAGES:
            self.assertEqual(server.push_message(message), 2)
            root = ElementTree.fromstring(client.read_line())
            self.assertEqual(root.tag, "push")
            self.assertEqual(self.pushed(other), message)
        server.push_message({"a": [1, "<&>"]})
        self.assertEqual(
            client.read_line(), "<push><a><item>1</item><item>&lt;&amp;&gt;</item></a></push>"
        )
        client.send('{"command": "hello"}\n')
        client.read_line()
        server.push_message("json again")
        self.assertEqual(self.pushed(client), "json again")
        client.send('<request command="hello"/>\nhello\n')
        client.read_line(), client.read_line()
        server.push_message("for a line, too")
        self.assertEqual(self.pushed(client), "for a line, too")

    def test_what_is_pushed_may_be_changed_afterwards(self) -> None:
        """P4: it is encoded by the thread that pushes, before push_message returns."""
        server = self.serve(tcp_keep_alive=True)
        client = self.join(server)
        xml = self.join(server, '<request command="hello"/>\n')
        message = {"number": 0}
        for number in range(100):
            message["number"] = number
            server.push_message(message)
        message["number"] = -1
        for number in range(100):
            self.assertEqual(self.pushed(client), {"number": number})
            self.assertEqual(xml.read_line(), f"<push><number>{number}</number></push>")

    def test_it_is_encoded_once_for_all(self) -> None:
        """P4: however many clients there are."""
        server = self.serve(tcp_keep_alive=True)
        clients = [self.join(server) for _ in range(10)]
        encoded: list[int] = []

        class Counting(dict):  # type: ignore[type-arg]
            def items(self) -> Any:
                encoded.append(1)
                return super().items()

        self.assertEqual(server.push_message(Counting(a=1)), 10)
        for client in clients:
            self.assertEqual(self.pushed(client), {"a": 1})
        self.assertLessEqual(len(encoded), 1)


class TestOrder(PushTestCase):
    def test_in_order_per_sender_once_and_whole(self) -> None:
        """P4: four threads, three clients, answers and streams in between."""
        self.router.register("stream", protocol="tcp")(
            lambda request: ({"n": number, "x": "x" * 2000} for number in range(200))
        )
        server = self.serve(tcp_keep_alive=True, tcp_send_limit=50_000_000)
        clients = [self.join(server) for _ in range(3)]
        clients[0].send('{"command": "stream"}\n' + '{"command": "hello"}\n' * 50)

        def send(sender: int) -> None:
            for number in range(250):
                server.push_message({"from": sender, "n": number, "pad": "é" * (number * 3)})

        senders = [RunningThread(send, number) for number in range(4)]
        for index, client in enumerate(clients):
            nexts = [0] * 4
            others: list[Any] = []
            wanted = 1000 + (251 if index == 0 else 0)
            for _ in range(wanted):
                frame = json.loads(client.read_line())
                if isinstance(frame, dict) and frame["type"] == "push":
                    data = frame["data"]
                    self.assertEqual(data["n"], nexts[data["from"]])
                    self.assertEqual(data["pad"], "é" * (data["n"] * 3))
                    nexts[data["from"]] += 1
                else:
                    others.append(frame)
            self.assertEqual(nexts, [250] * 4)
            if index == 0:
                numbers = [frame["data"]["n"] for frame in others[:200]]
                self.assertEqual(numbers, list(range(200)))
                self.assertEqual(others[200], {"type": "end"})
                self.assertEqual(others[201:], [client.client_id] * 50)
        for sender in senders:
            sender.join()

    def test_while_clients_come_and_go(self) -> None:
        """P4: those who stay miss nothing; those who leave cost nothing."""
        server = self.serve(tcp_keep_alive=True)
        stays = self.join(server)
        over = threading.Event()

        def churn() -> None:
            while not over.is_set():
                with Client(server.tcp_address) as passing:
                    passing.send("hello\n")
                    passing.receive()
                with Client(server.tcp_address) as passing:
                    passing.reset()

        churner = RunningThread(churn)
        for number in range(300):
            self.assertGreaterEqual(server.push_message(number), 1)
            self.assertEqual(self.pushed(stays), number)
        over.set()
        churner.join()
        wait_until(lambda: len(server.clients) == 1, "the others have left")
        self.assertEqual(self.logs.lines(logging.WARNING), [])


class TestSlowClients(PushTestCase):
    """P4, limits 10: a client that does not read is bounded, and delays nobody."""

    LIMIT = 300_000

    def begin(self, policy: str, **settings: Any) -> tuple[Server, Client, Client]:
        """Return a server, a client that does not read, and one that does."""
        settings = {"tcp_send_limit": self.LIMIT, **settings}
        server = self.serve(tcp_keep_alive=True, slow_client_policy=policy, **settings)
        slow = self.join(server, receive_buffer=4096)
        return server, slow, self.join(server)

    def push_all(self, server: Server, slow: Client, quick: Client) -> int:
        """Push MANY big messages; the quick one reads each before the next. Return the most
        that waited for the slow one."""
        channel = server.clients[slow.client_id]._channel
        most = 0
        for number in range(MANY):
            self.assertGreaterEqual(server.push_message([number, "x" * BIG]), 1)
            self.assertEqual(self.pushed(quick)[0], number)
            most = max(most, channel.queued)
        return most

    def numbers(self, client: Client, last: int) -> list[int]:
        """Read pushes up to one; return the numbers of all."""
        numbers: list[int] = []
        while not numbers or numbers[-1] != last:
            number, text = self.pushed(client)
            self.assertEqual(len(text), BIG if number < MANY else 1)
            numbers.append(number)
        return numbers

    def test_disconnect_is_the_default(self) -> None:
        """P4: it is reset, one line in the log says so, and it is counted."""
        self.assertEqual(Server(info=False).config.slow_client_policy, "disconnect")
        self.assertEqual(Server(info=False).config.tcp_send_limit, 1024 * 1024)
        server, slow, quick = self.begin("disconnect")
        most = self.push_all(server, slow, quick)
        self.assertLessEqual(most, self.LIMIT)
        self.assertNotIn(slow.client_id, server.clients)
        self.assertIn(slow.client_id, self.logs.wait_for("too slow"))
        self.assertEqual(len(self.logs.find("too slow", logging.WARNING)), 1)
        self.assertGreaterEqual(server.stats["push_dropped"], 1)
        self.assertEqual(server.push_message("x", slow.client_id), 0)
        said = []
        try:
            while True:
                said.append(slow.read_line())
        except AssertionError:  # The end: reset, or closed where it has read just in time.
            pass
        self.assertLess(len(said), MANY)
        self.assertEqual(server.push_message("still here"), 1)
        self.assertEqual(self.pushed(quick), "still here")

    def test_drop_newest_keeps_what_waits(self) -> None:
        """P4: what came first is delivered, in order; the rest is counted."""
        for limit in (self.LIMIT, 2_000_000):
            with self.subTest(limit=limit):
                server, slow, quick = self.begin("drop_newest", tcp_send_limit=limit)
                self.assertLessEqual(self.push_all(server, slow, quick), limit)
                dropped = server.stats["push_dropped"]
                self.assertGreater(dropped, 0)
                self.told = 0
                numbers = [self.pushed(slow)[0] for _ in range(MANY - dropped)]
                self.assertEqual(numbers, list(range(len(numbers))))
                server.push_message([MANY, "y"], slow.client_id)
                self.assertEqual(self.numbers(slow, MANY), [MANY])
                self.assertEqual(self.told, dropped)

    def test_drop_oldest_keeps_the_newest(self) -> None:
        """P4: the last pushes arrive, in order; each that is missing is counted."""
        for limit in (self.LIMIT, 2_000_000):
            with self.subTest(limit=limit):
                server, slow, quick = self.begin("drop_oldest", tcp_send_limit=limit)
                self.assertLessEqual(self.push_all(server, slow, quick), limit)
                dropped = server.stats["push_dropped"]
                self.assertGreater(dropped, 0)
                self.told = 0
                numbers = self.numbers(slow, MANY - 1)
                self.assertEqual(numbers, sorted(set(numbers)))
                self.assertEqual((MANY - len(numbers), self.told), (dropped, dropped))
                kept = limit // 2 // BIG - 1
                self.assertEqual(numbers[-kept:], list(range(MANY - kept, MANY)))
                server.push_message([MANY, "y"], slow.client_id)
                self.assertEqual(self.numbers(slow, MANY), [MANY])

    def test_latest_keeps_the_last_one(self) -> None:
        """P4: for state that the next push makes obsolete: prices, positions."""
        for limit in (self.LIMIT, 2_000_000):
            with self.subTest(limit=limit):
                server, slow, quick = self.begin("latest", tcp_send_limit=limit)
                self.assertLessEqual(self.push_all(server, slow, quick), limit)
                dropped = server.stats["push_dropped"]
                self.assertGreater(dropped, 0)
                self.told = 0
                numbers = self.numbers(slow, MANY - 1)
                self.assertEqual(numbers, sorted(set(numbers)))
                self.assertEqual((MANY - len(numbers), self.told), (dropped, dropped))
                server.push_message([MANY, "y"], slow.client_id)
                self.assertEqual(self.numbers(slow, MANY), [MANY])

    def test_a_long_answer_is_no_reason_to_be_disconnected(self) -> None:
        """P4: the limit is for pushes; a client in the middle of a long answer is not slow."""
        self.router.register("long", protocol="tcp")(lambda request: "x" * 12_000_000)
        for policy in ("disconnect", "drop_oldest"):
            with self.subTest(policy=policy):
                server, client, _ = self.begin(policy)
                client.send("long\n")
                channel = server.clients[client.client_id]._channel
                wait_until(lambda c=channel: c.transport.size > self.LIMIT, "the answer waits")
                for number in range(3):
                    self.assertEqual(server.push_message(number, client.client_id), 1)
                client.read_exactly(12_000_000)
                self.assertEqual(client.read_line(), "")
                self.assertEqual([self.pushed(client) for _ in range(3)], [0, 1, 2])

    def test_a_push_over_the_limit_reaches_a_client_that_reads(self) -> None:
        """P4: the limit is for what waits, not for one message to an idle client."""
        server, _, quick = self.begin("disconnect", tcp_send_limit=1000)
        server.push_message("x" * 100_000, quick.client_id)
        self.assertEqual(len(self.pushed(quick)), 100_000)

    def test_a_stalled_client_is_reset_after_the_send_timeout(self) -> None:
        """Limits 3: whatever the policy, nobody holds memory for ever."""
        server, slow, quick = self.begin("drop_newest", send_timeout=0.2)
        self.push_all(server, slow, quick)
        wait_until(lambda: slow.client_id not in server.clients, "it is reset")
        self.assertIn(quick.client_id, server.clients)
