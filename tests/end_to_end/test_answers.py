"""The way of a handler's value through the middlewares to the wire: what meets on it.

Each class is a place where two mechanisms meet: a tuple and a response object, a generator
and the head, an error and the middlewares that had their turn already.

Chapter: docs/middleware.md.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from pyliteflux import (
    CORSMiddleware,
    EventStream,
    FileResponse,
    GzipMiddleware,
    HTTPError,
    HTTPJSONResponse,
    HTTPResponse,
    Middleware,
    RedirectResponse,
    Server,
    StreamResponse,
    TimingMiddleware,
)
from pyliteflux.headers import MutableHeaders
from tests.support import CutShort, Response, ServerTestCase, wait_for, wait_until

ORIGIN = "https://app.example"
ASKS = {"Origin": ORIGIN, "Accept-Encoding": "gzip"}
TEXT = "all work and no play " * 100


class Notes(Middleware):
    """Notes the status that each method saw; `finished` is set by the last one."""

    def __init__(self) -> None:
        self.responses: list[Any] = []
        self.ends: list[Any] = []
        self.finished = threading.Event()

    def process_response(self, request: Any, response: Any) -> Any:
        self.responses.append(request.response_status)
        return response

    def on_finish(self, request: Any) -> None:
        self.ends.append(request.response_status)
        self.finished.set()


class Changes(Middleware):
    """Passes the response through a function of the test's."""

    def __init__(self, change: Callable[[Any, Any], Any]) -> None:
        self.change = change

    def process_response(self, request: Any, response: Any) -> Any:
        return self.change(request, response)


class AnswersTestCase(ServerTestCase):
    """A server with a file to send, and the middlewares of a usual site."""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "a.txt")
        self.path.write_text(TEXT)

    def site(self, **settings: Any) -> Server:
        """Return a server behind Gzip, Timing and CORS, in the documented order."""
        server = self.serve(**settings)
        server.add_middleware(GzipMiddleware())
        server.add_middleware(TimingMiddleware())
        server.add_middleware(CORSMiddleware([ORIGIN]))
        return server

    def answer(self, server: Server, target: str, method: str = "GET") -> Response:
        return self.connect(server).request(method, target, fields=ASKS)


