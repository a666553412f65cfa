"""Run the suite: what `make test` calls. Standard library only.

    python -m tests.runner [-v] [NAME ...]     all tests, or tests.protocol.test_framing ...
    python -m tests.runner --jobs 2            the same in two processes, side by side
    python -m tests.runner --other-pythons     the suite again on every other Python found

Stricter than ``python -m unittest``, since silence is how suites rot. It also fails where

* no test ran, or a file ``test_*.py`` gave none (a missing ``__init__.py`` hides a folder);
* an exception was lost in a thread or in a finalizer, and so is an unclosed socket or file
  under ``-W error::ResourceWarning``;
* one test takes longer than `TEST_TIMEOUT`: it ends with the stacks of all threads.

The last line is ``N passed, N failed, N skipped``. If ``PYLITEFLUX_TEST_COUNTS`` names a
file, the numbers are added to it as a line too: `.ci/run` sums them up.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OWN_VERSION = ".".join(map(str, sys.version_info[:2]))

if sys.version_info < (3, 10):  # noqa: UP036  (who has an older one should be told so)
    sys.exit(
        f"PyLiteFlux needs Python 3.10 or newer, and this is {OWN_VERSION}: "
        "try `make test PYTHON=python3.12`"
    )

ROOT = Path(__file__).resolve().parent.parent
TEST_TIMEOUT = 120.0  # seconds for one test
FLAGS = ["-X", "dev", "-W", "error::ResourceWarning"]
VERSIONS = ["3.10", "3.11", "3.12", "3.13"]


class Result(unittest.TextTestResult):
    """Counts what passed, watches the clock, and collects exceptions that nobody caught."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.passed = 0
        self.strays: list[str] = []
        self._current = "between the tests"

    def startTestRun(self) -> None:
        self._hooks = sys.unraisablehook, threading.excepthook
        sys.unraisablehook, threading.excepthook = self.lost_in_finalizer, self.lost_in_thread
        super().startTestRun()

    def stopTestRun(self) -> None:
        gc.collect()  # What hangs in a cycle is finalized now, while somebody listens.
        sys.unraisablehook, threading.excepthook = self._hooks
        super().stopTestRun()

    def startTest(self, test: unittest.TestCase) -> None:
        self._current = f"during {test.id()}"
        assert sys.__stderr__ is not None
        faulthandler.dump_traceback_later(TEST_TIMEOUT, exit=True, file=sys.__stderr__)
        super().startTest(test)

    def stopTest(self, test: unittest.TestCase) -> None:
        faulthandler.cancel_dump_traceback_later()
        super().stopTest(test)
        self._current = f"after {test.id()}"

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.passed += 1
        super().addSuccess(test)

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.passed += 1
        super().addExpectedFailure(test, err)

    def lost_in_finalizer(self, lost: Any) -> None:
        """For `sys.unraisablehook`."""
        what = f"{lost.err_msg or 'exception ignored in'} {lost.object!r}"
        self._stray(what, lost.exc_type, lost.exc_value, lost.exc_traceback)

    def lost_in_thread(self, lost: Any) -> None:
        """For `threading.excepthook`."""
        if lost.exc_type is not SystemExit:
            what = f"exception in thread {getattr(lost.thread, 'name', '?')}"
            self._stray(what, lost.exc_type, lost.exc_value, lost.exc_traceback)

    def _stray(self, what: str, kind: Any, value: Any, trace: Any) -> None:
        text = "".join(traceback.format_exception(kind, value, trace))
        self.strays.append(f"{self._current}: {what}\n{text}")


def run_suite(names: list[str], verbosity: int) -> int:
    """Run the named tests, or all, and return the exit status."""
    loader = unittest.TestLoader()
    if names:
        suite = loader.loadTestsFromNames(names)
        unheard: list[str] = []
    else:
        suite = loader.discover(str(ROOT / "tests"), top_level_dir=str(ROOT))
        unheard = files_without_tests(suite)
    result = unittest.TextTestRunner(resultclass=Result, verbosity=verbosity).run(suite)
    assert isinstance(result, Result)
    return report(result, unheard)


def run_side_by_side(names: list[str], jobs: int, verbosity: int) -> int:
    """Run the named tests, or all, class by class in so many processes; return the exit status.

    Under coverage each process is measured by itself: `coverage combine` joins the results.
    """
    loader = unittest.TestLoader()
    unheard: list[str] = []
    if names:
        suite = loader.loadTestsFromNames(names)
    else:
        suite = loader.discover(str(ROOT / "tests"), top_level_dir=str(ROOT))
        unheard = files_without_tests(suite)
    classes, skipped = classes_of(suite)
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder, "counts")
        environment = {**os.environ, "PYLITEFLUX_TEST_COUNTS": str(counts)}
        # `-W` and `-X` of ours, so that the children are as strict.
        command = [sys.executable, *subprocess._args_from_interpreter_flags()]  # type: ignore[attr-defined]
        if "PYLITEFLUX_COVERAGE" in os.environ:
            command += ["-m", "coverage", "run", "--parallel-mode"]
        command += ["-m", "tests.runner"]
        command += ["-v"] if verbosity > 1 else []
        children = [
            subprocess.Popen([*command, *classes[number::jobs]], cwd=ROOT, env=environment)
            for number in range(jobs)
        ]
        status = max(child.wait() for child in children)
        lines = counts.read_text("ascii").split("\n") if counts.exists() else []
    totals = [sum(column) for column in zip(*(map(int, line.split()) for line in lines if line))]
    passed, failed, more_skipped = totals or (0, 1, 0)
    for path in unheard:
        print(f"UNHEARD {path}: no test of it was found", file=sys.stderr)
    if status and not failed:
        failed = 1  # A child that died has counted nothing.
    return close(passed, failed + len(unheard), skipped + more_skipped)


