"""Mixed load: conversations of every kind, at random, each checked to its last byte.

`python -m tests.soak.load HTTP_PORT TCP_PORT SEED` goes on until its stdin ends, then prints
how many conversations of each kind there were, as JSON.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable

from tests.support import Client

THREADS = 8
Address = tuple[str, int]


class Visitor:
    """One client after the other. http, tcp: the server's addresses."""

    def __init__(self, http: Address, tcp: Address, seed: int) -> None:
        self._http = http
        self._tcp = tcp
        self._chance = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.kinds: list[Callable[[], None]] = [
            self.keep_alive,
            self.pipeline,
            self.upload,
            self.chunked_upload,
            self.form,
            self.stream,
            self.leave_a_stream,
            self.listen_to_events,
            self.publish,
            self.messages,
            self.hear_a_broadcast,
            self.subscribe,
            self.tasks,
            self.nonsense,
            self.reset,
        ]

    def visit(self) -> None:
        """Have one conversation."""
        kind = self._chance.choice(self.kinds)
        kind()
        self.counts[kind.__name__] += 1

    def keep_alive(self) -> None:
        with Client(self._http) as client:
            for _ in range(self._chance.randint(1, 30)):
                path = self._chance.choice(("/hello", "/now"))
                _expect(client.get(path).status, 200)

    def pipeline(self) -> None:
        with Client(self._http) as client:
            count = self._chance.randint(2, 50)
            client.send(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n" * count)
            for _ in range(count):
                _expect(client.read_response().status, 200)

    def upload(self) -> None:
        size = self._chance.randint(0, 500_000)
        with Client(self._http) as client:
            _expect(client.request("POST", "/upload", b"u" * size).json, {"size": size})

    def chunked_upload(self) -> None:
        count = self._chance.randint(1, 300)
        with Client(self._http) as client:
            client.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            client.send(b"3\r\nabc\r\n" * count + b"0\r\n\r\n")
            _expect(client.read_response().json, {"size": 3 * count})

    def form(self) -> None:
        size = self._chance.choice((10, 400_000))
        body = (
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
            b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
            + b"f" * size
            + b"\r\n--b--\r\n"
        )
        fields = {"Content-Type": "multipart/form-data; boundary=b"}
        with Client(self._http) as client:
            answer = client.request("POST", "/form", body, fields=fields)
            _expect(answer.json, {"fields": {"a": "1"}, "files": 1})

    def stream(self) -> None:
        size = self._chance.randint(1, 200) * 10_000
        with Client(self._http) as client:
            _expect(len(client.get(f"/stream?size={size}").body), size)

    def leave_a_stream(self) -> None:
        client = Client(self._http, receive_buffer=4096)
        client.send_request("GET", "/stream?size=50000000")
        client.read_head()
        client.reset() if self._chance.random() < 0.5 else client.close()

    def listen_to_events(self) -> None:
        with Client(self._http) as client:
            client.send_request("GET", "/events")
            client.read_head()
            _expect('"subscribed"' in client.read_chunk().decode(), True)

    def publish(self) -> None:
        with Client(self._http) as client:
            _expect(client.post_json("/publish", {"n": self._chance.random()}).status, 200)

    def messages(self) -> None:
        with Client(self._tcp) as client:
            for number in range(self._chance.randint(1, 20)):
                client.send(json.dumps({"command": "echo", "data": number, "id": number}) + "\n")
                while "id" not in (answer := json.loads(client.read_line())):
                    pass  # A broadcast that came in between.
                _expect(answer, {"echo": number, "id": number})

    def hear_a_broadcast(self) -> None:
        with Client(self._tcp) as client, Client(self._http) as asker:
            client.send('{"command": "echo", "data": "here"}\n')
            while '{"echo": "here"}' not in client.read_line():
                pass  # Somebody else's broadcast.
            asker.get("/broadcast/3")
            for _ in range(3):
                _expect(json.loads(client.read_line())["type"], "push")

    def subscribe(self) -> None:
        with Client(self._tcp) as client:
            client.send('{"command": "subscribe", "data": {"topic": "soak:*"}, "id": 1}\n')
            while '"ok"' not in client.read_line():
                pass

    def tasks(self) -> None:
        with Client(self._http) as client:
            _expect(client.get("/task").text, "added")

    def nonsense(self) -> None:
        address = self._chance.choice((self._http, self._tcp))
        with Client(address) as client:
            try:
                client.send(self._chance.randbytes(self._chance.randint(1, 5000)))
            except OSError:
                pass  # It was cut already.

    def reset(self) -> None:
        client = Client(self._http)
        client.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        client.send(b"u" * self._chance.randint(1, 50_000))
        client.reset()


def _expect(got: object, wanted: object) -> None:
    if got != wanted:
        raise AssertionError(f"{got!r} instead of {wanted!r}")


def main() -> None:
    http_port, tcp_port, seed = map(int, sys.argv[1:])
    http, tcp = ("127.0.0.1", http_port), ("127.0.0.1", tcp_port)
    is_over = threading.Event()
    visitors = [Visitor(http, tcp, seed * 1000 + number) for number in range(THREADS)]
    errors: list[str] = []

    def work(visitor: Visitor) -> None:
        while not is_over.is_set():
            try:
                visitor.visit()
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(visitor,)) for visitor in visitors]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    is_over.set()
    for thread in threads:
        thread.join()
    counts = sum((visitor.counts for visitor in visitors), Counter())
    print(json.dumps({"counts": counts, "errors": errors[:20], "failed": len(errors)}))


if __name__ == "__main__":
    main()
