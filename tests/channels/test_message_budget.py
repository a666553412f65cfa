"""Budget: what is arriving waits where all together are too many, and never all of it."""

from __future__ import annotations

import unittest

from pyliteflux.channels.message_budget import Budget, Share


class Budgeting(unittest.TestCase):
    def setUp(self) -> None:
        self.budget = Budget(100, 10)
        self.resumed: list[str] = []

    def share(self, name: str, size: int) -> Share:
        share = Share(self.budget, lambda: self.resumed.append(name))
        share.take(size)
        return share

    def test_who_waits_goes_on_in_order_when_there_is_room(self) -> None:
        running = self.share("running", 100)
        waiting = [self.share(name, 10) for name in "abc"]
        self.assertFalse(any(share.has_room() for share in waiting))
        running.take(85)
        running.release()
        self.assertEqual(self.resumed, ["a", "b", "c"])

    def test_no_more_go_on_than_there_is_room_for_a_read_of_each(self) -> None:
        running, small = self.share("running", 100), self.share("small", 15)
        waiting = [self.share(name, 1) for name in "abc"]
        self.assertFalse(any(share.has_room() for share in waiting))
        running.take(91)
        small.release()
        self.assertEqual(self.resumed, ["a"])

    def test_where_all_wait_the_first_is_read_to_its_end(self) -> None:
        shares = [self.share(name, 50) for name in "abc"]
        self.assertEqual([share.has_room() for share in shares], [False] * 3)
        self.assertEqual(self.resumed, ["a"])
        shares[0].take(500)
        self.assertTrue(shares[0].has_room())
        shares[0].release()
        self.assertEqual(self.resumed, ["a", "b"])

    def test_who_waits_and_leaves_is_never_called(self) -> None:
        running, waiting = self.share("running", 100), self.share("a", 1)
        self.assertFalse(waiting.has_room())
        waiting.release()
        running.release()
        self.assertEqual((self.resumed, self.budget.size), ([], 0))


if __name__ == "__main__":
    unittest.main()
