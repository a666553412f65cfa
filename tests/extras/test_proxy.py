"""`app.proxy`: whose word counts about where a request came from. RFC 7239."""

from __future__ import annotations

import unittest
from typing import Any

from pyliteflux import HTTPError, ProxyHeadersMiddleware
from pyliteflux.app.request import HTTPRequest
from pyliteflux.headers import Headers
from tests.extras.middleware_case import MiddlewareTestCase
from tests.support import fetch

TRUSTED = ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"]


def ask(
    *fields: tuple[str, str], peer: str = "127.0.0.1", style: str = "auto", host: str = "inner"
) -> HTTPRequest:
    request = HTTPRequest("GET", "/", Headers(fields), client_address=(peer, 4000), host=host)
    assert request.client_id == f"{peer}:4000"  # Asked for already: it must not go stale.
    assert ProxyHeadersMiddleware(TRUSTED, style).process_request(request) is None
    return request


def x_for(value: str, peer: str = "127.0.0.1") -> str:
    return str(ask(("X-Forwarded-For", value), peer=peer).client_id)


class XForwarded(unittest.TestCase):
    def test_the_first_address_from_the_right_that_is_not_ours_is_the_client(self) -> None:
        table = {
            "203.0.113.7": "203.0.113.7:0",
            "203.0.113.7:4711": "203.0.113.7:4711",
            "[2001:db9::7]:4711": "2001:db9::7:4711",
            "[2001:db9::7]": "2001:db9::7:0",
            "2001:db9::7": "2001:db9::7:0",
            "203.0.113.7, 10.1.2.3": "203.0.113.7:0",
            "203.0.113.7 ,\t10.1.2.3,10.3.2.1": "203.0.113.7:0",
            # What stands further left is the client's invention.
            "127.0.0.1, 203.0.113.7": "203.0.113.7:0",
            "1.2.3.4, 203.0.113.7, 10.1.2.3": "203.0.113.7:0",
            '"; drop, 203.0.113.7': "203.0.113.7:0",
            # All of them ours: the leftmost.
            "10.9.9.9, 10.1.2.3": "10.9.9.9:0",
            # A proxy of ours that does not know more.
            "unknown, 10.1.2.3": "10.1.2.3:0",
            "::ffff:203.0.113.7": "203.0.113.7:0",
        }
        for value, client_id in table.items():
            with self.subTest(value):
                self.assertEqual(x_for(value), client_id)

    def test_what_is_no_address_changes_nothing(self) -> None:
        for value in (
            "",
            ",",
            "unknown",
            "203.0.113.7.8",
            "203.0.113.256",
            "203.0.113.7:99999",
            "203.0.113.7:x",
            "[203.0.113.7",
            "2001:db9::7]",
            "2001:db9::7:8:9::",
            "\u0661.2.3.4",
            "203.0.113.7 203.0.113.8",
            "a" * 30000,
        ):
            with self.subTest(value[:40]):
                self.assertEqual(x_for(value), "127.0.0.1:4000")

    def test_from_other_addresses_the_fields_mean_nothing(self) -> None:
        fields = [
            ("X-Forwarded-For", "203.0.113.7"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "evil.example"),
            ("Forwarded", "for=203.0.113.7"),
        ]
        for peer in ("127.0.0.2", "192.0.2.1", "11.0.0.1", "::1", "not an address"):
            with self.subTest(peer):
                request = ask(*fields, peer=peer)
                self.assertEqual(request.client_id, f"{peer}:4000")
                self.assertEqual((request.is_secure, request.host), (False, "inner"))

    def test_a_peer_is_known_by_its_mapped_address_too(self) -> None:
        self.assertEqual(x_for("203.0.113.7", "::ffff:10.0.0.1"), "203.0.113.7:0")
        self.assertEqual(x_for("203.0.113.7", "2001:db8::5"), "203.0.113.7:0")

    def test_repeated_fields_are_one_list(self) -> None:
        request = ask(("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-For", "203.0.113.7"))
        self.assertEqual(request.client_address, ("203.0.113.7", 0))

    def test_scheme_host_and_port(self) -> None:
        table = [
            ({"Proto": "https"}, "https://inner/"),
            ({"Proto": "HTTPS"}, "https://inner/"),
            ({"Proto": "http"}, "http://inner/"),
            ({"Proto": "gopher"}, "http://inner/"),
            # The nearest proxy wrote the last one.
            ({"Proto": "https, http"}, "http://inner/"),
            ({"Host": "a.example"}, "http://a.example/"),
            ({"Host": "evil.example, a.example:81"}, "http://a.example:81/"),
            ({"Host": "[2001:db8::1]:81"}, "http://[2001:db8::1]:81/"),
            ({"Host": "a.example/x"}, "http://inner/"),
            ({"Host": "user@a.example"}, "http://inner/"),
            ({"Host": "a\\b"}, "http://inner/"),
            ({"Port": "8080"}, "http://inner:8080/"),
            ({"Port": "80"}, "http://inner/"),
            ({"Port": "443", "Proto": "https"}, "https://inner/"),
            ({"Port": "443"}, "http://inner:443/"),
            ({"Port": "8443", "Proto": "https", "Host": "a.example"}, "https://a.example:8443/"),
            ({"Port": "8443", "Host": "a.example:81"}, "http://a.example:81/"),
            ({"Port": "x"}, "http://inner/"),
            ({"Port": "123456"}, "http://inner/"),
        ]
        for fields, url in table:
            with self.subTest(fields):
                request = ask(*((f"X-Forwarded-{name}", text) for name, text in fields.items()))
                self.assertEqual(request.url, url)


