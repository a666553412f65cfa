"""What the statuses of HTTP are called: RFC 9110 section 15; and the methods that we know.

On the ground because a status line (`protocol.http_response`) and an error body
(`app.response`) must say the same, on every version of Python: `http.HTTPStatus` changed
its names for some of them in 3.13.

Chapter: docs/http.md.
"""

from __future__ import annotations

from http import HTTPStatus

PHRASES: dict[int, str] = {
    **{status.value: status.phrase for status in HTTPStatus},
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    418: "I'm a teapot",
    422: "Unprocessable Content",
}
# RFC 9110 section 9 and RFC 5789. CONNECT and TRACE are known but not implemented here: the
# one needs a tunnel, the other shows a client's cookies to its scripts.
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")


def phrase(status: int) -> str:
    """Return what a status is called; "Error" for one that nobody has registered."""
    return PHRASES.get(status, "Error")
