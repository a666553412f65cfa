"""When an answer, a push or a connection may be missing: each excuse with its reason.

The rule: the reference says what is due; these functions say what in this very world permits
less: a client that reset, a timeout that has really passed, a queue that is that small. What
they do not name is a violation.

Chapter: docs/simulation.md.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from tests.simulation.invariants import SLACK
from tests.simulation.kernel import SimSocket
from tests.simulation.model import Ask

if TYPE_CHECKING:
    from tests.simulation.clients import Client
    from tests.simulation.world import World


def may_lack(world: World, client: Client) -> bool:
    """True where a connection's end excuses answers and pushes that did not come."""
    if (
        client.has_left
        or client.was_stalled
        or (client.reason or client.finish_reason)
        in {
            "PEER_RESET",
            "SEND_TIMEOUT",
            "LINGER_TIMEOUT",
            "SLOW_CLIENT",
            "SHUTDOWN",
            "BUSY",
            "IDLE_TIMEOUT",
            "EVICTED",
            "PING_TIMEOUT",
            "REFUSED",
            "DISCONNECTED",
            "READ_TIMEOUT",
            "HANDLER_TIMEOUT",
        }
    ):
        return True
    if client.reason is None and world.settings["max_connections"] < 10:
        if client.peer is not None and client.peer.is_over:
            return True  # Cut without a word: there were too many by far.
    return world.is_stopping


def check_excuse(world: World, client: Client, ask: Any, status: int) -> None:
    """An answer that is not the expected one: is there a reason for it in this world?"""
    settings = world.settings
    is_small = settings["worker_queue_limit"] < 10 or settings["max_connections"] < 10
    waited = world.clock.now - client.connected_at
    shortest = min(settings["header_timeout"], settings["body_timeout"])
    excused = {
        400: client.has_half_closed,
        408: waited >= shortest - SLACK,
        503: is_small or settings["max_buffered_bodies"] < 100_000,
        504: settings["handler_timeout"] > 0,
        # A message can wait for its worker: it is only connections that there are too many of.
        0: ask == "busy"
        and settings["max_connections"] < 10
        or ask == "timeout"
        and (settings["handler_timeout"] > 0 or waited >= settings["tcp_message_timeout"] - SLACK),
    }
    if isinstance(ask, Ask) and ask.kind == "too big" and status == 400:
        return
    if not excused.get(status, False):
        what = f"{ask.kind} {ask.number}" if isinstance(ask, Ask) else ask
        world.violate("answers", f"{client.name}: {what} is answered {status}")


def check_reason(world: World, channel: Any, client: Client, reason: Any) -> None:
    """A connection ends, or begins to: is the reason that is given true?"""
    assert client.peer is not None
    sock = client.peer.sock
    assert isinstance(sock, SimSocket)
    # The server counts from the beginning of its turn, and so do the times of a SimSocket.
    now, settings = world.reactor.now, world.settings
    idle = now - max(sock.accepted_at or 0.0, min(client.asked_at, sock.received_at))
    shortest_idle = min(
        settings["keep_alive_timeout"],
        settings["header_timeout"],
        settings["tcp_idle_timeout"] or inf,
        60.0,
    )
    is_true = {
        "PEER_CLOSED": client.has_half_closed or client.has_left,
        "PEER_RESET": client.has_left,
        "IDLE_TIMEOUT": idle >= shortest_idle - SLACK or settings["max_connections"] < 10,
        "SEND_TIMEOUT": now - sock.sent_at >= settings["send_timeout"] - SLACK,
        "LINGER_TIMEOUT": now - sock.fin_at >= settings["linger_timeout"] - SLACK,
        "EVICTED": settings["max_connections"] < 10,
        "DISCONNECTED": world.plan.disconnects,
        "REFUSED": world.plan.refuses,
        "PEER_GONE": False,
        "HANDLER_TIMEOUT": settings["handler_timeout"] > 0,
        "PING_TIMEOUT": 0 < settings["tcp_ping_interval"] <= idle + SLACK,
        "BUSY": settings["max_connections"] < 10
        or settings["worker_queue_limit"] < 10
        or settings["max_buffered_bodies"] < 100_000,
        "SHUTDOWN": world.is_stopping,
        "INTERNAL_ERROR": False,
    }
    if not is_true.get(reason.name, True):
        world.violate("reasons", f"{client.name} is lost in {channel.state.name}: {reason.name}")
