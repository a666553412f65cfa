"""Tests for protocol/message.py: contract T1 to T5, T8, P3; limits rows 22 and 30."""

from __future__ import annotations

import enum
import json
import random
import sys
import unittest
import xml.etree.ElementTree as etree
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from pyliteflux.errors import NO_ID, BadMessage
from pyliteflux.protocol.frame import Frame
from pyliteflux.protocol.framing import MessageFramer
from pyliteflux.protocol.message import (
    Signal,
    decode,
    encode_answer,
    encode_end,
    encode_error,
    encode_item,
)
from pyliteflux.xmltext import MAX_ATTRIBUTES


class Said(NamedTuple):
    """What `decode` returns of a command, by name."""

    command: str
    data: Any
    id: Any
    headers: dict[str, str] | None


def read(data_type: str, data: str | bytes) -> Said:
    said = decode(Frame(data_type, data.encode() if isinstance(data, str) else data))
    assert not isinstance(said, Signal)
    return Said(*said)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


class Reading(unittest.TestCase):
    def refuse(self, data_type: str, data: str | bytes, text: str = "", id: Any = NO_ID) -> None:
        """Check that decode raises one BadMessage that says `text`, with its format and id."""
        with self.assertRaises(BadMessage) as caught:
            read(data_type, data)
        error = caught.exception
        self.assertIn(text, str(error))
        self.assertEqual(vars(error)["data_type"], data_type)
        self.assertEqual(error.id, id)
        self.assertEqual(error.code, "bad_message")
        # Whatever it says, it can be answered in the format of the question.
        answer = encode_error(str(error), error.code, data_type, id)
        self.assertEqual(answer.count(b"\n"), 1)


class ReadingLines(Reading):
    """T1: first word the command, the rest the data."""

    def test_the_first_word_is_the_command_and_the_rest_the_data(self) -> None:
        for line, command, data in [
            ("ping", "ping", ""),
            ("echo hello", "echo", "hello"),
            ("echo \t  two  words", "echo", "two  words"),
            ("echo a\tb\x00", "echo", "a\tb\x00"),
            ("命令 数据", "命令", "数据"),
            ("a\u3000b c", "a\u3000b", "c"),
            ("[1, 2]", "[1,", "2]"),
        ]:
            with self.subTest(line):
                message = read("raw", line)
                self.assertEqual((message.command, message.data), (command, data))
                self.assertIsNone(message.headers)
                self.assertIs(message.id, NO_ID)

    def test_a_line_that_is_not_utf8_is_refused(self) -> None:
        for line in (b"\xff\xfe", b"echo \xc3", b"echo \xed\xa0\x80"):
            self.refuse("raw", line, "not UTF-8")

    def test_controls_in_a_command_are_refused(self) -> None:
        for line in ("\x00", "a\x1bb c", "a\rb", "\x7f", "a\x85 b"):
            self.refuse("raw", line, "controls")

    def test_a_line_without_a_command_is_refused(self) -> None:
        self.refuse("raw", "", "command")


