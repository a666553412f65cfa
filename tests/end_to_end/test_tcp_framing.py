"""Other framings, through the whole server: length prefixes, a user's own, a change on the way.

In a simulated world, where a test decides how the bytes are cut and what time it is, and over
real sockets. Contract T1, T5; limits 20 to 23. Chapter: docs/tcp.md.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import unittest
from collections.abc import Iterator
from typing import Any

from pyliteflux import (
    BadMessage,
    BufferedFramer,
    ConfigError,
    Frame,
    HTTPError,
    HTTPResponse,
    LengthFramer,
    ProtocolError,
    RouteError,
    Router,
    Server,
)
from pyliteflux.__main__ import _setting
from pyliteflux.protocol.push import Announcement, PushFrame
from pyliteflux.why import CloseReason
from tests.fakes import Peer, Simulation
from tests.support import ServerTestCase, captured_logs, make_server, wait_until


class Netstrings(BufferedFramer):
    """``5:hello,``."""

    def cut(self) -> Frame | None:
        colon = self.find(b":")
        if colon < 0:
            return None
        if not self.buffer[:colon].isdigit():
            raise ProtocolError("a netstring begins with its length")
        end = colon + 1 + int(self.buffer[:colon])
        if len(self.buffer) <= end:
            return None
        message = self.take(end + 1)
        if message[-1:] != b",":
            raise ProtocolError("a netstring ends with a comma")
        return Frame("binary", message[colon + 1 : -1])

    def wrap(self, data: bytes) -> bytes:
        return b"%d:%b," % (len(data), data)


class Quads(BufferedFramer):
    """Four bytes each; the answers are not framed at all."""

    def cut(self) -> Frame | None:
        if len(self.buffer) < 4:
            return None
        quad = self.take(4)
        if quad == b"fail":
            raise BadMessage("this one I refuse")
        return Frame("binary", quad)


def sized(*messages: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(message)) + message for message in messages)


def split(data: bytes) -> list[bytes]:
    """Take sized messages apart; fail where they are not whole."""
    messages = []
    while data:
        (length,) = struct.unpack_from(">I", data)
        assert len(data) >= 4 + length, data
        messages.append(data[4 : 4 + length])
        data = data[4 + length :]
    return messages


class FramingCase(unittest.TestCase):
    """A simulation when asked for; commands for all tests."""

    def setUp(self) -> None:
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.logs = self.stack.enter_context(captured_logs())
        self.requests: list[Any] = []
        router = self.router = Router()

        @router.register("echo", protocol="tcp")
        def echo(request: Any) -> Any:
            self.requests.append(request)
            return request.data

        @router.register("count", protocol="tcp")
        def count(request: Any) -> Iterator[Any]:
            yield 1
            yield "two"

        @router.register("raise", protocol="tcp")
        def fail(request: Any) -> Any:
            raise HTTPError(403, "no")

        @router.register("unwritable", protocol="tcp")
        def unwritable(request: Any) -> Any:
            return [object()]

    def simulate(self, **settings: Any) -> Simulation:
        settings = {"tcp_keep_alive": True, **settings}
        return self.stack.enter_context(Simulation(self.router, **settings))

    def tell(self, simulation: Simulation, *pieces: bytes, **options: Any) -> Peer:
        """Connect and send, the server doing all that it can after each piece."""
        peer = simulation.tcp(**options)
        for piece in pieces:
            peer.send(piece)
            simulation.settle()
        return peer

    def take_all(self) -> None:
        """Register a route that takes every message, and answers its bytes the other way round."""

        @self.router.register("*", protocol="tcp")
        def everything(request: Any) -> Any:
            self.requests.append(request)
            return request.raw[::-1]


class Length(FramingCase):
    """tcp_framing="length"."""

    def test_each_format_is_answered_in_its_own_and_with_its_length(self) -> None:
        simulation = self.simulate(tcp_framing="length")
        peer = self.tell(
            simulation,
            sized(
                b'{"command": "echo", "data": [1], "id": 7}',
                b'<request command="echo"><a>1</a></request>',
                b"echo hello\nworld",
                b'{"command": "nothing"}',
                b"nothing",
            ),
        )
        self.assertEqual(
            split(peer.take()),
            [
                b'{"id": 7, "data": [1]}',
                b"<response><a>1</a></response>",
                b"hello\nworld",
                b'{"error": "Command not found", "code": "unknown_command"}',
                b'{"error": "Command not found", "code": "unknown_command"}',
            ],
        )

    def test_wherever_tcp_cuts_the_answers_are_the_same(self) -> None:
        simulation = self.simulate(tcp_framing="length")
        stream = sized(b'{"command": "echo", "data": "}"}', b"", b"echo hi")
        for cut in range(1, len(stream)):
            peer = self.tell(simulation, stream[:cut], stream[cut:])
            self.assertEqual(split(peer.take()), [b'"}"', b"hi"], cut)

    def test_a_bad_message_is_one_error_and_the_next_is_answered(self) -> None:
        simulation = self.simulate(tcp_framing="length")
        deep = b'{"a":' + b"[" * 99 + b"]" * 99 + b"}"
        peer = self.tell(
            simulation, sized(b"{]", deep, b"<a>", b"<request/>", b"{} {}", b"echo next")
        )
        answers = split(peer.take())
        self.assertEqual(answers.pop(), b"next")
        self.assertEqual(len(answers), 5)
        for answer in answers:
            self.assertIn(b"bad_message", answer)

    def test_a_length_over_the_limit_is_told_and_closed_at_once(self) -> None:
        simulation = self.simulate(tcp_framing="length", tcp_max_message=100)
        peer = self.tell(simulation, sized(b"echo hi") + struct.pack(">I", 101))
        answers = split(peer.take())
        self.assertEqual(answers[0], b"hi")
        self.assertEqual(json.loads(answers[1])["code"], "message_too_large")
        self.assertTrue(peer.saw_fin)

    def test_a_stream_of_nothing_but_empty_messages_is_no_message(self) -> None:
        simulation = self.simulate(tcp_framing="length", tcp_message_timeout=10)
        peer = self.tell(simulation, bytes(400_000))
        simulation.advance(20)
        self.assertEqual((peer.take(), peer.saw_fin), (b"", False))

    def test_a_stream_is_one_message_for_each_item(self) -> None:
        simulation = self.simulate(tcp_framing="length")
        peer = self.tell(simulation, sized(b'{"command": "count"}', b"count", b'{"command": "x"}'))
        answers = split(peer.take())
        self.assertEqual([json.loads(answer).get("data") for answer in answers[:2]], [1, "two"])
        self.assertEqual(
            answers[2:5], [b'{"type": "end"}', b"1", b"two"], "a line's end is not told"
        )

    def test_errors_of_handlers_are_framed_too(self) -> None:
        simulation = self.simulate(tcp_framing="length")
        peer = self.tell(simulation, sized(b"raise", b'{"command": "unwritable"}'))
        errors = [json.loads(answer) for answer in split(peer.take())]
        self.assertEqual([error.get("status") for error in errors], [403, None])
        self.assertEqual(errors[1]["code"], "internal")

    def test_too_many_connections_are_told_so_with_a_length(self) -> None:
        simulation = self.simulate(tcp_framing="length", max_connections=1)
        self.tell(simulation, b"")
        peer = self.tell(simulation, b"")
        self.assertEqual(json.loads(split(peer.take())[0])["code"], "busy")

    def test_a_handler_that_hangs_is_told_with_a_length(self) -> None:
        simulation = self.simulate(tcp_framing="length", handler_timeout=5)
        peer = simulation.tcp()
        peer.send(sized(b"echo hi"))
        simulation.settle(jobs=False)
        simulation.advance(6, jobs=False)
        self.assertEqual(json.loads(split(peer.take())[0])["code"], "timeout")
        simulation.settle()

    def test_without_keep_alive_one_message_is_answered(self) -> None:
        simulation = self.simulate(tcp_framing="length", tcp_keep_alive=False)
        peer = self.tell(simulation, sized(b"echo a", b"echo b"))
        self.assertEqual(split(peer.take()), [b"a"])
        self.assertTrue(peer.saw_fin)

    def test_what_is_pushed_is_wrapped_once_for_all(self) -> None:
        wraps: list[bytes] = []

        class Counting(LengthFramer):
            def wrap(self, data: bytes) -> bytes:
                wraps.append(data)
                return super().wrap(data)

        simulation = self.simulate(tcp_framing=Counting)
        peers = [self.tell(simulation, sized(b'{"command": "echo"}')) for _ in range(3)]
        by_xml = self.tell(simulation, sized(b'<request command="echo">a</request>'))
        for peer in (*peers, by_xml):
            peer.take()
        wraps.clear()
        simulation.server.push_message({"a": 1})
        simulation.settle()
        for peer in peers:
            self.assertEqual(split(peer.take()), [b'{"type": "push", "data": {"a": 1}}'])
        self.assertEqual(split(by_xml.take()), [b"<push><a>1</a></push>"])
        self.assertEqual(len(wraps), 2)

    def test_what_waits_for_a_slow_client_stays_framed(self) -> None:
        simulation = self.simulate(
            tcp_framing="length",
            slow_client_policy="drop_oldest",
            tcp_send_limit=20_000,
            write_high_water=5000,
            write_low_water=1000,
        )
        peer = self.tell(simulation, sized(b'{"command": "echo"}'), capacity=1000)
        for number in range(100):
            simulation.server.push_message(f"{number:03}" + "x" * 1000)
            simulation.settle()
        data = b""
        while piece := peer.take():
            data += piece
            simulation.settle()
        told = [json.loads(message) for message in split(data)[1:]]
        dropped = sum(news["count"] for news in told if news["type"] == "dropped")
        arrived = [news["data"][:3] for news in told if news["type"] == "push"]
        self.assertGreater(dropped, 0)
        self.assertEqual(dropped + len(arrived), 100)
        self.assertEqual(arrived, sorted(arrived))

    def test_the_notices_of_the_end_are_framed(self) -> None:
        simulation = self.simulate(tcp_framing="length", tcp_idle_timeout=60)
        peer = self.tell(simulation, sized(b'{"command": "echo"}'))
        peer.take()
        simulation.advance(62)
        self.assertEqual(json.loads(split(peer.take())[0])["reason"], "idle")


class Deadlines(FramingCase):
    """tcp_message_timeout, for each framing: absolute from the first byte of a message."""

    def test_a_message_that_does_not_end_in_time_is_told_and_closed(self) -> None:
        self.take_all()
        for framing, whole, part in (
            ("auto", b"echo a\n", b'{"command"'),
            ("line", b"echo a\n", b"{"),
            ("json", b'{"command": "echo"}', b"{"),
            ("xml", b'<request command="echo"/>', b"<a>"),
            ("length", sized(b"echo a"), b"\0\0"),
            ("length", sized(b"echo a"), sized(b"<a/>")[:-1]),
            (Netstrings, b"1:a,", b"2:a"),
            (Quads, b"abcd", b"abc"),
        ):
            with self.subTest(part, framing=framing):
                simulation = self.simulate(tcp_framing=framing, tcp_message_timeout=10)
                peer = self.tell(simulation, whole + part[:1])
                self.assertNotEqual(peer.take(), b"")
                simulation.advance(6)
                peer.send(part[1:])  # A byte more is no longer time.
                simulation.advance(3)
                self.assertFalse(peer.saw_fin)
                simulation.advance(4)
                self.assertIn(b"timeout", peer.take())
                self.assertTrue(peer.saw_fin)
                story = simulation.server.why(peer.client_id)
                assert story is not None
                self.assertIs(story.reason, CloseReason.READ_TIMEOUT)

    def test_a_client_that_is_between_messages_has_time(self) -> None:
        for framing, whole in (("line", b"echo a\n\n"), ("length", sized(b"echo a", b""))):
            simulation = self.simulate(tcp_framing=framing, tcp_message_timeout=10)
            peer = self.tell(simulation, whole)
            simulation.advance(100)
            self.assertFalse(peer.saw_fin)

    def test_the_end_of_the_stream_inside_a_message_is_one_error(self) -> None:
        self.take_all()
        for framing, part in (
            ("json", b"{"),
            ("length", b"\0"),
            (Netstrings, b"3:"),
            (Quads, b"a"),
        ):
            simulation = self.simulate(tcp_framing=framing)
            peer = simulation.tcp()
            peer.send(part)
            peer.half_close()
            simulation.settle()
            self.assertIn(b"the stream ended inside the message", peer.take())
            self.assertTrue(peer.saw_fin)


class OneFormat(FramingCase):
    """tcp_framing="line", "json" and "xml"."""

    def test_a_line_is_a_line_whatever_it_begins_with(self) -> None:
        self.take_all()
        simulation = self.simulate(tcp_framing="line")
        peer = self.tell(simulation, b"<34>Oct 11 su: failed\n{not json\necho hi\n")
        self.assertEqual(peer.take(), b"deliaf :us 11 tcO>43<\nnosj ton{\nhi\n")
        self.assertEqual({request.data_type for request in self.requests}, {"raw"})

    def test_another_format_is_one_error_a_line(self) -> None:
        for framing, good in (("json", b'{"command": "echo", "data": 1}'),
                              ("xml", b'<request command="echo">1</request>')):  # fmt: skip
            simulation = self.simulate(tcp_framing=framing)
            peer = self.tell(simulation, b"echo 1\n" + good + b"\n" + b"[1]\n" + good)
            answers = peer.take().splitlines()
            self.assertEqual([b"bad_message" in answer for answer in answers], [True, False] * 2)

    def test_a_client_that_has_said_nothing_is_pushed_to_in_the_one_format(self) -> None:
        for framing, push in (
            ("xml", b"<push>1</push>\n"),
            ("json", b'{"type": "push", "data": 1}\n'),
        ):
            simulation = self.simulate(tcp_framing=framing)
            peer = self.tell(simulation, b"")
            simulation.server.push_message(1)
            simulation.settle()
            self.assertEqual(peer.take(), push)


class OfTheUser(FramingCase):
    """A framer of the user's, and the route that takes what has no command."""

    def test_binary_messages_reach_the_route_that_takes_all(self) -> None:
        self.take_all()
        simulation = self.simulate(tcp_framing=Netstrings)
        data = bytes(range(256))
        peer = self.tell(simulation, b"256:" + data + b",0:,4:echo,")
        self.assertEqual(peer.take(), b"256:" + data[::-1] + b",0:,4:ohce,")
        request = self.requests[0]
        self.assertEqual((request.command, request.data_type), ("", "binary"))
        self.assertEqual((request.raw, request.data), (data, data))

    def test_without_a_wrap_bytes_go_out_as_they_are(self) -> None:
        self.take_all()
        simulation = self.simulate(tcp_framing=Quads)
        peer = self.tell(simulation, b"abc\n\n1234\nx")
        self.assertEqual(peer.take(), b"\ncba321\nx\n4"[:8])

    def test_what_a_handler_may_answer_to_binary(self) -> None:
        answers = iter([None, "é", {"a": 1}, b"", 5, ("no", 403)])

        @self.router.register("*", protocol="tcp")
        def everything(request: Any) -> Any:
            return next(answers)

        simulation = self.simulate(tcp_framing=Netstrings)
        peer = self.tell(simulation, b"1:a," * 6)
        self.assertEqual(
            peer.take(),
            b'2:\xc3\xa9,8:{"a": 1},0:,1:5,29:{"data": "no", "status": 403},',
            "None is no answer at all",
        )

    def test_bytes_with_a_status_answer_binary_in_bytes(self) -> None:
        """F13: a device is told NAK, and nothing of our JSON."""
        answers = iter(
            [
                (b"\x15", 400),
                HTTPResponse(b"\xff\x00", status=400),
                (HTTPResponse(b"\xfe"), 503),
                (b"", 204),
            ]
        )

        @self.router.register("*", protocol="tcp")
        def everything(request: Any) -> Any:
            return next(answers)

        simulation = self.simulate(tcp_framing=Netstrings)
        peer = self.tell(simulation, b"1:a," * 4)
        self.assertEqual(peer.take(), b"1:\x15,2:\xff\x00,1:\xfe,0:,")
        self.assertEqual(self.logs.find("cannot be sent"), [])

    def test_an_upgrade_is_refused_in_bytes(self) -> None:
        """F13: with the status of an error nothing changes."""

        @self.router.register("*", protocol="tcp", framing="line")
        def refuse(request: Any) -> Any:
            return b"\x15", 426

        simulation = self.simulate(tcp_framing=Netstrings)
        peer = self.tell(simulation, b"1:a,1:b,")
        self.assertEqual(peer.take(), b"1:\x15,1:\x15,")

    def test_without_the_route_a_binary_message_is_an_unknown_command(self) -> None:
        simulation = self.simulate(tcp_framing=Quads)
        peer = self.tell(simulation, b"abcd")
        self.assertEqual(json.loads(peer.take())["code"], "unknown_command")

    def test_the_route_takes_commands_that_nobody_else_takes(self) -> None:
        self.take_all()
        simulation = self.simulate()
        simulation.server.allow_subscribe("news")
        peer = self.tell(simulation, b'other word\necho a\nsubscribe news\n{"command": "*"}\n')
        lines = peer.take().splitlines()
        self.assertEqual(lines[:2], [b"drow rehto", b"a"])
        self.assertIn(b'"subscribed"', b"".join(lines), "the ready-made commands come first")
        self.assertEqual(json.loads(lines[-1]), '{"command": "*"}'[::-1])

    def test_a_bad_message_is_one_error_and_the_next_is_answered(self) -> None:
        self.take_all()
        simulation = self.simulate(tcp_framing=Quads)
        peer = self.tell(simulation, b"failabcd")
        error, answer = peer.take().split(b"\n")
        self.assertEqual(json.loads(error), {"error": "this one I refuse", "code": "bad_message"})
        self.assertEqual(answer, b"dcba")

    def test_a_lost_stream_is_told_and_closed(self) -> None:
        self.take_all()
        simulation = self.simulate(tcp_framing=Netstrings)
        peer = self.tell(simulation, b"1:a,x:")
        self.assertIn(b"a netstring begins with its length", peer.take())
        self.assertTrue(peer.saw_fin)

    def test_a_framer_that_fails_costs_its_own_connection_and_a_line_in_the_log(self) -> None:
        class Buggy(BufferedFramer):
            def cut(self) -> Frame | None:
                if self.buffer[:1] == b"!":
                    raise ZeroDivisionError("a bug of the user's")
                return Frame("binary", self.take(1))

        self.take_all()
        simulation = self.simulate(tcp_framing=Buggy)
        good, bad = simulation.tcp(), simulation.tcp()
        bad.send(b"!")
        simulation.settle()
        good.send(b"a")
        simulation.settle()
        self.assertEqual(good.take(), b"a")
        self.assertTrue(bad.is_over)
        self.assertTrue(self.logs.find("a bug of the user's"))

    def test_a_wrap_that_fails_costs_nobody_else_the_push(self) -> None:
        class Fragile(LengthFramer):
            def wrap(self, data: bytes) -> bytes:
                if b"boom" in data:
                    raise ZeroDivisionError("a bug of the user's")
                return super().wrap(data)

        @self.router.register("up", protocol="tcp", framing=Fragile)
        def up(request: Any) -> Any:
            return "ok"

        simulation = self.simulate()
        first, bad, last = (self.tell(simulation, b'{"command": "echo"}') for _ in range(3))
        bad.send(b'{"command": "up"}\n')
        simulation.settle()
        for peer in (first, bad, last):
            peer.take()
        simulation.server.push_message("boom")
        simulation.settle()
        for peer in (first, last):
            self.assertEqual(json.loads(peer.take())["data"], "boom")
        self.assertIn(b'{"type": "dropped", "topic": null, "count": 1}', bad.take())
        self.assertFalse(bad.is_over)

    def test_a_wrap_that_fails_for_an_answer_is_an_error_of_ours(self) -> None:
        class Short(LengthFramer):
            prefix = struct.Struct(">B")

        simulation = self.simulate(tcp_framing=Short)
        peer = self.tell(simulation, b"\xfbecho " + b"x" * 246 + b"\x07echo ok")
        peer = self.tell(simulation, b"\x05count\x07echo ok")
        self.assertEqual(peer.take(), b"\x011\x03two\x02ok")