class TestATupleAroundAResponseObject(AnswersTestCase):
    """Entry by entry of what a tuple says, with each kind of object: nothing is lost."""

    def objects(self) -> dict[str, Callable[[], HTTPResponse]]:
        return {
            "text": lambda: HTTPResponse(TEXT),
            "json": lambda: HTTPJSONResponse([TEXT]),
            "stream": lambda: StreamResponse(iter([TEXT])),
            "file": lambda: FileResponse(self.path),
        }

    def test_vary_lost_by_tuple(self) -> None:
        """M5: what middlewares add to Vary stays beside the tuple's, for every kind of object."""
        forms: list[Any] = [
            {"Vary": "Cookie"},
            [("Vary", "Cookie")],
            MutableHeaders({"Vary": "Cookie"}),
        ]
        objects = self.objects()

        @self.router.get("/{kind}/{form:int}")
        def handler(request: Any) -> Any:
            kind, form = request.path_params["kind"], request.path_params["form"]
            return objects[kind](), 200, forms[form]

        server = self.site()
        for kind in objects:
            for form in range(len(forms)):
                response = self.answer(server, f"/{kind}/{form}")
                names = ", ".join(response.all("Vary"))
                expected = ["Cookie", "Origin", *([] if kind == "file" else ["Accept-Encoding"])]
                self.assertEqual(names.split(", "), expected, (kind, form))
                self.assertEqual(response.get("Access-Control-Allow-Origin"), ORIGIN)
                self.assertIsNotNone(response.get("Server-Timing"))

    def test_gzip_twice_by_tuple(self) -> None:
        """What says that it is compressed is not compressed again."""
        packed = gzip.compress(TEXT.encode())

        @self.router.get("/{kind}")
        def handler(request: Any) -> Any:
            kind = request.path_params["kind"]
            body = HTTPResponse(packed) if kind == "object" else packed
            body = StreamResponse(iter([packed])) if kind == "stream" else body
            return body, 200, {"Content-Encoding": "gzip"}

        server = self.site()
        for kind in ("plain", "object", "stream"):
            response = self.answer(server, f"/{kind}")
            self.assertEqual(response.get("Content-Encoding"), "gzip")
            self.assertEqual(gzip.decompress(response.body).decode(), TEXT, kind)

    def test_two_content_dispositions(self) -> None:
        """A list of pairs replaces as a dict does; what comes twice in it is there twice."""

        @self.router.get("/")
        def handler(request: Any) -> Any:
            pairs = [("Content-Disposition", "inline"), ("X-A", "1"), ("x-a", "2")]
            return FileResponse(self.path, filename="a.bin"), 200, pairs

        response = self.answer(self.serve(), "/")
        self.assertEqual(response.get("Content-Disposition"), "inline")
        self.assertEqual(response.all("X-A"), ["1", "2"])

    def test_middlewares_see_one_set_of_fields(self) -> None:
        """M5: status and headers of the tuple wait in the request, and the object has them too."""
        seen: list[Any] = []

        def look(request: Any, response: Any) -> Any:
            fields = request.response_headers
            seen.append((response.status, request.response_status, fields.get("X-A")))
            fields["X-B"] = "2"
            request.response_headers = {**fields, "X-C": "3"}
            return response

        for place, given in enumerate(({"X-A": "1"}, [("X-A", "1")], MutableHeaders({"X-A": "1"}))):
            self.router.get(f"/{place}")(lambda request, g=given: (HTTPResponse("x"), 202, g))
            server = self.serve()
            server.add_middleware(Changes(look))
            response = self.answer(server, f"/{place}")
            self.assertEqual(seen.pop(), (202, 202, "1"))
            self.assertEqual(response.status, 202)
            self.assertEqual([response.get(f"X-{name}") for name in "ABC"], ["1", "2", "3"])
            self.assertEqual(len(given), 1)  # The handler's own, perhaps of all requests.

    def test_a_plain_value_in_the_place_of_an_object_keeps_its_status_and_fields(self) -> None:
        """M5: only a tuple or a response object replaces all."""
        self.router.get("/")(lambda request: HTTPJSONResponse({"a": 1}, 201, {"X-A": "1"}))
        server = self.serve()
        server.add_middleware(Changes(lambda request, response: {"data": response.data}))
        response = self.answer(server, "/")
        self.assertEqual((response.status, response.get("X-A")), (201, "1"))
        self.assertEqual(response.json, {"data": {"a": 1}})

    def test_over_tcp_the_status_of_the_tuple_counts(self) -> None:
        """T5."""

        @self.router.register("ask", protocol="tcp")
        def handler(request: Any) -> Any:
            return HTTPJSONResponse({"a": 1}), 404

        client = self.connect_tcp(self.serve())
        client.send('{"command": "ask"}\n')
        self.assertEqual(json.loads(client.read_line()), {"a": 1, "status": 404})


