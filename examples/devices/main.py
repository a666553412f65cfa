"""A dashboard for devices that speak lines, JSON or XML over TCP.

    make run-example EXAMPLE=devices
    python examples/devices/main.py --http-port 8080 --tcp-port 8081

It starts three simulated devices as well (sensors.py; without them: --no-sensors). From top to
bottom: what a device may send, the list of devices, the TCP commands, the HTTP side, main.
There are no accounts: anybody who reaches the ports may be a device or command one, so they
listen on this machine only.
"""

import argparse
import json
import math
import os
import re
import signal
import sys
import threading
import time
from collections import deque
from itertools import count
from pathlib import Path
from typing import Any

from sensors import some_devices

from pyliteflux import EventStream, FileResponse, HTTPError, HTTPResponse, PoolFull, Router, Server

PAGE = Path(__file__).with_name("page.html")
FORMATS = {"raw": "line", "json": "JSON", "xml": "XML"}

# Everything that grows has a bound.
MOST_DEVICES = 64  # names; one that is gone makes room for a new one
POINTS = 90  # of a chart
MOST_VALUES = 8  # in one reading
MOST_COMMANDS = 6  # that a device offers
LONGEST_WORD = 24  # characters of a unit, a value's name, an offered command
LONGEST_TEXT = 200  # characters of a value, a command, a reply
ANSWER_TIMEOUT = 3.0  # seconds that a device has to acknowledge a command

# --- what a device may send

_is_name = re.compile(r"\w[\w.-]{0,63}").fullmatch
# Controls could forge lines on a terminal.
_UNWANTED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def check_name(value: Any) -> str:
    """Return a device's name. It becomes part of a topic and of a path. Raises HTTPError 400."""
    if not isinstance(value, str) or not _is_name(value):
        raise HTTPError(400, "a name is 1 to 64 letters, digits, '_', '-' or '.'")
    return value


def clean(value: Any, what: str, limit: int = LONGEST_TEXT) -> str:
    """Return a text in one line. Raises HTTPError 400, which TCP clients get as well."""
    text = _UNWANTED.sub(" ", value).strip() if isinstance(value, str) else ""
    if not text or len(text) > limit:
        raise HTTPError(400, f"{what}: a text of 1 to {limit} characters, please")
    return text


def clean_value(value: Any) -> float | str:
    """Return a measured value: a number where it is one, else a text. Raises HTTPError 400."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    # JSON has no word for "infinite", and a chart no place.
    return number if math.isfinite(number) else clean(value, "the value")


def parse_hello(data: Any) -> tuple[str, str, list[str]]:
    """Return the name, the unit and the commands that a device offers.

    ``hello boiler-1 °C warmer cooler`` is a line, where only the name is needed; in JSON and XML
    the same things have names. Raises HTTPError 400.
    """
    if isinstance(data, str):
        words = data.split()
        data = {"name": "".join(words[:1]), "unit": "".join(words[1:2]), "commands": words[2:]}
    if not isinstance(data, dict):
        raise HTTPError(400, "say who you are")
    name, unit, offered = data.get("name"), data.get("unit"), data.get("commands") or []
    if isinstance(offered, str):
        offered = offered.split()
    if not isinstance(offered, list) or len(offered) > MOST_COMMANDS:
        raise HTTPError(400, f"commands: a list of {MOST_COMMANDS} at most")
    return (
        check_name(name),
        clean(unit, "the unit", LONGEST_WORD) if unit else "",
        [clean(one, "a command", LONGEST_WORD) for one in offered],
    )


def parse_reading(data: Any) -> dict[str, float | str]:
    """Return what was measured. One value alone (``reading 21.5``) is called "value"."""
    if not isinstance(data, dict):
        data = {"value": data}
    if not 0 < len(data) <= MOST_VALUES:
        raise HTTPError(400, f"a reading has 1 to {MOST_VALUES} values")
    return {
        clean(name, "a value's name", LONGEST_WORD): clean_value(value)
        for name, value in data.items()
    }


# --- the list of devices


class Device:
    """What we know of a device. The lock of `Devices` guards it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.client: Any = None  # Its connection; None once it has gone.
        self.format, self.unit, self.commands = "", "", []  # type: str, str, list[str]
        self.since = time.time()  # It came, or went.
        self.values: dict[str, float | str] = {}
        self.points: deque[float] = deque(maxlen=POINTS)  # Of its first value.
        self.left: dict[str, str] | None = None  # Why it has gone.
        self.is_asked = False  # A command waits for its answer.

    def describe(self) -> dict[str, Any]:
        """Return what a page shows of it, but for the values."""
        return {
            "name": self.name,
            "format": FORMATS.get(self.format, self.format),
            "unit": self.unit,
            "commands": self.commands,
            "client_id": self.client.client_id if self.client else None,
            "since": self.since,
            "left": self.left,
        }


