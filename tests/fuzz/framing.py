"""Fuzz the TCP framers and the messages, guided by coverage: `make fuzz`. Needs atheris."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pyliteflux"]):
    from pyliteflux.config import FRAMINGS, Config
    from pyliteflux.errors import BadMessage, FrameTooLong
    from pyliteflux.protocol.frame import Frame
    from pyliteflux.protocol.framers import BufferedFramer, Framing, hand_over
    from pyliteflux.protocol.message import Signal, decode, encode_answer


class Semicolons(BufferedFramer):
    """A framer as a user might write it."""

    def cut(self) -> Frame | None:
        """Messages end with two semicolons."""
        end = self.find(b";;")
        return None if end < 0 else Frame("binary", self.take(end + 2)[:-2])


CONFIG = Config(tcp_max_message=300, tcp_max_depth=8)
CHOICES = [Framing(choice, CONFIG) for choice in (*FRAMINGS, Semicolons)]


def outcome(pieces: list[bytes], first: int, second: int) -> list[object]:
    """Return the frames, decoded, and the errors that the pieces make.

    first: how they are cut. second: how what follows the third message is.
    """
    framing = CHOICES[first]
    framer = framing.make(CONFIG)
    is_at_end = False
    found: list[object] = []
    for piece in [*pieces, None]:
        if piece is None:
            is_at_end = True
            framer.receive_eof()
        else:
            framer.receive_data(piece)
        while True:
            try:
                frame = framer.next_frame()
                if frame is None:
                    break
                found.append(frame)
                if sum(isinstance(item, Frame) for item in found) == 3:
                    framing = CHOICES[second]
                    framer = hand_over(framer, framing.make(CONFIG), is_at_end)
                said = decode(frame, 8)
                if isinstance(said, Signal):
                    continue
                _, data, id, _ = said
                answer = encode_answer(data, frame.data_type, id, framing.wrap)
                assert frame.data_type == "binary" or framing.wrap or answer.endswith(b"\n")
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
    first, second = dice.randrange(len(CHOICES)), dice.randrange(len(CHOICES))
    whole = outcome([data], first, second)
    pieces = outcome([data[a:b] for a, b in zip(at, at[1:], strict=False)], first, second)
    if whole != pieces:
        raise AssertionError(f"cut at {at}: {pieces} instead of {whole}")


def seeds() -> list[bytes]:
    """Return inputs to begin with: a message of each kind."""
    return [
        bytes([dice]) + data
        for dice in range(len(CHOICES) ** 2)
        for data in (
            b"\0\0\0\7echo hi\0\0\0\0\0\0\0\2{}\0\0\0\4<a/>\0\0\0\2\xff\0",
            b"one;;two;;;;three",
            b'{"command": "a"}\n{"command": "b"}{"command": "upgrade"}\r\n\0\0\0\2hi',
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
