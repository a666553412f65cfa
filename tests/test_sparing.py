"""Tests for sparing.py: log lines that may not fill the disk."""

from __future__ import annotations

import unittest

from pyliteflux.sparing import Sparing


class SparingTest(unittest.TestCase):
    def test_one_line_in_an_interval_counts_the_others(self) -> None:
        sparing = Sparing(1.0)
        told = [sparing.left_out(now) for now in (5.0, 5.0, 5.9, 6.0, 6.5, 100.0, 101.0)]
        self.assertEqual(told, [0, None, None, 2, None, 1, 0])


if __name__ == "__main__":
    unittest.main()
