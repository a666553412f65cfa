"""The other end of the wire: blocking, thread-safe, and ignorant of how a server works.

`TCPClient` is what a program uses; `python -m pyliteflux call` and `listen` stand on it.

Chapter: docs/client.md.
"""

from ..errors import CallError, ConnectionLost
from .events import Event, Push, Subscription
from .link import Backoff
from .tcp_client import TCPClient

__all__ = [
    "Backoff",
    "CallError",
    "ConnectionLost",
    "Event",
    "Push",
    "Subscription",
    "TCPClient",
]