class Devices:
    """Who is there, and what was measured last. Any thread may call any method.

    What happens is published under the lock, which is quick (`publish` never waits) and gives
    it one order: news are numbered, and `snapshot` says which of them it knows already.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._devices: dict[str, Device] = {}
        self._by_client: dict[Any, Device] = {}  # Of those that are here.
        self._numbers = count(1)
        self._last = 0

    def hello(self, request: Any) -> str:
        """A connection says which device it is. Return the name."""
        name, unit, commands = parse_hello(request.data)
        with self._lock:
            # An id is an address and a port, which may soon be somebody else's: we keep the client.
            client = self._server.clients.get(request.client_id)
            if client is None:
                raise HTTPError(410, "you have left already")
            known = self._by_client.get(client)
            if known is not None and known.name != name:
                raise HTTPError(409, f"you are {known.name}")
            device = self._devices.get(name) or self._add(name)
            if device.client not in (None, client):
                # It has come back before we knew that it was gone: the newer one is right.
                del self._by_client[device.client]
                device.client.disconnect(f"{name} has connected again")
            device.client, device.left, device.since = client, None, time.time()
            device.format, device.unit, device.commands = request.data_type, unit, commands
            self._by_client[client] = device
            self._publish(device, "joined", **device.describe())
        return name

    def reading(self, request: Any) -> None:
        """A device has measured something."""
        values = parse_reading(request.data)
        with self._lock:
            device = self._by_client.get(self._server.clients.get(request.client_id))
            if device is None:
                raise HTTPError(409, "say hello first")
            device.values = values
            first = next(iter(values.values()))
            if isinstance(first, float):
                device.points.append(first)
            self._publish(device, "reading", values=values)

    def gone(self, client: Any, reason: Any) -> None:
        """A connection has ended: was it a device's?"""
        story = str(self._server.why(client.client_id) or "")
        with self._lock:
            device = self._by_client.pop(client, None)
            if device is not None:
                device.client, device.since = None, time.time()
                device.left = {"reason": reason.name, "text": reason.value, "story": story}
                self._publish(device, "left", left=device.left, since=device.since)

    def command(self, name: str, text: str) -> dict[str, Any]:
        """Send a command to one device, and wait for its answer. Blocks its thread for a while.

        Return {"state": ...}: "acked" with the reply and the milliseconds; "timeout"; "gone";
        "sent" to a device that cannot acknowledge. Raises HTTPError 404, 409.
        """
        with self._lock:
            device = self._devices.get(name)
            if device is None:
                raise HTTPError(404, f"there is no device {name}")
            if device.is_asked:  # So a dead device holds one thread of ours, and no more.
                raise HTTPError(409, "it has not answered the command before this one")
            client, can_answer = device.client, device.format != "raw"
            if client is None:
                return {"state": "gone"}
            device.is_asked = True
        try:
            if not can_answer:
                return {"state": "sent" if client.push({"do": text}) else "gone"}
            began = time.perf_counter()
            ack = client.push({"do": text}, ack=True, ack_timeout=ANSWER_TIMEOUT)
            ack.wait(ANSWER_TIMEOUT + 1)
            took = 1000 * (time.perf_counter() - began)
        except PoolFull as error:
            raise HTTPError(503, str(error)) from None
        finally:
            device.is_asked = False
        if ack.state != "acked":
            return {"state": "gone" if ack.state == "gone" else "timeout", "after": ANSWER_TIMEOUT}
        reply = ack.reply if isinstance(ack.reply, str) else json.dumps(ack.reply)
        reply = _UNWANTED.sub(" ", reply)[:LONGEST_TEXT]
        return {"state": "acked", "ms": round(took, 1), "reply": reply}

    def snapshot(self) -> dict[str, Any]:
        """Return all there is to show now; "n": the number of the last news in it."""
        with self._lock:
            devices = [
                {**one.describe(), "values": one.values, "points": list(one.points)}
                for one in self._devices.values()
            ]
            return {"n": self._last, "devices": devices}

    def story(self, name: str) -> str:
        """Return what a device's connection, or its last one, went through."""
        with self._lock:
            device = self._devices.get(name)
            if device is None:
                raise HTTPError(404, f"there is no device {name}")
            client, left = device.client, device.left
        return left["story"] if left else str(self._server.why(client.client_id) or "")

    # The lock is held from here on.

    def _add(self, name: str) -> Device:
        if len(self._devices) >= MOST_DEVICES:
            gone = [device for device in self._devices.values() if device.client is None]
            if not gone:
                raise HTTPError(503, f"{MOST_DEVICES} devices are here already")
            oldest = min(gone, key=lambda device: device.since)
            del self._devices[oldest.name]
            self._publish(oldest, "forgotten")
        device = self._devices[name] = Device(name)
        return device

    def _publish(self, device: Device, what: str, **more: Any) -> None:
        self._last = next(self._numbers)
        news = {"n": self._last, "what": what, **more, "name": device.name}
        self._server.publish(f"devices:{device.name}", news)


