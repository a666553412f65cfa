"""The corpus of `http_corpus`, fed to the machine of `protocol/http_connection.py`.

However the network cuts a stream, it must be read in one way; so each case is fed whole, byte
by byte, and cut at every place, and a prefix of it must never yield what the whole does not.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

import re
import unittest
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pyliteflux.errors import ProtocolError
from pyliteflux.protocol.http_connection import END, NEED_DATA, HttpConnection
from pyliteflux.protocol.http_head import HttpLimits, RequestHead
from tests.protocol.http_corpus import (
    BODY_LIMIT,
    CASES,
    CHUNK_LINE_LIMIT,
    FIELDS_LIMIT,
    GROUPS,
    HEAD_LIMIT,
    REQUEST_LINE_LIMIT,
    SENTINEL,
    Case,
    Request,
)

LIMITS = HttpLimits(
    request_line=REQUEST_LINE_LIMIT,
    head=HEAD_LIMIT,
    fields=FIELDS_LIMIT,
    chunk_line=CHUNK_LINE_LIMIT,
    body=BODY_LIMIT,
)
# Up to this size a stream is cut at every place. A longer one, nearly all of it filler, is cut
# at every place near its ends and around the limits, and at a prime's distance in between.
EVERY_PLACE = 600
NEAR = 24
STRIDE = 2003
WAIT = "the machine waits"


class Got(NamedTuple):
    """What the machine made of a stream. status: of the refusal, or None."""

    requests: list[tuple[RequestHead, bytes]]
    status: int | None
    closed: bool  # The last request was not to be followed by another.

    def summary(self) -> tuple[list[tuple[str, str, tuple[int, int], bytes]], int | None, bool]:
        """What must be the same however the stream was cut."""
        heads = [(head.method, head.target, head.version, body) for head, body in self.requests]
        return heads, self.status, self.closed


class Player:
    """Drives a machine as a channel does, with answers that take no time."""

    def __init__(self) -> None:
        self.machine = HttpConnection(LIMITS)
        self.requests: list[tuple[RequestHead, bytes]] = []
        self.status: int | None = None
        self.closed = False
        self._head: RequestHead | None = None
        self._body = bytearray()

    def feed(self, data: bytes) -> None:
        if not self._is_over():
            self.machine.receive_data(data)
            self._drain()

    def end(self) -> None:
        if not self._is_over():
            self.machine.receive_eof()
            self._drain()

    def _is_over(self) -> bool:
        return self.closed or self.status is not None

    def _drain(self) -> None:
        try:
            while not self.closed:
                event = self.machine.next_event()
                if event is NEED_DATA:
                    return
                self._take(event)
        except ProtocolError as error:
            self.status = error.status

    def _take(self, event: object) -> None:
        if isinstance(event, RequestHead):
            if self._head is not None:
                raise AssertionError("a head came before the last request's end")
            self._head = event
            if not event.has_body:
                self._finish()
        elif event is END:
            self._finish()
        elif isinstance(event, bytes) and event and self._head is not None:
            self._body += event
        else:
            raise AssertionError(f"an event out of turn: {event!r}")

    def _finish(self) -> None:
        if self._head is None:
            raise AssertionError("an END without a request")
        self.requests.append((self._head, bytes(self._body)))
        self._head = None
        self._body.clear()
        if self.machine.keep_alive:
            self.machine.start_next_cycle()
        else:
            self.closed = True

    @property
    def got(self) -> Got:
        return Got(self.requests, self.status, self.closed)


def play(pieces: Iterable[bytes], eof: bool = True) -> Got:
    """Feed a machine and return what it made of it."""
    player = Player()
    for piece in pieces:
        player.feed(piece)
    if eof:
        player.end()
    return player.got


def places(case: Case) -> Iterator[int]:
    """Where a case's data is cut; the sentinel after it is cut in its own case."""
    size = len(case.data)
    if size <= EVERY_PLACE:
        yield from range(1, size + 1)
        return
    chosen = set(range(1, NEAR)) | set(range(size - NEAR, size + 1))
    for limit in (REQUEST_LINE_LIMIT, HEAD_LIMIT, BODY_LIMIT, CHUNK_LINE_LIMIT):
        chosen.update(range(limit - 2, limit + 5))
    chosen.update(range(0, size, STRIDE))
    yield from sorted(place for place in chosen if 0 < place <= size)


def expected(case: Case) -> list[Request]:
    """The requests in a case's stream, with the one that follows if the connection is kept."""
    requests = list(case.requests)
    if case.keeps and not case.refused and not case.cut:
        requests.append(Request("GET", "/sentinel", host="sentinel"))
    return requests


