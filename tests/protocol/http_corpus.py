"""Requests as bytes, and what a strict server must read in them: RFC 9110 and RFC 9112.

Each case is one side of a connection: the bytes a client sends, the requests that are in
them, and how it ends: refused with a status, kept, or closed. One table serves two runners:
`tests.protocol.test_http_corpus` feeds it to the machine without a socket, whole, byte by byte
and cut at every place; `tests.end_to_end.test_http_corpus` sends it to a real server.

The rule: a section is cited for every case, and where the RFC leaves room (a bare LF, a list
of codings) the strict reading is the right one, because a lax one is how requests are
smuggled. Where two statuses are right, both are listed.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

# The limits under which the table holds; all but the last are the defaults.
REQUEST_LINE_LIMIT = 8192
HEAD_LIMIT = 32768
FIELDS_LIMIT = 100
CHUNK_LINE_LIMIT = 256
BODY_LIMIT = 1024  # Small, so that a body exactly at the limit is quickly sent.

# Follows each case that is not cut short. A connection that persists answers it; one that has
# refused something, or was to be closed, never does.
SENTINEL = b"GET /sentinel HTTP/1.1\r\nHost: sentinel\r\n\r\n"


class Request(NamedTuple):
    """A whole request, as it must be read. None: the case is not about that."""

    method: str = "GET"
    target: str = "/"
    version: tuple[int, int] = (1, 1)
    body: bytes = b""
    path: str | None = None
    query: str | None = None
    host: str | None = None
    # Field name -> value, repeated fields joined; None: the field must not be there.
    fields: Mapping[str, str | None] = {}
    continues: bool | None = None  # The client waits for a 100.


class Case(NamedTuple):
    """One connection.

    name: a sentence, unique. section: the source. data: the bytes. requests: the whole ones,
    in order. refused: the statuses that may answer what follows them, any of these; none: all
    of `data` is good. keeps: the connection persists afterwards (never, if refused). cut: the
    data ends within a request, so that it is refused at its end and not before.
    """

    name: str
    section: str
    data: bytes
    requests: tuple[Request, ...] = ()
    refused: tuple[int, ...] = ()
    keeps: bool = True
    cut: bool = False
    note: str = ""

    @property
    def stream(self) -> bytes:
        """What is sent: the data, and a further request to see if it is answered."""
        return self.data if self.cut else self.data + SENTINEL


def reads(
    name: str, section: str, data: bytes, *requests: Request, keeps: bool = True, note: str = ""
) -> Case:
    """All of the data is good."""
    return Case(name, section, data, requests, (), keeps, False, note)


def refuses(
    name: str,
    section: str,
    data: bytes,
    *statuses: int,
    after: tuple[Request, ...] = (),
    note: str = "",
) -> Case:
    """The data is refused, after some good requests if `after` says so. No status: 400."""
    return Case(name, section, data, after, statuses or (400,), False, False, note)


def ends_early(
    name: str, section: str, data: bytes, after: tuple[Request, ...] = (), note: str = ""
) -> Case:
    """The client has gone before the request was whole."""
    return Case(name, section, data, after, (400,), False, True, note)


def head(*lines: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def line(request_line: bytes) -> bytes:
    """A request that is good, unless its first line is not."""
    return head(request_line, b"Host: a")


def to(target: bytes, method: bytes = b"GET") -> bytes:
    return line(method + b" " + target + b" HTTP/1.1")


def get(*fields: bytes) -> bytes:
    return head(b"GET / HTTP/1.1", b"Host: a", *fields)


def get_1_0(*fields: bytes) -> bytes:
    return head(b"GET / HTTP/1.0", *fields)


def post(*fields: bytes, body: bytes = b"") -> bytes:
    return head(b"POST / HTTP/1.1", b"Host: a", *fields) + body


def post_1_0(*fields: bytes, body: bytes = b"") -> bytes:
    return head(b"POST / HTTP/1.0", *fields) + body


def sized(body: bytes) -> bytes:
    return post(b"Content-Length: %d" % len(body), body=body)


def chunked(wire: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=wire)


GET = Request()
GET_1_0 = Request(version=(1, 0))
POST = Request("POST")
HELLO = Request("POST", body=b"hello")
HELLO_CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
SECOND = Request("GET", "/second")
SECOND_DATA = b"GET /second HTTP/1.1\r\nHost: b\r\n\r\n"
# What an attacker wants to be read, and must never be.
HIDDEN = b"GET /admin HTTP/1.1\r\nHost: hidden\r\n\r\n"

TCHAR = b"!#$%&'*+-.^_`|~09azAZ"
DELIMITERS = b'"(),/;<=>?@[\\]{}'
CONTROLS = bytes([*range(9), *range(10, 32), 127])  # All but HTAB.

R3 = "RFC 9112 section 3"

REQUEST_LINE = [
    reads("the least request", R3, get(), GET),
    refuses("two spaces after the method", R3, line(b"GET  / HTTP/1.1")),
    refuses("two spaces after the target", R3, line(b"GET /  HTTP/1.1")),
    refuses("a tab after the method", R3, line(b"GET\t/ HTTP/1.1")),
    refuses("a tab after the target", R3, line(b"GET /\tHTTP/1.1")),
    refuses("a vertical tab after the method", R3, line(b"GET\x0b/ HTTP/1.1")),
    refuses("a form feed after the target", R3, line(b"GET /\x0cHTTP/1.1")),
    refuses("a CR in place of a space", R3, line(b"GET\r/ HTTP/1.1")),
    refuses("a NUL after the method", R3, line(b"GET\x00/ HTTP/1.1")),
    refuses("a no-break space after the method", R3, line(b"GET\xa0/ HTTP/1.1")),
    refuses("a C1 next-line after the target", R3, line(b"GET /\x85HTTP/1.1")),
    refuses("a space and a tab after the target", R3, line(b"GET / \tHTTP/1.1")),
    refuses("a space before the method", R3, line(b" GET / HTTP/1.1")),
    refuses("a tab before the method", R3, line(b"\tGET / HTTP/1.1")),
    refuses("a space after the version", R3, line(b"GET / HTTP/1.1 ")),
    refuses("a tab after the version", R3, line(b"GET / HTTP/1.1\t")),
    refuses("a CR after the version", "RFC 9112 section 2.2", line(b"GET / HTTP/1.1\r")),
    refuses(
        "a CR alone ends the request line",
        "RFC 9112 section 2.2",
        b"GET / HTTP/1.1\rHost: a\r\n\r\n",
    ),
    refuses(
        "an LF alone ends the request line",
        "RFC 9112 section 2.2",
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        note="A recipient MAY recognize it; waitress CVE-2019-16785 is why we do not.",
    ),
    refuses("LF alone ends every line", "RFC 9112 section 2.2", b"GET / HTTP/1.1\nHost: a\n\n"),
    refuses(
        "LF CR in place of CR LF", "RFC 9112 section 2.2", b"GET / HTTP/1.1\n\rHost: a\n\r\n\r"
    ),
    refuses("no space after the method", R3, line(b"GET/ HTTP/1.1")),
    refuses("no space after the target", R3, line(b"GET /HTTP/1.1")),
    refuses("an empty target", R3, line(b"GET  HTTP/1.1")),
    refuses("a method alone", R3, line(b"GET")),
    refuses("a method and a space", R3, line(b"GET ")),
    refuses("a method and a version", R3, line(b"GET HTTP/1.1")),
    refuses("four words", R3, line(b"GET / HTTP/1.1 HTTP/1.1")),
    refuses("a space within the target", "RFC 9112 section 3.2", line(b"GET /a b HTTP/1.1")),
    refuses("a field line in place of a request line", R3, head(b"Host: a", b"X: y")),
    refuses("a status line in place of a request line", R3, line(b"HTTP/1.1 200 OK")),
    refuses("a JSON object in place of a request line", R3, b'{"command": "hello"}\r\n\r\n'),
    refuses("a TLS hello", R3, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00"),
    refuses("a SOCKS hello", R3, b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50"),
    refuses("an SSH banner", R3, b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    refuses("zeroes for ever", R3, b"\x00" * 512),
    refuses("a byte order mark before the method", R3, b"\xef\xbb\xbf" + get()),
    refuses("UTF-16", R3, get().decode().encode("utf-16-le")),
]

V = "RFC 9112 section 2.3"
V505 = "RFC 9110 section 15.6.6"


def _version(text: bytes) -> bytes:
    return line(b"GET / " + text)


VERSIONS = [
    reads("version 1.1", V, _version(b"HTTP/1.1"), GET),
    reads("version 1.0", V, _version(b"HTTP/1.0"), GET_1_0, keeps=False),
    reads("version 1.2 is read as 1.1", "RFC 9110 section 2.5", _version(b"HTTP/1.2"), GET),
    reads("version 1.9 is read as 1.1", "RFC 9110 section 2.5", _version(b"HTTP/1.9"), GET),
    *[
        refuses(f"major version {text.decode()}", V505, _version(b"HTTP/" + text), 505)
        for text in (b"0.0", b"0.9", b"2.0", b"2.1", b"3.0", b"9.9")
    ],
    refuses("another major version without a Host", V505, head(b"GET / HTTP/2.0"), 505),
    refuses(
        "the preface of HTTP/2",
        V505,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        505,
        note="RFC 9113 section 3.4.",
    ),
    refuses("no version, as in HTTP/0.9", V, b"GET /\r\n\r\n"),
    refuses("no version, but fields", V, line(b"GET /")),
    refuses("no version, but its space", V, line(b"GET / ")),
    ends_early("a whole HTTP/0.9 request", V, b"GET /\r\n"),
    *[
        refuses(f"the version is {text!r}", V, _version(text))
        for text in (
            b"HTTP/1.10",
            b"HTTP/1.01",
            b"HTTP/01.1",
            b"HTTP/11",
            b"HTTP/11.1",
            b"HTTP/1",
            b"HTTP/1.",
            b"HTTP/2",
            b"HTTP/.1",
            b"HTTP/",
            b"HTTP",
            b"HTTP/1,1",
            b"HTTP/1-1",
            b"HTTP/1.x",
            b"HTTP/x.1",
            b"HTTP/+1.1",
            b"HTTP/-1.1",
            b"HTTP/1.-1",
            b"HTTP/1.1.1",
            b"HTTP/1.1x",
            b"HTTP/1.1;",
            b"HTTP/1.1\x00",
            b"HTTP/1\x00.1",
            b"HTTP/ 1.1",
            b"HTTP/1 .1",
            b"HTTP//1.1",
            b"HTTP\\1.1",
            b"HTTP 1.1",
            b"http/1.1",
            b"Http/1.1",
            b"HTTPS/1.1",
            b"XHTTP/1.1",
            b"FTP/1.1",
            b"ICY/1.0",
            b"HTTP/1.\xd9\xa1",  # An Arabic-Indic one, for which str.isdigit is True.
            b"HTTP/1.\xb9",  # A superscript one in latin-1: likewise.
        )
    ],
]

M = "RFC 9110 section 9.1"
M501 = "RFC 9110 section 15.6.2"

METHODS = [
    *[
        reads(
            f"the method {method}",
            M,
            to(b"/", method.encode()),
            Request(method),
        )
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
    ],
    *[
        refuses(f"the method {method!r} is a token, but unknown", M501, to(b"/", method), 501)
        for method in (
            b"BREW",
            b"get",  # Methods are case-sensitive.
            b"Get",
            b"GETX",
            b"GE",
            b"PROPFIND",
            b"QUERY",
            b"PRI",
            b"M-SEARCH",
            b"0",
            b"!#$%&'*+-.^_`|~",
        )
    ],
    refuses("TRACE is not implemented", "RFC 9110 section 9.3.8", to(b"/", b"TRACE"), 501),
    refuses(
        "CONNECT is not implemented",
        "RFC 9110 section 9.3.6",
        to(b"example.com:443", b"CONNECT"),
        501,
    ),
    refuses("CONNECT to a path", "RFC 9112 section 3.2.3", to(b"/", b"CONNECT"), 501, 400),
    refuses(
        "an unknown method with a body and a request after it",
        M501,
        head(b"BREW / HTTP/1.1", b"Host: a", b"Content-Length: 5") + b"hello" + SECOND_DATA,
        501,
    ),
    refuses("a method that never ends", R3, b"A" * 9000, 501, 414, 400),
    refuses("an empty method", R3, line(b" / HTTP/1.1")),
    *[
        refuses(
            f"the method holds the delimiter {chr(byte)}",
            "RFC 9110 section 5.6.2",
            to(b"/", b"G%cT" % byte),
        )
        for byte in DELIMITERS + b":"
    ],
    refuses("the method holds a NUL", "RFC 9110 section 5.6.2", to(b"/", b"G\x00T")),
    refuses("the method holds an escape", "RFC 9110 section 5.6.2", to(b"/", b"G\x1bT")),
    refuses("the method holds a DEL", "RFC 9110 section 5.6.2", to(b"/", b"G\x7fT")),
    refuses("the method holds a byte over 7F", "RFC 9110 section 5.6.2", to(b"/", b"G\xc9T")),
]

T = "RFC 9112 section 3.2"
T1 = "RFC 9112 section 3.2.1"
T2 = "RFC 9112 section 3.2.2"
PCT = "RFC 3986 section 2.1"


def _is_read_as(target: str, path: str, query: str = "") -> Request:
    return Request("GET", target, path=path, query=query)


TARGETS_ORIGIN = [
    *[
        reads(f"the path {path}", T1, to(path.encode()), _is_read_as(path, path))
        for path in (
            "/a/b",
            "/a/",
            "//",
            "//a",
            "/a//b",
            "/.",
            "/..",
            "/a/../b",
            "/a;p=1;q",
            "/-._~!$&'()*+,;=:@",
            "/http://b/",
            "/*",
            "/:",
            "/@",
            "/user@host",
            "/0123456789",
        )
    ],
    *[
        reads(f"the path {path}, encoded", PCT, to(path.encode()), _is_read_as(path, path))
        for path in (
            "/%20",
            "/%2F",
            "/%2f",
            "/%23%3F",
            "/%25",
            "/%c3%A9",
            "/%FF",
            "/%0D%0A",
            "/%00",
        )
    ],
    *[
        reads(
            f"the path {path}, as browsers send it",
            T1,
            to(path.encode()),
            _is_read_as(path, path),
            note="Not in RFC 3986; the URL standard leaves it as it is.",
        )
        for path in ("/[", "/]", "/|", "/^", "/{id}", "/`")
    ],
    *[
        refuses(f"the path {path!r}", T1, to(path), note="Not in RFC 3986, not sent by browsers.")
        for path in (b'/"', b"/<", b"/>", b"/<script>", b"/\\", b"/a\\..\\b")
    ],
    *[
        refuses(f"the path {path!r}, badly encoded", PCT, to(path))
        for path in (b"/%", b"/%4", b"/a%", b"/%zz", b"/%4g", b"/%g4", b"/%-1", b"/%+1", b"/%%41")
    ],
    refuses("a percent-encoding with a non-ASCII digit", PCT, to(b"/%4\xb2")),
    reads("an empty query", T1, to(b"/?"), _is_read_as("/?", "/")),
    reads("a query", T1, to(b"/a?b=c&d"), _is_read_as("/a?b=c&d", "/a", "b=c&d")),
    reads("a query with a question mark", T1, to(b"/?a?b"), _is_read_as("/?a?b", "/", "a?b")),
    reads("a query with a slash", T1, to(b"/?a/b"), _is_read_as("/?a/b", "/", "a/b")),
    reads("a query with a URI", T1, to(b"/?u=http://b/"), Request("GET", "/?u=http://b/")),
    *[
        reads(
            f"the query {query}, as browsers send it",
            T1,
            to(b"/?" + query.encode()),
            _is_read_as("/?" + query, "/", query),
        )
        for query in ("a[]=1", "a|b", "^", "{}", "`", "\\", "%", "%4", "%zz", "100%&b", "a='b'")
    ],
    *[
        reads(
            f"the query {query}",
            T1,
            to(b"/?" + query.encode()),
            _is_read_as("/?" + query, "/", query),
            note="Not in RFC 3986; curl -g and many programs send it, and it has one reading.",
        )
        for query in ('"', "<", ">", "a=<b>", 'f={"a":1}', "a<b>c")
    ],
    *[
        refuses(f"the query {query!r}", T1, to(b"/?" + query))
        for query in (b"a#b", b"#", b'{"a":"#1"}')
    ],
    refuses("a fragment", T1, to(b"/a#b"), note="RFC 9110 section 7.1: it is never sent."),
    refuses("an empty fragment", T1, to(b"/#")),
    reads("an encoded number sign is no fragment", PCT, to(b"/a%23b"), Request("GET", "/a%23b")),
    refuses("a path in UTF-8", T1, to("/é".encode())),
    refuses("a path in latin-1", T1, to(b"/\xe9")),
    refuses("a path with a byte 80", T1, to(b"/\x80")),
    refuses("a query in UTF-8", T1, to("/?q=é".encode())),
    refuses("a query with a byte FF", T1, to(b"/?\xff")),
    refuses("a path with an overlong slash", T1, to(b"/\xc0\xaf")),
    *[
        refuses(f"the path holds the control {byte:02X}", T1, to(b"/a%cb" % byte))
        for byte in CONTROLS + b"\t"
    ],
    *[
        refuses(f"the query holds the control {byte:02X}", T1, to(b"/?a%cb" % byte))
        for byte in b"\x00\x09\x0a\x0b\x0d\x1b\x7f"
    ],
    refuses("a path without its slash", T, to(b"a/b")),
    refuses("a query without a path", T, to(b"?a")),
    refuses("a number sign alone", T, to(b"#")),
    refuses("dots without a slash", T, to(b"../etc/passwd")),
    refuses("a backslash in place of the slash", T, to(b"\\a")),
    refuses("an encoded slash in place of the slash", T, to(b"%2Fa")),
]


def _absolute(target: str, path: str, query: str, host: str) -> Case:
    return reads(
        f"the absolute target {target}",
        T2,
        to(target.encode()),
        Request("GET", target, path=path, query=query, host=host),
    )


TARGETS_OTHER = [
    _absolute("http://b/", "/", "", "b"),
    _absolute("http://b/c/d?e=f", "/c/d", "e=f", "b"),
    _absolute("https://b/c", "/c", "", "b"),
    _absolute("http://b", "/", "", "b"),
    _absolute("http://b?c=d", "/", "c=d", "b"),
    _absolute("http://b:8080/c", "/c", "", "b:8080"),
    _absolute("http://b:/c", "/c", "", "b:"),
    _absolute("http://127.0.0.1:80/", "/", "", "127.0.0.1:80"),
    _absolute("http://[::1]/", "/", "", "[::1]"),
    _absolute("http://[::1]:80/c", "/c", "", "[::1]:80"),
    _absolute("http://b//c", "//c", "", "b"),
    _absolute("http://b/?http://c/", "/", "http://c/", "b"),
    _absolute("http://b/@c", "/@c", "", "b"),
    _absolute("HTTP://b/", "/", "", "b"),
    _absolute("hTTpS://b/", "/", "", "b"),
    reads(
        "the host of an absolute target wins over Host",
        T2,
        head(b"GET http://b/ HTTP/1.1", b"Host: other"),
        Request("GET", "http://b/", host="b"),
    ),
    reads(
        "an absolute target in a 1.0 request without Host",
        T2,
        head(b"GET http://b/ HTTP/1.0"),
        Request("GET", "http://b/", (1, 0), host="b"),
        keeps=False,
    ),
    reads(
        "an absolute target of a POST", T2, to(b"http://b/", b"POST"), Request("POST", "http://b/")
    ),
    refuses("an absolute target without Host", T, head(b"GET http://b/ HTTP/1.1")),
    refuses(
        "an absolute target with two Hosts",
        T,
        head(b"GET http://b/ HTTP/1.1", b"Host: b", b"Host: b"),
    ),
    refuses("an absolute target with a bad Host", T, head(b"GET http://b/ HTTP/1.1", b"Host: b/c")),
    *[
        refuses(f"the absolute target {target!r} has no host", "RFC 9110 section 4.2.1", to(target))
        for target in (b"http://", b"http:///", b"http:///a", b"http://:80/", b"https://?a")
    ],
    *[
        refuses(
            f"the absolute target {target!r} has user information",
            "RFC 9110 section 4.2.4",
            to(target),
        )
        for target in (
            b"http://user@b/",
            b"http://user:word@b/",
            b"http://@b/",
            b"http://:@b/",
            b"http://b@c@d/",
            b"http://b%40c@d/",
        )
    ],
    *[
        refuses(f"the absolute target {target!r} is of another scheme", T2, to(target))
        for target in (
            b"ftp://b/",
            b"ws://b/",
            b"file:///etc/passwd",
            b"javascript:alert(1)",
            b"httpx://b/",
            b"urn:a:b",
            b"data:,a",
            b"coap+tcp://b/",
        )
    ],
    *[
        refuses(f"the absolute target {target!r} is bad", T2, to(target))
        for target in (
            b"http:/a",
            b"http:a",
            b"http//b/",
            b"://b/",
            b"1http://b/",
            b"http://b/#c",
            b"http://b#c",
            b'http://b/"',
            b"http://b/\\",
            b"http://b\\c/",
            b"http://b/%",
            b"http://b<c/",
            b"http://b:port/",
            b"http://b:-1/",
            b"http://b:65536/",
            b"http://b:80:80/",
            b"http://[::1/",
            b"http://::1/",
            b"http://[b]/",
            b"http://[]/",
            b"http://b%zz/",
            b"http://b/\xe9",
            b"http://b\xe9/",
        )
    ],
    reads(
        "OPTIONS of the asterisk",
        "RFC 9112 section 3.2.4",
        to(b"*", b"OPTIONS"),
        Request("OPTIONS", "*", path="*", query=""),
    ),
    reads(
        "OPTIONS of the asterisk in 1.0",
        "RFC 9112 section 3.2.4",
        head(b"OPTIONS * HTTP/1.0"),
        Request("OPTIONS", "*", (1, 0)),
        keeps=False,
    ),
    *[
        refuses(f"{method} of the asterisk", "RFC 9112 section 3.2.4", to(b"*", method.encode()))
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH")
    ],
    refuses("two asterisks", T, to(b"**", b"OPTIONS")),
    refuses("an asterisk with a query", T, to(b"*?a", b"OPTIONS")),
    refuses("an asterisk with a path", T, to(b"*/a", b"OPTIONS")),
    *[
        refuses(
            f"{method} of the authority {target!r}",
            "RFC 9112 section 3.2.3",
            line(method.encode() + b" " + target + b" HTTP/1.1"),
        )
        for method, target in (
            ("GET", b"example.com:80"),
            ("GET", b"example.com"),
            ("POST", b"example.com:443"),
            ("GET", b"[::1]:80"),
            ("OPTIONS", b"example.com:80"),
        )
    ],
]

E = "RFC 9112 section 2.2"

EMPTY_LINES = [
    *[
        reads(f"{count} empty lines before a request", E, b"\r\n" * count + get(), GET)
        for count in (1, 2, 8)
    ],
    refuses("9 empty lines before a request", E, b"\r\n" * 9 + get()),
    refuses("empty lines for ever", E, b"\r\n" * 500),
    reads("nothing at all", E, b""),
    reads("an empty line and nothing more", E, b"\r\n"),
    reads("empty lines between two requests", E, get() + b"\r\n\r\n" + SECOND_DATA, GET, SECOND),
    reads(
        "8 empty lines before each of two requests",
        E,
        b"\r\n" * 8 + get() + b"\r\n" * 8 + SECOND_DATA,
        GET,
        SECOND,
    ),
    refuses("9 empty lines before a second request", E, get() + b"\r\n" * 9, after=(GET,)),
    reads(
        "an empty line after a body, as old clients send",
        E,
        sized(b"hello") + b"\r\n" + SECOND_DATA,
        HELLO,
        SECOND,
    ),
    reads(
        "an empty line after a chunked body",
        E,
        chunked(HELLO_CHUNKS) + b"\r\n" + SECOND_DATA,
        HELLO,
        SECOND,
    ),
    refuses("an LF before a request", E, b"\n" + get()),
    refuses("an LF after an empty line", E, b"\r\n\n" + get()),
    refuses("a CR before a request", E, b"\r" + get()),
    refuses("two CRs and an LF before a request", E, b"\r\r\n" + get()),
    refuses("a line of one space before a request", E, b" \r\n" + get()),
    refuses("a line of one tab before a request", E, b"\t\r\n" + get()),
    refuses("an LF between two requests", E, get() + b"\n" + SECOND_DATA, after=(GET,)),
]

F = "RFC 9112 section 5"
F1 = "RFC 9112 section 5.1"
F2 = "RFC 9112 section 5.2"
NAME = "RFC 9110 section 5.1"
VALUE = "RFC 9110 section 5.5"


def _value(wire: bytes, value: str) -> tuple[bytes, Request]:
    return get(b"X:" + wire), Request(fields={"x": value})


FIELDS = [
    reads("a value without a space before it", F, *_value(b"v", "v")),
    reads("a value with spaces around it", F, *_value(b"   v   ", "v")),
    reads("a value with tabs around it", F, *_value(b"\t v\t ", "v")),
    reads("spaces within a value stay", F, *_value(b" a  b\tc", "a  b\tc")),
    reads("an empty value", F, *_value(b"", "")),
    reads("a value of blanks is empty", F, *_value(b" \t ", "")),
    reads("a value of a colon", F, *_value(b":", ":")),
    reads("a value with colons", F, *_value(b" a:b: c", "a:b: c")),
    reads(
        "every visible character in a value",
        VALUE,
        *_value(b" " + bytes(range(0x21, 0x7F)), bytes(range(0x21, 0x7F)).decode()),
    ),
    reads(
        "every byte from 80 to FF in a value",
        VALUE,
        *_value(
            b" a" + bytes(range(0x80, 0x100)) + b"z",
            "a" + bytes(range(0x80, 0x100)).decode("latin-1") + "z",
        ),
    ),
    reads(
        "a no-break space is not white space",
        VALUE,
        *_value(b"\xa0v\xa0", "\xa0v\xa0"),
        note="str.strip() would take it away.",
    ),
    reads("a C1 next-line is not white space", VALUE, *_value(b"\x85v\x85", "\x85v\x85")),
    reads(
        "repeated fields are joined in order",
        "RFC 9110 section 5.3",
        get(b"X: a", b"Y: b", b"x: c"),
        Request(fields={"X": "a, c", "y": "b"}),
    ),
    reads("a field name in odd case", NAME, get(b"cOnNeCtIoN: CLOSE"), GET, keeps=False),
    reads("Host in odd case", NAME, head(b"GET / HTTP/1.1", b"hOsT: b"), Request(host="b")),
    reads(
        "an underscore does not make a hyphen",
        "RFC 9112 section 11.2",
        post(b"Content_Length: 5", b"Transfer_Encoding: chunked") + SECOND_DATA,
        POST,
        SECOND,
    ),
    *[
        reads(
            f"the field name holds {chr(byte)}",
            "RFC 9110 section 5.6.2",
            get(b"a%c: v" % byte),
            Request(fields={f"a{chr(byte)}": "v"}),
        )
        for byte in TCHAR
    ],
    *[
        refuses(
            f"the field name holds the delimiter {chr(byte)}",
            "RFC 9110 section 5.6.2",
            get(b"a%cb: v" % byte),
        )
        for byte in DELIMITERS
    ],
    *[
        refuses(f"the field name holds the byte {byte:02X}", NAME, get(b"a%cb: v" % byte))
        for byte in b"\x00\x01\x08\x09\x0a\x0b\x0c\x0d\x1f\x20\x7f\x80\xa0\xe9\xff"
    ],
    *[
        refuses(f"the value holds the control {byte:02X}", VALUE, get(b"X: a%cb" % byte))
        for byte in CONTROLS
    ],
    *[
        refuses(f"the value ends in the control {byte:02X}", VALUE, get(b"X: a%c" % byte))
        for byte in b"\x00\x0b\x0c\x0d\x1f\x7f"
    ],
    *[
        refuses(f"the value begins with the control {byte:02X}", VALUE, get(b"X:%ca" % byte))
        for byte in b"\x00\x0a\x0b\x0c\x0d\x1f\x7f"
    ],
    refuses("a space before the colon", F1, get(b"X : v")),
    refuses("a tab before the colon", F1, get(b"X\t: v")),
    refuses("a space before the colon of Host", F1, head(b"GET / HTTP/1.1", b"Host : a")),
    refuses("an empty name", F, get(b": v")),
    refuses("a colon alone", F, get(b":")),
    refuses("a field without a colon", F, get(b"X")),
    refuses("a field without a colon, with a blank", F, get(b"X v")),
    refuses("a folded line, with a space", F2, get(b"X: a", b" b")),
    refuses("a folded line, with a tab", F2, get(b"X: a", b"\tb")),
    refuses("a folded line that looks like a field", F2, get(b"X: a", b" Y: b")),
    refuses("a folded line of blanks", F2, get(b"X: a", b" ")),
    refuses("a folded line of one tab", F2, get(b"X: a", b"\t")),
    refuses("a folded value that begins on the second line", F2, get(b"X:", b" a")),
    refuses("a folded Host", F2, head(b"GET / HTTP/1.1", b"Host:", b" a")),
    refuses("a folded request line", E, head(b"GET / HTTP/1.1", b" Host: a", b"Host: a")),
    refuses("a space before the first field", E, head(b"GET / HTTP/1.1", b" X: y", b"Host: a")),
    refuses("a tab before the first field", E, head(b"GET / HTTP/1.1", b"\tX: y", b"Host: a")),
    refuses(
        "a line of blanks after the request line", E, head(b"GET / HTTP/1.1", b"  ", b"Host: a")
    ),
    refuses("an LF alone ends a field", E, b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
    refuses("a CR alone ends a field", E, b"GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n"),
    refuses("two CRs end a field", E, b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
    refuses("LF alone ends the head", E, b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
    refuses("LF LF ends the head", E, b"GET / HTTP/1.1\r\nHost: a\n\n"),
    refuses("LF CR LF ends the head", E, b"GET / HTTP/1.1\r\nHost: a\n\r\n"),
    refuses("CR CR LF ends the head", E, b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n"),
    refuses(
        "a line end within a value makes no second field",
        "RFC 9112 section 11.1",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    refuses("a request line in place of a field", F, get(b"GET / HTTP/1.1")),
    refuses("a quoted field name", F, get(b'"X": v')),
]

H = "RFC 9112 section 3.2"
H2 = "RFC 9110 section 7.2"
H3 = "RFC 3986 section 3.2.2"


def _host(value: bytes) -> bytes:
    return head(b"GET / HTTP/1.1", b"Host: " + value)


HOST = [
    refuses("no Host in 1.1", H, head(b"GET / HTTP/1.1")),
    refuses("no Host in 1.1, but fields", H, head(b"GET / HTTP/1.1", b"X-Host: a", b"Hos: t")),
    refuses("no Host in 1.2", H, head(b"GET / HTTP/1.2")),
    reads("no Host in 1.0", H, get_1_0(), GET_1_0, keeps=False),
    reads("a Host in 1.0", H, get_1_0(b"Host: b"), Request(version=(1, 0), host="b"), keeps=False),
    refuses("two Hosts", H, head(b"GET / HTTP/1.1", b"Host: a", b"Host: b")),
    refuses("two equal Hosts", H, head(b"GET / HTTP/1.1", b"Host: a", b"Host: a")),
    refuses("two Hosts in odd case", H, head(b"GET / HTTP/1.1", b"Host: a", b"X: y", b"hOST: a")),
    refuses("two Hosts, the first empty", H, head(b"GET / HTTP/1.1", b"Host:", b"Host: a")),
    refuses("two Hosts, the second empty", H, head(b"GET / HTTP/1.1", b"Host: a", b"Host:")),
    refuses("two empty Hosts", H, head(b"GET / HTTP/1.1", b"Host:", b"Host:")),
    refuses("two Hosts in 1.0", H, get_1_0(b"Host: a", b"Host: a")),
    refuses("a bad Host in 1.0", H, get_1_0(b"Host: a/b")),
    reads("an empty Host", H2, head(b"GET / HTTP/1.1", b"Host:"), Request(host="")),
    reads("a Host of blanks is empty", H2, head(b"GET / HTTP/1.1", b"Host: \t "), Request(host="")),
    *[
        reads(f"the Host {value}", H3, _host(value.encode()), Request(host=value))
        for value in (
            "example.com",
            "EXAMPLE.com",
            "a.",
            "a-b_c~d",
            "xn--exmple-cua",
            "a%41",
            "a!$&'()*+;=",
            "a,b",  # A reg-name may hold any sub-delim.
            "a:80",
            "a:",
            "a:0",
            "a:080",
            "a:65535",
            "127.0.0.1",
            "127.0.0.1:8000",
            "[::1]",
            "[::1]:8000",
            "[::]",
            "[2001:db8::1]:",
            "[2001:DB8:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[v1.fe:80]",
        )
    ],
    *[
        refuses(f"the Host {value!r}", H3, _host(value))
        for value in (
            b"a b",
            b"a\tb",
            b"a, b",
            b"a,b c",
            b"a/",
            b"a/b",
            b"a?b",
            b"a#b",
            b"a\\b",
            b'a"b',
            b"a<b>",
            b"a^b",
            b"a`b",
            b"a{b}",
            b"a|b",
            b"http://a",
            b"//a",
            b"*/*",
            b"user@a",
            b"user:word@a",
            b"@a",
            b"a@",
            b"a%",
            b"a%4",
            b"a%zz",
            b"\xe9",
            b"\xc3\xa9.com",
            b"a\xa0",
            b"\xa0a",
            b"a\x85",
        )
    ],
    *[
        refuses(f"the Host {value!r} has a bad port", "RFC 3986 section 3.2.3", _host(value))
        for value in (
            b"a:port",
            b"a:80a",
            b"a:-80",
            b"a:+80",
            b"a:8_0",
            b"a:0x50",
            b"a: 80",
            b"a :80",
            b"a:80:80",
            b"a::80",
            b"a:65536",
            b"a:99999999999999999999",
            b"a:8\xb2",
            b"a:\xd9\xa8\xd9\xa0",
            b"[::1]:port",
            b"[::1]:-1",
        )
    ],
    *[
        refuses(f"the Host {value!r} is no IP literal", H3, _host(value))
        for value in (
            b"::1",
            b"[::1",
            b"::1]",
            b"[]",
            b"[a]",
            b"[:]",
            b"[:::]",
            b"[::g]",
            b"[1::2::3]",
            b"[1:2:3:4:5:6:7:8:9]",
            b"[1:2:3:4:5:6:7]",
            b"[12345::]",
            b"[127.0.0.1]",
            b"[::127.0.0.256]",
            b"[fe80::1%eth0]",
            b"[::1]a",
            b"a[::1]",
            b"[::1][::1]",
            b"[[::1]]",
            b"[::1]80",
            b"[ ::1]",
            b"[v.a]",
            b"[vg.a]",
        )
    ],
]

L = "RFC 9110 section 8.6"
L3 = "RFC 9112 section 6.3"
L413 = "RFC 9110 section 15.5.14"


def _length(value: bytes, body: bytes = b"hello") -> bytes:
    return post(b"Content-Length: " + value, body=body)


CONTENT_LENGTH = [
    reads("a body of a known length", L3, sized(b"hello"), HELLO),
    reads("a length of 0", L3, sized(b""), POST),
    reads("a POST without a length has no body", L3, post(), POST),
    reads(
        "a GET with a body",
        "RFC 9110 section 9.3.1",
        get(b"Content-Length: 5") + b"hello",
        GET._replace(body=b"hello"),
    ),
    *[
        reads(
            f"a {method} with a body",
            L3,
            head(method.encode() + b" / HTTP/1.1", b"Host: a", b"Content-Length: 5") + b"hello",
            Request(method, body=b"hello"),
        )
        for method in ("HEAD", "PUT", "DELETE", "PATCH", "OPTIONS")
    ],
    reads(
        "a body of a known length in 1.0",
        L3,
        post_1_0(b"Content-Length: 5", body=b"hello"),
        Request("POST", "/", (1, 0), b"hello"),
        keeps=False,
    ),
    reads(
        "a body of every byte",
        L3,
        sized(bytes(range(256))),
        Request("POST", body=bytes(range(256))),
    ),
    reads("a body that looks like a request", L3, sized(HIDDEN), Request("POST", body=HIDDEN)),
    reads(
        "a body that looks like chunks", L3, sized(HELLO_CHUNKS), Request("POST", body=HELLO_CHUNKS)
    ),
    reads("a body of line ends", L3, sized(b"\r\n\r\n\r\n\r\n"), Request("POST", body=b"\r\n" * 4)),
    reads("leading zeros of a length", L, _length(b"0005"), HELLO),
    reads("a length of zeros", L, _length(b"000", b""), POST),
    reads("18 digits that are mostly zeros", L, _length(b"000000000000000005"), HELLO),
    reads("blanks around a length", F, post(b"Content-Length:\t 5 \t", body=b"hello"), HELLO),
    reads("Content-Length in odd case", NAME, post(b"cONTENT-lENGTH: 5", body=b"hello"), HELLO),
    reads(
        "a length exactly at the limit",
        L413,
        sized(b"x" * BODY_LIMIT),
        Request("POST", body=b"x" * BODY_LIMIT),
    ),
    *[
        refuses(f"a length of {value.decode()}", L413, _length(value, b""), 413)
        for value in (
            b"%d" % (BODY_LIMIT + 1),
            b"10485761",
            b"2147483648",
            b"4294967296",
            b"4294967301",
            b"999999999999999999",
            b"9223372036854775808",
            b"18446744073709551616",
            b"18446744073709551621",
            b"00000000000000000000005",
        )
    ],
    refuses("a length of 100 digits", L413, _length(b"9" * 100, b""), 413),
    refuses(
        "a length of 5000 digits",
        L413,
        _length(b"9" * 5000, b""),
        413,
        note="int() itself gives up at 4300.",
    ),
    refuses("a length over the limit, the body with it", L413, sized(b"x" * (BODY_LIMIT + 1)), 413),
    refuses("a length over the limit in 1.0", L413, post_1_0(b"Content-Length: 9999"), 413),
    *[
        refuses(f"the length {value!r}", L, _length(value))
        for value in (
            b"+5",
            b"-5",
            b"-0",
            b"+0",
            b"0x5",
            b"0X5",
            b"5h",
            b"0b1",
            b"0o5",
            b"5_0",
            b"_5",
            b"5_",
            b"5.0",
            b"5.",
            b".5",
            b"5e0",
            b"1e1",
            b"a",
            b"five",
            b"NaN",
            b"Infinity",
            b"null",
            b"True",
            b'"5"',
            b"'5'",
            b"(5)",
            b"5;",
            b"5;q=1",
            b"5 5",
            b"5\t5",
            b"- 5",
            b"5 bytes",
            b"5%",
            b"=5",
            b"%35",
        )
    ],
    *[
        refuses(f"the length {value!r} is not ASCII", L, _length(value))
        for value in (
            b"\xb2",  # Superscript two: str.isdigit is True.
            b"5\xb2",
            b"\xb95",
            b"\xd9\xa5",  # Arabic-Indic five: int() takes it.
            b"\xef\xbc\x95",  # Fullwidth five.
            b"\xe2\x85\xa4",  # Roman numeral five.
            b"\xa05",
            b"5\xa0",
            b"\x855",
            b"5\x85",
            b"5\xe2\x80\x8b",
        )
    ],
    *[
        refuses(f"the length {value!r} holds a control", VALUE, _length(value))
        for value in (
            b"5\x00",
            b"\x005",
            b"\x0b5",
            b"5\x0b",
            b"\x0c5",
            b"5\x0c",
            b"5\x1f",
            b"5\r",
            b"\x1c5",
        )
    ],
    refuses("an empty length", L, post(b"Content-Length:", body=b"hello")),
    refuses("a length of blanks", L, post(b"Content-Length: \t", body=b"hello")),
    *[
        refuses(f"the length is the list {value!r}", L, _length(value))
        for value in (b"5, 5", b"5,5", b"5, 6", b"5,", b",5", b"5,,5", b", ", b"5 , 5", b"0, 5")
    ],
    refuses(
        "two equal lengths", L3, post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello")
    ),
    refuses(
        "two different lengths",
        L3,
        post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"),
    ),
    refuses(
        "two different lengths, the first 0",
        L3,
        post(b"Content-Length: 0", b"Content-Length: 5", body=b"hello"),
    ),
    refuses(
        "two lengths in odd case, far apart",
        L3,
        post(b"content-length: 5", b"X: y", b"CONTENT-LENGTH: 5", body=b"hello"),
    ),
    refuses(
        "two lengths, one empty", L3, post(b"Content-Length: 5", b"Content-Length:", body=b"hello")
    ),
    refuses(
        "two lengths, one bad", L3, post(b"Content-Length: x", b"Content-Length: 5", body=b"hello")
    ),
    refuses("two lengths of 0", L3, post(b"Content-Length: 0", b"Content-Length: 0")),
    refuses(
        "two lengths in 1.0",
        L3,
        post_1_0(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
    ),
    refuses("a bad length in 1.0", L3, post_1_0(b"Content-Length: +5", body=b"hello")),
    refuses("a bad length of a GET", L3, get(b"Content-Length: abc")),
    refuses("a folded length", F2, post(b"Content-Length:", b" 5", body=b"hello")),
    refuses("a space before the colon of a length", F1, post(b"Content-Length : 5", body=b"hello")),
    refuses(
        "more bytes than the length are the next request",
        L3,
        sized(b"hello") + b"X\r\n\r\n",
        after=(HELLO,),
    ),
    refuses(
        "a body without a length is the next request", L3, post() + b"hello\r\n\r\n", after=(POST,)
    ),
]

TE = "RFC 9112 section 6.1"


def _coding(value: bytes, body: bytes = HELLO_CHUNKS) -> bytes:
    return post(b"Transfer-Encoding: " + value, body=body)


TRANSFER_ENCODING = [
    *[
        reads(
            f"the coding {value!r}",
            TE,
            post(b"Transfer-Encoding:" + value, body=HELLO_CHUNKS),
            HELLO,
        )
        for value in (
            b" chunked",
            b"chunked",
            b" Chunked",
            b" CHUNKED",
            b" cHuNkEd",
            b"\tchunked \t",
        )
    ],
    reads(
        "Transfer-Encoding in odd case",
        NAME,
        post(b"tRANSFER-eNCODING: chunked", body=HELLO_CHUNKS),
        HELLO,
    ),
    reads(
        "a GET with a chunked body",
        L3,
        get(b"Transfer-Encoding: chunked") + HELLO_CHUNKS,
        GET._replace(body=b"hello"),
    ),
    reads(
        "TE is not Transfer-Encoding", "RFC 9110 section 10.1.4", get(b"TE: chunked, trailers"), GET
    ),
    reads(
        "Content-Encoding is not Transfer-Encoding",
        "RFC 9110 section 8.4",
        post(b"Content-Encoding: identity", b"Content-Length: 5", body=b"hello"),
        HELLO,
    ),
    *[
        refuses(f"the coding {value!r}, which does not end in one chunked", L3, _coding(value))
        for value in (
            b"gzip",
            b"identity",
            b"deflate",
            b"compress",
            b"x-gzip",
            b"unknown",
            b"xchunked",
            b"x-chunked",
            b"chunkedx",
            b"chunk",
            b"chunked-",
            b"-chunked",
            b"chunke",
            b"chunked, gzip",
            b"chunked, identity",
            b"chunked,identity",
            b"chunked, chunked",
            b"chunked,chunked",
            b"chunked chunked",
            b"chunked gzip",
            b"gzip chunked",
            b"chunked;q=1",
            b"chunked; foo=bar",
            b"chunked;",
            b"gzip, chunked;q=1",
            b"gzip, chunked, chunked",
            b"chunked, gzip, chunked",
            b"chunked,",
            b", chunked",
            b",chunked",
            b"chunked, ,",
            b",",
            b'"chunked"',
            b"'chunked'",
            b"<chunked>",
            b"[chunked]",
            b"chunked=1",
            b"chunked/1",
            b"=chunked",
            b":chunked",
            b"chunked\xa0",
            b"\xa0chunked",
            b"\x85chunked",
            b"chunked\x85",
            b"\xe2\x80\x8bchunked",
            b"chunke\xc4\x91",
            b"chun\xe2\x84\xaaed",  # The Kelvin sign, whose lower case is an ASCII k.
            b"0",
            b"true",
        )
    ],
    *[
        refuses(f"the coding {value!r}", TE, _coding(value), 501)
        for value in (
            b"gzip, chunked",
            b"gzip,chunked",
            b"gzip , chunked",
            b"GZIP, Chunked",
            b"deflate, chunked",
            b"compress, gzip, chunked",
            b"foo, chunked",
            b"xchunked, chunked",
            b"gzip;q=1, chunked",
        )
    ],
    refuses(
        "the coding identity, chunked",
        TE,
        _coding(b"identity, chunked"),
        501,
        400,
        note="identity is no longer a registered coding.",
    ),
    refuses("the codings gzip, empty, chunked", TE, _coding(b"gzip,, chunked"), 501, 400),
    *[
        refuses(f"the coding {value!r} holds a control", VALUE, _coding(value))
        for value in (
            b"\x0bchunked",
            b"chunked\x0b",
            b"\x0cchunked",
            b"chunked\x0c",
            b"chunked\x00",
            b"\x00chunked",
            b"chun\x00ked",
            b"\x01chunked",
            b"chunked\x1f",
            b"chunked\r",
            b"\rchunked",
            b"gzip,\x0bchunked",
            b"\x7fchunked",
            b"\nchunked",
            b"chunked\n",
        )
    ],
    refuses("an empty coding", TE, post(b"Transfer-Encoding:", body=HELLO_CHUNKS)),
    refuses("a coding of blanks", TE, post(b"Transfer-Encoding: \t", body=HELLO_CHUNKS)),
    refuses("an empty coding and nothing more", TE, post(b"Transfer-Encoding:")),
    refuses(
        "two fields of chunked",
        L3,
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=HELLO_CHUNKS),
    ),
    refuses(
        "two fields, chunked and gzip",
        L3,
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", body=HELLO_CHUNKS),
    ),
    refuses(
        "two fields, gzip and chunked",
        L3,
        post(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked", body=HELLO_CHUNKS),
        501,
    ),
    refuses(
        "two fields, chunked and identity",
        L3,
        post(b"Transfer-Encoding: chunked", b"transfer-encoding: identity", body=HELLO_CHUNKS),
    ),
    refuses(
        "two fields, empty and chunked",
        L3,
        post(b"Transfer-Encoding:", b"Transfer-Encoding: chunked", body=HELLO_CHUNKS),
    ),
    refuses(
        "two fields, chunked and empty",
        L3,
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding:", body=HELLO_CHUNKS),
    ),
    refuses(
        "a coding and a length",
        L3,
        post(b"Transfer-Encoding: chunked", b"Content-Length: 15", body=HELLO_CHUNKS),
    ),
    refuses(
        "a length and a coding",
        L3,
        post(b"Content-Length: 15", b"Transfer-Encoding: chunked", body=HELLO_CHUNKS),
    ),
    refuses(
        "a coding and a length of 0",
        L3,
        post(b"Content-Length: 0", b"Transfer-Encoding: chunked", body=HELLO_CHUNKS),
    ),
    refuses(
        "a coding and a bad length",
        L3,
        post(b"Content-Length: x", b"Transfer-Encoding: chunked", body=HELLO_CHUNKS),
    ),
    refuses(
        "a coding and an empty length",
        L3,
        post(b"Content-Length:", b"Transfer-Encoding: chunked", body=HELLO_CHUNKS),
    ),
    refuses(
        "a coding in odd case and a length",
        L3,
        post(b"content-length: 5", b"TRANSFER-ENCODING: CHUNKED", body=HELLO_CHUNKS),
    ),
    refuses(
        "an unknown coding and a length",
        L3,
        post(b"Content-Length: 5", b"Transfer-Encoding: gzip, chunked", body=b"hello"),
        400,
        501,
    ),
    refuses(
        "identity and a length",
        L3,
        post(b"Content-Length: 5", b"Transfer-Encoding: identity", body=b"hello"),
    ),
    refuses(
        "an empty coding and a length",
        L3,
        post(b"Content-Length: 5", b"Transfer-Encoding:", body=b"hello"),
    ),
    refuses("a coding in 1.0", TE, post_1_0(b"Transfer-Encoding: chunked", body=HELLO_CHUNKS)),
    refuses(
        "a coding in 1.0 that is to be kept",
        TE,
        post_1_0(b"Connection: keep-alive", b"Transfer-Encoding: chunked", body=HELLO_CHUNKS),
    ),
    refuses(
        "a coding and a length in 1.0",
        TE,
        post_1_0(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=HELLO_CHUNKS),
    ),
    refuses(
        "an unknown coding in 1.0",
        TE,
        post_1_0(b"Transfer-Encoding: gzip, chunked", body=HELLO_CHUNKS),
        400,
        501,
    ),
    reads(
        "a coding in 1.2",
        TE,
        head(b"POST / HTTP/1.2", b"Host: a", b"Transfer-Encoding: chunked") + HELLO_CHUNKS,
        HELLO,
    ),
    refuses("a folded coding", F2, post(b"Transfer-Encoding:", b" chunked", body=HELLO_CHUNKS)),
    refuses(
        "a coding, folded",
        F2,
        post(b"Transfer-Encoding: chunked", b" , identity", body=HELLO_CHUNKS),
    ),
    refuses(
        "a coding, with a folded empty line",
        F2,
        post(b"Transfer-Encoding: chunked", b" ", body=HELLO_CHUNKS),
    ),
    refuses(
        "a coding hidden in a folded line",
        F2,
        post(b"X: y", b" Transfer-Encoding: chunked", body=HELLO_CHUNKS),
    ),
    refuses(
        "a space before the colon of a coding",
        F1,
        post(b"Transfer-Encoding : chunked", body=HELLO_CHUNKS),
    ),
    refuses(
        "a tab before the colon of a coding",
        F1,
        post(b"Transfer-Encoding\t: chunked", body=HELLO_CHUNKS),
    ),
    refuses(
        "a vertical tab before the colon of a coding",
        F1,
        post(b"Transfer-Encoding\x0b: chunked", body=HELLO_CHUNKS),
    ),
    refuses(
        "a NUL before the name of a coding",
        NAME,
        post(b"\x00Transfer-Encoding: chunked", body=HELLO_CHUNKS),
    ),
    refuses(
        "a space before the name of a coding",
        E,
        head(b"POST / HTTP/1.1", b" Transfer-Encoding: chunked", b"Host: a") + HELLO_CHUNKS,
    ),
    refuses(
        "a coding after an LF", E, post(b"X: y\nTransfer-Encoding: chunked", body=HELLO_CHUNKS)
    ),
    refuses("a coding after a CR", E, post(b"X: y\rTransfer-Encoding: chunked", body=HELLO_CHUNKS)),
]

C = "RFC 9112 section 7.1"
C1 = "RFC 9112 section 7.1.1"
C2 = "RFC 9112 section 7.1.2"


def _size(size_line: bytes) -> bytes:
    return chunked(size_line + b"\r\nhello\r\n0\r\n\r\n")


def _extension(extension: bytes) -> bytes:
    return _size(b"5" + extension)


CHUNKS = [
    reads("no chunk but the last", C, chunked(b"0\r\n\r\n"), POST),
    reads("one chunk", C, chunked(HELLO_CHUNKS), HELLO),
    reads("three chunks", C, chunked(b"1\r\nh\r\n3\r\nell\r\n1\r\no\r\n0\r\n\r\n"), HELLO),
    reads(
        "chunks of one byte",
        C,
        chunked(b"".join(b"1\r\n%c\r\n" % c for c in b"hello") + b"0\r\n\r\n"),
        HELLO,
    ),
    reads(
        "a thousand chunks of one byte",
        C,
        chunked(b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n"),
        Request("POST", body=b"x" * 1000),
    ),
    reads(
        "a chunk of line ends",
        C,
        chunked(b"4\r\n\r\n\r\n\r\n0\r\n\r\n"),
        Request("POST", body=b"\r\n\r\n"),
    ),
    reads(
        "a chunk that looks like the last one",
        C,
        chunked(b"5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
        Request("POST", body=b"0\r\n\r\n"),
    ),
    reads(
        "a chunk that looks like a request",
        C,
        chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)),
        Request("POST", body=HIDDEN),
    ),
    reads(
        "a size in lower case",
        C,
        chunked(b"a\r\n0123456789\r\n0\r\n\r\n"),
        Request("POST", body=b"0123456789"),
    ),
    reads(
        "a size in upper case",
        C,
        chunked(b"A\r\n0123456789\r\n0\r\n\r\n"),
        Request("POST", body=b"0123456789"),
    ),
    reads(
        "a size of two digits in both cases",
        C,
        chunked(b"1a\r\n" + b"x" * 26 + b"\r\n1A\r\n" + b"y" * 26 + b"\r\n0\r\n\r\n"),
        Request("POST", body=b"x" * 26 + b"y" * 26),
    ),
    reads(
        "a size is hexadecimal",
        C,
        chunked(b"10\r\n0123456789abcdef\r\n0\r\n\r\n"),
        Request("POST", body=b"0123456789abcdef"),
    ),
    reads("leading zeros of a size", C, _size(b"005"), HELLO),
    reads("a size of 16 digits", C, _size(b"0000000000000005"), HELLO),
    *[
        reads(
            f"a last chunk of {count} zeros",
            C,
            chunked(b"5\r\nhello\r\n" + b"0" * count + b"\r\n\r\n"),
            HELLO,
        )
        for count in (2, 3, 16)
    ],
    refuses("a last chunk of 17 zeros", C, chunked(b"5\r\nhello\r\n" + b"0" * 17 + b"\r\n\r\n")),
    *[
        refuses(f"the size {size!r}", C, _size(size))
        for size in (
            b"00000000000000005",
            b"10000000000000005",
            b"f" * 17,
            b"0" * 200 + b"5",
            b"+5",
            b"-5",
            b"-0",
            b"0x5",
            b"0X5",
            b"x5",
            b"5h",
            b"5g",
            b"5_0",
            b"5_",
            b"_5",
            b"5.0",
            b"5.",
            b"5,",
            b"5:",
            b"#5",
            b"$5",
            b'"5"',
            b"",
            b" ",
            b" 5",
            b"\t5",
            b"5 ",
            b"5\t",
            b"5  ",
            b"5 5",
            b"5\x00",
            b"\x005",
            b"5\x0b",
            b"\x0c5",
            b"5\x7f",
            b"\xb2",
            b"5\xb2",
            b"\xd9\xa5",
            b"\xef\xbc\x95",
            b"\xa05",
            b"5\xa0",
            b"5\x85",
            b"five",
            b"z",
            b"-",
            b"5\r",
            b"\r5",
            b"\n5",
            b"5\n",
            b"\r\n5",
        )
    ],
    *[
        refuses(f"the size {size.decode()} is over the limit", L413, _size(size), 413)
        for size in (
            b"401",
            b"7fffffff",
            b"80000000",
            b"ffffffff",
            b"100000005",
            b"7fffffffffffffff",
            b"8000000000000000",
            b"ffffffffffffffff",
            b"fffffffffffffff5",
        )
    ],
    reads(
        "chunks exactly at the limit",
        L413,
        chunked(b"200\r\n%b\r\n200\r\n%b\r\n0\r\n\r\n" % (b"x" * 512, b"y" * 512)),
        Request("POST", body=b"x" * 512 + b"y" * 512),
    ),
    refuses(
        "chunks one byte over the limit", L413, chunked(b"200\r\n%b\r\n201\r\n" % (b"x" * 512)), 413
    ),
    refuses(
        "small chunks that go over the limit", L413, chunked(b"1\r\nx\r\n" * (BODY_LIMIT + 1)), 413
    ),
    refuses("no line end after a chunk", C, chunked(b"5\r\nhello0\r\n\r\n")),
    refuses(
        "two other bytes after a chunk",
        C,
        chunked(b"5\r\nhelloXX0\r\n\r\n"),
        note="h11 CVE-2025-43859.",
    ),
    refuses(
        "two zeros in place of the line end after a chunk", C, chunked(b"5\r\nhello000\r\n\r\n")
    ),
    refuses("LF alone after a chunk", C, chunked(b"5\r\nhello\n0\r\n\r\n")),
    refuses("CR alone after a chunk", C, chunked(b"5\r\nhello\r0\r\n\r\n")),
    refuses("LF CR after a chunk", C, chunked(b"5\r\nhello\n\r0\r\n\r\n")),
    refuses("LF LF after a chunk", C, chunked(b"5\r\nhello\n\n0\r\n\r\n")),
    refuses("CR CR after a chunk", C, chunked(b"5\r\nhello\r\r0\r\n\r\n")),
    refuses("a space and a line end after a chunk", C, chunked(b"5\r\nhello \r\n0\r\n\r\n")),
    refuses("two line ends after a chunk", C, chunked(b"5\r\nhello\r\n\r\n0\r\n\r\n")),
    refuses("a chunk longer than its size", C, chunked(b"4\r\nhello\r\n0\r\n\r\n")),
    refuses("a chunk one byte shorter than its size", C, chunked(b"6\r\nhello\r\n0\r\n\r\n")),
    refuses("a chunk two bytes shorter than its size", C, chunked(b"7\r\nhello\r\n0\r\n\r\n")),
    refuses("LF alone ends a size line", C, chunked(b"5\nhello\r\n0\r\n\r\n")),
    refuses("CR alone ends a size line", C, chunked(b"5\rhello\r\n0\r\n\r\n")),
    refuses("CR CR LF ends a size line", C, chunked(b"5\r\r\nhello\r\n0\r\n\r\n")),
    refuses("LF alone ends the last size line", C, chunked(b"5\r\nhello\r\n0\n\r\n")),
    refuses("LF LF ends the body", C, chunked(b"5\r\nhello\r\n0\n\n")),
    refuses(
        "LF alone after the last chunk, and nothing more", C, chunked(b"5\r\nhello\r\n0\r\n\n")
    ),
    refuses(
        "LF alone after a trailer, and nothing more", C2, chunked(b"5\r\nhello\r\n0\r\nX: y\n\n")
    ),
    refuses("LF alone ends the trailer section", C, chunked(b"5\r\nhello\r\n0\r\n\n\r\n\r\n")),
    refuses("CR CR LF ends the trailer section", C, chunked(b"5\r\nhello\r\n0\r\n\r\r\n\r\n")),
    refuses("the first line of the body is no size", C, chunked(b"hello\r\n0\r\n\r\n")),
    refuses("an empty line before the first chunk", C, chunked(b"\r\n5\r\nhello\r\n0\r\n\r\n")),
    refuses("an LF before the first chunk", C, chunked(b"\n5\r\nhello\r\n0\r\n\r\n")),
    refuses("a negative last chunk", C, chunked(b"5\r\nhello\r\n-0\r\n\r\n")),
    refuses("a chunk after the last", C, chunked(b"0\r\n5\r\nhello\r\n0\r\n\r\n")),
    refuses(
        "bytes after the body are the next request",
        C,
        chunked(HELLO_CHUNKS) + b"X\r\n\r\n",
        after=(HELLO,),
    ),
    *[
        reads(f"the extension {extension!r}", C1, _extension(extension), HELLO)
        for extension in (
            b";a",
            b";a=b",
            b";a=1",
            b';a="b"',
            b';a=""',
            b';a="b c"',
            b';a="b;c"',
            b';a="b=c"',
            b';a="\\""',
            b';a="\\\\"',
            b';a="b\tc"',
            b';a="\xc3\xa9"',
            b';a="\\\xe9"',
            b";a;b",
            b';a=b;c="d";e',
            b";a=b;a=b",
            b"; a",
            b" ;a",
            b"\t;\ta",
            b" ; a = b",
            b' ; a = "b" ; c',
            b";!#$%&'*+-.^_`|~=x",
        )
    ],
    reads(
        "an extension of the last chunk", C1, chunked(b'5\r\nhello\r\n0;a=b;c="d"\r\n\r\n'), HELLO
    ),
    *[
        refuses(f"the extension {extension!r}", C1, _extension(extension))
        for extension in (
            b";",
            b"; ",
            b";;",
            b";;a",
            b";a;",
            b";=b",
            b";a=",
            b";a= ",
            b";a=;b",
            b";a==b",
            b";a b",
            b";a=b c",
            b";a ",
            b";a=b ",
            b';a="b',
            b';a=b"',
            b';a="b"c',
            b';a="b""c"',
            b';a="b\\"',
            b";a='b c'",
            b";(a)",
            b";a@b",
            b";a=b,c",
            b",a",
            b"=a",
            b" a",
            b"a;a=b;",
            b";a\x00",
            b';a="\x00"',
            b';a="\x0b"',
            b';a="\x7f"',
            b';a="\\\x00"',
            b";\xe9",
            b";a=\xe9",
            b";a\xa0",
            b";\xa0a",
            b";a\x0b=b",
            b";a\rb",
            b";a\r=b",
            b";\ra",
            b';a="b\rc"',
            b';a="\\\r"',
            b";a\r",
        )
    ],
    *[
        refuses(
            f"an LF within the extension {extension!r}",
            C1,
            _extension(extension),
            note="aiohttp CVE-2024-52304.",
        )
        for extension in (b";a\nb", b";a\n", b';a="b\nc"', b";\n", b";a\n\r", b';a="\\\n"')
    ],
    refuses(
        "a size line hidden after an LF in an extension",
        C1,
        chunked(b"5;\nxx\r\nhello\r\n0\r\n\r\n"),
    ),
    reads(
        "a size line exactly at the limit", C1, _size(b"5;" + b"a" * (CHUNK_LINE_LIMIT - 2)), HELLO
    ),
    refuses(
        "a size line one byte over the limit", C1, _size(b"5;" + b"a" * (CHUNK_LINE_LIMIT - 1))
    ),
    refuses("a size line far over the limit", C1, _size(b"5;" + b"a" * 4000)),
    refuses("a size line that never ends", C1, chunked(b"5;" + b"a" * 4000)),
    refuses("a quoted extension that never ends", C1, chunked(b'5;a="' + b"\\a" * 2000)),
    refuses("a size that never ends", C1, chunked(b"0" * 4000)),
    reads(
        "long extensions of many small chunks",
        C1,
        chunked((b"1;" + b"a" * 200 + b"\r\nx\r\n") * 300 + b"0\r\n\r\n"),
        Request("POST", body=b"x" * 300),
    ),
    refuses(
        "more bytes of extensions than of content, by far",
        C1,
        chunked((b"1;" + b"a" * 200 + b"\r\nx\r\n") * 400),
        413,
        400,
        note="Go CVE-2023-39326, Node CVE-2024-22019.",
    ),
]


def _trailers(*lines: bytes) -> bytes:
    return chunked(b"5\r\nhello\r\n0\r\n" + head(*lines))


def _without(name: str) -> Request:
    return HELLO._replace(fields={name: None})


TRAILERS = [
    reads("a trailer is dropped", C2, _trailers(b"X: y"), _without("x")),
    reads("two trailers", C2, _trailers(b"X: y", b"Z:"), _without("z")),
    reads("a trailer with bytes over 7F", VALUE, _trailers(b"X: \xe9\xff"), HELLO),
    reads("a trailer with blanks around", F, _trailers(b"X:\t y \t"), HELLO),
    reads(
        "a trailer that was announced",
        "RFC 9110 section 6.6.2",
        post(b"Trailer: X", b"Transfer-Encoding: chunked", body=b"0\r\nX: y\r\n\r\n"),
        _without("x")._replace(body=b""),
    ),
    *[
        reads(
            f"the trailer {field.decode()} changes nothing",
            "RFC 9110 section 6.5.1",
            _trailers(field),
            _without(field.partition(b":")[0].decode()),
        )
        for field in (
            b"Content-Length: 5",
            b"Authorization: Basic eDp5",
            b"Connection: close",
            b"Expect: nothing",
            b"Content-Type: a/b",
            b"Cookie: a=b",
        )
    ],
    reads(
        "a trailer Transfer-Encoding changes nothing",
        "RFC 9110 section 6.5.1",
        _trailers(b"Transfer-Encoding: gzip"),
        HELLO._replace(fields={"transfer-encoding": "chunked"}),
    ),
    reads(
        "a trailer Host changes nothing",
        "RFC 9110 section 6.5.1",
        _trailers(b"Host: evil"),
        HELLO._replace(host="a", fields={"host": "a"}),
    ),
    reads(
        "as many trailers as fields are allowed",
        "RFC 6585 section 5",
        _trailers(*[b"X: y"] * FIELDS_LIMIT),
        HELLO,
    ),
    refuses(
        "one trailer too many",
        "RFC 6585 section 5",
        _trailers(*[b"X: y"] * (FIELDS_LIMIT + 1)),
        431,
    ),
    refuses(
        "a trailer over the limit of a head",
        "RFC 6585 section 5",
        _trailers(b"X: " + b"y" * HEAD_LIMIT),
        431,
    ),
    refuses(
        "trailers over the limit of a head",
        "RFC 6585 section 5",
        _trailers(*[b"X: " + b"y" * 1000] * 40),
        431,
    ),
    refuses(
        "trailers without end",
        "RFC 6585 section 5",
        chunked(b"0\r\n" + b"X: y\r\n" * 7000),
        431,
        note="aiohttp CVE-2026-22815.",
    ),
    refuses(
        "a trailer without end", "RFC 6585 section 5", chunked(b"0\r\nX: " + b"y" * 40000), 431
    ),
    *[
        refuses(f"the trailer {field!r}", C2, _trailers(field))
        for field in (
            b"X",
            b"X y",
            b": y",
            b":",
            b"X : y",
            b"X\t: y",
            b" X: y",
            b"\tX: y",
            b" ",
            b"X(: y",
            b"X\x00: y",
            b"\xe9: y",
            b"X: \x00",
            b"X: a\x0bb",
            b"X: a\x7f",
            b"X: a\rb",
            b"X: a\nb",
            b"X: y\r",
            b"X: y\n",
            b"\nX: y",
            b"\rX: y",
        )
    ],
    refuses("a folded trailer", F2, _trailers(b"X: y", b" z")),
    refuses("a trailer folded with a tab", F2, _trailers(b"X: y", b"\tz")),
    refuses("a bad trailer after a good one", C2, _trailers(b"X: y", b"Z")),
    refuses("a request in place of the trailers", C2, chunked(b"0\r\n" + HIDDEN)),
    refuses("a trailer that hides a request after an LF", C2, chunked(b"0\r\nX: y\n\n" + HIDDEN)),
    refuses("LF alone after a trailer", C2, chunked(b"0\r\nX: y\n\r\n\r\n")),
]

P = "RFC 9112 section 9.3"
P1 = "RFC 9110 section 7.6.1"


def _connection(*values: bytes) -> bytes:
    return get(*[b"Connection: " + value for value in values])


PERSISTENCE = [
    reads("1.1 is kept", P, get(), GET),
    reads("1.0 is closed", P, get_1_0(), GET_1_0, keeps=False),
    *[
        reads(f"1.1 with Connection {value!r} is closed", P, _connection(value), GET, keeps=False)
        for value in (
            b"close",
            b"Close",
            b"CLOSE",
            b"\tclose\t",
            b"close, keep-alive",
            b"keep-alive, close",
            b"keep-alive,close",
            b"foo, close",
            b"close, foo",
            b"foo,\tclose\t,bar",
            b"upgrade, close",
            b", close",
            b"close,",
            b",,close,,",
        )
    ],
    reads(
        "1.1 with two Connection fields, the last close, is closed",
        P,
        _connection(b"keep-alive", b"close"),
        GET,
        keeps=False,
    ),
    reads(
        "1.1 with two Connection fields, the first close, is closed",
        P,
        _connection(b"close", b"keep-alive"),
        GET,
        keeps=False,
    ),
    *[
        reads(f"1.1 with Connection {value!r} is kept", P, _connection(value), GET)
        for value in (
            b"keep-alive",
            b"Keep-Alive",
            b"foo",
            b"foo, bar",
            b"",
            b",",
            b"closed",
            b"close-",
            b"not-close",
            b"xclose",
            b"TE",
            b"\xe9",
        )
    ],
    *[
        reads(
            f"1.0 with Connection {value!r} is kept", P, get_1_0(b"Connection: " + value), GET_1_0
        )
        for value in (
            b"keep-alive",
            b"Keep-Alive",
            b"KEEP-ALIVE",
            b"foo, keep-alive",
            b" keep-alive ,foo",
            b",keep-alive",
        )
    ],
    *[
        reads(
            f"1.0 with Connection {value!r} is closed",
            P,
            get_1_0(b"Connection: " + value),
            GET_1_0,
            keeps=False,
        )
        for value in (
            b"close",
            b"foo",
            b"",
            b"keep-alive, close",
            b"close, keep-alive",
            b"keepalive",
            b"keep-alive-x",
            b"keep alive",
        )
    ],
    reads(
        "1.0 with a Proxy-Connection is closed",
        P,
        get_1_0(b"Proxy-Connection: keep-alive"),
        GET_1_0,
        keeps=False,
    ),
    reads(
        "1.0 with a Keep-Alive field is closed",
        P,
        get_1_0(b"Keep-Alive: timeout=5"),
        GET_1_0,
        keeps=False,
    ),
    reads(
        "1.0 with a body is kept if asked",
        P,
        post_1_0(b"Connection: keep-alive", b"Content-Length: 5", body=b"hello"),
        Request("POST", "/", (1, 0), b"hello"),
    ),
    reads("1.2 is kept", P, head(b"GET / HTTP/1.2", b"Host: a"), GET),
    reads(
        "1.1 with a body is closed if asked",
        P,
        post(b"Connection: close", b"Content-Length: 5", body=b"hello"),
        HELLO,
        keeps=False,
    ),
    reads(
        "1.1 with a chunked body is closed if asked",
        P,
        post(b"Connection: close", b"Transfer-Encoding: chunked", body=HELLO_CHUNKS),
        HELLO,
        keeps=False,
    ),
    reads(
        "an upgrade is not taken",
        "RFC 9110 section 7.8",
        get(b"Connection: upgrade", b"Upgrade: websocket"),
        GET,
    ),
    reads(
        "an upgrade to h2c is not taken",
        "RFC 9110 section 7.8",
        get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
        GET,
    ),
    reads(
        "nothing is read after a close",
        "RFC 9112 section 9.6",
        _connection(b"close") + SECOND_DATA,
        GET,
        keeps=False,
    ),
    reads("nothing is read after a 1.0 request", P, get_1_0() + SECOND_DATA, GET_1_0, keeps=False),
    reads(
        "nothing bad is seen after a close",
        "RFC 9112 section 9.6",
        _connection(b"close") + b"\x00\x00\r\n\r\n",
        GET,
        keeps=False,
    ),
    reads(
        "a close after two requests",
        "RFC 9112 section 9.6",
        get() + get() + _connection(b"close") + SECOND_DATA,
        GET,
        GET,
        GET,
        keeps=False,
    ),
    reads("Connection does not name fields away", P1, get(b"Connection: host"), Request(host="a")),
]

PI = "RFC 9112 section 9.3.2"

PIPELINING = [
    reads("two requests", PI, get() + SECOND_DATA, GET, SECOND),
    reads(
        "ten requests in order",
        PI,
        b"".join(to(b"/%d" % n) for n in range(10)),
        *[Request("GET", f"/{n}") for n in range(10)],
    ),
    reads("a body, then a request", PI, sized(b"hello") + SECOND_DATA, HELLO, SECOND),
    reads("a chunked body, then a request", PI, chunked(HELLO_CHUNKS) + SECOND_DATA, HELLO, SECOND),
    reads("trailers, then a request", PI, _trailers(b"X: y") + SECOND_DATA, HELLO, SECOND),
    reads("an empty body, then a request", PI, sized(b"") + SECOND_DATA, POST, SECOND),
    reads(
        "an empty chunked body, then a request",
        PI,
        chunked(b"0\r\n\r\n") + SECOND_DATA,
        POST,
        SECOND,
    ),
    reads(
        "bodies of each kind in turn",
        PI,
        sized(b"hello") + chunked(HELLO_CHUNKS) + post() + sized(b"hello") + get(),
        HELLO,
        HELLO,
        POST,
        HELLO,
        GET,
    ),
    reads(
        "a HEAD between two requests",
        PI,
        get() + to(b"/", b"HEAD") + SECOND_DATA,
        GET,
        Request("HEAD"),
        SECOND,
    ),
    reads(
        "1.0 kept, then 1.1", PI, get_1_0(b"Connection: keep-alive") + SECOND_DATA, GET_1_0, SECOND
    ),
    reads("1.1, then 1.0", PI, SECOND_DATA + get_1_0(), SECOND, GET_1_0, keeps=False),
    reads(
        "the fields of one request are not the next one's",
        PI,
        get(b"X: y") + SECOND_DATA,
        Request(fields={"x": "y"}, host="a"),
        SECOND._replace(fields={"x": None}, host="b"),
    ),
    refuses("a good request, then a bad one", PI, get() + line(b"GET  / HTTP/1.1"), after=(GET,)),
    refuses("good, bad, good", PI, get() + get(b"X : y") + SECOND_DATA, after=(GET,)),
    refuses("good, unknown, good", PI, get() + to(b"/", b"BREW") + SECOND_DATA, 501, after=(GET,)),
    refuses(
        "good, another version, good",
        PI,
        get() + _version(b"HTTP/2.0") + SECOND_DATA,
        505,
        after=(GET,),
    ),
    refuses(
        "good, too large, good", PI, get() + _length(b"9999", b"") + SECOND_DATA, 413, after=(GET,)
    ),
    refuses(
        "a good body, then a bad one",
        PI,
        sized(b"hello") + chunked(b"x\r\n") + SECOND_DATA,
        after=(HELLO,),
    ),
    *[
        refuses(f"{name}, then a good request", "RFC 9112 section 11.2", bad + SECOND_DATA, status)
        for name, bad, status in (
            ("a bad request line", line(b"GET / HTTP/1.1 x"), 400),
            ("a bad target", to(b"/\x7f"), 400),
            ("a missing Host", head(b"GET / HTTP/1.1"), 400),
            ("two Hosts", get(b"Host: b"), 400),
            ("a bad field", get(b"X y"), 400),
            ("a bad length", _length(b"x", b""), 400),
            ("two lengths", post(b"Content-Length: 0", b"Content-Length: 1"), 400),
            (
                "a length and a coding",
                post(b"Content-Length: 0", b"Transfer-Encoding: chunked"),
                400,
            ),
            ("a bad coding", _coding(b"identity", b""), 400),
            ("an unknown coding", _coding(b"gzip, chunked", b""), 501),
            ("a bad chunk", chunked(b"x\r\n"), 400),
            ("a bad trailer", _trailers(b"X"), 400),
            ("an unmet expectation", get(b"Expect: more"), 417),
            ("another version", _version(b"HTTP/3.0"), 505),
            ("an unknown method", to(b"/", b"TRACE"), 501),
        )
    ],
]

X = "RFC 9110 section 10.1.1"

EXPECT = [
    *[
        reads(
            f"Expect: {value.decode()} with a length",
            X,
            post(b"Expect: " + value, b"Content-Length: 5", body=b"hello"),
            HELLO._replace(continues=True),
        )
        for value in (b"100-continue", b"100-Continue", b"100-CONTINUE", b"\t100-continue ")
    ],
    reads(
        "Expect with a chunked body",
        X,
        post(b"Expect: 100-continue", b"Transfer-Encoding: chunked", body=HELLO_CHUNKS),
        HELLO._replace(continues=True),
    ),
    reads("Expect without a body", X, get(b"Expect: 100-continue"), GET._replace(continues=False)),
    reads(
        "Expect with a length of 0",
        X,
        post(b"Expect: 100-continue", b"Content-Length: 0"),
        POST._replace(continues=False),
    ),
    reads("no Expect", X, sized(b"hello"), HELLO._replace(continues=False)),
    reads(
        "Expect in 1.0 is ignored",
        X,
        post_1_0(b"Expect: 100-continue", b"Content-Length: 5", body=b"hello"),
        Request("POST", "/", (1, 0), b"hello", continues=False),
        keeps=False,
    ),
    reads(
        "another Expect in 1.0 is ignored",
        X,
        get_1_0(b"Expect: more"),
        GET_1_0._replace(continues=False),
        keeps=False,
    ),
    reads(
        "Expect, then a request",
        X,
        post(b"Expect: 100-continue", b"Content-Length: 5", body=b"hello") + SECOND_DATA,
        HELLO._replace(continues=True),
        SECOND._replace(continues=False),
    ),
    *[
        refuses(
            f"Expect: {value.decode()}",
            "RFC 9110 section 15.5.18",
            post(b"Expect: " + value, b"Content-Length: 5", body=b"hello"),
            417,
        )
        for value in (
            b"more",
            b"200-ok",
            b"100",
            b"100-continue-",
            b"x100-continue",
            b"100-continue, more",
            b"more, 100-continue",
            b"100 continue",
            b"100_continue",
            b"100-continue=1",
        )
    ],
    reads(
        "two fields Expect, both 100-continue",
        X,
        post(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 5", body=b"hello"),
        HELLO,
        note="A 417 is for a list that has another member.",
    ),
    refuses("another Expect without a body", "RFC 9110 section 15.5.18", get(b"Expect: more"), 417),
    refuses(
        "two fields Expect, one of them another",
        "RFC 9110 section 15.5.18",
        get(b"Expect: 100-continue", b"Expect: more"),
        417,
    ),
    refuses(
        "Expect with a length over the limit",
        X,
        post(b"Expect: 100-continue", b"Content-Length: 9999"),
        413,
    ),
    refuses(
        "Expect with a length that is bad",
        X,
        post(b"Expect: 100-continue", b"Content-Length: 5, 5"),
        400,
    ),
    refuses(
        "Expect with a coding that is unknown",
        X,
        post(b"Expect: 100-continue", b"Transfer-Encoding: gzip, chunked"),
        501,
    ),
]


def _request_line_of(size: int) -> tuple[bytes, str]:
    target = b"/" + b"a" * (size - len(b"GET / HTTP/1.1"))
    return to(target), target.decode()


def _head_of(size: int) -> bytes:
    return get(b"X: " + b"a" * (size - len(get(b"X: "))))


R414 = "RFC 9110 section 15.5.15"
R431 = "RFC 6585 section 5"
_LONGEST = _request_line_of(REQUEST_LINE_LIMIT)

LIMITS = [
    reads("a request line exactly at the limit", R414, _LONGEST[0], Request("GET", _LONGEST[1])),
    refuses(
        "a request line one byte over the limit",
        R414,
        _request_line_of(REQUEST_LINE_LIMIT + 1)[0],
        414,
    ),
    refuses(
        "a request line of twice the limit", R414, _request_line_of(2 * REQUEST_LINE_LIMIT)[0], 414
    ),
    refuses(
        "a request line over the limit of a head", R414, _request_line_of(2 * HEAD_LIMIT)[0], 414
    ),
    refuses("a request line that never ends", R414, b"GET /" + b"a" * 9000, 414),
    refuses("a query that never ends", R414, b"GET /?" + b"a" * 9000, 414),
    refuses(
        "a request line too long after a good request",
        R414,
        get() + b"GET /" + b"a" * 9000,
        414,
        after=(GET,),
    ),
    reads("a head exactly at the limit", R431, _head_of(HEAD_LIMIT), GET),
    refuses("a head one byte over the limit", R431, _head_of(HEAD_LIMIT + 1), 431),
    refuses("a head of twice the limit", R431, _head_of(2 * HEAD_LIMIT), 431),
    refuses(
        "a field that never ends", R431, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 40000, 431
    ),
    refuses(
        "a field name that never ends", R431, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a" * 40000, 431
    ),
    refuses(
        "fields of 1 KB without end",
        R431,
        b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"X: " + b"a" * 1000 + b"\r\n") * 40,
        431,
    ),
    refuses("a cookie over the limit", R431, get(b"Cookie: a=" + b"b" * HEAD_LIMIT), 431),
    reads("as many fields as are allowed", R431, get(*[b"X: y"] * (FIELDS_LIMIT - 1)), GET),
    refuses("one field too many", R431, get(*[b"X: y"] * FIELDS_LIMIT), 431),
    refuses("a thousand fields", R431, get(*[b"X: y"] * 1000), 431),
    reads("a head at the limit, twice", R431, _head_of(HEAD_LIMIT) * 2, GET, GET),
    reads("empty lines before a head at the limit", R431, b"\r\n\r\n" + _head_of(HEAD_LIMIT), GET),
    reads(
        "a body at the limit, twice",
        L413,
        sized(b"x" * BODY_LIMIT) * 2,
        *[Request("POST", body=b"x" * BODY_LIMIT)] * 2,
    ),
]

S = "RFC 9112 section 11.2"

SMUGGLING = [
    refuses(
        "CL.TE: the length ends later than the chunks",
        S,
        post(
            b"Content-Length: %d" % (5 + len(HIDDEN)),
            b"Transfer-Encoding: chunked",
            body=b"0\r\n\r\n" + HIDDEN,
        ),
    ),
    refuses(
        "TE.CL: the length ends before the chunks",
        S,
        post(
            b"Transfer-Encoding: chunked",
            b"Content-Length: 4",
            body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN),
        ),
        note="gunicorn CVE-2024-1135, CVE-2024-6827.",
    ),
    refuses(
        "CL.0: a length of 0 and chunks",
        S,
        post(
            b"Content-Length: 0",
            b"Transfer-Encoding: chunked",
            body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN),
        ),
    ),
    refuses(
        "CL.CL: the first or the last length",
        S,
        post(b"Content-Length: 0", b"Content-Length: %d" % len(HIDDEN), body=HIDDEN),
        note="waitress CVE-2019-16792.",
    ),
    refuses(
        "TE.TE: chunked, then something else",
        S,
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: x", body=b"0\r\n\r\n" + HIDDEN),
    ),
    refuses(
        "TE.TE: something else, then a length",
        S,
        post(b"Transfer-Encoding: xchunked", b"Content-Length: 5", body=b"0\r\n\r\n" + HIDDEN),
    ),
    refuses(
        "a vertical tab before chunked",
        S,
        post(b"Transfer-Encoding: \x0bchunked", b"Content-Length: 5", body=b"0\r\n\r\n" + HIDDEN),
        note="waitress CVE-2019-16789.",
    ),
    refuses(
        "a tab in the name of the coding",
        S,
        post(b"Transfer\tEncoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n" + HIDDEN),
    ),
    refuses(
        "a space before the colon, with a length",
        S,
        post(b"Transfer-Encoding : chunked", b"Content-Length: 5", body=b"0\r\n\r\n" + HIDDEN),
        note="RFC 9112 section 5.1: the server MUST refuse it.",
    ),
    refuses(
        "a bare LF hides a coding",
        S,
        post(b"X: y\nTransfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n" + HIDDEN),
        note="waitress CVE-2019-16785.",
    ),
    refuses(
        "a bare CR hides a coding",
        S,
        post(b"X: y\rTransfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n" + HIDDEN),
    ),
    refuses(
        "a NUL hides a coding",
        S,
        post(
            b"X: y\x00Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n" + HIDDEN
        ),
    ),
    refuses(
        "an empty field name hides the coding after it",
        S,
        post(b"", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + HIDDEN),
        400,
        after=(POST,),
        note="HAProxy CVE-2021-40346, CVE-2023-25725: a head ends where it ends.",
    ),
    refuses(
        "a nameless field hides the coding after it",
        S,
        post(b": x", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + HIDDEN),
        note="HAProxy CVE-2023-25725.",
    ),
    refuses(
        "a length of +0 hides a request",
        S,
        post(b"Content-Length: +0", body=HIDDEN),
        note="waitress CVE-2022-24761.",
    ),
    refuses(
        "a length of 1_0 hides a request",
        S,
        post(b"Content-Length: 1_0", body=HIDDEN),
        note="waitress CVE-2022-24761.",
    ),
    refuses(
        "a length in superscript hides a request",
        S,
        post(b"Content-Length: \xb3", body=HIDDEN),
        note="aiohttp CVE-2025-69224.",
    ),
    refuses(
        "a chunk size of 0x0 hides a request",
        S,
        chunked(b"0x0\r\n\r\n" + HIDDEN),
        note="waitress CVE-2022-24761.",
    ),
    refuses("a chunk size of +0 hides a request", S, chunked(b"+0\r\n\r\n" + HIDDEN)),
    refuses(
        "a chunk size of 65 bits hides a request", S, chunked(b"10000000000000000\r\n\r\n" + HIDDEN)
    ),
    refuses(
        "an extension with an LF hides a request",
        S,
        chunked(b"0;\n\r\n" + HIDDEN),
        note="aiohttp CVE-2024-52304.",
    ),
    refuses("an extension with a CR hides a chunk", S, chunked(b"2;\rxx\r\n0\r\n\r\n" + HIDDEN)),
    refuses(
        "an unchecked chunk ending hides a request",
        S,
        chunked(b"2\r\nxxyy0\r\n\r\n" + HIDDEN),
        note="h11 CVE-2025-43859.",
    ),
    refuses("a last chunk cut short hides a request", S, chunked(b"0\r\n" + HIDDEN)),
    refuses("a last chunk with one LF hides a request", S, chunked(b"0\r\n\n" + HIDDEN)),
    reads(
        "a trailer with a length hides nothing",
        S,
        chunked(b"0\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN)) + SECOND_DATA,
        POST,
        SECOND,
        note="gevent CVE-2023-41419, eventlet CVE-2025-58068.",
    ),
    refuses("a trailer that is a request", S, chunked(b"0\r\nX: y\r\n" + HIDDEN)),
    refuses(
        "a folded Content-Length of two lines",
        S,
        post(b"Content-Length: 0", b" %d" % len(HIDDEN), body=HIDDEN),
    ),
    refuses(
        "a length and a list of it", S, post(b"Content-Length: 0, %d" % len(HIDDEN), body=HIDDEN)
    ),
    refuses(
        "a coding in 1.0 hides a request",
        S,
        post_1_0(
            b"Connection: keep-alive", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + HIDDEN
        ),
    ),
    refuses(
        "a coding of a GET in 1.0, with a length",
        S,
        get_1_0(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + HIDDEN,
    ),
    refuses(
        "two Hosts, one for the proxy",
        S,
        head(b"GET / HTTP/1.1", b"Host: public", b"Host: internal"),
    ),
    refuses("a Host with a path", S, head(b"GET / HTTP/1.1", b"Host: public/../internal")),
    refuses(
        "a request line within a target",
        "RFC 9112 section 11.1",
        to(b"/ HTTP/1.1\nHost: b\n\nGET /admin"),
    ),
    refuses(
        "a request line with a CR within its target", "RFC 9112 section 11.1", to(b"/\rGET\r/admin")
    ),
    refuses(
        "a whole request within a header", "RFC 9112 section 11.1", get(b"X: y\n\n" + HIDDEN[:-4])
    ),
    reads(
        "a whole request within a body",
        S,
        sized(HIDDEN) + SECOND_DATA,
        Request("POST", body=HIDDEN),
        SECOND,
    ),
    reads(
        "a GET whose body is a request",
        S,
        get(b"Content-Length: %d" % len(HIDDEN)) + HIDDEN,
        GET._replace(body=HIDDEN),
    ),
    reads(
        "a HEAD whose body is a request",
        S,
        head(b"HEAD / HTTP/1.1", b"Host: a", b"Content-Length: %d" % len(HIDDEN)) + HIDDEN,
        Request("HEAD", body=HIDDEN),
    ),
]

CUT = "RFC 9112 section 8"
_CUT_SIZED = sized(b"hello")
_CUT_CHUNKED = chunked(b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n")

INCOMPLETE = [
    ends_early("one byte", CUT, b"G"),
    ends_early("a CR alone", CUT, b"\r"),
    ends_early("an empty line and a CR", CUT, b"\r\n\r"),
    ends_early("a method", CUT, b"GET"),
    ends_early("a request line without its LF", CUT, b"GET / HTTP/1.1\r"),
    ends_early("a request line", CUT, b"GET / HTTP/1.1\r\n"),
    ends_early("a head without its last line end", CUT, get()[:-2]),
    ends_early("a head without its last byte", CUT, get()[:-1]),
    ends_early("a head after empty lines", CUT, b"\r\n\r\n" + get()[:-1]),
    ends_early("a second head", CUT, get() + SECOND_DATA[:-1], after=(GET,)),
    ends_early("a second request line", CUT, get() + b"GET", after=(GET,)),
    ends_early("a head with a length and no body", CUT, _CUT_SIZED[:-5]),
    ends_early("a body without its last byte", CUT, _CUT_SIZED[:-1]),
    ends_early("a second body", CUT, get() + _CUT_SIZED[:-1], after=(GET,)),
    ends_early("a 1.0 body", CUT, post_1_0(b"Content-Length: 5", body=b"hell")),
    ends_early(
        "a 1.0 body with a half-close for its end",
        CUT,
        post_1_0(b"Content-Length: 9", body=b"hello"),
    ),
    ends_early(
        "a head that expects 100 and sends nothing",
        X,
        post(b"Expect: 100-continue", b"Content-Length: 5"),
    ),
    *[
        ends_early(f"a chunked body without its last {count} bytes", CUT, _CUT_CHUNKED[:-count])
        for count in range(1, len(b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n") + 1)
    ],
    ends_early(
        "a chunked body without its last line end",
        CUT,
        chunked(b"5\r\nhello\r\n0\r\n"),
        note="gunicorn once took it for whole.",
    ),
    ends_early("a chunked body without its last chunk", CUT, chunked(b"5\r\nhello\r\n")),
    ends_early("a chunk cut within a large size", CUT, chunked(b"400\r\nhello")),
]

GROUPS: dict[str, list[Case]] = {
    "request line": REQUEST_LINE,
    "versions": VERSIONS,
    "methods": METHODS,
    "targets, origin form": TARGETS_ORIGIN,
    "targets, other forms": TARGETS_OTHER,
    "empty lines": EMPTY_LINES,
    "fields": FIELDS,
    "Host": HOST,
    "Content-Length": CONTENT_LENGTH,
    "Transfer-Encoding": TRANSFER_ENCODING,
    "chunked bodies": CHUNKS,
    "trailers": TRAILERS,
    "persistence": PERSISTENCE,
    "pipelining": PIPELINING,
    "Expect": EXPECT,
    "limits": LIMITS,
    "smuggling": SMUGGLING,
    "incomplete": INCOMPLETE,
}

CASES: list[Case] = [case for group in GROUPS.values() for case in group]
