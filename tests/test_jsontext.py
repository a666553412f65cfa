"""jsontext: strict both ways, and one kind of error (A1, Q3)."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import itertools
import json
import pathlib
import sys
import types
import unittest
import uuid
from typing import Any, ClassVar

from pyliteflux.jsontext import dumps, loads

VALUES: list[tuple[Any, bytes]] = [
    (None, b"null"), (True, b"true"), (0, b"0"), (-1.5, b"-1.5"), ("", b'""'),
    ("é你😀", '"é你😀"'.encode()), ([], b"[]"), ({}, b"{}"), ([1, [2, {"a": None}]], None),
    ({"a": 1, "b": [True]}, b'{"a": 1, "b": [true]}'), ("\n\0\x7f\u2028\"\\/", None),
    (10**50, str(10**50).encode()),
]  # fmt: skip


class JSONTextTests(unittest.TestCase):
    def test_values_come_back_as_they_went(self) -> None:
        """A1: UTF-8, on one line, not escaped to ASCII."""
        for value, text in VALUES:
            data = dumps(value)
            if text is not None:
                self.assertEqual(data, text)
            self.assertNotIn(b"\n", data)
            self.assertEqual(loads(data), value)

    def test_what_json_cannot_say_is_refused(self) -> None:
        """A1: RFC 8259 section 6 has no NaN."""
        circle: dict[str, Any] = {}
        circle["a"] = circle
        for value in (float("nan"), float("inf"), [float("-inf")], "\ud800", {"\udfff": 1}, circle):
            with self.subTest(value), self.assertRaises(ValueError):
                dumps(value)
        for other in ({b""}, b"", object(), {(1,): 2}, [1j]):
            with self.assertRaises(TypeError):
                dumps(other)

    def test_a_circle_is_found_at_once_and_a_failure_leaves_no_trace(self) -> None:
        """Not by running out of stack: a large one would fill the memory on the way there."""
        circle: list[Any] = ["x"] * 1000
        circle.append(circle)
        with self.assertRaisesRegex(ValueError, "ircular"):
            dumps(circle)
        circle.pop()
        self.assertEqual(len(loads(dumps(circle))), 1000)
        broken: list[Any] = [object()]
        with self.assertRaises(TypeError):
            dumps(broken)
        broken[0] = 1
        self.assertEqual(dumps(broken), b"[1]")

    def test_what_is_not_json_is_a_value_error(self) -> None:
        """Q3: whatever the input is; a RecursionError never leaves."""
        for data in (
            b"", b" ", b"{", b"[1,]", b"{'a': 1}", b"{a: 1}", b"nul", b"01", b"+1", b".5", b"1 2",
            b"NaN", b"Infinity", b"[-Infinity]", b'"\n"', b'"\\x"', b"\xff", b'"\xed\xa0\x80"',
            b'"\xc0\xaf"', b"1e999", b"[-1e999]", b"1" * 400 + b".0", b'"\\ud83d\0"',
            b'"\\ud8"', b'"\\ud83d\\udcZZ"',
            b"[" * 200_000, b'{"a":' * 200_000, b"\xff\xfe1\x00", b"{}{}",
        ):  # fmt: skip
            with self.subTest(data[:20]), self.assertRaises(ValueError):
                loads(data)

    def test_space_and_a_byte_order_mark_are_let_pass(self) -> None:
        self.assertEqual(loads(b" \r\n\t[1]\n"), [1])
        self.assertEqual(loads(b"\xef\xbb\xbf[1]"), [1])
        self.assertEqual(loads(b"\xef\xbb\xbf 1\r\n"), 1)

    def test_an_error_says_where_it_is(self) -> None:
        for data, text in (
            (b"", "Expecting value: line 1 column 1 (char 0)"),
            (b'{"a": x}', "Expecting value: line 1 column 7 (char 6)"),
            (b"[1] 2", "Extra data: line 1 column 4 (char 3)"),
            (b'["\\ud83d", x]', "Expecting value: line 1 column 12 (char 11)"),
            (b"1e999", "a number is beyond the range of a double"),
            (b"[NaN]", "NaN is not JSON"),
        ):
            with self.subTest(data), self.assertRaises(ValueError) as caught:
                loads(data)
            self.assertEqual(str(caught.exception), text)

    @unittest.skipUnless(hasattr(sys, "get_int_max_str_digits"), "an old Python has no limit")
    def test_a_number_of_too_many_digits_is_an_error_of_ours(self) -> None:
        """Python's text tells whoever reads it to lift the limit."""
        with self.assertRaises(ValueError) as caught:
            loads(b"1" * 5000)
        self.assertEqual(str(caught.exception), "a number has too many digits")

    def test_half_a_surrogate_pair_is_read_as_the_replacement_character(self) -> None:
        """`half-an-emoji-in-json`: as queries and forms read it, so that it can be sent again."""
        pieces = (
            "\\ud83d",
            "\\ude00",
            "\\\\",
            "\\uD800",
            "\\uDFFF",
            '\\"',
            "ud83d",
            "\\u0041",
            "é",
        )
        for count in (1, 2, 3, 4):
            for chosen in itertools.product(pieces, repeat=count):
                text = f'"{"".join(chosen)}"'
                expected = "".join(
                    "\ufffd" if "\ud800" <= character <= "\udfff" else character
                    for character in json.loads(text)
                )
                self.assertEqual(loads(text.encode()), expected, text)
        self.assertEqual(loads(b'{"\\uDfff": [1, "\\ud83d"]}'), {"\ufffd": [1, "\ufffd"]})

    def test_what_is_let_in_can_be_written_and_read_again(self) -> None:
        """H13: no client's value is a 500 on its way out."""
        for data in (
            b'"\\ud83d"', b'{"a": 1, "a": 2}', b"1e308", b"-0", b"1E-999", b"9" * 4300,
            b"[" * 900 + b"]" * 900, b'{"":' * 900 + b"0" + b"}" * 900, b'"\\u0000\\uffff\\u007f"',
        ):  # fmt: skip
            with self.subTest(data[:20]):
                value = loads(data)
                self.assertEqual(loads(dumps(value)), value)

    def test_nesting_deeper_than_the_stack_is_written(self) -> None:
        """What was read at one depth of the stack is written at another, with a few levels more."""
        deep: Any = {"x": "ä"}
        for _ in range(100_000):
            deep = [deep, 1]
        data = dumps(deep)
        self.assertTrue(data.startswith(b"[[[") and data.endswith(b"1], 1]"))
        self.assertIn('[{"x": "ä"}, 1]'.encode(), data)
        while isinstance(deep, list):  # Its destructor would recurse on old versions.
            deep = deep[0]


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    when: Any = None
    kind: ClassVar[int] = 1


