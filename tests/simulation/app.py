"""The application of a simulated world, and the book that it keeps.

The rule: whatever must happen exactly once is counted here, by the code of the user that it
happens to: a generator's end, `on_finish`, who is in a handler.

Chapter: docs/simulation.md.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pyliteflux import EventStream, HTTPError, HTTPJSONResponse, Router, StreamResponse
from tests.simulation.model import fill
from tests.simulation.threads import Threads


class OnPurpose(Exception):
    """What handlers raise: the log may show it."""


class Rude(BaseException):
    """What handlers raise who know no better: `except Exception` does not hold it."""


# What one connection may have handled between two sleeps of the reactor: a share when it is read,
# one that was put off, one when its answers are flushed. More would grow with what it sends. A
# share is 16, but the simulated clock says before that its time is over.
FAIR_SHARE = 3 * 14


class Ledger:
    """What happened in the user's code."""

    def __init__(self) -> None:
        self.opened: Counter[int] = Counter()  # Generators, by the number of their request.
        self.closed: Counter[int] = Counter()
        self.entered: Counter[str] = Counter()  # Requests seen by the middleware, by their id.
        self.finished: Counter[str] = Counter()
        self.handling: Counter[str] = Counter()  # Handlers at work, by client.
        # Long-lived clients: let in by on_connect, refused by it, gone by on_disconnect.
        self.admitted: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.left: Counter[str] = Counter()
        self.faults: list[tuple[str, str]] = []  # Invariant, what.
        self.events_begun: Counter[int] = Counter()
        self.events_gone: Counter[int] = Counter()  # on_close of event streams.
        self.in_turn: Counter[str] = Counter()  # Handled since the reactor last slept, by client.


