"""What holds for any input: the sans-IO machines under hypothesis.

Three promises: how the network cuts a stream changes nothing, no input raises anything but
ProtocolError, and what was refused never leaves bytes that become a request.
"""

from __future__ import annotations

import json
import unittest
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from pyliteflux.config import FRAMINGS, Config
from pyliteflux.errors import BadMessage, FrameTooLong, ProtocolError
from pyliteflux.jsontext import dumps, loads
from pyliteflux.protocol.frame import Frame
from pyliteflux.protocol.framers import Framing
from pyliteflux.protocol.framing import MessageFramer
from pyliteflux.protocol.http_connection import END, NEED_DATA, HttpConnection
from pyliteflux.protocol.http_head import HttpLimits, RequestHead
from pyliteflux.protocol.message import NO_ID, decode, encode_answer

LIMITS = HttpLimits(request_line=200, head=600, fields=10, chunk_line=40, body=300)

# Pieces of requests, good and bad: strung together they reach far more states than bytes do.
TOKENS = st.sampled_from(
    [
        b"GET ", b"POST ", b"OPTIONS ", b"CONNECT ", b"/ ", b"* ", b"/a?b=%20 ", b"http://h/p ",
        b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t",
        b"Host: h", b"Host: h:80", b"Host: [::1]", b"Host: a b", b"Content-Length: 5",
        b"Content-Length: +5", b"Content-Length: 0", b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked", b"Connection: close", b"Connection: keep-alive",
        b"Expect: 100-continue", b"X: y", b"X : y", b"5\r\nhello\r\n", b"0\r\n\r\n",
        b"0\r\nX: y\r\n\r\n", b"hello", b"5;a=b\r\n", b"ffffffffffffffff\r\n", b"\x00", b"\xff",
    ]
)  # fmt: skip
GOOD = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
STREAMS = st.lists(TOKENS | st.binary(max_size=4), max_size=40).map(b"".join)
REQUESTS = st.lists(
    st.sampled_from(
        [
            GOOD,
            b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
            b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            b'5\r\nhello\r\n1;x="y"\r\n!\r\n0\r\nT: v\r\n\r\n',
            b"\r\nGET /q?x=1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        ]
    ),
    max_size=6,
).map(b"".join)


def http_outcome(pieces: list[bytes], eof: bool = True) -> tuple[list[Any], int | None]:
    """Return the requests that the pieces make, and the status of the refusal, if any."""
    connection = HttpConnection(LIMITS)
    requests: list[Any] = []
    body = b""
    try:
        for piece in [*pieces, None]:
            if piece is not None:
                connection.receive_data(piece)
            elif eof:
                connection.receive_eof()
            while (event := connection.next_event()) is not NEED_DATA:
                if isinstance(event, RequestHead):
                    requests.append((event.method, event.target, event.version, b""))
                    body = b""
                elif isinstance(event, bytes):
                    body += event
                if event is END or (isinstance(event, RequestHead) and not event.has_body):
                    requests[-1] = (*requests[-1][:3], body, "whole")
                    connection.start_next_cycle()
    except ProtocolError as error:
        return [request for request in requests if len(request) == 5], error.status
    return [request for request in requests if len(request) == 5], None


def frames_outcome(pieces: list[bytes], framing: str = "auto") -> list[Any]:
    """Return the frames and errors that the pieces make."""
    config = Config(tcp_max_message=200, tcp_max_depth=8)
    framer = Framing(framing, config).make(config)
    found: list[Any] = []
    for piece in [*pieces, None]:
        if piece is None:
            framer.receive_eof()
        else:
            framer.receive_data(piece)
        while True:
            try:
                frame = framer.next_frame()
            except FrameTooLong:
                return [*found, "too long"]
            except BadMessage as error:
                found.append(("bad", error.data_type))
                continue
            if frame is None:
                break
            found.append(frame)
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return data in pieces, cut at these places."""
    at = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in zip(at, at[1:], strict=False)]


CUTS = st.lists(st.integers(0, 2000), max_size=12)


class AnyHttpStream(unittest.TestCase):
    @given(STREAMS | REQUESTS, CUTS)
    def test_how_it_is_cut_changes_nothing(self, data: bytes, places: list[int]) -> None:
        whole = http_outcome([data])
        self.assertEqual(http_outcome(cut(data, places)), whole)
        self.assertEqual(http_outcome([bytes([byte]) for byte in data]), whole)

    @given(STREAMS | st.binary(max_size=300))
    @example(b"\r\n" * 9)
    def test_nothing_but_a_protocol_error_is_raised(self, data: bytes) -> None:
        http_outcome([data])  # Anything else fails the test by itself.

    @given(STREAMS)
    def test_what_is_refused_leaves_nothing_that_becomes_a_request(self, data: bytes) -> None:
        requests, status = http_outcome([data], eof=False)
        if status is None:
            return
        connection = HttpConnection(LIMITS)
        connection.receive_data(data)
        with self.assertRaises(ProtocolError) as first:
            while True:
                event = connection.next_event()
                if event is END or (isinstance(event, RequestHead) and not event.has_body):
                    connection.start_next_cycle()
        for _ in range(3):
            connection.receive_data(GOOD)
            with self.assertRaises(ProtocolError) as again:
                connection.next_event()
            self.assertIs(again.exception, first.exception)

    @given(REQUESTS)
    def test_good_requests_are_all_read(self, data: bytes) -> None:
        requests, status = http_outcome([data])
        self.assertIsNone(status)
        self.assertEqual(len(requests), data.count(b"HTTP/1."))


MESSAGES = st.lists(
    st.sampled_from(
        [
            b"{", b"}", b"[", b"]", b'"', b"\\", b":", b",", b'{"command": "a"}', b"\n", b"\r\n",
            b" ", b"<", b">", b"</a>", b"<a>", b"<a/>", b"<a b='>'>", b"<!--", b"-->",
            b"<![CDATA[", b"]]>", b"<?", b"?>", b"<!DOCTYPE", b"\xef\xbb\xbf", b"echo hi",
            b"\x00", b"\xff",
        ]
    )
    | st.binary(max_size=3),
    max_size=40,
).map(b"".join)  # fmt: skip

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False,
                                                                      allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


# As `json.dumps` escapes it: halves of surrogate pairs too, as JavaScript does.
JSON_OF_JAVASCRIPT = st.recursive(
    st.integers() | st.text(st.characters() | st.characters(categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
).map(json.dumps)


class AnyTcpStream(unittest.TestCase):
    @given(MESSAGES, CUTS)
    def test_how_it_is_cut_changes_nothing(self, data: bytes, places: list[int]) -> None:
        whole = frames_outcome([data])
        self.assertEqual(frames_outcome(cut(data, places)), whole)
        self.assertEqual(frames_outcome([bytes([byte]) for byte in data]), whole)

    @given(st.sampled_from(FRAMINGS), MESSAGES, CUTS)
    def test_in_no_framing_does_it_matter(
        self, framing: str, data: bytes, places: list[int]
    ) -> None:
        if framing == "length":
            data = len(data).to_bytes(4, "big") + data + b"\0\0\0\5"
        whole = frames_outcome([data], framing)
        self.assertEqual(frames_outcome(cut(data, places), framing), whole)
        self.assertEqual(frames_outcome([bytes([byte]) for byte in data], framing), whole)

    @given(MESSAGES)
    def test_every_frame_is_decoded_or_is_a_bad_message(self, data: bytes) -> None:
        for frame in frames_outcome([data]):
            if isinstance(frame, Frame):
                try:
                    decode(frame)
                except BadMessage as error:
                    self.assertEqual(error.data_type, frame.data_type)

    @given(JSON_OF_JAVASCRIPT)
    def test_what_json_is_let_in_can_be_answered_with(self, text: str) -> None:
        """A client's half of a surrogate pair is a 500 for nobody."""
        value = loads(text.encode())
        for data_type in ("json", "xml", "raw"):
            encode_answer({"said": value}, data_type)
        self.assertEqual(loads(dumps(value)), value)

    @given(JSON)
    def test_what_a_client_sends_as_json_comes_back_as_sent(self, value: Any) -> None:
        try:
            line = dumps({"command": "echo", "data": value})
        except ValueError:
            return  # Half a surrogate pair.
        framer = MessageFramer()
        framer.receive_data(line)
        frame = framer.next_frame()
        assert frame is not None
        said = decode(frame)
        self.assertEqual(said, ("echo", value, NO_ID, None))
        self.assertEqual(encode_answer(said[1], "json").count(b"\n"), 1)


if __name__ == "__main__":
    unittest.main()
