"""Fifty handlers block at the same moment, and nobody else notices."""

import threading
import time
import urllib.request

from pyliteflux import Router, Server

router = Router()
everybody_is_here = threading.Barrier(51)  # Passed when 51 threads wait at it, not before.


@router.register("/wait")
def wait(request):
    everybody_is_here.wait(10)
    return {"waited": True}


@router.register("/hello")
def hello(request):
    return {"blocked meanwhile": everybody_is_here.n_waiting}


def ask(path):
    host, port = server.http_address
    with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=10) as answer:
        answers.append(path)
        return answer.read().decode()


answers = []
with Server(router, http_port=0, tcp_port=0, info=False) as server:
    clients = [threading.Thread(target=ask, args=["/wait"]) for _ in range(50)]
    for client in clients:
        client.start()
    while everybody_is_here.n_waiting < 50:
        time.sleep(0.01)
    print("/hello:", ask("/hello"))
    everybody_is_here.wait(10)
    for client in clients:
        client.join()
print("/wait: ", answers.count("/wait"), "answers")
