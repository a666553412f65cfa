"""What a handler returns to say nothing at all.

``None`` is an answer: ``null`` on a line, 204 over HTTP. A syslog forwarder or a GPS mouse never
reads one; what is sent to it fills its buffers, then ours, and in the end its connection is reset.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

from typing import Final


class NoAnswer:
    """The type of `NO_ANSWER`, which is its only object."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NO_ANSWER"

    def __reduce__(self) -> str:
        return "NO_ANSWER"  # A copy is the same object: it is compared with `is`.


NO_ANSWER: Final = NoAnswer()
