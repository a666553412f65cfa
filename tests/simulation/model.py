"""What a client asks in a simulated world, and what it must be answered.

The rule: the reference knows nothing of the server. An `Ask` is the bytes of one request and
the answer that contract and RFC demand; the reader takes apart what came and forgives
nothing, since a client library would forgive what this is about.

Chapter: docs/simulation.md.
"""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple
from xml.etree import ElementTree


def fill(number: int, size: int) -> bytes:
    """Return so many bytes that show where they belong: of request `number`, in this order."""
    line = b"%d." % number
    return (line * (size // len(line) + 1))[:size]


# --- HTTP


class Ask(NamedTuple):
    """One request, and its answer.

    body: bytes, or what its JSON says, or None where any will do. is_last: after the answer
    the connection is closed. is_cut: the answer ends before it is whole, and one can tell.
    fields: what these fields of the answer must say; None: they must not be there.
    """

    number: int
    kind: str
    data: bytes
    status: int = 200
    body: Any = None
    is_last: bool = False
    is_cut: bool = False
    is_head: bool = False
    continues: bool = False
    events: int = 0
    fields: tuple[tuple[str, str | None], ...] = ()


def _request(method: str, path: str, *fields: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: sim", *fields, "", ""]).encode()


def _body_of(r: random.Random, number: int, most: int) -> bytes:
    return fill(number, r.choice((0, 1, r.randint(2, 300), r.randint(1, most))))


def _chunked(r: random.Random, body: bytes) -> bytes:
    """Return a body in chunks of any size, with extensions and a trailer now and then."""
    parts = []
    at = 0
    while at < len(body):
        piece = body[at : at + r.choice((1, 7, 100, 5000))]
        at += len(piece)
        extension = r.choice(("", "", ";a=b"))
        parts.append(b"%x%b\r\n%b\r\n" % (len(piece), extension.encode(), piece))
    parts.append(r.choice((b"0\r\n\r\n", b"0\r\nX-Sum: 1\r\n\r\n")))
    return b"".join(parts)


def _summary(number: int, body: bytes) -> dict[str, int]:
    return {"n": number, "size": len(body), "sum": zlib.crc32(body)}


def _get(r: random.Random, n: int, most: int) -> Ask:
    kind = r.choice(("get", "now", "slow"))
    return Ask(n, kind, _request("GET", f"/{kind}/{n}"), body={"n": n})


def _head(r: random.Random, n: int, most: int) -> Ask:
    return Ask(n, "head", _request("HEAD", f"/get/{n}"), body=b"", is_head=True)


def _post(r: random.Random, n: int, most: int) -> Ask:
    body = _body_of(r, n, most)
    path = f"/{r.choice(('post', 'upload'))}/{n}"
    if r.random() < 0.5:
        head = _request("POST", path, "Transfer-Encoding: chunked")
        return Ask(n, "chunked", head + _chunked(r, body), body=_summary(n, body))
    head = _request("POST", path, f"Content-Length: {len(body)}")
    return Ask(n, "post", head + body, body=_summary(n, body))


def _expecting(r: random.Random, n: int, most: int) -> Ask:
    body = fill(n, r.randint(1, 300))
    head = _request("POST", f"/post/{n}", f"Content-Length: {len(body)}", "Expect: 100-continue")
    return Ask(n, "expecting", head + body, body=_summary(n, body), continues=True)


def _big(r: random.Random, n: int, most: int) -> Ask:
    size = r.randint(1, most)
    return Ask(n, "big", _request("GET", f"/big/{n}?size={size}"), body=fill(n, size))


def _stream(r: random.Random, n: int, most: int) -> Ask:
    # Four times what one answer may take: it must not all be produced at once.
    count, size = r.randint(0, 40), r.choice((1, 50, most // 10 + 1))
    version = "1.1" if r.random() < 0.9 else "1.0"
    target = f"/stream/{n}?count={count}&size={size}"
    if r.random() < 0.3:
        target += "&length=1"
    return Ask(
        n,
        "stream",
        _request("GET", target, version=version),
        body=fill(n, count * size),
        is_last=version == "1.0",
    )


def _failing_stream(r: random.Random, n: int, most: int) -> Ask:
    count, size = r.randint(0, 5), 50
    target = f"/stream/{n}?count={count}&size={size}&fails=1"
    body = fill(n, count * size)
    return Ask(n, "broken", _request("GET", target), body=body, is_last=True, is_cut=True)


def _generator(r: random.Random, n: int, most: int) -> Ask:
    """What fails before its first piece is an answer yet: nobody has seen a head."""
    count, fails, is_head = r.choice((0, 0, 1, 5)), r.random() < 0.6, r.random() < 0.3
    data = _request("HEAD" if is_head else "GET", f"/generator/{n}?count={count}&fails={fails:d}")
    if fails and not count:
        return Ask(n, "generator", data, 500, is_head=is_head)
    is_cut = fails and not is_head
    body = b"" if is_head else fill(n, count * 50)
    return Ask(n, "generator", data, body=body, is_last=is_cut, is_cut=is_cut, is_head=is_head)


def _sized(r: random.Random, n: int, most: int) -> Ask:
    """A handler that answers HEAD itself knows how long the answer to GET would be."""
    fields = (("content-length", str(100 * n)),)
    return Ask(n, "sized", _request("HEAD", f"/sized/{n}"), body=b"", is_head=True, fields=fields)


def _layered(r: random.Random, n: int, most: int) -> Ask:
    """Fields of a tuple, of the response object in it and of two middlewares are one set."""
    packs = r.random() < 0.5
    asked = ["Origin: https://sim", *(["Accept-Encoding: gzip"] if packs else [])]
    fields = (
        ("vary", "Accept-Encoding, Cookie, Origin"),
        ("content-encoding", "gzip" if packs else None),
        ("content-disposition", "inline"),
        ("access-control-allow-origin", "https://sim"),
    )
    body = {"n": n, "fill": fill(n, 800).decode()}
    return Ask(n, "layered", _request("GET", f"/layered/{n}", *asked), body=body, fields=fields)


def hogging(number: int) -> Ask:
    """Return the cheapest of requests, to be sent by the dozen."""
    return Ask(number, "hog", _request("GET", f"/now/{number}"), body={"n": number})


def _events(r: random.Random, n: int, most: int) -> Ask:
    count = r.randint(0, 15)
    data = _request("GET", f"/events/{n}?count={count}")
    return Ask(n, "events", data, events=count, body=b"")


def listening(number: int, topic: str, since: str | None) -> Ask:
    """Return a request for the events of a topic, which has no end."""
    fields = [] if since is None else [f"Last-Event-ID: {since}"]
    return Ask(number, "listen", _request("GET", f"/listen/{number}?topic={topic}", *fields))


def _error(r: random.Random, n: int, most: int) -> Ask:
    kind, status = r.choice((("failing", 500), ("rude", 500), ("teapot", 418), ("nowhere", 404)))
    return Ask(n, kind, _request("GET", f"/{kind}/{n}"), status)


def _closing(r: random.Random, n: int, most: int) -> Ask:
    data = _request("GET", f"/get/{n}", "Connection: close")
    return Ask(n, "closing", data, body={"n": n}, is_last=True)


def _bad(r: random.Random, n: int, most: int) -> Ask:
    data = r.choice(
        (
            b"GET /get/1 HTTP/1.1\nHost: sim\n\n",
            b"GET /get/1 HTTP/1.1\r\n\r\n",
            b"POST /post/1 HTTP/1.1\r\nHost: s\r\nContent-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n",
            b"POST /post/1 HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n",
        )
    )
    # A request that hides behind the bad one must not be answered.
    return Ask(n, "bad", data + _request("GET", f"/get/{n}"), 400, is_last=True)


def _too_big(r: random.Random, n: int, most: int) -> Ask:
    data = _request("POST", f"/post/{n}", "Content-Length: 99999999")
    return Ask(n, "too big", data + b"x" * r.randint(0, 500), 413, is_last=True)


_HTTP: list[tuple[float, Callable[[random.Random, int, int], Ask]]] = [
    (30, _get),
    (3, _head),
    (12, _post),
    (3, _expecting),
    (8, _big),
    (10, _stream),
    (2, _failing_stream),
    (3, _generator),
    (1, _sized),
    (3, _layered),
    (6, _events),
    (5, _error),
    (1.5, _closing),
    (1.5, _bad),
    (1, _too_big),
]


def http_ask(r: random.Random, number: int, most: int) -> Ask:
    """Return any request. most: bytes of a large body."""
    weights, makers = zip(*_HTTP)
    ask: Ask = r.choices(makers, weights)[0](r, number, most)
    return ask


_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [\t\x20-\x7e]*").fullmatch
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ([\t\x20-\x7e]*)").fullmatch
_SIZE = re.compile(rb"[1-9a-f][0-9a-f]*|0").fullmatch


class Reply(NamedTuple):
    """A response as far as it has come. used: bytes of it, where it is whole."""

    status: int
    fields: dict[str, str]
    body: bytes
    is_whole: bool
    used: int
    until_close: bool = False


class Misframed(Exception):
    """What came is no response."""


def read_response(data: bytes, is_head: bool) -> Reply | None:
    """Return the response that begins here; None where not even its head is whole."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if data and not data.startswith(b"HTTP/1.1 "[: len(data)]):
            raise Misframed(f"no status line: {data[:60]!r}")
        return None
    first, *lines = data[:end].split(b"\r\n")
    match = _STATUS_LINE(first)
    if match is None:
        raise Misframed(f"no status line: {first[:60]!r}")
    status = int(match[1])
    fields: dict[str, str] = {}
    for line in lines:
        field = _FIELD(line)
        if field is None or field[1].lower().decode() in fields:
            raise Misframed(f"no field, or twice: {line[:60]!r}")
        fields[field[1].lower().decode()] = field[2].decode()
    at = end + 4
    if is_head or status < 200 or status in (204, 304):
        return Reply(status, fields, b"", True, at)
    if "content-length" in fields:
        if "transfer-encoding" in fields:
            raise Misframed("two framings")
        length = int(fields["content-length"])
        body = data[at : at + length]
        return Reply(status, fields, body, len(body) == length, at + length)
    if "transfer-encoding" not in fields:
        return Reply(status, fields, data[at:], False, len(data), until_close=True)
    parts = []
    while True:
        line_end = data.find(b"\r\n", at)
        if line_end < 0:
            break
        if not _SIZE(data[at:line_end]):
            raise Misframed(f"no chunk size: {data[at:line_end][:60]!r}")
        size = int(data[at:line_end], 16)
        piece = data[line_end + 2 : line_end + 2 + size]
        after = data[line_end + 2 + size : line_end + 4 + size]
        parts.append(piece)
        if not b"\r\n".startswith(after):
            raise Misframed(f"no CRLF after a chunk: {after!r}")
        if len(piece) < size or len(after) < 2:
            break
        at = line_end + 4 + size
        if size == 0:
            return Reply(status, fields, b"".join(parts), True, at)
    return Reply(status, fields, b"".join(parts), False, len(data))


# --- TCP


class Told(NamedTuple):
    """One message of a TCP client and its answers: a list of what each says.

    data_type: "json", "xml" or "raw". code: that of the error that is due instead.
    """

    number: int
    kind: str
    data_type: str
    data: bytes
    answers: list[Any]
    code: str | None = None


def _tell(data_type: str, command: str, number: int, text: str) -> bytes:
    if data_type == "json":
        return json.dumps({"command": command, "data": text, "id": number}).encode() + b"\n"
    if data_type == "xml":
        return f'<request command="{command}" id="{number}">{text}</request>\n'.encode()
    return f"{command} {text}\n".encode()


TOPICS = ("room:1", "room:2", "news")


def subscribing(r: random.Random, number: int) -> Told:
    """Return a message that asks for a topic, or is tired of it. Its `since` comes later."""
    name = r.choice((*TOPICS, "room:*", "room:*", "secret"))
    kind = r.choice(("subscribe", "subscribe", "subscribe", "unsubscribe"))
    if name == "secret":
        if kind == "subscribe":
            data = _tell("json", kind, number, name)
            return Told(number, kind, "json", data, [name], "forbidden")
        name = "news"
    data_type = r.choice(("json", "json", "xml", "raw"))
    return Told(number, kind, data_type, _tell(data_type, kind, number, name), [name])


def subscribe_since(told: Told, since: str) -> Told:
    """Return the same message with the position to go on from."""
    data = {"topic": told.answers[0], "since": since}
    message = {"command": "subscribe", "data": data, "id": told.number}
    return told._replace(data_type="json", data=json.dumps(message).encode() + b"\n")


def tcp_told(r: random.Random, number: int, most: int) -> Told:
    """Return any message. most: bytes of a large answer."""
    data_type = r.choice(("json", "json", "json", "xml", "raw"))
    kinds = ("now", "slow", "slow", "large", "items", "items", "failing", "rude", "none", "bad")
    kind = r.choice(("echo",) * 6 + kinds)
    text = f"n{number}-{r.randint(0, 999)}"
    data = _tell(data_type, kind, number, text)
    if kind in ("echo", "now", "slow"):
        return Told(number, kind, data_type, data, [text])
    if kind == "large":
        size = r.randint(1, most)
        data = _tell(data_type, kind, number, f"{number}:{size}")
        return Told(number, kind, data_type, data, [fill(number, size).decode()])
    if kind == "items":
        count, size = r.randint(data_type == "raw", 10), r.choice((1, 60, most // 10 + 1))
        data = _tell(data_type, kind, number, f"{number}:{count}:{size}")
        items: list[Any] = [fill(number + index, size).decode() for index in range(count)]
        return Told(number, kind, data_type, data, items)
    if kind in ("failing", "rude"):
        return Told(number, kind, data_type, data, [], "internal")
    if kind == "none":
        return Told(number, kind, data_type, data, [], "unknown_command")
    bad = {"json": b'{"command": 5, "id": %d}\n', "xml": b'<other command="a" id="%d"/>\n'}
    if data_type == "raw":
        return Told(number, "bad", "raw", b"\x01bad %d\n" % number, [], "bad_message")
    return Told(number, "bad", data_type, bad[data_type] % number, [], "bad_message")


def speaking_http(r: random.Random, number: int) -> Told:
    """Return what a web page can have a browser send here: its body must never be run."""
    body = _tell("raw", "never", number, "x") + _tell("json", "never", number, "x")
    head = _request(r.choice(("POST", "PUT")), "/", f"Content-Length: {len(body)}")
    return Told(number, "web", "raw", head + body, [], "wrong_port")


def hogging_told(number: int) -> Told:
    """Return the cheapest of messages, to be sent by the dozen."""
    return Told(number, "now", "json", _tell("json", "now", number, f"n{number}"), [f"n{number}"])


class Line(NamedTuple):
    """One line from the server. type: "answer", "stream", "end", "error", or a push's."""

    type: str
    id: Any
    value: Any
    fields: dict[str, Any]


PUSHED = {"push", "subscribed", "unsubscribed", "join", "leave", "dropped", "ping", "closing"}


def read_line(line: bytes) -> Line:
    """Return what a line says, whatever its format."""
    if line.startswith(b"{"):
        fields = json.loads(line)
        kind = fields.get("type")
        if kind in PUSHED:
            return Line(kind, None, fields.get("data"), fields)
        if "error" in fields:
            return Line("error", fields.get("id"), fields.get("code"), fields)
        value = fields.get("data", fields.get("topic"))
        return Line(kind or "answer", fields.get("id"), value, fields)
    if line.startswith(b"<"):
        root = ElementTree.fromstring(line)
        fields = dict(root.attrib)
        children = {child.tag: child.text or "" for child in root}
        if root.tag in PUSHED:
            return Line(root.tag, None, children or root.text, fields)
        if "error" in children:
            return Line("error", root.get("id"), children.get("code"), fields)
        kind = {"response": "answer"}.get(root.tag, root.tag)
        return Line(kind, root.get("id"), children.get("topic", root.text or ""), fields)
    return Line("answer", None, line.decode(), {})
