"""What the traces share: a server that takes one step at a time, so that its trace is the same
at each run.

Two threads log at once, and the kernel decides who is first. Here a thread that is not the
reactor's waits, before each of its hops, until the reactor has done all it can and sleeps.
"""

from __future__ import annotations

import logging
import selectors
import threading
from typing import Any

from pyliteflux import Router, Server

DEADLINE = 10.0  # seconds


class CalmSelector(selectors.DefaultSelector):
    """Sleeps until a descriptor is ready, whatever the timers say, and collects the hops."""

    def __init__(self) -> None:
        super().__init__()
        self.ignores_timers = True
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._is_asleep = False
        self._sleeps = 0
        self._rung_in = 0  # The sleep that the last wake-up has ended, or will.

    def select(self, timeout: float | None = None) -> Any:
        if timeout == 0 or not self.ignores_timers:
            return super().select(timeout)
        with self._changed:
            self.lines.append("         --- the reactor sleeps ---")
            self._sleeps += 1
            self._is_asleep = True
            self._changed.notify_all()
        try:
            return super().select(None)
        finally:
            self._is_asleep = False

    def rest(self) -> None:
        """Return once the reactor sleeps with nothing left to do."""
        with self._changed:
            self._rest()

    def _rest(self) -> None:
        if not self._changed.wait_for(
            lambda: self._is_asleep and self._sleeps > self._rung_in, DEADLINE
        ):
            raise TimeoutError("the reactor does not come to rest")

    def collect(self, line: str) -> None:
        """Take a line in, in its turn."""
        if threading.current_thread().name == "pyliteflux-reactor":
            self.lines.append(line)
            return
        with self._changed:
            self._rest()
            self.lines.append(line)
            if "Waker.wake" in line:
                self._rung_in = self._sleeps


class TracedServer:
    """A server with `trace` on, whose hops are collected and not logged."""

    def __init__(self, router: Router, **settings: Any) -> None:
        self._selector = selector = CalmSelector()
        self.server = Server(
            router,
            selector_factory=lambda: selector,
            http_port=0,
            tcp_port=0,
            info=False,
            trace=True,
            **settings,
        )

        def collect(record: logging.LogRecord) -> bool:
            selector.collect(record.getMessage())
            return False

        log = logging.getLogger("pyliteflux.server.trace")
        log.setLevel(logging.INFO)
        log.addFilter(collect)

    def __enter__(self) -> TracedServer:
        self.server.start()
        self._selector.rest()
        return self

    def __exit__(self, *error: object) -> None:
        self._selector.ignores_timers = False
        self.server.stop()

    def note(self, text: str) -> None:
        """Add a line of the experiment's own, under the name of the thread."""
        kind = threading.current_thread().name.split("-")[1]
        self._selector.collect(f"{kind:<8} *** {text} ***")

    def begin(self) -> None:
        """Forget the hops so far."""
        self._selector.rest()
        self._selector.lines.clear()

    def print_hops(self) -> None:
        """Print the hops, once the reactor has come to rest."""
        self._selector.rest()
        print("\n".join(self._selector.lines))