class ReadingJson(Reading):
    """T1: {"command": ..., "data": ..., "id": ..., "headers": ...}."""

    def test_a_full_message_is_read(self) -> None:
        text = '{"command": "a", "data": [1, {"b": null}], "id": 7, "headers": {"X": "y"}}'
        message = read("json", text)
        self.assertEqual(message.command, "a")
        self.assertEqual(message.data, [1, {"b": None}])
        self.assertEqual(message.id, 7)
        self.assertEqual(message.headers, {"X": "y"})

    def test_all_but_the_command_may_be_missing(self) -> None:
        message = read("json", '{"command": "a"}')
        self.assertIsNone(message.data)
        self.assertIs(message.id, NO_ID)
        self.assertIsNone(message.headers)

    def test_an_id_of_null_is_an_id(self) -> None:
        self.assertIsNone(read("json", '{"command": "a", "id": null}').id)

    def test_what_is_no_json_is_refused(self) -> None:
        for text in ("{", "{nonsense}", '{"a": 1,}', '{"command": NaN}', "{} {}", '{"a": 01}'):
            self.refuse("json", text, "bad JSON")
        self.refuse("json", b'{"command": "\xff"}', "UTF-8")

    @unittest.skipUnless(hasattr(sys, "set_int_max_str_digits"), "Python before 3.10.7")
    def test_a_number_of_too_many_digits_is_refused_not_computed(self) -> None:
        # CVE-2020-10735: int() of a decimal text is quadratic.
        self.refuse("json", '{"command": "a", "data": ' + "1" * 100000 + "}", "bad JSON")

    def test_what_is_no_command_is_refused_and_the_error_says_what_is_expected(self) -> None:
        self.refuse("json", "{}", '"command" is missing; expected {"command"')
        for command in ('""', "null", "1", '["a"]', "{}"):
            self.refuse("json", f'{{"command": {command}}}', '"command" must be a str')
        self.refuse("json", "[1]", "not a JSON object")

    def test_headers_are_an_object_of_str(self) -> None:
        for headers in ("null", "1", "[]", '"a: b"', '{"a": 1}', '{"a": null}'):
            self.refuse("json", f'{{"command": "a", "headers": {headers}}}', '"headers" must be')

    def test_an_error_knows_the_id_where_it_could_be_read(self) -> None:
        self.refuse("json", '{"id": 7}', id=7)
        self.refuse("json", '{"id": null}', id=None)
        self.refuse("json", '{"id": ["x"], "command": "a", "headers": 1}', id=["x"])

    def test_every_id_that_is_let_in_can_be_echoed(self) -> None:
        self.refuse("json", '{"command": "a", "id": 1e999}', "beyond the range")
        for text, id in (('"\\ud800"', "\ufffd"), ('{"\\udfff": 1}', {"\ufffd": 1})):
            command = decode(Frame("json", f'{{"command": "a", "id": {text}}}'.encode()))
            assert not isinstance(command, Signal)
            self.assertEqual(command[2], id)
            self.assertIn("\ufffd".encode(), encode_answer("x", "json", command[2]))


