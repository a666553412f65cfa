"""Go over each limit, and see what answers."""

import json
import socket
import threading

from pyliteflux import Router, Server

router = Router()
release = threading.Event()


@router.register("/echo", method="POST")
def echo(request):
    return request.json_data


@router.register("/stuck")
def stuck(request):
    release.wait(10)


server = Server(
    router,
    http_port=0,
    tcp_port=0,
    info=False,
    header_timeout=0.5,
    handler_timeout=0.5,
    max_request_line=200,
    max_header_size=1000,
    max_headers=10,
    max_body_size=100,
    tcp_keep_alive=True,
    tcp_max_message=100,
    tcp_message_timeout=0.5,
)

HOST = "Host: a\r\n"
REQUESTS = {
    "a long request line": f"GET /{'x' * 300} HTTP/1.1\r\n{HOST}\r\n",
    "a large head": f"GET / HTTP/1.1\r\n{HOST}X: {'x' * 2000}\r\n\r\n",
    "many fields": f"GET / HTTP/1.1\r\n{HOST}" + "X: x\r\n" * 20 + "\r\n",
    "a large body, announced": f"POST /echo HTTP/1.1\r\n{HOST}Content-Length: 101\r\n\r\n",
    "two lengths": f"POST /echo HTTP/1.1\r\n{HOST}Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "no Host": "GET / HTTP/1.1\r\n\r\n",
    "an unknown method": f"BREW /pot HTTP/1.1\r\n{HOST}\r\n",
    "HTTP/2 without asking": f"GET / HTTP/2.0\r\n{HOST}\r\n",
    "half a head": "GET / HTTP/1.1\r\nHost:",
    "a handler that is stuck": f"GET /stuck HTTP/1.1\r\n{HOST}\r\n",
}
MESSAGES = {
    "an unknown command": "fly\n",
    "broken JSON": "{'a': 1}\n",
    "a long message": "x" * 200,
    "half a message": '{"command": ',
}


def ask(address, text):
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(text.encode())
        return client.recv(4096).decode()


with server:
    print("HTTP")
    for name, text in REQUESTS.items():
        print(f"    {name:<26}{ask(server.http_address, text)[9:12]}")
    print("TCP")
    for name, text in MESSAGES.items():
        print(f"    {name:<26}{json.loads(ask(server.tcp_address, text))['code']}")
    release.set()
