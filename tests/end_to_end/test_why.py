"""Why did it close? Every reason is provoked once, in a simulated world; then over real sockets.

Each test of `Reasons` is named after a `CloseReason`, and one test sees to it that none is
missing.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import unittest
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from pyliteflux import EventStream, HTTPJSONResponse, HTTPResponse, Router, StreamResponse
from pyliteflux.channels.http_channel import HttpChannel
from pyliteflux.channels.journal import Kind, Story
from pyliteflux.channels.message_channel import FIRST_MESSAGE_TIMEOUT
from pyliteflux.why import CloseReason
from tests.fakes import Peer, Simulation
from tests.support import ServerTestCase, captured_logs, wait_until

SWEEP = 1.0  # Seconds: the longest time between two looks at the deadlines.
GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"


class WhyCase(unittest.TestCase):
    """Routes for all tests, and a simulation when asked for."""

    def setUp(self) -> None:
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.logs = self.stack.enter_context(captured_logs())
        router = self.router = Router()

        @router.register("/small", ["GET", "POST"])
        @router.register("small", protocol="tcp")
        def small(request: Any) -> Any:
            return {"ok": True}

        @router.register("/big")
        def big(request: Any) -> HTTPResponse:
            return HTTPResponse(b"b" * 1_000_000)

        @router.register("/upload", "POST", stream=True)
        def upload(request: Any) -> Any:
            return {"bytes": sum(len(piece) for piece in request.stream)}

        @router.register("/failing")
        @router.register("failing", protocol="tcp")
        def failing(request: Any) -> StreamResponse:
            def pieces() -> Iterator[str]:
                yield "begun"
                raise RuntimeError("on purpose")

            return StreamResponse(pieces())

        @router.register("/events")
        def events(request: Any) -> EventStream:
            return EventStream("room:1")

        @router.register("join", protocol="tcp")
        def join(request: Any) -> str:
            request.subscribe("room:1")
            return "joined"

        @router.register("leave", protocol="tcp")
        def leave(request: Any) -> str:
            request.unsubscribe("room:1")
            return "left"

    def simulate(self, **settings: Any) -> Simulation:
        settings = {"tcp_keep_alive": True, **settings}
        self.simulation = self.stack.enter_context(Simulation(self.router, **settings))
        self.server = self.simulation.server
        return self.simulation

    def get(self, path: bytes = b"small", **options: Any) -> Peer:
        """Connect to the HTTP port and ask; let the server do all that it can."""
        peer = self.simulation.http(**options)
        peer.send(GET % path)
        self.simulation.settle()
        return peer

    def tell(self, data: bytes, **options: Any) -> Peer:
        """Connect to the TCP port and send; let the server do all that it can."""
        peer = self.simulation.tcp(**options)
        peer.send(data)
        self.simulation.settle()
        return peer

    def story(self, peer: Peer) -> Story:
        story = self.server.why(peer.client_id)
        assert story is not None
        return story

    def expect(self, peer: Peer, reason: CloseReason, *kinds: Kind | str) -> Story:
        """The connection is closed for this reason, and these events led to it, in this order.

        kinds: a kind, or what the text of an event begins with.
        """
        story = self.story(peer)
        self.assertIs(story.reason, reason, str(story))
        self.assertEqual(story.state, "CLOSED", str(story))
        self.assertIsNotNone(story.closed)
        events = iter(story.events)
        for kind in kinds:
            for event in events:
                if event.kind is kind or (isinstance(kind, str) and event.text.startswith(kind)):
                    break
            else:
                self.fail(f"{kind!r} is missing, or in the wrong place:\n{story}")
        self.assertIs(story.events[0].kind, Kind.ACCEPTED)
        seconds = [event.seconds for event in story.events]
        self.assertEqual(seconds, sorted(seconds), str(story))
        if any(event.kind is Kind.TOO_LATE for event in story.events):
            return story
        self.assertEqual(story.events[-1].text, f"closed: {reason.value}", str(story))
        name = f"closed_{reason.name.lower()}"
        if self.server.is_running:
            self.assertGreaterEqual(self.server.stats[name], 1)
        return story


class Reasons(WhyCase):
    def test_every_reason_has_a_test_here(self) -> None:
        for reason in CloseReason:
            begin = f"test_{reason.name.lower()}_"
            self.assertTrue(any(name.startswith(begin) for name in dir(self)), reason)

    # --- the conversation was over

    def test_done_http(self) -> None:
        self.simulate()
        peer = self.simulation.http()
        peer.send(b"GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        self.simulation.settle()
        peer.close()
        self.simulation.settle()
        self.expect(
            peer,
            CloseReason.DONE,
            "accepted from 127.0.0.1:",
            "request GET /small",
            "answered 200, 12 bytes",
            Kind.CLOSING,
        )

    def test_a_tcp_answer_is_noted_with_the_status_that_it_has(self) -> None:
        @self.router.register("gone", protocol="tcp")
        def gone(request: Any) -> HTTPJSONResponse:
            return HTTPJSONResponse({"error": "gone"}, 410)

        @self.router.register("unwritable", protocol="tcp")
        def unwritable(request: Any) -> Any:
            return {"number": float("nan")}

        self.simulate()
        peer = self.tell(b'{"command": "gone"}\n{"command": "unwritable"}\n')
        peer.close()
        self.simulation.settle()
        self.expect(peer, CloseReason.PEER_CLOSED, "answered 410, 33 bytes", "answered 500, ")

    def test_done_tcp(self) -> None:
        self.simulate(tcp_keep_alive=False)
        peer = self.tell(b'{"command": "small"}\n')
        peer.close()
        self.simulation.settle()
        self.expect(peer, CloseReason.DONE, "message small", "answered 200, 13 bytes", Kind.CLOSING)

    def test_peer_closed_http(self) -> None:
        self.simulate()
        peer = self.get()
        peer.close()
        self.simulation.settle()
        self.expect(peer, CloseReason.PEER_CLOSED, Kind.ANSWERED, Kind.PEER_FINISHED, Kind.CLOSING)

    def test_peer_closed_tcp(self) -> None:
        self.simulate()
        peer = self.tell(b"small\n")
        peer.close()
        self.simulation.settle()
        self.expect(peer, CloseReason.PEER_CLOSED, Kind.ANSWERED, Kind.PEER_FINISHED)

    def test_peer_reset_while_the_handler_runs(self) -> None:
        """What it had asked is told, although the answer came too late."""
        self.simulate()
        peer = self.simulation.http()
        peer.send(GET % b"small")
        self.simulation.settle(jobs=False)
        self.simulation.pools["worker"].begin()
        peer.reset()
        self.simulation.settle()
        self.expect(peer, CloseReason.PEER_RESET, "request GET /small", Kind.CLOSED, Kind.TOO_LATE)

    def test_peer_gone_tcp(self) -> None:
        """The kernel's probes were not answered: ETIMEDOUT."""
        self.simulate()
        peer = self.tell(b"small\n")
        timeout = OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        with mock.patch.object(peer.sock, "recv", side_effect=timeout):
            peer.reset()
            self.simulation.settle()
        self.expect(peer, CloseReason.PEER_GONE, Kind.ANSWERED)

    # --- the peer's faults

    def test_protocol_error_http(self) -> None:
        self.simulate()
        peer = self.simulation.http()
        peer.send(b"GET /\x1b[31m HTTP/1.1\r\n\r\n")
        self.simulation.settle()
        peer.close()
        self.simulation.settle()
        story = self.expect(peer, CloseReason.PROTOCOL_ERROR, "refused: 400 ", Kind.CLOSING)
        self.assertNotIn("\x1b", str(story))

    def test_protocol_error_in_a_body_that_the_handler_reads(self) -> None:
        self.simulate()
        peer = self.simulation.http()
        peer.send(
            b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\nX"
        )
        self.simulation.turn()
        peer.send(b"\r\n")
        self.simulation.settle()
        peer.close()
        self.simulation.settle()
        self.expect(peer, CloseReason.PROTOCOL_ERROR, "request POST /upload", "refused: 400 ")

    def log_at_info(self) -> None:
        logger = logging.getLogger("pyliteflux.server")
        self.addCleanup(logger.setLevel, logger.level)
        logger.setLevel(logging.INFO)

    def test_too_large_tcp(self) -> None:
        self.log_at_info()
        self.simulate(tcp_max_message=100)
        peer = self.tell(b"x" * 200)
        peer.close()
        self.simulation.settle()
        self.expect(peer, CloseReason.TOO_LARGE, "refused: message of 200", Kind.CLOSING)
        self.assertTrue(self.logs.find("limit 100 (tcp_max_message)"))

    def test_too_large_http(self) -> None:
        """`access-line-of-a-413`: who sends too much has not broken the protocol."""
        self.log_at_info()
        self.simulate(max_body_size=100, max_request_line=100, max_header_size=1000)
        for sent, words in (
            (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n",
             "POST /echo: 413 the body has 101 bytes, limit 100 (max_body_size"),
            (b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n"
             + 101 * b"x", "POST /echo: 413 the body is over 100 bytes (max_body_size"),
            (b"GET /" + 101 * b"x", "414 the request line is over 100 bytes (max_request_line"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + 1000 * b"x", "431 the head is over 1000 bytes"),
        ):  # fmt: skip
            with self.subTest(words):
                peer = self.simulation.http()
                peer.send(sent)
                self.simulation.settle()
                peer.close()
                self.simulation.settle()
                self.expect(peer, CloseReason.TOO_LARGE, Kind.REFUSED, Kind.CLOSING)
                line = self.logs.find("closed: a request or message was over a limit")[-1]
                self.assertIn(words, line)
                self.simulation.advance(2)  # One line a second for each reason.

    def test_protocol_error_of_a_client_with_one_message(self) -> None:
        self.simulate(tcp_keep_alive=False)
        peer = self.tell(b"{bad}\n")
        peer.close()
        self.simulation.settle()
        self.expect(peer, CloseReason.PROTOCOL_ERROR, Kind.REFUSED, Kind.CLOSING)

    def test_a_bad_message_does_not_close_and_is_told(self) -> None:
        self.simulate()
        peer = self.tell(b"{bad}\nsmall\n")
        peer.close()
        self.simulation.settle()
        self.expect(peer, CloseReason.PEER_CLOSED, Kind.REFUSED, "message small")

    def test_protocol_error_stays_the_reason_of_who_is_then_cut(self) -> None:
        """It did not read our answer, and did not close: but that is not why we did."""
        self.simulate()
        peer = self.simulation.http()
        peer.send(b"nonsense\r\n\r\n")
        self.simulation.advance(self.server.config.linger_timeout + 2 * SWEEP)
        self.expect(
            peer, CloseReason.PROTOCOL_ERROR, Kind.REFUSED, "a deadline passed: linger_timeout"
        )

    # --- deadlines

    def test_idle_timeout_http(self) -> None:
        self.simulate(keep_alive_timeout=5)
        peer = self.get()
        self.simulation.advance(5 + SWEEP)
        peer.close()
        self.simulation.settle()
        self.expect(peer, CloseReason.IDLE_TIMEOUT, Kind.ANSWERED, Kind.DEADLINE, Kind.CLOSING)

    def test_idle_timeout_before_the_first_request(self) -> None:
        self.simulate(header_timeout=5)
        peer = self.simulation.http()
        self.simulation.advance(5 + SWEEP)
        peer.close()
        self.simulation.settle()
        self.expect(peer, CloseReason.IDLE_TIMEOUT, "a deadline passed: header_timeout")

    def test_idle_timeout_tcp(self) -> None:
        self.simulate(tcp_idle_timeout=5)
        peer = self.tell(b"small\n")
        self.simulation.advance(5 + SWEEP)
        peer.close()
        self.simulation.settle()
        self.expect(peer, CloseReason.IDLE_TIMEOUT, "a deadline passed: tcp_idle_timeout")

    def test_idle_timeout_of_a_client_that_never_asks(self) -> None:
        self.simulate(tcp_keep_alive=False)
        peer = self.simulation.tcp()
        self.simulation.advance(FIRST_MESSAGE_TIMEOUT + SWEEP)
        peer.close()
        self.simulation.settle()
        self.expect(peer, CloseReason.IDLE_TIMEOUT, Kind.DEADLINE)

    def test_read_timeout_of_a_head(self) -> None:
        self.simulate(header_timeout=5)
        peer = self.simulation.http()
        peer.send(b"GET / HT")
        self.simulation.advance(5 + SWEEP)
        peer.close()
        self.simulation.settle()
        self.expect(
            peer,
            CloseReason.READ_TIMEOUT,
            f"{Kind.PARTIAL.value}: 8 bytes",
            "a deadline passed: header_timeout",
            "refused: 408 ",
        )

    def test_read_timeout_of_a_body(self) -> None:
        self.simulate(body_timeout=5)
        peer = self.simulation.http()
        peer.send(b"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        self.simulation.advance(5 + SWEEP)
        peer.close()
        self.simulation.settle()
        story = self.expect(
            peer, CloseReason.READ_TIMEOUT, "request POST /small", Kind.DEADLINE, Kind.REFUSED
        )
        self.assertIn("3 bytes of the body are here", str(story))

    def test_read_timeout_of_a_body_that_the_handler_reads(self) -> None:
        self.simulate(body_timeout=5)
        peer = self.simulation.http()
        peer.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        self.simulation.advance(5 + SWEEP, jobs=False)
        self.simulation.settle()
        peer.close()
        self.simulation.settle()
        self.expect(peer, CloseReason.READ_TIMEOUT, "request POST /upload", Kind.DEADLINE)

    def test_read_timeout_tcp(self) -> None:
        self.simulate(tcp_message_timeout=5)
        peer = self.tell(b'{"command": ')
        self.simulation.advance(5 + SWEEP)
        peer.close()
        self.simulation.settle()
        self.expect(peer, CloseReason.READ_TIMEOUT, Kind.PARTIAL, Kind.REFUSED)

    def test_handler_timeout_http(self) -> None:
        self.simulate(handler_timeout=5)
        peer = self.simulation.http()
        peer.send(GET % b"small")
        self.simulation.settle(jobs=False)
        self.simulation.pools["worker"].begin()
        self.simulation.advance(5 + SWEEP, jobs=False)
        peer.close()
        self.simulation.settle()
        self.expect(
            peer,
            CloseReason.HANDLER_TIMEOUT,
            "request GET /small",
            "a deadline passed: handler_timeout",
            "answered 504",
            Kind.TOO_LATE,
        )

    def test_handler_timeout_tcp(self) -> None:
        self.simulate(handler_timeout=5)
        peer = self.simulation.tcp()
        peer.send(b"small\n")
        self.simulation.settle(jobs=False)
        self.simulation.pools["worker"].begin()
        self.simulation.advance(5 + SWEEP, jobs=False)
        peer.close()
        self.simulation.settle()
        self.expect(
            peer,
            CloseReason.HANDLER_TIMEOUT,
            "message small",
            "a deadline passed: handler_timeout",
            Kind.TOO_LATE,
        )

    def test_send_timeout_http(self) -> None:
        self.simulate(send_timeout=5)
        peer = self.get(b"big", capacity=1000)
        self.simulation.advance(5 + 2 * SWEEP)
        self.expect(
            peer,
            CloseReason.SEND_TIMEOUT,
            "answered 200, 1000000 bytes",
            Kind.CONGESTED,
            "a deadline passed: send_timeout",
        )

    def test_linger_timeout_http(self) -> None:
        self.simulate()
        peer = self.simulation.http()
        peer.send(b"GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        self.simulation.advance(self.server.config.linger_timeout + 2 * SWEEP)
        self.expect(
            peer,
            CloseReason.LINGER_TIMEOUT,
            Kind.ANSWERED,
            Kind.CLOSING,
            "a deadline passed: linger_timeout",
        )

    def test_ping_timeout_tcp(self) -> None:
        self.simulate(tcp_ping_interval=5)
        peer = self.tell(b'{"command": "small"}\n')
        self.simulation.advance(10 + 2 * SWEEP)
        peer.close()
        self.simulation.settle()
        self.expect(
            peer, CloseReason.PING_TIMEOUT, Kind.ANSWERED, Kind.PING, Kind.DEADLINE, Kind.CLOSING
        )

    # --- pushes

    def test_slow_client_tcp(self) -> None:
        self.simulate(tcp_send_limit=10_000)
        peer = self.tell(b'{"command": "join"}\n', capacity=1000)
        for _ in range(20):
            self.server.push_message("x" * 1000, peer.client_id)
        self.simulation.settle()
        self.simulation.advance(self.server.config.linger_timeout + 2 * SWEEP)
        self.expect(
            peer, CloseReason.SLOW_CLIENT, "subscribed: room:1", Kind.PUSH_DROPPED, Kind.CLOSING
        )

    def test_slow_client_that_hears_events(self) -> None:
        self.simulate(event_buffer=10_000)
        peer = self.get(b"events", capacity=1000)
        for _ in range(20):
            self.server.publish("room:1", "x" * 1000)
        self.simulation.settle()
        self.simulation.advance(self.server.config.linger_timeout + 2 * SWEEP)
        self.expect(
            peer,
            CloseReason.SLOW_CLIENT,
            "request GET /events",
            Kind.STREAM_STARTED,
            "subscribed: room:1",
            "pushes were given up: room:1",
        )

    def test_a_slow_client_that_is_kept_is_told_apart(self) -> None:
        self.simulate(tcp_send_limit=10_000, slow_client_policy="drop_oldest")
        peer = self.tell(b'{"command": "join"}\n{"command": "leave"}\n', capacity=1000)
        for _ in range(50):
            self.server.push_message("x" * 1000, peer.client_id)
        self.simulation.settle()
        peer.reset()
        self.simulation.settle()
        story = self.expect(
            peer,
            CloseReason.PEER_RESET,
            "subscribed: room:1",
            "unsubscribed: room:1",
            Kind.PUSH_DROPPED,
        )
        self.assertIn(" times)", str(story))

    def test_an_ack_that_does_not_come_is_told(self) -> None:
        self.simulate()
        peer = self.tell(b"small\n")
        self.server.push_message("x", peer.client_id, ack=True, ack_timeout=1.0)
        self.simulation.advance(2)
        peer.close()
        self.simulation.settle()
        self.expect(peer, CloseReason.PEER_CLOSED, Kind.ACK_TIMEOUT)

    # --- ours

    def test_disconnected_tcp(self) -> None:
        self.simulate()
        peer = self.tell(b"small\n")
        self.server.disconnect(peer.client_id, "you have\x1b been naughty")
        self.simulation.settle()
        peer.close()
        self.simulation.settle()
        story = self.expect(peer, CloseReason.DISCONNECTED, Kind.DISCONNECTED, Kind.CLOSING)
        self.assertIn("you have\\x1b been naughty", str(story))

    def test_refused_tcp(self) -> None:
        self.simulate()
        self.server.on_connect(lambda client: False)
        peer = self.tell(b"small\n")
        peer.close()
        self.simulation.settle()
        self.expect(peer, CloseReason.REFUSED, Kind.CLOSING)

    def test_stream_failed_http(self) -> None:
        self.simulate()
        peer = self.get(b"failing")
        peer.close()
        self.simulation.settle()
        self.expect(
            peer,
            CloseReason.STREAM_FAILED,
            "request GET /failing",
            "a stream begins: 200",
            Kind.STREAM_FAILED,
            Kind.CLOSING,
        )

    def test_stream_failed_where_only_the_end_of_the_connection_could_tell(self) -> None:
        self.simulate()
        peer = self.simulation.http()
        peer.send(b"GET /failing HTTP/1.0\r\n\r\n")
        self.simulation.settle()
        self.assertTrue(peer.saw_reset)
        self.expect(peer, CloseReason.STREAM_FAILED, Kind.STREAM_STARTED, Kind.STREAM_FAILED)

    def test_stream_failed_because_the_file_became_shorter(self) -> None:
        with TemporaryDirectory() as directory:
            path = Path(directory, "large")
            path.write_bytes(b"x" * 3_000_000)
            self.simulate()
            self.server.static("/files", directory)
            peer = self.get(b"files/large", capacity=500_000)
            os.truncate(path, 1000)
            while peer.take():
                self.simulation.settle()
        self.expect(
            peer,
            CloseReason.STREAM_FAILED,
            Kind.ANSWERED,
            Kind.CONGESTED,
            "the stream failed: the file shrank while it was being sent",
        )

    def test_a_stream_that_fails_on_tcp_ends_with_an_error_and_goes_on(self) -> None:
        self.simulate()
        peer = self.tell(b"failing\nsmall\n")
        peer.close()
        self.simulation.settle()
        self.expect(
            peer,
            CloseReason.PEER_CLOSED,
            "message failing",
            Kind.STREAM_STARTED,
            Kind.STREAM_FAILED,
            "message small",
        )

    def test_busy_http(self) -> None:
        self.simulate(max_connections=1)
        self.simulation.http()
        self.simulation.settle()
        peer = self.get()
        peer.close()
        self.simulation.settle()
        self.expect(
            peer, CloseReason.BUSY, "there is no room for it: max_connections", Kind.CLOSING
        )

    def test_busy_for_one_address(self) -> None:
        self.simulate(max_connections_per_ip=1)
        self.tell(b"small\n")
        peer = self.tell(b"")
        peer.close()
        self.simulation.settle()
        self.expect(
            peer, CloseReason.BUSY, "there is no room for it: max_connections_per_ip", Kind.CLOSING
        )

    def test_busy_without_a_word(self) -> None:
        """So many are waiting to be told that one more is cut at the accept."""
        self.simulate(max_connections=1)
        peers = [self.simulation.http() for _ in range(40)]
        self.simulation.settle()
        story = self.story(peers[-1])
        self.assertIs(story.reason, CloseReason.BUSY)
        self.assertIn("there is no room for it: max_connections", str(story))

    def test_evicted_http(self) -> None:
        self.simulate(max_connections=1)
        peer = self.get()
        self.simulation.http()
        self.simulation.settle()
        self.expect(peer, CloseReason.EVICTED, Kind.ANSWERED, "there is no room for it")

    def test_shutdown_http_and_tcp(self) -> None:
        self.simulate()
        peers = [self.get(), self.tell(b"small\n")]
        self.simulation.end()
        for peer in peers:
            self.expect(peer, CloseReason.SHUTDOWN, Kind.ANSWERED, Kind.SHUTDOWN, Kind.CLOSING)

    def test_shutdown_while_the_handler_runs(self) -> None:
        self.simulate()
        peers = [self.simulation.http(), self.simulation.tcp()]
        for peer, data in zip(peers, (GET % b"small", b"small\n")):
            peer.send(data)
        self.simulation.settle(jobs=False)
        self.server.stop()
        self.simulation.settle()
        for peer in peers:
            peer.close()
        self.simulation.end()
        for peer in peers:
            self.expect(peer, CloseReason.SHUTDOWN, Kind.SHUTDOWN, Kind.ANSWERED, Kind.CLOSING)

    def test_shutdown_of_events(self) -> None:
        self.simulate()
        peer = self.get(b"events")
        self.simulation.end()
        self.expect(peer, CloseReason.SHUTDOWN, Kind.SHUTDOWN, Kind.STREAM_ENDED, Kind.CLOSING)

    def test_internal_error_http(self) -> None:
        self.simulate()
        with mock.patch.object(HttpChannel, "_dispatch", side_effect=RuntimeError("a bug")):
            peer = self.get()
        self.expect(peer, CloseReason.INTERNAL_ERROR, "request GET /small")

    def test_internal_error_is_never_hidden_by_what_came_before(self) -> None:
        self.simulate()
        peer = self.get()
        channel = self.simulation.channel(peer)
        channel._close(CloseReason.PROTOCOL_ERROR)
        channel.on_failure(RuntimeError("a bug"))
        self.expect(peer, CloseReason.INTERNAL_ERROR)


class Open(WhyCase):
    def test_an_open_connection_says_what_it_is_doing(self) -> None:
        self.simulate()
        peer = self.simulation.http()
        peer.send(GET % b"small")
        self.simulation.settle(jobs=False)
        story = self.story(peer)
        self.assertEqual((story.state, story.reason, story.closed), ("HANDLING", None, None))
        self.assertEqual(story.events[-1].text, "request GET /small")
        self.assertEqual(self.story(peer).events, story.events, "to ask changes nothing")
        self.simulation.settle()
        story = self.story(peer)
        self.assertEqual(story.state, "IDLE")
        self.assertEqual(
            [event.text for event in story.events[1:]],
            ["request GET /small", "answered 200, 12 bytes"],
        )

    def test_an_open_connection_says_what_waits_for_it(self) -> None:
        self.simulate()
        peer = self.get(b"big", capacity=1000)
        story = self.story(peer)
        self.assertEqual(story.state, "SENDING")
        self.assertGreater(story.queued, 900_000)
        self.assertIn("bytes wait for the peer", str(story))

    def test_a_connection_that_is_about_to_end_says_why(self) -> None:
        self.simulate()
        peer = self.simulation.http()
        peer.send(b"nonsense\r\n\r\n")
        self.simulation.settle()
        story = self.story(peer)
        self.assertEqual((story.state, story.reason), ("CLOSING", CloseReason.PROTOCOL_ERROR))

    def test_congestion_is_told_with_its_end(self) -> None:
        self.simulate()
        peer = self.get(b"big", capacity=100_000)
        while peer.take():
            self.simulation.settle()
        kinds = [event.kind for event in self.story(peer).events]
        self.assertEqual(
            kinds, [Kind.ACCEPTED, Kind.REQUEST, Kind.ANSWERED, Kind.CONGESTED, Kind.DRAINED]
        )

    def test_a_stranger_has_no_story(self) -> None:
        self.simulate()
        self.assertIsNone(self.server.why("1.2.3.4:5"))

    def test_of_an_id_that_is_used_again_the_open_one_is_told(self) -> None:
        self.simulate()
        first = self.get()
        first.close()
        self.simulation.settle()
        second = self.simulation.tcp()
        second.address = first.address
        self.simulation.settle()
        self.assertEqual(self.story(second).protocol, "tcp")
        self.assertEqual(self.story(second).state, "IDLE")
        second.close()
        self.simulation.settle()
        self.assertEqual(self.story(second).protocol, "tcp")

    def test_a_busy_connection_keeps_its_last_events(self) -> None:
        self.simulate()
        peer = self.simulation.http()
        for number in range(500):
            peer.send(b"GET /small?%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
            self.simulation.settle()
        texts = [event.text for event in self.story(peer).events]
        self.assertEqual(texts[-2], "request GET /small?499")
        self.assertLess(len(texts), 50)
        self.assertIn("earlier events are not kept", texts[1])


class Reporting(WhyCase):
    def test_only_what_the_operator_should_know_is_logged_loudly(self) -> None:
        logger = logging.getLogger("pyliteflux.server")
        self.addCleanup(logger.setLevel, logger.level)
        self.simulate(max_connections=2)
        logger.setLevel(logging.DEBUG)
        first = self.get()
        first.close()
        self.simulation.settle()
        peers = [self.simulation.http() for _ in range(30)]
        self.simulation.settle()
        quiet = self.logs.find(f"HTTP {first.client_id} closed: {CloseReason.PEER_CLOSED.value}")
        self.assertEqual(len(quiet), 1)
        self.assertEqual(self.logs.find("PEER_CLOSED", logging.INFO), [])
        for peer in peers:
            peer.close()
        self.simulation.settle()
        self.simulation.advance(3)
        loud = self.logs.find("(BUSY)", logging.WARNING)
        self.assertEqual(len(loud), 2, loud)
        self.assertIn("27 more closed: the server had no room for it", loud[1])

    def test_counts_are_of_this_run_and_of_what_happened(self) -> None:
        self.simulate()
        self.get().close()
        self.simulation.settle()
        closed = {name: n for name, n in self.server.stats.items() if name.startswith("closed_")}
        self.assertEqual(closed, {"closed_peer_closed": 1})

    def test_no_more_stories_are_kept_than_is_set(self) -> None:
        self.simulate(closed_connections_kept=2)
        peers = [self.get() for _ in range(3)]
        for peer in peers:
            peer.close()
            self.simulation.settle()
        self.assertEqual(
            [self.server.why(peer.client_id) is None for peer in peers], [True, False, False]
        )


class RealSockets(ServerTestCase):
    def test_the_story_of_a_real_connection_outlives_the_server(self) -> None:
        @self.router.register("/hello")
        def hello(request: Any) -> Any:
            return {"id": request.client_id}

        server = self.serve()
        with self.connect(server) as client:
            client.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
            client_id = client.read_response().json["id"]
            story = server.why(client_id)
            assert story is not None
            self.assertIsNone(story.closed)
        server.stop()
        story = server.why(client_id)
        assert story is not None
        self.assertIn(story.reason, (CloseReason.PEER_CLOSED, CloseReason.SHUTDOWN))
        self.assertIn("request GET /hello", str(story))
        self.assertEqual(server.stats, {})

    def test_a_real_reset_is_told(self) -> None:
        server = self.serve(tcp_keep_alive=True)
        left: list[Any] = []

        @server.on_disconnect
        def gone(client: Any, reason: CloseReason) -> None:
            left.append((reason, server.why(client.client_id)))

        client = self.connect_tcp(server)
        client.send("anything\n")
        client.read_line()
        client.reset()
        wait_until(lambda: left, "the hook has been told")  # Or a stop may be heard of sooner.
        [(reason, story)] = left
        self.assertIs(reason, CloseReason.PEER_RESET)
        self.assertIs(story.reason, reason)
        self.assertIn("message anything", str(story))


if __name__ == "__main__":
    unittest.main()
