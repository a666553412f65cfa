"""The page a developer sees where a handler has raised, with ``debug=True`` only.

It shows source lines and the traceback. That is our insides, so it must never be on where a
stranger can reach the server; what came from the client is escaped all the same.

Chapter: docs/running.md.
"""

from __future__ import annotations

import linecache
import traceback
from typing import Any

from .response import HTMLResponse, escape_html

_CONTEXT = 3  # Lines shown before and after the one that raised.
_MAX_FRAMES = 30  # Calls shown, the last ones. A recursion has a thousand.
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; --red: #b3261e }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.3rem; white-space: pre-wrap } h1 b { color: var(--red) }
h2 { font-size: 1rem; font-weight: 400; margin: 1.5rem 0 .3rem } h2 b { font-weight: 600 }
pre { font: .85rem/1.5 ui-monospace, monospace; overflow-x: auto; margin: 0 }
pre { background: #8882; padding: .5rem 0; border-radius: 6px; overflow-wrap: normal }
pre code, pre mark { display: block; width: max-content; min-width: 100%; font: inherit }
pre code, pre mark { padding: 0 .8rem; box-sizing: border-box }
mark { background: #f9d0cc; color: #000; box-shadow: inset 4px 0 var(--red) }
details { margin: 1rem 0 } summary { cursor: pointer } details pre { padding: .5rem .8rem }
dt { font-weight: 600 } small { opacity: .75 }
@media (prefers-color-scheme: dark) {
    :root { --red: #ff8a80 } mark { background: #6b2320; color: #fff }
}
"""


def wants_html(request: Any) -> bool:
    """Tell whether the client is a browser rather than a program."""
    return "text/html" in (request.headers.get("accept") or "").lower()


def text_of(error: BaseException) -> str:
    """Return the text of an exception, fit to be sent, whatever it makes of itself."""
    try:
        return _sendable(str(error))
    except KeyboardInterrupt:
        raise
    except BaseException:
        return "(it has no text: its __str__ failed)"


def traceback_of(error: BaseException) -> list[str]:
    """Return the traceback as lines that can be sent."""
    try:
        return [_sendable(line) for line in traceback.format_exception(error)]
    except KeyboardInterrupt:
        raise
    except BaseException:  # `traceback` is ready for an Exception of the error's __str__ alone.
        return ["(its traceback cannot be told)"]


def _sendable(text: str) -> str:
    """Half a surrogate pair has no UTF-8; it is shown as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def debug_page(request: Any, error: BaseException) -> HTMLResponse:
    """Return the page for an exception: the last call first, as that is where to look."""
    frames = traceback.extract_tb(error.__traceback__)[::-1]
    parts = [_frame(frame) for frame in frames[:_MAX_FRAMES]]
    if len(frames) > _MAX_FRAMES:
        parts.append(f"<p>and {len(frames) - _MAX_FRAMES} calls before these.</p>")
    trace = escape_html("".join(traceback_of(error)))
    headers = "".join(
        f"<dt>{escape_html(name)}</dt><dd>{escape_html(value)}</dd>"
        for name, value in request.headers.pairs()
    )
    kind = escape_html(type(error).__name__)
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8>"
        f"<meta name=viewport content='width=device-width'>"
        f"<title>{kind}</title><style>{_STYLE}</style>"
        f"<h1><b>{kind}</b>: {escape_html(text_of(error))}</h1>"
        f"<p>{escape_html(request.method)} {escape_html(request.target)}"
        f" <small>request {escape_html(request.request_id)}</small></p>"
        f"{''.join(parts)}"
        f"<details><summary>Traceback as text</summary><pre>{trace}</pre></details>"
        f"<details><summary>Request fields</summary><dl>{headers}</dl></details>"
        f"<p><small>You see this because <code>debug=True</code>.</small></p></html>"
    )
    return HTMLResponse(_sendable(page), 500)


def _frame(frame: traceback.FrameSummary) -> str:
    number = frame.lineno or 0
    lines = []
    for at in range(max(1, number - _CONTEXT), number + _CONTEXT + 1):
        line = linecache.getline(frame.filename, at)
        if line:
            element = "mark" if at == number else "code"
            lines.append(f"<{element}>{escape_html(f'{at:5} {line.rstrip()}')}</{element}>")
    where = f"<b>{escape_html(frame.name)}</b> in {escape_html(f'{frame.filename}:{number}')}"
    return f"<h2>{where}</h2><pre>{''.join(lines)}</pre>"
