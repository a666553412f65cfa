"""Tests for protocol/framers.py and the framings of one format: cuts, limits, work, hand-over.

Contract T1; limits of length and depth hold for every framing.
"""

from __future__ import annotations

import random
import re
import struct
import unittest
from collections.abc import Callable
from typing import Any

from pyliteflux.config import FRAMINGS, Config
from pyliteflux.errors import BadMessage, ConfigError, FrameTooLong, ProtocolError
from pyliteflux.protocol import framers
from pyliteflux.protocol.frame import Frame
from pyliteflux.protocol.framers import (
    MOST_SKIPPED,
    OVERHEAD,
    AfterCommand,
    BufferedFramer,
    Framer,
    Framing,
    LengthFramer,
    hand_over,
)
from pyliteflux.protocol.framing import BOM, MessageFramer
from pyliteflux.protocol.message import Signal, decode

BAD_JSON, BAD_XML, BAD_RAW, BAD_BINARY = "bad json", "bad xml", "bad raw", "bad binary"
TOO_LONG, LOST = "too long", "lost"


class Netstrings(BufferedFramer):
    """``5:hello,`` (D. J. Bernstein, 1997), as a user would write it."""

    def cut(self) -> Frame | None:
        head = re.match(rb"(0|[1-9][0-9]{0,8})(:?)", self.buffer)
        if head is None or (not head[2] and head.end() < len(self.buffer)):
            raise ProtocolError("a netstring begins with its length and a colon")
        if not head[2]:
            return None
        end = head.end() + int(head[1])
        if end > head.end() + self.limit:
            raise FrameTooLong(f"a netstring of {int(head[1])} bytes, limit {self.limit}")
        if len(self.buffer) <= end:
            return None
        message = self.take(end + 1)
        if message[-1:] != b",":
            raise ProtocolError("a netstring ends with a comma")
        return Frame("binary", message[head.end() : end])

    def wrap(self, data: bytes) -> bytes:
        return b"%d:%b," % (len(data), data)


class Records(BufferedFramer):
    """Eight bytes each: a number, and a check of it. Whoever fails the check is dropped."""

    def cut(self) -> Frame | None:
        if len(self.buffer) < 8:
            return None
        record = self.take(8)
        number, check = struct.unpack(">II", record)
        if number ^ check != 0xFFFFFFFF:
            raise BadMessage("the check fails")
        return Frame("binary", record[:4])


class Semicolons(BufferedFramer):
    """Messages that end with ``;;``."""

    def cut(self) -> Frame | None:
        end = self.find(b";;")
        return None if end < 0 else Frame("raw", self.take(end + 2)[:-2])


class Blobs(LengthFramer):
    """Two bytes of length, little-endian, and nothing is read into what follows."""

    prefix = struct.Struct("<H")

    def sense(self, data: bytes) -> Frame:
        return Frame("blob", data)


def record(number: int) -> bytes:
    return struct.pack(">II", number, number ^ 0xFFFFFFFF)


def sized(*messages: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(message)) + message for message in messages)


def pump(framer: Framer) -> list[object]:
    """Take every frame there is; an error is written down in words."""
    events: list[object] = []
    while True:
        try:
            frame = framer.next_frame()
        except BadMessage as error:
            events.append(f"bad {error.data_type}")
            continue
        except FrameTooLong:
            return [*events, TOO_LONG]
        except ProtocolError:
            return [*events, LOST]
        if frame is None:
            return events
        events.append(frame)


def feed(framer: Framer, pieces: list[bytes], eof: bool = False) -> list[object]:
    events: list[object] = []
    for piece in pieces:
        framer.receive_data(piece)
        events += pump(framer)
        if TOO_LONG in events or LOST in events:
            return events
    if eof:
        framer.receive_eof()
        events += pump(framer)
    return events


def make(choice: Any, **limits: int) -> Framer:
    """Return a framer as a server would make it."""
    settings = {f"tcp_{name}": value for name, value in limits.items()}
    config = Config(**settings)
    return Framing(choice, config).make(config)


def raw(data: bytes) -> Frame:
    return Frame("raw", data)


def json(data: bytes) -> Frame:
    return Frame("json", data)


def xml(data: bytes) -> Frame:
    return Frame("xml", data)


def binary(data: bytes) -> Frame:
    return Frame("binary", data)


