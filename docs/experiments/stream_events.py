"""Server-sent events: pushed, silent for a while, and taken up again after a break."""

import socket
import threading

from pyliteflux import EventStream, Router, Server

router = Router()
history = []  # (id, text); a real one is bounded.
streams = set()
lock = threading.Lock()  # Between "what has been" and "what comes" no event may slip through.
someone_left = threading.Event()


@router.get("/news")
def news(request):
    stream = EventStream(retry=2000, on_close=someone_left.set)
    last = int(request.headers.get("Last-Event-ID", "0"))
    with lock:
        for number, text in history:
            if number > last:
                stream.send(text, id=number)
        streams.add(stream)
    return stream


def publish(text):
    with lock:
        history.append((len(history) + 1, text))
        streams.difference_update([s for s in streams if not s.send(text, id=len(history))])


class Reader:
    def __init__(self, server, last=None):
        self.socket = socket.create_connection(server.http_address, timeout=10)
        fields = "" if last is None else f"Last-Event-ID: {last}\r\n"
        self.socket.sendall(f"GET /news HTTP/1.1\r\nHost: example.org\r\n{fields}\r\n".encode())
        self.file = self.socket.makefile("rb")
        while self.file.readline() != b"\r\n":
            pass  # The head.

    def show(self, name, with_comments=False):
        """Print the next event. Comments are what we do not wait for, unless we do."""
        while True:
            size = int(self.file.readline(), 16)
            event = self.file.read(size).decode()
            self.file.readline()
            if with_comments or not event.startswith(":"):
                break
        print(f"{name:7}", repr(event))

    def leave(self):
        self.file.close()
        self.socket.close()


with Server(router, http_port=0, tcp_port=0, info=False, heartbeat=0.2) as server:
    reader = Reader(server)
    reader.show("reader")
    publish("one")
    reader.show("reader")
    publish("two\nlines")
    reader.show("reader")
    print("        ... nothing happens ...")
    reader.show("reader", with_comments=True)

    reader.leave()
    someone_left.wait(10)
    print("        the heartbeat has found out that the reader left:", someone_left.is_set())
    publish("three")

    back = Reader(server, last=2)
    back.show("back")
    back.show("back")
    print("        streams to send to:", len(streams), "; threads for them:", end=" ")
    print(server.stats["stream_threads"] - 1)  # The one that ran on_close, parked by now.
    back.leave()
