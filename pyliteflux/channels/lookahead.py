"""What a client has sent behind the message at work: cut already, to find what is no command.

Commands are handled one at a time, in their order. An acknowledgement is no command, and whoever
waits for it may be the very handler that it would have to wait for. So the messages behind
are cut and read while a handler works: signals are heeded at once, all else is kept in order.

The rule: each message is cut and read once, and little is kept. Nobody looks past a message that
may change how the next one is cut, or that is itself not read yet.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..errors import BadMessage, ProtocolError
from ..protocol.frame import Frame
from ..protocol.framers import Framer
from ..protocol.message import Command, Signal, decode
from .decoding import DECODED_HERE, SLOW

# Messages kept at most: as many as are handled in one turn when they are all here.
MOST_AHEAD = 16
# And signals heeded in one look: then it is the turn of others.
MOST_SIGNALS = 64
# What a frame says; None: it is too large to be decoded here; an error: it cannot be read.
Said = Command | ProtocolError | None


class LookAhead:
    """Messages of one connection that wait for the one before them. Reactor thread.

    changes_framing: tells of a command's name whether its route changes the framing.
    size: bytes of the messages that wait.
    """

    __slots__ = ("_changes_framing", "_items", "_max_depth", "size")

    def __init__(self, changes_framing: Callable[[str], bool], max_depth: int) -> None:
        self._changes_framing = changes_framing
        self._max_depth = max_depth
        self._items: deque[tuple[Frame | None, Said]] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._items)

    def look(self, framer: Framer, heed: Callable[[Signal], None]) -> bool:
        """Cut what is here; hand each signal to `heed`, which does not raise.

        Returns True where more is left to be looked at, in another turn.
        """
        signals = 0
        while len(self._items) < MOST_AHEAD and not self._is_barred():
            if signals == MOST_SIGNALS:
                return True
            frame: Frame | None = None
            said: Said = None
            try:
                frame = framer.next_frame()
                if frame is None:
                    return bool(getattr(framer, "has_more", False))
                if len(frame.data) <= DECODED_HERE or frame.data_type not in SLOW:
                    read = decode(frame, self._max_depth)
                    if isinstance(read, Signal):
                        signals += 1
                        heed(read)
                        continue
                    said = read
            except ProtocolError as error:
                said = error
            self._items.append((frame, said))
            self.size += 0 if frame is None else len(frame.data)
        return False

    def take(self) -> tuple[Frame | None, Said]:
        """Return the next message. There must be one."""
        frame, said = self._items.popleft()
        self.size -= 0 if frame is None else len(frame.data)
        return frame, said

    def _is_barred(self) -> bool:
        """True where nobody can tell how the bytes behind the last message are to be cut."""
        if not self._items:
            return False
        said = self._items[-1][1]
        if isinstance(said, BadMessage):  # The framer is in step again behind it.
            return said.said is not None and self._changes_framing(said.said[0])
        if said is None or isinstance(said, ProtocolError):
            return True
        return self._changes_framing(said[0])
