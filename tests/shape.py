"""The shape of the package in figures, read from its source: what tests/test_shape.py holds.

A module is given as text, so that the measures can be shown programs that they must refuse.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from tests.test_layers import PACKAGE, edges

_LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Found(NamedTuple):
    """`what` stands in `file`, a path below the package, at `line`."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


@lru_cache(maxsize=512)
def tree_of(text: str) -> ast.Module:
    return ast.parse(text)


def short(file: str) -> str:
    """``pyliteflux/server/hub.py`` -> ``server/hub.py``."""
    return file.removeprefix(f"{PACKAGE}/")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def lines_of_code(text: str) -> int:
    """Count the lines that hold code: no blank line, no comment, no docstring."""
    strings: set[int] = set()
    for node in ast.walk(tree_of(text)):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text and isinstance(node.value.value, str):
            strings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _LAYOUT:
            found.update(range(token.start[0], token.end[0] + 1))
    return len(found - strings)


def classes(sources: dict[str, str]) -> Iterator[tuple[str, ast.ClassDef]]:
    """Yield (file, class) for every class that stands at the top of a module."""
    for file, text in sources.items():
        for node in tree_of(text).body:
            if isinstance(node, ast.ClassDef):
                yield short(file), node


def trains(sources: dict[str, str]) -> dict[str, int]:
    """Return ``file:Class`` -> how many arguments its constructor takes by position."""
    found = {}
    for file, owner in classes(sources):
        for node in owner.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                arguments = node.args
                found[f"{file}:{owner.name}"] = len(arguments.posonlyargs + arguments.args) - 1
    return found


def flags(sources: dict[str, str]) -> dict[str, set[str]]:
    """Return ``file:Class`` -> its attributes that are set to True or False, or annotated bool."""
    found = {}
    for file, owner in classes(sources):
        names: set[str] = set()
        for node in ast.walk(owner):
            if isinstance(node, ast.Assign) and _is_truth(node.value):
                for target in node.targets:
                    names.update(_own_attributes(target))
            elif isinstance(node, ast.AnnAssign) and (
                _is_bool(node.annotation) or (node.value is not None and _is_truth(node.value))
            ):
                names.update(_own_attributes(node.target))
        for node in owner.body:  # Of a NamedTuple or a dataclass.
            if isinstance(node, ast.AnnAssign) and _is_bool(node.annotation):
                if isinstance(node.target, ast.Name):
                    names.add(node.target.id)
        found[f"{file}:{owner.name}"] = names
    return found


def _is_truth(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, bool)


def _is_bool(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "bool"


def _own_attributes(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Tuple):
        for element in target.elts:
            yield from _own_attributes(element)
    elif isinstance(target, ast.Attribute) and _is_name(target.value, "self"):
        yield target.attr


def _is_name(node: ast.expr, *names: str) -> bool:
    return isinstance(node, ast.Name) and node.id in names


def private_names_of(text: str) -> set[str]:
    """Return the private names that a module defines, at its top or in its classes."""
    names = set()
    for node in ast.walk(tree_of(text)):
        if isinstance(node, Definition):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and _is_name(node.value, "self", "cls"):
            if isinstance(node.ctx, ast.Store):
                names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)  # of __slots__
    return {name for name in names if is_private(name)}


def foreign_privates(sources: dict[str, str], context: type[ast.expr_context]) -> list[Found]:
    """Return where a private attribute is read, or stored, that the module does not define."""
    found = []
    for file, text in sources.items():
        own = private_names_of(text)
        for node in ast.walk(tree_of(text)):
            if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, context):
                continue
            if is_private(node.attr) and not _is_name(node.value, "self", "cls"):
                if node.attr not in own:
                    found.append(Found(short(file), node.lineno, ast.unparse(node)))
    return found


def uses_of_any(sources: dict[str, str]) -> int:
    """Count how often ``Any`` is written, imports apart."""
    return sum(
        1
        for text in sources.values()
        for node in ast.walk(tree_of(text))
        if _is_name(node, "Any")  # type: ignore[arg-type]
    )


def documented(sources: dict[str, str]) -> tuple[int, list[Found]]:
    """Return how many public names there are, and those without a docstring.

    Modules, and the classes, functions and methods in them whose names do not begin with ``_``.
    """
    count, missing = 0, []
    for file, text in sources.items():
        tree = tree_of(text)
        count += 1
        if ast.get_docstring(tree) is None and text.strip():
            missing.append(Found(short(file), 1, "the module"))
        for node in _public_definitions(tree):
            count += 1
            if ast.get_docstring(node) is None:
                missing.append(Found(short(file), node.lineno, node.name))
    return count, missing


def _public_definitions(owner: ast.Module | ast.ClassDef) -> Iterator[Definition]:
    for node in owner.body:
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        if any(_is_name(decorator, "overload") for decorator in node.decorator_list):
            continue
        yield node
        if isinstance(node, ast.ClassDef):
            yield from _public_definitions(node)


def defined_twice(sources: dict[str, str]) -> dict[str, list[str]]:
    """Return each public name that two modules define at their top, with the files."""
    where: dict[str, list[str]] = {}
    for file, text in sources.items():
        for node in tree_of(text).body:
            if isinstance(node, Definition) and not node.name.startswith("_"):
                where.setdefault(node.name, []).append(short(file))
    return {name: files for name, files in where.items() if len(set(files)) > 1}


def longest_chain(sources: dict[str, str]) -> list[str]:
    """Return the longest way along imports, from who imports to who is imported."""
    graph = edges(sources)
    longest: dict[str, list[str]] = {}

    def follow(module: str) -> list[str]:
        if module not in longest:
            longest[module] = []  # A cycle ends here; another test names it.
            ways = [follow(other) for other in sorted(graph.get(module, ()))]
            longest[module] = [module, *max(ways, key=len, default=[])]
        return longest[module]

    return max((follow(module) for module in sorted(graph)), key=len, default=[])


def without_mirror(sources: dict[str, str], tests: set[str]) -> list[str]:
    """Return the modules whose test file is missing: ``app/cors.py`` has ``app/test_cors.py``.

    tests: paths below tests/.
    """
    missing = []
    for file in map(short, sources):
        folder, _, name = file.rpartition("/")
        mirror = f"{folder}/test_{name}".lstrip("/")
        if name not in ("__init__.py", "__main__.py") and mirror not in tests:
            missing.append(file)
    return missing


def by_file(found: list[Found]) -> Counter[str]:
    return Counter(one.file for one in found)