class Chinese(LengthFramer):
    """Messages in GBK, which has no emoji."""

    def sense(self, data: bytes) -> Frame:
        return super().sense(data.decode("gbk").encode())

    def wrap(self, data: bytes) -> bytes:
        return super().wrap(data.decode().encode("gbk"))


class Unwritable(FramingCase):
    """What a framing cannot write costs its clients that message. Contract P4, X2."""

    def start(self, **settings: Any) -> None:
        @self.router.register("up", protocol="tcp", framing=Chinese)
        def up(request: Any) -> Any:
            return "ok"

        @self.router.register("hear", protocol="tcp")
        def hear(request: Any) -> Any:
            request.subscribe("news")
            return "ok"

        @self.router.register("say", protocol="tcp")
        def say(request: Any) -> Any:
            self.server.push_message(request.data)
            return "ok"

        self.simulation = self.simulate(**settings)
        self.server = self.simulation.server
        self.plain = self.tell(self.simulation, b'{"command": "echo"}\n')
        self.chinese = [
            self.tell(self.simulation, b'{"command": "up"}\n' + sized(b'{"command": "hear"}'))
            for _ in range(2)
        ]
        self.take()

    def take(self) -> list[Any]:
        """Return what each has got: the plain one first."""
        self.simulation.settle()
        taken = [[json.loads(line) for line in self.plain.take().splitlines()]]
        for peer in self.chinese:
            data = peer.take()
            if b'"ok"' in data:  # The answer that changes the framing is not framed yet.
                taken.append([])
                continue
            taken.append([json.loads(message.decode("gbk")) for message in split(data)])
        return taken

    def test_a_push_that_cannot_be_written_is_dropped_counted_told_and_logged_once(self) -> None:
        self.start()
        for text in ("\u4f60\u597d", "\U0001f600", "\U0001f601", "\u597d"):
            self.server.push_message(text)
        plain, *chinese = self.take()
        texts = ["\u4f60\u597d", "\U0001f600", "\U0001f601", "\u597d"]
        self.assertEqual([message["data"] for message in plain], texts)
        for messages in chinese:
            got = [message["data"] for message in messages if message["type"] == "push"]
            self.assertEqual(got, ["\u4f60\u597d", "\u597d"])
            told = [message for message in messages if message["type"] == "dropped"]
            self.assertEqual(sum(message["count"] for message in told), 2)
        self.assertEqual(self.server.stats["push_dropped"], 4)
        self.assertEqual(len(self.server.clients), 3)
        lines = self.logs.find("a push cannot be written by Chinese.wrap")
        self.assertEqual(len(lines), 1, lines)

    def test_a_message_of_a_topic_that_cannot_be_written(self) -> None:
        self.start()
        for text in ("a", "\U0001f600", "b"):
            self.server.publish("news", text)
        for messages in self.take()[1:]:
            told = [message.get("data", message.get("count")) for message in messages]
            self.assertEqual(told, ["a", 1, "b"])
            self.assertEqual(messages[1]["topic"], "news")
        self.assertEqual(self.server.topic("news").stats["dropped"], 2)

    def test_pushes_of_a_burst(self) -> None:
        self.start()
        burst = [{"command": "say", "data": text} for text in ("a", "\U0001f600", "b")]
        self.plain.send("".join(json.dumps(one) + "\n" for one in burst).encode())
        plain, *chinese = self.take()
        pushed = [message["data"] for message in plain if message != "ok"]
        self.assertEqual(pushed, ["a", "\U0001f600", "b"])
        for messages in chinese:
            got = [message.get("data", message["type"]) for message in messages]
            self.assertEqual(got, ["a", "dropped", "b"])

    def test_an_ack_of_what_cannot_be_written_is_told_so_at_once(self) -> None:
        self.start()
        client_id = "{}:{}".format(*self.chinese[0].address)
        ack = self.server.push_message("\U0001f600", client_id, ack=True)
        self.simulation.settle()
        self.assertEqual(ack.state, "unwritable")
        self.assertEqual(self.server._desk.hub.find(client_id).pending_acks, 0)

    def test_a_goodbye_that_cannot_be_written_is_not_said(self) -> None:
        self.start()
        client_id = "{}:{}".format(*self.chinese[0].address)
        self.assertTrue(self.server.disconnect(client_id, "\U0001f600"))
        self.assertEqual(self.take()[1], [])
        self.assertTrue(self.chinese[0].saw_fin)

    def test_an_error_with_a_text_that_cannot_be_written_keeps_its_code(self) -> None:
        self.start()
        self.chinese[0].send(sized(b'{"command": 1}', b'{"command": "none"}'))
        codes = [message["code"] for message in self.take()[1]]
        self.assertEqual(codes, ["bad_message", "unknown_command"])

    def test_a_wrap_that_returns_a_text(self) -> None:
        class Text(LengthFramer):
            def wrap(self, data: bytes) -> Any:
                return data.decode() if b'"push"' in data else super().wrap(data)

        simulation = self.simulate(tcp_framing=Text)
        peer = self.tell(simulation, sized(b'{"command": "echo"}'))
        peer.take()
        simulation.server.push_message("x")
        simulation.settle()
        self.assertEqual(json.loads(split(peer.take())[0])["type"], "dropped")
        self.assertTrue(self.logs.find("it has to return bytes"))


