"""A chat room that TCP clients and browsers share: what `make run-example` starts.

    make run-example
    python examples/chat/main.py --http-port 8080 --tcp-port 8081

It prints what to paste into other terminals, and the address of a page to watch. From top to
bottom: what a client may send, the room, a middleware, the TCP commands, the HTTP side, main.
Anybody who reaches the ports may read and speak, so they listen on this machine only.
"""

import argparse
import os
import re
import secrets
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from typing import Any

from pyliteflux import EventStream, FileResponse, HTTPError, Middleware, Router, Server

PAGE = Path(__file__).with_name("page.html")

# Everything that grows has a bound. A newcomer is sent the whole history at once, so it must
# stay below the setting event_buffer (256 KiB): 100 messages of 400 characters of 4 bytes do.
HISTORY = 100  # messages
LONGEST_TEXT = 400  # characters
LONGEST_NAME = 24  # characters
LONGEST_WAIT = 60  # seconds
REMINDERS = 16  # that may wait for their turn; one more is answered with 503

# --- what a client may send

# Controls could forge lines on a terminal.
_UNWANTED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def clean(value: Any, what: str, limit: int) -> str:
    """Return a client's text in one line. Raises HTTPError 400, which TCP clients get as well."""
    text = _UNWANTED.sub(" ", value).strip() if isinstance(value, str) else ""
    if not text:
        raise HTTPError(400, f"{what} is missing")
    if len(text) > limit:
        raise HTTPError(400, f"{what} is longer than {limit} characters")
    return text


def argument(request: Any, name: str) -> Any:
    """Return what came with a TCP command, whatever the format.

    ``say hello``, ``{"command": "say", "data": "hello"}`` and ``<request
    command="say">hello</request>`` all have it as `data`; in an object it has a name.
    """
    return request.data.get(name) if isinstance(request.data, dict) else request.data


def fields(request: Any) -> dict[str, Any]:
    """Return what came with an HTTP request: the query and a form, or a JSON object."""
    data = request.json_data
    if data is None:
        return {**request.query_params, **request.form_data}
    if not isinstance(data, dict):
        raise HTTPError(400, "send a JSON object")
    return data


# --- the room


