"""Lines, each answered with its characters in reverse. The stream is cut into lines here."""

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


def serve(client):
    """Answer each line as soon as it is whole, until the client has finished."""
    lines = Lines()
    while True:
        data = client.recv(65536)
        lines.feed(data or b"\n")  # FIN ends the last line, too.
        try:
            while (line := lines.next()) is not None:
                client.sendall(reverse(line))
        except LineTooLong:
            client.sendall(b"error: this line is too long\n")
            return
        if not data:
            return


def main(port):
    listener = socket.create_server(("127.0.0.1", port))
    print("listening on {}:{}".format(*listener.getsockname()), flush=True)
    while True:
        client, _ = listener.accept()
        with client:  # Closed at the end of this block, whatever happens.
            try:
                serve(client)
            except OSError:
                pass  # This client has gone; the next one waits.


if __name__ == "__main__":
    main(int(sys.argv[1]))