class Change(FramingCase):
    """framing= of a route: from its answer on, the connection is cut in another way."""

    def setUp(self) -> None:
        super().setUp()

        @self.router.register("upgrade", protocol="tcp", framing="length")
        def upgrade(request: Any) -> Any:
            if request.data == "refuse":
                raise HTTPError(403, "not you")
            if request.data == "crash":
                raise RuntimeError("on purpose")
            if request.data == "softly":
                return {"error": "no"}, 409
            if request.data == "unwritable":
                return [object()]
            return "upgraded"

        @self.router.register("downgrade", protocol="tcp", framing="line", blocking=False)
        def downgrade(request: Any) -> Any:
            return "downgraded"

        @self.router.register("flow", protocol="tcp", framing="length")
        def flow(request: Any) -> Iterator[str]:
            yield "a"
            if request.data == "crash":
                raise RuntimeError("on purpose")
            yield "b"

    def test_what_follows_the_command_is_cut_in_the_new_way_wherever_tcp_cuts(self) -> None:
        simulation = self.simulate()
        for command, answer in (
            (b"upgrade\n", b"upgraded\n"),
            (b'{"command": "upgrade"}\r\n', b'"upgraded"\n'),
            (b'<request command="upgrade"/>\n', b"<response>upgraded</response>\n"),
        ):
            stream = command + sized(b"echo \n", b'{"command": "echo", "data": 1}')
            for cut in range(1, len(stream)):
                with self.subTest(command, cut=cut):
                    peer = self.tell(simulation, stream[:cut], stream[cut:])
                    data = peer.take()
                    self.assertEqual(data[: len(answer)], answer)
                    self.assertEqual(split(data[len(answer) :]), [b"", b"1"])
                    peer.close()

    def test_a_command_that_fails_changes_nothing(self) -> None:
        simulation = self.simulate()
        for reason in (b"refuse", b"crash", b"softly", b"unwritable"):
            with self.subTest(reason):
                peer = self.tell(simulation, b"upgrade " + reason + b"\necho still lines\n")
                error, answer = peer.take().splitlines()
                self.assertIn(b"error", error)
                self.assertEqual(answer, b"still lines")

    def test_it_may_wait_for_a_worker(self) -> None:
        simulation = self.simulate(worker_queue_limit=1)
        first = simulation.tcp()
        first.send(b"echo a\n")
        simulation.settle(jobs=False)
        second = simulation.tcp()
        second.send(b"upgrade\n" + sized(b"echo 1"))
        simulation.settle(jobs=False)
        self.assertEqual(second.take(), b"")
        simulation.settle()
        self.assertEqual(second.take(), b"upgraded\n" + sized(b"1"))

    def test_it_can_change_back(self) -> None:
        simulation = self.simulate()
        peer = self.tell(
            simulation, b"upgrade\n" + sized(b"echo 1", b"downgrade") + b"{echo\necho 2\nupgrade\n"
            + sized(b"echo 3")
        )  # fmt: skip
        data = peer.take()
        self.assertEqual(data[:9], b"upgraded\n")
        self.assertEqual(data[9:28], sized(b"1", b"downgraded"))
        lines = data[28:].split(b"\n", 3)
        self.assertIn(b"unknown_command", lines[0])
        self.assertEqual(lines[1:], [b"2", b"upgraded", sized(b"3")])

    def test_the_framing_of_a_stream_changes_behind_its_end(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"flow\n" + sized(b"echo 1"))
        self.assertEqual(peer.take(), b"a\nb\n" + sized(b"1"))
        peer = self.tell(simulation, b'{"command": "flow", "data": "crash"}\necho 1\n')
        lines = peer.take().splitlines()
        self.assertEqual(json.loads(lines[1])["code"], "internal")
        self.assertEqual(lines[2:], [b"1"])

    def test_pushes_before_the_answer_come_as_before_and_later_ones_in_the_new_way(self) -> None:
        simulation = self.simulate(write_high_water=1000, write_low_water=100)
        push = simulation.server.push_message
        peer = self.tell(simulation, b'{"command": "echo", "data": 0}\n', capacity=100)
        for _ in range(19):
            push("old" * 100)  # Some of them find no room and wait.
        simulation.settle()
        self.assertIsNotNone(simulation.channel(peer)._pushes)
        peer.send(b'{"command": "upgrade"}\n' + sized(b'{"command": "echo", "data": 1}'))
        simulation.settle()
        push("new")
        simulation.settle()
        data = b""
        while piece := peer.take():
            data += piece
            simulation.settle()
        old, _, new = data.partition(b'"upgraded"\n')
        lines = [json.loads(line) for line in old.splitlines()]
        self.assertEqual(len(lines), 20)
        self.assertEqual({line["data"] for line in lines[1:]}, {"old" * 100})
        answers = [json.loads(message) for message in split(new)]
        self.assertCountEqual(answers, [1, {"type": "push", "data": "new"}])

    def test_the_end_of_the_stream_comes_with_it(self) -> None:
        simulation = self.simulate()
        peer = simulation.tcp()
        peer.send(b"upgrade\n" + sized(b"echo 1") + b"\0")
        peer.half_close()
        simulation.settle()
        data = peer.take().removeprefix(b"upgraded\n")
        answers = split(data)
        self.assertEqual(answers[0], b"1")
        self.assertIn("ended inside", json.loads(answers[1])["error"])
        self.assertTrue(peer.saw_fin)

    def test_a_line_end_that_comes_late_is_not_waited_for(self) -> None:
        simulation = self.simulate(tcp_message_timeout=10)
        peer = self.tell(simulation, b'{"command": "upgrade"}')
        self.assertEqual(peer.take(), b'"upgraded"\n')
        simulation.advance(100)
        self.assertFalse(peer.saw_fin)
        peer.send(b"\n" + sized(b"echo 1"))
        simulation.settle()
        self.assertEqual(split(peer.take()), [b"1"])

    def test_the_story_of_the_connection_names_the_change(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"upgrade\n")
        self.assertIn(
            "the framing changes: LengthFramer", str(simulation.server.why(peer.client_id))
        )

    def test_a_copied_route_keeps_its_framing(self) -> None:
        outer = Router()
        outer.include(self.router)
        route = outer.resolve_command("upgrade")
        assert route is not None
        self.assertEqual(route.framing, "length")


