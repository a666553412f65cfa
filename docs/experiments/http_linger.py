"""A 413 that the client can read, and one that it cannot: what close() does to unread bytes."""

import socket
import threading

from pyliteflux import Router, Server

BODY = bytes(16 * 1024 * 1024)
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(BODY)


def upload(address):
    """Send everything, then read the answer: as most clients do."""
    with socket.create_connection(address, timeout=10) as client:
        try:
            client.sendall(HEAD)
            client.sendall(BODY)
            return "the client reads " + client.recv(65536).split()[1].decode()
        except OSError as error:
            return f"{type(error).__bases__[0].__name__}: the answer was never read"


def close_at_once(listener):
    connection, _ = listener.accept()
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n\r\n")
    connection.close()  # With unread bytes in its buffer: the kernel sends RST.


with socket.create_server(("127.0.0.1", 0)) as listener:
    threading.Thread(target=close_at_once, args=(listener,)).start()
    print("answer, close:         ", upload(listener.getsockname()))

with Server(Router(), http_port=0, tcp_port=0, info=False) as server:
    print("answer, FIN, drain:    ", upload(server.http_address))
