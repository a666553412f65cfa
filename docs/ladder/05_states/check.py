"""Checks of stage 05: one state, one table, one end."""

import json
import os
import re
import subprocess
import sys
import time

import lab
from lab import Failure, Skipped, needs_proc, tr

BREAKS = "speaks_http"
STILL = (2, 3, 4)
ENVIRONMENT = {"DEBUG": "1"}

UPLOAD = (
    "close() with unread bytes sends RST: say FIN by shutdown(SHUT_WR), and read on for a while"
)
ERROR = "behind the error line comes your FIN, and only then is the rest thrown away"
PATIENT = "a slow client needs a moment to end what it was sending: two seconds, not none"
DEAF = "behind your last word nothing is answered: not a line, not a second error"
LOOP = "waiting for the end of one client is a state of this client, and not a place of the loop"
BOUNDED = "two seconds are the limit: a deadline that each byte renews is none"
SILENT = "a deadline comes without an event: select() needs a timeout"
CHEAP = "throwing bytes away, or waiting for a deadline, is no reason to spin"
AT_ONCE = "a client that has closed in CLOSING is waited for no longer"
TABLE = "NEXT says for each state which may follow it; each move that is printed stands in it"
ENTERED = "a state that nobody ever enters is none"
ONCE = "each connection ends once, in one place, and says why: the first cause, not what followed"
GRID = "in each state each thing may happen: FIN, RST, more bytes"

TOO_LONG = b"t" * 70000


def refused(server):
    """A client whose line was too long: it has read the error line and FIN."""
    client = server.connect()
    client.send(TOO_LONG)
    got = client.read(4096, silence=1.2)
    if b"error" not in got.lower() or got.count(b"\n") != 1 or client.ended != "<closed>":
        expected = tr("one line with the word error, then <closed>")
        raise Failure(ERROR, expected, client.seen(got), client.sent)
    return client


def asks(server, so):
    """Another client is answered."""
    with server.connect() as client:
        client.send(b"abc\n")
        client.expect(b"cba\n", so)


def check_upload(server):
    """eight megabytes over the limit, and the answer is read afterwards: 20 times"""
    for _ in range(20):
        with server.connect() as client:
            client.send(b"u" * 8_000_000)
            got = b"" if client.is_refused else client.read(4096, silence=1.2)
            if b"error" not in got.lower() or client.ended != "<closed>":
                expected = tr("one line with the word error, then <closed>")
                text = client.seen(got) or tr("sending failed: reset by the server")
                raise Failure(UPLOAD, expected, text, client.sent)


def check_patient(server):
    """a client that pauses for a second, and then sends the rest"""
    with refused(server) as client:
        time.sleep(1.0)
        for _ in range(4):
            client.send(b"p" * 200_000)
            time.sleep(0.05)
        if client.is_refused:
            raise Failure(PATIENT, tr("that they are read"), tr("sending failed"), client.sent)


def check_deaf(server):
    """lines behind the end: nobody answers, and nobody is upset"""
    with refused(server) as client:
        for piece in (b"abc\n", b"def\n" * 100, TOO_LONG, b"\n\nghi\n"):
            client.send(piece, b"")
        got = client.read(100, silence=0.05)
        if got or client.is_refused or client.ended != "<closed>":
            raise Failure(DEAF, tr("that they are read"), client.seen(got), client.sent)


def check_neighbour(server):
    """two that do not close, and a neighbour who asks"""
    with refused(server), refused(server):
        asks(server, LOOP)


def check_bounded(server):
    """one sends on for ever, and is cut"""
    before = server.descriptors_at_rest()
    with refused(server) as client:
        client.sock.settimeout(0.5)
        end = time.monotonic() + 6
        while not client.is_refused and time.monotonic() < end:
            client.send(b"f" * 1000)
            time.sleep(0.02)
        if not client.is_refused:
            raise Failure(BOUNDED, tr("an end within {} seconds", 6), tr("it reads on"))
        if lab.HAS_PROC:
            server.must_give_back(before, BOUNDED)


def check_silent(server):
    """one neither sends nor closes: closed too, and no CPU until then"""
    needs_proc()
    asks(server, SILENT)
    before = server.descriptors_at_rest()
    with refused(server):
        server.must_rest(CHEAP, quarters=3)  # Well before the deadline.
        if not lab.wait_until(lambda: server.descriptors() <= before, 6):
            raise Failure(SILENT, tr("an end within {} seconds", 6), tr("it is still open"))


