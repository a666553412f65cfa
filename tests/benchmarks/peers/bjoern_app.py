"""Falcon (WSGI) on bjoern (C, libev): one thread, handlers on the event loop."""

import os
import socket

import bjoern
import falcon

from . import FILE, LARGE, MIDDLEWARES, PIECES, announce


class Hello:
    def on_get(self, request, response):
        response.media = {"message": "Hello, World!"}


class User:
    def on_get(self, request, response, id):
        response.media = {"id": id}


class Search:
    def on_get(self, request, response):
        response.media = {"q": request.get_param("q"), "page": request.get_param("page")}


class Echo:
    def on_post(self, request, response):
        response.media = request.get_media()


class Large:
    def on_get(self, request, response):
        response.content_type = falcon.MEDIA_TEXT
        response.data = LARGE


class Stream:
    def on_get(self, request, response):
        response.content_type = falcon.MEDIA_TEXT
        response.stream = iter(PIECES)


class File:
    def on_get(self, request, response):
        # Falcon hands it to the server's wsgi.file_wrapper; the server closes it.
        response.set_stream(open(FILE, "rb"), os.path.getsize(FILE))


class AddField:
    def __init__(self, name):
        self.name = name

    def process_response(self, request, response, resource, succeeded):
        response.set_header(self.name, "1")


if __name__ == "__main__":
    app = falcon.App(
        middleware=[AddField(f"x-middleware-{number + 1}") for number in range(MIDDLEWARES)]
    )
    app.add_route("/hello", Hello())
    app.add_route("/user/{id}", User())
    app.add_route("/search", Search())
    app.add_route("/echo", Echo())
    app.add_route("/large", Large())
    app.add_route("/stream", Stream())
    app.add_route("/file", File())
    listener = bjoern.listen(app, "127.0.0.1", 0)
    # Its connections inherit this. Without it each chunk of a stream waits for Nagle's algorithm.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    announce(listener.getsockname()[1])
    bjoern.run()
