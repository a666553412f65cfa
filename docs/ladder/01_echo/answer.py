"""An echo: every byte goes back to whom it came from."""

import socket
import sys


def serve(client):
    """Send back what comes, until the client has finished."""
    while True:
        data = client.recv(65536)
        if not data:
            return  # FIN: nothing more will come.
        client.sendall(data)


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
