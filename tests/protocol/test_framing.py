"""Tests for protocol/framing.py: contract T1, T5, T6; limits of length, depth and work."""

from __future__ import annotations

import contextlib
import random
import unittest
from typing import Any
from unittest import mock

from pyliteflux import jsontext
from pyliteflux.errors import BadMessage, FrameTooLong, ProtocolError, WrongPort
from pyliteflux.protocol import framing, scanners
from pyliteflux.protocol.frame import Frame
from pyliteflux.protocol.framing import (
    BOM,
    JsonFramer,
    LineFramer,
    MessageFramer,
    XmlFramer,
)

BAD_JSON = "bad json"
BAD_XML = "bad xml"


def pump(framer: MessageFramer) -> list[object]:
    """Take every frame there is; a bad message is written down as 'bad <its format>'."""
    events: list[object] = []
    while True:
        try:
            frame = framer.next_frame()
        except BadMessage as error:
            events.append(f"bad {vars(error)['data_type']}")
            continue
        except FrameTooLong:
            return [*events, "too long"]
        if frame is None:
            return events
        events.append(frame)


def feed(pieces: list[bytes], eof: bool = False, **limits: int) -> list[object]:
    framer = MessageFramer(**limits)
    events: list[object] = []
    for piece in pieces:
        framer.receive_data(piece)
        events += pump(framer)
        if "too long" in events:
            return events
    if eof:
        framer.receive_eof()
        events += pump(framer)
    return events


def raw(data: bytes) -> Frame:
    return Frame("raw", data)


def json(data: bytes) -> Frame:
    return Frame("json", data)


def xml(data: bytes) -> Frame:
    return Frame("xml", data)


NEXT_LINE = b"\nnext\n"
NEXT = raw(b"next")

