"""An echo: every byte goes back to whom it came from."""

import socket
import sys


def serve(client):
    """Send back what comes, until the client has finished."""
    client.sendall(b"hello\n")  # TODO: send back what recv() gives, until it gives b""


def main(port):
    listener = socket.create_server(("127.0.0.1", port))
    print("listening on {}:{}".format(*listener.getsockname()), flush=True)
    while True:
        client, _ = listener.accept()
        with client:  # Closed at the end of this block, whatever happens.
            serve(client)


if __name__ == "__main__":
    main(int(sys.argv[1]))
