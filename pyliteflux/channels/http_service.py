"""What all HTTP channels of a server share: the limits, the Date, the account of all bodies.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import Any

from ..app.request import HTTPRequest
from ..endpoint import Peer
from ..headers import date_field
from ..protocol.http_head import HttpLimits
from ..protocol.http_response import Heads
from ..reactor.transport import Transport
from .http_intake import Bodies, Intake
from .service import Service


class HttpService(Service):
    """What all HTTP channels of a server share: the limits, and the Date."""

    def __init__(self, make_room: Callable[[Bodies], object], *parts: Any) -> None:
        super().__init__(*parts)
        self.handle = self.pipeline.handle  # Bound once, not per request.
        # Settings that each request needs: a Config has no fast look-up.
        self.idle_time = self.config.keep_alive_timeout
        self.most_requests = self.config.keep_alive_requests
        self.limits = HttpLimits.from_config(self.config)
        self.bodies = Bodies(self.config.max_buffered_bodies or inf, make_room)
        self.no_intake = Intake(self.bodies)  # Of all connections that no body has come on.
        self._heads = Heads("")
        self._heads_expire = -inf

    def heads(self) -> Heads:
        """Return the heads of this second, with its Date (RFC 9110 section 6.6.1)."""
        if self.reactor.now >= self._heads_expire:
            wall = time.time()
            self._heads = Heads(f"Date: {date_field(time.gmtime(wall))}\r\n")
            self._heads_expire = self.reactor.now + 1 - wall % 1
        return self._heads

    def host_of(self, transport: Transport) -> str:
        """Return the host that a client has asked which names none: the address it came to.

        HTTP/1.0 has no Host, and 1.1 may leave it empty. RFC 9112 section 3.3 lets a server
        fill in what the connection says.
        """
        here = transport.local_address or self.address
        assert here is not None
        return here.netloc.removesuffix(":80")

    def unread_request(self, method: str, target: str, peer: Peer) -> HTTPRequest:
        """Return what stands for a request that the app never sees, in the access log."""
        request = HTTPRequest(method, target, client_address=peer, app=self.app)
        request.started = self.reactor.now
        return request
