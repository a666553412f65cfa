"""multipart: bodies with files in them, however they are cut, and their limits (Q2)."""

from __future__ import annotations

import io
import itertools
import os
import random
import sys
import tempfile
import unittest
import zipfile
from collections.abc import Callable
from typing import Any
from unittest import mock

from pyliteflux.app import multipart
from pyliteflux.app.forms import (
    PIECE,
    FormLimits,
    MultiDict,
)
from pyliteflux.app.multipart import (
    PREAMBLE_LIMIT,
    MultipartParser,
    UploadedFile,
    close_files,
)
from pyliteflux.config import Config
from pyliteflux.errors import HTTPError

LIMITS = FormLimits(
    fields=10, parts=20, memory=1000, part_headers=4, part_header_size=300, upload_memory=100
)
BOUNDARY = b"----WebKitFormBoundary7MA4YWxk"


def part(disposition: str, content: bytes, *headers: str) -> bytes:
    """One part as it stands behind a boundary line."""
    lines = [f"Content-Disposition: {disposition}", *headers]
    return "".join(line + "\r\n" for line in lines).encode() + b"\r\n" + content


def body(*parts: bytes) -> bytes:
    """A whole multipart body of these parts."""
    pieces = [b"--" + BOUNDARY + b"\r\n" + one + b"\r\n" for one in parts]
    return b"".join(pieces) + b"--" + BOUNDARY + b"--\r\n"


def text(name: str, value: bytes = b"") -> bytes:
    return part(f'form-data; name="{name}"', value)


def upload(content: bytes, filename: str = "a.bin", name: str = "f") -> bytes:
    return part(f'form-data; name="{name}"; filename="{filename}"', content)


