"""The TCP protocol over raw sockets: three formats in one stream, errors, order, clients.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

import json
import logging
import random
import re
import socket
import threading
from typing import Any
from xml.etree import ElementTree

from pyliteflux import HTTPError, HTTPJSONResponse, HTTPResponse, Middleware, Router
from pyliteflux import Server as AServer
from tests.support import DEADLINE, Client, ServerTestCase, running_server, wait_for, wait_until

NOISE = (
    b"\xef\xbb\xbf"  # A byte order mark, as some editors and shells send.
    b"say hello world\n"
    b"say  two\tblanks \r\n"
    b"\r\n   \n\t\n"  # Blank lines are skipped.
    b'{"command": "say", "data": {"a": [1, "}"]}, "id": 1}\n'
    b'{"command": "say", "id": 2}{"command": "say", "data": "no LF between", "id": 3}'
    b'{\n  "command": "say",\n  "data": {\n    "text": "pretty \\" }{ printed"\n  },\n'
    b'  "id": "4"\n}\r\n'
    b'<request command="say"><a>1</a><b><c>x &amp; y</c></b></request>\n'
    b'<?xml version="1.0"?>\n<request command="say" id="5">\n  <item>1</item>\n'
    b"  <item>2</item>\n</request>\r\n"
    b'<request command="say">text</request><request command="say"/>'
    b"say\n"
    b"\xef\xbb\xbf"
    b'{"command":"say","data":"\xe4\xbd\xa0\xe5\xa5\xbd"}\n'
    b"say \xe4\xbd\xa0\xe5\xa5\xbd\n"
    b"say at the end"
)
ANSWERS = [
    "raw:hello world",
    "raw:two\tblanks",
    {"data": {"a": [1, "}"]}, "id": 1},
    {"data": None, "id": 2},
    {"data": "no LF between", "id": 3},
    {"data": {"text": 'pretty " }{ printed'}, "id": "4"},
    "<response><data><a>1</a><b><c>x &amp; y</c></b></data></response>",
    '<response id="5"><data><item><item>1</item><item>2</item></item></data></response>',
    "<response><data>text</data></response>",
    "<response><data></data></response>",
    "raw:",
    {"data": "你好"},
    "raw:你好",
    "raw:at the end",
]


class TcpTestCase(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()

        @self.router.register("say", protocol="tcp")
        def say(request: Any) -> Any:
            if request.data_type == "raw":
                return f"raw:{request.data}"
            return {"data": request.data}

    def ask(self, client: Client, message: Any) -> Any:
        """Send a JSON message, return the answer."""
        client.send(json.dumps(message) + "\n")
        return json.loads(client.read_line())

    def check_answers(self, text: str) -> None:
        lines = text.split("\n")
        self.assertEqual(lines.pop(), "", "the last answer ends with LF too")
        self.assertEqual([json.loads(line) if line[:1] == "{" else line for line in lines], ANSWERS)


class TestMessages(TcpTestCase):
    def test_all_formats_in_one_stream(self) -> None:
        """T1: sensed by the first byte, mixed at will; what is left at EOF is a message."""
        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        client.send(NOISE)
        client.half_close()
        self.check_answers(client.read_rest().decode())

    def test_all_formats_byte_by_byte(self) -> None:
        """T1: wherever TCP cuts the stream."""
        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for offset in range(len(NOISE)):
            client.send(NOISE[offset : offset + 1])
        client.half_close()
        self.check_answers(client.read_rest().decode())

    def test_all_formats_in_random_pieces(self) -> None:
        """T1: several connections at once, each cut differently."""
        server = self.serve(tcp_keep_alive=True)
        rng = random.Random(7)
        clients = [self.connect_tcp(server) for _ in range(10)]
        for client in clients:
            rest = NOISE
            while rest:
                size = rng.randint(1, 60)
                client.send(rest[:size])
                rest = rest[size:]
            client.half_close()
        for client in clients:
            self.check_answers(client.read_rest().decode())

    def test_a_whole_object_needs_no_newline(self) -> None:
        """T1: old clients send none and wait for their answer."""
        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        client.send('{"command": "say", "data": 1}')
        self.assertEqual(json.loads(client.read_line()), {"data": 1})
        client.send('<request command="say"/>')
        self.assertEqual(client.read_line(), "<response><data></data></response>")

    def test_an_unfinished_message_at_eof_is_an_error_in_its_format(self) -> None:
        """T1, T5: a line is whole there; an object or a document is not."""
        server = self.serve(tcp_keep_alive=True)
        for data, start in (
            (b'{"command": "say"', '{"error"'),
            (b"<request command=", "<response><error>"),
        ):
            client = self.connect_tcp(server)
            client.send(data)
            client.half_close()
            answer = client.read_rest().decode()
            self.assertTrue(answer.startswith(start), answer)
            self.assertIn("bad_message", answer)
            self.assertEqual(answer.count("\n"), 1)

    def test_the_request_has_the_names_of_both_protocols(self) -> None:
        """T1, Q5: command, data, data_type, raw, and the HTTP names."""
        seen: list[Any] = []

        @self.router.register("look", protocol="tcp")
        def look(request: Any) -> None:
            seen.append(
                (
                    request.command,
                    request.data,
                    request.data_type,
                    request.raw,
                    request.body,
                    request.method,
                    request.path,
                    request.path_params,
                    request.query_params,
                    request.form_data,
                    request.files,
                    request.json_data,
                    dict(request.headers),
                )
            )

        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        messages: list[tuple[bytes, Any, str, Any, dict[str, str]]] = [
            (b"look a b", "a b", "raw", None, {}),
            (b"look", "", "raw", None, {}),
            (b'{"command":"look","data":[1],"headers":{"X":"y"}}', [1], "json", [1], {"x": "y"}),
            (b'<request command="look"><a>1</a></request>', {"a": "1"}, "xml", None, {}),
        ]
        for message, *_ in messages:
            client.send(message + b"\r\n")
            client.read_line()
        for (raw, data, data_type, json_data, headers), found in zip(messages, seen):
            self.assertEqual(
                found,
                ("look", data, data_type, raw, raw, "TCP", "look", {}, {}, {}, {})
                + (json_data, headers),
            )


class TestAnswers(TcpTestCase):
    def test_the_answer_has_the_format_of_the_question(self) -> None:
        """T2: a str as it is, anything else as JSON; JSON in one line; XML escaped, nested."""
        values: dict[str, Any] = {
            "text": "plain & <text>",
            "lines": {"a": "1\n2", "b": [1, {"c": None}], "d": True, "e": 1.5},
            "list": [1, "two"],
            "number": 7,
            "none": None,
            "bytes": b"raw bytes",
            "odd": {"not a name": "&", "1": "<"},
        }
        self.router.register("get", protocol="tcp")(
            lambda request: values[request.data if request.data_type != "xml" else request.data]
        )
        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        raw = {
            "text": "plain & <text>",
            "number": "7",
            "none": "null",
            "list": '[1, "two"]',
            "bytes": "raw bytes",
        }
        xml = {
            "text": "plain &amp; &lt;text&gt;",
            "lines": "<a>1&#10;2</a><b><item>1</item><item><c/></item></b><d>true</d><e>1.5</e>",
            "list": "<item>1</item><item>two</item>",
            "number": "7",
            "bytes": "raw bytes",
            "odd": '<item key="not a name">&amp;</item><item key="1">&lt;</item>',
        }
        for name, value in values.items():
            with self.subTest(value=name):
                client.send(f"get {name}\n")
                line = client.read_line()
                self.assertEqual(line, raw.get(name, line))
                if name not in raw:
                    self.assertEqual(json.loads(line), value)
                client.send(json.dumps({"command": "get", "data": name}) + "\n")
                answer = json.loads(client.read_line())
                self.assertEqual(answer, "raw bytes" if name == "bytes" else value)
                client.send(f'<request command="get">{name}</request>\n')
                line = client.read_line()
                ElementTree.fromstring(line)
                if name in xml:
                    self.assertEqual(line, f"<response>{xml[name]}</response>")

    def test_the_id_is_echoed_whatever_it_is(self) -> None:
        """T2: in answers, in errors; where the answer is no object it is wrapped."""
        self.router.register("list", protocol="tcp")(lambda request: [1])
        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        for id in (1, "x", 0, "", None, 1.5, [1], {"a": 1}, True, 2**70):
            self.assertEqual(
                self.ask(client, {"command": "say", "id": id}), {"data": None, "id": id}
            )
            self.assertEqual(
                self.ask(client, {"command": "list", "id": id}), {"id": id, "data": [1]}
            )
            self.assertEqual(self.ask(client, {"command": "nothing", "id": id})["id"], id)
            self.assertEqual(self.ask(client, {"id": id})["id"], id)
        self.assertNotIn("id", self.ask(client, {"command": "say"}))

    def test_an_answer_never_holds_a_line_end_of_its_own(self) -> None:
        """T2: JSON and XML answers are one line, whatever is in them."""
        self.router.register("echo", protocol="tcp")(lambda request: {"x": "a\nb\r\nc\u2028d"})
        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        self.assertEqual(self.ask(client, {"command": "echo"}), {"x": "a\nb\r\nc\u2028d"})
        client.send('<request command="echo"/>')
        root = ElementTree.fromstring(client.read_line())
        self.assertEqual(root.findtext("x"), "a\nb\r\nc\u2028d")
        client.send("say done\n")
        self.assertEqual(client.read_line(), "raw:done")

    def test_a_raw_line_is_answered_with_one_line_whatever_the_answer_is(self) -> None:
        """T2: whoever makes it."""
        text = "a\nb\r\nc\rd\n\n"

        class Halt(Middleware):
            def process_request(self, request: Any) -> Any:
                return text if request.command == "halted" else None

        def refuse(request: Any) -> Any:
            raise HTTPError(409, text)

        def raise_(request: Any) -> Any:
            raise KeyError(text)

        ways: dict[str, Any] = {
            "str": lambda request: text,
            "bytes": lambda request: text.encode(),
            "dict": lambda request: {text: text},
            "list": lambda request: [text, text],
            "status": lambda request: (text, 400),
            "bytes-status": lambda request: (text.encode(), 400),
            "fields": lambda request: (text, {"X-A": "b"}),
            "response": lambda request: HTTPResponse(text, status=201),
            "response-bytes": lambda request: HTTPResponse(text.encode()),
            "json": lambda request: HTTPJSONResponse([text]),
            "refused": refuse,
            "refused-dict": lambda request: (_ for _ in ()).throw(HTTPError(400, {"a": text})),
            "raised": raise_,
            "unwritable": lambda request: {text: object()},
            "handled": lambda request: {}[text],
            "stream-first": lambda request: (1 / 0 for _ in "a"),
            "halted": lambda request: "never",
        }
        for name, handler in ways.items():
            self.router.register(name, protocol="tcp")(handler)
            self.router.register(f"{name}-fast", protocol="tcp", blocking=False)(handler)
        server = self.serve(tcp_keep_alive=True)
        server.add_middleware(Halt())
        server.error(KeyError)(lambda request, error: text)
        client = self.connect_tcp(server)
        lines = [*ways, *map("{}-fast".format, ways), "nothing", "\x02x", "a\x0bb", "\udcff\udcfe"]
        for line in lines:
            with self.subTest(line):
                client.send(line.encode("utf-8", "surrogateescape") + b"\nsay done\n")
                answer = client.read_line()
                self.assertNotIn("\r", answer)
                self.assertNotEqual(answer, "")
                self.assertEqual(client.read_line(), "raw:done")

    def test_xml_children_arrive_as_a_dict(self) -> None:
        """T3: nested, repeated ones as a list, text unescaped."""
        server = self.serve(tcp_keep_alive=True)
        seen: list[Any] = []
        self.router.register("see", protocol="tcp")(
            lambda request: seen.append((type(request.data), request.data))
        )
        client = self.connect_tcp(server)
        client.send(
            '<request command="see"><name>Ann &amp; Bob</name><tag>1</tag><tag>2</tag>'
            "<deep><er>x</er></deep><empty/><![CDATA[dropped]]></request>\n"
        )
        client.read_line()
        self.assertEqual(
            seen,
            [
                (
                    dict,
                    {
                        "name": "Ann & Bob",
                        "tag": ["1", "2"],
                        "deep": {"er": "x"},
                        "empty": "",
                    },
                )
            ],
        )

    def test_a_doctype_or_an_entity_is_refused(self) -> None:
        """T3: no bomb, no file of ours; the connection stays in step (T5)."""
        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        for attack in (
            '<!DOCTYPE r [<!ENTITY a "b">]><request command="say">&a;</request>\n',
            '<?xml version="1.0"?><!DOCTYPE r SYSTEM "file:///etc/passwd"><request/>\n',
            '<request command="say"><!ENTITY x "y"></request>\n',
        ):
            client.send(attack)
            answer = client.read_line()
            self.assertIn("<code>bad_message</code>", answer)
            self.assertIn("DOCTYPE or ENTITY", answer)
            client.send("say next\n")
            self.assertEqual(client.read_line(), "raw:next")
        client.send('<request command="say">&undefined;</request>\n')
        self.assertIn("bad_message", client.read_line())
        client.send("say next\n")
        self.assertEqual(client.read_line(), "raw:next")

    def test_a_stream_is_a_message_for_each_item_and_an_end(self) -> None:
        """T2: in the format of the question, and the next message waits for its end."""
        self.router.register("count", protocol="tcp")(
            lambda request: ({"n": number} for number in range(2))
        )
        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        client.send('{"command": "count", "id": 9}\n{"command": "say"}\n')
        self.assertEqual(
            [json.loads(client.read_line()) for _ in range(4)],
            [
                {"type": "stream", "data": {"n": 0}, "id": 9},
                {"type": "stream", "data": {"n": 1}, "id": 9},
                {"type": "end", "id": 9},
                {"data": None},
            ],
        )
        client.send('<request command="count"/>count\nsay next\n')
        self.assertEqual(
            [client.read_line() for _ in range(6)],
            [
                "<stream><n>0</n></stream>",
                "<stream><n>1</n></stream>",
                "<end/>",
                '{"n": 0}',
                '{"n": 1}',
                "raw:next",
            ],
        )

    def test_a_stream_that_fails_says_so_and_the_connection_stays(self) -> None:
        """T5, A2: cut short is not complete."""

        @self.router.register("break", protocol="tcp")
        def broken(request: Any) -> Any:
            yield 1
            raise RuntimeError("secret")

        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        client.send('{"command": "break", "id": 1}\n')
        self.assertEqual(json.loads(client.read_line())["data"], 1)
        error = client.read_line()
        self.assertEqual(json.loads(error)["code"], "internal")
        self.assertNotIn("secret", error)
        self.assertEqual(self.ask(client, {"command": "say"}), {"data": None})


class TestKeepAlive(TcpTestCase):
    def test_off_it_is_one_answer_then_close(self) -> None:
        """T4: the default; what else was sent is not answered; errors are an answer too."""
        server = self.serve()
        for data, needle in (
            (b"say one\nsay two\n", "raw:one"),
            (b"nothing\n", "unknown_command"),
            (b"{]\nsay two\n", "bad_message"),
            (b'{"command": "say", "id": 3}', '"id": 3'),
        ):
            client = self.connect_tcp(server)
            client.send(data)
            self.assertIn(needle, client.read_line())
            client.expect_end()

    def test_on_the_connection_stays(self) -> None:
        """T4: SO_KEEPALIVE is set as well, by default."""
        for setting in (True, False):
            server = self.serve(tcp_keep_alive=True, so_keepalive=setting)
            client = self.connect_tcp(server)
            for number in range(5):
                client.send(f"say {number}\n")
                self.assertEqual(client.read_line(), f"raw:{number}")
            sock = server.clients[client.client_id]._channel.transport._wire
            option = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            self.assertEqual(bool(option), setting)

    def test_a_handler_may_hang_up(self) -> None:
        """T4: what Connection: close says on HTTP it says here, in each format."""
        router = Router()

        @router.register("quit", protocol="tcp")
        def quit(request: Any) -> Any:
            return "bye", {"Connection": "close"}

        @router.register("leave", protocol="tcp")
        def leave(request: Any) -> Any:
            return HTTPJSONResponse({"bye": 1}, headers={"Connection": "Close"})

        with running_server(router, tcp_keep_alive=True) as server:
            for line, answer in (
                ("quit", "bye"),
                ('{"command": "leave"}', '{"bye": 1}'),
                ('<request command="quit"/>', "<response>bye</response>"),
            ):
                client = self.connect_tcp(server)
                client.send(line + "\nquit\n")
                self.assertEqual(client.read_line(), answer)
                client.expect_end()

    def test_the_setting_may_be_changed_the_way_the_readme_does(self) -> None:
        """T4, C2: server.config.tcp_keep_alive = True before run."""
        server = AServer(router=self.router, http_port=0, tcp_port=0, info=False)
        server.config.tcp_keep_alive = True
        with server, Client(server.tcp_address) as client:
            for _ in range(2):
                client.send("say x\n")
                self.assertEqual(client.read_line(), "raw:x")


class TestErrors(TcpTestCase):
    def test_every_error_keeps_the_connection_in_step(self) -> None:
        """T5, limits 22: in the format of the question, one answer each, then the next works."""

        @self.router.register("fail", protocol="tcp")
        def fail(request: Any) -> None:
            raise RuntimeError("secret")

        @self.router.register("odd", protocol="tcp")
        def odd(request: Any) -> Any:
            return object()

        self.router.register("nan", protocol="tcp")(lambda request: {"x": float("nan")})
        deep = "[" * 70 + "]" * 70
        errors: list[tuple[bytes, str]] = [
            (b"nothing\n", "unknown_command"),
            (b'{"command": "nothing"}\n', "unknown_command"),
            (b'<request command="nothing"/>\n', "unknown_command"),
            (b"fail\n", "internal"),
            (b'{"command": "fail"}\n', "internal"),
            (b'<request command="fail"/>\n', "internal"),
            (b"odd\n", "internal"),
            (b'{"command": "odd"}\n', "internal"),
            (b"nan\n", "internal"),
            (b'<request command="nan"/>\n', "internal"),
            (b'{"command": "say"]\n', "bad_message"),
            (b'{"command": say}\n', "bad_message"),
            (b'{"command": "say", "data": NaN}\n', "bad_message"),
            (b'{"command": "s\nay"}\n', "bad_message"),  # A raw line end: the next line goes on.
            (b"{}\n", "bad_message"),
            (b'{"command": 5}\n', "bad_message"),
            (b'{"command": ""}\n', "bad_message"),
            (b'{"command": "say", "data": "\xff"}\n', "bad_message"),
            (b'{"command": "say", "data": %s}\n' % deep.encode(), "bad_message"),
            (b"\xff\xfe\n", "bad_message"),
            (b"\x00\x01\n", "bad_message"),
            (b"<request>\n</request>\n", "bad_message"),
            (b"<other command='say'/>\n", "bad_message"),
            (b"<request command='say'></wrong>\n", "bad_message"),
            (b"<>\n", "bad_message"),
            (b"</a>\n", "bad_message"),
        ]
        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        for number, (data, code) in enumerate(errors):
            with self.subTest(data=data):
                client.send(data)
                line = client.read_line()
                if data.startswith(b"<"):
                    root = ElementTree.fromstring(line)
                    self.assertEqual((root.tag, root.findtext("code")), ("response", code))
                    self.assertTrue(root.findtext("error"))
                else:
                    answer = json.loads(line)
                    self.assertEqual(answer["code"], code)
                    self.assertTrue(answer["error"])
                self.assertNotIn("secret", line)
                if b"s\nay" in data:
                    self.assertIn("unknown_command", client.read_line())  # The line `ay"}`.
                client.send(f"say {number}\n")
                self.assertEqual(client.read_line(), f"raw:{number}")

    def test_the_error_of_an_unknown_command(self) -> None:
        """T5: word for word."""
        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        answer = {"error": "Command not found", "code": "unknown_command"}
        client.send("nothing\n")
        self.assertEqual(json.loads(client.read_line()), answer)
        self.assertEqual(self.ask(client, {"command": "nothing", "id": 7}), {**answer, "id": 7})
        client.send('<request command="nothing"/>')
        self.assertEqual(
            client.read_line(),
            "<response><error>Command not found</error><code>unknown_command</code></response>",
        )

    def test_pipelined_errors_and_messages_are_answered_in_order(self) -> None:
        """T5, T6: one answer for each line."""
        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        client.send(b"".join(b"{]\nsay %d\nnothing\n" % number for number in range(50)))
        for number in range(50):
            self.assertIn("bad_message", client.read_line())
            self.assertEqual(client.read_line(), f"raw:{number}")
            self.assertIn("unknown_command", client.read_line())

    def test_a_message_over_the_limit_closes_and_names_both_sizes(self) -> None:
        """T5, limits 20: once, in its format; what follows is not looked at."""
        server = self.serve(tcp_keep_alive=True, tcp_max_message=1000)
        witness = self.connect_tcp(server)
        for data, start in (
            (b"x" * 5000, "{"),
            (b"x" * 5000 + b"\nsay next\n", "{"),
            (b'{"command": "say", "data": "' + b"x" * 5000, "{"),
            (b'<request command="say">' + b"x" * 5000, "<response>"),
            (b"say " + b"x" * 5000 + b"\n", "{"),
        ):
            client = self.connect_tcp(server)
            client.send(data)
            line = client.read_line()
            self.assertTrue(line.startswith(start), line)
            self.assertIn("message_too_large", line)
            sizes = [int(size) for size in re.findall(r"\d+", line)]
            self.assertIn(1000, sizes)
            self.assertTrue(any(size > 1000 for size in sizes), line)
            client.expect_end()
        witness.send("say fine\n")
        self.assertEqual(witness.read_line(), "raw:fine")

    def test_a_message_of_just_the_limit_is_fine(self) -> None:
        """T5: over it, not at it; the default is a MiB."""
        server = self.serve(tcp_keep_alive=True)
        self.assertEqual(server.config.tcp_max_message, 1024 * 1024)
        limit = 1024 * 1024
        client = self.connect_tcp(server)
        line = b"say " + b"x" * (limit - 4)
        client.send(line + b"\n")
        self.assertEqual(len(client.read_line()), limit)
        document = b'{"command": "say", "data": "%s"}'
        client.send(document % (b"x" * (limit - len(document) + 2)))
        self.assertEqual(len(json.loads(client.read_line())["data"]), limit - len(document) + 2)

    def test_endless_data_without_a_newline_is_one_error(self) -> None:
        """Limits 20: `nc < /dev/zero` costs neither memory nor a loop."""
        server = self.serve(tcp_keep_alive=True, tcp_max_message=10_000)
        client = self.connect_tcp(server)
        try:
            for _ in range(200):
                client.sock.sendall(b"\0" * 10_000)
        except OSError:
            pass  # It has been cut off, which is what it is about.
        wait_until(lambda: server.stats["connections"] == 0, "it is cut off")

    def test_an_http_error_or_a_status_answers_its_body(self) -> None:
        """T5: with "status" added, in each format."""
        answers: dict[str, Any] = {
            "error": HTTPError(403, "not yours"),
            "body": HTTPError(409, {"error": "taken", "by": "Ann"}),
            "plain": HTTPError(503),
            "tuple": ({"a": 1}, 201),
            "headers": ({"a": 1}, 202, {"X-A": "1"}),
            "only-headers": ({"a": 1}, {"X-A": "1"}),
            "object": HTTPJSONResponse({"a": 1}, status=404),
            "fine": HTTPJSONResponse({"a": 1}),
            "text": HTTPResponse("some text"),
            "list": ([1], 418),
            "str": ("no", 404),
            "bytes": (b"no\xff", 404),  # F13
            "none": (None, 404),
            "own-status": ({"status": "open"}, 201),
            "same-status": ({"status": 201}, 201),
            "own-status-of-an-error": HTTPError(423, {"error": "locked", "status": "door"}),
            "beside-an-object": (HTTPJSONResponse({"a": 1}), 404),
        }

        @self.router.register("get", protocol="tcp")
        def get(request: Any) -> Any:
            answer = answers[request.data]
            if isinstance(answer, Exception):
                raise answer
            return answer

        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        for name, expected in {
            "error": {"error": "not yours", "status": 403},
            "body": {"error": "taken", "by": "Ann", "status": 409},
            "plain": {"error": "Service Unavailable", "status": 503},
            "tuple": {"a": 1, "status": 201},
            "headers": {"a": 1, "status": 202},
            "only-headers": {"a": 1},
            "object": {"a": 1, "status": 404},
            "fine": {"a": 1},
            "text": "some text",
            "list": {"data": [1], "status": 418},
            "str": {"data": "no", "status": 404},
            "bytes": {"data": "no\ufffd", "status": 404},
            "none": {"data": None, "status": 404},
            "own-status": {"data": {"status": "open"}, "status": 201},
            "same-status": {"status": 201},
            "own-status-of-an-error": {
                "error": "locked",
                "data": {"error": "locked", "status": "door"},
                "status": 423,
            },
            "beside-an-object": {"a": 1, "status": 404},
        }.items():
            with self.subTest(answer=name):
                answer = self.ask(client, {"command": "get", "data": name})
                self.assertEqual(answer, expected)
                client.send(f"get {name}\n")
                line = client.read_line()
                self.assertEqual(line if name == "text" else json.loads(line), expected)
        client.send('<request command="get">error</request>')
        self.assertEqual(
            client.read_line(),
            "<response><error>not yours</error><status>403</status></response>",
        )
        self.assertEqual(answers["tuple"], ({"a": 1}, 201))  # The handler's own is not changed.

    def test_a_bad_message_is_no_traceback(self) -> None:
        """T5: it is the peer's fault: nothing in the log above debug."""
        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        client.send("{]\n")
        client.read_line()
        self.assertEqual(self.logs.lines(logging.WARNING), [])

    def test_errors_that_nobody_reads_do_not_pile_up(self) -> None:
        """Limits 9: who sends bad messages and reads no answer is not read from either."""
        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server, receive_buffer=4096)
        block = b"{]\n" * 20_000
        sent = stuck = 0
        client.sock.setblocking(False)
        wait_until(lambda: server.clients, "it is connected")
        channel = server.clients[client.client_id]._channel
        limit = server.config.write_high_water + 4096
        while stuck < 30:
            try:
                sent += client.sock.send(block)
                stuck = 0
            except BlockingIOError:
                stuck += 1
                self._pass_a_turn(server)
            self.assertLess(channel.transport.size, limit)
            self.assertLess(sent, 40_000_000, "the server reads on and on")
        self.assertLess(channel._framer.buffered, 4 * server.config.recv_size)
        # And it goes on where it stopped once the answers are read.
        client.sock.settimeout(DEADLINE)
        for _ in range(20_000):
            self.assertIn("bad_message", client.read_line())
        self.assertLess(channel.transport.size, limit)

    def _pass_a_turn(self, server: AServer) -> None:
        with Client(server.http_address) as other:
            other.get("/nothing")


