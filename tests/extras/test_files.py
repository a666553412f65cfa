"""files: what a FileResponse becomes for a request, and who owns its descriptor.

RFC 9110 sections 13 to 15, RFC 6266.
"""

from __future__ import annotations

import os
import unittest
from typing import Any
from unittest import mock

from pyliteflux import FileResponse, HTTPError
from pyliteflux.app.request import HTTPRequest, TCPRequest
from pyliteflux.app.values import make_response
from pyliteflux.extras.files import disposition
from pyliteflux.filepiece import FilePiece
from tests.extras.file_cases import CONTENT, DirectoryTestCase, content_of, request_for


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


class FileResponses(DirectoryTestCase):
    def answer(self, request: HTTPRequest | None = None, **options: Any) -> FileResponse:
        path = self.directory / "data.bin"
        response = FileResponse(path if path.exists() else self.write("data.bin"), **options)
        self.addCleanup(response.discard)
        make_response(response, request or request_for())
        return response

    def test_a_whole_file_is_described_and_sent(self) -> None:
        response = self.answer(max_age=60)
        self.assertEqual(response.status, 200)
        self.assertEqual(response.length, len(CONTENT))
        self.assertEqual(response.headers["Accept-Ranges"], "bytes")
        self.assertEqual(response.headers["Cache-Control"], "max-age=60")
        self.assertIn(("Content-Type", "application/octet-stream"), response.fields())
        self.assertRegex(response.headers["ETag"], r'\A"[0-9a-f]+-400"\Z')
        self.assertEqual(content_of(response), CONTENT)

    def test_an_empty_file_has_no_segment(self) -> None:
        response = FileResponse(self.write("empty.txt", b""))
        make_response(response, request_for(range="bytes=0-5"))
        self.addCleanup(response.discard)
        self.assertEqual((response.status, response.length), (200, 0))
        self.assertEqual(tuple(response.segments), ())

    def test_head_knows_the_length_and_holds_no_file(self) -> None:
        response = self.answer(request_for("HEAD", range="bytes=0-5"))
        self.assertEqual((response.status, response.length), (200, len(CONTENT)))
        self.assertEqual(tuple(response.segments), ())

    def test_a_file_that_has_not_changed_is_a_304_without_content(self) -> None:
        etag = self.answer().headers["ETag"]
        response = self.answer(
            request_for(if_none_match=etag), max_age=5, headers={"Vary": "X", "Set-Cookie": "a=1"}
        )
        self.assertEqual((response.status, response.length), (304, 0))
        # RFC 9110 section 15.4.5: what must be there, and what should not.
        names = {name for name, _ in response.fields()}
        self.assertLessEqual({"ETag", "Cache-Control", "Vary", "Set-Cookie"}, names)
        self.assertFalse({"Content-Type", "Last-Modified"} & names)
        self.assertEqual(tuple(response.segments), ())

    def test_a_failed_guard_is_a_412(self) -> None:
        response = self.answer(request_for(if_match='"old"'), max_age=5, filename="x")
        self.assertEqual(response.status, 412)
        names = {name for name, _ in response.fields()}
        self.assertFalse({"ETag", "Cache-Control", "Content-Disposition"} & names)
        self.assertEqual(content_of(response), b'{"error": "Precondition Failed"}')

    def test_a_range_is_a_206(self) -> None:
        response = self.answer(request_for(range="bytes=10-19"))
        self.assertEqual((response.status, response.length), (206, 10))
        self.assertEqual(response.headers["Content-Range"], "bytes 10-19/1024")
        self.assertEqual(content_of(response), CONTENT[10:20])

    def test_several_ranges_are_a_multipart(self) -> None:
        response = self.answer(request_for(range="bytes=0-1,-2"), content_type="image/png")
        self.assertEqual(response.status, 206)
        self.assertNotIn("Content-Range", response.headers)
        kind, _, boundary = response.headers["Content-Type"].partition("; boundary=")
        self.assertEqual(kind, "multipart/byteranges")
        length = response.length
        content = content_of(response)
        self.assertEqual(len(content), length)
        self.assertEqual(
            content,
            b"--%(b)b\r\nContent-Type: image/png\r\nContent-Range: bytes 0-1/1024\r\n\r\n\0\1"
            b"\r\n--%(b)b\r\nContent-Type: image/png\r\nContent-Range: bytes 1022-1023/1024\r\n"
            b"\r\n\xfe\xff\r\n--%(b)b--\r\n" % {b"b": boundary.encode()},
        )

    def test_a_content_type_cannot_smuggle_lines_into_a_part(self) -> None:
        response = FileResponse(self.write("data.bin"), content_type="a/b\r\nX: y")
        self.addCleanup(response.discard)
        with self.assertRaises(ValueError):
            make_response(response, request_for(range="bytes=0-1,-2"))

    def test_ranges_beyond_the_end_are_a_416(self) -> None:
        response = self.answer(request_for(range="bytes=1024-"))
        self.assertEqual(response.status, 416)
        self.assertEqual(response.headers["Content-Range"], "bytes */1024")
        self.assertIn(b"Range Not Satisfiable", content_of(response))

    def test_if_range_of_another_version_gets_the_whole(self) -> None:
        response = self.answer(request_for(range="bytes=0-1", if_range='"old"'))
        self.assertEqual((response.status, response.length), (200, len(CONTENT)))
        etag = response.headers["ETag"]
        response = self.answer(request_for(range="bytes=0-1", if_range=etag))
        self.assertEqual((response.status, response.length), (206, 2))

    def test_a_not_modified_range_is_a_304(self) -> None:
        etag = self.answer().headers["ETag"]
        response = self.answer(request_for(range="bytes=0-1", if_none_match=etag))
        self.assertEqual(response.status, 304)

    def test_conditions_and_ranges_are_only_for_what_would_be_a_200(self) -> None:
        # RFC 9110 section 13.2.1: an error page is not a version of the page.
        asked = request_for(range="bytes=0-1", if_none_match="*")
        self.assertEqual(self.answer(asked, status=404).status, 404)
        asked.response_status = 404  # As a handler's (FileResponse(...), 404) sets it.
        response = self.answer(asked)
        self.assertEqual((response.status, response.length), (404, len(CONTENT)))

    def test_the_answer_to_a_post_is_unconditional(self) -> None:
        response = self.answer(request_for("POST", range="bytes=0-1", if_none_match="*"))
        self.assertEqual((response.status, response.length), (200, len(CONTENT)))

    def test_unconditional_on_request(self) -> None:
        response = self.answer(request_for(range="bytes=0-1"), conditional=False)
        self.assertEqual((response.status, response.length), (200, len(CONTENT)))
        self.assertNotIn("ETag", response.headers)
        self.assertNotIn("Accept-Ranges", response.headers)

    def test_validators_of_the_handler_win(self) -> None:
        own = {"ETag": '"mine"', "Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT"}
        response = self.answer(headers=own)
        self.assertEqual(response.headers["ETag"], '"mine"')
        for field, status in (
            ({"if_none_match": '"mine"'}, 304),
            ({"if_modified_since": own["Last-Modified"]}, 304),
            ({"if_modified_since": "Sun, 06 Nov 1994 08:49:36 GMT"}, 200),
        ):
            self.assertEqual(self.answer(request_for(**field), headers=own).status, status)

    def test_another_coding_is_another_tag(self) -> None:
        path = self.write("data.bin")
        tags = []
        for headers in (None, {"Content-Encoding": "gzip"}):
            response = FileResponse(path, headers=headers)
            make_response(response, request_for())
            self.addCleanup(response.discard)
            tags.append(response.headers["ETag"])
        self.assertNotEqual(*tags)

    def test_a_date_in_the_future_is_not_told(self) -> None:
        # RFC 9110 section 8.8.2.1.
        path = self.write("data.bin")
        os.utime(path, (4102444800, 4102444800))
        response = FileResponse(path)
        make_response(response, request_for())
        self.addCleanup(response.discard)
        self.assertNotIn("2100", response.headers["Last-Modified"])

    def test_what_is_no_file_is_a_404(self) -> None:
        (self.directory / "sub").mkdir()
        for name in ("missing", "sub", "missing/file", "a\0b", "x" * 5000):
            with self.subTest(name[:20]), self.assertRaises(HTTPError) as caught:
                FileResponse(f"{self.directory}/{name}")
            self.assertEqual(caught.exception.status, 404)

    @unittest.skipUnless(hasattr(os, "mkfifo"), "needs named pipes")
    def test_a_pipe_is_a_404_and_does_not_hang(self) -> None:
        os.mkfifo(self.directory / "pipe")
        with self.assertRaises(HTTPError):
            FileResponse(self.directory / "pipe")

    def test_a_file_cannot_answer_a_tcp_message(self) -> None:
        response = FileResponse(self.write("data.bin"))
        self.addCleanup(response.discard)
        with self.assertRaisesRegex(TypeError, "TCP"):
            response.prepare(TCPRequest("get"))

    def test_a_response_is_sent_once(self) -> None:
        response = self.answer()
        with self.assertRaisesRegex(ValueError, "once"):
            make_response(response, request_for())


