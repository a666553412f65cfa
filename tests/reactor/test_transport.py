"""Transport: over real socket pairs what the kernel decides, over simulated ones what we do.

The ways to end are those of the docstring of the module.
"""

from __future__ import annotations

import errno
import os
import socket
import tempfile
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

from pyliteflux.filepiece import FilePiece
from pyliteflux.reactor.life import CLOSED, FINISHING
from pyliteflux.reactor.loop import READ, Reactor
from pyliteflux.reactor.transport import PIECE_COST, SEND_BUDGET, Transport
from pyliteflux.reactor.wire import Wire
from pyliteflux.why import CloseReason
from tests.fakes import FakeClock, FakeSelector, FakeSocket, Network, Peer, run_until
from tests.support import captured_logs


class Recorder:
    """A channel that writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.received = b""
        self.congestions = 0
        self.on_drained: Callable[[], object] = lambda: None

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.calls.append("data")

    def eof_received(self) -> None:
        self.calls.append("eof")

    def flushed(self) -> None:
        self.calls.append("flushed")

    def congested(self) -> None:
        self.congestions += 1

    def file_failed(self, text: str) -> None:
        self.calls.append(text)

    def drained(self) -> None:
        self.calls.append("drained")
        self.on_drained()

    def connection_lost(self, reason: CloseReason) -> None:
        self.calls.append(reason)


class SimulatedCase(unittest.TestCase):
    """A transport on a simulated socket: high watermark 1000, low 200, reads of 100 bytes."""

    def setUp(self) -> None:
        self.clock, self.network = FakeClock(), Network()
        self.selector = FakeSelector(self.network)
        self.reactor = Reactor(self.selector, self.clock)
        self.addCleanup(self.reactor.close)
        self.channel = Recorder()
        self.sock = FakeSocket(self.network)
        self.peer = self.sock.peer = Peer(self.sock, ("127.0.0.1", 1), 1 << 30)
        sock: Any = self.sock
        self.transport = Transport(self.reactor, sock, 100, 1000, 200)
        self.transport.attach(self.channel)

    def tearDown(self) -> None:
        self.transport.close(CloseReason.DONE)
        self.assertEqual((self.network.sockets, self.network.faults), ({}, []))

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.reactor.run_once()

    def take_all(self) -> bytes:
        data = b""
        while piece := self.peer.take():
            data += piece
            self.turn(2)
        return data


class Writing(SimulatedCase):
    def test_a_write_is_sent_at_the_end_of_the_turn_all_in_one(self) -> None:
        for piece in (b"a", b"b", b"c"):
            self.reactor.call_soon(self.transport.write, piece)
        self.turn()
        self.assertEqual((self.peer.take(), self.sock.sends), (b"abc", 1))
        self.assertEqual(self.channel.calls, ["flushed"])

    def test_what_the_kernel_does_not_take_is_kept_as_a_view(self) -> None:
        self.peer.capacity = 10
        self.transport.write(b"x" * 300)
        self.turn()
        self.assertEqual(self.transport.size, 290)
        self.assertIsInstance(self.transport._unsent[0], memoryview)
        self.assertEqual(self.take_all(), b"x" * 300)
        self.assertEqual(self.channel.calls, ["flushed"])

    def test_the_order_survives_partial_sends_and_later_writes(self) -> None:
        self.peer.capacity = 7
        expected = received = b""
        for n in range(50):
            data = b"%d," % n
            expected += data
            self.transport.write(data)
            self.turn()
            received += self.peer.take()
        self.assertEqual(received + self.take_all(), expected)

    def test_write_is_watched_for_only_while_something_is_unsent(self) -> None:
        """A server that always watches for it burns a CPU with one idle client."""
        self.assertEqual(self.selector.poll(), [])
        self.peer.capacity = 10
        self.transport.write(b"x" * 20)
        self.turn()
        self.assertEqual(self.selector.poll(), [])
        self.assertEqual(len(self.peer.take()), 10)
        self.assertEqual(len(self.selector.poll()), 1)
        self.turn()
        self.peer.take()
        self.assertEqual(self.selector.poll(), [])

    def test_one_turn_sends_only_so_much(self) -> None:
        self.transport.write(b"x" * (3 * SEND_BUDGET))
        sizes = []
        with mock.patch.object(FakeSocket, "_room", lambda sock: 256 * 1024):
            while self.transport.size:
                self.turn()
                sizes.append(len(self.peer.take()))
        self.assertEqual(sizes, [SEND_BUDGET] * 3)

    def test_a_peer_that_has_gone_ends_the_connection(self) -> None:
        self.peer.reset()
        self.transport.write(b"x")
        self.turn()
        self.assertEqual(self.channel.calls, [CloseReason.PEER_RESET])

    def test_after_the_end_a_write_is_dropped_and_its_file_closed(self) -> None:
        self.transport.close(CloseReason.DONE)
        read, write = os.pipe()
        os.close(write)
        self.transport.write(FilePiece(read, 0, 1))
        self.transport.write(b"x")
        self.turn()
        with self.assertRaises(OSError):
            os.fstat(read)
        self.assertEqual(self.channel.calls, [CloseReason.DONE])


class Watermarks(SimulatedCase):
    def test_congestion_begins_over_the_high_mark_and_ends_at_the_low_one(self) -> None:
        self.peer.capacity = 100
        self.transport.write(b"x" * 1000)
        self.assertFalse(self.transport.is_congested)
        self.transport.write(b"x")
        self.assertTrue(self.transport.is_congested)
        self.assertEqual(self.transport.room, -1 - 2 * PIECE_COST)
        self.turn()
        for left in range(901, 200, -100):
            self.assertEqual(self.transport.size, left)
            self.assertTrue(self.transport.is_above_low_water)
            self.assertEqual(self.channel.calls, [])
            self.peer.take()
            self.turn()
        self.assertEqual((self.transport.size, self.channel.calls), (101, ["drained"]))

    def test_without_congestion_nobody_is_told_of_its_end(self) -> None:
        self.peer.capacity = 100
        self.transport.write(b"x" * 900)
        self.turn()
        self.take_all()
        self.assertEqual(self.channel.calls, ["flushed"])

    def test_who_found_no_room_is_told_even_where_all_is_sent_at_once(self) -> None:
        self.transport.write(b"x" * (1000 - PIECE_COST))
        self.assertEqual(self.transport.room, 0)
        self.turn()
        self.assertEqual(self.channel.calls, ["drained", "flushed"])

    def test_a_producer_that_writes_when_drained_goes_on_until_it_is_done(self) -> None:
        left = [b"y" * 1001] * 20

        def on_drained() -> None:
            if left:
                self.transport.write(left.pop())

        self.channel.on_drained = on_drained
        self.transport.write(b"y" * 1001)
        self.turn()
        self.assertLess(len(self.peer.unread), 4 * 1001, "one turn, one piece or two")
        self.turn(30)
        self.assertEqual(len(self.peer.take()), 21 * 1001)

    def test_a_stall_is_counted_from_the_last_byte_that_was_taken(self) -> None:
        self.peer.capacity = 10
        self.clock.advance(100)
        self.turn()
        self.assertFalse(self.transport.is_stalled(self.clock(), 5), "nothing waits")
        self.transport.write(b"x" * 30)
        self.turn()
        begin = self.clock()
        self.assertFalse(self.transport.is_stalled(begin + 4.99, 5))
        self.assertTrue(self.transport.is_stalled(begin + 5, 5))
        self.clock.advance(4)
        self.peer.take()
        self.turn()
        self.assertFalse(self.transport.is_stalled(begin + 5, 5))


class Reading(SimulatedCase):
    def test_one_turn_reads_once(self) -> None:
        self.peer.send(b"x" * 250)
        self.turn()
        self.assertEqual(len(self.channel.received), 100)
        self.turn(2)
        self.assertEqual(len(self.channel.received), 250)

    def test_paused_it_leaves_the_bytes_to_the_kernel(self) -> None:
        self.transport.pause_reading()
        self.transport.pause_reading()
        self.peer.send(b"x")
        self.turn()
        self.assertEqual((self.channel.received, self.selector.poll()), (b"", []))
        self.transport.resume_reading()
        self.transport.resume_reading()
        self.turn()
        self.assertEqual(self.channel.received, b"x")

    def test_a_socket_at_eof_is_not_polled(self) -> None:
        """It stays readable for ever: watching it would spin."""
        self.peer.half_close()
        self.turn()
        self.assertEqual(self.channel.calls, ["eof"])
        self.assertEqual(self.selector.poll(), [])
        self.transport.resume_reading()
        self.assertEqual(self.selector.poll(), [])
        self.transport.write(b"answer")
        self.turn()
        self.assertEqual(self.peer.take(), b"answer")
        self.assertEqual(self.sock.reads_of_eof, 1)

    def test_a_reset_ends_the_connection(self) -> None:
        self.peer.reset()
        self.turn()
        self.assertEqual(self.channel.calls, [CloseReason.PEER_RESET])

    def test_a_channel_that_raises_loses_its_connection(self) -> None:
        self.channel.data_received = mock.Mock(side_effect=RuntimeError("bug"))  # type: ignore[method-assign]
        self.peer.send(b"x")
        with captured_logs():
            self.turn()
        self.assertEqual(self.channel.calls, [CloseReason.INTERNAL_ERROR])
        self.assertTrue(self.peer.saw_reset)

    def test_an_event_of_the_same_turn_after_the_end_is_ignored(self) -> None:
        """Two connections are ready, and serving the first closes the second."""
        self.peer.send(b"x")
        ready = self.selector.poll()
        self.transport.close(CloseReason.DONE)
        for key, _ in ready:
            key.data.on_readable()
            key.data.on_writable()
        self.assertEqual(self.channel.calls, [CloseReason.DONE])


class Ending(SimulatedCase):
    def test_finish_sends_what_is_queued_then_fin_then_waits_for_the_peers(self) -> None:
        self.peer.capacity = 10
        self.transport.write(b"x" * 30)
        self.transport.finish(CloseReason.DONE)
        self.transport.write(b"too late")
        self.assertIs(self.transport.life, FINISHING)
        self.turn()
        self.assertFalse(self.peer.saw_fin)
        self.assertEqual(self.take_all(), b"x" * 30)
        self.assertTrue(self.peer.saw_fin and self.transport.fin_is_sent)
        self.assertEqual(self.channel.calls, ["flushed"], "now its deadline runs")
        self.peer.send(b"dropped")
        self.turn()
        self.assertEqual(self.channel.received, b"")
        self.peer.close()
        self.turn()
        self.assertEqual(self.channel.calls, ["flushed", CloseReason.DONE])
        self.assertIs(self.transport.life, CLOSED)
        self.assertFalse(self.peer.saw_reset, "RST would have taken the answer back")

    def test_one_that_has_no_channel_yet_can_end_in_each_way(self) -> None:
        """What fails between accept and attach must leave nobody behind who is not watched."""
        for end in ("close", "abort", "finish"):
            with self.subTest(end):
                near, far = socket.socketpair()
                with near, far:
                    transport = Transport(self.reactor, near)
                    getattr(transport, end)(CloseReason.INTERNAL_ERROR)
                    far.settimeout(5)
                    self.assertEqual(far.recv(1), b"")
                    transport.close(CloseReason.DONE)
                    self.assertIs(transport.life, CLOSED)
                    self.assertIs(transport.reason, CloseReason.INTERNAL_ERROR)

    def test_finish_with_nothing_queued_sends_fin_at_once(self) -> None:
        self.transport.finish(CloseReason.IDLE_TIMEOUT)
        self.transport.finish(CloseReason.DONE)
        self.assertTrue(self.peer.saw_fin)
        self.peer.close()
        self.turn()
        self.assertEqual(self.channel.calls, ["flushed", CloseReason.IDLE_TIMEOUT])

    def test_the_first_cause_of_the_end_stays(self) -> None:
        self.transport.write(b"x")
        self.transport.finish(CloseReason.PROTOCOL_ERROR)
        self.transport.abort(CloseReason.SEND_TIMEOUT)
        self.assertEqual(self.channel.calls, [CloseReason.PROTOCOL_ERROR])
        self.assertIs(self.transport.reason, CloseReason.PROTOCOL_ERROR)

    def test_a_conversation_that_was_over_can_still_fail(self) -> None:
        self.transport.write(b"x")
        self.transport.finish(CloseReason.DONE)
        self.transport.abort(CloseReason.SEND_TIMEOUT)
        self.assertEqual(self.channel.calls, [CloseReason.SEND_TIMEOUT])

    def test_a_bug_of_ours_is_never_hidden_by_an_earlier_cause(self) -> None:
        self.transport.finish(CloseReason.PROTOCOL_ERROR)
        self.transport.on_failure(RuntimeError("a bug"))
        self.assertEqual(self.channel.calls[-1], CloseReason.INTERNAL_ERROR)

    def test_a_network_that_has_gone_is_no_reset(self) -> None:
        error = OSError(errno.EHOSTUNREACH, "no route to host")
        with mock.patch.object(self.sock, "send", side_effect=error):
            self.transport.write(b"x")
            self.turn()
        self.assertEqual(self.channel.calls, [CloseReason.PEER_GONE])

    def test_congestion_is_told_once_until_it_is_over(self) -> None:
        self.peer.capacity = 100
        for _ in range(3):
            self.transport.write(b"x" * 1000)
            self.turn()
        self.assertEqual(self.channel.congestions, 1)
        self.take_all()
        self.assertEqual(self.channel.calls.count("drained"), 1)
        self.transport.write(b"x" * 2000)
        self.turn()
        self.assertEqual(self.channel.congestions, 2)

    def test_what_the_kernel_takes_at_once_is_no_congestion(self) -> None:
        self.transport.write(b"x" * 5000)
        self.turn()
        self.assertEqual(self.channel.congestions, 0)

    def test_finish_after_the_peers_eof_closes(self) -> None:
        self.peer.half_close()
        self.turn()
        self.transport.write(b"answer")
        self.transport.finish(CloseReason.DONE)
        self.turn()
        self.assertEqual(self.peer.take(), b"answer")
        self.assertEqual(self.channel.calls, ["eof", CloseReason.DONE])

    def test_a_peer_that_closes_before_all_is_sent_is_not_polled(self) -> None:
        self.peer.capacity = 10
        self.transport.write(b"x" * 30)
        self.transport.finish(CloseReason.DONE)
        self.peer.half_close()
        self.turn(2)
        self.assertEqual(self.selector.poll(), [])
        self.assertEqual(self.take_all(), b"x" * 30)
        self.assertEqual(self.channel.calls, [CloseReason.DONE])

    def test_finish_on_a_paused_transport_reads_again(self) -> None:
        """Else it would never see the peer's FIN."""
        self.transport.pause_reading()
        self.transport.finish(CloseReason.DONE)
        self.peer.send(b"x" * 500)
        self.peer.close()
        self.turn(10)
        self.assertEqual(self.channel.calls, ["flushed", CloseReason.DONE])

    def test_a_peer_that_is_gone_when_fin_is_due_ends_it(self) -> None:
        self.peer.reset()
        self.transport.finish(CloseReason.DONE)
        self.assertEqual(self.channel.calls, [CloseReason.DONE])

    def test_abort_resets_and_close_does_not(self) -> None:
        self.transport.write(b"x")
        self.transport.abort(CloseReason.SEND_TIMEOUT)
        self.transport.abort(CloseReason.DONE)
        self.assertTrue(self.peer.saw_reset)
        self.assertEqual(self.channel.calls, [CloseReason.SEND_TIMEOUT])
        self.turn()
        self.assertEqual(self.peer.take(), b"")

    def test_connection_lost_comes_once_and_nothing_after_it(self) -> None:
        self.transport.write(b"x")
        for _ in range(2):
            self.transport.close(CloseReason.DONE)
        self.peer.send(b"x")
        self.turn(2)
        self.assertEqual(self.channel.calls, [CloseReason.DONE])


