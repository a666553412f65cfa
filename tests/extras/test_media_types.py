"""media_types: one table, the same on every machine."""

from __future__ import annotations

import unittest

from pyliteflux.extras.media_types import MEDIA_TYPES, guess_type


class MediaTypes(unittest.TestCase):
    def test_media_types(self) -> None:
        table = {
            "a.html": "text/html; charset=utf-8",
            "a.CSS": "text/css; charset=utf-8",
            "a.js": "text/javascript; charset=utf-8",
            "a.json": "application/json",
            "a.svg": "image/svg+xml",
            "a.png": "image/png",
            "a.woff2": "font/woff2",
            "a.wasm": "application/wasm",
            "a.tar.gz": "application/gzip",
            "a.html.gz": "application/gzip",
            "a": "application/octet-stream",
            "a.nobody-knows": "application/octet-stream",
            # D8: these came from the tables of the system.
            "a.ts": "video/mp2t",
            "a.log": "text/plain; charset=utf-8",
            "a.yaml": "application/yaml",
            "a.mp4": "video/mp4",
            "a.docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "a.pdf": "application/pdf",
            "a.html.br": "application/octet-stream",
            ".html": "application/octet-stream",
            "data:text/html,x": "application/octet-stream",
        }
        for name, content_type in table.items():
            with self.subTest(name):
                self.assertEqual(guess_type(f"/dir.html/{name}"), content_type)

    def test_each_row_of_the_table_is_an_extension_and_a_media_type(self) -> None:
        for extension, kind in MEDIA_TYPES.items():
            self.assertRegex(extension, r"\A\.[a-z0-9]+\Z")
            self.assertRegex(kind, r"\A[a-z]+/[a-z0-9][a-z0-9.+-]+\Z")


if __name__ == "__main__":
    unittest.main()