class TestTheStatus(AnswersTestCase):
    """`request.response_status` is what is sent."""

    def values(self) -> dict[str, tuple[Any, int | None, int]]:
        """Return by name: what a handler returns, and the statuses of both methods."""
        return {
            "redirect": (lambda: RedirectResponse("/"), 302, 302),
            "none": (lambda: None, 204, 204),
            "none-with-fields": (lambda: (None, {"X-A": "1"}), 204, 204),
            "object": (lambda: HTTPJSONResponse({}, status=201), 201, 201),
            "enum": (lambda: ({}, HTTPStatus.CREATED), 201, 201),
            "tuple": (lambda: ({}, 202), 202, 202),
            "around": (lambda: (HTTPJSONResponse({}, status=201), 202), 202, 202),
            "error": (lambda: raise_it(HTTPError(404)), 404, 404),
            "file": (lambda: FileResponse(self.path), 200, 200),
            "stream": (lambda: StreamResponse(iter("a"), status=203), 203, 203),
        }

    def test_status_in_on_finish(self) -> None:
        """M6: and in process_response, where it can be known there."""
        values = self.values()
        self.router.get("/{name}")(lambda request: values[request.path_params["name"]][0]())
        for name, (_, in_response, at_end) in values.items():
            server, notes = self.serve(), Notes()
            server.add_middleware(notes)
            self.assertEqual(self.answer(server, f"/{name}").status, at_end)
            wait_for(notes.finished, f"on_finish of {name}")
            self.assertEqual((notes.responses, notes.ends), ([in_response], [at_end]), name)
            self.assertEqual(str(notes.ends[0]), str(at_end))

    def test_what_the_request_makes_of_a_file_is_known_at_the_end(self) -> None:
        """A 206, 304, 412 or 416 is decided after the middlewares: on_finish knows it."""
        self.router.get("/")(lambda request: FileResponse(self.path))
        for fields, status in (
            ({"Range": "bytes=0-1"}, 206),
            ({"If-None-Match": "*"}, 304),
            ({"If-Match": '"x"'}, 412),
            ({"Range": "bytes=999999-"}, 416),
        ):
            server, notes = self.serve(), Notes()
            server.add_middleware(notes)
            self.assertEqual(self.connect(server).get("/", fields=fields).status, status)
            wait_for(notes.finished, "on_finish")
            self.assertEqual((notes.responses, notes.ends), ([200], [status]))

    def test_middlewares_may_write_it_in_either_place(self) -> None:
        """M5: on the object or on the request: the next one sees it, and it is sent."""

        def on_the_object(request: Any, response: Any) -> Any:
            response.status = 203
            return response

        def on_the_request(request: Any, response: Any) -> Any:
            request.response_status = 203
            return response

        self.router.get("/")(lambda request: HTTPResponse("x", 201))
        for change in (on_the_object, on_the_request):
            server, notes = self.serve(), Notes()
            server.add_middleware(notes)
            server.add_middleware(Changes(change))
            self.assertEqual(self.answer(server, "/").status, 203)
            self.assertEqual(notes.responses, [203], change.__name__)

    def test_a_body_for_none_is_not_a_204(self) -> None:
        """M5: the 204 was for want of a body."""
        self.router.get("/")(lambda request: None)
        server = self.serve()
        server.add_middleware(Changes(lambda request, response: {"data": response}))
        response = self.answer(server, "/")
        self.assertEqual((response.status, response.json), (200, {"data": None}))

    def test_of_a_handler_that_took_too_long_it_is_the_504_that_was_sent(self) -> None:
        """M6."""
        may_return = threading.Event()

        @self.router.get("/")
        def handler(request: Any) -> Any:
            wait_for(may_return, "the end of the handler")
            return "late"

        server, notes = self.serve(handler_timeout=0.1), Notes()
        server.add_middleware(notes)
        self.assertEqual(self.answer(server, "/").status, 504)
        may_return.set()
        wait_for(notes.finished, "on_finish")
        self.assertEqual(notes.ends, [504])


def raise_it(error: BaseException) -> Any:
    raise error


