"""A peer that runs: started on its core, asked once, looked at from outside, stopped.

The rule: what a server uses is read from the kernel and belongs to the whole family of its
process, so that no peer can hide work in threads or children.

How to read the figures: tests/benchmarks/README.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from .load import NUMBER, WIRES, parse_response
from .scenarios import PUSHED, RESP_PUBLISH, Peer, Scenario

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT = 20.0  # seconds for a peer to import, bind and accept
ANSWER_TIMEOUT = 5.0  # seconds for one answer, before there is any load
STOP_TIMEOUT = 0.5  # seconds from SIGTERM to SIGKILL


class Unfit(Exception):
    """This peer cannot be measured here; the text says why."""


class Cores(NamedTuple):
    """Which processors are whose; both empty where nobody is pinned."""

    server: frozenset[int] = frozenset()
    load: frozenset[int] = frozenset()

    @classmethod
    def shared_out(cls) -> Cores:
        """Give the server one core and the load all others, where there are two at least."""
        if not hasattr(os, "sched_setaffinity"):
            return cls()
        ours = os.sched_getaffinity(0)
        if len(ours) < 2:
            return cls()
        server = max(ours)  # Not the first: interrupts like to be handled there.
        return cls(frozenset({server}), frozenset(ours - {server}))

    @contextlib.contextmanager
    def for_server(self) -> Iterator[None]:
        """Whatever is started within runs on the server's core: children inherit it."""
        if not self.server:
            yield
            return
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self.server)
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)

    def keep_off(self) -> None:
        """Keep this process, and the load it starts from now on, off the server's core."""
        if self.load:
            os.sched_setaffinity(0, self.load)


def compiling() -> dict[str, str]:
    """Return an environment in which Python keeps what it compiles.

    Installed peers come compiled; who runs from a checkout must not be compiled at each start.
    """
    forbidden = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
    return {name: value for name, value in os.environ.items() if name not in forbidden}


# --- what a process has used


class Use(NamedTuple):
    """Of one process: its parent, its CPU time in seconds, its memory in KB."""

    parent: int
    cpu: float
    memory: float


def table() -> dict[int, Use]:
    """Return pid -> use of every process.

    From /proc (steps of 10 ms), or from `ps` where there is none (as fine as it prints).
    """
    return dict(_proc_table() if os.path.isdir("/proc/self") else _ps_table())


def used_by(pid: int) -> tuple[float, float]:
    """Return CPU seconds and resident KB of process `pid` and all below it.

    The CPU time of finished children is in it.
    """
    used = table()
    children = defaultdict(list)
    for child, use in used.items():
        children[use.parent].append(child)
    cpu, memory, family = 0.0, 0.0, [pid]
    while family:
        member = family.pop()
        if member in used:
            cpu += used[member].cpu
            memory += used[member].memory
        family += children[member]
    return cpu, memory


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of process `pid` and all below it, the finished ones included."""
    return used_by(pid)[0]


def _proc_table() -> Iterator[tuple[int, Use]]:
    """Yield pid and use of every process: proc_pid_stat(5)."""
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE") / 1024
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):  # It ended while we read the list.
                stat = Path("/proc", name, "stat").read_text(errors="replace")
                # After the name, which may hold blanks and brackets: state, parent, ...
                values = stat.rpartition(")")[2].split()
                # utime, stime, and both again for children that were waited for
                cpu = sum(map(int, values[11:15])) / ticks
                yield int(name), Use(int(values[1]), cpu, int(values[21]) * page)


def _ps_table() -> Iterator[tuple[int, Use]]:
    command = ["ps", "-A", "-o", "pid=,ppid=,rss=,time="]
    for line in subprocess.run(command, capture_output=True, text=True).stdout.splitlines():
        pid, parent, memory, clock = line.split()
        days, _, clock = clock.rpartition("-")
        seconds = 86400.0 * int(days or 0)
        for power, part in enumerate(reversed(clock.split(":"))):
            seconds += float(part) * 60**power
        yield int(pid), Use(int(parent), seconds, float(memory))


# --- a peer that runs


class Running:
    """A started peer: its process and its ports. `stop` ends it with all its children."""

    def __init__(
        self, peer: Peer, python: str, cores: Cores, environment: dict[str, str] | None = None
    ) -> None:
        module = f"{__package__}.peers.{peer.module}"
        self.stderr: IO[bytes] = tempfile.TemporaryFile()
        self.started = time.monotonic()
        with cores.for_server():
            self.process = subprocess.Popen(
                [peer.python or python, "-m", module, *peer.argument.split()],
                cwd=ROOT,
                env={**compiling(), **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self.stderr,
                start_new_session=True,  # A group of its own, so that stop() reaches its children.
            )
        try:
            self.ports = self._read_ports()
            for port in filter(None, self.ports):
                self._wait_until_open(port)
        except BaseException:
            self.stop()
            raise

    def _read_ports(self) -> list[int]:
        assert self.process.stdout is not None
        patience = threading.Timer(START_TIMEOUT, self.process.kill)
        patience.start()
        try:
            for line in self.process.stdout:
                if line.startswith(b"PORT "):
                    return [int(port) for port in line.split()[1:]]
            self.process.wait()
            raise Unfit(self._last_words())
        finally:
            patience.cancel()

    def _wait_until_open(self, port: int) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while self.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            time.sleep(0.002)
        raise Unfit(self._last_words())

    def check(self) -> None:
        """Raise Unfit if the process has ended by itself."""
        if self.process.poll() is not None:
            raise Unfit(f"ended under load, exit status {self.process.returncode}")

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process.pid)

    def memory(self) -> float:
        """Resident KB of the whole family."""
        return used_by(self.process.pid)[1]

    def _last_words(self) -> str:
        self.stderr.seek(0)
        lines = self.stderr.read().decode(errors="replace").split("\n")
        words = next((line.strip() for line in reversed(lines) if line.strip()), "")
        if words.startswith(("ModuleNotFoundError", "ImportError")):
            return "not installed: " + words.partition(": ")[2]
        if words.startswith("not installed: "):
            return words
        return "did not start: " + (words or f"exit status {self.process.returncode}")

    def stop(self) -> None:
        """SIGTERM, some patience, then SIGKILL for the whole group."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_TIMEOUT)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.stderr.close()


