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
        data = self.client.recv(65536)
        self.lines.feed(data or b"\n")  # FIN ends the last line, too.
        try:
            while (line := self.lines.next()) is not None:
                self.client.sendall(reverse(line))
        except LineTooLong:
            self.client.sendall(b"error: this line is too long\n")
            return False
        return bool(data)


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
                selector.register(client, selectors.EVENT_READ, Connection(client))
                continue
            try:
                goes_on = connection.on_readable()
            except OSError:
                goes_on = False  # This client has gone; the others stay.
            if not goes_on:
                selector.unregister(connection.client)
                connection.client.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
