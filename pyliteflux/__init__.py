"""PyLiteFlux: an HTTP/1.1 and TCP server in pure Python, to run and to read.

The map: three rooms that do not know each other (reactor, protocol, app), one that joins them for
each connection, one that puts a whole run together, and a ground that everybody stands on.

::

    server/      one run: Server, ports, connections, pools, the stop
    channels/    conversations: one object per connection joins reactor, protocol and app
    push/        who hears what: clients, topics, acks
    extras/      what a user could have written: middlewares, files
    reactor/     the loop, timers, the self-pipe, sockets, worker threads
    protocol/    bytes to meaning, without I/O: HTTP/1.1; line, JSON, XML messages
    app/         routes, requests, responses, middlewares, `g`, background tasks
    client/      beside them: the other end of a TCP connection, for programs and the shell
    errors, config, headers, endpoint, jsontext, xmltext, log, word ...: the ground

Begin with docs/README.md. Chapter: docs/architecture.md.
"""

from sys import version_info as _python

# The modules below cannot even be read by an older one: this file must be, by any of them.
if _python < (3, 10):  # noqa: UP036
    raise ImportError(
        "PyLiteFlux needs Python 3.10 or newer, and this is %d.%d" % _python[:2]  # noqa: UP031
    )

from .app.background import BackgroundTask, TaskQueue
from .app.context import g
from .app.events import EventStream
from .app.middleware import ContextMiddleware, Middleware, MiddlewareManager
from .app.request import HTTPRequest, TCPRequest
from .app.response import (
    HTMLResponse,
    HTTPJSONResponse,
    HTTPResponse,
    RedirectResponse,
    StreamResponse,
)
from .app.route import Route
from .app.routing import Router
from .config import Config
from .errors import (
    BadMessage,
    ConfigError,
    FrameTooLong,
    HTTPError,
    PoolFull,
    ProtocolError,
    PyLiteFluxError,
    RouteError,
)
from .extras.auth import BasicAuthMiddleware
from .extras.compression import GzipMiddleware
from .extras.cors import CORSMiddleware
from .extras.files import FileResponse
from .extras.proxy import ProxyHeadersMiddleware
from .extras.timing import TimingMiddleware
from .logger import Logger
from .no_answer import NO_ANSWER
from .protocol.frame import Frame
from .protocol.framers import BufferedFramer, Framer, LengthFramer
from .server.server import Server

__version__ = "1.0.0.dev0"

HTTPStreamResponse = StreamResponse  # Its name in 0.1.2.

__all__ = [
    "BackgroundTask",
    "BadMessage",
    "BasicAuthMiddleware",
    "BufferedFramer",
    "CORSMiddleware",
    "Config",
    "ConfigError",
    "ContextMiddleware",
    "EventStream",
    "FileResponse",
    "Frame",
    "FrameTooLong",
    "Framer",
    "GzipMiddleware",
    "HTMLResponse",
    "HTTPError",
    "HTTPJSONResponse",
    "HTTPRequest",
    "HTTPResponse",
    "HTTPStreamResponse",
    "LengthFramer",
    "Logger",
    "Middleware",
    "MiddlewareManager",
    "NO_ANSWER",
    "PoolFull",
    "ProtocolError",
    "ProxyHeadersMiddleware",
    "PyLiteFluxError",
    "RedirectResponse",
    "Route",
    "RouteError",
    "Router",
    "Server",
    "StreamResponse",
    "TCPRequest",
    "TaskQueue",
    "TimingMiddleware",
    "g",
]
