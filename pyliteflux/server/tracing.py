"""`config.trace`: every hop of a request, as it happens: thread, module, what.

The rule: tracing costs nothing while it is off, so there is not one line of it in the code
it traces. The table below names the functions that are hops; the interpreter's own profile
hook (`sys.setprofile`) tells when one of them is called.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from ..app import events, pipeline, route, routing, values
from ..channels import (
    event_feed,
    http_channel,
    http_reply,
    http_stream,
    message_channel,
    message_service,
    pushed_channel,
    stream_pull,
)
from ..log import GuardedLogger
from ..protocol import framers, framing, http_head, http_response, message, push
from ..push import hub
from ..reactor import acceptor, loop, transport, waker, workers

log = GuardedLogger("pyliteflux.server.trace")

_HOPS: dict[Callable[..., Any], str] = {
    acceptor.Acceptor.on_readable: "somebody has connected: accept",
    transport.Transport.on_readable: "the kernel has bytes for us: recv",
    http_channel.HttpChannel.data_received: "is it the peer's turn? then parse",
    http_head.parse_head: "a whole head: check it, split it",
    http_channel.HttpChannel._on_head: "find the route, make the request",
    routing.Router.resolve: "method and path to a Route",
    route.run_on_workers: "it may block: queue a job",
    route.run_on_reactor: "it never blocks: run it here",
    workers.WorkerPool._on_announced: "end of the turn: is a worker needed?",
    pipeline.Pipeline.handle: "middlewares, handler, middlewares",
    values.make_response: "what came back becomes a response",
    loop.Reactor.post: "leave a call in the inbox",
    waker.Waker.wake: "ring: a byte into the self-pipe",
    waker.Waker.drain: "woken: lower the flag, then empty the inbox",
    http_channel.HttpChannel.respond: "the answer is here",
    http_reply.make_reply: "which fields, how framed, who closes",
    http_response.Heads.encode: "status line and fields to bytes",
    http_channel.HttpChannel._end_cycle: "answered: the next request, or close",
    transport.Transport.write: "queue bytes",
    transport.Transport.flush: "end of the turn: send",
    stream_pull.StreamPull.go_on: "is there room? then have a worker pull",
    stream_pull.StreamPull._run: "step the generator while the credit lasts",
    stream_pull.StreamPull._on_pause: "the worker has come back",
    http_stream.HttpStream.on_piece: "a piece: frame it",
    http_stream.PulledStream.on_end: "no more pieces: the last chunk",
    event_feed.EventFeed.on_event: "an event: is there room?",
    events.EventStream.send: "encode an event, hand it over",
    message_channel.MessageChannel.data_received: "is it the peer's turn? then cut",
    framing.MessageFramer.next_frame: "is a whole message here?",
    framers.BufferedFramer.next_frame: "is a whole message here?",
    message.decode: "which command, what data",
    routing.Router.resolve_command: "a command to a Route",
    message_service.MessageService.handle: "the pipeline, then the answer encoded",
    message_channel.MessageChannel.respond: "the answer is here",
    message_channel.MessageChannel._end_cycle: "answered: the next message, or close",
    push.PushFrame.__init__: "encode a push, once for all",
    hub.Hub.deliver: "to one client, or to all?",
    pushed_channel.PushedChannel.deliver: "has this client room?",
}


class Tracer:
    """Logs each hop while it is installed, to the logger ``pyliteflux.server.trace``.

    Covers the thread that installs it, and the threads that are started afterwards.
    """

    def __init__(self) -> None:
        self._hops: dict[CodeType, tuple[str, str]] = {
            function.__code__: (function.__qualname__, what) for function, what in _HOPS.items()
        }
        self._busy = threading.local()  # Logging must not trace itself.
        self._is_over = False

    def install(self) -> None:
        """Begin. On the reactor thread, before any worker has been started."""
        threading.setprofile(self._on_event)
        sys.setprofile(self._on_event)

    def remove(self) -> None:
        """End, on the thread that began. Workers that still run drop the hook by themselves."""
        self._is_over = True
        sys.setprofile(None)
        threading.setprofile(None)

    def _on_event(self, frame: FrameType, event: str, argument: Any) -> None:
        if self._is_over:
            sys.setprofile(None)
            return
        if event != "call":
            return
        code = frame.f_code
        hop = self._hops.get(code)
        if hop is None or getattr(self._busy, "now", False):
            return
        self._busy.now = True
        try:
            log.info("%s", hop_line(threading.current_thread().name, code.co_filename, *hop))
        finally:
            self._busy.now = False


def hop_line(thread: str, file: str, function: str, what: str) -> str:
    """Return ``thread  module  function  what``, in columns."""
    module = "/".join(file.split(os.sep)[-2:])
    kind = thread.split("-")[1] if thread.startswith("pyliteflux-") else "reactor"
    return f"{kind:<8} {module:<26} {function.removesuffix('.__init__'):<27} {what}"
