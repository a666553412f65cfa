"""PyLiteFlux: an HTTP/1.1 and TCP server in pure Python, to run and to read.

The map: three rooms that do not know each other, one roof that joins them, and a ground
that everybody stands on.

::

    server/      the roof: Server, and one channel object per connection
    reactor/     room 1: the loop, timers, the self-pipe, sockets, worker threads
    protocol/    room 2: bytes to meaning, without I/O: HTTP/1.1; line, JSON, XML messages
    app/         room 3: routes, requests, responses, middlewares, `g`, background tasks
    client/      beside them: the other end of a TCP connection, for programs and the shell
    errors, config, headers, jsontext, log: the ground

Begin with docs/README.md. Chapter: docs/architecture.md.
"""

from .app.auth import BasicAuthMiddleware
from .app.background import BackgroundTask, TaskQueue
from .app.compression import GzipMiddleware
from .app.context import g
from .app.cors import CORSMiddleware
from .app.events import EventStream
from .app.files import FileResponse
from .app.middleware import ContextMiddleware, Middleware, MiddlewareManager
from .app.proxy import ProxyHeadersMiddleware
from .app.request import HTTPRequest, TCPRequest
from .app.response import (
    HTMLResponse,
    HTTPJSONResponse,
    HTTPResponse,
    RedirectResponse,
    StreamResponse,
)
from .app.routing import Route, Router
from .app.timing import TimingMiddleware
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
from .log import Logger
from .protocol.framers import BufferedFramer, Framer, LengthFramer
from .protocol.framing import Frame
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
