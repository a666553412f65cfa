"""Keep docs and code in step: what `make docs` writes and tests/test_docs.py compares.

    python -m tests.docs_tools            write quotes, outputs and generated parts
    python -m tests.docs_tools --check    write nothing; list what is out of step

The conventions that a page can use:

```python quote=pyliteflux/reactor/waker.py::Waker.drain
    The fence holds this symbol of that file, to the letter, dedented: a function, class,
    method or constant, with its decorators. Without ``::Symbol`` the whole file. A line
    ``# ...`` alone stands for one or more lines left out.

```text output=docs/experiments/03_wake.py
    What this script prints. A line ``...`` alone stands for one or more lines left out.

<!-- generated: config -->  anything  <!-- end -->
    A part drawn from the code; `GENERATORS` below lists the names.

<!-- continues -->  on the line before a ```python block
    It is run with the names that the blocks before it on this page have made.
<!-- fragment -->  on the line before a ```python block
    It is compiled, but not run: it lacks something that only the reader has.

`reactor.loop.Reactor.run_once`, `pyliteflux.Server`, `push/hub.py`, `server.stop()`
    Names and files in running text; they have to exist.

Reads: `pyliteflux/reactor/loop.py`, `timers.py`
    Among the first lines of a chapter: the files it reads, or folders. Each module names its
    chapter in the last line of its docstring, and that chapter has to read the module.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import importlib
import inspect
import io
import logging
import os
import posixpath
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest import mock
from urllib.parse import unquote

from tests import test_layers

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "pyliteflux"
EXPERIMENT_TIMEOUT = 60.0  # seconds
CODE_GAP = "# ..."
OUTPUT_GAP = "..."

# Path -> text, as in `git ls-files`; the text of what is not text is empty.
Tree = dict[str, str]

_TEXT_SUFFIXES = (".py", ".md", ".cfg", ".toml", ".txt", ".patch", ".sh")
_NOT_OURS = ("__pycache__", "build", "dist")
_LEARNERS = "docs/ladder/work"  # what a reader writes there may be half finished


class Problem(NamedTuple):
    """One thing out of step, at ``place``: file:line."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


class DocsError(Exception):
    """A page names something that does not exist."""


def load(root: Path = ROOT) -> Tree:
    """Read the checkout, without hidden folders and what builds leave behind."""
    tree: Tree = {}
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in _NOT_OURS and not name.endswith(".egg-info")
            if Path(folder, name) != root / _LEARNERS
        )
        for name in sorted(files):
            path = Path(folder, name)
            is_text = name.endswith(_TEXT_SUFFIXES) or "." not in name
            text = path.read_text(encoding="utf-8") if is_text else ""
            tree[path.relative_to(root).as_posix()] = text
    return tree


def exists(tree: Tree, path: str) -> bool:
    """Whether a file or a folder of this path is in the tree."""
    path = path.rstrip("/")
    return path in ("", ".") or path in tree or any(name.startswith(path + "/") for name in tree)


def page_paths(tree: Tree) -> list[str]:
    """The pages this module looks after: docs/ and the Markdown files at the top."""
    return sorted(
        path
        for path in tree
        if path.endswith(".md") and ("/" not in path or path.startswith("docs/"))
    )


# -- Reading a page ------------------------------------------------------------------------


class Fence(NamedTuple):
    """A fenced block. first, last: its marker lines, from 1. mark: the comment before it."""

    first: int
    last: int
    indent: str
    language: str
    attributes: dict[str, str]
    body: list[str]
    mark: str


class Part(NamedTuple):
    """A generated part: the lines strictly between its two markers."""

    first: int
    last: int
    name: str
    body: list[str]


