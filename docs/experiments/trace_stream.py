"""A stream of two pieces, hop by hop."""

import socket

from _calm import TracedServer

from pyliteflux import Router

router = Router()
traced = TracedServer(router)


def count():
    for word in ("one\n", "two\n"):
        traced.note(f"the generator yields {word!r}")
        yield word
    traced.note("the generator ends")


@router.register("/count")
def counting(request):
    traced.begin()  # How a request comes here is shown by trace_request.py.
    return count()


with traced, socket.create_connection(traced.server.http_address, timeout=10) as client:
    client.sendall(b"GET /count HTTP/1.1\r\nHost: example.org\r\n\r\n")
    answer = b""
    while not answer.endswith(b"0\r\n\r\n"):
        data = client.recv(4096)
        if not data:
            break  # Cut short.
        answer += data
    traced.print_hops()

print("client  ", answer.partition(b"\r\n\r\n")[2])
