"""Processes that share a port are restarted one after the other, under load: nobody notices.

Each is told to stop by SIGTERM while its successor listens already, as a supervisor does it.
The clients do what clients do: they look, before they use a kept connection again, whether the
server has closed it, and they repeat nothing. Contract X3, limits row 32.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import unittest
from typing import Any

from tests.support import DEADLINE, Client, Program, wait_until

SOURCE = """
import threading, time
from pyliteflux import Router, Server

router = Router()

@router.register("/", ["GET", "POST"])
def index(request):
    return {"size": len(request.body)}

@router.register("/now", ["GET", "POST"], blocking=False)
def now(request):
    return {"size": len(request.body)}

server = Server(router, http_port=PORT, reuse_port=True, info=False)
server.config.slow_callback_ms = 60_000  # A busy machine is none of what is tested here.

def tell():
    while not server.is_running:
        time.sleep(0.001)
    print(server.http_address[1], flush=True)

threading.Thread(target=tell, daemon=True).start()
server.run("http")
print("stopped", flush=True)
"""


class Load:
    """Clients in threads, each asking as fast as it is answered, until told to stop."""

    def __init__(self, port: int, clients: int) -> None:
        self._address = ("127.0.0.1", port)
        self._is_over = threading.Event()
        self.answered = [0] * clients
        self.lost: list[str] = []
        self._threads = [
            threading.Thread(target=self._ask, args=(number,)) for number in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(DEADLINE)

    def _ask(self, number: int) -> None:
        method = ("GET", "POST")[number % 2]
        path = ("/", "/now")[number // 2 % 2]
        keeps = number // 4 % 2 == 0
        client: Client | None = None
        while not self._is_over.is_set():
            if client is not None and select.select([client.sock], [], [], 0)[0]:
                client.close()
                client = None
            where = f"{method} {path}, " + ("kept" if client else "new")
            try:
                if client is None:
                    client = Client(self._address)
                body = b"b" * 10 if method == "POST" else None
                fields = {} if keeps else {"Connection": "close"}
                answer = client.request(method, path, body, fields=fields)
                if answer.status != 200 or answer.json != {"size": len(body or b"")}:
                    raise AssertionError(f"{answer.status} {answer.text}")
            except (OSError, AssertionError) as error:
                self.lost.append(f"{where}: {error!r}")
                if client is not None:
                    client.close()
                client = None
                continue
            self.answered[number] += 1
            if answer.get("Connection") == "close":
                client.close()
                client = None
        if client is not None:
            client.close()


@unittest.skipUnless(
    os.name == "posix" and hasattr(socket, "SO_REUSEPORT"), "needs signals and SO_REUSEPORT"
)
class RollingRestart(unittest.TestCase):
    def begin(self, port: int) -> tuple[Program, int]:
        program = Program(SOURCE.replace("PORT", str(port)))
        program.__enter__()
        self.addCleanup(program.__exit__, None, None, None)
        return program, int(program.read_line())

    def test_nothing_is_lost(self) -> None:
        """Contract X3 (rolling_restart): new connections and kept ones, GET and POST."""
        count = int(os.environ.get("PYLITEFLUX_RESTARTS", "3"))
        first, port = self.begin(0)
        running = [first, self.begin(port)[0]]
        load = Load(port, 8)
        try:
            for _ in range(count):
                before = list(load.answered)
                running.append(self.begin(port)[0])
                self.wait_for_all(load, before)
                oldest = running.pop(0)
                oldest.signal(signal.SIGTERM)
                self.assertEqual(oldest.finish(), (0, "stopped\n", ""))
            self.wait_for_all(load, list(load.answered))
        finally:
            load.stop()
        self.assertEqual(load.lost, [], f"of {sum(load.answered)}")

    def wait_for_all(self, load: Load, before: list[int]) -> None:
        """Wait until each client has had some more answers."""

        def have_gone_on() -> Any:
            return all(now >= then + 5 for now, then in zip(load.answered, before, strict=True))

        wait_until(have_gone_on, "each client is answered")


if __name__ == "__main__":
    unittest.main()
