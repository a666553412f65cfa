"""PyLiteFlux, both protocols. Variant `inline` promises that no handler blocks."""

import sys
import threading

from pyliteflux import Router, Server

from . import announce

BLOCKING = "inline" not in sys.argv[1:]

router = Router()


@router.register("/hello", blocking=BLOCKING)
def hello(request):
    return {"message": "Hello, World!"}


@router.register("/user/{id}", blocking=BLOCKING)
def user(request):
    query = request.query_params
    return {"id": request.path_params["id"], "page": query["page"], "sort": query["sort"]}


@router.register("/echo", method="POST", blocking=BLOCKING)
def echo(request):
    return request.json_data


@router.register("echo", protocol="tcp", blocking=BLOCKING)
def tcp_echo(request):
    return request.data


@router.register("subscribe", protocol="tcp", blocking=BLOCKING)
def subscribe(request):
    return {"message": "subscribed"}


@router.register("broadcast", protocol="tcp", blocking=BLOCKING)
def broadcast(request):
    return {"count": server.push_message(request.data)}


server = Server(router=router, http_port=0, tcp_port=0, tcp_keep_alive=True, info=False)

if __name__ == "__main__":
    server.start()
    announce(server.http_address[1], server.tcp_address[1])
    threading.Event().wait()  # SIGTERM ends the process: nothing here is worth a goodbye.
