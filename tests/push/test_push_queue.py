"""PushQueue: bounded, in order, and every loss is counted and told. Contract P4."""

from __future__ import annotations

import random
import unittest
from typing import Any

from pyliteflux.push.push_queue import PushQueue
from pyliteflux.reactor.transport import PIECE_COST

SIZE = 36  # Of a push: with what it costs beside its bytes, 100.


class Transport:
    """As much of a Transport as a queue asks for. taken: bytes the kernel takes now."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.size = 0
        self.flush_is_due = False
        self.is_open = True
        self.kernel_takes = 0
        self.on_flush: Any = None

    def write(self, data: bytes) -> None:
        if self.size == 0:
            self.flush_is_due = True
        self.written.append(data)
        self.size += len(data)

    def flush(self) -> None:
        self.flush_is_due = False
        self.drain(self.kernel_takes)
        if self.on_flush is not None:
            self.on_flush()

    def drain(self, count: int) -> None:
        self.size = max(0, self.size - count)


class Owner:
    """Writes notices, and counts."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.told: dict[str | None, int] = {}
        self.lost: dict[str | None, int] = {}

    def send_loss(self, topic: str | None, count: int) -> None:
        self.told[topic] = self.told.get(topic, 0) + count
        self.transport.write(b"lost %d" % count)

    def on_loss(self, topic: str | None) -> None:
        self.lost[topic] = self.lost.get(topic, 0) + 1


def push(number: int) -> bytes:
    return b"%036d" % number


class QueueTestCase(unittest.TestCase):
    """The transport takes 100 bytes directly, 1000 may wait in all."""

    def setUp(self) -> None:
        self.transport: Any = Transport()
        self.owner = Owner(self.transport)
        self.queue = PushQueue(self.transport, self.owner, 1000, 100)

    def fill(
        self, *, topic: str | None = None, policy: str = "drop_oldest", count: int = 11
    ) -> None:
        """Two pushes go to the transport, and nine that wait make it full."""
        for number in range(count):
            self.assertTrue(self.queue.push(push(number), topic, policy))
        self.transport.flush_is_due = False  # The kernel takes nothing.

    def read_all(self) -> list[bytes]:
        """Let the client read until nothing waits; return what it got."""
        while self.transport.size or not self.queue.is_idle:
            self.transport.drain(self.transport.size)
            self.queue.send()
        return list(self.transport.written)


class WhileThereIsRoom(QueueTestCase):
    def test_a_push_goes_straight_to_the_transport_up_to_direct(self) -> None:
        self.queue.push(push(1), None, "disconnect")
        self.queue.push(push(2), None, "disconnect")
        self.assertEqual((len(self.transport.written), len(self.queue)), (2, 0))
        self.queue.push(push(3), None, "disconnect")
        self.assertEqual((len(self.transport.written), len(self.queue)), (2, 1))
        self.assertEqual(self.queue.size, SIZE + PIECE_COST)

    def test_one_that_is_larger_than_all_limits_goes_when_nothing_waits(self) -> None:
        self.assertTrue(self.queue.push(b"x" * 5000, None, "disconnect"))
        self.assertEqual(self.transport.size, 5000)

    def test_what_waits_keeps_its_order(self) -> None:
        self.fill(policy="disconnect")
        self.assertEqual(self.read_all(), [push(number) for number in range(11)])
        self.assertTrue(self.queue.is_idle)
        self.assertEqual(self.queue.size, 0)

    def test_a_burst_in_one_turn_is_flushed_before_anything_is_dropped(self) -> None:
        self.transport.kernel_takes = 1 << 30
        self.transport.on_flush = lambda: self.queue.send()
        for number in range(100):
            self.assertTrue(self.queue.push(push(number), None, "disconnect"))
        self.assertEqual(self.read_all(), [push(number) for number in range(100)])

    def test_an_answer_in_the_transport_does_not_make_a_client_slow(self) -> None:
        self.transport.size = 1 << 20
        self.assertTrue(self.queue.push(push(1), None, "disconnect"))
        self.assertEqual(len(self.queue), 1)


