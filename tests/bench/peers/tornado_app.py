"""Tornado on its own server, handlers on the event loop."""

import asyncio
import json
import logging

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from . import announce


class Hello(RequestHandler):
    def get(self):
        self.write({"message": "Hello, World!"})


class User(RequestHandler):
    def get(self, id):
        self.write({"id": id, "page": self.get_argument("page"), "sort": self.get_argument("sort")})


class Echo(RequestHandler):
    def post(self):
        self.write(json.loads(self.request.body))


async def main():
    sockets = bind_sockets(0, "127.0.0.1", backlog=1024)
    routes = [("/hello", Hello), ("/user/([^/]+)", User), ("/echo", Echo)]
    HTTPServer(Application(routes)).add_sockets(sockets)
    announce(sockets[0].getsockname()[1])
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.getLogger("tornado.access").disabled = True
    asyncio.run(main())
