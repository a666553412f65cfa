"""Who is connected, and how a message reaches one of them or all.

The rule: a push is encoded once, by the thread that pushes, and posted once; the reactor
hands the same bytes to every client. A client that does not read costs its own limit and
delays nobody (tcp_channel.py).

Chapter: docs/tcp.md.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, ValuesView

from ..protocol.message import PushFrame
from .tcp_channel import TcpChannel


class Clients(Mapping[str, TcpChannel]):
    """The long-lived TCP clients by id: live and read-only (T7).

    Any thread may read. Iterating goes over those connected when it began, so that a client
    who comes or leaves meanwhile does not break the loop. For a dict of them take `copy`:
    ``dict(clients)`` asks for the ids first and for each connection later.
    """

    def __init__(self, channels: dict[str, TcpChannel]) -> None:
        self._channels = channels

    def __getitem__(self, client_id: str) -> TcpChannel:
        return self._channels[client_id]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._channels))  # list(dict) is one step under the GIL.

    def __len__(self) -> int:
        return len(self._channels)

    def copy(self) -> dict[str, TcpChannel]:
        """Return a dict of those connected now, for the caller to keep."""
        return self._channels.copy()  # One step, too.

    # Of a copy: the mixins look each key up when its turn comes, and it may have left by then.
    def values(self) -> ValuesView[TcpChannel]:
        """Return those connected now."""
        return dict(self._channels).values()

    def items(self) -> ItemsView[str, TcpChannel]:
        """Return the ids and connections of those connected now."""
        return dict(self._channels).items()

    def __contains__(self, client_id: object) -> bool:
        return client_id in self._channels

    def __repr__(self) -> str:
        return f"<Clients {list(self._channels)}>"


class Hub:
    """The registry of long-lived TCP clients. Reactor thread, but for `clients`."""

    def __init__(self) -> None:
        self._channels: dict[str, TcpChannel] = {}
        self.clients = Clients(self._channels)

    def add(self, channel: TcpChannel) -> None:
        """A long-lived client has connected."""
        self._channels[channel.client_id] = channel

    def remove(self, channel: TcpChannel) -> None:
        """It has gone. Its id may belong to somebody else by now: the kernel reuses ports."""
        if self._channels.get(channel.client_id) is channel:
            del self._channels[channel.client_id]

    def deliver(self, frame: PushFrame, client_id: str | None) -> None:
        """Push to one client, or to all where client_id is None."""
        if client_id is None:
            for channel in list(self._channels.values()):
                channel.push(frame)
            return
        one = self._channels.get(client_id)
        if one is not None:
            one.push(frame)
