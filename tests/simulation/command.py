"""The command line: run worlds, print the trace of one that fails, make it shorter.

Chapter: docs/simulation.md.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import time

from tests.simulation.invariants import Violation
from tests.simulation.world import STEPS, World


def run_world(seed: int, steps: int = STEPS, keep: set[int] | None = None) -> World:
    """Run one world to its end, or to its first violation (`World.failure`)."""
    world = World(seed, steps, keep)
    try:
        world.run()
    except Violation as violation:
        if world.failure is None:
            world.failure = violation
    return world


def run_worlds(first: int, count: int, steps: int = STEPS) -> list[World]:
    """Run worlds one after the other; return those that failed."""
    failed = []
    for seed in range(first, first + count):
        world = run_world(seed, steps)
        if world.failure is not None:
            failed.append(world)
    gc.collect()
    return failed


def minimise(seed: int, steps: int) -> set[int]:
    """Return fewer steps with which the same invariant still fails."""
    world = run_world(seed, steps)
    assert world.failure is not None
    name = world.failure.name
    made = [text for _, text in world.trace if text.startswith("-- step")]
    kept = list(range(len(made)))  # It failed in the last of them, or after all.

    def still_fails(some: list[int]) -> bool:
        failure = run_world(seed, steps, set(some)).failure
        return failure is not None and failure.name == name

    size = max(1, len(kept) // 2)
    while True:
        at, has_shrunk = 0, False
        while at < len(kept):
            some = kept[:at] + kept[at + size :]
            if still_fails(some):
                kept, has_shrunk = some, True
            else:
                at += size
        if size == 1 and not has_shrunk:
            return set(kept)
        size = max(1, size // 2)


def run_side_by_side(first: int, count: int, steps: int, jobs: int) -> int:
    """Share the worlds between processes; return the exit status."""
    share = -(-count // jobs)
    children = []
    for seed in range(first, first + count, share):
        number = min(share, first + count - seed)
        command = [sys.executable, "-m", "tests.simulation", f"--seed={seed}", f"--count={number}"]
        children.append(subprocess.Popen([*command, f"--steps={steps}"]))
    return max(child.wait() for child in children)


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(prog="tests.simulation", description="Run simulated worlds.")
    parser.add_argument("--seed", type=int, default=0, help="the first world (0)")
    parser.add_argument("--count", type=int, default=1, help="how many worlds (1)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"steps of each ({STEPS})")
    parser.add_argument("--keep", help="only these steps: 3,17,42")
    parser.add_argument("--jobs", type=int, default=1, help="in so many processes, side by side")
    parser.add_argument("--trace", action="store_true", help="print the trace in any case")
    parser.add_argument("--minimise", action="store_true", help="drop steps while it still fails")
    options = parser.parse_args(arguments)
    if options.jobs > 1:
        return run_side_by_side(options.seed, options.count, options.steps, options.jobs)
    keep = None
    if options.keep is not None:
        keep = {int(number) for number in options.keep.split(",") if number}
    began = time.monotonic()
    failures = 0
    for seed in range(options.seed, options.seed + options.count):
        world = run_world(seed, options.steps, keep)
        if seed % 50 == 0:
            gc.collect()
        if world.failure is not None and options.minimise and keep is None:
            kept = minimise(seed, options.steps)
            world = run_world(seed, options.steps, kept)
            print(f"shorter: --steps {options.steps} --keep {','.join(map(str, sorted(kept)))}")
        if options.trace or world.failure is not None:
            print("\n".join(world.lines()))
        if world.failure is not None:
            failures += 1
            print(f"seed {seed}: {world.failure}")
    seconds = time.monotonic() - began
    print(f"{options.count} worlds, {failures} failed, {seconds:.1f} s")
    return 1 if failures else 0
