"""Every code block of the seed README runs, as a file of examples/seed (N3).

The first class compares the files with the README, line by line. The others run each file as
it stands: only the ports are free ones, the registry is a fresh one, and what sleeps in it
does not. So `server.run()` in the file is the real one, over real sockets.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import threading
import tokenize
import types
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from pyliteflux import Route, Router, Server
from tests.support import (
    ROOT,
    Client,
    LogCapture,
    Response,
    RunningThread,
    captured_logs,
    fetch,
    stop,
    wait_until,
)

SEED = ROOT / "tests" / "data" / "seed.zh-CN.md"
EXAMPLES = ROOT / "examples" / "seed"

# The file of each block, in the order of the blocks.
NAMES = [
    "hello",
    "chat",
    "auth_middleware",
    "context",
    "admin",
    "performance",
    "tracing",
    "config",
    "register",
    "server_methods",
    "request_object",
    "json_response",
    "streams",
    "custom_json",
    "complex",
    "config_ways",
    "routes",
    "request_parameters",
    "push",
    "custom_middleware",
    "task_arguments",
]
ADDED = "# added"


def blocks() -> list[list[str]]:
    """Return the lines of each Python block of the seed, fenced with three or four backticks."""
    text = SEED.read_text(encoding="utf-8")
    fences = re.finditer(r"^(`{3,})python\n(.*?)^\1$", text, re.MULTILINE | re.DOTALL)
    return [fence[2].splitlines() for fence in fences]


def path_of(name: str) -> Path:
    return EXAMPLES / f"{name}.py"


def problems(source: str, block: list[str]) -> list[str]:
    """Return what is wrong with an example: lines of the block missing, or others not marked.

    A block that is the body of a handler may be indented, all its lines alike.
    """
    lines = source.splitlines()
    found = next((i for i, line in enumerate(lines) if line.strip() == block[0].strip()), None)
    if found is None:
        return [f"missing: {block[0]}"]
    indent = lines[found][: len(lines[found]) - len(lines[found].lstrip())]
    wanted = [indent + line for line in block]
    may_stand = unmarked_lines(source)
    result = []
    for number, line in enumerate(lines, 1):
        if wanted and line == wanted[0]:
            del wanted[0]
        elif line.strip() and number not in may_stand and not line.endswith("  " + ADDED):
            result.append(f"line {number} is neither the block's nor marked: {line}")
    return result + [f"missing, or not in order: {line}" for line in wanted[:1]]


def unmarked_lines(source: str) -> set[int]:
    """Return the numbers of the lines that need no mark: the docstring, and comments above it."""
    docstring = ast.parse(source).body[0]
    last = docstring.end_lineno or 0
    if ast.get_docstring(ast.parse(source)) is None:
        last = docstring.lineno - 1
    return set(range(1, last + 1))


class TheFilesAreTheBlocks(unittest.TestCase):
    def test_there_is_one_file_for_each_block_and_no_other(self) -> None:
        self.assertEqual(len(blocks()), len(NAMES))
        self.assertEqual({path.stem for path in EXAMPLES.glob("*.py")}, set(NAMES))

    def test_each_file_has_its_block_verbatim_and_marks_what_was_added(self) -> None:
        for name, block in zip(NAMES, blocks()):
            with self.subTest(name):
                found = problems(path_of(name).read_text(encoding="utf-8"), block)
                self.assertEqual(found, [])

    def test_each_file_says_what_it_shows_and_ends_up_in_run(self) -> None:
        for name in NAMES:
            with self.subTest(name):
                source = path_of(name).read_text(encoding="utf-8")
                self.assertTrue(ast.get_docstring(ast.parse(source)))
                self.assertIn("server.run()", source)

    def test_a_mark_is_a_comment_and_not_the_end_of_a_string(self) -> None:
        for name in NAMES:
            with self.subTest(name):
                source = path_of(name).read_text(encoding="utf-8")
                tokens = tokenize.generate_tokens(io.StringIO(source).readline)
                comments = {
                    token.start[0]
                    for token in tokens
                    if token.type == tokenize.COMMENT and token.string == ADDED
                }
                marked = {
                    number
                    for number, line in enumerate(source.splitlines(), 1)
                    if line.endswith(ADDED)
                }
                self.assertEqual(marked, comments)

    def test_the_comparison_finds_what_is_wrong(self) -> None:
        block = ["server = Server()", "server.run()"]
        good = '"""What it shows."""\n\nimport x  # added\nserver = Server()\nserver.run()\n'
        self.assertEqual(problems(good, block), [])
        for bad in (
            good.replace("import x  # added", "import x"),
            good.replace("server.run()", "server.run( )"),
            good.replace("server.run()", "server.run()  # added"),
            good.replace("server = Server()\nserver.run()", "server.run()\nserver = Server()"),
            good.replace("server.run()", "if server:  # added\n    server.run()"),
        ):
            with self.subTest(bad):
                self.assertNotEqual(problems(bad, block), [])


class Sleeps:
    """Stands for the module `time` in an example: who sleeps waits for a word, not a while."""

    def __init__(self, real: types.ModuleType) -> None:
        self._real = real
        self.asked: list[float] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        assert self.may_go_on.wait(10)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Example:
    """An example that runs: its server, its names, its log."""

    def __init__(self, server: Server, names: dict[str, Any], logs: LogCapture) -> None:
        self.server = server
        self.names = names
        self.logs = logs

    @property
    def sleeps(self) -> Sleeps:
        """What stands for the module `time` in it."""
        return self.names["time"]

    def get(self, target: str, **fields: str) -> Response:
        """Ask it over HTTP."""
        return fetch(self.server, "GET", target, fields=fields)

    def post(self, target: str, body: bytes, content_type: str) -> Response:
        """Send it something."""
        return fetch(self.server, "POST", target, body, fields={"Content-Type": content_type})

    def connect_tcp(self) -> Client:
        """Return a TCP connection; the caller closes it."""
        return Client(self.server.tcp_address)


@contextlib.contextmanager
def running(name: str) -> Iterator[Example]:
    """Run an example until the block ends. Its last line must return then, without an error."""
    source = path_of(name).read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(path_of(name))}
    servers: list[Server] = []
    real_run = Server.run

    def run(server: Server, protocol: str = "both", **settings: Any) -> None:
        if "time" in names:
            names["time"] = Sleeps(names["time"])
        # Only after `time` stands: from here on requests may come.
        servers.append(server)
        settings = {**settings, "http_port": 0, "tcp_port": 0, "info": False}
        real_run(server, protocol, **settings)

    folder = os.getcwd()
    with (
        captured_logs() as logs,
        mock.patch.object(Route, "default", Router()),
        mock.patch.object(Server, "run", run),
    ):
        ended = threading.Event()

        def execute() -> None:
            try:
                exec(compile(source, path_of(name), "exec"), names)
            finally:
                ended.set()

        thread = RunningThread(execute)
        try:
            wait_until(
                lambda: (servers and servers[0].tcp_address) or ended.is_set(),
                f"{name} is serving",
            )
            if ended.is_set():
                thread.join()  # Raises what the example raised.
                raise AssertionError(f"{name} ended before it was to")
            yield Example(servers[0], names, logs)
        finally:
            if servers:
                stop(servers[0])
            thread.join()
            os.chdir(folder)


class HelloTest(unittest.TestCase):
    def test_hello_answers_json(self) -> None:
        with running("hello") as example:
            response = example.get("/hello")
            self.assertEqual(response.status, 200)
            self.assertEqual(response.json, {"message": "Hello, World!"})

    def test_a_dict_becomes_json(self) -> None:
        with running("json_response") as example:
            self.assertEqual(example.get("/hello").json, {"message": "Hello, World!"})


class ChatTest(unittest.TestCase):
    def test_clients_are_listed_under_the_id_they_compute_themselves(self) -> None:
        """T7, T8."""
        with running("chat") as example, example.connect_tcp() as client:
            client.send("subscribe\n")
            self.assertEqual(
                json.loads(client.read_line()),
                {"message": "subscribed", "client_id": client.client_id},
            )
            client.send('{"command": "clients"}\n')
            listed = json.loads(client.read_line())
            self.assertEqual(listed["clients"], [client.client_id])
            self.assertEqual(listed["count"], 1)

    def test_the_answer_comes_at_once_and_the_push_after_the_background_task(self) -> None:
        """B1, P3: the request is answered while its task sleeps; then the push comes."""
        with running("chat") as example:
            with example.connect_tcp() as client, example.connect_tcp() as other:
                for one in (client, other):
                    one.send("subscribe\n")
                    one.read_line()
                example.sleeps.may_go_on.clear()
                answer = example.get(f"/hello?client_id={client.client_id}").json
                self.assertEqual(answer["target_client"], client.client_id)
                self.assertEqual(answer["query_params"], {"client_id": client.client_id})
                example.sleeps.may_go_on.set()
                self.assertEqual(
                    json.loads(client.read_line()), {"type": "push", "data": "Hello via HTTP GET!"}
                )
                self.assertEqual(example.sleeps.asked, [5])
                # The other one got nothing: its next line answers its own question.
                other.send("clients\n")
                self.assertEqual(json.loads(other.read_line())["count"], 2)


class MiddlewareTest(unittest.TestCase):
    def test_without_a_token_the_middleware_answers(self) -> None:
        """M3, M4: its own process_response still runs, the one behind it is left alone."""
        with running("auth_middleware") as example:
            self.assertEqual(
                example.get("/user").json, {"error": "Unauthorized", "authenticated": False}
            )
            self.assertEqual(example.logs.find("Request processed"), [])

    def test_with_a_token_the_handler_finds_the_user_in_g(self) -> None:
        """G2, M5."""
        with running("auth_middleware") as example:
            response = example.get("/user", Authorization="secret")
            answer = response.json
            self.assertEqual(answer["message"], "User info")
            self.assertEqual(answer["user"], {"id": 1, "name": "user1"})
            self.assertIs(answer["authenticated"], True)
            self.assertEqual(answer["request_id"], response.get("X-Request-ID"))
            self.assertRegex(
                example.logs.wait_for("Request processed"), r"Request processed in \d\.\d\ds"
            )

    def test_the_middleware_guards_tcp_as_well(self) -> None:
        """M7."""
        with running("auth_middleware") as example:
            for message, authenticated in (
                ("user\n", False),
                ('{"command": "user", "headers": {"Authorization": "secret"}}\n', True),
            ):
                with self.subTest(message), example.connect_tcp() as client:
                    client.send(message)
                    answer = json.loads(client.read_line())
                    self.assertIs(answer["authenticated"], authenticated)
                    wanted = "Command not found" if authenticated else "Unauthorized"
                    self.assertEqual(answer["error"], wanted)

    def test_g_carries_resources_that_are_closed_after_the_response(self) -> None:
        with running("context") as example:
            response = example.get("/data")
            self.assertEqual(response.json["data"], [{"id": 1, "name": "John"}])
            self.assertEqual(response.json["cached"], "cached users")
            self.assertEqual(response.json["request_id"], response.get("X-Request-ID"))
            self.assertEqual(example.names["Database"].closed, 1)
            self.assertEqual(example.names["Cache"].closed, 1)
            example.get("/nowhere")  # M4: after a 404 too.
            self.assertEqual(example.names["Database"].closed, 2)

    def test_a_background_task_has_a_g_of_its_own(self) -> None:
        """G3."""
        with running("context") as example:
            self.assertEqual(example.get("/async").json, {"message": "Task scheduled"})
            self.assertRegex(
                example.logs.wait_for("Background task"), r"Background task [0-9a-f-]{36} started"
            )

    def test_admin_is_for_admins(self) -> None:
        with running("admin") as example:
            for fields, status, body in (
                ({}, 403, {"error": "Access denied"}),
                ({"Authorization": "john"}, 403, {"error": "Access denied"}),
                ({"Authorization": "root"}, 200, {"message": "Welcome, admin!"}),
            ):
                with self.subTest(fields):
                    response = example.get("/admin", **fields)
                    self.assertEqual((response.status, response.json), (status, body))

    def test_each_request_is_measured(self) -> None:
        with running("performance") as example:
            self.assertEqual(example.get("/report").json, {"report": "done"})
            line = example.logs.wait_for("Performance metrics")
            metrics = ast.literal_eval(line.partition(": ")[2])
            self.assertEqual(metrics["sql_queries"], 2)
            self.assertGreaterEqual(metrics["duration"], 0)
            self.assertGreater(metrics["memory_usage"], 0)

    def test_each_request_has_a_trace_of_its_own(self) -> None:
        """G1."""
        with running("tracing") as example:
            first, second = example.get("/trace").json, example.get("/trace").json
            self.assertEqual(first["data"], [1, 2, 3])
            for answer in (first, second):
                self.assertEqual(
                    [event["event"] for event in answer["traces"]], ["processing", "completed"]
                )
            self.assertNotEqual(first["trace_id"], second["trace_id"])

    def test_a_middleware_has_options_and_marks_request_and_response(self) -> None:
        """Q6."""
        with running("custom_middleware") as example:
            self.assertEqual(
                example.get("/marked").json,
                {"custom_attr": "custom_value", "processed_by": "MyMiddleware"},
            )
            self.assertEqual(example.get("/nowhere").json["processed_by"], "MyMiddleware")


class ServerTest(unittest.TestCase):
    def test_the_settings_are_what_the_block_says(self) -> None:
        """C2. The ports are ours, so they are read from a server that does not run."""
        for name in ("config", "config_ways"):
            with self.subTest(name):
                given: list[dict[str, Any]] = []

                def run(server: Server, given: list[dict[str, Any]] = given) -> None:
                    given.append(dict(server.config))

                source = path_of(name).read_text(encoding="utf-8")
                with mock.patch.object(Server, "run", run):
                    exec(compile(source, path_of(name), "exec"), {"__name__": "__main__"})
                wanted = {
                    "http_host": "127.0.0.1",
                    "http_port": 8000,
                    "tcp_host": "127.0.0.1",
                    "tcp_port": 8001,
                    "tcp_keep_alive": True,
                    "info": True,
                }
                self.assertEqual({key: given[0][key] for key in wanted}, wanted)

    def test_a_configured_server_keeps_its_tcp_clients(self) -> None:
        """T4, R6."""
        for name in ("config", "config_ways"):
            with self.subTest(name), running(name) as example:
                response = example.get("/hello")
                self.assertEqual((response.status, response.json), (404, {"error": "Not Found"}))
                with example.connect_tcp() as client:
                    for _ in range(2):
                        client.send("hello\n")
                        self.assertEqual(json.loads(client.read_line())["code"], "unknown_command")

    def test_the_decorator_takes_path_method_and_protocol(self) -> None:
        with running("register") as example:
            self.assertEqual(example.get("/registered").json, {"path": "/registered"})
            refused = fetch(example.server, "POST", "/registered", b"")
            self.assertEqual((refused.status, refused.get("Allow")), (405, "GET, HEAD, OPTIONS"))

    def test_run_returns_after_stop_and_what_follows_is_harmless(self) -> None:
        """C5: stop() from a handler; then stop() once more, and a push that reaches nobody."""
        with running("server_methods") as example:
            self.assertEqual(example.get("/stop").json, {"stopping": True})
            wait_until(lambda: not example.server.is_running, "the server has stopped")

    def test_one_function_takes_all_kinds_of_routes(self) -> None:
        """R1, R2, R3."""
        with running("routes") as example:
            for method, path, params in (
                ("GET", "/hello", {}),
                ("POST", "/user", {}),
                ("GET", "/user/7", {"id": "7"}),
                ("GET", "/user/john", {"id": "john"}),
                ("GET", "/files/", {"*": ""}),
                ("GET", "/files/a/b.txt", {"*": "a/b.txt"}),
            ):
                with self.subTest(path):
                    answer = fetch(example.server, method, path).json
                    self.assertEqual(
                        answer, {"protocol": "http", "path": path, "path_params": params}
                    )
            with example.connect_tcp() as client:
                client.send("command\n")
                self.assertEqual(
                    json.loads(client.read_line()),
                    {"protocol": "tcp", "path": "command", "path_params": {}},
                )


class RequestTest(unittest.TestCase):
    def test_a_handler_finds_query_form_json_and_headers(self) -> None:
        with running("request_object") as example:
            form = "application/x-www-form-urlencoded"
            self.assertEqual(
                example.post("/request?page=2", b"name=John", form).json,
                {"query": {"page": "2"}, "form": {"name": "John"}, "json": None, "type": form},
            )
            example.logs.wait_for("the task has run")
            answer = example.post("/request", b'{"a": [1]}', "application/json").json
            self.assertEqual((answer["form"], answer["json"]), ({}, {"a": [1]}))

    def test_the_query_and_its_defaults(self) -> None:
        with running("request_parameters") as example:
            self.assertEqual(
                example.get("/search?keyword=%E4%BD%A0%E5%A5%BD&page=3").json,
                {"keyword": "你好", "page": "3"},
            )
            self.assertEqual(example.get("/search").json, {"keyword": None, "page": "1"})

    def test_path_parameters_are_any_segment(self) -> None:
        """R3: not digits alone."""
        with running("request_parameters") as example:
            self.assertEqual(
                example.get("/user/7/posts/abc").json, {"user_id": "7", "post_id": "abc"}
            )

    def test_forms_urlencoded_and_multipart(self) -> None:
        """Q2."""
        with running("request_parameters") as example:
            urlencoded = example.post(
                "/upload",
                b"file_name=a+b.txt&content=x",
                "application/x-www-form-urlencoded; charset=utf-8",
            )
            self.assertEqual(urlencoded.json, {"file_name": "a b.txt"})
            multipart = example.post(
                "/upload",
                b'--cut\r\nContent-Disposition: form-data; name="file_name"\r\n\r\nc.txt\r\n'
                b"--cut--\r\n",
                "multipart/form-data; boundary=cut",
            )
            self.assertEqual(multipart.json, {"file_name": "c.txt"})

    def test_json_is_received_and_broken_json_is_a_400(self) -> None:
        """Q3."""
        with running("request_parameters") as example:
            body = b'{"name": "\xe5\x90\x8d", "list": [1, 2.5, null]}'
            self.assertEqual(
                example.post("/api/data", body, "application/json").json,
                {"received": {"name": "名", "list": [1, 2.5, None]}},
            )
            self.assertEqual(example.post("/api/data", b"{", "application/json").status, 400)


class ResponseTest(unittest.TestCase):
    def test_events_are_streamed_one_by_one(self) -> None:
        """A2, A3: the first chunk leaves at once; the hop-by-hop field is the server's."""
        with running("streams") as example, Client(example.server.http_address) as client:
            example.sleeps.may_go_on.clear()
            client.send_request("GET", "/stream")
            head = client.read_head()
            self.assertEqual(head.get("Content-Type"), "text/event-stream")
            self.assertEqual(head.get("Cache-Control"), "no-cache")
            self.assertEqual(head.get("Transfer-Encoding"), "chunked")
            self.assertIsNone(head.get("Connection"))
            example.sleeps.may_go_on.set()
            pieces = []
            while piece := client.read_chunk():
                pieces.append(piece)
            self.assertEqual(b"".join(pieces), b"".join(b"data: %d\n\n" % i for i in range(10)))
            self.assertEqual(example.sleeps.asked, [1] * 10)

    def test_a_large_file_is_downloaded_whole(self) -> None:
        with running("streams") as example:
            response = example.get("/download")
            self.assertEqual(response.get("Content-Type"), "application/octet-stream")
            self.assertEqual(
                response.get("Content-Disposition"), "attachment; filename=large_file.txt"
            )
            self.assertEqual(response.body, b"0123456789abcde\n" * 65536)

    def test_a_json_response_has_its_status_and_fields(self) -> None:
        """A4."""
        with running("custom_json") as example:
            user = example.get("/api/user")
            self.assertEqual((user.status, user.json), (200, {"id": 1, "name": "John"}))
            self.assertEqual(user.get("X-Custom-Header"), "value")
            self.assertEqual(user.get("Access-Control-Allow-Origin"), "*")
            error = example.get("/api/error")
            self.assertEqual((error.status, error.get("X-Error-Type")), (404, "NotFound"))
            self.assertEqual(error.json, {"error": "Not Found", "code": "404"})

    def test_an_encoder_of_the_users_writes_what_json_cannot(self) -> None:
        with running("custom_json") as example:
            answer = example.get("/api/custom").json
            self.assertEqual(answer["message"], "Custom serialization")
            self.assertRegex(answer["timestamp"], r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")

    def test_one_handler_gives_three_kinds_of_response(self) -> None:
        with running("complex") as example:
            plain = example.get("/api/complex")
            self.assertEqual(plain.json, {"message": "Regular JSON response"})
            error = example.get("/api/complex?type=error")
            self.assertEqual((error.status, error.json), (400, {"error": "Bad Request"}))
            self.assertEqual(error.get("X-Error-Details"), "Invalid type")
            stream = example.get("/api/complex?type=stream")
            self.assertEqual(stream.get("Content-Type"), "application/x-ndjson")
            self.assertEqual(
                [json.loads(line) for line in stream.text.splitlines()],
                [{"count": i} for i in range(5)],
            )


class PushTest(unittest.TestCase):
    def _subscribed(self, example: Example, client: Client) -> None:
        """The server knows a client once it has answered it."""
        client.send("hello\n")
        client.read_line()

    def test_a_push_reaches_one_client_and_a_broadcast_all(self) -> None:
        """P1, P2, P3."""
        with running("push") as example:
            with example.connect_tcp() as first, example.connect_tcp() as second:
                self._subscribed(example, first)
                self._subscribed(example, second)
                sent = example.get(f"/push?client_id={second.client_id}&message=for+you")
                self.assertEqual(sent.json, {"status": "sent"})
                self.assertEqual(example.get("/broadcast").json, {"status": "broadcasted"})
                broadcast = {"type": "push", "data": "Broadcast!"}
                self.assertEqual(json.loads(first.read_line()), broadcast)
                self.assertEqual(
                    json.loads(second.read_line()), {"type": "push", "data": "for you"}
                )
                self.assertEqual(json.loads(second.read_line()), broadcast)

    def test_a_push_to_an_unknown_client_reaches_nobody(self) -> None:
        """P2: nor does one to the empty id."""
        with running("push") as example, example.connect_tcp() as client:
            self._subscribed(example, client)
            for nobody in ("127.0.0.1:1", ""):
                example.get(f"/push?client_id={nobody}")
            example.get("/broadcast?message=all")
            self.assertEqual(json.loads(client.read_line()), {"type": "push", "data": "all"})


class TaskTest(unittest.TestCase):
    def test_a_task_gets_its_arguments_after_the_answer(self) -> None:
        """Q7, B1."""
        with running("task_arguments") as example:
            example.sleeps.may_go_on.clear()
            self.assertEqual(example.get("/task?user_id=7").json, {"message": "Task scheduled"})
            example.sleeps.may_go_on.set()
            example.logs.wait_for("Processing important task for user 7")
            self.assertEqual(example.sleeps.asked, [5])


if __name__ == "__main__":
    unittest.main()