class TestAnErrorBehindTheMiddlewares(AnswersTestCase):
    """What turns out not to be sendable after their turn is answered by way of them (M4)."""

    def test_cors_on_unwritable_value(self) -> None:
        """A5, M4: the 500 has the fields that let a browser's script read it, and its id."""

        def broken(request: Any) -> Iterator[str]:
            yield raise_it(RuntimeError("broken"))

        values: dict[str, Callable[[Any], Any]] = {
            "object": lambda request: {"when": object()},
            "set": lambda request: {1, 2},
            "status": lambda request: ({}, 700),
            "status of an object": lambda request: HTTPResponse("x", 700),
            "field": lambda request: ({}, {"X-Bad": "a\nb"}),
            "field of an object": lambda request: HTTPResponse("x", headers={"X-Bad": "a\nb"}),
            "field name": lambda request: ({}, {"X Bad": "a"}),
            "type": lambda request: HTTPResponse("x", content_type="text/a\r\nb: c"),
            "length": lambda request: HTTPResponse(b"", headers={"Content-Length": "x"}),
            "body": lambda request: HTTPResponse(5),  # type: ignore[arg-type]
            "generator": broken,
        }
        for place, handler in enumerate(values.values()):
            self.router.get(f"/{place}")(handler)
            self.router.get(f"/{place}/here", blocking=False)(handler)
        server, notes = self.site(), Notes()
        server.add_middleware(notes)
        for place, name in enumerate(values):
            for target in (f"/{place}", f"/{place}/here"):
                with self.subTest(name, target=target):
                    notes.ends.clear()
                    notes.finished.clear()
                    response = self.answer(server, target)
                    self.assertEqual(response.status, 500)
                    self.assertEqual(response.get("Access-Control-Allow-Origin"), ORIGIN)
                    self.assertEqual(response.get("Vary"), "Origin, Accept-Encoding")
                    self.assertEqual(
                        response.json,
                        {
                            "error": "Internal Server Error",
                            "request_id": response.get("X-Request-ID"),
                        },
                    )
                    wait_for(notes.finished, "on_finish")
                    self.assertEqual(notes.ends, [500])
        self.assertEqual(notes.responses[-1], 500)

    def test_an_error_handler_is_asked_and_may_fail_too(self) -> None:
        """A5: whatever it returns or does, there is an answer, with the middlewares' fields."""
        self.router.get("/")(lambda request: {"x": object()})
        made: dict[str, Callable[[Any, Any], Any]] = {
            "value": lambda request, error: ({"sorry": type(error).__name__}, 503),
            "raises": lambda request, error: 1 / 0,
            "unwritable": lambda request, error: {"x": object()},
            "generator": lambda request, error: (raise_it(error) for _ in "a"),
        }
        for name, handler in made.items():
            server = self.site()
            server.error(500)(handler)
            response = self.answer(server, "/")
            if name == "value":
                self.assertEqual((response.status, response.json), (503, {"sorry": "TypeError"}))
            else:
                self.assertEqual((response.status, len(response.json)), (500, 2), name)
            self.assertEqual(response.get("Access-Control-Allow-Origin"), ORIGIN, name)

    def test_a_middleware_that_fails_takes_nothing_from_those_before_it(self) -> None:
        """M4: on the way out CORS comes first here; the 500 of the other one passes it again."""
        self.router.get("/")(lambda request: {})
        server, notes = self.serve(), Notes()
        server.add_middleware(Changes(lambda request, response: 1 / 0))
        server.add_middleware(CORSMiddleware([ORIGIN]))
        server.add_middleware(notes)
        response = self.answer(server, "/")
        self.assertEqual(response.status, 500)
        self.assertEqual(response.get("Access-Control-Allow-Origin"), ORIGIN)
        self.assertEqual(notes.responses, [200, 500])

    def test_a_middleware_that_spoils_every_answer_is_left_out_at_last(self) -> None:
        """A5."""
        self.router.get("/")(lambda request: {})
        self.router.register("ask", protocol="tcp")(lambda request: {})
        server = self.serve()
        server.add_middleware(Changes(lambda request, response: {"x": object()}))
        response = self.answer(server, "/")
        self.assertEqual(response.status, 500)
        self.assertEqual(response.json["error"], "Internal Server Error")
        client = self.connect_tcp(server)
        client.send('{"command": "ask"}\n')
        self.assertEqual(json.loads(client.read_line())["code"], "internal")

    def test_over_tcp_they_see_it_too(self) -> None:
        """M4: a value that JSON cannot write is found out last of all."""
        self.router.register("ask", protocol="tcp")(lambda request: {"x": object()})
        server, notes = self.serve(), Notes()
        server.add_middleware(Changes(lambda request, response: {**response, "seen": True}))
        server.add_middleware(notes)
        client = self.connect_tcp(server)
        client.send('{"command": "ask", "id": 1}\n')
        answer = json.loads(client.read_line())
        self.assertEqual((answer["code"], answer["seen"], answer["id"]), ("internal", True, 1))
        self.assertEqual(notes.responses, [200, 500])

    def test_what_is_not_sent_is_closed(self) -> None:
        """A generator in an answer with a bad field has its `finally` run."""
        closed = threading.Event()

        def pieces() -> Iterator[str]:
            try:
                yield "a"
            finally:
                closed.set()

        begun = pieces()
        next(begun)
        self.router.get("/")(lambda request: (begun, {"X-Bad": "a\nb"}))
        self.assertEqual(self.answer(self.serve(), "/").status, 500)
        wait_for(closed, "the end of the generator")


