"""The open connections of a run: how many there may be, who makes room, when one is at its end.

The rule: a connection that is counted is watched, and one that is watched has an end: by its peer,
by its deadline, or by who needs its place. Reactor thread, but for what says any thread.

Chapter: docs/limits.md.
"""

from __future__ import annotations

import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from ..channels.channel import IDLE, Channel
from ..channels.http_channel import HttpChannel
from ..channels.http_intake import Bodies
from ..channels.journal import Journal, Kind, Story
from ..config import Config
from ..endpoint import Peer
from ..forking import after_fork
from ..log import framework as log
from ..probes import bound_silence
from ..reactor.loop import Reactor
from ..reactor.transport import Transport
from ..why import CloseReason
from .ports import Port

# The sweep looks at every connection's deadline this often, in seconds. O(n) in connections:
# some 3 ms a second for ten thousand of them; a heap would cost more than that per request.
SWEEP_INTERVAL = 1.0
# Descriptors kept back from connections: listeners, the self-pipe, files, the user's own. Where the
# process may have few, no more than a quarter of them.
RESERVED_DESCRIPTORS = 64
# Over max_connections so many more are taken just to tell them so; beyond, they are cut. They are
# part of what is kept back, half of it at the most.
BUSY_SLACK = 32
# One place in so many is kept for each of the two ports: who fills the one, by connections that
# never say a word say, does not shut the other. A client that only listens to pushes is silent,
# too, so silence alone is no reason to close it.
PORT_SHARE = 10
# Without it the kernel lets the buffer of each connection grow to megabytes, where neither
# tcp_send_limit nor send_timeout sees them: who does not read would look as if he did.
UNSENT_LIMIT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
# How often a full server looks for idle connections to close, in seconds; how many at once.
EVICT_INTERVAL = 0.1
EVICT_COUNT = 64
# A new connection that has said nothing for so many seconds counts as idle there, too.
SILENT_TIME = 1.0
# What the sweep looks for, in time.
_TIMEOUTS = (
    "header_timeout body_timeout keep_alive_timeout send_timeout linger_timeout heartbeat "
    "tcp_message_timeout tcp_idle_timeout tcp_ping_interval handler_timeout stream_step_timeout"
).split()


