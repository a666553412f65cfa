"""Acceptor and listen: real sockets for the good cases, simulated ones for the bad.

Contract C4.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import unittest
from typing import Any

from pyliteflux.reactor.acceptor import Acceptor, listen
from pyliteflux.reactor.loop import Reactor
from tests.fakes import FakeClock, FakeSelector, FakeSocket, Network, Peer, run_until
from tests.support import captured_logs


class Listening(unittest.TestCase):
    def listen(self, host: str = "127.0.0.1", port: int = 0, **options: Any) -> socket.socket:
        sock = listen(host, port, 5, **options)
        self.addCleanup(sock.close)
        return sock

    def test_it_listens_without_blocking_and_is_not_inherited(self) -> None:
        sock = self.listen()
        self.assertFalse(sock.getblocking())
        self.assertFalse(sock.get_inheritable())
        with self.assertRaises(BlockingIOError):
            sock.accept()

    @unittest.skipUnless(os.name == "posix", "Windows has the exclusive option")
    def test_a_port_can_be_had_again_at_once(self) -> None:
        sock = self.listen()
        self.assertTrue(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR))
        if hasattr(socket, "SO_REUSEPORT"):
            self.assertFalse(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))

    @unittest.skipUnless(hasattr(socket, "SO_REUSEPORT"), "needs SO_REUSEPORT")
    def test_reuse_port_shares_a_port(self) -> None:
        first = self.listen(reuse_port=True)
        self.listen(port=first.getsockname()[1], reuse_port=True)

    def test_a_port_in_use_is_one_line_that_says_what_to_do(self) -> None:
        port = self.listen().getsockname()[1]
        with self.assertRaises(OSError) as caught:
            listen("127.0.0.1", port, 5)
        text = caught.exception.strerror
        self.assertEqual(caught.exception.errno, errno.EADDRINUSE)
        self.assertIn(f"127.0.0.1:{port}: the port is in use; stop the other program", text)
        self.assertNotIn("\n", text)

    def test_other_errors_name_the_address_too(self) -> None:
        for host in ("192.0.2.1", "x" * 300 + ".invalid"):
            with self.assertRaisesRegex(OSError, "cannot listen on " + host[:20]):
                listen(host, 0, 5)


class Accepting(unittest.TestCase):
    def setUp(self) -> None:
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.logs = self.stack.enter_context(captured_logs())
        self.clock, self.network = FakeClock(), Network()
        self.selector = FakeSelector(self.network)
        self.reactor = Reactor(self.selector, self.clock)
        self.addCleanup(self.reactor.close)
        self.accepted: list[Any] = []
        listener: Any = listen("127.0.0.1", 0, 5, socket_factory=self.network.socket)  # type: ignore[arg-type]
        self.address = listener.getsockname()
        self.acceptor = Acceptor(self.reactor, listener, self.on_connection, 3, 0.1)

    def on_connection(self, sock: Any, address: Any) -> None:
        self.accepted.append(address)

    def connect(self, count: int = 1) -> list[Peer]:
        return [self.network.connect(self.address) for _ in range(count)]

    def test_it_hands_over_socket_and_address(self) -> None:
        (peer,) = self.connect()
        self.reactor.run_once()
        self.assertEqual(self.accepted, [peer.address])

    def test_one_turn_takes_so_many_and_the_next_the_rest(self) -> None:
        self.connect(7)
        counts = []
        for _ in range(3):
            self.reactor.run_once()
            counts.append(len(self.accepted))
        self.assertEqual(counts, [3, 6, 7])

    def test_an_aborted_connection_is_skipped(self) -> None:
        self.network.accept_errors.append(errno.ECONNABORTED)
        self.connect()
        self.reactor.run_once()
        self.assertEqual(len(self.accepted), 1)

    def test_out_of_descriptors_it_steps_aside_and_comes_back(self) -> None:
        self.connect()
        self.network.accept_errors.append(errno.EMFILE)
        self.reactor.run_once()
        self.assertEqual(self.selector.poll(), [], "it would spin")
        self.clock.advance(0.0999)
        self.reactor.run_once()
        self.assertEqual(self.accepted, [])
        self.clock.advance(0.0002)
        run_until(self.reactor, lambda: self.accepted, "accepting goes on", 5)
        self.assertEqual(len(self.logs.find("cannot accept connections")), 1)

    def test_a_close_while_it_is_aside_is_for_good(self) -> None:
        self.network.accept_errors.append(errno.EMFILE)
        self.reactor.run_once()
        self.acceptor.close()
        self.clock.advance(1)
        self.reactor.run_once()
        self.assertEqual((self.network.sockets, self.network.faults), ({}, []))

    def test_a_close_from_within_stops_accepting_at_once(self) -> None:
        def close(sock: FakeSocket, address: Any) -> None:
            self.accepted.append(address)
            sock.close()
            self.acceptor.close()

        self.acceptor._on_connection = close  # type: ignore[assignment]
        self.connect(3)
        self.reactor.run_once()
        self.assertEqual(len(self.accepted), 1)
        self.acceptor.close()
        with self.assertRaises(ConnectionRefusedError):
            self.connect()

    def test_a_bug_above_does_not_end_accepting(self) -> None:
        def fail(sock: FakeSocket, address: Any) -> None:
            sock.close()
            raise RuntimeError("on purpose")

        good, self.acceptor._on_connection = self.acceptor._on_connection, fail  # type: ignore[assignment]
        self.connect()
        self.reactor.run_once()
        self.acceptor._on_connection = good
        self.connect()
        self.reactor.run_once()
        self.assertEqual(len(self.accepted), 1)


if __name__ == "__main__":
    unittest.main()
