"""A graceful stop: nobody new, and everybody who was promised an answer gets it."""

import http.client
import socket
import threading

from pyliteflux import Router, Server

router = Router()
at_work, release = threading.Event(), threading.Event()


@router.register("/work")
def work(request):
    at_work.set()
    release.wait(10)
    return {"finished": True}


server = Server(router, http_port=0, tcp_port=0, info=False).start()
address = server.http_address
client = http.client.HTTPConnection(*address, timeout=10)
client.request("GET", "/work")
at_work.wait(10)

stopping = threading.Thread(target=server.stop)  # It waits for the end, so not here.
stopping.start()
refused = False
while not refused:
    try:
        socket.create_connection(address, timeout=10).close()
    except OSError:
        refused = True
print("a new client:       refused")

release.set()
answer = client.getresponse()
print("the one at work:   ", answer.status, answer.read().decode())
print("and its connection:", answer.getheader("Connection"))
client.close()
stopping.join(10)
print("the server:        ", "running" if server.is_running else "stopped")
