"""SIGINT and SIGTERM while a server runs.

The rule: a signal handler runs between any two instructions of the main thread, so that it
only notes; what is to be done is done by the reactor, which hears of the signal through its
self-pipe like of everything else.

Chapter: docs/running.md.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Protocol

from ..log import framework as log
from ..reactor.loop import Reactor

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Run(Protocol):
    """What can be stopped: the run of a server."""

    reactor: Reactor
    is_stopping: bool

    def begin_stop(self) -> None:
        """Stop gracefully. Reactor thread."""


class StopSignals:
    """SIGINT and SIGTERM while a server runs in the main thread; put back afterwards (C5).

    The interpreter writes a signal's number into the self-pipe, and the reactor acts on it.
    The Python handler is there for the case that the reactor is stuck in a handler of the
    user's and has not heard of the signal before: then this one breaks it off.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._count = 0  # Signals that came.
        self._heard = 0  # Those that the reactor has acted on.
        self._previous: dict[int, Any] = {}
        self._previous_fd = -1
        self._is_installed = False

    def install(self) -> None:
        """Take the signals over, in the main thread only: elsewhere Python has none."""
        if threading.current_thread() is not threading.main_thread():
            return
        reactor = self._run.reactor
        reactor.on_signal = self._on_signal
        self._previous_fd = signal.set_wakeup_fd(reactor.signal_fileno, warn_on_full_buffer=False)
        for number in _STOP_SIGNALS:
            self._previous[number] = signal.signal(number, self._note)
        self._is_installed = True

    def restore(self) -> None:
        """Put everything back as it was."""
        if not self._is_installed:
            return
        self._is_installed = False
        for number, handler in self._previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(self._previous_fd)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count >= 3 or (self._count == 2 and self._heard == 0):
            raise KeyboardInterrupt

    def _on_signal(self, number: int) -> None:
        """On the reactor thread: the first time gracefully, the second time at once."""
        if number not in _STOP_SIGNALS:
            return  # A child has ended, the window was resized ...: somebody else's.
        self._heard += 1
        if self._run.is_stopping:
            log.warning("stopping at once")
            self._run.reactor.stop()
        else:
            log.info("stopping; once more to stop at once")
            self._run.begin_stop()
