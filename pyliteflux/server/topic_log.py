"""The last messages of one topic, so that who was away for a moment can have what it missed.

The rule: the log says what it no longer has. Every message has a position, counted over all
topics of the server, so that one number tells where a client is, in one topic or in hundreds;
`lost` is the highest position that has been here and is forgotten. Who asks for what came
after an earlier one has a gap, and is told.

Chapter: docs/topics.md.
"""

from __future__ import annotations

from collections import deque

from ..jsontext import dumps
from ..protocol.push import TopicFrame


class TopicLog:
    """A ring of frames. Reactor thread only; other threads may read `seq`.

    max_messages, max_bytes: what is kept at most; 0 messages keeps nothing.
    """

    __slots__ = ("_encoded", "_frames", "_size", "max_messages", "max_bytes", "seq", "lost")

    def __init__(self, topic: str, max_messages: int, max_bytes: int, lost: int = 0) -> None:
        self._encoded = dumps(topic)
        self._frames: deque[TopicFrame] = deque()
        self._size = 0  # Bytes of the frames.
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.seq = 0  # Of the last message; they are counted from 1.
        self.lost = lost

    def __len__(self) -> int:
        return len(self._frames)

    def append(self, position: int, id: str, data: bytes) -> TopicFrame:
        """Give a message its number, keep it, and return it as a frame. data: its JSON."""
        self.seq += 1
        frame = TopicFrame(self._encoded, self.seq, position, id, data)
        self._frames.append(frame)
        self._size += len(frame.json)
        self.trim()
        return frame

    def trim(self) -> None:
        """Forget what is over the limits, oldest first."""
        frames = self._frames
        while len(frames) > self.max_messages or (frames and self._size > self.max_bytes):
            frame = frames.popleft()
            self._size -= len(frame.json)
            self.lost = frame.position

    def after(self, position: int) -> list[TopicFrame]:
        """Return what is kept of the messages after a position, oldest first."""
        newer = []
        for frame in reversed(self._frames):  # Who was away for a moment missed only a few.
            if frame.position <= position:
                break
            newer.append(frame)
        newer.reverse()
        return newer
