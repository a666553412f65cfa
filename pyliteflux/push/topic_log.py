"""The last messages of one topic, so that who was away for a moment can have what it missed.

The rule: the log says what it no longer has. Every message has a position, counted over all
topics of the server, so that one number tells where a client is, in one topic or in hundreds;
`lost` is the highest position that has been here and is forgotten. Who asks for what came
after an earlier one has a gap, and is told.

Chapter: docs/topics.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from ..jsontext import dumps
from ..protocol.push import TopicFrame


class TopicLog:
    """A ring of frames. Reactor thread only; other threads may read `seq` and the length.

    max_messages, max_bytes: what is kept at most; 0 messages keeps nothing. size: bytes of
    what is kept. lost: the position up to which nobody knows what there was.
    """

    __slots__ = (
        "_encoded",
        "_frames",
        "topic",
        "newest",
        "size",
        "max_messages",
        "max_bytes",
        "seq",
        "lost",
    )

    def __init__(self, topic: str, max_messages: int, max_bytes: int, lost: int = 0) -> None:
        self.topic = topic
        self._encoded = dumps(topic)
        self._frames: deque[TopicFrame] = deque()
        self.size = 0
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.seq = 0  # Of the last message; they are counted from 1.
        self.lost = lost
        # The position of the last message that has been here; `lost` where there was none.
        self.newest = lost

    def __len__(self) -> int:
        return len(self._frames)

    def append(self, position: int, id: str, data: bytes) -> TopicFrame:
        """Give a message its number, keep it, and return it as a frame. data: its JSON."""
        self.seq += 1
        frame = TopicFrame(self.topic, self._encoded, self.seq, position, id, data)
        self._frames.append(frame)
        self.newest = position
        self.size += len(frame.json)
        self.trim()
        return frame

    def trim(self) -> None:
        """Forget what is over the limits, oldest first."""
        frames = self._frames
        while len(frames) > self.max_messages or (frames and self.size > self.max_bytes):
            frame = frames.popleft()
            self.size -= len(frame.json)
            self.lost = frame.position

    def clear(self) -> None:
        """Forget all messages; the numbers go on."""
        self.lost = self.newest
        self._frames.clear()
        self.size = 0

    def newest_first(self, after: int, up_to: float) -> Iterator[TopicFrame]:
        """Yield what is kept of the messages after a position, up to another, the last first."""
        for frame in reversed(self._frames):  # Who was away for a moment missed only a few.
            if frame.position <= after:
                return
            if frame.position <= up_to:
                yield frame
