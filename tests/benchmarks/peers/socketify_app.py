"""socketify (C++, uWebSockets), its own application interface, handlers on the event loop."""

import json

from socketify import App, AppListenOptions

from . import LARGE, PIECES, announce


def hello(response, request):
    response.end({"message": "Hello, World!"})


def user(response, request):
    response.end({"id": request.get_parameter(0)})


def search(response, request):
    response.end({"q": request.get_query("q"), "page": request.get_query("page")})


def echo(response, request):
    # Not `await response.get_json()`: under load that ends the process, with an abort in C++.
    pieces = []

    def take(response, piece, is_end):
        pieces.append(piece or b"")
        if is_end:
            response.end(json.loads(b"".join(pieces)))

    response.on_data(take)


def large(response, request):
    response.write_header("Content-Type", "text/plain").end(LARGE)


def stream(response, request):
    response.write_header("Content-Type", "text/plain")
    for piece in PIECES:
        response.write(piece)
    response.end("")


def not_found(response, request):
    response.write_status(404).end({"error": "Not Found"})


if __name__ == "__main__":
    app = App()
    app.get("/hello", hello)
    app.get("/user/:id", user)
    app.get("/search", search)
    app.post("/echo", echo)
    app.get("/large", large)
    app.get("/stream", stream)
    app.any("/*", not_found)
    app.listen(AppListenOptions(port=0, host="127.0.0.1"), lambda config: announce(config.port))
    app.run()
