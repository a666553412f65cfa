"""tcp_client: calls, one connection for each of them, forks, TLS."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest
import warnings
from collections.abc import Callable
from typing import Any

from pyliteflux.client import TCPClient
from pyliteflux.errors import CallError, ConnectionLost, FrameTooLong
from tests.client.peers import ClientTestCase, InThread, Peer
from tests.support import (
    DEADLINE,
    new_threads,
    wait_until,
)


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


if __name__ == "__main__":
    unittest.main()
