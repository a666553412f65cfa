"""`pyliteflux.client` against a server that says exactly what the test tells it to.

The other end is a `Peer`: the accepted socket, read and written by the test itself, so that
each fault comes at its place. tests/end_to_end/test_client.py has the real server.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import select
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from pyliteflux import Router
from pyliteflux.channels.message_channel import MessageChannel
from pyliteflux.client import TCPClient
from pyliteflux.client.events import Event, Push, Subscription
from pyliteflux.client.item_queue import HARD_LIMIT, ItemQueue
from pyliteflux.client.link import Backoff, Link
from pyliteflux.errors import CallError, ConnectionLost, FrameTooLong
from tests.support import (
    DEADLINE,
    Client,
    captured_logs,
    new_threads,
    running_server,
    wait_until,
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


class Calls(ClientTestCase):
    def test_a_question_is_one_line_and_its_answer_is_returned(self) -> None:
        client, peer = self.connected()
        call = InThread(client.call, "add", [1, 2], headers={"X-Who": "me"})
        line = peer.read_line()
        question = json.loads(line)
        self.assertEqual(
            question,
            {
                "command": "add",
                "data": [1, 2],
                "headers": {"X-Who": "me"},
                "id": question["id"],
            },
        )
        peer.send(b'{"id": %d, "data": 3}\n' % question["id"])
        self.assertEqual(call.result(), 3)

    def test_a_value_comes_as_it_is_and_a_dict_without_the_id(self) -> None:
        client, peer = self.connected()
        cases: list[tuple[str, Any]] = [
            ('{"id": %d, "data": null}', None),
            ('{"id": %d, "data": false}', False),
            ('{"id": %d, "data": "\u00e9"}', "\u00e9"),
            ('{"a": 1, "id": %d}', {"a": 1}),
            ('{"id": %d}', {}),
            ('{"data": 5, "id": %d}', {"data": 5}),  # A dict of the handler's, not a value.
            ('{"type": "end", "x": 1, "id": %d}', {"type": "end", "x": 1}),
        ]
        for line, expected in cases:
            with self.subTest(line):
                call = InThread(client.call, "x")
                peer.send(line % peer.read()["id"] + "\n")
                self.assertEqual(call.result(), expected)

    def test_a_generator_is_a_list_of_its_items(self) -> None:
        client, peer = self.connected()
        for items in ([], [1], [{"n": 1}, None, "x"]):
            with self.subTest(items):
                call = InThread(client.call, "x")
                id = peer.read()["id"]
                for item in items:
                    peer.say(type="stream", data=item, id=id)
                peer.say(type="end", id=id)
                self.assertEqual(call.result(), items)

    def test_a_generator_that_fails_is_an_error(self) -> None:
        client, peer = self.connected()
        call = InThread(client.call, "x")
        id = peer.read()["id"]
        peer.say(type="stream", data=1, id=id)
        peer.say(error="Internal Server Error", code="internal", id=id)
        with self.assertRaises(CallError):
            call.result()

    def test_a_streamed_answer_has_a_limit_and_costs_only_itself(self) -> None:
        client, peer = self.connected(max_message=1000)
        call = InThread(client.call, "x")
        id = peer.read()["id"]
        for _ in range(30):
            peer.say(type="stream", data="x" * 50, id=id)
        with self.assertRaises(FrameTooLong):
            call.result()
        peer.say(type="end", id=id)
        call = InThread(client.call, "y")
        peer.answer(ok=1)
        self.assertEqual(call.result(), {"ok": 1})

    def test_a_loss_between_the_items_of_a_generator(self) -> None:
        client, peer = self.connected()
        call = InThread(client.call, "x")
        id = peer.read()["id"]
        peer.say(type="stream", data=1, id=id)
        peer.close()
        with self.assertRaises(ConnectionLost) as caught:
            call.result()
        self.assertTrue(caught.exception.may_have_run)

    def test_an_error_is_raised_with_all_that_it_says(self) -> None:
        client, peer = self.connected()
        call = InThread(client.call, "x")
        peer.answer(error="no such topic", code="forbidden", status=403, more=[1])
        with self.assertRaisesRegex(CallError, r"^no such topic \(forbidden, 403\)$") as caught:
            call.result()
        self.assertEqual((caught.exception.code, caught.exception.status), ("forbidden", 403))
        self.assertEqual(caught.exception.answer["more"], [1])

    def test_answers_out_of_order_find_their_callers(self) -> None:
        client, peer = self.connected()
        calls = [InThread(client.call, "x", n) for n in range(5)]
        questions = [peer.read() for _ in calls]
        for question in sorted(questions, key=lambda question: -question["data"]):
            peer.say(mine=question["data"], id=question["id"])
        self.assertEqual([call.result() for call in calls], [{"mine": n} for n in range(5)])

    def test_an_error_without_an_id_belongs_to_the_oldest_question(self) -> None:
        """The server could not read it, so it could not read its id; but it answers in order."""
        client, peer = self.connected()
        first = InThread(client.call, "x", 1)
        peer.read()
        second = InThread(client.call, "x", 2)
        id = peer.read()["id"]
        peer.say(error="nested over 64 levels", code="bad_message")
        with self.assertRaisesRegex(CallError, "nested over 64 levels"):
            first.result()
        peer.say(ok=2, id=id)
        self.assertEqual(second.result(), {"ok": 2})

    def test_no_answer_in_time_and_a_late_one_is_nobody_elses(self) -> None:
        client, peer = self.connected()
        with self.assertRaisesRegex(TimeoutError, "'slow' in time"):
            client.call("slow", timeout=0.01)
        late = peer.read()["id"]
        call = InThread(client.call, "next")
        id = peer.read()["id"]
        peer.say(type="stream", data="late", id=late)
        peer.say(late=True, id=late)
        peer.say(ok=True, id=id)
        self.assertEqual(call.result(), {"ok": True})

    def test_what_json_cannot_write_is_not_sent(self) -> None:
        client, peer = self.connected()
        for data in (object(), {1j: 1}, float("nan"), "\ud800"):
            with self.subTest(repr(data)), self.assertRaises((TypeError, ValueError)):
                client.call("x", data)
        call = InThread(client.call, "after")
        self.assertEqual(peer.answer()["command"], "after")
        call.result()

    def test_a_caller_may_wait_for_ever(self) -> None:
        for options in ({}, {"keep_alive": False}):
            client = self.client(timeout=float("inf"), **options)
            call = InThread(client.call, "x")
            self.accept().answer(ok=1)
            self.assertEqual(call.result(), {"ok": 1})

    def test_messages_of_many_threads_stay_whole(self) -> None:
        client, peer = self.connected()
        padding = "x" * 100_000
        calls = [InThread(client.call, "x", [n, padding]) for n in range(10)]
        for _ in calls:
            question = peer.read()
            self.assertEqual(question["data"][1], padding)
            peer.say(n=question["data"][0], id=question["id"])
        self.assertEqual([call.result()["n"] for call in calls], list(range(10)))

    def test_a_ping_is_answered_and_not_told(self) -> None:
        client, peer = self.connected()
        peer.say(type="ping")
        self.assertEqual(peer.read(), {"pong": True})
        peer.say(type="push", data="after")
        self.assertEqual(self.taken(client, 1), ["after"])
        self.assertEqual(self.events, [])

    def test_both_ends_may_send_much_before_they_read(self) -> None:
        """The reader must read on while a caller waits for room to send: else nobody would."""
        client, peer = self.connected(queue_limit=100_000_000)
        call = InThread(client.call, "x", "q" * 8_000_000)
        for number in range(200):
            peer.say(type="push", data=[number, "p" * 50_000])
            peer.say(type="ping")
        question = peer.read()
        while "pong" in question:
            question = peer.read()
        peer.say(ok=1, id=question["id"])
        self.assertEqual(call.result(), {"ok": 1})
        self.assertEqual([data[0] for data in self.taken(client, 200)], list(range(200)))

    def test_a_message_that_was_sent_in_part_is_finished_before_the_next(self) -> None:
        client, peer = self.connected()
        with self.assertRaises(TimeoutError):
            client.call("big", "b" * 20_000_000, timeout=0.05)
        call = InThread(client.call, "small")
        with peer.sock.makefile("rb") as lines:
            self.assertEqual(len(json.loads(lines.readline())["data"]), 20_000_000)
            question = json.loads(lines.readline())
        self.assertEqual(question["command"], "small")
        peer.say(id=question["id"])
        self.assertEqual(call.result(), {})


class Faults(ClientTestCase):
    def test_a_server_that_was_never_there_is_told_at_once(self) -> None:
        self.server.leave()
        client = self.client(timeout=1000.0)
        for function in (lambda: client.call("x"), lambda: client.subscribe("t"), client.next_push):
            call = InThread(function)
            with self.assertRaisesRegex(ConnectionLost, "no connection to .*refused") as caught:
                call.result()
            self.assertFalse(caught.exception.may_have_run)
            self.assertIsInstance(caught.exception, ConnectionError)
        self.server.come_back()  # A program may try again with the same client.
        call = InThread(client.call, "x")
        self.accept().answer(ok=1)
        self.assertEqual(call.result(), {"ok": 1})

    def test_a_host_that_cannot_be_one(self) -> None:
        for host in ("a" * 64 + ".invalid", "\ud800"):
            for keep_alive in (True, False):
                client = TCPClient(host, 1, timeout=1000.0, keep_alive=keep_alive)
                with client, self.assertRaises(ConnectionLost):
                    InThread(client.call, "x").result()

    def test_a_server_that_hangs_up_before_the_question_is_told_at_once(self) -> None:
        client = self.client(timeout=1000.0)
        with mock.patch.object(Link, "send", side_effect=ConnectionResetError("gone")):
            for words in (b"220 mail.example ESMTP\r\n", b""):
                call = InThread(client.call, "x")
                peer = self.accept()
                peer.send(words)
                peer.close()
                with self.assertRaisesRegex(ConnectionLost, "JSON objects|closed it|reset"):
                    call.result()

    def test_a_connection_that_is_lost_before_its_caller_has_seen_it_is_told_too(self) -> None:
        client = self.client(timeout=1000.0)
        reader = client._reader

        def lost_at_once(link: Link) -> bool:
            with reader.lock:
                reader.was_connected = True
                reader._failures += 1
                reader._failure = "it does not speak JSON"
                reader._changed.notify_all()
            return False

        with mock.patch.object(reader, "_on_connected", lost_at_once):
            with self.assertRaisesRegex(ConnectionLost, "it does not speak JSON"):
                InThread(client.call, "x").result()

    def test_who_needs_a_connection_while_it_is_made_does_not_cut_the_next_wait_short(self) -> None:
        client = self.client(timeout=1000.0)
        reader = client._reader
        connect = reader._open_link
        calls: list[InThread] = []

        def connect_while_another_comes() -> Link:
            calls.append(InThread(client.call, "second"))
            wait_until(lambda: reader._waiting == 2, "both wait")
            return connect()

        with mock.patch.object(reader, "_open_link", connect_while_another_comes):
            calls.append(InThread(client.call, "first"))
            peer = self.accept()
            peer.answer()
            peer.answer()
        for call in calls:
            call.result()
        self.assertFalse(reader._hurry)

    def test_a_connection_to_oneself_is_none(self) -> None:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
        with mock.patch("socket.create_connection", return_value=sock):
            with self.assertRaisesRegex(ConnectionRefusedError, "nobody listens"):
                Link.open("127.0.0.1", 1, 1.0, 1000)
        self.assertEqual(sock.fileno(), -1)

    def test_an_answer_that_cannot_come_any_more_is_told(self) -> None:
        """Whether the server has run the command nobody knows: it is not sent again."""
        ends: dict[str, tuple[Callable[[Peer], None], str]] = {
            "closed": (lambda peer: peer.close(), "the server closed it"),
            "reset": (lambda peer: peer.reset(), "reset by peer"),
            "half a line": (lambda peer: (peer.send(b'{"id"'), peer.close())[1], "inside a mess"),
            "garbage": (lambda peer: peer.send(b"HTTP/1.1 400 Bad Request\r\n"), "JSON objects"),
            "no object": (lambda peer: peer.send(b"[1]\n"), "JSON objects"),
            "not UTF-8": (lambda peer: peer.send(b'{"a": "\xff"}\n'), "JSON objects"),
            "deep": (lambda peer: peer.send(b"[" * 100_000 + b"\n"), "JSON objects"),
            "too long": (lambda peer: peer.send(b'"' * 200_001), "over 200000 bytes"),
            "a goodbye": (
                lambda peer: (
                    peer.say(type="closing", reason="idle", text="silent"),
                    peer.close(),
                )[1],
                "idle: silent",
            ),
        }
        client = self.client(max_message=200_000)
        for name, (end, text) in ends.items():
            with self.subTest(name):
                calls = [InThread(client.call, "x", n) for n in range(2)]
                peer = self.accept()
                peer.read()
                peer.read()
                end(peer)
                for call in calls:
                    with self.assertRaisesRegex(ConnectionLost, text) as caught:
                        call.result()
                    self.assertTrue(caught.exception.may_have_run)
        call = InThread(client.call, "after")
        self.assertEqual(self.accept().answer()["command"], "after")
        call.result()

    def test_why_the_server_refused_the_connection_is_told(self) -> None:
        client, peer = self.connected(reconnect=False)
        peer.say(error="Service Unavailable", code="busy")
        peer.close()
        wait_until(lambda: client._reader.ended, "the end is noticed")
        with self.assertRaisesRegex(ConnectionLost, r"Service Unavailable \(busy\)"):
            client.call("x")

    def test_an_idempotent_call_is_sent_once_more_and_no_more(self) -> None:
        client, peer = self.connected()
        call = InThread(client.call, "x", 1, idempotent=True)
        first = peer.read()
        peer.reset()
        peer = self.accept()
        second = peer.answer(ok=1)
        self.assertEqual(second["data"], first["data"])
        self.assertNotEqual(second["id"], first["id"])
        self.assertEqual(call.result(), {"ok": 1})

        call = InThread(client.call, "x", idempotent=True)
        peer.read()
        peer.reset()
        peer = self.accept()
        peer.read()
        peer.reset()
        with self.assertRaises(ConnectionLost):
            call.result()

    def test_a_call_waits_for_a_server_that_was_there(self) -> None:
        client, peer = self.connected(timeout=1000.0)
        self.server.leave()
        peer.close()
        wait_until(lambda: client._reader.link is None, "the loss is noticed")
        calls = [InThread(client.call, "x", n) for n in range(3)]
        wait_until(lambda: client._reader._failures > 2, "some attempts fail")
        self.server.come_back()
        peer = self.accept()
        for _ in calls:
            question = peer.read()
            peer.say(n=question["data"], id=question["id"])
        self.assertEqual([call.result()["n"] for call in calls], [0, 1, 2])

    def test_a_server_that_stays_away_is_told_at_the_deadline(self) -> None:
        client, peer = self.connected()
        self.server.leave()
        peer.close()
        wait_until(lambda: client._reader.link is None, "the loss is noticed")
        with self.assertRaisesRegex(ConnectionLost, "refused") as caught:
            client.call("x", timeout=0.05)
        self.assertFalse(caught.exception.may_have_run)

    def test_a_client_that_hears_nothing_comes_back_only_when_it_is_used(self) -> None:
        client, peer = self.connected()
        self.server.leave()
        peer.close()
        wait_until(lambda: client._reader.link is None, "the loss is noticed")
        failures = client._reader._failures
        with self.assertRaises(ConnectionLost):
            client.call("x", timeout=0.0)
        self.assertLessEqual(client._reader._failures, failures + 1)

    def test_without_reconnect_the_first_loss_is_the_end(self) -> None:
        client, peer = self.subscribed("t", reconnect=False)
        peer.publish("t", 11)
        peer.say(type="closing", reason="slow", text="too slow")
        peer.close()
        self.assertEqual(self.taken(client, 1), [11])  # What has come is still there.
        with self.assertRaisesRegex(ConnectionLost, "slow: too slow"):
            client.next_push(DEADLINE)
        for _ in range(2):
            with self.assertRaisesRegex(ConnectionLost, "slow: too slow"):
                client.call("x")
        with self.assertRaisesRegex(ConnectionLost, "slow: too slow"):
            for _ in client:
                self.fail("nothing can come any more")

    def test_close_wakes_whoever_waits(self) -> None:
        for keep_alive in (True, False):
            with self.subTest(keep_alive=keep_alive):
                client = self.client(keep_alive=keep_alive, timeout=1000.0)
                calls = [InThread(client.call, "x") for _ in range(2)]
                peers = [self.accept() for _ in range(1 if keep_alive else 2)]
                for peer in itertools.islice(itertools.cycle(peers), 2):
                    peer.read()
                client.close()
                client.close()
                for call in calls:
                    with self.assertRaisesRegex(ConnectionLost, "the client is closed"):
                        call.result()
                for peer in peers:
                    peer.expect_end()
                with self.assertRaisesRegex(ConnectionLost, "the client is closed"):
                    client.call("x")

    def test_close_ends_an_iteration(self) -> None:
        client, peer = self.subscribed("t")
        got: list[Any] = []
        loop = InThread(lambda: [got.append(push.data) for push in client])
        peer.publish("t", 11)
        wait_until(lambda: got, "the first is taken, and the next waited for")
        client.close()
        loop.result()
        self.assertEqual(got, [11])

    def test_close_ends_the_attempts_to_come_back(self) -> None:
        client, peer = self.subscribed("t", backoff=Backoff(1000.0, 1000.0))
        peer.close()
        wait_until(lambda: client._reader.link is None, "the loss is noticed")
        thread = client._reader._thread
        assert thread is not None
        loop = InThread(lambda: list(client))
        client.close()
        self.assertEqual(loop.result(), [])
        thread.join(DEADLINE)
        self.assertFalse(thread.is_alive())

    def test_a_client_that_was_not_used_has_no_thread(self) -> None:
        before = threading.enumerate()
        with self.client() as client:
            self.assertEqual(new_threads(before), set())
            self.assertFalse(client.is_closed)
        self.assertTrue(client.is_closed)

    def test_a_bug_in_the_reader_leaves_nobody_waiting(self) -> None:
        for error in (KeyError("bug"), SystemExit(1), GeneratorExit()):
            with self.subTest(error):
                client, peer = self.connected(timeout=1000.0)
                call = InThread(client.call, "x")
                peer.read()
                with mock.patch.object(client._reader, "_on_news", side_effect=error):
                    peer.say(type="push", data=1)
                    with self.assertRaisesRegex(ConnectionLost, "see the log"):
                        call.result()
                self.logs.wait_for(f"{self.server.port} has failed")
                with self.assertRaises(ConnectionLost):
                    client.next_push()

    def test_a_backoff_of_the_users_that_raises_leaves_nobody_waiting(self) -> None:
        backoff = Backoff(jitter=mock.Mock(side_effect=SystemExit))
        client, peer = self.connected(backoff=backoff, timeout=1000.0)
        call = InThread(client.call, "x")
        self.server.leave()
        peer.close()
        with self.assertRaises(ConnectionLost):
            call.result()
        with self.assertRaisesRegex(ConnectionLost, "see the log"):
            InThread(client.call, "y").result()

    def test_who_waits_is_told_before_the_log(self) -> None:
        client, peer = self.connected(timeout=1000.0)
        call = InThread(client.call, "x")
        peer.read()
        is_told = threading.Event()
        waits: list[bool] = []
        with (
            mock.patch.object(client._reader, "_on_news", side_effect=KeyError("bug")),
            mock.patch("pyliteflux.client.reader.log") as log,
        ):
            log.exception.side_effect = lambda *_: waits.append(is_told.wait(DEADLINE))
            peer.say(type="push", data=1)
            with self.assertRaises(ConnectionLost):
                call.result()
            is_told.set()
            wait_until(lambda: waits, "it is logged")
        self.assertEqual(waits, [True])


class OneConnectionForEachCall(ClientTestCase):
    def test_each_call_connects_and_the_server_closes(self) -> None:
        client = self.client(keep_alive=False)
        before = threading.enumerate()
        for number in range(3):
            call = InThread(client.call, "x", number)
            peer = self.accept()
            peer.say(type="push", data="hello")  # To everybody who connects: not the answer.
            self.assertEqual(peer.answer(n=number)["data"], number)
            peer.close()
            self.assertEqual(call.result(), {"n": number})
        self.assertEqual(new_threads(before), set())

    def test_errors(self) -> None:
        client = self.client(keep_alive=False)
        ends: list[tuple[Callable[[Peer], Any], type[Exception], str]] = [
            (lambda peer: peer.answer(error="bad", code="c"), CallError, r"bad \(c\)"),
            (lambda peer: peer.say(error="busy", code="busy"), CallError, "busy"),
            (lambda peer: (peer.read(), peer.close()), ConnectionLost, "without an answer"),
            (lambda peer: (peer.read(), peer.reset()), ConnectionLost, "no answer from .*reset"),
            (lambda peer: peer.send(b"<html>\n"), ConnectionLost, "JSON objects"),
        ]
        for end, kind, text in ends:
            with self.subTest(text):
                call = InThread(client.call, "x")
                end(self.accept())
                with self.assertRaisesRegex(kind, text):
                    call.result()
        with self.assertRaisesRegex(TimeoutError, "'x' in time"):
            client.call("x", timeout=0.01)
        self.server.leave()
        with self.assertRaisesRegex(ConnectionLost, "no connection to .*refused") as caught:
            client.call("x")
        self.assertFalse(caught.exception.may_have_run)

    def test_it_can_hear_nothing(self) -> None:
        client = self.client(keep_alive=False)
        for function in (lambda: client.subscribe("t"), client.next_push, client.next_event):
            with self.assertRaisesRegex(ValueError, "keep_alive"):
                function()


class Pushes(ClientTestCase):
    def test_a_push_says_where_it_is_from(self) -> None:
        client, peer = self.subscribed("room:*")
        peer.say(type="push", topic="room:1", seq=7, id="e-11", data={"a": 1})
        peer.say(type="push", data="for you")
        push = client.next_push(DEADLINE)
        assert push is not None
        self.assertEqual(
            (push.type, push.topic, push.seq, push.id, push.data),
            ("push", "room:1", 7, "e-11", {"a": 1}),
        )
        push = client.next_push(DEADLINE)
        assert push is not None
        self.assertEqual(
            (push.topic, push.seq, push.id, push.data, push.ack()),
            (None, None, None, "for you", False),
        )

    def test_nothing_in_time_is_none(self) -> None:
        client, _ = self.connected()
        self.assertIsNone(client.next_push(0.0))
        self.assertIsNone(client.next_event(0.01))

    def test_iteration_yields_pushes_and_events_go_to_on_event_in_their_place(self) -> None:
        order: list[Any] = []
        client, peer = self.subscribed("t", on_event=lambda event: order.append(event.type))
        peer.publish("t", 11)
        peer.say(type="dropped", topic="t", count=2)
        peer.publish("t", 14)
        for push in client:
            order.append(push.data)
            if push.data == 14:
                break
        self.assertEqual(order, ["subscribed", 11, "dropped", 14])

    def test_a_loss_is_logged_where_nobody_asked_for_events(self) -> None:
        client, peer = self.subscribed("t", on_event=None)
        peer.say(type="join", topic="t", client="1.2.3.4:5", info=None)
        peer.say(type="dropped", topic="t", count=2)
        peer.send(b'{"type": "unheard-of", "self": 1}\n')
        peer.publish("t", 11)
        with self.assertLogs("pyliteflux.client", logging.DEBUG) as logs:
            self.taken(client, 1)
        self.assertEqual(
            [(record.levelname, record.getMessage()) for record in logs.records],
            [
                ("DEBUG", "subscribed to t"),
                ("DEBUG", "1.2.3.4:5 joins t"),
                ("WARNING", "2 messages were given up"),
                ("DEBUG", "unheard-of {'self': 1}"),
            ],
        )

    def test_a_push_is_acknowledged_when_it_is_taken(self) -> None:
        client, peer = self.connected()
        peer.say(type="push", ack="a1", data=1)
        peer.say(type="ping")
        self.assertEqual(peer.read(), {"pong": True})  # It has come, and was not taken yet.
        self.taken(client, 1)
        self.assertEqual(peer.read(), {"ack": "a1"})

    def test_a_program_may_acknowledge_itself_with_a_reply(self) -> None:
        client, peer = self.connected(auto_ack=False)
        for number in range(3):
            peer.say(type="push", ack=f"a{number}", data=number)
        pushes = [client.next_push(DEADLINE) for _ in range(3)]
        assert pushes[0] and pushes[1] and pushes[2]
        self.assertTrue(pushes[0].ack({"done": True}))
        self.assertTrue(pushes[1].ack())
        self.assertEqual(peer.read(), {"ack": "a0", "data": {"done": True}})
        self.assertEqual(peer.read(), {"ack": "a1"})
        with self.assertRaises(TypeError):
            pushes[2].ack(object())
        peer.reset()
        self.accept()
        wait_until(lambda: client._reader.link is not None, "it is back")
        self.assertFalse(pushes[2].ack())  # Of a connection that has ended: nobody waits for it.

    def test_several_threads_may_take_and_each_push_is_taken_once(self) -> None:
        client, peer = self.connected()
        got: list[Any] = []

        def take() -> None:
            for push in client:
                got.append(push.data)

        takers = [InThread(take) for _ in range(4)]
        for number in range(100):
            peer.say(type="push", data=number)
        wait_until(lambda: len(got) == 100, "all are taken")
        client.close()
        for taker in takers:
            taker.result()
        self.assertEqual(sorted(got), list(range(100)))


class Resuming(ClientTestCase):
    def test_it_asks_for_what_came_after_the_last_message(self) -> None:
        client, peer = self.subscribed("t")
        peer.publish("t", 11)
        peer.publish("t", 12)
        peer.reset()
        peer = self.accept()
        self.assertEqual(peer.confirm("e-12"), {"topic": "t", "since": "e-12"})
        peer.publish("t", 13)
        self.assertEqual(self.taken(client, 3), [11, 12, 13])
        self.assertEqual(self.events, ["subscribed", "disconnected", "connected", "subscribed"])
        self.assertEqual(client.subscriptions, {"t": "e-13"})

    def test_before_any_message_it_resumes_from_where_it_took_effect(self) -> None:
        client, peer = self.subscribed("t")
        peer.close()
        self.assertEqual(self.accept().confirm("e-10"), {"topic": "t", "since": "e-10"})

    def test_since_and_info_are_passed_on(self) -> None:
        client = self.client()
        call = InThread(client.subscribe, "t", "e-5", info={"name": "me"})
        peer = self.accept()
        expected = {"topic": "t", "since": "e-5", "info": {"name": "me"}}
        self.assertEqual(peer.confirm("e-5"), expected)
        call.result()
        peer.reset()
        self.assertEqual(self.accept().confirm("e-5"), expected)

    def test_a_gap_is_told_before_what_comes_after_it(self) -> None:
        client, peer = self.subscribed("t")
        peer.publish("t", 11)
        peer.reset()
        peer = self.accept()
        peer.confirm("f-3", gap=True)  # Another process: positions of its own.
        peer.publish("t", 4, epoch="f")
        items: list[Any] = []
        while not items or items[-1] != 4:
            item = client.next_event(DEADLINE)
            assert item is not None
            items.append(item.data if isinstance(item, Push) else item.type)
        self.assertEqual(
            items, ["subscribed", 11, "disconnected", "connected", "subscribed", "gap", 4]
        )
        self.assertEqual(client.subscriptions, {"t": "f-4"})

    def test_it_comes_back_again_and_again(self) -> None:
        client, peer = self.subscribed("t")
        for number in range(11, 31):
            peer.publish("t", number)
            peer.reset()
            peer = self.accept()
            # Whether the message was read before the reset is the kernel's choice.
            question = peer.read()
            since = question["data"]["since"]
            peer.say(type="subscribed", topic="t", id=since, gap=False)
            peer.say(ok=True, id=question["id"])
            last = int(since.partition("-")[2])
            for missed in range(last + 1, number + 1):
                peer.publish("t", missed)
        self.assertEqual(self.taken(client, 20), list(range(11, 31)))

    def test_no_message_comes_twice_by_two_subscriptions(self) -> None:
        """What it has had by the one, a server that resumes the other may send again."""
        client, peer = self.subscribed("room:*", "room:1")
        peer.publish("room:1", 11)
        peer.publish("room:2", 12)
        self.assertEqual(self.taken(client, 2), [11, 12])
        peer.reset()
        peer = self.accept()
        asked = [peer.read()["data"] for _ in range(2)]
        self.assertEqual(
            asked,
            [{"topic": "room:*", "since": "e-12"}, {"topic": "room:1", "since": "e-11"}],
        )
        peer.say(type="subscribed", topic="room:1", id="e-11", gap=False)
        peer.publish("room:1", 11)  # Had by room:*.
        peer.publish("room:1", 13)
        peer.say(type="subscribed", topic="room:*", id="e-12", gap=False)
        peer.publish("room:1", 13)  # Had by room:1, a moment ago.
        peer.publish("room:2", 14)
        self.assertEqual(self.taken(client, 2), [13, 14])

    def test_a_message_by_one_subscription_does_not_move_another_that_is_not_back_yet(self) -> None:
        """Else what the other was still to be told would be skipped at the next loss."""
        client, peer = self.subscribed("room:*", "room:1")
        peer.reset()
        peer = self.accept()
        peer.read(), peer.read()
        peer.say(type="subscribed", topic="room:1", id="e-10", gap=False)
        peer.publish("room:1", 20)
        self.assertEqual(self.taken(client, 1), [20])
        peer.reset()  # Before the messages 11 to 19 of other rooms have come.
        peer = self.accept()
        self.assertEqual(peer.read()["data"], {"topic": "room:*", "since": "e-10"})
        self.assertEqual(peer.read()["data"], {"topic": "room:1", "since": "e-20"})

    def test_positions_that_it_does_not_understand_are_all_news(self) -> None:
        client, peer = self.subscribed("t")
        for id in ("x", "", None, 7.5, "e-\u0663", "e--1", "other-1"):
            peer.say(type="push", topic="t", id=id, data=str(id))
        peer.say(type="push", topic="elsewhere", id="e-1", data="last")
        self.assertEqual(len(self.taken(client, 8)), 8)

    def test_a_subscription_that_is_not_allowed_is_an_error_and_forgotten(self) -> None:
        client, peer = self.subscribed("t")
        for topic in ("secret", "t"):  # The one that it has is not lost by it.
            call = InThread(client.subscribe, topic)
            peer.answer(error="not open", code="forbidden", status=403)
            with self.assertRaises(CallError) as caught:
                call.result()
            self.assertEqual(caught.exception.code, "forbidden")
        peer.reset()
        peer = self.accept()
        self.assertEqual(peer.confirm("e-10")["topic"], "t")
        self.assertEqual(list(client.subscriptions), ["t"])

    def test_a_subscription_that_is_no_longer_allowed_is_told_and_forgotten(self) -> None:
        client, peer = self.subscribed("a", "b")
        peer.reset()
        peer = self.accept()
        peer.answer(error="not open", code="forbidden", status=403)
        peer.confirm("e-10")
        peer.publish("b", 11)
        self.assertEqual(self.taken(client, 1), [11])
        self.assertIn("refused", self.events)
        self.assertEqual(list(client.subscriptions), ["b"])

    def test_what_was_unsubscribed_is_not_resumed(self) -> None:
        client, peer = self.subscribed("a", "b", "c")
        call = InThread(client.unsubscribe, "a")
        self.assertEqual(peer.answer()["data"], {"topic": "a"})
        call.result()
        peer.say(type="unsubscribed", topic="b")  # By a handler of the server's.
        peer.say(type="push", data=1)
        self.taken(client, 1)
        peer.reset()
        peer = self.accept()
        self.assertEqual(peer.confirm("e-10")["topic"], "c")
        self.assertEqual(list(client.subscriptions), ["c"])
        client.unsubscribe("never heard of")  # Nothing to do, nothing to send.

    def test_a_loss_while_it_subscribes(self) -> None:
        """Before it took effect the caller asks again; after, the reader does."""
        client = self.client()
        call = InThread(client.subscribe, "t", "e-5")
        peer = self.accept()
        peer.read()
        peer.reset()
        peer = self.accept()
        question = peer.read()
        self.assertEqual(question["data"], {"topic": "t", "since": "e-5"})
        peer.say(type="subscribed", topic="t", id="e-5", gap=False)
        peer.publish("t", 6)
        self.assertEqual(self.taken(client, 1), [6])
        peer.reset()
        call.result()
        self.assertEqual(self.accept().confirm("e-6"), {"topic": "t", "since": "e-6"})

    def test_subscribing_again_begins_where_it_says(self) -> None:
        client, peer = self.subscribed("t")
        peer.publish("t", 11)
        self.assertEqual(self.taken(client, 1), [11])
        call = InThread(client.subscribe, "t", 0)
        self.assertEqual(peer.confirm("e-0"), {"topic": "t", "since": 0})
        peer.publish("t", 11)
        self.assertEqual(self.taken(client, 1), [11])
        call.result()

    def test_a_message_that_is_too_long_is_a_gap_and_not_met_again(self) -> None:
        client, peer = self.subscribed("t", max_message=1000)
        peer.say(type="push", topic="t", id="e-11", data="x" * 2000)
        peer = self.accept()
        self.assertEqual(peer.confirm("e-11"), {"topic": "t"})
        peer.publish("t", 12)
        self.assertEqual(self.taken(client, 1), [12])
        self.assertIn("gap", self.events)

    def test_an_end_anywhere_in_a_push_costs_no_message(self) -> None:
        line = b'{"type": "push", "topic": "t", "seq": 11, "id": "e-11", "data": 11}\n'
        for cut in {*range(0, len(line), 7), len(line) - 1, len(line)}:
            with self.subTest(cut):
                client, peer = self.subscribed("t")
                peer.send(line[:cut])
                peer.half_close()
                peer = self.accept()
                last = "e-11" if cut == len(line) else "e-10"
                self.assertEqual(peer.confirm(last)["since"], last)
                if last == "e-10":
                    peer.send(line)
                peer.publish("t", 12)
                self.assertEqual(self.taken(client, 2), [11, 12])
                client.close()


class SlowConsumers(ClientTestCase):
    def fill(self, peer: Peer) -> int:
        """Push until the client reads no more; return how many pushes that took."""
        peer.sock.settimeout(0.2)
        for number in range(100_000):
            try:
                peer.sock.sendall(
                    json.dumps({"type": "push", "data": [number, "x" * 10_000]}).encode() + b"\n"
                )
            except TimeoutError:
                return number
            finally:
                self.sent = number
        self.fail("the client reads without end")

    def test_the_reader_stops_so_that_the_server_feels_it(self) -> None:
        client, peer = self.connected(queue_limit=50_000)
        self.assertIsNone(client.next_push(0.0))  # From here on somebody listens.
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        whole = self.fill(peer)
        # All that was sent whole is there: nothing is given up while nobody calls.
        self.assertEqual([data[0] for data in self.taken(client, whole)], list(range(whole)))

    def test_a_call_gets_its_answer_from_behind_the_pushes(self) -> None:
        """By the very thread that should take them: it must not wait for itself."""
        client, peer = self.connected(queue_limit=50_000)
        self.assertIsNone(client.next_push(0.0))
        for number in range(40):  # 400 kB: over the limit, under the hard one.
            peer.say(type="push", data=[number, "x" * 10_000])
        call = InThread(client.call, "x")
        question = peer.read()
        for number in range(40, 60):
            peer.say(type="push", data=[number, "x" * 10_000])
        peer.say(ok=1, id=question["id"])
        self.assertEqual(call.result(), {"ok": 1})
        self.assertEqual([data[0] for data in self.taken(client, 60)], list(range(60)))
        self.assertEqual(self.events, [])

    def test_over_the_hard_limit_the_oldest_go_and_that_is_told_first(self) -> None:
        client, peer = self.connected(queue_limit=10_000)
        self.assertIsNone(client.next_push(0.0))
        call = InThread(client.call, "x")
        question = peer.read()
        for number in range(100):
            peer.say(type="push", data=[number, "x" * 10_000])
        peer.say(ok=1, id=question["id"])
        call.result()
        first = client.next_event(DEADLINE)
        assert isinstance(first, Event)
        kept = 10_000 * HARD_LIMIT // 10_100
        self.assertEqual((first.type, first.fields["by"]), ("dropped", "client"))
        self.assertAlmostEqual(first.fields["count"], 100 - kept, delta=2)
        rest = self.taken(client, 100 - first.fields["count"])
        self.assertEqual([data[0] for data in rest], list(range(first.fields["count"], 100)))

    def test_a_client_that_only_calls_is_not_stopped_by_pushes(self) -> None:
        client, peer = self.connected(queue_limit=10_000)
        for number in range(100):
            peer.say(type="push", data=[number, "x" * 10_000])
        peer.say(type="ping")
        self.assertEqual(peer.read(), {"pong": True})  # It has read them all.
        call = InThread(client.call, "x")
        peer.answer(ok=1)
        self.assertEqual(call.result(), {"ok": 1})
        self.assertEqual([data[0] for data in self.taken(client, 1)], [99])
        self.assertEqual(self.events, ["dropped"])


def in_child(function: Callable[[], Any]) -> Callable[[], Any]:
    """Fork; return what waits for the child and returns what `function` returned there."""
    near, far = socket.socketpair()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of forks and threads: that is what is tested.
        pid = os.fork()
    if pid == 0:
        try:
            value = function()
        except BaseException as error:
            value = f"{type(error).__name__}: {error}"
        far.sendall(json.dumps(value).encode())
        os._exit(0)
    far.close()

    def result() -> Any:
        near.settimeout(DEADLINE)
        try:
            return json.loads(b"".join(iter(lambda: near.recv(65536), b"")))
        except TimeoutError:
            raise AssertionError("the child hangs") from None
        finally:
            near.close()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    return result


class FrozenPaths(ClientTestCase):
    """Something in between keeps both connections open and passes nothing on."""

    PING: dict[str, str] = {"type": "ping"}

    def test_a_call_learns_that_the_connection_is_lost_before_its_timeout(self) -> None:
        client, peer = self.connected(ping_interval=0.02)
        call = InThread(client.call, "add", timeout=DEADLINE * 2)
        while peer.read() != self.PING:
            pass
        with self.assertRaisesRegex(ConnectionLost, "no answer to a ping for 0.02 s") as caught:
            call.result()
        self.assertTrue(caught.exception.may_have_run)

    def test_who_only_listens_comes_back_and_resumes(self) -> None:
        client, _ = self.subscribed("news", ping_interval=0.02)
        taken = InThread(self.taken, client, 1)
        other = self.accept()
        question = other.read()
        self.assertEqual(question["data"], {"topic": "news", "since": "e-10"})
        other.say(type="subscribed", topic="news", id="e-10", count=1)
        other.publish("news", 11)
        self.assertEqual(taken.result(), [11])

    def test_whatever_comes_is_an_answer(self) -> None:
        client, peer = self.connected(ping_interval=0.02)
        call = InThread(client.call, "slow", timeout=DEADLINE)
        question = peer.read()
        for answer in ({"type": "pong"}, {"type": "push", "data": 1}, {"type": "ping"}):
            while peer.read() != self.PING:
                pass
            peer.say(**answer)
        peer.say(id=question["id"], done=True)
        self.assertEqual(call.result(), {"done": True})

    def test_without_an_interval_there_is_no_ping(self) -> None:
        link = self.connected(ping_interval=0)[0]._reader
        self.assertEqual(link._ping_interval, float("inf"))

    def test_our_server_answers_while_it_works_on_a_command(self) -> None:
        pings, go_on = threading.Semaphore(0), threading.Event()
        router = Router()

        @router.register("slow", protocol="tcp")
        def slow(request: Any) -> str:
            go_on.wait(DEADLINE)
            return "done"

        heed = MessageChannel._heed

        def count(channel: MessageChannel, signal: Any) -> None:
            heed(channel, signal)
            pings.release()

        with (
            mock.patch.object(MessageChannel, "_heed", count),
            running_server(router, tcp_keep_alive=True) as server,
            TCPClient(*server.tcp_address, ping_interval=0.02) as client,
        ):
            call = InThread(client.call, "slow")
            for _ in range(4):
                self.assertTrue(pings.acquire(timeout=DEADLINE))
            go_on.set()
            self.assertEqual(call.result(), "done")


@unittest.skipUnless(hasattr(os, "fork"), "there is no fork here")
class Forks(ClientTestCase):
    """A client that was used before a fork: in the child it begins anew."""

    def expect_untouched(self, client: TCPClient, peer: Peer) -> None:
        """The parent's connection is open, and nothing was said on it."""
        call = InThread(client.call, "parent")
        self.assertEqual(peer.answer(mine=1)["command"], "parent")
        self.assertEqual(call.result(), {"mine": 1})

    def test_each_process_has_a_connection_and_gets_its_own_answers(self) -> None:
        client, peer = self.connected()
        ours = InThread(client.call, "parent")
        question = peer.read()
        child = in_child(lambda: [client.call("child"), client.call("again")])
        other = self.accept()
        self.assertEqual(other.answer(of="child"), {"command": "child", "data": None, "id": 1})
        self.assertEqual(other.answer(of="again")["id"], 2)
        self.assertEqual(child(), [{"of": "child"}, {"of": "again"}])
        peer.say(id=question["id"], of="parent")
        self.assertEqual(ours.result(), {"of": "parent"})
        self.expect_untouched(client, peer)

    def test_no_lock_of_the_parent_holds_up_the_child(self) -> None:
        client, peer = self.connected()
        link = client._reader.link
        assert link is not None
        locks = [link._writing, link._io, client._once_lock]
        for lock in locks:
            lock.acquire()
        child = in_child(lambda: client.call("child", timeout=DEADLINE / 2))
        for lock in locks:
            lock.release()
        self.accept().answer(ok=True)
        self.assertEqual(child(), {"ok": True})
        self.expect_untouched(client, peer)

    def test_a_fork_waits_for_the_message_that_is_being_taken(self) -> None:
        client, peer = self.connected()
        reader = client._reader
        reader.lock.acquire()
        timer = threading.Timer(0.01, reader.lock.release)
        timer.start()
        child = in_child(lambda: client.call("child", timeout=DEADLINE / 2))
        self.accept().answer(ok=True)
        self.assertEqual(child(), {"ok": True})
        timer.join()
        self.expect_untouched(client, peer)

    def test_forks_at_any_moment_of_a_conversation(self) -> None:
        client, peer = self.connected()
        over = threading.Event()

        def talk() -> None:
            with contextlib.suppress(ConnectionLost):
                while not over.is_set():
                    client.call("parent")

        def answer() -> None:
            with contextlib.suppress(AssertionError, OSError):
                while True:
                    peer.say(type="push", data=1)
                    peer.answer()

        threads = [InThread(talk), InThread(answer)]
        for number in range(10):
            child = in_child(lambda number=number: client.call("child", number, timeout=DEADLINE))
            with self.server.accept() as other:
                self.assertEqual(other.answer()["data"], number)
                child()
        over.set()
        threads[0].result()
        client.close()
        threads[1].result()

    def test_the_end_in_the_child_is_not_the_parents(self) -> None:
        for end in (lambda c: c.close(), lambda c: c.__exit__(None, None, None)):
            client, peer = self.connected()
            self.assertIs(in_child(lambda c=client, e=end: e(c) or c.is_closed)(), True)
            self.expect_untouched(client, peer)

    def test_a_connection_for_one_call_is_not_ended_by_the_child(self) -> None:
        client = self.client(keep_alive=False)
        call = InThread(client.call, "parent")
        peer = self.accept()
        question = peer.read()
        self.assertIsNone(in_child(client.close)())
        peer.say(id=question["id"], ok=True)
        self.assertEqual(call.result(), {"ok": True})

    def test_the_child_keeps_no_copy_of_the_connection(self) -> None:
        """Else its server would hear of the parent's end when the child ends, too."""
        client, peer = self.connected()
        link = client._reader.link
        assert link is not None
        number = link._sock.fileno()

        def is_open() -> bool:
            with contextlib.suppress(OSError):
                os.fstat(number)
                return True
            return False

        self.assertIs(in_child(is_open)(), False)
        self.expect_untouched(client, peer)

    def test_a_push_of_the_parent_is_not_acknowledged_by_the_child(self) -> None:
        client, peer = self.connected(auto_ack=False)
        peer.say(type="push", ack="a1", data=1)
        push = client.next_push(DEADLINE)
        assert push is not None
        self.assertIs(in_child(push.ack)(), False)
        self.expect_untouched(client, peer)
        self.assertTrue(push.ack())
        self.assertEqual(peer.read(), {"ack": "a1"})

    def test_who_takes_pushes_in_the_child_hears_the_topics_of_the_parent(self) -> None:
        """From where the parent was at the fork, on a connection of its own."""
        client, peer = self.subscribed("news")
        peer.publish("news", 2)
        wait_until(lambda: client.subscriptions == {"news": "e-2"}, "it has come")

        def take() -> list[Any]:
            return [push.data for push in itertools.islice(client, 2)]

        child = in_child(take)
        other = self.accept()
        self.assertEqual(other.confirm("e-2"), {"topic": "news", "since": "e-2"})
        other.publish("news", 3)
        self.assertEqual(child(), [2, 3])
        peer.publish("news", 3)
        self.assertEqual(take(), [2, 3])

    def test_a_child_that_only_calls_hears_none(self) -> None:
        client, peer = self.subscribed("news")
        child = in_child(lambda: [client.call("child"), list(client.subscriptions)])
        self.assertEqual(self.accept().answer()["command"], "child")
        self.assertEqual(child(), [{}, ["news"]])
        self.expect_untouched(client, peer)

    def test_a_topic_that_the_child_may_not_hear_is_an_error_once(self) -> None:
        client, _ = self.subscribed("news")

        def take() -> Any:
            with contextlib.suppress(CallError):
                client.next_push(0)
                return "no error"
            return [client.next_push(0), client.subscriptions]

        child = in_child(take)
        self.accept().answer(error="no", code="forbidden")
        self.assertEqual(child(), [None, {}])

    def test_a_closed_client_is_closed_in_the_child(self) -> None:
        client, _ = self.connected()
        client.close()
        self.assertEqual(
            in_child(lambda: client.call("x"))(), "ConnectionLost: the client is closed"
        )


