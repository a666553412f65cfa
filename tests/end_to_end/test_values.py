"""Values through every door: what one lets in the next can send, and what Python holds is JSON.

Chapters: docs/requests-and-responses.md, docs/tcp.md, docs/topics.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from pyliteflux import EventStream, HTTPJSONResponse, Server
from tests.support import Client, ServerTestCase

HALF = rb'"hi \ud83d"'  # What JavaScript's slice leaves of an emoji.
READ = "hi \ufffd"


@dataclass
class Reading:
    """What a handler of somebody's returns."""

    sensor: UUID
    when: datetime


READING = Reading(UUID(int=7), datetime(2026, 12, 1, 8, 30))
WRITTEN = {"sensor": "00000000-0000-0000-0000-000000000007", "when": "2026-12-01T08:30:00"}


class ValuesTestCase(ServerTestCase):
    def join(self, server: Server) -> tuple[Client, Client, Client]:
        """Return a client that speaks JSON, one that speaks XML, and a browser: they hear "t"."""
        clients = [self.connect_tcp(server) for _ in range(2)]
        clients[0].send('{"command": "join"}\n')
        clients[1].send('<request command="join"/>\n')
        for client in clients:
            client.read_line()  # Told that it is subscribed.
            client.read_line()
        browser = self.connect(server)
        browser.send_request("GET", "/events")
        browser.read_head()
        return clients[0], clients[1], browser

    def setUp(self) -> None:
        super().setUp()

        @self.router.register("join", protocol="tcp")
        def join(request: Any) -> Any:
            request.subscribe("t")
            return "welcome"

        @self.router.get("/events")
        def events(request: Any) -> Any:
            return EventStream("t")


class HalfAPairTests(ValuesTestCase):
    """`half-an-emoji-in-json`, and the numbers of H13: never a 500 on the way out."""

    def setUp(self) -> None:
        super().setUp()

        @self.router.register("/echo", "POST")
        def echo(request: Any) -> Any:
            return {"said": request.json_data}

        @self.router.register("/text", "POST")
        def text(request: Any) -> Any:
            return request.json_data

        @self.router.register("/lines", "POST")
        def lines(request: Any) -> Any:
            return EventStream([request.json_data, {"a": request.json_data}])

        @self.router.register("/tell", "POST")
        def tell(request: Any) -> Any:
            server.push_message(request.json_data)
            return server.publish("t", {"said": request.json_data})

        self.router.register("echo", protocol="tcp")(lambda request: request.data)
        server = self.server = self.serve(tcp_keep_alive=True)

    def post(self, target: str, body: bytes) -> Any:
        fields = {"Content-Type": "application/json"}
        return self.connect(self.server).request("POST", target, body, fields=fields)

    def test_over_http(self) -> None:
        self.assertEqual(self.post("/echo", HALF).json, {"said": READ})
        self.assertEqual(self.post("/text", HALF).text, READ)
        self.assertIn(f"data: {READ}\n", self.post("/lines", HALF).text)
        self.assertEqual(self.logs.lines(30), [])

    def test_to_everybody_else(self) -> None:
        one, xml, browser = self.join(self.server)
        self.assertEqual(self.post("/tell", HALF).json, 3)
        self.assertEqual(json.loads(one.read_line()), {"type": "push", "data": READ})
        self.assertEqual(json.loads(one.read_line())["data"], {"said": READ})
        self.assertEqual(xml.read_line(), f"<push>{READ}</push>")
        self.assertIn(f"<said>{READ}</said>", xml.read_line())
        browser.read_until(b'"seq": 1', "the event")
        self.assertIn(f'"data": {{"said": "{READ}"}}', browser.read_line())

    def test_over_tcp(self) -> None:
        client = self.connect_tcp(self.server)
        client.send(b'{"command": "echo", "data": %b, "id": %b}\n' % (HALF, HALF))
        self.assertEqual(json.loads(client.read_line()), {"id": READ, "data": READ})
        client.send(b'{"command": "echo", "data": 1e999}\n{"command": "echo", "data": 1}\n')
        error = json.loads(client.read_line())
        self.assertEqual(error["code"], "bad_message")
        self.assertIn("beyond the range of a double", error["error"])
        self.assertEqual(client.read_line(), "1")
        client.send('<request command="echo">a&#1;</request>\n')
        self.assertIn("bad XML", client.read_line())

    def test_what_is_no_json_is_a_400(self) -> None:
        for body, text in (
            (b"1e999", "a number is beyond the range of a double"),
            (b"[-1E400]", "a number is beyond the range of a double"),
            (b"[NaN]", "NaN is not JSON"),
        ):
            with self.subTest(body):
                answer = self.post("/echo", body)
                self.assertEqual(answer.status, 400)
                self.assertEqual(answer.json["error"], f"the body is not valid JSON: {text}")

    def test_nesting_that_is_let_in_is_answered_with(self) -> None:
        for depth in (100, 500, 900, 950, 970, 980, 990, 2000):
            with self.subTest(depth):
                body = b"[" * depth + b"]" * depth
                answer = self.post("/echo", body)
                if answer.status != 400:
                    self.assertEqual((answer.status, answer.body), (200, b'{"said": %b}' % body))

    def test_control_characters_fit_into_every_answer(self) -> None:
        self.assertEqual(self.post("/echo", rb'"\u0000\u001b"').body, rb'{"said": "\u0000\u001b"}')
        _, xml, _ = self.join(self.server)
        self.post("/tell", rb'"a\u0000b"')
        self.assertEqual(xml.read_line(), "<push>a\ufffdb</push>")


