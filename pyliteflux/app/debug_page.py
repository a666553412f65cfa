"""The page a developer sees where a handler has raised, with ``debug=True`` only.

It shows source lines and the traceback. That is our insides, so it must never be on where a
stranger can reach the server; what came from the client is escaped all the same.

Chapter: docs/running.md.
"""

from __future__ import annotations

import html
import linecache
import traceback
from typing import Any

from .response import HTMLResponse

_CONTEXT = 3  # Lines shown before and after the one that raised.
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.3rem } h1 b { color: #c0392b }
pre { background: #8881; padding: .5rem .8rem; overflow-x: auto; border-radius: 6px }
mark { background: #f5b7b1; color: #000 } dt { font-weight: 600 } small { opacity: .7 }
"""


def wants_html(request: Any) -> bool:
    """Tell whether the client is a browser rather than a program."""
    return "text/html" in (request.headers.get("accept") or "").lower()


def debug_page(request: Any, error: BaseException) -> HTMLResponse:
    """Return the page for an exception: the last call first, as that is where to look."""
    frames = traceback.extract_tb(error.__traceback__)
    parts = [_frame(frame) for frame in reversed(frames)]
    trace = html.escape("".join(traceback.format_exception(error)))
    headers = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
        for name, value in request.headers.pairs()
    )
    title = f"<b>{html.escape(type(error).__name__)}</b>: {html.escape(str(error))}"
    return HTMLResponse(
        f"<!doctype html><html lang=en><meta charset=utf-8>"
        f"<meta name=viewport content='width=device-width'>"
        f"<title>{html.escape(type(error).__name__)}</title><style>{_STYLE}</style>"
        f"<h1>{title}</h1><p>{html.escape(request.method)} {html.escape(request.target)}"
        f" <small>request {html.escape(request.request_id)}</small></p>"
        f"{''.join(parts)}"
        f"<details><summary>Traceback as text</summary><pre>{trace}</pre></details>"
        f"<details><summary>Request fields</summary><dl>{headers}</dl></details>"
        f"<p><small>You see this because <code>debug=True</code>.</small></p></html>",
        500,
    )


def _frame(frame: traceback.FrameSummary) -> str:
    number = frame.lineno or 0
    lines = []
    for at in range(max(1, number - _CONTEXT), number + _CONTEXT + 1):
        line = linecache.getline(frame.filename, at)
        if line:
            text = html.escape(f"{at:5} {line.rstrip()}")
            lines.append(f"<mark>{text}</mark>" if at == number else text)
    where = html.escape(f"{frame.filename}:{number} in {frame.name}")
    return f"<p>{where}</p><pre>{chr(10).join(lines)}</pre>"
