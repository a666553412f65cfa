"""What a stop had to cut, said by name: requests, streams, handlers with their stacks.

The rule: nothing that was begun is lost without a line. Who stopped the server finds in the
log which client was not answered, and which handler would not end and where it was.

Chapter: docs/limits.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..channels.channel import Channel
from ..log import framework as log
from ..reactor.workers import WorkerPool, stack_of_thread

# Lines about connections, and about handlers: the log is read by somebody who is in a hurry.
MOST_LINES = 20


def log_abandoned(channels: Sequence[Channel], pools: Sequence[WorkerPool], why: str) -> None:
    """Log what is still under way and will be cut. Reactor thread, before it is cut."""
    if channels:
        log.warning("stopping: %d connections were still busy %s and are cut", len(channels), why)
    for channel in channels[:MOST_LINES]:
        log.warning("stopping: %r is cut, with %s", channel, _under_way(channel))
    if len(channels) > MOST_LINES:
        log.warning("stopping: and %d more connections", len(channels) - MOST_LINES)
    jobs = [(pool.name, ident, job) for pool in pools for ident, job in pool.running_jobs()]
    for name, ident, (_, run, argument, deliver, _) in jobs[:MOST_LINES]:
        what = argument if deliver is not None else run
        stack = stack_of_thread(ident).rstrip()
        log.warning("stopping: a %s has not returned, with %r; it is here:\n%s", name, what, stack)
    if len(jobs) > MOST_LINES:
        log.warning("stopping: and %d more threads", len(jobs) - MOST_LINES)


def _under_way(channel: Channel) -> str:
    """Say what a connection is in the middle of."""
    request: Any = channel._request
    waiting = f"{channel.queued} bytes unsent"
    return waiting if request is None else f"{request!r} and {waiting}"