class Forwarded(unittest.TestCase):
    def test_the_element_that_names_the_client_tells_scheme_and_host(self) -> None:
        table = {
            "for=203.0.113.7": ("203.0.113.7:0", "http://inner/"),
            'for="203.0.113.7:4711";proto=https': ("203.0.113.7:4711", "https://inner/"),
            'For="[2001:db9::7]:80";Host=a.example;By=_x': (
                "2001:db9::7:80",
                "http://a.example/",
            ),
            "for=203.0.113.7;proto=https;host=a.example, for=10.1.2.3;proto=http;host=b": (
                "203.0.113.7:0",
                "https://a.example/",
            ),
            "for=1.2.3.4;proto=https;host=evil, for=203.0.113.7": (
                "203.0.113.7:0",
                "http://inner/",
            ),
            'for="20\\3.0.113.7" ; proto=https': ("203.0.113.7:0", "https://inner/"),
            "for=unknown;proto=https": ("127.0.0.1:4000", "https://inner/"),
            "for=_hidden, for=10.1.2.3": ("10.1.2.3:0", "http://inner/"),
            "proto=https": ("127.0.0.1:4000", "https://inner/"),
            # `forwarded-trailing-semicolon`: RFC 7239 section 4 lets a pair be empty, and RFC
            # 9110 section 5.6.1.2 an element of a list.
            "for=203.0.113.7;proto=https;": ("203.0.113.7:0", "https://inner/"),
            ";for=203.0.113.7 ; ;proto=https; ": ("203.0.113.7:0", "https://inner/"),
            "for=203.0.113.7;;proto=https , for=10.1.2.3;": ("203.0.113.7:0", "https://inner/"),
            "for=203.0.113.7,": ("203.0.113.7:0", "http://inner/"),
            ",for=203.0.113.7 , ,\tfor=10.1.2.3": ("203.0.113.7:0", "http://inner/"),
            "": ("127.0.0.1:4000", "http://inner/"),
            " , ": ("127.0.0.1:4000", "http://inner/"),
            # An element that says nothing was written by a proxy that says nothing.
            "for=203.0.113.7, ;": ("127.0.0.1:4000", "http://inner/"),
            "for=203.0.113.7, ;, for=10.1.2.3": ("10.1.2.3:0", "http://inner/"),
        }
        for value, (client_id, url) in table.items():
            with self.subTest(value):
                request = ask(("Forwarded", value))
                self.assertEqual((request.client_id, request.url), (client_id, url))

    def test_a_field_that_cannot_be_read_is_a_400(self) -> None:
        # To ignore it would make the request look like the proxy's own.
        for value in (
            'for=", for=203.0.113.7',
            "for=a b",
            "for",
            "for=",
            "=x",
            "for=1.2.3.4;for=5.6.7.8",
            "for=1.2.3.4;;for=5.6.7.8",
            "for=1.2.3.4; x",
            "for=[2001:db8::1]",
            'for="a"b',
            "for = 1.2.3.4",
        ):
            with self.subTest(value), self.assertRaises(HTTPError) as caught:
                ask(("Forwarded", value))
            self.assertEqual(caught.exception.status, 400)

    def test_a_hostile_field_is_read_in_linear_time(self) -> None:
        # Were it quadratic, these would take minutes.
        for value in (
            'for="' + "\\" * 1_000_001,
            'for="' + "a" * 1_000_000,
            "for=" + "a" * 1_000_000 + "@",
            " " * 1_000_000 + "@",
            "; " * 500_000 + "@",
            ", " * 500_000 + "@",
        ):
            with self.assertRaises(HTTPError):
                ask(("Forwarded", value))
        request = ask(("Forwarded", ",".join(["for=10.0.0.1"] * 100_000)))
        self.assertEqual(request.client_address, ("10.0.0.1", 0))


