"""The server's process as seen from outside: started, asked, weighed, stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.support import ROOT, Client, Response


class Weight(NamedTuple):
    """What a process has: resident memory in bytes, descriptors, threads, CPU seconds so far.

    All 0 where the system does not tell.
    """

    memory: int
    descriptors: int
    threads: int
    cpu: float


def weigh(pid: int) -> Weight:
    """Ask the system about a process (Linux)."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return Weight(0, 0, 0, 0.0)
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    memory = int(lines["VmRSS"].split()[0]) * 1024
    return Weight(memory, descriptors, int(lines["Threads"]), cpu)


class ServerProcess:
    """`tests.soak.app` in a process of its own. descriptors: its limit of open files."""

    def __init__(self, descriptors: int | None = None, **settings: Any) -> None:
        arguments = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.app", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            preexec_fn=None if descriptors is None else _limiter(descriptors),
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline().split()
        if len(line) != 2:
            self._process.kill()
            self._process.communicate()
            raise AssertionError(f"the server did not start: {self.log_lines()}")
        self.http_address = ("127.0.0.1", int(line[0]))
        self.tcp_address = ("127.0.0.1", int(line[1]))

    @property
    def pid(self) -> int:
        return self._process.pid

    def weigh(self) -> Weight:
        """Return what the process has now."""
        return weigh(self._process.pid)

    def log_lines(self) -> list[str]:
        """Return what it has logged so far."""
        self._log.seek(0)
        return self._log.read().splitlines()

    def get(self, target: str) -> Response:
        """Ask over a connection of its own."""
        with Client(self.http_address) as client:
            return client.get(target)

    def stats(self) -> Any:
        """Return `server.stats`, the connection that asks not counted."""
        stats = self.get("/stats").json
        stats["connections"] -= 1
        return stats

    def stop(self, timeout: float = 20.0) -> int:
        """Let it stop gracefully; return its exit status."""
        try:
            self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise AssertionError(f"the server did not stop within {timeout} s") from None
        return self._process.returncode

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()


def _limiter(count: int) -> Callable[[], None]:
    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))

    return limit
