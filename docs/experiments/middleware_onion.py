"""Three middlewares around one handler: who is called, when, and with what."""

import http.client
import logging
import threading

from pyliteflux import HTTPError, Middleware, Router, Server

logging.getLogger("pyliteflux").addHandler(logging.NullHandler())
logging.getLogger("pyliteflux").propagate = False  # The tracebacks are not what we look at here.
calls = []
is_over = threading.Event()


class Layer(Middleware):
    def __init__(self, name):
        self.name = name

    def process_request(self, request):
        calls.append(f"{self.name}.process_request")
        if self.name == "B" and request.path == "/answered":
            return {"answer": "of B"}
        if self.name == "B" and request.path == "/refused":
            raise HTTPError(403, "not you")

    def process_response(self, request, response):
        calls.append(f"{self.name}.process_response {request.response_status} {response}")
        return response

    def on_finish(self, request):
        calls.append(f"{self.name}.on_finish")
        if self.name == "A":
            is_over.set()


router = Router()


@router.get("/hello")
@router.get("/answered")
@router.get("/refused")
def hello(request):
    calls.append("    handler")
    return {"hello": "world"}, 201


@router.get("/broken")
def broken(request):
    calls.append("    handler")
    return 1 / 0


@router.get("/stream")
def stream(request):
    def lines():
        for number in (1, 2):
            calls.append(f"    the stream yields {number}")
            yield f"{number}\n"

    calls.append("    handler")
    return lines()


server = Server(router, http_port=0, tcp_port=0, info=False)
for name in "ABC":
    server.add_middleware(Layer(name))

with server:
    for path in ("/hello", "/answered", "/refused", "/broken", "/nowhere", "/stream"):
        calls.clear()
        is_over.clear()
        connection = http.client.HTTPConnection(*server.http_address, timeout=10)
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        connection.close()
        is_over.wait(10)
        print(f"{path} -> {response.status}")
        for call in calls:
            # Two things differ at each run: a request's id, an object's address.
            call = call.partition(", 'request_id'")[0].partition(" <generator")[0]
            print("   ", call)
