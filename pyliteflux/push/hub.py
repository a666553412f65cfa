"""Who is connected, and how a message reaches one of them or all.

The rule: a push is encoded once, by the thread that pushes, and posted once; the reactor
hands the same bytes to every client. A client that does not read costs its own limit and
delays nobody (push_queue.py). One that is not admitted yet (`server.on_connect`) is none of
all: it hears what is said to it alone.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

from collections.abc import Callable

from ..config import Config
from ..log import framework as log
from ..protocol.push import PushFrame
from .acks import GONE, Ack
from .clients import Client, Clients
from .door import Door


class Hub:
    """The registry of long-lived TCP clients. Reactor thread, but for `clients`.

    make_client: what the user sees of a channel.
    """

    def __init__(self, config: Config, make_client: Callable[[Door], Client]) -> None:
        self._config = config
        self._make_client = make_client
        self._channels: dict[str, Door] = {}
        self._clients: dict[str, Client] = {}
        self.clients = Clients(self._clients)

    def add(self, channel: Door) -> Client:
        """A long-lived client has connected."""
        self._channels[channel.client_id] = channel
        return self._make_client(channel)

    def admit(self, channel: Door) -> None:
        """From now on the client is one of all."""
        if self._channels.get(channel.client_id) is channel:
            self._clients[channel.client_id] = channel.client

    def remove(self, channel: Door) -> None:
        """The client leaves. Its id may belong to somebody else by now: the kernel reuses ports."""
        if self._channels.get(channel.client_id) is channel:
            del self._channels[channel.client_id]
            self._clients.pop(channel.client_id, None)

    def deliver(self, frame: PushFrame, client_id: str | None, without: Door | None = None) -> None:
        """Push to one client, or to all where client_id is None. without: who has it already."""
        policy = self._config.slow_client_policy
        for one in list(self._clients) if client_id is None else (client_id,):
            channel = self._channels.get(one)  # A delivery may have ended another's connection.
            if channel is None or channel is without:
                continue
            try:
                channel.deliver(frame, None, policy)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # One loses its connection, nobody the push.
                log.exception("the push to %s failed", one)
                channel.on_failure(error)

    def deliver_acked(self, frame: PushFrame, ack: Ack, timeout: float) -> None:
        """Push to one client that is to acknowledge it."""
        channel = self._channels.get(ack.client_id)
        if channel is None:
            ack.end(GONE)
        else:
            channel.deliver_acked(frame, ack, timeout, self._config.slow_client_policy)

    def disconnect(self, client_id: str, text: str) -> None:
        """End a client's connection; it is told why."""
        channel = self._channels.get(client_id)
        if channel is not None:
            channel.disconnect(text)

    def find(self, client_id: str) -> Door | None:
        """Any thread: return the channel of a client."""
        return self._channels.get(client_id)
