"""Behind a proxy: who the client really is, from X-Forwarded-* or Forwarded (RFC 7239).

The rule: these fields are words that anyone can write. They mean something only where the
connection itself comes from a proxy that was named, and only as far as named proxies wrote
them: the list is read from the right, where the nearest one wrote, and the first address that
is none of ours is the client. What stands left of it is the client's own invention.

Chapter: docs/middleware.md.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..app.middleware import Middleware
from ..app.request import HTTPRequest
from ..errors import HTTPError
from ..headers import TOKEN, Headers

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

STYLES = ("auto", "x-forwarded", "forwarded")
_X_FIELDS = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port")

# More hops than this between us and the client are not looked at.
_MAX_HOPS = 32
# RFC 7239 section 4. No two alternatives begin alike, so this is linear.
_BLANK = re.compile(r"[ \t]*").match
_PAIR = re.compile(rf'[ \t]*({TOKEN})=(?:({TOKEN})|"((?:[^"\\]|\\.)*)")[ \t]*').match
_ESCAPE = re.compile(r"\\(.)")
# An IPv4 address or a bracketed IPv6 one, with or without a port; or a bare IPv6 address.
_NODE = re.compile(
    r"(?:([0-9.]{7,15})|\[([0-9A-Fa-f:.]{2,45})\])(?::([0-9]{1,5}))?|([0-9A-Fa-f:.]{2,45})"
).fullmatch
_HOST = re.compile(r"([A-Za-z0-9._\-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?").fullmatch
_PORT = re.compile(r"[0-9]{1,5}").fullmatch
# Segments without what a browser would resolve, or take for another host. No comma: a list has it.
_PREFIX = re.compile(
    r"(?:/(?!\.{1,2}(?:/|\Z))(?:[A-Za-z0-9\-._~!$&'()*+;=:@]|%[0-9A-Fa-f]{2})+)+/?"
).fullmatch
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class _Hop(NamedTuple):
    """What one proxy wrote about whom it had in front of it; None where it said nothing."""

    node: str | None
    proto: str | None
    host: str | None


class ProxyHeadersMiddleware(Middleware):
    """Take client_address, is_secure and host from what a named proxy says. Add it first.

    trusted: addresses and networks of the proxies; fields from elsewhere mean nothing. style:
    "x-forwarded" (For, Proto, Host, Port), "forwarded", or "auto" for whichever comes. The
    proxy must set or remove each of these fields itself: one that it only passes on is the
    client's. A request that has both kinds under "auto" is a 400 for that reason: a proxy
    writes one of them, so somebody else wrote the other.

    Of several X-Forwarded-Proto, -Host or -Port the last counts, which the nearest proxy wrote.
    client_address gets port 0 where the field names none; `peer_address` and `connection_id` stay
    the proxy's. Raises ValueError for what is no address or network. On TCP it does nothing.

    prefix: read X-Forwarded-Prefix too, whatever the style, into `request.root_path`: what the
    proxy took off the path. Only where asked for, as most proxies know nothing of this field and
    pass on what a client wrote, and a cache would keep a redirect that begins so.
    """

    def __init__(
        self,
        trusted: Iterable[str] = ("127.0.0.1", "::1"),
        style: str = "auto",
        prefix: bool = False,
    ) -> None:
        if isinstance(trusted, str):
            trusted = [trusted]
        self._trusted: list[Network] = [ipaddress.ip_network(item) for item in trusted]
        if style not in STYLES:
            raise ValueError(f"style {style!r} is none of {', '.join(STYLES)}")
        self._style = style
        self._prefix = prefix

    def process_request(self, request: HTTPRequest) -> Any:
        """Rewrite what the request says about its origin. Raises HTTPError 400."""
        if request.protocol != "http":
            return None
        peer = _parse_address(str(request.peer_address[0]))
        if peer is None or not self._is_trusted(peer):
            return None
        headers = request.headers
        if self._prefix:
            prefix = _last(headers, "x-forwarded-prefix")
            if prefix and _PREFIX(prefix):
                request.root_path = prefix.rstrip("/")
        has_forwarded = self._style != "x-forwarded" and "forwarded" in headers
        has_x = self._style != "forwarded" and any(name in headers for name in _X_FIELDS)
        if has_forwarded and has_x:
            raise HTTPError(400, "both Forwarded and X-Forwarded fields: style= chooses one")
        if has_forwarded:
            self._apply_forwarded(request, headers.get("forwarded") or "")
        elif has_x:
            self._apply_x_forwarded(request, headers)
        return None

    def _apply_x_forwarded(self, request: HTTPRequest, headers: Headers) -> None:
        nodes = _members(headers.get("x-forwarded-for")) or [""]
        self._find_client(request, [_Hop(node, None, None) for node in nodes])
        _set_origin(
            request,
            _last(headers, "x-forwarded-proto"),
            _last(headers, "x-forwarded-host"),
            _last(headers, "x-forwarded-port"),
        )

    def _apply_forwarded(self, request: HTTPRequest, field: str) -> None:
        hops = _parse_forwarded(field)
        if hops is None:
            # A client can put half a quoted string before what our proxy appends. To ignore
            # the field would make its request look like the proxy's own.
            raise HTTPError(400, "the Forwarded field cannot be read")
        writer = self._find_client(request, hops)
        if writer is not None:
            _set_origin(request, writer.proto, writer.host, None)

    def _find_client(self, request: HTTPRequest, hops: list[_Hop]) -> _Hop | None:
        """Walk from the right through our proxies; return the hop that names the client."""
        found = None
        for hop in hops[: -_MAX_HOPS - 1 : -1]:
            node = _parse_node(hop.node)
            if node is None:
                # "unknown", a made-up name, or nothing: a proxy of ours does not know more.
                return hop if found is None else found
            address, port = node
            found = hop
            request.client_address = (str(address), port)
            request.__dict__.pop("client_id", None)  # Computed from it, perhaps already.
            if not self._is_trusted(address):
                break
        return found

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _set_origin(
    request: HTTPRequest, proto: str | None, host: str | None, port: str | None
) -> None:
    """Set scheme and host; what is no such thing is left out."""
    if proto is not None and proto.lower() in _DEFAULT_PORTS:
        request.is_secure = proto.lower() == "https"
    match = _HOST(host) if host else None
    if match is not None:
        request.host = match.group()
    if port is not None and _PORT(port):
        match = _HOST(request.host)
        if match is not None and match.group(2) is None and port != _DEFAULT_PORTS[request.scheme]:
            request.host = f"{request.host}:{port}"


def _last(headers: Headers, name: str) -> str | None:
    value = headers.get(name)
    return None if value is None else (_members(value) or [""])[-1]


def _members(value: str | None) -> list[str]:
    """Return the members of a list; empty ones count for nothing (RFC 9110 section 5.6.1.2)."""
    return [member for one in (value or "").split(",") if (member := one.strip(" \t"))]


def _parse_address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A socket for both families shows IPv4 peers so: ::ffff:10.0.0.1.
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def _parse_node(text: str | None) -> tuple[Address, int] | None:
    """Return (address, port) of "1.2.3.4", "1.2.3.4:80", "[::1]:80" or "::1"; else None."""
    match = _NODE(text) if text else None
    if match is None:
        return None
    address = _parse_address(match.group(1) or match.group(2) or match.group(4))
    port = int(match.group(3) or 0)
    return None if address is None or port > 65535 else (address, port)


def _parse_forwarded(field: str) -> list[_Hop] | None:
    """Return the hops of a Forwarded field, the first proxy's first; None for bad grammar."""
    hops: list[_Hop] = []
    pairs: dict[str, str] = {}
    is_empty = True  # Nothing of this element has been seen.
    at, end = 0, len(field)
    while at <= end:
        match = _PAIR(field, at)
        if match is None:
            # RFC 7239 section 4 lets a pair be empty, RFC 9110 section 5.6.1.2 an element.
            at = _blank_end(field, at)
        else:
            name, token, quoted = match.groups()
            if name.lower() in pairs:
                return None  # Once for each hop: RFC 7239 section 4.
            pairs[name.lower()] = _ESCAPE.sub(r"\1", quoted) if token is None else token
            at = match.end()
        separator = field[at : at + 1]
        if separator not in ("", ",", ";"):
            return None
        is_empty = is_empty and not pairs and separator != ";"
        if separator != ";":
            if not is_empty:  # Of ";" alone it is a proxy that says nothing.
                hops.append(_Hop(pairs.get("for"), pairs.get("proto"), pairs.get("host")))
            pairs, is_empty = {}, True
        at += 1
    return hops


def _blank_end(field: str, at: int) -> int:
    match = _BLANK(field, at)
    return at if match is None else match.end()
