"""`g`, request ids and log lines over real sockets.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

import io
import json
import logging
import re
import threading
from typing import Any

from pyliteflux import Logger, Middleware, g
from pyliteflux.console import LineFormatter
from pyliteflux.log import writer
from tests.support import DEADLINE, RunningThread, ServerTestCase, wait_for, wait_until


class TestEachItsOwn(ServerTestCase):
    def test_two_requests_at_once_never_share(self) -> None:
        """G1: both are inside their handlers when each looks at what it has set."""
        both = threading.Barrier(2, timeout=DEADLINE)

        @self.router.register("/who", method="GET", protocol="both")
        def who(request: Any) -> Any:
            name = request.query_params.get("name") or request.data
            before = hasattr(g, "name")
            g.name = name
            both.wait()
            return {"asked": name, "seen": g.name, "before": before}

        server = self.serve(tcp_keep_alive=True)
        http = [self.connect(server) for _ in range(2)]
        tcp = [self.connect_tcp(server) for _ in range(2)]
        for _ in range(3):
            for number, client in enumerate(http):
                client.send_request("GET", f"/who?name=h{number}")
            for number, client in enumerate(http):
                name = f"h{number}"
                answer = client.read_response().json
                self.assertEqual(answer, {"asked": name, "seen": name, "before": False})
            for number, client in enumerate(tcp):
                client.send(f"who t{number}\n")
            for number, client in enumerate(tcp):
                name = f"t{number}"
                answer = json.loads(client.read_line())
                self.assertEqual(answer, {"asked": name, "seen": name, "before": False})

    def test_http_and_tcp_at_once_never_share(self) -> None:
        """G1: one of each protocol."""
        both = threading.Barrier(2, timeout=DEADLINE)

        @self.router.register("/mine", protocol="both")
        def mine(request: Any) -> str:
            g.mine = request.protocol
            both.wait()
            return str(g.mine)

        server = self.serve()
        http, tcp = self.connect(server), self.connect_tcp(server)
        http.send_request("GET", "/mine")
        tcp.send("mine\n")
        self.assertEqual(http.read_response().text, "http")
        self.assertEqual(tcp.read_line(), "tcp")

    def test_nothing_is_left_for_the_next_request_of_the_same_thread(self) -> None:
        """G1: workers and the reactor thread serve many; each begins empty."""
        for blocking in (True, False):
            with self.subTest(blocking=blocking):

                @self.router.get(f"/{blocking}", blocking=blocking)
                def leave(request: Any) -> Any:
                    found = hasattr(g, "left")
                    g.left = "secret"
                    return found

                self.router.register(f"left{blocking}", protocol="tcp", blocking=blocking)(leave)
                server = self.serve(tcp_keep_alive=True)
                client, tcp = self.connect(server), self.connect_tcp(server)
                for _ in range(5):
                    self.assertIs(client.get(f"/{blocking}").json, False)
                    tcp.send(f"left{blocking}\n")
                    self.assertEqual(tcp.read_line(), "false")

    def test_an_unset_name_is_an_attribute_error(self) -> None:
        """G1: so hasattr, getattr with a default, and del all work."""
        seen: list[Any] = []

        @self.router.get("/")
        def look(request: Any) -> None:
            seen.append(hasattr(g, "user"))
            seen.append(getattr(g, "user", "nobody"))
            try:
                g.user  # noqa: B018
            except AttributeError as error:
                seen.append("user" in str(error))
            g.user = None
            seen.append(hasattr(g, "user"))
            del g.user
            seen.append(hasattr(g, "user"))

        server = self.serve()
        self.assertEqual(self.connect(server).get("/").status, 204)
        self.assertEqual(seen, [False, "nobody", True, True, False])

    def test_middlewares_handler_and_on_finish_share_it(self) -> None:
        """G1, M6: one request, one g, on whatever thread."""
        seen: list[Any] = []
        finished = threading.Event()

        class Opens(Middleware):
            def process_request(self, request: Any) -> None:
                g.steps = ["in"]

            def process_response(self, request: Any, response: Any) -> Any:
                g.steps.append("out")
                return response

            def on_finish(self, request: Any) -> None:
                seen.append([*g.steps, "finish"])
                finished.set()

        @self.router.get("/")
        def handler(request: Any) -> Any:
            g.steps.append("handler")
            return (g.steps.append("stream") or "x" for _ in range(1))

        server = self.serve()
        server.add_middleware(Opens())
        self.assertEqual(self.connect(server).get("/").body, b"x")
        wait_for(finished, "on_finish")
        self.assertEqual(seen, [["in", "handler", "out", "stream", "finish"]])


class TestRequestId(ServerTestCase):
    def test_it_is_there_unique_and_sent(self) -> None:
        """G2: g.request_id, request.request_id and X-Request-ID are one."""

        @self.router.get("/")
        def handler(request: Any) -> Any:
            return {"g": g.request_id, "request": request.request_id, "has": "request_id" in g}

        server = self.serve()
        ids = []
        for _ in range(2):
            client = self.connect(server)
            for _ in range(3):
                response = client.get("/")
                answer = response.json
                self.assertTrue(answer["g"])
                self.assertEqual(answer["g"], answer["request"])
                self.assertEqual(answer["g"], response.get("X-Request-ID"))
                self.assertTrue(answer["has"])
                ids.append(answer["g"])
        self.assertEqual(len(set(ids)), 6)

    def test_every_kind_of_answer_carries_it(self) -> None:
        """G2: also where nobody asked for it, and where it went wrong."""

        @self.router.get("/fail")
        def fail(request: Any) -> None:
            raise RuntimeError

        self.router.get("/none")(lambda request: None)
        self.router.get("/stream")(lambda request: (piece for piece in "abc"))
        server = self.serve()
        client = self.connect(server)
        ids = []
        for method, target in (
            ("GET", "/none"),
            ("GET", "/stream"),
            ("HEAD", "/stream"),
            ("GET", "/nothing"),
            ("POST", "/none"),
            ("OPTIONS", "/none"),
            ("GET", "/fail"),
        ):
            response = client.request(method, target)
            ids.append(response.get("X-Request-ID"))
            self.assertTrue(ids[-1], (method, target))
            if target == "/fail":
                self.assertEqual(response.json["request_id"], ids[-1])
        self.assertEqual(len(set(ids)), len(ids))

    def test_tcp_has_one_too(self) -> None:
        """G2: per message, not per connection."""
        self.router.register("id", protocol="tcp")(lambda request: g.request_id)
        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        client.send("id\nid\nid\n")
        ids = {client.read_line() for _ in range(3)}
        self.assertEqual(len(ids), 3)
        self.assertTrue(all(ids))

    def test_one_of_the_users_own_is_sent_and_logged(self) -> None:
        """G2: an id that a proxy gave is taken over by setting g.request_id."""

        @self.router.get("/")
        def handler(request: Any) -> str:
            g.request_id = request.headers["X-Trace"]
            Logger.info("took over")
            return request.request_id

        server = self.serve()
        response = self.connect(server).get("/", fields={"X-Trace": "trace-7"})
        self.assertEqual((response.text, response.get("X-Request-ID")), ("trace-7", "trace-7"))
        self.assertEqual(self.ids_of("took over"), ["trace-7"])

    def test_one_that_cannot_be_sent_back_is_no_error_and_changes_nothing(self) -> None:
        """G2, A3, L1, X1: it would become a field, or a log line, of the attacker's choosing."""

        @self.router.get("/")
        def handler(request: Any) -> str:
            g.request_id = request.query_params.get("id", request.headers.get("X-Request-ID"))
            return request.request_id

        client = self.connect(self.serve())
        targets = ["/", *map("/?id={}".format, ("a%0d%0aX-Evil:1", "a%0aline", "a%00", "a%1b[31m"))]
        answers = [client.get(target) for target in targets]
        for odd in ("caf\xe9", "\xa0", "\x85", "a\tb", "", "x" * 201, "\xe4\xbd\xa0"):
            answers.append(client.get("/", fields={"X-Request-ID": odd}))
        for answer in answers:
            self.assertEqual((answer.status, answer.get("X-Evil")), (200, None))
            self.assertEqual(answer.text, answer.get("X-Request-ID"))
        ids = {answer.text for answer in answers}
        self.assertEqual(len(ids), len(answers))
        self.assertEqual(len({id.partition("-")[0] for id in ids}), 1, ids)

    def ids_of(self, text: str) -> list[Any]:
        return [
            getattr(record, "request_id", None)
            for record in self.logs.records
            if text in record.getMessage()
        ]

    def test_every_log_line_of_the_request_carries_it(self) -> None:
        """G2: the user's and the framework's, of middlewares, streams, tasks and the end."""
        done = threading.Event()

        class Logs(Middleware):
            def process_request(self, request: Any) -> None:
                Logger.info("LINE in")

            def process_response(self, request: Any, response: Any) -> Any:
                Logger.warning("LINE out")
                return response

            def on_finish(self, request: Any) -> None:
                Logger.error("LINE finish")
                done.set()

        @self.router.get("/")
        def handler(request: Any) -> Any:
            Logger.debug("LINE handler %s", 1)
            request.bg.add(Logger.info, "LINE task")

            def pieces() -> Any:
                Logger.log("LINE stream")
                yield g.request_id
                raise RuntimeError("LINE broken")

            return pieces()

        server = self.serve()
        server.add_middleware(Logs())
        client = self.connect(server)
        client.send_request("GET", "/")
        request_id = client.read_head().get("X-Request-ID")
        self.assertEqual(client.read_chunk().decode(), request_id)
        wait_for(done, "on_finish")
        self.logs.wait_for("LINE task")
        failed = [record for record in self.logs.records if record.exc_info]
        self.assertEqual(len(failed), 1)
        for text in ("in", "out", "finish", "handler 1", "task", "stream"):
            self.assertEqual(self.ids_of(f"LINE {text}"), [request_id], text)
        self.assertEqual(failed[0].request_id, request_id)  # type: ignore[attr-defined]

    def test_log_lines_about_a_failed_answer_carry_it_too(self) -> None:
        """G2: where the framework logs for a request on another thread."""

        @self.router.get("/bad-field")
        def bad_field(request: Any) -> Any:
            return "x", {"X-Bad": "a\r\nb"}

        @self.router.get("/raises")
        def raises(request: Any) -> Any:
            raise ValueError("LINE")

        @self.router.get("/coding")
        def coding(request: Any) -> Any:
            return "x", {"Transfer-Encoding": "gzip"}

        @self.router.get("/dropped")
        def dropped(request: Any) -> Any:
            request.bg.add(print)
            raise ValueError("LINE")

        server = self.serve()
        client = self.connect(server)
        for target in ("/bad-field", "/raises", "/coding", "/dropped"):
            with self.subTest(target=target):
                self.logs.records.clear()
                request_id = client.get(target).get("X-Request-ID")
                lines = list(self.logs.records)
                self.assertTrue(lines)
                for record in lines:
                    self.assertEqual(
                        getattr(record, "request_id", None), request_id, record.getMessage()
                    )

    def test_log_lines_about_a_tcp_answer_that_cannot_be_sent_carry_it(self) -> None:
        """G2 on TCP; T5: the client gets the error in its format."""
        ids: list[str] = []

        @self.router.register("odd", protocol="tcp")
        def odd(request: Any) -> Any:
            ids.append(g.request_id)
            return {"x": object()}

        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        client.send('{"command": "odd", "id": 5}\n')
        answer = json.loads(client.read_line())
        self.assertEqual((answer["code"], answer["id"]), ("internal", 5))
        self.assertEqual([self.ids_of("cannot be written")], [ids])

    def test_the_console_line_shows_it(self) -> None:
        """G2: what an operator reads, not only an attribute of the record."""
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(LineFormatter(False))
        logger = logging.getLogger("pyliteflux")
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)
        self.router.get("/")(lambda request: Logger.info("hello"))
        server = self.serve()
        request_id = self.connect(server).get("/").get("X-Request-ID")
        writer.flush(DEADLINE)
        self.assertRegex(stream.getvalue(), rf"INFO \[{re.escape(str(request_id))}\] hello\n")