@unittest.skipUnless(shutil.which("openssl"), "needs openssl to make a certificate")
class OverTls(ClientTestCase):
    """As behind a TLS proxy: one end is `ssl` in its blocking way, the other is the client."""

    def setUp(self) -> None:
        super().setUp()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.certificate, key = f"{folder}/cert.pem", f"{folder}/key.pem"
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        files = ["-keyout", key, "-out", self.certificate]
        subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, key)

    def accept(self) -> Peer:
        sock = self.server.accept().sock
        return self.stack.enter_context(Peer(self.context.wrap_socket(sock, server_side=True)))

    def test_it_is_the_same_conversation(self) -> None:
        trusted = ssl.create_default_context(cafile=self.certificate)
        client, peer = self.subscribed("t", ssl_context=trusted)
        calls = [InThread(client.call, "x", [n, "x" * 200_000]) for n in range(8)]
        for number in range(11, 41):  # While the others send.
            peer.say(type="push", topic="t", id=f"e-{number}", data=[number, "y" * 20_000])
        for _ in calls:
            question = peer.read()
            peer.say(n=question["data"][0], id=question["id"])
        self.assertEqual([call.result()["n"] for call in calls], list(range(8)))
        self.assertEqual([data[0] for data in self.taken(client, 30)], list(range(11, 41)))
        peer.sock.close()
        peer = self.accept()
        self.assertEqual(peer.confirm("e-40")["since"], "e-40")

    def test_a_certificate_that_is_not_trusted_is_no_connection(self) -> None:
        client = self.client(ssl_context=ssl.create_default_context())
        call = InThread(client.call, "x")
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            self.accept()
        with self.assertRaisesRegex(ConnectionLost, "(?i)no connection to .*certificate"):
            call.result()


