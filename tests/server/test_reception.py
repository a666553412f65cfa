"""Reception: who is let in, and what hooks hear, in which order. Contract T7."""

from __future__ import annotations

import unittest
from typing import Any

from tests.server.cases import RuntimeCase


class Receiving(RuntimeCase):
    def setUp(self) -> None:
        super().setUp()
        self.simulation = self.simulate(tcp_keep_alive=True)
        self.server = self.simulation.server
        self.heard: list[str] = []
        self.server.on_disconnect(lambda client, reason: self.heard.append(reason.name))

    def test_with_no_hook_a_client_is_in_at_once(self) -> None:
        self.simulation.tcp()
        self.simulation.settle(jobs=False)
        self.assertEqual(len(self.server.clients), 1)

    def test_one_that_leaves_while_it_is_asked_for_is_told_of_but_none_of_all(self) -> None:
        @self.server.on_connect
        def leave(client: Any) -> None:
            peer.reset()
            self.simulation.settle(jobs=False)

        peer = self.simulation.tcp()
        self.simulation.settle()
        self.assertEqual(self.heard, ["PEER_RESET"])
        self.assertEqual(len(self.server.clients), 0)

    def test_of_one_that_is_refused_nobody_hears_the_end(self) -> None:
        self.server.on_connect(lambda client: False)
        peer = self.simulation.tcp()
        self.simulation.settle()
        self.assertTrue(peer.saw_fin)
        self.assertEqual((self.heard, len(self.server.clients)), ([], 0))

    def test_what_is_told_of_presence_comes_in_order_with_the_end(self) -> None:
        self.server.topic("room", presence=True)
        self.server.on_join(lambda topic, client_id: self.heard.append(f"joins {topic}"))
        self.server.on_leave(lambda topic, client_id: self.heard.append(f"leaves {topic}"))

        @self.server.router.register("join", protocol="tcp", blocking=False)
        def join(request: Any) -> None:
            request.subscribe("room")

        peer = self.simulation.tcp()
        peer.send(b"join\n")
        self.simulation.settle()
        peer.close()
        self.simulation.settle()
        self.assertEqual(self.heard, ["joins room", "leaves room", "PEER_CLOSED"])


if __name__ == "__main__":
    unittest.main()