class ReadingXml(Reading):
    """T3: children arrive as a dict; a DOCTYPE is refused."""

    def test_children_become_a_dict(self) -> None:
        for inside, data in [
            ("", {}),
            ("\n  ", {}),
            ("hello", "hello"),
            (" a &lt; b ", " a < b "),
            ("<![CDATA[<x>]]>", "<x>"),
            ("<a>1</a>", {"a": "1"}),
            ("\n<a>1</a>\n<b/>\n<c></c>\n", {"a": "1", "b": "", "c": ""}),
            ("<a>1</a><b>x</b><a>2</a><a/>", {"a": ["1", "2", ""], "b": "x"}),
            ("<a><b>1</b></a><a><b>2</b></a>", {"a": [{"b": "1"}, {"b": "2"}]}),
            ("<a> <b> <c>x</c> </b> </a>", {"a": {"b": {"c": "x"}}}),
            ("<a>x<!-- y -->z<?p?></a>", {"a": "xz"}),
            ("<a b='1'>x</a>", {"a": {"@b": "1", "#text": "x"}}),
            ("text <a>x</a> text", {"a": "x"}),
            ("<名>&#23383;</名>", {"名": "字"}),
        ]:
            with self.subTest(inside):
                message = read("xml", f'<request command="go">{inside}</request>')
                self.assertEqual(message.command, "go")
                self.assertEqual(message.data, data)
                self.assertIs(message.id, NO_ID)

    def test_an_id_is_kept(self) -> None:
        text = '<?xml version="1.0" encoding="UTF-8"?><!-- c --><request id="7" command="a"/>'
        self.assertEqual(read("xml", text).id, "7")

    def test_a_doctype_or_an_entity_is_refused(self) -> None:
        for dtd in (
            "<!DOCTYPE request>",
            '<!DOCTYPE request [<!ENTITY a "b">]>',
            '<!DOCTYPE request SYSTEM "file:///etc/passwd">',
        ):
            self.refuse("xml", dtd + '<request command="a">x</request>', "DOCTYPE")

    def test_what_expat_does_not_like_is_refused(self) -> None:
        for text in (
            "<request>",
            "<a></b>",
            '<request command="a" command="b"/>',
            '<request command="a"/><more/>',
            '<request command="a">&undefined;</request>',
            '<request command="a">&#0;</request>',
            '<?xml version="1.0" encoding="no-such"?><request command="a"/>',
            '<?xml version="1.0" encoding="utf-16"?><request command="a"/>',
            '<?xml version="1.0" encoding="cp037"?><request command="a"/>',
            "",
        ):
            with self.subTest(text):
                with self.assertRaises(BadMessage) as caught:
                    read("xml", text)
                self.assertEqual(vars(caught.exception)["data_type"], "xml")
        self.refuse("xml", b'<request command="\xff"/>', "bad XML")
        self.refuse("xml", b'<request command="a">\x00</request>', "bad XML")

    def test_another_root_or_no_command_is_refused(self) -> None:
        self.refuse("xml", '<response command="a"/>', "<request>")
        self.refuse("xml", "<request/>", '"command" is missing or empty')
        self.refuse("xml", '<request command="" id="7"/>', '"command"', id="7")
        self.refuse("xml", '<request command="a" id="7"><b></request>', "bad XML", id="7")

    def test_attributes_are_kept_and_text_beside_them(self) -> None:
        """F9: nothing is lost; the names can be no element's."""
        for text, data in [
            ('<request command="a" id="7" unit="C"/>', {"@unit": "C"}),
            ('<request command="a" unit="C"> 21 </request>', {"@unit": "C", "#text": " 21 "}),
            (
                '<request command="c"><sensor id="5" unit="C">21</sensor></request>',
                {"sensor": {"@id": "5", "@unit": "C", "#text": "21"}},
            ),
            (
                '<request command="c"><s id="1"/><s id="2">x</s><s>y</s></request>',
                {"s": [{"@id": "1"}, {"@id": "2", "#text": "x"}, "y"]},
            ),
            (
                '<request command="c"><s a="1">\n <t>1</t> z\n</s></request>',
                {"s": {"@a": "1", "t": "1", "#text": "z"}},
            ),
            (
                '<request xmlns="u:v" command="c"><command>x</command></request>',
                {"@xmlns": "u:v", "command": "x"},
            ),
            ('<request command="a"><b command="1" id="2"/></request>',
             {"b": {"@command": "1", "@id": "2"}}),
        ]:  # fmt: skip
            with self.subTest(text):
                self.assertEqual(read("xml", text).data, data)

    def test_an_answer_with_such_keys_is_written_as_it_was_read(self) -> None:
        for data in (
            {"@unit": "C", "#text": "21"},
            {"sensor": {"@id": "5", "@unit": 'a "b" id=<c>\n', "#text": " x "}},
            {"s": {"@id": "2", "t": {"@u": "", "x": "y"}}},
        ):
            answer = encode_answer(data, "xml").decode()
            document = answer.replace("<response", '<request command="a"', 1)
            document = document.replace("</response>", "</request>")
            self.assertEqual(read("xml", document).data, data, answer)
        for value, id, answer in [
            ({"@id": 5, "a": 1}, 7, '<response id="7"><item key="@id">5</item><a>1</a></response>'),
            ({"@id": 5}, NO_ID, '<response id="5"></response>'),
            ({"@a": [1]}, NO_ID, '<response><item key="@a"><item>1</item></item></response>'),
            ({"@a b": 1}, NO_ID, '<response><item key="@a b">1</item></response>'),
            ({"no name": {"@key": 1}}, NO_ID,
             '<response><item key="no name"><item key="@key">1</item></item></response>'),
            ({"#text": {"a": 1}}, NO_ID, '<response><item key="#text"><a>1</a></item></response>'),
        ]:  # fmt: skip
            self.assertEqual(encode_answer(value, "xml", id).decode(), answer + "\n")

    def test_what_it_says_to_the_route_for_the_rest(self) -> None:
        """F8: the error has it, for whoever has such a route."""
        for data_type, data, said in [
            ("json", b'{"temperature": 21}', ("", {"temperature": 21}, NO_ID, None)),
            ("json", b'{"command": "", "id": 5}', ("", {"command": "", "id": 5}, 5, None)),
            ("json", b'{"command": 7}', ("", {"command": 7}, NO_ID, None)),
            ("json", b'{"headers": {"a": "b"}}', ("", {"headers": {"a": "b"}}, NO_ID, {"a": "b"})),
            ("json", b'{"headers": 5}', ("", {"headers": 5}, NO_ID, None)),
            ("json", b"[1]", ("", [1], NO_ID, None)),
            ("json", b"{]", None),
            ("json", b'{"command": "a", "headers": 5}', None),
            ("xml", b'<login imei="1"/>', ("login", {"@imei": "1"}, NO_ID, None)),
            ("xml", b'<s id="5">21</s>', ("s", {"@id": "5", "#text": "21"}, "5", None)),
            ("xml", b"<s>21</s>", ("s", "21", NO_ID, None)),
            ("xml", b'<request id="1"><a>1</a></request>', ("", {"a": "1"}, "1", None)),
            ("xml", b"<request>", None),
            ("raw", b"\xff\x00", ("", b"\xff\x00", NO_ID, None)),
            ("raw", b"\x02abc 5", ("", b"\x02abc 5", NO_ID, None)),
        ]:
            with self.subTest(data), self.assertRaises(BadMessage) as caught:
                decode(Frame(data_type, data))
            self.assertEqual(getattr(caught.exception, "said", None), said, data)

    def test_depth_and_attributes_are_limited(self) -> None:
        deep = '<request command="a">' + "<b>" * 63 + "</b>" * 63 + "</request>"
        self.assertIsInstance(read("xml", deep).data, dict)
        deeper = '<request command="a">' + "<b>" * 64 + "</b>" * 64 + "</request>"
        self.refuse("xml", deeper, "64 levels")
        self.assertTrue(decode(Frame("xml", deeper.encode()), max_depth=65))
        wide = "".join(f' a{n}="x"' for n in range(MAX_ATTRIBUTES))
        self.refuse("xml", f'<request command="a"><b {wide} z="x"/></request>', "attributes")
        self.assertTrue(read("xml", f'<request command="a"><b {wide}/></request>'))


