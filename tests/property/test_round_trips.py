"""What comes in can go out again: any JSON of a client's, by every door that the server has.

The rule: the whole server runs, in the simulated world of tests/fakes.py, and what its clients
read is compared with a model that uses the standard library alone.
"""

from __future__ import annotations

import json
import unittest
from typing import Any
from xml.etree import ElementTree

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyliteflux import EventStream, HTTPJSONResponse, Router
from tests.fakes import Peer, Simulation
from tests.simulation.model import read_response

# What `JSON.stringify` writes: also half an emoji, any control, numbers near the end of doubles.
TEXTS = st.text(st.characters() | st.characters(categories=["Cs", "Cc"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
# JSON that other senders write, or that no sender should: it is let in by all doors or by none.
STRANGE = st.sampled_from(
    [b"1e999", b"-1e400", b"NaN", b"[Infinity]", b"1E5", b"-0", b"-0.0", b'"\\ud83d"',
     b'{"a":1,"a":2}', b'"\\\\ud83d"', b'"\\ude00\\ud83d"', b'"\xff"', b"9" * 5000,
     b"[" * 70 + b"]" * 70, b"tru",
     b"1" + b"0" * 400, b"0.1e-999", b'{"\\ud800":1,"\\ud801":2}', b"\xef\xbb\xbf1",
     b'"\x00"', b"01"]
)  # fmt: skip


def without_halves(value: Any) -> Any:
    """Return what is left of a value where a half of a surrogate pair is U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [without_halves(item) for item in value]
    if isinstance(value, dict):
        return {without_halves(key): without_halves(item) for key, item in value.items()}
    return value


class Doors(unittest.TestCase):
    """One server, a client for each door, and one JSON value after the other."""

    def setUp(self) -> None:
        router = Router()

        @router.register("/echo", "POST", blocking=False)
        def echo(request: Any) -> Any:
            said = {"said": request.json_data}
            self.world.server.push_message(said)
            self.world.server.publish("news", said)
            self.direct.send(said)
            return said

        @router.register("/object", "POST", blocking=False)
        def echo_object(request: Any) -> Any:
            return HTTPJSONResponse({"said": request.json_data})

        @router.register("/events", blocking=False)
        def events(request: Any) -> Any:
            return EventStream("news")

        @router.register("/direct", blocking=False)
        def direct(request: Any) -> Any:
            self.direct = EventStream()
            return self.direct

        @router.register("echo", protocol="tcp", blocking=False)
        def tcp_echo(request: Any) -> Any:
            return {"said": request.data}

        self.world = Simulation(router, tcp_keep_alive=True, max_topics=10)
        self.addCleanup(self.world.end)
        self.world.server.allow_subscribe("news")
        self.clients = {kind: self.world.tcp() for kind in ("json", "xml", "raw")}
        self.clients["json"].send(b'{"command": "subscribe", "data": "news"}\n')
        self.clients["xml"].send(b'<request command="subscribe">news</request>')
        self.clients["raw"].send(b"subscribe news\n")
        self.browsers = {path: self.world.http() for path in ("events", "direct")}
        for path, browser in self.browsers.items():
            browser.send(b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode())
        self.http = self.world.http()
        self.world.settle()
        for peer in (*self.clients.values(), *self.browsers.values()):
            peer.take()

    def post(self, path: str, body: bytes) -> Any:
        head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
        self.http.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self.world.settle()
        reply = read_response(self.http.take(), False)
        assert reply is not None and reply.is_whole
        return reply

    def heard(self, peer: Peer) -> list[bytes]:
        data = peer.take()
        self.assertTrue(data.endswith(b"\n"), data)
        return data.splitlines() if b"\r" not in data else data.rstrip(b"\n").split(b"\n")

    def check(self, body: bytes, value: Any) -> None:
        """Send a value in by HTTP and by TCP, and have it come out of every door."""
        self.assertEqual(json.loads(self.post("/object", body).body), {"said": value})
        reply = self.post("/echo", body)
        self.assertEqual((reply.status, json.loads(reply.body)), (200, {"said": value}))
        for line in self.heard(self.clients["json"]):  # A push, and a message of the topic.
            self.assertEqual(json.loads(line)["data"], {"said": value})
        for line in self.heard(self.clients["xml"]):
            ElementTree.fromstring(line)  # Whatever it says: it is XML, and one line.
        self.assertEqual(len(self.heard(self.clients["raw"])), 2)
        for path, field in (("events", "data"), ("direct", None)):
            event = read_response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  + self.browsers[path].take(), False)  # fmt: skip
            assert event is not None
            lines = event.body.decode().split("\n")
            data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
            self.assertEqual(len(data), 1)
            said = json.loads(data[0])
            self.assertEqual(said if field is None else said[field], {"said": value})
        # JSON over TCP ends where it ends: inside of a message that is read whole.
        self.clients["json"].send(b'{"command": "echo", "data": ' + body + b"}\n")
        self.world.settle()
        (line,) = self.heard(self.clients["json"])
        self.assertEqual(json.loads(line), {"said": value})

    @given(VALUES)
    @settings(max_examples=200)
    def test_a_value_comes_out_of_every_door(self, value: Any) -> None:
        self.check(json.dumps(value).encode(), without_halves(value))

    @given(STRANGE, st.sampled_from([b"%b", b"[%b]", b'{"a":%b}']))
    @example(b"1e999", b"%b")
    def test_what_one_door_lets_in_none_refuses(self, text: bytes, around: bytes) -> None:
        body = around.replace(b"%b", text)
        reply = self.post("/echo", body)
        self.assertIn(reply.status, (200, 400), body)
        for peer in (*self.clients.values(), *self.browsers.values()):
            self.assertEqual(bool(peer.take()), reply.status == 200)
        if reply.status == 200:
            self.assertEqual(self.post("/object", body).body, reply.body)


if __name__ == "__main__":
    unittest.main()
