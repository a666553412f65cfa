"""One message of a TCP stream as bytes, and how much of one is accepted unless a setting says more.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

from typing import Any

MAX_MESSAGE = 1024 * 1024  # Bytes. Config.tcp_max_message.
MAX_DEPTH = 64  # Levels. Config.tcp_max_depth.


class Frame:
    """One message as bytes, without its line end.

    data_type: "json", "xml", "raw" (a line: a command and its data) or "binary" (bytes without
    a command; the route ``*`` gets them). value: the object that a JSON message is, where its
    end was found by reading it; None: `protocol.message` has still to read it.
    """

    __slots__ = ("data", "data_type", "value")

    def __init__(self, data_type: str, data: bytes, value: dict[str, Any] | None = None) -> None:
        self.data_type = data_type
        self.data = data
        self.value = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frame):
            return NotImplemented
        return self.data == other.data and self.data_type == other.data_type

    def __hash__(self) -> int:
        return hash((self.data_type, self.data))

    def __repr__(self) -> str:
        return f"Frame({self.data_type!r}, {self.data!r})"
