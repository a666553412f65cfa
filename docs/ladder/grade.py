"""Grade a program: run the checks of a stage, and those of the stages before that still hold."""

from __future__ import annotations

import importlib.util
import queue
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from lab import HERE, Failure, Program, Row, Skipped, language, tr

OK, FAILED, SKIPPED, WAITS = "ok", "FAIL", "skip", "--"
NO_ANSWER = "the server did not take part in the conversation"


class Verdict(NamedTuple):
    """How one check ended. rows: what to tell of it."""

    stage: str
    check: str
    title: str
    result: str
    rows: list[Row]


def load(path: Path) -> ModuleType:
    """Import a file of a stage under a name of its own."""
    name = f"ladder_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plain(text: str) -> str:
    """Markdown as it reads in a terminal: without the marks of fences, without link targets."""
    text = re.sub(r"^ *```.*\n?", "", text, flags=re.M)
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)


class Stage:
    """A folder of the ladder: its pages, its programs, its checks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.number = int(folder.name[:2])
        self.module = load(folder / "check.py")
        self.checks: dict[str, Callable[[Program], None]] = {
            name.removeprefix("check_"): value
            for name, value in vars(self.module).items()
            if name.startswith("check_")
        }

    def page(self, name: str = "README") -> str:
        """The text of a page, in the learner's language."""
        return self.page_path(name).read_text(encoding="utf-8")

    def page_path(self, name: str = "README") -> Path:
        chinese = self.folder / f"{name}.zh-CN.md"
        return chinese if language() == "zh" and chinese.exists() else self.folder / f"{name}.md"

    @property
    def title(self) -> str:
        return self.page().split("\n", 1)[0].removeprefix("# ")

    @property
    def label(self) -> str:
        """The title up to its colon: "02 messages"."""
        return re.split("[:：]", self.title)[0]

    def section(self, *headings: str) -> str:
        """The text under the first of these headings that the page has."""
        for heading in headings:
            under = rf"^## {re.escape(heading)}\n+(.*?)(?=^## |\Z)"
            found = re.search(under, self.page(), re.M | re.S)
            if found:
                return plain(found[1].strip())
        return ""

    def before(self) -> list[Stage]:
        """The earlier stages whose checks this one's program still has to pass."""
        return [stage(number) for number in getattr(self.module, "STILL", ())]


def stages() -> list[Stage]:
    """The stages there are, in order."""
    return [Stage(folder) for folder in sorted(HERE.glob("[0-9][0-9]_*")) if folder.is_dir()]


def stage(number: int) -> Stage:
    """The stage of that number. Raises KeyError where there is none."""
    for folder in sorted(HERE.glob(f"{number:02d}_*")):
        return Stage(folder)
    raise KeyError(number)


def run_check(one: Stage, name: str, program: Program) -> Verdict:
    """Let one check talk to the program."""
    check = one.checks[name]
    title = tr((check.__doc__ or name).strip())
    try:
        check(program)
        program.must_be_alive()
        return Verdict(one.name, name, title, OK, [])
    except Skipped as reason:
        return Verdict(one.name, name, title, SKIPPED, [("", tr(str(reason)))])
    except Failure as failure:
        failed = failure
    except OSError as error:  # Of our socket: the other end is no more.
        failed = Failure(NO_ANSWER, got=str(error))
    failed.printed = program.last_words()
    return Verdict(one.name, name, title, FAILED, failed.rows())


def run_stage(
    one: Stage, command: Sequence[str], every: bool, stop: threading.Event
) -> Iterator[Verdict]:
    """The verdicts of one stage's checks. Unless every is set the first failure ends it."""
    waiting = list(one.checks)
    environment = getattr(one.module, "ENVIRONMENT", {})
    while waiting and not stop.is_set():
        result = OK
        try:
            with Program(command, **environment) as program:
                while waiting and result != FAILED and not stop.is_set():
                    verdict = run_check(one, waiting.pop(0), program)
                    result = verdict.result
                    yield verdict
        except Failure as failure:  # It does not even start.
            name = waiting.pop(0)
            title = tr((one.checks[name].__doc__ or name).strip())
            result = FAILED
            yield Verdict(one.name, name, title, result, failure.rows())
        # Dead or stuck it may be: the next check gets a fresh one.
        if result == FAILED and not every:
            break
    for name in waiting:
        yield Verdict(one.name, name, tr((one.checks[name].__doc__ or name).strip()), WAITS, [])


def grade(one: Stage, command: Sequence[str], every: bool = False) -> Iterator[Verdict]:
    """All verdicts, those of the earlier stages first; each stage has a process of its own.

    They run side by side, since most of what they do is wait, and are told in order. When one
    stage has failed, the checks of those behind it wait.
    """
    groups = [*one.before(), one]
    queues: list[queue.SimpleQueue[Verdict | None]] = [queue.SimpleQueue() for _ in groups]
    stop = threading.Event()

    def work(group: Stage, results: queue.SimpleQueue[Verdict | None]) -> None:
        try:
            for verdict in run_stage(group, command, every, stop):
                results.put(verdict)
        finally:
            results.put(None)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(groups, queues)]
    for thread in threads:
        thread.start()
    failed = False
    try:
        for results in queues:
            failed_before = failed
            while (verdict := results.get()) is not None:
                if failed_before and not every:
                    verdict = verdict._replace(result=WAITS, rows=[])
                elif verdict.result == FAILED:
                    failed = True
                    if not every:
                        stop.set()
                yield verdict
    finally:
        stop.set()
        for thread in threads:
            thread.join()
