"""`make bench`: what one answered request costs the server, next to its peers.

The rule: turns. In every round each peer is started, warmed up, loaded and stopped, one after
the other, so a noisy minute hits all alike, and the median of the rounds is what counts. The
first figure is CPU time per answer, user and system, of the server with all its threads and
child processes: unlike requests per second it does not depend on who else uses the machine
or on how much of it the load generator eats. How to read the table: tests/bench/README.md.

How to read the figures: tests/bench/README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from tests.bench.load import Result, parse_response

ROOT = Path(__file__).resolve().parents[2]
BASELINE = "pyliteflux"
START_TIMEOUT = 20.0  # seconds for a peer to import, bind and accept
STOP_TIMEOUT = 3.0  # seconds from SIGTERM to SIGKILL
WARM_UP = 0.5  # seconds of load that are not measured
LOAD_PROCESSES = 2
PIPELINE_DEPTH = 16
ECHO = {"name": "Ada Lovelace", "email": "ada@example.org", "tags": ["a", "b", "c"], "age": 36}
ECHO["note"] = "x" * (200 - len(json.dumps(ECHO)) - len(', "note": ""'))
MESSAGE = {"n": 12345, "text": "the quick brown fox"}


class Peer(NamedTuple):
    """One row of the table. kinds: which scenarios it can serve; needs: what pip calls it."""

    name: str
    module: str
    argument: str
    kinds: frozenset[str]
    needs: tuple[str, ...]


def _peer(name: str, module: str, argument: str, kinds: str, *needs: str) -> Peer:
    return Peer(name, module, argument, frozenset(kinds.split()), needs)


PEERS = (
    _peer(BASELINE, "pyliteflux_app", "", "http tcp push"),
    _peer("pyliteflux-inline", "pyliteflux_app", "inline", "http tcp push"),
    _peer("uvicorn-h11", "uvicorn_app", "h11", "http", "uvicorn", "h11", "starlette"),
    _peer(
        "uvicorn-fast", "uvicorn_app", "fast", "http",
        "uvicorn", "httptools", "uvloop", "starlette",
    ),
    _peer(
        "uvicorn-fast-def", "uvicorn_app", "fast-def", "http",
        "uvicorn", "httptools", "uvloop", "starlette",
    ),
    _peer("granian", "granian_app", "", "http", "granian", "starlette"),
    _peer("aiohttp", "aiohttp_app", "", "http", "aiohttp"),
    _peer("tornado", "tornado_app", "", "http", "tornado"),
    _peer("waitress-flask", "waitress_app", "flask", "http", "waitress", "flask"),
    _peer("waitress-bottle", "waitress_app", "bottle", "http", "waitress", "bottle"),
    _peer("gunicorn-gthread", "gunicorn_app", "gthread", "http", "gunicorn", "flask"),
    _peer("gunicorn-sync", "gunicorn_app", "sync", "http", "gunicorn", "flask"),
    _peer("falcon-bjoern", "bjoern_app", "", "http", "falcon", "bjoern"),
    _peer("socketify", "socketify_app", "", "http", "socketify"),
    _peer("asyncio", "asyncio_tcp", "", "tcp push"),
    _peer("uvloop", "asyncio_tcp", "uvloop", "tcp push", "uvloop"),
)  # fmt: skip


class Scenario(NamedTuple):
    """One table. answer: the JSON that a peer must give to be measured at all (None: any)."""

    name: str
    title: str
    kind: str
    method: str = "GET"
    path: str = ""
    body: str = ""
    status: int = 200
    answer: object = None
    depth: int = 1
    close: bool = False

    def fields(self) -> dict[str, str]:
        """The header fields that both load generators send, besides Host."""
        fields = {"Content-Type": "application/json"} if self.body else {}
        return fields | ({"Connection": "close"} if self.close else {})

    def request(self) -> str:
        """One request as it goes over the wire."""
        if self.kind != "http":
            return self.body + "\n"
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in self.fields().items()]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join(lines) + "\r\n\r\n" + self.body


HELLO = {"message": "Hello, World!"}
SCENARIOS = (
    Scenario("hello", "GET, a small JSON answer", "http", path="/hello", answer=HELLO),
    Scenario(
        "param", "GET with a path parameter and a query", "http", path="/user/42?page=2&sort=name",
        answer={"id": "42", "page": "2", "sort": "name"},
    ),
    Scenario(
        "post", "POST of 200 bytes of JSON, echoed", "http", method="POST", path="/echo",
        body=json.dumps(ECHO), answer=ECHO,
    ),
    Scenario("missing", "GET of no such path: 404", "http", path="/missing", status=404),
    Scenario(
        "pipeline", f"hello, {PIPELINE_DEPTH} requests pipelined", "http", path="/hello",
        answer=HELLO, depth=PIPELINE_DEPTH,
    ),
    Scenario(
        "close", "hello, a new connection for each", "http", path="/hello",
        answer=HELLO, close=True,
    ),
    Scenario(
        "tcp", "TCP: a JSON line echoed", "tcp",
        body=json.dumps({"command": "echo", "data": MESSAGE}), answer=MESSAGE,
    ),
    Scenario(
        "push", "TCP: one message to every client; per delivery", "push",
        body=json.dumps({"command": "broadcast", "data": MESSAGE}),
    ),
)  # fmt: skip


# --- what a process has used


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of process `pid` and all below it, the finished ones included.

    From /proc (steps of 10 ms), or from `ps` where there is none (as fine as it prints).
    """
    used = dict(_proc_table() if os.path.isdir("/proc/self") else _ps_table())
    children = defaultdict(list)
    for child, (parent, _) in used.items():
        children[parent].append(child)
    total, family = 0.0, [pid]
    while family:
        member = family.pop()
        total += used[member][1] if member in used else 0.0
        family += children[member]
    return total


