"""How long the server took, told to the browser's own tools: the Server-Timing field.

Chapter: docs/middleware.md.
"""

from __future__ import annotations

import time
from typing import Any

from ..app.middleware import Middleware
from ..app.request import Request
from ..app.values import fields_of


class TimingMiddleware(Middleware):
    """Add Server-Timing to every answer, in milliseconds (W3C Server Timing).

    "wait" is from the arrival of the whole request to its turn on a thread; "app" from there
    until the answer is known: the handler and the middlewares added after this one. Of a
    stream that is before its first piece. Values of the handler's own are kept beside them.

    Anyone can read it who can read the answer: how long a check took may be a secret.
    """

    def process_request(self, request: Request) -> Any:
        """Remember when."""
        request.__dict__["_timing_began"] = time.monotonic()
        return None

    def process_response(self, request: Request, response: Any) -> Any:
        """Add the field."""
        if request.protocol != "http":
            return response
        began = request.__dict__["_timing_began"]
        app = (time.monotonic() - began) * 1000
        # Both are 0 at least: the reactor notes the time once a turn.
        wait = max(0.0, began - request.started) * 1000
        fields_of(request, response).add("Server-Timing", f"wait;dur={wait:.2f}, app;dur={app:.2f}")
        return response
