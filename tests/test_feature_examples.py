"""The examples events, files and middleware, over real sockets; and the code of their chapters.

Each file is loaded as it stands, and its own server is started on a free port.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import importlib.util
import io
import runpy
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from pyliteflux import Server
from tests import docs_tools
from tests.support import (
    ROOT,
    Client,
    Response,
    captured_logs,
    fetch,
    stop,
    wait_until,
)

CHAPTERS = ("docs/streams.md", "docs/middleware.md", "docs/files.md")
ADA = {"Authorization": "Basic " + base64.b64encode(b"ada:lovelace").decode()}


class ExampleTestCase(unittest.TestCase):
    """`self.example` is the module, its server running until the test ends."""

    name: str
    settings: dict[str, Any] = {}

    def setUp(self) -> None:
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.logs = stack.enter_context(captured_logs())
        path = ROOT / "examples" / f"{self.name}.py"
        spec = importlib.util.spec_from_file_location(f"examples_{self.name}", path)
        assert spec is not None and spec.loader is not None
        self.example: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.example)
        self.server: Server = self.example.server
        self.server.start("http", http_port=0, info=False, **self.settings)
        stack.callback(stop, self.server)

    def fetch(self, method: str, target: str, *args: Any, **options: Any) -> Response:
        return fetch(self.server, method, target, *args, **options)

    def connect(self) -> Client:
        client = Client(self.server.http_address)
        self.addCleanup(client.close)
        return client


class TestMiddleware(ExampleTestCase):
    name = "middleware"

    def me(self, **fields: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        return self.fetch("GET", "/me", fields={**ADA, **named})

    def test_without_the_password_there_is_a_challenge(self) -> None:
        response = self.fetch("GET", "/me")
        self.assertEqual(response.status, 401)
        self.assertRegex(response.get("WWW-Authenticate") or "", r'\ABasic realm="restricted"')
        self.logs.wait_for("somebody asked GET /me")

    def test_a_handler_finds_in_g_what_the_layers_left_there(self) -> None:
        response = self.me()
        self.assertEqual(response.json["user"], "ada")
        self.assertEqual(response.json["notes"], ["looked at themselves"])
        self.assertRegex(response.get("Server-Timing") or "", r"\Await;dur=.*app;dur=")
        self.logs.wait_for("ada asked GET /me: ['looked at themselves']")

    def test_the_address_is_the_one_that_the_proxy_saw(self) -> None:
        response = self.me(X_Forwarded_For="10.0.0.1, 203.0.113.7")
        self.assertEqual(response.json["address"], "203.0.113.7")

    def test_a_preflight_needs_no_password(self) -> None:
        for origin, status in (("https://app.example", 204), ("https://evil.example", 403)):
            fields = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
            response = self.fetch("OPTIONS", "/me", fields=fields)
            self.assertEqual(response.status, status)
            granted = response.get("Access-Control-Allow-Origin")
            self.assertEqual(granted, origin if status == 204 else None)

    def test_a_large_answer_is_compressed_for_who_asks(self) -> None:
        plain = self.fetch("GET", "/table", fields=ADA)
        small = self.fetch("GET", "/table", fields={**ADA, "Accept-Encoding": "gzip"})
        self.assertEqual(small.get("Content-Encoding"), "gzip")
        self.assertLess(len(small.body), len(plain.body) / 2)
        self.assertEqual(gzip.decompress(small.body), plain.body)

    def test_the_innermost_layer_answers_instead_of_the_handler(self) -> None:
        response = self.fetch("POST", "/rename", b"", fields=ADA)
        self.assertEqual(response.status, 403)
        self.assertEqual(response.json, {"error": "read only today", "notes": ["refused"]})


class TestEvents(ExampleTestCase):
    name = "events"
    settings = {"heartbeat": 0.05}

    def watch(self, **fields: str) -> Client:
        client = self.connect()
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        client.send_request("GET", "/news", fields=named)
        head = client.read_head()
        self.assertEqual(head.get("Content-Type"), "text/event-stream")
        self.assertEqual(client.read_chunk(), b"retry: 2000\n\n")
        return client

    def next_event(self, client: Client) -> bytes:
        while (event := client.read_chunk()) == b":\n\n":  # The heartbeat.
            pass
        return event

    def tell(self, text: str) -> Response:
        fields = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.fetch("POST", "/news", f"text={text}".encode(), fields=fields)

    def test_all_who_watch_are_told(self) -> None:
        watchers = [self.watch(), self.watch()]
        self.assertEqual(self.tell("hello").json, {"reached": 2})
        for watcher in watchers:
            self.assertEqual(self.next_event(watcher), b"event: news\nid: 1\ndata: hello\n\n")

    def test_who_was_away_gets_what_was_missed_and_then_what_comes(self) -> None:
        for text in ("one", "two", "three"):
            self.tell(text)
        watcher = self.watch(Last_Event_ID="1")
        self.tell("four")
        events = [self.next_event(watcher) for _ in range(3)]
        self.assertEqual(
            events,
            [
                f"event: news\nid: {number}\ndata: {text}\n\n".encode()
                for number, text in ((2, "two"), (3, "three"), (4, "four"))
            ],
        )

    def test_who_has_left_is_forgotten(self) -> None:
        self.watch().close()
        wait_until(lambda: not self.example.news._streams, "the stream is forgotten")
        self.assertEqual(self.tell("hello").json, {"reached": 0})

    def test_a_head_request_leaves_no_stream_behind(self) -> None:
        self.assertEqual(self.fetch("HEAD", "/news").status, 200)
        wait_until(lambda: not self.example.news._streams, "the stream is forgotten")

    def test_what_makes_no_sense_is_refused(self) -> None:
        self.assertEqual(self.tell("").status, 400)
        for last in ("x", "-1", "9" * 19):
            self.assertEqual(self.fetch("GET", "/news", fields={"Last-Event-ID": last}).status, 400)

    def test_a_pulled_stream_of_events_is_whole(self) -> None:
        body = self.fetch("GET", "/countdown").text
        self.assertEqual(
            body,
            "".join(
                f"event: count\nid: {3 - number}\ndata: {number}\n\n" for number in (3, 2, 1, 0)
            ),
        )

    def test_the_page_listens(self) -> None:
        response = self.fetch("GET", "/")
        self.assertEqual(response.get("Content-Type"), "text/html; charset=utf-8")
        self.assertIn('new EventSource("/news")', response.text)


class TestFiles(ExampleTestCase):
    name = "files"

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.example._folder.cleanup)

    def test_the_directory_is_served_and_nothing_beside_it(self) -> None:
        self.assertEqual(self.fetch("GET", "/site").get("Location"), "/site/")
        index = self.fetch("GET", "/site/")
        self.assertEqual((index.status, index.text), (200, self.example.INDEX))
        for target in ("/site/../secret.txt", "/site/..%2fsecret.txt", "/site/secret.txt"):
            self.assertEqual(self.fetch("GET", target).status, 404)

    def test_the_style_sheet_is_there_compressed_beforehand(self) -> None:
        response = self.fetch("GET", "/site/style.css", fields={"Accept-Encoding": "gzip"})
        self.assertEqual(response.get("Content-Encoding"), "gzip")
        self.assertEqual(gzip.decompress(response.body).decode(), self.example.STYLE)
        self.assertEqual(self.fetch("GET", "/site/style.css").text, self.example.STYLE)

    def test_a_download_is_taken_up_where_it_broke_off(self) -> None:
        whole = self.fetch("GET", "/download")
        tag = whole.get("ETag") or ""
        fields = {"Range": "bytes=4999980-", "If-Range": tag}
        rest = self.fetch("GET", "/download", fields=fields)
        self.assertEqual((rest.status, rest.body), (206, whole.body[4999980:]))
        self.assertEqual(rest.body, b"000499998\n000499999\n")
        self.assertEqual(self.fetch("GET", "/download", fields={"If-None-Match": tag}).status, 304)

    def test_a_form_brings_a_file(self) -> None:
        content = bytes(range(256)) * 2000  # Over upload_memory: it goes to disk.
        body = (
            b'--x\r\nContent-Disposition: form-data; name="note"\r\n\r\nhi\r\n'
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
            + content
            + b"\r\n--x--\r\n"
        )
        fields = {"Content-Type": "multipart/form-data; boundary=x"}
        self.assertEqual(
            self.fetch("POST", "/upload", body, fields=fields).json,
            {
                "note": "hi",
                "filename": "a.bin",
                "size": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            },
        )
        body = b'--x\r\nContent-Disposition: form-data; name="note"\r\n\r\nhi\r\n--x--\r\n'
        self.assertEqual(self.fetch("POST", "/upload", body, fields=fields).status, 400)

    def test_a_body_larger_than_any_buffer_is_counted_piece_by_piece(self) -> None:
        piece, count = bytes(range(256)) * 4096, 12
        digest = hashlib.sha256(piece * count).hexdigest()
        client = self.connect()
        client.send("PUT /count HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(count):
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        client.send("0\r\n\r\n")
        answer = client.read_response("PUT").json
        self.assertGreater(answer["size"], self.server.config.max_body_size)
        self.assertEqual((answer["size"], answer["sha256"]), (len(piece) * count, digest))
        self.assertGreater(answer["pieces"], count)


class TestAsPrograms(unittest.TestCase):
    def test_each_says_what_to_try_and_runs(self) -> None:
        for name in ("events", "files", "middleware"):
            path = ROOT / "examples" / f"{name}.py"
            printed = io.StringIO()
            with (
                self.subTest(name),
                mock.patch.object(Server, "run", autospec=True) as run,
                contextlib.redirect_stdout(printed),
            ):
                names = runpy.run_path(str(path), run_name="__main__")
                run.assert_called_once_with(names["server"], "http")
                self.assertIn("curl", printed.getvalue())
                self.assertIn("http://127.0.0.1:8000/", printed.getvalue())
                self.assertNotIn("{", printed.getvalue().replace("%{size_download}", ""))
                if "_folder" in names:
                    names["_folder"].cleanup()

    def test_each_path_to_try_has_a_route(self) -> None:
        for name in ("events", "files", "middleware"):
            names = runpy.run_path(str(ROOT / "examples" / f"{name}.py"))
            for line in names["TRY"].splitlines():
                _, here, rest = line.partition("http://{0}")
                if here:
                    path = rest.split()[0] if rest.split() else "/"
                    found = [
                        names["router"].resolve(method, path)[0].path
                        for method in ("GET", "POST", "PUT")
                    ]
                    self.assertTrue(any(found), f"{name}: {line}")
            if "_folder" in names:
                names["_folder"].cleanup()


class TestChapters(unittest.TestCase):
    def test_the_code_of_the_chapters_runs(self) -> None:
        for path in CHAPTERS:
            with self.subTest(path):
                page = docs_tools.Page(path, Path(ROOT, path).read_text(encoding="utf-8"))
                found = docs_tools.run_problems(page)
                self.assertEqual([str(problem) for problem in found], [])

    def test_no_attempt_of_the_attack_experiment_leaks(self) -> None:
        lines = docs_tools.run_script("docs/experiments/files_attack.py")
        self.assertEqual([line for line in lines if "LEAKED" in line], [])
        statuses = [line[:3] for line in lines]
        self.assertEqual(statuses, ["200"] * 2 + ["404"] * (len(lines) - 2))


if __name__ == "__main__":
    unittest.main()