class OtherWire:
    """A wire that encodes: each byte goes out changed, and comes in changed back."""

    TABLE = bytes(n ^ 255 for n in range(256))

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, size: int) -> bytes:
        return self._sock.recv(size).translate(self.TABLE)

    def send(self, data: bytes | memoryview) -> int:
        return self._sock.send(bytes(data).translate(self.TABLE))


class RealCase(unittest.TestCase):
    """A transport on one end of a real socket pair."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.addCleanup(self.reactor.close)
        near, self.far = socket.socketpair()
        near.setblocking(False)
        self.far.settimeout(10)
        self.addCleanup(self.far.close)
        self.channel = Recorder()
        self.transport = Transport(self.reactor, self.wire_over(near))
        self.transport.attach(self.channel)
        self.addCleanup(self.transport.close, CloseReason.DONE)

    def wire_over(self, sock: socket.socket) -> Wire:
        return sock

    def decoded(self, data: bytes) -> bytes:
        return data

    def read_all(self, size: int) -> bytes:
        """Read so many bytes, with the reactor's turns in between."""
        data = b""
        self.far.setblocking(False)

        def enough() -> bool:
            nonlocal data
            try:
                data += self.decoded(self.far.recv(1 << 20))
            except BlockingIOError:
                pass
            return len(data) >= size or not self.transport.is_open

        run_until(self.reactor, enough, f"{size} bytes have come, {len(data)} so far", 10_000)
        return data

    def file(self, data: bytes) -> int:
        """Return a descriptor of a temporary file that holds `data`."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "file")
        with open(self.path, "wb") as file:
            file.write(data)
        return os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def assert_closed(self, fd: int) -> None:
        with self.assertRaises(OSError):
            os.fstat(fd)


class Files(RealCase):
    CONTENT = bytes(range(256)) * 8000  # 2 MB: more than a kernel takes at once.

    def check_range(self) -> None:
        fd = self.file(self.CONTENT)
        self.transport.write(b"head")
        self.transport.write(FilePiece(fd, 1000, 1_500_000))
        self.transport.write(b"tail")
        self.assertEqual(self.transport.size, 1_500_008)
        data = self.read_all(1_500_008)
        self.assertEqual(data, b"head" + self.CONTENT[1000:1_501_000] + b"tail")
        self.assert_closed(fd)

    def test_a_range_is_sent_between_other_bytes(self) -> None:
        self.check_range()

    @unittest.skipUnless(hasattr(os, "sendfile"), "needs sendfile")
    def test_a_file_system_that_cannot_sendfile_is_read_instead(self) -> None:
        refusal = OSError(errno.EINVAL, "invalid argument")
        with mock.patch.object(os, "sendfile", side_effect=refusal):
            self.check_range()

    def test_a_file_that_shrinks_cuts_the_connection(self) -> None:
        """The length was promised: a body cut short must not look complete."""
        fd = self.file(self.CONTENT)
        self.transport.write(FilePiece(fd, 0, len(self.CONTENT)))
        self.reactor.run_once()
        os.truncate(self.path, 1000)
        data = self.read_all(len(self.CONTENT))
        self.assertLess(len(data), len(self.CONTENT))
        self.assertFalse(self.transport.is_open)
        self.assert_closed(fd)

    def test_a_connection_that_ends_gives_its_files_back(self) -> None:
        fd = self.file(self.CONTENT)
        self.transport.write(FilePiece(fd, 0, len(self.CONTENT)))
        self.reactor.run_once()
        self.transport.abort(CloseReason.SEND_TIMEOUT)
        self.assert_closed(fd)


class FilesOnAnotherWire(Files):
    """The same where the wire is not the kernel's socket itself, but writes to one."""

    def wire_over(self, sock: socket.socket) -> Wire:
        return OtherWire(sock)

    def decoded(self, data: bytes) -> bytes:
        return data.translate(OtherWire.TABLE)