class CorpusTest(unittest.TestCase):
    """RFC 9110 and RFC 9112; each case names its section."""

    def check(self, case: Case, got: Got) -> None:
        want = expected(case)
        self.assertEqual(
            [(r.method, r.target, r.version, r.body) for r in want],
            got.summary()[0],
            "the requests",
        )
        for request, (head, _) in zip(want, got.requests, strict=True):
            self.check_head(request, head)
        if case.refused:
            self.assertIn(got.status, case.refused, "the status of the refusal")
        else:
            self.assertIsNone(got.status, "a good stream was refused")
            self.assertEqual(not case.keeps, got.closed, "is the connection closed?")

    def check_head(self, request: Request, head: RequestHead) -> None:
        for name in ("path", "query", "host"):
            want = getattr(request, name)
            if want is not None:
                self.assertEqual(want, getattr(head, name), name)
        if request.continues is not None:
            self.assertIs(request.continues, head.expects_continue, "expects_continue")
        for name, value in request.fields.items():
            self.assertEqual(value, head.headers.get(name), name)

    def test_each_case_fed_whole(self) -> None:
        for case in CASES:
            with self.subTest(case.name, section=case.section, data=case.data[:200]):
                self.check(case, play([case.stream]))

    def test_each_case_fed_byte_by_byte(self) -> None:
        for case in CASES:
            with self.subTest(case.name, section=case.section, data=case.data[:200]):
                stream = case.stream
                got = play(stream[at : at + 1] for at in range(len(stream)))
                self.check(case, got)
                self.assertEqual(play([stream]).summary(), got.summary())

    def test_each_case_cut_at_every_place(self) -> None:
        for case in CASES:
            stream = case.stream
            whole = play([stream]).summary()
            for place in places(case):
                got = play([stream[:place], stream[place:]]).summary()
                if got != whole:
                    with self.subTest(case.name, section=case.section, cut=stream[:place][-80:]):
                        self.assertEqual(whole, got)
                    break

    def test_a_prefix_yields_no_request_that_the_whole_does_not(self) -> None:
        # RFC 9112 section 8: a request cut short must not be taken for a whole one.
        for case in CASES:
            if not case.requests:
                continue
            stream = case.stream
            whole = play([stream]).summary()[0]
            for place in places(case):
                requests, status, closed = play([stream[:place]]).summary()
                allowed = {None, 400, *case.refused}
                if requests != whole[: len(requests)] or status not in allowed:
                    with self.subTest(case.name, section=case.section, cut=stream[:place][-80:]):
                        self.assertEqual(whole[: len(requests)], requests)
                        self.assertIn(status, allowed)
                    break

    def test_a_refusal_waits_neither_for_more_nor_for_the_end(self) -> None:
        # Else the client is left to wait for a deadline of ours.
        for case in CASES:
            if case.refused and not case.cut:
                with self.subTest(case.name, section=case.section, data=case.data[:200]):
                    self.assertIn(play([case.data], eof=False).status or WAIT, case.refused)

    def test_a_request_waits_neither_for_more_nor_for_the_end(self) -> None:
        for case in CASES:
            if not case.refused:
                with self.subTest(case.name, section=case.section, data=case.data[:200]):
                    got = play([case.data], eof=False)
                    self.assertEqual(len(case.requests), len(got.requests))

    def test_a_machine_that_has_refused_is_dead(self) -> None:
        # waitress CVE-2024-49768: a second request was handled after a failed first.
        for case in CASES:
            if not case.refused or case.cut:
                continue
            with self.subTest(case.name, section=case.section, data=case.data[:200]):
                player = Player()
                player.feed(case.data)
                self.assertIsNotNone(player.status)
                for _ in range(2):
                    player.machine.receive_data(SENTINEL)
                    with self.assertRaises(ProtocolError) as caught:
                        player.machine.next_event()
                    self.assertEqual(player.status, caught.exception.status)

    def test_all_kept_requests_on_one_connection(self) -> None:
        # Where one body ends is where the next request begins, whatever came before.
        good = [case for case in CASES if case.keeps and not case.refused and not case.cut]
        # A case that ends in nothing but empty lines would spend the next one's allowance.
        good = [case for case in good if case.requests]
        want = [(r.method, r.target, r.version, r.body) for case in good for r in case.requests]
        stream = b"".join(case.data for case in good)
        for size in (len(stream), 65536, 1000, 61):
            with self.subTest(pieces_of=size):
                got = play(stream[at : at + size] for at in range(0, len(stream), size))
                self.assertIsNone(got.status)
                self.assertEqual(want, got.summary()[0])


class TableTest(unittest.TestCase):
    """The table itself."""

    def test_names_are_unique(self) -> None:
        counted = Counter(case.name for case in CASES)
        self.assertEqual([], [name for name, count in counted.items() if count > 1])

    def test_every_case_names_its_section(self) -> None:
        for case in CASES:
            with self.subTest(case.name):
                self.assertRegex(case.section, re.compile(r"^RFC \d{4} section \d+(\.\d+)*$"))

    def test_every_group_holds_good_and_bad(self) -> None:
        self.assertGreaterEqual(len(CASES), 350)
        for name, group in GROUPS.items():
            with self.subTest(name):
                self.assertTrue(any(case.refused for case in group) or name == "persistence")
                self.assertTrue(any(not case.refused for case in group) or name == "incomplete")


if __name__ == "__main__":
    unittest.main()
