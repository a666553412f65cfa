"""What a transport is doing, in two words: how near its end is, and whether it reads.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

from ..word import Word


class Life(Word):
    """How far a transport is on its way to the end."""

    OPEN = "both sides may speak"
    FINISHING = "what is queued goes out; nothing more may be written"
    FIN_SENT = "our FIN is out, and the peer's is waited for"
    CLOSED = "the descriptor is given back"


OPEN, FINISHING, FIN_SENT, CLOSED = Life.OPEN, Life.FINISHING, Life.FIN_SENT, Life.CLOSED

NEXT = {
    OPEN: {FINISHING, CLOSED},
    FINISHING: {FIN_SENT, CLOSED},
    FIN_SENT: {CLOSED},
    CLOSED: set(),
}


class Input(Word):
    """Whether a transport reads."""

    PAUSED = "not now: the kernel's buffer, and then the peer's, fills up"
    READING = "what comes is read"
    ENDED = "the peer has said that there is no more"


PAUSED, READING, ENDED = Input.PAUSED, Input.READING, Input.ENDED