class ReadingBinary(unittest.TestCase):
    def test_bytes_without_a_command_are_its_data(self) -> None:
        for data_type in ("binary", "cbor"):
            message = read(data_type, b"\xff\x00 ping")
            self.assertEqual((message.command, message.data), ("", b"\xff\x00 ping"))
            self.assertIs(message.id, NO_ID)


class BinaryAndWrapped(unittest.TestCase):
    """Answers to binary messages, and in a framing that puts something around each message."""

    def wrap(self, data: bytes) -> bytes:
        return b"<%b>" % data

    def test_to_a_binary_message_bytes_are_answered_as_they_are(self) -> None:
        for value, plain, wrapped in (
            (b"a\n", b"a\n", b"<a\n>"),
            (b"", b"", b"<>"),
            ("é", "é".encode(), "<é>".encode()),
            (None, b"", b""),
            ({"a": 1}, b'{"a": 1}\n', b'<{"a": 1}>'),
            (5, b"5\n", b"<5>"),
        ):
            with self.subTest(value):
                self.assertEqual(encode_answer(value, "binary"), plain)
                self.assertEqual(encode_answer(value, "binary", NO_ID, self.wrap), wrapped)
                self.assertEqual(encode_item(value, "binary"), plain)
                self.assertEqual(encode_item(value, "binary", NO_ID, self.wrap), wrapped)

    def test_a_framing_gets_messages_without_their_line_end(self) -> None:
        for value, data_type, id, wrapped in (
            ("a", "raw", NO_ID, b"<a>"),
            ("a\n", "raw", NO_ID, b"<a\n>"),
            (b"\xff\n", "raw", NO_ID, b"<\xff\n>"),
            (None, "raw", NO_ID, b"<null>"),
            ([1], "raw", NO_ID, b"<[1]>"),
            ("a", "json", NO_ID, b'<"a">'),
            ({"a": 1}, "json", 7, b'<{"a": 1, "id": 7}>'),
            (None, "json", NO_ID, b"<null>"),
            ("a", "xml", "7", b'<<response id="7">a</response>>'),
        ):
            with self.subTest(value, data_type=data_type):
                self.assertEqual(encode_answer(value, data_type, id, self.wrap), wrapped)

    def test_errors_chunks_and_ends_are_wrapped_too(self) -> None:
        for data_type in ("raw", "json", "binary"):
            error = encode_error("no", "c", data_type, wrap=self.wrap)
            self.assertEqual(error, b'<{"error": "no", "code": "c"}>')
            self.assertEqual(encode_error("no", "c", data_type), error[1:-1] + b"\n")
        for data_type in ("json", "xml"):
            for plain, wrapped in (
                (encode_item(1, data_type, 7), encode_item(1, data_type, 7, self.wrap)),
                (encode_end(data_type, 7), encode_end(data_type, 7, self.wrap)),
                (
                    encode_error("no", "c", data_type, 7),
                    encode_error("no", "c", data_type, 7, wrap=self.wrap),
                ),
            ):
                self.assertEqual(plain, wrapped[1:-1] + b"\n")
        for data_type in ("raw", "binary"):
            self.assertEqual(encode_end(data_type, wrap=self.wrap), b"")


