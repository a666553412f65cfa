"""One client's life: admitted, acknowledging, silent, cut; and one that is refused."""

import json
import queue
import socket

from pyliteflux import Router, Server

router = Router()
server = Server(router, http_port=0, tcp_port=0, info=False, tcp_keep_alive=True)
server.config.tcp_ping_interval = 0.2
banned = set()
left = queue.Queue()


@server.on_connect
def on_connect(client):
    if client.client_id in banned:
        return False
    client.push("welcome")


@server.on_disconnect
def on_disconnect(client, reason):
    left.put(f"{reason.name}: {reason.value}")


router.register("hello", protocol="tcp")(lambda request: {"hello": "you"})


def connect(is_banned=False):
    client = socket.socket()
    client.settimeout(10)
    client.bind(("127.0.0.1", 0))
    host, port = client.getsockname()
    if is_banned:
        banned.add(f"{host}:{port}")
    client.connect(server.tcp_address)
    return client, client.makefile("r"), f"{host}:{port}"


def show(lines):
    line = lines.readline().strip()
    print("    <", line)
    return json.loads(line)


with server:
    client, lines, client_id = connect()
    with client, lines:
        show(lines)
        client.sendall(b'{"command": "hello"}\n')
        show(lines)

        ack = server.push_message({"open": "door"}, client_id, ack=True)
        message = show(lines)
        client.sendall(json.dumps({"ack": message["ack"], "data": "opened"}).encode() + b"\n")
        print("acknowledged:", ack.wait(10), ack.reply)

        print("the client falls silent")
        show(lines)
        client.sendall(b'{"pong": true}\n')
        print("it answers once, and not again")
        show(lines)
        show(lines)
    print("on_disconnect:", left.get(timeout=10))

    client, lines, client_id = connect(is_banned=True)
    with client, lines:
        print("a banned one")
        show(lines)
    print("clients:", len(server.clients), "; on_disconnect was called for it:", not left.empty())
