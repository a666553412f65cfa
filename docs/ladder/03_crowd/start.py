"""The same lines, for everybody at once: one thread, one loop, one selector."""

import selectors
import socket
import sys

LIMIT = 64 * 1024  # bytes of a line


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


def reverse(line):
    """The answer to one line."""
    return line.decode(errors="replace")[::-1].encode() + b"\n"


class Connection:
    """One client, and what it has sent of a line."""

    def __init__(self, client):
        self.client = client
        self.lines = Lines()

    def on_readable(self):
        """Take what is there, and answer what is whole. Whether the connection goes on."""
        # TODO: one recv(), and no second one: it would sleep. What was serve() goes here.
        return False


def main(port):
    listener = socket.create_server(("127.0.0.1", port), backlog=512)
    print("listening on {}:{}".format(*listener.getsockname()), flush=True)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ, None)
    while True:
        for key, _ in selector.select():
            connection = key.data
            if connection is None:
                client, _ = listener.accept()
                client.close()  # TODO: watch it, with a Connection as its data
                continue
            # TODO: let the connection work; unregister and close it when it is done, or gone


if __name__ == "__main__":
    main(int(sys.argv[1]))
