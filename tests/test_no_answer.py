"""no_answer: one object, whatever copies it, since it is compared with `is`."""

from __future__ import annotations

import copy
import pickle
import unittest

from pyliteflux.no_answer import NO_ANSWER, NoAnswer


class OneObject(unittest.TestCase):
    def test_a_copy_is_the_same_object(self) -> None:
        for copied in (
            copy.copy(NO_ANSWER),
            copy.deepcopy([NO_ANSWER])[0],
            pickle.loads(pickle.dumps(NO_ANSWER)),
        ):
            self.assertIs(copied, NO_ANSWER)

    def test_it_is_told_by_its_name(self) -> None:
        self.assertIsInstance(NO_ANSWER, NoAnswer)
        self.assertEqual(repr(NO_ANSWER), "NO_ANSWER")


if __name__ == "__main__":
    unittest.main()
