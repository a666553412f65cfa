"""Write a server yourself, stage by stage: `make learn`.

    learn.py                 watch your file, and check it whenever it is saved
    learn.py list            the stages, and where you are
    learn.py check [N]       check once; --all goes on behind the first failure
    learn.py hint [N]        the next hint
    learn.py answer [N]      our answer, as a diff from your file
    learn.py ground N        what stage N gives you, as a diff from the answer before it
    learn.py start N         take our file for stage N; yours is kept beside it
    learn.py next            go on to the next stage with your own file
    learn.py break [N]       let the attack of stage N loose on your server, without a mark

Your file is work/server.py here, or where LEARN_DIR says. LEARN_SERVER="./my-server" checks
another program, in any language; LEARN_LANG=zh speaks Chinese; LEARN_PATIENCE=10 waits longer.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 10):  # noqa: UP036  (who has an older one should be told so)
    own = ".".join(map(str, sys.version_info[:2]))
    sys.exit("PyLiteFlux needs Python 3.10 or newer, and this is " + own)

import argparse
import difflib
import json
import os
import select
import shlex
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from attacks import ATTACKS
from grade import FAILED, OK, SKIPPED, WAITS, Stage, grade, plain, stage, stages
from lab import HERE, Failure, Program, language, tr

try:
    import termios
    import tty
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]
try:
    import msvcrt
except ImportError:
    msvcrt = None  # type: ignore[assignment]

WORK = Path(os.environ.get("LEARN_DIR") or HERE / "work")
FILE = WORK / "server.py"
PROGRESS = WORK / "progress.json"
POLL = 0.3  # seconds: file events are unreliable in containers and on WSL
IS_TERMINAL = sys.stdin.isatty() and sys.stdout.isatty()
COLOURS = {OK: "32", FAILED: "31", SKIPPED: "33", WAITS: "2"}
STILL_CANNOT = ("What it still cannot do", "它还做不到什么")
IN_OURS = ("In PyLiteFlux", "在 PyLiteFlux 里")
TO_DO = ("To do", "要做什么")


# -- Where the learner is --------------------------------------------------------------------------


def progress() -> dict[str, Any]:
    """What work/progress.json says: the stage, those that passed, the hints that were shown."""
    state: dict[str, Any] = {"stage": 0, "done": [], "hints": {}, "passed_at": {}}
    try:
        state.update(json.loads(PROGRESS.read_text(encoding="utf-8")))
    except FileNotFoundError:
        pass
    except ValueError as error:
        sys.exit(tr("{} is no JSON ({}): mend it, or delete it to begin anew", PROGRESS, error))
    return state


def remember(state: dict[str, Any]) -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    PROGRESS.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")


def take(one: Stage) -> None:
    """Make our start of a stage the learner's file. An older one is kept under a number."""
    WORK.mkdir(parents=True, exist_ok=True)
    if FILE.exists():
        number = 1
        while (kept := WORK / f"server.{number:03}.py").exists():
            number += 1
        FILE.rename(kept)
        say(tr("your file is kept as {}", short(kept)))
    FILE.write_text((one.folder / "start.py").read_text(encoding="utf-8"), encoding="utf-8")
    state = progress()
    state["stage"] = one.number
    remember(state)
    say(tr("{} is now our start of stage {}", short(FILE), one.label))


def command() -> list[str]:
    """How the learner's program is started."""
    other = os.environ.get("LEARN_SERVER")
    return shlex.split(other) if other else [sys.executable, str(FILE)]


def chosen(number: str | None) -> Stage:
    """The stage that was asked for, or the one that the learner is at."""
    try:
        return stage(int(number) if number is not None else progress()["stage"])
    except (KeyError, ValueError):
        there = ", ".join(f"{one.number:02}" for one in stages())
        sys.exit(tr("there is no stage {}; there are {}", number, there))


# -- Telling ---------------------------------------------------------------------------------------


def say(text: str = "") -> None:
    print(text, flush=True)


