"""Responses over real sockets: what reaches the wire, and what never does (A1 to A6)."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

from pyliteflux import (
    HTTPError,
    HTTPJSONResponse,
    HTTPResponse,
    Middleware,
    StreamResponse,
    g,
)
from tests.support import Client, CutShort, ServerTestCase, fetch, wait_for, wait_until

ERROR = {"error": "Internal Server Error"}


class ValueTests(ServerTestCase):
    def test_each_type_reaches_the_wire_as_promised(self) -> None:
        """A1."""
        values: dict[str, tuple[Any, int, str | None, bytes]] = {
            "dict": ({"é": {"你": [1, None]}}, 200, "application/json",
                     '{"é": {"你": [1, null]}}'.encode()),
            "list": ([1, "a"], 200, "application/json", b'[1, "a"]'),
            "int": (5, 200, "application/json", b"5"),
            "zero": (0, 200, "application/json", b"0"),
            "float": (1.5, 200, "application/json", b"1.5"),
            "true": (True, 200, "application/json", b"true"),
            "false": (False, 200, "application/json", b"false"),
            "none": (None, 204, None, b""),
            "str": ("Grüße", 200, "text/plain; charset=utf-8", "Grüße".encode()),
            "empty": ("", 200, "text/plain; charset=utf-8", b""),
            "bytes": (b"\0\xff", 200, "application/octet-stream", b"\0\xff"),
            "created": (({"a": 1}, 201), 201, "application/json", b'{"a": 1}'),
            "headers": (({"a": 1}, {"X-A": "1"}), 200, "application/json", b'{"a": 1}'),
            "three": (("a", 202, {"X-A": "1"}), 202, "text/plain; charset=utf-8", b"a"),
        }  # fmt: skip
        for name, (value, *_) in values.items():
            self.router.register(f"/{name}")(lambda request, value=value: value)
            self.router.register(f"/{name}/fast", blocking=False)(
                lambda request, value=value: value
            )
        server = self.serve()
        client = self.connect(server)
        for name, (_, status, content_type, body) in values.items():
            for target in (f"/{name}", f"/{name}/fast"):
                with self.subTest(target):
                    answer = client.get(target)
                    self.assertEqual((answer.status, answer.body), (status, body))
                    self.assertEqual(answer.get("Content-Type"), content_type)
                    if name in ("headers", "three"):
                        self.assertEqual(answer.get("X-A"), "1")
                    if status != 204:
                        self.assertEqual(answer.get("Content-Length"), str(len(body)))

    def test_a_generator_is_streamed(self) -> None:
        """A1: with and without a tuple around it."""

        @self.router.register("/plain")
        def plain(request: Any) -> Iterator[str]:
            yield "a"
            yield "é"

        @self.router.register("/tuple")
        def in_a_tuple(request: Any) -> Any:
            return plain(request), 201, {"X-A": "1", "Content-Type": "text/csv"}

        client = self.connect(self.serve())
        answer = client.get("/plain")
        self.assertEqual(answer.text, "aé")
        self.assertEqual(answer.get("Transfer-Encoding"), "chunked")
        self.assertEqual(answer.get("Content-Type"), "text/plain; charset=utf-8")
        answer = client.get("/tuple")
        self.assertEqual((answer.status, answer.text), (201, "aé"))
        self.assertEqual((answer.get("X-A"), answer.get("Content-Type")), ("1", "text/csv"))

    def test_a_wrong_type_is_a_500_and_the_connection_lives_on(self) -> None:
        """A1: the log says what came and what is allowed."""
        self.router.register("/set")(lambda request: {1})
        self.router.register("/ok")(lambda request: "ok")
        client = self.connect(self.serve())
        answer = client.get("/set")
        self.assertEqual((answer.status, answer.json["error"]), (500, ERROR["error"]))
        line = self.logs.wait_for("the handler returned set {1}")
        self.assertIn("allowed are dict, list, int, float, bool, None, str, bytes", line)
        self.assertEqual(client.get("/ok").text, "ok")

    def test_large_bodies_arrive_whole(self) -> None:
        body = bytes(range(256)) * 20_000
        self.router.register("/large")(lambda request: body)
        client = self.connect(self.serve())
        for _ in range(2):
            self.assertEqual(client.get("/large").body, body)

    def test_set_cookie_may_come_twice(self) -> None:
        @self.router.register("/")
        def cookies(request: Any) -> Any:
            response = HTTPResponse("x")
            response.set_cookie("a", "1")
            response.set_cookie("b", "2")
            return response

        answer = fetch(self.serve(), "GET", "/")
        self.assertEqual([c.split(";")[0] for c in answer.all("Set-Cookie")], ["a=1", "b=2"])


class StreamTests(ServerTestCase):
    def stream(self, pieces: Any, **options: Any) -> None:
        self.router.register("/stream")(lambda request: StreamResponse(pieces(), **options))

    def test_its_arguments_reach_the_wire(self) -> None:
        """A2."""
        self.stream(
            lambda: ["a", "é", b"\xff", bytearray(b"b")],
            content_type="text/csv",
            headers={"X-A": "1"},
            status=202,
        )
        answer = fetch(self.serve(), "GET", "/stream")
        self.assertEqual((answer.status, answer.body), (202, b"a\xc3\xa9\xffb"))
        self.assertEqual((answer.get("Content-Type"), answer.get("X-A")), ("text/csv", "1"))
        self.assertEqual(answer.get("Transfer-Encoding"), "chunked")

    def test_the_connection_can_be_used_again_after_a_stream(self) -> None:
        """A2."""
        self.stream(lambda: iter(["a", "b"]))
        client = self.connect(self.serve())
        for _ in range(3):
            self.assertEqual(client.get("/stream").text, "ab")

    def test_a_1_0_client_gets_a_stream_that_the_close_ends(self) -> None:
        """A2: no chunk reaches it, and it may not keep the connection."""
        self.stream(lambda: iter(["a", "", "b"]))
        server = self.serve()
        for fields in ({}, {"Connection": "keep-alive"}):
            with Client(server.http_address) as client:
                answer = client.get("/stream", version="1.0", fields=fields)
                self.assertIsNone(answer.get("Transfer-Encoding"))
                self.assertIsNone(answer.get("Content-Length"))
                self.assertEqual(answer.get("Connection"), "close")
                self.assertEqual(answer.text, "ab")
                client.expect_end()

    def test_empty_chunks_are_skipped(self) -> None:
        """A2: in 0.1.2 the stream ends at the first of them."""
        self.stream(lambda: iter(["", "a", "", b"", "b", ""]))
        client = self.connect(self.serve())
        client.send_request("GET", "/stream")
        self.assertEqual(client.read_head().status, 200)
        chunks = list(iter(client.read_chunk, b""))
        self.assertEqual(b"".join(chunks), b"ab")
        self.assertEqual(client.get("/stream").text, "ab")

    def test_a_stream_of_nothing_is_an_empty_body(self) -> None:
        """A2."""
        client = self.connect(self.serve())
        for pieces in ((), ("",), ("", b"", "")):
            self.stream(lambda pieces=pieces: iter(pieces))
            answer = client.get("/stream")
            self.assertEqual((answer.status, answer.body), (200, b""))

    def test_the_first_chunk_leaves_at_once(self) -> None:
        """A2: the generator waits for what the client does after it, and so does each later one."""
        turns = [threading.Event() for _ in range(3)]

        def pieces() -> Iterator[str]:
            for number, turn in enumerate(turns):
                yield f"piece {number}"
                wait_for(turn, "the client has the piece")

        self.stream(pieces)
        server = self.serve()
        for version in ("1.1", "1.0"):
            for turn in turns:
                turn.clear()
            with Client(server.http_address) as client:
                client.send_request("GET", "/stream", version=version)
                self.assertEqual(client.read_head().status, 200)
                for number, turn in enumerate(turns):
                    expected = f"piece {number}".encode()
                    if version == "1.1":
                        self.assertEqual(client.read_chunk(), expected)
                    else:
                        self.assertEqual(client.read_exactly(len(expected)), expected)
                    turn.set()
                if version == "1.1":
                    self.assertEqual(client.read_chunk(), b"")
                else:
                    client.expect_end()

    def test_the_head_leaves_before_the_first_chunk_is_there(self) -> None:
        """A2."""
        go = threading.Event()

        def pieces() -> Iterator[str]:
            wait_for(go, "the client has the head")
            yield "late"

        self.stream(pieces)
        client = self.connect(self.serve())
        client.send_request("GET", "/stream")
        self.assertEqual(client.read_head().status, 200)
        go.set()
        self.assertEqual(client.read_chunk(), b"late")

    def test_a_slow_reader_pauses_the_generator_and_nobody_else(self) -> None:
        """A2: what it has not read is bounded, and arrives whole when it reads on."""
        piece, count = b"x" * 65536, 2000
        produced = []

        def pieces() -> Iterator[bytes]:
            for number in range(count):
                produced.append(number)
                yield piece

        self.stream(pieces)
        self.router.register("/other")(lambda request: "other")
        server = self.serve(worker_threads=1, stream_workers=1)
        slow = self.connect(server, receive_buffer=65536)
        slow.send_request("GET", "/stream")
        self.assertEqual(slow.read_head().status, 200)
        self.wait_for_a_pause(produced)
        self.assertLess(len(produced), count // 2, "the generator was not paused")
        # A paused stream pins no thread: there is one for each kind of work.
        self.assertEqual(fetch(server, "GET", "/other").text, "other")
        self.assertLess(len(produced), count // 2)
        total = sum(len(chunk) for chunk in iter(slow.read_chunk, b""))
        self.assertEqual((total, len(produced)), (len(piece) * count, count))

    def wait_for_a_pause(self, produced: list[int]) -> None:
        """Wait until nothing has been produced during fifty looks."""
        seen = [0, 0]

        def is_quiet() -> bool:
            seen[1] = seen[1] + 1 if len(produced) == seen[0] else 0
            seen[0] = len(produced)
            return seen[0] > 0 and seen[1] > 50

        wait_until(is_quiet, "the generator pauses")

    def test_one_stream_worker_serves_other_streams_while_a_reader_is_slow(self) -> None:
        """A2: a slow client parks a generator, never a thread."""
        produced: list[int] = []

        def endless() -> Iterator[bytes]:
            while True:
                produced.append(0)
                yield b"x" * 65536

        self.stream(endless)
        self.router.register("/short")(lambda request: StreamResponse(["a", "b"]))
        server = self.serve(stream_workers=1)
        slow = self.connect(server, receive_buffer=65536)
        slow.send_request("GET", "/stream")
        slow.read_head()
        self.wait_for_a_pause(produced)
        self.assertEqual(fetch(server, "GET", "/short").text, "ab")
        slow.reset()

    def test_a_reader_that_leaves_closes_the_generator(self) -> None:
        """A2: its `finally` runs, with GeneratorExit, once; in good order or with a reset."""
        for leave in ("close", "reset"):
            with self.subTest(leave):
                ended: list[str] = []
                closed = threading.Event()

                def pieces(
                    ended: list[str] = ended, closed: threading.Event = closed
                ) -> Iterator[str]:
                    try:
                        while True:
                            yield "x" * 1000
                    except GeneratorExit:
                        ended.append(f"GeneratorExit of {g.user}")
                        raise
                    finally:
                        ended.append("finally")
                        closed.set()

                def handler(request: Any, pieces: Any = pieces) -> Any:
                    g.user = "anna"
                    return StreamResponse(pieces())

                self.router.register("/endless")(handler)
                server = self.serve()
                client = self.connect(server)
                client.send_request("GET", "/endless")
                client.read_head()
                client.read_chunk()
                getattr(client, leave)()
                wait_for(closed, "the generator's finally")
                self.assertEqual(ended, ["GeneratorExit of anna", "finally"])

    def test_a_reader_that_leaves_a_paused_generator_closes_it(self) -> None:
        """A2: though nobody steps it."""
        closed = threading.Event()
        produced: list[int] = []

        def pieces() -> Iterator[bytes]:
            try:
                while True:
                    produced.append(0)
                    yield b"x" * 65536
            finally:
                closed.set()

        self.stream(pieces)
        client = self.connect(self.serve(), receive_buffer=65536)
        client.send_request("GET", "/stream")
        client.read_head()
        self.wait_for_a_pause(produced)
        client.reset()
        wait_for(closed, "the generator's finally")

    def test_a_generator_nobody_reads_is_closed(self) -> None:
        """A2: of a HEAD request, of a status without content, of a response that was refused."""
        closed = threading.Event()

        class Pieces:
            def __iter__(self) -> Iterator[str]:
                return iter(["a"])

            def close(self) -> None:
                closed.set()

        self.router.register("/ok")(lambda request: StreamResponse(Pieces()))
        self.router.register("/204")(lambda request: StreamResponse(Pieces(), status=204))
        self.router.register("/bad")(
            lambda request: StreamResponse(Pieces(), headers={"X-A": "\n"})
        )
        client = self.connect(self.serve())
        for method, target, status in (("HEAD", "/ok", 200), ("GET", "/204", 204),
                                       ("GET", "/bad", 500), ("GET", "/ok", 200)):  # fmt: skip
            closed.clear()
            self.assertEqual(client.request(method, target).status, status)
            wait_for(closed, f"{method} {target} is closed")

    def test_head_of_a_stream_has_its_head_and_no_body(self) -> None:
        """A2, R6."""
        self.stream(lambda: ["a"])
        client = self.connect(self.serve())
        answer = client.request("HEAD", "/stream")
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(client.get("/stream").text, "a")

    def test_an_exception_mid_stream_never_looks_complete(self) -> None:
        """A2: chunked, on HTTP/1.0, and with a Content-Length; after nothing, a bit and a lot."""
        for before in ((), ("a",), ("a" * 100_000, "b" * 100_000)):

            def pieces(before: tuple[str, ...] = before) -> Iterator[str]:
                yield from before
                raise RuntimeError("a secret")

            length = sum(map(len, before)) + 5
            self.router.register("/stream")(lambda request, pieces=pieces: StreamResponse(pieces()))
            self.router.register("/length")(
                lambda request, pieces=pieces, length=length: StreamResponse(
                    pieces(), headers={"Content-Length": str(length)}
                )
            )
            server = self.serve()
            for target in ("/stream", "/length"):
                for version in ("1.1", "1.0"):
                    with self.subTest(target, version=version, pieces=len(before)):
                        with Client(server.http_address) as client:
                            client.send_request("GET", target, version=version)
                            with self.assertRaises(CutShort) as caught:
                                client.read_response()
                            self.assertNotIn("secret", str(caught.exception))
            self.assertIn("RuntimeError: a secret", self.logs.wait_for("failed\n"))

    def test_what_was_yielded_before_the_exception_arrives(self) -> None:
        """A2: where the framing shows that the rest is missing."""

        def pieces() -> Iterator[str]:
            yield "first"
            raise RuntimeError

        self.stream(pieces)
        client = self.connect(self.serve())
        client.send_request("GET", "/stream")
        client.read_head()
        self.assertEqual(client.read_chunk(), b"first")
        with self.assertRaises(CutShort):
            client.read_chunk()

    def test_a_piece_of_a_wrong_type_cuts_the_stream(self) -> None:
        """A2."""
        self.stream(lambda: ["a", 5])
        client = self.connect(self.serve())
        client.send_request("GET", "/stream")
        with self.assertRaises(CutShort):
            client.read_response()
        self.assertIn(
            "a stream must yield str or bytes, not int 5", self.logs.wait_for("TypeError")
        )

    def test_a_length_that_is_given_is_kept_or_the_stream_is_cut(self) -> None:
        """A2."""
        for pieces, length, whole in (
            (["abc", "de"], "5", True), (["abc"], "5", False), (["abc", "defg"], "5", False),
            ([], "0", True),
        ):  # fmt: skip
            with self.subTest(pieces):
                self.stream(lambda pieces=pieces: pieces, headers={"Content-Length": length})
                client = self.connect(self.serve())
                client.send_request("GET", "/stream")
                if whole:
                    answer = client.read_response()
                    self.assertIsNone(answer.get("Transfer-Encoding"))
                    self.assertEqual(answer.get("Content-Length"), length)
                    self.assertEqual(client.get("/stream").status, 200)
                else:
                    try:
                        client.read_response()
                        client.expect_end()
                    except CutShort:
                        pass
                    self.logs.wait_for("than its Content-Length")

    def test_a_length_that_is_none_is_a_500(self) -> None:
        """A2, A3."""
        self.stream(lambda: ["abc"], headers={"Content-Length": "+3"})
        self.assertEqual(fetch(self.serve(), "GET", "/stream").status, 500)

    def test_fifty_streams_at_once_do_not_mix(self) -> None:
        """A2: each generator is stepped by one thread at a time, in its own `g`."""

        @self.router.register("/{name}")
        def stream(request: Any, **_: Any) -> Any:
            g.name = request.path_params["name"]

            def pieces() -> Iterator[str]:
                for number in range(20):
                    yield f"{g.name}:{number} "

            return pieces()

        server = self.serve()
        clients = [self.connect(server) for _ in range(50)]
        for number, client in enumerate(clients):
            client.send_request("GET", f"/c{number}")
        for number, client in enumerate(clients):
            expected = "".join(f"c{number}:{n} " for n in range(20))
            self.assertEqual(client.read_response().text, expected)


class ServerFieldTests(ServerTestCase):
    def respond(self, headers: dict[str, str]) -> None:
        self.router.register("/")(lambda request: ({"a": 1}, headers))

    def test_keep_alive_of_a_handler_is_ignored(self) -> None:
        """A3: on a connection that ends as on one that goes on."""
        self.respond({"Connection": "keep-alive", "Keep-Alive": "timeout=999"})
        client = self.connect(self.serve())
        answer = client.get("/")
        self.assertEqual((answer.all("Connection"), answer.all("Keep-Alive")), ([], []))
        answer = client.get("/", fields={"Connection": "close"})
        self.assertEqual(answer.get("Connection"), "close")
        client.expect_end()

    def test_close_of_a_handler_is_honoured(self) -> None:
        """A3: in any letter case, in a list, and among several fields."""
        for value in ("close", "Close", "foo, CLOSE", "keep-alive, close"):
            with self.subTest(value):
                self.respond({"Connection": value})
                client = self.connect(self.serve())
                answer = client.get("/")
                self.assertEqual((answer.get("Connection"), answer.json), ("close", {"a": 1}))
                client.expect_end()

    def test_close_counts_among_several_fields(self) -> None:
        """A3."""
        self.router.register("/")(
            lambda request: ("x", [("Connection", "keep-alive"), ("Connection", "close")])
        )
        client = self.connect(self.serve())
        self.assertEqual(client.get("/").get("Connection"), "close")
        client.expect_end()

    def test_close_of_a_stream_is_honoured(self) -> None:
        """A3."""
        self.router.register("/")(
            lambda request: StreamResponse(["a"], headers={"Connection": "close"})
        )
        client = self.connect(self.serve())
        self.assertEqual(client.get("/").text, "a")
        client.expect_end()

    def test_transfer_encoding_is_refused_with_a_warning(self) -> None:
        """A3: it is the server that frames; two views of a body are an attack."""
        for value in ("chunked", "gzip, chunked", "identity", ""):
            with self.subTest(value):
                self.respond({"transfer-encoding": value})
                client = self.connect(self.serve())
                answer = client.get("/")
                self.assertEqual((answer.status, answer.json), (200, {"a": 1}))
                self.assertIsNone(answer.get("Transfer-Encoding"))
                self.assertTrue(self.logs.find("Transfer-Encoding", logging.WARNING))
                self.assertEqual(client.get("/").json, {"a": 1})

    def test_the_other_hop_by_hop_fields_and_the_length_are_the_servers(self) -> None:
        """A3."""
        self.respond(
            {"Content-Length": "1", "Upgrade": "h2c", "TE": "trailers", "Trailer": "X-A",
             "Proxy-Connection": "keep-alive", "Date": "yesterday", "X-Mine": "kept"}
        )  # fmt: skip
        answer = fetch(self.serve(), "GET", "/")
        self.assertEqual(answer.get("Content-Length"), "8")
        for name in ("Upgrade", "TE", "Trailer", "Proxy-Connection"):
            self.assertEqual(answer.all(name), [])
        self.assertRegex(answer.get("Date") or "", r"^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$")
        self.assertEqual(answer.get("X-Mine"), "kept")

    def test_no_line_end_gets_into_a_head(self) -> None:
        """A3: CR, LF or NUL is a 500 and a log line, whichever way the value came."""
        attack = "x\r\nX-Injected: yes\r\n\r\nHTTP/1.1 200 OK"

        def cookie(request: Any) -> Any:
            response = HTTPResponse("x")
            response.headers.add("Set-Cookie", attack)
            return response

        def raising(request: Any) -> Any:
            raise HTTPError(400, "x", {"X-A": attack})

        ways: dict[str, Any] = {
            "tuple": lambda request: ("x", {"X-A": attack}),
            "object": lambda request: HTTPResponse("x", headers={"X-A": attack}),
            "json": lambda request: HTTPJSONResponse([], headers={"X-A": attack}),
            "stream": lambda request: StreamResponse(["x"], headers={"X-A": attack}),
            "type": lambda request: HTTPResponse("x", content_type=attack),
            "stream-type": lambda request: StreamResponse(["x"], content_type=attack),
            "name": lambda request: ("x", {"X-A\r\nX-Injected": "yes"}),
            "server-field": lambda request: ("x", {"Content-Length": attack}),
            "connection": lambda request: ("x", {"Connection": attack}),
            "lf": lambda request: ("x", {"X-A": "a\nX-Injected: yes"}),
            "cr": lambda request: ("x", {"X-A": "a\rX-Injected: yes"}),
            "nul": lambda request: ("x", {"X-A": "a\0X-Injected"}),
            "end": lambda request: ("x", {"X-A": "a\n"}),
            "cookie": cookie,
            "raise": raising,
            "id-field": lambda request: ("x", {"X-Request-ID": attack}),
        }
        for name, handler in ways.items():
            self.router.register(f"/{name}")(handler)
            self.router.register(f"/{name}/fast", blocking=False)(handler)
        client = self.connect(self.serve())
        for name in ways:
            for target in (f"/{name}", f"/{name}/fast"):
                with self.subTest(target):
                    before = len(self.logs.lines(logging.ERROR))
                    client.send_request("GET", target)
                    head = client.read_until(b"\r\n\r\n")
                    self.assertTrue(head.startswith(b"HTTP/1.1 500 "), head)
                    self.assertNotIn(b"Injected", head)
                    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                    body = json.loads(client.read_exactly(length))
                    self.assertEqual(body["error"], ERROR["error"])
                    self.assertEqual(len(self.logs.lines(logging.ERROR)), before + 1)
        self.assertEqual(client.get("/nothing").status, 404)

    def test_a_request_id_of_the_users_is_sent(self) -> None:
        """A3: as long as it is fit for a field."""

        @self.router.register("/")
        def own_id(request: Any) -> str:
            g.request_id = "trace-1"
            return g.request_id

        answer = fetch(self.serve(), "GET", "/")
        self.assertEqual((answer.text, answer.get("X-Request-ID")), ("trace-1", "trace-1"))


class JSONResponseTests(ServerTestCase):
    def test_it_reaches_the_wire(self) -> None:
        """A4."""

        class Encoder(json.JSONEncoder):
            def default(self, value: Any) -> Any:
                return sorted(value)

        data, headers = {"ü": 1}, {"X-A": "1"}
        ways: dict[str, Any] = {
            "plain": lambda: HTTPJSONResponse(data=data),
            "all": lambda: HTTPJSONResponse(data={2, 1}, status=201, headers=headers,
                                            json_encoder=Encoder),
            "type": lambda: HTTPJSONResponse(data, headers={"content-type": "text/x-json"}),
        }  # fmt: skip
        for name, make in ways.items():
            self.router.register(f"/{name}")(lambda request, make=make: make())
        client = self.connect(self.serve())
        answer = client.get("/plain")
        self.assertEqual((answer.status, answer.body), (200, '{"ü": 1}'.encode()))
        self.assertEqual(answer.json, data)
        answer = client.get("/all")
        self.assertEqual((answer.status, answer.json, answer.get("X-A")), (201, [1, 2], "1"))
        answer = client.get("/type")
        self.assertEqual(answer.get("Content-Type"), "text/x-json")
        self.assertEqual((data, headers), ({"ü": 1}, {"X-A": "1"}))

    def test_one_object_may_answer_many_requests_at_once(self) -> None:
        """A4."""
        shared = HTTPJSONResponse({"a": 1}, headers={"X-A": "1"})
        self.router.register("/")(lambda request: shared)
        server = self.serve()
        ids = set()
        clients = [self.connect(server) for _ in range(10)]
        for _ in range(5):
            for client in clients:
                client.send_request("GET", "/")
            for client in clients:
                answer = client.read_response()
                self.assertEqual((answer.json, answer.all("X-A")), ({"a": 1}, ["1"]))
                ids.add(answer.get("X-Request-ID"))
        self.assertEqual(len(ids), 50)


class ErrorTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()

        @self.router.register("/fail")
        def fail(request: Any) -> None:
            raise ValueError("a secret")

        @self.router.register("/fail/fast", blocking=False)
        def fail_fast(request: Any) -> None:
            raise ValueError("a secret")

        @self.router.register("/exit")
        def leave(request: Any) -> None:
            raise SystemExit(1)

        self.router.register("/ok")(lambda request: "ok")

    def test_an_exception_is_a_500_with_an_id_and_a_logged_traceback(self) -> None:
        """A5: and the connection lives on."""
        client = self.connect(self.serve())
        for target in ("/fail", "/fail/fast"):
            answer = client.get(target)
            self.assertEqual(answer.status, 500)
            self.assertEqual(answer.json["error"], "Internal Server Error")
            self.assertEqual(answer.json["request_id"], answer.get("X-Request-ID"))
            self.assertEqual(set(answer.json), {"error", "request_id"})
            raw = repr(answer.fields).encode() + answer.body
            for inside in (b"secret", b"Traceback", b"ValueError", b".py"):
                self.assertNotIn(inside, raw)
            line = self.logs.find(f"GET {target} failed", logging.ERROR)[0]
            self.assertIn("Traceback", line)
            self.assertIn("ValueError: a secret", line)
        ids = [getattr(r, "request_id", None) for r in self.logs.records if r.exc_info]
        self.assertEqual(len(set(ids) - {None}), 2)
        self.assertEqual(client.get("/ok").text, "ok")

    def test_debug_shows_the_traceback(self) -> None:
        """A5: as JSON, or as a page where the client wants one."""
        client = self.connect(self.serve(debug=True))
        answer = client.get("/fail")
        self.assertEqual((answer.status, answer.json["exception"]), (500, "ValueError: a secret"))
        self.assertIn("Traceback", "".join(answer.json["traceback"]))
        self.assertEqual(answer.json["request_id"], answer.get("X-Request-ID"))
        page = client.get("/fail", fields={"Accept": "text/html", "X-A": "<script>"})
        self.assertEqual((page.status, page.get("Content-Type")), (500, "text/html; charset=utf-8"))
        self.assertIn("ValueError", page.text)
        self.assertIn("a secret", page.text)
        self.assertNotIn("<script>", page.text)
        self.assertIn("&lt;script&gt;", page.text)

    def test_a_browser_gets_no_page_without_debug(self) -> None:
        """A5."""
        answer = fetch(self.serve(), "GET", "/fail", fields={"Accept": "text/html"})
        self.assertEqual(set(answer.json), {"error", "request_id"})

    def test_a_handler_that_exits_ends_its_request_only(self) -> None:
        """A5."""
        server = self.serve(worker_threads=1)
        client = self.connect(server)
        for _ in range(3):
            answer = client.get("/exit")
            self.assertEqual((answer.status, answer.json["error"]), (500, ERROR["error"]))
        self.assertEqual(client.get("/ok").text, "ok")

    def test_http_error_is_that_answer_wherever_it_is_raised(self) -> None:
        """A6: in a handler, in what it calls, in both halves of a middleware."""

        def deep(request: Any) -> None:
            raise HTTPError(418, "short and stout")

        class Teapot(Middleware):
            def process_request(self, request: Any) -> Any:
                if request.path == "/in":
                    raise HTTPError(429, "slowly", {"Retry-After": "7"})
                return None

            def process_response(self, request: Any, response: Any) -> Any:
                if request.path == "/out":
                    raise HTTPError(409, {"why": ["conflict"]})
                return response

        self.router.register("/handler")(lambda request: deep(request))
        self.router.register("/fast", blocking=False)(lambda request: deep(request))
        for path in ("/in", "/out"):
            self.router.register(path)(lambda request: "never seen")
        server = self.serve()
        server.add_middleware(Teapot())
        client = self.connect(server)
        for target in ("/handler", "/fast"):
            answer = client.get(target)
            self.assertEqual((answer.status, answer.json), (418, {"error": "short and stout"}))
        answer = client.get("/in")
        self.assertEqual((answer.status, answer.json), (429, {"error": "slowly"}))
        self.assertEqual(answer.get("Retry-After"), "7")
        answer = client.get("/out")
        self.assertEqual((answer.status, answer.json), (409, {"why": ["conflict"]}))
        self.assertEqual(self.logs.lines(logging.ERROR), [])
        self.assertEqual(client.get("/ok").text, "ok")
