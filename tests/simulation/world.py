"""One simulated world: a server, its clients, and a scheduler that a seed drives.

The rule: whatever chance decides is drawn from the seed. The settings and the clients'
scripts come from the seed alone; each step has a generator of its own, made of seed and
step, so that a step can be left out and the others still do what they did (`keep`).

Chapter: docs/simulation.md.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterator
from itertools import count
from math import inf
from typing import Any

from pyliteflux import CORSMiddleware, GzipMiddleware, Server
from pyliteflux.reactor.loop import Reactor
from pyliteflux.reactor.workers import WorkerPool
from tests.fakes import FakeClock
from tests.simulation.app import App, Ledger, Witness
from tests.simulation.book import Book
from tests.simulation.clients import Client, HttpClient, TcpClient
from tests.simulation.excuses import check_reason
from tests.simulation.invariants import (
    SLACK,
    Violation,
    check_empty,
    check_step,
)
from tests.simulation.kernel import SimNetwork, SimSelector, SimSocket
from tests.simulation.plan import Plan
from tests.simulation.stage import LogWatch, Stage
from tests.simulation.threads import Threads

STEPS = 400  # Of a world, unless asked otherwise.
MOST_CLIENTS = 16
# Simulated seconds after everybody has left: by then handlers have returned, listeners that
# left without a word have been found out by a heartbeat.
LAST_LOOK = 15.0
MOST_ROUNDS = 20_000  # Until a world that does not come to its end has failed.
PATIENT = 400.0  # Simulated seconds in which every answer must have come.


class World:
    """A world by its seed. `run` raises Violation, with the trace in `trace`.

    keep: the numbers of the steps to make; None for all.
    """

    def __init__(self, seed: int, steps: int = STEPS, keep: set[int] | None = None) -> None:
        self.seed = seed
        self.steps = steps
        self.keep = keep
        self.trace: list[tuple[float, str]] = []
        self.failure: Violation | None = None
        self.clock = FakeClock()
        self.network = SimNetwork(self.note)
        self.threads = Threads(self.clock, self.note)
        self.ledger = Ledger()
        self.selector = SimSelector(self.network, self.threads, self.ledger.in_turn.clear)
        self.book = Book(self)
        self.app = App(self.threads, self.ledger)
        self.pools: dict[str, WorkerPool] = {}
        self.by_address: dict[Any, Client] = {}
        self.clients: list[Client] = []
        self.is_stopping = False
        self.stopped_at = 0.0
        self.overdue: dict[Any, tuple[float | None, float]] = {}  # Deadline, seen when.
        self.inbox_since: float | None = None
        self.standing_timers = {"_sweep", "_look"}
        self._starved_at = self.clock.now
        self._numbers = count(1)
        self._stage = Stage(self)
        self.log = LogWatch(self.note)
        r = random.Random(seed)
        self.plan = plan = Plan(r)
        self.settings = plan.settings
        self.threads.preempt = plan.preempt
        self.selector.lies = plan.lies
        self.log.fails = plan.log_fails
        for number, is_http in enumerate(plan.clients):
            self.clients.append((HttpClient if is_http else TcpClient)(self, f"c{number}", r))

    def new_number(self) -> int:
        return next(self._numbers)

    # --- what the seed decides at once

    # --- for everybody

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self.trace.append((self.clock.now, text))

    def violate(self, name: str, text: str) -> None:
        """An invariant does not hold: that is the end of this world."""
        failure = Violation(name, text)
        if self.failure is None:
            self.failure = failure
        raise failure  # On a simulated thread somebody may catch it; `_check` looks again.

    def on_lost(self, channel: Any, reason: Any) -> None:
        """A connection is closed: once, and for a reason that is true."""
        client = self.by_address[channel.address]
        self.note(f"{client.name} is lost in {channel.state.name}: {reason.name}")
        if client.reason is not None:
            self.violate("reasons", f"{client.name} is lost twice: {client.reason}, {reason.name}")
        client.reason = reason.name
        assert client.peer is not None
        sock = client.peer.sock
        assert isinstance(sock, SimSocket)
        stalled_for = self.reactor.now - sock.sent_at
        if sock.resets_on_close and stalled_for >= self.settings["send_timeout"] - SLACK:
            client.was_stalled = True  # Whatever the reason is: it is the first, the cause.
        if channel.transport.is_finishing and client.finish_reason == reason.name:
            return  # It was true when the farewell began.
        check_reason(self, channel, client, reason)

    def on_finish(self, channel: Any, reason: Any) -> None:
        """The farewell of a connection begins."""
        client = self.by_address[channel.address]
        if client.finish_reason is None:
            self.note(f"{client.name} is to end in {channel.state.name}: {reason.name}")
            client.finish_reason = reason.name
            check_reason(self, channel, client, reason)

    # --- building it

    def _make_pool(self, reactor: Reactor, name: str, *limits: int) -> WorkerPool:
        self.pools[name] = pool = WorkerPool(reactor, name, *limits)
        return pool

    def _build(self) -> None:
        self.server = Server(
            self.app.router,
            selector_factory=lambda: self.selector,
            clock=self.clock,
            socket_factory=self.network.socket,  # type: ignore[arg-type]
            pool_factory=self._make_pool,
            http_port=0,
            tcp_port=0,
            info=False,
            **self.settings,
        )
        self.server.add_middleware(GzipMiddleware())
        self.server.add_middleware(CORSMiddleware(["https://sim"]))
        self.server.add_middleware(Witness(self.ledger))
        self.server.allow_subscribe("room:*", "news")
        if self.plan.has_hooks:
            self.app.add_hooks(self.server, self.plan.refuses)
        for name, options in self.plan.topic_options.items():
            self.server.topic(name, **options)
        runtime = self.server._build("both", {})
        assert runtime is not None
        self.runtime = runtime
        self.reactor = runtime.reactor
        self.network.reactor = runtime.reactor
        self.fixed_descriptors = set(self.network.sockets)
        self.reactor_thread = self.threads.start("reactor", self.server._serve, runtime)
        for name, number, size, pause in self.plan.pushers:
            self.threads.start(name, self.book.send_pushes, name, number, size, pause)
        for name, number, size, pause in self.plan.publishers:
            self.threads.start(name, self.book.publish, name, number, size, pause)

    # --- running it

    def run(self) -> None:
        """Live through all steps and the end. Raises Violation."""
        self.log.begin()
        try:
            self._stage.build()
            self._build()
            for number in range(self.steps):
                if self.keep is None or number in self.keep:
                    self._step(number)
            self._use(random.Random(self.seed))
            self._end()
        finally:
            self._kill()
            self._stage.strike()
            self.log.end()

    def _kill(self) -> None:
        failure = self.failure
        self.threads.kill()
        self.failure = failure

    def _use(self, r: random.Random) -> None:
        self.network.random = self.threads.random = self.log.random = r

    def _step(self, number: int) -> None:
        r = random.Random(self.seed * 1_000_003 + number)
        self._use(r)
        self.trace.append((self.clock.now, f"-- step {number}"))
        action = r.choices(_ACTIONS, _WEIGHTS)[0]
        getattr(self, action)(r)
        self._check()

    def _check(self) -> None:
        for thread in self.threads.all:
            if thread.failure is not None:
                self.violate("errors", f"{thread.name} has died: {thread.failure!r}")
        if self.failure is not None:
            raise self.failure
        is_in_time = self.clock.now - self.stopped_at < self.settings["shutdown_timeout"]
        if self.network.left_waiting and is_in_time:
            self.violate("stop", f"a port was closed with {self.network.left_waiting} in its queue")
        if not self.reactor_thread.is_over:
            check_step(self)
        elif self.log.faults:
            self.violate(*self.log.faults[0])

    def _resume(self, thread: Any) -> None:
        self.threads.resume(thread)
        if thread.failure is not None:
            if isinstance(thread.failure, Violation):
                raise thread.failure
            self.violate("errors", f"{thread.name} has died: {thread.failure!r}")

    @property
    def awake_for(self) -> float:
        """Seconds for which the reactor has been let run whenever it wanted."""
        return self.clock.now - self._starved_at

    def _pass(self, seconds: float) -> None:
        """Let time pass."""
        due = self.reactor_thread.until if self.reactor_thread.is_waiting else self.clock.now
        if self.selector.is_asleep and self.selector.is_ready():
            due = self.clock.now
        self.clock.advance(seconds)
        if self.clock.now - due > 0.01:
            self._starved_at = self.clock.now

    # --- the steps

    def _run_thread(self, r: random.Random) -> None:
        ready = self.threads.runnable()
        if not ready:
            self._wait(r)
            return
        thread = r.choice(ready)
        self.note(f"{thread.name} runs")
        self._resume(thread)

    def _run_reactor(self, r: random.Random) -> None:
        if self.reactor_thread.is_over or not self.reactor_thread.can_run(self.clock.now):
            self._run_thread(r)
            return
        self.note("reactor runs")
        self._resume(self.reactor_thread)

    def _wait(self, r: random.Random) -> None:
        """Time passes: a little while somebody could run, else up to the next that is due."""
        if self.threads.runnable():
            self._pass(r.choice((0.0001, 0.001, 0.005)))
            return
        due = self.threads.next_time()
        left = r.uniform(0, 2.0) if due == inf else due - self.clock.now + 1e-6
        if r.random() < 0.2:
            left *= r.random()
        self._pass(left)

    def _suspend(self, r: random.Random) -> None:
        """The machine sleeps, with all in it."""
        seconds = r.choice((0.5, 3.0, 30.0))
        self.note(f"the machine sleeps for {seconds} s")
        self._pass(seconds)

    def _client(self, r: random.Random, connected: bool = True) -> Client | None:
        fitting = [c for c in self.clients if c.is_connected] if connected else []
        if not connected:
            fitting = [c for c in self.clients if c.peer is None]
        return r.choice(fitting) if fitting else None

    def _connect(self, r: random.Random) -> None:
        client = self._client(r, connected=False)
        if client is not None and client.can_connect:
            self.note(f"{client.name} connects")
            client.connect()
        else:
            self._send(r)

    def _send(self, r: random.Random) -> None:
        client = self._client(r)
        if client is not None:
            client.send_some(r)

    def _read(self, r: random.Random) -> None:
        client = self._client(r)
        if client is not None and r.random() < client.appetite:
            client.read_some(r)

    def _go_away(self, r: random.Random) -> None:
        client = self._client(r)
        if client is not None and r.random() < self.plan.rude:
            kind = r.choice(("half", "half", "close", "reset"))
            client.half_close() if kind == "half" else client.leave(kind == "reset")

    def _come_back(self, r: random.Random) -> None:
        """Somebody whose connection is over opens another one, and remembers."""
        over = [
            client
            for client in self.clients
            if client.peer is not None
            and not client.has_successor
            and (client.has_left or client.peer.saw_fin or client.peer.saw_reset)
        ]
        if over and len(self.clients) < MOST_CLIENTS:
            old = r.choice(over)
            old.has_successor = True
            old.leave(by_reset=False)
            new = type(old)(self, f"{old.name}+", r)
            new.memory = old.memory
            self.clients.append(new)

    def _rush(self, r: random.Random) -> None:
        """All come at once, as after a restart, and ask at once."""
        for client in self.clients:
            if client.can_connect:
                self.note(f"{client.name} connects")
                client.connect()
                client.send_some(r)

    def _disconnect(self, r: random.Random) -> None:
        known = list(self.server.clients)
        if self.plan.disconnects and known:
            client_id = r.choice(known)
            self.note("disconnect() is called")
            self.threads.start("kicker", self.server.disconnect, client_id, "kicked")

    def _break_accept(self, r: random.Random) -> None:
        number = r.choice((errno.EMFILE, errno.ENFILE, errno.ECONNABORTED, errno.ENOBUFS))
        self.note(f"the next accept fails: {errno.errorcode[number]}")
        self.network.accept_errors.append(number)

    def _break_threads(self, r: random.Random) -> None:
        self.threads.failing_starts += 1

    def _stop(self, r: random.Random) -> None:
        if self.plan.stops and not self.is_stopping:
            self._begin_stop()

    def _begin_stop(self) -> None:
        self.note("stop() is called")
        self.is_stopping = True
        self.stopped_at = self.clock.now
        self.threads.start("stopper", self.server.stop)

    # --- the end

    def _end(self) -> None:
        """Everybody gets what it is owed, and leaves; then the server stops."""
        self.note("-- the end: clients send the rest and read all")
        self.network.accept_errors.clear()
        self.threads.failing_starts = 0
        for client in self.clients:
            client.capacity = max(client.capacity, 4096)
            if client.can_connect:
                client.connect()
            elif client.peer is not None:
                client.peer.capacity = client.capacity
        self._drain(lambda: self._is_quiet() and all(c.is_content for c in self.clients), PATIENT)
        self.note("-- the end: all is read")
        for client in self.clients:
            client.check_end()
        self.book.check_end(self.clients)
        for index, client in enumerate(self.clients):
            client.leave(by_reset=index % 2 == 1)
        if not self.is_stopping:
            self._drain(self._time_is_over(LAST_LOOK), 200.0)
            self.note("-- the end: everybody has left")
            check_empty(self)
            self._begin_stop()
        settings = self.settings
        grace = settings["shutdown_timeout"] + 1.0 + self.runtime.connections.sweep_interval
        self._drain(lambda: self.reactor_thread.is_over, 200.0)
        if self.awake_for > grace and self.clock.now - self.stopped_at > grace + 0.5:
            self.violate("stop", f"it took {self.clock.now - self.stopped_at:.2f} s")
        self._drain(lambda: not self.threads.all, 200.0)
        self._check_end_of_server()

    def _is_quiet(self) -> bool:
        """True where nobody has anything to do, and no sender will have."""
        if self.reactor_thread.is_over:
            return True
        senders = {name for name, *_ in self.plan.pushers + self.plan.publishers}
        if any(thread.name in senders for thread in self.threads.all):
            return False
        is_asleep = self.selector.is_asleep and not self.reactor._inbox
        return is_asleep and not self.threads.runnable()

    def _time_is_over(self, seconds: float) -> Callable[[], bool]:
        end = self.clock.now + seconds
        return lambda: self.clock.now >= end

    def _drain(self, is_done: Callable[[], bool], patience: float) -> None:
        """Let everybody run, read and send until `is_done`."""
        r = self.threads.random
        end = self.clock.now + patience
        for _ in range(MOST_ROUNDS):
            if is_done():
                return
            before = len(self.trace)
            for client in self.clients:
                if client.is_connected:
                    client.send_some(r)
                    client.read_some(r)
            self._check()
            for thread in self.threads.runnable():
                if thread in self.threads.all:
                    self._resume(thread)
            self._check()
            if len(self.trace) == before and not self.threads.runnable():
                if is_done():
                    return
                due = self.threads.next_time()
                if due == inf:
                    break
                self._pass(max(0.0, due - self.clock.now) + 1e-6)
                if self.clock.now > end:
                    break
        if not is_done():
            waiting = [client.name for client in self.clients if not client.is_content]
            self.violate("rest", f"after {patience:.0f} s: {waiting}, {self.threads.all}")

    def _check_end_of_server(self) -> None:
        network = self.network
        left = [getattr(sock, "name", "the self-pipe") for sock in network.sockets.values()]
        if left or network.watched or network.faults:
            self.violate("leftovers", f"after the stop: {left}, {network.faults}")
        if self.runtime.connections or len(self.server.clients) or self.server.is_running:
            self.violate("leftovers", "channels after the stop")
        for number, times in self.ledger.closed.items():
            if times != 1:
                self.violate("generators", f"that of request {number} was closed {times} times")

    def lines(self) -> Iterator[str]:
        """Return the trace as lines: simulated seconds, then what happened."""
        for now, text in self.trace:
            yield f"{now - 1000:10.4f}  {text}"


_STEPS = (
    ("_run_thread", 30),
    ("_run_reactor", 20),
    ("_send", 16),
    ("_read", 14),
    ("_wait", 12),
    ("_connect", 8),
    ("_go_away", 1.5),
    ("_break_accept", 0.4),
    ("_break_threads", 0.2),
    ("_suspend", 0.15),
    ("_come_back", 3),
    ("_rush", 0.2),
    ("_disconnect", 0.4),
    ("_stop", 0.5),
)
_ACTIONS, _WEIGHTS = zip(*_STEPS)
