"""The other client: asks for /hello again and again, and notes how long each answer took."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.support import Client

Address = tuple[str, int]


class Witness:
    """One patient client. Times in seconds.

    kept: of a connection that it keeps. fresh: of a new connection for each request.
    """

    def __init__(self, address: Address, interval: float = 0.005) -> None:
        self._address = address
        self._interval = interval
        self._client = Client(address)
        self.kept: list[float] = []
        self.fresh: list[float] = []

    def ask(self) -> None:
        """Ask once. Fails unless the answer is right."""
        began = time.perf_counter()
        response = self._client.get("/hello")
        self.kept.append(time.perf_counter() - began)
        if response.json != {"message": "hello"}:
            raise AssertionError(f"the witness was answered {response!r}")

    def ask_afresh(self) -> None:
        """Ask over a new connection."""
        began = time.perf_counter()
        with Client(self._address) as client:
            client.get("/hello")
        self.fresh.append(time.perf_counter() - began)

    def watch(self, seconds: float, afresh: bool, is_over: Callable[[], bool]) -> None:
        """Ask for so long, or until it is over."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not is_over():
            self.ask()
            if afresh and len(self.kept) % 8 == 0:
                self.ask_afresh()
            time.sleep(self._interval)

    def close(self) -> None:
        """Leave."""
        self._client.close()


def percentile(times: list[float], share: float) -> float:
    """Return the time that this share of the answers took at most; 0 without any."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] if times else 0.0
