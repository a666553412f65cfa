"""Notes of a connection, how they are put into words, and which stories are kept."""

from __future__ import annotations

import logging
import time
import unittest
from math import inf
from typing import Any

from pyliteflux import Router
from pyliteflux.channels.journal import (
    ANSWERED,
    DETAIL_LIMIT,
    EVENT_WIDTH,
    KEPT_EVENTS,
    KEPT_IDLE_EVENTS,
    LEVELS,
    MESSAGE,
    MOST_VALUES,
    REQUEST,
    Journal,
    Kind,
    Record,
    Story,
    add_note,
    trim,
)
from pyliteflux.endpoint import Endpoint, Peer
from pyliteflux.why import CloseReason
from tests.fakes import Simulation
from tests.support import captured_logs

DONE, BUSY, SLOW = CloseReason.DONE, CloseReason.BUSY, CloseReason.SLOW_CLIENT


def record(
    port: int = 5000,
    reason: CloseReason | None = DONE,
    closed: float | None = 13.5,
    events: list[Any] | None = None,
    **more: Any,
) -> Record:
    """Return what is kept of a connection from 10.0 on."""
    state, queued = more.get("state", "CLOSED"), more.get("queued", 0)
    return Record(
        "tcp",
        Peer("1.2.3.4", port),
        Endpoint("127.0.0.1", 8001),
        10.0,
        closed,
        state,
        reason,
        queued,
        [] if events is None else events,
    )


def texts(story: Story | None) -> list[str]:
    assert story is not None
    return [event.text for event in story.events]


class Notes(unittest.TestCase):
    def setUp(self) -> None:
        self.events: list[Any] = []

    def add(self, *kinds: Kind, detail: Any = None) -> None:
        for kind in kinds:
            add_note(self.events, 11.0, kind, detail)

    def test_an_event_is_four_values(self) -> None:
        self.add(Kind.SUBSCRIBED, detail="room:1")
        self.assertEqual(self.events, [11.0, Kind.SUBSCRIBED, "room:1", 1])

    def test_what_a_peer_wrote_is_cut(self) -> None:
        self.add(Kind.REFUSED, detail="x" * 100_000)
        self.assertEqual(self.events[2], "x" * DETAIL_LIMIT)

    def test_pings_in_a_row_are_counted(self) -> None:
        self.add(*[Kind.PING] * 1000)
        add_note(self.events, 99.0, Kind.PING, None)
        self.assertEqual(self.events, [99.0, Kind.PING, None, 1001])
        self.add(Kind.SUBSCRIBED, Kind.PING)
        self.assertEqual(self.events[1::EVENT_WIDTH], [Kind.PING, Kind.SUBSCRIBED, Kind.PING])

    def test_losses_of_two_topics_are_counted_apart(self) -> None:
        self.add(Kind.PUSH_DROPPED, detail="a")
        self.add(Kind.PUSH_DROPPED, Kind.PUSH_DROPPED, detail="b")
        self.assertEqual(self.events[3::EVENT_WIDTH], [1, 2])

    def test_a_long_download_is_congested_once(self) -> None:
        for time_point in range(1000):
            add_note(self.events, float(time_point), Kind.CONGESTED, f"{time_point} bytes wait")
            add_note(self.events, time_point + 0.5, Kind.DRAINED, None)
        self.assertEqual(
            self.events,
            [0.0, Kind.CONGESTED, "0 bytes wait", 1000, 999.5, Kind.DRAINED, None, 1],
        )
        self.add(Kind.CONGESTED)
        self.assertEqual(self.events[1::EVENT_WIDTH], [Kind.CONGESTED], "and it is so now")

    def test_the_last_events_are_kept_and_the_others_counted(self) -> None:
        for number in range(1000):
            self.events += (float(number), REQUEST, f"GET /{number}", 1)
            if len(self.events) > MOST_VALUES:
                trim(self.events)
            self.assertLessEqual(len(self.events), MOST_VALUES)
        story = record(events=self.events).story(0.0)
        told = [event.text for event in story.events if event.kind is REQUEST]
        self.assertGreaterEqual(len(told), KEPT_EVENTS - 1)
        first = 1000 - len(told)
        self.assertEqual(told, [f"request GET /{number}" for number in range(first, 1000)])
        self.assertEqual(texts(story)[1], Kind.EARLIER.value)