class Room:
    """Who is here, and what was said. Any thread may call any method.

    Handlers run on many threads at once, so one lock guards it all. What is done under it
    never waits for a client: `push_message` and `EventStream.send` queue and return. That is
    why all clients can be told under the lock, and therefore in the same order.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = threading.Lock()
        # Ids of another life of the server must not look like ours: browsers remember them.
        self._life = secrets.token_hex(3)
        self._numbers = count(1)
        self._history: deque[dict[str, Any]] = deque(maxlen=HISTORY)
        # By connection and not by client id: an id is an address and a port, and the next
        # client may get the port of one that has left. It must not get the name as well.
        self._names: dict[Any, str] = {}
        self._watchers: set[EventStream] = set()
        self._last_roll: dict[str, Any] = {}

    def say(self, name: str, text: str, via: str) -> tuple[dict[str, Any], int]:
        """Tell everybody. Return the message, and how many TCP clients it was pushed to."""
        with self._lock:
            return self._publish(name, text, via)

    def tell(self, to: str, name: str, text: str) -> int:
        """Tell one TCP client, by name or id. Return 0 where there is no such client."""
        with self._lock:
            clients = self._server.clients
            if to not in clients:  # Then it is a name.
                ids = {self._names.get(connection): id for id, connection in clients.items()}
                to = ids.get(to, to)
            message = {"name": name, "text": text, "private": True, "at": now()}
            return self._server.push_message(message, to)

    def join(self, client_id: str, name: str) -> None:
        """Give a TCP client a name. Raises HTTPError 409 where somebody else has it."""
        with self._lock:
            connection = self._server.clients.get(client_id)
            for other, taken in self._names.items():
                if other is not connection and taken.casefold() == name.casefold():
                    raise HTTPError(409, f"there is a {taken} already")
            if connection is None:
                raise HTTPError(400, "you have left already")
            before, self._names[connection] = self._names.get(connection), name
            if before is None:
                self._publish("room", f"{name} has joined", "room")
            elif before != name:
                self._publish("room", f"{before} is now {name}", "room")
            self._call_roll()

    def leave(self, client_id: str) -> None:
        """Take a TCP client's name off the list."""
        with self._lock:
            name = self._names.pop(self._server.clients.get(client_id), None)
            if name is not None:
                self._publish("room", f"{name} has left", "room")
            self._call_roll()

    def name_of(self, client_id: str) -> str:
        """Return the name that a TCP client took, or its id."""
        with self._lock:
            return self._names.get(self._server.clients.get(client_id), client_id)

    def history(self) -> list[dict[str, Any]]:
        """Return what was said last, the oldest first."""
        with self._lock:
            return list(self._history)

    def roll(self) -> dict[str, Any]:
        """Return who is here now."""
        with self._lock:
            return self._roll()

    def call_roll(self) -> None:
        """Notice who has come and who has gone, and tell the browsers.

        `server.clients` always knows, but does not call us: somebody calls this each second.
        """
        with self._lock:
            self._call_roll()

    def watch(self, last_seen: str) -> EventStream:
        """Return a stream of all that happens from now on, and what its reader missed before.

        last_seen: the id of the last message it has. Unknown, or too old: it gets all we have.
        """
        stream = EventStream(retry=1000, on_close=lambda: self._forget(stream))
        with self._lock:
            missed = list(self._history)
            known = [message["id"] for message in missed]
            resumes = last_seen in known
            if resumes:
                del missed[: known.index(last_seen) + 1]
            tcp = self._server.tcp_address
            stream.send({"life": self._life, "resumes": resumes, "tcp": tcp}, event="hello")
            for message in missed:
                stream.send(message, id=message["id"])
            # Under the same lock: nothing said meanwhile is lost or comes twice.
            self._watchers.add(stream)
            stream.send(self._roll(), event="roll")
        return stream

    def _forget(self, stream: EventStream) -> None:
        with self._lock:
            self._watchers.discard(stream)

    # The lock is held from here on.

    def _publish(self, name: str, text: str, via: str) -> tuple[dict[str, Any], int]:
        id = f"{self._life}.{next(self._numbers)}"
        message = {"id": id, "name": name, "text": text, "via": via, "at": now()}
        self._history.append(message)
        for stream in self._watchers:
            stream.send(message, id=id)
        return message, self._server.push_message(message)  # No client id: to all of them.

    def _roll(self) -> dict[str, Any]:
        clients = [
            {"client_id": id, "name": self._names.get(connection)}
            for id, connection in self._server.clients.items()
        ]
        return {"clients": clients, "count": len(clients), "watching": len(self._watchers)}

    def _call_roll(self) -> None:
        here = set(self._server.clients.values())
        for connection in [one for one in self._names if one not in here]:
            self._publish("room", f"{self._names.pop(connection)} has left", "room")
        roll = self._roll()
        if roll != self._last_roll:
            self._last_roll = roll
            for stream in self._watchers:
                stream.send(roll, event="roll")


def now() -> str:
    """Return the time as browsers and people read it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


# --- a middleware


class Timing(Middleware):
    """How long handlers take: in the answer's Server-Timing, which browsers show, and summed up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: dict[str, tuple[int, float, float]] = {}

    def process_request(self, request: Any) -> None:
        request.began = time.perf_counter()

    def process_response(self, request: Any, response: Any) -> Any:
        took = 1000 * (time.perf_counter() - request.began)
        # By route, not by path: clients make up paths, and this table would grow with them.
        route = request.route.path or "(no such route)"
        with self._lock:
            number, total, longest = self._times.get(route, (0, 0.0, 0.0))
            self._times[route] = (number + 1, total + took, max(longest, took))
        headers = dict(request.response_headers or {})  # TCP answers have none: it is ignored.
        request.response_headers = {**headers, "Server-Timing": f"handler;dur={took:.2f}"}
        return response

    def summary(self) -> dict[str, Any]:
        """Return the number of calls, mean and longest time of each route."""
        with self._lock:
            times = dict(self._times)
        return {
            route: {"calls": number, "mean_ms": round(total / number, 3), "max_ms": round(top, 3)}
            for route, (number, total, top) in sorted(times.items())
        }


