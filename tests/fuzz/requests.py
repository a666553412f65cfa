"""Fuzz the HTTP machines, guided by coverage: `make fuzz`. Needs atheris.

The first byte of an input seeds how the rest is cut. Any cut must give the same requests as
the whole, and nothing but ProtocolError may be raised.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pyliteflux"]):
    from pyliteflux.errors import ProtocolError
    from pyliteflux.protocol.http_connection import END, NEED_DATA, HttpConnection
    from pyliteflux.protocol.http_head import HttpLimits, RequestHead

LIMITS = HttpLimits(request_line=200, head=600, fields=10, chunk_line=40, body=300)


def outcome(pieces: list[bytes]) -> list[object]:
    """Return what the pieces mean."""
    connection = HttpConnection(LIMITS)
    found: list[object] = []
    body = b""
    try:
        for piece in [*pieces, None]:
            if piece is None:
                connection.receive_eof()
            else:
                connection.receive_data(piece)
            while (event := connection.next_event()) is not NEED_DATA:
                if isinstance(event, RequestHead):
                    found.append((event.method, event.target, event.version, event.host))
                    body = b""
                elif isinstance(event, bytes):
                    body += event
                if event is END or (isinstance(event, RequestHead) and not event.has_body):
                    found.append(body)
                    connection.start_next_cycle()
    except ProtocolError as error:
        found.append(error.status)
    return found


def test_one_input(data: bytes) -> None:
    """What atheris calls."""
    if not data:
        return
    dice = random.Random(data[0])
    data = data[1:]
    at = sorted({dice.randrange(len(data) + 1) for _ in range(8)} | {0, len(data)})
    whole = outcome([data])
    pieces = outcome([data[a:b] for a, b in zip(at, at[1:], strict=False)])
    if whole != pieces:
        raise AssertionError(f"cut at {at}: {pieces} instead of {whole}")


def seeds() -> list[bytes]:
    """Return inputs to begin with: every case of the corpus."""
    from tests.protocol.http_corpus import CASES

    return [b"\0" + case.data for case in CASES if len(case.data) < 1000]


for folder in [argument for argument in sys.argv[1:] if not argument.startswith("-")][:1]:
    for number, seed in enumerate(seeds()):
        Path(folder, f"seed-{number}").write_bytes(seed)
atheris.Setup(sys.argv, test_one_input)
atheris.Fuzz()
