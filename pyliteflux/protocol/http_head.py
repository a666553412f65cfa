"""A request head: the request line and the header fields (RFC 9112 sections 2, 3 and 5).

The rule: one compiled regular expression checks a whole head at C speed, and only a head it
refuses is looked at slowly, to say what is wrong (bad_heads.py). There is one grammar, the
strict one. What the RFC lets a server repair (a bare LF, a folded line, a second Host) is where
two servers in a row read two different requests, and that is how requests are smuggled.

Of the fields only those are read that decide how to read on; the others are for the handler,
and are cut when it asks for one.

Chapter: docs/http.md.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Any

from ..errors import (
    BadRequest,
    BodyTooLarge,
    ExpectationFailed,
    HeadTooLarge,
    NotSupported,
    VersionNotSupported,
)
from ..headers import FIELD_LINES, TOKEN, Headers
from ..statuses import METHODS
from .bad_heads import explain_bad_head
from .known_heads import LONGEST_KNOWN, KnownHeads


class HttpLimits:
    """How much of a request we are willing to look at. Bytes, but for `fields`.

    known: what `parse_head` remembers. Kept here, as a head that is within these limits may be
    over another server's.
    """

    __slots__ = ("request_line", "head", "fields", "chunk_line", "body", "known")

    def __init__(
        self,
        request_line: int = 8 * 1024,
        head: int = 32 * 1024,
        fields: int = 100,
        chunk_line: int = 256,
        body: int = 10 * 1024 * 1024,
    ) -> None:
        self.request_line = request_line
        self.head = head
        self.fields = fields
        self.chunk_line = chunk_line
        self.body = body
        self.known: KnownHeads[RequestHead] = KnownHeads()

    @classmethod
    def from_config(cls, config: Any) -> HttpLimits:
        """Return the limits that a `Config` sets."""
        return cls(
            request_line=config.max_request_line,
            head=config.max_header_size,
            fields=config.max_headers,
            chunk_line=config.max_chunk_line,
            body=config.max_body_size,
        )


DEFAULT_LIMITS = HttpLimits()

# RFC 9112 section 2.2: "SHOULD ignore at least one empty line (CRLF) received prior to the
# request-line". Old clients send one after a POST; nobody sends more than a few.
MAX_EMPTY_LINES = 8

# RFC 3986 section 3: pchar, and what the URL standard lets browsers send as it is. A query may
# hold all that is printable but "#": with `curl -g` people write {"a":1} as it is, and no two
# servers read that in two ways.
_PCHAR = r"A-Za-z0-9\-._~!$&'()*+,;=:@\[\]|^`{}"
_ORIGIN_FORM = rf"(/[{_PCHAR}/]*(?:%[0-9A-Fa-f]{{2}}[{_PCHAR}/]*)*)(?:\?([\x21\x22\x24-\x7e]*))?"
# Groups: method and target, method, target, path, query, version, Host if it is the first
# field and not empty. A target that is no path matches as a whole, and is looked at later. No
# repetition can go on with what may follow it, so there is one way to divide a head and nothing to
# try. (What fits in two ways, a target, or Host as a field like the others, is read twice.)
_HEAD = re.compile(
    rf"(({TOKEN}) ({_ORIGIN_FORM}|[\x21-\x7e]+)) HTTP/([0-9]\.[0-9])\r\n"
    rf"(?:[Hh]ost:[ \t]*([\x21-\x7e]+)[ \t]*\r\n)?{FIELD_LINES}\r\n"
).fullmatch
_HOST_GROUP = 7
# Applied only to what _HEAD has let pass: the fields that decide how to read on.
_DECISIVE = re.compile(
    r"\n((?=[HhCcTtEe])(?i:host|content-length|transfer-encoding|connection|expect)):([^\r]*)",
    re.ASCII,
).findall
_PATH_AND_QUERY = re.compile(_ORIGIN_FORM).fullmatch
# RFC 3986 section 3.2.2 and RFC 9110 section 7.2: uri-host [ ":" port ].
_HOST = re.compile(
    r"(?:(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*|(\[[^\[\]]*\]))(?::([0-9]*))?"
).fullmatch
_IPV6_CHARS = re.compile(r"\[[0-9A-Fa-f:.]{2,45}\]").fullmatch
_IPV_FUTURE = re.compile(r"\[[vV][0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+\]").fullmatch
_ABSOLUTE = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)(.*)").fullmatch
_ALL_DIGITS = re.compile(r"[0-9]+").fullmatch  # Not str.isdigit, not int(): ASCII, no sign.
# 18 digits are under 2**63 and far over every limit.
_MAX_LENGTH_DIGITS = 18


# Bytes of a field line: "a:" and its end.
_SHORTEST_FIELD = 4
# Of a target in a summary, in characters: it is kept for longer than the request.
SUMMARY_LIMIT = 100


class RequestHead:
    """A request line and its fields, checked. Set once, by `parse_head`, and then shared:
    two requests with the same bytes have the same head.

    target: as received. summary: method and target, cut to a bearable length. path: still
    percent-encoded; "*" for the asterisk form. query: without the "?". host: from the
    target if it has one, else from Host (RFC 9112 section 3.2.2).
    content_length: None where there is no body, or a chunked one.
    is_plain: HTTP/1.1 and no HEAD, so that an answer has a body and needs no field to keep the
    connection.
    """

    method: str
    target: str
    summary: str
    path: str
    query: str
    version: tuple[int, int]
    headers: Headers
    host: str
    has_body: bool
    content_length: int | None
    expects_continue: bool
    keep_alive: bool
    is_plain: bool

    __slots__ = tuple(__annotations__)

    def __repr__(self) -> str:
        return f"<RequestHead {self.method} {self.target} HTTP/{self.version[0]}.{self.version[1]}>"


def parse_head(data: bytes, limits: HttpLimits) -> RequestHead:
    """Return the request head that `data` is: all of it, up to and with the empty line.

    What has come twice is remembered and not parsed again. Raises ProtocolError with the status
    that answers it.
    """
    if len(data) > LONGEST_KNOWN:
        return _parse(data, limits.fields)
    head = limits.known.get(data)
    if head is None:
        head = _parse(data, limits.fields)
        limits.known.has_come(data, head)
    return head


def _parse(data: bytes, max_fields: int) -> RequestHead:
    # latin-1: any byte is a character, so obs-text survives (RFC 9110 section 5.5).
    text = data.decode("latin-1")
    match = _HEAD(text)
    if match is None:
        explain_bad_head(data)
    head = RequestHead()
    asked, head.method, head.target, path, query, version, host = match.groups()
    head.summary = asked
    if len(head.target) > SUMMARY_LIMIT:
        head.summary = f"{head.method} {head.target[:SUMMARY_LIMIT]}"
    if version[0] != "1":
        raise VersionNotSupported(f"HTTP/{version} is not spoken here")
    # A higher minor version is read as the highest we know (RFC 9110 section 2.5).
    is_old = version == "1.0"
    head.version = (1, 0) if is_old else (1, 1)
    if len(text) > max_fields * _SHORTEST_FIELD:  # The head may have so many.
        count = text.count("\n") - 2  # All but the first and the last line.
        if count > max_fields:
            raise HeadTooLarge(f"{count} header fields, limit {max_fields}")
    head.headers = Headers((), text)  # By position: keywords cost more
    values: dict[str, str] = {}
    for name, value in _DECISIVE(text, match.end(_HOST_GROUP)):
        name = name.lower()
        value = value.strip(" \t")
        if name == "host":
            if host is not None:  # RFC 9112 section 3.2: exactly one in 1.1, and never more.
                raise BadRequest("more than one Host field")
            host = value
        elif name in values:
            values[name] = f"{values[name]}, {value}"
        else:
            values[name] = value
    if host is not None:
        head.host = _valid_host(host)
    elif is_old:
        head.host = ""
    else:
        raise BadRequest("the Host field is missing")
    if path is None:
        path, query = _split_target(head)
    head.path = path
    head.query = query or ""
    if head.method not in METHODS:
        raise NotSupported(f"the method {head.method} is not implemented")
    head.is_plain = not is_old and head.method != "HEAD"
    head.keep_alive = not is_old
    head.has_body = head.expects_continue = False
    head.content_length = None
    if values:  # Few have any of them, beside Host.
        _read_values(head, values)
    return head


def _read_values(head: RequestHead, values: dict[str, str]) -> None:
    """Read what decides how to read on, other than Host."""
    is_old = head.version == (1, 0)
    if "transfer-encoding" in values or "content-length" in values:
        _measure_body(head, values)
    if "connection" in values:
        # RFC 9112 section 9.3: close wins; 1.0 persists only where it was asked for.
        options = _members(values["connection"])
        head.keep_alive = "close" not in options and (not is_old or "keep-alive" in options)
    if "expect" in values and not is_old:
        # RFC 9110 section 10.1.1: a 1.0 client's Expect is ignored.
        members = _members(values["expect"])
        if members - {"100-continue", ""}:
            raise ExpectationFailed("the only expectation that can be met is 100-continue")
        head.expects_continue = head.has_body and "100-continue" in members


def _members(value: str) -> frozenset[str]:
    """Return the members of a list of options, in lower case (RFC 9110 section 5.6.1)."""
    if len(value) <= LONGEST_LIST:
        return _known_members(value)
    return _cut_members(value)


def _cut_members(value: str) -> frozenset[str]:
    return frozenset(item.strip(" \t").lower() for item in value.split(","))


# What Connection says is one of a few: keep-alive, close. Only such short lists are remembered:
# one that fills a head comes to a megabyte of members.
LONGEST_LIST = 64  # characters
_known_members = lru_cache(maxsize=64)(_cut_members)


# A server has a few names, and every request says one of them. (At most 2 MB: a head is 32 KB.)
@lru_cache(maxsize=64)
def _valid_host(value: str) -> str:
    match = _HOST(value)
    if match is None:
        raise BadRequest("the Host field is not a host and an optional port")
    literal, port = match.groups()
    if literal is not None and not _is_ip_literal(literal):
        raise BadRequest("the Host field holds a bad IP literal")
    if port and (len(port) > 5 or int(port) > 65535):
        raise BadRequest("the Host field holds a port over 65535")
    return value


def _is_ip_literal(literal: str) -> bool:
    """RFC 3986 section 3.2.2, in its brackets."""
    if _IPV_FUTURE(literal):
        return True
    if not _IPV6_CHARS(literal):
        return False
    try:
        ipaddress.IPv6Address(literal[1:-1])
    except ValueError:
        return False
    return True


def _split_target(head: RequestHead) -> tuple[str, str | None]:
    """RFC 9112 section 3.2: which of the other forms is the target? Return path and query."""
    target = head.target
    if target[0] != "/":
        target = _target_of_other_form(head, target)
        if target == "*":
            return "*", None
    match = _PATH_AND_QUERY(target)
    if match is None:
        raise BadRequest("the target holds a character or a percent-encoding that a URI cannot")
    path, query = match.groups()
    return path, query


def _target_of_other_form(head: RequestHead, target: str) -> str:
    """Return path and query of an absolute or asterisk target; refuse the rest."""
    method = head.method
    if method == "CONNECT":
        raise NotSupported("CONNECT is not implemented: this is no proxy")
    if target == "*":
        if method != "OPTIONS":
            raise BadRequest("the target * belongs to OPTIONS")
        return "*"
    match = _ABSOLUTE(target)
    if match is None:
        raise BadRequest("the target is neither a path nor an absolute URI")
    scheme, authority, rest = match.groups()
    if scheme.lower() not in ("http", "https"):
        raise BadRequest("the target names a scheme that is not http or https")
    if "@" in authority:
        # RFC 9110 section 4.2.4: an error, as its only use today is to deceive.
        raise BadRequest("the target holds user information")
    # RFC 9112 section 3.2.2: the target's authority replaces what Host says.
    head.host = _valid_host(authority)
    if not authority or authority[0] == ":":
        raise BadRequest("the target has an empty host")  # RFC 9110 section 4.2.1
    if rest.startswith("/"):
        return rest
    return "/" + rest  # RFC 3986 section 6.2.3: an empty path is "/".


def _measure_body(head: RequestHead, values: dict[str, str]) -> None:
    """RFC 9112 section 6.3, as far as it is about requests: how long is the body?

    Every case that two parsers could read in two ways is refused (request smuggling).
    """
    coding = values.get("transfer-encoding")
    length = values.get("content-length")
    if coding is not None:
        if head.version == (1, 0):
            raise BadRequest("Transfer-Encoding in HTTP/1.0")  # RFC 9112 section 6.1
        if length is not None:
            raise BadRequest("both Transfer-Encoding and Content-Length")
        if coding.lower() != "chunked":
            codings = [item.strip(" \t").lower() for item in coding.split(",")]
            if codings[-1] == "chunked" and "chunked" not in codings[:-1] and all(codings):
                # RFC 9112 section 6.1: a coding that is not understood is a 501.
                raise NotSupported("the only transfer coding understood is chunked")
            raise BadRequest("Transfer-Encoding does not end in one chunked")
        head.has_body = True
        return
    assert length is not None  # The caller looked: one of the two is there.
    if not _ALL_DIGITS(length):
        raise BadRequest("Content-Length is not one number")
    if len(length) > _MAX_LENGTH_DIGITS:
        raise BodyTooLarge(f"Content-Length has {len(length)} digits")
    head.content_length = int(length)
    head.has_body = head.content_length > 0