class TestOrder(TcpTestCase):
    def test_one_at_a_time_and_in_order(self) -> None:
        """T6: a quick message after a slow one waits; other connections do not."""
        inside, go_on = threading.Event(), threading.Event()
        running: list[int] = []
        most: list[int] = []

        @self.router.register("slow", protocol="tcp")
        def slow(request: Any) -> str:
            running.append(1)
            most.append(len(running))
            inside.set()
            go_on.wait(DEADLINE)
            running.pop()
            return "slow"

        self.router.register("quick", protocol="tcp", blocking=False)(lambda request: "quick")
        server = self.serve(tcp_keep_alive=True)
        client, other = self.connect_tcp(server), self.connect_tcp(server)
        client.send("slow\nquick\nslow\nquick\n")
        wait_for(inside, "the slow one")
        other.send("quick\n")
        self.assertEqual(other.read_line(), "quick")
        go_on.set()
        self.assertEqual([client.read_line() for _ in range(4)], ["slow", "quick", "slow", "quick"])
        self.assertEqual(max(most), 1)

    def test_a_thousand_pipelined_messages(self) -> None:
        """T6: more than one turn's share, on workers and on the reactor thread."""
        self.router.register("here", protocol="tcp", blocking=False)(
            lambda request: f"here:{request.data}"
        )
        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        client.send("".join(f"say {n}\nhere {n}\n\n" for n in range(500)))
        for number in range(500):
            self.assertEqual(client.read_line(), f"raw:{number}")
            self.assertEqual(client.read_line(), f"here:{number}")

    def test_blank_lines_are_no_messages(self) -> None:
        """T6."""
        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        client.send("\n\r\n  \n\t\r\nsay x\n\n\n")
        self.assertEqual(client.read_line(), "raw:x")
        client.half_close()
        client.expect_end()

    def test_a_half_close_gets_its_answers(self) -> None:
        """T1, limits 14: EOF after whole messages, while a handler is at work."""
        inside, go_on = threading.Event(), threading.Event()
        gone: list[bool] = []

        @self.router.register("slow", protocol="tcp")
        def slow(request: Any) -> str:
            inside.set()
            go_on.wait(DEADLINE)
            wait_until(lambda: request.gone, "the end is noticed")
            gone.append(request.gone)
            return "slow"

        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        client.send("slow\nsay rest")
        wait_for(inside, "the handler")
        client.half_close()
        go_on.set()
        self.assertEqual(client.read_rest(), b"slow\nraw:rest\n")
        self.assertEqual(gone, [True])  # Q8

    def test_a_client_that_pipelines_and_does_not_read_is_not_read(self) -> None:
        """Limits 9: what is unanswered waits with the peer."""
        self.router.register("big", protocol="tcp", blocking=False)(lambda request: "x" * 10_000)
        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server, receive_buffer=4096)
        client.send(b"big\n" * 20_000)
        wait_until(lambda: server.clients, "it is connected")
        channel = server.clients[client.client_id]._channel
        wait_until(lambda: channel.transport.size > 0, "answers wait")
        for _ in range(20):
            with Client(server.http_address) as other:
                other.get("/nothing")
            self.assertLess(channel.transport.size, server.config.write_high_water + 20_000)
        client.reset()
        wait_until(lambda: not server.clients, "it has left")


