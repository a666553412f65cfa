"""Files over real sockets: `server.static` and `FileResponse`, and that no descriptor leaks.

RFC 9110 sections 13 to 15; limits row 27 and "Files".
"""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock, skipUnless

from pyliteflux import FileResponse, Server
from tests.support import CutShort, ServerTestCase, fetch, wait_until

BIG = 48 * 1024 * 1024  # More than the kernel buffers of a connection hold.
CONTENT = bytes(range(256)) * 1000
_FD_DIRECTORY = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"


def open_descriptors() -> int:
    return len(os.listdir(_FD_DIRECTORY))


class FilesTestCase(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.directory = Path(os.path.realpath(tempfile.mkdtemp(prefix="pyliteflux-test-")))
        self.addCleanup(shutil.rmtree, self.directory)
        self.write("data.bin", CONTENT)

    def write(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def serve_files(self, prefix: str = "/assets", **options: Any) -> Server:
        server = self.serve()
        server.static(prefix, self.directory, **options)
        return server


class StaticTest(FilesTestCase):
    def test_a_file_is_served_whole_with_its_type(self) -> None:
        self.write("css/a.css", "body { content: 'ü' }".encode())
        server = self.serve_files(max_age=3600)
        response = fetch(server, "GET", "/assets/css/a.css")
        self.assertEqual(response.status, 200)
        self.assertEqual(response.text, "body { content: 'ü' }")
        self.assertEqual(response.get("Content-Type"), "text/css; charset=utf-8")
        self.assertEqual(response.get("Cache-Control"), "max-age=3600")
        self.assertEqual(response.get("X-Content-Type-Options"), "nosniff")
        self.assertEqual(response.get("Accept-Ranges"), "bytes")

    def test_head_has_the_fields_of_get_and_the_connection_goes_on(self) -> None:
        server = self.serve_files()
        client = self.connect(server)
        head = client.request("HEAD", "/assets/data.bin")
        get = client.get("/assets/data.bin")
        self.assertEqual(get.body, CONTENT)
        volatile = {"X-Request-ID", "Date"}
        self.assertEqual(
            [field for field in head.fields if field[0] not in volatile],
            [field for field in get.fields if field[0] not in volatile],
        )

    def test_a_second_visit_is_a_304_and_the_connection_goes_on(self) -> None:
        server = self.serve_files()
        client = self.connect(server)
        first = client.get("/assets/data.bin")
        for name, field in (("If-None-Match", "ETag"), ("If-Modified-Since", "Last-Modified")):
            again = client.get("/assets/data.bin", fields={name: first.get(field) or ""})
            self.assertEqual(again.status, 304)
            self.assertEqual(again.get("ETag"), first.get("ETag"))
            self.assertIsNone(again.get("Content-Type"))
        self.assertEqual(client.get("/assets/data.bin").body, CONTENT)

    def test_ranges(self) -> None:
        server = self.serve_files()
        client = self.connect(server)
        for asked, content_range, body in (
            ("bytes=0-9", "bytes 0-9/256000", CONTENT[:10]),
            ("bytes=255990-", "bytes 255990-255999/256000", CONTENT[-10:]),
            ("bytes=-10", "bytes 255990-255999/256000", CONTENT[-10:]),
            ("bytes=1000-200000", "bytes 1000-200000/256000", CONTENT[1000:200001]),
        ):
            with self.subTest(asked):
                response = client.get("/assets/data.bin", fields={"Range": asked})
                self.assertEqual(response.status, 206)
                self.assertEqual(response.get("Content-Range"), content_range)
                self.assertEqual(response.body, body)
        response = client.get("/assets/data.bin", fields={"Range": "bytes=256000-"})
        self.assertEqual(response.status, 416)
        self.assertEqual(response.get("Content-Range"), "bytes */256000")
        response = client.get("/assets/data.bin", fields={"Range": "lines=1-2"})
        self.assertEqual((response.status, response.body), (200, CONTENT))

    def test_several_ranges_arrive_as_parts(self) -> None:
        server = self.serve_files()
        client = self.connect(server)
        response = client.get("/assets/data.bin", fields={"Range": "bytes=0-4,100000-199999,-3"})
        self.assertEqual(response.status, 206)
        kind, _, boundary = (response.get("Content-Type") or "").partition("; boundary=")
        self.assertEqual(kind, "multipart/byteranges")
        start, *parts, end = response.body.split(b"--" + boundary.encode())
        self.assertEqual((start, end), (b"", b"--\r\n"))
        bodies = [part.partition(b"\r\n\r\n")[2][:-2] for part in parts]
        self.assertEqual(bodies, [CONTENT[:5], CONTENT[100000:200000], CONTENT[-3:]])
        self.assertEqual(client.get("/assets/data.bin").body, CONTENT)

    def test_pipelined_files_come_in_order(self) -> None:
        for number in range(10):
            self.write(f"{number}.txt", b"%d" % number * 1000)
        server = self.serve_files()
        client = self.connect(server)
        for number in range(10):
            client.send_request("GET", f"/assets/{number}.txt")
        for number in range(10):
            self.assertEqual(client.read_response().body, b"%d" % number * 1000)

    def test_the_prefix_and_directories(self) -> None:
        server = self.serve_files()
        self.assertEqual(fetch(server, "GET", "/assets").status, 404)  # No index.
        self.assertEqual(fetch(server, "GET", "/assets/").status, 404)
        self.write("index.html", b"home")
        self.write("sub/index.html", b"sub")
        self.assertEqual(fetch(server, "GET", "/assets/").text, "home")
        for target, location in (
            ("/assets", "/assets/"),
            ("/assets/sub", "/assets/sub/"),
            ("/assets/sub?q=%2F", "/assets/sub/?q=%2F"),
        ):
            response = fetch(server, "GET", target)
            self.assertEqual((response.status, response.get("Location")), (301, location))
        self.assertEqual(fetch(server, "GET", "/assets/sub/").text, "sub")

    def test_served_at_the_root_other_routes_come_first(self) -> None:
        self.write("index.html", b"home")
        self.write("evil.example/index.html", b"")

        @self.router.get("/api")
        def api(request: Any) -> str:
            return "api"

        server = self.serve_files("/")
        self.assertEqual(fetch(server, "GET", "/").text, "home")
        self.assertEqual(fetch(server, "GET", "/api").text, "api")
        self.assertEqual(fetch(server, "GET", "/evil.example").get("Location"), "/evil.example/")
        for target in ("//evil.example", "/%2Fevil.example", "//evil.example/%2e%2e", "/%5Cevil"):
            with self.subTest(target):
                response = fetch(server, "GET", target)
                self.assertEqual((response.status, response.get("Location")), (404, None))

    def test_hostile_targets_are_a_404(self) -> None:
        self.write("../secret-" + self.directory.name, b"secret")
        secret = self.directory.parent / ("secret-" + self.directory.name)
        self.addCleanup(secret.unlink)
        self.write(".env", b"secret")
        server = self.serve_files()
        client = self.connect(server)
        for target in (
            f"/assets/../{secret.name}",
            f"/assets/%2e%2e/{secret.name}",
            f"/assets/..%2f{secret.name}",
            f"/assets/%2e%2e%2f{secret.name}",
            f"/assets/..%5c{secret.name}",
            f"/assets/%252e%252e/{secret.name}",
            f"/assets/{secret}",
            f"/assets/%2f{secret}",
            "/assets/.env",
            "/assets/%2eenv",
            "/assets/data.bin%00",
            "/assets/data.bin%00.txt",
            "/assets/data.bin/",
            "/assets/%c0%ae%c0%ae/x",
            "/assets/CON",
            "/assets/c:/windows/win.ini",
        ):
            with self.subTest(target):
                response = client.get(target)
                self.assertEqual(response.status, 404)
                self.assertNotIn(b"secret", response.body)
        self.assertEqual(self.logs.lines(40), [])  # Nothing of this is an error of ours.

    def test_other_methods_are_a_405(self) -> None:
        server = self.serve_files()
        response = fetch(server, "PUT", "/assets/data.bin", b"x")
        self.assertEqual((response.status, response.get("Allow")), (405, "GET, HEAD, OPTIONS"))

    def test_a_compressed_sibling_is_sent_where_it_is_taken(self) -> None:
        self.write("a.txt", b"text " * 1000)
        self.write("a.txt.gz", gzip.compress(b"text " * 1000))
        server = self.serve_files()
        response = fetch(server, "GET", "/assets/a.txt", fields={"Accept-Encoding": "gzip"})
        self.assertEqual(response.get("Content-Encoding"), "gzip")
        self.assertEqual(response.get("Content-Type"), "text/plain; charset=utf-8")
        self.assertEqual(gzip.decompress(response.body), b"text " * 1000)
        etag = response.get("ETag") or ""
        again = fetch(
            server,
            "GET",
            "/assets/a.txt",
            fields={"Accept-Encoding": "gzip", "If-None-Match": etag},
        )
        self.assertEqual((again.status, again.get("Vary")), (304, "Accept-Encoding"))
        plain = fetch(server, "GET", "/assets/a.txt", fields={"If-None-Match": etag})
        self.assertEqual((plain.status, plain.body), (200, b"text " * 1000))
        self.assertEqual(plain.get("Vary"), "Accept-Encoding")

    def test_the_path_of_a_file_can_be_asked_for(self) -> None:
        server = self.serve_files()
        path = server.url_for("/assets", **{"*": "a b/data.bin"})
        self.assertEqual(path, "/assets/a%20b/data.bin")


class FileResponseTest(FilesTestCase):
    def test_a_download_has_its_name(self) -> None:
        path = self.directory / "data.bin"

        @self.router.get("/download")
        def download(request: Any) -> FileResponse:
            return FileResponse(path, filename='Übersicht "1".bin')

        response = fetch(self.serve(), "GET", "/download")
        self.assertEqual(response.body, CONTENT)
        self.assertEqual(
            response.get("Content-Disposition"),
            'attachment; filename="_bersicht _1_.bin"; '
            "filename*=UTF-8''%C3%9Cbersicht%20%221%22.bin",
        )

    def test_a_missing_file_is_a_404(self) -> None:
        @self.router.get("/download")
        def download(request: Any) -> FileResponse:
            return FileResponse(self.directory / "missing")

        self.assertEqual(fetch(self.serve(), "GET", "/download").json, {"error": "Not Found"})

    def test_the_status_of_a_tuple_is_kept(self) -> None:
        self.write("oops.html", b"oops")

        @self.router.get("/oops")
        def oops(request: Any) -> Any:
            return FileResponse(self.directory / "oops.html"), 503, {"Retry-After": "9"}

        response = fetch(self.serve(), "GET", "/oops", fields={"If-None-Match": "*"})
        self.assertEqual((response.status, response.text), (503, "oops"))
        self.assertEqual(response.get("Retry-After"), "9")

    def test_it_can_answer_on_the_reactor_thread(self) -> None:
        @self.router.get("/now", blocking=False)
        def now(request: Any) -> FileResponse:
            return FileResponse(self.directory / "data.bin")

        self.assertEqual(fetch(self.serve(), "GET", "/now").body, CONTENT)

    def test_a_tcp_message_cannot_be_answered_with_a_file(self) -> None:
        @self.router.register("get", protocol="tcp")
        def get(request: Any) -> FileResponse:
            return FileResponse(self.directory / "data.bin")

        client = self.connect_tcp(self.serve())
        client.send('{"command": "get"}\n')
        self.assertIn("Internal Server Error", client.read_line())
        self.logs.wait_for("a file cannot answer a TCP message")


class WithoutSendfileTest(FilesTestCase):
    """Some file systems refuse it."""

    @skipUnless(hasattr(os, "sendfile"), "needs sendfile()")
    def test_where_the_file_system_refuses(self) -> None:
        with mock.patch("os.sendfile", side_effect=OSError(errno.EINVAL, "Invalid argument")):
            self.check()

    def check(self) -> None:
        server = self.serve_files()
        client = self.connect(server, receive_buffer=4096)
        self.assertEqual(client.get("/assets/data.bin").body, CONTENT)
        response = client.get("/assets/data.bin", fields={"Range": "bytes=5-9,70000-150000"})
        self.assertIn(CONTENT[70000:150001], response.body)


@skipUnless(os.path.isdir(_FD_DIRECTORY), "needs a list of this process's descriptors")
class DescriptorTest(FilesTestCase):
    """Whatever becomes of an answer, its descriptors are given back."""

    def setUp(self) -> None:
        super().setUp()
        self.big = self.write("big.bin", b"")
        os.truncate(self.big, BIG)  # A hole: it costs no disk.
        self.server = self.serve_files()
        fetch(self.server, "GET", "/assets/data.bin")  # Threads and log handlers are there.
        self.before = open_descriptors()

    def assert_given_back(self) -> None:
        wait_until(lambda: open_descriptors() <= self.before, "all descriptors are closed")

    def test_after_every_kind_of_answer(self) -> None:
        with_fields = [
            {},
            {"Range": "bytes=0-1,4-5,8-9"},
            {"Range": "bytes=999999-"},
            {"If-None-Match": "*"},
            {"If-Match": '"x"'},
        ]
        for fields in with_fields:
            for method in ("GET", "HEAD"):
                fetch(self.server, method, "/assets/data.bin", fields=fields)
        fetch(self.server, "GET", "/assets/")
        self.assert_given_back()

    def test_after_a_client_that_leaves_in_the_middle(self) -> None:
        for leave in ("reset", "close"):
            for fields in ({}, {"Range": f"bytes=0-20000000,30000000-{BIG}"}):
                client = self.connect(self.server, receive_buffer=4096)
                client.send_request("GET", "/assets/big.bin", fields=fields)
                client.read_head()
                self.assertGreater(open_descriptors(), self.before)
                getattr(client, leave)()
                self.assert_given_back()

    def test_after_a_response_that_cannot_be_sent(self) -> None:
        @self.router.get("/bad")
        def bad(request: Any) -> FileResponse:
            return FileResponse(self.big, headers={"X-Bad": "a\r\nb"})

        self.assertEqual(fetch(self.server, "GET", "/bad").status, 500)
        self.assert_given_back()

    def test_after_a_handler_that_fails_with_a_file_in_its_hands(self) -> None:
        @self.router.get("/bad")
        def bad(request: Any) -> FileResponse:
            FileResponse(self.big)
            raise RuntimeError("too late")

        self.assertEqual(fetch(self.server, "GET", "/bad").status, 500)
        self.assert_given_back()

    def test_after_a_middleware_that_answers_something_else(self) -> None:
        class Replace:
            def process_response(self, request: Any, response: Any) -> Any:
                return {"replaced": True}

        self.server.add_middleware(Replace())
        self.assertEqual(fetch(self.server, "GET", "/assets/big.bin").json, {"replaced": True})
        self.assert_given_back()

    def test_a_slow_reader_gets_every_byte_and_memory_stays_small(self) -> None:
        client = self.connect(self.server, receive_buffer=4096)
        client.send_request("GET", "/assets/big.bin")
        head = client.read_head()
        self.assertEqual(head.get("Content-Length"), str(BIG))
        # Meanwhile another client is served.
        self.assertEqual(fetch(self.server, "GET", "/assets/data.bin").body, CONTENT)
        received = 0
        while received < BIG:
            received += len(client.receive())
        self.assertEqual(received, BIG)
        client.close()
        self.assert_given_back()

    def test_a_file_that_shrinks_does_not_look_complete(self) -> None:
        client = self.connect(self.server, receive_buffer=4096)
        client.send_request("GET", "/assets/big.bin")
        head = client.read_head()
        os.truncate(self.big, 0)
        with self.assertRaises(CutShort):
            client.read_exactly(int(head.get("Content-Length") or 0))
        client.close()
        self.assert_given_back()

    def test_a_file_that_is_deleted_is_sent_to_its_end(self) -> None:
        client = self.connect(self.server, receive_buffer=4096)
        client.send_request("GET", "/assets/big.bin")
        head = client.read_head()
        self.big.unlink()
        length = int(head.get("Content-Length") or 0)
        self.assertEqual(len(client.read_exactly(length)), BIG)
