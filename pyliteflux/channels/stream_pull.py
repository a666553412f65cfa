"""Pull a stream's pieces from its iterator, on a worker, while the client keeps up.

The rule: nobody holds a thread while the client is slow. A pull has a credit in bytes, the
room that the transport has; when it is used up the worker goes away and the generator lies
still until the transport has drained. Each piece is handed over as soon as it is there: the
next one may take its generator a minute.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ..app.context import Scope
from ..config import Config
from ..errors import PoolFull, ReactorClosed
from ..log import framework as log
from ..reactor.loop import Reactor
from ..reactor.transport import PIECE_COST
from ..reactor.workers import WorkerPool

_EXHAUSTED = object()
Then = Callable[[Any], object]  # What is called with a request once its stream is closed.


class Source(Protocol):
    """Where the pieces come from: a `StreamResponse` is one. Worker threads, one at a time."""

    def remaining(self) -> Iterator[Any]:
        """Return the iterator. Called once."""

    def encode_piece(self, piece: Any) -> bytes:
        """Return a piece as bytes; empty ones are skipped."""

    def discard(self) -> None:
        """Close the generator."""


class Sink(Protocol):
    """Where the pieces go. Reactor thread only."""

    @property
    def room(self) -> int:
        """How many bytes may be produced now."""

    def on_piece(self, data: bytes) -> None:
        """A piece is here."""

    def on_end(self, error: BaseException | None) -> None:
        """There are no more, or the generator has raised (and that has been logged)."""

    def on_failure(self, error: BaseException) -> None:
        """What we reported has failed: a framer that cannot wrap the end, say."""


class Threads(Protocol):
    """Who steps generators, and who closes those of clients that have left: a service knows."""

    config: Config
    reactor: Reactor
    streams: WorkerPool
    cleanup: WorkerPool


class StreamPull:
    """One stream's iterator and who may step it. Reactor thread, but for `_run` and `_step`."""

    __slots__ = (
        "_source",
        "_sink",
        "_scope",
        "_threads",
        "_iterator",
        "_is_running",
        "_claim",
        "_is_cancelled",
        "_is_over",
        "_is_discarded",
        "_step_began",
        "_then",
    )

    def __init__(self, source: Source, sink: Sink, scope: Scope, threads: Threads) -> None:
        self._source = source
        self._sink = sink
        self._scope = scope
        self._threads = threads
        self._iterator: Iterator[Any] | None = None
        self._is_running = False  # A worker steps the iterator, or is about to.
        # Whoever pops this steps the iterator: the worker whose job has come up, or nobody any
        # more, because `cancel` was there first. list.pop is atomic.
        self._claim: list[None] = []
        self._is_cancelled = False  # Written here, read by the worker: no more pieces.
        self._is_over = False
        self._is_discarded = False  # Workers only.
        self._step_began = 0.0  # Written by the worker; 0: it is not in a step.
        self._then: Then | None = None

    def go_on(self) -> None:
        """Pull while there is room, unless a worker does so already."""
        if self._is_running or self._is_over:
            return
        room = self._sink.room
        if room <= 0:
            return  # `drained` will call again.
        try:
            self._claim.append(None)
            self._threads.streams.submit(self._run, room, self._on_pause)
            self._is_running = True
        except (PoolFull, ReactorClosed) as error:
            self._claim.clear()
            self._is_over = True
            self._sink.on_end(error)

    @property
    def step_time(self) -> float:
        """Seconds that the iterator has been at its current step; 0 where it lies still."""
        began = self._step_began
        return self._threads.reactor.time() - began if began else 0.0

    def on_failure(self, error: BaseException) -> None:
        """What we reported has failed: that is the business of who was told."""
        self._sink.on_failure(error)

    def cancel(self, then: Then) -> None:
        """The client has left: close the generator, on a worker, once nobody steps it.

        then: called there afterwards with the request, never while the generator may still
        use what is freed by it (M6).
        """
        self._is_cancelled = True
        self._then = then
        if not self._is_running or self._has_claimed():
            self._close()

    def _has_claimed(self) -> bool:
        """Any thread: tell whether we have got the job that waits, and nobody else has."""
        try:
            self._claim.pop()
        except IndexError:
            return False
        return True

    def _on_pause(self, outcome: Any) -> None:
        """A worker has come back: None to go on, _EXHAUSTED, or the exception."""
        self._is_running = False
        if self._is_over:
            return  # It was called off before its job came up.
        if self._is_cancelled:
            self._close()
        elif outcome is None:
            self.go_on()
        else:
            self._is_over = True
            self._sink.on_end(None if outcome is _EXHAUSTED else outcome)

    def _close(self) -> None:
        self._is_over = True
        try:
            self._threads.cleanup.submit(self._run_discard, None)
        except (PoolFull, ReactorClosed) as error:
            # The generator's own finalizer must do.
            log.error("the stream of %r cannot be closed: %s", self._scope, error)

    # --- worker threads, one at a time

    def _run(self, credit: int) -> Any:
        """Step the iterator until the credit is used up."""
        return self._scope.context.run(self._step, credit) if self._has_claimed() else None

    def _step(self, credit: int) -> Any:
        threads, encode, on_piece = self._threads, self._source.encode_piece, self._sink.on_piece
        is_timed = bool(threads.config.stream_step_timeout)
        time, post = threads.reactor.time, threads.reactor.call_soon_threadsafe
        try:
            if self._iterator is None:
                self._iterator = self._source.remaining()
            while credit > 0 and not self._is_cancelled:
                if is_timed:
                    self._step_began = time()
                piece = next(self._iterator, _EXHAUSTED)
                if piece is _EXHAUSTED:
                    self._discard_once()
                    return _EXHAUSTED
                data = encode(piece)
                if data:  # An empty chunk would end the body.
                    credit -= len(data) + PIECE_COST
                    post(on_piece, data)
            return None
        except ReactorClosed as error:
            return error
        except BaseException as error:
            if not self._is_cancelled:
                log.exception("the stream of %r failed", self._scope)
            self._discard_quietly()
            return error
        finally:
            self._step_began = 0.0

    def _run_discard(self, _: None) -> None:
        self._scope.context.run(self._discard_quietly)
        if self._then is not None:
            self._then(self._scope)

    def _discard_once(self) -> None:
        if not self._is_discarded:
            self._is_discarded = True
            self._source.discard()

    def _discard_quietly(self) -> None:
        try:
            self._discard_once()
        except BaseException:
            log.exception("closing the stream of %r failed", self._scope)
