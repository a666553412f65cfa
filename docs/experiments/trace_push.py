"""A push to a TCP client, from the handler of an HTTP request, hop by hop."""

import socket

from _calm import TracedServer

from pyliteflux import Router

router = Router()
traced = TracedServer(router, tcp_keep_alive=True)


@router.register("subscribe", protocol="tcp", blocking=False)
def subscribe(request):
    return "subscribed"


@router.register("/tell")
def tell(request):
    traced.begin()  # How a request comes here is shown by trace_request.py.
    traced.note("the handler pushes")
    count = traced.server.push_message({"said": "hi"})
    traced.note("the handler returns")
    return {"reached": count}


with (
    traced,
    socket.create_connection(traced.server.tcp_address, timeout=10) as device,
    socket.create_connection(traced.server.http_address, timeout=10) as browser,
    device.makefile("r") as lines,
):
    device.sendall(b"subscribe\n")
    lines.readline()
    browser.sendall(b"GET /tell HTTP/1.1\r\nHost: example.org\r\n\r\n")
    answer = b""
    while not answer.endswith(b"}"):
        answer += browser.recv(4096)
    traced.print_hops()
    print("device  ", lines.readline().strip())
    print("browser ", answer.partition(b"\r\n\r\n")[2].decode())
