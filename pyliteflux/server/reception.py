"""Long-lived clients come and go: who is let in, and what the application is told of it.

The rule: a client is one of all from its admission on; hooks hear of those who were admitted, in
the order in which it happened, and never on the reactor (push/hooks.py). Reactor thread only.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

from ..channels.channel import CLOSED
from ..push.clients import Client
from ..push.desk import PushDesk
from ..push.door import Door
from ..push.hooks import HookCalls


class Reception:
    """Who receives the long-lived clients of one run."""

    def __init__(self, desk: PushDesk, calls: HookCalls) -> None:
        self._hub, self._topics, self._hooks = desk.hub, desk.topics, desk.hooks
        self._calls = calls

    def welcome(self, channel: Door) -> None:
        """A long-lived client has come: ask whether it may stay, where anybody is to be asked."""
        client = self._hub.add(channel)
        if self._hooks.connect:
            channel.greet(self._hooks.admit, client)
        else:
            self.on_greeted(channel, client, True)

    def on_greeted(self, channel: Door, client: Client, is_admitted: bool) -> None:
        """A long-lived client is let in, or not; it may have left meanwhile."""
        if is_admitted:
            channel.client = client
            self._hub.admit(channel)
            if channel.state is CLOSED:
                self._tell_gone(channel)

    def on_leaving(self, channel: Door) -> None:
        """The client is told to go, or has gone: it hears nothing any more."""
        self._topics.drop(channel)
        self._hub.remove(channel)

    def on_left(self, channel: Door) -> None:
        """The client's connection has ended."""
        self.on_leaving(channel)
        self._tell_gone(channel)

    def _tell_gone(self, channel: Door) -> None:
        client, channel.client = channel.client, None
        if client is not None:
            reason = channel.transport.reason
            self._calls.add(channel.client_id, self._hooks.disconnect, client, reason)

    def on_presence(self, kind: str, topic: str, client_id: str) -> None:
        """Somebody joins or leaves a topic that has presence."""
        hooks = self._hooks.join if kind == "join" else self._hooks.leave
        self._calls.add(client_id, hooks, topic, client_id)