NEXT_LINE = b"\nnext\n"
DEEP_JSON = b'{"a":' + b"[" * 99 + b"]" * 99 + b"}"

# (framing, what it shows, bytes in, frames out). No end of the stream.
STREAMS: list[tuple[Any, str, bytes, list[object]]] = [
    ("line", "lines", b"a\nb c\r\n\n \nd", [raw(b"a"), raw(b"b c")]),
    (
        "line",
        "{ and < begin a line as well",
        b'{"a":\n<34>Oct 11\n<!DOCTYPE a>\n{}\n',
        [raw(b'{"a":'), raw(b"<34>Oct 11"), raw(b"<!DOCTYPE a>"), raw(b"{}")],
    ),
    ("line", "a byte order mark", BOM + b"a\n" + BOM + b"{\n", [raw(b"a"), raw(b"{")]),
    (
        "json",
        "objects",
        b'{"a": 1}{}\r\n\n{"b":\n[]}',
        [json(b'{"a": 1}'), json(b"{}"), json(b'{"b":\n[]}')],
    ),  # fmt: skip
    (
        "json",
        "what is none costs its line",
        b'hello {}\n<a/>\n[1]\n{"a": 1}\n',
        [BAD_JSON, BAD_JSON, BAD_JSON, json(b'{"a": 1}')],
    ),
    ("json", "a bad object costs its line", b'{]{}\n{"a": 1}', [BAD_JSON, json(b'{"a": 1}')]),
    (
        "json",
        "a byte order mark",
        BOM + b"{}" + BOM + b"x\n{}",
        [json(b"{}"), BAD_JSON, json(b"{}")],
    ),
    ("xml", "documents", b"<a/>\n <b>{}</b><c/>", [xml(b"<a/>"), xml(b"<b>{}</b>"), xml(b"<c/>")]),
    (
        "xml",
        "what is none costs its line",
        b'hello <a/>\n{"a": 1}\n<a/>\n',
        [BAD_XML, BAD_XML, xml(b"<a/>")],
    ),
    ("xml", "a DOCTYPE is refused", b"<!DOCTYPE a>\n<a/>", [BAD_XML, xml(b"<a/>")]),
    ("length", "nothing", b"", []),
    (
        "length",
        "each format",
        sized(b'{"a": 1}', b"<a/>", b"echo hi", b"\xff\x00"),
        [json(b'{"a": 1}'), xml(b"<a/>"), raw(b"echo hi"), binary(b"\xff\x00")],
    ),
    (
        "length",
        "blank around text is none of it",
        sized(b' {"a": 1}\r\n', BOM + b" <a/>\n", b"\necho  hi \n"),
        [json(b'{"a": 1}'), xml(b"<a/>"), raw(b"echo  hi")],
    ),
    (
        "length",
        "binary is left as it is",
        sized(b" \n", b"\x00{}", b"a\x00b", b"\n\xff\n", BOM),
        [binary(b" \n"), binary(b"\x00{}"), binary(b"a\x00b"), binary(b"\n\xff\n"), binary(BOM)],
    ),
    ("length", "line ends in a line's data", sized(b"say a\nb\n"), [raw(b"say a\nb")]),
    ("length", "a word over two lines is none", sized(b"a\nb"), [binary(b"a\nb")]),
    ("length", "an empty message is skipped", bytes(4) + sized(b"a") + bytes(8), [raw(b"a")]),
    ("length", "half a prefix", sized(b"a") + b"\x00\x00\x00", [raw(b"a")]),
    ("length", "half a message", sized(b"a") + sized(b"hello")[:-1], [raw(b"a")]),
    (
        "length",
        "JSON nested too deeply costs itself",
        sized(DEEP_JSON, b"next"),
        [BAD_JSON, raw(b"next")],
    ),
    ("length", "what only decode refuses", sized(b"{} {}", b"<a>"), [json(b"{} {}"), xml(b"<a>")]),
    (
        Netstrings,
        "netstrings",
        b"5:hello,0:,3:a,b,",
        [binary(b"hello"), binary(b""), binary(b"a,b")],
    ),  # fmt: skip
    (Netstrings, "a bad length", b"1:a,x", [binary(b"a"), LOST]),
    (Netstrings, "a length with a zero before it", b"01:a,", [LOST]),
    (Netstrings, "a bad end", b"1:ab,1:c,", [LOST]),
    (Netstrings, "a length over the limit", b"1048577:", [TOO_LONG]),
    (Netstrings, "a length with too many digits", b"1234567890:", [LOST]),
    (
        Records,
        "records",
        record(1) + record(2) + b"abc",
        [binary(b"\0\0\0\1"), binary(b"\0\0\0\2")],
    ),
    (
        Records,
        "a bad one is dropped",
        record(1) + bytes(8) + record(2),
        [binary(b"\0\0\0\1"), BAD_BINARY, binary(b"\0\0\0\2")],
    ),
    (Semicolons, "a separator of two bytes", b"a;b;;;;c;", [raw(b"a;b"), raw(b"")]),
    (Blobs, "another prefix", b"\1\0{\0\0\2\0ab\1", [Frame("blob", b"{"), Frame("blob", b"ab")]),
]

