"""Every connection is in one state, moves by one table, and ends once, for one reason."""

import collections
import os
import selectors
import socket
import sys

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
LIMIT = 64 * 1024  # bytes of a line
HIGH_WATER = 64 * 1024  # bytes that wait for the client: until they are fewer it is not heard
LINGER = 2.0  # seconds in which a client may end what it was sending when we said our last word

IDLE = "IDLE"  # Nothing of it lies here.
RECEIVING = "RECEIVING"  # A piece of a line does.
SENDING = "SENDING"  # Bytes wait until it takes them.
CLOSING = "CLOSING"  # Our last word is said; what it still sends is thrown away.
CLOSED = "CLOSED"

NEXT = {
    IDLE: {RECEIVING, SENDING, CLOSING, CLOSED},
    # TODO: what may follow RECEIVING, SENDING, CLOSING and CLOSED
}


class LineTooLong(Exception):
    """A line is over the limit: nobody knows where the next one begins."""


class Lines:
    """Makes lines of the pieces that recv() gives, wherever they were cut."""

    def __init__(self):
        self.buffer = b""

    def feed(self, data):
        """Add what has just come."""
        self.buffer += data

    def next(self):
        """Return the next line without its end; None if it is not whole yet."""
        while True:
            line, end, rest = self.buffer.partition(b"\n")
            if len(line) > LIMIT:
                raise LineTooLong
            if not end:
                return None
            self.buffer = rest
            line = line.removesuffix(b"\r")
            if line:  # Blank lines are passed over.
                return line


def answer(line):
    """The answer to one line."""
    if line.startswith(b"big ") and line[4:].isdigit():
        return b"x" * int(line[4:]) + b"\n"
    return line.decode(errors="replace")[::-1].encode() + b"\n"


def debug(text):
    """Tell what happens, where DEBUG=1 asks for it."""
    if os.environ.get("DEBUG"):
        print(text, flush=True)


class Connection:
    """One client: its state, its piece of a line, and what it has not taken of its answers."""

    count = 0
    lingering = collections.deque()  # Those in CLOSING, the first deadline first.

    def __init__(self, client, selector):
        client.setblocking(False)
        Connection.count += 1
        self.name = f"c{self.count}"
        self.client = client
        self.selector = selector
        self.events = READ
        self.lines = Lines()
        self.unsent = b""
        self.has_finished = False  # The client has said FIN.
        self.state = IDLE
        self.reason = ""  # Why it ends: the first cause that was seen.
        self.deadline = 0.0  # time.monotonic() at which CLOSING ends.
        selector.register(client, READ, self)

    def move(self, new):
        """Change the state. The only place where that happens."""
        if new != self.state:
            assert new in NEXT[self.state], (self.state, new)
            debug(f"{self.name} {self.state} -> {new}")
            self.state = new

    def on_ready(self, events):
        """Do what can be done now without waiting, and say what to wait for."""
        try:
            if events & READ:
                self.receive()
            if events & WRITE:
                self.flush()
            self.work()
            self.settle()
        except OSError:
            self.close("reset")  # This client has gone; the others stay.

    def receive(self):
        """Take what is there."""
        data = self.client.recv(65536)
        self.has_finished = not data
        self.lines.feed(data or b"\n")  # TODO: not in CLOSING. FIN ends the last line, too.

    def work(self):
        """Answer what is whole, as long as the client takes its answers."""
        try:
            while len(self.unsent) < HIGH_WATER and (line := self.lines.next()) is not None:
                self.say(answer(line))
        except LineTooLong:
            self.lines = Lines()
            self.reason = "too long"
            self.has_finished = True  # TODO: it has not. Instead: CLOSING, with a deadline
            self.say(b"error: this line is too long\n")

    def say(self, data):
        """Send it now, as far as it goes; the rest waits its turn."""
        self.unsent += data
        self.flush()

    def flush(self):
        """Send as much as the kernel takes without waiting; behind our last word our FIN."""
        try:
            sent = self.client.send(self.unsent)
        except BlockingIOError:
            return  # Its buffer is full. WRITE will say when it is not.
        self.unsent = self.unsent[sent:]
        # TODO: behind our last word we say FIN, and no more: shutdown(SHUT_WR)

    def settle(self):
        """Move to the state that fits now, and wait for what it waits for."""
        if self.has_finished and not self.unsent:
            self.close("finished")
            return
        # TODO: move to the state that fits
        events = WRITE if self.unsent else 0
        if not self.has_finished and len(self.unsent) < HIGH_WATER:  # TODO: and in CLOSING?
            events |= READ
        if events != self.events:
            self.selector.modify(self.client, events, self)
            self.events = events

    def close(self, reason):
        """Forget the client and give its descriptor back. The only place where that happens."""
        # TODO: only once; move, and tell the reason: "c3 closed: reset"
        self.selector.unregister(self.client)
        self.client.close()


def main(port):
    listener = socket.create_server(("127.0.0.1", port), backlog=512)
    print("listening on {}:{}".format(*listener.getsockname()), flush=True)
    selector = selectors.DefaultSelector()
    selector.register(listener, READ, None)
    while True:
        for key, events in selector.select():  # TODO: not for longer than the first deadline
            if key.data is None:
                client, _ = listener.accept()
                Connection(client, selector)
            else:
                key.data.on_ready(events)
        # TODO: close those whose deadline has passed


if __name__ == "__main__":
    main(int(sys.argv[1]))
