"""Topics over real sockets: TCP clients and browsers, resume, presence, crowds, slow readers.

Chapter: docs/topics.md.
"""

from __future__ import annotations

import json
import re
import selectors
import threading
from collections.abc import Iterator
from typing import Any

from pyliteflux import EventStream, Server
from pyliteflux.errors import PoolFull
from tests.support import (
    DEADLINE,
    Client,
    RunningThread,
    ServerTestCase,
    fetch,
    make_server,
    new_threads,
    stop,
    wait_for,
    wait_until,
)


class Browser:
    """What an EventSource does: events by chunks, the last id kept for the next connection."""

    def __init__(
        self, client: Client, path: str = "/events/room:1", since: str | None = None
    ) -> None:
        self.client = client
        self.last_id = since
        self._text = ""
        client.send_request(
            "GET", path, fields={"Last-Event-ID": since} if since is not None else None
        )
        self.head = client.read_head()

    def next(self) -> Any:
        """Return the next event's object; comments are passed over."""
        while True:
            while "\n\n" not in self._text:
                self._text += self.client.read_chunk().decode()
            event, _, self._text = self._text.partition("\n\n")
            lines = event.split("\n")
            for line in lines:
                if line.startswith("id: "):
                    self.last_id = line[4:]
            data = [line[6:] for line in lines if line.startswith("data: ")]
            if data:
                value = json.loads("\n".join(data))
                if "id" in value and value["id"] != self.last_id:
                    raise AssertionError(f"the id of the event is not that of its object: {event}")
                return value


