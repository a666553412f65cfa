"""`make bench`: what one answered request costs the server, next to its peers.

The rule: turns. In every round each peer is started, warmed up, loaded and stopped, one after
the other, so a noisy minute hits all alike; peers are compared round by round, and the median
of those ratios is what counts. The first figure is CPU time per answer, user and system, of
the server with all its threads and child processes: unlike requests per second it does not
depend on who else uses the machine or on how much of it the load generator eats.

How to read the figures: tests/benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.runner import OWN_VERSION, VERSIONS, find_python

from .generators import Built, load_with_wrk, warm_up
from .load import Result
from .report import Measure, Report, described, rows, text_table, with_earlier, write
from .scenarios import FILE_SIZE, PEERS, SCENARIOS, Peer, Scenario
from .servers import ROOT, Cores, Running, Unfit, compiling, verify, verify_push

IMPORTS = 5  # imports in each turn, of which the best counts

# What a program pays for an import alone, beyond the interpreter that it needs anyway.
_IMPORT = """\
import os, sys, time
def resident():
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before, began = resident(), time.perf_counter()
exec("import " + sys.argv[1])
print(time.perf_counter() - began, resident() - before)
"""


# --- one turn


class Bench:
    """Takes turns. Knows what all of them share: the options, the cores, the file to send."""

    def __init__(self, options: argparse.Namespace, cores: Cores, file: Path) -> None:
        self.options, self.cores, self.file = options, cores, file

    def measure(self, peer: Peer, scenario: Scenario) -> Measure:
        """Start the peer, check it, warm it up, load it, stop it. Raises Unfit."""
        if scenario.kind == "import":
            return self._import(peer)
        environment = {"BENCHMARK_FILE": str(self.file)}
        if scenario.middlewares:
            environment["BENCHMARK_MIDDLEWARES"] = str(scenario.middlewares)
        server = Running(peer, self.options.python, self.cores, environment)
        try:
            port = server.ports[scenario.kind in ("tcp", "push")]
            if scenario.kind == "push":
                verify_push(port, scenario, peer.wire)
            elif scenario.kind != "file":  # Of that, `measure_of` looks at the size.
                verify(port, scenario)
            if scenario.kind == "start":
                return Measure((time.monotonic() - server.started) * 1e3)
            if scenario.kind == "idle":
                measure = self._idle(server, port, peer, scenario)
            else:
                measure = self._load(server, port, peer, scenario, self._connections(scenario))
            server.check()
            return measure
        except Unfit:
            server.check()  # If it has ended, that is the reason.
            raise
        except OSError as error:
            server.check()
            raise Unfit(f"does not answer: {error}") from None
        finally:
            server.stop()

    def _connections(self, scenario: Scenario) -> int:
        if scenario.kind == "push":
            return int(self.options.subscribers)
        return scenario.connections or int(self.options.connections)

    def _load(
        self, server: Running, port: int, peer: Peer, scenario: Scenario, connections: int
    ) -> Measure:
        """Load a server that runs, and return what that cost it."""
        seconds = self.options.seconds
        if self.options.generator == "wrk" and scenario.kind == "http":
            warm_up(port, scenario, connections)
            before = server.cpu_seconds()
            result = load_with_wrk(port, scenario, connections, seconds)
        else:
            load = Built(port, scenario, peer, connections, seconds)
            before = server.cpu_seconds()
            result = load.go()
        used = server.cpu_seconds() - before
        if not result.answered:
            raise Unfit("answered nothing under load")
        return measure_of(result, used, scenario)

    def _idle(self, server: Running, port: int, peer: Peer, scenario: Scenario) -> Measure:
        """Load it alone, add idle connections, load it again: what they weigh and cost."""
        hello = scenario._replace(kind="http", unit="")
        connections = self.options.connections
        alone = self._load(server, port, peer, hello, connections)
        before = server.memory()
        idle = Built(port, scenario, peer, self.options.idle, 0.0)
        try:
            each = (server.memory() - before) / self.options.idle
            among = self._load(server, port, peer, hello, connections)
            lost = idle.go().lost
        finally:
            idle.end()
        extra = {"a request among them": among.figure / alone.figure}
        return Measure(each, among.per_second, among.answered, among.wrong, lost, extra)

    def _import(self, peer: Peer) -> Measure:
        """Import in a fresh interpreter, several times; the best counts, as for any start."""
        if not peer.imports:
            raise Unfit("nothing to import")
        found = []
        for _ in range(IMPORTS):
            with self.cores.for_server():
                done = subprocess.run(
                    [self.options.python, "-c", _IMPORT, peer.imports],
                    cwd=ROOT,
                    env=compiling(),
                    capture_output=True,
                    text=True,
                )
            if done.returncode:
                raise Unfit("not installed: " + done.stderr.strip().rpartition("\n")[2])
            seconds, size = done.stdout.split()
            found.append((float(seconds) * 1e3, int(size) / 1e6))
        milliseconds, megabytes = min(found)
        return Measure(milliseconds, extra={"MB": megabytes})


def measure_of(result: Result, used: float, scenario: Scenario) -> Measure:
    """Return the turn that `result` and the CPU seconds of the server make. Raises Unfit."""
    cost = used / result.answered * 1e6
    extra = {"CPU µs/answer": cost}
    for percent in (50, 99) if result.latencies else ():
        index = round((len(result.latencies) - 1) * percent / 100)
        extra[f"p{percent} µs"] = result.latencies[index] * 1e6
    figure = cost
    if scenario.kind == "file":
        if result.received < result.answered * FILE_SIZE:
            raise Unfit(f"sends {result.received / result.answered:.0f} bytes, not {FILE_SIZE}")
        figure = used / (result.received / 1e6) * 1e6
    elif scenario.unit == "µs to the answer":
        figure = extra.get("p50 µs", cost)
    rate = result.answered / result.seconds
    return Measure(figure, rate, result.answered, result.wrong, result.lost, extra)


# --- all of them


def run(bench: Bench) -> Report:
    """Measure all that was asked for, printing as it goes; return what results.json holds."""
    options = bench.options
    report: Report = {"setting": setting(options, bench.cores), "scenarios": {}, "skipped": {}}
    gone: set[str] = set()  # What did not start once is not tried again.
    for scenario in options.scenarios:
        peers = [*options.peers, *(options.pythons if scenario.tag == "python" else ())]
        turns: dict[str, list[Measure]] = {
            peer.name: [] for peer in peers if peer.serves(scenario) and peer.name not in gone
        }
        rounds = options.rounds * scenario.times
        if scenario.rounds:
            rounds = min(rounds, scenario.rounds)
        for number in range(rounds):
            for peer in [peer for peer in peers if peer.name in turns]:
                progress(f"{scenario.name}: round {number + 1} of {rounds}, {peer.name}")
                try:
                    turns[peer.name].append(bench.measure(peer, scenario))
                except Unfit as reason:
                    progress("")
                    print(f"skipped: {peer.name} in {scenario.name}: {reason}", flush=True)
                    report["skipped"].setdefault(scenario.name, {})[peer.name] = str(reason)
                    del turns[peer.name]
                    if str(reason).startswith("not installed"):
                        gone.add(peer.name)
        progress("")
        made = rows(turns)
        if made:
            part = report["scenarios"][scenario.name] = described(scenario, made)
            print(*text_table(scenario.name, part), "", sep="\n", flush=True)
    return report


def progress(text: str) -> None:
    """Show what is under way, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def setting(options: argparse.Namespace, cores: Cores) -> Report:
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
    modules = {peer.module for peer in options.peers}
    commands = {"wrk": ["wrk", "-v"]} if options.generator == "wrk" else {}
    if "nginx_app" in modules:
        commands["nginx"] = ["nginx", "-v"]
    if "redis_server" in modules:
        commands["redis"] = ["redis-server", "--version"]
    versions |= {name: found for name in commands if (found := program_version(commands[name]))}
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "python": python,
        "versions": versions,
        "platform": f"{platform.system()} {platform.release().partition('-')[0]}",
        "machine": machine(),
        "processors": os.cpu_count(),
        "server_core": ", ".join(map(str, sorted(cores.server))),
        "generator": "wrk" if options.generator == "wrk" else "our own generator",
        "seconds": options.seconds,
        "rounds": options.rounds,
        "connections": options.connections,
        "subscribers": options.subscribers,
        "idle": options.idle,
    }


