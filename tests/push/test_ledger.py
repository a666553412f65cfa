"""Ledger: one order for all topics, what is kept of it, and what was missed."""

from __future__ import annotations

import json
import os
import random
import unittest
from math import inf
from typing import Any
from unittest import mock

from pyliteflux import Config
from pyliteflux.protocol.push import TopicFrame
from pyliteflux.push.ledger import REPLAY_COST, Ledger, _hearing
from pyliteflux.push.topic_log import TopicLog
from tests.support import in_child


class LedgerCase(unittest.TestCase):
    def setUp(self) -> None:
        self.make()

    def make(self, **settings: Any) -> None:
        self.came_back: list[TopicFrame] = []
        self.ledger = Ledger(Config(**settings), self.came_back.append)

    def append(self, topic: str, value: Any) -> None:
        if self.ledger.log(topic) is None:
            self.ledger.keep(topic, None)
        self.ledger.append(topic, json.dumps(value).encode())

    def missed(self, name: str, since: Any, space: int = 1 << 20) -> tuple[list[Any], bool]:
        """Return the data of what was missed, and whether there is a gap."""
        frames, gap = self.ledger.missed(name, since, {}, lambda: space)
        return [json.loads(frame.json)["data"] for frame in frames], gap


class Numbers(LedgerCase):
    def test_positions_rise_over_all_topics_and_each_counts_its_own(self) -> None:
        for number in range(6):
            self.append(f"t{number % 2}", number)
        numbers = [(frame.topic, frame.position, frame.seq) for frame in self.came_back]
        self.assertEqual(numbers[:3], [("t0", 1, 1), ("t1", 2, 1), ("t0", 3, 2)])
        self.assertEqual([frame.id for frame in self.came_back][-1], self.ledger.id_of(6))
        self.assertEqual(self.ledger.position, 6)

    @unittest.skipUnless(hasattr(os, "fork"), "no fork")
    def test_a_forked_child_numbers_in_an_epoch_of_its_own(self) -> None:
        epoch = self.ledger.epoch
        told = in_child(lambda: print(self.ledger.epoch))
        self.assertRegex(told, r"^[0-9a-f]{8}\n$")
        self.assertNotEqual(told.strip(), epoch)
        self.assertEqual(self.ledger.epoch, epoch)

    def test_a_topic_that_was_given_up_begins_anew_and_leaves_a_gap(self) -> None:
        self.append("a", 1)
        self.ledger.forget("a")
        self.append("a", 2)
        self.assertEqual([frame.seq for frame in self.came_back], [1, 1])
        for name in ("a", "*"):
            self.assertEqual(self.missed(name, 0), ([2], True))
            self.assertEqual(self.missed(name, self.ledger.id_of(1)), ([2], False))


class WhatIsKept(LedgerCase):
    def test_a_limit_takes_effect_at_once(self) -> None:
        for number in range(5):
            self.append("a", number)
        self.ledger.keep("a", 2)
        self.assertEqual(self.missed("a", 0), ([3, 4], True))
        self.ledger.keep("a", None)
        self.append("a", 5)
        self.assertEqual(self.missed("a", self.ledger.id_of(3)), ([3, 4, 5], False))

    def test_all_logs_together_are_bounded_and_the_oldest_are_emptied(self) -> None:
        self.make(topic_history_total=20_000)
        for number in range(100):
            self.append(f"t{number}", "x" * 1000)
        logs: Any = [self.ledger.log(f"t{number}") for number in range(100)]
        kept = [number for number, log in enumerate(logs) if len(log)]
        self.assertLessEqual(self.ledger._kept_bytes, 20_000)
        self.assertEqual(self.ledger._kept_bytes, sum(log.size for log in logs))
        self.assertEqual(kept, list(range(100 - len(kept), 100)))
        self.assertGreater(len(kept), 10)
        self.assertEqual(self.missed("t3", self.ledger.id_of(3)), ([], True))
        self.append("t3", 1)
        self.assertEqual(self.came_back[-1].seq, 2)


class CostOfAReplay(LedgerCase):
    """X2 (`subscribe_replay_hog`): one message of 40 bytes must not hold the reactor."""

    def test_no_more_logs_are_opened_than_there_is_room_for_messages(self) -> None:
        for number in range(500):
            self.append(f"room:{number}", number)
        opened: list[str] = []
        open_log = TopicLog.newest_first

        def count(log: TopicLog, *limits: Any) -> Any:
            opened.append(log.topic)
            return open_log(log, *limits)

        with mock.patch.object(TopicLog, "newest_first", count):
            data, _ = self.missed("room:*", 0, 5 * (REPLAY_COST + 100))
        self.assertEqual(data, list(range(500 - len(data), 500)))
        self.assertIn(len(data), (5, 6))
        self.assertLessEqual(len(opened), len(data) + 2)

    def test_the_last_messages_of_many_logs_come_in_their_order(self) -> None:
        chance = random.Random(0)
        published = []
        for number in range(300):
            topic = f"room:{chance.randrange(20)}"
            published.append(number)
            self.append(topic, number)
        for space in (1000, 10_000, 1 << 20):
            data, _ = self.missed("room:*", self.ledger.id_of(17), space)
            self.assertEqual(data, published[300 - len(data) :] if space < 1 << 20 else data)
            self.assertLessEqual(len(data), 283)
        self.assertEqual(data, published[17:])

    def test_what_is_heard_already_is_found_by_all_patterns_that_match(self) -> None:
        chance = random.Random(1)
        for _ in range(200):
            mine = {
                "".join(chance.choices("ab", k=chance.randrange(6))) + chance.choice(("", "*")): n
                for n in chance.choices(range(100), k=chance.randrange(8))
            }
            heard_since = _hearing(mine)
            name = "".join(chance.choices("ab", k=chance.randrange(7)))
            starts = [
                start
                for known, start in mine.items()
                if known == name or (known.endswith("*") and name.startswith(known[:-1]))
            ]
            expected = min(starts, default=inf)
            self.assertEqual(heard_since(name), expected, (mine, name))


if __name__ == "__main__":
    unittest.main()
