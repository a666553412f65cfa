"""The docs say what the code does: quotes, names, links, generated parts, examples.

The first class checks the real pages; the others check the checker, on pages made up here.
The conventions are described in tests/docs_tools.py; `make docs` mends what can be mended.
"""

from __future__ import annotations

import ast
import re
import tempfile
import textwrap
import unittest
from collections.abc import Iterable
from pathlib import Path

from tests import docs_tools
from tests.docs_tools import CODE_GAP, DocsError, Fence, Outputs, Page, Tree

READMES = ("README.md", "README.zh-CN.md", "docs/tcp.md")


class TheRealPages(unittest.TestCase):
    maxDiff = 0  # the message below says it better
    tree: Tree
    pages: list[Page]

    @classmethod
    def setUpClass(cls) -> None:
        cls.tree = docs_tools.load()
        cls.pages = [Page(path, cls.tree[path]) for path in docs_tools.page_paths(cls.tree)]

    def none(self, problems: Iterable[object]) -> None:
        lines = texts(problems)
        self.assertEqual(lines, "", f"\n{lines}\n(`make docs` mends quotes and generated parts)")

    def test_the_book_has_a_first_page(self) -> None:
        self.assertTrue("docs/README.md" in self.tree, "docs/README.md is missing")

    def test_quotes_are_the_code_to_the_letter(self) -> None:
        self.none(p for page in self.pages for p in docs_tools.copy_problems(page, self.tree))

    def test_generated_parts_are_up_to_date(self) -> None:
        self.none(p for page in self.pages for p in docs_tools.generated_problems(page, self.tree))

    def test_names_and_files_in_running_text_exist(self) -> None:
        pages = [page for page in self.pages if page.path != "CHANGELOG.md"]
        self.none(p for page in pages for p in docs_tools.name_problems(page, self.tree))

    def test_links_and_their_anchors_exist(self) -> None:
        self.none(p for page in self.pages for p in docs_tools.link_problems(page, self.tree))

    def test_every_page_is_reached_from_the_first_one(self) -> None:
        self.none(docs_tools.unreachable(self.tree))

    def test_every_module_has_a_chapter_and_every_chapter_says_what_it_reads(self) -> None:
        self.none(docs_tools.chapter_problems(self.tree))

    def test_the_words_of_the_glossary_lead_to_where_they_are_bold(self) -> None:
        self.none(docs_tools.glossary_problems(self.tree))

    def test_blocks_of_code_compile(self) -> None:
        self.none(p for page in self.pages for p in docs_tools.compile_problems(page))

    def test_the_code_of_the_readmes_runs(self) -> None:
        for path in READMES:
            if path in self.tree:
                with self.subTest(path):
                    self.none(docs_tools.run_problems(Page(path, self.tree[path])))

    def test_experiments_print_what_the_chapters_say(self) -> None:
        outputs = Outputs()
        outputs.prepare(docs_tools.shown_outputs(self.pages))
        shown = set()
        for page in self.pages:
            for fence in page.fences:
                if "output" in fence.attributes:
                    shown.add(fence.attributes["output"])
                    only = Page(page.path, page.text)
                    only.fences = [fence]
                    with self.subTest(page.place(fence.first)):
                        self.none(docs_tools.copy_problems(only, self.tree, outputs))
        hidden = set(docs_tools.experiments(self.tree)) - shown
        self.assertEqual(hidden, set(), "no page shows what these print")

    def test_the_tree_drawn_in_errors_py_is_the_real_one(self) -> None:
        docstring = ast.get_docstring(ast.parse(self.tree["pyliteflux/errors.py"])) or ""
        drawn = [
            (len(found[1]) // 4, found[2])
            for found in re.finditer(r"^    ((?:[│├└─ ]{4})*)(\w+)(?= |$)", docstring, re.M)
        ]
        from pyliteflux.errors import PyLiteFluxError

        real = docs_tools.error_tree(PyLiteFluxError)
        self.assertEqual(drawn, [(depth, kind.__name__) for depth, kind in real])


def page_of(text: str, path: str = "docs/x.md") -> Page:
    return Page(path, textwrap.dedent(text).strip("\n") + "\n")


def texts(problems: Iterable[object]) -> str:
    return "\n".join(str(problem) for problem in problems)


SOURCE = '''\
"""Doc."""
LIMIT = 4  # bytes
TABLE: dict[str, int] = {
    "a": 1,
}
A, B = 1, 2


@decorate
@again(1)
def function(
    x: int,
) -> int:
    """Text."""
    first = x

    second = first
    third = second
    return third


class Waker:
    """Wakes."""

    SIZE = 1

    def drain(self) -> None:
        self.x = """
flush left"""


if TABLE:
    def under_if(): pass
else:
    TWICE = 1
TWICE = 2
'''


class CuttingASymbol(unittest.TestCase):
    def check(self, symbol: str, text: str) -> None:
        self.assertEqual(docs_tools.cut(SOURCE, symbol), text.split("\n"))

    def test_constants_annotated_or_not(self) -> None:
        self.check("LIMIT", "LIMIT = 4  # bytes")
        self.check("TABLE", 'TABLE: dict[str, int] = {\n    "a": 1,\n}')
        self.check("B", "A, B = 1, 2")

    def test_a_function_comes_with_its_decorators(self) -> None:
        lines = docs_tools.cut(SOURCE, "function")
        self.assertEqual(lines[0], "@decorate")
        self.assertEqual(lines[-1], "    return third")

    def test_a_method_is_dedented_and_its_strings_stay_whole(self) -> None:
        self.check("Waker.drain", 'def drain(self) -> None:\n    self.x = """\nflush left"""')
        self.check("Waker.SIZE", "SIZE = 1")

    def test_a_definition_under_if_is_found(self) -> None:
        self.check("under_if", "def under_if(): pass")

    def test_what_is_missing_or_there_twice_is_refused(self) -> None:
        for symbol in ("nothing", "Waker.nothing", "LIMIT.x", "TWICE", "Waker.drain.x"):
            with self.subTest(symbol), self.assertRaises(DocsError):
                docs_tools.cut(SOURCE, symbol)


class ComparingAQuote(unittest.TestCase):
    ACTUAL = "a b c d e f".split()

    def matches(self, quoted: str) -> bool:
        return docs_tools.matches(
            [CODE_GAP if line == "~" else line for line in quoted.split()], self.ACTUAL, CODE_GAP
        )

    def test_without_a_gap_every_letter_counts(self) -> None:
        self.assertTrue(self.matches("a b c d e f"))
        for quoted in ("a b c d e", "a b c d e F", "a b c d e f g", "b c d e f", ""):
            self.assertFalse(self.matches(quoted), quoted)

    def test_a_gap_stands_for_one_line_or_more(self) -> None:
        for quoted in ("a ~ f", "~ f", "a ~", "~", "a ~ c ~ f", "a b ~ e f", "~ b ~ d ~"):
            self.assertTrue(self.matches(quoted), quoted)

    def test_lines_around_gaps_must_be_there_in_order(self) -> None:
        for quoted in (
            "a ~ x ~ f",
            "a ~ d ~ c ~ f",
            "~ a",
            "f ~",
            "b ~ f",
            "a ~ e",
            "a b c ~ d e f",  # nothing is left out
            "a b c d ~ d e f",  # and nothing twice
            "a b c d e f ~",
        ):
            self.assertFalse(self.matches(quoted), quoted)

    def test_a_gap_may_be_indented(self) -> None:
        self.assertTrue(
            docs_tools.matches(
                ["def f():", "    # ...", "    x"], ["def f():", "1", "    x"], CODE_GAP
            )
        )


class MendingAQuote(unittest.TestCase):
    def merged(self, quoted: str, actual: str) -> str:
        lines = [CODE_GAP if line == "~" else line for line in quoted.split()]
        result = docs_tools.merged(lines, actual.split(), CODE_GAP)
        self.assertTrue(docs_tools.matches(result, actual.split(), CODE_GAP))
        return " ".join("~" if line == CODE_GAP else line for line in result)

    def test_a_quote_in_step_is_left_alone(self) -> None:
        self.assertEqual(self.merged("a ~ c", "a b c"), "a ~ c")

    def test_a_quote_without_gaps_becomes_the_code(self) -> None:
        self.assertEqual(self.merged("a b c", "a x c d"), "a x c d")

    def test_changed_lines_are_written_and_gaps_kept(self) -> None:
        self.assertEqual(self.merged("a b ~ d e", "a B 1 2 3 d e"), "a B ~ d e")
        self.assertEqual(self.merged("a b ~ d e", "a b 1 2 3 d E"), "a b ~ d E")
        self.assertEqual(self.merged("a ~ c d ~ f", "a b c D e f"), "a ~ c D ~ f")

    def test_a_gap_with_nothing_left_to_hide_goes(self) -> None:
        self.assertEqual(self.merged("a b ~ c d", "a b c D"), "a b c D")


class APage(unittest.TestCase):
    def test_a_drifted_quote_is_found_and_mended(self) -> None:
        tree = {"m.py": "def f():\n    return 2\n"}
        text = """
            Before.

            1. In a list:

               ```python quote=m.py::f
               def f():
                   return 1
               ```

            After.
            """
        page = page_of(text)
        self.assertIn("docs/x.md:5: m.py::f differs", texts(docs_tools.copy_problems(page, tree)))
        mended = Page(page.path, docs_tools.rewritten(page, tree))
        self.assertEqual(docs_tools.copy_problems(mended, tree), [])
        self.assertEqual(mended.text, page.text.replace("return 1", "return 2"))

    def test_a_quote_of_nothing_is_found(self) -> None:
        page = page_of("```python quote=m.py::g\n```\n\n```python quote=n.py\n```")
        found = texts(docs_tools.copy_problems(page, {"m.py": "f = 1\n"}))
        self.assertIn("docs/x.md:1: m.py: g is defined 0 times", found)
        self.assertIn("docs/x.md:4: there is no file n.py", found)

    def test_an_unclosed_fence_or_part_is_found(self) -> None:
        self.assertIn(
            "never closed", texts(docs_tools.copy_problems(page_of("```python\nx\n"), {}))
        )
        page = page_of("<!-- generated: config -->\n")
        self.assertIn("<!-- end -->", texts(docs_tools.copy_problems(page, {})))

    def test_longer_fences_hold_shorter_ones(self) -> None:
        page = page_of("````markdown\n```python quote=nowhere.py\n```\n````\n")
        self.assertEqual([fence.language for fence in page.fences], ["markdown"])

    def test_printed_output_is_compared_and_a_failing_script_reported(self) -> None:
        tree = {"docs/experiments/a.py": "", "docs/experiments/b.py": ""}

        def run(path: str) -> list[str]:
            if path.endswith("b.py"):
                raise DocsError("b.py ended with status 1")
            return ["one", "two", "three"]

        page = page_of(
            """
            ```text output=docs/experiments/a.py
            one
            ...
            three
            ```
            ```text output=docs/experiments/a.py
            one
            TWO
            three
            ```
            ```text output=docs/experiments/b.py
            ```
            """
        )
        found = docs_tools.copy_problems(page, tree, Outputs(run))
        self.assertEqual([problem.place for problem in found], ["docs/x.md:6", "docs/x.md:11"])
        self.assertIn("two", docs_tools.rewritten(page, tree, Outputs(run)))

    def test_a_real_script_is_run_and_its_failure_told(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "good.py").write_text("print('一')\nprint('two')\n", encoding="utf-8")
            Path(folder, "bad.py").write_text("raise SystemExit('why')\n", encoding="utf-8")
            self.assertEqual(docs_tools.run_script("good.py", Path(folder)), ["一", "two"])
            with self.assertRaisesRegex(DocsError, "status 1:\nwhy"):
                docs_tools.run_script("bad.py", Path(folder))

    def test_experiments_are_the_scripts_without_an_underscore(self) -> None:
        tree = dict.fromkeys(
            ("docs/experiments/01_a.py", "docs/experiments/_b.py", "docs/c.py"), ""
        )
        self.assertEqual(docs_tools.experiments(tree), ["docs/experiments/01_a.py"])


class GeneratedParts(unittest.TestCase):
    def test_a_stale_part_is_found_and_mended_and_the_rest_untouched(self) -> None:
        tree = docs_tools.load()
        for name in ("config", "config-zh", "errors", "layers", "layers:reactor"):
            with self.subTest(name):
                page = page_of(f"Before.\n<!-- generated: {name} -->\nstale\n<!-- end -->\nAfter.")
                self.assertEqual(len(docs_tools.generated_problems(page, tree)), 1)
                mended = Page(page.path, docs_tools.rewritten(page, tree))
                self.assertEqual(docs_tools.generated_problems(mended, tree), [])
                self.assertEqual(mended.lines[0], "Before.")
                self.assertEqual(mended.lines[-2:], ["After.", ""])

    def test_an_unknown_part_is_found(self) -> None:
        page = page_of("<!-- generated: colours -->\n<!-- end -->\n")
        self.assertIn("no generated part 'colours'", texts(docs_tools.generated_problems(page, {})))

    def test_the_table_of_settings_has_a_row_for_each(self) -> None:
        from pyliteflux.config import SETTINGS

        lines = docs_tools.generate("config", {})
        self.assertEqual(len(lines), len(SETTINGS) + 2)
        row = next(line for line in lines if line.startswith("| `recv_size` |"))
        self.assertEqual(row.split(" | ")[1], "64 KiB")
        self.assertEqual(docs_tools.generate("config-zh", {})[2:], lines[2:])

    def test_values_are_written_for_people(self) -> None:
        for value, allowed, text in (
            (65536, "a number of bytes from 1", "64 KiB"),
            (10 << 20, "a number of bytes", "10 MiB"),
            (256, "a number of bytes from 1", "256 B"),
            (0, "a number of bytes", "0 B"),
            (256, "bytes per second, 0 for no limit", "256 B/s"),
            (0.1, "seconds, more than 0", "0.1 s"),
            (30.0, "seconds, more than 0", "30 s"),
            (5, "milliseconds from 1", "5 ms"),
            (8000, "0 to 65535", "8000"),
            (True, "True or False", "`True`"),
            ("auto", "auto, always or never", "`'auto'`"),
        ):
            self.assertEqual(docs_tools.human(value, allowed), text)

    def test_the_error_tree_is_drawn_with_its_branches(self) -> None:
        lines = docs_tools.generate("errors", {})
        self.assertEqual(lines[1], "PyLiteFluxError")
        self.assertEqual(lines[2], "├── ProtocolError (400)")
        self.assertIn("│   ├── HeadTooLarge (431)", lines)
        self.assertIn("│   └── BadMessage", lines)
        self.assertIn("├── RouteError, also a ValueError", lines)
        self.assertTrue(lines[-2].startswith("└── "), lines[-2])

    def test_layers_are_drawn_from_the_imports(self) -> None:
        tree = {
            "pyliteflux/errors.py": "",
            "pyliteflux/reactor/loop.py": "from ..errors import X\nfrom .timers import Y\n",
            "pyliteflux/reactor/timers.py": "",
            "pyliteflux/server/server.py": "from ..reactor.loop import Z\n",
        }
        rooms = docs_tools.generate("layers", tree)
        self.assertIn("    server --> reactor", rooms)
        self.assertIn("    reactor --> ground", rooms)
        self.assertNotIn("    reactor --> reactor", rooms)
        self.assertIn("    loop --> timers", docs_tools.generate("layers:reactor", tree))
        with self.assertRaises(DocsError):
            docs_tools.generate("layers:attic", tree)

    def test_a_state_diagram_is_drawn_from_the_table(self) -> None:
        lines = docs_tools.generate("states:protocol.http_body", {})
        self.assertEqual(lines[:3], ["```mermaid", "stateDiagram-v2", "    [*] --> SIZE"])
        for line in ("    SIZE --> DATA", "    TRAILERS --> COMPLETE", "    COMPLETE --> [*]"):
            self.assertIn(line, lines)
        lines = docs_tools.generate("states:protocol.scanners:NEXT_PART", {})
        self.assertEqual(lines[1], "stateDiagram-v2")
        for name in ("states:protocol.nothing", "states:errors"):
            with self.subTest(name), self.assertRaises(DocsError):
                docs_tools.generate(name, {})

    def test_a_lock_comes_with_the_comment_that_says_why(self) -> None:
        beside = "class A:\n    def f(self):\n        self._lock = threading.Lock()  # Guards x.\n"
        above = "# Guards\n# both.\n_lock = threading.RLock()\n"
        tree = {"pyliteflux/app/a.py": beside, "pyliteflux/b.py": above}
        self.assertEqual(
            docs_tools.generate("locks", tree)[2:],
            ["| `app.a.A._lock` | Guards x. |", "| `b._lock` | Guards both. |"],
        )
        bare = beside.replace("  # Guards x.", "")
        with self.assertRaisesRegex(DocsError, r"app\.a\.A\._lock: a comment"):
            docs_tools.generate("locks", {"pyliteflux/app/a.py": bare})

    def test_the_ground_is_every_module_beside_the_rooms(self) -> None:
        tree = {
            f"pyliteflux/{file}": '"""One thing. More of it."""\n'
            for file in ("__init__.py", "__main__.py", "errors.py", "app/request.py")
        }
        self.assertEqual(docs_tools.generate("ground", tree)[2:], ["| `errors.py` | One thing. |"])


class NamesInRunningText(unittest.TestCase):
    tree: Tree

    @classmethod
    def setUpClass(cls) -> None:
        cls.tree = docs_tools.load()

    def found(self, text: str) -> list[docs_tools.Problem]:
        return docs_tools.name_problems(page_of(text), self.tree)

    def test_what_exists_is_accepted(self) -> None:
        for text in (
            "`reactor.loop.Reactor`, `reactor.waker.Waker.drain()`",
            "`pyliteflux.errors.HTTPError`, `errors.HTTPError`, `pyliteflux.config.SETTINGS`",
            "`reactor/waker.py`, `pyliteflux/reactor/waker.py`, `pyliteflux/protocol/`, `tests/`",
            "`config.http_port`, `pyliteflux.server`",
            "`reactor.waker.Waker._near`",  # a slot
        ):
            with self.subTest(text):
                self.assertEqual(self.found(text), [])

    def test_what_does_not_exist_is_found_with_its_line(self) -> None:
        for text in (
            "`reactor.waker.Waker.drian`",
            "`reactor.waker.Waker.drian()`",
            "`reactor.sleeper.Waker`",
            "`pyliteflux.errors.HTTPErorr`",
            "`errors.HTTPErorr`",
            "`reactor/sleeper.py`",
            "`pyliteflux/attic/`",
            "`tests/test_nothing.py`",
            "`config.http_prot`",
        ):
            with self.subTest(text):
                found = self.found(f"first line\n{text}\n")
                self.assertEqual([problem.place for problem in found], ["docs/x.md:2"])

    def test_what_is_not_ours_is_left_alone(self) -> None:
        for text in (
            "`socket.socket.recv`, `os.fork()`, `request.user`, `hello.py`, `application/json`",
            "`x.y`, `Cache-Control`, `http://127.0.0.1:8000/`, `/user/{id}`, `*.py`",
            "```\n`reactor.loop.Nothing`\n```\n",
            "<!-- `reactor.loop.Nothing` -->",
        ):
            with self.subTest(text):
                self.assertEqual(self.found(text), [])


class LinksBetweenPages(unittest.TestCase):
    TREE = {
        "README.md": "# A",
        "docs/README.md": "# Docs\n[next](01-a.md), [out](https://example.org), [code](../m.py)\n",
        "docs/01-a.md": "# The `select()` call, and *why*\n## Why\n## Why\n[b](zh-CN/)\n",
        "docs/zh-CN/README.md": "# 反应器 与 线程\n",
        "docs/lost.md": "# Lost\n",
        "m.py": "",
    }

    def found(self, text: str) -> str:
        return texts(docs_tools.link_problems(page_of(text), self.TREE))

    def test_good_links_are_accepted(self) -> None:
        for target in (
            "01-a.md",
            "../README.md",
            "01-a.md#the-select-call-and-why",
            "01-a.md#why-1",
            "zh-CN/README.md#反应器-与-线程",
            "zh-CN/",
            "../m.py",
            "https://example.org/x#y",
            "mailto:a@example.org",
            "#here",
        ):
            with self.subTest(target):
                self.assertEqual(self.found(f"## Here\n[text]({target})\n"), "")

    def test_broken_links_are_found(self) -> None:
        for target, why in (
            ("02-b.md", "there is no docs/02-b.md"),
            ("01-a.md#when", "no heading for #when"),
            ("#there", "no heading"),
            ("/docs/01-a.md", "relative"),
            ("../../x.md", "out of the checkout"),
            ("../m.py#L3", "line numbers drift"),
        ):
            with self.subTest(target):
                self.assertIn(why, self.found(f'x [`text`]({target} "title")\n'))
                self.assertIn(why, self.found(f"[name]: {target}\n"))

    def test_links_in_code_are_no_links(self) -> None:
        self.assertEqual(self.found("`[a](b.md)`\n```\n[a](b.md)\n```\n"), "")

    def test_a_page_without_a_way_to_it_is_found(self) -> None:
        self.assertEqual(docs_tools.unreachable(self.TREE), ["docs/lost.md"])


class ChaptersAndModules(unittest.TestCase):
    def found(self, **files: str) -> str:
        tree = {
            "pyliteflux/log.py": '"""Log.\n\nChapter: docs/01-log.md.\n"""\n',
            "docs/01-log.md": "# Log\n\n**Reads:** `pyliteflux/log.py`.\n",
        }
        tree.update(files)
        kept = {path: text for path, text in tree.items() if text}
        return texts(docs_tools.chapter_problems(kept))

    def test_module_and_chapter_that_name_each_other_are_accepted(self) -> None:
        self.assertEqual(self.found(), "")

    def test_a_folder_stands_for_its_files_and_bare_names_for_the_same_folder(self) -> None:
        for line in (
            "Reads: `pyliteflux/`",
            "Reads: `pyliteflux/x.py`,\n`log.py`",
            "阅读：`log.py`",
        ):
            with self.subTest(line):
                tree = {"docs/01-log.md": f"# L\n\n{line}\n\n`other.py`\n"}
                found = self.found(
                    **tree, **{"pyliteflux/x.py": '"""X.\n\nChapter: docs/01-log.md.\n"""\n'}
                )
                self.assertEqual(found.count("does not name"), 1 if "阅读" in line else 0)
                self.assertNotIn("log.py names this chapter", found)

    def test_a_module_without_a_chapter_is_found(self) -> None:
        for docstring in ('"""Log."""', '"""Log.\n\nChapter: docs/01-log.md"""', "x = 1"):
            self.assertIn("docstring must end", self.found(**{"pyliteflux/log.py": docstring}))

    def test_a_chapter_that_is_missing_is_found(self) -> None:
        self.assertIn("docs/01-log.md does not exist", self.found(**{"docs/01-log.md": ""}))

    def test_a_chapter_that_does_not_say_what_it_reads_is_found(self) -> None:
        self.assertIn("must say", self.found(**{"docs/01-log.md": "# Log\n"}))
        self.assertIn("must say", self.found(**{"docs/02-x.md": "# X\n"}))

    def test_a_chapter_that_reads_what_is_gone_is_found(self) -> None:
        page = "# Log\nReads: `pyliteflux/log.py`, `gone.py`\n"
        self.assertIn(
            "`pyliteflux/gone.py`, which is not there", self.found(**{"docs/01-log.md": page})
        )

    def test_a_chapter_that_forgets_its_module_is_found(self) -> None:
        page = "# Log\nReads: `docs/01-log.md`\n"
        self.assertIn("log.py names this chapter", self.found(**{"docs/01-log.md": page}))

    def test_a_word_of_the_glossary_needs_a_link_to_where_it_is_bold(self) -> None:
        tree = {
            "docs/glossary.md": "- **turn** a pass. [a](a.md)\n- **frame** bytes.\n- **inbox** a\n"
            "  queue. [a](a.md)\n",
            "docs/a.md": "A **turn** is",
        }
        found = [str(problem) for problem in docs_tools.glossary_problems(tree)]
        self.assertEqual(
            found,
            [
                "docs/glossary.md:2: frame: no link",
                "docs/glossary.md:3: inbox is not bold in docs/a.md",
            ],
        )


class BlocksOfCode(unittest.TestCase):
    def test_a_block_that_does_not_compile_is_found_with_its_line(self) -> None:
        page = page_of("text\n\n```python\nx = 1\nif x\n```\n```python quote=m.py\n(\n```\n")
        found = docs_tools.compile_problems(page)
        self.assertEqual([problem.place for problem in found], ["docs/x.md:5"])

    def test_marks_are_read_from_the_comment_above(self) -> None:
        page = page_of(
            "<!-- continues -->\n```python\n```\n\n<!-- fragment: why -->\n\n```python\n```"
        )
        self.assertEqual([fence.mark for fence in page.fences], ["continues", "fragment"])
        self.assertIsInstance(page.fences[0], Fence)


class RunningBlocks(unittest.TestCase):
    """The code of a page is run as its reader would run it, servers included."""

    def test_names_are_kept_only_where_the_page_says_so(self) -> None:
        page = page_of(
            """
            ```python
            x = 1
            ```
            <!-- continues -->
            ```python
            assert x == 1
            ```
            ```python
            x
            ```
            <!-- fragment -->
            ```python
            nothing
            ```
            """
        )
        found = docs_tools.run_problems(page)
        self.assertEqual(
            [str(p) for p in found], ["docs/x.md:9: NameError: name 'x' is not defined"]
        )

    def test_a_server_is_run_on_a_free_port_asked_and_stopped(self) -> None:
        page = page_of(
            """
            ```python
            from pyliteflux import Server, Route
            import urllib.request

            server = Server()

            @Route.register("/hello", method="GET")
            def hello(request):
                return {"message": "Hello"}

            server.run(http_port=8000)
            host, port = server.http_address
            assert port != 8000
            with urllib.request.urlopen(f"http://{host}:{port}/hello", timeout=10) as answer:
                assert answer.read() == b'{"message": "Hello"}', "body"
            ```
            """
        )
        self.assertEqual(texts(docs_tools.run_problems(page)), "")
        self.assertEqual(
            texts(docs_tools.run_problems(page)), "", "a second time: no route is left"
        )


if __name__ == "__main__":
    unittest.main()
