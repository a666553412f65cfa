"""static: which paths StaticFiles takes, and what it sends for them. Limits row 27 and "Files"."""

from __future__ import annotations

import os
import unittest
from typing import Any
from unittest import mock

from pyliteflux import Config, HTTPError, RouteError
from pyliteflux.app.request import Home
from pyliteflux.app.response import RedirectResponse
from pyliteflux.app.values import make_response
from pyliteflux.extras.static import StaticFiles
from tests.extras.file_cases import DirectoryTestCase, content_of, request_for


class StaticPaths(DirectoryTestCase):
    """Limits row 27: decode once, and nothing outside the root."""

    def setUp(self) -> None:
        super().setUp()
        self.write("root-private/secret.txt", b"secret")
        self.write("secret.txt", b"secret")
        self.write("root/a.txt", b"inside")
        self.write("root/.hidden", b"secret")
        self.write("root/.git/config", b"secret")
        self.write("root/sub/index.html", b"index")
        self.write("root/bare/file.txt", b"inside")
        self.write("root/Mr. X and 50%.txt", b"inside")
        self.files = StaticFiles(self.directory / "root")
        self.home = Home(Config())

    def ask(self, rest: str, **fields: str) -> Any:
        # As the router hands it over: the segments decoded, once.
        request = request_for("GET", "/static/" + rest, rest, **fields)
        request.app = self.home
        response = self.files(request)
        self.addCleanup(response.discard)
        make_response(response, request_for())
        return response

    def assert_refused(self, rest: str) -> None:
        with self.subTest(rest[:40]), self.assertRaises(HTTPError) as caught:
            self.ask(rest)
        self.assertEqual(caught.exception.status, 404)

    def test_files_inside_are_found(self) -> None:
        for rest in ("a.txt", "bare/file.txt", "Mr. X and 50%.txt"):
            with self.subTest(rest):
                response = self.ask(rest)
                self.assertEqual(content_of(response), b"inside")
                self.assertEqual(response.headers["X-Content-Type-Options"], "nosniff")

    def test_hostile_paths_are_a_404(self) -> None:
        for rest in (
            "../secret.txt",
            "sub/../../secret.txt",
            "sub/../a.txt",
            "..",
            ".",
            "./a.txt",
            "../root-private/secret.txt",
            "/etc/passwd",
            "//etc/passwd",
            "/a.txt",
            "sub//index.html",
            "..\\secret.txt",
            "sub\\index.html",
            "\\\\host\\share",
            "C:/secret.txt",
            "c:secret.txt",
            "a.txt\0",
            "a.txt\0.png",
            "a.txt ",
            "a.txt.",
            ".hidden",
            ".git/config",
            "%2e%2e/secret.txt",
            "..%2fsecret.txt",
            "\ud800",
            "\ufffd",
            "x" * 300,
            "x/" * 5000,
            "a.txt/",
            "a.txt/b",
            "bare",
            "bare/",
            "A.TXT/..",
        ):
            self.assert_refused(rest)

    def test_device_names_are_a_404_on_every_system(self) -> None:
        # CVE-2024-49766, CVE-2025-66221.
        for name in ("CON", "nul", "NUL.txt", "aux.tar.gz", "com1", "LPT9.x", "COM¹", "nul .txt"):
            self.write(f"root/{name}", b"device")
            self.assert_refused(name)
            self.assert_refused(f"sub/{name}/x")

    def test_links_inside_the_root_are_followed(self) -> None:
        os.symlink("a.txt", self.directory / "root/link.txt")
        os.symlink("sub", self.directory / "root/linked")
        self.assertEqual(content_of(self.ask("link.txt")), b"inside")
        self.assertEqual(content_of(self.ask("linked/")), b"index")

    def test_links_out_of_the_root_are_a_404(self) -> None:
        # CVE-2024-23334; by commonpath and not by prefix, CVE-2023-29159.
        os.symlink(self.directory / "secret.txt", self.directory / "root/out.txt")
        os.symlink("../root-private", self.directory / "root/out")
        os.symlink("loop", self.directory / "root/loop")
        os.symlink(self.directory / "secret.txt", self.directory / "root/a.txt.gz")
        (self.directory / "root/evil").mkdir()
        os.symlink(self.directory / "secret.txt", self.directory / "root/evil/index.html")
        for rest in ("out.txt", "out/secret.txt", "out/", "loop", "evil/", "evil"):
            self.assert_refused(rest)
        self.assertEqual(content_of(self.ask("a.txt", accept_encoding="gzip")), b"inside")

    def test_links_out_of_the_root_are_followed_where_that_is_asked_for(self) -> None:
        os.symlink(self.directory / "secret.txt", self.directory / "root/out.txt")
        self.home.config.update(static_follow_symlinks=True)
        self.assertEqual(content_of(self.ask("out.txt")), b"secret")
        self.assert_refused("../secret.txt")  # A name never leads out.

    def test_a_root_that_is_a_link_may_move_on(self) -> None:
        os.symlink("root", self.directory / "current")
        self.files = StaticFiles(self.directory / "current")
        self.assertEqual(content_of(self.ask("a.txt")), b"inside")
        self.write("next/a.txt", b"next")
        os.symlink("next", self.directory / "new")
        os.replace(self.directory / "new", self.directory / "current")
        self.assertEqual(content_of(self.ask("a.txt")), b"next")

    def test_a_directory_is_its_index_with_a_slash(self) -> None:
        self.assertEqual(content_of(self.ask("sub/")), b"index")
        response = self.files(request_for("GET", "/static/sub?a=1&b=2", "sub"))
        self.assertIsInstance(response, RedirectResponse)
        self.assertEqual(response.headers["Location"], "/static/sub/?a=1&b=2")
        behind_proxy = request_for("GET", "/static/sub", "sub")
        behind_proxy.root_path = "/app"
        response = self.files(behind_proxy)
        self.assertEqual(response.headers["Location"], "/app/static/sub/")
        self.files = StaticFiles(self.directory / "root", index=None)
        self.assert_refused("sub/")
        self.assert_refused("sub")

    def test_a_redirect_never_leads_to_another_host(self) -> None:
        # CVE-2021-28861, CVE-2023-28370: served at "/", asked for "//evil.example/..".
        self.write("root/evil.example/index.html", b"")
        for target, rest in (
            ("//evil.example", "/evil.example"),
            ("/%2Fevil.example", "/evil.example"),
            ("/\\evil.example", "\\evil.example"),
            ("//evil.example/%2e%2e", "/evil.example/.."),
        ):
            with self.subTest(target), self.assertRaises(HTTPError):
                self.files(request_for("GET", target, rest))

    def test_an_unreadable_file_is_a_404(self) -> None:
        with mock.patch("os.open", side_effect=PermissionError(13, "Permission denied")):
            self.assert_refused("a.txt")

    @unittest.skipUnless(hasattr(os, "mkfifo"), "needs named pipes")
    def test_only_regular_files_are_served(self) -> None:
        os.mkfifo(self.directory / "root/pipe")
        self.assert_refused("pipe")

    def test_a_directory_that_does_not_exist_is_a_route_error(self) -> None:
        with self.assertRaisesRegex(RouteError, "no directory"):
            StaticFiles(self.directory / "missing")


