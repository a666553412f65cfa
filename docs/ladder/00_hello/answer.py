"""A server in twenty lines. It says hello to everybody."""

import socket
import sys


def serve(client):
    """Say a word to one client."""
    client.sendall(b"hello\n")


def main(port):
    listener = socket.create_server(("127.0.0.1", port))
    print("listening on {}:{}".format(*listener.getsockname()), flush=True)
    while True:
        client, _ = listener.accept()
        with client:  # Closed at the end of this block, whatever happens.
            serve(client)


if __name__ == "__main__":
    main(int(sys.argv[1]))
