"""What a transport reports to: the conversation above it.

The rule: this room knows of a conversation no more than these seven calls.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

from typing import Protocol

from ..why import CloseReason


class Conversation(Protocol):
    """What happens on one connection is told to it, on the reactor thread."""

    def data_received(self, data: bytes) -> None:
        """Bytes have come; never empty."""

    def eof_received(self) -> None:
        """The peer will send no more. It may still read: its half of the socket is closed."""

    def flushed(self) -> None:
        """Everything written is with the kernel now."""

    def congested(self) -> None:
        """The peer takes less than is written, and more than the high watermark waits."""

    def file_failed(self, text: str) -> None:
        """A file that is being sent fails: the connection is reset, as its length is a lie."""

    def drained(self) -> None:
        """After congestion: the low watermark is reached, produce again."""

    def connection_lost(self, reason: CloseReason) -> None:
        """The transport is closed. Called exactly once, and nothing comes after it."""


class Nobody(Conversation):
    """The conversation of a transport that has none yet: it hears nothing."""


NOBODY = Nobody()  # type: ignore[abstract]  # To do nothing is what it does.
