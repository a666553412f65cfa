"""Background tasks: held while the handler runs, dropped where it fails, refused when too many."""

import http.client
import logging
import threading

from pyliteflux import HTTPError, Router, Server

logging.getLogger("pyliteflux").addHandler(logging.NullHandler())
logging.getLogger("pyliteflux").propagate = False
router = Router()
go = threading.Event()
kept = []


def work(number):
    go.wait(10)
    return number * number


@router.post("/orders")
def orders(request):
    task = request.bg.add(work, 7)
    kept.append(task)
    return {"while the handler runs": task.state}


@router.post("/broken")
def broken(request):
    kept.append(request.bg.add(work, 7))
    raise HTTPError(409, "sold out")


@router.post("/flood")
def flood(request):
    for number in range(100):
        request.bg.add(work, number)
    return "never reached"


with Server(router, http_port=0, tcp_port=0, info=False, task_queue_limit=20) as server:
    connection = http.client.HTTPConnection(*server.http_address, timeout=10)

    def post(path):
        connection.request("POST", path)
        response = connection.getresponse()
        print(path, response.status, response.read().decode())

    post("/orders")  # Answered, although the task cannot end yet.
    print("the answer is here, its task has ended:", str(kept[0].state) == "done")
    go.set()
    print("its result:", kept[0].result(timeout=10), "and state:", kept[0].state)
    post("/broken")
    print("its task:", kept[1].state)
    post("/flood")
    print(server.tasks)
    connection.close()