class OverTheLimit(QueueTestCase):
    def test_disconnect_says_so_and_gives_up_nothing_by_itself(self) -> None:
        self.fill(policy="disconnect")
        self.assertFalse(self.queue.push(push(11), None, "disconnect"))
        self.assertEqual(len(self.queue), 9)
        self.assertEqual(self.queue.give_up(), 10)
        self.assertEqual((self.owner.told, self.owner.lost), ({None: 10}, {None: 10}))
        self.assertEqual((len(self.queue), self.queue.size, self.queue.is_idle), (0, 0, True))

    def test_drop_oldest(self) -> None:
        self.fill()
        for number in range(11, 14):
            self.assertTrue(self.queue.push(push(number), None, "drop_oldest"))
        got = self.read_all()
        self.assertEqual(got[:2], [push(0), push(1)])
        self.assertEqual(got[2], b"lost 3")  # Before the next message.
        self.assertEqual(got[3:], [push(number) for number in range(5, 14)])

    def test_drop_newest(self) -> None:
        self.fill()
        for number in range(11, 14):
            self.assertTrue(self.queue.push(push(number), None, "drop_newest"))
        got = self.read_all()
        self.assertEqual(got[2], b"lost 3")
        self.assertEqual(got[3:], [push(number) for number in range(2, 11)])

    def test_latest_replaces_what_waits_of_its_topic(self) -> None:
        self.fill(topic="a", count=6)
        self.fill(topic="b", count=5)
        self.assertTrue(self.queue.push(push(99), "a", "latest"))
        self.assertEqual(self.owner.lost, {"a": 4})
        self.assertEqual(self.read_all()[3:], [push(number) for number in range(5)] + [push(99)])

    def test_one_that_cannot_fit_drops_nothing_but_itself(self) -> None:
        self.fill()
        for policy in ("drop_oldest", "latest"):
            self.assertTrue(self.queue.push(b"x" * 5000, None, policy))
        self.assertEqual((len(self.queue), self.owner.lost), (9, {None: 2}))

    def test_what_must_not_be_lost_is_passed_over(self) -> None:
        self.fill(topic="must", policy="disconnect", count=6)
        self.fill(topic="may", count=5)
        for number in range(50, 55):
            self.assertTrue(self.queue.push(push(number), "may", "drop_oldest"))
        self.assertEqual(self.owner.lost, {"may": 5})
        got = [data for data in self.read_all() if not data.startswith(b"lost")]
        self.assertEqual(got, [push(n) for n in (*range(6), *range(50, 55))])

    def test_what_must_not_be_lost_takes_the_place_of_what_may(self) -> None:
        self.fill(topic="may")
        self.assertTrue(self.queue.push(push(50), "must", "disconnect"))
        self.assertEqual(self.owner.lost, {"may": 1})

    def test_losses_are_told_by_topic(self) -> None:
        self.fill(topic="a", count=6)
        self.fill(topic="b", count=5)
        for number in range(6):
            self.queue.push(push(number), "c", "drop_oldest")
        self.read_all()
        self.assertEqual(self.owner.told, {"a": 4, "b": 2})

    def test_a_loss_is_told_though_nothing_else_waits(self) -> None:
        self.transport.size = 1 << 20
        self.queue.push(push(1), None, "drop_newest")
        self.queue.push(b"x" * 900, None, "drop_newest")
        self.transport.size = 0
        self.queue.send()
        self.assertEqual(self.transport.written, [b"lost 1", push(1)])


class AtTheEnd(QueueTestCase):
    def test_flush_hands_over_all_that_waits_and_the_losses(self) -> None:
        self.fill()
        self.queue.push(push(11), None, "drop_newest")
        self.queue.flush()
        self.assertEqual(self.transport.written[2], b"lost 1")
        self.assertEqual(len(self.transport.written), 12)
        self.assertTrue(self.queue.is_idle)

    def test_a_closed_transport_is_not_fed(self) -> None:
        self.fill()
        self.transport.is_open = False
        self.transport.size = 0
        self.queue.send()
        self.assertEqual(len(self.queue), 9)


class AtRandom(QueueTestCase):
    def test_received_and_told_is_all_and_memory_is_bounded(self) -> None:
        """Mixed topics and policies on one client, which reads as it pleases."""
        policies = ("drop_oldest", "drop_newest", "latest")
        for seed in range(60):
            with self.subTest(seed=seed):
                self.setUp()
                rng = random.Random(seed)
                kind = {topic: rng.choice(policies) for topic in "abc"}
                sent: dict[str, list[bytes]] = {topic: [] for topic in "abc"}
                for number in range(300):
                    topic = rng.choice("abc")
                    data = b"%s %d " % (topic.encode(), number) + b"." * rng.randrange(150)
                    sent[topic].append(data)
                    self.assertTrue(self.queue.push(data, topic, kind[topic]))
                    self.assertLessEqual(self.queue.size, 1000)
                    self.assertLessEqual(self.transport.size, 100 + 200)
                    self.transport.flush_is_due = False
                    if rng.random() < 0.3:
                        self.transport.drain(rng.randrange(300))
                        self.queue.send()
                got = [data for data in self.read_all() if not data.startswith(b"lost")]
                for topic, all_of_it in sent.items():
                    mine = [data for data in got if data.startswith(topic.encode())]
                    places = [all_of_it.index(data) for data in mine]
                    self.assertEqual(places, sorted(set(places)))  # In order, each once.
                    self.assertEqual(len(mine) + self.owner.told.get(topic, 0), len(all_of_it))


if __name__ == "__main__":
    unittest.main()
