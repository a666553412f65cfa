"""Requests over real sockets: what a handler is given (Q1 to Q8)."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

from pyliteflux import Middleware, g
from tests.support import Client, ServerTestCase, fetch, wait_for, wait_until

URLENCODED = "application/x-www-form-urlencoded"


def multipart(*parts: tuple[str, str | None, bytes], boundary: str = "XyZ") -> bytes:
    """Return a multipart body: (name, filename or None, content)."""
    pieces = []
    for name, filename, content in parts:
        file = "" if filename is None else f'; filename="{filename}"'
        pieces.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
            + content
            + b"\r\n"
        )
    return b"".join(pieces) + f"--{boundary}--\r\n".encode()


class ParameterTests(ServerTestCase):
    def test_query_params_go_into_a_returned_dict(self) -> None:
        """Q1: a real dict, so that json.dumps takes it; as the first README does it."""

        @self.router.register("/hello")
        def hello(request: Any) -> Any:
            assert isinstance(request.query_params, dict)
            assert json.loads(json.dumps(request.query_params)) == dict(request.query_params)
            return {
                "query_params": request.query_params,
                "all": request.query_params.getlist("a"),
                "none": request.query_params.getlist("nothing"),
                "get": request.query_params.get("nothing", "default"),
            }

        answer = fetch(self.serve(), "GET", "/hello?a=1&b=x+y&a=2&empty=&bare&%C3%BC=%E4%BD%A0&a=")
        self.assertEqual(
            answer.json,
            {
                "query_params": {"a": "1", "b": "x y", "empty": "", "bare": "", "ü": "你"},
                "all": ["1", "2", ""],
                "none": [],
                "get": "default",
            },
        )

    def test_form_data_is_a_dict_of_the_same_kind(self) -> None:
        """Q1, Q2: whatever parameters the Content-Type carries, in any letter case."""

        @self.router.register("/form", method="POST")
        def form(request: Any) -> Any:
            assert isinstance(request.form_data, dict)
            return {"form": request.form_data, "all": request.form_data.getlist("a")}

        client = self.connect(self.serve())
        body = b"a=1&a=2&blank=&b=x+y%26%C3%BC"
        for content_type in (
            URLENCODED, f"{URLENCODED}; charset=UTF-8", f"{URLENCODED};charset=utf-8;x=y",
            URLENCODED.upper(), f'{URLENCODED} ; a="b;c"',
        ):  # fmt: skip
            with self.subTest(content_type):
                fields = {"Content-Type": content_type}
                answer = client.request("POST", "/form", body, fields=fields)
                self.assertEqual(
                    answer.json,
                    {"form": {"a": "1", "blank": "", "b": "x y&ü"}, "all": ["1", "2"]},
                )
        for content_type in ("text/plain", "application/json", "multipart/mixed; boundary=XyZ"):
            fields = {"Content-Type": content_type}
            answer = client.request("POST", "/form", body, fields=fields)
            self.assertEqual(answer.json, {"form": {}, "all": []})
        self.assertEqual(client.request("POST", "/form", body).json["form"], {})

    def test_multipart_gives_fields_and_files(self) -> None:
        """Q2: a large upload is spooled to disk."""
        seen = {}

        @self.router.register("/upload", method="POST")
        def upload(request: Any) -> Any:
            seen.update(request.files)
            return {
                "form": request.form_data,
                "all": request.form_data.getlist("a"),
                "files": {
                    name: [file.filename, file.size, file.read(5).decode()]
                    for name, file in request.files.items()
                },
                "on disk": {name: file.on_disk for name, file in request.files.items()},
            }

        server = self.serve(upload_memory=1000)
        body = multipart(
            ("a", None, b"1"),
            ("small", "s.txt", b"small"),
            ("a", None, "zwei ü".encode()),
            ("large", "../../l.bin", b"large" * 1000),
            ("blank", None, b""),
        )
        for content_type in (
            "multipart/form-data; boundary=XyZ",
            'Multipart/Form-Data; charset=utf-8; boundary="XyZ"',
        ):
            answer = fetch(
                server, "POST", "/upload", body, fields={"Content-Type": content_type}
            )  # fmt: skip
            self.assertEqual(answer.json["form"], {"a": "1", "blank": ""})
            self.assertEqual(answer.json["all"], ["1", "zwei ü"])
            self.assertEqual(answer.json["files"]["small"], ["s.txt", 5, "small"])
            self.assertEqual(answer.json["files"]["large"][1:], [5000, "large"])
            self.assertEqual(answer.json["on disk"], {"small": False, "large": True})
            # Memory and disk are given back once the request is over.
            wait_until(lambda: all(file.file.closed for file in seen.values()), "files are closed")

    def test_a_broken_form_is_a_400(self) -> None:
        """Q2."""

        @self.router.register("/form", method="POST")
        def form(request: Any) -> Any:
            return request.form_data

        client = self.connect(self.serve())
        for content_type, body in (
            ("multipart/form-data; boundary=XyZ", b"--XyZ\r\nno end"),
            ("multipart/form-data", b"--XyZ--\r\n"),
        ):
            answer = client.request("POST", "/form", body, fields={"Content-Type": content_type})
            self.assertEqual(answer.status, 400)


class JSONTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()

        @self.router.register("/json", method="POST")
        def read(request: Any) -> Any:
            return {"value": request.json_data}

        @self.router.register("/unread", method="POST")
        def unread(request: Any) -> Any:
            return "never looked"

        @self.router.register("/twice", method="POST")
        def twice(request: Any) -> Any:
            for _ in range(2):
                try:
                    return request.json_data
                except Exception as error:
                    last = error
            raise last

    def test_any_json_value_is_read(self) -> None:
        """Q3."""
        client = self.connect(self.serve())
        for value in (
            {"a": [1, None, True]},
            [],
            "text",
            5,
            1.5,
            True,
            False,
            None,
            "你好",
            10**40,
        ):
            self.assertEqual(client.post_json("/json", value).json, {"value": value})

    def test_the_type_decides(self) -> None:
        """Q3: None where it is not JSON, though the body would be."""
        client = self.connect(self.serve())
        for content_type, value in (
            ("application/json", {"a": 1}), ("application/json; charset=utf-8", {"a": 1}),
            ("APPLICATION/JSON", {"a": 1}), ("application/problem+json", {"a": 1}),
            ("text/plain", None), ("application/jsonp", None), ("text/json-like", None),
            (URLENCODED, None), ("", None),
        ):  # fmt: skip
            answer = client.request(
                "POST", "/json", b'{"a": 1}', fields={"Content-Type": content_type}
            )
            self.assertEqual(answer.json, {"value": value}, content_type)
        self.assertEqual(client.request("POST", "/json", b'{"a": 1}').json, {"value": None})

    def test_broken_json_is_a_400_when_it_is_read(self) -> None:
        """Q3: and only then; the connection lives on."""
        client = self.connect(self.serve())
        fields = {"Content-Type": "application/json"}
        for body in (b"{", b"{'a': 1}", b"\xff", b"NaN", b"[1,]", b"{} {}", b"[" * 100_000,
                     b'"\xed\xa0\x80"'):  # fmt: skip
            with self.subTest(body[:20]):
                answer = client.request("POST", "/json", body, fields=fields)
                self.assertEqual(answer.status, 400)
                self.assertIn("not valid JSON", answer.json["error"])
                answer = client.request("POST", "/twice", body, fields=fields)
                self.assertEqual(answer.status, 400)
                answer = client.request("POST", "/unread", body, fields=fields)
                self.assertEqual(answer.text, "never looked")
        self.assertEqual(self.logs.lines(40), [])


class FieldTests(ServerTestCase):
    def test_headers_are_found_in_any_letter_case_and_joined(self) -> None:
        """Q4."""

        @self.router.register("/")
        def headers(request: Any) -> Any:
            assert isinstance(request.headers, Mapping)
            return {
                "same": [request.headers[name] for name in ("x-list", "X-List", "X-LIST")],
                "get": [request.headers.get("X-NOTHING"), request.headers.get("x-no", "default")],
                "in": ["x-LIST" in request.headers, "nothing" in request.headers],
                "list": request.headers.getlist("X-lisT"),
                "none": request.headers.getlist("nothing"),
                "cookie": request.headers["Cookie"],
            }

        client = self.connect(self.serve())
        client.send(
            b"GET / HTTP/1.1\r\nhost: test\r\nx-list: a, b\r\nX-Other: 1\r\nX-LIST:  c \t\r\n"
            b"X-List:\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n"
        )
        self.assertEqual(
            client.read_response().json,
            {
                "same": ["a, b, c, "] * 3,
                "get": [None, "default"],
                "in": [True, False],
                "list": ["a, b", "c", ""],
                "none": [],
                "cookie": "a=1; b=2",
            },
        )

    def test_the_names_of_a_request(self) -> None:
        """Q5: HTTP."""

        @self.router.register("/user/{id}", method="POST")
        def names(request: Any) -> Any:
            assert isinstance(request.body, bytes)
            assert request.g_is_mine
            return {
                "method": request.method,
                "path": request.path,
                "path_params": request.path_params,
                "query_params": request.query_params,
                "header": request.headers["x-a"],
                "cookies": request.cookies,
                "body": list(request.body),
                "text": request.text,
                "client_address": list(request.client_address),
                "client_id": request.client_id,
                "request_id": request.request_id,
                "same id": request.request_id == g.request_id,
            }

        class Marking(Middleware):
            def process_request(self, request: Any) -> None:
                request.g_is_mine = True  # Q6

        server = self.serve()
        server.add_middleware(Marking())
        client = self.connect(server)
        answer = client.request(
            "POST", "/user/%C3%BC?q=1", "é".encode(),
            fields={"X-A": "b", "Cookie": "c=1; d=2"},
        )  # fmt: skip
        host, port = client.sock.getsockname()
        self.assertEqual(
            answer.json,
            {
                "method": "POST",
                "path": "/user/ü",
                "path_params": {"id": "ü"},
                "query_params": {"q": "1"},
                "header": "b",
                "cookies": {"c": "1", "d": "2"},
                "body": [0xC3, 0xA9],
                "text": "é",
                "client_address": [host, port],
                "client_id": f"{host}:{port}",
                "request_id": answer.get("X-Request-ID"),
                "same id": True,
            },
        )

    def test_text_follows_the_charset(self) -> None:
        """Q5: and never raises."""
        self.router.register("/", method="POST")(lambda request: request.text)
        client = self.connect(self.serve())
        for content_type, body, text in (
            ("text/plain", "ü".encode(), "ü"), ("text/plain; charset=latin-1", b"\xfc", "ü"),
            ("text/plain; charset=nonsense", "ü".encode(), "ü"), ("text/plain", b"\xfc", "\ufffd"),
            ("text/plain; charset=utf-16", "ü".encode("utf-16"), "ü"),
            ("text/plain; charset=rot13", b"abc", "abc"),
            ("text/plain; charset=idna", b"xn--a\xff", None),
            ('text/plain; charset="a\\0b"', b"abc", "abc"),
        ):  # fmt: skip
            with self.subTest(content_type):
                answer = client.request("POST", "/", body, fields={"Content-Type": content_type})
                self.assertEqual(answer.status, 200)
                if text is not None:
                    self.assertEqual(answer.text, text)

    def test_a_tcp_request_has_the_same_names(self) -> None:
        """Q5: those that it lacks are empty; so one handler can serve both."""

        @self.router.register("names", protocol="tcp")
        def names(request: Any) -> Any:
            request.anything = "set"  # Q6
            assert request.files == {} and request.files.getlist("a") == []
            return {
                "method": request.method,
                "path": request.path,
                "command": request.command,
                "empty": [request.path_params, request.query_params, request.form_data,
                          request.files, request.cookies],
                "lists": [request.query_params.getlist("a"), request.form_data.getlist("a")],
                "headers": [request.headers.get("X-a"), len(request.headers)],
                "data": request.data,
                "data_type": request.data_type,
                "raw": request.raw.decode(),
                "body": request.body.decode(),
                "text": request.text,
                "client_id": request.client_id,
                "client_address": list(request.client_address),
                "id": request.request_id == g.request_id,
                "gone": request.gone,
                "anything": request.anything,
            }  # fmt: skip

        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        host, port = client.sock.getsockname()
        message = '{"command": "names", "data": {"a": [1]}, "headers": {"X-A": "b"}}'
        expected = {
            "method": "TCP", "path": "names", "command": "names", "empty": [{}] * 5,
            "lists": [[], []], "headers": ["b", 1], "data": {"a": [1]}, "data_type": "json",
            "raw": message, "body": message, "text": message, "client_id": f"{host}:{port}",
            "client_address": [host, port], "id": True, "gone": False, "anything": "set",
        }  # fmt: skip
        client.send(message + "\n")
        self.assertEqual(json.loads(client.read_line()), expected)
        line = "names the rest  of it"
        client.send(line + "\n")
        expected.update(
            headers=[None, 0],
            data="the rest  of it",
            data_type="raw",
            raw=line,
            body=line,
            text=line,
        )
        self.assertEqual(json.loads(client.read_line()), expected)
        client.send('<request command="names"><a>1</a></request>')
        answer = client.read_line()
        self.assertIn("<data_type>xml</data_type>", answer)
        self.assertIn("<data><a>1</a></data>", answer)

    def test_one_handler_serves_both(self) -> None:
        """Q5, R2."""

        @self.router.register("/who", protocol="both", method="GET")
        def who(request: Any) -> Any:
            name = request.query_params.get("name") or (request.json_data or {}).get("name")
            return {"name": name, "client": request.client_id, "files": len(request.files)}

        server = self.serve()
        with Client(server.http_address) as http, Client(server.tcp_address) as tcp:
            self.assertEqual(
                http.get("/who?name=anna").json,
                {"name": "anna", "client": http.client_id, "files": 0},
            )
            tcp.send('{"command": "who", "data": {"name": "anna"}}\n')
            self.assertEqual(
                json.loads(tcp.read_line()),
                {"name": "anna", "client": tcp.client_id, "files": 0},
            )


class BackgroundTests(ServerTestCase):
    def test_bg_add_returns_a_handle(self) -> None:
        """Q7: .state, .result(timeout), .cancel()."""
        release = threading.Event()
        handles: dict[str, Any] = {}

        def work(a: int, *, b: int) -> int:
            wait_for(release, "the test has looked")
            return a + b

        def fail() -> None:
            raise ValueError("in the task")

        @self.router.register("/")
        def add(request: Any) -> Any:
            handles["work"] = request.bg.add(work, 1, b=2)
            handles["fail"] = request.bg.add(fail)
            handles["cancelled"] = request.bg.add(work, 1, b=2)
            return {
                "states": [handle.state for handle in handles.values()],
                "cancel": [handles["cancelled"].cancel(), handles["cancelled"].cancel()],
            }

        server = self.serve()
        answer = fetch(server, "GET", "/").json
        self.assertEqual(answer, {"states": ["waiting"] * 3, "cancel": [True, False]})
        with self.assertRaises(TimeoutError):
            handles["work"].result(timeout=0.01)
        wait_until(lambda: handles["work"].state == "running", "the task runs")
        self.assertFalse(handles["work"].cancel())
        release.set()
        self.assertEqual(handles["work"].result(timeout=10), 3)
        self.assertEqual(handles["work"].state, "done")
        with self.assertRaisesRegex(ValueError, "in the task"):
            handles["fail"].result(timeout=10)
        self.assertEqual(handles["fail"].state, "failed")
        with self.assertRaisesRegex(RuntimeError, "cancelled"):
            handles["cancelled"].result(timeout=10)
        self.assertEqual(handles["cancelled"].state, "cancelled")


class GoneTests(ServerTestCase):
    def check(self, leave: str, tcp: bool) -> None:
        entered, told = threading.Event(), threading.Event()
        before: list[bool] = []

        def long(request: Any) -> str:
            before.append(request.gone)
            entered.set()
            wait_until(lambda: request.gone, "request.gone tells it")
            told.set()
            return "nobody reads this"

        self.router.register("/long")(long)
        self.router.register("long", protocol="tcp")(long)
        server = self.serve()
        client = self.connect_tcp(server) if tcp else self.connect(server)
        if tcp:
            client.send("long\n")
        else:
            client.send_request("GET", "/long")
        wait_for(entered, "the handler runs")
        getattr(client, leave)()
        wait_for(told, "the handler knows that its client has left")
        self.assertEqual(before, [False])
        self.assertEqual(fetch(server, "GET", "/nothing").status, 404)

    def test_gone_tells_a_handler_that_its_client_has_left(self) -> None:
        """Q8: in good order, or with a reset; on either protocol."""
        for tcp in (False, True):
            for leave in ("close", "reset"):
                with self.subTest(leave, tcp=tcp):
                    self.setUp()
                    self.check(leave, tcp)

    def test_gone_is_seen_behind_a_body_and_pipelined_requests(self) -> None:
        """Q8: what lies unread before the end must not hide it."""
        entered, told = threading.Event(), threading.Event()

        @self.router.register("/long", method="POST")
        def long(request: Any) -> str:
            entered.set()
            wait_until(lambda: request.gone, "request.gone tells it")
            told.set()
            return ""

        server = self.serve()
        client = self.connect(server)
        client.send_request("POST", "/long", b"x" * 1000)
        client.send_request("GET", "/next")
        wait_for(entered, "the handler runs")
        client.close()
        wait_for(told, "the handler knows that its client has left")

    def test_a_stream_sees_it_too(self) -> None:
        """Q8."""
        told = threading.Event()

        @self.router.register("/stream")
        def stream(request: Any) -> Any:
            yield "first"
            wait_until(lambda: request.gone, "request.gone tells it")
            told.set()

        client = self.connect(self.serve())
        client.send_request("GET", "/stream")
        client.read_head()
        self.assertEqual(client.read_chunk(), b"first")
        client.close()
        wait_for(told, "the generator knows that its client has left")
