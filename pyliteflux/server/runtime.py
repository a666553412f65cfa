"""Everything that exists only while a server runs: its reactor, ports, pools and channels.

`Server` is what the user holds, before, during and after; a `Runtime` is built for one run
and thrown away with it. Both ports are bound before anything is started, so a port in use
leaves nothing half started behind. Made in run(), so a fork before run() is safe.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

from ..app.app import App
from ..app.request import Request
from ..app.response import HTTPResponse
from ..channels.channel import CLOSED, IDLE
from ..channels.http_channel import HttpChannel
from ..channels.http_service import HttpService
from ..channels.journal import Journal, Kind, Story
from ..channels.message_channel import MessageChannel
from ..channels.message_service import MessageService, check_framings
from ..config import Config
from ..endpoint import Endpoint, Peer
from ..forking import after_fork
from ..log import framework as log
from ..probes import bound_silence
from ..push.clients import Client
from ..push.desk import PushDesk
from ..push.hooks import HookCalls
from ..reactor.acceptor import Acceptor, listen_on
from ..reactor.loop import Reactor
from ..reactor.transport import Transport
from ..reactor.watchdog import Watchdog
from ..reactor.workers import WorkerPool
from ..why import CloseReason
from .abandoned import log_abandoned
from .access_log import AccessLog

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
# Threads that decode large messages. One: under the GIL two take as long for the same work, and
# the reactor has to win the lock from each of them after every system call.
DECODERS = 1
# How often a stopping server looks whether it is done, in seconds.
STOP_CHECK = 0.01
# After the grace period: the time generators have for their `finally`, in seconds.
LAST_CLEANUP = 0.5

AnyChannel = HttpChannel | MessageChannel


class Runtime:
    """One run of a server. Reactor thread, but for what is under "any thread"."""

    def __init__(
        self,
        app: App,
        desk: PushDesk,
        journal: Journal,
        protocols: str,
        selector: selectors.BaseSelector,
        clock: Callable[[], float],
        socket_factory: Callable[..., socket.socket],
        pool_factory: Callable[..., WorkerPool],
    ) -> None:
        self._app = app
        self._config = config = app.config
        self._desk = desk
        self._journal = journal
        self._channels: set[AnyChannel] = set()
        self._per_address: Counter[str] = Counter()
        self._per_port: Counter[str] = Counter()  # By protocol.
        self._max_connections = _capped(config.max_connections, selector)
        self._most_per_port = self._max_connections
        if protocols == "both":
            self._most_per_port -= self._max_connections // PORT_SHARE
        self._busy_slack = min(BUSY_SLACK, _kept_back(_most_files()) // 2)
        self._next_eviction = 0.0
        self.is_stopping = False
        self._has_logged_abandoned = False
        self._acceptors: list[Acceptor] = []
        check_framings(
            config, app.router
        )  # May fail, as a port in use may: before there is anything.
        listeners = self._listen(protocols, socket_factory)
        try:
            self.reactor = reactor = Reactor(
                selector, clock, config.slow_callback_ms / 1000, config.debug
            )
        except BaseException:
            for _, sock in listeners:
                sock.close()
            raise
        self.workers = pool_factory(
            reactor,
            "worker",
            config.worker_threads,
            config.worker_queue_limit or config.max_connections,
        )
        self.workers.max_wait = config.worker_queue_timeout or inf
        # A stream has at most one job at a time, plus the closing of its generator.
        self.streams = pool_factory(
            reactor, "stream", config.stream_workers, 4 * config.max_connections
        )
        # What gives back and what tells has threads of its own: generators that wait may hold
        # all of theirs, and then nothing would be freed.
        self.cleanup = pool_factory(
            reactor, "cleanup", config.cleanup_workers, 4 * config.max_connections
        )
        # A connection has one message here at the most.
        self.decoders = pool_factory(reactor, "decode", DECODERS, config.max_connections)
        # The bound is kept by TaskQueue, where a task is added.
        self.task_pool = pool_factory(
            reactor, "task", config.task_workers, 2 * config.task_queue_limit
        )
        self.workers.on_orphan = self._finish_orphan
        app.tasks.start(self.task_pool.submit)
        shared = (reactor, app, self.workers, self.streams)
        self.http = HttpService(*shared, self._on_closed)
        self.tcp = MessageService(
            *shared,
            self._on_closed,
            on_greeted=self._on_greeted,
            on_leaving=self._on_leaving,
        )
        self._calls = HookCalls(self.cleanup, config.max_waiting_hooks)
        self.http.cleanup = self.tcp.cleanup = self.cleanup
        self.tcp.decoders = self.decoders
        self.tcp.hook_calls = self._calls
        self.http.topics = self.tcp.topics = desk.topics
        desk.topics.on_presence = self._on_presence
        self.http.bodies.make_room = self._make_room
        kinds = {"http": (self.http, HttpChannel), "tcp": (self.tcp, MessageChannel)}
        self.addresses: dict[str, Endpoint] = {}
        for name, sock in listeners:
            # Of "localhost" the first is told: the port of the other family is the same.
            self.addresses.setdefault(name, Endpoint.of(sock.getsockname()))
            kinds[name][0].address = self.addresses[name]
            accept = partial(self._accept, *kinds[name])
            acceptor = Acceptor(reactor, sock, accept, config.max_accepts, config.accept_pause)
            self._acceptors.append(acceptor)
        self.tcp.http_address = self.addresses.get("http")
        after_fork(self._close_copies)
        self._sweep_interval = _sweep_interval(config)
        self._last_sweep = reactor.now
        self._is_late = False
        reactor.call_later(self._sweep_interval, self._sweep)

    def make_watchdog(self) -> Watchdog:
        """Return who reports slow turns and slow handlers; not started."""
        config, reactor = self._config, self.reactor
        slow_turn, slow_handler = config.slow_callback_ms / 1000, config.slow_handler_ms / 1000
        return Watchdog(reactor, [self.workers], slow_turn, slow_handler, reactor.time)

    def log_requests(self) -> None:
        """Write a line for each request from now on."""
        note = AccessLog(self.reactor, self._config.log_queue_limit).note
        self.http.on_finished = self.tcp.on_finished = note

    def log_limits(self) -> None:
        """Say it where max_connections cannot be what it was set to."""
        most, wanted = self._max_connections, self._config.max_connections
        if most < wanted:
            what = "max_connections is %d, not %d: the process may open %d files (ulimit -n)"
            log.info(what, most, wanted, _most_files())

    def _listen(
        self, protocols: str, socket_factory: Callable[..., socket.socket]
    ) -> list[tuple[str, socket.socket]]:
        """Bind every port that is asked for, or none. Of a name there may be one in each family."""
        config = self._config
        wanted = {
            "http": Endpoint(config.http_host, config.http_port),
            "tcp": Endpoint(config.tcp_host, config.tcp_port),
        }
        listeners: list[tuple[str, socket.socket]] = []
        try:
            for name, endpoint in wanted.items():
                if protocols in (name, "both"):
                    found = listen_on(endpoint, config.backlog, config.reuse_port, socket_factory)
                    listeners += [(name, sock) for sock in found]
        except BaseException:
            for _, sock in listeners:
                sock.close()
            raise
        return listeners

    # --- connections

    def _accept(self, service: Any, make_channel: Any, sock: socket.socket, peer: Peer) -> None:
        """A new connection: build its transport and channel, or say that there is no room."""
        config, protocol, now = self._config, make_channel.protocol, self.reactor.now
        slack = self._busy_slack
        if (
            len(self._channels) >= self._max_connections + slack
            or self._per_port[protocol] >= self._most_per_port + slack
        ):
            sock.close()
            self._journal.add_cut(protocol, peer, service.address, now, "max_connections")
            return
        marks = config.write_high_water, config.write_low_water
        transport = Transport(self.reactor, sock, service.recv_size, *marks)
        # Answers leave whole, once a turn: waiting to fill a segment (Nagle) only delays them.
        transport.set_option(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if config.kernel_unsent_limit and UNSENT_LIMIT is not None:
            transport.set_option(socket.IPPROTO_TCP, UNSENT_LIMIT, config.kernel_unsent_limit)
        bound_silence(transport.set_option, config.send_timeout)
        try:
            channel: AnyChannel = make_channel(service, transport, peer)
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
            self._journal.add_cut(protocol, peer, service.address, now, str(error.strerror))
            return
        self._channels.add(channel)  # Not before it is watched: what counts has to end.
        self._per_address[peer.host] += 1
        self._per_port[protocol] += 1
        try:
            self._receive(channel)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            log.exception("%r failed as it began", channel)
            transport.on_failure(error)

    def _receive(self, channel: AnyChannel) -> None:
        """A new connection is watched and counted: it may stay, or is told that it may not."""
        protocol, limit = channel.protocol, self._config.max_connections_per_ip
        if self._is_full(protocol):
            self._evict_idle()
        is_full = self._is_full(protocol)
        if is_full or (limit and self._per_address[channel.address.host] > limit):
            channel.note(Kind.NO_ROOM, "max_connections" if is_full else "max_connections_per_ip")
            channel.refuse_busy()
            return
        if isinstance(channel, MessageChannel) and channel.is_long_lived:
            client = self._desk.hub.add(channel)
            if self._desk.hooks.connect:
                channel.greet(self._desk.hooks.admit, client)
            else:
                self._on_greeted(channel, client, True)
        if self.is_stopping:
            channel.shutdown()

    def _is_full(self, protocol: str) -> bool:
        """Tell whether there are more connections than may be, in all or on this port."""
        return (
            len(self._channels) > self._max_connections
            or self._per_port[protocol] > self._most_per_port
        )

    def _evict_idle(self) -> None:
        """The server is full: close the HTTP connections that have been idle for longest."""
        now = self.reactor.now
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

    def _make_room(self) -> None:
        """Request bodies take more memory than they may: give up those that take longest."""
        arriving = [
            (channel.body_began, channel)
            for channel in self._channels
            if isinstance(channel, HttpChannel) and channel.body_began is not None
        ]
        arriving.sort(key=lambda pair: pair[0] or 0.0)
        for _, channel in arriving:
            channel.refuse_body()
            if self.http.bodies.size <= self.http.bodies.most:
                return

    def _on_closed(self, channel: AnyChannel) -> None:
        self._channels.discard(channel)
        address = channel.address.host
        self._per_address[address] -= 1
        if not self._per_address[address]:
            del self._per_address[address]
        self._per_port[channel.protocol] -= 1
        self._journal.add(channel.record())
        if isinstance(channel, MessageChannel):
            self._on_leaving(channel)
            self._tell_gone(channel)

    def _on_greeted(self, channel: MessageChannel, client: Client, is_admitted: bool) -> None:
        """A long-lived client is let in, or not; it may have left meanwhile."""
        if is_admitted:
            channel.client = client
            self._desk.hub.admit(channel)
            if channel.state is CLOSED:
                self._tell_gone(channel)

    def _tell_gone(self, channel: MessageChannel) -> None:
        client, channel.client = channel.client, None
        if client is not None:
            reason = channel.transport.reason
            self._calls.add(channel.client_id, self._desk.hooks.disconnect, client, reason)

    def _on_leaving(self, channel: MessageChannel) -> None:
        self._desk.topics.drop(channel)
        self._desk.hub.remove(channel)

    def _on_presence(self, kind: str, topic: str, client_id: str) -> None:
        hooks = self._desk.hooks.join if kind == "join" else self._desk.hooks.leave
        self._calls.add(client_id, hooks, topic, client_id)

    def _sweep(self) -> None:
        """Look at every connection once: has its deadline passed, does its peer read?"""
        self.reactor.call_later(self._sweep_interval, self._sweep)
        now, send_timeout = self.reactor.now, self._config.send_timeout
        self._desk.topics.sweep()
        was_late, self._is_late = self._is_late, now - self._last_sweep > 2 * SWEEP_INTERVAL
        self._last_sweep = now
        if self._is_late and not was_late:
            return  # We were asleep or held: first read what came meanwhile, then judge.
        step_timeout = self._config.stream_step_timeout
        self._journal.report(now)
        for channel in list(self._channels):
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

    @property
    def connections(self) -> int:
        """Open connections of both protocols."""
        return len(self._channels)

    # --- any thread

    @property
    def owns_current_thread(self) -> bool:
        """True on the reactor thread and on the workers of this run: they cannot await its end."""
        pools = (self.workers, self.streams, self.cleanup, self.task_pool)
        return self.reactor.thread_id == threading.get_ident() or any(
            pool.owns_current_thread for pool in pools
        )

    def story(self, client_id: str) -> Story | None:
        """Return the story of an open connection. O(n) in connections: for who asks why."""
        # list(set) is one step under the GIL.
        found = [one for one in list(self._channels) if one.client_id == client_id]
        if not found:
            return None
        # One port number may be open to both our ports.
        newest = max(found, key=lambda channel: channel.connected_at)
        return newest.record().story(self.reactor.now)

    def request_stop(self) -> None:
        """Begin the graceful stop. Raises ReactorClosed after the end."""
        self.reactor.call_soon_threadsafe(self.begin_stop)

    # --- the end

    def begin_stop(self) -> None:
        """Take what the kernel has accepted, let what is under way end, then leave the loop."""
        if self.is_stopping:
            return
        self.is_stopping = self.http.is_stopping = self.tcp.is_stopping = True
        self._desk.release()
        channels = list(self._channels)
        for acceptor in self._acceptors:
            try:
                acceptor.finish(self._config.backlog + 1)  # As many as its queue can have held.
            except Exception:  # One bug must not keep the server from stopping.
                log.exception("%r failed at the stop", acceptor)
                acceptor.close()
        for channel in channels:
            self._tell(channel, channel.shutdown)
        self._deadline = self.reactor.now + self._config.shutdown_timeout
        self._check_stopped()

    def _tell(self, channel: AnyChannel, step: Callable[[], object]) -> None:
        try:
            step()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # One bug must not keep the server from stopping.
            log.exception("%r failed at the stop", channel)
            channel.transport.on_failure(error)

    def _check_stopped(self) -> None:
        """Leave the loop once nothing is under way, or when the grace period is over."""
        for channel in list(self._channels):
            self._tell(channel, channel.end_patience)
        under_way = [channel for channel in self._channels if not channel.transport.fin_is_sent]
        if not under_way and not self._must_wait() and self._app.tasks.is_idle:
            # Those that only wait for the peer's FIN: that they have left is to be told, too.
            for channel in list(self._channels):
                channel.transport.close(CloseReason.SHUTDOWN)
            self._deadline = max(self._deadline, self.reactor.now + LAST_CLEANUP)
            self._await_cleanup()
        elif self.reactor.now >= self._deadline:
            self._log_abandoned(f"after {self._config.shutdown_timeout:g} s")
            for channel in under_way:
                channel.transport.abort(CloseReason.SHUTDOWN)
            self._app.tasks.abandon()
            self._deadline = self.reactor.now + LAST_CLEANUP
            self._await_cleanup()
        else:
            self.reactor.call_later(STOP_CHECK, self._check_stopped)

    def _must_wait(self) -> bool:
        """Ports are open yet, handlers run, or a last answer is on its way."""
        if any(acceptor.is_open for acceptor in self._acceptors) or not self._handlers_are_idle():
            return True
        return any(channel.transport.is_lingering() for channel in list(self._channels))

    def _await_cleanup(self) -> None:
        """Generators that were cut short run their `finally`, hooks are told of the last clients;
        then it is really over."""
        if self._streams_are_idle() or self.reactor.now >= self._deadline:
            self.reactor.stop()
        else:
            self.reactor.call_later(STOP_CHECK, self._await_cleanup)

    def _streams_are_idle(self) -> bool:
        pools = (self.streams, self.cleanup)
        return self._calls.is_idle and not any(pool.waiting or pool.running for pool in pools)

    def _handlers_are_idle(self) -> bool:
        """Also those whose client has left: what they are in the middle of is to be ended."""
        is_idle = self.workers.waiting == 0 and self.workers.running == 0
        return is_idle and self._streams_are_idle()

    def _log_abandoned(self, why: str) -> None:
        if not self._has_logged_abandoned:
            self._has_logged_abandoned = True
            busy = [channel for channel in self._channels if not channel.transport.fin_is_sent]
            log_abandoned(busy, (self.workers, self.streams, self.cleanup), why)

    def _finish_orphan(self, request: Any, response: Any) -> None:
        """On a worker whose handler returned after the end: give back what is still held."""
        response = getattr(response, "stream", response)  # Of an answer to a TCP message.
        try:
            if isinstance(response, HTTPResponse):
                response.discard()
            if isinstance(request, Request) and request.has_returned:
                self._app.pipeline.finish(request)
        except BaseException:
            log.exception("%r: what it held could not be given back after the end", request)

    def _close_copies(self) -> None:
        """In a forked child: the ports and the connections are its parent's."""
        for acceptor in self._acceptors:
            acceptor.close_copy()
        for channel in self._channels:
            channel.transport.close_copy()

    def close(self) -> None:
        """Give everything back. After the loop has ended, on the thread that ran it."""
        if self.is_stopping:
            self._log_abandoned("when told to stop at once")
        for acceptor in self._acceptors:
            acceptor.close()
        for channel in list(self._channels):
            channel.transport.close(CloseReason.SHUTDOWN)
        self._journal.report(inf)
        for pool in (self.workers, self.streams, self.cleanup, self.decoders, self.task_pool):
            pool.stop()
        self._app.tasks.abandon()  # After its pool takes no more: what came last is named, too.
        self.reactor.close()


def _capped(wanted: int, selector: selectors.BaseSelector) -> int:
    """Return max_connections, but no more than the process may have, or select() may watch."""
    if isinstance(selector, selectors.SelectSelector):
        # FD_SETSIZE: beyond it select() raises, and that would be the end of the loop.
        most = 512 if os.name == "nt" else 1024
        wanted = max(1, min(wanted, most - RESERVED_DESCRIPTORS - BUSY_SLACK))
    most_files = _most_files()
    return max(1, min(wanted, most_files - _kept_back(most_files)))


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
    timeouts = (
        config.header_timeout,
        config.body_timeout,
        config.keep_alive_timeout,
        config.send_timeout,
        config.linger_timeout,
        config.heartbeat,
        config.tcp_message_timeout,
        config.tcp_idle_timeout,
        config.tcp_ping_interval,
        config.handler_timeout,
        config.stream_step_timeout,
    )
    shortest: float = min(timeout for timeout in timeouts if timeout)
    return max(0.01, min(SWEEP_INTERVAL, shortest / 4))
