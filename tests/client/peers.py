"""A server in the hands of the test, and a client that talks to it.

The other end is a `Peer`: the accepted socket, read and written by the test itself, so that
each fault comes at its place. tests/end_to_end/test_client.py has the real server.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import unittest
from collections.abc import Callable
from typing import Any

from pyliteflux.client import TCPClient
from pyliteflux.client.link import Backoff
from tests.support import (
    DEADLINE,
    Client,
    captured_logs,
)


class Peer(Client):
    """The server's end of a connection, in the hands of the test."""

    def __init__(self, sock: socket.socket) -> None:
        self._buffer = b""
        self._timeout = DEADLINE
        self.sock = sock
        sock.settimeout(DEADLINE)

    def read(self) -> dict[str, Any]:
        """Return the next question of the client."""
        message: dict[str, Any] = json.loads(self.read_line())
        return message

    def say(self, **fields: Any) -> None:
        """Send one object."""
        self.send(json.dumps(fields).encode() + b"\n")

    def answer(self, **fields: Any) -> dict[str, Any]:
        """Read a question, and answer it with this dict; return the question."""
        question = self.read()
        self.say(**fields, id=question["id"])
        return question

    def confirm(self, id: str, gap: bool = False) -> Any:
        """Read a subscription, and let it take effect at `id`; return its data."""
        question = self.read()
        assert question["command"] == "subscribe", question
        self.say(type="subscribed", topic=question["data"]["topic"], id=id, gap=gap)
        self.say(ok=True, id=question["id"])
        return question["data"]

    def publish(self, topic: str, number: int, epoch: str = "e") -> None:
        """Push a message of a topic; its data is its number."""
        self.say(type="push", topic=topic, seq=number, id=f"{epoch}-{number}", data=number)


class InThread:
    """A call in a thread of its own; `result` gives what it returned or raised."""

    def __init__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._value: Any = None
        self._error: BaseException | None = None
        self._run = lambda: function(*args, **kwargs)
        self.thread = threading.Thread(target=self._main, name="test-caller", daemon=True)
        self.thread.start()

    def _main(self) -> None:
        try:
            self._value = self._run()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self.thread.join(DEADLINE)
        if self.thread.is_alive():
            raise AssertionError(f"the call did not return within {DEADLINE} s")
        if self._error is not None:
            raise self._error
        return self._value


class ScriptedServer:
    """A listening socket. After `leave` nobody listens on its port, until `come_back`."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(DEADLINE)
        self.port: int = self._listener.getsockname()[1]

    def accept(self) -> Peer:
        """Return the next connection."""
        return Peer(self._listener.accept()[0])

    def leave(self) -> None:
        self._listener.close()

    def come_back(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.settimeout(DEADLINE)


class ClientTestCase(unittest.TestCase):
    def setUp(self) -> None:
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.stack = stack
        self.logs = stack.enter_context(captured_logs())
        self.server = ScriptedServer()
        stack.callback(lambda: self.server.leave())
        self.events: list[str] = []

    def client(self, **options: Any) -> TCPClient:
        options.setdefault("backoff", Backoff(0.001, 0.005))
        options.setdefault("on_event", lambda event: self.events.append(event.type))
        return self.stack.enter_context(TCPClient("127.0.0.1", self.server.port, **options))

    def accept(self) -> Peer:
        return self.stack.enter_context(self.server.accept())

    def connected(self, **options: Any) -> tuple[TCPClient, Peer]:
        """Return a client that has had an answer, and its peer."""
        client = self.client(**options)
        call = InThread(client.call, "hello")
        peer = self.accept()
        peer.answer()
        call.result()
        return client, peer

    def subscribed(self, *topics: str, **options: Any) -> tuple[TCPClient, Peer]:
        """Return a client that hears topics, each from "e-10" on."""
        client = self.client(**options)
        peer: Peer | None = None
        for topic in topics:
            call = InThread(client.subscribe, topic)
            peer = peer or self.accept()
            peer.confirm("e-10")
            call.result()
        assert peer is not None
        return client, peer

    def taken(self, client: TCPClient, count: int) -> list[Any]:
        """Return the data of the next pushes."""
        found = []
        for _ in range(count):
            push = client.next_push(DEADLINE)
            assert push is not None, f"only {found} came"
            found.append(push.data)
        return found
