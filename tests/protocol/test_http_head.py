"""What is remembered of heads, and what of a head is read at once and what later.

That a head means what the RFC says is in test_http_corpus.py; here it must mean the same
however it is come by.
"""

from __future__ import annotations

import random
import sys
import unittest
from typing import Any

if sys.version_info >= (3, 11):
    from re import _parser as parser  # type: ignore[attr-defined]
else:
    import sre_parse as parser

from pyliteflux.errors import ProtocolError
from pyliteflux.protocol import http_head
from pyliteflux.protocol.http_head import (
    DEFAULT_LIMITS,
    HttpLimits,
    RequestHead,
    parse_head,
)

FEW_FIELDS = HttpLimits(fields=2)


def head_of(*lines: str, target: str = "/") -> bytes:
    """Return a head with a Host, and with these lines."""
    return "\r\n".join((f"GET {target} HTTP/1.1", "Host: a", *lines, "", "")).encode("latin-1")


def parse(data: bytes) -> RequestHead:
    return parse_head(data, DEFAULT_LIMITS)


EVERY = frozenset(range(256))


class Ambiguity:
    """Reads a pattern and lists each repetition that could go on where what follows begins.

    There a text can be divided in several ways, and an engine that backtracks tries them all:
    with two such places next to each other the time grows with the square of the text. The
    places are found in the parsed pattern, so no text has to be thought of, and no clock read.
    """

    def __init__(self, pattern: str) -> None:
        self.found: list[str] = []
        self._first(list(parser.parse(pattern)), frozenset())

    def _first(self, items: list[Any], after: frozenset[int]) -> frozenset[int]:
        """Return what these items, and what comes after them, can begin with."""
        for name, value in reversed(items):
            after = self._first_of(str(name), value, after)
        return after

    def _first_of(self, name: str, value: Any, after: frozenset[int]) -> frozenset[int]:
        if name == "LITERAL":
            return frozenset({value})
        if name == "NOT_LITERAL":
            return EVERY - {value}
        if name == "IN":
            return self._members(value)
        if name == "SUBPATTERN":
            return self._first(list(value[-1]), after)
        if name == "BRANCH":
            return frozenset().union(*(self._first(list(branch), after) for branch in value[1]))
        if name != "MAX_REPEAT":
            raise NotImplementedError(name)
        least, most, body = value
        first = self._first(list(body), frozenset())  # No body here can be empty.
        if most > 1:
            if first & after and least < most:
                self.found.append(f"{body} before {bytes(sorted(first & after))!r}")
            first = self._first(list(body), first | after)  # Within it, it may come again.
        else:
            first = self._first(list(body), after)
        return first if least else first | after

    def _members(self, items: list[Any]) -> frozenset[int]:
        members: set[int] = set()
        for name, value in items:
            if str(name) == "RANGE":
                members.update(range(value[0], value[1] + 1))
            elif str(name) == "LITERAL":
                members.add(value)
            elif str(name) != "NEGATE":
                raise NotImplementedError(name)
        return EVERY - members if str(items[0][0]) == "NEGATE" else frozenset(members)


class OneWayToRead(unittest.TestCase):
    def test_no_repetition_of_a_head_can_go_on_where_what_follows_begins(self) -> None:
        pattern = http_head._HEAD.__self__.pattern  # type: ignore[attr-defined]
        self.assertEqual(Ambiguity(pattern).found, [])

    def test_what_is_ambiguous_is_found(self) -> None:
        for pattern in (
            "a*a",
            "a*b*a",
            "[ab]*(?:x|b)",
            "(?:ab)*a",
            "(?:a+)*b",
            r"x:[ \t]*y*[ \t]*;",
        ):
            with self.subTest(pattern):
                self.assertNotEqual(Ambiguity(pattern).found, [])
        for pattern in ("a*b", "a*b*c", "(?:ab)*c", "[^a]*a", "(?:a+b)*c", r"x:[ \t]*y+[ \t]*;"):
            with self.subTest(pattern):
                self.assertEqual(Ambiguity(pattern).found, [])


NAMES = ("Host", "HOST", "hosT", "Content-Length", "content-length", "Transfer-Encoding",
         "Connection", "connection", "Expect", "Cookie", "X-Host", "Hos", "Host2", "Te", "Accept",
         "x-connection", "Content-Type", "E", "c", "transfer-encodings")  # fmt: skip
VALUES = ("a", "", "5", "close", "keep-alive", "Keep-Alive, x", "chunked", "100-continue", "a:80",
          "host: b", "\nhost: b".replace("\n", "\t"), "x y\xe9", "gzip")  # fmt: skip
BLANKS = ("", " ", "  \t", "\t")


class WhatIsReadAtOnce(unittest.TestCase):
    """The fields that decide are found by a pattern of their own. It must find what one finds
    who cuts all fields and looks them up: else two parts of us read two different requests."""

    def test_it_is_what_the_fields_say_when_all_are_read(self) -> None:
        chance = random.Random(9112)
        good = 0
        for _ in range(5000):
            lines = []
            for _ in range(chance.randrange(6)):
                name, value = chance.choice(NAMES), chance.choice(VALUES)
                lines.append(f"{name}:{chance.choice(BLANKS)}{value}{chance.choice(BLANKS)}")
            version = chance.choice("01")
            data = "\r\n".join((f"POST /a?b HTTP/1.{version}", *lines, "", "")).encode("latin-1")
            fields: dict[str, list[str]] = {}
            for line in lines:
                name, _, value = line.partition(":")
                fields.setdefault(name.lower(), []).append(value.strip(" \t"))
            try:
                head = parse(data)
            except ProtocolError:
                continue
            good += 1
            with self.subTest(data):
                self.check(head, fields, version == "1")
        self.assertGreater(good, 500)

    def check(self, head: RequestHead, fields: dict[str, list[str]], is_new: bool) -> None:
        self.assertLessEqual(len(fields.get("host", [])), 1)
        self.assertEqual(head.host, "".join(fields.get("host", [])))
        is_chunked = head.has_body and head.content_length is None
        self.assertEqual(is_chunked, "transfer-encoding" in fields)
        lengths = fields.get("content-length")
        if lengths is None:
            self.assertIsNone(head.content_length)
        else:
            self.assertEqual([str(head.content_length)], lengths)
            self.assertFalse(is_chunked)
        options = {
            o.strip(" \t").lower() for o in ", ".join(fields.get("connection", [])).split(",")
        }
        keeps = "close" not in options and (is_new or "keep-alive" in options)
        self.assertEqual(head.keep_alive, keeps)
        continues = is_new and head.has_body and "100-continue" in fields.get("expect", [])
        self.assertEqual(head.expects_continue, continues)
        self.assertEqual({n: head.headers.getlist(n) for n in head.headers}, fields)

    def test_what_only_looks_like_such_a_field_is_none(self) -> None:
        head = parse(head_of("X: Content-Length: 5", "XContent-Length: 5", "Content-Lengths: 5"))
        self.assertIsNone(head.content_length)
        self.assertEqual(parse(head_of("X-Connection: close")).keep_alive, True)

    def test_a_target_cannot_say_what_a_field_says(self) -> None:
        head = parse(head_of(target="/?connection:close"))
        self.assertTrue(head.keep_alive)
        self.assertEqual((head.path, head.query), ("/", "connection:close"))

    def test_what_is_noted_of_a_long_target_is_short(self) -> None:
        head = parse(head_of(target="/" + "a" * 500))
        self.assertEqual(head.summary, "GET /" + "a" * 99)
        self.assertEqual(parse(head_of(target="/b")).summary, "GET /b")


if __name__ == "__main__":
    unittest.main()