class Answers(unittest.TestCase):
    """T2: the answer comes in the format of the question, ended by LF."""

    def test_answers(self) -> None:
        for data_type, value, id, answer in [
            ("json", {"a": 1}, NO_ID, '{"a": 1}'),
            ("json", {"a": "字\n"}, NO_ID, '{"a": "字\\n"}'),
            ("json", {"a": 1}, 7, '{"a": 1, "id": 7}'),
            ("json", {"id": 1, "a": 2}, "x", '{"id": "x", "data": {"id": 1, "a": 2}}'),
            ("json", {"id": 1, "a": 2}, NO_ID, '{"id": 1, "a": 2}'),
            ("json", {"type": "end"}, 1, '{"id": 1, "data": {"type": "end"}}'),
            ("json", {"error": None}, 1, '{"id": 1, "data": {"error": null}}'),
            ("json", {"data": 2}, 1, '{"data": 2, "id": 1}'),
            ("json", {"a": 1}, None, '{"a": 1, "id": null}'),
            ("json", [1, 2], 7, '{"id": 7, "data": [1, 2]}'),
            ("json", "text", NO_ID, '"text"'),
            ("json", "text", [1], '{"id": [1], "data": "text"}'),
            ("json", None, NO_ID, "null"),
            ("json", None, 7, '{"id": 7, "data": null}'),
            ("json", b"a\xff", NO_ID, '"a\ufffd"'),
            ("json", True, NO_ID, "true"),
            ("raw", "text", NO_ID, "text"),
            ("raw", "字\n", NO_ID, "字"),
            ("raw", "", NO_ID, ""),
            ("raw", "two\nlines", NO_ID, '"two\\nlines"'),
            ("raw", "two\r\nlines\n", NO_ID, '"two\\r\\nlines\\n"'),
            ("raw", "two\rlines", NO_ID, '"two\\rlines"'),
            ("raw", "one\r", NO_ID, "one\r"),
            ("raw", "\n\n", NO_ID, '"\\n\\n"'),
            ("raw", {"a": [1]}, NO_ID, '{"a": [1]}'),
            ("raw", None, NO_ID, "null"),
            ("raw", 1.5, NO_ID, "1.5"),
            ("xml", None, NO_ID, "<response/>"),
            ("xml", "", NO_ID, "<response></response>"),
            ("xml", {}, 'a"<', '<response id="a&quot;&lt;"></response>'),
            ("xml", [], 7, '<response id="7"></response>'),
            ("xml", "a < b & c > d", NO_ID, "<response>a &lt; b &amp; c &gt; d</response>"),
            ("xml", "a\nb\r\n", NO_ID, "<response>a&#10;b&#13;&#10;</response>"),
            ("xml", b"a\xff", NO_ID, "<response>a\ufffd</response>"),
            ("xml", {"名": 2.5}, NO_ID, "<response><名>2.5</名></response>"),
            (
                "xml",
                {"é1": 2, "1é": 3},
                NO_ID,
                '<response><é1>2</é1><item key="1é">3</item></response>',
            ),
            ("xml", "\x00\x1b\ud800\uffff😀", NO_ID, "<response>" + "\ufffd" * 4 + "😀</response>"),
            (
                "xml",
                {"a": True, "b": None, "c": [1, {"d": False}], "e": (), "f": {"g": "h"}},
                NO_ID,
                "<response><a>true</a><b/><c><item>1</item><item><d>false</d></item></c><e></e>"
                + "<f><g>h</g></f></response>",
            ),
            (
                "xml",
                {"no name": 1, "1a": 2, "": 3, "a:b": 4, "<\n>": 5, 6: 7, None: 8, True: 9},
                NO_ID,
                '<response><item key="no name">1</item><item key="1a">2</item><item key="">3</item>'
                + '<item key="a:b">4</item><item key="&lt;&#10;&gt;">5</item><item key="6">7</item>'
                + "<null>8</null><true>9</true></response>",
            ),
        ]:
            with self.subTest(data_type=data_type, value=value, id=id):
                self.assertEqual(encode_answer(value, data_type, id), answer.encode() + b"\n")

    def test_an_error_stays_one_and_what_clashes_with_its_envelope_is_beside_it(self) -> None:
        """F3, T2, T5: for a client an error is what has "error" beside the id."""
        for value, answer in [
            ({"error": "no", "status": 403}, {"error": "no", "status": 403, "id": 7}),
            (
                {"error": "taken", "id": 77, "type": "stream", "by": "Ann"},
                {
                    "error": "taken",
                    "by": "Ann",
                    "data": {"error": "taken", "id": 77, "type": "stream", "by": "Ann"},
                    "id": 7,
                },
            ),
            ({"id": 77}, {"data": {"id": 77}, "id": 7}),
            ("no", {"id": 7, "data": "no"}),
        ]:
            with self.subTest(value):
                self.assertEqual(json.loads(encode_answer(value, "json", 7, is_error=True)), answer)
                wrapped = encode_answer(
                    value, "json", 7, lambda data: b"[%b]" % data, is_error=True
                )
                self.assertEqual(json.loads(wrapped), [answer])

    def test_bytes_are_sent_as_they_are_on_a_raw_line(self) -> None:
        self.assertEqual(encode_answer(b"\xff\x00", "raw"), b"\xff\x00\n")
        self.assertEqual(encode_answer(b"\xff\n", "raw"), b"\xff\n")

    def test_with_a_line_end_inside_they_are_json_as_a_str_is(self) -> None:
        """T2: who asked in one line reads one line."""
        for text, answer in [
            ("a\nb", '"a\\nb"\n'),
            ("a\rb\n", '"a\\rb\\n"\n'),
            ("\n\n", '"\\n\\n"\n'),
            ("a\r\n", "a\r\n"),
            ("a\r", "a\r\n"),
            ("\n", "\n"),
            ("", "\n"),
        ]:
            with self.subTest(text):
                self.assertEqual(encode_answer(text, "raw"), answer.encode())
                self.assertEqual(encode_answer(text.encode(), "raw"), answer.encode())
        self.assertEqual(encode_answer(b"\xff\n\0\n", "raw"), '"\ufffd\\n\\u0000\\n"\n'.encode())

    def test_the_callers_dict_is_not_changed(self) -> None:
        value = {"id": 1, "a": 2}
        for data_type in ("json", "xml", "raw"):
            encode_answer(value, data_type, 7)
        self.assertEqual(value, {"id": 1, "a": 2})

    def test_what_json_cannot_write_is_an_error_in_every_format(self) -> None:
        circle: list[Any] = []
        circle.append(circle)
        for value in ({b"", 2}, object(), {"a": b"x"}, {(1, 2): 3}, [1j], float("nan"), circle):
            for data_type in ("json", "xml", "raw"):
                text = f"{value!r} as {data_type}"
                with self.subTest(text), self.assertRaises((TypeError, ValueError)):
                    encode_answer({"v": value}, data_type, 7)

    def test_nesting_that_python_cannot_follow_is_written(self) -> None:
        """As JSON, where it came in as JSON; elements cannot be nested so: they hold its text."""
        json_text = b"[" * 200_000 + b"]" * 200_000
        for data_type, answer in (
            ("json", json_text + b"\n"),
            ("raw", json_text + b"\n"),
            ("xml", b"<response>" + json_text + b"</response>\n"),
        ):
            self.assertEqual(encode_answer(nested(200_000), data_type), answer)

    def test_what_python_programs_hold_is_written_in_every_format(self) -> None:
        value = {"when": date(2026, 12, 1), "all": {1}, "price": Decimal("1.10")}
        self.assertEqual(
            encode_answer(value, "xml"),
            b"<response><when>2026-12-01</when><all><item>1</item></all><price>1.10</price>"
            b"</response>\n",
        )
        text = b'{"when": "2026-12-01", "all": [1], "price": "1.10"}\n'
        self.assertEqual(encode_answer(value, "json"), text)
        self.assertEqual(encode_answer(value, "raw"), text)
        for data_type in ("json", "raw", "xml"):
            for encode in (encode_answer, encode_item):
                data = encode({"v": [1j, {2j: 1}]}, data_type, default=str)  # type: ignore[operator]
                self.assertIn(b"1j", data)
                self.assertIn(b"2j", data)
                with self.assertRaisesRegex(TypeError, r"v\[0\]: complex .* json_default"):
                    encode({"v": [1j]}, data_type)  # type: ignore[operator]

    def test_numbers_of_an_enum_are_written_as_numbers(self) -> None:
        class Level(enum.IntEnum):
            HIGH = 3

        for data_type, answer in (("json", b"3\n"), ("xml", b"<response>3</response>\n")):
            self.assertEqual(encode_answer(Level.HIGH, data_type), answer)

    def test_an_xml_answer_is_one_line_and_says_the_same_to_a_parser(self) -> None:
        chance = random.Random(22)
        for _ in range(500):
            text = "".join(chance.choices("a&<>\"'\n\r\t ]é字\u2028\x85😀", k=20))
            answer = encode_answer({"k": text, text: "v"}, "xml", text)
            self.assertEqual(answer.count(b"\n"), 1)
            root = etree.fromstring(answer)
            self.assertEqual(root.findtext("k"), text)
            self.assertEqual(root.get("id"), text)
            self.assertEqual(root[1].get("key", root[1].tag), text)

    def test_an_answer_is_a_frame_of_our_own_framer(self) -> None:
        for data_type in ("json", "xml"):
            answer = encode_answer({"a": ["}", "<", "\n", {"b": '"'}]}, data_type, 7)
            framer = MessageFramer()
            framer.receive_data(answer * 2)
            for _ in range(2):
                self.assertEqual(framer.next_frame(), Frame(data_type, answer.rstrip()))


