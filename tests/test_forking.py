"""after_fork: what a forked child does first, for whom, and what it forgets."""

from __future__ import annotations

import gc
import os
import unittest

from pyliteflux import forking
from pyliteflux.forking import after_fork
from tests.support import in_child


def shout() -> None:
    print("a function")


class Owner:
    def __init__(self, name: str) -> None:
        self.name = name

    def shout(self) -> None:
        print(self.name)

    def fail(self) -> None:
        raise LookupError("on purpose")


@unittest.skipUnless(hasattr(os, "fork"), "no fork")
class Forking(unittest.TestCase):
    def setUp(self) -> None:
        before = dict(forking._callbacks)
        self.addCleanup(forking._callbacks.update, before)
        self.addCleanup(forking._callbacks.clear)
        forking._callbacks.clear()

    def test_a_child_makes_the_calls_in_order_and_its_parent_none(self) -> None:
        owners = [Owner("first"), Owner("second")]
        after_fork(owners[0].shout)
        after_fork(shout)
        after_fork(owners[1].shout)
        self.assertEqual(in_child(lambda: print("begun")), "first\na function\nsecond\nbegun\n")

    def test_a_method_is_forgotten_with_its_object(self) -> None:
        after_fork(Owner("gone").shout)
        gc.collect()
        self.assertEqual(forking._callbacks, {})
        self.assertEqual(in_child(lambda: None), "")

    def test_one_that_fails_does_not_keep_the_next_from_its_turn(self) -> None:
        owner = Owner("next")
        after_fork(owner.fail)
        after_fork(owner.shout)
        told = in_child(lambda: None)
        self.assertIn("LookupError: on purpose", told)
        self.assertTrue(told.endswith("next\n"), told)


if __name__ == "__main__":
    unittest.main()
