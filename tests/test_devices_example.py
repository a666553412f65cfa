"""The devices example keeps what it promises, over real sockets: sensors, values, commands."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import unittest
from typing import Any
from unittest import mock

from tests.support import (
    ROOT,
    Client,
    Program,
    Response,
    RunningThread,
    captured_logs,
    fetch,
    stop,
    wait_until,
)

FOLDER = ROOT / "examples" / "devices"


def load() -> tuple[Any, Any]:
    """Return the example's two modules; it is no package."""
    loaded = []
    for name in ("sensors", "main"):
        spec = importlib.util.spec_from_file_location(f"devices_{name}", FOLDER / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # As `python examples/devices/main.py` would find it.
        with mock.patch.dict(sys.modules, {"sensors": loaded[0]} if loaded else {}):
            spec.loader.exec_module(module)
        loaded.append(module)
    return loaded[0], loaded[1]


sensors, devices_main = load()


class Events:
    """A browser's EventSource, in short."""

    def __init__(self, client: Client, last: str | None = None) -> None:
        self._client = client
        self._text = ""
        self.last = last
        client.send_request(
            "GET", "/events", fields={} if last is None else {"Last-Event-ID": last}
        )
        self.head = client.read_head()
        self.subscribed = self.next()

    def next(self) -> dict[str, Any]:
        """Return the next object."""
        while True:
            while "\n\n" not in self._text:
                self._text += self._client.read_chunk().decode()
            block, _, self._text = self._text.partition("\n\n")
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
            self.last = fields.get("id", self.last)
            if "data" in fields:
                message: dict[str, Any] = json.loads(fields["data"])
                return message

    def until(self, what: str, name: str | None = None) -> dict[str, Any]:
        """Return the next news of a kind, of one device where it is named."""
        while True:
            message = self.next()
            assert message["type"] == "push", message
            news: dict[str, Any] = message["data"]
            if news["what"] == what and name in (None, news["name"]):
                assert message["topic"] == f"devices:{news['name']}"
                return news


class DevicesTestCase(unittest.TestCase):
    settings: dict[str, Any] = {}

    def setUp(self) -> None:
        logs = captured_logs()
        self.logs = logs.__enter__()
        self.addCleanup(logs.__exit__, None, None, None)
        self.server, self.devices = devices_main.build(
            http_port=0, tcp_port=0, info=False, **self.settings
        )
        self.server.start()
        self.addCleanup(stop, self.server)

    def tcp(self, hello: str | None = None) -> Client:
        """Return a TCP client; hello: its first message, which must be accepted."""
        client = Client(self.server.tcp_address)
        self.addCleanup(client.close)
        if hello is not None:
            self.assertIn("welcome", self.ask(client, hello))
        return client

    def meter(self, name: str = "meter") -> Client:
        """Return a JSON device."""
        return self.tcp(json.dumps({"command": "hello", "data": {"name": name, "unit": "W"}}))

    def ask(self, client: Client, message: str) -> str:
        client.send(message + "\n")
        return client.read_line()

    def events(self, last: str | None = None) -> Events:
        client = Client(self.server.http_address)
        self.addCleanup(client.close)
        return Events(client, last)

    def get(self, target: str) -> Response:
        return fetch(self.server, "GET", target)

    def command(self, name: str, do: Any) -> Response:
        with Client(self.server.http_address) as client:
            return client.post_json(f"/devices/{name}/command", {"do": do})

    def known(self, name: str) -> dict[str, Any]:
        """Return what a newly opened page is told of a device."""
        listed = {device["name"]: device for device in self.get("/devices").json["devices"]}
        device: dict[str, Any] = listed[name]
        return device


class Speaking(DevicesTestCase):
    def test_three_formats_say_the_same_things(self) -> None:
        events = self.events()
        for hello, reading, format, values in (
            ("hello a °C warmer cooler", "reading 21.5", "line", {"value": 21.5}),
            (
                '{"command": "hello", "data": {"name": "b", "unit": "°C", '
                '"commands": ["warmer", "cooler"]}}',
                '{"command": "reading", "data": {"celsius": 21.5, "fan": true}}',
                "JSON",
                {"celsius": 21.5, "fan": "yes"},
            ),
            (
                '<request command="hello"><name>c</name><unit>°C</unit>'
                "<commands>warmer cooler</commands></request>",
                '<request command="reading"><celsius>21.5</celsius><fan>on</fan></request>',
                "XML",
                {"celsius": 21.5, "fan": "on"},
            ),
        ):
            with self.subTest(format):
                client = self.tcp(hello)
                joined = events.until("joined")
                self.assertEqual(joined["format"], format)
                self.assertEqual(joined["unit"], "°C")
                self.assertEqual(joined["commands"], ["warmer", "cooler"])
                self.assertEqual(joined["client_id"], client.client_id)
                self.assertIn("ok", self.ask(client, reading))
                self.assertEqual(events.until("reading")["values"], values)
                self.assertEqual(self.known(joined["name"])["points"], [21.5])

    def test_what_cannot_be_said_is_an_error_and_the_device_stays(self) -> None:
        client = self.tcp()
        self.assertIn("say hello first", self.ask(client, "reading 1"))
        for name in ("", "..", "a/b", "a*", "-a", "x" * 65, "<b>", "a:b"):
            with self.subTest(name):
                hello = {"command": "hello", "data": {"name": name}}
                self.assertIn("a name is", self.ask(client, json.dumps(hello)))
        self.assertEqual(self.get("/devices").json["devices"], [])
        self.ask(client, '{"command": "hello", "data": {"name": "x", "commands": "on off"}}')
        for data, error in (
            ({}, "1 to 8 values"),
            ({str(number): 1 for number in range(9)}, "1 to 8 values"),
            ({"a": None}, "a text of 1 to 200"),
            ({"a": []}, "a text of 1 to 200"),
            ({"a": "x" * 201}, "a text of 1 to 200"),
            ({"x" * 25: 1}, "a text of 1 to 24"),
        ):
            with self.subTest(data=data):
                message = json.dumps({"command": "reading", "data": data})
                self.assertIn(error, self.ask(client, message))
        self.assertIn("you are x", self.ask(client, "hello y"))
        self.assertIn("commands", self.ask(client, "hello x u 1 2 3 4 5 6 7"))
        self.assertIn("ok", self.ask(client, "reading 1"))

    def test_what_is_no_number_in_a_chart_is_a_text(self) -> None:
        client = self.tcp("hello x")
        for value in ("nan", "1e999", "<img src=x onerror=alert(1)>", "a\x1b[31m\u2028b"):
            self.assertIn("ok", self.ask(client, f"reading {value}"))
        device = self.known("x")
        self.assertEqual(device["points"], [])
        self.assertEqual(device["values"], {"value": "a [31m b"})
        huge = self.ask(client, json.dumps({"command": "reading", "data": 10**400}))
        self.assertIn("a text of 1 to 200", huge)

    def test_the_number_of_names_is_bounded_and_who_is_gone_makes_room(self) -> None:
        with mock.patch.object(devices_main, "MOST_DEVICES", 2):
            first = self.tcp("hello first")
            self.tcp("hello second")
            third = self.tcp()
            self.assertIn("2 devices are here already", self.ask(third, "hello third"))
            events = self.events()
            first.close()
            events.until("left", "first")
            self.assertIn("welcome", self.ask(third, "hello third"))
            self.assertEqual(events.until("forgotten")["name"], "first")
        names = [device["name"] for device in self.get("/devices").json["devices"]]
        self.assertEqual(names, ["second", "third"])


class Watching(DevicesTestCase):
    def test_the_numbers_tell_which_news_the_snapshot_knows(self) -> None:
        """Six devices at once, and news and snapshot never disagree about the order."""
        events = self.events()
        clients = [self.tcp(f"hello d{number}") for number in range(6)]
        for client in clients:
            client.send("".join(f"reading {value}\n" for value in range(20)))
        for client in clients:
            for _ in range(20):
                client.read_line()
        snapshot = self.get("/devices").json
        self.assertEqual(snapshot["n"], 6 + 6 * 20)
        for device in snapshot["devices"]:
            self.assertEqual(device["points"], list(range(20)))
        news = [events.next()["data"] for _ in range(snapshot["n"])]
        self.assertEqual([one["n"] for one in news], list(range(1, snapshot["n"] + 1)))
        self.assertLessEqual(snapshot["n"], 200, "the history would be too short for a resume")

    def test_who_comes_back_gets_exactly_what_it_missed(self) -> None:
        client = self.tcp("hello x")
        events = self.events()
        self.ask(client, "reading 1")
        events.until("reading")
        events._client.close()
        for value in (2, 3):
            self.ask(client, f"reading {value}")
        again = self.events(events.last)
        self.assertFalse(again.subscribed["gap"])
        self.assertEqual([again.until("reading")["values"]["value"] for _ in "23"], [2, 3])
        self.assertTrue(self.events("elsewhere-1").subscribed["gap"])

    def test_a_device_that_closes_leaves_with_reason_and_story(self) -> None:
        events = self.events()
        client = self.tcp("hello x")
        self.ask(client, "reading 1")
        story = self.get("/devices/x/story")
        self.assertIn("message reading", story.text)
        self.assertNotIn("PEER_CLOSED", story.text)
        client.close()
        left = events.until("left")["left"]
        self.assertEqual((left["reason"], left["text"]), ("PEER_CLOSED", "the peer closed"))
        self.assertIn("message reading", left["story"])
        device = self.known("x")
        self.assertEqual((device["left"], device["client_id"]), (left, None))
        self.assertEqual(self.get("/devices/x/story").text, left["story"])
        self.assertEqual(self.get("/devices/y/story").status, 404)

    def test_who_comes_back_before_it_was_missed_takes_its_place(self) -> None:
        old = self.meter()
        events = self.events()
        new = self.meter()
        self.assertEqual(json.loads(old.read_line())["reason"], "disconnected")
        old.expect_end()
        self.assertEqual(events.until("joined")["client_id"], new.client_id)
        wait_until(lambda: len(self.server.clients) == 1, "the old one is gone")
        self.ask(new, '{"command": "reading", "data": 5}')
        self.assertEqual(events.next()["data"]["what"], "reading")  # It has never left.
        self.assertIsNone(self.known("meter")["left"])

    def test_the_page_needs_nobody_else_and_trusts_nobody(self) -> None:
        page = self.get("/")
        self.assertEqual(page.get("Content-Type"), "text/html; charset=utf-8")
        self.assertNotRegex(page.text, r"https?://")
        script = page.text.partition("<script>")[2]
        self.assertNotRegex(
            script, r"\.(inner|outer)HTML|insertAdjacentHTML|document\.write|eval\("
        )
        for name in re.findall(r'find\("([a-z]+)"\)', script):
            self.assertIn(f'id="{name}"', page.text)
        # Its chart is as long as that of the snapshot.
        self.assertIn(f"const MOST = {devices_main.POINTS};", script)


class Commanding(DevicesTestCase):
    def ask_device(self, client: Client, name: str, answer: str) -> dict[str, Any]:
        """Send a command to a device that answers it, and return what the page gets."""
        responses: list[Response] = []
        asking = RunningThread(lambda: responses.append(self.command(name, "open")))
        pushed = client.read_line()
        ack = re.search(r'"?ack"?[=:] ?"(\w+)"', pushed)
        assert ack is not None, pushed
        self.assertIn("open", pushed)
        client.send(answer.format(ack=ack[1]) + "\n")
        asking.join()
        self.assertEqual(responses[0].status, 200)
        result: dict[str, Any] = responses[0].json
        return result

    def test_json_and_xml_devices_acknowledge(self) -> None:
        xml = self.tcp('<request command="hello"><name>valve</name></request>')
        for client, name, answer, reply in (
            (xml, "valve", '<ack id="{ack}">turning</ack>', "turning"),
            (self.meter(), "meter", '{{"ack": "{ack}", "data": "done\\u0007"}}', "done "),
        ):
            with self.subTest(name):
                result = self.ask_device(client, name, answer)
                self.assertEqual((result["state"], result["reply"]), ("acked", reply))
                self.assertGreater(result["ms"], 0)

    def test_a_reply_of_any_kind_is_a_text_of_bounded_length(self) -> None:
        client = self.meter()
        for data, reply in (
            ("[1, 2]", "[1, 2]"),
            ("null", "null"),
            ('"' + "x" * 300 + '"', "x" * 200),
        ):
            with self.subTest(reply[:10]):
                result = self.ask_device(
                    client, "meter", '{{"ack": "{ack}", "data": ' + data + "}}"
                )
                self.assertEqual(result["reply"], reply)

    def test_a_line_device_gets_it_and_cannot_acknowledge(self) -> None:
        client = self.tcp("hello x")
        self.assertEqual(self.command("x", "warmer").json, {"state": "sent"})
        self.assertEqual(json.loads(client.read_line()), {"type": "push", "data": {"do": "warmer"}})

    def test_a_device_that_does_not_answer_holds_one_thread_only(self) -> None:
        client = self.meter()
        may_end = threading.Event()
        self.addCleanup(may_end.set)
        with mock.patch.object(devices_main, "ANSWER_TIMEOUT", 0.5):
            responses: list[Response] = []
            asking = RunningThread(lambda: responses.append(self.command("meter", "on")))
            client.read_line()
            self.assertEqual(self.command("meter", "off").status, 409)
            asking.join()
        self.assertEqual(responses[0].json, {"state": "timeout", "after": 0.5})

    def test_a_device_that_leaves_instead_of_answering_is_gone(self) -> None:
        client = self.meter()
        responses: list[Response] = []
        asking = RunningThread(lambda: responses.append(self.command("meter", "on")))
        client.read_line()
        client.reset()
        asking.join()
        self.assertEqual(responses[0].json["state"], "gone")
        wait_until(lambda: self.known("meter")["left"], "it is seen to have left")
        self.assertEqual(self.command("meter", "on").json, {"state": "gone"})

    def test_what_cannot_be_commanded_is_an_error_with_a_sentence(self) -> None:
        self.tcp("hello x")
        for path, body, fields, status in (
            ("/devices/y/command", b'{"do": "on"}', {"Content-Type": "application/json"}, 404),
            ("/devices/x/command", b'{"do": ""}', {"Content-Type": "application/json"}, 400),
            ("/devices/x/command", b"[]", {"Content-Type": "application/json"}, 400),
            # What a page of another origin can send without asking.
            ("/devices/x/command", b'{"do": "on"}', {"Content-Type": "text/plain"}, 400),
        ):
            with self.subTest(body=body, fields=fields):
                response = fetch(self.server, "POST", path, body, fields=fields)
                self.assertEqual(response.status, status)
                self.assertTrue(response.json["error"])


class DeadDevices(DevicesTestCase):
    # A dead device does not close its end either, so the server lingers until it gives up.
    settings = {"tcp_ping_interval": 0.2, "tcp_idle_timeout": 0.7, "linger_timeout": 0.1}

    def test_a_json_device_that_misses_its_heartbeats_is_cut(self) -> None:
        events = self.events()
        client = self.meter()
        left = events.until("left")["left"]
        self.assertEqual(left["reason"], "PING_TIMEOUT")
        self.assertIn("no answer to a ping", left["story"])
        self.assertEqual(json.loads(client.read_line()), {"type": "ping"})

    def test_one_that_answers_but_measures_nothing_is_cut_as_well(self) -> None:
        events = self.events()
        client = self.meter()
        while '"ping"' in (line := client.read_line()):
            client.send('{"pong": true}\n')
        self.assertEqual(json.loads(line)["reason"], "idle")
        self.assertEqual(events.until("left")["left"]["reason"], "IDLE_TIMEOUT")

    def test_a_line_device_that_falls_silent_is_cut(self) -> None:
        events = self.events()
        self.tcp("hello x")
        self.assertEqual(events.until("left")["left"]["reason"], "IDLE_TIMEOUT")


class SimulatedDevices(DevicesTestCase):
    settings = {"tcp_ping_interval": 0.3}

    def switch_on(self) -> list[Any]:
        devices = [
            kind(self.server.tcp_address, name, interval=0.02, patience=0.05)
            for kind, name in (
                (sensors.Thermometer, "boiler"),
                (sensors.PowerMeter, "meter"),
                (sensors.Valve, "valve"),
            )
        ]
        for device in devices:
            device.start()
            self.addCleanup(device.stop)
        return devices

    def test_all_three_are_here_measure_and_obey(self) -> None:
        events = self.events()
        self.switch_on()
        for name in ("boiler", "meter", "valve"):
            while len(self.devices.snapshot()["devices"]) < 3:
                events.next()
            self.assertIsInstance(
                next(iter(events.until("reading", name)["values"].values())), float
            )
        self.assertEqual(self.command("boiler", "warmer").json, {"state": "sent"})
        self.assertEqual(self.command("meter", "off").json["reply"], "switched off")
        self.assertEqual(self.command("meter", "dance").json["reply"], "I can only be on or off")
        self.assertEqual(self.command("valve", "close").json["reply"], "turning to 0 %")
        self.assertIn("0 to 100", self.command("valve", "<b>").json["reply"])
        while events.until("reading", "valve")["values"] != {"position": 0.0, "motor": "at rest"}:
            pass
        while events.until("reading", "meter")["values"]["power"] > 20:
            pass
        while events.until("reading", "boiler")["values"]["value"] < 23:
            pass

    def test_a_meter_that_hangs_is_cut_by_heartbeats_and_comes_back(self) -> None:
        events = self.events()
        self.switch_on()
        events.until("reading", "meter")
        with mock.patch.object(devices_main, "ANSWER_TIMEOUT", 0.1):
            self.assertEqual(self.command("meter", "hang").json["state"], "timeout")
        left = events.until("left", "meter")["left"]
        self.assertEqual(left["reason"], "PING_TIMEOUT")
        self.assertIn("a push was not acknowledged in time", left["story"])
        events.until("joined", "meter")
        events.until("reading", "meter")

    def test_they_come_back_after_a_restart_of_the_server(self) -> None:
        self.switch_on()
        wait_until(lambda: len(self.devices.snapshot()["devices"]) == 3, "all are here")
        http, tcp = self.server.http_address, self.server.tcp_address
        stop(self.server)
        self.server.start(http_port=http[1], tcp_port=tcp[1])
        wait_until(
            lambda: all(not device["left"] for device in self.devices.snapshot()["devices"]),
            "all are here again",
        )
        self.assertEqual(self.logs.find("Traceback"), [])


def program(*arguments: str) -> Program:
    """Start the example as `make run-example EXAMPLE=devices` does."""
    return Program(
        "import runpy, sys\n"
        f"sys.path.insert(0, {str(FOLDER)!r})\n"
        f"sys.argv = ['main.py', *{list(arguments)!r}]\n"
        f"runpy.run_path({str(FOLDER / 'main.py')!r}, run_name='__main__')\n"
    )


class TheProgram(unittest.TestCase):
    def read_hints(self, running: Program) -> list[str]:
        lines: list[str] = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(running.read_line().strip())
        return lines

    def test_the_lines_it_prints_work_when_pasted(self) -> None:
        with program("--http-port", "0", "--tcp-port", "0") as running:
            lines = self.read_hints(running)
            netcat = next(line for line in lines if line.startswith("nc "))
            _, host, port = netcat.split()
            first = lines.index(netcat) + 1
            with Client((host, int(port))) as client:
                for line in lines[first : lines.index("", first)]:
                    with self.subTest(line):
                        client.send(line + "\n")
                        self.assertNotIn("error", client.read_line())
                self.paste_curl([line for line in lines if line.startswith("curl ")])
            running.signal(signal.SIGINT)
            status, _, errors = running.finish()
            self.assertEqual(status, 0, errors)
            self.assertNotIn("Traceback", errors)

    def paste_curl(self, lines: list[str]) -> None:
        self.assertEqual(len(lines), 4)
        if shutil.which("curl") is None:
            return
        for line in lines:
            if " -N " in line:
                continue  # It does not end: tested above.

            def paste(line: str = line) -> bool:
                done = subprocess.run(
                    ["sh", "-c", line.replace("curl ", "curl --fail --silent ", 1)],
                    capture_output=True,
                    timeout=10,
                )
                return done.returncode == 0

            wait_until(paste, f"{line} works")  # The simulated devices need a moment to connect.

    def test_sigterm_ends_it_in_good_order(self) -> None:
        with program("--http-port", "0", "--tcp-port", "0", "--no-sensors") as running:
            self.read_hints(running)
            running.signal(signal.SIGTERM)
            status, _, errors = running.finish()
            self.assertEqual(status, 0, errors)
            self.assertIn("stopped", errors)


if __name__ == "__main__":
    unittest.main()
