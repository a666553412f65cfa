"""Service: settings in the form in which channels need them."""

from __future__ import annotations

import contextlib
import unittest
from math import inf
from typing import Any

from pyliteflux.channels.service import Service
from tests.fakes import Simulation


class ServiceTest(unittest.TestCase):
    def service(self, **settings: Any) -> Service:
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        return stack.enter_context(Simulation(**settings)).runtime.http

    def test_no_limit_is_one_that_is_never_reached(self) -> None:
        self.assertEqual(self.service(handler_timeout=0).handler_timeout, inf)
        self.assertEqual(self.service(handler_timeout=5).handler_timeout, 5)

    def test_the_share_of_a_turn_is_in_seconds(self) -> None:
        self.assertEqual(self.service(loop_budget_ms=20).budget, 0.02)


if __name__ == "__main__":
    unittest.main()