class StandInTests(unittest.TestCase):
    """What Python programs hold and JSON does not know (B15)."""

    def test_the_types_of_the_standard_library(self) -> None:
        utc = datetime.timezone.utc
        for value, expected in (
            (datetime.datetime(2026, 12, 1, 8, 30, tzinfo=utc), "2026-12-01T08:30:00+00:00"),
            (datetime.datetime(2026, 12, 1, 8, 30), "2026-12-01T08:30:00"),
            (datetime.date(2026, 12, 1), "2026-12-01"),
            (datetime.time(8, 30), "08:30:00"),
            (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
            (decimal.Decimal("1.10"), "1.10"),
            (Colour.RED, "red"),
            ({3, 1, 2}, [1, 2, 3]),
            (frozenset(("b", "a")), ["a", "b"]),
            (pathlib.PurePosixPath("/a/b"), "/a/b"),
            (types.MappingProxyType({"a": 1}), {"a": 1}),
            (Point(1, Point(2)), {"x": 1, "when": {"x": 2, "when": None}}),
        ):
            with self.subTest(value):
                for whole, outer in ((value, expected), ({"v": [value]}, {"v": [expected]})):
                    self.assertEqual(json.loads(dumps(whole)), outer)
        self.assertEqual(sorted(json.loads(dumps({1, "a"})), key=str), [1, "a"])

    def test_they_may_be_keys(self) -> None:
        keys = {uuid.UUID(int=7): 1, datetime.date(2026, 12, 1): 2, Colour.RED: 3, 4: True}
        self.assertEqual(
            dumps({"v": keys}),
            b'{"v": {"00000000-0000-0000-0000-000000000007": 1, "2026-12-01": 2, "red": 3, '
            b'"4": true}}',
        )

    def test_a_function_says_what_is_written_for_the_rest(self) -> None:
        def default(value: Any) -> Any:
            if isinstance(value, complex):
                return [value.real, value.imag, decimal.Decimal(1)]
            raise TypeError(f"no idea what {value!r} is")

        self.assertEqual(
            dumps({"a": [2j, {3j}]}, default), b'{"a": [[0.0, 2.0, "1"], [[0.0, 3.0, "1"]]]}'
        )
        with self.assertRaises(TypeError) as caught:
            dumps({"a": [2j, {"b": b"x"}]}, default)
        self.assertEqual(str(caught.exception), "a[1].b: no idea what b'x' is")
        with self.assertRaisesRegex(TypeError, "json_default"):  # It is not kept.
            dumps([2j])

    def test_the_function_may_encode_meanwhile(self) -> None:
        shared = [1]

        def default(value: Any) -> Any:
            return dumps([shared, datetime.date(2026, 12, 1)]).decode()

        self.assertEqual(json.loads(dumps([shared, 2j, 3j], default))[0], [1])

    def test_a_function_that_comes_to_no_end_is_found_out(self) -> None:
        for default in (
            lambda value: value,
            lambda value: object(),
            lambda value: [value],
            lambda value: [{"a": object()}],
        ):
            with self.assertRaises(ValueError):
                dumps({"a": object()}, default)

    def test_another_error_of_the_function_is_its_own(self) -> None:
        def default(value: Any) -> Any:
            raise KeyError("mine")

        with self.assertRaises(KeyError):
            dumps([1j], default)
        self.assertEqual(dumps([[1]]), b"[[1]]")

    def test_an_error_says_where_and_what_to_do(self) -> None:
        way_out = "hand over something that can, or say what is to be written with the setting"
        for value, text in (
            ({"items": [1, 2, {"when": b""}]},
             f"items[2].when: bytes cannot be written as JSON: {way_out}"),
            ([[object()]], "[0][0]: object cannot"),
            ({"a b": {"": {1j}}}, "['a b'][''][0]: complex cannot"),
            ({"p": Point(1, b"")}, "p.when: bytes cannot"),
            ({"a": float("nan")}, "a: nan is not JSON"),
            ({"a": [float("-inf")]}, "a[0]: -inf is not JSON"),
            ({"a": ["\ud800"]}, "a[0]: half a surrogate pair has no UTF-8"),
            ({"a": {"\ud800": 1}}, "a: half a surrogate pair has no UTF-8"),
            ({"a": {(1, 2): 1}}, "a: a key is a tuple"),
            (b"", "bytes cannot"),
        ):  # fmt: skip
            with self.subTest(value), self.assertRaises((TypeError, ValueError)) as caught:
                dumps(value)
            self.assertTrue(str(caught.exception).startswith(text), str(caught.exception))
        deep: Any = object()
        for _ in range(1000):
            deep = {"name": deep}
        with self.assertRaises(TypeError) as caught:
            dumps(deep)
        self.assertLess(len(str(caught.exception)), 400)


if __name__ == "__main__":
    unittest.main()