class Refusals(unittest.TestCase):
    """A framing that cannot work is refused before anybody connects."""

    def test_a_bad_setting_is_refused(self) -> None:
        for value in ("lines", "", None, 4, b"line", LengthFramer.__new__(LengthFramer)):
            with self.subTest(value), self.assertRaisesRegex(ConfigError, "tcp_framing"):
                Server(tcp_framing=value)

    def test_the_command_line_takes_a_name(self) -> None:
        self.assertEqual(_setting("tcp_framing=length"), ("tcp_framing", "length"))

    def test_a_function_that_makes_no_framer_stops_the_start_and_leaves_no_port_taken(self) -> None:
        with captured_logs():
            server = make_server(tcp_framing=lambda config: None)
            with self.assertRaisesRegex(ConfigError, "no framer"):
                server.start()
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            router = Router()
            router.register("a", protocol="tcp", framing=lambda config: 5)(lambda request: None)
            server = make_server(router, tcp_port=port)
            for _ in range(2):  # Also not the second time: the port is free.
                with self.assertRaisesRegex(ConfigError, "no framer"):
                    server.start()

    def test_a_bad_framing_of_a_route_is_refused(self) -> None:
        router = Router()
        with self.assertRaisesRegex(RouteError, "auto, line, json, xml, length"):
            router.register("a", protocol="tcp", framing="lines")
        for protocol in ("http", "both"):
            with self.assertRaisesRegex(RouteError, "framing= is for TCP"):
                router.register("/a", protocol=protocol, framing="line")
        self.assertEqual(router.routes(), [])


