"""The chat example keeps what it promises, over real sockets: TCP, HTTP and events in one room."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest
from types import SimpleNamespace
from typing import Any
from unittest import mock

from tests.support import (
    ROOT,
    Client,
    Program,
    Response,
    captured_logs,
    fetch,
    stop,
    wait_until,
)

FOLDER = ROOT / "examples" / "chat"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def load() -> Any:
    """Return the example as a module; it is no package."""
    spec = importlib.util.spec_from_file_location("chat_example", FOLDER / "main.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


chat = load()


class Events:
    """A browser's EventSource, in short: (event, id, data) one by one."""

    def __init__(self, client: Client, target: str = "/events", last: str | None = None) -> None:
        self._client = client
        self._text = ""
        fields = {} if last is None else {"Last-Event-ID": last}
        client.send_request("GET", target, fields=fields)
        self.head = client.read_head()

    def next(self) -> tuple[str, str, Any]:
        """Return the next event; comments and events without data are skipped."""
        while True:
            while "\n\n" not in self._text:
                self._text += self._client.read_chunk().decode()
            block, _, self._text = self._text.partition("\n\n")
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
            if "data" in fields:
                data = json.loads(fields["data"])
                return fields.get("event", "message"), fields.get("id", ""), data

    def until(self, event: str) -> tuple[list[dict[str, Any]], Any]:
        """Return the messages before the next event of this kind, and its data."""
        messages = []
        while True:
            kind, id, data = self.next()
            if kind == event:
                return messages, data
            if kind == "message":
                assert id == data["id"]
                messages.append(data)

    def messages(self, number: int) -> list[dict[str, Any]]:
        """Return so many messages."""
        found = []
        while len(found) < number:
            kind, _, data = self.next()
            if kind == "message":
                found.append(data)
        return found


class ChatTestCase(unittest.TestCase):
    def setUp(self) -> None:
        self.logs = self.enterContextOf(captured_logs())
        self.server, self.room = chat.build(http_port=0, tcp_port=0, info=False)
        self.server.start()
        self.addCleanup(stop, self.server)

    def enterContextOf(self, manager: Any) -> Any:
        """`enterContext` of Python 3.11."""
        value = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return value

    def tcp(self, name: str | None = None) -> Client:
        """Return a TCP client, with a name where one is given and the pushes of that taken."""
        client = Client(self.server.tcp_address)
        self.addCleanup(client.close)
        if name is not None:
            client.send(f"join {name}\n")
            while "welcome" not in self.json(client):
                pass
        return client

    def json(self, client: Client) -> dict[str, Any]:
        """Return the next line."""
        return json.loads(client.read_line())

    def ask(self, client: Client, message: str) -> dict[str, Any]:
        """Send a line or a JSON message, and return its answer; pushes before it are skipped."""
        client.send(message + "\n")
        while (answer := self.json(client)).get("type") == "push":
            pass
        return answer

    def pushed(self, client: Client) -> dict[str, Any]:
        """Return the next push of something that was said by a person."""
        while True:
            frame = self.json(client)
            if frame.get("type") == "push" and frame["data"].get("via") != "room":
                return frame["data"]

    def events(self, target: str = "/events", last: str | None = None) -> Events:
        client = Client(self.server.http_address)
        self.addCleanup(client.close)
        return Events(client, target, last)

    def get(self, target: str) -> Response:
        return fetch(self.server, "GET", target)

    def post(self, target: str, body: Any) -> Response:
        """POST a form (a str) or JSON (anything else)."""
        if isinstance(body, str):
            return fetch(self.server, "POST", target, body.encode(), fields=FORM)
        with Client(self.server.http_address) as client:
            return client.post_json(target, body)


