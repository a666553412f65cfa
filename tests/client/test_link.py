"""link: lines out of a socket, messages into it, and when to try again."""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import unittest
from unittest import mock

from pyliteflux.client.link import Backoff, Link
from pyliteflux.errors import FrameTooLong
from tests.client.peers import ClientTestCase, InThread
from tests.support import (
    DEADLINE,
    wait_until,
)


class LinkAlone(unittest.TestCase):
    LINES = (b"{}", b"", b"ab", b'{"a": "\xc3\xa9"}', b"x" * 20)

    def lines(self, pieces: list[bytes], limit: int = 100) -> list[bytes]:
        """Send pieces one by one, each read before the next; return the lines, and the end."""
        near, far = socket.socketpair()
        link = Link(near, limit)
        found = []
        with far:
            waiting = iter(pieces)

            def receive(*_: object) -> bytes:
                for piece in waiting:
                    if piece:
                        far.sendall(piece)
                        return near.recv(65536)
                return b""

            with mock.patch.object(link, "_receive", receive):
                try:
                    for line in link.lines():
                        found.append(line)
                finally:
                    link.close()
        return found

    def test_lines_come_whole_wherever_they_were_cut(self) -> None:
        data = b"".join(line + b"\n" for line in self.LINES)
        expected = list(self.LINES)
        self.assertEqual(self.lines([data]), expected)
        self.assertEqual(self.lines([data[i : i + 1] for i in range(len(data))]), expected)
        for cut in range(len(data)):
            self.assertEqual(self.lines([data[:cut], data[cut:]]), expected, cut)

    def test_an_end_inside_a_line_is_a_loss(self) -> None:
        with self.assertRaisesRegex(ConnectionError, "inside a message"):
            self.lines([b"{}\n{", b"}"])

    def test_a_line_over_the_limit_is_lost_at_once(self) -> None:
        self.assertEqual(self.lines([b"x" * 10 + b"\n"], 10), [b"x" * 10])
        for pieces in ([b"x" * 11], [b"x" * 6, b"x" * 5], [b"x" * 11 + b"\n"]):
            with self.assertRaisesRegex(FrameTooLong, "over 10 bytes"):
                self.lines(pieces, 10)

    def test_silence_is_told_as_often_as_it_lasts_and_counted_from_the_last_word(self) -> None:
        near, far = socket.socketpair()
        link, told = Link(near, 100), []

        def on_silence(times: int) -> None:
            told.append(times)
            if len(told) == 2:
                far.sendall(b"x\n")
            if len(told) == 4:
                raise TimeoutError("enough")

        with far, contextlib.closing(link):
            lines = link.lines(patience=0.001, on_silence=on_silence)
            self.assertEqual(next(lines), b"x")
            with self.assertRaisesRegex(TimeoutError, "enough"):
                next(lines)
        self.assertEqual(told, [1, 2, 1, 2])

    def test_who_is_still_being_told_something_is_not_silent(self) -> None:
        near, far = socket.socketpair()
        link, told, waits = Link(near, 100), [], itertools.count(1)
        wait = link._wait

        def count(events: int, deadline: float) -> None:
            if next(waits) == 5:
                far.sendall(b"x\n")
            wait(events, deadline)

        with (
            far,
            contextlib.closing(link),
            link._writing,
            mock.patch.object(link, "_wait", count),
        ):
            self.assertEqual(next(link.lines(patience=0.001, on_silence=told.append)), b"x")
        self.assertEqual(told, [])

    def test_sending_has_a_deadline(self) -> None:
        near, far = socket.socketpair()
        link = Link(near, 100)
        with far:
            with self.assertRaises(TimeoutError):
                link.send(b"x" * 10_000_000, 0.0)
            with self.assertRaises(TimeoutError):
                next(link.lines(0.0))
            link.close()

    def test_what_the_reader_has_to_say_goes_behind_a_message_that_is_being_sent(self) -> None:
        near, far = socket.socketpair()
        link = Link(near, 100)
        far.settimeout(DEADLINE)
        with far, far.makefile("rb") as lines:
            sender = InThread(link.send, b"x" * 4_000_000 + b"\n", 1e12)
            wait_until(lambda: link._unsent, "it sends")
            reader = InThread(lambda: [link.send_soon(b"pong\n") for _ in link.lines()])
            far.sendall(b"ping\n")
            wait_until(lambda: link._later, "the reader has found that somebody sends")
            self.assertEqual(len(lines.readline()), 4_000_001)
            self.assertEqual(lines.readline(), b"pong\n")
            sender.result()
            far.sendall(b"ping\n")  # It reads on, and has not been waiting.
            self.assertEqual(lines.readline(), b"pong\n")
            far.shutdown(socket.SHUT_WR)
            reader.result()
        link.close()

    def test_who_waits_for_room_to_send_hears_of_the_end(self) -> None:
        near, far = socket.socketpair()
        link = Link(near, 100)
        with far:
            sender = InThread(link.send, b"x" * 4_000_000, 1e12)
            wait_until(
                lambda: link._unsent and not select.select([], [near], [], 0)[1], "there is no room"
            )
            link.close()
            with self.assertRaises(OSError):
                sender.result()

    def test_after_the_end_sending_is_an_error(self) -> None:
        near, far = socket.socketpair()
        link = Link(near, 100)
        far.close()
        with self.assertRaises(OSError):
            for _ in range(1000):
                link.send(b"x" * 10_000, 1e12)
        link.close()
        with self.assertRaises(OSError):
            link.send(b"x", 1e12)
        link.send_soon(b"x")  # Nothing to be done, nothing raised.
        link.abort()


class BackoffAlone(unittest.TestCase):
    def test_it_doubles_up_to_the_longest_and_begins_again(self) -> None:
        backoff = Backoff(0.1, 1.0, jitter=lambda: 0.0)
        delays = [round(backoff.next_delay(), 3) for _ in range(6)]
        self.assertEqual(delays, [0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
        backoff.reset()
        self.assertEqual(backoff.next_delay(), 0.1)

    def test_up_to_a_half_is_taken_off_at_random(self) -> None:
        self.assertEqual(Backoff(1.0, jitter=lambda: 1.0).next_delay(), 0.5)
        delays = {Backoff(1.0).next_delay() for _ in range(20)}
        self.assertGreater(len(delays), 1)
        self.assertTrue(all(0.5 <= delay <= 1.0 for delay in delays), delays)

    def test_a_server_that_only_hangs_up_is_asked_less_and_less_often(self) -> None:
        """Only an answer or a push is a success: to be let in and thrown out is none."""
        case = ClientTestCase()
        case.setUp()
        self.addCleanup(case.doCleanups)
        backoff = Backoff(0.001, 0.002)
        client, peer = case.subscribed("t", backoff=backoff)
        with mock.patch.object(backoff, "reset") as reset:
            for _ in range(5):
                peer.say(type="closing", reason="refused", text="go away")
                peer.close()
                peer = case.accept()
            reset.assert_not_called()
            peer.confirm("e-10")
            peer.publish("t", 11)
            case.taken(client, 1)
            reset.assert_called()


if __name__ == "__main__":
    unittest.main()
