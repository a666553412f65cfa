"""The ports: what listens where, and what becomes of those who come.

The rule: every port that is asked for is bound before anything else is made, or none is: a port in
use leaves nothing half started behind. What distinguishes one kind of port from another stands in
its `Port`, and nowhere else in this room.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, NamedTuple

from ..channels.service import Service
from ..config import Config
from ..endpoint import Endpoint
from ..reactor.acceptor import listen_on
from ..reactor.transport import Transport


class Listeners:
    """The listening sockets of a run, by the name of their port: "http", "tcp".

    protocols: "both", or the name of one. Raises OSError with one line that says what to do.
    """

    def __init__(
        self, config: Config, protocols: str, make_socket: Callable[..., socket.socket]
    ) -> None:
        wanted = {
            "http": Endpoint(config.http_host, config.http_port),
            "tcp": Endpoint(config.tcp_host, config.tcp_port),
        }
        self.sockets: dict[str, list[socket.socket]] = {}  # Of a name one in each family.
        try:
            for name, endpoint in wanted.items():
                if protocols in (name, "both"):
                    self.sockets[name] = listen_on(
                        endpoint, config.backlog, config.reuse_port, make_socket
                    )
        except BaseException:
            self.close()
            raise

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """Where each port listens: the real number where 0 was asked for.

        Of "localhost" the first is told: the port of the other family is the same.
        """
        return {name: Endpoint.of(socks[0].getsockname()) for name, socks in self.sockets.items()}

    def close(self) -> None:
        """Close them; for who has not handed them on."""
        for socks in self.sockets.values():
            for sock in socks:
                sock.close()


class Port(NamedTuple):
    """One kind of port.

    service: what its connections share. make_channel: makes of (service, transport, peer) who
    talks to one that has come.
    """

    name: str
    service: Service
    make_channel: Callable[[Any, Transport, Any], Any]
