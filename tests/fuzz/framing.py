"""Fuzz the TCP framer and the messages, guided by coverage: `make fuzz`. Needs atheris."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pyliteflux"]):
    from pyliteflux.errors import BadMessage, FrameTooLong
    from pyliteflux.protocol.framing import MessageFramer
    from pyliteflux.protocol.message import decode, encode_answer


def outcome(pieces: list[bytes]) -> list[object]:
    """Return the frames, decoded, and the errors that the pieces make."""
    framer = MessageFramer(max_message=300, max_depth=8)
    found: list[object] = []
    for piece in [*pieces, None]:
        if piece is None:
            framer.receive_eof()
        else:
            framer.receive_data(piece)
        while True:
            try:
                frame = framer.next_frame()
                if frame is None:
                    break
                found.append(frame)
                message = decode(frame, 8)
                answer = encode_answer(message.data, message.data_type, message.id)
                assert answer.endswith(b"\n")
            except FrameTooLong:
                return [*found, "too long"]
            except BadMessage as error:
                found.append(("bad", error.data_type))
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
    """Return inputs to begin with: a message of each kind."""
    return [
        b"\0" + data
        for data in (
            b"echo hello there\r\n\r\nnext",
            b'{"command": "a", "data": {"b": ["}", "\\"", 1e5]}, "id": 7, "headers": {"k": "v"}}',
            b'{\n  "command": "pretty",\n  "data": [\n    1\n  ]\n}\n{]',
            b'<?xml version="1.0"?><!-- > --><request command="x" id="1"><a>1</a><a/></request>',
            b"<request command='y'><![CDATA[</request>]]></request>line\n",
            b"<!DOCTYPE x><request/>\n\xef\xbb\xbfnext\n",
        )
    ]


for folder in [argument for argument in sys.argv[1:] if not argument.startswith("-")][:1]:
    for number, seed in enumerate(seeds()):
        Path(folder, f"seed-{number}").write_bytes(seed)
atheris.Setup(sys.argv, test_one_input)
atheris.Fuzz()