def calls_made(function: Callable[[], object]) -> int:
    """Count the calls, of Python and of C functions, that a function makes: work, not time."""
    count = 0

    def profile(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    except HTTPError:
        pass
    finally:
        sys.setprofile(before)
    return count


class CountingBuffer(bytearray):
    """A bytearray that counts the bytes its searches touch, and how large it became."""

    touched = 0
    largest = 0

    def find(self, sub: Any, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        stop = len(self) if end is None else min(end, len(self))
        found = super().find(sub, start, stop)
        self.touched += (found if found >= 0 else stop) - start + 1
        self.largest = max(self.largest, len(self))
        return found


class FormCase(unittest.TestCase):
    def parse(
        self, data: bytes, limits: FormLimits = LIMITS, boundary: bytes = BOUNDARY
    ) -> tuple[MultiDict[str], MultiDict[UploadedFile]]:
        parser = MultipartParser(boundary, limits)
        parser.feed(data)
        fields, files = parser.finish()
        self.addCleanup(close_files, files)
        return fields, files

    def refused(self, status: int, data: bytes, limits: FormLimits = LIMITS) -> str:
        """The data is answered with this status, whole and byte by byte; return the text."""
        messages = []
        for size in (len(data) or 1, 1):
            parser = MultipartParser(BOUNDARY, limits)
            with self.assertRaises(HTTPError) as caught:
                for start in range(0, len(data), size):
                    parser.feed(data[start : start + size])
                parser.finish()
            self.assertEqual(caught.exception.status, status, caught.exception.message)
            messages.append(caught.exception.message)
        return str(messages[0])

    def one_file(self, data: bytes, limits: FormLimits = LIMITS) -> UploadedFile:
        _, files = self.parse(data, limits)
        [file] = files.values()
        return file


class MultipartTests(FormCase):
    def test_fields_and_files_are_told_apart(self) -> None:
        fields, files = self.parse(
            body(
                text("a", b"1"),
                text("a", "zwei ü".encode()),
                part('form-data; name="f"; filename="x.txt"', b"hello", "Content-Type: Text/Plain"),
                upload(b"two", "y.bin"),
                text("empty"),
            )
        )
        self.assertEqual(fields, {"a": "1", "empty": ""})
        self.assertEqual(fields.getlist("a"), ["1", "zwei ü"])
        first, second = files.getlist("f")
        self.assertEqual((first.name, first.filename, first.size), ("f", "x.txt", 5))
        self.assertEqual((first.content_type, first.read()), ("text/plain", b"hello"))
        self.assertEqual(first.headers["content-type"], "Text/Plain")
        self.assertEqual(second.content_type, "application/octet-stream")

    def test_a_form_without_parts_is_empty(self) -> None:
        self.assertEqual(self.parse(b"--" + BOUNDARY + b"--"), ({}, {}))

    def test_preamble_epilogue_and_padding_are_ignored(self) -> None:
        data = body(text("a", b"1")).replace(BOUNDARY + b"\r\n", BOUNDARY + b" \t\r\n")
        fields, _ = self.parse(b"This is\r\n--not it\r\n" + data + b"--" + BOUNDARY + b"\r\nfoo")
        self.assertEqual(fields, {"a": "1"})

    def test_a_boundary_that_does_not_begin_its_line_is_no_boundary(self) -> None:
        data = b"x" + body(text("a", b"1"))  # All but the last boundary is preamble.
        self.assertEqual(self.parse(data), ({}, {}))

    def test_content_that_looks_like_a_boundary_stays_content(self) -> None:
        delimiter = b"\r\n--" + BOUNDARY
        for content in (
            b"", b"\r\n", b"\r", b"\n--" + BOUNDARY, b"\r--" + BOUNDARY, b"--" + BOUNDARY + b"--",
            delimiter[:-1], delimiter[:-1] + b"!", delimiter[:-1] * 3, b"\r\n" * 5, b"\r\n-",
            b"\r\r\n--", b"\r\n--" + BOUNDARY.lower(),
        ):  # fmt: skip
            with self.subTest(content):
                fields, files = self.parse(body(text("t", content), upload(content)))
                self.assertEqual(fields["t"].encode(), content)
                self.assertEqual(files["f"].read(), content)

    def test_every_split_of_a_body_gives_the_same_result(self) -> None:
        data = b"pre\r\n" + body(
            text("a", b"1\r\n--" + BOUNDARY[:-1]), upload(bytes(range(256))), text("b", b"\r\n")
        )
        whole = self.parse(data)
        content = whole[1]["f"].read()
        for cut in range(len(data)):
            self.assertEqual(self.read_pieces([data[:cut], data[cut:]]), (whole[0], content))
        self.assertEqual(
            self.read_pieces([data[i : i + 1] for i in range(len(data))]), (whole[0], content)
        )

    def read_pieces(self, pieces: list[bytes]) -> tuple[MultiDict[str], bytes]:
        parser = MultipartParser(BOUNDARY, LIMITS)
        for piece in pieces:
            parser.feed(piece)
        fields, files = parser.finish()
        with files["f"] as file:
            return fields, file.read()

    def test_random_bodies_in_random_pieces_give_what_was_put_in(self) -> None:
        chance = random.Random(20240607)
        words = [b"\r", b"\n", b"-", b"--", b"\r\n--", BOUNDARY[:9], b"\r\n--" + BOUNDARY[:-2],
                 b"x", b"\0", b"\xff", b"yz" * 40]  # fmt: skip
        limits = LIMITS._replace(memory=100_000)
        for _ in range(300):
            parts, texts, contents = [], [], []
            for number in range(chance.randrange(6)):
                content = b"".join(chance.choices(words, k=chance.randrange(12)))
                if chance.random() < 0.5:
                    texts.append((f"t{number}", content.decode("utf-8", "replace")))
                    parts.append(text(f"t{number}", content))
                else:
                    contents.append((f"f{number}", content))
                    parts.append(upload(content, name=f"f{number}"))
            data = body(*parts)
            parser = MultipartParser(BOUNDARY, limits)
            start = 0
            while start < len(data):
                end = start + chance.choice((1, 2, 3, 7, 40, 200))
                parser.feed(data[start:end])
                start = end
            fields, files = parser.finish()
            self.assertEqual(list(fields.items()), texts)
            self.assertEqual([(name, file.read()) for name, file in files.items()], contents)
            close_files(files)

    def test_random_garbage_gives_the_same_status_whatever_the_pieces(self) -> None:
        chance = random.Random(7)
        good = body(text("a", b"1"), upload(b"x" * 150))
        for _ in range(400):
            data = bytearray(good)
            for _ in range(chance.randrange(1, 4)):
                at = chance.randrange(len(data))
                data[at : at + chance.randrange(3)] = chance.choice(
                    (b"", b"\r", b"\n", b"\0", b"-", b";", b'"', b"\r\n", b"=", b"\\")
                )
            outcomes = {self.status_of(bytes(data), size) for size in (len(data), 1, 13)}
            self.assertEqual(len(outcomes), 1, bytes(data))

    def status_of(self, data: bytes, size: int) -> int:
        parser = MultipartParser(BOUNDARY, LIMITS)
        try:
            for start in range(0, len(data), size):
                parser.feed(data[start : start + size])
            close_files(parser.finish()[1])
        except HTTPError as error:
            return error.status
        return 200

    def test_the_charset_of_a_text_field_is_obeyed(self) -> None:
        for charset, raw in (
            ("iso-8859-1", b"\xfc"),
            ("UTF-8", "ü".encode()),
            ("gbk", b"\xa8\xb9"),
        ):
            data = body(
                part('form-data; name="a"', raw, f'Content-Type: text/plain; charset="{charset}"')
            )
            self.assertEqual(self.parse(data)[0]["a"], "ü")
        self.assertEqual(self.parse(body(text("a", b"\xfc")))[0]["a"], "\ufffd")

    def test_a_field_in_a_charset_that_is_not_listed_is_read_as_utf_8(self) -> None:
        """As `request.text` is. What it leaves behind, and what costs: tests/test_charsets.py."""
        for charset in (
            "punycode",
            "idna",
            "undefined",
            "utf-7",
            "unicode_escape",
            "x" * 90,
        ):
            kind = f'Content-Type: t/p; charset="{charset}"'
            data = body(part('form-data; name="a"', "ü-".encode(), kind))
            self.assertEqual(self.parse(data)[0]["a"], "ü-")

    def test_a_transfer_encoding_that_needs_decoding_is_refused(self) -> None:
        for encoding in ("base64", "quoted-printable", "x"):
            header = f"Content-Transfer-Encoding: {encoding}"
            self.refused(400, body(part('form-data; name="a"', b"x", header)))
        for encoding in ("7bit", "8BIT", "binary"):
            header = f"Content-Transfer-Encoding: {encoding}"
            self.assertEqual(
                self.parse(body(part('form-data; name="a"', b"x", header)))[0]["a"], "x"
            )

    def test_broken_syntax_is_a_400(self) -> None:
        edge = b"--" + BOUNDARY
        good = body(text("a", b"1"))
        for data in (
            b"",
            b"a=1&b=2",
            good[: -len(b"--\r\n")],  # The last boundary without its hyphens.
            good[:-5],
            edge,
            edge + b"-",
            edge + b"\r\n",
            edge + b"\r\n\r\nx\r\n" + edge + b"--",  # A part without headers.
            good.replace(b"\r\n", b"\n"),
            edge + b"x" + good,  # The boundary is a prefix of a longer line.
            good.replace(edge + b"--", edge + b"x--"),
            edge + b" " * 70 + good[len(edge) :],
        ):
            with self.subTest(data):
                self.refused(400, data)

    def test_bad_part_headers_are_a_400(self) -> None:
        for header in (
            "no colon", "Content-Type : a/b", ": empty", "X: a\0b", "X: a\rb", "X: a\nb",
            "X y: z", "X\xe9: z", "X: \x1b[31m", 'Content-Disposition: form-data; name="b"',
        ):  # fmt: skip
            with self.subTest(header):
                self.refused(400, body(part('form-data; name="a"', b"1", header)))

    def test_a_folded_header_line_is_unfolded_before_it_is_read(self) -> None:
        data = body(b'Content-Disposition: form-data;\r\n name="a";\r\n\tfilename=b\r\n\r\n1')
        self.assertEqual(self.one_file(data).filename, "b")

    def test_bad_dispositions_are_a_400(self) -> None:
        for disposition in (
            "form-data", "form-data; filename=x", "attachment; name=a", "", "; name=a",
            'form-data; name="a', 'form-data; name="a"b"', "form-data; name=a; name=b",
            "form-data; name=a; filename=b; filename=c",
            "form-data; name=a; filename*0=b; filename*1=c",
            "form-data; name=a; filename*" + "9" * 200 + "=b",
            "form-data; name=a; filename*=a; filename*=b",
            "form-data; name=a; filename*=utf-8''a%00b", "form-data; name=a; filename*=utf-8''%0A",
            'form-data; name=a; filename="a\tb"',
        ):  # fmt: skip
            with self.subTest(disposition):
                self.refused(400, body(part(disposition, b"1")))
        self.refused(400, body(b"Content-Type: text/plain\r\n\r\n1"))
        self.refused(400, body(b"\r\n1"))

    def test_file_names_are_read_as_browsers_write_them(self) -> None:
        for given, expected in (
            ('filename="a.txt"', "a.txt"),
            ("filename=a.txt", "a.txt"),
            ('FileName = "a.txt"', "a.txt"),
            ('filename="a;b=c.txt"', "a;b=c.txt"),
            ('filename="a%22b.txt"', 'a"b.txt'),
            (r'filename="a\"b.txt"', 'a"b.txt'),
            ('filename="100%.txt"', "100%.txt"),
            ('filename="a%0D%0Ab"', "a%0D%0Ab"),
            ('filename="你好.txt"', "你好.txt"),
            ("filename*=UTF-8''na%C3%AFve%20file.txt", "naïve file.txt"),
            ("filename*=iso-8859-1'en'%A3", "£"),
            ("filename=plain; filename*=utf-8''better", "better"),
            ("filename*=utf-8''better; filename=plain", "better"),
            ('filename=""', ""),
        ):
            with self.subTest(given):
                data = body(part(f"form-data; name=f; {given}", b"1"))
                self.assertEqual(self.one_file(data).filename, expected)

    def test_an_odd_extended_file_name_gives_way_to_the_plain_one(self) -> None:
        """`multipart-filename-star-charset`: RFC 8187 section 3.2.1, it decides nothing."""
        for odd in ("GBK''%B1%A8.txt", "x", "utf-8'x", "punycode''x", "''x", "utf-8''a%00b", ""):
            for both in (
                f'filename="a.txt"; filename*={odd}',
                f'filename*={odd}; filename="a.txt"',
            ):
                with self.subTest(both):
                    data = body(part(f"form-data; name=f; {both}", b"1"))
                    self.assertEqual(self.one_file(data).filename, "a.txt")
        continued = body(part("form-data; name=f; filename=a; filename*0=b; filename*1=c", b"1"))
        self.assertEqual(self.one_file(continued).filename, "a")

    def test_an_odd_extended_file_name_alone_is_read_as_well_as_it_goes(self) -> None:
        for odd, expected in (
            ("GBK''%B1%A8.txt", "报.txt"), ("x", "x"), ("utf-8'x", "utf-8'x"),
            ("punycode''bcher-kva", "bcher-kva"), ("unheard''%C3%BC", "ü"),
        ):  # fmt: skip
            with self.subTest(odd):
                data = body(part(f"form-data; name=f; filename*={odd}", b"1"))
                self.assertEqual(self.one_file(data).filename, expected)

    def test_a_parameter_that_decides_nothing_may_come_twice(self) -> None:
        data = body(part("form-data; name=f; filename=a; size=1; size=2", b"1"))
        self.assertEqual(self.one_file(data).filename, "a")

    def test_a_file_name_never_holds_a_path(self) -> None:
        for given, expected in (
            ("../../etc/passwd", "passwd"), ("/abs", "abs"), (r"C:\Users\me\a.txt", "a.txt"),
            (r"\\host\share\a", "a"), ("a/..", ""), ("..", ""), (".", ""), ("a/", ""),
            (r"..\../x", "x"), (".bashrc", ".bashrc"),
        ):  # fmt: skip
            with self.subTest(given):
                self.assertEqual(self.one_file(body(upload(b"1", given))).filename, expected)
        data = body(part("form-data; name=f; filename*=utf-8''..%2F..%5Cx", b"1"))
        self.assertEqual(self.one_file(data).filename, "x")

    def test_a_boundary_is_printable_and_does_not_end_with_a_blank(self) -> None:
        """`multipart-boundary-of-stars`."""
        for good in (b"x", b"x" * 70, b"a b", b"'()+_,-./:=?", b"*****", b'a";', b"~!{}|[]<>@"):
            data = b"--" + good + b"--"
            self.assertEqual(self.parse(data, boundary=good), ({}, {}))
            data = b"--" + good + b"\r\n" + text("a", b"*") + b"\r\n--" + good + b"--\r\n"
            self.assertEqual(self.parse(data, boundary=good)[0], {"a": "*"})
        for bad in (b"", b"x" * 71, b"a ", b" ", b"a\r\nb", b"a\0", b"a\t", b"\xc3\xa9", b"a\n"):
            with self.assertRaises(HTTPError) as caught:
                MultipartParser(bad, LIMITS)
            self.assertEqual(caught.exception.status, 400)

    def test_a_parser_that_has_ended_takes_nothing_more(self) -> None:
        parser = MultipartParser(BOUNDARY, LIMITS)
        parser.feed(body())
        parser.finish()
        self.assertRaises(ValueError, parser.feed, b"x")
        self.assertRaises(ValueError, parser.finish)
        parser.close()

    def test_the_moves_of_the_state_table_reach_every_state(self) -> None:
        self.assertEqual(set(multipart.NEXT), set(multipart.FormState))
        self.assertEqual(
            set().union(*multipart.NEXT.values()), set(multipart.FormState) - {multipart.PREAMBLE}
        )


class LimitTests(FormCase):
    def test_at_each_limit_a_form_passes_and_over_it_it_is_a_413_that_names_the_setting(
        self,
    ) -> None:
        size = len(b'Content-Disposition: form-data; name="a"')
        for setting, limits, good, bad in (
            ("max_form_fields = 2", LIMITS._replace(fields=2), [text("a")] * 2, [text("a")] * 3),
            ("max_form_parts = 2", LIMITS._replace(parts=2),
             [text("a"), upload(b"")], [text("a"), upload(b""), upload(b"")]),
            ("max_form_memory = 12", LIMITS._replace(memory=12),
             [text("a", b"12345"), text("b", b"12345")],
             [text("a", b"12345"), text("b", b"123456")]),
            ("max_part_headers = 2", LIMITS._replace(part_headers=2),
             [part('form-data; name="a"', b"", "X: y")],
             [part('form-data; name="a"', b"", "X: y", "Y: z")]),
            (f"max_part_header_size = {size}", LIMITS._replace(part_header_size=size),
             [text("a")], [text("aa")]),
        ):  # fmt: skip
            with self.subTest(setting):
                self.parse(body(*good), limits)
                parser = MultipartParser(BOUNDARY, limits)
                for byte in body(*good):
                    parser.feed(bytes((byte,)))
                parser.finish()
                self.assertIn(setting, self.refused(413, body(*bad), limits))

    def test_the_limits_come_from_the_settings(self) -> None:
        config = Config(
            max_form_fields=1, max_form_parts=2, max_form_memory=3, max_part_headers=4,
            max_part_header_size=5, upload_memory=6,
        )  # fmt: skip
        self.assertEqual(FormLimits.from_config(config), FormLimits(1, 2, 3, 4, 5, 6))

    def test_part_headers_that_never_end_are_refused_when_the_limit_is_passed(self) -> None:
        # CVE-2026-42561.
        parser = MultipartParser(BOUNDARY, LIMITS)
        parser.feed(b"--" + BOUNDARY + b"\r\n")
        with self.assertRaises(HTTPError) as caught:
            for sent in itertools.count():
                parser.feed(b"x")
                self.assertLess(sent, LIMITS.part_header_size + 10)
        self.assertEqual(caught.exception.status, 413)

    def test_a_text_field_is_refused_while_it_arrives(self) -> None:
        # CVE-2024-47874: a part without a file name has a limit too.
        parser = MultipartParser(BOUNDARY, LIMITS)
        parser.feed(b"--" + BOUNDARY + b"\r\n" + text("a"))
        with self.assertRaises(HTTPError) as caught:
            for sent in itertools.count(0, 100):
                parser.feed(b"x" * 100)
                self.assertLess(sent, LIMITS.memory + 300)
        self.assertEqual(caught.exception.status, 413)

    def test_a_preamble_is_bounded_however_it_arrives(self) -> None:
        good = b"x" * (PREAMBLE_LIMIT - 2) + b"\r\n" + body(text("a", b"1"))
        self.assertEqual(self.parse(good)[0], {"a": "1"})
        self.refused(400, b"xxx" + good)
        self.refused(400, b"x" * (PREAMBLE_LIMIT + 1000))

    def test_the_work_grows_with_the_body_and_the_buffer_does_not(self) -> None:
        # CVE-2023-46136 (floods of CR and LF), CVE-2025-67726, CVE-2024-30251.
        head = b"--" + BOUNDARY + b"\r\n" + upload(b"")
        near = b"\r\n--" + BOUNDARY[:-1]
        for flood in (b"\r", b"\n", b"\r\n", b"\r\n--", near, b"-", b"\r\n-" + b"x" * 9, b"\0"):
            work = []
            for size in (100_000, 200_000):
                data = head + flood * (size // len(flood))
                parser = MultipartParser(BOUNDARY, LIMITS)
                buffer = parser._buffer = CountingBuffer(b"\r\n")
                work.append(calls_made(lambda p=parser, d=data: p.feed(d)))  # type: ignore[misc]
                self.assertLess(buffer.touched, 1.1 * len(data) + 1000, flood)
                self.assertLessEqual(buffer.largest, PIECE + len(near) + 1)
                parser.close()
            self.assertLess(work[1], 2.2 * work[0] + 50, flood)

    def test_one_byte_at_a_time_costs_no_more_than_a_delimiter_for_each(self) -> None:
        limits = LIMITS._replace(part_header_size=100_000)
        for data in (
            b"--" + BOUNDARY + b"\r\n" + upload(b"\r\n" * 5000),
            b"--" + BOUNDARY + b"\r\n" + b"X: " + b"\r" * 5000,
        ):
            parser = MultipartParser(BOUNDARY, limits)
            buffer = parser._buffer = CountingBuffer(b"\r\n")
            for byte in data:
                parser.feed(bytes((byte,)))
            self.assertLess(buffer.touched, (len(BOUNDARY) + 8) * len(data))
            parser.close()

    def test_a_thousand_empty_parts_cost_in_proportion(self) -> None:
        limits = LIMITS._replace(parts=1000, fields=1000)
        work = []
        for count in (500, 1000):
            data = body(*[text("")] * count)
            parser = MultipartParser(BOUNDARY, limits)
            buffer = parser._buffer = CountingBuffer(b"\r\n")
            work.append(calls_made(lambda p=parser, d=data: p.feed(d)))  # type: ignore[misc]
            self.assertLess(buffer.touched, 1.2 * len(data) + 1000)
            parser.close()
        self.assertLess(work[1], 2.2 * work[0])


class UploadTests(FormCase):
    def setUp(self) -> None:
        self.opened: list[Any] = []
        real = tempfile.TemporaryFile

        def recorded() -> Any:
            self.opened.append(real())
            return self.opened[-1]

        patch = mock.patch.object(tempfile, "TemporaryFile", recorded)
        patch.start()
        self.addCleanup(patch.stop)

    def test_a_file_up_to_the_limit_stays_in_memory_and_a_larger_one_is_on_disk(self) -> None:
        for size, disk in ((0, False), (1, False), (100, False), (101, True), (200_000, True)):
            content = random.Random(size).randbytes(size)
            file = self.one_file(body(upload(content)))
            self.assertEqual((file.on_disk, file.size, file.file.tell()), (disk, size, 0))
            self.assertEqual(bool(self.opened), disk)
            self.assertEqual(file.read(), content)

    def test_content_goes_to_disk_as_it_arrives(self) -> None:
        parser = MultipartParser(BOUNDARY, LIMITS)
        parser.feed(b"--" + BOUNDARY + b"\r\n" + upload(b"x" * 300_000))
        [disk] = self.opened
        self.assertGreaterEqual(disk.tell(), 300_000 - len(BOUNDARY) - 4)
        self.assertLessEqual(len(parser._buffer), len(BOUNDARY) + 4)
        parser.close()

    def test_an_upload_is_a_whole_binary_file(self) -> None:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr("inside.txt", "x" * 500)
        file = self.one_file(body(upload(archive.getvalue())))
        self.assertTrue(file.on_disk)
        with zipfile.ZipFile(file.file) as read:
            self.assertEqual(read.read("inside.txt"), b"x" * 500)
        with self.one_file(body(upload(b"a,b\nc,d\n"))) as file:
            self.assertEqual(list(file), [b"a,b\n", b"c,d\n"])
        self.assertTrue(file.file.closed)

    def test_save_writes_everything_in_pieces_and_keeps_the_position(self) -> None:
        content = random.Random(1).randbytes(3 * PIECE + 5)
        file = self.one_file(body(upload(content)))
        file.read(10)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "saved")
            reads: list[int] = []
            whole = file.file

            class Watched:
                seek, tell = whole.seek, whole.tell

                def read(self, size: int = -1) -> bytes:
                    reads.append(size)
                    return whole.read(size)

            file.file = Watched()  # type: ignore[assignment]
            file.save(path)
            file.file = whole
            with open(path, "rb") as saved:
                self.assertEqual(saved.read(), content)
        self.assertEqual(set(reads), {PIECE})
        self.assertEqual(file.read(), content[10:])

    def test_every_way_to_fail_closes_every_file(self) -> None:
        large = b"x" * 500
        opening = body(upload(large))[: -len(b"--\r\n")] + b"\r\n"
        endings = {
            "bad header": b"bad\r\n\r\n",
            "413": text("a", b"x" * 2000),
            "no end": upload(large),
        }
        for name, ending in endings.items():
            with self.subTest(name):
                self.opened.clear()
                parser = MultipartParser(BOUNDARY, LIMITS)
                with self.assertRaises(HTTPError):
                    parser.feed(opening + ending)
                    parser.finish()
                self.assertTrue(self.opened)
                self.assertTrue(all(file.closed for file in self.opened))
                self.assertEqual(parser._buffer, b"")

    def test_close_and_abort_close_finished_and_half_read_files(self) -> None:
        for end in (MultipartParser.close, MultipartParser.abort):
            parser = MultipartParser(BOUNDARY, LIMITS)
            data = body(upload(b"x" * 500), upload(b"y" * 500))
            parser.feed(data[:-100])
            end(parser)
            end(parser)
        self.assertEqual(len(self.opened), 4)
        self.assertTrue(all(file.closed for file in self.opened))

    def test_a_full_disk_passes_through_and_leaves_no_file_open(self) -> None:
        parser = MultipartParser(BOUNDARY, LIMITS)
        parser.feed(body(upload(b"x" * 500))[: -len(b"--\r\n")] + b"\r\n")
        with mock.patch.object(tempfile, "TemporaryFile", side_effect=OSError(28, "full")):
            with self.assertRaises(OSError):
                parser.feed(upload(b"y" * 500))
        self.assertTrue(all(file.closed for file in self.opened))

    def test_files_handed_out_survive_the_parser(self) -> None:
        parser = MultipartParser(BOUNDARY, LIMITS)
        parser.feed(body(upload(b"x" * 500), upload(b"y" * 5)))
        _, files = parser.finish()
        parser.close()
        self.assertEqual([len(file.read()) for file in files.getlist("f")], [500, 5])
        close_files(files)
        self.assertTrue(all(file.file.closed for file in files.getlist("f")))


if __name__ == "__main__":
    unittest.main()
