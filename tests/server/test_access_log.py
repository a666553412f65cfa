"""Every answer has one access line, whoever gives it (A5, entries of docs/running.md)."""

from __future__ import annotations

import unittest
from typing import Any

from pyliteflux import Router
from pyliteflux.app.request import HTTPRequest
from pyliteflux.errors import PoolFull
from pyliteflux.server.access_log import AccessLog
from tests.fakes import Peer, Simulation
from tests.support import captured_logs

Line = tuple[str, str, int, int]  # Method, target, status, bytes of content.

HEAD = b"HTTP/1.1\r\nHost: a\r\n"


class OneLineAnAnswer(unittest.TestCase):
    def setUp(self) -> None:
        self.router = Router()
        self.router.register("/up", ["GET", "POST"])(lambda request: "up")
        self.router.register("/stream", "POST", stream=True)(lambda request: "answered")
        self.router.register("up", protocol="tcp")(lambda request: "up")
        self.found: list[Line] = []
        capture = captured_logs()
        self.logs = capture.__enter__()
        self.addCleanup(capture.__exit__, None, None, None)

    def simulate(self, **settings: Any) -> Simulation:
        simulation = Simulation(self.router, **settings)

        def note(request: Any, status: int, size: int) -> None:
            self.assertGreaterEqual(simulation.reactor.now, request.started)
            self.assertTrue(request.client_id.startswith("127.0.0.1:"), request.client_id)
            self.found.append((request.method, request.target, status, size))

        simulation.runtime.http.on_finished = simulation.runtime.tcp.on_finished = note
        return simulation

    def ask(self, simulation: Simulation, data: bytes, later: float = 0.0) -> bytes:
        """Return what is answered; each answer has its line, and no line is without one."""
        self.found.clear()
        peer = simulation.http()
        peer.send(data)
        simulation.settle()
        if later:
            simulation.advance(later)
        answer = peer.take()
        self.check(answer)
        peer.close()
        simulation.settle()
        self.check(answer)
        return answer

    def check(self, answer: bytes) -> None:
        answers = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
        self.assertEqual(
            [status for _, _, status, _ in self.found], [one for one in answers if one != 100]
        )
        heads = answer.count(b"\r\nX-Request-ID: ")
        self.assertEqual(heads, len(self.found), answer)

    def test_what_no_handler_has_seen(self) -> None:
        """`access-line-of-a-413`: with what is known of it."""
        cases: list[tuple[bytes, list[Line]]] = [
            (b"GET /up " + HEAD + b"\r\n", [("GET", "/up", 200, 2)]),
            (b"HEAD /up?a=1 " + HEAD + b"\r\n", [("HEAD", "/up?a=1", 200, 0)]),
            (b"GET /no " + HEAD + b"\r\n", [("GET", "/no", 404, 22)]),
            (b"OPTIONS * " + HEAD + b"\r\n", [("OPTIONS", "*", 204, 0)]),
            (b"GET /up " + HEAD + b"\r\nGET /up " + HEAD + b"A\r\n\r\n",
             [("GET", "/up", 200, 2), ("GET", "/up", 400, -1)]),
            (b"POST /up?x " + HEAD + b"Content-Length: 101\r\n\r\n", [("POST", "/up?x", 413, -1)]),
            (b"POST /up " + HEAD + b"Transfer-Encoding: chunked\r\n\r\n65\r\n" + 101 * b"x",
             [("POST", "/up", 413, -1)]),
            (b"POST /up " + HEAD + b"Transfer-Encoding: chunked\r\n\r\nX\r\n",
             [("POST", "/up", 400, -1)]),
            (b"POST /stream " + HEAD + b"Content-Length: 101\r\n\r\n",
             [("POST", "/stream", 200, 8)]),
            (b"BREW /pot " + HEAD + b"\r\n", [("BREW", "/pot", 501, -1)]),
            (b"GET /up HTTP/1.1\r\n\r\n", [("GET", "/up", 400, -1)]),
            (b"GET /up HTTP/2.0\r\nHost: a\r\n\r\n", [("GET", "/up", 505, -1)]),
            (b"\r\nGET /a\x1bb HTTP/1.1\r\n\r\n", [("GET", "/a\x1bb", 400, -1)]),
            (b"GET /" + 2000 * b"x", [("GET", "/" + 99 * "x", 414, -1)]),
            (b"GET /up " + HEAD + b"A: " + 3000 * b"x", [("GET", "/up", 431, -1)]),
            (b"\x16\x03\x01\x02\x00\x01\r\n", [("-", "-", 400, -1)]),
            (b"hello\r\n\r\n", [("hello", "-", 400, -1)]),
        ]  # fmt: skip
        with self.simulate(
            max_body_size=100, max_request_line=1000, max_header_size=2000
        ) as simulation:
            for sent, lines in cases:
                with self.subTest(sent[:60]):
                    self.ask(simulation, sent)
                    found = [(*line[:3], -1 if line[2] >= 400 and line[2] != 404 else line[3])
                             for line in self.found]  # fmt: skip
                    self.assertEqual(found, lines)

    def test_what_does_not_come_in_time(self) -> None:
        """A 408 in a head or in a body; a silent connection has no answer, and no line."""
        with self.simulate(header_timeout=2.0, body_timeout=2.0) as simulation:
            self.ask(simulation, b"GET /up HT", later=4)
            self.assertEqual(self.found[0][:3], ("GET", "/up", 408))
            self.ask(simulation, b"GE", later=4)
            self.assertEqual(self.found[0][:3], ("GE", "-", 408))
            self.ask(simulation, b"POST /up " + HEAD + b"Content-Length: 9\r\n\r\nab", later=4)
            self.assertEqual(self.found[0][:3], ("POST", "/up", 408))
            self.ask(simulation, b"", later=4)
            self.assertEqual(self.found, [])

    def test_what_there_is_no_room_for(self) -> None:
        """`access-line-of-a-503`: of connections, of workers, of bodies."""
        with self.simulate(max_connections=1) as simulation:
            first = simulation.http()
            first.send(b"GET /u")
            simulation.settle()
            self.ask(simulation, b"GET /up " + HEAD + b"\r\n")
            self.assertEqual(self.found[0][2], 503)
        with self.simulate() as simulation:

            def submit(*_: Any) -> None:
                raise PoolFull("no worker")

            simulation.runtime.http.submit = submit
            for path in (b"/up", b"/no", b"/stream"):
                self.ask(simulation, b"POST " + path + b" " + HEAD + b"\r\n")
                self.assertEqual(self.found[0][:3], ("POST", path.decode(), 503))
        with self.simulate(max_buffered_bodies=100) as simulation:
            self.ask(simulation, b"POST /up " + HEAD + b"Content-Length: 200\r\n\r\n" + 150 * b"x")
            self.assertEqual(self.found[0][:3], ("POST", "/up", 503))

    def test_a_handler_that_does_not_return(self) -> None:
        """A 504 has one line, with its bytes; the handler's own answer, too late, has none."""
        with self.simulate(handler_timeout=2.0, tcp_keep_alive=True) as simulation:
            peer = simulation.http()
            peer.send(b"GET /up " + HEAD + b"\r\n")
            simulation.settle(jobs=False)
            simulation.advance(4, jobs=False)
            simulation.settle()
            answer = peer.take()
            self.check(answer)
            self.assertEqual(self.found[0][3], len(answer.partition(b"\r\n\r\n")[2]))
            self.found.clear()
            device = simulation.tcp()
            device.send(b"up\n")
            simulation.settle(jobs=False)
            simulation.advance(4, jobs=False)
            simulation.settle()
            self.assertEqual([line[:3] for line in self.found], [("TCP", "up", 504)])

    def test_messages(self) -> None:
        """Bad ones, too large ones, late ones, those there is no room for."""

        def tell(data: bytes, later: float = 0.0) -> Peer:
            self.found.clear()
            device = simulation.tcp()
            device.send(data)
            simulation.settle()
            if later:
                simulation.advance(later)
            return device

        with self.simulate(
            tcp_keep_alive=True, tcp_max_message=100, tcp_message_timeout=2.0
        ) as simulation:
            for data, later, statuses in (
                (b"up\n", 0, [200]),
                (b"no\n", 0, [404]),
                (b"{bad}\n{bad}\nup\n", 0, [400, 400, 200]),
                (b"x" * 200, 0, [413]),
                (b"{", 4, [408]),
            ):
                with self.subTest(data[:20]):
                    lines = tell(data, later).take().count(b"\n")
                    self.assertEqual([line[2] for line in self.found], statuses)
                    self.assertEqual(lines, len(statuses))
                    self.assertEqual({line[0] for line in self.found}, {"TCP"})
        with self.simulate(tcp_keep_alive=True, max_connections=1) as simulation:
            tell(b"")
            tell(b"up\n")
            self.assertEqual([line[:3] for line in self.found], [("TCP", "-", 503)])


class Writing(unittest.TestCase):
    def test_a_line_keeps_no_request(self) -> None:
        """X2: nor its body, while it waits to be written."""
        with Simulation() as simulation:
            log = AccessLog(simulation.reactor, 10)
            request = HTTPRequest("POST", '/a\x1b"b', body=b"x", client_address=("a", 1))
            request.started = simulation.reactor.now
            log.note(request, 200, 5)
            self.assertNotIn(request, [value for line in log._lines for value in line])


if __name__ == "__main__":
    unittest.main()