class Descriptors(DirectoryTestCase):
    """Who holds a descriptor closes it, whatever happens."""

    def opened(self, **options: Any) -> tuple[FileResponse, int]:
        response = FileResponse(self.write("data.bin"), **options)
        self.assertTrue(is_open(response._fd))
        return response, response._fd

    def test_a_response_that_nobody_sends_closes_its_file(self) -> None:
        response, fd = self.opened()
        del response
        self.assertFalse(is_open(fd))

    def test_discard_closes_all_and_may_come_twice(self) -> None:
        response, fd = self.opened()
        make_response(response, request_for(range="bytes=0-0,2-2,4-4"))
        fds = [piece.fd for piece in response.segments if isinstance(piece, FilePiece)]
        self.assertEqual(len(fds), 3)
        self.assertEqual(len(set(fds)), 3)
        response.discard()
        self.assertFalse(any(is_open(item) for item in [fd, *fds]))
        other = os.open(self.directory, os.O_RDONLY)  # Takes the lowest of those numbers.
        self.addCleanup(os.close, other)
        response.discard()
        del response
        self.assertTrue(is_open(other), "a descriptor of somebody else was closed")

    def test_what_the_transport_has_taken_is_left_alone(self) -> None:
        response, _ = self.opened()
        make_response(response, request_for())
        (segment,), response.segments = response.segments, ()
        del response
        self.assertTrue(is_open(segment.fd))
        segment.close()
        self.assertFalse(is_open(segment.fd))

    def test_no_file_is_kept_for_an_answer_without_content(self) -> None:
        for request in (
            request_for("HEAD"),
            request_for(if_none_match="*"),
            request_for(if_match='"x"'),
            request_for(range="bytes=5000-"),
        ):
            response, fd = self.opened()
            make_response(response, request)
            self.assertFalse(is_open(fd), response.status)

    def test_descriptors_that_run_out_between_parts_leave_none_behind(self) -> None:
        response, fd = self.opened()
        real_dup, made = os.dup, []

        def dup(number: int) -> int:
            if len(made) == 2:
                raise OSError(24, "Too many open files")
            made.append(real_dup(number))
            return made[-1]

        with mock.patch("os.dup", dup), self.assertRaises(OSError):
            make_response(response, request_for(range="bytes=0-0,2-2,4-4"))
        response.discard()
        self.assertFalse(any(is_open(item) for item in [fd, *made]))


