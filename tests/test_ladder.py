"""The ladder: its graders are graded, its pages are in step, its runner runs.

A check is only as good as its wrong answers, so each has one, and each wrong answer has to fail
first at the check that it names. With PYLITEFLUX_LADDER=1 all of them are run; without it the
right answers, the starts, and one wrong answer for each stage.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

from tests import docs_tools
from tests.support import ROOT

LADDER = ROOT / "docs" / "ladder"
FULL_CHECK = os.environ.get("PYLITEFLUX_LADDER") == "1"
SIDE_BY_SIDE = 6 if FULL_CHECK else 9  # programs at once: nearly all they do is wait
MOST_LINES = 200  # of a file of a stage
DEADLINE = 60.0  # seconds

with mock.patch.object(sys, "path", [str(LADDER), *sys.path]):
    import attacks
    import grade
    import lab

STAGES = grade.stages()

# The board of the ladder on the real thing: it has to pass what is asked of a learner's server.
REAL = f"""
import sys, threading
sys.path.insert(0, {str(ROOT)!r})
from pyliteflux import Router, Server

router = Router()

@router.register("*", protocol="tcp", blocking=False)
def line(request):
    raw = request.raw
    if raw.startswith(b"big "):
        return "x" * int(raw[4:])
    return raw.decode(errors="replace")[::-1]

config = dict(http_port=0, tcp_port=0, tcp_keep_alive=True, tcp_framing="line", info=False)
with Server(router, tcp_max_message=64 * 1024, **config) as server:
    print("listening on {{}}:{{}}".format(*server.tcp_address), flush=True)
    threading.Event().wait()
"""


def first_failure(text: str, stage: Any) -> tuple[str, str]:
    """The check at which a program fails first, and what it tells; "" where it passes.

    One of an earlier stage comes with its number: "02/half".
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "server.py")
        path.write_text(text, encoding="utf-8")
        with contextlib.closing(grade.grade(stage, [sys.executable, str(path)])) as verdicts:
            for verdict in verdicts:
                if verdict.result == grade.FAILED:
                    earlier = "" if verdict.stage == stage.name else verdict.stage[:2] + "/"
                    told = "\n".join(f"{name}  {words}" for name, words in verdict.rows)
                    return f"{earlier}{verdict.check}", told
    return "", ""


def wrong_answers(stage: Any) -> dict[str, tuple[str, str]]:
    """name -> (the check that must fail first, the program)."""
    answer = (stage.folder / "answer.py").read_text(encoding="utf-8")
    found = {}
    for name, (must, *changes) in grade.load(stage.folder / "wrong.py").WRONG.items():
        text = answer
        for old, new in changes:
            assert text.count(old) == 1, f"{stage.name}, {name}: the answer has moved: {old!r}"
            text = text.replace(old, new)
        compile(text, name, "exec")
        found[name] = (must, text)
    return found


class TheGraders(unittest.TestCase):
    """Programs that are known are judged as they should be."""

    def judge(self, programs: dict[tuple[str, str], tuple[Any, str, str | None]]) -> None:
        """(stage, name) -> (stage, program, its first failure; None for any)."""
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            found = {
                name: pool.submit(first_failure, text, stage)
                for name, (stage, text, _) in programs.items()
            }
            for name, (_, _, must) in programs.items():
                with self.subTest(name):
                    result, told = found[name].result()
                    if must is None:
                        self.assertNotEqual(result, "")
                    else:
                        self.assertEqual(result, must, told)

    def programs(self, stage: Any) -> dict[tuple[str, str], tuple[Any, str, str | None]]:
        """Return what is known of one stage: its answer, its start, wrong answers, and ours."""
        programs: dict[tuple[str, str], tuple[Any, str, str | None]] = {}
        for name, must in (("answer", ""), ("start", None)):
            text = (stage.folder / f"{name}.py").read_text(encoding="utf-8")
            programs[stage.name, name] = (stage, text, must)
        answers = list(wrong_answers(stage).items())
        own = [answer for answer in answers if "/" not in answer[1][0]]
        for name, (must, text) in answers if FULL_CHECK else own[:1]:
            programs[stage.name, name] = (stage, text, must)
        if stage.number == 4 or (FULL_CHECK and 2 <= stage.number <= 4):
            programs[stage.name, "PyLiteFlux itself"] = (stage, REAL, "")
        return programs

    @unittest.skipIf(FULL_CHECK, "a stage at a time, below")
    def test_some_programs_are_judged_as_they_should_be(self) -> None:
        """In one go: nearly all that they do is wait. Each stage by itself."""
        programs: dict[tuple[str, str], tuple[Any, str, str | None]] = {}
        for stage in STAGES:
            programs.update(self.programs(stage))
        with mock.patch.object(grade.Stage, "before", lambda stage: []):
            self.judge(programs)

    @unittest.skipUnless(FULL_CHECK, "PYLITEFLUX_LADDER=1 runs it")
    def test_pyliteflux_itself_closes_as_well(self) -> None:
        # What the stage prints of its states is asked of a learner's program alone.
        with mock.patch.dict(os.environ, LEARN_SERVER="pyliteflux"):
            self.assertEqual(first_failure(REAL, grade.stage(5)), ("", ""))

    def test_each_check_has_a_wrong_answer(self) -> None:
        for stage in STAGES:
            named = {must for must, _ in wrong_answers(stage).values()}
            self.assertLessEqual({must for must in named if "/" not in must}, set(stage.checks))
            with self.subTest(stage.name):
                self.assertEqual(set(stage.checks) - named, set())

    def test_what_needs_proc_is_skipped_where_there_is_none(self) -> None:
        answer = [sys.executable, str(LADDER / "01_echo" / "answer.py")]
        with mock.patch.object(lab, "HAS_PROC", False), lab.Program(answer) as program:
            verdict = grade.run_check(grade.stage(1), "rests", program)
        self.assertEqual(verdict.result, grade.SKIPPED)


