"""What one request costs, counted and not timed: calls, and what is left behind.

A clock says something else on every machine and at every hour. The number of calls that one
request makes does not, and it goes with the time: halve it, and the request costs about half.
So these bounds are the guard of docs/performance.md. They stand a little above what is
measured. A change that goes over one either has a reason, then the bound moves and the
reason stands in the commit, or has found a slower way.
"""

from __future__ import annotations

import gc
import sys
import unittest
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pyliteflux
from pyliteflux import Middleware, Router
from pyliteflux.app.values import fields_of
from tests.fakes import Peer, Simulation

PACKAGE = str(Path(pyliteflux.__file__).parent)
CLIENTS = 16  # In one turn, so that what a turn costs counts little.
WARM_UP = 60  # Requests of each: its notes are cut back, and the caches are filled.
MEASURED = 10


class Cost(NamedTuple):
    """Of one request: calls of our functions, and calls of C functions by them."""

    ours: float
    of_c: float
    names: str  # The functions, those that are called most first.


class Calls:
    """Counts the calls of one thread: `with Calls() as calls`."""

    def __init__(self) -> None:
        self.ours: Counter[str] = Counter()
        self.of_c = 0

    def __enter__(self) -> Calls:
        self._before = sys.getprofile()
        sys.setprofile(self._on_event)
        return self

    def __exit__(self, *_: Any) -> None:
        sys.setprofile(self._before)

    def _on_event(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if code.co_filename.startswith(PACKAGE):
            if event == "call":
                self.ours[f"{Path(code.co_filename).stem}.{code.co_name}"] += 1
            elif event == "c_call":
                self.of_c += 1


class World:
    """A simulated server with some clients that ask the same again and again."""

    def __init__(self, simulation: Simulation, is_http: bool, ask: Callable[[int], bytes]) -> None:
        self.simulation = simulation
        self._ask = ask
        self._asked = 0
        connect = simulation.http if is_http else simulation.tcp
        self._clients: list[Peer] = [connect() for _ in range(CLIENTS)]
        simulation.settle()

    def round(self, expected: bytes) -> None:
        """Let each client ask once, and see that it has its answer."""
        for client in self._clients:
            self._asked += 1
            client.send(self._ask(self._asked))
        self.simulation.settle()
        for client in self._clients:
            answer = client.take()
            assert answer.endswith(expected), answer

    def cost(self, expected: bytes) -> Cost:
        """Return what one of these requests costs."""
        for _ in range(WARM_UP):
            self.round(expected)
        with Calls() as calls:
            for _ in range(MEASURED):
                self.round(expected)
        count = MEASURED * CLIENTS
        names = [f"{number / count:6.2f} {name}" for name, number in calls.ours.most_common()]
        return Cost(sum(calls.ours.values()) / count, calls.of_c / count, "\n".join(names))


class Both(Middleware):
    """Looks at the request, adds a field to its answer."""

    def process_request(self, request: Any) -> None:
        pass

    def process_response(self, request: Any, response: Any) -> Any:
        fields_of(request, response)["X-Seen"] = "1"
        return response


def make_router() -> Router:
    router = Router()

    @router.register("/inline", blocking=False)
    @router.register("/pool")
    def hello(request: Any) -> Any:
        return {"message": "Hello, World!"}

    @router.register("/say/{name}", blocking=False)
    @router.register("/query", blocking=False)
    def parts(request: Any) -> Any:
        return {"message": request.query_params.get("m") or request.path_params["name"]}

    @router.register("/post", "POST", blocking=False)
    def post(request: Any) -> Any:
        return request.json_data

    @router.register("echo", protocol="tcp")
    @router.register("echo-inline", protocol="tcp", blocking=False)
    def echo(request: Any) -> Any:
        return request.data

    return router


def get(path: str) -> Callable[[int], bytes]:
    """Return a small GET, the same each time."""
    return lambda number: b"GET %b HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n" % path.encode()


def get_another(number: int) -> bytes:
    """Return a GET that nobody has sent before: what is cached of heads does not help."""
    return (
        b"GET /inline?page=%d HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
        b"Accept: */*\r\nCookie: session=%08x\r\n\r\n" % (number, number * 7919)
    )


def browse(number: int) -> bytes:
    """Return a browser's GET with its twelve fields, another query and cookie each time."""
    return BROWSER % (number, number * 7919)


BROWSER = (
    b"GET /inline?page=%d HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.7,zh-CN;q=0.3\r\nAccept-Encoding: gzip, deflate, br\r\n"
    b"Referer: http://127.0.0.1/shop/list?category=books\r\nConnection: keep-alive\r\n"
    b"Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n"
    b"Sec-Fetch-Site: same-origin\r\nCookie: theme=dark; session=%08x\r\n\r\n"
)


def post(number: int) -> bytes:
    """Return a POST of some JSON."""
    return (
        b"POST /post HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Type: application/json\r\n"
        b"Content-Length: 28\r\n\r\n" + MESSAGE
    )


def tell(command: str) -> Callable[[int], bytes]:
    """Return a JSON message."""
    return lambda number: b'{"command": "%b", "data": {"n": 1}}\n' % command.encode()


MESSAGE = b'{"message": "Hello, World!"}'
HELLO = b"\r\n\r\n" + MESSAGE
SAID = b'\r\n\r\n{"message": "me"}'
ECHO = b'{"n": 1}\n'


class CostOfARequest(unittest.TestCase):
    """The counts are the same on CPython 3.10 to 3.13; each bound leaves room for two or three."""

    def check(
        self,
        ask: Callable[[int], bytes],
        expected: bytes,
        ours: int,
        of_c: int,
        middlewares: int = 0,
    ) -> None:
        is_http = expected is not ECHO
        with Simulation(make_router(), tcp_keep_alive=True) as simulation:
            for _ in range(middlewares):
                simulation.server.add_middleware(Both())
            cost = World(simulation, is_http, ask).cost(expected)
        self.assertLessEqual(cost.ours, ours, f"calls of our functions\n{cost.names}")
        self.assertLessEqual(cost.of_c, of_c, "calls of C functions")

    def test_of_a_small_get_on_the_reactor(self) -> None:
        self.check(get("/inline"), HELLO, 33, 22)

    def test_of_a_small_get_on_the_pool(self) -> None:
        self.check(get("/pool"), HELLO, 34, 24)

    def test_of_a_get_with_a_head_that_was_never_seen(self) -> None:
        self.check(get_another, HELLO, 37, 35)

    def test_of_a_browsers_head_that_was_never_seen(self) -> None:
        self.check(browse, HELLO, 38, 38)

    def test_of_a_path_parameter(self) -> None:
        self.check(get("/say/me"), SAID, 39, 29)

    def test_of_a_query(self) -> None:
        self.check(get("/query?m=Hello,+World!"), HELLO, 37, 28)

    def test_of_a_post_of_json(self) -> None:
        self.check(post, HELLO, 57, 43)

    def test_of_three_middlewares(self) -> None:
        self.check(get("/inline"), HELLO, 72, 65, middlewares=3)

    def test_of_a_json_message_on_the_reactor(self) -> None:
        self.check(tell("echo-inline"), ECHO, 34, 31)

    def test_of_a_json_message_on_the_pool(self) -> None:
        self.check(tell("echo"), ECHO, 35, 33)


class NothingStays(unittest.TestCase):
    """An answered request leaves nothing for the garbage collector: no circle of references.

    With circles a server pays for the collector's rounds, and works with cold memory between
    them, because what it has just used is not free yet.
    """

    def check(self, ask: Callable[[int], bytes], expected: bytes) -> None:
        with Simulation(make_router(), tcp_keep_alive=True) as simulation:
            world = World(simulation, expected is not ECHO, ask)
            for _ in range(WARM_UP):
                world.round(expected)
            gc.collect()
            gc.disable()
            try:
                before = sys.getallocatedblocks()
                for _ in range(WARM_UP):
                    world.round(expected)
                left = sys.getallocatedblocks() - before
            finally:
                gc.enable()
        self.assertLess(left / (WARM_UP * CLIENTS), 0.5, "blocks of memory that stay per request")

    def test_of_a_get_on_the_reactor(self) -> None:
        self.check(get("/inline"), HELLO)

    def test_of_a_get_on_the_pool(self) -> None:
        self.check(get("/pool"), HELLO)

    def test_of_a_message_on_the_reactor(self) -> None:
        self.check(tell("echo-inline"), ECHO)

    def test_of_a_message_on_the_pool(self) -> None:
        self.check(tell("echo"), ECHO)


if __name__ == "__main__":
    unittest.main()
