"""Tornado on its own server, handlers on the event loop."""

import asyncio
import json
import logging
import os

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler, StaticFileHandler

from . import FILE, LARGE, PIECES, announce


class Hello(RequestHandler):
    def get(self):
        self.write({"message": "Hello, World!"})


class User(RequestHandler):
    def get(self, id):
        self.write({"id": id})


class Search(RequestHandler):
    def get(self):
        self.write({"q": self.get_argument("q"), "page": self.get_argument("page")})


class Echo(RequestHandler):
    def post(self):
        self.write(json.loads(self.request.body))


class Large(RequestHandler):
    def get(self):
        self.set_header("Content-Type", "text/plain")
        self.write(LARGE)


class Stream(RequestHandler):
    async def get(self):
        self.set_header("Content-Type", "text/plain")
        for piece in PIECES:
            self.write(piece)
            await self.flush()


class File(StaticFileHandler):
    def get(self):
        return super().get(os.path.basename(FILE))


async def main():
    sockets = bind_sockets(0, "127.0.0.1", backlog=1024)
    routes = [("/hello", Hello), ("/user/([^/]+)", User), ("/search", Search), ("/echo", Echo)]
    routes += [("/large", Large), ("/stream", Stream)]
    if FILE:
        routes.append(("/file", File, {"path": os.path.dirname(FILE)}))
    HTTPServer(Application(routes)).add_sockets(sockets)
    announce(sockets[0].getsockname()[1])
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.getLogger("tornado.access").disabled = True
    asyncio.run(main())