class TcpClients(ChatTestCase):
    def test_lines_json_and_xml_share_a_room(self) -> None:
        """T1, T2, P3: each is told in its own format."""
        line, structured, xml = self.tcp("alice"), self.tcp(), self.tcp()
        answer = self.ask(structured, '{"command": "join", "data": {"name": "bob"}, "id": 7}')
        self.assertEqual((answer["welcome"], answer["id"]), ("bob", 7))
        xml.send('<request command="nick"><name>小明</name></request>\n')
        while "<welcome>小明</welcome>" not in xml.read_line():
            pass
        xml.send('<request command="say">a &lt;b&gt; c</request>\n')
        for client in (line, structured):
            said = self.pushed(client)
            self.assertEqual((said["name"], said["text"], said["via"]), ("小明", "a <b> c", "xml"))
        self.ask(line, "say from a line")
        self.assertIn("<text>a &lt;b&gt; c</text>", xml.read_line())
        self.assertRegex(xml.read_line(), "^<response><said>.*</said></response>$")
        self.assertRegex(xml.read_line(), "^<push>.*<text>from a line</text><via>line</via>")

    def test_who_lists_those_connected_with_and_without_a_name(self) -> None:
        """T7, T8."""
        alice, guest = self.tcp("alice"), self.tcp()
        for question in ("who", "clients"):
            roll = self.ask(guest, question)
            self.assertEqual(
                roll["clients"],
                [
                    {"client_id": alice.client_id, "name": "alice"},
                    {"client_id": guest.client_id, "name": None},
                ],
            )
        self.assertEqual(self.get("/clients").json, roll)

    def test_who_leaves_disappears_and_the_others_are_told(self) -> None:
        alice, bob = self.tcp("alice"), self.tcp("bob")
        alice.close()
        wait_until(lambda: len(self.server.clients) == 1, "the server has noticed")
        self.assertEqual([one["name"] for one in self.room.roll()["clients"]], ["bob"])
        self.room.call_roll()
        while (frame := self.json(bob))["data"]["text"] != "alice has left":
            pass
        self.assertEqual(frame["data"]["via"], "room")
        self.assertEqual(self.room._names.keys(), set(self.server.clients.values()))

    def test_a_name_is_for_one(self) -> None:
        alice, other = self.tcp("alice"), self.tcp()
        answer = self.ask(other, "join ALICE")
        self.assertEqual((answer["error"], answer["status"]), ("there is a alice already", 409))
        self.assertEqual(self.ask(alice, "nick Alice")["welcome"], "Alice")
        self.assertEqual(self.ask(alice, "quit")["bye"], alice.client_id)
        self.assertEqual(alice.receive(), b"", "quit hangs up")
        self.assertEqual(self.ask(other, "join alice")["welcome"], "alice")

    def test_who_has_no_name_speaks_under_the_client_id(self) -> None:
        guest = self.tcp()
        guest.send("say hello\n")
        self.assertEqual(self.pushed(guest)["name"], guest.client_id)

    def test_subscribe_tells_the_id_and_what_was_said(self) -> None:
        self.room.say("carol", "before", "web")
        client = self.tcp()
        answer = self.ask(client, "subscribe")
        self.assertEqual(answer["client_id"], client.client_id)
        self.assertEqual([message["text"] for message in answer["history"]], ["before"])

    def test_help_names_the_commands_there_are(self) -> None:
        client = self.tcp()
        for line in self.ask(client, "help"):
            command = line.split()[0]
            with self.subTest(command):
                self.assertIsNotNone(self.server.router.resolve_command(command))

    def test_what_cannot_be_said_is_an_error_and_the_client_stays(self) -> None:
        """T5."""
        client = self.tcp()
        for message, error in (
            ("say", "the text is missing"),
            ('{"command": "say", "data": 5}', "the text is missing"),
            ('{"command": "say", "data": {"words": "x"}}', "the text is missing"),
            ("say " + "x" * 401, "the text is longer than 400 characters"),
            ("join " + "x" * 25, "the name is longer than 24 characters"),
            ("sing", "Command not found"),
        ):
            with self.subTest(message):
                self.assertEqual(self.ask(client, message)["error"], error)
        self.assertEqual(self.room.history(), [])

    def test_no_text_can_forge_a_line_or_break_the_encoding(self) -> None:
        client = self.tcp()
        client.send('{"command": "say", "data": "a\\u001b[31m\\nb\\ud800\\u2028c"}\n')
        self.assertEqual(self.pushed(client)["text"], "a [31m b\ufffd c")


