"""The words of peers: fields and forms that say anything at all, and what a server makes of them.

Two promises: no word of a peer's raises anything but an error that is an answer, and what is
sent by the book is understood, however oddly it is written. Each reader is compared with a
writer of a few lines.
"""

from __future__ import annotations

import encodings
import encodings.aliases
import unittest
from typing import Any
from urllib.parse import quote

from hypothesis import assume, example, given
from hypothesis import strategies as st

from pyliteflux import HTTPError, HTTPResponse, ProxyHeadersMiddleware
from pyliteflux.app.cookies import parse_cookies
from pyliteflux.app.request import HTTPRequest
from pyliteflux.charsets import codec_of
from pyliteflux.headers import Headers

# What a head may hold: Latin-1 without controls, and more often what means something.
WORDS = st.lists(
    st.sampled_from(
        [
            ";", ",", "=", '"', "\\", " ", "\t", "'", "*", "for", "proto", "host", "name",
            "filename", "filename*", "form-data", "boundary", "charset", "utf-8", "gbk", "%", "%ff",
            "%22", "1.2.3.4", "[::1]", ":80", "https", "unknown", "_secret", "a", "\\054",
            "multipart/form-data", "text/plain", "application/json",
            "application/x-www-form-urlencoded", "/", "q=0.5",
        ]
    )
    | st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"),
              max_size=4),
    max_size=14,
).map("".join)  # fmt: skip
TOKENS = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789!#$%&'*+-.^_`|~", min_size=1, max_size=8)
BODIES = st.binary(max_size=40) | st.sampled_from(
    [
        b"bcher-kva",
        "\u6570\u636e".encode("gbk"),
        b"+AGE-",
        b"\\u0041",
        b"a=b&c=%ff",
        b'{"a": 1}',
        b"--a--",
    ]
)
LABELS = st.sampled_from(
    sorted({*encodings.aliases.aliases, *encodings.aliases.aliases.values()})
) | TOKENS.map(lambda token: f"x-{token}")


def request_with(*fields: tuple[str, str], body: bytes = b"") -> HTTPRequest:
    return HTTPRequest(
        "POST", "/", Headers(fields), body, client_address=("127.0.0.1", 4000), host="h"
    )


class AnyWord(unittest.TestCase):
    @given(WORDS, WORDS, BODIES)
    @example("multipart/form-data; boundary=*****", 'form-data; name="a"; filename*=x', b"")
    def test_no_field_raises_anything_but_an_answer(
        self, first: str, second: str, body: bytes
    ) -> None:
        part = (
            f"--B\r\nContent-Disposition: {second}\r\nContent-Type: {first}\r\n\r\nx\r\n--B--\r\n"
        )
        for kind, data in (
            (first, body),
            ("multipart/form-data; boundary=B", part.encode("latin-1")),
        ):
            request = request_with(("Content-Type", kind), ("Cookie", second), body=data)
            for read in ("text", "json_data", "form_data", "files", "cookies", "url"):
                try:
                    getattr(request, read)
                except HTTPError as error:
                    self.assertLess(error.status, 500)

    @given(WORDS, WORDS, st.sampled_from(["auto", "forwarded", "x-forwarded"]))
    def test_a_proxy_may_write_what_it_likes(self, first: str, second: str, style: str) -> None:
        for fields in (
            [("Forwarded", first), ("Forwarded", second)],
            [
                ("X-Forwarded-For", first),
                ("X-Forwarded-Proto", second),
                ("X-Forwarded-Host", first),
            ],
            [
                ("X-Forwarded-For", first),
                ("X-Forwarded-Port", second),
                ("X-Forwarded-Prefix", first),
            ],
        ):
            request = request_with(*fields)
            try:
                ProxyHeadersMiddleware(["127.0.0.1"], style).process_request(request)
            except HTTPError as error:
                self.assertEqual(error.status, 400)
            self.assertRegex(f"{request.client_id} {request.url}", r"^\S+:\d+ https?://")