EVERY = (*FRAMINGS, Netstrings, Records, Semicolons, Blobs)


def messages_of(choice: Any, count: int = 3) -> bytes:
    """Return a stream of so many small messages that this framing reads."""
    one = {
        "auto": b'{"a": 1}',
        "line": b"echo\n",
        "json": b'{"a": 1}',
        "xml": b"<a/>",
        "length": sized(b"echo"),
        Netstrings: b"4:echo,",
        Records: record(7),
        Semicolons: b"echo;;",
        Blobs: b"\4\0echo",
    }[choice]
    return one * count


class FramerCase(unittest.TestCase):
    def check(
        self, choice: Any, stream: bytes, frames: list[object], eof: bool = False, **limits: int
    ) -> None:
        """Check what a stream is cut into: whole, byte by byte, and cut at every position."""

        def fed(pieces: list[bytes]) -> list[object]:
            return feed(make(choice, **limits), pieces, eof)

        self.assertEqual(fed([stream]), frames, "whole")
        self.assertEqual(fed([bytes([byte]) for byte in stream]), frames, "byte by byte")
        for cut in range(1, len(stream)):
            self.assertEqual(fed([stream[:cut], stream[cut:]]), frames, f"cut at {cut}")


class Splitting(FramerCase):
    """T1: what a stream holds does not depend on where TCP cut it."""

    def test_each_stream_is_cut_into_the_same_frames_wherever_tcp_cut_it(self) -> None:
        for choice, name, stream, frames in STREAMS:
            with self.subTest(name, framing=choice):
                self.check(choice, stream, frames)

    def test_a_stream_that_ends_inside_a_message_ends_with_one_error(self) -> None:
        ends: list[tuple[Any, bytes, list[object]]] = [
            ("line", b"a\n{b", [raw(b"a"), raw(b"{b")]),
            ("json", b'{}{"a', [json(b"{}"), BAD_JSON]),
            ("json", b"{}x", [json(b"{}"), BAD_JSON]),
            ("xml", b"<a/><b>", [xml(b"<a/>"), BAD_XML]),
            ("length", sized(b"a") + b"\0", [raw(b"a"), BAD_RAW]),
            ("length", sized(b"a", b'{"a": 1}')[:-1], [raw(b"a"), BAD_JSON]),
            ("length", sized(b"<a/>")[:-1], [BAD_XML]),
            ("length", sized(b"a"), [raw(b"a")]),
            (Netstrings, b"1:a,2:b", [binary(b"a"), BAD_BINARY]),
            (Records, record(1)[:-1], [BAD_BINARY]),
            (Semicolons, b"a;;b;", [raw(b"a"), BAD_BINARY]),
        ]
        for choice, stream, frames in ends:
            with self.subTest(stream, framing=choice):
                self.check(choice, stream, frames, eof=True)

    def test_after_the_end_there_is_nothing(self) -> None:
        for choice in EVERY:
            with self.subTest(framing=choice):
                framer = make(choice)
                framer.receive_data(messages_of(choice) + messages_of(choice, 1)[:-1])
                framer.receive_eof()
                self.assertEqual(len(pump(framer)), 4)
                self.assertIsNone(framer.next_frame())
                self.assertEqual(framer.buffered, 0)
                self.assertFalse(framer.is_mid_message)

    def test_garbage_raises_nothing_but_protocol_errors_and_cuts_do_not_matter(self) -> None:
        chance = random.Random(22)
        parts = (
            b"{", b"}", b"[", b"]", b'"', b"<", b">", b"<a>", b"</a>", b"\n", b"\r\n", b" ", b"a",
            b"\0", b"\0\0\0", b"\0\0\0\4", b"\0\0\0\1", b"\1\0", b"\xff", b";", b";;", b"1:", b",",
            b"1:a,", b"{}", b"<a/>", BOM, BOM[:1], record(1), bytes(8),
        )  # fmt: skip
        for choice in EVERY:
            for _ in range(500):
                stream = b"".join(chance.choices(parts, k=chance.randrange(1, 30)))
                limits = {
                    "max_message": chance.choice((1, 5, 20, 1000)),
                    "max_depth": chance.choice((1, 2, 4)),
                }
                whole = feed(make(choice, **limits), [stream], True)
                single = [bytes([byte]) for byte in stream]
                cut = chance.randrange(len(stream) + 1)
                self.assertEqual(
                    whole, feed(make(choice, **limits), single, True), (choice, stream, limits)
                )
                self.assertEqual(
                    whole,
                    feed(make(choice, **limits), [stream[:cut], stream[cut:]], True),
                    (choice, stream, limits, cut),
                )

    def test_what_a_framer_takes_for_a_line_is_one_for_decode(self) -> None:
        chance = random.Random(23)
        alphabet = ["a", "é", " ", "\t", "\n", "\0", "\x7f", "\x85", "\u2028", "{", "ÿ"]
        for _ in range(2000):
            text = "".join(chance.choices(alphabet, k=chance.randrange(1, 6))).encode()
            frame = make("length").sense(text)  # type: ignore[attr-defined]
            if frame.data_type in ("raw", "binary"):
                said = decode(frame)
                assert not isinstance(said, Signal)
                self.assertEqual(bool(said[0]), frame.data_type == "raw", text)


