"""K1 and K2: what is installed, and that it needs the standard library alone.

With PYLITEFLUX_CHECK=1 (`make check` sets it) the package is also installed by pip into an
empty environment, which may need the network for setuptools.
"""

from __future__ import annotations

import ast
import configparser
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FULL_CHECK = os.environ.get("PYLITEFLUX_CHECK") == "1"

# Serves one request of either protocol. argv: the folder to import from, "" for an installed one.
_SERVE_AND_ASK = """
import sys
if sys.argv[1]:
    sys.path.insert(0, sys.argv[1])
import json, socket
from pyliteflux import Route, Router, Server
import pyliteflux

def hello(request):
    return {"message": "Hello"}

router = Router()
router.register("/hello", method="GET")(hello)
router.register("hello", protocol="tcp")(hello)

def ask(address, question):
    with socket.create_connection(address, timeout=20) as client:
        client.settimeout(20)
        client.sendall(question)
        answer = b""
        while data := client.recv(65536):
            answer += data
    return answer

with Server(http_port=0, tcp_port=0, info=False, router=router) as server:
    head = b"GET /hello HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n"
    answer = ask(server.http_address, head)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert json.loads(answer.partition(b"\\r\\n\\r\\n")[2]) == {"message": "Hello"}, answer
    assert json.loads(ask(server.tcp_address, b"hello\\n")) == {"message": "Hello"}

outside = {name.split(".")[0] for name in sys.modules} - sys.stdlib_module_names
# Names with two underscores around them are the interpreter's own, such as __main__.
outside = {name for name in outside if not name.startswith("__")}
print(sorted(outside), pyliteflux.__file__)
"""


def run(*command: str, cwd: str = "/", timeout: float = 60) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout
    )


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


class SetupCfg(unittest.TestCase):
    def test_it_requires_nothing_to_run(self) -> None:
        """K1. Whoever adds a line here breaks the first promise of the README."""
        self.assertEqual(setup_cfg()["options"]["install_requires"].strip(), "")
        self.assertNotIn("setup_requires", setup_cfg()["options"])

    def test_the_version_is_a_literal_that_needs_no_import(self) -> None:
        metadata = setup_cfg()["metadata"]
        self.assertEqual(metadata["version"], "attr: pyliteflux.__version__")
        tree = ast.parse((ROOT / "pyliteflux" / "__init__.py").read_text(encoding="utf-8"))
        values = [
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and [ast.unparse(target) for target in node.targets] == ["__version__"]
        ]
        self.assertEqual(len(values), 1)
        self.assertIsInstance(ast.literal_eval(values[0]), str)

    def test_the_oldest_python_is_the_same_everywhere(self) -> None:
        cfg = setup_cfg()
        self.assertEqual(cfg["options"]["python_requires"], ">=3.10")
        self.assertEqual(cfg["mypy"]["python_version"], "3.10")
        self.assertIn('target-version = "py310"', (ROOT / ".ruff.toml").read_text())

    def test_the_versions_promised_are_the_versions_tested(self) -> None:
        from tests.runner import VERSIONS

        prefix = "Programming Language :: Python :: "
        lines = setup_cfg()["metadata"]["classifiers"].splitlines()
        promised = [line.removeprefix(prefix) for line in lines if line.startswith(prefix + "3.")]
        self.assertEqual(promised, VERSIONS)

    def test_every_room_is_a_package_and_types_are_shipped(self) -> None:
        """K1: a folder without __init__.py would be missing from what is installed."""
        self.assertTrue((ROOT / "pyliteflux" / "py.typed").is_file())
        self.assertIn("py.typed", setup_cfg()["options.package_data"]["pyliteflux"])
        for module in (ROOT / "pyliteflux").rglob("*.py"):
            self.assertTrue((module.parent / "__init__.py").is_file(), module)

    def test_the_licence_is_mit(self) -> None:
        self.assertEqual(setup_cfg()["metadata"]["license"], "MIT")
        self.assertTrue((ROOT / "LICENSE").read_text().startswith("MIT License"))


class WithoutSitePackages(unittest.TestCase):
    def test_a_bare_interpreter_serves_both_protocols(self) -> None:
        """K2: -I ignores the environment, -S leaves site-packages out."""
        done = run(sys.executable, "-I", "-S", "-c", _SERVE_AND_ASK, str(ROOT))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        expected = f"['pyliteflux'] {ROOT / 'pyliteflux' / '__init__.py'}\n"
        self.assertEqual(done.stdout, expected)

    def test_every_module_can_be_imported_without_a_warning(self) -> None:
        """Those too that the front door does not lead to."""
        names = [
            ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for path in sorted((ROOT / "pyliteflux").rglob("*.py"))
            if path.name not in ("__init__.py", "__main__.py")
        ]
        code = f"import sys; sys.path.insert(0, sys.argv[1]); import {', '.join(names)}"
        done = run(sys.executable, "-I", "-S", "-W", "error", "-c", code, str(ROOT))
        self.assertEqual((done.returncode, done.stderr), (0, ""))


@unittest.skipUnless(FULL_CHECK, "`make check` installs it with pip")
class Installed(unittest.TestCase):
    """K1: `pip install .` into an environment of its own, used from outside the checkout."""

    folder: Path
    python: str

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        # A copy, so that no build folder is left in the checkout.
        source = cls.folder / "source"
        shutil.copytree(
            ROOT / "pyliteflux",
            source / "pyliteflux",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        for name in ("setup.py", "setup.cfg", "README.md", "LICENSE"):
            if (ROOT / name).exists():
                shutil.copy(ROOT / name, source)
        cls.step(sys.executable, "-m", "venv", str(cls.folder / "venv"))
        scripts = "Scripts" if os.name == "nt" else "bin"
        cls.python = str(cls.folder / "venv" / scripts / "python")
        cls.step(cls.python, "-m", "pip", "install", "--no-input", "--quiet", str(source))

    @classmethod
    def step(cls, *command: str) -> None:
        done = run(*command, cwd=str(cls.folder), timeout=110)
        if done.returncode:
            raise AssertionError(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")

    def ask(self, *arguments: str) -> str:
        done = run(self.python, "-I", *arguments, cwd=str(self.folder))
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_it_serves_both_protocols_from_outside_the_checkout(self) -> None:
        module = Path(self.ask("-c", _SERVE_AND_ASK, "").split()[-1])
        self.assertIn("site-packages", module.parts)
        self.assertTrue(module.with_name("py.typed").is_file())

    def test_all_modules_were_installed(self) -> None:
        code = "import pyliteflux, pathlib; print(pathlib.Path(pyliteflux.__file__).parent)"
        home = Path(self.ask("-c", code).strip())
        installed = {path.relative_to(home).as_posix() for path in home.rglob("*.py")}
        ours = ROOT / "pyliteflux"
        self.assertEqual(installed, {p.relative_to(ours).as_posix() for p in ours.rglob("*.py")})

    def test_the_metadata_agree_with_the_package(self) -> None:
        code = (
            "import importlib.metadata as m, pyliteflux;"
            "d = m.distribution('pyliteflux');"
            "assert d.version == pyliteflux.__version__, d.version;"
            "needs = [r for r in d.requires or [] if 'extra' not in r];"
            "print(needs, d.metadata['Requires-Python'])"
        )
        self.assertEqual(self.ask("-c", code), "[] >=3.10\n")

    def test_python_m_pyliteflux_answers(self) -> None:
        self.assertIn("usage", self.ask("-m", "pyliteflux", "--help").lower())


if __name__ == "__main__":
    unittest.main()