class Understood(unittest.TestCase):
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["203.0.113.7", '"203.0.113.7:99"', '"[2001:db8::1]"']),
                st.sampled_from(["http", "https", '"https"']),
                st.sampled_from([";", "; ", " ;", ";;", "; ; "]),
                st.sampled_from(["", ";", " ;; "]),
            ),
            min_size=1,
            max_size=3,
        ),
        st.sampled_from([",", ", ", " , ", ",,"]),
    )
    def test_pairs_and_elements_may_be_empty(self, hops: list[Any], comma: str) -> None:
        """RFC 7239 section 4; RFC 9110 section 5.6.1.2."""
        field = comma.join(f"for={node}{gap}proto={proto}{end}" for node, proto, gap, end in hops)
        request = request_with(("Forwarded", field))
        ProxyHeadersMiddleware(["127.0.0.1"]).process_request(request)
        node, proto, _, _ = hops[-1]
        self.assertIn(request.client_address[0], node)
        self.assertEqual(request.is_secure, "https" in proto)

    @given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=70),
           st.text(max_size=20), st.binary(max_size=60))  # fmt: skip
    @example("*****", "x", b"y")
    def test_a_form_with_any_boundary_is_read(self, boundary: str, text: str, data: bytes) -> None:
        assume(not boundary.endswith(" "))
        assume(b"--" + boundary.encode() not in text.encode("utf-8", "replace") + b"\r\n" + data)
        quoted = boundary.replace("\\", "\\\\").replace('"', '\\"')
        text = text.encode("utf-8", "replace").decode()
        body = b"".join(
            b"--%b\r\nContent-Disposition: form-data; name=%b\r\n\r\n%b\r\n" % part
            for part in (
                (boundary.encode(), b'"t"', text.encode()),
                (boundary.encode(), b'"f"; filename="a.bin"; filename*=x', data),
            )
        )
        body += b"--%b--\r\n" % boundary.encode()
        kind = f'multipart/form-data; boundary="{quoted}"'
        request = request_with(("Content-Type", kind), body=body)
        self.assertEqual(request.form_data["t"], text)
        file = request.files["f"]
        self.assertEqual((file.filename, file.read()), ("a.bin", data))
        file.close()

    @given(st.dictionaries(TOKENS, st.text(max_size=8), max_size=4), st.booleans())
    def test_cookies_that_can_be_set_are_read_again(
        self, cookies: dict[str, str], is_quoted: bool
    ) -> None:
        pairs = []
        for name, value in list(cookies.items()):
            try:
                response = HTTPResponse()
                response.set_cookie(name, value)
            except ValueError:
                del cookies[name]
                continue
            pair = response.headers["Set-Cookie"].partition(";")[0]
            pairs.append(f'{name}="{pair[len(name) + 1 :]}"' if is_quoted else pair)
        self.assertEqual(parse_cookies("; ".join(pairs)), cookies)


class Charsets(unittest.TestCase):
    @given(LABELS, BODIES)
    @example("punycode", b"bcher-kva")
    @example("unicode_escape", b"\\ud83d")
    def test_a_name_that_we_do_not_know_is_read_as_utf_8(self, label: str, body: bytes) -> None:
        """Whatever Python has registered under it; and Python does not hear of it at all."""
        assume(codec_of(label) is None)
        known = set(encodings._cache)  # type: ignore[attr-defined]
        kind = f"text/plain; charset={label}"
        expected = body.decode("utf-8", "replace")
        self.assertEqual(request_with(("Content-Type", kind), body=body).text, expected)
        plain = body.replace(b"\r", b"").replace(b"\n", b"")
        form = (
            b'--B\r\nContent-Disposition: form-data; name="t"\r\nContent-Type: %b\r\n\r\n%b\r\n'
            b"--B\r\nContent-Disposition: form-data; name=f; filename*=%b''%b\r\n\r\n\r\n--B--\r\n"
        ) % (kind.encode(), plain, label.encode(), quote(plain).encode())
        request = request_with(("Content-Type", "multipart/form-data; boundary=B"), body=form)
        try:
            self.assertEqual(request.form_data["t"], plain.decode("utf-8", "replace"))
        except HTTPError as error:
            self.assertEqual(error.status, 400)  # No name of a file.
        self.assertEqual(set(encodings._cache), known)  # type: ignore[attr-defined]


ATTRIBUTES = st.fixed_dictionaries(
    {},
    optional={
        "path": st.sampled_from(["/", "/app"]),
        "domain": st.sampled_from([None, "example.org"]),
        "secure": st.sampled_from([None, True, False]),
        "httponly": st.booleans(),
        "samesite": st.sampled_from([None, "Lax", "Strict", "None"]),
        "partitioned": st.booleans(),
    },
)


class Jar:
    """A browser's cookies, as RFC 6265bis section 5.7 keeps them, in the frame of another site."""

    def __init__(self) -> None:
        self.cookies: dict[Any, bool] = {}  # By what makes it another cookie: is it Secure?

    def take(self, field: str) -> None:
        pair, *attributes = field.split("; ")
        name, _, _ = pair.partition("=")
        said = dict(attribute.lower().partition("=")[::2] for attribute in attributes)
        is_secure = "secure" in said
        if said.get("samesite", "none") == "none" and not is_secure and "samesite" in said:
            return
        if name.lower().startswith(("__secure-", "__host-")) and not is_secure:
            return
        if name.lower().startswith("__host-") and ("domain" in said or said.get("path") != "/"):
            return
        key = name, said.get("domain"), said.get("path"), "partitioned" in said
        if said.get("max-age") == "0":
            self.cookies.pop(key, None)
        else:
            self.cookies[key] = is_secure


class CookiePairs(unittest.TestCase):
    @given(st.sampled_from(["sid", "__Host-sid", "__Secure-sid"]), ATTRIBUTES)
    def test_what_was_set_can_be_deleted_in_the_same_words(
        self, name: str, attributes: dict[str, Any]
    ) -> None:
        response, jar = HTTPResponse(), Jar()
        try:
            response.set_cookie(name, "1", max_age=60, **attributes)
        except ValueError:
            with self.assertRaises(ValueError):
                response.delete_cookie(name, **attributes)
            return
        response.delete_cookie(name, **attributes)
        first, second = response.headers.getlist("Set-Cookie")
        jar.take(first)
        self.assertEqual(len(jar.cookies), 1, first)
        jar.take(second)
        self.assertEqual(jar.cookies, {}, second)
        # Whether the browser listens: the deletion has every attribute that the cookie has.
        words = [set(field.lower().split("; ")[1:]) for field in (first, second)]
        self.assertEqual(words[0] - {"max-age=60"} - words[1], set())


if __name__ == "__main__":
    unittest.main()
