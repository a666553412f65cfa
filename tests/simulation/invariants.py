"""What must hold in every world, after every step: names, sentences, and how each is looked at.

The rule: these functions read the server's own attributes and change nothing. They are called
between two steps, when every thread lies at a point; what holds only between two turns is
looked at while the reactor is asleep.

Chapter: docs/simulation.md.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from pyliteflux.channels.channel import (
    BODY,
    CLOSED,
    CLOSING,
    GREETING,
    HANDLING,
    HEAD,
    IDLE,
    LISTENING,
)
from pyliteflux.channels.http_channel import HttpChannel
from pyliteflux.reactor.life import ENDED
from pyliteflux.reactor.loop import READ, WRITE
from tests.fakes import FIRST_FAKE_DESCRIPTOR

if TYPE_CHECKING:
    from tests.simulation.world import World

INVARIANTS = {
    "answers": "one answer per request, in order, whole, byte for byte what the reference says",
    "silence": "nothing comes after the last answer, nothing after a goodbye or FIN",
    "frames": "what a TCP client reads is whole lines: no push lies inside an answer",
    "pushes": "a push, event or topic message arrives once, in its sender's order, "
    "or its loss is counted and told",
    "leftovers": "when everybody has left, nothing of them is left: no descriptor, timer, "
    "channel, hub entry, subscriber, job or thread",
    "memory": "unsent bytes, buffered bytes and queues stay under their limits at all times",
    "interest": "WRITE is watched while bytes wait, and only then",
    "deadlines": "every state has its deadline, and a deadline that has passed is acted upon",
    "wake-ups": "the reactor does not sleep while a call lies in its inbox or a job in a queue",
    "generators": "a generator that was begun is closed once, an EventStream is left once",
    "finish": "on_finish comes once for every request that entered the middlewares, "
    "on_disconnect once for every client that on_connect let in, and not before it",
    "reasons": "a connection is lost once, for one reason, and the reason is true",
    "one at a time": "a connection has one handler at a time",
    "fairness": "no connection has a turn of the loop for itself, however much it asks",
    "rest": "where nothing happens the loop rests, and what is due gets done",
    "kernel": "nothing is asked of the kernel that it forbids",
    "errors": "nothing of ours fails: no exception is lost, none is logged but on purpose",
    "stop": "a stop ends within its grace, however many it disturbs, and who waits at the port is "
    "let in before it",
}

# Simulated seconds that a call may lie in the inbox while the reactor sleeps: a worker with a
# batch of jobs announces its answers at the end, and the pool looks after it all the while.
PATIENCE = 0.05
SLACK = 0.001  # Seconds lost to rounding, and to steps of the clock.


class Violation(AssertionError):
    """An invariant does not hold. name: which."""

    def __init__(self, name: str, text: str) -> None:
        assert name in INVARIANTS, name
        super().__init__(f"{name}: {text}\n({INVARIANTS[name]})")
        self.name = name


def check_step(world: World) -> None:
    """Look at all that can be looked at between two steps."""
    faults = world.network.faults
    if faults:
        world.violate("kernel", faults[0])
    if world.ledger.faults:
        world.violate(*world.ledger.faults[0])
    for kind, text in world.log.faults:
        world.violate(kind, text)
    for number, count in world.ledger.closed.items():
        if count > 1 or count > world.ledger.opened[number]:
            world.violate("generators", f"that of request {number} was closed {count} times")
    is_asleep = world.selector.is_asleep
    channels = list(world.runtime.connections)
    for channel in channels:
        _check_memory(world, channel)
        if is_asleep:
            _check_interest(world, channel)
            _check_deadline(world, channel)
    if is_asleep:
        _check_descriptors(world, channels)
        _check_timers(world)
        _check_hub(world, channels)
        _check_wake_ups(world)


def _check_memory(world: World, channel: Any) -> None:
    settings = world.settings
    unsent = channel.transport.size
    # One answer may be written past the mark, and pushes may come on top of it.
    most = settings["write_high_water"] + world.plan.most_answer
    most += settings["event_buffer" if channel_is_http(channel) else "tcp_send_limit"]
    most += world.plan.most_push
    if unsent > most:
        world.violate("memory", f"{name_of(world, channel)}: {unsent} bytes unsent, limit {most}")
    if channel_is_http(channel):
        buffered = channel._http.buffered
        most = 2 * settings["recv_size"]
        if channel.state is not BODY and channel.state not in (HEAD, CLOSING) and buffered > most:
            world.violate("memory", f"{name_of(world, channel)}: {buffered} bytes not parsed")
        stream = channel._intake.stream
        if stream is not None and stream._size > world.plan.body_high + 2 * settings["recv_size"]:
            world.violate("memory", f"{name_of(world, channel)}: a body of {stream._size} waits")
        body = channel._intake.body
        if body is not None and len(body) > settings["max_body_size"]:
            world.violate("memory", f"{name_of(world, channel)}: a body of {len(body)} bytes")
    else:
        buffered = channel._framer.buffered
        if buffered > settings["tcp_max_message"] + 2 * settings["recv_size"]:
            world.violate("memory", f"{name_of(world, channel)}: {buffered} bytes not framed")
        queue = channel._pushes
        size = 0 if queue is None else queue.size
        # One push that is larger than the limit may wait all alone.
        if size > max(settings["tcp_send_limit"], world.plan.most_push):
            world.violate("memory", f"{name_of(world, channel)}: pushes of {size} bytes wait")


def _check_interest(world: World, channel: Any) -> None:
    transport = channel.transport
    key = world.selector.get_map().get(transport.fileno())
    watched = 0 if key is None else key.events
    waits = transport.size > 0 and not transport.flush_is_due
    if bool(watched & WRITE) != waits:
        world.violate(
            "interest",
            f"{name_of(world, channel)}: {transport.size} bytes wait, WRITE is "
            f"{'watched' if watched & WRITE else 'not watched'}",
        )
    if channel.state in LISTENING and not watched & READ:
        # It may wait for its next share of a turn, or for what must be given back first.
        waits = channel._will_continue or world.reactor._ready
        if transport.input is not ENDED and not waits:
            world.violate("interest", f"{name_of(world, channel)} is never read from again")


def _check_deadline(world: World, channel: Any) -> None:
    state, deadline, settings = channel.state, channel.deadline, world.settings
    name = name_of(world, channel)
    is_http = channel_is_http(channel)
    if state is CLOSED:
        world.violate("deadlines", f"{name} is closed and still counted")
    needs_one = (
        (state in LISTENING and state is not IDLE)
        or (state is IDLE and (is_http or not channel.is_long_lived))
        or (state is IDLE and settings["tcp_idle_timeout"] > 0)
        or (state in (GREETING, HANDLING) and settings["handler_timeout"] > 0 and not is_http)
        or (state is CLOSING and channel.transport.fin_is_sent)
    )
    if needs_one and not isfinite(deadline):
        world.violate("deadlines", f"{name} is {state.name} without a deadline")
    if state is CLOSING and not channel.transport.fin_is_sent and not channel.transport.size:
        world.violate("deadlines", f"{name} has nothing to send and does not send FIN")
    # The sweep looks at it in time, where the reactor was let run. It may have been set to a
    # time that had passed already: then it counts from when it was seen.
    if deadline > world.reactor.now:
        world.overdue.pop(channel, None)
    else:
        seen, since = world.overdue.get(channel, (None, 0.0))
        if seen != deadline:
            since = world.reactor.now
            world.overdue[channel] = deadline, since
        limit = 2 * world.runtime.connections.sweep_interval + 0.1
        if world.reactor.now - since > limit and world.awake_for > limit:
            world.violate("deadlines", f"{name}: that of {state.name} has passed and nobody acts")
    stalled = world.reactor.now - channel.transport.progressed
    limit = settings["send_timeout"] + world.runtime.connections.sweep_interval + SLACK
    if channel.transport.size and stalled > limit and world.awake_for > limit:
        world.violate("deadlines", f"{name} has taken no byte for {stalled:.1f} s")


def _check_descriptors(world: World, channels: list[Any]) -> None:
    sockets = world.network.sockets
    own = {channel.transport.fileno() for channel in channels}
    listeners = world.network.listeners.values()
    waiting = {sock.fd for listener in listeners for sock in listener.backlog}
    expected = own | waiting | world.fixed_descriptors
    if -1 in own:
        world.violate("leftovers", "a channel of a closed transport is still counted")
    if not world.is_stopping and set(sockets) != expected:
        extra = [getattr(sockets[fd], "name", fd) for fd in set(sockets) - expected]
        world.violate("leftovers", f"descriptors of nobody: {extra}")
    for fd in world.selector.get_map():
        if fd >= FIRST_FAKE_DESCRIPTOR and fd not in sockets:
            world.violate("kernel", f"descriptor {fd} is watched and closed")


def _check_timers(world: World) -> None:
    """A timer is for something that goes on."""
    for _, _, handle in world.reactor._timers._heap:
        if not handle.is_active:
            continue
        for argument in handle._args:
            if getattr(argument, "state", "waiting") in ("acked", "gone", "timeout"):
                world.violate("leftovers", f"the timer of {argument!r} still runs")
        owner = getattr(handle._callback, "__self__", None)
        if getattr(owner, "state", None) is CLOSED:
            world.violate("leftovers", f"a timer of {owner!r} still runs")


def _check_hub(world: World, channels: list[Any]) -> None:
    connected = {channel.client_id for channel in channels if not channel_is_http(channel)}
    known = set(world.server.clients)
    if not known <= connected:
        world.violate("leftovers", f"the hub knows {known - connected}, who have left")


def _check_wake_ups(world: World) -> None:
    reactor = world.reactor
    lies = [name for name, pool in world.pools.items() if pool._queue and not pool._watching]
    if not (reactor._inbox or lies) or world.threads.runnable():
        world.inbox_since = None  # Nothing is there, or somebody may be about to ring.
    elif world.inbox_since is None:
        world.inbox_since = world.clock.now
    elif world.clock.now - world.inbox_since > PATIENCE:
        what = "a call in its inbox" if reactor._inbox else f"jobs for the {lies[0]} pool"
        world.violate(
            "wake-ups",
            f"the reactor has slept for {world.clock.now - world.inbox_since:.3f} s with {what}",
        )


def check_empty(world: World) -> None:
    """Everybody has left, and time has passed: nothing may be left of them."""
    runtime, reactor = world.runtime, world.reactor
    left: list[str] = []
    if runtime.connections:
        left.append(f"channels {[name_of(world, channel) for channel in runtime.connections]}")
    if runtime.connections.per_address:
        left.append(f"addresses {runtime.connections.per_address}")
    if len(world.server.clients):
        left.append(f"clients {list(world.server.clients)}")
    left += world.book.leftovers()
    timers = [handle for _, _, handle in reactor._timers._heap if handle.is_active]
    strange = [
        handle
        for handle in timers
        if getattr(handle._callback, "__name__", "") not in world.standing_timers
    ]
    if strange:
        left.append(f"timers {[handle._callback for handle in strange]}")
    for name, pool in world.pools.items():
        if pool._queue:
            left.append(f"{len(pool._queue)} jobs of the {name} pool")
        if pool._workers and len(pool._parked) != len(pool._workers):
            left.append(f"workers of the {name} pool that are not parked")
    if reactor._inbox or reactor._ready or reactor._to_flush or reactor._at_turn_end:
        left.append("calls of the reactor")
    if left:
        world.violate("leftovers", "; ".join(left))
    check_ledger(world)


def check_ledger(world: World) -> None:
    """What must have come once has come once."""
    ledger = world.ledger
    for number, count in ledger.opened.items():
        if ledger.closed[number] != count:
            world.violate("generators", f"that of request {number} was never closed")
    for number, count in ledger.events_begun.items():
        if ledger.events_gone[number] != count:
            times = ledger.events_gone[number]
            world.violate("generators", f"on_close of events {number} came {times} times")
    world.book.check_acks()
    for request_id in ledger.entered:
        times = ledger.finished[request_id]
        if times != 1:
            world.violate("finish", f"request {request_id}: on_finish came {times} times")
    for client_id in {*ledger.admitted, *ledger.refused, *ledger.left}:
        counts = ledger.admitted[client_id], ledger.left[client_id]
        if counts != ((0, 0) if ledger.refused[client_id] else (1, 1)):
            world.violate("finish", f"{client_id} was let in and has left {counts} times")
    if any(ledger.handling.values()):
        world.violate("leftovers", f"handlers at work: {+ledger.handling}")


def channel_is_http(channel: Any) -> bool:
    return isinstance(channel, HttpChannel)


def name_of(world: World, channel: Any) -> str:
    client = world.by_address.get(channel.address)
    return f"{'?' if client is None else client.name} ({channel.state.name})"
