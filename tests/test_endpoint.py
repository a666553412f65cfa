"""Endpoint and Peer: one form of an address, whatever socket it came by. Contract C4, T8."""

from __future__ import annotations

import copy
import errno
import json
import pickle
import socket
import unittest

from pyliteflux.endpoint import Endpoint, Peer, id_of


class Pairs(unittest.TestCase):
    def test_an_address_is_a_pair_of_whatever_family(self) -> None:
        """`client-address-is-a-pair`."""
        for told, pair in (
            (("127.0.0.1", 5), ("127.0.0.1", 5)),
            (("::1", 5, 0, 0), ("::1", 5)),
            (("::ffff:127.0.0.1", 5, 0, 0), ("127.0.0.1", 5)),
            (("fe80::1%eth0", 5, 0, 2), ("fe80::1%eth0", 5)),
            (("::ffff:0:1", 5, 0, 0), ("::ffff:0:1", 5)),  # Not a mapped one.
        ):
            for kind in (Endpoint, Peer):
                made = kind.of(told)
                self.assertEqual(made, pair)
                self.assertIs(type(made), kind)

    def test_users_see_the_pair_of_the_socket_module(self) -> None:
        peer = Peer("127.0.0.1", 5)
        host, port = peer
        self.assertEqual((host, port), ("127.0.0.1", 5))
        self.assertEqual(f"{peer} {peer!r}", "('127.0.0.1', 5) ('127.0.0.1', 5)")
        self.assertEqual(json.dumps(peer), '["127.0.0.1", 5]')
        for other in (copy.copy(peer), pickle.loads(pickle.dumps(peer))):
            self.assertEqual((type(other), other), (Peer, peer))
        self.assertEqual({peer: 1}[("127.0.0.1", 5)], 1)  # type: ignore[index]

    def test_an_id_is_host_and_port_without_brackets(self) -> None:
        """T8."""
        self.assertEqual(Peer("127.0.0.1", 5).id, "127.0.0.1:5")
        self.assertEqual(Peer("::1", 5).id, "::1:5")
        self.assertEqual(id_of(("10.0.0.1", 7)), "10.0.0.1:7")

    def test_in_a_url_an_ipv6_host_has_brackets(self) -> None:
        self.assertEqual(Endpoint("127.0.0.1", 80).netloc, "127.0.0.1:80")
        self.assertEqual(Endpoint("::1", 8000).netloc, "[::1]:8000")

    def test_loopback_is_this_machine(self) -> None:
        for host, is_loopback in (
            ("127.0.0.1", True),
            ("127.8.9.1", True),
            ("::1", True),
            ("10.0.0.1", False),
            ("::", False),
        ):
            self.assertEqual(Endpoint(host, 1).is_loopback, is_loopback, host)


class Explanations(unittest.TestCase):
    def test_each_says_where_why_and_what_to_do(self) -> None:
        """C4."""
        for error, number, text in (
            (OSError(errno.EADDRINUSE, "in use"), errno.EADDRINUSE, "choose another port, or 0"),
            (OSError(errno.EACCES, "no"), errno.EACCES, "below 1024 need privileges"),
            (OSError(errno.EADDRNOTAVAIL, "no"), errno.EADDRNOTAVAIL, "no such address"),
            (OSError(errno.ENOBUFS, "No buffers"), errno.ENOBUFS, "No buffers"),
            (socket.gaierror(socket.EAI_NONAME, "x"), socket.EAI_NONAME, "'h' is no known host"),
            (UnicodeError("label too long"), errno.EINVAL, "'h' is no host name"),
        ):
            told = Endpoint("h", 5).explain(error)
            self.assertIs(type(told), type(OSError(number, "")))
            self.assertEqual(told.errno, number)
            self.assertTrue(str(told.strerror).startswith("cannot listen on h:5: "), told)
            self.assertIn(text, str(told.strerror))


if __name__ == "__main__":
    unittest.main()