def _judging(stage: Any) -> Any:
    @unittest.skipUnless(FULL_CHECK, "PYLITEFLUX_LADDER=1 runs it")
    def test(self: TheGraders) -> None:
        self.judge(self.programs(stage))

    return test


for _stage in STAGES:  # A test for each: all of them together take minutes.
    setattr(TheGraders, f"test_all_known_programs_of_{_stage.name}", _judging(_stage))


class TheFiles(unittest.TestCase):
    def test_each_stage_has_its_files_and_they_are_short(self) -> None:
        for stage in STAGES:
            for name in ("start", "answer", "check", "broken", "wrong"):
                with self.subTest(stage.name, file=name):
                    text = (stage.folder / f"{name}.py").read_text(encoding="utf-8")
                    if name in ("start", "answer", "broken"):  # What a learner reads.
                        self.assertLess(text.count("\n"), MOST_LINES)

    def test_they_need_the_standard_library_alone(self) -> None:
        own = {"attacks", "grade", "lab"}
        for path in sorted(LADDER.glob("[0-9a-z]*/*.py")) + sorted(LADDER.glob("*.py")):
            if path.parent.name == "work":
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in getattr(node, "names", [])]
                if isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                elif not isinstance(node, ast.Import):
                    continue
                for name in names:
                    self.assertIn(name.split(".")[0], sys.stdlib_module_names | own, path)

    def test_a_start_says_what_is_to_be_done(self) -> None:
        for stage in STAGES:
            self.assertIn("TODO", (stage.folder / "start.py").read_text(encoding="utf-8"))
            self.assertNotIn("TODO", (stage.folder / "answer.py").read_text(encoding="utf-8"))

    def test_each_stage_breaks_under_an_attack_that_there_is(self) -> None:
        for stage in STAGES:
            self.assertIn(stage.module.BREAKS, attacks.ATTACKS)
            broken = (stage.folder / "broken.py").read_text(encoding="utf-8")
            self.assertIn(f'"{stage.module.BREAKS}"', broken)

    def test_a_learners_file_is_no_part_of_the_docs(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder, "docs", "ladder", "work")
            work.mkdir(parents=True)
            (work / "server.py").write_bytes(b"\xff half")
            Path(folder, "docs", "work.md").write_text("# Kept\n", encoding="utf-8")
            self.assertEqual(list(docs_tools.load(Path(folder))), ["docs/work.md"])


