"""reader: the thread that hears, comes back, resumes, and leaves nobody waiting."""

from __future__ import annotations

import itertools
import json
import logging
import socket
import threading
import time
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

from pyliteflux import Router
from pyliteflux.channels.message_channel import MessageChannel
from pyliteflux.client import TCPClient
from pyliteflux.client.events import Event, Push
from pyliteflux.client.item_queue import HARD_LIMIT
from pyliteflux.client.link import Backoff, Link
from pyliteflux.errors import CallError, ConnectionLost
from tests.client.peers import ClientTestCase, InThread, Peer
from tests.support import (
    DEADLINE,
    new_threads,
    running_server,
    wait_until,
)


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


class FrozenPaths(ClientTestCase):
    """Something in between keeps both connections open and passes nothing on."""

    PING: dict[str, str] = {"type": "ping"}

    def test_who_calls_and_who_listens_learn_that_the_connection_is_lost(self) -> None:
        client, peer = self.subscribed("news", ping_interval=0.5)
        call = InThread(client.call, "add", timeout=DEADLINE * 2)
        self.assertEqual(peer.read()["command"], "add")
        self.assertEqual(peer.read(), self.PING)
        with self.assertRaisesRegex(ConnectionLost, "no answer to a ping for 0.5 s") as caught:
            call.result()
        self.assertTrue(caught.exception.may_have_run)
        other = self.accept()
        self.assertEqual(other.confirm("e-10"), {"topic": "news", "since": "e-10"})
        other.publish("news", 11)
        self.assertEqual(self.taken(client, 1), [11])

    def silence(self, client: TCPClient, times: int) -> str:
        """Let the reader hear nothing; return why it gives the connection up, if it does."""
        link = client._reader.link
        assert link is not None
        try:
            client._reader._on_silence(link, times)
        except TimeoutError as error:
            return str(error)
        return ""

    def test_one_question_does_not_excuse_a_server(self) -> None:
        client, peer = self.connected(ping_interval=1000)
        self.assertEqual(self.silence(client, 1), "")
        self.assertEqual(peer.read(), self.PING)
        self.assertIn("no answer to a ping", self.silence(client, 2))
        call = InThread(client.call, "slow")
        question = peer.read()
        self.assertIn("no answer to a ping", self.silence(client, 2))
        peer.say(id=question["id"])
        call.result()

    def test_behind_several_that_are_awaited_a_ping_may_wait_as_well(self) -> None:
        client, peer = self.connected(ping_interval=1000)
        patient, go_on = InThread(client.call, "slow", timeout=DEADLINE), threading.Event()

        def impatient() -> None:
            link = client._reader.link
            call = client._reader.new_call()
            client._reader.await_link(time.monotonic() + DEADLINE, call)
            assert link is not None
            link.send(b'{"id": %d}\n' % call.id, time.monotonic() + DEADLINE, call.id)
            go_on.wait(DEADLINE)
            client._reader.forget(call)

        first = peer.read()
        other = InThread(impatient)
        peer.read()
        self.assertEqual(self.silence(client, 2), "")
        self.assertEqual(self.silence(client, 3), "")
        go_on.set()
        other.result()
        self.assertIn("no answer to a ping", self.silence(client, 4))
        peer.say(id=first["id"])
        patient.result()

    def test_what_the_reader_has_asked_itself_is_no_excuse(self) -> None:
        client, peer = self.subscribed("a", "b", ping_interval=1000)
        peer.close()
        other = self.accept()
        questions = [other.read(), other.read()]
        self.assertEqual({one["command"] for one in questions}, {"subscribe"})
        self.assertIn("no answer to a ping", self.silence(client, 2))

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
            TCPClient(*server.tcp_address, ping_interval=0.5) as client,
        ):
            call = InThread(client.call, "slow")
            for _ in range(2):
                self.assertTrue(pings.acquire(timeout=DEADLINE))
            go_on.set()
            self.assertEqual(call.result(), "done")


if __name__ == "__main__":
    unittest.main()
