"""The floor: what nobody in Python can go below. `select`, `recv`, `send`, and no thought.

It answers each piece that arrives with a constant, and looks at none of them: a real server
costs a multiple of this, and the multiple is what the tables call floors.
"""

import select

from . import announce, listening_socket

BODY = b'{"message": "Hello, World!"}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Server: floor/1.0\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n%b" % (len(BODY), BODY)
)


def serve_by_epoll(listener):
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    clients = {}
    while True:
        for descriptor, _ in poll.poll():
            client = clients.get(descriptor)
            if client is None:
                client, _ = listener.accept()
                clients[client.fileno()] = client
                poll.register(client.fileno(), select.EPOLLIN)
                continue
            try:
                data = client.recv(65536)
                if data:
                    client.send(ANSWER)
                    continue
            except ConnectionError:
                pass
            del clients[descriptor]
            client.close()  # Which takes it out of the epoll set too.


def serve_by_select(listener):
    watched = [listener]
    while True:
        for client in select.select(watched, [], [])[0]:
            if client is listener:
                watched.append(listener.accept()[0])
                continue
            try:
                data = client.recv(65536)
                if data:
                    client.send(ANSWER)
                    continue
            except ConnectionError:
                pass
            watched.remove(client)
            client.close()


if __name__ == "__main__":
    listener = listening_socket()
    announce(listener.getsockname()[1])
    if hasattr(select, "epoll"):
        serve_by_epoll(listener)
    else:
        serve_by_select(listener)
