"""events: what a client is told beside pushes, and what a subscription has had."""

from __future__ import annotations

import unittest

from pyliteflux.client.events import LOSSES, SENTENCES, Event, Push, Subscription


class SubscriptionAlone(unittest.TestCase):
    def test_what_it_covers(self) -> None:
        pattern, topic = Subscription("room:*", None, None), Subscription("room:1", None, None)
        for name, by_pattern, by_topic in (
            ("room:1", True, True),
            ("room:12", True, False),
            ("room:", True, False),
            ("room", False, False),
        ):
            self.assertEqual((pattern.covers(name), topic.covers(name)), (by_pattern, by_topic))

    def test_what_it_has_had(self) -> None:
        mine = Subscription("t", "e-50", None)
        self.assertFalse(mine.has_had("e-30"))  # Nothing yet: another may bring it.
        mine.confirm("e-52")
        mine.last = "e-60"
        found = [n for n in range(40, 70) if mine.has_had(f"e-{n}")]
        self.assertEqual(found, list(range(53, 61)))
        self.assertFalse(mine.has_had("f-55"))
        mine.confirm("e-65")  # It has come back: what it has had before it still has.
        self.assertTrue(mine.has_had("e-55"))
        mine.confirm("f-3")  # After a restart: positions of the other epoch mean nothing.
        self.assertFalse(mine.has_had("e-55") or mine.has_had("f-3"))


class Events(unittest.TestCase):
    def test_an_event_is_a_sentence(self) -> None:
        self.assertEqual(str(Event("subscribed", topic="t", id="e-1")), "subscribed to t")
        self.assertEqual(str(Event("closing", reason="idle")), "closing {'reason': 'idle'}")
        self.assertEqual(Event("x", self=1, type=2).fields, {"self": 1, "type": 2})
        self.assertIn("lost", repr(Event("lost")))

    def test_a_push_shows_what_it_has(self) -> None:
        push = Push({"topic": "t", "data": 0}, lambda answer: True)
        self.assertEqual(repr(push), "<Push {'topic': 't', 'data': 0}>")


class Tables(unittest.TestCase):
    def test_each_loss_has_a_sentence(self) -> None:
        self.assertEqual([name for name in LOSSES if name not in SENTENCES], [])


if __name__ == "__main__":
    unittest.main()
