"""A lost wake-up, found by trying schedules: two threads, a flag, a pipe, and a seed."""

import random

from pyliteflux.reactor import waker
from pyliteflux.reactor.waker import Waker
from tests.fakes import FakeClock, Network
from tests.simulation.kernel import sim_socket_module
from tests.simulation.threads import Threads


class HastyWaker(Waker):
    """Lowers its flag before it reads. What could go wrong?"""

    def drain(self):
        self._pending = False
        try:
            return self._near.recv(4096)
        except BlockingIOError:
            return b""


def live(make_waker, seed):
    """One world: a caller posts three calls, a reactor runs them. Return what is left over."""
    story = []
    threads = Threads(FakeClock(), story.append)
    threads.random, threads.preempt = random.Random(seed), 0.5
    waker.socket = sim_socket_module(Network(), threads)
    bell, inbox, done = make_waker(), [], []

    def caller():
        for call in "abc":
            threads.point()  # Here the reactor may get the turn.
            inbox.append(call)
            story.append(f"the caller has posted {call}")
            bell.wake()

    def reactor():
        while len(done) < 3:
            threads.wait(lambda: bell._near.incoming)  # select()
            story.append("the reactor is woken")
            bell.drain()
            story.append("the reactor has drained the pipe")
            while inbox:
                done.append(inbox.pop(0))
                story.append(f"the reactor has run {done[-1]}")

    threads.start("caller", caller)
    threads.start("reactor", reactor)
    while ready := threads.runnable():
        threads.resume(threads.random.choice(ready))
    left = len(threads.all)  # Nobody can go on; whoever is left waits for ever.
    threads.kill()
    return left, story


real = waker.socket
try:
    for kind in Waker, HastyWaker:
        lost = [seed for seed in range(500) if live(kind, seed)[0]]
        print(f"{kind.__name__}: {len(lost)} of 500 schedules end asleep with a call in the inbox")
    print(f"\nseed {lost[0]}:")
    print("\n".join(live(HastyWaker, lost[0])[1]))
finally:
    waker.socket = real
