"""item_queue: order, limits, and what is told of those that were dropped."""

from __future__ import annotations

import unittest

from pyliteflux.client.events import Event
from pyliteflux.client.item_queue import ItemQueue


class ItemQueueAlone(unittest.TestCase):
    def test_order_limits_and_counts(self) -> None:
        queue = ItemQueue(1000)
        queue.has_taker = True
        items = [Event(str(number)) for number in range(200)]
        for item in items[:5]:
            queue.put(item, 100)
            self.assertEqual(queue.is_full, False)
        queue.put(items[5], 100)
        self.assertTrue(queue.is_full)
        self.assertIs(queue.take(), items[0])
        self.assertFalse(queue.is_full)
        self.assertFalse(queue.has_room)  # Only at half of it, or it would stop at each message.
        for item in items[1:4]:
            self.assertIs(queue.take(), item)
        self.assertTrue(queue.has_room)
        queue.clear()
        self.assertIsNone(queue.take())

    def test_one_item_is_kept_however_large_it_is(self) -> None:
        queue = ItemQueue(10)
        queue.put(Event("a"), 10_000)
        queue.put(Event("b"), 10_000)
        first, second, third = queue.take(), queue.take(), queue.take()
        assert isinstance(first, Event) and isinstance(second, Event)
        self.assertEqual((first.type, first.fields["count"], second.type), ("dropped", 1, "b"))
        self.assertIsNone(third)


if __name__ == "__main__":
    unittest.main()
