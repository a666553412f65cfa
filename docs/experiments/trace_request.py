"""One request on the default route, hop by hop."""

import socket

from _calm import TracedServer

from pyliteflux import Router

router = Router()
traced = TracedServer(router)


@router.register("/hello")
def hello(request):
    traced.note("the handler runs")
    return {"message": "Hello, World!"}


with traced, socket.create_connection(traced.server.http_address, timeout=10) as client:
    client.sendall(b"GET /hello HTTP/1.1\r\nHost: example.org\r\n\r\n")
    answer = b""
    while not answer.endswith(b"}"):
        answer += client.recv(4096)
    traced.print_hops()

head, _, body = answer.partition(b"\r\n\r\n")
print("client  ", head.split(b"\r\n")[0].decode())
print("client  ", body.decode())
