"""The load that a scenario asks for: by `wrk` where it is installed and fits, else by load.py.

The rule: a generator may be slow, but it must not lie. It counts answers that came in whole,
runs on other cores than the server, and says what was wrong or lost.

How to read the figures: tests/benchmarks/README.md.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import threading
from typing import Any

from . import load
from .load import NUMBER, Result
from .scenarios import RESP_PUBLISH, Peer, Scenario
from .servers import ROOT, Unfit

WARM_UP = 0.3  # seconds of load that are not measured
WARM_UP_CONNECTIONS = 64
LOAD_PROCESSES = 2
PATIENCE = 60.0  # seconds beyond the load, for a process that connects thousands of clients

# A thousand latencies, evenly out of all: what a sample of load.py holds.
_DONE = """\
done = function(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %d", summary.requests, summary.duration,
    summary.errors.status, summary.errors.connect + summary.errors.read
    + summary.errors.write + summary.errors.timeout))
  for n = 0, 999 do io.write(string.format(" %d", latency:percentile(n / 10 + 0.05))) end
  io.write("\\n")
end
"""


def wrk_script(scenario: Scenario) -> str:
    """Return the Lua text that makes `wrk` send the requests of `scenario`, to the byte."""
    pieces = scenario.request().split(NUMBER)
    if len(pieces) == 1:
        burst = f"string.rep({_lua(pieces[0])}, {scenario.depth})"
        asking = f"local burst = {burst}\nrequest = function() return burst end\n"
    else:
        # A number of its own for each thread to begin with, and one more each time.
        joined = " .. n .. ".join(_lua(piece) for piece in pieces)
        asking = (
            "local threads = 0\n"
            "setup = function(thread) thread:set('first', threads * 1000000000);"
            " threads = threads + 1 end\n"
            "local n\n"
            "init = function() n = first end\n"
            f"request = function() n = n + 1; return {joined} end\n"
        )
    return asking + _DONE


def _lua(text: str) -> str:
    """Return `text` as a Lua string; JSON's escapes are Lua's for what requests hold."""
    return json.dumps(text)


def load_with_wrk(port: int, scenario: Scenario, connections: int, seconds: float) -> Result:
    """Run `wrk` once, on two threads at most."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(wrk_script(scenario))
        script.flush()
        command = [
            "wrk", f"-t{min(2, connections)}", f"-c{connections}", f"-d{max(1, round(seconds))}s",
            "-s", script.name, f"http://127.0.0.1:{port}/",
        ]  # fmt: skip
        output = subprocess.run(command, capture_output=True, text=True)
    figures = re.search(r"RESULT ([\d ]+)", output.stdout)
    if figures is None:
        raise Unfit(f"wrk: {(output.stderr or output.stdout).strip()[-200:]}")
    answered, microseconds, refused, lost, *latencies = map(int, figures[1].split())
    # wrk calls every 4xx and 5xx an error; where we ask for a 404, what is not one is wrong.
    wrong = answered - refused if scenario.status >= 400 else refused
    return Result(
        answered, microseconds / 1e6, wrong, lost, tuple(value / 1e6 for value in latencies)
    )


def warm_up(port: int, scenario: Scenario, connections: int) -> None:
    """Load a little in this process, so that caches are filled and threads are started."""
    spec = specification(port, scenario, min(connections, WARM_UP_CONNECTIONS))
    try:
        clients = load.make({**spec, "kind": "http", "first": 1_500_000_000_000})
        assert isinstance(clients, load.Asking)
        try:
            clients.run(WARM_UP)
        finally:
            clients.close()
    except OSError as error:
        raise Unfit(f"load failed: {error}") from None


def specification(
    port: int, scenario: Scenario, connections: int, wire: str = "json"
) -> dict[str, Any]:
    """Return what `load.make` has to know."""
    return {
        "kind": scenario.kind,
        "port": port,
        "request": RESP_PUBLISH if wire == "resp" else scenario.request(),
        "depth": scenario.depth,
        "status": scenario.status,
        "connections": connections,
        "wire": wire,
    }


class Built:
    """Our own load processes: started and warmed up when made, they wait for `go`.

    A broadcast and a download need one process; idle connections too, and no warming up.
    """

    def __init__(
        self, port: int, scenario: Scenario, peer: Peer, connections: int, seconds: float
    ) -> None:
        alone = scenario.kind not in ("http", "tcp")
        processes = 1 if alone else min(LOAD_PROCESSES, connections)
        self.seconds = seconds
        self.processes: list[subprocess.Popen[str]] = []
        for number in range(processes):
            share = connections // processes + (number < connections % processes)
            spec = specification(port, scenario, share, peer.wire)
            spec |= {"seconds": seconds, "warm_up": WARM_UP, "first": number * 10**9}
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", load.__name__, json.dumps(spec)],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        try:
            for process in self.processes:
                self._wait_until_ready(process)
        except BaseException:
            self.end()
            raise

    def _wait_until_ready(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        patience = threading.Timer(PATIENCE, process.kill)
        patience.start()
        try:
            if process.stdout.readline() != "READY\n":
                process.kill()
                assert process.stderr is not None
                words = process.stderr.read().strip().rpartition("\n")[2]
                raise Unfit(f"load failed: {words or 'not ready in time'}")
        finally:
            patience.cancel()

    def go(self) -> Result:
        """Load with all processes at once and add up what they saw."""
        try:
            for process in self.processes:
                assert process.stdin is not None
                process.stdin.write("GO\n")
                process.stdin.flush()
            results = []
            for process in self.processes:
                output, words = process.communicate(timeout=self.seconds + PATIENCE)
                if process.returncode != 0:
                    raise Unfit(f"load failed: {words.strip().rpartition(chr(10))[2]}")
                results.append(Result(**json.loads(output)))
            return load.add_up(results)
        except subprocess.TimeoutExpired:
            raise Unfit("load failed: it did not end") from None
        finally:
            self.end()

    def end(self) -> None:
        """Stop what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # Of a GO that nobody reads any more.
                        pipe.close()
