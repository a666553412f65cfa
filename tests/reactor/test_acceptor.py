"""Acceptor and listen: real sockets for the good cases, simulated ones for the bad.

Contract C4.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import unittest
from collections import Counter
from collections.abc import Callable
from typing import Any

from pyliteflux.endpoint import Endpoint
from pyliteflux.reactor.acceptor import (
    HANDSHAKE_TIME,
    Acceptor,
    _refuse_handshakes,
    listen,
    listen_on,
)
from pyliteflux.reactor.loop import Reactor
from tests.fakes import FakeClock, FakeSelector, FakeSocket, Network, Peer, run_until
from tests.support import captured_logs, needs_ipv6


class Listening(unittest.TestCase):
    def listen(self, host: str = "127.0.0.1", port: int = 0, **options: Any) -> socket.socket:
        sock = listen(Endpoint(host, port), 5, **options)
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
            listen(Endpoint("127.0.0.1", port), 5)
        text = caught.exception.strerror
        self.assertEqual(caught.exception.errno, errno.EADDRINUSE)
        self.assertIn(f"127.0.0.1:{port}: the port is in use; stop the other program", text)
        self.assertNotIn("\n", text)

    def test_other_errors_name_the_address_too(self) -> None:
        for host in ("192.0.2.1", "x" * 300 + ".invalid"):
            with self.assertRaisesRegex(OSError, "cannot listen on " + host[:20]):
                listen(Endpoint(host, 0), 5)


@unittest.skipUnless(sys.platform == "linux", "the filter is Linux's")
class RefusingHandshakes(unittest.TestCase):
    def test_a_syn_is_dropped_and_what_has_begun_goes_on(self) -> None:
        """The next listener of the port gets it: a client of a rolling restart waits, no more."""
        sock = listen(Endpoint("127.0.0.1", 0), 5, reuse_port=True)
        self.addCleanup(sock.close)
        address = sock.getsockname()
        before = socket.create_connection(address, 10)
        self.addCleanup(before.close)
        self.assertTrue(_refuse_handshakes(sock))
        after = socket.socket()
        self.addCleanup(after.close)
        after.settimeout(0.05)
        with self.assertRaises(TimeoutError):
            after.connect(address)
        accepted, _ = sock.accept()
        self.addCleanup(accepted.close)
        before.sendall(b"both")
        accepted.settimeout(10)
        self.assertEqual(accepted.recv(10), b"both")
        accepted.sendall(b"ways")
        self.assertEqual(before.recv(10), b"ways")

    def test_where_it_is_not_allowed_it_says_so(self) -> None:
        sock = FakeSocket(Network())
        sock.close()
        self.assertFalse(_refuse_handshakes(sock))  # type: ignore[arg-type]


class Families(unittest.TestCase):
    def sockets(self, fail: Callable[[Any, Any], int]) -> Callable[..., Any]:
        """Return a factory of sockets whose `bind` fails with what fail(family, times) says."""
        binds: Counter[Any] = Counter()

        class Socket(socket.socket):
            def bind(self, address: Any) -> None:
                binds[self.family] += 1
                code = fail(self.family, binds[self.family])
                if code:
                    raise OSError(code, os.strerror(code))
                super().bind(address)

        return Socket

    def on_localhost(self, factory: Any = socket.socket, port: int = 0) -> list[Any]:
        found = listen_on(Endpoint("localhost", port), 5, socket_factory=factory)
        for sock in found:
            self.addCleanup(sock.close)
        return [sock.family for sock in found]

    @needs_ipv6
    def test_a_family_that_is_not_there_is_left_out(self) -> None:
        for missing, other in (
            (socket.AF_INET6, socket.AF_INET),
            (socket.AF_INET, socket.AF_INET6),
        ):
            for code in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                fail = self.sockets(lambda family, _, m=missing, c=code: c if family == m else 0)
                with self.subTest(missing=missing, code=code):
                    self.assertEqual(self.on_localhost(fail), [other])
        with self.assertRaisesRegex(OSError, "no such address"):
            self.on_localhost(self.sockets(lambda *_: errno.EADDRNOTAVAIL))

    @needs_ipv6
    def test_a_free_port_that_the_other_family_has_given_away_is_not_taken(self) -> None:
        six = socket.AF_INET6
        taken = self.sockets(lambda family, n: errno.EADDRINUSE if family == six and n < 4 else 0)
        self.assertEqual(self.on_localhost(taken)[0], socket.AF_INET)
        never = self.sockets(lambda family, _: errno.EADDRINUSE if family == six else 0)
        with self.assertRaisesRegex(OSError, "the port is in use"):
            self.on_localhost(never)

    def test_one_address_is_one_socket(self) -> None:
        found = listen_on(Endpoint("127.0.0.1", 0), 5)
        self.addCleanup(found[0].close)
        self.assertEqual(len(found), 1)


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
        listener: Any = listen(Endpoint("127.0.0.1", 0), 5, socket_factory=self.network.socket)  # type: ignore[arg-type]
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

    def finish(self, host: str = "127.0.0.1", most: int = 100) -> None:
        if host != "127.0.0.1":
            self.acceptor.close()
            listener: Any = listen(Endpoint(host, 0), 5, socket_factory=self.network.socket)  # type: ignore[arg-type]
            self.address = listener.getsockname()
            self.acceptor = Acceptor(self.reactor, listener, self.on_connection, 3, 0.1)
            self.connect()
        self.acceptor.finish(most)

    def test_at_the_end_it_takes_what_waits_and_closes_with_the_queue_empty(self) -> None:
        """Contract X3 (rolling_restart): a close would reset them."""
        peers = self.connect(7)
        self.finish()
        self.connect()  # It listens until the queue is empty.
        run_until(self.reactor, lambda: not self.acceptor.is_open, "it has closed", 3)
        self.assertEqual(len(self.accepted), 8)
        self.assertFalse(any(peer.saw_reset for peer in peers))
        self.assertEqual(self.network.listeners, {})
        with self.assertRaises(ConnectionRefusedError):
            self.connect()

    def test_at_the_end_an_empty_queue_closes_at_once(self) -> None:
        self.finish()
        self.assertFalse(self.acceptor.is_open)
        self.finish()  # Twice is once.

    def test_at_the_end_it_takes_no_more_than_told(self) -> None:
        """Or who connects fast enough could keep the server from stopping."""
        self.connect(7)
        self.finish(most=5)
        run_until(self.reactor, lambda: not self.acceptor.is_open, "it has closed", 3)
        self.assertEqual(len(self.accepted), 5)

    def test_at_the_end_descriptors_are_waited_for(self) -> None:
        self.network.accept_errors.append(errno.EMFILE)
        self.connect(2)
        self.finish()
        self.reactor.run_once()
        self.assertEqual((self.accepted, self.acceptor.is_open), ([], True))
        self.clock.advance(0.1001)
        run_until(self.reactor, lambda: not self.acceptor.is_open, "it has closed", 5)
        self.assertEqual(len(self.accepted), 2)

    @unittest.skipUnless(sys.platform == "linux", "elsewhere no handshake can be held off")
    def test_at_the_end_handshakes_that_have_begun_come_to_theirs(self) -> None:
        self.finish("0.0.0.0")
        self.assertEqual((len(self.accepted), self.acceptor.is_open), (1, True))
        self.connect()  # Its handshake was under way.
        self.clock.advance(HANDSHAKE_TIME - 0.001)
        self.reactor.run_once()
        self.assertEqual((len(self.accepted), self.acceptor.is_open), (2, True))
        self.clock.advance(0.002)
        run_until(self.reactor, lambda: not self.acceptor.is_open, "it has closed", 3)

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
        taken = []

        def fail(sock: FakeSocket, address: Any) -> None:
            taken.append(sock)
            raise RuntimeError("on purpose")

        good, self.acceptor._on_connection = self.acceptor._on_connection, fail  # type: ignore[assignment]
        self.connect()
        self.reactor.run_once()
        self.assertEqual([sock.fileno() for sock in taken], [-1], "nobody else closes it")
        self.acceptor._on_connection = good
        self.connect()
        self.reactor.run_once()
        self.assertEqual(len(self.accepted), 1)


if __name__ == "__main__":
    unittest.main()
