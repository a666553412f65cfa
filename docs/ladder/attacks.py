"""Named attacks: what each sends, what a good server does, and what this one did.

An attack knows no stage. It gets something with `connect()` that gives a lab `Client`, and tells
a `Verdict`. `broken.py` of a stage lets one loose on that stage's answer, `learn.py break` on the
learner's server.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lab import Piece, Program, Row, shown, tr


class Verdict(NamedTuple):
    """What an attack did to a server. holds: whether the server did as a good one does."""

    holds: bool
    sent: Piece
    expected: Piece
    got: Piece
    so: str

    def rows(self) -> list[Row]:
        return [
            (tr("we sent"), shown(self.sent)),
            (tr("a good one"), shown(self.expected)),
            (tr("this one"), shown(self.got)),
            (tr("so"), tr("it holds") if self.holds else tr(self.so)),
        ]

    def text(self) -> str:
        return "\n".join(f"{name:<10}  {text}" for name, text in self.rows())


Attack = Callable[[Program], Verdict]


def deaf(target: Program) -> Verdict:
    """Ask for something, and hear whether it matters."""
    with target.connect() as client:
        client.send(b"good evening\n")
        client.finish()
        got = client.read(13)
    so = "it answers before it has heard anything: it never calls recv()"
    return Verdict(got == b"good evening\n", b"good evening\n", b"good evening\n", got, so)


def sticky(target: Program) -> Verdict:
    """Three questions in one segment: who takes each recv() for one message answers once."""
    with target.connect() as client:
        client.send(b"one\ntwo\nsix\n")
        got = client.read(12, silence=0.5)
        text = client.seen(got)
    so = "TCP carries bytes, not messages: three lines arrived as one piece"
    return Verdict(got == b"eno\nowt\nxis\n", b"one\ntwo\nsix\n", b"eno\nowt\nxis\n", text, so)


def idle_neighbour(target: Program) -> Verdict:
    """One client connects and says nothing: does anybody else get an answer?"""
    with target.connect(), target.connect() as neighbour:
        neighbour.send(b"abc\n")
        got = neighbour.read(4, silence=0.5)
        text = neighbour.seen(got)
    sent = tr("one client says nothing; another one: {}", repr(b"abc\n"))
    so = "the server sleeps in recv() of the first client, and nobody else is served"
    return Verdict(got == b"cba\n", sent, b"cba\n", text, so)


def never_reads(target: Program) -> Verdict:
    """Ask until nobody takes the questions any more, and read no answer."""
    with target.connect(small_buffer=True) as greedy, target.connect() as neighbour:
        greedy.sock.settimeout(0.5)
        for _ in range(1000):
            greedy.send(b"n" * 60000 + b"\n")
            if greedy.is_refused:
                break
        neighbour.send(b"abc\n")
        got = neighbour.read(4, silence=0.5)
        text = neighbour.seen(got)
    sent = tr("one client asks and asks, and reads nothing; another one: {}", repr(b"abc\n"))
    so = "sendall() sleeps until this client reads, and the loop sleeps with it"
    return Verdict(got == b"cba\n", sent, b"cba\n", text, so)


def abandoned_upload(target: Program) -> Verdict:
    """Send sixteen megabytes that are refused early, then read the refusal: most clients do it so.

    Who closes with unread bytes in hand sends RST, and the client's send fails.
    """
    with target.connect() as client:
        client.send(b"u" * 16_000_000)
        text = tr("sending failed: reset by the server; nothing was read")
        holds = False
        if not client.is_refused:
            got = client.read(4096)
            holds = b"error" in got and client.ended == "<closed>"
            text = client.seen(got)
    sent = tr("a line of {} bytes", 16_000_000)
    expected = tr("one line with the word error, then the end")
    so = "close() with unread bytes in hand sends RST: sending fails, and the answer is never read"
    return Verdict(holds, sent, expected, text, so)


def speaks_http(target: Program) -> Verdict:
    """What a browser says first."""
    with target.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        got = client.read(4096, silence=0.3)
    sent = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    so = "it answers each line; a request is several lines, and ends with a blank one"
    return Verdict(got.startswith(b"HTTP/1."), sent, b"HTTP/1.1 200 OK\r\n", got, so)


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (deaf, sticky, idle_neighbour, never_reads, abandoned_upload, speaks_http)
}


def show(server: Path, name: str) -> None:
    """Let an attack loose on a server of a stage, and print what it did."""
    with Program([sys.executable, str(server)]) as program:
        print(ATTACKS[name](program).text())
