"""One connection, three formats, some errors: what a client sends and what it reads."""

import socket

from pyliteflux import HTTPError, Router, Server

router = Router()
server = Server(router, http_port=0, tcp_port=0, info=False, tcp_keep_alive=True)


@router.register("echo", protocol="tcp", blocking=False)
def echo(request):
    return {"you_sent": request.data}


@router.register("open", protocol="tcp")
def open_door(request):
    if request.data != "sesame":
        raise HTTPError(403, "wrong word")
    return "open"


@router.register("count", protocol="tcp")
def count(request):
    for number in (1, 2):
        yield {"n": number}


EXCHANGES = [
    (b"echo hello world\n", 1),
    (b'{"command": "echo", "data": [1, 2], "id": 7}\n', 1),
    (b'{\n  "command": "echo",\n  "data": {"pretty": "}"}\n}\n', 1),
    (b'<request command="echo"><a>1</a><b>x &amp; y</b><b>z</b></request>\n', 1),
    (b"open sesame\n", 1),
    (b'{"command": "open", "data": "wheat"}\n', 1),
    (b"dance\n", 1),
    (b'{"command": "echo", "data": 1]}\n', 1),
    (b'<!DOCTYPE request [<!ENTITY a "aaaa">]>\n', 1),
    (b'{"data": 1, "id": "lost"}\n', 1),
    (b'{"command": "count", "id": 8}\n', 3),
]

with server, socket.create_connection(server.tcp_address, timeout=10) as client:
    with client.makefile("rb") as answers:
        for question, lines in EXCHANGES:
            client.sendall(question)
            for line in question.decode().splitlines():
                print(">", line)
            for _ in range(lines):
                print("    <", answers.readline().decode().rstrip("\n"))
