"""A TCP client and a browser hear one topic; the browser breaks off, and takes it up again."""

import socket

from pyliteflux import EventStream, Router, Server

router = Router()
server = Server(router, http_port=0, tcp_port=0, info=False, tcp_keep_alive=True)
server.allow_subscribe("room:*")
server.topic("room:*", history=3)


@router.get("/events/{room}", blocking=False)
def events(request):
    return EventStream("room:" + request.path_params["room"])


class Browser:
    """As much of an EventSource as we need."""

    def __init__(self, last_id=None):
        self.socket = socket.create_connection(server.http_address, timeout=10)
        field = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
        self.socket.sendall(f"GET /events/1 HTTP/1.1\r\nHost: a\r\n{field}\r\n".encode())
        self.file = self.socket.makefile("rb")
        while self.file.readline() != b"\r\n":
            pass  # The head.
        self.last_id = last_id

    def show(self):
        """Print the object of the next event."""
        size = int(self.file.readline(), 16)
        event = self.file.read(size).decode()
        self.file.readline()
        for line in event.splitlines():
            if line.startswith("id: "):
                self.last_id = line[4:]
            elif line.startswith("data: "):
                show("browser", line[6:])

    def leave(self):
        self.file.close()
        self.socket.close()


def show(who, text):
    """Print an object as it came, but for the epoch: it is another one each time."""
    print(f"{who:8}", text.strip().replace(server.topic("room:1").epoch, "3f9a2c10"))


with server:
    client = socket.create_connection(server.tcp_address, timeout=10)
    lines = client.makefile("r")
    client.sendall(b"subscribe room:*\n")
    show("client", lines.readline())
    show("client", lines.readline())
    browser = Browser()
    browser.show()

    server.publish("room:1", {"said": "one"})
    show("client", lines.readline())
    browser.show()

    browser.leave()
    print("         the browser is away")
    server.publish("room:1", {"said": "two"})
    server.publish("room:2", {"said": "elsewhere"})
    show("client", lines.readline())
    show("client", lines.readline())
    browser = Browser(browser.last_id)
    for _ in range(2):
        browser.show()

    browser.leave()
    print("         it is away for longer than the ring is long")
    for number in range(3, 8):
        server.publish("room:1", number)
    browser = Browser(browser.last_id)
    for _ in range(4):
        browser.show()
    browser.leave()
    lines.close()
    client.close()