# --- whether it does what it is measured for


def verify(port: int, scenario: Scenario) -> None:
    """Raise Unfit unless the peer gives the right answer, to each of a pipelined burst."""
    with socket.create_connection(("127.0.0.1", port), ANSWER_TIMEOUT) as client:
        client.sendall(scenario.request().replace(NUMBER, "0").encode() * scenario.depth)
        rest = b""
        for number in range(scenario.depth):
            answer = _next_answer(client, rest, scenario.kind)
            if answer is None:
                raise Unfit(f"answers {number} of {scenario.depth} requests")
            status, body, middlewares, rest = answer
            if status != scenario.status:
                raise Unfit(f"answers with status {status}, not {scenario.status}")
            if middlewares != scenario.middlewares:
                raise Unfit(f"runs {middlewares} of {scenario.middlewares} middlewares")
            if scenario.size not in (-1, len(body)):
                raise Unfit(f"answers {len(body)} bytes, not {scenario.size}")
            if scenario.answer is not None and json.loads(body) != scenario.answer:
                raise Unfit(f"answers {body[:80]!r}")


def verify_push(port: int, scenario: Scenario, wire: str) -> None:
    """Raise Unfit unless what one client broadcasts reaches another, to the byte."""
    ask = RESP_PUBLISH if wire == "resp" else scenario.request()
    address = ("127.0.0.1", port)
    with (
        socket.create_connection(address, ANSWER_TIMEOUT) as subscriber,
        socket.create_connection(address, ANSWER_TIMEOUT) as asker,
    ):
        subscriber.sendall(WIRES[wire].subscribe)
        subscriber.recv(4096)  # The answer: from now on it is one of those that are told.
        asker.sendall(ask.encode())
        received = b""
        while PUSHED.encode() not in received:
            try:
                data = subscriber.recv(4096)
            except OSError:
                data = b""
            if not data:
                raise Unfit(f"delivers {received[:80]!r}")
            received += data


def _next_answer(
    client: socket.socket, received: bytes, kind: str
) -> tuple[int, bytes, int, bytes] | None:
    """Return status and body of the next answer, the middlewares it passed and the bytes
    behind it; None if none comes."""
    at_eof = False
    while True:
        if kind != "tcp":
            if response := parse_response(received, at_eof):
                middlewares = received[: response.size].lower().count(b"\r\nx-middleware-")
                return response.status, response.body, middlewares, received[response.size :]
        elif b"\n" in received:
            line, _, rest = received.partition(b"\n")
            return 200, line, 0, rest
        if at_eof:
            return None
        try:
            data = client.recv(1 << 20)
        except OSError:
            data = b""  # A reset, or nothing in time.
        received += data
        at_eof = not data
