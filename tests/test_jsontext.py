"""jsontext: strict both ways, and one kind of error (A1, Q3)."""

from __future__ import annotations

import unittest
from typing import Any

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
        deep: Any = []
        for _ in range(100_000):
            deep = [deep]
        for value in (float("nan"), float("inf"), [float("-inf")], "\ud800", {"\udfff": 1}, circle):
            with self.subTest(value), self.assertRaises(ValueError):
                dumps(value)
        with self.assertRaises(ValueError):
            dumps(deep)
        while deep:
            deep = deep[0]
        for other in ({1}, b"", object(), {(1,): 2}, [1j]):
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
            b'"\xc0\xaf"', b"[" * 200_000, b'{"a":' * 200_000, b"\xff\xfe1\x00", b"{}{}",
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
        ):
            with self.subTest(data), self.assertRaises(ValueError) as caught:
                loads(data)
            self.assertEqual(str(caught.exception), text)


if __name__ == "__main__":
    unittest.main()