class TopicsTestCase(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()

        @self.router.get("/events/{topic}", blocking=False)
        def events(request: Any) -> EventStream:
            return EventStream(request.path_params["topic"], info=request.query_params.get("info"))

        self.router.register("subscribe-here", protocol="tcp")(
            lambda request: request.subscribe(request.data)
        )

    def serve(self, **settings: Any) -> Server:
        server = super().serve(**{"tcp_keep_alive": True, **settings})
        server.allow_subscribe("*")
        return server

    def subscribe(self, client: Client, topic: str, **more: Any) -> Any:
        """Subscribe; return what "subscribed" says. What was missed is still to be read."""
        command = {"command": "subscribe", "data": {"topic": topic, **more}, "id": "s"}
        client.send(json.dumps(command) + "\n")
        return json.loads(client.read_line())

    def join(self, server: Server, topic: str = "room:1", **options: Any) -> Client:
        """Return a TCP client that hears a topic."""
        client = self.connect_tcp(server, **options)
        self.assertEqual(self.subscribe(client, topic)["type"], "subscribed")
        self.assertEqual(json.loads(client.read_line())["ok"], True)
        return client

    def browse(self, server: Server, path: str = "/events/room:1", **options: Any) -> Browser:
        """Return a browser that hears a topic."""
        browser = Browser(self.connect(server), path, **options)
        self.assertEqual(
            (browser.head.status, browser.head.get("Content-Type")), (200, "text/event-stream")
        )
        return browser


class TestOneTopic(TopicsTestCase):
    def test_tcp_clients_and_browsers_hear_the_same(self) -> None:
        server = self.serve()
        line = self.connect_tcp(server)
        line.send("subscribe room:1\n")
        xml = self.connect_tcp(server)
        xml.send('<request command="subscribe"><topic>room:1</topic></request>')
        client, browser = self.join(server), self.browse(server, "/events/room:*")
        subscribed = browser.next()
        self.assertEqual((subscribed["type"], subscribed["topic"]), ("subscribed", "room:*"))
        for _ in range(2):
            line.read_line()
            xml.read_line()
        self.assertEqual(server.publish("room:1", {"x": "ü"}), 4)
        expected = {
            "type": "push",
            "topic": "room:1",
            "seq": 1,
            "id": f"{server.topic('room:1').epoch}-1",
            "data": {"x": "ü"},
        }
        self.assertEqual(json.loads(client.read_line()), expected)
        self.assertEqual(json.loads(line.read_line()), expected)
        self.assertEqual(browser.next(), expected)
        self.assertEqual(
            xml.read_line(), f'<push topic="room:1" seq="1" id="{expected["id"]}"><x>ü</x></push>'
        )

    def test_only_what_is_allowed_can_be_subscribed(self) -> None:
        server = ServerTestCase.serve(self, tcp_keep_alive=True)
        server.allow_subscribe("room:*", "news")
        client = self.connect_tcp(server)
        for topic, status in (
            *(("room:1", None), ("room:1*", None), ("room:*", None), ("news", None)),
            *(("rooms", 403), ("*", 403), ("room*", 403), ("news*", 403), ("newspaper", 403)),
            *(("a b", 403), ("", 403), ("room: 1", 400), ("room:**", 400)),
        ):
            with self.subTest(topic):
                answer = self.subscribe(client, topic)
                if status is None:
                    self.assertEqual(answer["type"], "subscribed")
                    answer = json.loads(client.read_line())
                self.assertEqual(answer.get("status"), status)
                if status == 403:
                    self.assertEqual(answer["code"], "forbidden")
        for data in (None, 5, [], {}, {"topic": 1}, {"topic": None}):
            client.send(json.dumps({"command": "subscribe", "data": data}) + "\n")
            self.assertEqual(json.loads(client.read_line())["status"], 400)

    def test_unless_it_is_asked_for_nobody_can_subscribe(self) -> None:
        server = ServerTestCase.serve(self, tcp_keep_alive=True)
        client = self.connect_tcp(server)
        client.send("subscribe room:1\n")
        self.assertEqual(json.loads(client.read_line())["code"], "unknown_command")

    def test_two_servers_with_the_same_routes_allow_each_its_own(self) -> None:
        """C8: what one allows the other does not."""
        one, two = (ServerTestCase.serve(self, tcp_keep_alive=True) for _ in range(2))
        one.allow_subscribe("one")
        two.allow_subscribe("two")
        for server, status in ((one, None), (two, 403)):
            client = self.connect_tcp(server)
            self.assertEqual(self.subscribe(client, "one").get("status"), status)

    def test_a_command_of_the_applications_comes_first(self) -> None:
        self.router.register("subscribe", protocol="tcp")(lambda request: "mine")
        server = self.serve()
        client = self.connect_tcp(server)
        client.send("subscribe room:1\n")
        self.assertEqual(client.read_line(), "mine")

    def test_unsubscribing_and_leaving_end_it(self) -> None:
        server = self.serve()
        client, browser = self.join(server), self.browse(server)
        browser.next()
        topic = server.topic("room:1")
        self.assertEqual(topic.subscribers, 2)
        client.send('{"command": "unsubscribe", "data": "room:1"}\n')
        self.assertEqual(
            json.loads(client.read_line()), {"type": "unsubscribed", "topic": "room:1"}
        )
        self.assertEqual(json.loads(client.read_line()), {"ok": True, "topic": "room:1"})
        self.assertEqual(topic.subscribers, 1)
        browser.client.close()
        wait_until(lambda: topic.subscribers == 0, "the browser has left the topic")
        self.assertEqual(server.publish("room:1", 1), 0)
        expected = {"published": 1, "deliveries": 0, "dropped": 0, "kept": 1}
        wait_until(lambda: topic.stats == expected, "it is counted")

    def test_presence(self) -> None:
        server = self.serve()
        server.topic("room:*", presence=True)
        joined: list[Any] = []
        left: list[Any] = []
        server.on_join(lambda topic, client_id: joined.append((topic, client_id)))
        server.on_leave(lambda topic, client_id: left.append((topic, client_id)))
        client = self.join(server)
        browser = self.browse(server, "/events/room:1?info=web")
        browser_id = browser.client.client_id
        self.assertEqual(browser.next()["members"], {client.client_id: None, browser_id: "web"})
        self.assertEqual(
            json.loads(client.read_line()),
            {"type": "join", "topic": "room:1", "client": browser_id, "info": "web"},
        )
        self.assertEqual(
            server.topic("room:1").members, {client.client_id: None, browser_id: "web"}
        )
        browser.client.close()
        self.assertEqual(
            json.loads(client.read_line()),
            {"type": "leave", "topic": "room:1", "client": browser_id, "info": "web"},
        )
        names = [("room:1", client.client_id), ("room:1", browser_id)]
        client.close()
        wait_until(lambda: len(left) == 2, "both have left")
        self.assertEqual(sorted(joined), sorted(names))
        self.assertEqual(sorted(left), sorted(names))

    def test_from_handlers_of_every_kind(self) -> None:
        server = self.serve()

        def publish(request: Any) -> Any:
            return server.publish("room:1", request.path)

        self.router.get("/worker")(publish)
        self.router.get("/reactor", blocking=False)(publish)
        self.router.register("tcp-worker", protocol="tcp")(publish)
        self.router.register("tcp-reactor", protocol="tcp", blocking=False)(publish)

        @self.router.get("/task")
        def task(request: Any) -> Any:
            request.bg.add(publish, request)

        client, other = self.join(server), self.connect_tcp(server)
        for path in ("/worker", "/reactor", "/task"):
            fetch(server, "GET", path)
            self.assertEqual(json.loads(client.read_line())["data"], path)
        for command in ("tcp-worker", "tcp-reactor"):
            other.send(command + "\n")
            self.assertEqual(other.read_line(), "1")
            self.assertEqual(json.loads(client.read_line())["data"], command)

    def test_what_cannot_be_published_is_said_at_once(self) -> None:
        server = self.serve()
        for topic in ("", "a b", "room:*", "a*b", "\n"):
            with self.subTest(topic), self.assertRaises(ValueError):
                server.publish(topic, 1)
        for message in (object(), float("nan"), "\ud800"):
            with self.subTest(message), self.assertRaises((TypeError, ValueError)):
                server.publish("a", message)
        self.assertEqual(server.topic("a").seq, 0)

    def test_http_requests_and_connections_for_one_answer_cannot_subscribe(self) -> None:
        self.router.get("/sub")(lambda request: request.subscribe("room:1"))
        server = self.serve(tcp_keep_alive=False)
        self.assertEqual(fetch(server, "GET", "/sub").status, 500)
        client = self.connect_tcp(server)
        client.send('{"command": "subscribe-here", "data": "room:1"}\n')
        self.assertEqual(json.loads(client.read_line())["status"], 400)
        client.expect_end()


class TestBrowsers(TopicsTestCase):
    def test_a_bad_name_is_an_error_answer_and_no_stream(self) -> None:
        server = self.serve()
        for path in ("/events/a%20b", "/events/a*b", "/events/" + "x" * 257, "/events/%0A"):
            with self.subTest(path[:20]):
                response = fetch(server, "GET", path)
                self.assertEqual(response.status, 400)
                self.assertIn("a topic is", response.json["error"])

    def test_an_info_that_nobody_can_write_is_an_error_answer(self) -> None:
        self.router.get("/object")(lambda request: EventStream("a", info=object()))
        self.router.get("/long")(lambda request: EventStream("a", info="x" * 5000))
        server = self.serve()
        self.assertEqual(fetch(server, "GET", "/object").status, 500)
        self.assertEqual(fetch(server, "GET", "/long").status, 413)

    def test_head_has_the_fields_and_subscribes_nobody(self) -> None:
        server = self.serve()
        response = fetch(server, "HEAD", "/events/room:1")
        self.assertEqual(response.status, 200)
        self.assertEqual(response.get("Content-Type"), "text/event-stream")
        self.assertEqual(server.topic("room:1").subscribers, 0)

    def test_over_http_1_0_events_come_without_chunks(self) -> None:
        server = self.serve()
        client = self.connect(server)
        client.send("GET /events/room:1 HTTP/1.0\r\nHost: a\r\n\r\n")
        head = client.read_head()
        self.assertIsNone(head.get("Transfer-Encoding"))
        self.assertIn('"subscribed"', client.read_until(b"\n\n").decode())
        server.publish("room:1", "x")
        epoch = server.topic("room:1").epoch
        self.assertEqual(client.read_line(), f"id: {epoch}-1")
        self.assertTrue(client.read_line().startswith('data: {"type": "push"'))

    def test_one_that_leaves_is_found_out_and_costs_no_thread(self) -> None:
        server = self.serve()
        topic = server.topic("room:1")
        for leave in (Client.close, Client.reset):
            browser = self.browse(server)
            browser.next()
            leave(browser.client)
            wait_until(lambda: topic.subscribers == 0, "it has left the topic")
        wait_until(lambda: server.stats["connections"] == 0, "its connection is closed")

    def test_a_stream_of_a_topic_may_have_events_of_its_own(self) -> None:
        streams: list[EventStream] = []
        closed = threading.Event()

        @self.router.get("/mine", blocking=False)
        def mine(request: Any) -> EventStream:
            streams.append(EventStream("room:1", retry=1500, on_close=closed.set))
            streams[0].send({"hello": 1})
            return streams[0]

        server = self.serve()
        client = self.connect(server)
        client.send_request("GET", "/mine")
        client.read_head()
        texts = [client.read_chunk().decode() for _ in range(3)]
        self.assertIn("retry: 1500\n\n", texts)
        self.assertIn('data: {"hello": 1}\n\n', texts)
        streams[0].close()
        while client.read_chunk():
            pass  # Complete, with a last chunk.
        wait_for(closed, "on_close is called")
        wait_until(lambda: server.topic("room:1").subscribers == 0, "it has left the topic")

    def test_a_stop_is_told_and_ends_the_stream_properly(self) -> None:
        server = self.serve()
        browser = self.browse(server)
        browser.next()
        stop(server)
        closing = browser.next()
        self.assertEqual((closing["type"], closing["reason"]), ("closing", "shutdown"))
        self.assertEqual(browser.client.read_chunk(), b"")


class TestResume(TopicsTestCase):
    def test_a_browser_gets_each_message_once_wherever_it_broke_off(self) -> None:
        server = self.serve()
        for path in ("/events/room:1", "/events/room:*"):
            for read in range(6):
                with self.subTest(path, read=read):
                    browser = self.browse(server, path)
                    browser.next()
                    got = []
                    for number in range(5):
                        server.publish("room:1", number)
                    for _ in range(read):
                        if len(got) < 5:
                            got.append(browser.next()["data"])
                    browser.client.reset()
                    server.publish("room:1", 5)
                    again = self.browse(server, path, since=browser.last_id)
                    subscribed = again.next()
                    self.assertIs(subscribed["gap"], False)
                    while len(got) < 6:
                        got.append(again.next()["data"])
                    server.publish("room:1", "end")
                    self.assertEqual(again.next()["data"], "end")
                    self.assertEqual(got, [0, 1, 2, 3, 4, 5])
                    again.client.close()

    def test_a_client_gets_each_message_once_wherever_it_broke_off(self) -> None:
        server = self.serve()
        for name in ("room:1", "room:*"):
            for read in range(6):
                with self.subTest(name, read=read):
                    client = self.connect_tcp(server)
                    last = self.subscribe(client, name)["id"]
                    client.read_line()
                    for number in range(5):
                        server.publish("room:1", number)
                    got = []
                    for _ in range(min(read, 5)):
                        message = json.loads(client.read_line())
                        got.append(message["data"])
                        last = message["id"]
                    client.reset()
                    server.publish("room:1", 5)
                    again = self.connect_tcp(server)
                    self.assertIs(self.subscribe(again, name, since=last)["gap"], False)
                    while len(got) < 6:
                        got.append(json.loads(again.read_line())["data"])
                    self.assertEqual(json.loads(again.read_line())["ok"], True)
                    self.assertEqual(got, [0, 1, 2, 3, 4, 5])

    def test_too_long_away_is_told(self) -> None:
        server = self.serve(topic_history=3)
        browser = self.browse(server)
        first = browser.next()["id"]
        browser.client.close()
        for number in range(5):
            server.publish("room:1", number)
        for since, gap, data in ((first, True, [2, 3, 4]), ("someone-else", True, [2, 3, 4])):
            again = self.browse(server, since=since)
            self.assertEqual(again.next()["gap"], gap)
            self.assertEqual([again.next()["data"] for _ in data], data)

    def test_of_another_run_of_the_program_every_id_is_a_gap(self) -> None:
        one, two = self.serve(), self.serve()
        client = self.connect_tcp(one)
        id = self.subscribe(client, "room:1")["id"]
        other = self.connect_tcp(two)
        self.assertIs(self.subscribe(other, "room:1", since=id)["gap"], True)

    def test_topics_outlive_a_stop_and_a_second_run(self) -> None:
        server = make_server(self.router, tcp_keep_alive=True)
        server.allow_subscribe("*")
        self.assertEqual(server.publish("room:1", "nobody hears this"), 0)
        server.start()
        self.addCleanup(stop, server)
        client = self.join(server)
        server.publish("room:1", 1)
        last = json.loads(client.read_line())["id"]
        server.publish("room:1", 2)
        stop(server)
        self.assertEqual(server.publish("room:1", "nor this"), 0)
        self.assertEqual(server.topic("room:1").subscribers, 0)
        server.start()
        again = self.connect_tcp(server)
        self.assertIs(self.subscribe(again, "room:1", since=last)["gap"], False)
        self.assertEqual(json.loads(again.read_line())["data"], 2)
        again.read_line()
        server.publish("room:1", 3)
        message = json.loads(again.read_line())
        self.assertEqual((message["data"], message["seq"]), (3, 3))


class Crowd:
    """Many sockets read by one thread. Each is told apart by its index."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.data: list[bytearray] = []
        self.ended: set[int] = set()

    def add(self, client: Client) -> None:
        client.sock.setblocking(False)
        self._selector.register(client.sock, selectors.EVENT_READ, len(self.data))
        self.data.append(bytearray(client._buffer))

    def read_until(self, done: Any, what: str) -> None:
        """Read what comes until `done(crowd)`."""

        def step() -> bool:
            for key, _ in self._selector.select(0.05):
                try:
                    piece = key.fileobj.recv(1 << 20)  # type: ignore[union-attr]
                except ConnectionError:
                    piece = b""
                if piece:
                    self.data[key.data] += piece
                else:
                    self.ended.add(key.data)
                    self._selector.unregister(key.fileobj)
            return bool(done(self))

        wait_until(step, what, 6 * DEADLINE)

    def close(self) -> None:
        self._selector.close()

    def have(self, pushes: int) -> bool:
        """Tell whether each has got so many pushes."""
        return all(self.pushes(index) >= pushes for index in range(len(self.data)))

    def pushes(self, index: int) -> int:
        """Return how many pushes one socket got whole: of the last one a part may be here."""
        data = self.data[index]
        return data.count(b'"type": "push"', 0, data.rfind(b"\n") + 1)

    def objects(self, index: int) -> Iterator[Any]:
        """Yield the JSON objects that one socket got whole, events or lines."""
        for line in bytes(self.data[index]).split(b"\n")[:-1]:
            line = line.strip().removeprefix(b"data: ")
            if line.startswith(b"{"):
                yield json.loads(line)


class TestCrowds(TopicsTestCase):
    def test_three_hundred_browsers_and_a_hundred_clients_need_no_thread(self) -> None:
        """Each gets each message once and in order."""
        server = self.serve()
        fetch(server, "GET", "/nothing")
        before = threading.enumerate()
        crowd = Crowd()
        self.addCleanup(crowd.close)
        for number in range(300):
            client = self.connect(server)
            client.send_request("GET", f"/events/room:{'*' if number % 3 == 0 else 1}")
            crowd.add(client)
        for _ in range(100):
            client = self.connect_tcp(server)
            client.send("subscribe room:1\n")
            crowd.add(client)
        topic = server.topic("room:1")
        wait_until(lambda: topic.subscribers == 400, "all have subscribed")
        self.assertEqual([server.publish("room:1", number) for number in range(20)], [400] * 20)
        crowd.read_until(lambda crowd: crowd.have(20), "each has twenty messages")
        for index in range(400):
            pushes = [m for m in crowd.objects(index) if m.get("type") == "push"]
            self.assertEqual([m["data"] for m in pushes], list(range(20)))
            self.assertEqual([m["seq"] for m in pushes], list(range(1, 21)))
        self.assertEqual(new_threads(before), set())
        expected = {"published": 20, "deliveries": 8000, "dropped": 0, "kept": 20}
        self.assertEqual(topic.stats, expected)

    def test_forty_publishers_at_once(self) -> None:
        """Once, whole, in each sender's order; what is lost is counted and told.

        The slow ones do not read until the end; their policies are those of their topics. All
        of them hear the same messages.
        """
        publishers, each = 40, 250
        # The healthy ones share an interpreter with forty publishers: what the kernel holds for
        # them while they have no turn is none of this test's limits.
        server = self.serve(
            tcp_send_limit=200_000,
            event_buffer=200_000,
            push_backlog=1_000_000,
            kernel_unsent_limit=0,
        )
        policies = ("drop_oldest", "drop_newest", "latest")
        for policy in policies:
            server.topic(policy, slow_client_policy=policy)
        healthy = Crowd()
        self.addCleanup(healthy.close)
        for number in range(6):
            client = self.connect_tcp(server)
            client.send(f"subscribe {policies[number % 3]}\n")
            healthy.add(client)
            client = self.connect(server)
            client.send_request("GET", f"/events/{policies[number % 3]}")
            healthy.add(client)
        slow: list[tuple[str, Client]] = []
        for policy in policies:
            client = self.connect_tcp(server, receive_buffer=4096)
            client.send(f"subscribe {policy}\n")
            slow.append((policy, client))
            client = self.connect(server, receive_buffer=4096)
            client.send_request("GET", f"/events/{policy}")
            slow.append((policy, client))
        for policy in policies:
            wait_until(lambda name=policy: server.topic(name).subscribers == 6, "all subscribed")
        text = "x" * 700

        def publish(name: int) -> None:
            for number in range(each):
                for policy in policies:
                    server.publish(policy, [name, number, text])

        threads = [RunningThread(publish, name) for name in range(publishers)]
        total = publishers * each
        healthy.read_until(lambda crowd: crowd.have(total), "each healthy one has all messages")
        for thread in threads:
            thread.join(6 * DEADLINE)
        for index in range(len(healthy.data)):
            pushes = [m for m in healthy.objects(index) if m.get("type") == "push"]
            self.assertEqual([m["seq"] for m in pushes], list(range(1, total + 1)))
            self.check_senders([m["data"] for m in pushes], text, each)
        late = Crowd()
        self.addCleanup(late.close)
        for policy, client in slow:
            server.publish(policy, "last")
            late.add(client)
        late.read_until(
            lambda crowd: all(
                self.received_and_told(crowd, index) >= total + 2
                for index in range(len(crowd.data))
            ),
            "what each slow one got, and what it is told that it lost, is all",
        )
        told = 0
        for index in range(len(slow)):
            messages = list(late.objects(index))
            pushes = [m for m in messages if m.get("type") == "push"]
            numbers = [m["seq"] for m in pushes]
            self.assertEqual(numbers, sorted(set(numbers)))
            self.check_senders([m["data"] for m in pushes if m["data"] != "last"], text)
            lost = sum(m["count"] for m in messages if m.get("type") == "dropped")
            self.assertEqual(len(pushes) + lost, total + 2)
            self.assertGreater(lost, 0)
            told += lost
        self.assertEqual(server.stats["push_dropped"], told)
        counted = [server.topic(policy).stats["dropped"] for policy in policies]
        self.assertEqual(sum(counted), told, "the publisher sees the same, by topic")

    def received_and_told(self, crowd: Crowd, index: int) -> int:
        told = re.findall(rb'"count": (\d+)\}\n', crowd.data[index])
        return crowd.pushes(index) + sum(map(int, told))

    def check_senders(self, data: list[Any], text: str, each: int | None = None) -> None:
        """Whole, and of each sender in its order; each: all of them."""
        last: dict[int, int] = {}
        for name, number, body in data:
            self.assertEqual(body, text)
            if each is None:
                self.assertGreater(number, last.get(name, -1))
            else:
                self.assertEqual(number, last.get(name, -1) + 1)
            last[name] = number
        if each is not None:
            self.assertEqual(set(last.values()), {each - 1})

    def test_slow_ones_are_cut_and_told_and_cost_the_others_nothing(self) -> None:
        """The policy "disconnect": for TCP clients and browsers."""
        server = self.serve(tcp_send_limit=100_000, event_buffer=100_000, linger_timeout=30.0)
        slow_client = self.connect_tcp(server, receive_buffer=4096)
        slow_client.send("subscribe room:1\n")
        slow_browser = self.connect(server, receive_buffer=4096)
        slow_browser.send_request("GET", "/events/room:1")
        topic = server.topic("room:1")
        wait_until(lambda: topic.subscribers == 2, "both have subscribed")
        client, browser = self.join(server), self.browse(server)
        browser.next()
        count = 0
        while topic.subscribers > 2:
            server.publish("room:1", "x" * 50_000)
            count += 1
            self.assertEqual(json.loads(client.read_line())["seq"], count)
            self.assertEqual(browser.next()["seq"], count)
            self.assertLess(count, 2000, "the slow ones are still here")
        crowd = Crowd()
        self.addCleanup(crowd.close)
        crowd.add(slow_client)
        crowd.add(slow_browser)
        crowd.read_until(lambda crowd: len(crowd.ended) == 2, "both have read to the end")
        for index in range(2):
            messages = list(crowd.objects(index))
            pushes = [m["seq"] for m in messages if m.get("type") == "push"]
            self.assertEqual(pushes, list(range(1, len(pushes) + 1)))
            closing, dropped = messages[-1], messages[-2]
            self.assertEqual((closing["type"], closing["reason"]), ("closing", "slow"))
            self.assertEqual(dropped["type"], "dropped")
            self.assertIn(str(dropped["count"]), closing["text"])
            self.assertGreater(dropped["count"], 0)
        # The last chunk is missing: a browser takes it for a failure, and comes again.
        self.assertFalse(crowd.data[1].endswith(b"0\r\n\r\n"))


class TestStopping(TopicsTestCase):
    def test_in_the_middle_of_publishing(self) -> None:
        """Each has what was published until then, whole and without a hole, and the last word."""
        server = self.serve(push_backlog=2000, tcp_send_limit=1 << 30)
        clients = [self.join(server) for _ in range(5)]
        over, begun = threading.Event(), threading.Event()
        rests: list[bytes] = []

        def publish() -> None:
            while not over.is_set():
                try:
                    server.publish("room:1", "x" * 100)
                except PoolFull:  # Faster than the reactor: that is said, not hidden.
                    over.wait(0.01)

        def read(client: Client) -> None:
            client.read_line()
            begun.set()
            rests.append(client.read_rest())

        readers = [RunningThread(read, client) for client in clients]
        publishers = [RunningThread(publish) for _ in range(2)]
        wait_for(begun, "messages arrive")
        stop(server)
        over.set()
        for thread in readers + publishers:
            thread.join()
        self.assertEqual(len(rests), 5)
        for rest in rests:
            *lines, last = rest.splitlines()
            self.assertEqual(json.loads(last)["reason"], "shutdown")
            numbers = [json.loads(line)["seq"] for line in lines]
            self.assertEqual(numbers, list(range(2, 2 + len(numbers))))