class TestClients(TcpTestCase):
    def test_the_mapping_is_live_and_read_only(self) -> None:
        """T7, T8: long-lived connections by "host:port"; the seed's name is the same object."""
        seen: list[Any] = []

        @self.router.register("me", protocol="tcp")
        def me(request: Any) -> str:
            computed = f"{request.client_address[0]}:{request.client_address[1]}"
            seen.append(request.client_id == computed and computed in server.clients)
            return computed

        server = self.serve(tcp_keep_alive=True)
        clients = server.clients
        self.assertIs(server._active_connections, clients)
        self.assertEqual((len(clients), list(clients)), (0, []))
        first, second = self.connect_tcp(server), self.connect_tcp(server)
        for client in (first, second):
            client.send("me\n")
            self.assertEqual(client.read_line(), client.client_id)
        self.assertEqual(seen, [True, True])
        self.assertEqual(list(clients.keys()), [first.client_id, second.client_id])
        self.assertEqual(set(clients), {first.client_id, second.client_id})
        self.assertEqual(len(clients), 2)
        self.assertIn(first.client_id, clients)
        self.assertNotIn("", clients)
        self.assertEqual(clients[first.client_id].client_id, first.client_id)
        self.assertIsNone(clients.get("127.0.0.1:1"))
        with self.assertRaises(KeyError):
            clients["127.0.0.1:1"]
        for change in (
            lambda: clients.__setitem__("x", None),  # type: ignore[attr-defined]
            lambda: clients.__delitem__(first.client_id),  # type: ignore[attr-defined]
            lambda: clients.pop(first.client_id),  # type: ignore[attr-defined]
            lambda: clients.clear(),  # type: ignore[attr-defined]
            lambda: clients.update({"x": None}),  # type: ignore[attr-defined]
            lambda: clients.setdefault("x", None),  # type: ignore[attr-defined]
            lambda: clients.popitem(),  # type: ignore[attr-defined]
        ):
            with self.assertRaises((TypeError, AttributeError)):
                change()
        self.assertEqual(len(clients), 2)
        first.close()
        wait_until(lambda: len(clients) == 1, "the first has left")
        self.assertEqual(list(clients), [second.client_id])
        second.reset()
        wait_until(lambda: not clients, "the second has left")

    def test_short_lived_connections_and_http_are_not_in_it(self) -> None:
        """T7: long-lived TCP connections only."""
        sizes: list[int] = []

        @self.router.register("/size", protocol="both")
        def size(request: Any) -> int:
            sizes.append(len(server.clients))
            return len(server.clients)

        server = self.serve()
        self.assertEqual(self.connect(server).get("/size").json, 0)
        client = self.connect_tcp(server)
        client.send("size\n")
        self.assertEqual(client.read_line(), "0")
        server = self.serve(tcp_keep_alive=True)
        self.assertEqual(self.connect(server).get("/size").json, 0)

    def test_it_is_safe_to_read_while_clients_come_and_go(self) -> None:
        """T7: from other threads, in every way that a mapping is read."""
        server = self.serve(tcp_keep_alive=True)
        clients = server.clients
        stop = threading.Event()
        errors: list[BaseException] = []
        reads = [0, 0]

        def read(index: int) -> None:
            try:
                while not stop.is_set():
                    for name in clients:
                        clients.get(name)
                    for name, channel in clients.items():
                        assert channel.client_id == name
                    for channel in clients.values():
                        assert channel.client_id
                    list(clients.keys())
                    assert None not in clients.copy().values()
                    repr(clients)
                    len(clients)
                    reads[index] += 1
            except BaseException as error:
                errors.append(error)

        readers = [threading.Thread(target=read, args=(i,), daemon=True) for i in range(2)]
        for reader in readers:
            reader.start()
        try:
            for _ in range(4):
                some = [Client(server.tcp_address) for _ in range(12)]
                for number, client in enumerate(some):
                    client.close() if number % 2 else client.reset()
        finally:
            wait_until(lambda: all(reads) or errors, "the readers have read")
            stop.set()
            for reader in readers:
                reader.join(DEADLINE)
        self.assertEqual(errors, [])
        wait_until(lambda: len(clients) == 0, "all have left")
        self.assertEqual((list(clients.items()), list(clients.values())), ([], []))

    def test_it_is_empty_after_the_end(self) -> None:
        """T7: and may be asked then."""
        server = self.serve(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        client.send("say x\n")
        client.read_line()
        self.assertEqual(len(server.clients), 1)
        server.stop()
        self.assertEqual(dict(server.clients), {})
        client.expect_end()


class TestLimits(TcpTestCase):
    def test_a_message_that_never_ends_times_out(self) -> None:
        """Limits 21: from its first byte; more bytes do not extend it; in its format."""
        server = self.serve(tcp_keep_alive=True, tcp_message_timeout=0.2)
        idle = self.connect_tcp(server)
        for data, start in ((b"say", "{"), (b'{"command":', "{"), (b"<request ", "<response>")):
            with self.subTest(data=data):
                client = self.connect_tcp(server)
                client.send(data)
                line = client.read_line()
                self.assertTrue(line.startswith(start), line)
                self.assertIn("timeout", line)
                client.expect_end()
        idle.send("say still here\n")  # Between messages nothing runs out (limits 23).
        self.assertEqual(idle.read_line(), "raw:still here")

    def test_a_trickle_does_not_extend_the_timeout(self) -> None:
        """Limits 21: a slow loris on TCP."""
        server = self.serve(tcp_keep_alive=True, tcp_message_timeout=0.2)
        client = self.connect_tcp(server)
        client.sock.settimeout(0.02)
        answer = b""
        for _ in range(int(DEADLINE / 0.02)):
            try:
                client.sock.send(b"x")
                answer = client.sock.recv(1000)
                break
            except TimeoutError:
                continue
        self.assertIn(b'"timeout"', answer)

    def test_an_idle_client_may_be_closed(self) -> None:
        """Limits 23: tcp_idle_timeout, off by default; a message starts it again."""
        server = self.serve(tcp_keep_alive=True, tcp_idle_timeout=0.2)
        client = self.connect_tcp(server)
        client.send("say x\n")
        self.assertEqual(client.read_line(), "raw:x")
        client.expect_end()
        self.assertEqual(AServer(info=False).config.tcp_idle_timeout, 0)

    def test_too_deep_is_one_error(self) -> None:
        """Limits 22: tcp_max_depth, JSON and XML."""
        server = self.serve(tcp_keep_alive=True, tcp_max_depth=4)
        client = self.connect_tcp(server)
        client.send('{"command": "say", "data": [[[[1]]]]}\n<request command="say">')
        self.assertIn("bad_message", client.read_line())
        client.send("<a><b><c><d/></c></b></a></request>\nsay next\n")
        self.assertIn("bad_message", client.read_line())
        self.assertEqual(client.read_line(), "raw:next")

    def test_a_full_worker_queue_answers_busy(self) -> None:
        """Limits 15: at once, in the format of the question; the connection stays."""
        go_on, inside = threading.Event(), threading.Event()

        @self.router.register("stuck", protocol="tcp")
        def stuck(request: Any) -> str:
            inside.set()
            go_on.wait(DEADLINE)
            return "done"

        self.router.register("here", protocol="tcp", blocking=False)(lambda request: "here")
        server = self.serve(tcp_keep_alive=True, worker_threads=1, worker_queue_limit=1)
        self.addCleanup(go_on.set)
        first, second, third = (self.connect_tcp(server) for _ in range(3))
        first.send("stuck\n")
        wait_for(inside, "the only worker is taken")
        second.send("stuck\n")
        wait_until(lambda: server.stats["requests_waiting"] == 1, "the queue is full")
        third.send("here\n")
        self.assertEqual(third.read_line(), "here")
        third.send("stuck\nhere\n")
        wait_until(lambda: server.stats["requests_waiting"] == 2, "over its limit")
        go_on.set()
        self.assertEqual((first.read_line(), second.read_line()), ("done", "done"))
        self.assertEqual((third.read_line(), third.read_line()), ("done", "here"))

    def test_too_many_connections_are_told_so(self) -> None:
        """Limits 11, 12: "busy", then close; such a client is not in server.clients."""
        for settings in ({"max_connections": 2}, {"max_connections_per_ip": 2}):
            server = self.serve(tcp_keep_alive=True, **settings)
            stay = [self.connect_tcp(server) for _ in range(2)]
            for client in stay:
                client.send("say x\n")
                client.read_line()
            client = self.connect_tcp(server)
            self.assertEqual(json.loads(client.read_line())["code"], "busy")
            client.expect_end()
            self.assertEqual(len(server.clients), 2)
            for client in stay:
                client.send("say x\n")
                self.assertEqual(client.read_line(), "raw:x")

    def test_resets_in_every_state_leave_nothing_behind(self) -> None:
        """Limits 13: a storm of them, then all is as before."""
        go_on = threading.Event()
        self.router.register("wait", protocol="tcp")(lambda request: go_on.wait(DEADLINE))
        self.router.register("big", protocol="tcp")(lambda request: "x" * 3_000_000)
        self.router.register("stream", protocol="tcp")(
            lambda request: ("x" * 100_000 for _ in range(100))
        )
        server = self.serve(tcp_keep_alive=True)
        for data in (b"", b"say", b"say x\n", b"{]\n", b"wait\n", b"big\n", b"stream\n", b"x" * 9):
            some = [Client(server.tcp_address) for _ in range(5)]
            for client in some:
                client.send(data) if data else None
            for client in some:
                client.reset()
        go_on.set()
        wait_until(lambda: server.stats["connections"] == 0, "all have gone")
        client = self.connect_tcp(server)
        client.send("say fine\n")
        self.assertEqual(client.read_line(), "raw:fine")
        self.assertEqual(self.logs.lines(logging.WARNING), [])
