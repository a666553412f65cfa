"""request: what is computed when a handler asks for it (Q1 to Q6, Q8)."""

from __future__ import annotations

import json
import unittest
from typing import Any

from pyliteflux import Config, ConfigError, HTTPError, HTTPRequest, TCPRequest
from pyliteflux.app.request import Home, is_json_type
from pyliteflux.headers import Headers


def make(body: bytes = b"", content_type: str | None = None, **options: Any) -> HTTPRequest:
    fields = [] if content_type is None else [("Content-Type", content_type)]
    return HTTPRequest("POST", "/a", Headers(fields), body, **options)


class HTTPRequestTests(unittest.TestCase):
    def test_the_target_is_cut_and_decoded(self) -> None:
        """Q5: the path once; the query keeps its raw form."""
        request = HTTPRequest("GET", "/a%20b/%C3%BC?x=%31&y=a+b?c")
        self.assertEqual(request.path, "/a b/ü")
        self.assertEqual(request.raw_path, "/a%20b/%C3%BC")
        self.assertEqual(request.query_string, "x=%31&y=a+b?c")
        self.assertEqual(request.query_params, {"x": "1", "y": "a b?c"})

    def test_query_params_are_a_dict_with_the_first_values(self) -> None:
        """Q1: blank values kept."""
        request = HTTPRequest("GET", "/?a=1&a=2&b=&c&=nameless&%61=3")
        params = request.query_params
        self.assertIsInstance(params, dict)
        self.assertEqual(params["a"], "1")
        self.assertEqual(params.getlist("a"), ["1", "2", "3"])
        self.assertEqual((params["b"], params["c"]), ("", ""))
        self.assertEqual(json.loads(json.dumps(params))["a"], "1")
        self.assertEqual(dict(params), {**params})
        self.assertEqual(params.getlist("nothing"), [])

    def test_too_many_fields_are_a_413(self) -> None:
        request = HTTPRequest("GET", "/?" + "&".join(f"a{n}=1" for n in range(6)),
                              app=Home(Config(max_form_fields=5)))  # fmt: skip
        with self.assertRaises(HTTPError) as caught:
            request.query_params  # noqa: B018
        self.assertEqual(caught.exception.status, 413)

    def test_form_data_depends_on_the_type(self) -> None:
        """Q2."""
        body = b"a=1&b=%C3%BC&a=2"
        for content_type in ("application/x-www-form-urlencoded",
                             "Application/X-WWW-Form-Urlencoded; charset=utf-8; x=y"):  # fmt: skip
            request = make(body, content_type)
            self.assertEqual(request.form_data, {"a": "1", "b": "ü"})
            self.assertEqual(request.form_data.getlist("a"), ["1", "2"])
            self.assertEqual(request.files, {})
        for other in ("text/plain", "application/x-www-form-urlencodedx", None, "", ";"):
            self.assertEqual(make(body, other).form_data, {})

    def test_multipart_is_parsed_once_for_both(self) -> None:
        """Q2."""
        body = (
            b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
            b'--B\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\nfile\r\n'
            b"--B--\r\n"
        )
        request = make(body, "multipart/form-data; boundary=B")
        self.addCleanup(request.close)
        self.assertEqual(request.files["f"].read(), b"file")
        self.assertEqual(request.form_data, {"a": "1"})
        self.assertIs(request.files, request.files)
        request.close()
        request.close()

    def test_json_data_is_none_unless_the_type_is_json(self) -> None:
        """Q3."""
        for content_type in ("application/json", "application/json;charset=utf-8",
                             "Application/JSON", "application/vnd.api+json"):  # fmt: skip
            self.assertEqual(make(b"[1]", content_type).json_data, [1])
        for content_type in ("text/plain", None, "", "application/jsonx", "json"):
            self.assertIsNone(make(b"[1]", content_type).json_data)
        self.assertIsNone(make(b"", "application/json").json_data)
        self.assertIsNone(make(b"null", "application/json").json_data)

    def test_broken_json_is_a_400_when_first_read_and_when_read_again(self) -> None:
        """Q3."""
        for body in (b"{", b" ", b"nul", b"\xff", b"NaN", b"-Infinity", b"1 2", b"[" * 200_000):
            request = make(body, "application/json")
            for _ in range(2):
                with self.assertRaises(HTTPError) as caught:
                    request.json_data  # noqa: B018
                self.assertEqual(caught.exception.status, 400)

    def test_text_never_raises(self) -> None:
        """Q5."""
        for charset, body in (("utf-8", b"\xff"), ("nonsense", b"a"), ("rot13", b"a"),
                              ("base64", b"a"), ("hex", b"61"), ("undefined", b"a"), ("a\0b", b"a"),
                              ("idna", b"xn--\xff"), ("punycode", b"\xff-\xff"),
                              ("unicode_escape", b"\\x"), ("utf-32", b"abc"), ("zlib", b"a"),
                              ("mbcs", b"a"), ("raw_unicode_escape", b"\\u12")):  # fmt: skip
            with self.subTest(charset):
                self.assertIsInstance(make(body, f"text/plain; charset={charset}").text, str)

    def test_anything_may_be_left_on_a_request(self) -> None:
        """Q6: what is computed may be replaced as well."""
        for request in (HTTPRequest(), TCPRequest("a")):
            request.user = "anna"  # type: ignore[union-attr]
            self.assertEqual(request.user, "anna")  # type: ignore[union-attr]
        request = HTTPRequest("GET", "/?a=1")
        request.query_params = {"b": "2"}  # type: ignore[assignment]
        request.json_data = 5
        self.assertEqual((request.query_params, request.json_data), ({"b": "2"}, 5))

    def test_the_client_has_not_left_unless_it_is_told(self) -> None:
        """Q8."""
        self.assertIs(HTTPRequest().gone, False)
        self.assertIs(TCPRequest("a").gone, False)

    def test_the_client_id_is_its_address(self) -> None:
        """Q5, T8."""
        request = HTTPRequest(client_address=("127.0.0.1", 5))
        self.assertEqual(request.client_id, "127.0.0.1:5")
        six = HTTPRequest(client_address=("::1", 5, 0, 0))
        self.assertEqual(six.client_id, f"{six.client_address[0]}:{six.client_address[1]}")

    def test_request_ids_are_unique(self) -> None:
        """Q5, G2."""
        ids = {HTTPRequest().request_id for _ in range(100)}
        self.assertEqual(len(ids), 100)
        request = HTTPRequest()
        self.assertEqual(request.request_id, request.request_id)

    def test_signed_cookies_need_a_key(self) -> None:
        request = HTTPRequest()
        with self.assertRaises(ConfigError):
            request.sign_cookie("a", "1")
        keyed = HTTPRequest(app=Home(Config(secret_key="k")))
        signed = keyed.sign_cookie("a", "1")
        again = HTTPRequest("GET", "/", Headers([("Cookie", f"a={signed}")]),
                            app=Home(Config(secret_key="k")))  # fmt: skip
        self.assertEqual(again.signed_cookie("a"), "1")
        self.assertIsNone(again.signed_cookie("b"))

    def test_the_url_is_whole(self) -> None:
        request = HTTPRequest("GET", "/a?b=c", host="example.org:80")
        self.assertEqual(request.url, "http://example.org:80/a?b=c")

    def test_a_form_that_is_not_there_is_empty_as_json_is_none(self) -> None:
        """Q2, Q3: a body of nothing is not a broken one, whatever its type."""
        for kind in ("multipart/form-data; boundary=B", "multipart/form-data",
                     "application/x-www-form-urlencoded", "application/json"):  # fmt: skip
            request = make(b"", kind)
            self.assertEqual((request.form_data, request.files), ({}, {}))
            self.assertIsNone(request.json_data)
        with self.assertRaises(HTTPError):
            make(b"--B", "multipart/form-data; boundary=B").form_data  # noqa: B018

    def test_the_connection_keeps_its_own_address(self) -> None:
        """T8: who puts another client in the place of a proxy changes client_address alone."""
        for request in (
            HTTPRequest(client_address=("::1", 5)),
            TCPRequest("a", client_address=("::1", 5)),
        ):
            self.assertEqual((request.client_id, request.connection_id), ("::1:5", "::1:5"))
            request.client_address = ("9.9.9.9", 0)
            self.assertEqual((request.peer_address, request.connection_id), (("::1", 5), "::1:5"))


