"""Ten clients that do not read, and one thread for all streams."""

import socket
import time

from pyliteflux import Router, Server, StreamResponse

router = Router()
server = Server(router, http_port=0, tcp_port=0, info=False, stream_workers=1)
piece = b"x" * 65536
generators = {}  # By the client's port.


class Flood:
    """An endless generator that knows how much it has produced."""

    def __init__(self):
        self.produced = 0
        self.is_cleaned_up = False
        self.generator = self.pieces()

    def pieces(self):
        try:
            while True:
                self.produced += len(piece)
                yield piece
        finally:
            self.is_cleaned_up = True


@router.get("/flood")
def flood(request):
    source = Flood()
    generators[request.client_address[1]] = source
    return source.generator


@router.get("/three")
def three(request):
    return StreamResponse(f"{word} " for word in ("one", "two", "three"))


def ask(path):
    client = socket.create_connection(server.http_address, timeout=10)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: example.org\r\n\r\n".encode())
    return client


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it does not come true")
        time.sleep(0.01)


with server:
    idlers = [ask("/flood") for _ in range(10)]
    for client in idlers:
        client.recv(100)  # The head and a little more; and then nothing for ever.

    with ask("/three") as client:
        answer = b""
        while not answer.endswith(b"0\r\n\r\n"):
            answer += client.recv(4096)
    body = answer.partition(b"\r\n\r\n")[2]
    print("an eleventh client is served by the same thread:", body.count(b" \r\n"), "pieces")

    sources = list(generators.values())
    wait_until(lambda: not any(source.generator.gi_running for source in sources))
    print("threads for streams:", server.stats["stream_threads"])
    print("generators that are being run:", sum(s.generator.gi_running for s in sources))
    most = max(source.produced for source in sources)
    print("the greediest one produced less than 32 MiB:", most < 32 << 20)

    first = generators[idlers[0].getsockname()[1]]
    taken, before = 0, first.produced
    while taken <= before + 1000:  # One of them reads after all (the head counts as well) ...
        taken += len(idlers[0].recv(1 << 20))
    print("it reads, and its generator goes on:", first.produced > before)

    for client in idlers:  # ... and all leave.
        client.close()
    wait_until(lambda: all(source.is_cleaned_up for source in sources))
    print("they leave, and each `finally` has run: True")