class Limits(FramerCase):
    """tcp_max_message and tcp_max_depth hold for each framing."""

    def test_a_message_at_the_limit_passes_and_one_byte_more_does_not(self) -> None:
        for choice, stream, frame in [
            ("line", b"{123456789\n", raw(b"{123456789")),
            ("json", b'{"a": 123}', json(b'{"a": 123}')),
            ("xml", b"<ab>1</ab>", xml(b"<ab>1</ab>")),
            ("length", sized(b"0123456789"), raw(b"0123456789")),
            ("length", sized(b"\x00123456789"), binary(b"\x00123456789")),
            (Netstrings, b"10:0123456789,", binary(b"0123456789")),
            (Blobs, b"\x0a\x000123456789", Frame("blob", b"0123456789")),
        ]:
            with self.subTest(stream, framing=choice):
                self.check(choice, stream + stream, [frame, frame], max_message=10)
                self.check(choice, stream, [TOO_LONG], max_message=9)

    def test_without_a_length_of_its_own_a_message_is_bounded_with_what_is_around_it(self) -> None:
        text = b"x" * (10 + OVERHEAD - 2)
        self.check(Semicolons, text + b";;", [raw(text)], max_message=10)
        self.check(Semicolons, text + b";;", [TOO_LONG], max_message=9)
        self.check(Semicolons, text + b"xxx", [TOO_LONG], max_message=10)

    def test_a_length_over_the_limit_is_refused_before_a_byte_of_the_message(self) -> None:
        framer = make("length", max_message=100)
        framer.receive_data(struct.pack(">I", 101))
        with self.assertRaisesRegex(FrameTooLong, "101 bytes, limit 100"):
            framer.next_frame()
        framer = make("length", max_message=100)
        framer.receive_data(b"GET ")  # Another protocol knocks.
        with self.assertRaises(FrameTooLong):
            framer.next_frame()

    def test_a_negative_length_is_refused(self) -> None:
        class Signed(LengthFramer):
            prefix = struct.Struct(">h")

        self.check(Signed, b"\xff\xff", [TOO_LONG])

    def test_a_framer_that_lost_its_stream_stays_dead_and_keeps_nothing(self) -> None:
        for choice, stream in [
            ("line", b"x" * 200),
            ("json", b"{" + b" " * 200),
            ("xml", b"<a>" + b"x" * 200),
            ("length", b"\xff" * 200),
            (Netstrings, b"x" * 200),
            (Semicolons, b"x" * 200),
        ]:
            with self.subTest(framing=choice):
                framer = make(choice, max_message=100)
                framer.receive_data(stream)
                with self.assertRaises(ProtocolError) as first:
                    framer.next_frame()
                framer.receive_data(messages_of(choice))
                framer.receive_eof()
                with self.assertRaises(ProtocolError) as second:
                    framer.next_frame()
                self.assertIs(first.exception, second.exception)
                self.assertEqual(framer.buffered, 0)
                self.assertFalse(framer.is_mid_message)

    def test_nesting_at_the_limit_passes(self) -> None:
        for depth in (1, 2, 3, 64):
            nested = b'{"a":' + b"[" * (depth - 1) + b"0" + b"]" * (depth - 1) + b"}"
            for choice, stream in (("json", nested + b"\n"), ("length", sized(nested))):
                with self.subTest(depth, framing=choice):
                    self.check(choice, stream, [json(nested)], max_depth=depth)
                    if depth > 1:
                        self.check(choice, stream, [BAD_JSON], max_depth=depth - 1)

    def test_a_document_that_nests_too_deeply_is_refused_by_whoever_sees_it_first(self) -> None:
        deep = b'<request command="a">' + b"<a>" * 64 + b"</a>" * 64 + b"</request>"
        self.check("xml", deep, [BAD_XML])
        frame = make("length").sense(deep)  # type: ignore[attr-defined]
        with self.assertRaisesRegex(BadMessage, "nested"):
            decode(frame, 64)


