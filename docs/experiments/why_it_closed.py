"""Five clients, five ends: what the server can say of each afterwards."""

import re
import socket

from pyliteflux import Router, Server

router = Router()


@router.register("/hello")
def hello(request):
    return {"hello": "world"}


server = Server(
    router, http_port=0, tcp_port=0, tcp_keep_alive=True, info=False, tcp_max_message=99
)


def http(data):
    return talk(server.http_address, data)


def tcp(data):
    return talk(server.tcp_address, data)


def talk(address, data):
    """Send, read one answer, leave; return the id that the server knows us by."""
    with socket.create_connection(address) as sock:
        host, port = sock.getsockname()
        sock.sendall(data)
        sock.recv(1000)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1000):  # Until the server closes, too.
            pass
    return f"{host}:{port}"


with server:
    clients = [
        http(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        http(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"),
        http(b"GET /\x1b[2J HTTP/1.1\r\nHost: a\r\n\r\n"),
        tcp(b'{"command": "hello"}\n'),
        tcp(b"x" * 100),
    ]

for client_id in clients:  # The server has stopped; it still knows.
    story = server.why(client_id)
    print(f"{story.protocol} {story.reason.name}: {story.reason.value}")
    for event in story.events:
        print("   ", re.sub(r"[0-9.]+:[0-9]+", "host:port", event.text))
