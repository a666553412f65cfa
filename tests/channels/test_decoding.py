"""What is decoded by a worker, and what is not kept for who has left (contract X2)."""

from __future__ import annotations

import unittest

from pyliteflux.channels.decoding import DECODED_HERE, Undecoded, decode_whole
from pyliteflux.errors import BadMessage
from pyliteflux.protocol.frame import Frame
from tests.channels.test_message_channel import ChannelCase


class Whole(unittest.TestCase):
    def test_it_says_what_decode_says(self) -> None:
        frame = Frame("json", b'{"command": "a", "data": [1]}')
        self.assertEqual(decode_whole(Undecoded(frame, 8))[1][:2], ("a", [1]))  # type: ignore[index]
        with self.assertRaises(BadMessage):
            decode_whole(Undecoded(Frame("json", b"{bad}"), 8))

    def test_nothing_is_decoded_for_who_has_left(self) -> None:
        message = Undecoded(Frame("json", b"{bad}"), 8)
        message.forget()
        self.assertIsNone(decode_whole(message))
        self.assertTrue(message.is_abandoned)


class Where(ChannelCase):
    def test_a_large_message_waits_for_a_worker_and_a_small_one_does_not(self) -> None:
        simulation = self.simulate()
        for size, at_once in ((DECODED_HERE // 2, True), (DECODED_HERE * 2, False)):
            peer = simulation.tcp()
            peer.send(b'{"command": "now", "data": "%s"}\n' % (b"x" * size))
            simulation.settle(jobs=False)
            self.assertEqual(bool(peer.unread), at_once)
            simulation.settle()
            self.assertGreater(len(peer.take()), size)

    def test_a_client_that_leaves_takes_its_large_message_along(self) -> None:
        simulation = self.simulate()
        peer = simulation.tcp()
        peer.send(b'{"command": "now", "data": "%s"}\n' % (b"x" * DECODED_HERE * 2))
        simulation.settle(jobs=False)
        message = simulation.channel(peer)._undecoded
        self.assertIsNotNone(message.frame)
        peer.reset()
        simulation.settle(jobs=False)
        self.assertIsNone(message.frame)
        simulation.settle()


if __name__ == "__main__":
    unittest.main()
