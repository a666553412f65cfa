"""Where the time of one request goes: each stage of its way, measured by itself.

    python -m tests.benchmarks.stages                # two tables, for HTTP and for TCP
    python -m tests.benchmarks.stages --markdown     # the same as docs/performance.md has them
    python -m tests.benchmarks.stages --clients 16   # so many requests in a turn, not 64

The rule: every stage is the library's own code with the input that it has in a running server,
and only three of the figures are differences. All requests of a turn go through a stage, then
through the next:

* the kernel's part on real sockets of the loopback, with `selectors` as the reactor uses it;
* the loop and the transport in a turn of the real reactor, under a channel that only answers a
  constant, on sockets that cost nothing;
* parsing, routing, the request, the handler and the answer by calling what the channel calls;
* the whole in a turn of the real reactor with the real channels, on sockets that cost nothing.
  What of it none of the others has explained is the channel itself.

As a check, the same turn runs on the real sockets: the sum of all rows should come near it. The
figure of a stage is the best of several repetitions. The garbage collector is off meanwhile.

How to read the figures: docs/performance.md.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import platform
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from pyliteflux import Config, HTTPRequest, Router, TCPRequest
from pyliteflux.app.app import App
from pyliteflux.app.values import make_response
from pyliteflux.channels.http_reply import make_reply
from pyliteflux.headers import Headers, date_field
from pyliteflux.protocol.framers import Framing
from pyliteflux.protocol.http_connection import HttpConnection
from pyliteflux.protocol.http_response import Heads
from pyliteflux.protocol.message import decode, encode_answer
from pyliteflux.reactor.loop import Reactor
from pyliteflux.reactor.transport import Transport
from tests.fakes import FakeSelector, FakeSocket, Network, Peer, Simulation

from .load import NUMBER
from .scenarios import HELLO, SCENARIOS

READ = selectors.EVENT_READ
RECV_SIZE = Config().recv_size
SCENARIO = {scenario.name: scenario for scenario in SCENARIOS}
ADDRESS = ("127.0.0.1", 50000)

Result = TypeVar("Result")


class Row(NamedTuple):
    """A stage: what it is, whose code it is, and nanoseconds for one request."""

    name: str
    where: str
    ns: float


class Table(NamedTuple):
    """The stages of one protocol; their sum; the same turn at once; and what may come instead."""

    title: str
    rows: list[Row]
    at_once: float
    beside: list[Row]

    @property
    def whole(self) -> float:
        return sum(row.ns for row in self.rows)


class Stopwatch:
    """Adds up what each stage takes in one repetition, and keeps the best of all repetitions.

    clock: nanoseconds.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self.best: dict[str, float] = {}  # ns for one request
        self._clock = clock
        self._spent: Counter[str] = Counter()

    def time(self, stage: str, action: Callable[[], Result]) -> Result:
        """Call, and count the time in."""
        began = self._clock()
        result = action()
        self._spent[stage] += self._clock() - began
        return result

    def end_repetition(self, requests: int) -> None:
        """So many requests have passed each stage that was timed since the last call."""
        for stage, spent in self._spent.items():
            self.best[stage] = min(spent / requests, self.best.get(stage, float("inf")))
        self._spent.clear()


# --- the kernel's part


