"""Who is measured, and with what: the peers and the scenarios, as two tables.

The rule: a peer does the work of a scenario or is not in it. Each is asked once, and its answer
compared, before it is loaded; so these tables need not know who cannot do what.

How to read the figures: tests/benchmarks/README.md.
"""

from __future__ import annotations

import json
from typing import NamedTuple

PIPELINE_DEPTH = 10
BURST = 8  # broadcasts asked for at once
FILE_SIZE = 100_000_000  # bytes
MESSAGE = {"n": 12345, "text": "the quick brown fox"}
HELLO = {"message": "Hello, World!"}
ECHO = {"name": "Ada Lovelace", "email": "ada@example.org", "tags": ["a", "b", "c"], "age": 36}
ECHO["note"] = "x" * (1000 - len(json.dumps(ECHO)) - len(', "note": ""'))
PUSHED = "x" * 98  # 100 bytes with its quotes
BROWSER = (
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "en-US,en;q=0.7,zh-CN;q=0.3"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Referer", "http://127.0.0.1/shop/list?category=books&page=3"),
    ("Connection", "keep-alive"),
    ("Upgrade-Insecure-Requests", "1"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "same-origin"),
)  # With Host and Cookie twelve.
COOKIE = "session=8f14e45fceea167a5a36dedd4bea2543; theme=dark; visit="


class Peer(NamedTuple):
    """One row of the tables.

    kinds: which scenarios it can serve, by their tag; needs: what pip calls it; imports: what
    a program that uses it imports; python: an interpreter of its own.
    """

    name: str
    module: str
    argument: str
    kinds: frozenset[str]
    imports: str = ""
    needs: tuple[str, ...] = ()
    wire: str = "json"
    python: str = ""

    def serves(self, scenario: Scenario) -> bool:
        """Whether it is to be measured in this scenario."""
        return scenario.tag in self.kinds

    def is_ours(self) -> bool:
        return self.module == "pyliteflux_app"


# What a whole framework for HTTP does; tornado and socketify lack some of it.
HTTP = "hello http start idle file middlewares"
# Another variant of a peer that is in all the tables: its difference shows in these.
SIBLING = "hello start middlewares"


def _peer(name: str, module: str, argument: str, kinds: str, imports: str, *needs: str) -> Peer:
    return Peer(name, module, argument, frozenset(kinds.split()), imports, needs)


STARLETTE = "starlette.applications, uvicorn"
PEERS = (
    _peer("pyliteflux", "pyliteflux_app", "", HTTP + " tcp push import", "pyliteflux"),
    _peer("pyliteflux-inline", "pyliteflux_app", "inline", HTTP + " tcp push python", ""),
    _peer("floor", "floor", "", "hello start", ""),
    _peer("falcon-bjoern", "bjoern_app", "", HTTP, "", "falcon", "bjoern"),
    _peer("socketify", "socketify_app", "", "hello http start idle", "", "socketify"),
    _peer("granian", "granian_app", "", HTTP, "", "granian", "starlette"),
    _peer(
        "uvicorn-fast", "uvicorn_app", "fast", HTTP, "", "uvicorn", "httptools", "uvloop",
        "starlette",
    ),
    _peer(
        "uvicorn-fast-def", "uvicorn_app", "fast-def", SIBLING, "",
        "uvicorn", "httptools", "uvloop", "starlette",
    ),
    _peer(
        "uvicorn-h11", "uvicorn_app", "h11", HTTP + " import", STARLETTE,
        "uvicorn", "h11", "starlette",
    ),
    _peer("aiohttp", "aiohttp_app", "", HTTP + " import", "aiohttp.web", "aiohttp"),
    _peer("aiohttp-uvloop", "aiohttp_app", "uvloop", HTTP, "", "aiohttp", "uvloop"),
    _peer(
        "tornado", "tornado_app", "", "hello http start idle file import", "tornado.web", "tornado",
    ),
    _peer(
        "waitress-flask", "waitress_app", "flask", SIBLING + " import", "flask, waitress",
        "waitress", "flask",
    ),
    _peer(
        "waitress-bottle", "waitress_app", "bottle", HTTP + " import", "bottle, waitress",
        "waitress", "bottle",
    ),
    _peer("gunicorn-gthread", "gunicorn_app", "gthread", HTTP, "", "gunicorn", "flask"),
    _peer("gunicorn-sync", "gunicorn_app", "sync", SIBLING, "", "gunicorn", "flask"),
    _peer("nginx", "nginx_app", "", "file", ""),
    _peer("asyncio", "asyncio_tcp", "", "tcp push", ""),
    _peer("uvloop", "asyncio_tcp", "uvloop", "tcp push", "", "uvloop"),
    _peer("redis", "redis_server", "", "push", "")._replace(wire="resp"),
)  # fmt: skip


