"""The import rules of docs/architecture.md, read from the source with `ast`, and N1, K2.

An import counts wherever it stands: in a function, under ``if TYPE_CHECKING``, relative or
not. `read_imports` and `edges` are used by tests/docs_tools.py too, which draws them.
"""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
import unittest
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "pyliteflux"


class Rule(NamedTuple):
    """may: the rooms whose modules a room imports. never: stdlib modules that it does not."""

    may: frozenset[str]
    never: frozenset[str]
    reason: str


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WIRE_AND_TIME = _names(
    "socket _socket ssl socketserver select selectors asyncio time threading _thread queue "
    "concurrent multiprocessing signal"
)

# The table. "ground" is every module beside the rooms; "front" is __init__ and __main__.
RULES = {
    "ground": Rule(_names("ground"), frozenset(), "everybody stands on it, so it knows nobody"),
    "protocol": Rule(_names("ground protocol"), _WIRE_AND_TIME, "sans-IO: bytes in, meaning out"),
    "reactor": Rule(_names("ground reactor"), frozenset(), "it knows no protocol"),
    "app": Rule(_names("ground app"), _names("socket _socket"), "plain objects and calls, no wire"),
    "extras": Rule(
        _names("ground app extras"), _names("socket _socket"), "a user could have written it"
    ),
    "push": Rule(
        _names("ground protocol reactor push"), frozenset(), "it knows doors, not who is behind"
    ),
    "channels": Rule(
        _names("ground protocol reactor app push channels"),
        frozenset(),
        "a conversation joins transport, protocol and app",
    ),
    "server": Rule(
        _names("ground protocol reactor app extras push channels server"),
        frozenset(),
        "one run: it puts the rooms together",
    ),
    "client": Rule(
        _names("ground protocol client"), frozenset(), "it knows the wire, not how a server works"
    ),
    "front": Rule(
        _names("ground protocol reactor app extras push channels server client front"),
        frozenset(),
        "the public names",
    ),
}


class Import(NamedTuple):
    """`importer` (dotted) names `imported` (dotted) at file:line."""

    importer: str
    file: str
    line: int
    imported: str


def package_sources(root: Path = ROOT) -> dict[str, str]:
    """Return path -> text of every module of the package, paths as in ``ls``."""
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((root / PACKAGE).rglob("*.py"))
    }


def module_name(file: str) -> str:
    """``pyliteflux/reactor/loop.py`` -> ``pyliteflux.reactor.loop``."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def room_of(module: str) -> str:
    parts = module.split(".")
    if len(parts) == 1 or parts[1] == "__main__":
        return "front"
    return parts[1] if parts[1] in RULES and parts[1] not in ("ground", "front") else "ground"


def modules_of(room: str, modules: Iterable[str]) -> list[str]:
    """Return the modules of one room in order of their names, its ``__init__`` left out."""
    return sorted(m for m in modules if room_of(m) == room and m != f"{PACKAGE}.{room}")


def read_imports(sources: dict[str, str]) -> list[Import]:
    """Return every import of these files, one entry per imported module."""
    modules = {module_name(file) for file in sources}
    found = []
    for file, text in sources.items():
        importer = module_name(file)
        is_package = file.endswith("/__init__.py")
        for node in ast.walk(ast.parse(text, file)):
            for imported in _imported(node, importer, is_package, modules):
                found.append(Import(importer, file, node.lineno, imported))  # type: ignore[attr-defined]
    return found


def _imported(node: ast.AST, importer: str, is_package: bool, modules: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name
    elif isinstance(node, ast.ImportFrom):
        source = node.module or ""
        if node.level:
            base = importer.split(".")
            base = base[: len(base) - node.level + (1 if is_package else 0)]
            source = ".".join([*base, *([node.module] if node.module else [])])
        for alias in node.names:
            submodule = f"{source}.{alias.name}"
            yield submodule if submodule in modules else source
    elif isinstance(node, ast.Call):
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if name in ("__import__", "import_module"):
            yield f"<{name}>"  # An import that no reader, and no test, can see.


def is_ours(module: str) -> bool:
    return module == PACKAGE or module.startswith(PACKAGE + ".")


def edges(sources: dict[str, str]) -> dict[str, set[str]]:
    """Return module -> the modules of ours that it imports."""
    graph: dict[str, set[str]] = {module_name(file): set() for file in sources}
    for item in read_imports(sources):
        if is_ours(item.imported) and item.imported != item.importer:
            graph[item.importer].add(item.imported)
    return graph


def violations(sources: dict[str, str]) -> list[str]:
    """Return a line ``file:line: rule`` for each import that the table forbids."""
    found = []
    for item in read_imports(sources):
        room = room_of(item.importer)
        rule = RULES[room]
        top = item.imported.split(".")[0]
        if item.imported.startswith("<"):
            if room == "front":
                continue  # `python -m pyliteflux module:name` imports what its user names.
            broken = f"no import may hide in a call: {item.imported}"
        elif is_ours(item.imported):
            other = room_of(item.imported)
            if other in rule.may:
                continue
            broken = f"{room} must not import {other} ({item.imported}): {rule.reason}"
        elif top not in sys.stdlib_module_names:
            broken = f"{item.imported} is not in the standard library (K2)"
        elif top in rule.never:
            broken = f"{room} must not import {item.imported}: {rule.reason}"
        else:
            continue
        found.append(f"{item.file}:{item.line}: {broken}")
    return found


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of one import cycle in order, or [] where there is none.

    "Earlier module" in the table means exactly that: some order of reading exists in which
    every module comes after all that it imports.
    """
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(reversed(error.args[1]))
    return []


