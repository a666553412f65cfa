"""word: states and reasons as words, and the table of moves beside them."""

from __future__ import annotations

import unittest

from pyliteflux.word import Word, before


class Light(Word):
    """Of a crossing."""

    RED = "wait"
    GREEN = "go"
    OFF = "look around"


NEXT = {
    Light.RED: {Light.GREEN, Light.OFF},
    Light.GREEN: {Light.RED, Light.OFF},
    Light.OFF: set(),
}


class Words(unittest.TestCase):
    def test_a_word_is_itself_and_explains_itself(self) -> None:
        self.assertIs(Light["RED"], Light.RED)
        self.assertEqual((Light.GREEN.name, Light.GREEN.value), ("GREEN", "go"))
        self.assertEqual(len({Light.RED, Light.GREEN, Light.RED}), 2)

    def test_a_word_is_hashed_without_a_call_of_python(self) -> None:
        self.assertIs(type(Light.RED).__hash__, object.__hash__)

    def test_before_reads_the_table_backwards(self) -> None:
        self.assertEqual(before(NEXT, Light.OFF), (Light.RED, Light.GREEN))
        self.assertEqual(before(NEXT, Light.RED), (Light.GREEN,))


if __name__ == "__main__":
    unittest.main()