class TestTasksAndStreams(ServerTestCase):
    def test_a_task_has_a_g_of_its_own(self) -> None:
        """G3: empty but for request_id, and what it sets is not the request's."""
        go_on, done = threading.Event(), threading.Event()
        seen: list[Any] = []

        def task() -> None:
            seen.append((hasattr(g, "user"), g.request_id, dir(g)))
            g.user = "task"
            done.set()
            go_on.wait(DEADLINE)

        @self.router.get("/")
        def handler(request: Any) -> Any:
            g.user = "request"
            request.bg.add(task)

            def pieces() -> Any:
                yield g.user
                done.wait(DEADLINE)
                yield "+" + g.user
                go_on.set()

            return pieces()

        server = self.serve()
        response = self.connect(server).get("/")
        self.assertEqual(response.body, b"request+request")
        self.assertEqual(seen, [(False, response.get("X-Request-ID"), ["request_id"])])

    def test_two_tasks_of_one_request_share_nothing(self) -> None:
        """G3: each task has its own."""
        seen: list[Any] = []
        done = threading.Semaphore(0)

        def task() -> None:
            seen.append(hasattr(g, "mark"))
            g.mark = True
            done.release()

        @self.router.get("/")
        def handler(request: Any) -> None:
            for _ in range(4):
                request.bg.add(task)

        server = self.serve()
        self.connect(server).get("/")
        for _ in range(4):
            self.assertTrue(done.acquire(timeout=DEADLINE))
        self.assertEqual(seen, [False] * 4)

    def test_a_generator_sees_its_requests_g_to_its_last_line(self) -> None:
        """G3: in each step, on whatever worker, and in its `finally`; two at once, TCP too."""
        both = threading.Barrier(2, timeout=DEADLINE)
        ends: dict[str, str] = {}

        def pieces() -> Any:
            try:
                for _ in range(3):
                    both.wait()
                    yield g.name + "\n"
            finally:
                ends[g.name] = g.name

        @self.router.register("/stream", protocol="both")
        def stream(request: Any) -> Any:
            g.name = request.protocol
            return pieces()

        server = self.serve()
        http, tcp = self.connect(server), self.connect_tcp(server)
        http.send_request("GET", "/stream")
        tcp.send("stream\n")
        self.assertEqual(http.read_response().text, "http\n" * 3)
        self.assertEqual(tcp.read_rest(), b"tcp\n" * 3)
        self.assertEqual(ends, {"http": "http", "tcp": "tcp"})

    def test_a_generator_that_is_cut_short_still_has_its_g(self) -> None:
        """G3, A2: the `finally` of a stream whose client has left."""
        seen: list[Any] = []
        done = threading.Event()

        @self.router.get("/")
        def stream(request: Any) -> Any:
            g.name = "mine"

            def pieces() -> Any:
                try:
                    while True:
                        yield "x" * 10_000
                finally:
                    seen.append(g.name)
                    done.set()

            return pieces()

        server = self.serve()
        client = self.connect(server)
        client.send_request("GET", "/")
        client.read_head()
        client.reset()
        wait_for(done, "the generator's finally")
        self.assertEqual(seen, ["mine"])

    def test_outside_any_request_it_is_the_threads_own(self) -> None:
        """G4: empty, not an error; the main thread's is not seen by requests or other threads."""
        self.addCleanup(lambda: delattr(g, "outside") if hasattr(g, "outside") else None)
        self.assertFalse(hasattr(g, "outside"))
        self.assertFalse(hasattr(g, "request_id"))
        g.outside = "main"
        seen: list[bool] = []
        RunningThread(lambda: seen.append(hasattr(g, "outside"))).join()
        self.router.get("/")(lambda request: hasattr(g, "outside"))
        self.router.get("/here", blocking=False)(lambda request: hasattr(g, "outside"))
        server = self.serve()
        client = self.connect(server)
        self.assertEqual((client.get("/").json, client.get("/here").json), (False, False))
        self.assertEqual(seen, [False])
        self.assertEqual(g.outside, "main")

    def test_a_thread_that_a_handler_starts_is_outside(self) -> None:
        """G4: it may use g without an error."""
        seen: list[Any] = []

        @self.router.get("/")
        def handler(request: Any) -> None:
            g.user = "request"

            def work() -> None:
                g.own = 1
                seen.append((g.own, getattr(g, "own", None)))

            thread = threading.Thread(target=work)
            thread.start()
            thread.join(DEADLINE)

        server = self.serve()
        self.assertEqual(self.connect(server).get("/").status, 204)
        wait_until(lambda: seen, "the thread")
        self.assertEqual(seen, [(1, 1)])


