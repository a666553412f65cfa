"""The long-lived TCP clients as the user of the library sees them.

The rule: a `Client` is a window, not a handle on the machinery. It may be read from any
thread at any time, also after the client has left, and whatever it starts (a push, an end)
goes through the server's one door to the reactor.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from typing import Any

from .door import Door


class Client:
    """One long-lived TCP client. Any thread.

    push, disconnect: `Server.push_message` and `Server.disconnect`.
    """

    __slots__ = ("_channel", "_push", "_disconnect")

    def __init__(
        self, channel: Door, push: Callable[..., Any], disconnect: Callable[[str, str], bool]
    ) -> None:
        self._channel = channel
        self._push = push
        self._disconnect = disconnect

    @property
    def client_id(self) -> str:
        """The client's id, "host:port" (T8)."""
        return self._channel.client_id

    @property
    def address(self) -> tuple[str, int]:
        """The peer's address, as the socket module writes it."""
        return self._channel.address

    @property
    def state(self) -> str:
        """What the client's connection is doing: "IDLE", "GREETING", "HANDLING" ..."""
        return self._channel.state.name

    @property
    def is_connected(self) -> bool:
        """False once it has left, or is about to."""
        return self._channel.state.name not in ("CLOSING", "CLOSED")

    @property
    def is_abandoned(self) -> bool:
        """True once it has left: what waits to be done for it alone, as on_connect, is not done."""
        return not self.is_connected

    @property
    def connected_since(self) -> float:
        """When it connected, as `time.time()` counts."""
        return self._channel.connected_since

    @property
    def last_message(self) -> float | None:
        """When its last message came, as `time.time()` counts; None before the first."""
        channel = self._channel
        if channel.last_message_at is None:
            return None
        return channel.connected_since + (channel.last_message_at - channel.connected_at)

    @property
    def bytes_in(self) -> int:
        """Bytes received from it."""
        return self._channel.bytes_in

    @property
    def bytes_out(self) -> int:
        """Bytes that its kernel connection took from us."""
        return self._channel.transport.bytes_out

    @property
    def queued(self) -> int:
        """Bytes that wait for it: answers and pushes that it has not read."""
        return self._channel.queued

    @property
    def topics(self) -> tuple[str, ...]:
        """What the client is subscribed to."""
        return tuple((self._channel.topics or {}).copy())

    def push(self, message: Any, **options: Any) -> Any:
        """Push a message to it; see `Server.push_message`. To one that has left: to nobody."""
        return self._push(message, self._id_now, **options)

    def disconnect(self, reason: str = "") -> bool:
        """End the connection; see `Server.disconnect`."""
        return self._disconnect(self._id_now, reason)

    @property
    def _id_now(self) -> str:
        """The client's id, or nobody's: once it has left, the id may be somebody else's."""
        return self.client_id if self.is_connected else f"{self.client_id} (has left)"

    def __repr__(self) -> str:
        return f"<Client {self.client_id} {self.state}>"


class Clients(Mapping[str, Client]):
    """The long-lived TCP clients by id: live and read-only (T7).

    Any thread may read. Iterating goes over those connected when it began, so that a client
    who comes or leaves meanwhile does not break the loop. For a dict of them take `copy`:
    ``dict(clients)`` asks for the ids first and for each connection later.
    """

    def __init__(self, clients: dict[str, Client]) -> None:
        self._clients = clients

    def __getitem__(self, client_id: str) -> Client:
        return self._clients[client_id]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._clients))  # list(dict) is one step under the GIL.

    def __len__(self) -> int:
        return len(self._clients)

    def copy(self) -> dict[str, Client]:
        """Return a dict of those connected now, for the caller to keep."""
        return self._clients.copy()  # One step, too.

    # Of a copy: the mixins look each key up when its turn comes, and it may have left by then.
    def values(self) -> ValuesView[Client]:
        """Return those connected now."""
        return self.copy().values()

    def items(self) -> ItemsView[str, Client]:
        """Return the ids and clients of those connected now."""
        return self.copy().items()

    def __contains__(self, client_id: object) -> bool:
        return client_id in self._clients

    def __repr__(self) -> str:
        return f"<Clients {list(self._clients)}>"
