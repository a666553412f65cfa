"""A piece of an open file on its way out: the response makes it, the transport sends it.

The rule: one owner at a time. Whoever holds a piece closes it, and who hands it on does not.

Chapter: docs/files.md.
"""

from __future__ import annotations

import os


class FilePiece:
    """A piece of an open file to be sent by the kernel. Owns its descriptor.

    offset, count: bytes. `close` is called when it is sent or given up.
    """

    __slots__ = ("fd", "offset", "count")

    def __init__(self, fd: int, offset: int, count: int) -> None:
        self.fd = fd
        self.offset = offset
        self.count = count

    def __len__(self) -> int:
        return self.count

    def close(self) -> None:
        """Give the descriptor back."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
