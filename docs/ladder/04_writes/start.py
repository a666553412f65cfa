"""The same lines, and answers of any size: nobody is waited for, whether he speaks or reads."""

import selectors
import socket
import sys

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
LIMIT = 64 * 1024  # bytes of a line
HIGH_WATER = 64 * 1024  # bytes that wait for the client: until they are fewer it is not heard


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


class Connection:
    """One client: what it has sent of a line, and what it has not taken of its answers."""

    def __init__(self, client, selector):
        client.setblocking(False)
        self.client = client
        self.selector = selector
        self.events = READ
        self.lines = Lines()
        self.unsent = b""
        self.has_finished = False  # Nothing more is read: it said FIN, or an endless line.
        selector.register(client, READ, self)

    def on_ready(self, events):
        """Do what can be done now without waiting, and say what to wait for."""
        try:
            if events & READ:
                self.receive()
            if events & WRITE:
                self.flush()
            self.work()
        except OSError:
            self.close()  # This client has gone; the others stay.
        else:
            self.watch()

    def receive(self):
        """Take what is there."""
        data = self.client.recv(65536)
        self.lines.feed(data or b"\n")  # FIN ends the last line, too.
        self.has_finished = not data

    def work(self):
        """Answer what is whole."""
        try:
            while (line := self.lines.next()) is not None:  # TODO: while it takes its answers
                self.say(answer(line))
        except LineTooLong:
            self.lines = Lines()
            self.has_finished = True
            self.say(b"error: this line is too long\n")

    def say(self, data):
        """Send it now, as far as it goes; the rest waits its turn."""
        self.client.sendall(data)  # TODO: this socket does not wait, so sendall() may fail midway

    def flush(self):
        """Send as much as the kernel takes without waiting."""
        # TODO: send() says how many bytes it took, or raises BlockingIOError

    def watch(self):
        """Wait for what is missing: room, or questions. Close where nothing is."""
        if self.has_finished:  # TODO: and everything is sent
            self.close()
            return
        events = READ  # TODO: WRITE while something waits; no READ while much of it waits
        if events != self.events:
            self.selector.modify(self.client, events, self)
            self.events = events

    def close(self):
        """Forget the client and give its descriptor back."""
        self.selector.unregister(self.client)
        self.client.close()


def main(port):
    listener = socket.create_server(("127.0.0.1", port), backlog=512)
    print("listening on {}:{}".format(*listener.getsockname()), flush=True)
    selector = selectors.DefaultSelector()
    selector.register(listener, READ, None)
    while True:
        for key, events in selector.select():
            if key.data is None:
                client, _ = listener.accept()
                Connection(client, selector)
            else:
                key.data.on_ready(events)


if __name__ == "__main__":
    main(int(sys.argv[1]))
