"""Why did it close? What each connection went through, kept for a while after its end.

The rule: taking notes is cheap enough to be always on. A connection has one flat list, four
values to an event and no object per event; it is cut back to the last two dozen, and what a
note says is put into words only when somebody asks. Nothing here grows with what a peer does:
the list is bounded, its texts are, and so is the number of stories that are kept.

Chapter: docs/why-it-closed.md.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Any, NamedTuple

from ..endpoint import Endpoint, Peer, id_of
from ..log import escape
from ..log import framework as log
from ..why import CloseReason
from ..word import Word

# So many events of a connection are kept at least; half as many more, and they are cut back.
KEPT_EVENTS = 24
# And of one that has nothing to do: there may be ten thousand of them, and they are to cost little.
KEPT_IDLE_EVENTS = 8
# Of what a peer wrote (a target, a command, an error that quotes it), in characters.
DETAIL_LIMIT = 100
# Between two log lines about one reason, in seconds: a flood of connections is no flood of lines.
LOG_INTERVAL = 1.0

# An event is four values of the flat list: time (monotonic), kind, and what the kind says.
EVENT_WIDTH = 4
KEPT_VALUES = EVENT_WIDTH * KEPT_EVENTS
MOST_VALUES = KEPT_VALUES + KEPT_VALUES // 2
# So many values back from its end a refusal may stand to be what ended a connection.
LAST_WORDS = 6 * EVENT_WIDTH
IDLE_VALUES = EVENT_WIDTH * KEPT_IDLE_EVENTS


class Kind(Word):
    """What may happen to a connection."""

    ACCEPTED = "accepted"
    EARLIER = "earlier events are not kept"
    PARTIAL = "part of a request or message is here"
    REQUEST = "request"
    MESSAGE = "message"
    ANSWERED = "answered"
    REFUSED = "refused"
    NO_ROOM = "there is no room for it"
    CONGESTED = "the peer takes less than we write"
    DRAINED = "the peer has caught up"
    FRAMING = "the framing changes"
    STREAM_STARTED = "a stream begins"
    STREAM_ENDED = "the stream is complete"
    STREAM_FAILED = "the stream failed"
    SUBSCRIBED = "subscribed"
    UNSUBSCRIBED = "unsubscribed"
    PUSH_DROPPED = "pushes were given up"
    ACK_TIMEOUT = "a push was not acknowledged in time"
    PING = "pinged"
    PEER_FINISHED = "the peer will send no more"
    DEADLINE = "a deadline passed"
    DISCONNECTED = "the application ends it"
    SHUTDOWN = "the server stops"
    CLOSING = "we close"
    CLOSED = "closed"
    TOO_LATE = "the handler returned, too late"


_EARLIER = (Kind.EARLIER, None, 1)
# The hot path's: an attribute of an Enum class costs as much as a call.
REQUEST, MESSAGE, ANSWERED = Kind.REQUEST, Kind.MESSAGE, Kind.ANSWERED

# Told once with a count, where they come one after another: they say nothing new.
_REPEATED = {Kind.PING, Kind.PUSH_DROPPED, Kind.ACK_TIMEOUT, Kind.TOO_LATE}

# What the operator should know of an end; the others are told at DEBUG.
LEVELS = {
    CloseReason.PROTOCOL_ERROR: logging.INFO,
    CloseReason.TOO_LARGE: logging.INFO,
    CloseReason.READ_TIMEOUT: logging.INFO,
    CloseReason.PEER_GONE: logging.INFO,
    CloseReason.PING_TIMEOUT: logging.INFO,
    CloseReason.DISCONNECTED: logging.INFO,
    CloseReason.REFUSED: logging.INFO,
    CloseReason.EVICTED: logging.INFO,
    CloseReason.SEND_TIMEOUT: logging.WARNING,
    CloseReason.SLOW_CLIENT: logging.WARNING,
    CloseReason.HANDLER_TIMEOUT: logging.WARNING,
    CloseReason.STREAM_FAILED: logging.WARNING,
    CloseReason.BUSY: logging.WARNING,
    CloseReason.INTERNAL_ERROR: logging.ERROR,
}


def add_note(events: list[Any], now: float, kind: Kind, detail: Any) -> None:
    """Add an event that is none of the hot path's, or count it with one that is there."""
    if isinstance(detail, str):
        detail = detail[:DETAIL_LIMIT]
    if kind in _REPEATED and events[-3:-1] == [kind, detail]:
        events[-4] = now
        events[-1] += 1
    elif kind is Kind.CONGESTED and events[-3::-EVENT_WIDTH][:2] == [Kind.DRAINED, kind]:
        # A long download goes up and down a thousand times. It is congested once more, since
        # the first time; the DRAINED between is made up for by the next.
        del events[-EVENT_WIDTH:]
        events[-1] += 1
    else:
        events += (now, kind, detail, 1)


