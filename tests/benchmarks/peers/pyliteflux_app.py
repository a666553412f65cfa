"""PyLiteFlux, both protocols. Variant `inline` promises that no handler blocks."""

import sys
import threading

from pyliteflux import FileResponse, HTTPResponse, Middleware, Router, Server, StreamResponse

from . import FILE, LARGE, MIDDLEWARES, MOST_CONNECTIONS, PIECES, announce

BLOCKING = "inline" not in sys.argv[1:]

router = Router()


@router.register("/hello", blocking=BLOCKING)
def hello(request):
    return {"message": "Hello, World!"}


@router.register("/user/{id}", blocking=BLOCKING)
def user(request):
    return {"id": request.path_params["id"]}


@router.register("/search", blocking=BLOCKING)
def search(request):
    query = request.query_params
    return {"q": query["q"], "page": query["page"]}


@router.register("/echo", method="POST", blocking=BLOCKING)
def echo(request):
    return request.json_data


@router.register("/large", blocking=BLOCKING)
def large(request):
    return HTTPResponse(LARGE, content_type="text/plain")


@router.register("/stream", blocking=BLOCKING)
def stream(request):
    return StreamResponse(iter(PIECES))


@router.register("/file", blocking=BLOCKING)
def file(request):
    return FileResponse(FILE)


@router.register("echo", protocol="tcp", blocking=BLOCKING)
def tcp_echo(request):
    return request.data


@router.register("subscribe", protocol="tcp", blocking=BLOCKING)
def subscribe(request):
    return {"message": "subscribed"}


@router.register("broadcast", protocol="tcp", blocking=BLOCKING)
def broadcast(request):
    return {"count": server.push_message(request.data)}


class AddField(Middleware):
    def __init__(self, name):
        self.name = name

    def process_response(self, request, response):
        request.response_headers = {**(request.response_headers or {}), self.name: "1"}
        return response


server = Server(
    router=router,
    http_port=0,
    tcp_port=0,
    tcp_keep_alive=True,
    info=False,
    max_connections=MOST_CONNECTIONS,  # At 10,000, the default, idle ones make room for new ones.
)
for number in range(MIDDLEWARES):
    server.add_middleware(AddField(f"x-middleware-{number + 1}"))

if __name__ == "__main__":
    server.start()
    announce(server.http_address[1], server.tcp_address[1])
    threading.Event().wait()  # SIGTERM ends the process: nothing here is worth a goodbye.
