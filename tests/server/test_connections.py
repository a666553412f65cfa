"""Connections: who may come, whose place is taken, whose time is over."""

from __future__ import annotations

import errno
import selectors
import unittest
from unittest import mock

from pyliteflux.reactor.loop import Reactor
from pyliteflux.server import connections as connections_module
from tests.fakes import Simulation
from tests.server.cases import GET, RuntimeCase


class Accepting(RuntimeCase):
    def test_out_of_descriptors_accepting_pauses_and_is_tried_again(self) -> None:
        """The waiting connection keeps the listener readable; do not spin."""
        for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            simulation = self.simulate(accept_pause=0.1, protocol="http")
            old = simulation.http()
            simulation.settle()
            simulation.network.accept_errors.extend([number] * 5)
            new = simulation.http()
            self.assertLess(simulation.settle(), 5)
            self.expect_answer(simulation, old)  # The others are served meanwhile.
            self.assertEqual(len(simulation.network.accept_errors), 4)
            simulation.advance(0.099)
            self.assertEqual(len(simulation.network.accept_errors), 4, "too early")
            simulation.advance(0.5)
            self.expect_answer(simulation, new)

    def test_running_out_of_descriptors_is_logged_once_a_second(self) -> None:
        simulation = self.simulate(accept_pause=0.1, protocol="http")
        simulation.network.accept_errors.extend([errno.EMFILE] * 25)
        simulation.advance(2.45)
        self.assertEqual(len(self.logs.find("cannot accept connections")), 3)

    def test_a_connection_that_was_aborted_before_accept_costs_nothing(self) -> None:
        simulation = self.simulate()
        simulation.network.accept_errors.extend([errno.ECONNABORTED, errno.EPROTO])
        self.expect_answer(simulation, simulation.http())

    def test_a_peer_that_was_gone_before_accept_is_dropped(self) -> None:
        """Advisory class "race": every call on its socket fails."""
        simulation = self.simulate(tcp_keep_alive=True)
        simulation.http().reset()
        simulation.tcp().reset()
        simulation.settle()
        self.assertEqual(len(simulation.runtime.connections), 0)

    def test_a_bug_at_the_accept_costs_that_connection_alone(self) -> None:
        """X2: it is counted already, and must not stay, watched by nobody or by half."""
        steps = (
            "reactor.transport.Transport.set_option",
            "reactor.transport.Transport.attach",
            "push.hub.Hub.add",
            "channels.message_channel.MessageChannel.greet",
        )
        for number, step in enumerate(steps, 1):
            with self.subTest(step):
                simulation = self.simulate(tcp_keep_alive=True)
                simulation.server.on_connect(lambda client: True)
                with mock.patch(f"pyliteflux.{step}", side_effect=LookupError("on purpose")):
                    peer = simulation.tcp()
                    simulation.settle()
                self.assertTrue(peer.is_over)
                self.assertEqual(len(simulation.runtime.connections), 0)
                self.assertEqual(len(simulation.server.clients), 0)
                self.expect_answer(simulation, simulation.http())
                self.assertEqual(len(self.logs.find("LookupError: on purpose")), number)

    def test_one_turn_accepts_only_so_many(self) -> None:
        simulation = self.simulate(max_accepts=3)
        for _ in range(10):
            simulation.http()
        simulation.turn()
        self.assertEqual(len(simulation.runtime.connections), 3)
        simulation.settle()
        self.assertEqual(len(simulation.runtime.connections), 10)

    def test_over_max_connections_a_503_says_so(self) -> None:
        simulation = self.simulate(max_connections=2)
        peers = [simulation.http(), simulation.http()]
        simulation.settle()
        refused = simulation.http()
        simulation.settle()
        data = refused.take()
        self.assertTrue(data.startswith(b"HTTP/1.1 503 "))
        self.assertIn(b"Retry-After: 1\r\n", data)
        self.assertTrue(refused.saw_fin)
        for peer in peers:
            self.expect_answer(simulation, peer)
        tcp = simulation.tcp()
        simulation.settle()
        self.assertIn(b"busy", tcp.take())

    def test_a_refused_client_gets_its_answer_though_it_has_asked(self) -> None:
        simulation = self.simulate(max_connections=1)
        simulation.http()
        simulation.settle()
        refused = simulation.http()
        refused.send(GET)
        simulation.settle()
        refused.close()
        simulation.settle()
        self.assertFalse(refused.saw_reset)
        self.assertTrue(refused.take().startswith(b"HTTP/1.1 503 "))

    def test_far_over_max_connections_they_are_cut(self) -> None:
        simulation = self.simulate(max_connections=1)
        peers = [simulation.http() for _ in range(100)]
        simulation.settle()
        self.assertLessEqual(len(simulation.runtime.connections), 1 + connections_module.BUSY_SLACK)
        self.assertTrue(peers[-1].is_over)
        self.expect_answer(simulation, peers[0])

    def test_a_full_server_closes_the_longest_idle_connection_first(self) -> None:
        simulation = self.simulate(max_connections=100)
        peers = []
        for _ in range(100):
            peers.append(simulation.http())
            self.expect_answer(simulation, peers[-1])
            simulation.advance(0.01)
        self.expect_answer(simulation, simulation.http())
        over = [peer.is_over for peer in peers]
        count = over.count(True)
        self.assertEqual(count, connections_module.EVICT_COUNT)
        self.assertEqual(over, [True] * count + [False] * (100 - count))

    def test_who_is_refused_takes_no_place_of_the_other_port(self) -> None:
        """Devices that are told "busy", stay a while and try again filled HTTP's own tenth."""
        simulation = self.simulate(max_connections=40, tcp_keep_alive=True)
        silent = [simulation.tcp() for _ in range(36)]
        simulation.settle()
        for _ in range(3):
            refused = [simulation.tcp() for _ in range(8)]
            simulation.settle()
            self.assertTrue(all(b"busy" in peer.take() for peer in refused))
        for _ in range(4):
            self.expect_answer(simulation, simulation.http())
        self.assertEqual([peer.is_over for peer in silent], [False] * 36)
        # And when all have gone, all places are there again.
        for peer in [*silent, *refused]:
            peer.reset()
        simulation.advance(10)
        again = [simulation.tcp() for _ in range(36)]
        simulation.settle()
        self.assertFalse(any(peer.take() for peer in again))

    def test_one_address_has_a_limit_of_its_own(self) -> None:
        simulation = self.simulate(max_connections_per_ip=2)
        greedy = [simulation.http(host="10.0.0.1") for _ in range(3)]
        other = simulation.http(host="10.0.0.2")
        simulation.settle()
        self.assertTrue(greedy[2].take().startswith(b"HTTP/1.1 503 "))
        self.expect_answer(simulation, other)
        self.expect_answer(simulation, greedy[1])
        for peer in greedy:
            peer.close()
        simulation.settle()
        self.expect_answer(simulation, simulation.http(host="10.0.0.1"))
        self.assertEqual(len(simulation.runtime.connections.per_address), 2)