class Page:
    """A Markdown page, cut into fences, generated parts and running text."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.lines = text.split("\n")
        self.problems: list[Problem] = []
        fences = list(self._read_fences())
        self.parts = list(self._read_parts(fences))
        inside = {n for part in self.parts for n in range(part.first, part.last + 1)}
        self.fences = [fence for fence in fences if fence.first not in inside]
        fenced = {n for fence in fences for n in range(fence.first, fence.last + 1)}
        # Running text keeps its line numbers; what is fenced or generated is left out.
        self.prose = [
            (number, re.sub(r"<!--.*?-->", "", line))
            for number, line in enumerate(self.lines, 1)
            if number not in fenced and number not in inside
        ]

    def place(self, line: int) -> str:
        return f"{self.path}:{line}"

    def _read_fences(self) -> Iterator[Fence]:
        opening: re.Match[str] | None = None
        first = 0
        for number, line in enumerate(self.lines, 1):
            if opening is None:
                opening = re.fullmatch(r"(\s*)(`{3,}|~{3,})\s*([^`]*)", line)
                first = number
            elif re.fullmatch(rf"\s*{opening[2][0]}{{{len(opening[2])},}}\s*", line):
                yield self._fence(opening, first, number)
                opening = None
        if opening is not None:
            self.problems.append(Problem(self.place(first), "this fence is never closed"))

    def _fence(self, opening: re.Match[str], first: int, last: int) -> Fence:
        indent = opening[1]
        words = opening[3].split()
        attributes = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        body = [line.removeprefix(indent) for line in self.lines[first : last - 1]]
        above = next(
            (line.strip() for line in reversed(self.lines[: first - 1]) if line.strip()), ""
        )
        found = re.fullmatch(r"<!--\s*(\w+)\b.*-->", above)
        return Fence(
            first,
            last,
            indent,
            words[0] if words else "",
            attributes,
            body,
            found[1] if found else "",
        )

    def _read_parts(self, fences: list[Fence]) -> Iterator[Part]:
        fenced = {n for fence in fences for n in range(fence.first, fence.last + 1)}
        first, name = 0, ""
        for number, line in enumerate(self.lines, 1):
            if number in fenced:
                continue
            opening = re.fullmatch(r"\s*<!-- generated: (\S+) -->\s*", line)
            closing = re.fullmatch(r"\s*<!-- end -->\s*", line)
            if opening and not first:
                first, name = number, opening[1]
            elif closing and first:
                yield Part(first, number, name, self.lines[first : number - 1])
                first = 0
            elif opening or closing:
                self.problems.append(Problem(self.place(number), "generated parts do not pair up"))
        if first:
            self.problems.append(Problem(self.place(first), "no `<!-- end -->` follows"))


# -- Quotes: cutting a symbol out, comparing, merging ----------------------------------------


def cut(source: str, symbol: str) -> list[str]:
    """Return the lines of ``Name`` or ``Class.method``, decorators included, dedented.

    Of an overloaded one those of the definition that runs.
    Raises DocsError where the symbol is not there, or there twice.
    """
    lines = source.split("\n")
    node: ast.AST = ast.parse(source)
    for name in symbol.split("."):
        found = [child for child in _definitions(node) if name in _bound_names(child)]
        if len(found) != 1:
            raise DocsError(f"{symbol} is defined {len(found)} times")
        node = found[0]
    assert isinstance(node, ast.stmt) and node.end_lineno is not None
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    indent = lines[first - 1][: node.col_offset]
    return [line.removeprefix(indent) for line in lines[first - 1 : node.end_lineno]]


def _definitions(node: ast.AST) -> Iterator[ast.stmt]:
    """The statements directly in a body, those under ``if`` and ``try`` included."""
    for field in ("body", "orelse", "finalbody", "handlers"):
        for child in getattr(node, field, []):
            if isinstance(child, (ast.If, ast.Try, ast.ExceptHandler)):
                yield from _definitions(child)
            elif isinstance(child, ast.stmt):
                yield child


def _bound_names(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        names = {one.id for one in node.decorator_list if isinstance(one, ast.Name)}
        return set() if "overload" in names else {node.name}
    if isinstance(node, ast.Assign):
        targets: Sequence[ast.expr] = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    else:
        return set()
    return {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}


def quoted_lines(tree: Tree, target: str) -> list[str]:
    """Return what a fence ``quote=target`` has to hold."""
    path, _, symbol = target.partition("::")
    if path not in tree:
        raise DocsError(f"there is no file {path}")
    if not symbol:
        return tree[path].rstrip("\n").split("\n")
    try:
        return cut(tree[path], symbol)
    except DocsError as error:
        raise DocsError(f"{path}: {error}") from None


def _segments(quoted: list[str], gap: str) -> list[list[str]]:
    segments: list[list[str]] = [[]]
    for line in quoted:
        if line.strip() == gap:
            segments.append([])
        else:
            segments[-1].append(line)
    return segments


def matches(quoted: list[str], actual: list[str], gap: str) -> bool:
    """Whether the two are equal to the letter, where a gap stands for one or more lines."""
    first, *rest = _segments(quoted, gap)
    if not rest:
        return quoted == actual
    last = rest.pop()
    if actual[: len(first)] != first or actual[len(actual) - len(last) :] != last:
        return False
    position, end = len(first), len(actual) - len(last)
    for segment in rest:
        position += 1  # what the gap before it stands for
        while position + len(segment) <= end and actual[position:][: len(segment)] != segment:
            position += 1
        if position + len(segment) > end:
            return False
        position += len(segment)
    return position < end


def merged(quoted: list[str], actual: list[str], gap: str) -> list[str]:
    """Return `actual` with the gaps of `quoted` put where they were, as near as can be told."""
    if matches(quoted, actual, gap):
        return quoted
    old: list[str] = []
    gaps: dict[int, str] = {}  # in front of which line of `old`; its text, for the indent
    for line in quoted:
        if line.strip() == gap:
            gaps[len(old)] = line
        else:
            old.append(line)
    result: list[str] = []
    pending = dict(gaps)
    matcher = difflib.SequenceMatcher(None, old, actual, autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            for index in range(i1, i2):
                pending.pop(index, None)  # Nothing is left out here any more.
                result.append(old[index])
            continue
        here = [index for index in sorted(pending) if i1 <= index <= i2]
        if not here:
            result += actual[j1:j2]
            continue
        # The lines of this stretch that stood before and after the gap were changed: keep as
        # many on each side, and leave out what is between.
        head, tail = here[0] - i1, i2 - here[-1]
        middle = actual[j1 + head : j2 - tail]
        result += actual[j1 : j1 + head]
        if middle:
            result.append(pending[here[0]])
        result += actual[max(j1 + head, j2 - tail) : j2]
        for index in here:
            del pending[index]
    return result if matches(result, actual, gap) else list(actual)


def run_script(path: str, root: Path = ROOT) -> list[str]:
    """Run an experiment of the docs and return the lines it printed.

    Raises DocsError where it fails, or does not end in time.
    """
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONIOENCODING": "utf-8"}
    try:
        done = subprocess.run(
            [sys.executable, str(root / path)],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=EXPERIMENT_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise DocsError(f"{path} did not end within {EXPERIMENT_TIMEOUT:.0f} s") from None
    if done.returncode:
        raise DocsError(f"{path} ended with status {done.returncode}:\n{done.stderr}")
    return done.stdout.rstrip("\n").split("\n")


def experiments(tree: Tree) -> list[str]:
    """The scripts of docs/experiments that readers run (not those named with ``_``), and the
    attack that ends each stage of the ladder."""
    return [
        path
        for path in tree
        if re.fullmatch(r"docs/(experiments/[^_/][^/]*|ladder/\d\d_\w+/broken)\.py", path)
    ]


class Outputs:
    """What each experiment prints; each is run once."""

    def __init__(self, run: Callable[[str], list[str]] = run_script) -> None:
        self._run = run
        self._known: dict[str, list[str] | DocsError] = {}

    def prepare(self, paths: Iterable[str]) -> None:
        """Run several at once: most of what they do is wait."""
        fresh = sorted(set(paths) - self._known.keys())
        with ThreadPoolExecutor(max_workers=4) as pool:
            self._known.update(zip(fresh, pool.map(self._outcome, fresh), strict=True))

    def _outcome(self, path: str) -> list[str] | DocsError:
        try:
            return self._run(path)
        except DocsError as error:
            return error

    def lines(self, path: str) -> list[str]:
        self.prepare([path])
        known = self._known[path]
        if isinstance(known, DocsError):
            raise known
        return known


def shown_outputs(pages: Iterable[Page]) -> set[str]:
    """Return the scripts whose output the pages show."""
    return {
        fence.attributes["output"]
        for page in pages
        for fence in page.fences
        if "output" in fence.attributes
    }


def _wanted(fence: Fence, tree: Tree, outputs: Outputs | None) -> tuple[list[str], str] | None:
    """Return the lines a fence has to hold and its gap mark; None where it is not a copy."""
    if "quote" in fence.attributes:
        gap = CODE_GAP if fence.language == "python" else OUTPUT_GAP
        return quoted_lines(tree, fence.attributes["quote"]), gap
    if "output" in fence.attributes and outputs is not None:
        path = fence.attributes["output"]
        if path not in tree:
            raise DocsError(f"there is no file {path}")
        return outputs.lines(path), OUTPUT_GAP
    return None


def copy_problems(page: Page, tree: Tree, outputs: Outputs | None = None) -> list[Problem]:
    """Quotes, and with `outputs` the printed output too, that differ from their source."""
    found = list(page.problems)
    for fence in page.fences:
        target = fence.attributes.get("quote") or fence.attributes.get("output", "")
        try:
            wanted = _wanted(fence, tree, outputs)
        except DocsError as error:
            found.append(Problem(page.place(fence.first), str(error)))
            continue
        if wanted is not None and not matches(fence.body, *wanted):
            lines, _ = wanted
            diff = difflib.unified_diff(fence.body, lines, page.path, target, lineterm="", n=1)
            text = f"{target} differs (`make docs` mends it)\n    " + "\n    ".join(diff)
            found.append(Problem(page.place(fence.first), text))
    return found


def generated_problems(page: Page, tree: Tree) -> list[Problem]:
    """Generated parts that differ from what the code says now."""
    found = []
    for part in page.parts:
        try:
            wanted = generate(part.name, tree)
        except DocsError as error:
            found.append(Problem(page.place(part.first), str(error)))
            continue
        if part.body != wanted:
            diff = difflib.unified_diff(part.body, wanted, page.path, part.name, lineterm="", n=0)
            text = f"{part.name} is out of date (`make docs` mends it)\n    " + "\n    ".join(diff)
            found.append(Problem(page.place(part.first), text))
    return found


def rewritten(page: Page, tree: Tree, outputs: Outputs | None = None) -> str:
    """Return the page's text with its quotes, outputs and generated parts brought up to date."""
    changes: list[tuple[int, int, list[str]]] = []
    for fence in page.fences:
        with contextlib.suppress(DocsError):  # the check that follows names it
            wanted = _wanted(fence, tree, outputs)
            if wanted is not None:
                body = merged(fence.body, *wanted)
                indented = [fence.indent + line if line else "" for line in body]
                if body != fence.body:
                    changes.append((fence.first, fence.last, indented))
    for part in page.parts:
        with contextlib.suppress(DocsError):
            changes.append((part.first, part.last, generate(part.name, tree)))
    lines = list(page.lines)
    for first, last, body in sorted(changes, reverse=True):
        lines[first : last - 1] = body
    return "\n".join(lines)


