"""Some dozens of simulated worlds, and that a world is what it promises: one seed, one story."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import re
import subprocess
import sys
import unittest
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

from pyliteflux.reactor.loop import WRITE
from pyliteflux.reactor.transport import Transport
from tests.simulation import command, regressions
from tests.simulation.command import main, minimise, run_world
from tests.simulation.invariants import INVARIANTS, Violation
from tests.simulation.world import STEPS, World

SEEDS = 30  # Thousands: make check-simulation.
ROOT = Path(__file__).resolve().parent.parent.parent
REPLAY = "python -m tests.simulation --seed {} --steps {}"


def leave_write_armed(transport: Any, inner: Any = Transport._watch) -> None:
    """A bug to plant: whoever has watched for WRITE goes on doing so."""
    was_armed = transport._interest & WRITE
    inner(transport)
    if was_armed and transport._interest and not transport._interest & WRITE:
        transport._interest |= WRITE
        transport._reactor.modify(transport, transport._interest)


class Worlds(unittest.TestCase):
    def check(self, seed: int, steps: int = STEPS) -> World:
        world = run_world(seed, steps)
        if world.failure is not None:
            story = "\n".join(list(world.lines())[-60:])
            self.fail(f"{story}\n{world.failure}\n{REPLAY.format(seed, steps)}")
        return world

    def test_every_world_keeps_the_promises(self) -> None:
        happened: Counter[str] = Counter()
        for seed in range(SEEDS):
            world = self.check(seed)
            for _, text in world.trace:
                happened[re.sub(r"\b[cpt]?\d+\+*", "N", text)] += 1
        gc.collect()
        # A world in which nothing happens keeps every promise.
        for what in (
            "N has the answer N: N",
            "N has the answer N",
            "N hears push",
            "N hears push room:N",
            "N hears subscribed room:*",
            "N hears dropped",
            "N hears closing",
            "N resets",
            "N sends FIN",
            "the next accept fails: EMFILE",
            "stop() is called",
            "N is lost in CLOSING: PROTOCOL_ERROR",
            "N is lost in CLOSING: IDLE_TIMEOUT",
            "N is lost in CLOSING: SLOW_CLIENT",
        ):
            self.assertGreater(happened[what], 0, f"in no world: {what}")

    def test_worlds_that_once_failed(self) -> None:
        for found in regressions.FOUND:
            with self.subTest(found.what):
                self.assertIn(found.invariant, INVARIANTS)
                self.check(found.seed, found.steps)

    def test_what_was_found_has_a_plain_test_too(self) -> None:
        names = {f"tests.simulation.{found.test}" for found in regressions.FOUND}
        unittest.TestLoader().loadTestsFromNames(sorted(names))
        self.assertEqual(unittest.TestLoader().errors, [])


class Replay(unittest.TestCase):
    def test_the_same_seed_gives_the_same_trace(self) -> None:
        for seed in (3, 8):
            self.assertEqual(list(run_world(seed).lines()), list(run_world(seed).lines()))

    def test_in_another_process_too_whatever_the_hashes(self) -> None:
        outputs = set()
        for hash_seed in ("1", "2"):
            arguments = [sys.executable, "-m", "tests.simulation", "--seed=5", "--trace"]
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed}
            done = subprocess.run(
                arguments, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            outputs.add(done.stdout.rpartition("1 worlds")[0])
        self.assertEqual(len(outputs), 1)

    def test_another_seed_gives_another_trace(self) -> None:
        self.assertNotEqual(list(run_world(1).lines()), list(run_world(2).lines()))

    def test_a_step_that_is_left_out_changes_no_other(self) -> None:
        """The steps draw from generators of their own, so that fewer of them can be tried."""
        whole = run_world(4, steps=30)
        without = run_world(4, steps=30, keep=set(range(29)))
        steps = [text for _, text in whole.trace if text.startswith("-- step")]
        self.assertEqual(
            [text for _, text in without.trace if text.startswith("-- step")], steps[:-1]
        )
        at = [text for _, text in whole.trace].index("-- step 29")
        self.assertEqual(whole.trace[:at], without.trace[:at])


class Failing(unittest.TestCase):
    """What is seen where a world fails, with a bug planted for it."""

    def setUp(self) -> None:
        patch = mock.patch.object(Transport, "_watch", leave_write_armed)
        patch.start()
        self.addCleanup(patch.stop)
        worlds = [run_world(seed) for seed in range(10)]
        failed = [world for world in worlds if world.failure is not None]
        self.seed = min(failed, key=lambda world: len(world.trace)).seed

    def test_it_prints_its_trace_and_says_which_invariant_fails(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as output:
            status = main([f"--seed={self.seed}"])
        text = output.getvalue()
        self.assertEqual(status, 1)
        self.assertIn(f"seed {self.seed}: interest: ", text)
        self.assertIn(INVARIANTS["interest"], text)
        self.assertRegex(text, r"(?m)^ +\d+\.\d{4}  -- step 0$")
        self.assertRegex(text, r"(?m)^ +\d+\.\d{4}  reactor runs$")

    def test_it_fails_again_in_the_same_way(self) -> None:
        first, second = run_world(self.seed), run_world(self.seed)
        self.assertEqual(str(first.failure), str(second.failure))
        self.assertEqual(first.trace, second.trace)

    def test_minimising_leaves_out_what_does_not_matter(self) -> None:
        kept = minimise(self.seed, STEPS)
        self.assertLess(len(kept), STEPS // 4)
        failure = run_world(self.seed, STEPS, kept).failure
        assert failure is not None
        self.assertEqual(failure.name, "interest")
        with contextlib.redirect_stdout(io.StringIO()) as output:
            keep = ",".join(map(str, sorted(kept)))
            self.assertEqual(main([f"--seed={self.seed}", f"--keep={keep}"]), 1)
        self.assertIn("interest", output.getvalue())

    def test_side_by_side_one_failure_fails_all(self) -> None:
        with mock.patch.object(command.subprocess, "Popen") as start:
            start.return_value.wait.side_effect = [0, 1]
            self.assertEqual(main(["--count=11", "--jobs=2"]), 1)
        self.assertEqual(start.call_count, 2)


class Names(unittest.TestCase):
    def test_every_invariant_is_looked_at(self) -> None:
        """A name that no code can raise would be a promise that nobody checks."""
        folder = Path(__file__).parent
        source = "".join(path.read_text("utf-8") for path in sorted(folder.glob("*.py")))
        raised = set(re.findall(r'(?:violate|fail|append)\(\s*\(?"([a-z -]+)"', source))
        self.assertLessEqual(set(INVARIANTS), raised)

    def test_a_violation_knows_its_name_and_sentence(self) -> None:
        self.assertIn(INVARIANTS["memory"], str(Violation("memory", "too much")))
        with self.assertRaises(AssertionError):
            Violation("no such", "thing")


if __name__ == "__main__":
    unittest.main()