class Wires:
    """Connections over the loopback: of each, the client's end and the server's.

    handlers: what the selector returns with each of the server's ends.
    """

    def __init__(self, handlers: list[Any]) -> None:
        self.selector = selectors.DefaultSelector()
        self.clients: list[socket.socket] = []
        self.servers: list[socket.socket] = []
        with socket.create_server(("127.0.0.1", 0)) as listener:
            for handler in handlers:
                # A timeout: who does not answer is to end the program, not to hang it.
                self.clients.append(socket.create_connection(listener.getsockname(), timeout=10))
                server, _ = listener.accept()
                for end in (server, self.clients[-1]):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server.setblocking(False)
                self.servers.append(server)
                self.selector.register(server, READ, handler)

    def ask(self, request: bytes) -> None:
        """Let each client send, and wait until all of it has come."""
        for client in self.clients:
            client.sendall(request)
        while len(self.selector.select(1)) < len(self.servers):
            pass  # The loopback takes a moment.

    def take(self, answer: bytes) -> None:
        """Let each client read its answer, and see that it is one."""
        for client in self.clients:
            got = client.recv(RECV_SIZE)
            while len(got) < len(answer):
                got += client.recv(RECV_SIZE)
            assert got[-16:] == answer[-16:], got

    def turn(self, watch: Stopwatch, request: bytes, answer: bytes) -> None:
        """One turn of a server that does nothing but what the kernel has to do for it."""
        self.ask(request)
        watch.time("wait", lambda: self.selector.select(0))
        watch.time("recv", lambda: [server.recv(RECV_SIZE) for server in self.servers])
        watch.time("send", lambda: [server.send(answer) for server in self.servers])
        self.take(answer)

    def close(self) -> None:
        self.selector.close()
        for end in self.clients + self.servers:
            end.close()


# --- turns on sockets that cost nothing


def make_free(sock: FakeSocket, size: int, request: bytes) -> None:
    """Have a socket receive this for ever, and take all that is sent, in functions of C.

    size: what `recv` will be asked for.
    """
    sock.recv = {size: request}.get  # type: ignore[assignment, method-assign]
    sock.send = len  # type: ignore[assignment, method-assign]


class Constant:
    """A channel that does not look at what comes and knows what to say."""

    def __init__(self, transport: Transport, answer: bytes) -> None:
        self._transport, self._answer = transport, answer

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._answer)

    def flushed(self) -> None:
        pass


class BareLoop:
    """The reactor and its transports, without a server on top."""

    def __init__(self, count: int, request: bytes, answer: bytes) -> None:
        network = Network()
        self._selector = FakeSelector(network)
        self._reactor = Reactor(self._selector)
        ready = []
        for _ in range(count):
            sock = FakeSocket(network)
            make_free(sock, RECV_SIZE, request)
            transport = Transport(self._reactor, sock, RECV_SIZE)  # type: ignore[arg-type]
            transport.attach(Constant(transport, answer))  # type: ignore[arg-type]
            ready.append((selectors.SelectorKey(sock, sock.fileno(), READ, transport), READ))
        self._selector.select = lambda timeout=None: ready  # type: ignore[method-assign]

    def turn(self, watch: Stopwatch) -> None:
        watch.time("loop", self._reactor.run_once)

    def close(self) -> None:
        self._reactor.close()


class World:
    """The whole server, turned by hand: first its kernel is free, then it is the real one."""

    def __init__(self, simulation: Simulation, peers: list[Peer], request: bytes) -> None:
        self._simulation = simulation
        self._request = request
        self._socks = [peer.sock for peer in peers]
        simulation.settle()
        # Once as tests do it, to see that it answers, and what, and how much it asks for.
        sizes: list[int] = []
        first = self._socks[0]
        first.recv = lambda size: sizes.append(size) or FakeSocket.recv(first, size)  # type: ignore
        for peer in peers:
            peer.send(request)
        simulation.settle()
        self.answer = peers[0].take()
        self._recv_size = sizes[0]
        self.handlers = [simulation.channel(peer).transport for peer in peers]
        self._ready = [
            (selectors.SelectorKey(sock, sock.fileno(), READ, handler), READ)
            for sock, handler in zip(self._socks, self.handlers)
        ]

    def turn(self, watch: Stopwatch) -> None:
        """One turn on sockets that cost nothing."""
        for sock in self._socks:
            make_free(sock, self._recv_size, self._request)
        self._simulation.selector.select = lambda timeout=None: self._ready  # type: ignore
        watch.time("server", self._simulation.turn)

    def turn_at_once(self, watch: Stopwatch, wires: Wires) -> None:
        """The same turn on real sockets."""
        for sock, real in zip(self._socks, wires.servers):
            sock.recv = real.recv  # type: ignore
            sock.send = real.send  # type: ignore
        self._simulation.selector.select = wires.selector.select  # type: ignore[method-assign]
        wires.ask(self._request)
        watch.time("at once", self._simulation.turn)
        wires.take(self.answer)

    def let_go(self) -> None:
        """Give the simulation its sockets back: it wants to end in good order."""
        del self._simulation.selector.select
        for sock in self._socks:
            del sock.recv, sock.send