# --- the TCP commands


def add_commands(router: Router, room: Room) -> None:
    """Register what a TCP client may say, as a line, in JSON or in XML."""

    @router.register("join", protocol="tcp")
    @router.register("nick", protocol="tcp")
    def join(request: Any) -> Any:
        name = clean(argument(request, "name"), "the name", LONGEST_NAME)
        room.join(request.client_id, name)
        return {"welcome": name, "here": room.roll()["count"]}

    @router.register("say", protocol="tcp")
    def say(request: Any) -> Any:
        text = clean(argument(request, "text"), "the text", LONGEST_TEXT)
        via = "line" if request.data_type == "raw" else request.data_type
        message, _ = room.say(room.name_of(request.client_id), text, via)
        return {"said": message["id"]}

    @router.register("subscribe", protocol="tcp")
    def subscribe(request: Any) -> Any:
        # Who is connected gets every push anyway. This is for what was said before.
        return {
            "message": "subscribed",
            "client_id": request.client_id,
            "history": room.history()[-10:],
        }

    @router.register("quit", protocol="tcp")
    def quit(request: Any) -> Any:
        room.leave(request.client_id)
        return {"bye": request.client_id}, {"Connection": "close"}

    @router.register("help", protocol="tcp")
    def help(request: Any) -> Any:
        return {
            "join NAME": "take a name, or another one",
            "say TEXT": "tell everybody",
            "who": "who is here",
            "subscribe": "your id, and what was said last",
            "quit": "give your name back and hang up",
        }


# --- the HTTP side


def add_pages(server: Server, router: Router, room: Room, timing: Timing) -> None:
    """Register the page, what it needs, and what is for curl."""

    @router.register("/")
    def page(request: Any) -> Any:
        return FileResponse(PAGE)

    @router.register("/events")
    def events(request: Any) -> EventStream:
        # A browser that reconnects says by itself what it saw last.
        return room.watch(
            request.headers.get("Last-Event-ID") or request.query_params.get("last", "")
        )

    @router.register("who", protocol="tcp")
    @router.register("/clients", protocol="both")
    def clients(request: Any) -> Any:
        return room.roll()

    @router.register("/broadcast", method="POST")
    def broadcast(request: Any) -> Any:
        asked = fields(request)
        name = clean(asked.get("name", "somebody"), "the name", LONGEST_NAME)
        text = clean(asked.get("text"), "the text", LONGEST_TEXT)
        message, reached = room.say(name, text, "web")
        return {"said": message["id"], "reached": reached}

    @router.register("/send", method="POST")
    def send(request: Any) -> Any:
        asked = fields(request)
        name = clean(asked.get("name", "somebody"), "the name", LONGEST_NAME)
        text = clean(asked.get("text"), "the text", LONGEST_TEXT)
        to = clean(asked.get("to"), "the receiver", LONGEST_TEXT)
        if room.tell(to, name, text) == 0:
            raise HTTPError(404, "there is no such client: GET /clients lists them")
        return {"sent": to}

    @router.register("/remind", method="POST")
    def remind(request: Any) -> Any:
        asked = fields(request)
        text = clean(asked.get("text", "time is up"), "the text", LONGEST_TEXT)
        try:
            seconds = float(asked.get("in", 5))
        except (TypeError, ValueError):
            seconds = -1.0
        if not 0 <= seconds <= LONGEST_WAIT:
            raise HTTPError(400, f"in must be 0 to {LONGEST_WAIT} seconds")
        due = time.monotonic() + seconds

        def wait_and_say() -> None:
            # Each reminder holds a thread while it sleeps. That is fine for a few, and the
            # settings in `build` see to it that there are only a few.
            time.sleep(max(0.0, due - time.monotonic()))
            room.say("reminder", text, "task")

        request.bg.add(wait_and_say)
        return {"reminder": text, "in": seconds}, 202

    @router.register("/transcript")
    def transcript(request: Any) -> Iterator[str]:
        # A generator is sent as a stream, as fast as its reader reads.
        for message in room.history():
            yield f"{message['at']} {message['name']} ({message['via']}): {message['text']}\n"

    @router.register("/stats")
    def stats(request: Any) -> Any:
        tasks = server.tasks
        return {
            "handlers": timing.summary(),
            "server": server.stats,
            "tasks": {"queued": tasks.queued, "running": tasks.running, "done": tasks.done},
        }


