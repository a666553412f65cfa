"""Large messages are decoded by a worker: reading them would hold the loop.

The rule: an array of a megabyte is read in C in some milliseconds, a megabyte of <a/> takes 0.35 s
of calls between C and Python. So what is small is decoded where it is cut, and the rest on a
thread, while the connection waits as if the message were handled already.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

from ..protocol.frame import Frame
from ..protocol.message import Command, Signal, decode

# Up to so many bytes of JSON or XML are decoded where they are cut: some 3 ms at the worst.
DECODED_HERE = 16 * 1024
SLOW = ("json", "xml")  # A line, and bytes, are taken as they are.


class Undecoded:
    """A message on its way to a worker that decodes it; emptied where its client leaves."""

    __slots__ = ("frame", "is_abandoned", "max_depth")

    def __init__(self, frame: Frame, max_depth: int) -> None:
        self.frame: Frame | None = frame
        self.max_depth = max_depth
        self.is_abandoned = False

    def forget(self) -> None:
        """Reactor thread: nobody waits for it."""
        self.is_abandoned = True
        self.frame = None


def decode_whole(message: Undecoded) -> tuple[Frame, Command | Signal] | None:
    """On a worker: return what the message says; None where nobody waits for it any more."""
    frame = message.frame
    return None if frame is None else (frame, decode(frame, message.max_depth))
