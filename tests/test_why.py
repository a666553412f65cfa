"""why: each cause of an end is a word with a sentence, and no two say the same."""

from __future__ import annotations

import unittest

from pyliteflux.why import CloseReason


class Reasons(unittest.TestCase):
    def test_each_is_a_name_for_programs_and_a_sentence_for_people(self) -> None:
        for reason in CloseReason:
            with self.subTest(reason.name):
                self.assertRegex(reason.name, r"^[A-Z]+(_[A-Z]+)*$")
                self.assertRegex(reason.value, r"^[a-z][^.;]* [^.;]*$")

    def test_no_two_are_the_same(self) -> None:
        sentences = [reason.value for reason in CloseReason.__members__.values()]
        self.assertEqual(len(sentences), len(set(sentences)))


if __name__ == "__main__":
    unittest.main()