# --- main


def build(**settings: Any) -> tuple[Server, Room]:
    """Return the server, not started, and its room. settings: over those of the example."""
    router = Router()  # Of our own: with `Route.register` two servers would share one registry.
    defaults = {
        "tcp_keep_alive": True,  # Without it a TCP client gets one answer and no push.
        "max_body_size": 16 * 1024,
        "tcp_max_message": 16 * 1024,
        "task_queue_limit": REMINDERS,
        "shutdown_timeout": 2.0,  # A reminder that is still asleep then is given up.
    }
    server = Server(router=router, **{**defaults, **settings})
    room = Room(server)
    timing = Timing()
    server.add_middleware(timing)
    add_commands(router, room)
    add_pages(server, router, room, timing)
    return server, room


def hints(http: Any, tcp: Any) -> str:
    """Return what to try: every line can be pasted."""
    url = f"http://{http[0]}:{http[1]}"
    return f"""
Open {url}/ in a browser, and in other terminals:

    nc {tcp[0]} {tcp[1]}
    join alice
    say hello from a line
    {{"command": "say", "data": "hello from JSON", "id": 1}}
    <request command="say">hello from XML</request>
    who

    curl {url}/broadcast -d name=carol -d text=hello
    curl {url}/broadcast -H "Content-Type: application/json" -d '{{"text": "hello"}}'
    curl {url}/send -d to=alice -d text=psst
    curl {url}/remind -d in=3 -d text="tea is ready"
    curl {url}/clients
    curl {url}/transcript
    curl {url}/stats
    curl -N {url}/events

Ctrl-C stops it.
"""


def main() -> None:
    """Read the options, serve, and call the roll until somebody stops us."""
    parser = argparse.ArgumentParser(description="A chat room for TCP clients and browsers.")
    ports = {"http": 8000, "tcp": 8001}
    for name, port in ports.items():
        variable = f"{name.upper()}_PORT"
        default = os.environ.get(variable, port)
        text = f"default: ${variable}, else {port}; 0 is a free one"
        parser.add_argument(f"--{name}-port", type=int, default=default, help=text)
    options = parser.parse_args()

    server, room = build(http_port=options.http_port, tcp_port=options.tcp_port)
    # `server.run()` would stop at SIGTERM by itself, but would also keep this thread, which
    # has something else to do. So the server runs in a thread of its own.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
    try:
        with server:
            print(hints(server.http_address, server.tcp_address), flush=True)
            while server.is_running:
                room.call_roll()
                time.sleep(1)
    except KeyboardInterrupt:
        pass  # Leaving `with` has stopped the server.
    except OSError as error:  # A port is in use: the text says which, and what to do.
        sys.exit(f"{error}\n(--http-port and --tcp-port choose others)")


if __name__ == "__main__":
    main()