class ItemQueueAlone(unittest.TestCase):
    def test_order_limits_and_counts(self) -> None:
        queue = ItemQueue(1000)
        queue.has_taker = True
        items = [Event(str(number)) for number in range(200)]
        for item in items[:5]:
            queue.put(item, 100)
            self.assertEqual(queue.is_full, False)
        queue.put(items[5], 100)
        self.assertTrue(queue.is_full)
        self.assertIs(queue.take(), items[0])
        self.assertFalse(queue.is_full)
        self.assertFalse(queue.has_room)  # Only at half of it, or it would stop at each message.
        for item in items[1:4]:
            self.assertIs(queue.take(), item)
        self.assertTrue(queue.has_room)
        queue.clear()
        self.assertIsNone(queue.take())

    def test_one_item_is_kept_however_large_it_is(self) -> None:
        queue = ItemQueue(10)
        queue.put(Event("a"), 10_000)
        queue.put(Event("b"), 10_000)
        first, second, third = queue.take(), queue.take(), queue.take()
        assert isinstance(first, Event) and isinstance(second, Event)
        self.assertEqual((first.type, first.fields["count"], second.type), ("dropped", 1, "b"))
        self.assertIsNone(third)


class LinkAlone(unittest.TestCase):
    LINES = (b"{}", b"", b"ab", b'{"a": "\xc3\xa9"}', b"x" * 20)

    def lines(self, pieces: list[bytes], limit: int = 100) -> list[bytes]:
        """Send pieces one by one, each read before the next; return the lines, and the end."""
        near, far = socket.socketpair()
        link = Link(near, limit)
        found = []
        with far:
            waiting = iter(pieces)

            def receive(*_: object) -> bytes:
                for piece in waiting:
                    if piece:
                        far.sendall(piece)
                        return near.recv(65536)
                return b""

            with mock.patch.object(link, "_receive", receive):
                try:
                    for line in link.lines():
                        found.append(line)
                finally:
                    link.close()
        return found

    def test_lines_come_whole_wherever_they_were_cut(self) -> None:
        data = b"".join(line + b"\n" for line in self.LINES)
        expected = list(self.LINES)
        self.assertEqual(self.lines([data]), expected)
        self.assertEqual(self.lines([data[i : i + 1] for i in range(len(data))]), expected)
        for cut in range(len(data)):
            self.assertEqual(self.lines([data[:cut], data[cut:]]), expected, cut)

    def test_an_end_inside_a_line_is_a_loss(self) -> None:
        with self.assertRaisesRegex(ConnectionError, "inside a message"):
            self.lines([b"{}\n{", b"}"])

    def test_a_line_over_the_limit_is_lost_at_once(self) -> None:
        self.assertEqual(self.lines([b"x" * 10 + b"\n"], 10), [b"x" * 10])
        for pieces in ([b"x" * 11], [b"x" * 6, b"x" * 5], [b"x" * 11 + b"\n"]):
            with self.assertRaisesRegex(FrameTooLong, "over 10 bytes"):
                self.lines(pieces, 10)

    def test_sending_has_a_deadline(self) -> None:
        near, far = socket.socketpair()
        link = Link(near, 100)
        with far:
            with self.assertRaises(TimeoutError):
                link.send(b"x" * 10_000_000, 0.0)
            with self.assertRaises(TimeoutError):
                next(link.lines(0.0))
            link.close()

    def test_what_the_reader_has_to_say_goes_behind_a_message_that_is_being_sent(self) -> None:
        near, far = socket.socketpair()
        link = Link(near, 100)
        far.settimeout(DEADLINE)
        with far, far.makefile("rb") as lines:
            sender = InThread(link.send, b"x" * 4_000_000 + b"\n", 1e12)
            wait_until(lambda: link._unsent, "it sends")
            reader = InThread(lambda: [link.send_soon(b"pong\n") for _ in link.lines()])
            far.sendall(b"ping\n")
            wait_until(lambda: link._later, "the reader has found that somebody sends")
            self.assertEqual(len(lines.readline()), 4_000_001)
            self.assertEqual(lines.readline(), b"pong\n")
            sender.result()
            far.sendall(b"ping\n")  # It reads on, and has not been waiting.
            self.assertEqual(lines.readline(), b"pong\n")
            far.shutdown(socket.SHUT_WR)
            reader.result()
        link.close()

    def test_who_waits_for_room_to_send_hears_of_the_end(self) -> None:
        near, far = socket.socketpair()
        link = Link(near, 100)
        with far:
            sender = InThread(link.send, b"x" * 4_000_000, 1e12)
            wait_until(
                lambda: link._unsent and not select.select([], [near], [], 0)[1], "there is no room"
            )
            link.close()
            with self.assertRaises(OSError):
                sender.result()

    def test_after_the_end_sending_is_an_error(self) -> None:
        near, far = socket.socketpair()
        link = Link(near, 100)
        far.close()
        with self.assertRaises(OSError):
            for _ in range(1000):
                link.send(b"x" * 10_000, 1e12)
        link.close()
        with self.assertRaises(OSError):
            link.send(b"x", 1e12)
        link.send_soon(b"x")  # Nothing to be done, nothing raised.
        link.abort()


