"""Checks of stage 03: everybody at once, one thread."""

import random
import time

import lab
from lab import Failure, needs_proc, tr

BREAKS = "never_reads"
STILL = (2,)

IDLE = "the server waits for one client, and all the others wait with it"
HALF = "half a line is no reason to wait for the rest of it in this place: others have whole ones"
INTERLEAVED = "each client has a buffer of its own: their pieces come in any order"
REUSED = "a descriptor's number is used again: what belongs to a client dies with the client"
LEAVES = "every socket that is done with has to be closed, however its client has left"
EACH = "each client that is there has to be watched, and each that has asked has to be answered"
LATE = "time passes between two pieces of one client, and others come and go meanwhile"
THREADS = "a thread for each client costs memory and switches for those who say nothing"
RESTS = "a loop has to sleep in select() until somebody has something to say"


def check_idle_neighbour(server):
    """a silent client, and five neighbours who ask"""
    with server.connect():
        for number in range(5):
            with server.connect() as neighbour:
                neighbour.send(b"abc%d\n" % number)
                neighbour.expect(b"%dcba\n" % number, IDLE)


def check_half_neighbour(server):
    """half a line lies there, and a neighbour asks"""
    with server.connect() as half, server.connect() as neighbour:
        half.send(b"hal", b"")
        for _ in range(3):
            neighbour.send(b"abc\n")
            neighbour.expect(b"cba\n", HALF)
        half.send(b"f\n")
        half.expect(b"flah\n", HALF)


def check_interleaved(server):
    """20 clients, each line in four pieces, in any order"""
    seed = random.randrange(1000)
    order = random.Random(seed)
    clients = [server.connect() for _ in range(20)]
    try:
        words = [b"<%02d-%06d>\n" % (number, order.randrange(10**6)) for number in range(20)]
        todo = [number for number in range(20) for _ in range(4)]
        order.shuffle(todo)
        place = [0] * 20
        for number in todo:
            piece = words[number][place[number] : place[number] + 3]
            place[number] += 3
            clients[number].send(piece, b"")
        for client, word in zip(clients, words):
            client.sent.insert(0, tr("(order by seed {})", seed))
            client.expect(word[:-1][::-1] + b"\n", INTERLEAVED)
    finally:
        for client in clients:
            client.close()


def check_late(server):
    """half a line, then two others come, ask and go, then the rest"""
    with server.connect() as slow:
        slow.send(b"sl", b"")
        for word in (b"ab\n", b"cd\n"):
            with server.connect() as other:
                other.send(word)
                other.expect(word[:2][::-1] + b"\n", LATE)
            time.sleep(0.6)
        slow.send(b"ow\n")
        slow.expect(b"wols\n", LATE)


def check_reused(server):
    """five vanish with half a line each, and five others get their descriptors"""
    gone = [server.connect() for _ in range(5)]
    for client in gone:
        client.send(b"12\nhalf", b"")
        client.read(3)
    for client in gone:
        client.reset()
    heirs = [server.connect() for _ in range(5)]
    try:
        for heir in heirs:
            heir.send(b"abc\n")
            heir.expect(b"cba\n", REUSED)
    finally:
        for heir in heirs:
            heir.close()


def check_leaves(server):
    """60 come and go, each in another way"""
    with server.connect() as client:
        client.send(b"abc\n")
        client.read(4)
    before = server.descriptors_at_rest()
    for number in range(60):
        client = server.connect()
        if number % 2:
            client.send(b"ab" if number % 4 == 1 else b"ab\n", b"")
        if number % 3 == 0:
            client.finish()
        if number % 3 == 1:
            client.reset()
        client.close()
    with server.connect() as client:
        client.send(b"abc\n")
        client.expect(b"cba\n", LEAVES)
    if lab.HAS_PROC:
        server.must_give_back(before, LEAVES)


def check_burst(server):
    """200 connect, then all ask"""
    clients = [server.connect() for _ in range(200)]
    try:
        for number, client in enumerate(clients):
            client.send(b"abc%03d\n" % number)
        for number, client in enumerate(clients):
            client.expect((b"abc%03d" % number)[::-1] + b"\n", EACH)
    finally:
        for client in clients:
            client.close()


def check_crowd(server):
    """200 who say nothing: no threads, no work, and a neighbour is answered"""
    needs_proc()
    with server.connect() as client:
        client.send(b"abc\n")
        client.expect(b"cba\n", IDLE)
        before = server.threads()
        crowd = [server.connect() for _ in range(200)]
        try:
            client.send(b"abc\n")
            client.expect(b"cba\n", IDLE)
            with server.connect() as last:  # All before it have been taken, too.
                last.send(b"abc\n")
                last.expect(b"cba\n", IDLE)
                more = server.threads() - before
            if more > 8:
                expected = tr("at most {} threads more", 8)
                raise Failure(THREADS, expected, tr("{} threads more", more))
            server.must_rest(RESTS)
        finally:
            for one in crowd:
                one.close()


def check_rests(server):
    """nobody there: the server sleeps"""
    server.must_rest(RESTS)
