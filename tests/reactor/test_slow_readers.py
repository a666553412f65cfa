"""Who reads slowly is served, who does not read is not: limits 3."""

from __future__ import annotations

import socket
import unittest
from unittest import mock

from pyliteflux.reactor import transport
from pyliteflux.reactor.loop import Reactor
from pyliteflux.reactor.transport import Transport


class TinyPieces(unittest.TestCase):
    def test_each_piece_takes_room_beside_its_bytes(self) -> None:
        """A generator of single bytes is paused long before they are a watermark's worth."""
        reactor = Reactor()
        self.addCleanup(reactor.close)
        near, far = socket.socketpair()
        self.addCleanup(far.close)
        near.setblocking(False)
        tiny = Transport(reactor, near, high_water=6500, low_water=100)
        self.addCleanup(tiny.close, transport.CloseReason.DONE)
        channel = mock.Mock()
        tiny.attach(channel)
        for _ in range(100):
            self.assertGreater(tiny.room, 0)
            tiny.write(b"x")
        self.assertLessEqual(tiny.room, 0)
        tiny.flush()
        channel.drained.assert_called_once_with()


class StallTests(unittest.TestCase):
    def setUp(self) -> None:
        self.now = 100.0
        self.reactor = Reactor(clock=lambda: self.now)
        self.addCleanup(self.reactor.close)
        near, self.far = socket.socketpair()
        self.addCleanup(self.far.close)
        near.setblocking(False)
        self.transport = Transport(self.reactor, near)
        self.addCleanup(self.transport.close, transport.CloseReason.DONE)
        self.transport.attach(mock.Mock())
        self.transport.write(b"x" * (8 << 20))
        self.transport.flush()
        self.assertGreater(self.transport.size, 0, "the kernel took it all: a larger body")

    def held(self, size: int) -> None:
        patch = mock.patch.object(transport, "held_by_kernel", return_value=size)
        patch.start()
        self.addCleanup(patch.stop)

    def test_nobody_reads(self) -> None:
        self.held(5000)
        self.assertFalse(self.transport.is_stalled(self.now, 30))
        self.assertFalse(self.transport.is_stalled(self.now + 29, 30))
        self.assertTrue(self.transport.is_stalled(self.now + 30, 30))

    def test_a_kernel_that_holds_less_than_before_has_a_reader(self) -> None:
        self.held(5000)
        self.transport.is_stalled(self.now + 1, 30)
        self.held(4999)
        self.assertFalse(self.transport.is_stalled(self.now + 30, 30))
        self.assertFalse(self.transport.is_stalled(self.now + 59, 30))
        self.assertTrue(self.transport.is_stalled(self.now + 60, 30))


if __name__ == "__main__":
    unittest.main()
