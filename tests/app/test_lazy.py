"""lazy: computed once, when it is asked for, and an ordinary attribute from then on."""

from __future__ import annotations

import unittest

from pyliteflux.app.lazy import lazy


class Thing:
    def __init__(self) -> None:
        self.count = 0

    @lazy
    def value(self) -> int:
        """What it is."""
        self.count += 1
        if self.count == 1:
            raise ValueError
        return self.count


class Lazy(unittest.TestCase):
    def test_it_is_computed_once_and_what_fails_is_tried_again(self) -> None:
        thing = Thing()
        self.assertRaises(ValueError, lambda: thing.value)
        self.assertEqual((thing.value, thing.value, thing.count), (2, 2, 2))

    def test_it_may_be_set_and_forgotten(self) -> None:
        thing, other = Thing(), Thing()
        thing.value = 7  # type: ignore[assignment]
        self.assertEqual((thing.value, thing.count), (7, 0))
        del thing.value
        self.assertRaises(ValueError, lambda: thing.value)
        self.assertEqual(other.count, 0)

    def test_the_class_has_its_docstring(self) -> None:
        self.assertEqual(Thing.value.__doc__, "What it is.")


if __name__ == "__main__":
    unittest.main()
