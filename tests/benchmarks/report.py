"""From the turns to what is read: ratios, tables, and the page docs/benchmarks/README.md.

The rule: peers are compared within a round, where the machine was the same for all. So the
ratio of a row is the median of its rounds' ratios, not the ratio of two medians, and the
spread beside it says how far to trust it.

How to read the figures: tests/benchmarks/README.md.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .chart import chart
from .scenarios import GROUPS, SCENARIOS, Scenario

BASELINES = ("pyliteflux-inline", "pyliteflux")  # The first that was measured is 1.00.
OURS = ("pyliteflux", "pyliteflux-inline")
FLOOR = "floor"

Report = dict[str, Any]


class Measure(NamedTuple):
    """One turn of one peer. figure: in the unit of the scenario."""

    figure: float
    per_second: float = 0.0
    answered: int = 0
    wrong: int = 0
    lost: int = 0
    extra: dict[str, float] = {}


def ratios(ours: list[float], base: list[float]) -> list[float]:
    """Return the ratio of each round."""
    return [figure / other for figure, other in zip(ours, base) if other]


def rows(turns: dict[str, list[Measure]]) -> list[Report]:
    """Return the rows of one scenario as they stand in results.json, cheapest first."""
    figures = {peer: [turn.figure for turn in taken] for peer, taken in turns.items() if taken}
    base = next((figures[name] for name in BASELINES if name in figures), [])
    floor = figures.get(FLOOR, [])
    made = []
    for peer, values in figures.items():
        taken = turns[peer]
        to_base, to_floor = ratios(values, base), ratios(values, floor)
        made.append(
            {
                "peer": peer,
                "median": statistics.median(values),
                "from": min(values),
                "to": max(values),
                "ratio": statistics.median(to_base) if to_base else None,
                "ratio_from": min(to_base, default=None),
                "ratio_to": max(to_base, default=None),
                "floors": statistics.median(to_floor) if to_floor else None,
                "per_second": statistics.median(turn.per_second for turn in taken),
                "wrong": sum(turn.wrong for turn in taken),
                "lost": sum(turn.lost for turn in taken),
                "extra": {
                    name: statistics.median(turn.extra[name] for turn in taken)
                    for name in taken[0].extra
                },
                "figures": values,
            }
        )
    return sorted(made, key=lambda row: row["median"])


def described(scenario: Scenario, rows: list[Report]) -> Report:
    """Return a scenario's part of results.json."""
    return {
        "group": scenario.group,
        "title": scenario.title,
        "unit": scenario.unit,
        "shows": list(scenario.shows),
        "rows": rows,
    }


# --- tables


def number(value: float | None) -> str:
    """Return a figure as tables and charts show it."""
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _cells(part: Report) -> Iterator[list[str]]:
    """Yield the cells of one scenario's table, its head first. No column is empty."""
    has_floor = any(row["peer"] == FLOOR for row in part["rows"])
    has_rate = any(row["per_second"] for row in part["rows"])
    yield [
        "", part["unit"], "from - to", "ratio", "from - to",
        *(["floors"] if has_floor else []), *part["shows"], *(["per second"] if has_rate else []),
    ]  # fmt: skip
    for row in part["rows"]:
        yield [
            row["peer"],
            number(row["median"]),
            f"{number(row['from'])} - {number(row['to'])}",
            ratio(row["ratio"]),
            f"{ratio(row['ratio_from'])} - {ratio(row['ratio_to'])}",
            *([number(row["floors"])] if has_floor else []),
            *(number(row["extra"].get(name)) for name in part["shows"]),
            *([f"{row['per_second']:.0f}"] if has_rate else []),
        ]


def _faults(row: Report) -> str:
    return f"{row['wrong']} wrong, {row['lost']} lost" if row["wrong"] or row["lost"] else ""


def text_table(name: str, part: Report) -> Iterator[str]:
    """Yield the lines of one scenario's table for a terminal."""
    yield f"{name}: {part['title']}"
    cells = list(_cells(part))
    widths = [max(map(len, column)) for column in zip(*cells)]
    for row, line in zip([None, *part["rows"]], cells):
        faults = f"  ! {_faults(row)}" if row is not None and _faults(row) else ""
        first, *others = (cell.rjust(width) for cell, width in zip(line, widths))
        yield "  " + "  ".join([line[0].ljust(len(first)), *others]) + faults


def markdown_table(part: Report) -> Iterator[str]:
    """Yield the lines of one scenario's table in Markdown; our own rows are bold."""
    head, *lines = _cells(part)
    yield f"| {' | '.join(head)} |"
    yield "|---" + "|---:" * (len(head) - 1) + "|"
    for row, (peer, *cells) in zip(part["rows"], lines):
        name = f"**{peer}**" if row["peer"].startswith(OURS) else peer
        if _faults(row):
            name += f" ({_faults(row)})"
        yield f"| {' | '.join([name, *cells])} |"


# --- pieces of a long run


def merged(old: Report, new: Report) -> Report:
    """Return `new` and what of `old` it does not have: a scenario is replaced as a whole.

    Raises ValueError where the two must not stand on one page.
    """
    before, now = old["setting"], new["setting"]
    for name in now:
        if name not in ("date", "versions") and before.get(name) != now[name]:
            raise ValueError(f"{name} was {before.get(name)!r} and is {now[name]!r}")
    for name, version in now["versions"].items():
        if before["versions"].get(name, version) != version:
            raise ValueError(f"{name} was {before['versions'][name]} and is {version}")
    scenarios = {**old["scenarios"], **new["scenarios"]}
    return {
        "setting": {**now, "versions": {**before["versions"], **now["versions"]}},
        # In the order of the tables, whatever the order of the runs.
        "scenarios": {s.name: scenarios[s.name] for s in SCENARIOS if s.name in scenarios},
        "skipped": {
            **{name: why for name, why in old["skipped"].items() if name not in new["scenarios"]},
            **new["skipped"],
        },
    }