def colour(text: str, result: str) -> str:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{COLOURS[result]}m{text}\x1b[0m"


def short(path: Path) -> str:
    """A path as the learner would type it from where he stands."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def width(text: str) -> int:
    """Columns of a terminal: a Chinese character takes two."""
    return sum(2 if ord(letter) > 0x2E7F else 1 for letter in text)


def check(one: Stage, every: bool = False) -> bool:
    """Grade the program and tell it. Whether all is well."""
    say(tr("stage {}", one.title))
    waiting, still, failed = 0, {}, False
    for verdict in grade(one, command(), every):
        if verdict.result == WAITS:
            waiting += 1
            continue
        if verdict.stage != one.name and verdict.result != FAILED:
            still[verdict.stage] = still.get(verdict.stage, 0) + 1
            continue
        earlier = "" if verdict.stage == one.name else f"{verdict.stage}: "
        tell_still(still)
        say(f"  {colour(f'{verdict.result:4}', verdict.result)}  {earlier}{verdict.title}")
        rows = max((width(name) for name, _ in verdict.rows), default=0)
        for name, text in verdict.rows:
            pad = " " * (rows - width(name))
            say(f"        {name}{pad}  {text}" if rows else f"        {text}")
        failed = failed or verdict.result == FAILED
    tell_still(still)
    if waiting:
        say("  --    " + tr("{} more wait behind this one", waiting))
    return not failed


def tell_still(still: dict[str, int]) -> None:
    """One line for each earlier stage that still holds."""
    for name, count in still.items():
        say(f"  {colour('ok  ', OK)}  " + tr("still does {} ({} checks)", name, count))
    still.clear()


def passed(one: Stage) -> None:
    """Remember it, and show what comes next."""
    state = progress()
    if not os.environ.get("LEARN_SERVER") and one.number not in state["done"]:
        state["done"].append(one.number)
        state["passed_at"][str(one.number)] = time.strftime("%Y-%m-%d %H:%M:%S")
        remember(state)
    say()
    say(colour(tr("Stage {} is passed.", one.label), OK))
    for headings in (STILL_CANNOT, IN_OURS):
        text = one.section(*headings)
        if text:
            say(f"\n{headings[language() == 'zh']}\n")
            say(text)
    say()


def tell_list() -> None:
    state = progress()
    for one in stages():
        mark = OK if one.number in state["done"] else ""
        here = "->" if one.number == state["stage"] else "  "
        say(f"{here} {mark:3} {one.title}")


def tell_task(one: Stage) -> None:
    """What is to be done at a stage, and where."""
    say(tr("page        {}", short(one.page_path())))
    say(tr("your file   {}", short(FILE)))
    say()
    say(one.section(*TO_DO))
    say()


def tell_hint(one: Stage) -> None:
    hints = [text.strip() for text in one.page("hints").split("\n---\n")]
    state = progress()
    shown = state["hints"].get(str(one.number), 0)
    for number in range(min(shown + 1, len(hints))):
        say(f"({number + 1}/{len(hints)}) {hints[number]}\n")
    state["hints"][str(one.number)] = min(shown + 1, len(hints))
    remember(state)


def tell_diff(old: Path, new: Path) -> None:
    lines = [path.read_text(encoding="utf-8").splitlines() for path in (old, new)]
    for line in difflib.unified_diff(*lines, short(old), short(new), lineterm=""):
        say(line)


def tell_answer(one: Stage) -> None:
    answer = one.folder / "answer.py"
    if FILE.exists():
        tell_diff(FILE, answer)
    else:
        say(answer.read_text(encoding="utf-8"))


def tell_ground(one: Stage) -> None:
    start = one.folder / "start.py"
    if one.number == 0:
        say(start.read_text(encoding="utf-8"))
    else:
        tell_diff(stage(one.number - 1).folder / "answer.py", start)


def tell_break(one: Stage) -> None:
    """Let the attack that ends a stage loose on the learner's program."""
    name = one.module.BREAKS
    say(tr("the attack: {}", name))
    try:
        with Program(command()) as program:
            say(ATTACKS[name](program).text())
            for line in program.last_words():
                say(tr("it printed") + "  " + line)
    except Failure as failure:
        for label, text in failure.rows():
            say(f"{label}  {text}")


def go_on(one: Stage) -> Stage | None:
    """The next stage, with the learner's own file; None and a word where there is none."""
    state = progress()
    if one.number not in state["done"]:
        say(tr("this stage has not passed yet; `start N` goes to another with our file"))
        return None
    try:
        following = stage(one.number + 1)
    except KeyError:
        say(tr("This was the last stage there is. From here the book goes on: docs/README.md"))
        return None
    state["stage"] = following.number
    remember(state)
    say(tr("stage {}", following.title))
    say(tr("Your file goes on. `ground N` shows what this stage gives, `start N` takes our file"))
    return following


# -- The terminal ----------------------------------------------------------------------------------


class Keys:
    """Single keys of a terminal, without Enter."""

    def __enter__(self) -> Keys:
        if termios is not None:
            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if termios is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def get(self, seconds: float) -> str:
        """Return the key pressed within that time, or ""; "q" at the end of the input."""
        if termios is not None:
            if not select.select([sys.stdin], [], [], seconds)[0]:
                return ""
            return os.read(sys.stdin.fileno(), 1).decode(errors="replace") or "q"
        if msvcrt is not None:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                if msvcrt.kbhit():
                    return str(msvcrt.getwch())
                time.sleep(0.05)
        return ""


def stamp() -> tuple[float, int] | None:
    """What changes when the file is saved; None while an editor is replacing it."""
    try:
        found = FILE.stat()
    except OSError:
        return None
    return found.st_mtime, found.st_size


def watch(one: Stage) -> None:
    """Check the file whenever it is saved, and listen to keys."""
    keys = tr(
        "h hint  d our answer  a all checks  b break it  g ground  s start  p page  n next  q quit"
    )
    tell_task(one)
    last: tuple[float, int] | None = None
    with Keys() as terminal:
        while True:
            now = stamp()
            if now is not None and now != last:
                last = now
                say("-" * 72)
                if check(one):
                    passed(one)
                say(keys)
            key = terminal.get(POLL)
            if key in ("q", "\x04"):
                return
            if key == "n":
                following = go_on(one)
                if following is not None:
                    one, last = following, None
                    tell_task(one)
            elif key == "s":
                take(one)
            elif key == "a":
                check(one, every=True)
            elif key == "r":
                last = None
            elif key in KEYS:
                KEYS[key](one)


KEYS = {
    "h": tell_hint,
    "d": tell_answer,
    "b": tell_break,
    "g": tell_ground,
    "p": lambda one: say(plain(one.page())),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="learn.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words = ("list", "check", "hint", "answer", "ground", "start", "next", "break")
    parser.add_argument("what", nargs="?", choices=words, help=argparse.SUPPRESS)
    parser.add_argument("stage", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--all", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    what = options.what
    one = chosen(options.stage)
    if not FILE.exists() and what not in ("list", "ground", "start"):
        if not os.environ.get("LEARN_SERVER"):
            take(one)
    if what == "list":
        tell_list()
    elif what == "check":
        if not check(one, options.all):
            return 1
        passed(one)
    elif what == "start":
        take(one)
        tell_task(one)
    elif what == "next":
        following = go_on(one)
        if following is not None:
            tell_task(following)
    elif what is not None:
        tell = {"hint": tell_hint, "answer": tell_answer, "ground": tell_ground}
        tell.get(what, tell_break)(one)
    elif IS_TERMINAL and (termios is not None or msvcrt is not None):
        watch(one)
    else:
        tell_task(one)
        if check(one):
            passed(one)
            say(tr("go on with: make learn LEARN=next"))
        else:
            say(tr("edit the file, save it, and run this again; a hint: make learn LEARN=hint"))
    return 0


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0)
    except BrokenPipeError:  # `make learn | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
