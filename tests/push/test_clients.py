"""The mapping of live TCP clients: safe to read while clients come and go (T7)."""

from __future__ import annotations

import unittest
from types import SimpleNamespace
from typing import Any

from pyliteflux import Config
from pyliteflux.push.hub import Hub


def channel(client_id: str) -> Any:
    """Return what the hub wants to know of a channel."""
    one = SimpleNamespace(client_id=client_id)
    one.client = one
    return one


def enter(hub: Any, channel: Any) -> None:
    hub.add(channel)
    hub.admit(channel)


class ReadingWhileClientsLeave(unittest.TestCase):
    def setUp(self) -> None:
        self.hub: Any = Hub(Config(), lambda channel: channel)
        self.channels = [channel(f"127.0.0.1:{port}") for port in range(3)]
        for one in self.channels:
            enter(self.hub, one)

    def test_a_loop_over_keys_values_or_items_outlives_a_client_that_leaves(self) -> None:
        clients = self.hub.clients
        for name in ("keys", "values", "items"):
            with self.subTest(name):
                loop = iter(getattr(clients, name)())
                next(loop)
                self.hub.remove(self.channels[2])
                enter(self.hub, channel("127.0.0.1:9"))
                self.assertLessEqual(len(list(loop)), 2)
                self.hub.remove(clients["127.0.0.1:9"])
                enter(self.hub, self.channels[2])

    def test_values_and_items_are_the_channels(self) -> None:
        clients = self.hub.clients
        self.assertEqual(list(clients.values()), self.channels)
        self.assertEqual(list(clients.items()), [(one.client_id, one) for one in self.channels])


if __name__ == "__main__":
    unittest.main()