class Connections:
    """Who is connected, on all ports. `len` and iteration: any thread, on a copy.

    ports: how many there are, so that each keeps its share of the places. welcome: called with each
    long-lived one that may stay, on_left: with each TCP client that has gone.
    """

    def __init__(
        self,
        config: Config,
        reactor: Reactor,
        journal: Journal,
        ports: int,
        welcome: Callable[[Any], object],
        on_left: Callable[[Any], object],
    ) -> None:
        self._config = config
        self._reactor = reactor
        self._journal = journal
        self._welcome = welcome
        self._on_left = on_left
        self._channels: dict[Channel, None] = {}  # In the order in which they came.
        self.per_address: Counter[str] = Counter()  # By its host.
        self._per_port: Counter[str] = Counter()  # By its name; those that are refused apart.
        self._refused: set[Channel] = set()  # They are told so, and linger: they take no place.
        self.most = _capped(config.max_connections, reactor)
        self._most_per_port = self.most - (self.most // PORT_SHARE if ports > 1 else 0)
        self._busy_slack = min(BUSY_SLACK, _kept_back(_most_files()) // 2)
        after_fork(self._close_copies)
        self._next_eviction = 0.0
        self.sweep_interval = _sweep_interval(config)
        self._last_sweep = reactor.now
        self._is_late = False

    # --- any thread

    def __len__(self) -> int:
        return len(self._channels)

    def __iter__(self) -> Iterator[Channel]:
        return iter(list(self._channels))  # list(dict) is one step under the GIL.

    def story(self, client_id: str) -> Story | None:
        """Return the story of an open connection. O(n) in connections: for who asks why."""
        # Perhaps of two: one port number may be open to both our ports.
        found = (one for one in self if one.client_id == client_id)
        newest = max(found, key=lambda channel: channel.connected_at, default=None)
        return None if newest is None else newest.record().story(self._reactor.now)

    # --- reactor thread

    def accept(self, port: Port, sock: socket.socket, peer: Peer) -> None:
        """A new connection: build its transport and channel, or say that there is no room."""
        config, service, now = self._config, port.service, self._reactor.now
        if len(self._channels) >= self.most + self._busy_slack or (
            len(self._refused) >= self._busy_slack and self._is_full(port.name, 1)
        ):
            sock.close()
            self._journal.add_cut(port.name, peer, service.address, now, "max_connections")
            return
        marks = config.write_high_water, config.write_low_water
        transport = Transport(self._reactor, sock, service.recv_size, *marks)
        # Answers leave whole, once a turn: waiting to fill a segment (Nagle) only delays them.
        transport.set_option(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if config.kernel_unsent_limit and UNSENT_LIMIT is not None:
            transport.set_option(socket.IPPROTO_TCP, UNSENT_LIMIT, config.kernel_unsent_limit)
        bound_silence(transport.set_option, config.send_timeout)
        try:
            channel = port.make_channel(service, transport, peer)
        except KeyboardInterrupt:
            raise
        except BaseException:  # A framer of the user's cannot be made.
            log.exception("a new connection cannot be served")
            transport.abort(CloseReason.INTERNAL_ERROR)
            return
        try:
            transport.attach(channel)
        except OSError as error:  # The kernel has no room to watch one more.
            log.error("cannot watch a new connection: %s", error.strerror)
            transport.close(CloseReason.BUSY)
            text = str(error.strerror)
            self._journal.add_cut(port.name, peer, service.address, now, text)
            return
        self._channels[channel] = None  # Not before it is watched: what counts has to end.
        self.per_address[peer.host] += 1
        self._per_port[port.name] += 1
        try:
            if self._has_room(channel):
                if channel.is_long_lived:
                    self._welcome(channel)
                if service.is_stopping:
                    channel.shutdown()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            log.exception("%r failed as it began", channel)
            transport.on_failure(error)

    def _has_room(self, channel: Channel) -> bool:
        """Tell whether a new connection may stay; where it may not, it is told so."""
        protocol, limit = channel.protocol, self._config.max_connections_per_ip
        if self._is_full(protocol):
            self._evict_idle()
        is_full = self._is_full(protocol)
        if is_full or (limit and self.per_address[channel.address.host] > limit):
            channel.note(Kind.NO_ROOM, "max_connections" if is_full else "max_connections_per_ip")
            self._refused.add(channel)
            self._per_port[protocol] -= 1
            channel.refuse_busy()
            return False
        return True

    def _is_full(self, protocol: str, more: int = 0) -> bool:
        """Tell whether there are, with so many more, more than may be: in all, or on this port."""
        taken = len(self._channels) - len(self._refused) + more
        return taken > self.most or self._per_port[protocol] + more > self._most_per_port

    def _evict_idle(self) -> None:
        """The server is full: close the HTTP connections that have been idle for longest."""
        now = self._reactor.now
        if now < self._next_eviction:
            return
        self._next_eviction = now + EVICT_INTERVAL
        # Who has just connected is about to ask; who still says nothing later may never.
        idle = [
            channel
            for channel in self._channels
            if isinstance(channel, HttpChannel)
            and channel.state is IDLE
            and (channel.is_used or now - channel.idle_since >= SILENT_TIME)
        ]
        idle.sort(key=lambda channel: channel.idle_since)
        for channel in idle[:EVICT_COUNT]:
            channel.note(Kind.NO_ROOM, "max_connections: it was idle for longest")
            channel.transport.close(CloseReason.EVICTED)

    def make_room(self, bodies: Bodies) -> None:
        """Request bodies take more memory than they may: give up those that take longest."""
        arriving = [
            (channel.body_began, channel)
            for channel in self._channels
            if isinstance(channel, HttpChannel) and channel.body_began is not None
        ]
        arriving.sort(key=lambda pair: pair[0] or 0.0)
        for _, channel in arriving:
            channel.refuse_body()
            if bodies.size <= bodies.most:
                return

    def on_closed(self, channel: Channel) -> None:
        """A connection has ended: it counts no more, and the journal has it."""
        self._channels.pop(channel, None)
        host = channel.address.host
        self.per_address[host] -= 1
        if not self.per_address[host]:
            del self.per_address[host]
        if channel in self._refused:
            self._refused.remove(channel)
        else:
            self._per_port[channel.protocol] -= 1
        self._journal.add(channel.record())
        if not isinstance(channel, HttpChannel):
            self._on_left(channel)

    def sweep(self) -> None:
        """Look at every connection once: has its deadline passed, does its peer read?"""
        now, send_timeout = self._reactor.now, self._config.send_timeout
        was_late, self._is_late = self._is_late, now - self._last_sweep > 2 * SWEEP_INTERVAL
        self._last_sweep = now
        if self._is_late and not was_late:
            return  # We were asleep or held: first read what came meanwhile, then judge.
        step_timeout = self._config.stream_step_timeout
        self._journal.report(now)
        for channel in self:
            try:
                if channel.deadline <= now:
                    channel.on_deadline()
                elif channel.transport.is_stalled(now, send_timeout):
                    text = f"send_timeout, {channel.transport.size} bytes wait"
                    channel.note(Kind.DEADLINE, text)
                    channel.transport.abort(CloseReason.SEND_TIMEOUT)
                else:
                    if step_timeout:
                        channel.check_stream_step(step_timeout)
                    channel.rest(now - SWEEP_INTERVAL)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # A framer's, say: it is the user's.
                log.exception("%r failed in the sweep", channel)
                channel.transport.on_failure(error)

    def _close_copies(self) -> None:
        """In a forked child: they are its parent's."""
        for channel in self._channels:
            channel.transport.close_copy()

    def log_limits(self) -> None:
        """Say it where max_connections cannot be what it was set to."""
        wanted = self._config.max_connections
        if self.most < wanted:
            what = "max_connections is %d, not %d: the process may open %d files (ulimit -n)"
            log.info(what, self.most, wanted, _most_files())


def _capped(wanted: int, reactor: Reactor) -> int:
    """Return max_connections, but no more than the process may have, or select() may watch."""
    most_files = _most_files()
    watched = reactor.most_watched - RESERVED_DESCRIPTORS - BUSY_SLACK
    return max(1, min(wanted, watched, most_files - _kept_back(most_files)))


def _most_files() -> int:
    """Return how many descriptors the process may have."""
    try:
        import resource  # Not on Windows.
    except ImportError:
        return sys.maxsize
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def _kept_back(most_files: int) -> int:
    """Return how many of them are not for connections."""
    return min(RESERVED_DESCRIPTORS, most_files // 4)


def _sweep_interval(config: Config) -> float:
    """Return how often to look: once a second, or more often where a timeout is short."""
    timeouts: list[float] = [getattr(config, name) for name in _TIMEOUTS]
    return max(0.01, min(SWEEP_INTERVAL, min(filter(None, timeouts)) / 4))
