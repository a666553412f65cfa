"""Hub and Clients: who is connected, and who gets a push. Contract T7, T8, P2."""

from __future__ import annotations

import threading
import unittest
from typing import Any

from pyliteflux import Config
from pyliteflux.protocol.push import PushFrame
from pyliteflux.push.hub import Hub
from tests.support import captured_logs


class Channel:
    """As much of a MessageChannel as a hub asks for."""

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self.client = self  # What the user sees of it: here, the same.
        self.pushed: list[PushFrame] = []

    def deliver(self, frame: PushFrame, topic: Any, policy: str) -> None:
        self.pushed.append(frame)


def enter(hub: Any, channel: Any) -> None:
    """Connect, and be let in."""
    hub.add(channel)
    hub.admit(channel)


class HubTest(unittest.TestCase):
    def setUp(self) -> None:
        self.hub: Any = Hub(Config(), lambda channel: channel)
        self.one, self.two = Channel("a:1"), Channel("a:2")
        enter(self.hub, self.one)
        enter(self.hub, self.two)
        self.frame = PushFrame("x")

    def test_a_push_to_one_reaches_that_one(self) -> None:
        self.hub.deliver(self.frame, "a:1")
        self.assertEqual((self.one.pushed, self.two.pushed), ([self.frame], []))

    def test_a_broadcast_reaches_all_with_the_same_frame(self) -> None:
        self.hub.deliver(self.frame, None)
        self.assertIs(self.one.pushed[0], self.two.pushed[0])

    def test_who_is_not_let_in_yet_hears_only_what_is_for_it_alone(self) -> None:
        new = Channel("a:3")
        self.hub.add(new)
        self.assertNotIn("a:3", self.hub.clients)
        self.hub.deliver(self.frame, None)
        self.assertEqual(new.pushed, [])
        self.hub.deliver(self.frame, "a:3")
        self.assertEqual(new.pushed, [self.frame])
        self.hub.remove(new)
        self.hub.admit(new)  # It has left meanwhile.
        self.assertNotIn("a:3", self.hub.clients)

    def test_a_push_that_fails_costs_one_client_and_nobody_else(self) -> None:
        failures = []
        self.one.on_failure = failures.append  # type: ignore[attr-defined]

        def fail(*_: Any) -> None:
            raise RuntimeError("broken")

        self.one.deliver = fail  # type: ignore[method-assign]
        with captured_logs():
            self.hub.deliver(self.frame, None)
        self.assertEqual((len(failures), self.two.pushed), (1, [self.frame]))

    def test_a_push_to_nobody_is_silent(self) -> None:
        self.hub.deliver(self.frame, "a:3")
        self.hub.deliver(self.frame, "")
        self.assertEqual(self.one.pushed + self.two.pushed, [])

    def test_a_client_that_leaves_during_a_broadcast_does_not_break_it(self) -> None:
        self.one.deliver = lambda *_: self.hub.remove(self.one)  # type: ignore[method-assign]
        self.hub.deliver(self.frame, None)
        self.assertEqual(self.two.pushed, [self.frame])

    def test_the_late_end_of_a_client_does_not_remove_who_has_its_id_now(self) -> None:
        again = Channel("a:1")
        enter(self.hub, again)
        self.hub.remove(self.one)
        self.assertIs(self.hub.clients["a:1"], again)

    def test_the_mapping_is_live_and_read_only(self) -> None:
        clients = self.hub.clients
        self.assertEqual(sorted(clients), ["a:1", "a:2"])
        self.hub.remove(self.one)
        self.assertEqual((len(clients), "a:1" in clients), (1, False))
        with self.assertRaises(TypeError):
            clients["a:9"] = self.one

    def test_iterating_survives_clients_that_come_and_leave(self) -> None:
        seen = []
        for client_id in self.hub.clients:
            seen.append(client_id)
            enter(self.hub, Channel(f"{client_id}0"))
        self.assertEqual(seen, ["a:1", "a:2"])

    def test_iterating_survives_other_threads(self) -> None:
        over = threading.Event()
        begun = threading.Event()
        errors: list[BaseException] = []

        def read() -> None:
            try:
                while not over.is_set():
                    list(self.hub.clients)
                    len(self.hub.clients)
                    begun.set()
            except BaseException as error:
                errors.append(error)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        self.assertTrue(begun.wait(10), "the reader has not begun")
        for n in range(3000):
            channel = Channel(f"b:{n}")
            enter(self.hub, channel)
            if n % 3:
                self.hub.remove(channel)
        over.set()
        reader.join(10)
        self.assertFalse(reader.is_alive() or errors, errors)


if __name__ == "__main__":
    unittest.main()