class TestARefusalOfAKnownRequest(AnswersTestCase):
    """A request whose head was whole is refused by way of the middlewares (M4), as a 404 is."""

    CHUNKED = {"Transfer-Encoding": "chunked", **ASKS}

    def setUp(self) -> None:
        super().setUp()
        self.called: list[str] = []

        @self.router.register("/up", "POST", max_body=1000)
        def handler(request: Any) -> Any:
            self.called.append(request.path)

    def refused(self, server: Server, data: bytes, fields: dict[str, str]) -> Response:
        """Send a request and perhaps more than is taken; return the answer, the last one."""
        client = self.connect(server)
        client.send_request("POST", "/up", fields=fields)
        with contextlib.suppress(ConnectionError):
            client.send(data)
        response = client.read_response()
        self.assertEqual(response.get("Connection"), "close")
        client.expect_end()
        return response

    def test_it_has_their_fields(self) -> None:
        """A 413 by its length or by its chunks, a 400 in the body: a browser shows which it is."""
        server, notes = self.site(), Notes()
        server.add_middleware(notes)
        length = {"Content-Length": "5000000", **ASKS}
        for data, fields, status in (
            (b"", length, 413),
            (bytes(5_000_000), length, 413),  # The client still sends when it is answered.
            (b"800\r\n" + bytes(0x800), self.CHUNKED, 413),
            (b"zz\r\n", self.CHUNKED, 400),
        ):
            notes.finished.clear()
            response = self.refused(server, data, fields)
            self.assertEqual(response.status, status)
            self.assertEqual(response.get("Access-Control-Allow-Origin"), ORIGIN)
            self.assertIn("error", response.json)
            self.assertIsNotNone(response.get("X-Request-ID"))
            wait_for(notes.finished, "on_finish")
            self.assertEqual((notes.responses.pop(), notes.ends.pop()), (status, status))
        self.assertEqual(self.called, [])

    def test_a_body_that_is_late_is_refused_so_too(self) -> None:
        """408."""
        response = self.refused(
            self.site(body_timeout=0.1), b"abc", {"Content-Length": "10", **ASKS}
        )
        self.assertEqual(response.status, 408)
        self.assertEqual(response.get("Access-Control-Allow-Origin"), ORIGIN)

    def test_an_error_handler_may_put_it_into_other_words(self) -> None:
        """A6."""
        server = self.site()
        server.error(413)(lambda request, error: {"zu viel": request.path})
        response = self.refused(server, b"", {"Content-Length": "5000000", **ASKS})
        self.assertEqual((response.status, response.json), (413, {"zu viel": "/up"}))

    def test_where_no_worker_is_free_it_is_the_same_without_them(self) -> None:
        """X2: the reactor runs nothing of the user's, and the client is not told to try again."""
        has_begun, may_return = threading.Event(), threading.Event()

        @self.router.get("/wait")
        def wait(request: Any) -> None:
            has_begun.set()
            wait_for(may_return, "the end of the handlers")

        server = self.site(worker_threads=1, worker_queue_limit=1)
        waiting = []
        for _ in range(2):
            client = self.connect(server)
            client.send_request("GET", "/wait")
            waiting.append(client)
            wait_for(has_begun, "the first handler")
        wait_until(lambda: self.answer(server, "/nowhere").status == 503, "the queue to be full")
        response = self.refused(server, b"", {"Content-Length": "5000000", **ASKS})
        may_return.set()
        self.assertEqual(response.status, 413)
        self.assertIsNone(response.get("Access-Control-Allow-Origin"))
        for client in waiting:
            client.read_response()