class WrappedFrames(unittest.TestCase):
    def test_each_wrapping_of_a_frame_is_made_once(self) -> None:
        calls: list[bytes] = []

        def wrap(data: bytes) -> bytes:
            calls.append(data)
            return b"<" + data + b">"

        for frame in (PushFrame("a"), Announcement("ping")):
            calls.clear()
            for _ in range(3):
                self.assertEqual(frame.wrapped(wrap, False), b"<" + frame.json[:-1] + b">")
                self.assertEqual(frame.wrapped(wrap, True), b"<" + frame.xml[:-1] + b">")
            self.assertEqual(len(calls), 2)


class Unclaimed(FramingCase):
    """F8: the route ``*`` gets each message that no other takes, in each framing."""

    def rest(self) -> None:
        @self.router.register("*", protocol="tcp")
        def rest(request: Any) -> Any:
            self.requests.append(request)
            return "taken"

    def told(self) -> list[tuple[Any, ...]]:
        return [(request.command, request.data, request.data_type) for request in self.requests]

    def test_messages_of_another_shape(self) -> None:
        self.rest()
        stream = (
            b'{"temperature": 21}\n{"command": ["a"], "id": 3}\n'
            b'<login imei="1"><pin>2</pin></login>\n'
            b"<request/>\xff\xfe\n\x02A \x03\nunknown x\n"
        )
        expected = [
            ("", {"temperature": 21}, "json"),
            ("", {"command": ["a"], "id": 3}, "json"),
            ("login", {"@imei": "1", "pin": "2"}, "xml"),
            ("", {}, "xml"),
            ("", b"\xff\xfe", "raw"),
            ("", b"\x02A \x03", "raw"),
            ("unknown", "x", "raw"),
        ]
        for cut in (0, 5, 30, 70, 95, 110):
            self.requests.clear()
            simulation = self.simulate()
            peer = self.tell(simulation, stream[:cut], stream[cut:])
            self.assertEqual(self.told(), expected, cut)
            answers = peer.take().splitlines()
            self.assertEqual(answers[1], b'{"id": 3, "data": "taken"}')
            self.assertEqual(answers[2], b"<response>taken</response>")
            self.assertEqual(answers[4:], [b"taken"] * 3)

    def test_large_ones_that_a_worker_decodes(self) -> None:
        self.rest()
        simulation = self.simulate()
        text = "x" * 20_000
        peer = self.tell(simulation, f'{{"a": "{text}"}}<login a="{text}"/>echo 1\n'.encode())
        self.assertEqual(
            self.told()[:2], [("", {"a": text}, "json"), ("login", {"@a": text}, "xml")]
        )
        self.assertEqual(peer.take(), b'"taken"\n<response>taken</response>\n1\n')

    def test_a_root_with_a_route_of_its_own_goes_there(self) -> None:
        self.router.register("login", protocol="tcp")(lambda request: {"hello": request.data})
        simulation = self.simulate()
        peer = self.tell(simulation, b'<login imei="1"/><logout/>')
        welcome, refused = peer.take().splitlines()
        self.assertEqual(welcome, b'<response><hello imei="1"></hello></response>')
        self.assertIn(b"bad_message", refused)

    def test_what_cannot_be_read_is_an_error_still(self) -> None:
        self.rest()
        simulation = self.simulate()
        peer = self.tell(simulation, b'{]\n{"a": nope}\n<a></b>\n{"command": "x", "headers": 5}\n')
        self.assertEqual(peer.take().count(b"bad_message"), 4)
        self.assertEqual(self.requests, [])

    def test_without_the_route_all_is_as_before(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b'{"a": 1}\n<login/>\xff\necho 1\n')
        *errors, last = peer.take().splitlines()
        self.assertEqual([b"bad_message" in error for error in errors], [True] * 3)
        self.assertEqual(last, b"1")

    def test_acks_are_none_of_its_business(self) -> None:
        self.rest()
        simulation = self.simulate()
        self.tell(simulation, b'{"ack": "a1"}\n{"pong": true}\n<pong/><ack id="a1"/>')
        self.assertEqual(self.requests, [])


