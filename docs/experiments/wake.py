"""Why another thread needs a descriptor to wake the reactor: select() hears nothing else."""

import selectors
from collections import deque

from pyliteflux.reactor.waker import Waker

inbox, waker = deque(), Waker()
selector = selectors.DefaultSelector()
selector.register(waker.fileno(), selectors.EVENT_READ)


def select():
    return "returns" if selector.select(timeout=0.1) else "sleeps on"


inbox.append("a call")
print("a call is in the inbox: select()", select())
for _ in range(1000):
    waker.wake()
print("rung a thousand times:  select()", select())
print("bytes in the self-pipe:", len(waker.drain()))
print("drained:                select()", select())

selector.close()
waker.close()