class Witness:
    """A middleware: every request comes by once, and is finished once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def process_request(self, request: Any) -> None:
        self._ledger.entered[request.request_id] += 1

    def on_finish(self, request: Any) -> None:
        self._ledger.finished[request.request_id] += 1
        if self._ledger.finished[request.request_id] > 1:
            self._ledger.faults.append(("finish", f"on_finish came twice for {request!r}"))


class App:
    """The handlers. threads: whose simulated time they sleep in; `start_thread` for senders."""

    def __init__(self, threads: Threads, ledger: Ledger) -> None:
        self._threads = threads
        self._ledger = ledger
        self.router = Router()
        self._add_http(self.router)
        self._add_tcp(self.router)

    # --- what handlers share

    def _work(self, request: Any, seconds: float = 0) -> None:
        """Take a while; a client has one handler at a time (its answers keep their order)."""
        handling = self._ledger.handling
        client = f"{request.protocol} {request.client_id}"
        handling[client] += 1
        if handling[client] > 1:
            self._ledger.faults.append(("one at a time", f"two handlers for {client}"))
        self._threads.point()
        if seconds:
            self._threads.sleep(seconds)
        handling[client] -= 1

    def _count(self, request: Any) -> None:
        """A handler on the reactor thread: nobody gets more of a turn than a share."""
        in_turn, client = self._ledger.in_turn, f"{request.protocol} {request.client_id}"
        in_turn[client] += 1
        if in_turn[client] > FAIR_SHARE:
            self._ledger.faults.append(("fairness", f"{client} has a turn for itself"))

    def _pieces(self, number: int, count: int, size: int, fails: bool) -> Iterator[bytes]:
        """A generator that is closed once, by nobody else while it runs."""
        self._ledger.opened[number] += 1
        whole = fill(number, count * size)
        try:
            for index in range(count):
                self._threads.point()
                yield whole[index * size : (index + 1) * size]
            if fails:
                raise OnPurpose("the stream fails")
        finally:
            self._ledger.closed[number] += 1

    def _send_events(self, stream: EventStream, number: int, count: int) -> None:
        """A thread that sends events to a browser, and ends the stream."""
        for index in range(count):
            if index % 4 == 3:
                self._threads.sleep(0.7)
            self._threads.point()
            if not stream.send(f"{number}:{index}"):
                break
        stream.close()

    # --- the hooks

    def add_hooks(self, server: Any, refuses: bool) -> None:
        """Register what hears of clients; refuses: one in four is not let in."""
        ledger = self._ledger

        @server.on_connect
        def connected(client: Any) -> bool:
            self._threads.point()
            if client.address[1] % 5 == 0:
                self._threads.sleep(0.4)
            is_refused = refuses and client.address[1] % 4 == 0
            (ledger.refused if is_refused else ledger.admitted)[client.client_id] += 1
            return not is_refused

        @server.on_disconnect
        def left(client: Any, reason: Any) -> None:
            self._threads.point()
            ledger.left[client.client_id] += 1
            if not ledger.admitted[client.client_id]:
                ledger.faults.append(("finish", f"{client!r} has left before it was let in"))

    # --- the routes

    def _add_http(self, router: Router) -> None:
        ledger = self._ledger

        @router.register("/get/{n:int}")
        def get(request: Any) -> dict[str, Any]:
            self._work(request)
            return {"n": request.path_params["n"]}

        @router.register("/now/{n:int}", blocking=False)
        def now(request: Any) -> dict[str, Any]:
            self._count(request)
            return {"n": request.path_params["n"]}

        @router.register("/slow/{n:int}")
        def slow(request: Any) -> dict[str, Any]:
            number = request.path_params["n"]
            self._work(request, (0.001, 0.3, 2.0)[number % 3])
            return {"n": number}

        @router.register("/post/{n:int}", "POST")
        def post(request: Any) -> dict[str, Any]:
            self._work(request)
            body = request.body
            return {"n": request.path_params["n"], "size": len(body), "sum": zlib.crc32(body)}

        @router.register("/upload/{n:int}", "POST", stream=True)
        def upload(request: Any) -> dict[str, Any]:
            self._work(request)
            size = total = 0
            for piece in request.stream:
                self._threads.point()
                size += len(piece)
                total = zlib.crc32(piece, total)
            return {"n": request.path_params["n"], "size": size, "sum": total}

        @router.register("/big/{n:int}")
        def big(request: Any) -> bytes:
            self._work(request)
            return fill(request.path_params["n"], int(request.query_params["size"]))

        @router.register("/stream/{n:int}")
        def stream(request: Any) -> StreamResponse:
            self._work(request)
            query, number = request.query_params, request.path_params["n"]
            count, size = int(query["count"]), int(query["size"])
            headers = {"Content-Length": str(count * size)} if "length" in query else None
            pieces = self._pieces(number, count, size, "fails" in query)
            return StreamResponse(pieces, "application/octet-stream", headers)

        @router.register("/generator/{n:int}")
        def generator(request: Any) -> Iterator[bytes]:
            query = request.query_params
            fails = query["fails"] == "1"
            return self._pieces(request.path_params["n"], int(query["count"]), 50, fails)

        @router.register("/sized/{n:int}", "HEAD")
        def sized(request: Any) -> Any:
            return b"", 200, {"Content-Length": str(100 * request.path_params["n"])}

        @router.register("/layered/{n:int}")
        def layered(request: Any) -> Any:
            number = request.path_params["n"]
            value = {"n": number, "fill": fill(number, 800).decode()}
            response = HTTPJSONResponse(value, headers={"Content-Disposition": "attachment"})
            return response, 200, [("Vary", "Cookie"), ("Content-Disposition", "inline")]

        @router.register("/rude/{n:int}", blocking=False)
        def rude(request: Any) -> None:
            raise Rude

        @router.register("/events/{n:int}")
        def events(request: Any) -> EventStream:
            number = request.path_params["n"]
            ledger.events_begun[number] += 1
            stream = EventStream(on_close=lambda: ledger.events_gone.update([number]))
            count = int(request.query_params["count"])
            self._threads.start(f"sender {number}", self._send_events, stream, number, count)
            return stream

        @router.register("/listen/{n:int}")
        def listen(request: Any) -> EventStream:
            number = request.path_params["n"]
            ledger.events_begun[number] += 1
            return EventStream(
                request.query_params["topic"],
                on_close=lambda: ledger.events_gone.update([number]),
            )

        @router.register("/failing/{n:int}")
        def failing(request: Any) -> None:
            self._work(request)
            raise OnPurpose("the handler fails")

        @router.register("/teapot/{n:int}")
        def teapot(request: Any) -> None:
            raise HTTPError(418, {"n": request.path_params["n"]})

    def _add_tcp(self, router: Router) -> None:
        @router.register("echo", protocol="tcp")
        def echo(request: Any) -> Any:
            self._work(request)
            return request.data

        @router.register("now", protocol="tcp", blocking=False)
        def now(request: Any) -> Any:
            self._count(request)
            return request.data

        @router.register("rude", protocol="tcp", blocking=False)
        def rude(request: Any) -> None:
            raise Rude

        @router.register("never", protocol="tcp", blocking=False)
        def never(request: Any) -> None:
            self._ledger.faults.append(("silence", "the body of an HTTP request was run"))

        @router.register("slow", protocol="tcp")
        def slow(request: Any) -> Any:
            self._work(request, (0.001, 0.3, 2.0)[len(request.data) % 3])
            return request.data

        @router.register("large", protocol="tcp")
        def large(request: Any) -> str:
            number, size = numbers_in(request.data, 2)
            return fill(number, size).decode()

        @router.register("items", protocol="tcp")
        def items(request: Any) -> Iterator[str]:
            number, count, size = numbers_in(request.data, 3)

            def produce() -> Iterator[str]:
                self._ledger.opened[number] += 1
                try:
                    for index in range(count):
                        self._threads.point()
                        yield fill(number + index, size).decode()
                finally:
                    self._ledger.closed[number] += 1

            return produce()

        @router.register("failing", protocol="tcp")
        def failing(request: Any) -> None:
            raise OnPurpose("the handler fails")


def numbers_in(text: str, expected: int) -> list[int]:
    """Return the numbers that a message names; of one that was cut short none can be read."""
    parts = text.split(":")
    if len(parts) != expected or not all(part.isdigit() for part in parts):
        raise OnPurpose("the message was cut short")
    return [int(part) for part in parts]
