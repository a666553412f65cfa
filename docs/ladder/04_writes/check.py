"""Checks of stage 04: answers of any size, to clients that read when they like."""

import time

import lab
from lab import Failure, needs_proc, tr

BREAKS = "abandoned_upload"
STILL = (2, 3)

ORDER = "the answers of one client stand in a queue: a short one does not overtake a long one"
PARTIAL = "send() takes what fits into the kernel's buffer; the rest has to wait, not to be lost"
NEIGHBOUR = "whoever does not read waits for himself; the loop must not wait with him"
EACH = "each client has an unsent rest of its own, and is told by WRITE when there is room"
SLOW = "a slow reader gets everything, as slowly as it likes"
STUCK = "when the buffer is full, trying again at once is no use: WRITE says when there is room"
DRAINED = "when everything is sent, WRITE has to be watched no longer"
RESET = "send() to a client that has gone raises an OSError: that ends this one, and nothing else"
MEMORY = "answers that nobody reads fill your memory: stop answering, and reading, until some went"
FLOOD = "whoever does not read is not read from: his questions wait in his own kernel"
RESUMES = "a client that was not read from has to be read from again when it has caught up"
FINISH = "FIN says that no question follows; the answers that are due are still wanted"
FIN_STUCK = "after FIN a socket stays readable for ever: watch READ no longer"


def greedy(server, questions):
    """A client that has asked, and does not read."""
    client = server.connect(small_buffer=True)
    client.send(questions)
    client.wait_for_full_kernels()
    return client


def neighbours(server, so):
    """Others ask, and are answered."""
    for number in range(3):
        with server.connect() as neighbour:
            neighbour.send(b"abc%d\n" % number)
            neighbour.expect(b"%dcba\n" % number, so)


def read_all(client, size, so, tail=b"x\n"):
    """Fail unless so many bytes come, ending like this, and nothing behind them."""
    length, last = client.skim(size)
    ended = client.ended
    if not ended:
        more = client.read(100, silence=0.005)
        length, last = length + len(more), last + more
    if length != size or not last.endswith(tail):
        expected = tr("{} bytes, the last of them {}", size, repr(tail))
        text = tr("{} bytes, the last of them {}", length, repr(last[-len(tail) :]))
        raise Failure(so, expected, f"{text} {ended}", client.sent)


def kernels_fill(server):
    """How much of an answer the two kernels take when nobody reads."""
    with greedy(server, b"big 12000000\n") as client:
        return client.held() or 4000000


def stays_small(server, so):
    """Fail if its memory grows by more than 24 MiB, before it has stopped growing."""
    least = mark = server.memory()
    since = time.monotonic()
    while time.monotonic() < since + 1.5:
        time.sleep(0.03)
        now = server.memory()
        if now > least + 24:
            expected = tr("less than {} MiB more memory", 24)
            raise Failure(so, expected, tr("{} MiB more", round(now - least)))
        if now < least or now > mark + 0.5:
            least, mark, since = min(least, now), now, time.monotonic()


def check_partial(server):
    """eight megabytes for a client that begins to read late"""
    with greedy(server, b"big 8000000\n") as client:
        read_all(client, 8000001, PARTIAL)
        client.send(b"abc\n")
        read_all(client, 4, PARTIAL, b"cba\n")


def check_order(server):
    """a small, a big and a small answer, asked in one send"""
    with greedy(server, b"abc\nbig 8000000\ndef\n") as client:
        first = client.read(4)
        if first != b"cba\n":
            raise Failure(ORDER, b"cba\n", client.seen(first), client.sent)
        read_all(client, 8000001 + 4, ORDER, b"x\nfed\n")


def check_memory(server):
    """3000 questions of 100 kB each, and nothing is read"""
    needs_proc()
    with greedy(server, b"big 100000\n" * 3000):
        stays_small(server, MEMORY)


def check_reset(server):
    """six that do not read vanish"""
    neighbours(server, RESET)
    before = server.descriptors_at_rest()
    questions = (b"big 8000000\n", b"big 3000\n" * 3000, b"big 4000000\nabc\n") * 2
    clients = [greedy(server, question) for question in questions]
    for client in clients:
        client.reset()
    neighbours(server, RESET)
    if lab.HAS_PROC:
        server.must_give_back(before, RESET)


def check_neighbour(server):
    """eight megabytes that nobody reads, and neighbours who ask"""
    with greedy(server, b"big 8000000\n"):
        neighbours(server, NEIGHBOUR)


def check_two(server):
    """two that do not read, and then do, by turns"""
    with greedy(server, b"big 8000000\n") as one, greedy(server, b"big 6000000\nabc\n") as two:
        one.read(100000)
        two.read(100000)
        read_all(one, 7900001, EACH)
        read_all(two, 5900005, EACH, b"x\ncba\n")


def check_slow(server):
    """one that reads some, rests for two seconds, and reads on"""
    with greedy(server, b"big 8000000\nabc\n") as client:
        client.read(1000)
        time.sleep(2)
        for _ in range(20):
            client.read(1000)
            time.sleep(0.01)
        read_all(client, 8000005 - 21000, SLOW, b"x\ncba\n")


def check_stuck(server):
    """CPU with one client that does not read"""
    with greedy(server, b"big 8000000\n"):
        server.must_rest(STUCK)


def check_drained(server):
    """CPU when it has caught up"""
    with greedy(server, b"big 8000000\n") as client:
        read_all(client, 8000001, PARTIAL)
        server.must_rest(DRAINED)


def check_flood(server):
    """questions without end, and nothing is read"""
    with greedy(server, b"big 8000000\n") as client:
        client.sock.settimeout(0.1)
        taken, since = 0, time.monotonic()
        while time.monotonic() < since + 1.5:  # Until nothing is taken for a while.
            try:
                taken += client.sock.send((b"q" * 60000 + b"\n") * 3)
            except TimeoutError:
                continue
            since = time.monotonic()
            if taken > 24 << 20:
                raise Failure(FLOOD, tr("an end, when the kernels are full"), tr("it reads on"))


def check_resumes(server):
    """it reads at last, and gets every answer"""
    with greedy(server, b"big 5000\n" * 8000 + b"abc\n") as client:
        size = 8000 * 5001 + 4
        for _ in range(8):  # By bites: it is stuck again and again.
            time.sleep(0.1)
            size -= client.skim(3_000_000)[0]
            if client.ended:
                break
        read_all(client, size, RESUMES, b"x\ncba\n")
        client.send(b"def\n")
        read_all(client, 4, RESUMES, b"fed\n")


def check_finish(server):
    """FIN behind the question, answers of 16 sizes"""
    full = kernels_fill(server)
    sizes = [1, 1000, 60000, 70000, 300000, 1000000, 2000000, 8500000]
    sizes += [full + more for more in range(0, 64000, 8000)]  # Just more than the kernels take.
    for size in sizes:
        with server.connect(small_buffer=True) as client:
            client.send(b"abc\nbig %d\n" % size)
            client.finish()
            time.sleep(0.05)
            read_all(client, 4 + size + 1, FINISH)
            client.expect_end(FINISH)


def check_fin_stuck(server):
    """FIN, and nothing is read for a while"""
    full = kernels_fill(server)
    for size in (full + 30000, 16000000):
        with greedy(server, b"big %d\n" % size) as client:
            client.finish()
            time.sleep(0.1)
            if lab.HAS_PROC:
                server.must_rest(FIN_STUCK)
            read_all(client, size + 1, FINISH)
            client.expect_end(FINISH)
