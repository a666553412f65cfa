"""Falcon (WSGI) on bjoern (C, libev): one thread, handlers on the event loop."""

import bjoern
import falcon

from . import announce


class Hello:
    def on_get(self, request, response):
        response.media = {"message": "Hello, World!"}


class User:
    def on_get(self, request, response, id):
        response.media = {
            "id": id,
            "page": request.get_param("page"),
            "sort": request.get_param("sort"),
        }


class Echo:
    def on_post(self, request, response):
        response.media = request.get_media()


if __name__ == "__main__":
    app = falcon.App()
    app.add_route("/hello", Hello())
    app.add_route("/user/{id}", User())
    app.add_route("/echo", Echo())
    announce(bjoern.listen(app, "127.0.0.1", 0).getsockname()[1])
    bjoern.run()