class TCPRequestTests(unittest.TestCase):
    def test_it_has_the_names_of_an_http_request(self) -> None:
        """Q5: those that it lacks empty."""
        request = TCPRequest("cmd", {"a": 1}, "json", b'{"command": "cmd"}')
        self.assertEqual((request.method, request.path, request.command), ("TCP", "cmd", "cmd"))
        self.assertEqual((request.raw_path, request.target), ("cmd", "cmd"))
        for empty in (request.path_params, request.query_params, request.form_data,
                      request.files, request.cookies):  # fmt: skip
            self.assertEqual(empty, {})
        self.assertEqual(request.query_params.getlist("a"), [])
        self.assertEqual(request.json_data, {"a": 1})
        self.assertEqual(request.text, '{"command": "cmd"}')
        self.assertIsNone(TCPRequest("cmd", "rest", "raw", b"cmd rest").json_data)

    def test_each_has_dicts_of_its_own(self) -> None:
        """Q5: what one handler puts in, no other finds."""
        one, other = TCPRequest("a"), TCPRequest("b")
        one.path_params["x"] = 1
        one.cookies["x"] = "1"
        self.assertEqual((other.path_params, other.cookies), ({}, {}))
        first, second = HTTPRequest(), HTTPRequest()
        first.path_params["x"] = 1
        self.assertEqual(second.path_params, {})

    def test_a_request_shows_what_it_is(self) -> None:
        self.assertEqual(repr(TCPRequest("a")), "<TCPRequest TCP a>")
        self.assertEqual(repr(HTTPRequest("GET", "/a")), "<HTTPRequest GET /a>")


class JSONTypeTests(unittest.TestCase):
    def test_json_types(self) -> None:
        """Q3: RFC 6839."""
        for yes in ("application/json", "application/hal+json", "image/x+json"):
            self.assertTrue(is_json_type(yes))
        for no in ("", "text/json", "application/jsonp", "application/json+xml"):
            self.assertFalse(is_json_type(no))


if __name__ == "__main__":
    unittest.main()