def program_version(command: list[str]) -> str:
    """Return the first thing in a program's output that looks like a version, or ""."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    if (program := shutil.which(command[0], path=path)) is None:
        return ""
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True)
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
    return found[0] if found else ""


def machine() -> str:
    """Return what kind of processor this is."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        text = ""
    model = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return model[1].strip() if model else platform.processor() or platform.machine()


# --- the command line


def _chosen(table: tuple[Any, ...], text: str) -> list[Any]:
    """Return the entries of `table` that the comma-separated names in `text` mean."""
    by_name = {entry.name: entry for entry in table}
    for name in text.split(","):
        if name not in by_name:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(by_name)}")
    return [by_name[name] for name in text.split(",")]


def _pythons(text: str) -> list[Peer]:
    """Return a peer for each interpreter: paths with commas between, "auto", or "".

    "auto" means the supported versions that are found here, but for the one that runs this.
    """
    paths = text.split(",") if text else []
    if text == "auto":
        others = [version for version in VERSIONS if version != OWN_VERSION]
        paths = [path for version in others if (path := find_python(version))]
    peers = []
    for path in paths:
        done = subprocess.run([path, "-V"], capture_output=True, text=True, check=True)
        name = "pyliteflux-inline " + done.stdout.split()[-1]
        kinds = frozenset({"python"})
        peers.append(Peer(name, "pyliteflux_app", "inline", kinds, python=path))
    return peers


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.run", description="CPU time per answer, in turns."
    )
    add = parser.add_argument
    add("--peers", type=lambda text: _chosen(PEERS, text), default=list(PEERS), metavar="A,B")
    add(
        "--scenarios", type=lambda text: _chosen(SCENARIOS, text), default=list(SCENARIOS),
        metavar="A,B",
    )  # fmt: skip
    add("--seconds", type=float, default=1.0, help="of load in each turn (default 1)")
    add("--rounds", type=int, default=3, help="turns of each peer (default 3)")
    add("--connections", type=int, default=64, help="clients at once (default 64)")
    add("--subscribers", type=int, default=500, help="clients of a broadcast (default 500)")
    add("--idle", type=int, default=5000, help="idle connections (default 5000)")
    add("--generator", choices=["auto", "wrk", "builtin"], default="auto")
    add(
        "--pin", action=argparse.BooleanOptionalAction, default=sys.platform == "linux",
        help="the server on one core, the load on the others",
    )  # fmt: skip
    add("--python", default=sys.executable, help="interpreter that runs the servers")
    add(
        "--pythons", default="auto", metavar="A,B",
        help="more interpreters for the scenario 'pythons' (default: those found)",
    )  # fmt: skip
    add("--json", metavar="FILE", help="write all figures there")
    add("--write", type=Path, metavar="FOLDER", help="write a page, charts and figures there")
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
    wants_pythons = any(scenario.tag == "python" for scenario in options.scenarios)
    options.pythons = _pythons(options.pythons) if wants_pythons else []
    many = max(scenario.connections for scenario in SCENARIOS)
    allow_descriptors(max(options.subscribers, options.idle, many) + options.connections + 200)
    cores = Cores.shared_out() if options.pin else Cores()
    cores.keep_off()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        file = Path(folder, "file.bin")
        if any(scenario.kind == "file" for scenario in options.scenarios):
            file.write_bytes(os.urandom(1 << 20) * (FILE_SIZE >> 20) + bytes(FILE_SIZE % (1 << 20)))
        report = run(Bench(options, cores, file))
    about = report["setting"]
    print(
        f"Python {about['python']}, {about['processors']} processors, load by "
        f"{about['generator']}, {about['rounds']} rounds of {about['seconds']:g} s, "
        f"{about['connections']} connections ({about['subscribers']} for push)"
    )
    print(*(f"{name} {version}" for name, version in about["versions"].items()), sep=", ")
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    if options.write:
        report, word = with_earlier(report, options.write)
        if word:
            print(word)
        print("written:", *write(report, options.write))


if __name__ == "__main__":
    main()
