"""Patterns: what matches a name, however many there are."""

from __future__ import annotations

import random
import unittest

from pyliteflux.push.patterns import Patterns
from tests.test_cost import Calls


class PatternsTest(unittest.TestCase):
    def test_it_finds_what_trying_each_would_find_while_they_come_and_go(self) -> None:
        chance = random.Random(2)
        patterns: Patterns[int] = Patterns()
        known: dict[str, int] = {}
        for turn in range(3000):
            pattern = "".join(chance.choices("ab", k=chance.randrange(5))) + "*"
            if pattern in known and chance.random() < 0.5:
                del known[pattern]
                patterns.remove(pattern)
            else:
                known[pattern] = turn
                patterns.add(pattern, turn)
            name = "".join(chance.choices("ab", k=chance.randrange(6)))
            expected = [value for one, value in known.items() if name.startswith(one[:-1])]
            self.assertEqual(sorted(patterns.matching(name)), sorted(expected))
            self.assertEqual(bool(patterns.lengths), bool(known))

    def test_a_name_is_looked_up_once_for_each_length(self) -> None:
        costs = []
        for most in (10, 1000):
            patterns = Patterns((f"{number:04}*", number) for number in range(most))
            with Calls() as calls:
                self.assertEqual(patterns.matching("0007:x"), [7])
            costs.append((sum(calls.ours.values()), calls.of_c))
        self.assertEqual(costs[0], costs[1])


if __name__ == "__main__":
    unittest.main()
