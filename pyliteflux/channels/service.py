"""What all channels of one protocol share, looked up once and not per request.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from ..app.app import App
from ..app.request import Request
from ..endpoint import Endpoint
from ..reactor.loop import Reactor
from ..reactor.pools import Pools


class Service:
    """What all channels of one protocol share. address: of its port, if that is open."""

    def __init__(
        self,
        reactor: Reactor,
        app: App,
        pools: Pools,
        topics: Any,
        on_closed: Callable[[Any], None],
        address: Endpoint | None,
    ) -> None:
        self.reactor = reactor
        self.app = app
        # Looked up once, not per request.
        self.config = config = app.config
        self.router = app.router
        self.pipeline = app.pipeline
        self.workers = pools.workers
        self.handler_timeout: float = config.handler_timeout or inf  # Seconds.
        self.recv_size = config.recv_size  # Read in one turn, and kept unparsed at the most.
        self.budget = config.loop_budget_ms / 1000  # Seconds of a turn for one connection.
        self.submit = pools.workers.submit
        self.streams = pools.streams
        self.cleanup = pools.cleanup  # Who frees what a request held.
        self.decoders = pools.decoders  # Who reads large messages.
        self.on_closed = on_closed
        self.topics = topics
        self.address = address
        self.on_finished: Callable[[Request, int, int], None] | None = None  # The access log.
        self.is_stopping = False
        self.requests = 0  # Answered, for the statistics.