class LastWords(RealCase):
    """A wire that encodes may have something to say before FIN, and the kernel no room for it."""

    def wire_over(self, sock: socket.socket) -> Wire:
        wire = OtherWire(sock)
        full = BlockingIOError(errno.EAGAIN, "the kernel is full")
        self.shutdown = mock.Mock(side_effect=[full, full, None])
        wire.shutdown = self.shutdown  # type: ignore[attr-defined]
        return wire

    def test_fin_waits_until_the_wire_has_said_them(self) -> None:
        for has_unsent in (False, True):
            self.setUp()
            with self.subTest(has_unsent=has_unsent):
                if has_unsent:
                    self.transport.write(b"answer")
                self.transport.finish(CloseReason.DONE)
                run_until(self.reactor, lambda: self.transport.fin_is_sent, "FIN is out")
                self.assertEqual(self.shutdown.call_count, 3)
                self.assertEqual(self.transport._interest, READ, "WRITE is watched no more")
                self.assertEqual(self.channel.calls, ["flushed"])


class RealSockets(RealCase):
    def test_megabytes_arrive_whole(self) -> None:
        data = os.urandom(3_000_000)
        for start in range(0, len(data), 70_000):
            self.transport.write(data[start : start + 70_000])
        self.assertEqual(self.read_all(len(data)), data)

    def test_a_peer_that_closes_is_heard(self) -> None:
        self.far.sendall(b"last")
        self.far.close()
        run_until(self.reactor, lambda: "eof" in self.channel.calls, "EOF is heard")
        self.assertEqual(self.channel.received, b"last")
        self.transport.write(b"x")
        self.transport.finish(CloseReason.DONE)
        run_until(self.reactor, lambda: not self.transport.is_open, "the connection ends")

    def test_its_repr_survives_everything(self) -> None:
        self.assertIn("unsent=0", repr(self.transport))
        self.far.close()
        self.transport.close(CloseReason.DONE)
        self.assertIn("closed", repr(self.transport))
        self.assertEqual(self.transport.fileno(), -1)


if __name__ == "__main__":
    unittest.main()
