"""The corpus of `tests.protocol.http_corpus`, sent to a real server over raw sockets.

Each case is one connection: its bytes, a half-close, and all that comes back until the server
closes. What comes back is parsed by a small and strict parser of our own: a client library
would forgive what this test is about.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

import json
import re
import socket
import unittest
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from pyliteflux import Router, Server
from tests.protocol.http_corpus import (
    BODY_LIMIT,
    CASES,
    CHUNK_LINE_LIMIT,
    FIELDS_LIMIT,
    HEAD_LIMIT,
    REQUEST_LINE_LIMIT,
    SENTINEL,
    Case,
    Request,
)

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
DEADLINE = 10.0  # Seconds until a server that does not answer, or not close, has failed.
AFTER = Request("GET", "/sentinel")

STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [\t\x20-\x7e]*").fullmatch
FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ([\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)")


class Response(NamedTuple):
    status: int
    fields: dict[str, str]
    body: bytes


def parse_response(data: bytes, method: str) -> tuple[Response, bytes]:
    """Return the first response in `data`, and what follows it. Raises ValueError."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        raise ValueError(f"a response head without an end: {data[:200]!r}")
    status_line, *lines = head.split(b"\r\n")
    match = STATUS_LINE(status_line)
    if match is None:
        raise ValueError(f"a bad status line: {status_line!r}")
    status = int(match.group(1))
    fields: dict[str, str] = {}
    for line in lines:
        field = FIELD.fullmatch(line)
        if field is None:
            raise ValueError(f"a bad field: {line!r}")
        name = field.group(1).decode().lower()
        if name in fields:
            raise ValueError(f"a field that came twice: {line!r}")
        fields[name] = field.group(2).decode()
    if status < 200 or status == 204:
        if "content-length" in fields or "transfer-encoding" in fields:
            raise ValueError(f"a {status} with a length (RFC 9110 section 8.6)")
        return Response(status, fields, b""), rest
    if "date" not in fields:
        raise ValueError("a response without a Date (RFC 9110 section 6.6.1)")
    if "transfer-encoding" in fields:
        raise ValueError("this server was to send whole bodies")
    if not re.fullmatch("0|[1-9][0-9]*", fields.get("content-length", "")):
        raise ValueError(f"a response without a good Content-Length: {fields}")
    if method == "HEAD":
        return Response(status, fields, b""), rest
    length = int(fields["content-length"])
    if len(rest) < length:
        raise ValueError(f"a body of {len(rest)} bytes that was to have {length}")
    return Response(status, fields, rest[:length]), rest[length:]


def parse_responses(data: bytes, methods: Sequence[str]) -> list[Response]:
    """Return every final response, the n-th being the answer to the n-th of `methods`."""
    responses: list[Response] = []
    while data:
        method = methods[len(responses)] if len(responses) < len(methods) else "GET"
        response, data = parse_response(data, method)
        if response.status >= 200:
            responses.append(response)
        elif response.status != 100:
            raise ValueError(f"an interim response that nobody asked for: {response}")
    return responses


def expected(case: Case) -> list[Request]:
    """The requests of a case that are to be answered with success."""
    requests = list(case.requests)
    if case.keeps and not case.refused and not case.cut:
        requests.append(AFTER)
    return requests


def echo(request: Any) -> dict[str, Any]:
    """What the handler has seen of a request."""
    return {
        "method": request.method,
        "path": request.path,
        "length": len(request.body),
        "sum": zlib.crc32(request.body),
    }


class CorpusTest(unittest.TestCase):
    """RFC 9110 and RFC 9112; each case names its section."""

    server: Server
    address: tuple[str, int]

    @classmethod
    def setUpClass(cls) -> None:
        router = Router()
        router.register("/*", method=METHODS)(echo)
        cls.server = Server(
            http_port=0,
            tcp_port=0,
            info=False,
            router=router,
            max_request_line=REQUEST_LINE_LIMIT,
            max_header_size=HEAD_LIMIT,
            max_headers=FIELDS_LIMIT,
            max_chunk_line=CHUNK_LINE_LIMIT,
            max_body_size=BODY_LIMIT,
        )
        cls.server.start()
        assert cls.server.http_address is not None
        cls.address = cls.server.http_address[:2]

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.stop()

    def exchange(self, data: bytes) -> bytes:
        """Send, half-close, and return all that comes until the server closes."""
        with socket.create_connection(self.address, DEADLINE) as connection:
            received = bytearray()
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # The server has refused and closed before it had read it all.
            while True:
                piece = connection.recv(65536)
                if not piece:
                    return bytes(received)
                received += piece

    def check(self, requests: Sequence[Request], responses: Sequence[Response]) -> None:
        """The first responses are what `echo` has seen of these requests."""
        self.assertGreaterEqual(len(responses), len(requests), f"answers: {responses}")
        for request, response in zip(requests, responses, strict=False):
            self.assertIn(response.status, (200, 204), response)
            if response.body and request.target != "*":
                seen = json.loads(response.body)
                self.assertEqual(request.method, seen["method"])
                self.assertEqual(len(request.body), seen["length"])
                self.assertEqual(zlib.crc32(request.body), seen["sum"])

    def test_each_case(self) -> None:
        for case in CASES:
            with self.subTest(case.name, section=case.section, data=case.data[:200]):
                requests = expected(case)
                data = self.exchange(case.stream)
                responses = parse_responses(data, [request.method for request in requests])
                self.check(requests, responses)
                rest = responses[len(requests) :]
                if case.cut:
                    # RFC 9112 section 8: the server MAY answer what was cut short.
                    self.assertLessEqual(len(rest), 1, "one error at most")
                    statuses: tuple[int, ...] = (400, 408)
                else:
                    self.assertEqual(1 if case.refused else 0, len(rest), f"more: {rest}")
                    statuses = case.refused
                for response in rest:
                    self.assertIn(response.status, statuses)
                    # RFC 9112 section 9.6: it says that it will read no more.
                    self.assertEqual("close", response.fields.get("connection"))

    def test_persistence_is_told_to_the_client(self) -> None:
        # RFC 9112 section 9.3: 1.0 persists only if the answer says so, 1.1 unless it says no.
        for case in CASES:
            if case.refused or case.cut or not case.requests:
                continue
            with self.subTest(case.name, section=case.section, data=case.data[:200]):
                methods = [request.method for request in case.requests]
                responses = parse_responses(self.exchange(case.data), methods)
                self.assertEqual(len(methods), len(responses))
                connection = responses[-1].fields.get("connection", "")
                if not case.keeps:
                    self.assertEqual("close", connection)
                elif case.requests[-1].version == (1, 0):
                    self.assertEqual("keep-alive", connection)
                else:
                    self.assertEqual("", connection)

    def test_all_kept_requests_on_one_connection(self) -> None:
        good = [case for case in CASES if case.keeps and case.requests and not case.refused]
        requests = [request for case in good for request in case.requests]
        stream = b"".join(case.data for case in good) + SENTINEL
        with socket.create_connection(self.address, DEADLINE) as connection:
            received = bytearray()
            # The server stops reading while answers are due, and so we read between our writes.
            for at in range(0, len(stream), 16384):
                connection.sendall(stream[at : at + 16384])
                connection.setblocking(False)
                try:
                    received += connection.recv(1 << 20)
                except BlockingIOError:
                    pass
                connection.settimeout(DEADLINE)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                received += piece
        methods = [request.method for request in requests]
        responses = parse_responses(bytes(received), methods)
        self.assertEqual(len(requests) + 1, len(responses))
        self.check([*requests, AFTER], responses)


if __name__ == "__main__":
    unittest.main()
