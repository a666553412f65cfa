"""The fields of an answer: a handler's, its response object's and the middlewares', in any mix.

The rule: what leaves the server is compared with a model of a few lines that knows nothing of
who wrote which field where: names that the tuple says again replace those of the object, Vary
is a union, and nothing is packed twice.
"""

from __future__ import annotations

import unittest
import zlib
from collections import Counter
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from pyliteflux import (
    CORSMiddleware,
    GzipMiddleware,
    HTMLResponse,
    HTTPError,
    HTTPJSONResponse,
    HTTPResponse,
    Middleware,
    Router,
    StreamResponse,
)
from tests.fakes import Simulation

ORIGIN = "https://app.example"
TEXT = "all work and no play " * 20  # Long enough to be worth packing.
MAY_BE_TWICE = {"set-cookie", "vary", "cache-control", "www-authenticate"}

Pairs = list[tuple[str, str]]


class Marking(Middleware):
    """Adds what a middleware of a user's may add: to Vary, and a cookie of its own."""

    def process_response(self, request: Any, response: Any) -> Any:
        from pyliteflux.app.values import fields_of

        fields = fields_of(request, response)
        fields.add_vary("X-Mark")
        fields.add("Set-Cookie", "mark=1")
        return response


MIDDLEWARES = {
    "cors": lambda: CORSMiddleware([ORIGIN]),
    "star": lambda: CORSMiddleware("*"),
    "gzip": lambda: GzipMiddleware(minimum_size=10),
    "mark": Marking,
}
FIELDS = st.lists(
    st.sampled_from(
        [
            ("Vary", "Cookie"), ("vary", "X-Language, Cookie"), ("Vary", "Accept-Encoding"),
            ("Vary", "*"), ("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("X-Own", "1"),
            ("Cache-Control", "no-store"), ("cache-control", "private, no-transform"),
            ("Content-Encoding", "gzip"), ("Content-Type", "text/x-own"),
            ("Content-Type", "image/png"),
            ("Content-Disposition", "inline"), ("ETag", '"1"'), ("WWW-Authenticate", "Basic"),
            ("www-authenticate", "Bearer"), ("Accept-Ranges", "bytes"),
        ]
    ),
    max_size=5,
)  # fmt: skip
VALUES = {
    "text": lambda: TEXT,
    "bytes": lambda: TEXT.encode(),
    "dict": lambda: {"said": TEXT},
    "generator": lambda: (piece for piece in (TEXT, TEXT)),
    "none": lambda: None,
}
OBJECTS = {
    "response": lambda fields: HTTPResponse(TEXT, 200, fields),
    "json": lambda fields: HTTPJSONResponse({"said": TEXT}, 200, fields),
    "html": lambda fields: HTMLResponse(TEXT, 200, fields),
    "stream": lambda fields: StreamResponse([TEXT, TEXT], headers=fields),
    "error": lambda fields: HTTPError(401, "no", headers=fields),
}


class Case(NamedTuple):
    """What a handler returns, around what, and who asks."""

    kind: str  # Of VALUES or OBJECTS.
    own: Pairs  # The object's fields.
    around: Pairs | dict[str, str] | None  # The tuple's; None: there is no tuple.
    status: int
    layers: list[str]
    asks: Pairs  # Fields of the request.


def once(fields: Pairs) -> Pairs:
    """Return fields without a second one where there may be one only: no handler's mistakes."""
    seen: set[str] = set()
    kept = []
    for name, value in fields:
        if name.lower() in MAY_BE_TWICE or name.lower() not in seen:
            kept.append((name, value))
        seen.add(name.lower())
    return kept


@st.composite
def cases(draw: Any) -> Case:
    kind = draw(st.sampled_from([*VALUES, *OBJECTS]))
    own = once(draw(FIELDS)) if kind in OBJECTS else []
    around: Any = draw(st.none() | FIELDS.map(once) | FIELDS.map(once).map(dict))
    layers = draw(st.permutations(sorted(MIDDLEWARES)))[: draw(st.integers(0, 4))]
    asks = [("Origin", draw(st.sampled_from([ORIGIN, "https://evil.example"])))] * draw(
        st.integers(0, 1)
    ) + [("Accept-Encoding", "gzip")] * draw(st.integers(0, 1))
    return Case(kind, own, around, draw(st.sampled_from([200, 201, 404])), layers, asks)


def by_model(case: Case) -> Pairs:
    """Return the fields that the handler has said: the tuple's replace the object's."""
    if case.around is None or case.kind == "error":
        return case.own
    around = list(case.around.items()) if isinstance(case.around, dict) else case.around
    if isinstance(case.around, dict):  # Two spellings of a name: the later one counts.
        around = [
            (name, value)
            for index, (name, value) in enumerate(around)
            if name.lower() not in {later.lower() for later, _ in around[index + 1 :]}
        ]
    names = {name.lower() for name, _ in around}
    return [pair for pair in case.own if pair[0].lower() not in names] + around


def values_of(fields: Pairs, name: str) -> list[str]:
    return [value for key, value in fields if key.lower() == name]


def words_of(fields: Pairs, name: str) -> set[str]:
    joined = ",".join(values_of(fields, name)).lower()
    return {word.strip() for word in joined.split(",") if word.strip()}


def ask(case: Case, method: str) -> tuple[int, Pairs, bytes]:
    """Return status, fields and body of the answer."""
    router = Router()

    @router.register("/", ("GET", "HEAD"), blocking=False)
    def handler(request: Any) -> Any:
        value = OBJECTS[case.kind](case.own) if case.kind in OBJECTS else VALUES[case.kind]()
        if isinstance(value, HTTPError):
            raise value
        return value if case.around is None else (value, case.status, case.around)

    with Simulation(router, protocol="http") as world:
        for layer in case.layers:
            world.server.add_middleware(MIDDLEWARES[layer]())
        lines = "".join(f"{name}: {value}\r\n" for name, value in case.asks)
        peer = world.http()
        peer.send(f"{method} / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{lines}\r\n".encode())
        world.settle()
        head, _, body = bytes(peer.take()).partition(b"\r\n\r\n")
        peer.close()
    first, *rest = head.decode("latin-1").split("\r\n")
    fields = [(name, value) for name, _, value in (line.partition(": ") for line in rest)]
    if values_of(fields, "transfer-encoding"):
        whole, at = b"", body
        while at:
            size, _, at = at.partition(b"\r\n")
            whole, at = whole + at[: int(size, 16)], at[int(size, 16) + 2 :]
        body = whole
    return int(first.split()[1]), fields, body


class Fields(unittest.TestCase):
    @given(cases())
    @settings(max_examples=400)
    def test_what_leaves_is_what_the_model_says(self, case: Case) -> None:
        status, fields, body = ask(case, "GET")
        said = by_model(case)
        self.assertLess(status, 500)
        names = Counter(name.lower() for name, _ in fields)
        double = {name for name, count in names.items() if count > 1} - MAY_BE_TWICE
        self.assertEqual(double, set())
        self.check_vary(case, said, fields)
        self.check_packing(case, said, fields, body)
        marks = ["mark=1"] * ("mark" in case.layers)
        self.assertEqual(
            Counter(values_of(fields, "set-cookie")), Counter(values_of(said, "set-cookie") + marks)
        )
        for name in ("x-own", "cache-control", "content-disposition", "www-authenticate"):
            self.assertEqual(values_of(fields, name), values_of(said, name), name)
        # A tag that was strong is weak where the bytes were packed.
        tags = [tag.removeprefix("W/") for tag in values_of(fields, "etag")]
        self.assertEqual(tags, values_of(said, "etag"))
        if values_of(said, "content-type") and status != 204:
            self.assertEqual(values_of(fields, "content-type"), values_of(said, "content-type"))

    def check_vary(self, case: Case, said: Pairs, fields: Pairs) -> None:
        """A union: of what the handler said and of each middleware that looks at the request."""
        expected, found = words_of(said, "vary"), words_of(fields, "vary")
        if "*" in found and "*" in expected:
            return
        if "cors" in case.layers:
            expected.add("origin")
        if "mark" in case.layers:
            expected.add("x-mark")
        self.assertLessEqual(expected, found)
        # Only gzip may add one more, and must where it has packed.
        self.assertLessEqual(
            found - expected, {"accept-encoding"} if "gzip" in case.layers else set()
        )
        was_packed = values_of(fields, "content-encoding") and not values_of(
            said, "content-encoding"
        )
        if was_packed:
            self.assertIn("accept-encoding", found)

    def check_packing(self, case: Case, said: Pairs, fields: Pairs, body: bytes) -> None:
        plain = TEXT.encode() * (1 + (case.kind in ("generator", "stream")))
        codings = values_of(fields, "content-encoding")
        if values_of(said, "content-encoding"):
            self.assertEqual(codings, ["gzip"])  # The handler's word: bytes as it gave them.
        elif codings:
            self.assertIn(("Accept-Encoding", "gzip"), case.asks)
            body = zlib.decompress(body, 31)
        if case.kind in ("text", "bytes", "response", "html", "generator", "stream"):
            self.assertEqual(body, plain)

    @given(cases())
    @settings(max_examples=200)
    def test_head_has_the_fields_of_get(self, case: Case) -> None:
        status, fields, _ = ask(case, "GET")
        of_head, fields_of_head, body = ask(case, "HEAD")
        self.assertEqual((of_head, body), (status, b""))
        framing = ("content-length", "transfer-encoding", "date", "x-request-id")
        self.assertEqual(
            sorted(pair for pair in fields_of_head if pair[0].lower() not in framing),
            sorted(pair for pair in fields if pair[0].lower() not in framing),
        )
        lengths = values_of(fields_of_head, "content-length")
        self.assertIn(lengths, ([], values_of(fields, "content-length")))


if __name__ == "__main__":
    unittest.main()