# --- the TCP commands


def add_commands(server: Server, router: Router, devices: Devices) -> None:
    """Register what a device may say, as a line, in JSON or in XML."""

    @router.register("hello", protocol="tcp")
    def hello(request: Any) -> Any:
        return {"welcome": devices.hello(request), "client_id": request.client_id}

    # Not blocking: it is quick, so the thread that has read it handles it. No worker is woken.
    @router.register("reading", protocol="tcp", blocking=False)
    def reading(request: Any) -> Any:
        devices.reading(request)
        return {"ok": True}

    server.on_disconnect(devices.gone)


# --- the HTTP side


def add_pages(router: Router, devices: Devices) -> None:
    """Register the page and what it asks for."""

    @router.get("/")
    def page(request: Any) -> Any:
        return FileResponse(PAGE)

    @router.get("/events", blocking=False)
    def events(request: Any) -> EventStream:
        return EventStream("devices:*", retry=1000)

    @router.get("/devices")
    def snapshot(request: Any) -> Any:
        return devices.snapshot()

    @router.get("/devices/{name}/story")
    def story(request: Any) -> Any:
        return HTTPResponse(devices.story(request.path_params["name"]))

    @router.post("/devices/{name}/command")
    def command(request: Any) -> Any:
        # JSON only: a form could be sent by a page of somebody else's, without asking us first.
        asked = request.json_data
        if not isinstance(asked, dict):
            raise HTTPError(400, 'send JSON: {"do": "a command"}')
        return devices.command(request.path_params["name"], clean(asked.get("do"), "the command"))


# --- main


def build(**settings: Any) -> tuple[Server, Devices]:
    """Return the server, not started, and its devices. settings: over those of the example."""
    router = Router()  # Of our own: with `Route.register` two servers would share one registry.
    defaults = {
        "tcp_keep_alive": True,  # Without it a device gets one answer and no push.
        "tcp_ping_interval": 4.0,  # A JSON device that is silent so long is asked, then cut.
        "tcp_idle_timeout": 20.0,  # Each device measures every second: this one does not any more.
        "tcp_max_message": 16 * 1024,
        "max_body_size": 16 * 1024,
        "access_log": False,  # It would be three lines a second.
        "shutdown_timeout": 5.0,  # More than ANSWER_TIMEOUT: who waits gets an answer.
    }
    server = Server(router=router, **{**defaults, **settings})
    # Who misses a reading wants the newest; the page is told how many it has missed.
    server.topic("devices:*", history=200, slow_client_policy="drop_oldest")
    devices = Devices(server)
    add_commands(server, router, devices)
    add_pages(router, devices)
    return server, devices


def hints(http: Any, tcp: Any) -> str:
    """Return what to try: every line can be pasted."""
    url = f"http://{http[0]}:{http[1]}"
    return f"""
Open {url}/ in a browser. To be a device yourself:

    nc {tcp[0]} {tcp[1]}
    hello lamp-2 lx
    reading 310
    reading 290

    curl {url}/devices
    curl {url}/devices/valve-3/command -H "Content-Type: application/json" -d '{{"do": "open"}}'
    curl {url}/devices/meter-7/story
    curl -N {url}/events

Ctrl-C stops it.
"""


def main() -> None:
    """Read the options, and serve until somebody stops us."""
    parser = argparse.ArgumentParser(description="A dashboard for devices.")
    ports = {"http": 8000, "tcp": 8001}
    for name, port in ports.items():
        variable = f"{name.upper()}_PORT"
        default = os.environ.get(variable, port)
        text = f"default: ${variable}, else {port}; 0 is a free one"
        parser.add_argument(f"--{name}-port", type=int, default=default, help=text)
    parser.add_argument("--no-sensors", action="store_true", help="without the simulated devices")
    options = parser.parse_args()

    server, _ = build(http_port=options.http_port, tcp_port=options.tcp_port)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
    try:
        with server:
            sensors = [] if options.no_sensors else some_devices(server.tcp_address)
            for sensor in sensors:
                sensor.start()
            print(hints(server.http_address, server.tcp_address), flush=True)
            while server.is_running:
                time.sleep(1)
    except KeyboardInterrupt:
        pass  # Leaving `with` has stopped the server.
    except OSError as error:  # A port is in use: the text says which, and what to do.
        sys.exit(f"{error}\n(--http-port and --tcp-port choose others)")


if __name__ == "__main__":
    main()