class HttpSide(ChatTestCase):
    def test_a_broadcast_as_form_and_as_json_reaches_all(self) -> None:
        clients = [self.tcp(), self.tcp()]
        wait_until(lambda: len(self.server.clients) == 2, "both are connected")
        for body, name in (
            ("name=carol&text=hello+there", "carol"),
            ({"text": "hello there"}, "somebody"),
        ):
            answer = self.post("/broadcast", body).json
            self.assertEqual(answer["reached"], 2)
            for client in clients:
                said = self.pushed(client)
                self.assertEqual((said["name"], said["text"]), (name, "hello there"))
                self.assertEqual(said["id"], answer["said"])

    def test_what_is_sent_to_one_is_told_to_nobody_else(self) -> None:
        alice, bob = self.tcp("alice"), self.tcp("bob")
        for to in ("alice", alice.client_id):
            self.assertEqual(
                self.post("/send", {"to": to, "name": "carol", "text": "psst"}).json, {"sent": to}
            )
            said = self.pushed(alice)
            self.assertEqual((said["text"], said["private"]), ("psst", True))
        self.room.say("carol", "for all", "web")
        self.assertEqual(self.pushed(bob)["text"], "for all")
        self.assertNotIn("psst", self.get("/transcript").text)
        self.assertEqual(self.post("/send", {"to": "nobody", "text": "x"}).status, 404)

    def test_what_is_missing_or_too_long_is_a_400_with_a_reason(self) -> None:
        for path, body, error in (
            ("/broadcast", "name=carol", "the text is missing"),
            ("/broadcast", "text=" + "x" * 401, "the text is longer than 400 characters"),
            ("/broadcast", ["hello"], "send a JSON object"),
            ("/send", "text=x", "the receiver is missing"),
            ("/remind", "in=soon", "in must be 0 to 60 seconds"),
            ("/remind", "in=nan", "in must be 0 to 60 seconds"),
            ("/remind", {"in": None}, "in must be 0 to 60 seconds"),
            ("/remind", "in=61", "in must be 0 to 60 seconds"),
        ):
            with self.subTest(path=path, body=body):
                response = self.post(path, body)
                self.assertEqual((response.status, response.json), (400, {"error": error}))

    def test_a_reminder_comes_from_a_background_task(self) -> None:
        """B1."""
        client = self.tcp()
        self.ask(client, "who")
        response = self.post("/remind?in=0", "text=tea")
        self.assertEqual((response.status, response.json), (202, {"reminder": "tea", "in": 0.0}))
        said = self.pushed(client)
        self.assertEqual((said["name"], said["text"], said["via"]), ("reminder", "tea", "task"))

    def test_the_number_of_reminders_is_bounded(self) -> None:
        """B2: those that run, and those that wait; one more is a 503."""
        may_end = threading.Event()
        self.addCleanup(may_end.set)
        slow = SimpleNamespace(
            monotonic=time.monotonic,
            perf_counter=time.perf_counter,
            sleep=lambda seconds: may_end.wait(10),
        )
        with mock.patch.object(chat, "time", slow):
            statuses = []
            for _ in range(self.server.config.task_workers):
                statuses.append(self.post("/remind", "in=60").status)
            wait_until(lambda: self.server.tasks.queued == 0, "all of these run")
            for _ in range(chat.REMINDERS + 1):
                statuses.append(self.post("/remind", "in=60").status)
            self.assertEqual(statuses, [202] * (len(statuses) - 1) + [503])
            may_end.set()
            wait_until(lambda: self.server.tasks.is_idle, "all have ended")
        self.assertEqual(len(self.room.history()), len(statuses) - 1)

    def test_the_transcript_is_text(self) -> None:
        self.room.say("alice", "hello", "line")
        self.assertRegex(self.get("/transcript").text, r"^\d{4}-.*Z alice \(line\): hello\n$")

    def test_every_answer_says_how_long_its_handler_took(self) -> None:
        """M4, M5: pages, plain values, errors and streams alike."""
        for path, status in (("/", 200), ("/clients", 200), ("/transcript", 200), ("/no", 404)):
            with self.subTest(path):
                response = self.get(path)
                self.assertEqual(response.status, status)
                self.assertRegex(response.get("Server-Timing") or "", r"^handler;dur=\d+\.\d\d$")

    def test_the_statistics_grow_with_routes_and_not_with_paths(self) -> None:
        for number in range(20):
            self.get(f"/made-up-{number}")
        self.ask(self.tcp(), "who")
        self.get("/clients")
        handlers = self.get("/stats").json["handlers"]
        self.assertEqual(handlers.keys(), {"(no such route)", "who", "/clients"})
        self.assertEqual(handlers["(no such route)"]["calls"], 20)

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