class BackoffAlone(unittest.TestCase):
    def test_it_doubles_up_to_the_longest_and_begins_again(self) -> None:
        backoff = Backoff(0.1, 1.0, jitter=lambda: 0.0)
        delays = [round(backoff.next_delay(), 3) for _ in range(6)]
        self.assertEqual(delays, [0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
        backoff.reset()
        self.assertEqual(backoff.next_delay(), 0.1)

    def test_up_to_a_half_is_taken_off_at_random(self) -> None:
        self.assertEqual(Backoff(1.0, jitter=lambda: 1.0).next_delay(), 0.5)
        delays = {Backoff(1.0).next_delay() for _ in range(20)}
        self.assertGreater(len(delays), 1)
        self.assertTrue(all(0.5 <= delay <= 1.0 for delay in delays), delays)

    def test_a_server_that_only_hangs_up_is_asked_less_and_less_often(self) -> None:
        """Only an answer or a push is a success: to be let in and thrown out is none."""
        case = ClientTestCase()
        case.setUp()
        self.addCleanup(case.doCleanups)
        backoff = Backoff(0.001, 0.002)
        client, peer = case.subscribed("t", backoff=backoff)
        with mock.patch.object(backoff, "reset") as reset:
            for _ in range(5):
                peer.say(type="closing", reason="refused", text="go away")
                peer.close()
                peer = case.accept()
            reset.assert_not_called()
            peer.confirm("e-10")
            peer.publish("t", 11)
            case.taken(client, 1)
            reset.assert_called()


class SubscriptionAlone(unittest.TestCase):
    def test_what_it_covers(self) -> None:
        pattern, topic = Subscription("room:*", None, None), Subscription("room:1", None, None)
        for name, by_pattern, by_topic in (
            ("room:1", True, True),
            ("room:12", True, False),
            ("room:", True, False),
            ("room", False, False),
        ):
            self.assertEqual((pattern.covers(name), topic.covers(name)), (by_pattern, by_topic))

    def test_what_it_has_had(self) -> None:
        mine = Subscription("t", "e-50", None)
        self.assertFalse(mine.has_had("e-30"))  # Nothing yet: another may bring it.
        mine.confirm("e-52")
        mine.last = "e-60"
        found = [n for n in range(40, 70) if mine.has_had(f"e-{n}")]
        self.assertEqual(found, list(range(53, 61)))
        self.assertFalse(mine.has_had("f-55"))
        mine.confirm("e-65")  # It has come back: what it has had before it still has.
        self.assertTrue(mine.has_had("e-55"))
        mine.confirm("f-3")  # After a restart: positions of the other epoch mean nothing.
        self.assertFalse(mine.has_had("e-55") or mine.has_had("f-3"))


class Events(unittest.TestCase):
    def test_an_event_is_a_sentence(self) -> None:
        self.assertEqual(str(Event("subscribed", topic="t", id="e-1")), "subscribed to t")
        self.assertEqual(str(Event("closing", reason="idle")), "closing {'reason': 'idle'}")
        self.assertEqual(Event("x", self=1, type=2).fields, {"self": 1, "type": 2})
        self.assertIn("lost", repr(Event("lost")))

    def test_a_push_shows_what_it_has(self) -> None:
        push = Push({"topic": "t", "data": 0}, lambda answer: True)
        self.assertEqual(repr(push), "<Push {'topic': 't', 'data': 0}>")


def _sentences() -> Iterator[str]:
    from pyliteflux.client.events import LOSSES, SENTENCES

    return (name for name in LOSSES if name not in SENTENCES)


class Tables(unittest.TestCase):
    def test_each_loss_has_a_sentence(self) -> None:
        self.assertEqual(list(_sentences()), [])


if __name__ == "__main__":
    unittest.main()
