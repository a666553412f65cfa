"""One non-blocking socket: bytes in at once, bytes out when the kernel takes them.

The rule: `write` never touches the socket. It queues, and the reactor flushes at the end of
the turn, so that everything one turn has to say to a peer leaves in one ``send``. What the
kernel does not take stays here, and only then is the descriptor watched for WRITE (a server
that always watches for WRITE burns a CPU with one idle client).

Backpressure is felt at the source: over the high watermark `is_congested` tells the channel
to stop producing, and `drained` tells it to go on once the low watermark is reached.

How a connection ends, from gentle to rude:

``finish``  send what is queued, then FIN, then read and drop until the peer closes too. A
            plain close() with unread input would make the kernel send RST, and RST takes
            the last answer out of the peer's hands: a 413 that nobody can read.
``close``   give the descriptor back; for a peer that has gone.
``abort``   RST. For a peer that does not read: an ordinary close would leave the kernel
            holding its megabytes for minutes.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import socket
from typing import Any

from ..endpoint import Endpoint
from ..filepiece import FilePiece
from ..why import CloseReason
from .conversation import NOBODY, Conversation
from .life import CLOSED, ENDED, FIN_SENT, FINISHING, NEXT, OPEN, PAUSED, READING, Life
from .loop import READ, WRITE, Reactor
from .wire import OUR_FIN, FileFailed, Wire, cause_of, held_by_kernel, reset_on_close, send_front

# What an unsent piece costs beside its bytes, about: a list entry and an object. Without it a
# generator of single bytes could fill a hundred times the memory that the watermark allows.
PIECE_COST = 64
# The most one transport sends in one turn, in bytes: a fast reader of a large file must not
# keep the loop for itself.
SEND_BUDGET = 1024 * 1024

# After these the peer had our last word to come, and that can still fail.
_MAY_FAIL_YET = (CloseReason.DONE, CloseReason.PEER_CLOSED)


class Transport:
    """One connection's socket and its unsent bytes. Reactor thread only.

    high_water, low_water, recv_size: bytes. input: whether it reads. life: how far it is on its
    way to the end.
    """

    __slots__ = (
        "_reactor",
        "_wire",
        "_channel",
        "_recv_size",
        "_high_water",
        "_low_water",
        "_unsent",
        "_interest",
        "_was_congested",
        "_has_dropped",
        "_kernel_held",
        "size",
        "bytes_out",
        "progressed",
        "flush_is_due",
        "reason",
        "input",
        "life",
    )

    def __init__(
        self,
        reactor: Reactor,
        wire: Wire,
        recv_size: int = 64 * 1024,
        high_water: int = 256 * 1024,
        low_water: int = 64 * 1024,
    ) -> None:
        self._reactor = reactor
        self._wire = wire
        self._channel: Conversation = NOBODY
        self._recv_size = recv_size
        self._high_water = high_water
        self._low_water = low_water
        # A list, not a deque: an empty deque costs 600 bytes for every idle connection.
        self._unsent: list[bytes | memoryview | FilePiece] = []
        self.flush_is_due = False
        self._interest = 0  # What the selector watches for now: READ | WRITE.
        self._was_congested = False
        self._has_dropped = False  # The peer has sent more while it was being finished.
        self.reason = CloseReason.DONE
        self._kernel_held = 0  # What is_stalled() saw last.
        self.size = 0  # Unsent bytes.
        self.bytes_out = 0  # Bytes that the kernel took, so far.
        self.progressed = reactor.now  # When the kernel last took a byte, or had all of them.
        self.input = PAUSED  # Until `attach`.
        self.life = OPEN

    def _move(self, new: Life) -> None:
        assert new in NEXT[self.life], (self.life, new)
        self.life = new

    def attach(self, channel: Conversation) -> None:
        """Start: from now on what happens on the socket is told to `channel`.

        Raises OSError where the kernel cannot watch one more; `channel` then hears nothing.
        """
        self.input = READING
        self._watch()
        self._channel = channel

    def fileno(self) -> int:
        """Return the socket's descriptor, or -1 once it is closed."""
        return self._wire.fileno()

    @property
    def is_congested(self) -> bool:
        """True while more than the high watermark is unsent."""
        return self.size > self._high_water

    @property
    def room(self) -> int:
        """Bytes that may be written before it is congested; below 0 while it is."""
        return self._high_water - self.size - PIECE_COST * len(self._unsent)

    @property
    def is_above_low_water(self) -> bool:
        """True while more than the low watermark is unsent."""
        return self.size > self._low_water

    @property
    def is_open(self) -> bool:
        """True until the descriptor is given back."""
        return self.life is not CLOSED

    @property
    def is_finishing(self) -> bool:
        """True from `finish` on: nothing more may be written."""
        return self.life is not OPEN

    @property
    def fin_is_sent(self) -> bool:
        """True once our FIN is out and we only wait for the peer's."""
        return self.life is FIN_SENT

    def is_stalled(self, now: float, timeout: float) -> bool:
        """Tell whether bytes wait and the peer took none for `timeout` seconds.

        To be asked once a second or so while bytes wait. The kernel calls a socket writable
        only when a good part of its buffer is free, which takes a slow reader minutes; so
        what lies in that buffer is looked at too, and where it shrinks the peer is alive.
        """
        if self.size == 0 and self.life is not FIN_SENT:
            return False
        held = held_by_kernel(self._wire)
        if held < self._kernel_held or (self.life is FIN_SENT and held <= OUR_FIN):
            self.progressed = now
        self._kernel_held = held
        return now - self.progressed >= timeout

    @property
    def is_undelivered(self) -> bool:
        """True while the kernel has bytes of ours, beside our FIN, that the peer has not."""
        return held_by_kernel(self._wire) > OUR_FIN

    def is_lingering(self) -> bool:
        """Tell whether closing now, after our FIN, could take the last bytes from the peer.

        It could where the peer has not got them all, and where it goes on sending: what comes
        for a closed socket is answered by RST, and many kernels then throw away what the peer
        has not read yet. What has come is read, and dropped, to find that out.
        """
        if self.life is not FIN_SENT:
            return False
        self.on_readable()
        return self.life is FIN_SENT and (self._has_dropped or self.is_undelivered)

    # --- in

    def on_readable(self) -> None:
        """Read once; called by the reactor."""
        if not self._interest & READ:
            return
        try:
            data = self._wire.recv(self._recv_size)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.close(cause_of(error))
            return
        if not data:
            self._on_eof()
        elif self.life is OPEN:
            self._channel.data_received(data)
        else:
            self._has_dropped = True

    def _on_eof(self) -> None:
        # A socket at EOF stays readable for ever: watching it further would spin.
        self.input = ENDED
        self._watch()
        if self.life is OPEN:
            self._channel.eof_received()
        elif self.life is FIN_SENT:
            self.close(self.reason)

    def pause_reading(self) -> None:
        """Let the kernel's buffer, and then the peer's, fill up."""
        if self.input is READING:
            self.input = PAUSED
            self._watch()

    def resume_reading(self) -> None:
        """Read again, unless the peer has said that there is no more."""
        if self.input is PAUSED and self.life is not CLOSED:
            self.input = READING
            self._watch()

    def _watch(self) -> None:
        """Bring what the selector watches for in line with what we want to know."""
        wanted = READ if self.input is READING else 0
        if (self._unsent or self.life is FINISHING) and not self.flush_is_due:
            wanted |= WRITE
        if wanted == self._interest:
            return
        before = self._interest
        if not before:
            self._reactor.register(self, wanted)  # May fail: the kernel's memory has an end.
        elif wanted:
            self._reactor.modify(self, wanted)
        else:
            self._reactor.unregister(self)
        self._interest = wanted

    # --- out

    def write(self, data: bytes | FilePiece) -> bool:
        """Queue bytes, or a piece of a file, for the end of this turn. Never blocks.

        Returns whether it is congested now, as `is_congested` tells at any time.
        """
        reactor, size = self._reactor, len(data)
        if reactor.debug:
            reactor.check_thread()
        if self.life is not OPEN or not size:
            if isinstance(data, FilePiece):
                data.close()
            return False
        if not self._unsent:
            self.progressed = reactor.now
            self.flush_is_due = True
            reactor.flush_at_turn_end(self)
        self._unsent.append(data)
        self.size = size = self.size + size
        return size > self._high_water

    def flush(self) -> None:
        """The end of the turn: send what was written during it."""
        self.flush_is_due = False
        unsent, size = self._unsent, self.size
        if len(unsent) != 1 or size + PIECE_COST >= self._high_water or self.life is not OPEN:
            self._send()
            return
        # Nearly always: one answer, and the kernel takes it. `_send` is for all the rest.
        piece = unsent[0]
        if type(piece) is not bytes:
            self._send()
            return
        try:
            sent = self._wire.send(piece)
        except (BlockingIOError, InterruptedError):
            self._watch()
            return
        except OSError as error:
            self.close(cause_of(error))
            return
        self.bytes_out += sent
        if sent == size:
            unsent.clear()
            self.size = 0
            self._channel.flushed()
        else:
            self.size = size - sent
            unsent[0] = memoryview(piece)[sent:]  # A view: no copy of what remains.
            self.progressed = self._reactor.now
            self._send()

    def on_writable(self) -> None:
        """The kernel has room again; called by the reactor."""
        if self._interest & WRITE:
            self._send()

    def _send(self) -> None:
        """Send until all is out, the kernel is full, or the budget of this turn is used."""
        if self.life is CLOSED:
            return
        unsent = self._unsent
        budget = SEND_BUDGET
        # Before anything is sent: who found no room during this turn waits for `drained`, even
        # where the kernel now takes enough to be below the mark again.
        is_full = self.size + PIECE_COST * len(unsent) >= self._high_water
        is_new = is_full and not self._was_congested
        if is_new:
            self._was_congested = True
        try:
            while unsent and budget > 0:
                sent = send_front(self._wire, unsent)
                if sent == 0:
                    break
                self.size -= sent
                self.bytes_out += sent
                budget -= sent
                self.progressed = self._reactor.now
        except (BlockingIOError, InterruptedError):
            pass
        except FileFailed as error:
            self._channel.file_failed(str(error))
            self.abort(CloseReason.STREAM_FAILED)
            return
        except OSError as error:
            self.close(cause_of(error))
            return
        if unsent:
            self._watch()
            if self._was_congested and self.size <= self._low_water:
                self._was_congested = False
                self._channel.drained()
            elif is_new:
                self._channel.congested()
            return
        if self._interest & WRITE:
            self._watch()
        if self.life is FINISHING:
            self._send_fin()
            return
        if self._was_congested:
            self._was_congested = False
            self._channel.drained()
            if unsent or self.life is CLOSED:
                return
        self._channel.flushed()

    # --- the end

    def finish(self, reason: CloseReason) -> None:
        """Send what is queued, then FIN, then drop what still comes until the peer closes.

        The caller keeps the deadline; `fin_is_sent` tells which wait it is.
        """
        if self.life is not OPEN:
            return
        self._move(FINISHING)
        self.reason = reason
        if self.input is PAUSED:
            self.input = READING  # To see the peer's FIN; what it sends is dropped.
        if self._unsent:
            self._watch()
        else:
            self._send_fin()

    def _send_fin(self) -> None:
        if self.input is ENDED:
            self.close(self.reason)
            return
        try:
            self._wire.shutdown(socket.SHUT_WR)
        except BlockingIOError:  # A wire that encodes has a last word of its own to send.
            self._watch()
            return
        except OSError:
            self.close(self.reason)
            return
        self._move(FIN_SENT)
        self._watch()
        self._channel.flushed()

    def close(self, reason: CloseReason) -> None:
        """Give the descriptor back now. What is unsent is lost.

        reason: it counts where the end had no cause yet, or is a bug of ours.
        """
        if self.life is CLOSED:
            return
        has_cause = self.life is not OPEN and self.reason not in _MAY_FAIL_YET
        self._move(CLOSED)
        if not has_cause or reason is CloseReason.INTERNAL_ERROR:
            self.reason = reason
        if self._interest:
            self._interest = 0
            self._reactor.unregister(self)
        for piece in self._unsent:
            if isinstance(piece, FilePiece):
                piece.close()
        self._unsent.clear()
        self.size = 0
        self._wire.close()
        self._channel.connection_lost(self.reason)

    def abort(self, reason: CloseReason) -> None:
        """Reset the connection: the peer sees an error, the kernel keeps nothing."""
        if self.life is not CLOSED:
            reset_on_close(self._wire)
            self.close(reason)

    def close_copy(self) -> None:
        """In a forked child: close its copy of the descriptor; the connection is the parent's."""
        self._wire.close()

    def on_failure(self, error: BaseException) -> None:
        """A bug of ours came up while this connection was served: it cannot go on."""
        self.abort(CloseReason.INTERNAL_ERROR)

    # --- options

    def set_option(self, level: int, name: int, value: int) -> None:
        """Set a socket option; a peer that has gone meanwhile is not an error here."""
        try:
            self._wire.setsockopt(level, name, value)
        except OSError:
            pass

    @property
    def local_address(self) -> Endpoint | None:
        """Our end of the connection, (host, port); None where it has gone."""
        try:
            return Endpoint.of(self._wire.getsockname())
        except OSError:
            return None

    def __repr__(self) -> str:
        peer: Any = "closed"
        if self.life is not CLOSED:
            try:
                peer = self._wire.getpeername()
            except OSError:
                peer = "gone"
        return f"<Transport {peer} unsent={self.size}>"
