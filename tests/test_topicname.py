"""Names of topics, and what members say of themselves."""

from __future__ import annotations

import unittest
from typing import Any

from pyliteflux.errors import HTTPError
from pyliteflux.topicname import MAX_INFO, MAX_NAME, check_info, check_topic


class Names(unittest.TestCase):
    def test_what_a_topic_and_a_pattern_may_be_called(self) -> None:
        for name in ("a", "room:1", "房间/1", "room:*", "*", "a" * MAX_NAME, "{x}", '"'):
            with self.subTest(name):
                self.assertEqual(check_topic(name), name)

    def test_what_no_topic_can_be_called_is_a_400(self) -> None:
        bad: tuple[Any, ...] = (
            *("", "a b", "a\n", "\0", "a\x7f", "\x85", "\ud800", "\u2028", "\u200b", "**", "*a"),
            *("a*b", "a" * (MAX_NAME + 1), None, 1, b"a", ["a"], {}),
        )
        for name in bad:
            with self.subTest(name), self.assertRaises(HTTPError) as caught:
                check_topic(name)
            self.assertEqual(caught.exception.status, 400)


class Info(unittest.TestCase):
    def test_it_is_a_copy_that_nobody_can_change(self) -> None:
        info = {"name": "Ann", "tags": [1]}
        copy = check_info(info)
        info["tags"].append(2)  # type: ignore[attr-defined]
        self.assertEqual(copy, {"name": "Ann", "tags": [1]})
        self.assertIsNone(check_info(None))

    def test_what_json_cannot_write_is_refused_at_once(self) -> None:
        for bad, error in (
            (object(), TypeError),
            (float("nan"), ValueError),
            ("\ud800", ValueError),
        ):
            with self.subTest(bad), self.assertRaises(error):
                check_info(bad)

    def test_it_is_bounded_as_everybody_is_told(self) -> None:
        check_info("x" * (MAX_INFO - 2))
        with self.assertRaises(HTTPError) as caught:
            check_info("x" * (MAX_INFO - 1))
        self.assertEqual(caught.exception.status, 413)


if __name__ == "__main__":
    unittest.main()
