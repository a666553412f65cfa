"""The words of a transport: the moves that its table allows. What makes it move: test_transport."""

from __future__ import annotations

import unittest

from pyliteflux.reactor.life import CLOSED, FIN_SENT, FINISHING, NEXT, OPEN, Life
from pyliteflux.word import before


class TheTable(unittest.TestCase):
    def test_every_word_has_its_moves(self) -> None:
        self.assertEqual(set(NEXT), set(Life))

    def test_a_life_goes_one_way_and_a_stage_is_never_come_back_to(self) -> None:
        order = [OPEN, FINISHING, FIN_SENT, CLOSED]
        for word, moves in NEXT.items():
            for new in moves:
                self.assertGreater(order.index(new), order.index(word))

    def test_the_end_may_come_at_any_time_and_fin_only_after_all_that_is_queued(self) -> None:
        self.assertEqual(before(NEXT, CLOSED), (OPEN, FINISHING, FIN_SENT))
        self.assertEqual(before(NEXT, FIN_SENT), (FINISHING,))


if __name__ == "__main__":
    unittest.main()
