"""A generator that raises in the middle: what the client is told."""

import http.client
import logging
import socket

from pyliteflux import Router, Server, StreamResponse

logging.getLogger("pyliteflux").addHandler(logging.NullHandler())
logging.getLogger("pyliteflux").propagate = False  # The traceback is not what we look at here.
router = Router()


@router.get("/rows")
def rows(request):
    def generate():
        yield "first\n"
        yield "second\n"
        raise OSError("the database has gone away")

    headers = {"Content-Length": "100"} if "length" in request.query_params else None
    return StreamResponse(generate(), headers=headers)


def raw(server, path, version):
    """Return what comes, to the end of the connection, and how that end looks."""
    with socket.create_connection(server.http_address, timeout=10) as client:
        client.sendall(f"GET {path} HTTP/{version}\r\nHost: example.org\r\n\r\n".encode())
        answer = b""
        try:
            while data := client.recv(4096):
                answer += data
            return answer.partition(b"\r\n\r\n")[2], "closed"
        except ConnectionResetError:
            return answer.partition(b"\r\n\r\n")[2], "reset"


with Server(router, http_port=0, tcp_port=0, info=False) as server:
    body, end = raw(server, "/rows", "1.1")
    print("chunked:           ", body, end)
    body, end = raw(server, "/rows?length", "1.1")
    print("Content-Length 100:", body, end)
    _, end = raw(server, "/rows", "1.0")  # What came before a reset may be lost with it.
    print("HTTP/1.0:          ", end)

    connection = http.client.HTTPConnection(*server.http_address, timeout=10)
    connection.request("GET", "/rows")
    response = connection.getresponse()
    print("\na real client sees status", response.status, "and then", end=" ")
    try:
        response.read()
    except http.client.HTTPException as error:
        print(f"{type(error).__name__}")
    connection.close()