# (bytes in, frames out). No end of the stream: what is not whole is not out.
STREAMS: list[tuple[str, bytes, list[object]]] = [
    ("nothing", b"", []),
    ("a line", b"echo hello\n", [raw(b"echo hello")]),
    ("a line ended by CRLF", b"echo hello\r\n", [raw(b"echo hello")]),
    ("blank around a line", b" \t echo  a \t\r\n", [raw(b"echo  a")]),
    ("an unfinished line", b"one\ntwo", [raw(b"one")]),
    ("blank lines between lines", b"\n\r\n  \r\none\n\n\ntwo\n", [raw(b"one"), raw(b"two")]),
    ("a CR inside a line", b"a\rb\n", [raw(b"a\rb")]),
    ("a byte that is no text", b"\xff\x00\n", [raw(b"\xff\x00")]),
    ("an array is no message but a line", b"[1]\n", [raw(b"[1]")]),
    (
        "a byte order mark",
        BOM + b"one\n" + BOM + BOM + b'\n{"a":1}',
        [raw(b"one"), json(b'{"a":1}')],
    ),
    ("the start of a byte order mark, but a line", b"\xef\xbbx\n", [raw(b"\xef\xbbx")]),
    ("JSON needs no line end", b'{"command": "a"}', [json(b'{"command": "a"}')]),
    (
        "JSON after JSON",
        b'{"a": 1}{"b": 2} {}',
        [json(b'{"a": 1}'), json(b'{"b": 2}'), json(b"{}")],
    ),
    ("an unfinished object", b'{"a": {"b": 1}', []),
    ("an object without its string's end", b'{"a": "b}', []),
    ("nested twice", b'{"a": {"b": [1, {"c": "]"}]}}', [json(b'{"a": {"b": [1, {"c": "]"}]}}')]),
    ("brackets in strings", b'{"a": "}]{[", "}": 1}', [json(b'{"a": "}]{[", "}": 1}')]),
    ("escapes", rb'{"a\"}": "\\", "b": "\\\"}"}', [json(rb'{"a\"}": "\\", "b": "\\\"}"}')]),
    (
        "more escapes and strings than one pattern takes",
        b'{"' + rb"\"}" * 200 + b'": [' + b'"]",' * 200 + b"1]}x\n",
        [json(b'{"' + rb"\"}" * 200 + b'": [' + b'"]",' * 200 + b"1]}"), raw(b"x")],
    ),
    (
        "pretty-printed JSON",
        b'{\r\n  "command": "a",\r\n\t"data": [\n{}\n]\n}\r\nnext\n',
        [json(b'{\r\n  "command": "a",\r\n\t"data": [\n{}\n]\n}'), NEXT],
    ),
    ("JSON that only loads will refuse", b"{nonsense}\n", [json(b"{nonsense}")]),
    ("UTF-8 in strings", '{"名": "字}"}'.encode(), [json('{"名": "字}"}'.encode())]),
    ("XML needs no line end", b"<a/>", [xml(b"<a/>")]),
    ("XML after XML", b"<a></a><b/>\n<c>x</c>", [xml(b"<a></a>"), xml(b"<b/>"), xml(b"<c>x</c>")]),
    (
        "a declaration and comments before the root",
        b'<?xml version="1.0"?>\n<!-- <x> --->\n<?p > ?><a>1</a>',
        [xml(b'<?xml version="1.0"?>\n<!-- <x> --->\n<?p > ?><a>1</a>')],
    ),
    ("a comment is not closed by its own dashes", b"<!--><a/>--><a/>", [xml(b"<!--><a/>--><a/>")]),
    ("a comment inside", b"<a><!-- </a> - -- > --></a>", [xml(b"<a><!-- </a> - -- > --></a>")]),
    ("CDATA", b"<a><![CDATA[</a>]]]></a>", [xml(b"<a><![CDATA[</a>]]]></a>")]),
    ("an instruction inside", b"<a><?p </a>??></a>", [xml(b"<a><?p </a>??></a>")]),
    (
        "'>' in attributes",
        b"""<a b="/>" c='">' ><b c=">"/></a >""",
        [xml(b"""<a b="/>" c='">' ><b c=">"/></a >""")],
    ),
    (
        "more attributes than one pattern takes",
        b"<a " + b'b="/>" ' * 99 + b"/>",
        [xml(b"<a " + b'b="/>" ' * 99 + b"/>")],
    ),
    ("nested XML", b"<a>\n<a><a/>\r\n</a> > </a>\n", [xml(b"<a>\n<a><a/>\r\n</a> > </a>")]),
    ("names that are not ASCII", "<名>字</名>".encode(), [xml("<名>字</名>".encode())]),
    ("tags that do not match are left to the parser", b"<a></b>", [xml(b"<a></b>")]),
    ("an unfinished document", b"<a><b></b>", []),
    (
        "JSON ended by NUL",
        b'{"a": 1}\0{"b": "x"}\0\0 \0{}\r\n\0',
        [json(b'{"a": 1}'), json(b'{"b": "x"}'), json(b"{}")],
    ),
    (
        "XML ended by NUL",
        b"<a/>\0<b>x</b>\0\n\0<c/>",
        [xml(b"<a/>"), xml(b"<b>x</b>"), xml(b"<c/>")],
    ),
    ("NUL before and behind lines", b"\0one\n\0two\r\n\0\0", [raw(b"one"), raw(b"two")]),
    ("a NUL inside a line", b"a\0b\n", [raw(b"a\0b")]),
    (
        "all formats in one stream",
        b'ping\n{"a": 1}\n<a/>\npong\r\n<a>1</a>{"b": [2]}last\n',
        [
            raw(b"ping"),
            json(b'{"a": 1}'),
            xml(b"<a/>"),
            raw(b"pong"),
            xml(b"<a>1</a>"),
            json(b'{"b": [2]}'),
            raw(b"last"),
        ],
    ),
]

