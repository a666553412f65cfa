"""forms: urlencoded bodies, and what a Content-Type says (Q1, Q2)."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
import random
import sys
import unittest
import urllib.parse
from collections.abc import Callable
from typing import Any

from pyliteflux.app import forms
from pyliteflux.app.forms import (
    PIECE,
    MultiDict,
    content_type_of,
    parse_urlencoded,
)
from pyliteflux.errors import HTTPError


def calls_made(function: Callable[[], object]) -> int:
    """Count the calls, of Python and of C functions, that a function makes: work, not time."""
    count = 0

    def profile(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    except HTTPError:
        pass
    finally:
        sys.setprofile(before)
    return count


class CountingText(str):
    """A str that counts the characters its searches and slices touch."""

    touched = 0

    def find(self, sub: str, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        stop = len(self) if end is None else end
        found = super().find(sub, start, stop)
        self.touched += (found if found >= 0 else stop) - start + 1
        return found

    def __getitem__(self, index: Any) -> str:
        piece = super().__getitem__(index)
        self.touched += len(piece)
        return piece


class MultiDictTests(unittest.TestCase):
    def setUp(self) -> None:
        self.form: MultiDict[str] = MultiDict()
        for key, value in (("a", "1"), ("b", "2"), ("a", "3")):
            self.form.add(key, value)

    def test_it_reads_as_a_dict_of_first_values(self) -> None:
        self.assertIsInstance(self.form, dict)
        self.assertEqual(self.form, {"a": "1", "b": "2"})
        self.assertEqual(json.loads(json.dumps({"form": self.form})), {"form": dict(self.form)})

    def test_getlist_gives_all_values_and_none_for_an_unknown_key(self) -> None:
        self.assertEqual(self.form.getlist("a"), ["1", "3"])
        self.assertEqual(self.form.getlist("b"), ["2"])
        self.assertEqual(self.form.getlist("c"), [])

    def test_the_list_returned_is_the_callers_own(self) -> None:
        self.form.getlist("a").append("4")
        self.assertEqual(self.form.getlist("a"), ["1", "3"])

    def test_every_way_to_replace_or_remove_a_key_takes_all_its_values(self) -> None:
        def assign(form: MultiDict[str]) -> None:
            form["a"] = "9"

        def update(form: MultiDict[str]) -> None:
            form.update({"a": "9"})

        def update_by_name(form: MultiDict[str]) -> None:
            form.update(a="9")

        def merge(form: MultiDict[str]) -> None:
            form |= {"a": "9"}

        for change in (assign, update, update_by_name, merge):
            with self.subTest(change.__name__):
                form = self.form.copy()
                change(form)
                self.assertEqual((form["a"], form.getlist("a")), ("9", ["9"]))

        def delete(form: MultiDict[str]) -> None:
            del form["a"]

        def pop_items(form: MultiDict[str]) -> None:
            while form:
                form.popitem()

        for remove in (delete, pop_items, MultiDict.clear, lambda form: form.pop("a")):
            form = self.form.copy()
            remove(form)
            self.assertEqual(form.getlist("a"), [])
            form.add("a", "9")
            self.assertEqual(form.getlist("a"), ["9"])

    def test_update_from_another_brings_all_its_values(self) -> None:
        other: MultiDict[str] = MultiDict(b="0")
        other.update(self.form)
        self.assertEqual(other.getlist("a"), ["1", "3"])
        self.assertEqual(MultiDict(self.form, a="9").getlist("a"), ["9"])

    def test_copies_and_pickles_keep_all_values_and_are_independent(self) -> None:
        for made in (
            self.form.copy(),
            copy.copy(self.form),
            copy.deepcopy(self.form),
            pickle.loads(pickle.dumps(self.form)),
            MultiDict(self.form),
        ):
            self.assertIs(type(made), MultiDict)
            self.assertEqual(made, self.form)
            self.assertEqual(made.getlist("a"), ["1", "3"])
            made.add("a", "4")
            self.assertEqual(self.form.getlist("a"), ["1", "3"])


class UrlencodedTests(unittest.TestCase):
    def test_any_text_reads_as_the_standard_library_reads_it(self) -> None:
        """Plain text has a shorter way: no escape in it, and no character that is not ASCII."""
        chance = random.Random(5)
        for alphabet in ("ab=&+;/", "ab=&+%41fF", "a=&+%é你"):
            for _ in range(1000):
                given = "".join(chance.choices(alphabet, k=chance.randrange(24)))
                expected = urllib.parse.parse_qsl(given, keep_blank_values=True)
                with self.subTest(given):
                    form = parse_urlencoded(given, 100)
                    self.assertEqual(list(form), list(dict(expected)))
                    for key in form:
                        self.assertEqual(form.getlist(key), [v for k, v in expected if k == key])
                    self.assertEqual(dict(form), dict(reversed(expected)))

    def test_names_and_values_are_decoded(self) -> None:
        for given, pairs in (
            ("", []),
            ("a=1&b=2", [("a", "1"), ("b", "2")]),
            ("a=1&a=2&a=1", [("a", "1"), ("a", "2"), ("a", "1")]),
            ("a=&b", [("a", ""), ("b", "")]),
            ("a=b=c", [("a", "b=c")]),
            ("&&a=1&&", [("a", "1")]),
            ("a+b=c+d%2B", [("a b", "c d+")]),
            ("n=%E4%BD%A0%e5%a5%bd", [("n", "你好")]),
            ("n=你", [("n", "你")]),
            ("a=%FF", [("a", "\ufffd")]),
            ("a=%zz%4", [("a", "%zz%4")]),
            ("a=1;b=2", [("a", "1;b=2")]),
            ("a=\udcff", [("a", "?")]),
            ("a=%00%0d%0a", [("a", "\0\r\n")]),
        ):
            with self.subTest(given):
                form = parse_urlencoded(given, 10)
                keys = dict.fromkeys(key for key, _ in pairs)
                self.assertEqual(list(form), list(keys))
                for key in keys:
                    self.assertEqual(form.getlist(key), [v for k, v in pairs if k == key])

    def test_one_field_over_the_limit_is_a_413_that_names_the_setting(self) -> None:
        self.assertEqual(len(parse_urlencoded("a=1&b=2&c=3", 3)), 3)
        for given in ("a=1&b=2&c=3&d=4", "&&&"):
            with self.assertRaises(HTTPError) as caught:
                parse_urlencoded(given, 3)
            self.assertEqual(caught.exception.status, 413)
            self.assertIn("max_form_fields = 3", caught.exception.message)

    def test_a_million_separators_are_refused_before_they_are_split(self) -> None:
        self.assertLess(calls_made(lambda: parse_urlencoded("&" * 1_000_000, 1000)), 20)

    def test_an_escape_on_the_edge_of_a_piece_is_not_cut(self) -> None:
        for shift in range(7):
            value = "x" * (PIECE - 3 + shift) + "%E4%BD%A0" * 3
            self.assertEqual(
                parse_urlencoded("a=" + value, 1)["a"], "x" * (PIECE - 3 + shift) + "你" * 3
            )

    def test_escapes_without_an_end_are_decoded_in_steps_that_grow_with_the_text(self) -> None:
        small, large = (
            calls_made(lambda n=n: parse_urlencoded("a=" + "%41" * n, 1))  # type: ignore[misc]
            for n in (100_000, 200_000)
        )
        self.assertLess(large, small * 2.2)


class ContentTypeTests(unittest.TestCase):
    def test_type_and_parameters_are_read(self) -> None:
        for given, expected in (
            ("", ("", {})),
            ("text/plain", ("text/plain", {})),
            (" Text/HTML ; Charset=UTF-8", ("text/html", {"charset": "UTF-8"})),
            ('a/b; boundary="x y;z"; q=1', ("a/b", {"boundary": "x y;z", "q": "1"})),
            (r'a/b; t="a\"b\\c\d"', ("a/b", {"t": 'a"b\\c\\d'})),
            (r'a/b; t="a\\"; u=1', ("a/b", {"t": "a\\", "u": "1"})),
            ("a/b; q=1; q=2", ("a/b", {"q": "1"})),
            ("a/b;;; ;x; q=1;", ("a/b", {"q": "1"})),
            ("a/b; q=", ("a/b", {"q": ""})),
            ('a/b; p=1; q="open; r=2', ("a/b", {"p": "1"})),
            ('a/b; p=1; q="x"y; r=2', ("a/b", {"p": "1"})),
        ):
            with self.subTest(given):
                self.assertEqual(content_type_of(given), expected)

    def test_hostile_values_are_touched_a_fixed_number_of_times_a_character(self) -> None:
        # CVE-2024-24762; an open quote full of ";" is quadratic in email.message.
        for unit in (
            ";", '"', '\\"', "\\;", "=", "; a", "; a=b", '; a="', '; a="b"', '; a="\\"', ' ="',
            "a*0*=x;", "\t", "/", "\\", '"; ',
        ):  # fmt: skip
            for start in ("a/b", 'a/b; a="', "a/b; a=\\", "a/b; a="):
                value = CountingText(start + unit * (8192 // len(unit)))
                with contextlib.suppress(ValueError):
                    list(forms.header_parameters(value))
                self.assertLess(value.touched, 8 * len(value), (start, unit))
                content_type_of(value)

    def test_a_long_number_in_a_parameter_name_is_only_a_name(self) -> None:
        name = "q*" + "9" * 5000
        self.assertEqual(content_type_of(f"a/b; {name}=1"), ("a/b", {name: "1"}))


if __name__ == "__main__":
    unittest.main()