class MidMessage(unittest.TestCase):
    """What starts the deadline of a message (tcp_message_timeout), for each framing."""

    def test_part_of_a_message_is_mid_message_and_nothing_is_not(self) -> None:
        for choice in EVERY:
            one = messages_of(choice, 1)
            for cut in range(1, len(one)):
                with self.subTest(cut, framing=choice):
                    framer = make(choice)
                    self.assertFalse(framer.is_mid_message)
                    framer.receive_data(one + one[:cut])
                    pump(framer)
                    self.assertTrue(framer.is_mid_message)
                    framer.receive_data(one[cut:])
                    pump(framer)
                    self.assertFalse(framer.is_mid_message)
                    self.assertEqual(framer.buffered, 0)

    def test_the_error_of_a_message_in_part_comes_in_its_format(self) -> None:
        for part, data_type in ((b"\0", "raw"), (b"{", "json"), (b"<", "xml"), (b"a", "raw")):
            framer = make("length")
            framer.receive_data(sized(part + b"..")[:-1])
            self.assertIsNone(framer.next_frame())
            self.assertEqual(framer.data_type, data_type)
        self.assertEqual(make(Records).data_type, "binary")


class CountingBuffer(bytearray):
    """Counts the bytes that are copied out of it or searched."""

    touched = 0

    def find(self, sub: Any, start: Any = 0, end: Any = None, /) -> int:
        found = super().find(sub, start)
        CountingBuffer.touched += (found if found >= 0 else len(self)) - start + len(sub)
        return found

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        CountingBuffer.touched += len(part) if isinstance(part, bytes | bytearray) else 1
        return part


