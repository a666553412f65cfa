"""Three simulated devices, each with a plain socket and a protocol of its own.

    python examples/devices/sensors.py --port 8001

They know nothing of PyLiteFlux: this is what the firmware of a device would do, and could be
written in C. From top to bottom: what all of them do (connect, say who they are, read and write
at once, come back when cut), then what each of them says.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import threading
import time
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

LONGEST_LINE = 64 * 1024  # bytes; a server that sends more without a line end is none of ours


class Device:
    """A device in a thread of its own. `start` and `stop` from any thread.

    interval: seconds between two readings. patience: seconds until it tries to connect again,
    doubled after each failure up to ten times as much.
    """

    def __init__(
        self, address: Any, name: str, interval: float = 1.0, patience: float = 0.5
    ) -> None:
        self.name = name
        self._address = address
        self._interval = interval
        self._patience = patience
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._random = random.Random(name)  # The same curve each time.

    def start(self) -> None:
        """Switch it on."""
        self._thread.start()

    def stop(self) -> None:
        """Switch it off, and wait until it is."""
        self._stopping.set()
        self._thread.join()

    # --- what each device says for itself

    def hello(self) -> bytes:
        """Return its first message: who it is."""
        raise NotImplementedError

    def reading(self) -> bytes:
        """Measure something, and return the message about it."""
        raise NotImplementedError

    def answer(self, line: bytes) -> bytes:
        """Return what to send after a line of the server's, mostly nothing."""
        raise NotImplementedError

    # --- what they have in common

    def _live(self) -> None:
        """Connect again and again. Networks fail, and servers are restarted."""
        wait = self._patience
        while not self._stopping.is_set():
            try:
                with socket.create_connection(self._address, timeout=5) as sock:
                    wait = self._patience
                    self._talk(sock)
            except OSError:
                pass  # Nobody there, reset, or cut: all the same to us.
            # Not all at the same moment: a thousand devices would come back as one.
            self._stopping.wait(wait * self._random.uniform(0.5, 1.0))
            wait = min(2 * wait, 10 * self._patience)

    def _talk(self, sock: socket.socket) -> None:
        """Speak and listen until the connection ends.

        One thread does both: it listens until the next reading is due.
        """
        sock.sendall(self.hello())
        due = time.monotonic()
        received = b""
        while not self._stopping.is_set() and len(received) < LONGEST_LINE:
            pause = due - time.monotonic()
            if pause <= 0:
                sock.sendall(self.reading())
                due = time.monotonic() + self._interval
                continue
            # At most so long, to notice `stop`.
            sock.settimeout(min(pause, 0.2))
            try:
                data = sock.recv(4096)
            except TimeoutError:
                continue
            finally:
                sock.settimeout(5)  # For what is sent: a server that takes nothing is dead.
            if not data:
                return
            # Whatever the server says is one line, in XML too: that is its promise.
            *lines, received = (received + data).split(b"\n")
            for line in lines:
                reply = self.answer(line)
                if reply:
                    sock.sendall(reply)

    def _near(self, value: float, target: float, noise: float) -> float:
        """Return a value that has moved towards its target, as warm water or a motor does."""
        return value + (target - value) * 0.2 + self._random.uniform(-noise, noise)


class Thermometer(Device):
    """Speaks lines, as a microcontroller with a serial port would.

    It cannot acknowledge: for that a message needs an id, and a line has none.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._celsius = self._target = 21.0

    def hello(self) -> bytes:
        return f"hello {self.name} °C warmer cooler\n".encode()

    def reading(self) -> bytes:
        self._celsius = self._near(self._celsius, self._target, 0.15)
        return f"reading {self._celsius:.2f}\n".encode()

    def answer(self, line: bytes) -> bytes:
        # What is pushed to a client that speaks lines is a line of JSON. It needs no parser.
        if b'"push"' in line:
            self._target += 3 if b'"warmer"' in line else -3 if b'"cooler"' in line else 0
        return b""


class PowerMeter(Device):
    """Speaks JSON, one object a line. Told to `hang`, it is as dead as with a crashed program.

    Its connection stays open then, as the kernel of a device lives on. Only somebody who
    expects a sign of life from it finds out.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._watts, self._is_on, self._hangs = 0.0, True, False

    def hello(self) -> bytes:
        self._hangs = False  # Switched off and on again.
        data = {"name": self.name, "unit": "W", "commands": ["on", "off", "hang"]}
        return _json({"command": "hello", "data": data})

    def reading(self) -> bytes:
        if self._hangs:
            return b""
        self._watts = max(0.0, self._near(self._watts, 230.0 if self._is_on else 4.0, 6.0))
        volts = 230 + self._random.uniform(-1.5, 1.5)
        data = {"power": round(self._watts, 1), "volts": round(volts, 1)}
        return _json({"command": "reading", "data": data})

    def answer(self, line: bytes) -> bytes:
        message = json.loads(line)
        if self._hangs:
            return b""
        if message.get("type") == "ping":
            return _json({"pong": True})
        if "ack" not in message:
            return b""
        wish = message["data"].get("do")
        if wish == "hang":
            self._hangs = True
            return b""
        if wish in ("on", "off"):
            self._is_on = wish == "on"
        reply = f"switched {wish}" if wish in ("on", "off") else "I can only be on or off"
        return _json({"ack": message["ack"], "data": reply})


class Valve(Device):
    """Speaks XML, one document a message. It takes a while to turn, and is asked in percent."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._position, self._target = 40.0, 40.0

    def hello(self) -> bytes:
        return (
            f'<request command="hello"><name>{escape(self.name)}</name><unit>%</unit>'
            "<commands>open close</commands></request>\n"
        ).encode()

    def reading(self) -> bytes:
        self._position = self._near(self._position, self._target, 0.0)
        moves = abs(self._position - self._target) > 0.5
        return (
            f'<request command="reading"><position>{self._position:.1f}</position>'
            f"<motor>{'turning' if moves else 'at rest'}</motor></request>\n"
        ).encode()

    def answer(self, line: bytes) -> bytes:
        message = ElementTree.fromstring(line.decode())
        ack = message.get("ack")
        if ack is None:
            return b""
        wish = message.findtext("do") or ""
        percent = {"open": "100", "close": "0"}.get(wish, wish)
        if percent.isdecimal() and int(percent) <= 100:
            self._target = float(percent)
            reply = f"turning to {percent} %"
        else:
            reply = "open, close, or a number from 0 to 100"
        return f"<ack id={quoteattr(ack)}>{escape(reply)}</ack>\n".encode()


def _json(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def some_devices(address: Any) -> list[Device]:
    """Return one of each kind, not switched on."""
    return [
        Thermometer(address, "boiler-1"),
        PowerMeter(address, "meter-7"),
        Valve(address, "valve-3"),
    ]


def main() -> None:
    """Run the devices until somebody stops us."""
    parser = argparse.ArgumentParser(description="Simulated devices for examples/devices.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001)
    options = parser.parse_args()
    devices = some_devices((options.host, options.port))
    for device in devices:
        device.start()
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        for device in devices:
            device.stop()


if __name__ == "__main__":
    main()