class Resting(unittest.TestCase):
    """What is kept of a connection that has nothing to do."""

    def test_an_idle_connection_keeps_fewer_events_and_the_newest(self) -> None:
        for ask, is_http in (
            (b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", True),
            (b"none%d x\n", False),
        ):
            with self.subTest(is_http), Simulation(tcp_keep_alive=True) as simulation:
                client = simulation.http() if is_http else simulation.tcp()
                for number in range(20):
                    client.send(ask % number)
                    simulation.settle()
                channel = simulation.channel(client)
                busy = channel.record().events
                self.assertGreaterEqual(len(busy), EVENT_WIDTH * KEPT_EVENTS)
                simulation.advance(0.5)
                self.assertEqual(channel.record().events, busy, "it may go on in a moment")
                simulation.advance(3)
                rested = channel.record().events
                self.assertEqual(len(rested), EVENT_WIDTH * KEPT_IDLE_EVENTS)
                self.assertIs(rested[1], Kind.EARLIER)
                self.assertEqual(
                    rested[EVENT_WIDTH:], busy[-EVENT_WIDTH * (KEPT_IDLE_EVENTS - 1) :]
                )

    def test_one_that_waits_for_its_handler_keeps_them_all(self) -> None:
        router = Router()
        router.register("/slow")(lambda request: "at last")
        with Simulation(router) as simulation:
            client = simulation.http()
            for _ in range(20):
                client.send(b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n")
                simulation.settle()
            client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            simulation.settle(jobs=False)
            channel = simulation.channel(client)
            kept = len(channel.record().events)
            simulation.advance(3, jobs=False)
            self.assertEqual(len(channel.record().events), kept)


class Words(unittest.TestCase):
    def test_a_story_begins_with_the_accept(self) -> None:
        self.assertEqual(
            texts(record().story(0.0)), ["accepted from 1.2.3.4:5000 on 127.0.0.1:8001"]
        )

    def test_each_event_is_told_with_its_time(self) -> None:
        events: list[Any] = [10.25, MESSAGE, "status", 1, 10.5, ANSWERED, 200, 24]
        add_note(events, 11.0, Kind.PUSH_DROPPED, "room:1")
        add_note(events, 11.0, Kind.PUSH_DROPPED, "room:1")
        add_note(events, 13.5, Kind.CLOSED, SLOW)
        story = record(events=events, reason=SLOW).story(0.0)
        self.assertEqual(
            [(event.seconds, event.kind, event.text) for event in story.events[1:]],
            [
                (0.25, MESSAGE, "message status"),
                (0.5, ANSWERED, "answered 200, 24 bytes"),
                (1.0, Kind.PUSH_DROPPED, "pushes were given up: room:1 (2 times)"),
                (3.5, Kind.CLOSED, f"closed: {SLOW.value}"),
            ],
        )

    def test_wall_times_lie_as_far_apart_as_the_reactor_says(self) -> None:
        before = time.time()
        story = record().story(0.0)
        assert story.closed is not None
        self.assertGreaterEqual(story.closed, before)
        self.assertAlmostEqual(story.closed - story.opened, 3.5, places=3)

    def test_the_report_names_reason_and_length(self) -> None:
        lines = str(record(events=[10.0, Kind.PARTIAL, None, 1]).story(0.0)).splitlines()
        self.assertRegex(lines[0], r"^TCP 1\.2\.3\.4:5000, opened .*, closed after 3\.500 s$")
        self.assertEqual(lines[1], f"  DONE: {DONE.value}")
        self.assertEqual(lines[3], f"       0.000  {Kind.PARTIAL.value}")

    def test_the_report_of_an_open_connection_says_what_it_does(self) -> None:
        story = record(reason=None, closed=None, state="SENDING", queued=77).story(12.0)
        self.assertIsNone(story.closed)
        first = str(story).splitlines()[0]
        self.assertIn("open since", first)
        self.assertIn("SENDING, 77 bytes wait for the peer", first)

    def test_no_peer_can_forge_a_line_or_colour_the_terminal(self) -> None:
        evil = "x\r\n  0.000  answered 200\x1b[31m\x85\u2028\ud800\\"
        events: list[Any] = [10.0, REQUEST, evil, 1, 10.0, Kind.REFUSED, evil, 1]
        report = str(record(events=events).story(0.0))
        self.assertEqual(len(report.splitlines()), 5)
        self.assertNotIn("\x1b", report)
        self.assertIn("\\x0d\\x0a", report)
        report.encode("utf-8")  # Half of a surrogate pair would not be text.

    def test_every_kind_can_be_told(self) -> None:
        for kind in Kind:
            self.assertTrue(texts(record(events=[10.0, kind, 5, 1]).story(0.0))[1], kind)


class Keeping(unittest.TestCase):
    def setUp(self) -> None:
        logs = captured_logs()
        self.logs = logs.__enter__()
        self.addCleanup(logs.__exit__, None, None, None)

    def test_the_last_are_kept_and_no_more(self) -> None:
        journal = Journal(3)
        for port in range(10):
            journal.add(record(port))
        kept = [port for port in range(10) if journal.find(f"1.2.3.4:{port}")]
        self.assertEqual(kept, [7, 8, 9])

    def test_nothing_is_kept_where_nothing_is_to_be(self) -> None:
        journal = Journal(0)
        journal.add(record())
        self.assertIsNone(journal.find("1.2.3.4:5000"))
        self.assertEqual(journal.counts, {DONE: 1}, "but it is counted")

    def test_a_flood_pushes_out_only_its_own_kind(self) -> None:
        journal = Journal(100)
        journal.add(record(1, SLOW))
        for port in range(1000, 6000):
            journal.add(record(port, BUSY))
        story = journal.find("1.2.3.4:1")
        assert story is not None
        self.assertIs(story.reason, SLOW)
        self.assertEqual(
            sum(journal.find(f"1.2.3.4:{port}") is not None for port in range(6000)), 100
        )

    def test_an_id_that_was_used_again_means_the_newest(self) -> None:
        journal = Journal(2)
        journal.add(record(1, DONE))
        journal.add(record(1, SLOW))
        story = journal.find("1.2.3.4:1")
        assert story is not None
        self.assertIs(story.reason, SLOW)
        for port in (2, 3, 4):
            journal.add(record(port, DONE))  # The older of the two goes first.
            story = journal.find("1.2.3.4:1")
            assert story is not None
            self.assertIs(story.reason, SLOW)

    def test_a_handler_that_returns_after_the_close_is_still_told(self) -> None:
        journal, events = Journal(1), [12.0, Kind.CLOSED, DONE, 1]
        journal.add(record(events=events))
        add_note(events, 20.0, Kind.TOO_LATE, None)
        self.assertEqual(texts(journal.find("1.2.3.4:5000"))[-1], Kind.TOO_LATE.value)

    def test_closes_are_counted_by_reason(self) -> None:
        journal = Journal(1)
        for reason in (DONE, SLOW, DONE):
            journal.add(record(reason=reason))
        self.assertEqual(journal.counts, {DONE: 2, SLOW: 1})


class Logging(unittest.TestCase):
    def setUp(self) -> None:
        logs = captured_logs()
        self.logs = logs.__enter__()
        self.addCleanup(logs.__exit__, None, None, None)
        logger = logging.getLogger("pyliteflux.server")
        self.addCleanup(logger.setLevel, logger.level)
        logger.setLevel(logging.DEBUG)
        self.journal = Journal(10)

    def test_an_ordinary_end_is_told_at_debug(self) -> None:
        self.journal.add(record())
        self.assertEqual(self.logs.lines(), [f"TCP 1.2.3.4:5000 closed: {DONE.value} (DONE)"])
        self.assertEqual(self.logs.lines(logging.INFO), [])

    def test_what_the_operator_should_know_is_told_louder(self) -> None:
        self.journal.add(record(reason=SLOW))
        self.assertEqual(len(self.logs.find("1.2.3.4:5000", logging.WARNING)), 1)
        self.assertLessEqual(
            {SLOW, BUSY, CloseReason.INTERNAL_ERROR, CloseReason.STREAM_FAILED},
            {reason for reason, level in LEVELS.items() if level >= logging.WARNING},
        )

    def test_a_flood_is_one_line_a_second_and_a_count(self) -> None:
        for number in range(1000):
            now = 100 + number / 400  # 2.5 seconds of it; the sweep comes once a second.
            self.journal.add(record(number, BUSY, now))
            if number in (400, 800):
                self.journal.report(now)
        lines = self.logs.lines(logging.INFO)
        self.assertEqual(
            [line.partition(" closed")[0] for line in lines],
            ["TCP 1.2.3.4:0", "TCP 1.2.3.4:400", "TCP 1.2.3.4:800"],
        )
        self.assertIn("(BUSY), and 399 more before it", lines[1])
        self.journal.report(inf)
        self.journal.report(inf)
        self.assertIn("199 more closed", self.logs.lines(logging.INFO)[-1])
        self.assertEqual(len(self.logs.lines(logging.INFO)), 4, "nothing is counted twice")

    def test_one_reason_does_not_hide_another(self) -> None:
        for reason in (BUSY, BUSY, SLOW):
            self.journal.add(record(reason=reason))
        self.assertEqual(len(self.logs.lines(logging.WARNING)), 2)

    def test_what_has_no_line_of_its_own_has_one_at_debug(self) -> None:
        for port in (1, 2, 3):
            self.journal.add(record(port, SLOW))
        self.assertEqual(len(self.logs.lines()), 3)


if __name__ == "__main__":
    unittest.main()
