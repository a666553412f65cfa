"""headers: look-up in any letter case, repetition, and the one gate to the wire (Q4, A3)."""

from __future__ import annotations

import random
import time
import unittest
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any, ClassVar

from pyliteflux.headers import Headers, MutableHeaders, check_field, date_field


class HeadersTests(unittest.TestCase):
    def setUp(self) -> None:
        self.pairs = [("X-List", "a"), ("Host", "b"), ("x-list", "c, d"), ("X-LIST", "")]
        self.headers = Headers(self.pairs)

    def test_look_up_ignores_letter_case(self) -> None:
        """Q4: RFC 9110 section 5.1."""
        for name in ("Host", "host", "HOST", "hOST"):
            self.assertEqual(self.headers[name], "b")
            self.assertEqual(self.headers.get(name), "b")
            self.assertIn(name, self.headers)
        self.assertNotIn("X-Other", self.headers)
        self.assertNotIn(5, self.headers)
        self.assertIsNone(self.headers.get("X-Other"))
        self.assertEqual(self.headers.get("X-Other", "default"), "default")
        with self.assertRaises(KeyError):
            self.headers["X-Other"]

    def test_repeated_fields_are_joined_and_can_be_had_one_by_one(self) -> None:
        """Q4: RFC 9110 section 5.3."""
        self.assertEqual(self.headers["X-List"], "a, c, d, ")
        self.assertEqual(self.headers.getlist("x-LIST"), ["a", "c, d", ""])
        self.assertEqual(self.headers.getlist("nothing"), [])

    def test_cookies_are_joined_with_semicolons(self) -> None:
        """RFC 6265 section 5.4."""
        self.assertEqual(Headers([("Cookie", "a=1"), ("cookie", "b=2")])["Cookie"], "a=1; b=2")

    def test_it_is_a_read_only_mapping(self) -> None:
        """Q4."""
        self.assertIsInstance(self.headers, Mapping)
        self.assertEqual(list(self.headers), ["x-list", "host"])
        self.assertEqual(len(self.headers), 2)
        self.assertEqual(dict(self.headers), {"x-list": "a, c, d, ", "host": "b"})
        with self.assertRaises(TypeError):
            self.headers["Host"] = "other"  # type: ignore[index]

    def test_the_pairs_are_those_received(self) -> None:
        copy = self.headers.pairs()
        self.assertEqual(copy, self.pairs)
        copy.clear()
        self.assertEqual(self.headers.pairs(), self.pairs)

    def test_none_is_a_mapping_too(self) -> None:
        self.assertEqual((len(Headers()), Headers().getlist("a"), dict(Headers())), (0, [], {}))


class HeadersOfAHead(unittest.TestCase):
    """Cut when a field is first asked for, whatever it is asked."""

    LINES = "GET /a:b HTTP/1.1\r\nX-A:  1 \t\r\nhost: a:80\r\nx-a: \r\nX-B:\xe9 \xe9\r\n\r\n"
    PAIRS: ClassVar = [("X-A", "1"), ("host", "a:80"), ("x-a", ""), ("X-B", "\xe9 \xe9")]

    def test_it_is_like_one_made_of_the_pairs(self) -> None:
        pairs = Headers(self.PAIRS)
        asks: list[Callable[[Headers], Any]] = [
            Headers.pairs, dict, len, list, repr, lambda headers: headers["x-a"],
            lambda headers: headers.get("X-Host"), lambda headers: headers.getlist("x-A"),
            lambda headers: ("X-B" in headers, "GET /a" in headers, headers == pairs),
        ]  # fmt: skip
        for ask in asks:
            self.assertEqual(ask(Headers((), self.LINES)), ask(pairs))

    def test_a_head_without_fields_has_none(self) -> None:
        headers = Headers((), "GET / HTTP/1.0\r\n\r\n")
        self.assertEqual((len(headers), headers.get("host"), headers.pairs()), (0, None, []))


class CheckFieldTests(unittest.TestCase):
    def test_each_control_in_a_value_is_refused_but_tab(self) -> None:
        """A3: RFC 9110 section 5.5. CR and LF would begin a field of the attacker's."""
        for code in range(0x200):
            value = f"a{chr(code)}b"
            allowed = code == 9 or 0x20 <= code < 0x7F or 0x80 <= code <= 0xFF
            with self.subTest(code):
                if allowed:
                    check_field("X-A", value)
                else:
                    with self.assertRaisesRegex(ValueError, "X-A.*not allowed"):
                        check_field("X-A", value)

    def test_a_line_end_is_refused_wherever_it_stands(self) -> None:
        """A3."""
        for value in ("\n", "a\n", "\na", "a\r", "a\r\nX: y", "a\0", "\x0b", "\x7f", "\ud800"):
            with self.assertRaises(ValueError):
                check_field("X-A", value)

    def test_a_name_is_a_token(self) -> None:
        """A3: RFC 9110 section 5.6.2."""
        for name in ("X-A", "!#$%&'*+-.^_`|~09azAZ"):
            check_field(name, "")
        for name in ("", "X A", "X:A", "X-A\r\n", "X-A\n", "Ü", "X\0", "(", None, 5, b"X"):
            with self.subTest(name), self.assertRaisesRegex(ValueError, "not a token"):
                check_field(name, "a")  # type: ignore[arg-type]

    def test_a_value_is_a_str(self) -> None:
        for value in (None, 5, b"a", ["a"]):
            with self.assertRaisesRegex(ValueError, "X-A.*must be a str"):
                check_field("X-A", value)  # type: ignore[arg-type]