def _proc_table() -> Iterator[tuple[int, tuple[int, float]]]:
    """Yield pid, (parent, CPU seconds) of every process: proc_pid_stat(5)."""
    ticks = os.sysconf("SC_CLK_TCK")
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):  # It ended while we read the list.
                stat = Path("/proc", name, "stat").read_text(errors="replace")
                # After the name, which may hold blanks and brackets: state, parent, ...
                values = stat.rpartition(")")[2].split()
                # utime, stime, and both again for children that were waited for
                yield int(name), (int(values[1]), sum(map(int, values[11:15])) / ticks)


def _ps_table() -> Iterator[tuple[int, tuple[int, float]]]:
    command = ["ps", "-A", "-o", "pid=,ppid=,time="]
    for line in subprocess.run(command, capture_output=True, text=True).stdout.splitlines():
        pid, parent, clock = line.split()
        days, _, clock = clock.rpartition("-")
        seconds = 86400.0 * int(days or 0)
        for power, part in enumerate(reversed(clock.split(":"))):
            seconds += float(part) * 60**power
        yield int(pid), (int(parent), seconds)


# --- a peer that runs


class Unfit(Exception):
    """This peer cannot be measured here; the text says why."""


class Running:
    """A started peer: its process and its ports. `stop` ends it with all its children."""

    def __init__(self, peer: Peer, python: str) -> None:
        command = [python, "-m", f"tests.bench.peers.{peer.module}", *peer.argument.split()]
        self.stderr: IO[bytes] = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
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
            time.sleep(0.02)
        raise Unfit(self._last_words())

    def check(self) -> None:
        """Raise Unfit if the process has ended by itself."""
        if self.process.poll() is not None:
            raise Unfit(f"ended under load, exit status {self.process.returncode}")

    def _last_words(self) -> str:
        self.stderr.seek(0)
        lines = self.stderr.read().decode(errors="replace").split("\n")
        words = next((line.strip() for line in reversed(lines) if line.strip()), "")
        if words.startswith(("ModuleNotFoundError", "ImportError")):
            return "not installed: " + words.partition(": ")[2]
        return "did not start: " + (words or f"exit status {self.process.returncode}")

    def stop(self) -> None:
        """SIGTERM, some patience, then SIGKILL for the whole group."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_TIMEOUT)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.stderr.close()


def verify(port: int, scenario: Scenario) -> None:
    """Raise Unfit unless the peer gives the right answer, to each of a pipelined burst."""
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        client.sendall(scenario.request().encode() * scenario.depth)
        rest = b""
        for number in range(scenario.depth):
            answer = _next_answer(client, rest, scenario.kind)
            if answer is None:
                raise Unfit(f"answers {number} of {scenario.depth} requests")
            status, body, rest = answer
            if status != scenario.status:
                raise Unfit(f"answers with status {status}, not {scenario.status}")
            if scenario.answer is not None and json.loads(body) != scenario.answer:
                raise Unfit(f"answers {body[:80]!r}")


def _next_answer(
    client: socket.socket, received: bytes, kind: str
) -> tuple[int, bytes, bytes] | None:
    """Return status and body of the next answer and the bytes behind it; None if none comes."""
    at_eof = False
    while True:
        if kind == "http":
            if response := parse_response(received, at_eof):
                return response.status, response.body, received[response.size :]
        elif b"\n" in received:
            line, _, rest = received.partition(b"\n")
            return 200, line, rest
        if at_eof:
            return None
        try:
            data = client.recv(65536)
        except OSError:
            data = b""  # A reset, or nothing for five seconds.
        received += data
        at_eof = not data


# --- the load


def load_with_wrk(port: int, scenario: Scenario, connections: int, seconds: float) -> Result:
    """Run `wrk` once, two threads."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"wrk.method = {_lua(scenario.method)}\nwrk.body = {_lua(scenario.body)}\n")
        for name, value in scenario.fields().items():
            script.write(f"wrk.headers[ {_lua(name)} ] = {_lua(value)}\n")
        if scenario.depth > 1:
            script.write(
                f"init = function() burst = string.rep(wrk.format(), {scenario.depth}) end\n"
                "request = function() return burst end\n"
            )
        script.write(
            "done = function(summary, latency, requests)\n"
            '  io.write(string.format("RESULT %d %d %d %d\\n", summary.requests, summary.duration,'
            " summary.errors.status, summary.errors.connect + summary.errors.read"
            " + summary.errors.write + summary.errors.timeout))\nend\n"
        )
        script.flush()
        command = [
            "wrk", "-t2", f"-c{connections}", f"-d{max(1, round(seconds))}s",
            "-s", script.name, f"http://127.0.0.1:{port}{scenario.path}",
        ]  # fmt: skip
        output = subprocess.run(command, capture_output=True, text=True)
    figures = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+)", output.stdout)
    if figures is None:
        raise Unfit(f"wrk: {(output.stderr or output.stdout).strip()[-200:]}")
    answered, microseconds, refused, lost = map(int, figures.groups())
    # wrk calls every 4xx and 5xx an error; where we ask for a 404, what is not one is wrong.
    wrong = answered - refused if scenario.status >= 400 else refused
    return Result(answered, microseconds / 1e6, wrong, lost)


