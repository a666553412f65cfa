"""One client that reads and one that does not, pushed to under each of the four policies."""

import json
import logging
import socket

from pyliteflux import Router, Server

logging.getLogger("pyliteflux").addHandler(logging.NullHandler())  # A warning is on purpose.

COUNT = 200
PADDING = "x" * 64 * 1024  # 13 MB in all: more than the kernel keeps for a client.


def read_at_last(stream):
    """Return the numbers that the slow client finds, what it is told to have lost, its end."""
    numbers, told = [], 0
    while len(numbers) + told < COUNT:
        message = json.loads(stream.readline())
        if message["type"] == "push":
            numbers.append(message["data"]["number"])
        elif message["type"] == "dropped":
            told += message["count"]
        else:
            return numbers, told, message["reason"]
    return numbers, told, None


def run(policy):
    """Return what the slow client got, how much of the rest it was told of, and its end."""
    router = Router()
    router.register("hello", protocol="tcp")(lambda request: "hello")
    server = Server(router, http_port=0, tcp_port=0, info=False, tcp_keep_alive=True)
    server.config.update(slow_client_policy=policy, tcp_send_limit=256 * 1024, linger_timeout=20)
    with server:
        fast = socket.create_connection(server.tcp_address, timeout=20)
        slow = socket.create_connection(server.tcp_address, timeout=20)
        with fast, slow, fast.makefile("rb") as fast_lines, slow.makefile("rb") as slow_lines:
            for client, stream in ((fast, fast_lines), (slow, slow_lines)):
                client.sendall(b"hello\n")
                stream.readline()
            for number in range(COUNT):
                server.push_message({"number": number, "padding": PADDING})
                # The fast client has each message before the next one is pushed.
                assert json.loads(fast_lines.readline())["data"]["number"] == number
            return read_at_last(slow_lines)


print(f"the fast client got all {COUNT}, in order, under every policy; the slow one:")
for policy in ("disconnect", "drop_oldest", "drop_newest", "latest"):
    got, told, closing = run(policy)
    assert got == sorted(set(got)) and told > 0
    print(f"    {policy:12} got the first: {got[0] == 0}, the last: {got[-1] == COUNT - 1};")
    if closing is None:
        print(f"{'':16} what it got and what it is told of are all: {len(got) + told == COUNT}")
    else:
        print(f"{'':16} it is told what it lost, and that it was too {closing}")
