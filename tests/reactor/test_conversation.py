"""What a transport asks of the conversation above it, and a transport that has none yet."""

from __future__ import annotations

import socket
import unittest

from pyliteflux.channels.http_channel import HttpChannel
from pyliteflux.channels.message_channel import MessageChannel
from pyliteflux.reactor.conversation import NOBODY, Conversation
from pyliteflux.reactor.loop import Reactor
from pyliteflux.reactor.transport import Transport
from pyliteflux.why import CloseReason
from tests.fakes import run_until

CALLS = [name for name in vars(Conversation) if not name.startswith("_")]


class WhoIsTalkedTo(unittest.TestCase):
    def test_both_kinds_of_channel_hear_every_call_themselves(self) -> None:
        self.assertEqual(len(CALLS), 7)
        for kind in (HttpChannel, MessageChannel, type(NOBODY)):
            for name in CALLS:
                self.assertTrue(callable(getattr(kind, name)), (kind, name))


class BeforeAttach(unittest.TestCase):
    def test_a_transport_without_a_channel_sends_ends_and_reads_nothing(self) -> None:
        reactor = Reactor()
        self.addCleanup(reactor.close)
        near, far = socket.socketpair()
        self.addCleanup(far.close)
        near.setblocking(False)
        transport = Transport(reactor, near)
        far.send(b"early")
        transport.write(b"sorry")
        transport.finish(CloseReason.BUSY)
        run_until(reactor, lambda: transport.fin_is_sent, "all is said")
        self.assertEqual(far.recv(100), b"sorry")
        self.assertEqual(far.recv(100), b"")
        transport.close(CloseReason.BUSY)
        self.assertFalse(reactor._selector.get_map().keys() - {reactor._waker.fileno()})

    def test_nobody_hears_what_is_said(self) -> None:
        NOBODY.data_received(b"x")
        NOBODY.file_failed("text")
        NOBODY.connection_lost(CloseReason.DONE)
        NOBODY.eof_received()
        NOBODY.flushed()
        NOBODY.congested()
        NOBODY.drained()


if __name__ == "__main__":
    unittest.main()