def _lua(text: str) -> str:
    return f"[==[{text}]==]" if text else "nil"


class Built:
    """Our own load processes: started and warmed up when made, they wait for `go`."""

    def __init__(self, port: int, scenario: Scenario, connections: int, seconds: float) -> None:
        processes = 1 if scenario.kind == "push" else min(LOAD_PROCESSES, connections)
        self.processes: list[subprocess.Popen[str]] = []
        for number in range(processes):
            spec = {
                "kind": scenario.kind,
                "port": port,
                "request": scenario.request(),
                "depth": scenario.depth,
                "status": scenario.status,
                "connections": connections // processes + (number < connections % processes),
                "seconds": seconds,
                "warm_up": WARM_UP,
            }
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.bench.load", json.dumps(spec)],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        for process in self.processes:
            assert process.stdout is not None
            if process.stdout.readline() != "READY\n":
                words = process.communicate()[1].strip().rpartition("\n")[2]
                self.end()
                raise Unfit(f"load failed: {words}")

    def go(self) -> Result:
        """Load with all processes at once and add up what they saw."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write("GO\n")
            process.stdin.flush()
        results = []
        for process in self.processes:
            output, words = process.communicate()
            if process.returncode != 0:
                self.end()
                raise Unfit(f"load failed: {words.strip().rpartition(chr(10))[2]}")
            results.append(Result(**json.loads(output)))
        answered, seconds, wrong, lost = zip(*results, strict=True)
        return Result(sum(answered), max(seconds), sum(wrong), sum(lost))

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


class Measure(NamedTuple):
    """One turn of one peer."""

    cpu_us: float
    per_second: float
    answered: int
    wrong: int
    lost: int


def measure(peer: Peer, scenario: Scenario, options: argparse.Namespace) -> Measure:
    """Start the peer, check it, warm it up, load it, stop it. Raises Unfit."""
    server = Running(peer, options.python)
    try:
        port = server.ports[scenario.kind != "http"]
        if scenario.kind != "push":
            verify(port, scenario)
        connections = options.subscribers if scenario.kind == "push" else options.connections
        if options.generator == "wrk" and scenario.kind == "http":
            load_with_wrk(port, scenario, connections, WARM_UP)
            before = cpu_seconds(server.process.pid)
            result = load_with_wrk(port, scenario, connections, options.seconds)
        else:
            load = Built(port, scenario, connections, options.seconds)
            before = cpu_seconds(server.process.pid)
            result = load.go()
        used = cpu_seconds(server.process.pid) - before
        server.check()
    except Unfit:
        server.check()  # If it has ended, that is the reason.
        raise
    finally:
        server.stop()
    if not result.answered:
        raise Unfit("answered nothing under load")
    return Measure(
        used / result.answered * 1e6, result.answered / result.seconds, *result[:1], *result[2:]
    )


# --- the table


class Row(NamedTuple):
    """The rounds of one peer in one scenario."""

    peer: str
    cpu_us: list[float]
    per_second: list[float]
    wrong: int
    lost: int

    def summary(self) -> dict[str, Any]:
        """Medians and everything behind them, for JSON."""
        medians = {
            "cpu_us_median": statistics.median(self.cpu_us),
            "per_second_median": statistics.median(self.per_second),
        }
        return medians | self._asdict()


def table(scenario: Scenario, rows: list[Row]) -> Iterator[str]:
    """Yield the lines of one scenario's table, cheapest first."""
    per = "delivery" if scenario.kind == "push" else "answer"
    base = next((row for row in rows if row.peer == BASELINE), None)
    yield f"{scenario.name}: {scenario.title}"
    yield f"  {'':18} {'CPU us/' + per:>16} {'ratio':>7} {'from - to':>15} {'per second':>11}"
    for row in sorted(rows, key=lambda row: statistics.median(row.cpu_us)):
        cost = statistics.median(row.cpu_us)
        ratio = f"{cost / statistics.median(base.cpu_us):7.2f}" if base else f"{'-':>7}"
        spread = f"{min(row.cpu_us):.1f} - {max(row.cpu_us):.1f}"
        faults = f"  ! {row.wrong} wrong, {row.lost} lost" if row.wrong or row.lost else ""
        rate = statistics.median(row.per_second)
        yield f"  {row.peer:18} {cost:16.1f} {ratio} {spread:>15} {rate:11.0f}{faults}"


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all that was asked for, printing as it goes; return it for JSON."""
    report: dict[str, Any] = {"setting": setting(options), "scenarios": {}, "skipped": {}}
    gone: set[str] = set()  # What did not start once is not tried again.
    for scenario in options.scenarios:
        peers = [peer for peer in options.peers if scenario.kind in peer.kinds]
        turns: dict[str, list[Measure]] = {peer.name: [] for peer in peers}
        for number in range(options.rounds):
            for peer in [peer for peer in peers if peer.name in turns and peer.name not in gone]:
                progress(f"{scenario.name}: round {number + 1} of {options.rounds}, {peer.name}")
                try:
                    turns[peer.name].append(measure(peer, scenario, options))
                except Unfit as reason:
                    progress("")
                    print(f"skipped: {peer.name} in {scenario.name}: {reason}", flush=True)
                    report["skipped"].setdefault(scenario.name, {})[peer.name] = str(reason)
                    del turns[peer.name]
                    if str(reason).startswith("not installed"):
                        gone.add(peer.name)
        progress("")
        rows = [
            Row(
                name,
                [turn.cpu_us for turn in taken],
                [turn.per_second for turn in taken],
                sum(turn.wrong for turn in taken),
                sum(turn.lost for turn in taken),
            )
            for name, taken in turns.items()
            if taken
        ]
        print(*table(scenario, rows), "", sep="\n", flush=True)
        report["scenarios"][scenario.name] = [row.summary() for row in rows]
    return report


def progress(text: str) -> None:
    """Show what is under way, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def setting(options: argparse.Namespace) -> dict[str, Any]:
    """What the figures depend on, so that a file of them can be read a year later."""
    names = sorted({name for peer in options.peers for name in peer.needs})
    code = (
        "import importlib.metadata as m, json, platform, sys\n"
        "found = {}\n"
        "for name in sys.argv[1:]:\n"
        "    try: found[name] = m.version(name)\n"
        "    except m.PackageNotFoundError: pass\n"
        "print(json.dumps([platform.python_version(), found]))"
    )
    output = subprocess.run([options.python, "-c", code, *names], capture_output=True, check=True)
    python, versions = json.loads(output.stdout)
    return {
        "python": python,
        "versions": versions,
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "generator": options.generator,
        "seconds": options.seconds,
        "rounds": options.rounds,
        "connections": options.connections,
        "subscribers": options.subscribers,
    }