# -- Generated parts -------------------------------------------------------------------------


def generate(name: str, tree: Tree) -> list[str]:
    """Return the lines of a generated part. ``name`` is a key of GENERATORS, with its argument
    after a colon. Raises DocsError where there is no such part."""
    key, _, argument = name.partition(":")
    if key not in GENERATORS:
        raise DocsError(f"no generated part {key!r}; there are {', '.join(GENERATORS)}")
    return GENERATORS[key](tree, argument)


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DocsError(f"{name} cannot be imported: {error}") from error


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [header, ("---",) * len(header), *rows]
    return ["| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines]


def human(value: Any, allowed: str) -> str:
    """Return a setting's default as a reader writes it: ``64 KiB``, ``10 s``, ``"auto"``."""
    if type(value) not in (int, float):
        return f"`{value!r}`"
    if "number of bytes" in allowed:
        for size, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
            if value and value % size == 0:
                return f"{value // size} {unit}"
        return f"{value} B"
    if "bytes per second" in allowed:
        return f"{value:g} B/s"
    if "milliseconds" in allowed:
        return f"{value:g} ms"
    if "seconds" in allowed:
        return f"{value:g} s"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _config(header: tuple[str, ...]) -> Callable[[Tree, str], list[str]]:
    def table(tree: Tree, argument: str) -> list[str]:
        settings = _module(f"{PACKAGE}.config").SETTINGS
        return _table(
            header,
            [
                (f"`{name}`", human(row.default, row.allowed), row.allowed, row.reason)
                for name, row in settings.items()
            ],
        )

    return table


def error_tree(root: type[BaseException]) -> list[tuple[int, type[BaseException]]]:
    """Return (depth, class) of the root and all below it, in the order they are defined."""
    found: list[tuple[int, type[BaseException]]] = []

    def visit(kind: type[BaseException], depth: int) -> None:
        found.append((depth, kind))
        for child in kind.__subclasses__():
            if child.__module__ == root.__module__:  # not those that users or tests define
                visit(child, depth + 1)

    visit(root, 0)
    return found


def _first_sentence(text: str | None) -> str:
    return re.split(r"(?<=[.!?])\s|\n\n", " ".join((text or "").split("\n\n")[0].split()))[0]


def _errors(tree: Tree, argument: str) -> list[str]:
    rows = error_tree(_module(f"{PACKAGE}.errors").PyLiteFluxError)
    lines = ["```text"]
    for index, (depth, kind) in enumerate(rows):
        later = [other for other, _ in rows[index + 1 :]]
        branch = ""
        for level in range(1, depth + 1):
            # Does another child of the ancestor at this level follow?
            following = next((other for other in later if other <= level), -1)
            more = following == level
            last_level = level == depth
            branch += ("├── " if more else "└── ") if last_level else ("│   " if more else "    ")
        status = kind.__dict__.get("status")
        code = f" ({status})" if isinstance(status, int) else ""
        extra = [base.__name__ for base in kind.__bases__ if base.__module__ == "builtins"]
        also = f", also a {' and '.join(extra)}" if depth and extra else ""
        lines.append(f"{branch}{kind.__name__}{code}{also}")
    return [*lines, "```"]


def _layers(tree: Tree, argument: str) -> list[str]:
    """The rooms and who imports whom; ``layers:ROOM`` the modules of one room."""
    graph = test_layers.edges(
        {path: text for path, text in tree.items() if re.match(PACKAGE + r"/.*\.py$", path)}
    )
    if argument:
        nodes = test_layers.modules_of(argument, graph)
        if not nodes:
            raise DocsError(f"there is no room {argument!r}")
        short = {module: module.rpartition(".")[2] for module in nodes}
        arrows = {(short[m], short[o]) for m in nodes for o in graph[m] if o in short}
        names = sorted(short.values())
    else:
        room_of = test_layers.room_of
        arrows = {(room_of(m), room_of(o)) for m in graph for o in graph[m]}
        arrows = {(a, b) for a, b in arrows if a != b}
        names = [room for room in test_layers.RULES if any(room_of(m) == room for m in graph)]
    drawn = [f"    {name}" for name in names]
    return [
        "```mermaid",
        "flowchart TD",
        *drawn,
        *(f"    {a} --> {b}" for a, b in sorted(arrows)),
        "```",
    ]


def _public_names(tree: Tree, argument: str) -> list[str]:
    package = _module(PACKAGE)
    rows = []
    for name in sorted(package.__all__, key=str.lower):
        value = getattr(package, name)
        documented = value if inspect.isclass(value) or inspect.isroutine(value) else type(value)
        module = getattr(documented, "__module__", "") or ""
        home = f"`{module.removeprefix(PACKAGE + '.')}`" if module.startswith(PACKAGE + ".") else ""
        text = "" if module == "builtins" else _first_sentence(inspect.getdoc(documented))
        rows.append((f"`{name}`", home, text))
    return _table(("Name", "Module", "What it is"), rows)


def _states(tree: Tree, argument: str) -> list[str]:
    """``states:protocol.http_body`` or, for another table, ``states:protocol.framing:NEXT_PART``.

    The first state of the table is where it starts; one without moves is final.
    """
    module_name, _, table_name = argument.partition(":")
    module = _module(f"{PACKAGE}.{module_name}")
    table = getattr(module, table_name or "NEXT", None)
    if not isinstance(table, dict) or not table:
        raise DocsError(f"{module_name} has no table {table_name or 'NEXT'}")
    order = list(table)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {order[0].name}"]
    for state in order:
        if isinstance(state.value, str):
            # Mermaid ends a description at a semicolon or a colon; entity codes pass.
            text = re.sub("[:;]", lambda found: f"#{ord(found[0])};", state.value)
            lines.append(f"    {state.name} : {state.name}<br>{text}")
    for state in order:
        for new in sorted(table[state], key=order.index):
            lines.append(f"    {state.name} --> {new.name}")
        if not table[state]:
            lines.append(f"    {state.name} --> [*]")
    return [*lines, "```"]


def _limits(tree: Tree, argument: str) -> list[str]:
    settings = _module(f"{PACKAGE}.config").SETTINGS
    rows = []
    for row in _module("tests.limits_table").LIMITS:
        pairs = [
            f"`{name}` = {human(default, settings[name].allowed)}"
            for name, default in row.settings.items()
        ]
        rows.append((str(row.number), row.threat, row.answer, ", ".join(pairs)))
    return _table(("", "Threat", "Answer", "Settings"), rows)


def _advisories(tree: Tree, argument: str) -> list[str]:
    rows = []
    for row in _module("tests.limits_table").ADVISORIES:
        tests = ", ".join(f"`{name}`" for name in row.tests)
        rows.append((row.kind, row.happened, row.here, tests))
    return _table(("Kind", "Where it happened", "Here", "Tests"), rows)


def _ground(tree: Tree, argument: str) -> list[str]:
    """The modules beside the rooms, with the first sentence of each."""
    files = [f for f in sorted(tree) if re.fullmatch(PACKAGE + r"/(?!__)\w+\.py", f)]
    rows = [
        (f"`{Path(file).name}`", _first_sentence(ast.get_docstring(ast.parse(tree[file]))))
        for file in files
    ]
    return _table(("Module", "What it is for"), rows)


_IS_LOCK = re.compile(
    r"^ *(?:self\.)?(\w+) = threading\.(?:Lock|RLock|Condition)\(.*?\)(?:  # (.*))?$", re.MULTILINE
)


def _locks(tree: Tree, argument: str) -> list[str]:
    """Every lock of the package, with the comment beside or above it: what it is held for."""
    rows: dict[str, str] = {}
    for file in sorted(tree):
        if not re.fullmatch(PACKAGE + r"/.*\.py", file):
            continue
        text = tree[file]
        for found in _IS_LOCK.finditer(text):
            before = text[: found.start()]
            owners = re.findall(r"^class (\w+)", before, re.MULTILINE)
            is_attribute = found[0].startswith(" ")
            name = [test_layers.module_name(file).removeprefix(f"{PACKAGE}."), found[1]]
            name[1:1] = owners[-1:] if is_attribute else []
            above = re.search(r"(?:^ *# .*\n)+\Z", before, re.MULTILINE)
            reason = found[2] or " ".join(re.findall(r"# (.*)", above[0] if above else ""))
            where = ".".join(name)
            if not reason and where not in rows:
                raise DocsError(f"{where}: a comment beside a lock says what it guards")
            rows.setdefault(where, reason)
    return _table(("Lock", "What it is for"), [(f"`{name}`", rows[name]) for name in rows])


def _close_reasons(tree: Tree, argument: str) -> list[str]:
    reasons = _module(f"{PACKAGE}.why").CloseReason
    levels = _module(f"{PACKAGE}.channels.journal").LEVELS
    rows = [
        (f"`{reason.name}`", reason.value, logging.getLevelName(levels.get(reason, logging.DEBUG)))
        for reason in reasons
    ]
    return _table(("Reason", "Why it closed", "Logged at"), rows)


def _event_kinds(tree: Tree, argument: str) -> list[str]:
    kinds = _module(f"{PACKAGE}.channels.journal").Kind
    return _table(("Event", "What it says"), [(f"`{kind.name}`", kind.value) for kind in kinds])


def _ladder(readme: str, header: tuple[str, ...]) -> Callable[[Tree, str], list[str]]:
    """The stages of the ladder; lines are those that our answer has beyond what is given."""

    def rows(tree: Tree, argument: str) -> list[str]:
        found = []
        for path in tree:
            stage = re.fullmatch(rf"docs/ladder/((\d\d)_\w+)/{re.escape(readme)}", path)
            if not stage:
                continue
            folder = posixpath.dirname(path)
            start, answer, check = (
                tree[f"{folder}/{name}.py"] for name in ("start", "answer", "check")
            )
            title = re.split("[:：]", tree[path].split("\n", 1)[0].removeprefix("# "), maxsplit=1)
            attack = re.search(r'^BREAKS = "(\w+)"', check, re.M)
            changes = difflib.ndiff(start.splitlines(), answer.splitlines())
            lines = sum(line.startswith("+ ") and line != "+ " for line in changes)
            link = f"[{title[0]}]({stage[1]}/{readme})"
            found.append((link, title[-1].strip(), str(lines), attack[1] if attack else ""))
        return _table(header, found)

    return rows


# A new generated part is one line here: name -> function(tree, argument) -> lines.
GENERATORS: dict[str, Callable[[Tree, str], list[str]]] = {
    "close-reasons": _close_reasons,
    "config": _config(("Setting", "Default", "Allowed", "What it is for")),
    "config-zh": _config(("设置", "默认值", "允许的值", "用途")),
    "advisories": _advisories,
    "errors": _errors,
    "event-kinds": _event_kinds,
    "ground": _ground,
    "ladder": _ladder("README.md", ("Stage", "What it is about", "Lines", "Breaks under")),
    "ladder-zh": _ladder("README.zh-CN.md", ("阶段", "主题", "行数", "被什么攻破")),
    "layers": _layers,
    "limits": _limits,
    "locks": _locks,
    "names": _public_names,
    "states": _states,
}


# -- Names in running text ---------------------------------------------------------------------

# What running text calls an object of ours by: `server.stop()` is a method of Server.
INSTANCES = {"server": "server.server.Server", "reactor": "reactor.loop.Reactor"}
_ROOMS = frozenset(test_layers.RULES.keys() - {"ground", "front"})
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_FILE = re.compile(r"[\w.-]+(?:/[\w.*-]+)+\.(?:py|md|cfg)|[\w.-]+(?:/[\w.-]+)*/")


def inline_code(page: Page) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of each `span` of code in the running text."""
    for number, line in page.prose:
        for found in re.finditer(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", line):
            yield number, found[2].strip()


def name_problems(page: Page, tree: Tree) -> list[Problem]:
    """Files and dotted names in running text that do not exist."""
    found = []
    for number, text in inline_code(page):
        if _FILE.fullmatch(text) and not _file_exists(text, page, tree):
            found.append(Problem(page.place(number), f"there is no file or folder `{text}`"))
        name = re.sub(r"\(.*\)$", "", text)
        if _DOTTED.fullmatch(name) and not re.search(r"\.(py|md|cfg|txt)$", name):
            wrong = wrong_name(name, tree)
            if wrong:
                found.append(Problem(page.place(number), f"`{text}`: {wrong}"))
    return found


def _file_exists(text: str, page: Page, tree: Tree) -> bool:
    if "*" in text or text.startswith("."):
        return True  # a pattern, or another place than the checkout
    top = text.split("/")[0]
    known = {path.split("/")[0] for path in tree if "/" in path} | set(_ROOMS)
    if top not in known:
        return not text.endswith(".py")  # `application/` is no folder of ours
    folders = ("", PACKAGE + "/", posixpath.dirname(page.path) + "/")
    return any(exists(tree, (folder + text).lstrip("/")) for folder in folders)


def wrong_name(name: str, tree: Tree) -> str:
    """Return what is wrong with a dotted name of ours, "" where it is right or not ours."""
    parts = name.split(".")
    if parts[0] == PACKAGE:
        if re.search(rf'["\']{re.escape(name)}["\']', _package_text(tree)):
            return ""  # a logger's name
        return _unresolved(parts[1:])
    modules = {path.split("/")[-1].removesuffix(".py") for path in tree if path.startswith(PACKAGE)}
    if parts[0] == "config" and len(parts) == 2:
        settings = _module(f"{PACKAGE}.config").SETTINGS
        return "" if parts[1] in settings else _unresolved(parts)
    if parts[0] in _ROOMS and f"{PACKAGE}/{parts[0]}/{parts[1]}.py" in tree:
        return _unresolved(parts)
    if f"{PACKAGE}/{parts[0]}.py" in tree and parts[1][:1].isupper():
        return _unresolved(parts)  # `errors.HTTPError`; but `headers.get` is somebody's object
    if parts[0] in INSTANCES:
        return _unresolved([*INSTANCES[parts[0]].split("."), parts[1]])
    if parts[0] in _ROOMS and parts[1] in modules:
        return f"{parts[0]} has no module {parts[1]}"
    if parts[0][:1].isupper():
        owner = _public_class(parts[0])
        return _missing_attribute(owner, parts[1]) if owner is not None else ""
    return ""


def _package_text(tree: Tree) -> str:
    return "\n".join(text for path, text in tree.items() if path.startswith(PACKAGE + "/"))


def _public_class(name: str) -> Any:
    package = _module(PACKAGE)
    value = getattr(package, name, None) if name in getattr(package, "__all__", ()) else None
    return value if inspect.isclass(value) else None


def _unresolved(parts: list[str]) -> str:
    """Follow a path from the package on: modules as far as they go, then attributes."""
    value: Any = _module(PACKAGE)
    module = PACKAGE
    for part in parts:
        if inspect.ismodule(value):
            with contextlib.suppress(ImportError):
                importlib.import_module(f"{module}.{part}")
            module += "." + part
        wrong = _missing_attribute(value, part)
        if wrong:
            return wrong
        value = getattr(value, part, None)
        if value is None:
            return ""  # set per instance, or really None: nothing to follow
    return ""


def _missing_attribute(owner: Any, name: str) -> str:
    if hasattr(owner, name):
        return ""
    kind = owner if inspect.isclass(owner) else type(owner)
    for base in kind.__mro__:
        if name in getattr(base, "__annotations__", {}) or name in getattr(base, "__slots__", ()):
            return ""
        if base.__module__.startswith(PACKAGE):
            with contextlib.suppress(OSError, TypeError):
                if re.search(rf"\bself\.{name}\b[^=\n(]*=[^=]", inspect.getsource(base)):
                    return ""
    return f"{getattr(owner, '__name__', kind.__name__)} has no {name!r}"


# -- Links -------------------------------------------------------------------------------------

_LINK = re.compile(r"!?\[[^\]]*\]\(<?([^()\s>]+(?:\([^()\s]*\))?)>?(?:\s+\"[^\"]*\")?\)")
_REFERENCE = re.compile(r"^\s{0,3}\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)")


def links(page: Page) -> Iterator[tuple[int, str]]:
    """Yield (line, target) of every link of the running text and of generated parts."""
    generated = [line for part in page.parts for line in enumerate(part.body, part.first + 1)]
    for number, line in [*page.prose, *generated]:
        line = re.sub(r"(`+).+?\1", lambda found: "`" + "_" * (len(found[0]) - 2) + "`", line)
        for found in _LINK.finditer(line):
            yield number, found[1]
        reference = _REFERENCE.match(line)
        if reference:
            yield number, reference[1]


def anchors(page: Page) -> set[str]:
    """The anchors of a page as code hosts make them from its headings."""
    found: set[str] = set()
    counts: dict[str, int] = {}
    for _, line in page.prose:
        found.update(re.findall(r"<a\s+(?:id|name)=\"([^\"]+)\"", line))
        heading = re.match(r"#{1,6}\s+(.*?)\s*#*\s*$", line)
        if heading:
            text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
            text = re.sub(r"[^\w\- ]", "", text.replace("`", "").lower())
            slug = text.replace(" ", "-")
            count = counts.get(slug, 0)
            counts[slug] = count + 1
            found.add(f"{slug}-{count}" if count else slug)
    return found


def _is_external(target: str) -> bool:
    return bool(re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", target))


def resolve_link(page: Page, target: str) -> str:
    """Return the path that a relative link of this page leads to, without its anchor."""
    path = unquote(target.partition("#")[0])
    if not path:
        return page.path
    return posixpath.normpath(posixpath.join(posixpath.dirname(page.path), path))


def link_problems(page: Page, tree: Tree) -> list[Problem]:
    """Relative links whose file or anchor does not exist."""
    found = []
    for number, target in links(page):
        if _is_external(target):
            continue
        path = resolve_link(page, target)
        anchor = unquote(target.partition("#")[2])
        if target.startswith("/") or path.startswith(".."):
            wrong = "leads out of the checkout: write it relative to this page"
        elif path != page.path and not exists(tree, path):
            wrong = f"there is no {path}"
        elif (
            anchor
            and path.endswith(".md")
            and anchor not in anchors(page if path == page.path else Page(path, tree[path]))
        ):
            wrong = f"{path} has no heading for #{anchor}"
        elif anchor and not path.endswith(".md"):
            wrong = "line numbers drift: quote the symbol instead"
        else:
            continue
        found.append(Problem(page.place(number), f"link {target}: {wrong}"))
    return found


def unreachable(tree: Tree, start: str = "docs/README.md") -> list[str]:
    """The pages of docs/ that no chain of links from the start reaches."""
    seen: set[str] = set()
    todo = [start] if start in tree else []
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        page = Page(path, tree[path])
        for _, target in links(page):
            other = "" if _is_external(target) else resolve_link(page, target)
            # A link to a folder shows its README.
            for name in (other, posixpath.join(other, "README.md")):
                if name.endswith(".md") and name in tree:
                    todo.append(name)
    return [path for path in page_paths(tree) if path.startswith("docs/") and path not in seen]


# -- Chapters and modules ------------------------------------------------------------------------

_CHAPTER_LINE = re.compile(r"(?:.* )?Chapter: (docs/[\w./-]+\.md)\.")
_READS = re.compile(r"^\W*(?:Reads|阅读|本章阅读)\b[\s:：*]*(.*)")
_HEAD_LINES = 15  # "Reads:" stands among the first lines of a chapter


def is_chapter(path: str) -> bool:
    """Whether a page is a chapter by its name: ``docs/03-waker.md``."""
    return bool(re.match(r"docs/(?:[\w-]+/)?\d\d[\w-]*\.md$", path))


def reads(page: Page) -> tuple[int, list[str]]:
    """Return the line of "Reads:" (0: there is none) and the files named there.

    A bare name is a file of the same folder as the one before it. The list may go on in the
    next lines, up to an empty one.
    """
    for index, (number, line) in enumerate(page.prose):
        if number > _HEAD_LINES:
            break
        found = _READS.match(line)
        if found:
            text = found[1]
            for _, more in page.prose[index + 1 :]:
                if not more.strip():
                    break
                text += " " + more
            files: list[str] = []
            folder = ""
            for name in re.findall(r"`([^`]+)`", text):
                if "/" not in name and folder:
                    name = f"{folder}/{name}"
                folder = posixpath.dirname(name.rstrip("/")) if "/" in name else folder
                files.append(name)
            return number, files
    return 0, []


def _read_path(tree: Tree, name: str) -> str | None:
    name = name.rstrip("/")
    return next((p for p in (name, f"{PACKAGE}/{name}") if exists(tree, p)), None)


def chapter_problems(tree: Tree) -> list[Problem]:
    """Modules without a chapter, chapters that do not exist or do not read their modules."""
    found = []
    homes: dict[str, str] = {}
    for path, text in tree.items():
        if not re.match(PACKAGE + r"/.*\.py$", path):
            continue
        last = (ast.get_docstring(ast.parse(text, path)) or "").strip().split("\n")[-1]
        named = _CHAPTER_LINE.fullmatch(last)
        if named is None:
            found.append(
                Problem(f"{path}:1", 'the docstring must end with "Chapter: docs/NAME.md."')
            )
        elif named[1] not in tree:
            found.append(Problem(f"{path}:1", f"its chapter {named[1]} does not exist"))
        else:
            homes[path] = named[1]
    listed: dict[str, list[str]] = {}
    for path in page_paths(tree):
        page = Page(path, tree[path])
        number, names = reads(page)
        if not number:
            if is_chapter(path) or path in homes.values():
                text = f'the first {_HEAD_LINES} lines must say "Reads: `file`, `file`"'
                found.append(Problem(page.place(1), text))
            continue
        for name in names:
            target = _read_path(tree, name)
            if target is None:
                found.append(Problem(page.place(number), f"it reads `{name}`, which is not there"))
            else:
                listed.setdefault(path, []).append(target)
    for module, chapter in homes.items():
        if chapter in listed and not any(
            module == target or module.startswith(target + "/") for target in listed[chapter]
        ):
            text = f'{module} names this chapter, but its "Reads:" line does not name {module}'
            found.append(Problem(f"{chapter}:1", text))
    return found


def glossary_problems(tree: Tree, path: str = "docs/glossary.md") -> list[Problem]:
    """Entries ``- **word** ... [link](chapter.md)`` without a link, or whose chapter does not
    set the word in bold."""
    if path not in tree:
        return []
    found = []
    page = Page(path, tree[path])
    targets: dict[int, list[str]] = {}
    for number, target in links(page):
        targets.setdefault(number, []).append(target)
    for number, line in page.prose:
        entry = re.match(r"[-*] \*\*(.+?)\*\*", line)
        if not entry:
            continue
        mine: list[str] = list(targets.get(number, []))
        for more, text in page.prose:
            if more > number:
                if not text.startswith("  "):
                    break
                mine += targets.get(more, [])
        inner = [resolve_link(page, target) for target in mine if not _is_external(target)]
        chapters = [name for name in inner if name in tree and name.endswith(".md")]
        if not mine:
            found.append(Problem(page.place(number), f"{entry[1]}: no link"))
        elif chapters and not any(
            f"**{entry[1].lower()}**" in tree[name].lower() for name in chapters
        ):
            text = f"{entry[1]} is not bold in {', '.join(chapters)}"
            found.append(Problem(page.place(number), text))
    return found


# -- Blocks of code ------------------------------------------------------------------------------


def code_blocks(page: Page) -> list[Fence]:
    """The Python of a page that is its own and not a quote."""
    return [
        fence
        for fence in page.fences
        if fence.language == "python" and "quote" not in fence.attributes
    ]


def compile_problems(page: Page) -> list[Problem]:
    """Blocks of Python that do not compile."""
    found = []
    for fence in code_blocks(page):
        try:
            _compile(fence, page)
        except SyntaxError as error:
            found.append(Problem(page.place(error.lineno or fence.first), f"{error.msg}"))
    return found


def _compile(fence: Fence, page: Page) -> Any:
    # Empty lines in front, so that a traceback names the line of the page.
    source = "\n" * fence.first + "\n".join(fence.body) + "\n"
    return compile(source, page.path, "exec", dont_inherit=True)


def run_problems(page: Page) -> list[Problem]:
    """Run the blocks of a page and return those that raise.

    ``server.run()`` serves in the background, on free ports, until the block's chain of
    continuations has ended; each chain has its own default router and its own folder.
    """
    found: list[Problem] = []
    for chain in _chains(page):
        names: dict[str, Any] = {"__name__": "__main__"}
        with _sandbox():
            for fence in chain:
                try:
                    exec(_compile(fence, page), names)
                except Exception as error:
                    line = fence.first
                    trace = error.__traceback__
                    while trace is not None:
                        if trace.tb_frame.f_code.co_filename == page.path:
                            line = trace.tb_lineno
                        trace = trace.tb_next
                    found.append(Problem(page.place(line), f"{type(error).__name__}: {error}"))
                    break
    return found


def _chains(page: Page) -> list[list[Fence]]:
    chains: list[list[Fence]] = []
    for fence in code_blocks(page):
        if fence.mark == "fragment":
            continue
        if fence.mark == "continues" and chains:
            chains[-1].append(fence)
        else:
            chains.append([fence])
    return chains


@contextlib.contextmanager
def _sandbox() -> Iterator[None]:
    """Servers on free ports in the background, a fresh default router, an empty folder."""
    from pyliteflux import Route, Router, Server

    started: list[Any] = []
    start = Server.start

    def start_on_free_ports(self: Any, protocol: str = "both", **config: Any) -> Any:
        config.update(http_port=0, tcp_port=0, info=False)
        result = start(self, protocol, **config)
        started.append(self)
        return result

    before = os.getcwd()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(Server, "start", start_on_free_ports))
        stack.enter_context(mock.patch.object(Server, "run", start_on_free_ports))
        stack.enter_context(mock.patch.object(Route, "default", Router()))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        os.chdir(folder)
        stack.callback(os.chdir, before)
        try:
            yield
        finally:
            for server in started:
                server.stop()


# -- All of it -------------------------------------------------------------------------------------


def all_problems(tree: Tree, outputs: Outputs | None = None) -> list[Problem]:
    """Everything that is out of step, except blocks that fail when run."""
    found = chapter_problems(tree) + glossary_problems(tree)
    if "docs/README.md" not in tree:
        found.append(Problem("docs/README.md:1", "this page is missing"))
    found += [Problem(f"{path}:1", "no link leads here") for path in unreachable(tree)]
    for path in page_paths(tree):
        page = Page(path, tree[path])
        found += copy_problems(page, tree, outputs)
        found += generated_problems(page, tree)
        found += link_problems(page, tree)
        found += compile_problems(page)
        if path != "CHANGELOG.md":  # which names what is gone
            found += name_problems(page, tree)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.docs_tools", description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    tree = load()
    outputs = Outputs()
    scripts = shown_outputs(Page(path, tree[path]) for path in page_paths(tree))
    outputs.prepare(path for path in scripts if path in tree)
    if not options.check:
        for path in page_paths(tree):
            text = rewritten(Page(path, tree[path]), tree, outputs)
            if text != tree[path]:
                (ROOT / path).write_text(text, encoding="utf-8", newline="\n")
                tree[path] = text
                print(f"wrote {path}")
    found = all_problems(tree, outputs)
    for problem in found:
        print(problem)
    pages = len(page_paths(tree))
    print(
        f"docs: {pages} pages, {f'{len(found)} out of step' if found else 'in step with the code'}"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