def sentences(path: Path) -> set[str]:
    """What a file of the ladder says to a learner: what it hands to tr(), the docstrings of
    checks, and the constants that are sentences."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        value: ast.expr | None = None
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "id", "")
            if name == "tr" or name == "Skipped":
                value = node.args[0]
        elif isinstance(node, ast.Assign) and node in tree.body:
            value = node.value if getattr(node.targets[0], "id", "").isupper() else None
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "so":
            value = node.value
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("check_"):
            found.add((ast.get_docstring(node) or "").strip())
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            if " " in value.value or isinstance(node, ast.Call):
                found.add(value.value)
    return found


class BothLanguages(unittest.TestCase):
    def test_each_sentence_has_its_chinese(self) -> None:
        chinese = json.loads((LADDER / "zh.json").read_text(encoding="utf-8"))
        files = [LADDER / f"{name}.py" for name in ("attacks", "grade", "lab", "learn")]
        files += [stage.folder / "check.py" for stage in STAGES]
        said = set().union(*map(sentences, files))
        self.assertEqual(sorted(said - set(chinese)), [], "not in zh.json")
        self.assertEqual(sorted(set(chinese) - said), [], "nobody says it any more")
        for english, other in chinese.items():
            self.assertEqual(english.count("{}"), other.count("{}"), english)
            self.assertRegex(other, "[\u4e00-\u9fff]", english)

    def test_each_page_has_its_twin_of_the_same_shape(self) -> None:
        for path in sorted(LADDER.rglob("*.md")):
            if path.name.endswith(".zh-CN.md") or "work" in path.parts:
                continue
            twin = path.with_name(path.name.replace(".md", ".zh-CN.md"))
            with self.subTest(path.relative_to(LADDER)):
                self.assertEqual(shape(path), shape(twin))

    def test_the_runner_finds_the_parts_of_each_page(self) -> None:
        for language in ("en", "zh"):
            with mock.patch.dict(os.environ, LEARN_LANG=language):
                for stage in STAGES:
                    for headings in (
                        ("To do", "要做什么"),
                        ("What it still cannot do", "它还做不到什么"),
                        ("In PyLiteFlux", "在 PyLiteFlux 里"),
                    ):
                        with self.subTest(stage.name, headings=headings):
                            self.assertTrue(stage.section(headings[language == "zh"]))
                    self.assertEqual(len(stage.page("hints").split("\n---\n")), 3, stage.name)


def shape(path: Path) -> list[str]:
    """The skeleton of a page: headings, fences, lists, tables, and the files it links to."""
    page = docs_tools.Page(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    found = [re.sub(r"(#+) .*", r"\1", line) for _, line in page.prose if line.startswith("#")]
    found += [f"{fence.language} {fence.attributes}" for fence in page.fences]
    found += [f"item {line[:2]}" for _, line in page.prose if re.match(r"[-*] ", line)]
    found += [f"table {line.count('|')}" for _, line in page.prose if line.startswith("|")]
    found += sorted(
        target.partition("#")[0].replace(".zh-CN.md", ".md") for _, target in docs_tools.links(page)
    )
    return found


class TheRunner(unittest.TestCase):
    """As a newcomer meets it, without a terminal."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.work = Path(folder.name, "work")

    def learn(self, *arguments: str, **environment: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, str(LADDER / "learn.py"), *arguments],
            env={**os.environ, "LEARN_DIR": str(self.work), "LEARN_LANG": "en", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=DEADLINE,
        )
        self.assertNotIn("Traceback", done.stdout)
        return done.returncode, done.stdout

    def test_from_the_first_call_to_the_next_stage(self) -> None:
        status, text = self.learn()
        self.assertEqual(status, 0)
        self.assertIn("FAIL  it says hello", text)
        self.assertIn("we expected  b'hello\\n'", text)
        server = self.work / "server.py"
        server.write_text(server.read_text().replace("goodbye", "hello"))
        status, text = self.learn("check")
        self.assertEqual(status, 0, text)
        self.assertIn("is passed", text)
        self.assertEqual(json.loads((self.work / "progress.json").read_text())["done"], [0])
        status, text = self.learn("next")
        self.assertIn("01 echo", text)
        self.assertIn("hello", server.read_text(), "one goes on with one's own file")
        status, text = self.learn("check")
        self.assertEqual(status, 1)
        self.assertIn("FAIL", text)

    def test_start_keeps_the_file_that_was_there(self) -> None:
        self.learn("start", "0")
        server = self.work / "server.py"
        server.write_text("mine")
        _, text = self.learn("start", "1")
        self.assertIn("server.001.py", text)
        self.assertEqual((self.work / "server.001.py").read_text(), "mine")
        self.assertEqual(
            server.read_text(encoding="utf-8"),
            (LADDER / "01_echo" / "start.py").read_text(encoding="utf-8"),
        )

    def test_hints_come_one_by_one(self) -> None:
        for count in (1, 2, 3, 3):
            _, text = self.learn("hint")
            self.assertEqual(text.count("/3)"), count)

    def test_a_program_of_another_kind_is_graded(self) -> None:
        command = f"{sys.executable} {LADDER / '00_hello' / 'answer.py'}"
        status, text = self.learn("check", "0", LEARN_SERVER=command)
        self.assertEqual(status, 0, text)
        status, text = self.learn("check", "0", LEARN_SERVER="/nowhere/server")
        self.assertEqual(status, 1)
        self.assertIn("could not be started", text)

    def test_what_a_program_printed_is_shown(self) -> None:
        self.work.mkdir()
        server = self.work / "server.py"
        answer = (LADDER / "00_hello" / "answer.py").read_text(encoding="utf-8")
        server.write_text(answer.replace("    client.send", "    print('mine')\n    1 / 0  #"))
        status, text = self.learn("check", "0")
        self.assertEqual(status, 1)
        self.assertRegex(text, r"it printed +mine\n +server.py, line \d+: ZeroDivisionError")
        server.write_text("x = (")
        self.assertRegex(self.learn("check", "0")[1], "it printed +server.py, line 1: SyntaxError")

    def test_what_cannot_be_is_told_in_one_line(self) -> None:
        status, text = self.learn("check", "77")
        self.assertEqual((status, text.count("\n")), (1, 1), text)
        self.work.mkdir(exist_ok=True)
        (self.work / "progress.json").write_text("{")
        status, text = self.learn("list")
        self.assertIn("mend it", text)

    def test_it_speaks_chinese(self) -> None:
        _, text = self.learn(LEARN_LANG="zh_CN.UTF-8")
        self.assertIn("期望", text)
        self.assertIn("保存文件", text)

    def test_the_attack_is_let_loose_on_the_learners_file(self) -> None:
        _, text = self.learn("break", "0")
        self.assertIn("never calls recv()", text)


if __name__ == "__main__":
    unittest.main()
