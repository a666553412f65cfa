"""LookAhead: an acknowledgement does not wait for the command before it (contract P4, T6)."""

from __future__ import annotations

import json
import unittest
from typing import Any
from unittest import mock

from pyliteflux.channels import lookahead
from pyliteflux.channels.lookahead import MOST_AHEAD, MOST_SIGNALS, LookAhead
from pyliteflux.config import Config
from pyliteflux.errors import BadMessage, FrameTooLong
from pyliteflux.protocol.framers import LengthFramer
from pyliteflux.protocol.framing import MessageFramer
from pyliteflux.protocol.message import Signal
from tests.channels.test_message_channel import ChannelCase
from tests.fakes import Peer, Simulation

ECHO = b'{"command": "echo", "data": %d}\n'


def commands(*numbers: int) -> bytes:
    return b"".join(ECHO % number for number in numbers)


class Looking(unittest.TestCase):
    """The part alone."""

    def setUp(self) -> None:
        self.framer = MessageFramer(max_message=100_000)
        self.ahead = LookAhead(lambda command: command == "upgrade", 64)
        self.heard: list[Signal] = []

    def look(self, data: bytes) -> bool:
        self.framer.receive_data(data)
        return self.ahead.look(self.framer, self.heard.append)

    def test_signals_are_heeded_and_all_else_is_kept_in_order(self) -> None:
        self.look(commands(1) + b'{"ack": "a"}\nhello you\n<ack id="b"/>{bad}\n{"pong": true}\n')
        self.assertEqual([signal.id for signal in self.heard], ["a", "b", ""])
        kept = [self.ahead.take()[1] for _ in range(len(self.ahead))]
        self.assertEqual([one[:2] for one in kept[:2]], [("echo", 1), ("hello", "you")])
        self.assertIsInstance(kept[2], BadMessage)
        self.assertEqual(self.ahead.size, 0)

    def test_each_message_is_cut_once_however_it_arrives(self) -> None:
        data = commands(1, 2) + b'{"ack": "a"}\n' + commands(3)
        with mock.patch.object(lookahead, "decode", wraps=lookahead.decode) as decode:
            for index in range(len(data)):
                self.look(data[index : index + 1])
        self.assertEqual(decode.call_count, 4)
        self.assertEqual((len(self.heard), len(self.ahead)), (1, 3))

    def test_no_more_than_so_many_are_kept(self) -> None:
        self.look(commands(*range(MOST_AHEAD)) + b'{"ack": "a"}\n')
        self.assertEqual((len(self.ahead), self.heard), (MOST_AHEAD, []))
        self.ahead.take()
        self.look(b"")
        self.assertEqual(len(self.heard), 1)

    def test_a_flood_of_signals_has_an_end_each_time(self) -> None:
        self.assertTrue(self.look(b'{"ack": "a"}\n' * (MOST_SIGNALS + 1)))
        self.assertEqual(len(self.heard), MOST_SIGNALS)
        self.assertFalse(self.look(b""))
        self.assertEqual(len(self.heard), MOST_SIGNALS + 1)

    def test_nobody_looks_past_what_may_change_the_framing(self) -> None:
        self.look(b'upgrade\n{"ack": "a"}\n')
        self.assertEqual((len(self.ahead), self.heard), (1, []))

    def test_nobody_looks_past_a_large_message(self) -> None:
        large = json.dumps({"command": "upgrade", "data": "x" * 20_000}).encode()
        self.look(large + b'\n{"ack": "a"}\n')
        frame, said = self.ahead.take()
        assert frame is not None
        self.assertEqual((frame.data, said, self.heard), (large, None, []))

    def test_nobody_looks_past_the_end_of_a_stream_that_is_lost(self) -> None:
        self.look(b"x" * 100_001)
        self.look(b'\n{"ack": "a"}\n')
        self.assertIsInstance(self.ahead.take()[1], FrameTooLong)
        self.assertEqual((len(self.ahead), self.heard), (0, []))

    def test_another_framing_has_signals_too(self) -> None:
        self.framer = LengthFramer(Config())  # type: ignore[assignment]
        for message in (b'{"command": "echo"}', b'{"ack": "a"}'):
            self.look(len(message).to_bytes(4, "big") + message)
        self.assertEqual((len(self.ahead), len(self.heard)), (1, 1))