def classes_of(suite: unittest.TestSuite) -> tuple[list[str], int]:
    """Return the names of all test classes, and how many modules skip themselves."""
    names: dict[str, None] = {}
    skipped = 0
    for test in walk(suite):
        kind = type(test)
        if kind.__module__.startswith("tests."):
            names[f"{kind.__module__}.{kind.__qualname__}"] = None
        elif kind.__name__ == "ModuleSkipped":
            skipped += 1
        else:  # A module that cannot be imported: a child fails with the reason.
            names[test._testMethodName] = None
    return list(names), skipped


def report(result: Result, unheard: list[str]) -> int:
    """Print what `unittest` does not know of and the closing line; return the exit status."""
    for stray in result.strays:
        print(f"LOST {stray}", file=sys.stderr)
    for path in unheard:
        print(f"UNHEARD {path}: no test of it was found", file=sys.stderr)
    bad = result.failures + result.errors
    failed = len(bad) + len(result.unexpectedSuccesses) + len(result.strays) + len(unheard)
    if not result.passed and not failed:
        print("no test ran", file=sys.stderr)
        failed = 1
    return close(result.passed, failed, len(result.skipped))


def close(passed: int, failed: int, skipped: int) -> int:
    """Print the closing line, note the counts where they are wanted; return the exit status."""
    sys.stderr.flush()
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    if "PYLITEFLUX_TEST_COUNTS" in os.environ:
        with open(os.environ["PYLITEFLUX_TEST_COUNTS"], "a", encoding="ascii") as file:
            file.write(f"{passed} {failed} {skipped}\n")
    return 1 if failed else 0


def files_without_tests(suite: unittest.TestSuite) -> list[str]:
    """Return the files named ``test_*.py`` that the loader made no test from."""
    heard = {name for test in walk(suite) for name in names_of(test)}
    unheard = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        # A package that skips itself stands for all its modules.
        if not any(".".join(parts[:depth]) in heard for depth in range(2, len(parts) + 1)):
            unheard.append(path.relative_to(ROOT).as_posix())
    return unheard


def walk(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from walk(test)
        else:
            yield test


def names_of(test: unittest.TestCase) -> list[str]:
    # A module that cannot be imported, or skips itself, becomes a test named after it.
    return [type(test).__module__, test._testMethodName]


def other_pythons() -> dict[str, str | None]:
    """Return version -> interpreter, or None, for each supported version but our own."""
    return {version: find_python(version) for version in VERSIONS if version != OWN_VERSION}


def find_python(version: str) -> str | None:
    """Return an interpreter of this version that starts, from PATH or from pyenv."""
    candidates = [shutil.which(f"python{version}")]
    if shutil.which("pyenv"):
        root = subprocess.run(["pyenv", "root"], capture_output=True, text=True).stdout.strip()
        found = Path(root, "versions").glob(f"{version}.*/bin/python{version}")
        candidates += [str(path) for path in sorted(found, reverse=True)]
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    for candidate in candidates:
        if candidate is None:
            continue
        # A pyenv shim exists for versions that are not switched on, and then fails.
        answer = subprocess.run([candidate, "-c", code], capture_output=True, text=True)
        if answer.stdout.strip() == version:
            return candidate
    return None


def run_on_other_pythons(verbosity: int) -> int:
    """Run the suite on each of them, all even where one fails; return the exit status."""
    bad = []
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for version, python in other_pythons().items():
        if python is None:
            print(f"python {version}: not found on this machine, skipped", flush=True)
            continue
        print(f"python {version}: the suite on {python}", flush=True)
        command = [
            python,
            *FLAGS,
            "-m",
            "tests.runner",
            "--jobs=2",
            *(["-v"] if verbosity > 1 else []),
        ]
        began = time.monotonic()
        status = subprocess.run(command, cwd=ROOT, env=environment).returncode
        seconds = time.monotonic() - began
        print(f"python {version}: {'FAILED' if status else 'ok'}, {seconds:.0f} s", flush=True)
        if status:
            bad.append(version)
    return 1 if bad else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.runner", description="Run the test suite.")
    parser.add_argument("names", nargs="*", help="tests.module[.Class[.method]]; none: all")
    parser.add_argument("--jobs", type=int, default=1, help="so many processes, side by side")
    parser.add_argument("-v", "--verbose", action="store_true", help="name each test")
    parser.add_argument("--other-pythons", action="store_true", help="on every other version found")
    options = parser.parse_args()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's `make test &`: the programs under test would inherit that Ctrl-C is ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    verbosity = 2 if options.verbose else 1
    if options.other_pythons:
        return run_on_other_pythons(verbosity)
    if options.jobs > 1:
        return run_side_by_side(options.names, options.jobs, verbosity)
    return run_suite(options.names, verbosity)


if __name__ == "__main__":
    sys.exit(main())
