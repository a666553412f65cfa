"""cookies: a lenient reader, a strict writer, a signer that cannot be fooled."""

from __future__ import annotations

import base64
import random
import sys
import unittest
from datetime import datetime, timedelta, timezone
from http.cookies import SimpleCookie
from typing import Any

from pyliteflux.app.cookies import COOKIE_LIMIT, Signer, format_cookie, parse_cookies
from pyliteflux.errors import ConfigError
from pyliteflux.headers import check_field


class ParseCookiesTests(unittest.TestCase):
    def test_cookies_are_read_leniently(self) -> None:
        for header, expected in (
            ("", {}),
            ("a=1", {"a": "1"}),
            ("a=1; b=2;c=3 ;\td=4", {"a": "1", "b": "2", "c": "3", "d": "4"}),
            ("a=1=2==", {"a": "1=2=="}),
            ("a = 1 ; b= 2", {"a": "1", "b": "2"}),
            ('a="1 2"; b="', {"a": "1 2", "b": '"'}),
            ('a=""; b="x', {"a": "", "b": '"x'}),
            ("a=; b", {"a": ""}),
            (";;; ;a=1;;", {"a": "1"}),
            ("a=first; a=second", {"a": "first"}),
            ("a[0]=x; ü=ü", {"a[0]": "x", "ü": "ü"}),
            ('a="x;y"', {"a": '"x'}),
            ("a=%41+b", {"a": "%41+b"}),
            # What a browser's script has set comes as UTF-8, which is read as Latin-1 first.
            ("a=\xe6\x95\xb0; \xe6\x95\xb0=b", {"a": "数", "数": "b"}),
            ("a=caf\xe9", {"a": "café"}),
            ("a=\u6570", {"a": "数"}),
        ):
            with self.subTest(header):
                self.assertEqual(parse_cookies(header), expected)

    def test_cookies_as_http_cookies_writes_them(self) -> None:
        """`cookie-of-http-cookies`: quotes and the escapes inside of them go together."""
        self.assertEqual(parse_cookies(r'a="x\054y"; b="\"\\"'), {"a": "x,y", "b": '"\\'})
        self.assertEqual(parse_cookies("a=x\\054y; b=\\"), {"a": r"x\054y", "b": "\\"})
        self.assertEqual(parse_cookies(r'a="\400\9\\054"'), {"a": r"4009\054"})
        self.assertEqual(parse_cookies(r'a="\"'), {"a": "\\"})  # Nothing follows it.
        for value in (
            "x,y", 'say "hi"', "a;b c", "back\\slash", "\\054", "\r\n\0\x7f", "é", "plain",
        ):  # fmt: skip
            cookie = SimpleCookie()
            cookie["a"] = value
            with self.subTest(value):
                self.assertEqual(parse_cookies(cookie["a"].OutputString()), {"a": value})

    def test_a_nameless_cookie_does_not_pass_for_a_prefixed_one(self) -> None:
        # CVE-2023-23934.
        self.assertEqual(parse_cookies("=__Host-a=bad; a=1"), {"a": "1"})

    def test_hostile_headers_cost_in_proportion_to_their_size(self) -> None:
        # CVE-2024-7592, CVE-2024-52804: a quoted value full of backslashes was quadratic.
        for unit in (";", "=", '"', "\\", '\\"', "a=", "a=b;", '="', " ", "; ", 'a="\\', "\\134"):
            work = []
            for size in (8192, 16384):
                header = 'a="' + unit * (size // len(unit))
                work.append(calls_made(header))
            self.assertLess(work[1], 2.2 * work[0] + 20, unit)
            self.assertLess(work[0], 8 * 8192, unit)

    def test_no_header_makes_it_raise(self) -> None:
        chance = random.Random(5)
        for _ in range(500):
            header = "".join(chance.choices('a=;" \t\\\0\r\né\udcff', k=chance.randrange(40)))
            for name, value in parse_cookies(header).items():
                self.assertTrue(name)
                self.assertNotIn(";", name + value)


def calls_made(header: str) -> int:
    """Count the calls that parsing makes, those of C functions too: work, not time."""
    count = 0

    def profile(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        parse_cookies(header)
    finally:
        sys.setprofile(before)
    return count


class FormatCookieTests(unittest.TestCase):
    def test_the_defaults_are_the_safe_ones(self) -> None:
        self.assertEqual(format_cookie("a", "1"), "a=1; Path=/; HttpOnly; SameSite=Lax")

    def test_every_attribute_is_written(self) -> None:
        given = format_cookie(
            "a", "1", max_age=60, expires=0, path="/x y", domain=".example.org", secure=True,
            httponly=False, samesite="none",
        )  # fmt: skip
        self.assertEqual(
            given,
            "a=1; Path=/x y; Domain=.example.org; Max-Age=60; "
            "Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; SameSite=None",
        )
        bare = format_cookie("a", "", path=None, httponly=False, samesite=None)
        self.assertEqual(bare, "a=")

    def test_times_may_be_given_in_the_types_of_datetime(self) -> None:
        east = timezone(timedelta(hours=8))
        given = format_cookie(
            "a", "1", max_age=timedelta(days=1, seconds=0.9),
            expires=datetime(2024, 2, 29, 8, 0, 1, tzinfo=east),
        )  # fmt: skip
        self.assertIn("Max-Age=86400; Expires=Thu, 29 Feb 2024 00:00:01 GMT;", given)
        self.assertIn("Max-Age=0;", format_cookie("a", "", max_age=timedelta(seconds=-5)))

    def test_a_bad_name_is_refused(self) -> None:
        for name in ("", "a b", "a=b", "a;b", "a\r\nX: y", "a\0", "ü", '"a"', "a\n", None, 1):
            with self.subTest(name), self.assertRaises(ValueError):
                format_cookie(name, "1")  # type: ignore[arg-type]

    def test_each_character_of_a_value_is_a_cookie_octet_or_is_refused_by_name(self) -> None:
        allowed = {0x21, *range(0x23, 0x2C), *range(0x2D, 0x3B), *range(0x3C, 0x5C),
                   *range(0x5D, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x180), 0xFF1B}  # fmt: skip
        for code in [*range(0x180), 0x2028, 0xFF1B, 0xDC80]:
            char = chr(code)
            if code in allowed:
                field = format_cookie("a", f"x{char}y").encode("latin-1")
                self.assertTrue(field.startswith(f"a=x{char}y; ".encode()))
                self.assertEqual(parse_cookies(field.decode("latin-1"))["a"], f"x{char}y")
                continue
            with self.assertRaises(ValueError) as caught:
                format_cookie("a", f"x{char}y")
            self.assertIn(repr(char), str(caught.exception))
            self.assertIn("sign", str(caught.exception))
            self.assertIn("quote", str(caught.exception))
        for value in (1, None, b"x"):
            self.assertRaises(ValueError, format_cookie, "a", value)

    def test_no_attribute_lets_another_one_in(self) -> None:
        # CVE-2026-0672: controls in the attributes of http.cookies.
        bad = ("/;Secure", "/\r\nX: y", "/\n", "/\0", "/\x1f", "/\x7f", "/ü", "x", "")
        for path in bad:
            with self.subTest(path), self.assertRaises(ValueError):
                format_cookie("a", "1", path=path)
        for domain in ("a;b", "a\r\n", "a\n", "", ".", "a b", "a,b", "a:80", "ü.de", "a\0", "a/b"):
            with self.subTest(domain), self.assertRaises(ValueError):
                format_cookie("a", "1", domain=domain)
        for not_text in (1, b"a.b"):
            self.assertRaises(ValueError, format_cookie, "a", "1", domain=not_text)
            self.assertRaises(ValueError, format_cookie, "a", "1", path=not_text)
        for samesite in ("", "Lax; Secure", "lax\n", True, "No"):
            with self.subTest(samesite), self.assertRaises(ValueError):
                format_cookie("a", "1", samesite=samesite)  # type: ignore[arg-type]
        for max_age in ("60", 1.5, True, "1; Secure"):
            with self.subTest(max_age), self.assertRaises(ValueError):
                format_cookie("a", "1", max_age=max_age)  # type: ignore[arg-type]
        naive = datetime(2024, 1, 1)
        for expires in ("Thu", 1.5, True, naive, 10**18, -(10**18)):
            with self.subTest(expires), self.assertRaises(ValueError):
                format_cookie("a", "1", expires=expires)  # type: ignore[arg-type]

    def test_what_browsers_would_drop_in_silence_is_refused(self) -> None:
        self.assertRaises(ValueError, format_cookie, "a", "1", samesite="None")
        self.assertRaises(ValueError, format_cookie, "__Secure-a", "1", secure=False)
        self.assertRaises(ValueError, format_cookie, "__SECURE-a", "1", secure=False)
        self.assertRaises(ValueError, format_cookie, "a", "1", partitioned=True)
        for wrong in ({"path": "/x"}, {"path": None}, {"domain": "a.b"}, {"secure": False}):
            options: dict[str, Any] = wrong
            for name in ("__Host-a", "__host-a"):
                with self.subTest(wrong), self.assertRaises(ValueError):
                    format_cookie(name, "1", **options)
        format_cookie("__Secure-a", "1", secure=True, path="/x", domain="a.b")
        format_cookie("__Host-a", "1", secure=True)
        format_cookie("a", "x" * (COOKIE_LIMIT - 1))

    def test_a_prefix_implies_secure(self) -> None:
        for name in ("__Host-a", "__Secure-a", "__host-a"):
            self.assertEqual(
                format_cookie(name, "1"), f"{name}=1; Path=/; Secure; HttpOnly; SameSite=Lax"
            )

    def test_a_cookie_of_an_embedded_site_may_be_partitioned(self) -> None:
        self.assertEqual(
            format_cookie("__Host-a", "1", samesite=None, httponly=False, partitioned=True),
            "__Host-a=1; Path=/; Secure; Partitioned",
        )

    def test_the_limit_is_one_of_bytes(self) -> None:
        format_cookie("a", "数" * (COOKIE_LIMIT // 3))
        self.assertRaises(ValueError, format_cookie, "a", "x" * COOKIE_LIMIT)
        self.assertRaises(ValueError, format_cookie, "a", "数" * (COOKIE_LIMIT // 3 + 1))

    def test_what_is_written_passes_the_gate_of_the_fields_and_is_read_back(self) -> None:
        value = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '",;\\')
        field = format_cookie("a", value, path="/~x", domain="a.b", max_age=5, expires=5)
        check_field("Set-Cookie", field)
        self.assertEqual(parse_cookies(field)["a"], value)


class SignerTests(unittest.TestCase):
    def setUp(self) -> None:
        self.signer = Signer(b"secret")

    def test_any_text_comes_back_and_fits_a_cookie(self) -> None:
        for value in ("", "a", "user=1; admin", 'q"\\,\r\n', "你好", "\0", "\udc80", "x" * 2000):
            signed = self.signer.sign("a", value, 1000)
            read = parse_cookies(format_cookie("a", signed))["a"]
            self.assertEqual(self.signer.unsign("a", read, 1000, 60), value)

    def test_every_change_of_a_character_is_seen(self) -> None:
        signed = self.signer.sign("a", "admin=no", 1000)
        for at in range(len(signed)):
            for char in "A.=é\0":
                changed = signed[:at] + char + signed[at + 1 :]
                if changed != signed:
                    self.assertIsNone(self.signer.unsign("a", changed, 1000, None))
            self.assertIsNone(self.signer.unsign("a", signed[:at], 1000, None))
        self.assertIsNone(self.signer.unsign("a", signed + "=", 1000, None))

    def test_a_cookie_does_not_pass_as_another_nor_under_another_secret(self) -> None:
        signed = self.signer.sign("theme", "admin", 1000)
        self.assertIsNone(self.signer.unsign("role", signed, 1000, None))
        self.assertIsNone(Signer(b"other").unsign("theme", signed, 1000, None))

    def test_name_and_content_cannot_flow_into_each_other(self) -> None:
        text, time, mark = self.signer.sign("a", "x", 1000).split(".")
        self.assertIsNone(self.signer.unsign(f"a={text[:2]}", f"{text[2:]}.{time}.{mark}", 1, None))
        self.assertRaises(ValueError, self.signer.sign, "a=b", "x", 1000)

    def test_age_is_counted_from_the_time_of_signing(self) -> None:
        signed = self.signer.sign("a", "x", 1000)
        for now, max_age, expected in (
            (1060, 60, "x"), (1061, 60, None), (10**9, None, "x"), (1000, 0, "x"), (1001, 0, None),
            (900, 60, "x"),  # The clock was set back.
        ):  # fmt: skip
            self.assertEqual(self.signer.unsign("a", signed, now, max_age), expected)

    def test_the_time_is_covered_by_the_mark(self) -> None:
        text, _, mark = self.signer.sign("a", "x", 1000).split(".")
        self.assertIsNone(self.signer.unsign("a", f"{text}.2000.{mark}", 2000, 60))

    def test_no_text_makes_unsign_raise(self) -> None:
        chance = random.Random(3)
        for _ in range(500):
            garbage = "".join(chance.choices("aZ09-_.=é\udcff\0", k=chance.randrange(60)))
            self.assertIsNone(self.signer.unsign("a", garbage, 1000, 60))

    def test_the_value_is_base64_and_the_same_each_time(self) -> None:
        text, time, mark = self.signer.sign("a", "hello?>", 1000).split(".")
        self.assertEqual(base64.urlsafe_b64decode(text + "=="), b"hello?>")
        self.assertEqual((time, len(mark)), ("1000", 43))

    def test_an_empty_secret_is_refused_by_the_name_of_the_setting(self) -> None:
        with self.assertRaises(ConfigError) as caught:
            Signer(b"")
        self.assertIn("secret_key", str(caught.exception))

    def test_of_several_secrets_the_first_signs_and_all_are_read(self) -> None:
        """A rotation: the new one in front of the old one, until the old cookies have expired."""
        old, new = Signer(b"old"), Signer((b"new", b"old"))
        self.assertEqual(new.unsign("a", old.sign("a", "x", 1000), 1000, 60), "x")
        self.assertEqual(new.sign("a", "x", 1000), Signer(b"new").sign("a", "x", 1000))
        self.assertIsNone(old.unsign("a", new.sign("a", "x", 1000), 1000, 60))
        self.assertIsNone(Signer((b"new", b"other")).unsign("a", old.sign("a", "x", 1), 1, 60))
        for secrets in ((), (b"", b"x"), (b"x", b"")):
            self.assertRaises(ConfigError, Signer, secrets)

    def test_the_secret_is_not_in_the_repr(self) -> None:
        self.assertNotIn("secret", repr(Signer(b"secret")).lower())


if __name__ == "__main__":
    unittest.main()
