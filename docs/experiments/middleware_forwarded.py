"""X-Forwarded-For: what a client writes, what a proxy adds, and who is believed."""

import http.client

from pyliteflux import ProxyHeadersMiddleware, Router, Server


def address_seen(server, forwarded_for):
    connection = http.client.HTTPConnection(*server.http_address, timeout=10)
    connection.request("GET", "/", headers={"X-Forwarded-For": forwarded_for})
    address = connection.getresponse().read().decode()
    connection.close()
    return address


def naive(request):
    """What is found in a thousand programs, and wrong: the leftmost is the client's own word."""
    return request.headers["X-Forwarded-For"].split(",")[0]


def right(request):
    return request.client_address[0]


# We are the "proxy" here, so the peer's address is 127.0.0.1. The client sits at 203.0.113.7
# and lies: it sends "X-Forwarded-For: 10.0.0.1". The proxy appends the address it sees.
claims = "10.0.0.1, 203.0.113.7"

for text, handler, trusted in (
    ("the leftmost address", naive, ["127.0.0.1"]),
    ("the middleware, the proxy is trusted", right, ["127.0.0.1"]),
    ("the middleware, another proxy is trusted", right, ["192.0.2.1"]),
    ("the middleware, everybody is trusted", right, ["0.0.0.0/0"]),
):
    router = Router()
    router.get("/")(handler)
    server = Server(router, http_port=0, tcp_port=0, info=False)
    server.add_middleware(ProxyHeadersMiddleware(trusted=trusted))
    with server:
        print(f"{text:42}", address_seen(server, claims))