class LayersOfThePackage(unittest.TestCase):
    sources: dict[str, str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.sources = package_sources()

    def test_every_room_imports_only_what_the_table_allows(self) -> None:
        self.assertGreater(len(self.sources), 10)
        found = violations(self.sources)
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_an_order_of_reading_exists(self) -> None:
        found = cycle(edges(self.sources))
        self.assertEqual(found, [], "these import each other: " + " -> ".join(found))

    def test_the_rooms_are_the_folders(self) -> None:
        folders = {Path(file).parent.name for file in self.sources if file.count("/") > 1}
        self.assertEqual(folders, set(RULES) - {"ground", "front"})
        deep = [file for file in self.sources if file.count("/") > 2]
        self.assertEqual(deep, [], "no folders inside a room")

    def test_no_module_is_named_like_one_of_the_standard_library(self) -> None:
        names = {Path(file).stem for file in self.sources} - {"__init__", "__main__"}
        self.assertEqual(names & sys.stdlib_module_names, set())


class RulesOnExamples(unittest.TestCase):
    """The reader itself: what it must find, and what it must leave alone."""

    GROUND = {"pyliteflux/__init__.py": "", "pyliteflux/errors.py": ""}

    def found(self, file: str, text: str, **more: str) -> list[str]:
        others = {
            "pyliteflux/reactor/__init__.py": "",
            "pyliteflux/reactor/loop.py": "",
            "pyliteflux/app/__init__.py": "",
            "pyliteflux/app/request.py": "",
        }
        return violations({**self.GROUND, **others, **more, file: text})

    def test_the_ground_and_the_own_room_are_allowed(self) -> None:
        text = (
            "import socket\nfrom .loop import READ\nfrom ..errors import X\nfrom .. import errors\n"
        )
        self.assertEqual(self.found("pyliteflux/reactor/transport.py", text), [])

    def test_another_room_is_found_with_file_line_and_rule(self) -> None:
        found = self.found("pyliteflux/protocol/x.py", "import re\nfrom ..reactor.loop import A\n")
        self.assertEqual(len(found), 1)
        self.assertRegex(
            found[0],
            r"^pyliteflux/protocol/x\.py:2: protocol must not import reactor "
            r"\(pyliteflux\.reactor\.loop\)",
        )

    def test_every_spelling_of_an_import_is_read(self) -> None:
        for text in (
            "import pyliteflux.app.request\n",
            "import pyliteflux.app.request as r\n",
            "from pyliteflux.app import request\n",
            "from pyliteflux.app.request import R\n",
            "from ..app import request\n",
            "from .. import app\n",
            "def f():\n    from ..app import request\n",
            "if TYPE_CHECKING:\n    from ..app.request import R\n",
        ):
            with self.subTest(text):
                self.assertEqual(len(self.found("pyliteflux/reactor/x.py", text)), 1)

    def test_the_protocol_may_touch_neither_sockets_nor_clocks_nor_threads(self) -> None:
        for name in ("socket", "select", "selectors", "threading", "time", "asyncio"):
            for text in (f"import {name}\n", f"def f():\n    from {name} import x\n"):
                with self.subTest(text):
                    self.assertEqual(len(self.found("pyliteflux/protocol/x.py", text)), 1)

    def test_the_app_has_no_socket_and_the_front_door_is_for_users(self) -> None:
        self.assertEqual(len(self.found("pyliteflux/app/x.py", "import socket\n")), 1)
        self.assertEqual(len(self.found("pyliteflux/app/x.py", "from .. import Server\n")), 1)
        self.assertEqual(len(self.found("pyliteflux/server/x.py", "import pyliteflux\n")), 1)
        self.assertEqual(self.found("pyliteflux/__main__.py", "from . import Server\n"), [])

    def test_the_client_knows_the_wire_and_nobody_needs_the_client(self) -> None:
        client = "pyliteflux/client/link.py"
        self.assertEqual(self.found(client, "import socket\nfrom ..errors import X\n"), [])
        self.assertEqual(len(self.found(client, "from ..reactor.loop import Reactor\n")), 1)
        self.assertEqual(len(self.found(client, "from .. import Server\n")), 1)
        more = {client: ""}
        text = "from ..client import link\n"
        self.assertEqual(len(self.found("pyliteflux/app/x.py", text, **more)), 1)
        self.assertEqual(
            len(self.found("pyliteflux/x.py", "from .client import link\n", **more)), 1
        )

    def test_the_server_may_import_every_room(self) -> None:
        text = "from ..app.request import R\nfrom ..reactor.loop import L\nimport socket\n"
        self.assertEqual(self.found("pyliteflux/server/server.py", text), [])

    def test_a_package_from_outside_is_found(self) -> None:
        found = self.found(
            "pyliteflux/server/server.py", "try:\n    import uvloop\nexcept E: ...\n"
        )
        self.assertEqual(len(found), 1)
        self.assertIn("server.py:2: uvloop is not in the standard library", found[0])

    def test_an_import_hidden_in_a_call_is_found(self) -> None:
        for call in ("__import__('socket')\n", "importlib.import_module('socket')\n"):
            with self.subTest(call):
                self.assertEqual(len(self.found("pyliteflux/protocol/x.py", call)), 1)
                self.assertEqual(self.found("pyliteflux/__main__.py", call), [])

    def test_a_cycle_is_found_and_named(self) -> None:
        graph = edges(
            {
                "pyliteflux/app/a.py": "from . import b\n",
                "pyliteflux/app/b.py": "def f():\n    from .c import x\n",
                "pyliteflux/app/c.py": "from .a import x\n",
                "pyliteflux/app/d.py": "from .a import x\n",
            }
        )
        names = [name.rpartition(".")[2] for name in cycle(graph)]
        self.assertEqual(names[0], names[-1])
        self.assertEqual(set(names), {"a", "b", "c"})
        index = names.index("a")
        self.assertEqual((names + names[1:])[index + 1], "b")  # in the direction of the imports


# Run by a bare interpreter: -I (no environment, no user site, no cwd), -S (no site-packages).
_IMPORT_QUIETLY = """
import sys, threading, signal, logging
sys.path.insert(0, sys.argv[1])
events = []
sys.addaudithook(lambda name, args: events.append(name))
signals = {number: signal.getsignal(number) for number in signal.valid_signals()}
import pyliteflux
touchy = {"socket.__new__", "socket.bind", "socket.connect", "_thread.start_new_thread",
          "_thread.start_joinable_thread", "os.fork", "subprocess.Popen"}
assert not touchy & set(events), touchy & set(events)
assert threading.active_count() == 1, threading.enumerate()
for number, handler in signals.items():
    assert signal.getsignal(number) == handler, number
loggers = [logging.root] + [logger for logger in logging.root.manager.loggerDict.values()
                            if isinstance(logger, logging.Logger)]
installed = [handler for logger in loggers for handler in logger.handlers
             if not isinstance(handler, logging.NullHandler)]
assert not installed, installed
outside = {name.split(".")[0] for name in sys.modules} - sys.stdlib_module_names
assert outside <= {"pyliteflux", "__main__"}, outside
for name in pyliteflux.__all__:
    value = getattr(pyliteflux, name)
    assert type(value).__name__ != "module", name + " is a module"
"""


class ImportOfThePackage(unittest.TestCase):
    def test_it_starts_no_thread_opens_no_socket_and_installs_no_handler(self) -> None:
        """N1, N2 (no stdlib module among the public names), K2."""
        command = [sys.executable, "-I", "-S", "-W", "error", "-c", _IMPORT_QUIETLY, str(ROOT)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))


if __name__ == "__main__":
    unittest.main()