def trim(events: list[Any], kept: int = KEPT_VALUES) -> None:
    """Keep the last events, and a first one that says that there were others. kept: values."""
    del events[: len(events) - kept]
    events[1:EVENT_WIDTH] = _EARLIER


class Event(NamedTuple):
    """Something that happened to a connection.

    seconds: since it was accepted. text: one line, with what the peer wrote escaped.
    """

    seconds: float
    kind: Kind
    text: str


class Story(NamedTuple):
    """One connection, from accept to close. ``str(story)`` is a report to read.

    protocol: "http" or "tcp". address: the peer's. opened, closed: `time.time()`; closed is
    None while it is open. state: "IDLE", "HANDLING" ... and "CLOSED". reason: why it closed or
    is about to; None before. queued: bytes that wait for the peer.
    """

    client_id: str
    protocol: str
    address: tuple[str, int]
    opened: float
    closed: float | None
    state: str
    reason: CloseReason | None
    queued: int
    events: tuple[Event, ...]

    def __str__(self) -> str:
        lasted = (time.time() if self.closed is None else self.closed) - self.opened
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.opened))
        head = f"{self.protocol.upper()} {escape(self.client_id)}, "
        if self.closed is None:
            head += f"open since {since}, for {lasted:.3f} s: {self.state}"
            if self.queued:
                head += f", {self.queued} bytes wait for the peer"
        else:
            head += f"opened {since}, closed after {lasted:.3f} s"
        if self.reason is not None:
            head += f"\n  {self.reason.name}: {self.reason.value}"
        lines = (f"\n  {event.seconds:10.3f}  {event.text}" for event in self.events)
        return head + "".join(lines)


class Record:
    """What is kept of a connection: its notes, not yet in words.

    opened, closed: on the reactor's clock. ended: `time.time()` at the close. local: the
    address of the port that accepted it.
    """

    __slots__ = (
        "client_id",
        "protocol",
        "address",
        "local",
        "opened",
        "closed",
        "ended",
        "state",
        "reason",
        "queued",
        "events",
    )

    def __init__(
        self,
        protocol: str,
        peer: Peer,
        local: Endpoint | None,
        opened: float,
        closed: float | None,
        state: str,
        reason: CloseReason | None,
        queued: int,
        events: list[Any],
    ) -> None:
        self.client_id = peer.id
        self.protocol = protocol
        self.address = peer
        self.local = local
        self.opened = opened
        self.closed = closed
        self.ended = time.time()
        self.state = state
        self.reason = reason
        self.queued = queued
        self.events = events

    def story(self, now: float) -> Story:
        """Put it into words. now: on the reactor's clock, for what is still open."""
        lasted = (now if self.closed is None else self.closed) - self.opened
        where = "" if self.local is None else f" on {id_of(self.local)}"
        told = [Event(0.0, Kind.ACCEPTED, escape(f"accepted from {self.client_id}{where}"))]
        notes = self.events[:]  # One step under the GIL: the reactor may be writing.
        for place in range(0, len(notes) - len(notes) % EVENT_WIDTH, EVENT_WIDTH):
            at, kind, detail, more = notes[place : place + EVENT_WIDTH]
            told.append(Event(at - self.opened, kind, _words(kind, detail, more)))
        return Story(
            self.client_id,
            self.protocol,
            self.address,
            self.ended - lasted,
            None if self.closed is None else self.ended,
            self.state,
            self.reason,
            self.queued,
            tuple(told),
        )


