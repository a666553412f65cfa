"""Five conversations with a real server, as they are on the wire."""

import logging
import re
import socket
import time

from pyliteflux import Router, Server

logging.getLogger("pyliteflux").addHandler(logging.NullHandler())  # One error is on purpose.
router = Router()
server = Server(router, http_port=0, tcp_port=0, info=False, max_body_size=1000)


@router.register("/slow")
def slow(request):
    time.sleep(0.1)
    return "slow\n"


@router.register("/fast", method=["GET", "POST"], blocking=False)
def fast(request):
    return f"fast, {len(request.body)} bytes of body\n"


@router.register("/greet")
def greet(request):
    return "hello\n", {"X-Name": request.query_params["name"]}


def talk(title, *pieces):
    """Send each piece once the one before it is answered; print what comes until the end."""
    print(f"--- {title}")
    with socket.create_connection(server.http_address, timeout=10) as client:
        answer = b""
        for piece in pieces:
            client.sendall(piece)
            if piece is not pieces[-1]:
                answer += client.recv(65536)
        client.shutdown(socket.SHUT_WR)
        while data := client.recv(65536):
            answer += data
    for line in answer.decode().splitlines():
        if line.startswith("HTTP/"):
            line = line[:12]  # Without the phrase: no program reads it.
        if line and not line.startswith(("Date", "X-Request-ID", "Content-Type")):
            line = re.sub(r'("request_id": )"[^"]*"', r'\1"..."', line)  # Another one each time.
            print("   ", line)


with server:
    talk(
        "two requests in one send: the answers come in order",
        b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + b"GET /fast HTTP/1.1\r\nHost: a\r\n\r\n",
    )
    talk(
        "a bad request, a good one behind it: one answer, then the end",
        b"GET /fast HTTP/1.1\r\nHost : a\r\n\r\n" + b"GET /fast HTTP/1.1\r\nHost: a\r\n\r\n",
    )
    talk(
        "Expect: 100-continue: the body is asked for",
        b"POST /fast HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
        b"abc",
    )
    talk(
        "and here it is refused before a byte of it is sent",
        b"POST /fast HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\nExpect: 100-continue\r\n\r\n",
    )
    talk(
        "a line end smuggled into a field of the answer: a 500, and not one byte of it",
        b"GET /greet?name=x%0d%0aSet-Cookie:%20admin=1 HTTP/1.1\r\nHost: a\r\n\r\n",
    )