# --- what the channel calls, called by hand


def make_router() -> Router:
    """The two handlers of the benchmark that are measured here."""
    router = Router()
    router.register("/hello", blocking=False)(lambda request: HELLO)
    router.register("echo", protocol="tcp", blocking=False)(lambda request: request.data)
    return router


class HttpByHand:
    """The way of a GET from bytes to bytes, all requests of a turn side by side."""

    def __init__(self, count: int) -> None:
        self._app = App(Config(), make_router())
        self._machines = [HttpConnection() for _ in range(count)]
        self._heads = Heads(f"Date: {date_field(time.gmtime())}\r\n")
        self._varied = SCENARIO["varied"].request().encode()
        self._number = 10**9

    def never_seen(self) -> bytes:
        """Return a request that was never sent before."""
        self._number += 1
        return self._varied.replace(NUMBER.encode(), b"%d" % self._number)

    def parse(self, requests: list[bytes]) -> list[Any]:
        """From bytes to heads."""
        for machine, request in zip(self._machines, requests):
            machine.receive_data(request)
        return [machine.next_event() for machine in self._machines]

    def start_next_cycle(self) -> None:
        for machine in self._machines:
            machine.start_next_cycle()

    def turn(self, watch: Stopwatch, request: bytes) -> None:
        same = [request for _ in self._machines]
        heads = watch.time("head", lambda: self.parse(same))
        resolve = self._app.router.resolve
        found = watch.time("route", lambda: [resolve(head.method, head.path) for head in heads])
        made = watch.time(
            "request",
            lambda: [
                HTTPRequest(
                    head.method, head.target, head.headers, b"", ADDRESS, head.path, head.query,
                    head.host, head.version, params, self._app,
                )
                for head, (_, params) in zip(heads, found)
            ],
        )  # fmt: skip
        for one, (route, _) in zip(made, found):
            one.route = route
        handle = self._app.pipeline.handle
        responses = watch.time("handle", lambda: [handle(one) for one in made])
        watch.time("value", lambda: [make_response(HELLO, one) for one in made])
        watch.time(
            "reply",
            lambda: [
                make_reply(response, head, one, self._heads, True)
                for response, head, one in zip(responses, heads, made)
            ],
        )
        watch.time("head", self.start_next_cycle)
        different = [self.never_seen() for _ in self._machines]
        watch.time("new head", lambda: self.parse(different))
        watch.time("new head", self.start_next_cycle)


class TcpByHand:
    """The way of a JSON message from bytes to bytes."""

    def __init__(self, count: int) -> None:
        config = Config()
        self._app = App(config, make_router())
        framing = Framing(config.tcp_framing, config)
        self._framers = [framing.make(config) for _ in range(count)]
        self._no_headers = Headers()

    def cut(self, messages: list[bytes]) -> list[Any]:
        """From bytes to frames."""
        for framer, message in zip(self._framers, messages):
            framer.receive_data(message)
        return [framer.next_frame() for framer in self._framers]

    def turn(self, watch: Stopwatch, request: bytes) -> None:
        same = [request for _ in self._framers]
        frames = watch.time("frame", lambda: self.cut(same))
        decoded: list[Any] = watch.time("decode", lambda: [decode(frame) for frame in frames])
        resolve, app, headers = self._app.router.resolve_command, self._app, self._no_headers
        said = [(command, data, frame) for frame, (command, data, _, _) in zip(frames, decoded)]
        routes = watch.time("route", lambda: [resolve(command) for command, _, _ in said])
        made = watch.time(
            "request",
            lambda: [
                TCPRequest(
                    command, data, frame.data_type, frame.data, headers, ADDRESS, app,
                )
                for command, data, frame in said
            ],
        )  # fmt: skip
        for one, route in zip(made, routes):
            assert route is not None
            one.route = route
        handle = self._app.pipeline.handle_message
        answers = watch.time("handle", lambda: [handle(one) for one in made])
        watch.time("reply", lambda: [encode_answer(answer, "json") for answer in answers])