class StandInTests(ValuesTestCase):
    """B15: one encoder for HTTP, TCP, events, pushes and topics."""

    def test_a_dataclass_with_a_date_goes_everywhere(self) -> None:
        self.router.get("/dict")(lambda request: {"reading": READING})
        self.router.get("/list")(lambda request: [READING])
        self.router.get("/bare")(lambda request: READING)
        self.router.get("/object")(lambda request: HTTPJSONResponse(READING, 201))
        self.router.get("/iterable")(lambda request: EventStream([{"data": READING}]))
        self.router.register("bare", protocol="tcp")(lambda request: READING)

        @self.router.register("stream", protocol="tcp")
        def stream(request: Any) -> Any:
            yield READING

        server = self.serve(tcp_keep_alive=True)
        http = self.connect(server)
        self.assertEqual(http.get("/dict").json, {"reading": WRITTEN})
        self.assertEqual(http.get("/list").json, [WRITTEN])
        self.assertEqual(http.get("/bare").json, WRITTEN)
        self.assertEqual(http.get("/object").json, WRITTEN)
        self.assertEqual(http.get("/iterable").text, f"data: {json.dumps(WRITTEN)}\n\n")
        one, xml, browser = self.join(server)
        one.send('{"command": "bare", "id": 1}\nbare\n{"command": "stream"}\n')
        self.assertEqual(json.loads(one.read_line()), {"id": 1, "data": WRITTEN})
        self.assertEqual(json.loads(one.read_line()), WRITTEN)
        self.assertEqual(json.loads(one.read_line()), {"type": "stream", "data": WRITTEN})
        self.assertEqual(one.read_line(), '{"type": "end"}')
        as_xml = f"<sensor>{WRITTEN['sensor']}</sensor><when>{WRITTEN['when']}</when>"
        xml.send('<request command="bare"/>\n')
        self.assertEqual(xml.read_line(), f"<response>{as_xml}</response>")
        self.assertEqual(server.push_message(READING), 2)
        self.assertEqual(server.publish("t", READING), 3)
        self.assertEqual(json.loads(one.read_line())["data"], WRITTEN)
        self.assertEqual(json.loads(one.read_line())["data"], WRITTEN)
        self.assertEqual(xml.read_line(), f"<push>{as_xml}</push>")
        browser.read_until(b'"seq": 1', "the event")
        self.assertIn(f'"data": {json.dumps(WRITTEN)}', browser.read_line())

    def test_json_default_is_asked_everywhere(self) -> None:
        def default(value: Any) -> Any:
            if isinstance(value, complex):
                return f"{value.real:g} and {value.imag:g}"
            raise TypeError(f"no {type(value).__name__}")

        pushed = []
        self.router.get("/dict")(lambda request: {"v": 1j})
        self.router.get("/object")(lambda request: HTTPJSONResponse({"v": 1j}))
        self.router.get("/iterable")(lambda request: EventStream([{"v": 1j}]))
        self.router.get("/other")(lambda request: {"v": b""})
        self.router.register("dict", protocol="tcp")(lambda request: {"v": 1j})

        @self.router.get("/pushed")
        def pushed_events(request: Any) -> Any:
            pushed.append(EventStream())
            return pushed[0]

        server = self.serve(tcp_keep_alive=True, json_default=default)
        http = self.connect(server)
        written = {"v": "0 and 1"}
        self.assertEqual(http.get("/dict").json, written)
        self.assertEqual(http.get("/object").json, written)
        self.assertEqual(http.get("/iterable").text, f"data: {json.dumps(written)}\n\n")
        self.assertEqual(http.get("/other").status, 500)
        self.assertIn("v: no bytes", self.logs.wait_for("GET /other failed"))
        one, _, browser = self.join(server)
        one.send('{"command": "dict"}\n')
        self.assertEqual(json.loads(one.read_line()), written)
        server.push_message({"v": 1j})
        server.publish("t", {"v": 1j})
        self.assertEqual(json.loads(one.read_line())["data"], written)
        self.assertEqual(json.loads(one.read_line())["data"], written)
        http.send_request("GET", "/pushed")
        http.read_head()
        pushed[0].send({"v": 1j})  # From a thread that is in no request.
        self.assertEqual(http.read_until(b"\n\n", "the event").split(b"data: ")[1],
                         json.dumps(written).encode())  # fmt: skip

    def test_an_encoder_of_the_users_counts_on_both_protocols(self) -> None:
        class Encoder(json.JSONEncoder):
            def default(self, value: Any) -> Any:
                return ["complex", value.real]

        def handler(request: Any) -> Any:
            return HTTPJSONResponse({"v": 1j}, json_encoder=Encoder)

        self.router.get("/own")(handler)
        self.router.register("own", protocol="tcp")(handler)
        server = self.serve()
        self.assertEqual(self.connect(server).get("/own").json, {"v": ["complex", 0.0]})
        client = self.connect_tcp(server)
        client.send('{"command": "own", "id": 1}\n')
        self.assertEqual(json.loads(client.read_line()), {"v": ["complex", 0.0], "id": 1})

    def test_what_is_left_names_the_handler_the_path_and_the_way_out(self) -> None:
        def handler(request: Any) -> Any:
            return {"items": [1, {"when": date(2026, 1, 1), "raw": b"x"}]}

        self.router.get("/raw")(handler)
        self.router.register("raw", protocol="tcp")(handler)
        server = self.serve(tcp_keep_alive=True)
        answer = self.connect(server).get("/raw")
        self.assertEqual((answer.status, set(answer.json)), (500, {"error", "request_id"}))
        client = self.connect_tcp(server)
        client.send('{"command": "raw"}\n<request command="raw"/>\n')
        self.assertEqual(json.loads(client.read_line())["code"], "internal")
        self.assertIn("<code>internal</code>", client.read_line())
        place = f"handler ({__file__}:{handler.__code__.co_firstlineno})"
        for start in ("GET /raw failed", "TCP raw"):
            line = self.logs.wait_for(start)
            self.assertIn(place, line)
            self.assertIn("items[1].raw: bytes cannot be written as JSON", line)
            self.assertIn("json_default=function", line)