class MutableHeadersTests(unittest.TestCase):
    def test_assigning_replaces_and_add_appends(self) -> None:
        headers = MutableHeaders()
        headers["X-A"] = "1"
        headers.add("x-a", "2")
        self.assertEqual(headers.getlist("X-a"), ["1", "2"])
        self.assertEqual(headers["X-A"], "1")
        headers["x-A"] = "3"
        self.assertEqual(headers.items(), [("x-A", "3")])
        del headers["X-A"]
        self.assertNotIn("X-A", headers)
        self.assertEqual(len(headers), 0)
        with self.assertRaises(KeyError):
            headers["X-A"]

    def test_it_takes_mappings_and_pairs_and_keeps_neither(self) -> None:
        """A4."""
        given: list[Any] = [{"X-A": "1"}, [("X-A", "1")], MutableHeaders({"X-A": "1"}),
                            iter([("X-A", "1")]), Headers([("x-a", "1")])]  # fmt: skip
        for fields in given:
            headers = MutableHeaders(fields)
            self.assertEqual(headers["x-a"], "1")
            headers["X-B"] = "2"
        self.assertEqual(given[:2], [{"X-A": "1"}, [("X-A", "1")]])
        self.assertEqual(len(given[2]), 1)

    def test_any_changes_leave_what_the_rules_say(self) -> None:
        """It keeps the names beside the fields: the two must never say different things."""
        chance = random.Random(9110)
        names = ("X-A", "x-a", "X-B", "x-B", "Set-Cookie")
        for _ in range(300):
            headers = MutableHeaders()
            model: list[tuple[str, str]] = []
            for number in range(chance.randrange(12)):
                name, value = chance.choice(names), str(number)
                same = {name.lower()}
                step = chance.randrange(5)
                if step == 0:
                    headers.add(name, value)
                elif step == 1:
                    headers[name] = value
                elif step == 2:
                    headers.update({name: value, "X-B": value})
                    same.add("x-b")
                elif step == 3:
                    del headers[name]
                else:  # Fields or pairs: both replace.
                    pairs = [(name, value), (name, "again")]
                    headers.update(MutableHeaders(pairs) if chance.random() < 0.5 else pairs)
                if step:
                    model = [pair for pair in model if pair[0].lower() not in same]
                if step == 2 and name.lower() == "x-b":
                    name = "X-B"
                if step != 3:
                    model.append((name, value))
                if step == 2 and name != "X-B":
                    model.append(("X-B", value))
                if step == 4:
                    model.append((name, "again"))
                self.assertEqual(headers.items(), model)
                for name in names:
                    values = [v for n, v in model if n.lower() == name.lower()]
                    self.assertEqual(headers.getlist(name), values)
                    self.assertEqual(headers.get(name), values[0] if values else None)
                    self.assertEqual(name in headers, bool(values))

    def test_numbers_are_written_and_the_rest_is_refused(self) -> None:
        self.assertEqual(MutableHeaders({"A": 5, "B": 1.5}).items(), [("A", "5"), ("B", "1.5")])
        for fields in ({"A": None}, {"A": b"1"}, {"A": ["1"]}, [("A", None)], 5, "X: y", ["AB C"],
                       [("A", "1", "2")], [(1, "1")]):  # fmt: skip
            with self.subTest(fields), self.assertRaises(TypeError):
                MutableHeaders(fields)

    def test_setdefault_and_vary(self) -> None:
        headers = MutableHeaders()
        self.assertEqual(headers.setdefault("X-A", "1"), "1")
        self.assertEqual(headers.setdefault("x-a", "2"), "1")
        for name in ("Origin", "Accept", "origin"):
            headers.add_vary(name)
        self.assertEqual(headers["Vary"], "Origin, Accept")
        headers["Vary"] = "*"
        headers.add_vary("Origin")
        self.assertEqual(headers["Vary"], "*")

    def test_vary_may_be_several_fields(self) -> None:
        """RFC 9110 section 5.3: `vary-lost-of-two-fields`."""
        for present, expected in (
            (["Cookie", "X-Language"], ["Cookie, X-Language, Origin"]),
            (["Cookie", "Accept, ORIGIN"], ["Cookie", "Accept, ORIGIN"]),
            (["Cookie", "*"], ["Cookie", "*"]),
        ):
            headers = MutableHeaders([("Vary", value) for value in present])
            headers.add_vary("Origin")
            self.assertEqual(headers.getlist("vary"), expected)

    def test_a_dict_can_be_made_of_it(self) -> None:
        headers = MutableHeaders([("X-A", "1"), ("x-b", "2"), ("X-B", "3")])
        self.assertEqual({**headers, "X-C": "4"}, {"X-A": "1", "x-b": "2", "X-B": "2", "X-C": "4"})


class DateFields(unittest.TestCase):
    def test_dates_are_those_of_the_standard_library(self) -> None:
        """RFC 9110 section 5.6.7, with the years that four digits hold."""
        self.assertEqual(date_field(time.gmtime(784111777)), "Sun, 06 Nov 1994 08:49:37 GMT")
        for seconds in [0, 951782399, 4102444799, *range(86_399, 12 * 31 * 86_400, 86_400 * 13)]:
            self.assertEqual(date_field(time.gmtime(seconds)), formatdate(seconds, usegmt=True))


if __name__ == "__main__":
    unittest.main()