class Acknowledging(ChannelCase):
    """The channel with it. Nothing that a worker does has run until `settle()`."""

    def pushed(self, simulation: Simulation, peer: Peer) -> Any:
        """Return the handle of a push that the client has seen, while its command is at work."""
        ack = simulation.server.push_message(
            {"open": "door"}, simulation.channel(peer).client_id, ack=True, ack_timeout=5
        )
        simulation.settle(jobs=False)
        self.assertEqual(json.loads(peer.take())["ack"], ack.id)
        return ack

    def at_work(self, behind: bytes = b"", **settings: Any) -> tuple[Simulation, Peer]:
        simulation = self.simulate(**settings)
        peer = simulation.tcp()
        peer.send(commands(1) + behind)
        simulation.settle(jobs=False)
        return simulation, peer

    def acknowledge(self, ack: Any) -> bytes:
        return json.dumps({"ack": ack.id, "data": "done"}).encode() + b"\n"

    def test_an_ack_ends_the_wait_of_the_handler_of_the_same_connection(self) -> None:
        simulation, peer = self.at_work()
        ack = self.pushed(simulation, peer)
        peer.send(self.acknowledge(ack))
        simulation.settle(jobs=False)
        self.assertEqual((ack.state, ack.reply), ("acked", "done"))
        self.assertEqual(self.requests, [])
        simulation.settle()
        self.assertEqual(self.lines(peer), ["1"])

    def test_a_ping_is_answered_whatever_is_at_work(self) -> None:
        simulation, peer = self.at_work()
        peer.send(b'{"type": "ping"}\n')
        simulation.settle(jobs=False)
        self.assertEqual(peer.take(), b'{"type": "pong"}\n')
        simulation.settle()
        self.assertEqual(self.lines(peer), ["1"])
        peer.send(b'{"type": "ping"}\n')
        simulation.settle()
        self.assertEqual(peer.take(), b'{"type": "pong"}\n')

    def test_a_connection_for_one_command_answers_a_ping_while_that_is_at_work(self) -> None:
        simulation, peer = self.at_work(tcp_keep_alive=False)
        peer.send(b'{"type": "ping"}\n')
        simulation.settle(jobs=False)
        self.assertEqual(peer.take(), b'{"type": "pong"}\n')
        simulation.settle()
        self.assertEqual(self.lines(peer), ["1"])

    def test_who_pings_and_reads_nothing_is_a_slow_client(self) -> None:
        simulation = self.simulate(tcp_send_limit=2000)
        peer = self.tell(simulation, b"", capacity=100)
        for _ in range(100):
            peer.send(b'{"type": "ping"}\n' * 10)
            simulation.settle()
        self.assertIn("SLOW_CLIENT", str(simulation.server.why(peer.client_id)))

    def test_commands_before_and_behind_it_keep_their_order(self) -> None:
        simulation, peer = self.at_work(commands(2))
        ack = self.pushed(simulation, peer)
        peer.send(commands(3) + self.acknowledge(ack) + commands(4) + b"{bad}\n" + commands(5))
        simulation.settle(jobs=False)
        self.assertEqual(ack.state, "acked")
        simulation.settle()
        answers = self.lines(peer)
        self.assertEqual(answers[:4] + answers[5:], ["1", "2", "3", "4", "5"])
        self.assertIn("bad_message", answers[4])

    def test_an_ack_behind_half_a_command_waits_for_the_other_half(self) -> None:
        simulation, peer = self.at_work()
        ack = self.pushed(simulation, peer)
        peer.send(commands(2)[:10])
        simulation.settle(jobs=False)
        peer.send(commands(2)[10:] + self.acknowledge(ack)[:5])
        simulation.settle(jobs=False)
        self.assertEqual(ack.state, "waiting")
        peer.send(self.acknowledge(ack)[5:])
        simulation.settle(jobs=False)
        self.assertEqual(ack.state, "acked")

    def test_an_ack_while_an_answer_is_being_sent(self) -> None:
        simulation = self.simulate(write_high_water=1000, write_low_water=100)
        peer = self.tell(simulation, b"stream\n", capacity=2000)
        channel = simulation.channel(peer)
        ack = simulation.server.push_message(1, channel.client_id, ack=True)
        simulation.settle()
        peer.send(self.acknowledge(ack))
        simulation.settle()
        self.assertEqual(ack.state, "acked")

    def test_many_acks_in_one_segment_all_arrive(self) -> None:
        """Nothing comes behind them that would have the rest looked at."""
        simulation, peer = self.at_work(recv_size=64 * 1024)
        acks = [self.pushed(simulation, peer) for _ in range(3 * MOST_SIGNALS)]
        peer.send(b"".join(map(self.acknowledge, acks)))
        simulation.settle(jobs=False)
        self.assertEqual({ack.state for ack in acks}, {"acked"})
        simulation.settle()
        self.assertEqual(self.lines(peer), ["1"])

    def test_an_ack_while_on_connect_is_at_work(self) -> None:
        simulation = self.simulate()
        simulation.server.on_connect(lambda client: None)
        peer = simulation.tcp()
        simulation.settle(jobs=False)
        ack = self.pushed(simulation, peer)
        peer.send(commands(1) + self.acknowledge(ack) + commands(2))
        simulation.settle(jobs=False)
        self.assertEqual((ack.state, simulation.channel(peer).state.name), ("acked", "GREETING"))
        simulation.settle()
        self.assertEqual(self.lines(peer), ["1", "2"])

    def test_what_waits_ahead_is_bounded_as_what_waits_uncut(self) -> None:
        simulation, peer = self.at_work(recv_size=4096)
        channel = simulation.channel(peer)
        for _ in range(200):
            peer.send(ECHO % 7 + b'{"command": "echo", "data": "%s"}\n' % (b"x" * 3000))
            simulation.settle(jobs=False)
        self.assertLess(channel._framer.buffered + channel._ahead.size, 64 * 1024)
        simulation.settle()
        self.assertEqual(len(self.lines(peer)), 401)

    def test_the_end_of_the_stream_behind_kept_messages(self) -> None:
        simulation, peer = self.at_work()
        peer.send(commands(2, 3))
        peer.half_close()
        simulation.settle()
        self.assertEqual(self.lines(peer), ["1", "2", "3"])
        self.assertTrue(peer.saw_fin)

    def test_a_stop_answers_what_is_kept(self) -> None:
        simulation, peer = self.at_work(commands(2))
        peer.send(commands(3))
        simulation.settle(jobs=False)
        simulation.server.stop()
        simulation.settle()
        self.assertEqual(self.lines(peer)[:3], ["1", "2", "3"])


if __name__ == "__main__":
    unittest.main()
