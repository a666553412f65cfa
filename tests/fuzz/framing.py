"""Fuzz the TCP framers and the messages, guided by coverage: `make fuzz`. Needs atheris."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pyliteflux"]):
    from pyliteflux.config import FRAMINGS, Config
    from pyliteflux.errors import BadMessage, FrameTooLong
    from pyliteflux.jsontext import loads
    from pyliteflux.protocol.frame import Frame
    from pyliteflux.protocol.framers import BufferedFramer, Framing, hand_over
    from pyliteflux.protocol.message import Command, Signal, Wrap, decode, encode_answer


class Semicolons(BufferedFramer):
    """A framer as a user might write it."""

    def cut(self) -> Frame | None:
        """Messages end with two semicolons."""
        end = self.find(b";;")
        return None if end < 0 else Frame("binary", self.take(end + 2)[:-2])


CONFIG = Config(tcp_max_message=300, tcp_max_depth=8)
CHOICES = [Framing(choice, CONFIG) for choice in (*FRAMINGS, Semicolons)]


def check_echo(said: Command, data_type: str, wrap: Wrap | None) -> None:
    """Answer a message with its data: one line that can be read (T2); bytes as they are."""
    _, data, id, _ = said
    answer = encode_answer(data, data_type, id, wrap)
    if data_type == "binary" or wrap is not None:
        return
    assert answer.endswith(b"\n") and answer.count(b"\n") == 1, answer
    if data_type == "json":
        loads(answer)
    elif data_type == "xml":
        try:
            decode(Frame("xml", answer))
        except BadMessage as error:  # No command: `<response>` is no `<request>`.
            assert error.said is not None, answer


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
            frame = None
            try:
                frame = framer.next_frame()
                if frame is None:
                    break
                found.append(frame)
                if sum(isinstance(item, Frame) for item in found) == 3:
                    framing = CHOICES[second]
                    framer = hand_over(framer, framing.make(CONFIG), is_at_end)
                said = decode(frame, 8)
                if not isinstance(said, Signal):
                    check_echo(said, frame.data_type, framing.wrap)
            except FrameTooLong:
                return [*found, "too long"]
            except BadMessage as error:
                found.append(("bad", error.data_type))
                if error.said is not None:  # The route ``*`` would get it.
                    assert frame is not None
                    check_echo(error.said, frame.data_type, framing.wrap)
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
            b'{"command": "a"}\0\0{"t": 21}\0 \0{"bad\n\0{"id": 7}\0[1]\n\xff\xfe\n\2x\ry\n',
            b'<login imei="1"> 2 <a b="&lt;" c="">d</a></login>\0<request id="7" u="C">2</request>',
        )
    ]


for folder in [argument for argument in sys.argv[1:] if not argument.startswith("-")][:1]:
    for number, seed in enumerate(seeds()):
        Path(folder, f"seed-{number}").write_bytes(seed)
atheris.Setup(sys.argv, test_one_input)
atheris.Fuzz()