class Precompressed(DirectoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.plain = self.write("a.js", b"plain")
        self.packed = self.write("a.js.gz", b"packed")
        os.utime(self.plain, (1000, 1000))
        os.utime(self.packed, (1000, 1000))

    def ask(self, accept: str | None = "gzip", name: str = "a.js", **options: Any) -> Any:
        fields = {} if accept is None else {"accept_encoding": accept}
        request = request_for("GET", f"/{name}", name, **fields)
        response = StaticFiles(self.directory, **options)(request)
        make_response(response, request)
        self.addCleanup(response.discard)
        return response

    def test_the_sibling_is_sent_to_who_takes_gzip(self) -> None:
        packed, plain = self.ask(), self.ask(None)
        self.assertEqual(packed.headers["Content-Encoding"], "gzip")
        self.assertNotIn("Content-Encoding", plain.headers)
        for response in (packed, plain):
            self.assertEqual(response.headers["Vary"], "Accept-Encoding")
            self.assertEqual(response.content_type, "text/javascript; charset=utf-8")
        self.assertNotEqual(packed.headers["ETag"], plain.headers["ETag"])
        self.assertEqual(content_of(packed), b"packed")
        self.assertEqual(content_of(plain), b"plain")

    def test_quality_values_decide(self) -> None:
        table = {
            "gzip;q=0": b"plain",
            "gzip; q=0.0": b"plain",
            "*;q=0": b"plain",
            "identity, gzip;q=0.5": b"plain",
            "gzip;q=x": b"plain",
            "br": b"plain",
            "": b"plain",
            "br, GZIP;q=0.1": b"packed",
            "x-gzip": b"packed",
            "*": b"packed",
            "gzip;q=1.000, identity;q=0.5": b"packed",
            "gzip, deflate, br": b"packed",
            ",".join(["a"] * 10000 + ["gzip"]): b"plain",
        }
        for accept, content in table.items():
            with self.subTest(accept[:40]):
                self.assertEqual(content_of(self.ask(accept)), content)

    def test_a_sibling_that_is_older_is_stale(self) -> None:
        os.utime(self.plain, (2000, 2000))
        response = self.ask()
        self.assertEqual(content_of(response), b"plain")
        self.assertNotIn("Vary", response.headers)

    def test_off_by_request(self) -> None:
        self.assertEqual(content_of(self.ask(precompressed=False)), b"plain")

    def test_the_compressed_file_itself_is_a_gzip_file(self) -> None:
        response = self.ask(name="a.js.gz")
        self.assertEqual(response.content_type, "application/gzip")
        self.assertNotIn("Content-Encoding", response.headers)


if __name__ == "__main__":
    unittest.main()