class TestAGeneratorsFirstStep(AnswersTestCase):
    """A6: what a generator handler raises before its first piece is an answer."""

    def routes(self, handler: Callable[[Any], Any]) -> None:
        self.router.register("/wait", ("GET", "POST"))(handler)
        self.router.register("/here", ("GET", "POST"), blocking=False)(handler)

    def test_an_error_before_the_first_piece_is_an_answer(self) -> None:
        """A6, A5: with its status, its fields, and those of the middlewares; GET and HEAD."""

        def handler(request: Any) -> Iterator[str]:
            kind = request.query_params["kind"]
            if kind == "404":
                raise HTTPError(404, "no such thing", {"X-A": "1"})
            if kind == "500":
                raise ZeroDivisionError
            if kind == "exit":
                raise SystemExit(3)
            yield ""  # Nothing yet: empty pieces are never sent.
            yield 5 if kind == "type" else raise_it(HTTPError(409))  # type: ignore[misc]

        self.routes(handler)
        self.router.get("/tuple")(lambda request: (handler(request), 201, {"X-B": "2"}))
        server = self.site()
        for target in ("/wait", "/here", "/tuple"):
            for kind, status in (
                ("404", 404), ("500", 500), ("exit", 500), ("type", 500), ("late", 409),
            ):  # fmt: skip
                for method in ("GET", "HEAD"):
                    with self.subTest(target=target, kind=kind, method=method):
                        response = self.answer(server, f"{target}?kind={kind}", method)
                        self.assertEqual(response.status, status)
                        self.assertEqual(response.get("Access-Control-Allow-Origin"), ORIGIN)
                        self.assertEqual(response.get("X-A"), "1" if kind == "404" else None)
                        self.assertIsNone(response.get("X-B"))
                        if method == "GET":
                            self.assertIn("error", response.json)

    def test_an_error_after_the_first_piece_cuts_the_body(self) -> None:
        """A2: the head has left; the body must not look whole."""

        def handler(request: Any) -> Iterator[str]:
            yield "a"
            raise HTTPError(404)

        self.routes(handler)
        server = self.serve()
        for target in ("/wait", "/here"):
            client = self.connect(server)
            client.send_request("GET", target)
            self.assertEqual(client.read_head().status, 200)
            self.assertEqual(client.read_chunk(), b"a")
            with self.assertRaises(CutShort):
                client.read_chunk()

    def test_all_pieces_come_once_and_in_order(self) -> None:
        """A2: also of an empty one, of one in gzip, and of one that reads the body."""

        def handler(request: Any) -> Iterator[str]:
            for number in range(int(request.body or b"0")):
                yield f"{number} "

        self.routes(handler)
        server = self.site()
        for target in ("/wait", "/here"):
            for count in (0, 1, 3):
                body = str(count).encode()
                response = self.connect(server).request("POST", target, body)
                self.assertEqual(response.status, 200)
                self.assertEqual(response.text, "".join(f"{n} " for n in range(count)))
            response = self.connect(server).request("POST", target, b"3", fields=ASKS)
            self.assertEqual(gzip.decompress(response.body), b"0 1 2 ")

    def test_to_head_it_runs_to_the_first_piece_and_is_closed(self) -> None:
        """RFC 9110 section 9.3.2: the status and fields of a GET."""
        steps: list[str] = []
        closed = threading.Event()

        def handler(request: Any) -> Iterator[str]:
            try:
                steps.append("first")
                yield "a"
                steps.append("second")
            finally:
                closed.set()

        self.routes(handler)
        server = self.serve()
        for target in ("/wait", "/here"):
            steps.clear()
            closed.clear()
            self.assertEqual(self.connect(server).request("HEAD", target).status, 200)
            wait_for(closed, "the end of the generator")
            self.assertEqual(steps, ["first"])

    def test_the_first_step_never_runs_on_the_reactor(self) -> None:
        """R8: the handler promised not to block; its generator did not."""
        threads: list[str] = []

        def handler(request: Any) -> Iterator[str]:
            threads.append(threading.current_thread().name)
            yield "a"

        self.routes(handler)
        server = self.serve()
        loop: list[str] = []
        self.router.get("/loop", blocking=False)(
            lambda request: loop.append(threading.current_thread().name)
        )
        self.connect(server).get("/loop")
        for target in ("/wait", "/here"):
            self.assertEqual(self.connect(server).get(target).body, b"a")
        self.assertEqual(len(threads), 2)
        self.assertFalse(set(threads) & set(loop))

    def test_who_makes_the_stream_has_its_head_sent_at_once(self) -> None:
        """A2: a StreamResponse or an EventStream that has nothing to say yet."""
        may_go_on = threading.Event()

        def slow() -> Iterator[str]:
            wait_for(may_go_on, "the test's word")
            yield "a"

        self.router.get("/stream")(lambda request: StreamResponse(slow()))
        self.router.get("/events")(lambda request: EventStream(slow()))
        server = self.serve()
        clients = []
        for target in ("/stream", "/events"):
            client = self.connect(server)
            client.send_request("GET", target)
            self.assertEqual(client.read_head().status, 200)
            clients.append(client)
        may_go_on.set()
        for client in clients:
            self.assertIn(b"a", client.read_chunk())

    def test_over_tcp_it_is_an_answer_too(self) -> None:
        """T5: with its status or code, as from any handler."""

        def handler(request: Any) -> Iterator[Any]:
            if request.data == "bad":
                raise HTTPError(404, "no such thing")
            if request.data == "broken":
                raise ZeroDivisionError
            yield ""  # A message like any other.
            yield {"n": 1}

        self.router.register("wait", protocol="tcp")(handler)
        self.router.register("here", protocol="tcp", blocking=False)(handler)
        client = self.connect_tcp(self.serve(tcp_keep_alive=True))
        for command in ("wait", "here"):
            client.send(json.dumps({"command": command, "data": "bad", "id": 1}) + "\n")
            answer = json.loads(client.read_line())
            self.assertEqual(answer, {"id": 1, "error": "no such thing", "status": 404})
            client.send(json.dumps({"command": command, "data": "broken", "id": 2}) + "\n")
            answer = json.loads(client.read_line())
            self.assertEqual((answer["id"], answer["code"]), (2, "internal"))
            client.send(json.dumps({"command": command, "id": 3}) + "\n")
            lines = [json.loads(client.read_line()) for _ in range(3)]
            self.assertEqual([line["data"] for line in lines[:2]], ["", {"n": 1}])