def check_grid(server):
    """4 states, and in each FIN, RST and more bytes"""
    asks(server, GRID)
    before = server.descriptors_at_rest()
    for state in ("IDLE", "RECEIVING", "SENDING", "CLOSING"):
        for event in ("FIN", "RST", "more"):
            meet(server, state, event)
            traces = [line for line in server.errors() if line.startswith("Traceback")]
            if traces:
                got = server.errors()[-1]
                raise Failure(GRID, tr("no traceback ({}, {})", state, event), got)
    if lab.HAS_PROC and not lab.wait_until(lambda: server.descriptors() <= before, 1.5):
        expected = tr("at most {} open descriptors, as before", before)
        raise Failure(AT_ONCE, expected, tr("{} open descriptors", server.descriptors()))
    asks(server, GRID)


def meet(server, state, event):
    """Bring a connection into a state, let something happen, and look at what must come."""
    due = {"IDLE": b"", "RECEIVING": b"fed\n", "SENDING": b"x" * 8000000 + b"\n", "CLOSING": b""}
    if state == "CLOSING":
        client = refused(server)
    else:
        client = server.connect(small_buffer=True)
        client.send(
            {"IDLE": b"abc\n", "RECEIVING": b"abc\ndef", "SENDING": b"big 8000000\n"}[state]
        )
        if state != "SENDING":
            client.expect(b"cba\n", GRID)
        else:
            time.sleep(0.1)
    with client:
        client.sent.append(f"({state}, {event})")
        if event == "RST":
            client.reset()
        elif event == "FIN":
            client.finish()
            if state != "CLOSING":
                client.expect_all(due[state], GRID)
        elif state == "CLOSING":
            client.send(b"abc\n" * 100)
        else:
            client.send(b"\nghi\n")
            client.expect(due[state] + b"ihg\n", GRID)


def story(server):
    """Let a server that prints its moves go through all its states; return what it printed."""
    if os.environ.get("LEARN_SERVER"):
        raise Skipped("this looks inside a Python program, and yours may be none")
    time.sleep(0.2)
    start = len(server.printed)
    for state, event in (("RECEIVING", "more"), ("SENDING", "FIN"), ("CLOSING", "FIN")):
        meet(server, state, event)
    with server.connect() as client:
        client.send(b"half", b"")
        client.reset()
    with refused(server) as client:
        client.reset()
    with refused(server):
        time.sleep(2.2)
    asks(server, ONCE)
    lab.wait_until(lambda: sum(" closed: " in line for line in server.printed[start:]) >= 7)
    time.sleep(0.05)
    return server.printed[start:]


def moves_of(path):
    """The table NEXT of a program, as {name: [names]}; {} where it has none."""
    code = """
import json, runpy, sys
name = lambda state: getattr(state, "name", str(state))
table = runpy.run_path(sys.argv[1], run_name="table").get("NEXT", {})
print(json.dumps({name(key): [name(one) for one in value] for key, value in table.items()}))
"""
    command = [sys.executable, "-c", code, path]
    try:
        done = subprocess.run(command, capture_output=True, timeout=lab.STARTING, text=True)
        return json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return {}  # It has no `if __name__ == "__main__"`, or it fails.


def check_once(server):
    """with DEBUG=1: "c3 closed: REASON" once for each, and the first cause"""
    closed = [re.fullmatch(r"(\S+) closed: (.+)", line) for line in story(server)]
    found = [line[2] for line in closed if line]
    names = [line[1] for line in closed if line]
    must = ["finished"] * 3 + ["reset"] + ["too long"] * 3
    if sorted(found) != sorted(must) or len(names) != len(set(names)):
        raise Failure(ONCE, ", ".join(sorted(must)), ", ".join(sorted(found)) or "-")


def check_table(server):
    """with DEBUG=1: each move is printed, "c3 IDLE -> CLOSING", and allowed by NEXT"""
    lines = [line for line in server.printed if " -> " in line] or story(server)
    found = [re.fullmatch(r"(\S+) (\w+) -> (\w+)", line) for line in lines]
    moves = {(line[2], line[3]) for line in found if line}
    table = moves_of(server.command[-1])
    allowed = {(old, new) for old in table for new in table[old]}
    if len(table) < 4 or not moves:
        expected = tr("a dict NEXT of four states or more, and lines of moves")
        raise Failure(TABLE, expected, tr("{} states, {} kinds of moves", len(table), len(moves)))
    if moves - allowed:
        got = ", ".join(f"{old} -> {new}" for old, new in sorted(moves - allowed))
        raise Failure(TABLE, tr("moves that stand in NEXT"), got)
    idle = set(table) - {new for _, new in moves} - {old for old, _ in moves}
    if idle:
        raise Failure(ENTERED, tr("that each state is entered"), ", ".join(sorted(idle)))
