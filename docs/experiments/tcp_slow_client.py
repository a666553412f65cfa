"""One client that reads and one that does not, pushed to under each of the four policies."""

import json
import logging
import socket

from pyliteflux import Router, Server

logging.getLogger("pyliteflux").addHandler(logging.NullHandler())  # A warning is on purpose.

COUNT = 200
PADDING = "x" * 64 * 1024  # 13 MB in all: more than the kernel keeps for a client.


def number_of(line):
    return json.loads(line)["data"]["number"]


def read_at_last(stream, count):
    """Return the numbers that the slow client finds; None if it was cut off."""
    try:
        return [number_of(stream.readline()) for _ in range(count)]
    except OSError:
        return None


def run(policy):
    """Return what the slow client got, and how many messages were dropped."""
    router = Router()
    router.register("hello", protocol="tcp")(lambda request: "hello")
    server = Server(router, http_port=0, tcp_port=0, info=False, tcp_keep_alive=True)
    server.config.update(slow_client_policy=policy, tcp_send_limit=256 * 1024)
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
                assert number_of(fast_lines.readline()) == number
            dropped = server.stats["push_dropped"]
            return read_at_last(slow_lines, COUNT - dropped), dropped


print(f"the fast client got all {COUNT}, in order, under every policy; the slow one:")
for policy in ("disconnect", "drop_oldest", "drop_newest", "latest"):
    got, dropped = run(policy)
    if got is None:
        print(f"    {policy:12} was reset")
        continue
    assert got == sorted(set(got))
    print(
        f"    {policy:12} got the first: {got[0] == 0}, the last: {got[-1] == COUNT - 1},",
        f"missed some: {dropped > 0}",
    )