class WatchingBrowsers(ChatTestCase):
    def test_a_newcomer_gets_what_was_said_then_who_is_here_then_what_happens(self) -> None:
        self.room.say("alice", "first", "line")
        events = self.events()
        self.assertEqual(events.head.get("Content-Type"), "text/event-stream")
        _, hello = events.until("hello")
        self.assertFalse(hello["resumes"])
        self.assertEqual(hello["tcp"], list(self.server.tcp_address))
        messages, roll = events.until("roll")
        self.assertEqual([message["text"] for message in messages], ["first"])
        self.assertEqual((roll["count"], roll["watching"]), (0, 1))
        self.room.say("alice", "second", "line")
        self.assertEqual(events.messages(1)[0]["text"], "second")

    def test_who_comes_back_gets_exactly_what_it_missed(self) -> None:
        ids = [self.room.say("alice", text, "line")[0]["id"] for text in "abcd"]
        for target, last in (("/events", ids[1]), (f"/events?last={ids[1]}", None)):
            with self.subTest(target):
                events = self.events(target, last)
                self.assertTrue(events.until("hello")[1]["resumes"])
                messages, _ = events.until("roll")
                self.assertEqual([message["text"] for message in messages], ["c", "d"])

    def test_the_id_of_a_server_before_this_one_gets_all_there_is(self) -> None:
        self.room.say("alice", "new", "line")
        for last in ("000000.1", "nonsense", "1" * 5000):
            with self.subTest(last[:20]):
                events = self.events(last=last)
                self.assertFalse(events.until("hello")[1]["resumes"])
                self.assertEqual(len(events.until("roll")[0]), 1)

    def test_names_and_departures_are_seen(self) -> None:
        events = self.events()
        events.until("roll")
        alice = self.tcp("alice")
        self.assertEqual(events.until("roll")[1]["clients"][0]["name"], "alice")
        alice.close()
        wait_until(lambda: not self.server.clients, "the server has noticed")
        self.room.call_roll()
        messages, roll = events.until("roll")
        self.assertEqual([message["text"] for message in messages], ["alice has left"])
        self.assertEqual(roll["clients"], [])

    def test_a_browser_that_has_left_is_forgotten(self) -> None:
        events = self.events()
        events.until("roll")
        self.assertEqual(self.room.roll()["watching"], 1)
        events._client.close()

        def is_forgotten() -> bool:
            self.room.say("alice", "anybody?", "line")
            return self.room.roll()["watching"] == 0

        wait_until(is_forgotten, "the room has forgotten it")
        self.assertEqual(self.room._watchers, set())

    def test_the_history_is_bounded_and_its_largest_fits_a_newcomer(self) -> None:
        """Over event_buffer the newcomer would be cut off: so the limits of the room matter."""
        name, text = "\U0001f600" * chat.LONGEST_NAME, "\U0001f600" * chat.LONGEST_TEXT
        for _ in range(chat.HISTORY + 20):
            self.room.say(name, text, "json")
        self.assertEqual(len(self.room.history()), chat.HISTORY)
        messages, _ = self.events().until("roll")
        self.assertEqual(len(messages), chat.HISTORY)
        self.assertEqual({message["text"] for message in messages}, {text})

    def test_all_see_the_same_messages_in_the_same_order(self) -> None:
        """Six clients talk at once, on as many threads: nothing is lost, doubled or swapped."""
        watcher = self.events()
        watcher.until("roll")
        clients = [self.tcp(f"client{number}") for number in range(6)]
        for client in clients:
            client.send("".join(f"say {number}\n" for number in range(10)))
        seen = []
        for client in clients:
            texts = []
            while len(texts) < 60:
                said = self.pushed(client)
                texts.append((said["id"], said["name"], said["text"]))
            seen.append(texts)
        for texts in seen[1:]:
            self.assertEqual(texts, seen[0])
        self.assertEqual(len({id for id, _, _ in seen[0]}), 60)
        for number in range(6):
            own = [text for _, name, text in seen[0] if name == f"client{number}"]
            self.assertEqual(own, [str(number) for number in range(10)])
        watched = [message for message in watcher.messages(66) if message["via"] != "room"]
        self.assertEqual([message["id"] for message in watched], [id for id, _, _ in seen[0]])


