"""otherwords: who uses a word of another framework is told ours (C3, X1)."""

from __future__ import annotations

import unittest
from typing import Any

from pyliteflux import ConfigError, Route, Router, Server
from pyliteflux.app.request import HTTPRequest
from pyliteflux.otherwords import REGISTRATION, REQUEST, SERVER, SETTINGS
from tests.support import ServerTestCase, fetch, make_server, stop

VERBS = ("get", "post", "put", "delete", "patch", "head", "options")


def handler(request: Any) -> str:
    return "answer"


class OtherWords(ServerTestCase):
    def test_settings_of_others_are_answered_with_ours(self) -> None:
        for name, ours in SETTINGS.items():
            with self.subTest(name), self.assertRaises(ConfigError) as caught:
                Server(**{name: 1})
            self.assertEqual(str(caught.exception), f"there is no setting {name!r}: {ours} here")
        self.assertIn("http_port", SETTINGS["port"])

    def test_arguments_of_a_registration(self) -> None:
        for register in (Router().register, Route.register, Router().get, Server(Router()).post):
            for name, ours in REGISTRATION.items():
                with self.assertRaises(TypeError) as caught:
                    register("/x", **{name: ["GET"]})  # type: ignore[arg-type, operator]
                self.assertEqual(
                    str(caught.exception), f"a registration takes no {name!r}: {ours} here"
                )
            with self.assertRaisesRegex(TypeError, "takes no 'zzz'$"):
                register("/x", zzz=1)  # type: ignore[arg-type, operator]

    def test_attributes_of_servers_routers_and_requests(self) -> None:
        met: list[Any] = []
        self.router.get("/")(lambda request: met.append(request))
        server = make_server(self.router)
        server.start()
        self.addCleanup(stop, server)
        fetch(server, "GET", "/")
        (request,) = met
        assert isinstance(request, HTTPRequest)
        for owner, words in ((server, SERVER), (Router(), SERVER), (request, REQUEST)):
            for name, ours in words.items():
                with self.subTest(owner=owner, name=name):
                    if hasattr(type(owner), name):
                        continue  # It is ours as well, there.
                    self.assertFalse(hasattr(owner, name))
                    self.assertIsNone(getattr(owner, name, None))
                    with self.assertRaises(AttributeError) as caught:
                        getattr(owner, name)
                    said = f"object has no attribute {name!r}. {name!r}: {ours} here"
                    self.assertTrue(str(caught.exception).endswith(said), caught.exception)
            with self.assertRaisesRegex(AttributeError, "has no attribute 'zzz'$"):
                _ = owner.zzz
        request.args = {"a": 1}  # Q6: a middleware may call it so.
        self.assertEqual(request.args, {"a": 1})

    def test_no_word_is_one_of_ours(self) -> None:
        """A word that comes to be ours leaves the table."""
        self.assertEqual([name for name in SETTINGS if hasattr(Server().config, name)], [])
        self.assertEqual([name for name in REQUEST if hasattr(HTTPRequest, name)], [])
        self.assertEqual([name for name in SERVER if hasattr(Server, name)], [])


if __name__ == "__main__":
    unittest.main()
