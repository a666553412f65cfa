"""The kernel's clocks on both ends of a connection (contract X2)."""

from __future__ import annotations

import socket
import unittest

from pyliteflux import probes
from pyliteflux.client.link import Link
from tests.support import ServerTestCase, wait_until

USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)


class Options(unittest.TestCase):
    def test_both_clocks_end_at_the_same_time(self) -> None:
        options: dict[int, int] = {}
        probes.probe_silence(lambda _, option, value: options.__setitem__(option, value))
        self.assertEqual(options[socket.SO_KEEPALIVE], 1)
        idle, interval, count = (value for _, value in probes._KEEP_ALIVE)
        self.assertEqual(idle + interval * count, probes.PATIENCE)

    @unittest.skipIf(USER_TIMEOUT is None, "this system has no such clock")
    def test_never_shorter_than_a_peer_may_be_slow(self) -> None:
        seen: list[int] = []
        for at_least in (30.0, 300.0):
            probes.bound_silence(lambda *option: seen.append(option[2]), at_least)
        self.assertEqual(seen, [120_000, 300_000])


@unittest.skipIf(USER_TIMEOUT is None, "this system has no such clock")
class OnBothEnds(ServerTestCase):
    def test_http_tcp_and_the_client_have_it(self) -> None:
        server = self.serve(tcp_keep_alive=True, send_timeout=200)
        self.connect(server), self.connect_tcp(server)
        channels = server._runtime.connections
        wait_until(lambda: len(channels) == 2, "both are connected")
        sockets = [(channel.transport._wire, 200_000) for channel in channels]
        link = Link.open(*server.tcp_address, 5, 1000)
        self.addCleanup(link.close)
        for sock, expected in [*sockets, (link._sock, 120_000)]:
            assert USER_TIMEOUT is not None
            self.assertEqual(sock.getsockopt(socket.IPPROTO_TCP, USER_TIMEOUT), expected)


if __name__ == "__main__":
    unittest.main()