class Sweeping(RuntimeCase):
    def test_a_channel_that_fails_in_the_sweep_costs_no_other_its_deadline(self) -> None:
        simulation = self.simulate()
        peers = [simulation.http(), simulation.http()]
        simulation.settle()
        name = "pyliteflux.channels.http_channel.HttpChannel.on_deadline"
        with mock.patch(name, side_effect=RuntimeError("bug")):
            simulation.advance(11)
        self.assertTrue(all(peer.is_over for peer in peers))
        simulation.advance(11)
        self.expect_answer(simulation, simulation.http())

    def test_topics_that_fail_in_the_sweep_cost_no_connection_its_deadline(self) -> None:
        simulation = self.simulate(protocol="http", header_timeout=5)
        peer = simulation.http()
        peer.send(b"GET / HT")
        simulation.settle()
        with mock.patch.object(simulation.runtime._desk.topics, "sweep", side_effect=RuntimeError):
            simulation.advance(7)
        self.assertIn(b" 408 ", peer.take())

    def test_after_a_long_sleep_data_comes_before_deadlines(self) -> None:
        """The machine was suspended; what arrived in time is not late."""
        simulation = self.simulate(keep_alive_timeout=30)
        peer = simulation.http()
        self.expect_answer(simulation, peer)
        peer.send(GET)
        simulation.clock.advance(3600)
        simulation.settle()
        self.assertTrue(peer.take().startswith(b"HTTP/1.1 200 "))


class ConnectionLimit(unittest.TestCase):
    def test_select_is_never_asked_to_watch_more_than_it_can(self) -> None:
        for selector, asked, most in (
            (selectors.SelectSelector, 10_000, 1024 - 64 - connections_module.BUSY_SLACK),
            (selectors.SelectSelector, 5, 5),
            (selectors.DefaultSelector, 5, 5),
        ):
            reactor = Reactor(selector())
            self.addCleanup(reactor.close)
            self.assertEqual(connections_module._capped(asked, reactor), most)

    def test_of_few_descriptors_three_quarters_are_for_connections(self) -> None:
        """`few_descriptors`: 64 kept back of 64 would leave one client."""
        expected = {16: 12, 64: 48, 256: 192, 1024: 960, 100_000: 10_000}
        for files, connections in expected.items():
            with (
                self.subTest(files=files),
                mock.patch.object(connections_module, "_most_files", return_value=files),
                Simulation() as simulation,
            ):
                runtime = simulation.runtime
                self.assertEqual(runtime.connections.most, connections)
                if connections == 10_000:
                    with self.assertNoLogs("pyliteflux"):
                        runtime.connections.log_limits()
                    continue
                with self.assertLogs("pyliteflux") as logs:
                    runtime.connections.log_limits()
                text = f"max_connections is {connections}, not 10000: the process may open {files}"
                self.assertIn(text, logs.output[0])


if __name__ == "__main__":
    unittest.main()