def _words(kind: Kind, detail: Any, more: Any) -> str:
    """Return an event as a line; what came from the network cannot leave it, or forge one."""
    if kind is REQUEST or kind is MESSAGE:
        text = f"{kind.value} {detail}"
    elif kind is ANSWERED:
        text = f"answered {detail}, {more} bytes"
    else:
        text = kind.value
        if isinstance(detail, CloseReason):
            text += f": {detail.value}"
        elif detail is not None:
            text += f": {detail}"
        if more > 1:
            text += f" ({more} times)"
    # JSON may hold half of a surrogate pair, which no terminal can be told.
    return escape(text).encode("utf-8", "backslashreplace").decode()


def _refusal(events: list[Any]) -> str:
    """Return what the last words were: which request was refused, and why; "" where none was."""
    asked = ""
    for start in range(0, len(events), EVENT_WIDTH):
        _, kind, detail, _ = events[start : start + EVENT_WIDTH]
        if kind is REQUEST or kind is MESSAGE:
            asked = f"{detail}: "
        elif kind is ANSWERED:
            asked = ""
        elif kind is Kind.REFUSED and start >= len(events) - LAST_WORDS:
            return escape(f": {asked}{detail}").encode("utf-8", "backslashreplace").decode()
    return ""


class Journal:
    """The connections that have closed: their stories, and how many closed why.

    The reactor thread writes; any thread may ask with `find` and `counts`. kept: so many
    stories; over it, the oldest of the reason that has the most of them goes. So a flood of
    one kind of end pushes out its own kind, and the one slow client of last night is still
    there in the morning.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._by_id: dict[str, Record] = {}
        self._by_reason: dict[CloseReason, deque[Record]] = {}
        self._size = 0
        self._counts: dict[CloseReason, int] = {}
        self._logged: dict[CloseReason, float] = {}  # When a line about it was written last.
        self._unsaid: dict[CloseReason, int] = {}  # Since then, without a line.

    def add(self, record: Record) -> None:
        """A connection has closed: count it, log it, keep it."""
        reason, closed = record.reason, record.closed
        assert reason is not None and closed is not None
        self._counts[reason] = self._counts.get(reason, 0) + 1
        self._log(record, reason, closed)
        if not self._kept:
            return
        self._by_id[record.client_id] = record
        self._by_reason.setdefault(reason, deque()).append(record)
        self._size += 1
        if self._size > self._kept:
            self._size -= 1
            oldest = max(self._by_reason.values(), key=len).popleft()
            # Its id may belong to a later connection by now: the kernel reuses ports.
            if self._by_id.get(oldest.client_id) is oldest:
                del self._by_id[oldest.client_id]

    def add_cut(
        self, protocol: str, peer: Peer, local: Endpoint | None, now: float, why: str
    ) -> None:
        """A connection was closed at the accept: there was no room even to tell it so."""
        events = [now, Kind.NO_ROOM, why, 1]
        self.add(Record(protocol, peer, local, now, now, "CLOSED", CloseReason.BUSY, 0, events))

    def find(self, client_id: str) -> Story | None:
        """Any thread: return the story of the last connection of this id, if it is kept."""
        record = self._by_id.get(client_id)
        return None if record is None else record.story(0.0)

    @property
    def counts(self) -> dict[CloseReason, int]:
        """Any thread: how many closed for each reason; only those that happened."""
        return self._counts.copy()

    def _log(self, record: Record, reason: CloseReason, now: float) -> None:
        level = LEVELS.get(reason, logging.DEBUG)
        more = ""
        if level > logging.DEBUG:
            if now < self._logged.get(reason, now - LOG_INTERVAL) + LOG_INTERVAL:
                self._unsaid[reason] = self._unsaid.get(reason, 0) + 1
                level = logging.DEBUG
            else:
                self._logged[reason] = now
                if reason in self._unsaid:
                    more = f", and {self._unsaid.pop(reason)} more before it"
        if log.isEnabledFor(level):
            log.log(
                level,
                "%s %s closed: %s (%s)%s%s",
                record.protocol.upper(),
                escape(record.client_id),
                reason.value,
                reason.name,
                _refusal(record.events),
                more,
            )

    def report(self, now: float) -> None:
        """Log how many ends have had no line of their own, once a second for each reason."""
        if not self._unsaid:
            return
        for reason, count in list(self._unsaid.items()):
            if now >= self._logged[reason] + LOG_INTERVAL:
                self._logged[reason] = now
                del self._unsaid[reason]
                log.log(LEVELS[reason], "%d more closed: %s (%s)", count, reason.value, reason.name)