class TestLoggerOverTheWire(ServerTestCase):
    """L1: control characters from the network never reach a log line raw."""

    CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

    def check(self, needle: str, count: int = 1) -> None:
        self.logs.wait_for(needle)
        lines = [
            record.getMessage()
            for record in self.logs.records
            if needle in record.getMessage() and record.levelno > logging.DEBUG
        ]
        self.assertEqual(len(lines), count, lines)
        for line in lines:
            self.assertIsNone(self.CONTROLS.search(line), repr(line))

    def test_what_a_handler_logs_of_a_request(self) -> None:
        """L1: in the message, in an argument, in a mapping, in an exception, in an object."""

        @self.router.register("log", protocol="tcp")
        def log(request: Any) -> str:
            text = request.data

            class Odd:
                def __str__(self) -> str:
                    return text

            Logger.info("plain " + text)
            Logger.warning("argument %s", text)
            Logger.error("mapping %(a)s", {"a": text})
            Logger.info("exception %s", ValueError(text))
            Logger.log("object %s", Odd(), level="ERROR")
            Logger.debug("mixed %s %d", text, 5)
            return "ok"

        server = self.serve()
        client = self.connect_tcp(server)
        evil = "x\nFAKE 12:00:00 INFO line\r\x1b[31m\x00\x7f\x9b\u2028 end"
        client.send(json.dumps({"command": "log", "data": evil}) + "\n")
        client.read_line()
        self.logs.wait_for("mixed")
        for kind in ("plain", "argument", "mapping", "exception", "object"):
            with self.subTest(kind=kind):
                self.check(kind)

    def test_what_the_framework_logs_of_a_path(self) -> None:
        """L1: failures are logged with the decoded path, escaped."""

        @self.router.get("/{name}")
        def fail(request: Any) -> Any:
            if request.query_params.get("how") == "field":
                return "x", {"X-Bad": "\n"}
            if request.query_params.get("how") == "stream":

                def pieces() -> Any:
                    yield "x"
                    raise RuntimeError

                return pieces()
            raise RuntimeError

        server = self.serve()
        for how, needle in (("raise", "failed"), ("field", "cannot"), ("stream", "stream of")):
            with self.subTest(how=how):
                self.logs.records.clear()
                client = self.connect(server)
                client.send_request("GET", f"/x%0aFAKE%1b%5b31m%0d?how={how}")
                client.read_head()
                self.check(needle)

    def test_what_the_framework_logs_of_a_command_and_a_push(self) -> None:
        """L1: TCP commands and client ids come from the network too."""

        server = self.serve(tcp_keep_alive=True, info=True, access_log=True)
        client = self.connect_tcp(server)
        client.send(json.dumps({"command": "a\nFAKE\x1b"}) + "\n")
        self.assertEqual(json.loads(client.read_line())["code"], "unknown_command")
        self.check("TCP a")  # The access line.
        self.assertEqual(server.push_message("x", "a\nb\x1b"), 0)
        self.check("no such client")