class Errors(unittest.TestCase):
    """T5: errors in the format of the question."""

    def test_errors(self) -> None:
        text, code = "Command not found", "unknown_command"
        plain = b'{"error": "Command not found", "code": "unknown_command"}\n'
        self.assertEqual(encode_error(text, code, "json"), plain)
        self.assertEqual(encode_error(text, code, "raw"), plain)
        self.assertEqual(
            encode_error(text, code, "xml"),
            b"<response><error>Command not found</error><code>unknown_command</code></response>\n",
        )

    def test_errors_with_an_id_and_a_status(self) -> None:
        self.assertEqual(
            encode_error("no", "c", "json", id=7, status=404),
            b'{"error": "no", "code": "c", "status": 404, "id": 7}\n',
        )
        self.assertEqual(
            encode_error("<no>", "c", "xml", id="7", status=404),
            b'<response id="7"><error>&lt;no&gt;</error><code>c</code><status>404</status>'
            b"</response>\n",
        )

    def test_half_a_surrogate_pair_costs_nobody_the_answer(self) -> None:
        for data_type in ("json", "xml", "raw"):
            self.assertIn(b"?", encode_error("\ud800?", "c", data_type))


class Streams(unittest.TestCase):
    def test_chunks(self) -> None:
        for data_type, item, id, chunk in [
            ("raw", "data: 1", 7, b"data: 1\n"),
            ("raw", "data: 1\n\n", NO_ID, b"data: 1\n\n"),
            ("raw", b"\xff", NO_ID, b"\xff\n"),
            ("raw", b"data: 1\r\n\r\n", NO_ID, b"data: 1\r\n\r\n"),
            ("raw", "a\nb", NO_ID, b"a\nb\n"),
            ("raw", {"a": 1}, NO_ID, b'{"a": 1}\n'),
            ("json", "x\n", NO_ID, b'{"type": "stream", "data": "x\\n"}\n'),
            ("json", b"x", 7, b'{"type": "stream", "data": "x", "id": 7}\n'),
            ("xml", {"a": 1}, "7", b'<stream id="7"><a>1</a></stream>\n'),
            ("xml", "x\n", NO_ID, b"<stream>x&#10;</stream>\n"),
        ]:
            with self.subTest(data_type=data_type, item=item):
                self.assertEqual(encode_item(item, data_type, id), chunk)

    def test_ends(self) -> None:
        self.assertEqual(encode_end("raw", 7), b"")
        self.assertEqual(encode_end("json"), b'{"type": "end"}\n')
        self.assertEqual(encode_end("json", 7), b'{"type": "end", "id": 7}\n')
        self.assertEqual(encode_end("xml"), b"<end/>\n")
        self.assertEqual(encode_end("xml", "7"), b'<end id="7"/>\n')


class Garbage(unittest.TestCase):
    def test_garbage_raises_nothing_but_bad_message(self) -> None:
        chance = random.Random(23)
        seeds = {
            "json": b'{"command": "a", "data": {"b": [1, "x\\u1234"]}, "id": 1, "headers": {}}',
            "xml": b'<?xml version="1.0"?><request command="a" id="1"><b c="d">&amp;</b></request>',
            "raw": "echo hello 字".encode(),
        }
        read_well = 0
        for _ in range(6000):
            data_type = chance.choice(list(seeds))
            data = bytearray(seeds[data_type])
            for _ in range(chance.randrange(1, 4)):
                odd = b'{}[]"<>/&;!\x00\xff\x80 \n0aN:,='
                data[chance.randrange(len(data))] = chance.choice(odd)
            try:
                message = read(data_type, bytes(data))
            except BadMessage as error:
                self.assertEqual(vars(error)["data_type"], data_type)
                encode_error(str(error), error.code, data_type, vars(error).get("id", NO_ID))
            else:
                read_well += 1
                encode_error("no", "c", data_type, message.id)
        self.assertGreater(read_well, 100)


if __name__ == "__main__":
    unittest.main()
