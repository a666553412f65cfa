"""Topic: a name that can be asked at any time, also while there is nothing behind it."""

from __future__ import annotations

import unittest
from typing import Any
from unittest import mock

from pyliteflux import Config
from pyliteflux.push.topic import Topic
from pyliteflux.push.topics import Topics


class TopicTest(unittest.TestCase):
    def setUp(self) -> None:
        self.topics = Topics(Config())
        self.time = 0.0
        self.topics.begin(lambda: self.time)
        self.topic = Topic("room:1", self.topics, self.publish)
        self.listener = mock.Mock(client_id="c:1", topics=None)

    def publish(self, name: str, message: Any) -> int:
        self.topics.publish(name, b"%d" % message)
        return self.topics.count(name)

    def told(self) -> tuple[Any, ...]:
        topic = self.topic
        return topic.seq, topic.subscribers, topic.members, topic.stats

    def test_it_may_be_asked_before_there_is_anything_and_after(self) -> None:
        nothing = (0, 0, {}, {"published": 0, "deliveries": 0, "dropped": 0, "kept": 0})
        self.assertEqual(self.told(), nothing)
        self.topics.subscribe(self.listener, "room:1", info="Ann")
        self.assertEqual(self.topic.publish(7), 1)
        self.topics.on_loss("room:1")
        stats = {"published": 1, "deliveries": 1, "dropped": 1, "kept": 1}
        self.assertEqual(self.told(), (1, 1, {"c:1": "Ann"}, stats))
        self.topics.drop(self.listener)
        self.time += 1000
        self.topics.sweep()
        self.assertEqual(self.told(), nothing)

    def test_subscribers_of_a_pattern_hear_it_and_are_no_members(self) -> None:
        self.topics.subscribe(self.listener, "room:*")
        self.assertEqual((self.topic.subscribers, self.topic.members), (1, {}))
        self.topics.subscribe(self.listener, "room:1")
        self.assertEqual(self.topic.subscribers, 1, "nobody counts twice")

    def test_what_a_log_shows_of_it_holds_no_line_breaks(self) -> None:
        shown = repr(Topic("a\nb", self.topics, self.publish))
        self.assertNotIn("\n", shown)

    def test_the_epoch_is_what_ids_begin_with(self) -> None:
        self.assertEqual(self.topics.ledger.id_of(5), f"{self.topic.epoch}-5")


if __name__ == "__main__":
    unittest.main()