# Each is one error, and the line after it is read.
BAD: list[tuple[str, bytes, str]] = [
    ("a bracket of another kind", b'{"a": [1}, "b": 2}', BAD_JSON),
    ("a brace closed by a bracket", b"{]", BAD_JSON),
    ("a line end in a string", b'{"a": "b', BAD_JSON),
    ("a CR in a string", b'{"a": "b\r', BAD_JSON),
    ("NUL in a string", b'{"a": "\x00"}', BAD_JSON),
    ("an escaped line end", b'{"a": "\\', BAD_JSON),
    ("too deep in braces", b'{"a":' * 65 + b"1", BAD_JSON),
    ("too deep in brackets", b'{"a":' + b"[" * 100, BAD_JSON),
    ("a DOCTYPE", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', BAD_XML),
    ("a DOCTYPE after a declaration", b'<?xml version="1.0"?><!DOCTYPE a><a/>', BAD_XML),
    ("an ENTITY", b'<!ENTITY b "c"><a/>', BAD_XML),
    ("a declaration inside", b"<a><!ELEMENT b></a>", BAD_XML),
    ("CDATA before the root", b"<![CDATA[x]]><a/>", BAD_XML),
    ("'<' and a blank", b"< a/>", BAD_XML),
    ("'<' and the line end", b"<", BAD_XML),
    ("'<' and a digit", b"<1/>", BAD_XML),
    ("'<' in text", b"<a> 1 < 2 </a>", BAD_XML),
    ("'<' in a tag", b"<a <b/>", BAD_XML),
    ("'<' in a value", b'<a b="<b/>"/>', BAD_XML),
    ("'/' in a tag", b"<a/b>", BAD_XML),
    ("'/' at the line end", b"<a/", BAD_XML),
    ("an attribute in an end tag", b'<a></a b="c">', BAD_XML),
    ("an end tag first", b"</a>", BAD_XML),
    ("text before the root", b"<!-- --> text <a/>", BAD_XML),
    ("too deep in elements", b"<a>" * 65, BAD_XML),
]


class StreamTest(unittest.TestCase):
    def check(self, stream: bytes, frames: list[object], eof: bool = False, **limits: int) -> None:
        """Check what a stream is cut into: whole, byte by byte, and cut at every position."""
        self.assertEqual(feed([stream], eof, **limits), frames, "whole")
        pieces = [bytes([byte]) for byte in stream]
        self.assertEqual(feed(pieces, eof, **limits), frames, "byte by byte")
        for cut in range(1, len(stream)):
            events = feed([stream[:cut], stream[cut:]], eof, **limits)
            self.assertEqual(events, frames, f"cut at {cut}")


class Splitting(StreamTest):
    """T1: what a stream holds does not depend on where TCP cut it."""

    def test_each_stream_is_cut_into_the_same_frames_wherever_tcp_cut_it(self) -> None:
        for name, stream, frames in STREAMS:
            with self.subTest(name):
                self.check(stream, frames)

    def test_frames_of_a_whole_object_are_the_same_without_the_short_way(self) -> None:
        # The pattern for small objects is an optimisation: it may not decide anything.
        for short_way in ("framing.small_object", "framing.MessageFramer._read_line"):
            with mock.patch(f"pyliteflux.protocol.{short_way}", lambda *_: None):
                for name, stream, frames in STREAMS:
                    with self.subTest(name, without=short_way):
                        self.assertEqual(feed([stream]), frames)

    def test_an_object_on_a_line_is_read_where_its_end_is_found(self) -> None:
        for line_end in (b"\n", b"\r\n"):
            framer = MessageFramer()
            framer.receive_data(b'{"a": {"b": [1, "}"]}}' + line_end + b'{"c": 1} {}' + line_end)
            frame = framer.next_frame()
            assert frame is not None
            self.assertEqual((frame, frame.value), (json(frame.data), {"a": {"b": [1, "}"]}}))
            self.assertEqual(frame.data, b'{"a": {"b": [1, "}"]}}')
            self.assertTrue(framer.has_line_end)
            # There is more on the line: that is for the scanners.
            frame = framer.next_frame()
            assert frame is not None
            self.assertEqual((frame, frame.value), (json(b'{"c": 1}'), None))
            self.assertFalse(framer.has_line_end)

    def test_what_was_received_in_one_piece_is_not_kept_once_it_is_returned(self) -> None:
        framer = MessageFramer()
        for piece in (b'{"a": 1}\n', b"a line\n", b"<a/>", b'{"a": 1}', b'{"a"', b": 1}\n"):
            framer.receive_data(piece)
            pump(framer)
        self.assertEqual((framer._buffer, framer.buffered), (b"", 0))

    def test_a_bad_message_is_one_error_and_the_next_line_is_read(self) -> None:
        for name, message, error in BAD:
            with self.subTest(name):
                self.check(message + NEXT_LINE, [error, NEXT])

    def test_where_messages_end_with_nul_a_bad_one_ends_there_too(self) -> None:
        """F6, T5: in step at the next message, though there is no line end anywhere."""
        for message, error in [
            (b'{"a": 1]}', BAD_JSON),
            (b'{"a": "b', BAD_JSON),
            (b'{"a": "b\0c"}', BAD_JSON),
            (b'{"a": ' + b"[" * 99, BAD_JSON),
            (b"<!DOCTYPE a>", BAD_XML),
            (b"<a/b>", BAD_XML),
        ]:
            with self.subTest(message):
                stream = message + b'\0{"b": 2}\0<c/>\0'
                self.check(stream, [error, json(b'{"b": 2}'), xml(b"<c/>")])

    def test_a_bad_message_takes_the_rest_of_its_line_with_it(self) -> None:
        self.check(b'{] {"a": 1} <a/> \r\n{"b": 2}', [BAD_JSON, json(b'{"b": 2}')])

    def test_good_messages_before_a_bad_one_are_delivered(self) -> None:
        self.check(
            b'{"a": 1}{]\n<a/></b>\nx\n',
            [
                json(b'{"a": 1}'),
                BAD_JSON,
                xml(b"<a/>"),
                BAD_XML,
                raw(b"x"),
            ],
        )

    def test_what_is_left_at_the_end_is_a_last_message(self) -> None:
        ends: list[tuple[str, bytes, list[object]]] = [
            ("a line", b"one\ntwo", [raw(b"one"), raw(b"two")]),
            ("a line and a CR", b"one\r", [raw(b"one")]),
            ("blank", b"one\n \r\n\t", [raw(b"one")]),
            ("JSON", b'{"a": 1}', [json(b'{"a": 1}')]),
            ("part of JSON", b'{"a": 1', [BAD_JSON]),
            ("part of a string", b'{"a": "\\', [BAD_JSON]),
            ("part of XML", b"<a><b>", [BAD_XML]),
            ("part of a comment", b"<!-- -", [BAD_XML]),
            ("the rest of a bad line", b"{] more", [BAD_JSON]),
            ("part of a byte order mark", b"\xef\xbb", [raw(b"\xef\xbb")]),
            ("nothing", b"", []),
        ]
        for name, stream, frames in ends:
            with self.subTest(name):
                self.check(stream, frames, eof=True)

    def test_after_the_end_there_is_nothing(self) -> None:
        for stream in (b"line", b'{"a"', b"<a>"):
            framer = MessageFramer()
            framer.receive_data(stream)
            framer.receive_eof()
            self.assertEqual(len(pump(framer)), 1)
            self.assertIsNone(framer.next_frame())
            self.assertEqual(framer.buffered, 0)


REQUEST_LINES = (
    b"POST / HTTP/1.1",
    b"GET /chat?x=1 HTTP/1.1",  # A WebSocket's handshake begins so, too.
    b"OPTIONS * HTTP/1.1",
    b"post http://127.0.0.1:8001/ HTTP/1.0",
    b"PRI * HTTP/2.0",
    b"CONNECT 127.0.0.1:8001 HTTP/1.1",
    b"M-SEARCH * HTTP/1.1",
)
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


class Openings(unittest.TestCase):
    """B1, F4: a stream that begins as HTTP or TLS does holds no messages (T5)."""

    FRAMERS = (MessageFramer, LineFramer, JsonFramer, XmlFramer)

    def refused(self, make: type[MessageFramer], pieces: list[bytes], eof: bool = False) -> str:
        """Return what is spoken; check that no frame comes out, then or later."""
        framer = make()
        spoken = ""
        for piece in [*pieces, b"open door\n"] + [None] * eof:
            framer.receive_eof() if piece is None else framer.receive_data(piece)
            try:
                self.assertIsNone(framer.next_frame())
            except WrongPort as error:
                spoken = error.spoken
                self.assertEqual(error.code, "wrong_port")
                self.assertEqual(framer.buffered, 0)
                self.assertFalse(framer.is_mid_message)
            else:
                self.assertEqual(spoken, "", "it goes on")
        return spoken

    def test_commands_behind_an_http_head_are_not_read_whatever_the_cut(self) -> None:
        for make in self.FRAMERS:
            for line in REQUEST_LINES:
                stream = line + b'\r\nHost: a\r\n\r\nopen door\n{"command": "open"}<open/>\n'
                with self.subTest(make.__name__, line=line):
                    self.assertEqual(self.refused(make, [stream]), "HTTP")
                    bytewise = [bytes([byte]) for byte in stream]
                    self.assertEqual(self.refused(make, bytewise), "HTTP")
                    for cut in range(1, len(stream)):
                        pieces = [stream[:cut], stream[cut:]]
                        self.assertEqual(self.refused(make, pieces), "HTTP", cut)

    def test_what_may_stand_before_a_message_hides_no_head(self) -> None:
        for before in (b"\r\n\r\n", b" \t", BOM, b"\n" + BOM + b" " + BOM):
            stream = before + b"POST / HTTP/1.1\n\nopen\n"
            for make in self.FRAMERS:
                for cut in range(len(stream)):
                    with self.subTest(make.__name__, before=before, cut=cut):
                        pieces = [stream[:cut], stream[cut:]]
                        self.assertEqual(self.refused(make, pieces), "HTTP")

    def test_a_request_line_is_one_at_the_end_of_the_stream_too(self) -> None:
        for make in self.FRAMERS:
            framer = make()
            framer.receive_data(b"GET / HTTP/1.1")
            self.assertIsNone(framer.next_frame())
            framer.receive_eof()
            with self.assertRaises(WrongPort):
                framer.next_frame()

    def test_a_tls_handshake_is_told_from_a_line_by_six_bytes(self) -> None:
        for make in self.FRAMERS:
            for cut in range(len(HELLO)):
                with self.subTest(make.__name__, cut=cut):
                    pieces = [HELLO[:cut], HELLO[cut:]]
                    self.assertEqual(self.refused(make, pieces), "TLS")

    def test_what_only_looks_like_it_is_a_line(self) -> None:
        for line in (
            b"get / HTTP/one",
            b"GET /",
            b"GET / HTTP",
            b"say GET / HTTP/1.1",
            b"HTTP/1.1 200 OK",
            b"log 127.0.0.1 GET / HTTP/1.1",
            b"GET  HTTP/1.1",
            b"\x16\x03\x01",
            b"\x16\x03\x01\x02\x00\x02\x00",
        ):
            for cut in range(len(line) + 1):
                with self.subTest(line, cut=cut):
                    self.assertEqual(
                        feed([line[:cut], line[cut:] + b"\nx\n"]), [raw(line), raw(b"x")]
                    )

    def test_later_lines_that_look_so_are_lines(self) -> None:
        request = b"POST / HTTP/1.1"
        for first, frame in ((b"hello\n", raw(b"hello")), (b'{"a": 1}', json(b'{"a": 1}'))):
            stream = first + request + b"\n" + HELLO + b"\n"
            for cut in range(len(stream)):
                frames = feed([stream[:cut], stream[cut:]])
                self.assertEqual(frames, [frame, raw(request), raw(HELLO)], cut)

    def test_a_stream_that_has_begun_with_another_framer_goes_on(self) -> None:
        framer = MessageFramer()
        framer.receive_data(b"GET / HTTP/1.1\nx\n")
        framer.follow()
        self.assertEqual(pump(framer), [raw(b"GET / HTTP/1.1"), raw(b"x")])

    def test_another_first_line_is_refused_in_the_format_that_is_spoken(self) -> None:
        for make, data_type in ((JsonFramer, "json"), (XmlFramer, "xml")):
            for cut in range(6):
                framer = make()
                framer.receive_data(b"hello\n"[:cut])
                self.assertIsNone(framer.next_frame())
                self.assertEqual(framer.data_type, data_type)
                self.assertEqual(framer.is_mid_message, cut > 0)
                framer.receive_data(b"hello\n"[cut:])
                with self.assertRaises(BadMessage) as caught:
                    framer.next_frame()
                self.assertEqual(caught.exception.data_type, data_type)
                self.assertIsNone(framer.next_frame())

    def test_a_first_line_over_the_limit_ends_the_stream(self) -> None:
        for make, data_type in ((MessageFramer, "raw"), (JsonFramer, "json"), (XmlFramer, "xml")):
            framer = make(max_message=10)
            framer.receive_data(b"POST /0123")
            self.assertIsNone(framer.next_frame())
            framer.receive_data(b"4")
            with self.assertRaises(FrameTooLong) as caught:
                framer.next_frame()
            self.assertEqual(caught.exception.data_type, data_type)


class Limits(StreamTest):
    """tcp_max_message and tcp_max_depth."""

    def test_a_message_at_the_limit_passes_and_one_byte_more_does_not(self) -> None:
        for name, message, end in [
            ("a line", b"0123456789", b"\n"),
            ("JSON", b'{"a": 123}', b""),
            ("nested JSON", b'{"a":[{}]}', b""),
            ("XML", b"<ab>1</ab>", b""),
        ]:
            with self.subTest(name):
                data_type = {b"0": "raw", b"{": "json", b"<": "xml"}[message[:1]]
                frame = Frame(data_type, message)
                self.check(b"\n" + message + end + message + end, [frame, frame], max_message=10)
                self.check(b"\n" + message + end, ["too long"], max_message=9)

    def test_a_message_over_the_limit_is_refused_before_it_ends(self) -> None:
        for start in (b"a", b"{", b'{"a', b"<a>", b"<!--", b"<a b='", b"<a><![CDATA["):
            with self.subTest(start):
                framer = MessageFramer(max_message=100)
                framer.receive_data(start + b"x" * (100 - len(start)))
                self.assertIsNone(framer.next_frame())
                framer.receive_data(b"x")
                with self.assertRaises(FrameTooLong) as caught:
                    framer.next_frame()
                self.assertIn("101", str(caught.exception))
                self.assertIn("limit 100", str(caught.exception))

    def test_the_error_names_the_format_and_the_code(self) -> None:
        for start, data_type in ((b"a", "raw"), (b"{", "json"), (b"<a>", "xml")):
            framer = MessageFramer(max_message=3)
            framer.receive_data(start + b"aaaa")
            with self.assertRaises(FrameTooLong) as caught:
                framer.next_frame()
            self.assertEqual(vars(caught.exception)["data_type"], data_type)
            self.assertEqual(caught.exception.code, "message_too_large")

    def test_a_framer_that_lost_its_stream_stays_dead_and_keeps_nothing(self) -> None:
        framer = MessageFramer(max_message=10)
        framer.receive_data(b"x" * 11)
        with self.assertRaises(FrameTooLong) as first:
            framer.next_frame()
        framer.receive_data(b"\ngood\n")
        with self.assertRaises(FrameTooLong) as second:
            framer.next_frame()
        self.assertIs(first.exception, second.exception)
        self.assertEqual(framer.buffered, 0)
        self.assertFalse(framer.is_mid_message)

    def test_blanks_count_for_no_message_and_are_not_kept(self) -> None:
        framer = MessageFramer(max_message=10)
        framer.receive_data(b" \r\n\t" * 1000)
        self.assertIsNone(framer.next_frame())
        self.assertEqual(framer.buffered, 0)

    def test_nuls_without_an_end_are_refused_and_never_kept(self) -> None:
        """``nc < /dev/zero``."""
        framer = MessageFramer(max_message=1000)
        for _ in range(10):
            framer.receive_data(b"\0" * 50 + b"\n" + b"\0" * 50)
            self.assertEqual(pump(framer), [])
            self.assertEqual(framer.buffered, 0)
        framer.receive_data(b"a\n")  # A message between them: all is well.
        self.assertEqual(pump(framer), [raw(b"a")])
        framer.receive_data(b"\0" * 1000)
        self.assertEqual(pump(framer), [])
        framer.receive_data(b"\0")
        self.assertEqual(pump(framer), ["too long"])

    def test_nesting_at_the_limit_passes(self) -> None:
        for depth in (1, 2, 3, 64):
            array = b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
            if depth == 1:
                array = b'{"a":1}'
            element = b"<a>" * depth + b"</a>" * depth
            self.check(array, [json(array)], max_depth=depth)
            self.check(element, [xml(element)], max_depth=depth)
            if depth > 1:
                self.check(array + NEXT_LINE, [BAD_JSON, NEXT], max_depth=depth - 1)
                self.check(element + NEXT_LINE, [BAD_XML, NEXT], max_depth=depth - 1)

    def test_an_empty_element_counts_as_a_level(self) -> None:
        self.check(b"<a><b/></a>" + NEXT_LINE, [BAD_XML, NEXT], max_depth=1)

    def test_the_rest_of_a_bad_line_is_dropped_as_it_arrives(self) -> None:
        framer = MessageFramer(max_message=100)
        framer.receive_data(b"{]")
        self.assertEqual(pump(framer), [BAD_JSON])
        for _ in range(100):
            framer.receive_data(b"x" * 1000)
            self.assertEqual(pump(framer), [])
            self.assertEqual(framer.buffered, 0)
        framer.receive_data(b"\nnext\n")
        self.assertEqual(pump(framer), [NEXT])

    def test_a_refused_doctype_is_told_so(self) -> None:
        framer = MessageFramer()
        framer.receive_data(b"<!DOCTYPE html>\n")
        with self.assertRaisesRegex(BadMessage, "DOCTYPE") as caught:
            framer.next_frame()
        self.assertEqual(caught.exception.code, "bad_message")


class MidMessage(unittest.TestCase):
    """What starts the deadline of a message (tcp_message_timeout)."""

    def test_part_of_a_message_is_mid_message(self) -> None:
        for part in (b"a", b"{", b'{"a": "', b"<", b"<a>", b"\n\n <a", b'{"a": 1}\n{'):
            with self.subTest(part):
                framer = MessageFramer()
                framer.receive_data(part)
                self.assertTrue(framer.is_mid_message)  # Before anybody looked at it,
                pump(framer)
                self.assertTrue(framer.is_mid_message)  # and after.

    def test_what_may_stand_between_messages_is_not(self) -> None:
        for blank in (b"", b"\n", b" \t\r\n", BOM, b"\n" + BOM + b" \r\n", b"\0", b"\0\n\0"):
            for message in (b"", b"a\n", b'{"a": 1}', b"<a/>"):
                with self.subTest(message + blank):
                    framer = MessageFramer()
                    framer.receive_data(message + blank)
                    pump(framer)
                    self.assertFalse(framer.is_mid_message)
                    self.assertEqual(framer.buffered, 0)

    def test_the_rest_of_a_refused_line_is_not(self) -> None:
        framer = MessageFramer()
        framer.receive_data(b"{] rest")
        pump(framer)
        self.assertFalse(framer.is_mid_message)


class Counted:
    """Counts the bytes that `find` may look at."""

    looked_at = 0

    def find(self, sub: Any, start: int = 0, end: int | None = None, /) -> int:
        end = len(self) if end is None else min(end, len(self))  # type: ignore[arg-type]
        found: int = super().find(sub, start, end)  # type: ignore[misc]
        Counted.looked_at += (found if found >= 0 else end) - start + len(sub)
        return found

    def __getitem__(self, key: Any) -> Any:
        item = super().__getitem__(key)  # type: ignore[misc]
        return type(self)(item) if isinstance(key, slice) else item  # type: ignore[call-arg]


class CountedBytes(Counted, bytes):
    """A piece as it was received."""


class CountedBuffer(Counted, bytearray):
    """Pieces put together."""


class Work(unittest.TestCase):
    """The work for a message is linear in its length, however it arrives. Counted, not timed."""

    LENGTH = 1 << 14
    PATTERNS = ("skip_blank", "_to_bracket", "_to_quote", "_in_start_tag", "_in_end_tag",
                "_is_name_start")  # fmt: skip

    def work(self, pieces: list[bytes]) -> int:
        """Return how many bytes the framer's patterns and searches went over, and calls."""
        looked_at = 0

        def counted(match: Any) -> Any:
            def count(buffer: bytearray, start: int, end: int = 1 << 30) -> Any:
                nonlocal looked_at
                found = match(buffer, start, end)
                if found:
                    looked_at += found.end() + 1 - start
                elif match is small_object:
                    # It fails at the latest where the scanner would stop: let that one count.
                    with contextlib.suppress(BadMessage):
                        scanners.JsonScanner(start, 64).scan(buffer, min(end, len(buffer)))
                return found

            return count

        small_object, skip_blank = scanners.small_object, scanners.skip_blank

        def counted_loads(data: bytes) -> Any:
            nonlocal looked_at
            looked_at += len(data)
            return jsontext.loads(data)

        framer = MessageFramer()
        Counted.looked_at = 0
        values = {byte: counted(match) for byte, match in scanners._in_value.items()}
        with (
            mock.patch.multiple(
                scanners,
                _in_value=values,
                **{name: counted(getattr(scanners, name)) for name in self.PATTERNS},
            ),
            mock.patch.multiple(
                framing,
                skip_blank=counted(skip_blank),
                small_object=counted(small_object),
                loads=counted_loads,
            ),
            mock.patch.object(framing, "bytearray", CountedBuffer, create=True),
        ):
            for piece in pieces:
                framer.receive_data(CountedBytes(piece))
                pump(framer)
        return looked_at + Counted.looked_at

    def test_a_long_message_in_one_byte_pieces_is_looked_at_a_few_times(self) -> None:
        n = self.LENGTH
        for name, message in [
            ("a line", b"x" * n),
            ("a string", b'{"' + b"x" * n),
            ("escapes", b'{"' + b'\\"' * (n // 2)),
            ("strings", b"{" + b'"a",' * (n // 4)),
            ("numbers", b'{"a": [' + b"1," * (n // 2)),
            ("objects", b'{"a": [' + b"{}," * (n // 3)),
            ("blank in an object", b"{" + b" \n" * (n // 2)),
            ("text", b"<a>" + b"x" * n),
            ("blank before the root", b"<?a?>" + b"\n" * n),
            ("a comment", b"<!--" + b"-" * n),
            ("an instruction", b"<?" + b"?" * n),
            ("CDATA", b"<a><![CDATA[" + b"]" * n),
            ("a value", b'<a b="' + b"x" * n),
            ("attributes", b"<a " + b'b="" ' * (n // 5)),
            ("a tag", b"<a" + b" " * n),
            ("an end tag", b"<a></a" + b" " * n),
            ("elements", b"<a>" + b"<b/>" * (n // 4)),
            ("a bad line", b"{]" + b"x" * n),
            ("blank lines", b"\n" * n),
        ]:
            with self.subTest(name):
                pieces = [message[i : i + 1] for i in range(len(message))]
                self.assertLess(self.work(pieces), 8 * n + 2 * scanners.SMALL)
                self.assertLess(self.work([message]), 6 * n + 2 * scanners.SMALL)

    def test_four_times_the_bytes_are_four_times_the_work_however_they_are_cut(self) -> None:
        for step in (1, 7, 1000):
            works = []
            for n in (1 << 14, 1 << 16):
                message = b'{"a": [' + b'{"b": "\\"}{"}, ' * (n // 15)
                works.append(self.work([message[i : i + step] for i in range(0, n, step)]))
            with self.subTest(step):
                self.assertLess(works[1], 4.2 * works[0])

    def test_many_small_messages_in_one_buffer_are_looked_at_once(self) -> None:
        for message in (b"a\n", b"{}", b"<a/>", b"{]\n", b"{[[]]}\r\n"):
            with self.subTest(message):
                count = 20000
                self.assertLess(self.work([message * count]), 8 * count * len(message))

    def test_consumed_bytes_are_cut_off_now_and_then(self) -> None:
        framer = MessageFramer()
        count = 100000
        framer.receive_data(b"ping\n" * count)
        cuts = 0
        held = len(framer._buffer)
        for _ in range(count):
            self.assertEqual(framer.next_frame(), raw(b"ping"))
            if len(framer._buffer) != held:
                # Each cut drops at least as much as it moves.
                self.assertLessEqual(len(framer._buffer), held - len(framer._buffer))
                held = len(framer._buffer)
                cuts += 1
        self.assertEqual(held, 0)
        self.assertLess(cuts, 20)
        self.assertGreater(cuts, 1)  # What is consumed is not kept to the very end.


class Garbage(unittest.TestCase):
    """Whatever arrives: a frame, a ProtocolError, or nothing yet; and the same for any cut."""

    ALPHABET = (
        b"{", b"}", b"[", b"]", b'"', b"\\", b"<", b">", b"/", b"!", b"-", b"?", b"'", b"=", b" ",
        b"\n", b"\r", b"a", b"\x00", b"\xef", b"\xbb", b"\xbf", b"\xff", b"<!--", b"-->", b"]]>",
        b"<![CDATA[", b"<a>", b"</a>", b"<a/>", b'"a":', b"{}", b"[]", b"<?", b"?>", BOM,
        b'{"a": ', b"\r\n", b"\n", b"\n",
    )  # fmt: skip

    def test_garbage_raises_nothing_but_protocol_errors_and_cuts_do_not_matter(self) -> None:
        chance = random.Random(20)
        for round in range(3000):
            parts = chance.choices(self.ALPHABET, k=chance.randrange(1, 40))
            stream = b"".join(parts)
            limits = {
                "max_message": chance.choice((5, 20, 1000)),
                "max_depth": chance.choice((1, 2, 4)),
            }
            whole = feed([stream], True, **limits)
            single = feed([bytes([byte]) for byte in stream], True, **limits)
            self.assertEqual(whole, single, (round, stream, limits))
            cut = chance.randrange(len(stream) + 1)
            halves = feed([stream[:cut], stream[cut:]], True, **limits)
            self.assertEqual(whole, halves, (round, cut, stream, limits))

    def test_random_bytes_raise_nothing_but_protocol_errors(self) -> None:
        chance = random.Random(21)
        for _ in range(300):
            framer = MessageFramer(max_message=200)
            framer.receive_data(chance.choice((b"", b"{", b"<")) + chance.randbytes(300))
            for _ in range(1000):
                try:
                    if framer.next_frame() is None:
                        break
                except FrameTooLong:
                    break
                except ProtocolError:
                    continue
            else:
                self.fail("more than a thousand frames in 300 bytes")


class Tables(unittest.TestCase):
    def test_every_state_has_its_moves(self) -> None:
        self.assertEqual(set(framing.NEXT), set(framing.FramingState))


if __name__ == "__main__":
    unittest.main()
