"""See tests/soak/__init__.py."""

from __future__ import annotations

import argparse
import json
import re
import select
import subprocess
import sys
import time
from collections import Counter

from tests.soak.faults import FAULTS, Fault
from tests.soak.process import ServerProcess, Weight
from tests.soak.witness import Witness, percentile
from tests.support import ROOT, wait_until

LIMIT = 0.1  # Seconds: what the slowest answers but one in a hundred may take.
FAULT_SECONDS = 8.0  # How long a fault without an end of its own goes on.
PAUSE = 40.0  # The longest time until the server is at rest; idle workers end after 30 s.
MOST_GROWTH = 20 * 1024 * 1024  # Bytes of resident memory from the start to the end.


def run_program(module: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a module of ours in a process of its own; the end of its stdin ends it."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def mib(count: int) -> str:
    return f"{count / 1048576:.0f}"


def count_lines(server: ServerProcess) -> Counter[str]:
    """Count what the server has logged, by how it begins; numbers count as alike."""
    begins = (line[9:80] for line in server.log_lines() if re.match("[0-9:]{8} [A-Z]", line))
    return Counter(re.sub("[0-9]+", "N", begin) for begin in begins)


# --- faults


def run_fault(kind: type[Fault] | None, seconds: float) -> bool:
    """Measure one fault, or quiet, and print its line. Return whether the promise was kept."""
    few = kind is not None and kind.name == "descriptors"
    with ServerProcess(descriptors=150 if few else None) as server:
        witness = Witness(server.http_address)
        witness.watch(0.5, afresh=True, is_over=lambda: False)
        witness.kept.clear()
        witness.fresh.clear()
        before, began = server.weigh(), time.monotonic()
        peak = before
        fault = None
        if kind is not None:
            ports = server.http_address[1], server.tcp_address[1]
            fault = run_program("tests.soak.faults", kind.name, *ports)
            assert fault.stdout is not None
            if fault.stdout.readline() != "ready\n":
                raise AssertionError(f"the fault {kind.name} could not be brought about")
        end = began + seconds
        is_done = False
        while time.monotonic() < end or (kind is not None and has_end(kind) and not is_done):
            witness.watch(0.25, afresh=not few, is_over=lambda: False)
            peak = Weight(*map(max, peak, server.weigh()))
            if fault is not None and has_said_over(fault):
                is_done = True
                break
        cpu = (server.weigh().cpu - before.cpu) / (time.monotonic() - began)
        told = ""
        if fault is not None:
            told = fault.communicate(timeout=60)[0].strip().splitlines()[-1]
        wait_until(lambda: server.weigh().descriptors <= before.descriptors, "fds are back", 30)
        after = server.weigh()
        witness.ask()
        witness.close()
        if server.stop() != 0:
            raise AssertionError("the server did not end with status 0")
        lines = count_lines(server)
    p99 = max(percentile(witness.kept, 0.99), percentile(witness.fresh, 0.99))
    kept = p99 <= LIMIT and (not few or cpu < 0.3)
    print(
        f"{'quiet' if kind is None else kind.sentence:56}"
        f"{len(witness.kept):6}"
        f"{percentile(witness.kept, 0.5) * 1000:7.1f}{percentile(witness.kept, 0.99) * 1000:7.1f}"
        f"{max(witness.kept) * 1000:7.1f}{percentile(witness.fresh, 0.99) * 1000:7.1f}"
        f"{mib(before.memory):>6}{mib(peak.memory):>6}{mib(after.memory):>6}"
        f"{before.descriptors:5}{peak.descriptors:5}{after.descriptors:5}"
        f"{peak.threads:5}{cpu * 100:5.0f} %"
        f"  {'' if kept else 'NOT KEPT'} {told}",
        flush=True,
    )
    for line, times in lines.items():
        print(f"    {times} log lines: {line} ...", flush=True)
    return kept


def has_end(kind: type[Fault]) -> bool:
    return kind.is_over is not Fault.is_over


def has_said_over(fault: subprocess.Popen[str]) -> bool:
    assert fault.stdout is not None
    return bool(select.select([fault.stdout], [], [], 0)[0])


def run_faults(names: list[str], seconds: float) -> int:
    print(
        f"{'':56}{'asked':>6}{'p50':>7}{'p99':>7}{'max':>7}{'new p99':>7}"
        f"{'MiB':>6}{'peak':>6}{'after':>6}{'fds':>5}{'peak':>5}{'aft.':>5}{'thr.':>5}{'CPU':>6}"
    )
    kinds = [None, *(FAULTS[name] for name in names or FAULTS)]
    kept = [run_fault(kind, seconds) for kind in kinds]
    print("times in milliseconds, of another client's GET /hello; new: on a new connection each")
    return 0 if all(kept) else 1


# --- soak


def at_rest(server: ServerProcess, threads: int | None) -> Weight:
    """Wait until nobody is connected and, where it is given, the threads are so few again."""

    def is_at_rest() -> bool:
        stats = server.stats()
        few = threads is None or server.weigh().threads <= threads
        return stats["connections"] == 0 and stats["requests_waiting"] == 0 and few

    end = time.monotonic() + PAUSE
    while not is_at_rest() and time.monotonic() < end:
        time.sleep(0.5)
    time.sleep(0.5)  # The connection that asked for the statistics is closed by then.
    return server.weigh()


def run_load(server: ServerProcess, seconds: float, seed: int) -> dict[str, object]:
    """Put mixed load on for so long; return what the visitors say."""
    ports = server.http_address[1], server.tcp_address[1]
    load = run_program("tests.soak.load", *ports, seed)
    time.sleep(seconds)
    out, _ = load.communicate(timeout=60)
    report: dict[str, object] = json.loads(out)
    return report


def run_soak(minutes: float) -> int:
    with ServerProcess() as server:
        run_load(server, 10.0, 0)  # What is imported, cached and kept from then on.
        weights = [at_rest(server, None)]
        # Idle workers end after a while: that many threads are there without load.
        time.sleep(35)
        weights = [at_rest(server, None)]
        reports = []
        print("mixed load for two times", f"{minutes * 30:.0f} s", flush=True)
        for half in (1, 2):
            reports.append(run_load(server, minutes * 30, half))
            weights.append(at_rest(server, weights[0].threads))
        print(f"{'':10}{'memory':>12}{'descriptors':>13}{'threads':>9}{'CPU':>9}")
        for when, weight in zip(("start", "middle", "end"), weights, strict=True):
            print(
                f"{when:10}{mib(weight.memory):>8} MiB{weight.descriptors:13}"
                f"{weight.threads:9}{weight.cpu:7.1f} s"
            )
        totals: dict[str, int] = {}
        for report in reports:
            for kind, count in report["counts"].items():  # type: ignore[attr-defined]
                totals[kind] = totals.get(kind, 0) + count
            for error in report["errors"]:  # type: ignore[attr-defined]
                print("failed:", error)
        print(sum(totals.values()), "conversations:", totals)
        print("stats:", server.stats())
        status = server.stop()
        for line, times in count_lines(server).most_common(20):
            print(f"{times} log lines: {line} ...")
    first, last = weights[0], weights[-1]
    is_well = (
        status == 0
        and not any(report["failed"] for report in reports)
        and last.descriptors <= first.descriptors
        and last.threads <= first.threads
        and last.memory - first.memory <= MOST_GROWTH
    )
    print("all is as it was" if is_well else "NOT as it was")
    return 0 if is_well else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("load", "faults"), default="load")
    parser.add_argument("names", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--minutes", type=float, default=3.0, help="of mixed load")
    parser.add_argument("--seconds", type=float, default=FAULT_SECONDS, help="of each fault")
    arguments = parser.parse_intermixed_args()
    if arguments.what == "faults":
        return run_faults(arguments.names, arguments.seconds)
    return run_soak(arguments.minutes)


if __name__ == "__main__":
    sys.exit(main())