class Names(unittest.TestCase):
    def test_a_name_to_show_a_file_under(self) -> None:
        self.assertEqual(disposition("a b.pdf", inline=True), 'inline; filename="a b.pdf"')
        response = FileResponse(__file__, filename="数.py", inline=True)
        self.addCleanup(response.discard)
        self.assertEqual(
            response.headers["Content-Disposition"],
            "inline; filename=\"_.py\"; filename*=UTF-8''%E6%95%B0.py",
        )

    def test_file_names_of_downloads(self) -> None:
        # RFC 6266 section 4.3 and appendix D.
        table = {
            "a b.txt": 'attachment; filename="a b.txt"',
            "naïve.txt": "attachment; filename=\"na_ve.txt\"; filename*=UTF-8''na%C3%AFve.txt",
            'a".txt': "attachment; filename=\"a_.txt\"; filename*=UTF-8''a%22.txt",
            "50%41.txt": "attachment; filename=\"50_41.txt\"; filename*=UTF-8''50%2541.txt",
            "../../etc/passwd": 'attachment; filename=".._.._etc_passwd"',
            "..\\x": 'attachment; filename=".._x"',
            "a\r\nSet-Cookie: b=c": 'attachment; filename="a__Set-Cookie: b=c"',
            "a\0b\x7f": 'attachment; filename="a_b_"',
            "a\u202etxt.exe": 'attachment; filename="a_txt.exe"',
            "\ud800": "attachment; filename=\"_\"; filename*=UTF-8''%3F",
        }
        for name, field in table.items():
            with self.subTest(name):
                self.assertEqual(disposition(name), field)
                field.encode("ascii")


if __name__ == "__main__":
    unittest.main()
