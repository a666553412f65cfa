"""Bars, written as SVG by hand: one picture for a group, one panel for each scenario.

The rule: the picture says the same as the table, in light and in dark, and to those who hear
it: `title` and `desc` hold the figures as text. The line through the end of a bar is the spread
of the rounds.

How to read the figures: tests/benchmarks/README.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import Any

WIDTH = 760
LABEL = 190  # where bars begin
BAR = 440  # the length of the longest
ROW = 22
HEADING = 40
GAP = 14
CLIP = 5.0  # A bar longer than so many of ours is cut: others could not be told apart.

STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.heading { font-weight: 600; } .small { fill: #59636e; } .ground { fill: #ffffff; }
.ours { fill: #0969da; } .peer { fill: #8c959f; } .floor { fill: #c8d1da; }
.spread { stroke: #1f2328; stroke-width: 1.5; }
.cut { stroke: #ffffff; stroke-width: 3; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .small { fill: #9198a1; } .ground { fill: #0d1117; }
  .ours { fill: #4493f8; } .peer { fill: #656c76; } .floor { fill: #3d444d; }
  .spread { stroke: #e6edf3; } .cut { stroke: #0d1117; }
}"""


def chart(heading: str, parts: dict[str, Any]) -> str:
    """Return the picture of a group's scenarios. parts: as in results.json."""
    # Of a name of its own: ids of several pictures may meet on one page.
    name = re.sub(r"[^a-z]+", "-", heading.lower()).strip("-")
    body: list[str] = []
    y = GAP
    for title, part in parts.items():
        body += _panel(f"{title}: {part['title']}", part, y)
        y += HEADING + ROW * len(part["rows"]) + GAP
    return (
        "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" '
                f'width="{WIDTH}" height="{y}" role="img" '
                f'aria-labelledby="{name}-title {name}-desc">',
                f'<title id="{name}-title">{escape(heading)}</title>',
                f'<desc id="{name}-desc">{escape(_description(parts))}</desc>',
                f"<style>\n{STYLE}\n</style>",
                f'<rect class="ground" width="{WIDTH}" height="{y}"/>',
                *body,
                "</svg>",
            ]
        )
        + "\n"
    )


def _description(parts: dict[str, Any]) -> str:
    sentences = []
    for title, part in parts.items():
        figures = ", ".join(f"{row['peer']} {_figure(row['median'])}" for row in part["rows"])
        sentences.append(f"{title} ({part['unit']}): {figures}.")
    return "Smaller is better. " + " ".join(sentences)


def _figure(value: float) -> str:
    """Return a figure as the tables show it, and as short."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _panel(title: str, part: dict[str, Any], y: int) -> Iterator[str]:
    rows = part["rows"]
    yield f'<text class="heading" x="12" y="{y + 14}">{escape(title)}</text>'
    yield (
        f'<text class="small" x="12" y="{y + 31}">{escape(part["unit"])}, smaller is better</text>'
    )
    longest = _longest(rows)
    for index, row in enumerate(rows):
        top = y + HEADING + ROW * index
        kind = "peer"
        if row["peer"].startswith("pyliteflux"):
            kind = "ours"
        elif row["peer"] == "floor":
            kind = "floor"
        value = row["median"]
        length = BAR * min(value / longest, 1.0)
        yield f'<text x="{LABEL - 8}" y="{top + 14}" text-anchor="end">{escape(row["peer"])}</text>'
        yield (
            f'<rect class="{kind}" x="{LABEL}" y="{top + 3}" width="{max(length, 1):.1f}" '
            f'height="{ROW - 7}" rx="2"/>'
        )
        end = length
        if value > longest:  # Two strokes of the ground: this bar goes on.
            for x in (LABEL + length - 16, LABEL + length - 9):
                yield (
                    f'<line class="cut" x1="{x:.1f}" y1="{top + 19}" x2="{x + 5:.1f}" y2="{top}"/>'
                )
        else:
            low, high = (BAR * min(row[side] / longest, 1.06) for side in ("from", "to"))
            middle = top + 3 + (ROW - 7) / 2
            if high - low >= 1:
                yield (
                    f'<line class="spread" x1="{LABEL + low:.1f}" y1="{middle}" '
                    f'x2="{LABEL + high:.1f}" y2="{middle}"/>'
                )
            end = max(length, high)
        yield (
            f'<text class="small" x="{LABEL + end + 8:.1f}" y="{top + 14}">{_figure(value)}</text>'
        )


def _longest(rows: list[dict[str, Any]]) -> float:
    """Return the figure that fills the width."""
    most = max(row["median"] for row in rows)
    ours = [row["median"] for row in rows if row["peer"].startswith("pyliteflux")]
    return float(min(most, CLIP * max(ours)) if ours else most) or 1.0