class TestFramingByTheHandler(AnswersTestCase):
    """Lengths that a handler names, and statuses that have no content."""

    def test_head_content_length(self) -> None:
        """RFC 9110 section 8.6: for HEAD the length of a GET, or none; never another."""
        length = {"Content-Length": "12345"}
        values: dict[str, tuple[Any, Any, str | None]] = {
            "tuple": ("HEAD", (b"", 200, length), "12345"),
            "object": ("HEAD", HTTPResponse(b"", 200, length), "12345"),
            "unknown": ("HEAD", b"", None),
            "both": (("GET", "HEAD"), (b"", 200, length), "12345"),
            "body": ("HEAD", b"abc", "3"),
            "get": ("GET", b"", "0"),
            "get-abc": ("GET", b"abc", "3"),
            "empty-json": ("GET", {}, "2"),
        }
        for name, (method, value, _) in values.items():
            self.router.register(f"/{name}", method)(lambda request, value=value: value)
        client = self.connect(self.serve())
        for name, (_, _, expected) in values.items():
            response = client.request("HEAD", f"/{name}")  # The connection goes on each time.
            self.assertEqual((response.status, response.get("Content-Length")), (200, expected))

    def test_a_length_of_get_is_the_servers(self) -> None:
        """A3: whatever the handler says of a body that is here."""
        self.router.get("/")(lambda request: (b"abc", 200, {"Content-Length": "12345"}))
        self.router.get("/empty")(lambda request: (b"", 200, {"Content-Length": "12345"}))
        client = self.connect(self.serve())
        self.assertEqual(client.get("/").get("Content-Length"), "3")
        self.assertEqual(client.get("/empty").get("Content-Length"), "0")

    def test_content_of_a_205(self) -> None:
        """RFC 9110 section 15.3.6: none, and a length that says so."""
        values: dict[str, Callable[[], Any]] = {
            "json": lambda: ({"a": 1}, 205),
            "text": lambda: HTTPResponse(TEXT, 205),
            "stream": lambda: StreamResponse(iter("abc"), status=205),
            "generator": lambda: ((piece for piece in "abc"), 205),
            "file": lambda: FileResponse(self.path, status=205),
        }
        self.router.get("/{name}")(lambda request: values[request.path_params["name"]]())
        server = self.site()
        for name in values:
            client = self.connect(server)
            for _ in range(2):
                response = client.get(f"/{name}", fields=ASKS)
                self.assertEqual(
                    (response.status, response.get("Content-Length"), response.body),
                    (205, "0", b""),
                    name,
                )
                self.assertIsNone(response.get("Transfer-Encoding"))


