"""paths: what a pattern is, what is none, and the way from values back to a path (R3)."""

from __future__ import annotations

import unittest

from pyliteflux import RouteError
from pyliteflux.app.paths import CONVERTERS, bound, build_url, parameters_of, parse


class Patterns(unittest.TestCase):
    def test_a_pattern_is_its_segments(self) -> None:
        for path, segments in (
            ("/", [("literal", "")]),
            ("/a%20b/", [("literal", "a b"), ("literal", "")]),
            ("/u/{id}", [("literal", "u"), ("str", "id")]),
            ("/{n:int}/{f:float}", [("int", "n"), ("float", "f")]),
            ("/f/{rest:path}", [("literal", "f"), ("path", "rest")]),
            ("/f/*", [("literal", "f"), ("*", "*")]),
        ):
            with self.subTest(path):
                self.assertEqual(parse(path), segments)

    def test_its_parameters_are_named_in_its_order(self) -> None:
        self.assertEqual(parameters_of(parse("/a")), ())
        self.assertEqual(
            parameters_of(parse("/{b:int}/x/{a}/*")), (("b", "int"), ("a", "str"), ("*", "*"))
        )

    def test_a_parameter_that_is_none_is_refused(self) -> None:
        """R3."""
        for path in (
            "/{}", "/{1a}", "/{a", "/a}", "/x{a}", "/{a}x", "/{a:}", "/{a:uuid}", "/{a:INT}",
            "/{a}{b}", "/{a b}", "/{a:int:float}",
        ):  # fmt: skip
            with self.subTest(path), self.assertRaises(RouteError) as caught:
                parse(path)
            self.assertIn(path, str(caught.exception))

    def test_what_takes_the_rest_must_come_last(self) -> None:
        """R3."""
        for path in ("/*/a", "/{rest:path}/a", "/*/"):
            with self.subTest(path), self.assertRaisesRegex(RouteError, "last"):
                parse(path)

    def test_a_name_may_come_once(self) -> None:
        """R3."""
        with self.assertRaisesRegex(RouteError, "twice"):
            parse("/{a}/{a}")

    def test_a_parameter_in_the_spelling_of_another_framework_is_told_in_ours(self) -> None:
        for path, ours in (
            ("/<id>", "{id}"), ("/<int:id>", "{id:int}"), ("/<path:rest>", "{rest:path}"),
            ("/:id", "{id}"), ("/<string(length=2):lang>", "{lang}"),
        ):  # fmt: skip
            with self.subTest(path), self.assertRaises(RouteError) as caught:
                parse(path)
            self.assertIn(f"write {ours}", str(caught.exception))
        with self.assertRaisesRegex(RouteError, "%3C and %3E"):
            parse("/a<b")


class Values(unittest.TestCase):
    def test_values_get_names_and_types(self) -> None:
        params = bound(parameters_of(parse("/{n:int}/{f:float}/{s}/*")), ("007", "2", "7", "a/b"))
        self.assertEqual(params, {"n": 7, "f": 2.0, "s": "7", "*": "a/b"})
        self.assertIs(type(params["f"]), float)

    def test_no_converter_takes_the_empty_segment(self) -> None:
        for kind, converter in CONVERTERS.items():
            with self.subTest(kind):
                self.assertFalse(converter.matches(""))

    def test_a_url_is_quoted_by_what_its_part_may_hold(self) -> None:
        url = build_url("/u/{id}/{rest:path}", {"id": "a/b", "rest": "a/b c", "q": "ü"}, "it")
        self.assertEqual(url, "/u/a%2Fb/a/b%20c?q=%C3%BC")
        self.assertEqual(build_url("/~x;y", {}, "it"), "/~x;y")

    def test_what_is_missing_or_does_not_fit_is_said(self) -> None:
        with self.assertRaisesRegex(RouteError, "<Route x> needs the parameter 'id'"):
            build_url("/u/{id}", {}, "<Route x>")
        with self.assertRaisesRegex(RouteError, "'x' does not fit {n:int} of '/{n:int}'"):
            build_url("/{n:int}", {"n": "x"}, "it")


if __name__ == "__main__":
    unittest.main()