# --- the tables

WAIT = ("wait for the next one that is ready", "`selectors`, the kernel")
LOOP = ("call the transport; queue the answer, flush it", "`reactor/`")


def http_rows(best: dict[str, float]) -> list[Row]:
    """The stages of an HTTP request, in their order."""
    by_hand = sum(best[name] for name in ("head", "route", "request", "handle", "reply"))
    return [
        Row(*WAIT, best["wait"]),
        Row("`recv`", "the kernel", best["recv"]),
        Row(*LOOP, best["loop"]),
        Row("read the head (one that was seen before)", "`protocol/http_head.py`", best["head"]),
        Row("find the route", "`app/routing.py`", best["route"]),
        Row("make the request object", "`app/request.py`", best["request"]),
        Row(
            "enter its context, run middlewares and handler",
            "`app/pipeline.py`",
            best["handle"] - best["value"],
        ),
        Row("make a response of the value: JSON", "`app/response.py`", best["value"]),
        Row("write the head of the answer", "`channels/http_reply.py`", best["reply"]),
        Row(
            "whose turn it is: states, deadline, events",
            "`channels/http_channel.py`",
            best["server"] - best["loop"] - by_hand,
        ),
        Row("`send`", "the kernel", best["send"]),
    ]


def tcp_rows(best: dict[str, float]) -> list[Row]:
    """The stages of a TCP message."""
    by_hand = sum(best[name] for name in ("frame", "decode", "route", "request", "handle", "reply"))
    return [
        Row(*WAIT, best["wait"]),
        Row("`recv`", "the kernel", best["recv"]),
        Row(*LOOP, best["loop"]),
        Row("find where the message ends", "`protocol/framing.py`", best["frame"]),
        Row("decode it", "`protocol/message.py`", best["decode"]),
        Row("find the route", "`app/routing.py`", best["route"]),
        Row("make the request object", "`app/request.py`", best["request"]),
        Row("enter its context, run middlewares and handler", "`app/pipeline.py`", best["handle"]),
        Row("encode the answer", "`protocol/message.py`", best["reply"]),
        Row(
            "whose turn it is: states, deadline, events",
            "`channels/message_channel.py`",
            best["server"] - best["loop"] - by_hand,
        ),
        Row("`send`", "the kernel", best["send"]),
    ]


class Options(NamedTuple):
    """clients: requests in one turn of the loop. turns: in one repetition."""

    clients: int = 64
    turns: int = 10
    repetitions: int = 80
    clock: Callable[[], int] = time.perf_counter_ns


DEFAULTS = Options()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the garbage collector: the requests of a turn lie side by side, as they never do."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def measure_http(options: Options = DEFAULTS) -> Table:
    """Return the stages of `GET /hello` on a route that says `blocking=False`."""
    by_hand = HttpByHand(options.clients)
    best = _measure(options, SCENARIO["hello"].request().encode(), by_hand, Simulation.http)
    never_seen = Row(
        "read a head that nobody has sent before", "`protocol/http_head.py`", best["new head"]
    )
    return Table("GET /hello", http_rows(best), best["at once"], [never_seen])


