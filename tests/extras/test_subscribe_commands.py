"""subscribe_commands: what a client may hear is what was allowed, and nothing else."""

from __future__ import annotations

import unittest
from typing import Any

from pyliteflux import HTTPError, Router, TCPRequest
from pyliteflux.extras.subscribe_commands import SubscribeCommands


class Client:
    """The connection of a request: notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def subscribe(self, name: str, since: Any, info: Any) -> None:
        self.asked.append((name, since, info))

    def unsubscribe(self, name: str) -> None:
        self.asked.append(name)


class Commands(unittest.TestCase):
    def setUp(self) -> None:
        self.commands = SubscribeCommands()
        self.client = Client()

    def request(self, data: Any) -> TCPRequest:
        request = TCPRequest("subscribe", data, "json")
        request.caller = self.client
        return request

    def test_only_what_is_allowed_can_be_heard(self) -> None:
        with self.assertRaises(HTTPError):
            self.commands.subscribe(self.request("news"))
        self.commands.allow(["news", "room:*"])
        self.commands.allow(["more"])
        for topic in ("news", "room:1", "room:", "room:*", "room:a*", "more"):
            with self.subTest(topic):
                self.commands.subscribe(self.request(topic))
        for topic in ("new", "newsy", "news*", "room", "*", ""):
            with self.subTest(topic), self.assertRaises(HTTPError) as caught:
                self.commands.subscribe(self.request(topic))
            self.assertEqual(caught.exception.status, 403)
            self.assertEqual(caught.exception.message["code"], "forbidden")

    def test_the_data_is_a_topic_or_says_more(self) -> None:
        self.commands.allow(["news"])
        answer = self.commands.subscribe(self.request(" news "))
        self.assertEqual(answer, {"ok": True, "topic": "news"})
        self.commands.subscribe(self.request({"topic": "news", "since": 5, "info": {"n": 1}}))
        self.commands.unsubscribe(self.request({"topic": "other"}))
        self.assertEqual(self.client.asked, [("news", None, None), ("news", 5, {"n": 1}), "other"])
        for data in (None, 5, [], {}, {"topic": None}, b"news"):
            with self.subTest(data), self.assertRaises(HTTPError) as caught:
                self.commands.subscribe(self.request(data))
            self.assertEqual(caught.exception.status, 400)

    def test_they_are_registered_once_and_never_block(self) -> None:
        router = Router()
        self.commands.register(router)
        self.commands.register(router)
        self.assertEqual([route.path for route in router.routes()], ["subscribe", "unsubscribe"])
        self.assertFalse(any(route.blocking for route in router.routes()))


if __name__ == "__main__":
    unittest.main()