class TestFieldsThatComeTwice(AnswersTestCase):
    """RFC 9110 section 5.3: several fields of a name are one list."""

    def test_vary_lost_of_two_fields(self) -> None:
        """Whatever is added to it."""
        pairs = [("Vary", "Cookie"), ("Vary", "X-Language")]
        self.router.get("/")(lambda request: (TEXT, 200, pairs))
        response = self.answer(self.site(), "/")
        names = ", ".join(response.all("Vary")).split(", ")
        self.assertEqual(names, ["Cookie", "X-Language", "Origin", "Accept-Encoding"])

    def test_two_challenges(self) -> None:
        """RFC 9110 section 11.6.1: also by way of an error handler."""
        challenges = [("WWW-Authenticate", "Basic"), ("WWW-Authenticate", "Bearer")]
        self.router.get("/")(lambda request: raise_it(HTTPError(401, headers=challenges)))
        server = self.site()
        for _ in range(2):
            response = self.answer(server, "/")
            self.assertEqual(response.status, 401)
            self.assertEqual(response.all("WWW-Authenticate"), ["Basic", "Bearer"])
            server.error(401)(lambda request, error: {"log": "in"})

    def test_no_transform_in_any_of_them_is_obeyed(self) -> None:
        """RFC 9111 section 5.2.2.6."""
        pairs = [("Cache-Control", "no-store"), ("Cache-Control", "No-Transform")]
        self.router.get("/")(lambda request: (TEXT, 200, pairs))
        self.assertIsNone(self.answer(self.site(), "/").get("Content-Encoding"))

    def test_cors_star_and_caches(self) -> None:
        """Fetch standard: with "*" the answer is the same for everybody, so it says so."""
        self.router.get("/")(lambda request: TEXT)
        server = self.serve()
        server.add_middleware(CORSMiddleware("*", expose_headers="X-A"))
        for fields in ({}, {"Origin": ORIGIN}, {"Origin": "null"}):
            for target, status in (("/", 200), ("/nowhere", 404)):
                response = self.connect(server).get(target, fields=fields)
                self.assertEqual(response.status, status)
                self.assertEqual(response.get("Access-Control-Allow-Origin"), "*")
                self.assertEqual(response.get("Access-Control-Expose-Headers"), "X-A")
                self.assertIsNone(response.get("Vary"))
