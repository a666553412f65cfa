"""A client whose server goes away: what came, what is told, and what a call in between says."""

import threading

from pyliteflux import Router, Server
from pyliteflux.client import TCPClient
from pyliteflux.errors import ConnectionLost

handling, release = threading.Event(), threading.Event()
connected = threading.Semaphore(0)


def make_server(port=0):
    router = Router()
    server = Server(router, http_port=0, tcp_port=port, info=False, tcp_keep_alive=True)
    server.allow_subscribe("news")
    server.topic("news", presence=True)
    server.on_join(lambda topic, client_id: connected.release())

    @router.register("slow", protocol="tcp")
    def slow(request):
        handling.set()
        release.wait(10)
        return "done"

    return server


def publish(server, *messages):
    for message in messages:
        server.publish("news", message)


def show(count):
    """Print what comes next, until so many pushes have come."""
    while count:
        item = client.next_event(timeout=10)
        if item.type == "push":
            count -= 1
            print("    push:", item.data)
        elif item.type != "connected":
            print("   ", item.type + ":", item)


def call_slow():
    try:
        client.call("slow")
    except ConnectionLost as lost:
        print("the call:", lost.may_have_run and "it may have run, or not: nobody knows")


server = make_server().start()
port = server.tcp_address[1]
client = TCPClient("127.0.0.1", port)
client.subscribe("news")
print("a connection that breaks, with a call on its way")
publish(server, "one")
caller = threading.Thread(target=call_slow)
caller.start()
handling.wait(10)
for client_id in server.clients:
    server.disconnect(client_id, "an experiment")
publish(server, "two, while it was away")
caller.join()
release.set()
show(2)

print("a stop and a start of the same server")
server.stop()
server.start(tcp_port=port)
publish(server, "three")
show(1)

print("another process, which knows nothing of the first")
server.stop()
for _ in range(3):
    connected.acquire(timeout=10)
server = make_server(port).start()
connected.acquire(timeout=10)
publish(server, "four")
show(1)
client.close()
server.stop()