def measure_tcp(options: Options = DEFAULTS) -> Table:
    """Return the stages of an `echo` in JSON on a route that says `blocking=False`."""
    by_hand = TcpByHand(options.clients)
    best = _measure(options, SCENARIO["tcp"].request().encode(), by_hand, Simulation.tcp)
    return Table("echo, a line of JSON", tcp_rows(best), best["at once"], [])


def _measure(
    options: Options,
    request: bytes,
    by_hand: HttpByHand | TcpByHand,
    connect: Callable[[Simulation], Peer],
) -> dict[str, float]:
    """Let everything take turns, so that a noisy moment hits all alike. Return the best times."""
    count, watch = options.clients, Stopwatch(options.clock)
    with contextlib.ExitStack() as stack:
        simulation = stack.enter_context(Simulation(make_router(), tcp_keep_alive=True))
        world = World(simulation, [connect(simulation) for _ in range(count)], request)
        stack.callback(world.let_go)
        bare = stack.enter_context(contextlib.closing(BareLoop(count, request, world.answer)))
        wires = stack.enter_context(contextlib.closing(Wires(world.handlers)))
        stack.enter_context(_quiet())
        for _ in range(options.repetitions):
            for _ in range(options.turns):
                wires.turn(watch, request, world.answer)
                bare.turn(watch)
                by_hand.turn(watch, request)
                world.turn(watch)
                world.turn_at_once(watch, wires)
            watch.end_repetition(count * options.turns)
    return watch.best


# --- printed


def lines(table: Table) -> list[tuple[str, str, str, str]]:
    """Return the cells of a table: name, where, nanoseconds, share."""
    whole = table.whole
    cells = [
        (row.name, row.where, f"{row.ns:.0f}", f"{row.ns / whole:.1%}" if whole else "-")
        for row in table.rows
    ]
    cells.append(("**the sum**", "", f"{whole:.0f}", "100.0%"))
    at_once = f"{table.at_once / whole:.1%}" if whole else "-"
    cells.append(("all of it measured at once", "", f"{table.at_once:.0f}", at_once))
    for row in table.beside:
        cells.append((f"instead: {row.name}", row.where, f"{row.ns:.0f}", "-"))
    return cells


def markdown(table: Table) -> str:
    """Return the table as docs/performance.md has it."""
    head = [f"| {table.title}: stage | whose | ns | share |", "| --- | --- | --: | --: |"]
    return "\n".join(head + [f"| {' | '.join(cells)} |" for cells in lines(table)])


def text(table: Table) -> str:
    """Return the table for a terminal."""
    cells = [tuple(cell.replace("*", "").replace("`", "") for cell in row) for row in lines(table)]
    cells.insert(0, (table.title, "whose", "ns", "share"))
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    made = []
    for name, where, ns, share in cells:
        left = f"{name:<{widths[0]}}  {where:<{widths[1]}}"
        made.append(f"{left}  {ns:>{widths[2]}}  {share:>{widths[3]}}")
    return "\n".join(made)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, prog="tests.benchmarks.stages")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for name, value, words in (
        ("--clients", DEFAULTS.clients, "requests in a turn; below ten the clock itself shows"),
        ("--turns", DEFAULTS.turns, "turns in one repetition"),
        ("--repetitions", DEFAULTS.repetitions, "repetitions, of which the best counts"),
    ):
        text_of_help = f"{words} (%(default)s)"
        parser.add_argument(name, type=int, default=value, metavar="N", help=text_of_help)
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    given = parser.parse_args(arguments)
    if min(given.clients, given.turns, given.repetitions) < 1:
        parser.error("one is the least")
    options = Options(given.clients, given.turns, given.repetitions)
    form = markdown if given.markdown else text
    tables = [form(measure_http(options)), form(measure_tcp(options))]
    print("\n\n".join(tables))
    if not given.markdown:
        print(f"\nPython {platform.python_version()}, {options.clients} requests in a turn")


if __name__ == "__main__":
    main()