def with_earlier(report: Report, folder: Path) -> tuple[Report, str]:
    """Return the report together with what `folder` has of earlier runs, and a word on that."""
    file = folder / "results.json"
    if not file.exists():
        return report, ""
    old = json.loads(file.read_text(encoding="utf-8"))
    try:
        together = merged(old, report)
    except (ValueError, KeyError) as reason:
        return report, f"earlier results are not kept: {reason}"
    kept = [name for name in old["scenarios"] if name not in report["scenarios"]]
    return together, f"kept from earlier runs: {', '.join(kept)}" if kept else ""


# --- the page


def summary(report: Report) -> Iterator[str]:
    """Yield one line for each scenario: ourselves and the cheapest of the others."""
    yield "| Scenario | unit | inline | default | the cheapest other | of its cost |"
    yield "|---|---|---:|---:|---|---:|"
    for name, part in report["scenarios"].items():
        by_peer = {row["peer"]: row for row in part["rows"]}
        others = [row for row in part["rows"] if not row["peer"].startswith((*OURS, FLOOR))]
        ours = [by_peer.get("pyliteflux-inline"), by_peer.get("pyliteflux")]
        best = next((row for row in ours if row is not None), None)
        if best is None:
            continue
        cells = [number(row["median"]) if row else "-" for row in ours]
        if others:
            of_its_cost = statistics.median(ratios(best["figures"], others[0]["figures"]))
            cells += [f"{others[0]['peer']}, {number(others[0]['median'])}", ratio(of_its_cost)]
        else:
            cells += ["-", "-"]
        yield f"| {name}: {part['title']} | {part['unit']} | {' | '.join(cells)} |"


def page(report: Report) -> str:
    """Return docs/benchmarks/README.md."""
    about = report["setting"]
    pinned = (
        f"each server on one processor ({about['server_core']}), the load on the others"
        if about["server_core"]
        else "nobody pinned to a processor"
    )
    rounds = about["rounds"]
    more = ", ".join(f"{rounds * one.times} for {one.name}" for one in SCENARIOS if one.times > 1)
    lines = [
        "# What a request costs",
        "",
        "Written by `make bench`; do not edit. How to read it, and when not to believe it:",
        "[tests/benchmarks/README.md](../../tests/benchmarks/README.md). Every round of every row",
        "is in [results.json](results.json).",
        "",
        f"- **When, where:** {about['date']}; {about['machine']}, {about['processors']} "
        f"processors; {about['platform']}; {pinned}",
        f"- **Load:** {about['generator']} for HTTP, our own for the rest; {rounds} "
        f"rounds of {about['seconds']:g} s in turns ({more}); "
        f"{about['connections']} connections where the "
        f"title names no other number; {about['subscribers']} clients of a broadcast; "
        f"{about['idle']} idle connections",
        f"- **Versions:** Python {about['python']}, "
        + ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        "- **Figure:** the median of the rounds, smaller is better. CPU time is user and system, "
        "of all threads and processes of the server. **ratio:** to `pyliteflux-inline` (or "
        "`pyliteflux` where that is not in the table), the median of the rounds' ratios. "
        "**floors:** the same, to `select` + `recv` + `send` in bare Python with a constant "
        "answer. **per second:** what one processor reached here; compare it within a table only.",
        "- **Charts:** a bar is the median; blue is ours, the palest one the floor. The line at "
        "its end goes from the best round to the worst; two strokes through a bar mean that it "
        "goes on (the number behind it is right).",
        "- **Doubt:** two rows whose `from - to` overlap are not told apart by this run.",
        "",
        "## In short",
        "",
        "`inline` is a route with `blocking=False`, `default` one that may block. The last column "
        "is our cost (inline, else default) divided by that of the cheapest other: below 1 is "
        "cheaper.",
        "",
        *summary(report),
    ]  # fmt: skip
    for group, heading in GROUPS.items():
        parts = {n: part for n, part in report["scenarios"].items() if part["group"] == group}
        if parts:
            lines += ["", f"## {heading}", "", f"![{heading}: the tables below]({group}.svg)"]
        for name, part in parts.items():
            lines += ["", f"### {name}: {part['title']}", "", *markdown_table(part)]
            skipped = report["skipped"].get(name, {})
            if skipped:
                reasons = "; ".join(f"{peer}: {why}" for peer, why in skipped.items())
                lines += ["", f"Not measured: {reasons}."]
    return "\n".join(lines) + "\n"


def write(report: Report, folder: Path) -> list[Path]:
    """Write the page, its charts and results.json; return what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"README.md": page(report), "results.json": json.dumps(report, indent=1) + "\n"}
    for group, heading in GROUPS.items():
        parts = {n: part for n, part in report["scenarios"].items() if part["group"] == group}
        if parts:
            contents[f"{group}.svg"] = chart(heading, parts)
        else:
            (folder / f"{group}.svg").unlink(missing_ok=True)  # Of a run that had more.
    for name, text in contents.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in contents]