class Prefix(unittest.TestCase):
    def ask(self, value: str, peer: str = "127.0.0.1", prefix: bool = True) -> HTTPRequest:
        fields = Headers([("X-Forwarded-Prefix", value)])
        request = HTTPRequest("GET", "/a?b", fields, client_address=(peer, 4000), host="inner")
        ProxyHeadersMiddleware(TRUSTED, prefix=prefix).process_request(request)
        return request

    def test_what_the_proxy_took_off_the_path_is_in_the_url(self) -> None:
        for value, root_path in (
            ("/app", "/app"),
            ("/app/", "/app"),
            ("/a/b", "/a/b"),
            ("/%E6%95%B0/a.b", "/%E6%95%B0/a.b"),
            ("/.well-known", "/.well-known"),
            ("/evil, /app", "/app"),  # The nearest proxy wrote the last.
        ):
            with self.subTest(value):
                request = self.ask(value)
                self.assertEqual(request.root_path, root_path)
                self.assertEqual(request.url, f"http://inner{root_path}/a?b")
                self.assertEqual(request.path, "/a")

    def test_what_is_no_prefix_is_left_out(self) -> None:
        for value in (
            "", "/", "app", "//evil.example", "/a//b", "/..", "/a/../b", "/a/.", "/.", "/a b",
            "/a?b", "/a#b", "http://evil.example/", "/\\evil.example", "/%", "/%zz", "/a\tb",
            "/\xe9",
        ):  # fmt: skip
            with self.subTest(value):
                self.assertEqual(self.ask(value).root_path, "")

    def test_it_is_read_from_named_proxies_and_where_it_is_asked_for(self) -> None:
        self.assertEqual(self.ask("/app", peer="192.0.2.1").root_path, "")
        self.assertEqual(self.ask("/app", prefix=False).root_path, "")

    def test_a_hostile_one_is_read_in_linear_time(self) -> None:
        for value in ("/a" * 500_000 + "?", "/%41" * 250_000 + "%", "/" + "." * 1_000_000 + "?"):
            self.assertEqual(self.ask(value).root_path, "")


class Styles(unittest.TestCase):
    BOTH = (("X-Forwarded-For", "203.0.113.7"), ("Forwarded", "for=203.0.113.8"))

    def test_both_kinds_at_once_are_a_400(self) -> None:
        with self.assertRaises(HTTPError) as caught:
            ask(*self.BOTH)
        self.assertEqual(caught.exception.status, 400)

    def test_the_kind_that_was_chosen_is_the_only_one_read(self) -> None:
        self.assertEqual(ask(*self.BOTH, style="x-forwarded").client_id, "203.0.113.7:0")
        self.assertEqual(ask(*self.BOTH, style="forwarded").client_id, "203.0.113.8:0")
        self.assertEqual(ask(self.BOTH[0], style="forwarded").client_id, "127.0.0.1:4000")

    def test_what_is_no_network_or_style_is_refused_at_once(self) -> None:
        for trusted, style in ((["proxy.local"], "auto"), (["10.0.0.1/8"], "auto"), ([], "any")):
            with self.assertRaises(ValueError):
                ProxyHeadersMiddleware(trusted, style)


class ProxyTest(MiddlewareTestCase):
    FIELDS = {
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "app.example",
    }

    def setUp(self) -> None:
        super().setUp()

        @self.router.get("/who")
        def who(request: Any) -> dict[str, Any]:
            return {"client": request.client_address[0], "url": request.url}

    def test_a_named_proxy_is_believed(self) -> None:
        server = self.serve_with(ProxyHeadersMiddleware(["127.0.0.1"]))
        self.assertEqual(
            fetch(server, "GET", "/who", fields=self.FIELDS).json,
            {"client": "203.0.113.7", "url": "https://app.example/who"},
        )
        fields = {"Forwarded": 'for="[2001:db8::7]:99";proto=https;host=app.example'}
        self.assertEqual(
            fetch(server, "GET", "/who", fields=fields).json,
            {"client": "2001:db8::7", "url": "https://app.example/who"},
        )
        self.assertEqual(fetch(server, "GET", "/who", fields={"Forwarded": '"'}).status, 400)

    def test_nobody_else_is(self) -> None:
        plain = {"client": "127.0.0.1", "url": "http://test/who"}
        server = self.serve_with(ProxyHeadersMiddleware(["10.0.0.0/8"]))
        self.assertEqual(fetch(server, "GET", "/who", fields=self.FIELDS).json, plain)
        self.assertEqual(fetch(self.serve(), "GET", "/who", fields=self.FIELDS).json, plain)

    def test_one_request_does_not_colour_the_next(self) -> None:
        client = self.connect(self.serve_with(ProxyHeadersMiddleware()))
        client.get("/who", fields=self.FIELDS)
        self.assertEqual(client.get("/who").json, {"client": "127.0.0.1", "url": "http://test/who"})


if __name__ == "__main__":
    unittest.main()