class Work(unittest.TestCase):
    """The work for a message is linear in its length, however it arrives. Counted, not timed."""

    def work(self, choice: Any, pieces: list[bytes]) -> int:
        framer = make(choice)
        framer.buffer = CountingBuffer()  # type: ignore[attr-defined]
        CountingBuffer.touched = 0
        for piece in pieces:
            framer.receive_data(piece)
            pump(framer)
        return CountingBuffer.touched

    def test_a_long_message_in_one_byte_pieces_is_looked_at_a_few_times(self) -> None:
        n = 1 << 14
        for choice, message in [
            ("length", sized(b"x" * n)),
            ("length", sized(b'{"a": "' + b"x" * n + b'"}')),
            ("length", sized(b"\0" * n)),
            ("length", bytes(n)),
            (Blobs, struct.pack("<H", n) + b"x" * n),
            (Netstrings, b"%d:" % n + b"x" * n + b","),
            (Semicolons, b";x" * (n // 2) + b";;"),
            (Semicolons, b"x" * n),
        ]:
            with self.subTest(message[:8], framing=choice):
                pieces = [message[i : i + 1] for i in range(len(message))]
                self.assertLess(self.work(choice, pieces), 6 * n)
                self.assertLess(self.work(choice, [message]), 6 * n)

    def test_many_small_messages_in_one_buffer_are_copied_once(self) -> None:
        for choice in ("length", Netstrings, Records, Semicolons, Blobs):
            with self.subTest(framing=choice):
                stream = messages_of(choice, 5000)
                self.assertLess(self.work(choice, [stream]), 3 * len(stream))

    def test_any_number_of_empty_messages_is_passed_over_in_one_leap(self) -> None:
        takes: list[int] = []

        class Counting(LengthFramer):
            def take(self, count: int) -> bytes:
                takes.append(count)
                return super().take(count)

        self.assertEqual(feed(make(Counting), [bytes(65536) + sized(b"a")]), [raw(b"a")])
        self.assertEqual(takes, [65536, 5])

    def test_no_separator_hides_from_a_search_that_went_on_for_another(self) -> None:
        framer = Semicolons(Config())
        framer.receive_data(b"ab;cd")
        self.assertEqual(framer.find(b":"), -1)
        self.assertEqual(framer.find(b";"), 2)
        framer.receive_data(b":")
        self.assertEqual(framer.find(b":"), 5)
        framer.take(3)
        self.assertEqual(framer.find(b":"), 2)

    def test_no_pattern_repeats_a_group_without_a_bound(self) -> None:
        for name, match in vars(framers).items():
            pattern = getattr(getattr(match, "__self__", None), "pattern", None)
            if pattern is not None:
                with self.subTest(name):
                    text = pattern if isinstance(pattern, str) else pattern.decode("latin-1")
                    self.assertIsNone(re.search(r"\)[*+]", text))


class CStrings(unittest.TestCase):
    def test_a_c_strings_end_is_no_part_of_json_or_xml_with_a_length(self) -> None:
        """F6."""
        stream = sized(b'{"a": 1}\0', b"<a/>\0\0\n", b"\xff\0")
        frames = [json(b'{"a": 1}'), xml(b"<a/>"), binary(b"\xff\0")]
        self.assertEqual(feed(make("length"), [stream]), frames)


class Sentences(BufferedFramer):
    """As anybody writes it first: blank lines and heartbeats are taken, and None is returned."""

    def cut(self) -> Frame | None:
        if self.buffer.startswith((b"\r\n", b"~")):
            self.take(2 if self.buffer[0] == 13 else 1)
            return None
        end = self.find(b"\r\n")
        return None if end < 0 else Frame("binary", self.take(end + 2)[:-2])


class Skipping(FramerCase):
    """F7: what `cut` takes without returning a message stalls no message behind it."""

    STREAM = b"\r\n$GPGLL,1*4D\r\n~~\r\n$GPGGA\r\n\r\n~"

    def test_a_message_behind_what_is_none_comes_at_once_wherever_tcp_cut(self) -> None:
        self.check(Sentences, self.STREAM, [binary(b"$GPGLL,1*4D"), binary(b"$GPGGA")])

    def test_the_end_of_the_stream_behind_what_is_none_is_no_error(self) -> None:
        frames = [binary(b"$GPGLL,1*4D"), binary(b"$GPGGA")]
        self.check(Sentences, self.STREAM, frames, eof=True)
        self.check(Sentences, b"~~a", [BAD_BINARY], eof=True)

    def test_it_does_not_count_for_the_limit(self) -> None:
        framer = make(Sentences, max_message=10)
        framer.receive_data(b"\r\n" + b"123\r\n" * 1000)
        self.assertEqual(pump(framer), [binary(b"123")] * 1000)
        framer.receive_data(b"~" + b"x" * 200)
        self.assertEqual(pump(framer), [TOO_LONG])

    def test_a_cut_that_takes_nothing_is_called_once(self) -> None:
        calls: list[int] = []

        class Waits(BufferedFramer):
            def cut(self) -> Frame | None:
                calls.append(len(self.buffer))
                if len(calls) == 2:
                    self.buffer += b"more"  # It must not go round for ever either.
                return None

        framer = make(Waits)
        for count in (1, 2, 3):
            framer.receive_data(b"a")
            self.assertIsNone(framer.next_frame())
            self.assertEqual(len(calls), count)

    def test_a_flood_of_what_is_none_is_cut_into_turns(self) -> None:
        framer = make(Sentences)
        framer.receive_data(b"~" * (MOST_SKIPPED + 1) + b"a\r\n")
        self.assertIsNone(framer.next_frame())
        self.assertTrue(framer.has_more)
        self.assertEqual(framer.next_frame(), binary(b"a"))
        self.assertIsNone(framer.next_frame())
        self.assertFalse(framer.has_more)


class UserErrors(unittest.TestCase):
    """What a framer of the user's does wrong must not become a loop without an end."""

    def test_a_message_that_takes_no_byte_is_a_bug(self) -> None:
        class Stuck(BufferedFramer):
            def cut(self) -> Frame | None:
                return Frame("binary", bytes(self.buffer))

        framer = make(Stuck)
        framer.receive_data(b"a")
        with self.assertRaisesRegex(RuntimeError, "Stuck.cut"):
            framer.next_frame()

    def test_a_bad_message_that_is_left_where_it_is_loses_the_stream(self) -> None:
        class Stuck(BufferedFramer):
            def cut(self) -> Frame | None:
                raise BadMessage("bad")

        framer = make(Stuck)
        framer.receive_data(b"a")
        self.assertEqual(pump(framer), [LOST])
        self.assertEqual(framer.buffered, 0)

    def test_cut_must_be_there(self) -> None:
        framer = make(BufferedFramer)
        framer.receive_data(b"a")
        with self.assertRaises(NotImplementedError):
            framer.next_frame()


class Wrapping(FramerCase):
    def test_what_a_framing_wraps_it_cuts_again(self) -> None:
        for choice in ("length", Netstrings, Blobs):
            wrap = Framing(choice, Config()).wrap
            assert wrap is not None
            for data in (b"a", b"\0;,:\n" * 9, b'{"a": 1}', b"x" * 5000):
                with self.subTest(data[:9], framing=choice):
                    frames = feed(make(choice), [wrap(data) * 2])
                    self.assertEqual([getattr(frame, "data", 0) for frame in frames], [data] * 2)

    def test_what_needs_no_wrapping_costs_none(self) -> None:
        for choice in ("auto", "line", "json", "xml", Records):
            self.assertIsNone(Framing(choice, Config()).wrap, choice)


class Choice(unittest.TestCase):
    """tcp_framing and framing=: what is taken, and what is refused before anybody connects."""

    def test_every_name_of_the_setting_makes_a_framer(self) -> None:
        for name in FRAMINGS:
            with self.subTest(name):
                self.assertEqual(len(feed(make(name), [messages_of(name)])), 3)

    def test_the_limits_are_those_of_the_config(self) -> None:
        for name in FRAMINGS:
            framer = make(name, max_message=3)
            framer.receive_data(messages_of(name))
            with self.assertRaises(FrameTooLong):
                framer.next_frame()

    def test_what_a_client_is_taken_to_read_before_its_first_message(self) -> None:
        spoken = {name: Framing(name, Config()).data_type for name in (*FRAMINGS, Records)}
        self.assertEqual(
            spoken,
            {"auto": "", "line": "raw", "json": "json", "xml": "xml", "length": "",
             Records: "binary"},
        )  # fmt: skip

    def test_a_function_that_fails_or_makes_no_framer_is_refused(self) -> None:
        def fails(config: Config) -> Any:
            raise ZeroDivisionError("no")

        def takes_nothing() -> Any:
            return None

        for choice, text in (
            (fails, "no"),
            (takes_nothing, "could not make"),
            (lambda config: object(), "no receive_data, receive_eof"),
            (str, "no receive_data"),
        ):
            with self.subTest(text), self.assertRaisesRegex(ConfigError, text):
                Framing(choice, Config())

    def test_an_object_with_the_interface_needs_no_class_of_ours(self) -> None:
        class Upper:
            data_type, wrap = "raw", None

            def __init__(self, inner: MessageFramer) -> None:
                self.inner = inner
                self.receive_data, self.receive_eof = inner.receive_data, inner.receive_eof
                self.take_rest = inner.take_rest

            is_mid_message = property(lambda self: self.inner.is_mid_message)
            buffered = property(lambda self: self.inner.buffered)

            def next_frame(self) -> Frame | None:
                frame = self.inner.next_frame()
                return frame and Frame(frame.data_type, frame.data.upper())

        framer = make(lambda config: Upper(MessageFramer()))
        self.assertEqual(feed(framer, [b"a\n{}"]), [raw(b"A"), json(b"{}")])


class HandOver(unittest.TestCase):
    """A command changed the framing: what follows it goes to the new framer, byte for byte."""

    def frames(
        self, command: bytes, rest: bytes, cut: int, old: Any = "auto", new: Any = "length"
    ) -> list[object]:
        """Cut the stream there, change the framing behind the command, return what follows."""
        framer = make(old)
        whole = command + rest
        pieces = [whole[:cut], whole[cut:]]
        for index, piece in enumerate(pieces):
            framer.receive_data(piece)
            if framer.next_frame() is not None:
                framer = hand_over(framer, make(new), False)
                return pump(framer) + feed(framer, pieces[index + 1 :], True)
        self.fail("there was no command")

    def test_no_byte_behind_the_command_is_lost_or_added_wherever_tcp_cut(self) -> None:
        follows: list[tuple[Callable[..., bytes], Any]] = [(sized, "length")]
        for command in (
            b"upgrade\n",
            b"upgrade\r\n",
            b'{"command": "upgrade"}',
            b'{"command": "upgrade"}\n',
            b'{"command": "upgrade"}\r\n',
            b'{"command": "upgrade", "data": [[[1]]]}\n',
            b'<request command="upgrade"/>',
            b'<request command="upgrade"/>\r\n',
        ):
            for wrap, new in follows:
                stream = wrap(b"\nx", b"\r\n", b"{}")
                for cut in range(len(command) + len(stream) + 1):
                    with self.subTest(command, cut=cut):
                        self.assertEqual(
                            self.frames(command, stream, cut, new=new),
                            [raw(b"x"), binary(b"\r\n"), json(b"{}")],
                        )

    def test_one_line_end_belongs_to_the_command_and_no_more(self) -> None:
        class Bytes(BufferedFramer):
            def cut(self) -> Frame | None:
                return Frame("binary", self.take(1))

        for end in (b"", b"\n", b"\r\n"):
            for rest in (b"\n\n", b"\r\r\n", b"\rx", b"x\n", b"\r"):
                if not end and rest[0] in b"\r\n":
                    continue  # Whose line end it is nobody can tell: it is the command's.
                for command in (b"{}", b"<a/>", b"[]" if end else b"{}"):
                    for cut in range(len(command + end + rest) + 1):
                        with self.subTest(command + end + rest, cut=cut):
                            self.assertEqual(
                                self.frames(command + end, rest, cut, new=Bytes),
                                [binary(bytes([byte])) for byte in rest],
                            )

    def test_a_framer_that_knows_its_lengths_leaves_no_line_end(self) -> None:
        for cut in range(12):
            frames = self.frames(sized(b"up"), b"\na\n", cut, old="length", new="line")
            self.assertEqual(frames, [raw(b"a")])
        framer = make("length")
        framer.receive_data(sized(b"{}") + b"\nx")
        framer.next_frame()
        self.assertEqual(hand_over(framer, make(Records), False).take_rest(), b"\nx")

    def test_a_lone_cr_is_held_until_it_is_known_whose_it_is(self) -> None:
        framer = AfterCommand(make(Records))
        framer.receive_data(b"\r")
        self.assertTrue(framer.is_mid_message)
        self.assertEqual(framer.buffered, 1)
        self.assertEqual(framer.take_rest(), b"\r")
        framer = AfterCommand(make(Records))
        self.assertEqual(feed(framer, [b"\r"], eof=True), [BAD_BINARY], "it was the stream's")
        framer = AfterCommand(make("line"))
        framer.receive_data(b"\r")
        framer.receive_eof()
        self.assertEqual(pump(framer), [])
        self.assertEqual((framer.buffered, framer.is_mid_message), (0, False))
        self.assertEqual((framer.data_type, framer.wrap), ("raw", None))

    def test_the_end_of_the_stream_is_handed_over_too(self) -> None:
        framer = make("auto")
        framer.receive_data(b"{}\n" + sized(b"a") + b"\0")
        framer.receive_eof()
        framer.next_frame()
        self.assertEqual(pump(hand_over(framer, make("length"), True)), [raw(b"a"), BAD_RAW])


if __name__ == "__main__":
    unittest.main()