class Scenario(NamedTuple):
    """One table. answer: the JSON that a peer must give to be measured at all (None: any).

    kind: which load; tag: which peers; size: bytes that the body must have (-1: any);
    connections: 0 for what the command line says; unit: of the figure, which is CPU time per
    answer unless the kind knows better; shows: what else the table has a column for; rounds: at
    most so many, 0 for any; times: so often the rounds, where neighbours in the table are close.
    """

    name: str
    group: str
    title: str
    kind: str = "http"
    tag: str = "http"
    unit: str = "CPU µs/answer"
    method: str = "GET"
    path: str = "/hello"
    fields: tuple[tuple[str, str], ...] = ()
    body: str = ""
    status: int = 200
    answer: object = None
    size: int = -1
    depth: int = 1
    connections: int = 0
    middlewares: int = 0
    shows: tuple[str, ...] = ()
    rounds: int = 0
    times: int = 1

    def request(self) -> str:
        """One request as it goes over the wire; see `load.NUMBER`."""
        if self.kind in ("tcp", "push"):
            return self.body + "\n"
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in self.fields]
        if self.body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        return "\r\n".join(lines) + "\r\n\r\n" + self.body


GROUPS = {
    "requests": "Small answers",
    "bodies": "Larger bodies",
    "connections": "One connection, and many",
    "tcp": "TCP messages",
    "push": "Broadcasts",
    "start": "Import and start",
    "pythons": "Versions of Python",
}

SCENARIOS = (
    Scenario("hello", "requests", "GET, a small JSON answer", tag="hello", answer=HELLO, times=3),
    Scenario(
        "varied", "requests", "hello, another query and cookie each time", tag="hello",
        path="/hello?visit={n}", fields=(("Cookie", "visit={n}"),), answer=HELLO, times=3,
    ),
    Scenario(
        "browser", "requests", "hello with a browser's twelve header fields", tag="hello",
        fields=(*BROWSER, ("Cookie", COOKIE + "1")), answer=HELLO,
    ),
    Scenario(
        "browser-varied", "requests", "the same, another query and cookie each time", tag="hello",
        path="/hello?visit={n}", fields=(*BROWSER, ("Cookie", COOKIE + "{n}")), answer=HELLO,
    ),
    Scenario(
        "param", "requests", "GET with a path parameter", path="/user/42", answer={"id": "42"},
    ),
    Scenario(
        "query", "requests", "GET with a query string", path="/search?q=hello+world&page=2",
        answer={"q": "hello world", "page": "2"},
    ),
    Scenario(
        "post", "requests", "POST of 1 KB of JSON, decoded and encoded again", method="POST",
        path="/echo", body=json.dumps(ECHO), answer=ECHO,
    ),
    Scenario(
        "middlewares", "requests", "hello through three middlewares", tag="middlewares",
        answer=HELLO, middlewares=3,
    ),
    Scenario("missing", "requests", "GET of no such path: 404", path="/missing", status=404),
    Scenario(
        "pipeline", "requests", f"hello, {PIPELINE_DEPTH} requests pipelined",
        answer=HELLO, depth=PIPELINE_DEPTH,
    ),
    Scenario(
        "close", "requests", "hello, a new connection for each",
        fields=(("Connection", "close"),), answer=HELLO,
    ),
    Scenario("large", "bodies", "GET of 10 KB, known in advance", path="/large", size=10240),
    Scenario("stream", "bodies", "GET of 64 KB in 16 chunks", path="/stream", size=65536),
    Scenario(
        "file", "bodies", "GET of a file of 100 MB", kind="file", tag="file", path="/file",
        unit="CPU µs/MB", connections=4,
    ),
    Scenario(
        "one", "connections", "hello, one connection at a time", tag="hello",
        answer=HELLO, connections=1, unit="µs to the answer", shows=("p99 µs", "CPU µs/answer"),
    ),
    Scenario(
        "many", "connections", "hello on 1000 connections", tag="hello", answer=HELLO,
        connections=1000, shows=("p50 µs", "p99 µs"),
    ),
    Scenario(
        "idle", "connections", "memory of an idle kept connection", kind="idle", tag="idle",
        answer=HELLO, unit="KB each", shows=("a request among them",), rounds=1,
    ),
    Scenario(
        "tcp", "tcp", "a JSON line echoed", kind="tcp", tag="tcp",
        body=json.dumps({"command": "echo", "data": MESSAGE}), answer=MESSAGE, times=3,
    ),
    Scenario(
        "push", "push", "100 bytes to every client, one message at a time", kind="push",
        tag="push", unit="CPU µs/delivery",
        body=json.dumps({"command": "broadcast", "data": PUSHED}),
    ),
    Scenario(
        "push-burst", "push", f"the same, {BURST} messages at a time", kind="push", tag="push",
        unit="CPU µs/delivery", body=json.dumps({"command": "broadcast", "data": PUSHED}),
        depth=BURST,
    ),
    Scenario(
        "import", "start", "the import alone", kind="import", tag="import", unit="ms",
        shows=("MB",),
    ),
    Scenario(
        "start", "start", "from the command to the first answer", kind="start", tag="start",
        unit="ms", answer=HELLO,
    ),
    Scenario("pythons", "pythons", "hello on each Python found here", tag="python", answer=HELLO),
)  # fmt: skip

RESP_PUBLISH = f"*3\r\n$7\r\nPUBLISH\r\n$5\r\nbench\r\n$100\r\n{json.dumps(PUSHED)}\r\n"