def _chosen(table: tuple[Any, ...], text: str) -> list[Any]:
    """Return the entries of `table` that the comma-separated names in `text` mean."""
    by_name = {entry.name: entry for entry in table}
    for name in text.split(","):
        if name not in by_name:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(by_name)}")
    return [by_name[name] for name in text.split(",")]


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.run", description="CPU time per answer, in turns."
    )
    add = parser.add_argument
    add("--peers", type=lambda text: _chosen(PEERS, text), default=list(PEERS), metavar="A,B")
    add(
        "--scenarios", type=lambda text: _chosen(SCENARIOS, text), default=list(SCENARIOS),
        metavar="A,B",
    )  # fmt: skip
    add("--seconds", type=float, default=3.0, help="of load in each turn (default 3)")
    add("--rounds", type=int, default=3, help="turns of each peer (default 3)")
    add("--connections", type=int, default=64, help="clients at once (default 64)")
    add("--subscribers", type=int, default=1000, help="clients of a broadcast (default 1000)")
    add("--generator", choices=["auto", "wrk", "builtin"], default="auto")
    add("--python", default=sys.executable, help="interpreter that runs the servers")
    add("--json", metavar="FILE", help="write all figures there")
    add("--list", action="store_true", help="name the peers and scenarios, and end")
    options = parser.parse_args(arguments)
    if options.generator == "auto":
        options.generator = "wrk" if shutil.which("wrk") else "builtin"
    return options


def allow_descriptors(wanted: int) -> None:
    """Raise the limit of open files as far as it goes; the peers inherit it."""
    try:
        import resource
    except ImportError:
        return  # Windows has no such limit.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if room > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (room, hard))


def main() -> None:
    options = parse_options()
    if options.list:
        print("peers:", *(peer.name for peer in PEERS))
        print("scenarios:", *(scenario.name for scenario in SCENARIOS))
        return
    # As Ctrl-C does: the servers have process groups of their own and must be stopped by us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    allow_descriptors(options.subscribers + options.connections + 200)
    report = run(options)
    about = report["setting"]
    print(
        f"Python {about['python']}, {about['processors']} processors, load by "
        f"{about['generator']}, {about['rounds']} rounds of {about['seconds']:g} s, "
        f"{about['connections']} connections ({about['subscribers']} for push)"
    )
    print(*(f"{name} {version}" for name, version in about["versions"].items()), sep=", ")
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