class Strangers(FramingCase):
    """B1, F4, T5: HTTP or TLS on the TCP port is told which port this is; nothing is run."""

    PAGE = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n"
    BODY = b'echo door\n{"command": "echo"}\n<request command="echo"/>\nPOST / HTTP/1.1\n'

    def test_a_web_page_runs_no_command_in_any_framing_with_lines(self) -> None:
        for framing in ("auto", "line", "json", "xml"):
            for keep_alive in (True, False):
                with self.subTest(framing, keep_alive=keep_alive):
                    simulation = self.simulate(tcp_framing=framing, tcp_keep_alive=keep_alive)
                    peer = self.tell(simulation, self.PAGE, self.BODY, b"echo later\n")
                    answer = peer.take()
                    self.assertEqual(answer.count(b"\n"), 1)
                    port = simulation.server.http_address[1]
                    text = f"this is the TCP port; HTTP is on {port}".encode()
                    self.assertIn(text, answer)
                    self.assertIn(b"wrong_port", answer)
                    self.assertEqual(answer.startswith(b"<response>"), framing == "xml")
                    self.assertTrue(peer.saw_fin)
                    self.assertEqual(self.requests, [])

    def test_byte_by_byte_it_is_the_same(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, *[bytes([byte]) for byte in self.PAGE + self.BODY])
        self.assertEqual(json.loads(peer.take())["code"], "wrong_port")
        self.assertEqual(self.requests, [])

    def test_one_warning_a_minute_counts_the_others(self) -> None:
        simulation = self.simulate()
        for _ in range(3):
            self.tell(simulation, self.PAGE)
        simulation.advance(61)
        self.tell(simulation, self.PAGE)
        warnings = self.logs.find("spoke HTTP")
        self.assertEqual(len(warnings), 2)
        self.assertIn("as 2 more were before it", warnings[1])
        self.assertIn("mixed up the ports", warnings[0])

    def test_a_tls_client_is_told_in_plain_text(self) -> None:
        simulation = self.simulate()
        peer = self.tell(simulation, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        self.assertEqual(json.loads(peer.take())["error"], "this is the TCP port; it takes no TLS")
        self.assertTrue(peer.saw_fin)

    def test_without_an_http_port_it_says_so(self) -> None:
        simulation = self.simulate()
        self.assertIsNotNone(simulation.server.http_address)
        simulation.server._runtime.tcp.http_address = None
        peer = self.tell(simulation, self.PAGE)
        self.assertIn("HTTP is not served here", json.loads(peer.take())["error"])

    def test_a_tcp_message_on_the_http_port_is_told_so(self) -> None:
        simulation = self.simulate()
        for message in (b'{"command": "echo"}\n', b'<request command="echo"/>\n', b"{"):
            peer = simulation.http()
            peer.send(message)
            simulation.settle()
            answer = peer.take()
            self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
            self.assertIn(b"this looks like a TCP message; this port speaks HTTP", answer)

    def test_lengths_and_framers_of_ones_own_read_what_they_always_read(self) -> None:
        simulation = self.simulate(tcp_framing="length")
        peer = self.tell(simulation, sized(b"POST / HTTP/1.1", b"echo 1"))
        answers = split(peer.take())
        self.assertEqual(json.loads(answers[0])["code"], "unknown_command")
        self.assertEqual(answers[1], b"1")

    def test_behind_an_upgrade_a_request_line_is_a_line(self) -> None:
        @self.router.register("speak", protocol="tcp", framing="line")
        def speak(request: Any) -> Any:
            return "lines"

        simulation = self.simulate(tcp_framing="length")
        peer = self.tell(simulation, sized(b"speak") + b"GET / HTTP/1.1\necho 1\n")
        lines = peer.take().removeprefix(sized(b"lines")).splitlines()
        self.assertEqual(json.loads(lines[0])["code"], "unknown_command")
        self.assertEqual(lines[1], b"1")


class OverSockets(ServerTestCase):
    """The same over real sockets, in one-byte segments too."""

    def test_lengths_in_one_byte_segments(self) -> None:
        @self.router.register("size", protocol="tcp")
        def size(request: Any) -> Any:
            return len(request.data)

        server = self.serve(tcp_framing="length", tcp_keep_alive=True)
        client = self.connect_tcp(server)
        for byte in sized(b"size " + b"x" * 300):
            client.send(bytes([byte]))
        self.assertEqual(split(client.read_exactly(7, "the answer")), [b"300"])

    def test_a_stored_program_over_netstrings(self) -> None:
        memory: dict[bytes, bytes] = {}

        @self.router.register("*", protocol="tcp", blocking=False)
        def store(request: Any) -> Any:
            key, found, value = request.raw.partition(b"=")
            if found:
                memory[key] = value
                return None
            return memory.get(key, b"")

        server = self.serve(tcp_framing=Netstrings, tcp_keep_alive=True)
        client = self.connect_tcp(server)
        client.send(b"8:a=\x00\xff=\r\nb,1:a,1:b,")
        self.assertEqual(client.read_exactly(12, "the answers"), b"6:\x00\xff=\r\nb,0:,"[:12])

    def test_forty_clients_change_while_a_thread_pushes(self) -> None:
        @self.router.register("upgrade", protocol="tcp", framing="length")
        def upgrade(request: Any) -> Any:
            return "upgraded"

        server = self.serve(tcp_keep_alive=True)
        clients = [self.connect_tcp(server) for _ in range(40)]
        wait_until(lambda: len(server.clients) == 40, "all connected")
        stop = threading.Event()

        def push() -> None:
            for _ in range(1000):  # It ends: a client that is out of step must run out of bytes.
                server.push_message({"n": 1})
                if stop.wait(0.001):
                    return

        pusher = threading.Thread(target=push, daemon=True)
        pusher.start()
        try:
            for client in clients:
                client.send(b'{"command": "upgrade", "id": 1}\n' + sized(b'{"command": "x"}'))
            for client in clients:
                while (line := json.loads(client.read_line())).get("data") != "upgraded":
                    self.assertEqual(line, {"type": "push", "data": {"n": 1}})
                while True:
                    (length,) = struct.unpack(">I", client.read_exactly(4, "a length"))
                    answer = json.loads(client.read_exactly(length, "a message"))
                    if answer.get("code") == "unknown_command":
                        break
                    self.assertEqual(answer, {"type": "push", "data": {"n": 1}})
        finally:
            stop.set()
            pusher.join()


if __name__ == "__main__":
    unittest.main()
