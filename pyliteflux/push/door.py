"""What push asks of a connection: as much as it needs to know, and no more.

The rule: who keeps topics, clients and acks knows doors, not who stands behind them. Whether a
message goes into a TCP stream, into a browser's events or to another machine is the business of
the door.

Chapter: docs/topics.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..endpoint import Peer
from ..protocol.push import Announcement, PushFrame
from ..reactor.transport import Transport
from ..word import Word
from .acks import Ack


class Listener(Protocol):
    """Who may subscribe. Reactor thread only.

    topics: what it is subscribed to, each with the position from which on it hears it; None
    while that is nothing, and from the moment it has left.
    """

    topics: dict[str, int] | None

    @property
    def client_id(self) -> str:
        """The client's id, "host:port"."""

    def deliver(self, frame: Announcement, topic: str | None, policy: str) -> None:
        """Send the frame, or keep it for later; may end the connection."""

    def replay_room(self) -> int:
        """Return how many bytes of missed messages it can be sent at once."""

    def on_failure(self, error: BaseException) -> None:
        """A bug of ours came up in its `deliver`: its connection cannot go on."""


class Door(Listener, Protocol):
    """A long-lived client. The methods are the reactor thread's; any thread may read the rest.

    address: the peer's. connected_at, last_message_at: on the reactor's clock. connected_since: on
    the wall's. bytes_in: received. client: what the application sees, once it is admitted.
    """

    address: Peer
    connected_at: float
    connected_since: float
    last_message_at: float | None
    bytes_in: int
    client: Any

    @property
    def state(self) -> Word:
        """What the connection is doing."""

    @property
    def transport(self) -> Transport:
        """The connection's transport."""

    @property
    def queued(self) -> int:
        """Bytes that wait for this client."""

    @property
    def pending_acks(self) -> int:
        """Pushes that this client has not acknowledged yet."""

    @property
    def has_more(self) -> bool:
        """True while a message is being handled and something of the next is here already."""

    def greet(self, admit: Callable[[Any], bool], client: Any) -> None:
        """Have a worker ask whether it may stay; what it sends meanwhile waits."""

    def deliver_acked(self, frame: PushFrame, ack: Ack, timeout: float, policy: str) -> None:
        """Push what the client is to acknowledge within `timeout` seconds."""

    def disconnect(self, text: str) -> None:
        """Tell the client why, then close."""
