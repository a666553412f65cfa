"""http_body: where a body ends, wherever the network has cut it, and not one byte later."""

from __future__ import annotations

import unittest

from pyliteflux.errors import BadRequest, BodyTooLarge, HeadTooLarge, ProtocolError
from pyliteflux.protocol.http_body import (
    CHUNKS_PER_CALL,
    NEXT,
    WIRE_ALLOWANCE,
    WIRE_FACTOR,
    ChunkedBody,
    ChunkState,
    FixedBody,
)
from pyliteflux.protocol.http_head import HttpLimits

NEXT_REQUEST = b"GET /next HTTP/1.1\r\n"
LIMITS = HttpLimits(body=1000, chunk_line=20, head=100, fields=2)
GOOD = {
    b"0\r\n\r\n": b"",
    b"3\r\nabc\r\n0\r\n\r\n": b"abc",
    b"3\r\nabc\r\n00\r\n\r\n": b"abc",
    b"1\r\na\r\nA\r\n0123456789\r\n0\r\n\r\n": b"a0123456789",
    b'2;a=b\r\n\r\n\r\n0;c="d;\\""\r\n\r\n': b"\r\n",
    b"3 ; a = b\r\nabc\r\n0\r\n\r\n": b"abc",
    b"1\r\na\r\n0\r\nX: y\r\nZ: w\r\n\r\n": b"a",
}
BAD = {
    b"g\r\n": "does not begin with its size|not 1 to 16",
    b"-1\r\n": "does not begin with its size|not 1 to 16",
    b"0x1\r\n": "does not begin with its size|not 1 to 16",
    b"1" * 17: "does not begin with its size",
    b"1\na\n": "does not begin with its size",
    b"1 \r\n": "not 1 to 16 hexadecimal",
    b"1;a b\r\n": "not 1 to 16 hexadecimal",
    b"1;" + b"a" * 20: "size line is over 20",
    b"1\r\nab": "a chunk is longer",
    b"1\r\na\n": "a chunk is longer",
    b"0\r\nX: y\n": "a trailer line does not end in CRLF",
    b"0\r\nX y\r\n\r\n": "a trailer field is not",
}


def decode(data: bytes, step: int, body: ChunkedBody | None = None) -> tuple[bytes, bytes]:
    """Return the content, and what is left, of bytes that come `step` at a time."""
    body = ChunkedBody(LIMITS) if body is None else body
    content, buffer = b"", bytearray()
    for at in range(0, len(data), step):
        buffer += data[at : at + step]
        while not body.is_complete and (piece := body.take(buffer)):
            content += piece
    return content, bytes(buffer)


class Fixed(unittest.TestCase):
    def test_it_takes_its_own_bytes_and_not_one_more(self) -> None:
        for step in range(1, 12):
            body, content, buffer = FixedBody(5), b"", bytearray()
            for at in range(0, 10, step):
                buffer += b"01234next!"[at : at + step]
                content += body.take(buffer)
            self.assertTrue(body.is_complete)
            self.assertEqual((content, bytes(buffer)), (b"01234", b"next!"))

    def test_an_empty_one_is_complete_at_once(self) -> None:
        self.assertTrue(FixedBody(0).is_complete)


class Chunked(unittest.TestCase):
    def test_cut_anywhere_it_is_the_same(self) -> None:
        for wire, content in GOOD.items():
            for step in range(1, len(wire) + 2):
                with self.subTest(wire, step=step):
                    body = ChunkedBody(LIMITS)
                    got, rest = decode(wire + NEXT_REQUEST, step, body)
                    self.assertTrue(body.is_complete)
                    self.assertEqual((got, rest), (content, NEXT_REQUEST))

    def test_what_two_servers_could_read_in_two_ways_is_refused_wherever_it_is_cut(self) -> None:
        """RFC 9112 section 7.1; CVE-2025-43859."""
        for wire, text in BAD.items():
            for step in (1, 2, 3, len(wire)):
                with self.subTest(wire, step=step), self.assertRaisesRegex(ProtocolError, text):
                    decode(wire, step)

    def test_content_over_the_limit_is_refused_by_its_size_line(self) -> None:
        with self.assertRaisesRegex(BodyTooLarge, "over 1000 bytes"):
            decode(b"3E9\r\n", 100)
        with self.assertRaisesRegex(BodyTooLarge, "over 2 bytes"):
            decode(b"2\r\nab\r\n1\r\n", 100, ChunkedBody(LIMITS, 2))

    def test_framing_has_a_limit_of_its_own(self) -> None:
        """CVE-2023-39326: extensions are no content."""
        extension = b"1;" + b"e" * 18 + b"\r\na\r\n"
        count = (WIRE_FACTOR * 20_000 + WIRE_ALLOWANCE) // len(extension)
        body = ChunkedBody(LIMITS, 20_000)
        decode(extension * count, 1 << 20, body)
        with self.assertRaisesRegex(BodyTooLarge, "more framing than content"):
            decode(extension * 2, 1 << 20, body)

    def test_trailers_have_limits(self) -> None:
        with self.assertRaisesRegex(HeadTooLarge, "trailers are over 100 bytes"):
            decode(b"0\r\nX: " + b"a" * 100, 7)
        with self.assertRaisesRegex(HeadTooLarge, "3 trailer fields, limit 2"):
            decode(b"0\r\nA:\r\nB:\r\nC:\r\n\r\n", 100)

    def test_one_call_decodes_so_many_chunks_and_the_next_goes_on(self) -> None:
        """A body of one-byte chunks must not hold the loop."""
        body, buffer = ChunkedBody(LIMITS), bytearray(b"1\r\na\r\n" * (CHUNKS_PER_CALL + 3))
        self.assertEqual(len(body.take(buffer)), CHUNKS_PER_CALL)
        self.assertEqual(len(body.take(buffer)), 3)

    def test_its_table_has_every_state_and_one_end(self) -> None:
        self.assertEqual(set(NEXT), set(ChunkState))
        self.assertEqual([state for state in NEXT if not NEXT[state]], [ChunkState.COMPLETE])

    def test_a_failed_one_does_not_go_back(self) -> None:
        body = ChunkedBody(LIMITS)
        with self.assertRaises(BadRequest):
            decode(b"1\r\nab\r\n", 100, body)
        self.assertFalse(body.is_complete)


if __name__ == "__main__":
    unittest.main()