def program(*arguments: str) -> Program:
    """Start the example as `make run-example` does."""
    return Program(
        "import runpy, sys\n"
        f"sys.argv = ['main.py', *{list(arguments)!r}]\n"
        f"runpy.run_path({str(FOLDER / 'main.py')!r}, run_name='__main__')\n"
    )


class TheProgram(unittest.TestCase):
    def read_hints(self, running: Program) -> list[str]:
        lines = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(running.read_line())
        return lines

    def test_the_lines_it_prints_work_when_pasted(self) -> None:
        with program("--http-port", "0", "--tcp-port", "0") as running:
            lines = [line.strip() for line in self.read_hints(running)]
            netcat = next(line for line in lines if line.startswith("nc "))
            _, host, port = netcat.split()
            first = lines.index(netcat) + 1
            with Client((host, int(port))) as client:
                for line in lines[first : lines.index("", first)]:
                    with self.subTest(line):
                        client.send(line + "\n")
                        while '"push"' in (answer := client.read_line()) or "<push>" in answer:
                            pass
                        self.assertNotIn("error", answer)
                self._paste_curl([line for line in lines if line.startswith("curl ")])
            running.signal(signal.SIGINT)
            status, _, errors = running.finish()
            self.assertEqual(status, 0, errors)
            self.assertNotIn("Traceback", errors)

    def _paste_curl(self, lines: list[str]) -> None:
        self.assertGreaterEqual(len(lines), 8)
        if shutil.which("curl") is None:
            return
        for line in lines:
            if " -N " in line:
                continue  # It does not end: tested above.
            with self.subTest(line):
                done = subprocess.run(
                    ["sh", "-c", line.replace("curl ", "curl --fail --silent ", 1)],
                    capture_output=True,
                    timeout=10,
                )
                self.assertEqual(done.returncode, 0, done.stdout)

    def test_sigterm_ends_it_in_good_order(self) -> None:
        with program("--http-port", "0", "--tcp-port", "0") as running:
            self.read_hints(running)
            running.signal(signal.SIGTERM)
            status, _, errors = running.finish()
            self.assertEqual(status, 0, errors)
            self.assertIn("stopped", errors)

    def test_a_port_in_use_is_one_sentence_and_status_1(self) -> None:
        """C4."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            with program("--http-port", port, "--tcp-port", "0") as running:
                status, out, errors = running.finish()
        self.assertEqual((status, out), (1, ""))
        self.assertIn(port, errors)
        self.assertNotIn("Traceback", errors)


if __name__ == "__main__":
    unittest.main()
