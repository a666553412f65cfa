"""Listeners: all ports that are asked for, or none. Contract C3, C4."""

from __future__ import annotations

import unittest
from typing import Any
from unittest import mock

from pyliteflux import Config
from pyliteflux.endpoint import Endpoint
from pyliteflux.server.ports import Listeners
from tests.fakes import Network, Simulation
from tests.server.cases import RuntimeCase


class Opening(RuntimeCase):
    def setUp(self) -> None:
        super().setUp()
        self.network = Network()

    def open(self, protocols: str = "both", **settings: Any) -> Listeners:
        config = Config(**{"http_port": 0, "tcp_port": 0, **settings})
        listeners = Listeners(config, protocols, self.network.socket)  # type: ignore[arg-type]
        self.addCleanup(listeners.close)
        return listeners

    def test_those_that_are_asked_for_listen(self) -> None:
        for protocols, names in (("both", ["http", "tcp"]), ("http", ["http"]), ("tcp", ["tcp"])):
            listeners = self.open(protocols)
            self.assertEqual(list(listeners.sockets), names)
            self.assertEqual(list(listeners.endpoints), names)
            for endpoint in listeners.endpoints.values():
                self.assertIsInstance(endpoint, Endpoint)
                self.network.connect(endpoint)

    def test_closing_gives_all_of_them_back(self) -> None:
        self.open().close()
        self.assertEqual(self.network.sockets, {})

    def test_a_port_in_use_leaves_nothing_behind(self) -> None:
        """Both ports are bound before anything starts."""
        network = Network()
        bind = network.socket()
        bind.bind(("127.0.0.1", 999))
        bind.listen(1)
        with mock.patch("tests.fakes.Network", lambda seed: network):
            with self.assertRaisesRegex(OSError, "127.0.0.1:999: the port is in use"):
                Simulation(self.router, tcp_port=999)
        self.assertEqual(list(network.sockets.values()), [bind])


if __name__ == "__main__":
    unittest.main()
