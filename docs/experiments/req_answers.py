"""What a handler may return, and what may go wrong."""

import logging

from _req_client import ask

from pyliteflux import HTMLResponse, HTTPError, HTTPJSONResponse, Router, Server

logging.getLogger("pyliteflux").addHandler(logging.NullHandler())  # Two errors are on purpose.
router = Router()
server = Server(router, http_port=0, tcp_port=0, info=False)

VALUES = {
    "dict": lambda: {"name": "数据"},
    "bool": lambda: True,
    "none": lambda: None,
    "text": lambda: "plain",
    "bytes": lambda: b"%PDF",
    "status": lambda: ({"queued": 3}, 202),
    "fields": lambda: ("a,b", 200, {"Content-Type": "text/csv"}),
    "html": lambda: HTMLResponse("<h1>Hello</h1>"),
    "json": lambda: HTTPJSONResponse([1], status=201, headers={"Location": "/things/1"}),
    "set": lambda: {1, 2},
}


@router.get("/values/{name}")
def values(request):
    return VALUES[request.path_params["name"]]()


@router.get("/count")
def count(request):
    for number in range(3):
        yield f"{number} "


class OutOfStock(Exception):
    """Of the shop, which knows nothing of HTTP."""


@router.get("/buy/{thing}")
def buy(request):
    thing = request.path_params["thing"]
    if thing == "nothing":
        raise HTTPError(422, {"error": "invalid", "fields": ["thing"]})
    raise OutOfStock(thing)


@server.error(OutOfStock)
def out_of_stock(request, error):
    return {"error": f"no {error} left"}, 409


@server.error(404)
def not_found(request, error):
    return HTMLResponse(f"<h1>{error.status}</h1>", status=404)


with server:
    for name in VALUES:
        ask(server, "GET", f"/values/{name}", show=["Content-Type"])
    ask(server, "GET", "/count", show=["Transfer-Encoding"])
    ask(server, "GET", "/values/unknown")
    ask(server, "GET", "/buy/tea")
    ask(server, "GET", "/buy/nothing")
    ask(server, "GET", "/nowhere", show=["Content-Type"])
