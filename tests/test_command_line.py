"""``python -m pyliteflux app.py``: what is run, how often, and what is said where it cannot be."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from tests.support import DEADLINE, Client

ROOT = Path(__file__).resolve().parent.parent
# It prints a line each time that it is run, and what it listens on.
APP = """
from pyliteflux import Server, Router
print("loaded", flush=True)
router = Router()
@router.register("/")
def index(request):
    return "from the program"
server = Server(router, http_port=0, tcp_port=0)
"""
SERVING = re.compile(r"HTTP on http://([0-9.]+):(\d+)")


class CommandLine(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def enterContext(self, context):  # type: ignore[no-untyped-def, override]
        """As that of Python 3.11."""
        value = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return value

    def write(self, source: str, name: str = "app.py") -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "pyliteflux", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def run_it(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=DEADLINE)
        return process.returncode, out, err

    def serve_and_end(self, *arguments: str) -> tuple[int, str, str]:
        """Wait until it serves, ask it, send one signal; return how it ended."""
        process = self.start(*arguments)
        assert process.stderr is not None
        seen = ""
        while not (found := SERVING.search(seen)):
            line = process.stderr.readline()
            self.assertTrue(line, f"it does not serve: {seen}")
            seen += line
        with Client((found[1], int(found[2]))) as client:
            self.assertEqual(client.get("/").text, "from the program")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=DEADLINE)
        return process.returncode, out, seen + err

    @unittest.skipUnless(os.name == "posix", "needs signals")
    def test_a_program_that_runs_its_server_is_run_once_and_ends_at_the_first_signal(self) -> None:
        self.write(APP + "server.run()\nprint('after', flush=True)\n")
        self.write("", "package/__init__.py")
        self.write((self.folder / "app.py").read_text(), "package/module.py")
        for target in ("app.py", "app.py:server", "package.module", "package.module:server"):
            with self.subTest(target):
                status, out, err = self.serve_and_end(target)
                self.assertEqual((status, out), (0, "loaded\nafter\n"), err)
                self.assertEqual(err.count("serving"), 1)

    @unittest.skipUnless(os.name == "posix", "needs signals")
    def test_a_program_that_does_not_is_run_by_the_command_line(self) -> None:
        self.write(APP + "if __name__ == '__main__':\n    server.run()\n")
        status, out, err = self.serve_and_end("app.py")
        self.assertEqual((status, out, err.count("serving")), (0, "loaded\n", 1))

    @unittest.skipUnless(os.name == "posix", "needs signals")
    def test_what_the_command_line_sets_holds_for_either(self) -> None:
        for end in ("", "server.run('both', http_host='0.0.0.0')\n"):
            with self.subTest(end):
                self.write(APP + end)
                arguments = ("app.py", "--set", "http_host=127.0.0.2", "--protocol", "http")
                status, _, err = self.serve_and_end(*arguments)
                self.assertEqual(status, 0, err)
                self.assertIn("serving HTTP on http://127.0.0.2:", err)
                self.assertNotIn("TCP on", err)

    def test_a_program_that_starts_its_server_in_the_background_is_told(self) -> None:
        self.write(APP + "server.start()\n")
        status, _, err = self.run_it("app.py")
        self.assertEqual(status, 1)
        self.assertIn("pyliteflux: app.py has started its server: leave that to", err)

    def test_what_the_program_raises_is_shown_with_its_own_place(self) -> None:
        """B13: "pyliteflux: [Errno 2] No such file or directory: 'missing.cfg'" says not where."""
        self.write("import gone_too", "imported.py")
        self.write("", "package/__init__.py")
        for source, last in (
            ("open('missing.cfg')", "FileNotFoundError: [Errno 2] No such file"),
            ("import nothere", "ModuleNotFoundError: No module named 'nothere'"),
            ("import imported", "ModuleNotFoundError: No module named 'gone_too'"),
            ("from pyliteflux import Serfer", "ImportError: cannot import name 'Serfer'"),
            ("import pyliteflux; pyliteflux.Server(prt=1)", "ConfigError: there is no setting"),
            ("def f(:", "SyntaxError: invalid syntax"),
            ("1 / 0", "ZeroDivisionError: division by zero"),
        ):
            for name, target in (("app.py", "app.py"), ("package/module.py", "package.module")):
                with self.subTest(source, target=target):
                    self.write("\n" + source + "\n", name)
                    status, out, err = self.run_it(target)
                    self.assertEqual((status, out), (1, ""))
                    self.assertRegex(err, rf'File "[^"]*{name}", line 2')
                    self.assertIn(last, err.splitlines()[-1])
                    self.assertNotIn("runpy", err)
                    self.assertNotIn("importlib", err)
                    self.assertNotIn("__main__.py", err)

    def test_a_program_that_is_not_there_is_one_line(self) -> None:
        self.write("", "package/__init__.py")
        self.write(APP)
        for target, said in (
            ("nothere.py", "there is no file nothere.py"),
            ("nothere", "there is no module nothere"),
            ("package.nothere:server", "there is no module package.nothere"),
            ("nothere.module", "there is no module nothere"),
            ("app.py:other", "app.py has no Server named 'other'"),
        ):
            with self.subTest(target):
                self.assertEqual(self.run_it(target)[::2], (1, f"pyliteflux: {said}\n"))

    def test_a_setting_that_does_not_exist_is_one_line_before_anything_runs(self) -> None:
        self.write(APP)
        status, out, err = self.run_it("app.py", "--set", "http_prt=1")
        self.assertEqual((status, out, err.count("\n")), (1, "", 1))
        self.assertIn("'http_prt'", err)


def _old_pythons() -> list[str]:
    """Interpreters that are too old, as far as this machine has any."""
    found = [shutil.which(f"python3.{minor}") for minor in range(6, 10)]
    versions = Path.home() / ".pyenv/versions"
    found += [str(path) for path in sorted(versions.glob("3.[6-9].*/bin/python"))]
    return [path for path in found if path and _version(path) < (3, 10)]


def _version(python: str) -> tuple[int, ...]:
    code = "import sys; print(*sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return tuple(map(int, done.stdout.split())) or (9, 9)


class OldPythons(unittest.TestCase):
    """B12: macOS and many Linux systems bring one, and it has to be told by name what is wrong."""

    TOLD = r"PyLiteFlux needs Python 3\.10 or newer, and .* 3\.[6-9]"

    @classmethod
    def setUpClass(cls) -> None:
        pythons = sorted(_old_pythons(), key=_version)
        cls.pythons = [*pythons[:1], *pythons[1:][-1:]]  # The oldest and the newest will do.
        if not cls.pythons:
            raise unittest.SkipTest("this machine has no Python older than 3.10")

    def expect_told(self, *command: str) -> None:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stdout + done.stderr, self.TOLD)

    def test_the_package_and_the_command_line(self) -> None:
        for python in self.pythons:
            with self.subTest(python):
                self.expect_told(python, "-c", "import pyliteflux")
                self.expect_told(python, "-m", "pyliteflux")
                self.expect_told(python, "-m", "pyliteflux", "app.py")

    def test_each_example(self) -> None:
        since_3_8 = ("examples/files.py", "examples/seed/streams.py")  # `:=`
        since_3_7 = ("examples/devices/main.py",)  # Imports sensors.py, annotated for 3.7.
        no_server = "examples/devices/sensors.py"  # Imports nothing of ours, and runs on any.
        for python in self.pythons:
            version = _version(python)
            for path in sorted((ROOT / "examples").rglob("*.py")):
                name = path.relative_to(ROOT).as_posix()
                if name == no_server or name in since_3_8 and version < (3, 8):
                    continue
                if name in since_3_7 and version < (3, 7):
                    continue
                with self.subTest(python, example=name):
                    self.expect_told(python, name)

    @unittest.skipUnless(shutil.which("make"), "there is no make")
    def test_the_makefile(self) -> None:
        for python in self.pythons:
            for target in ("test", "run-example", "docs"):
                with self.subTest(python, target=target):
                    self.expect_told("make", target, f"PYTHON={python}")


if __name__ == "__main__":
    unittest.main()
