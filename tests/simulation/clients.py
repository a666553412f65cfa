"""The clients of a simulated world: what each has sent, has read, and is still owed.

The rule: a client takes one small step when the scheduler says so: sends some bytes, reads
some, leaves. What it reads is compared with the reference at once, byte for byte; what may
be missing is decided at the end, by how its connection was closed.

Chapter: docs/simulation.md.
"""

from __future__ import annotations

import json
import random
import zlib
from typing import TYPE_CHECKING

from tests.fakes import Peer
from tests.simulation.book import covers
from tests.simulation.excuses import check_excuse, may_lack
from tests.simulation.kernel import SimSocket
from tests.simulation.model import (
    PUSHED,
    TOPICS,
    Ask,
    Line,
    Misframed,
    Reply,
    Told,
    hogging,
    hogging_told,
    http_ask,
    listening,
    read_line,
    read_response,
    speaking_http,
    subscribe_since,
    subscribing,
    tcp_told,
)

if TYPE_CHECKING:
    from tests.simulation.world import World

HOGS = 0.06  # Of the clients, so many ask by the dozen and await nothing.
ASKS_OF_A_HOG = 200


class Client:
    """What both kinds of clients have in common: a peer, a script, a mood."""

    is_http = True

    def __init__(self, world: World, name: str, r: random.Random) -> None:
        self.world = world
        self.name = name
        self.peer: Peer | None = None
        self.capacity = r.choice((64, 1000, 20_000, 1 << 20))
        self.appetite = r.choice((1.0, 1.0, 0.3, 0.02))  # How likely it reads when it may.
        # It sends all it has at once, or waits for each answer.
        self.pipelines = r.random() < 0.5
        self.is_hog = r.random() < HOGS
        self.to_send = b""
        self.sent = 0  # Bytes.
        self.ends: list[int] = []  # Where in the bytes sent each request is whole.
        self.data = bytearray()  # Read, and not yet understood.
        self.answered = 0
        self.is_over_after = False  # An answer said that it is the last.
        self.has_half_closed = False
        self.has_left = False  # Has closed or reset.
        self.read_at = 0.0
        self.sent_at = 0.0
        self.asked_at = 0.0  # It sent a byte of a request: signals are none.
        self.connected_at = 0.0
        self.is_signalling = False
        self.reason: str | None = None  # Why the server closed it.
        self.was_stalled = False  # Reset after it had taken nothing for send_timeout.
        self.finish_reason: str | None = None  # Why it began to say goodbye.
        self.memory: dict[str, str] = {}  # By topic or pattern: the position it has reached.
        self.has_successor = False
        self.signals: list[bytes] = []  # Acks and pongs to send between two requests.

    # --- steps

    @property
    def address(self) -> tuple[str, int]:
        """Where the server listens for it."""
        server = self.world.server
        return server.http_address if self.is_http else server.tcp_address

    @property
    def can_connect(self) -> bool:
        """True until the port is closed: at a stop one may be so before the other."""
        return self.peer is None and tuple(self.address[:2]) in self.world.network.listeners

    def connect(self) -> None:
        world = self.world
        peer = world.network.connect(self.address, capacity=self.capacity)
        sock = peer.sock
        assert isinstance(sock, SimSocket)
        sock.name = self.name
        self.peer = peer
        self.read_at = self.sent_at = self.asked_at = self.connected_at = world.clock.now
        world.by_address[peer.address] = self

    @property
    def is_connected(self) -> bool:
        return self.peer is not None and not self.has_left

    @property
    def owes(self) -> bool:
        """True while it has something to send."""
        if self.has_half_closed or self.has_left or self.is_over_after:
            return False
        return bool(self.to_send or self.signals) or self.has_more

    @property
    def has_more(self) -> bool:
        """True where the script goes on."""
        raise NotImplementedError

    def next_request(self) -> None:
        """Add the next one of the script to `to_send`."""
        raise NotImplementedError

    def send_some(self, r: random.Random) -> None:
        """Send a piece of what is to be sent, cut anywhere."""
        if self.peer is None or not self.owes:
            return
        if not self.to_send and self.signals:
            self.to_send = b"".join(self.signals)
            self.signals.clear()
            self.is_signalling = True
        if not self.to_send:
            if not (self.pipelines or self.is_hog) and self.answered < len(self.ends):
                return  # Wait for the answer.
            for _ in range(100 if self.is_hog else r.randint(1, 8) if self.pipelines else 1):
                if self.has_more:
                    self.is_signalling = False
                    self.next_request()
        size = r.choice((1, 3, r.randint(1, 60), r.randint(1, 600), len(self.to_send)))
        piece, self.to_send = self.to_send[:size], self.to_send[size:]
        self.sent += len(piece)
        self.sent_at = self.world.clock.now
        if not self.is_signalling:
            self.asked_at = self.sent_at
        self.world.note(f"{self.name} sends {len(piece)}")
        self.peer.send(piece)

    def read_some(self, r: random.Random) -> None:
        """Read what is here, or a part of it."""
        peer = self.peer
        if peer is None or not peer.unread or self.has_left:
            return
        size = r.choice((1, 50, 1000, len(peer.unread), len(peer.unread)))
        self.data += peer.unread[:size]
        del peer.unread[:size]
        self.read_at = self.world.clock.now
        self.world.note(f"{self.name} reads {min(size, len(self.data))}")
        self.understand()

    def half_close(self) -> None:
        if self.is_connected and not self.has_half_closed:
            assert self.peer is not None
            self.world.note(f"{self.name} sends FIN")
            self.has_half_closed = True
            self.peer.half_close()

    def leave(self, by_reset: bool) -> None:
        if self.is_connected:
            assert self.peer is not None
            self.world.note(f"{self.name} {'resets' if by_reset else 'closes'}")
            self.has_left = True
            self.peer.reset() if by_reset else self.peer.close()

    # --- what it is owed

    def understand(self) -> None:
        """Compare what has come with what is due."""
        raise NotImplementedError

    @property
    def whole_requests(self) -> int:
        """Requests that were sent to their last byte."""
        return sum(end <= self.sent for end in self.ends)

    @property
    def is_content(self) -> bool:
        """True where it has all it is owed, or will get no more."""
        peer = self.peer
        if peer is None or self.has_left or peer.saw_reset:
            return True
        if peer.unread:
            return False
        if peer.saw_fin:
            return True
        return not self.owes and self.answered + self.is_listening >= len(self.ends)

    @property
    def is_listening(self) -> bool:
        """True for a browser in the middle of events that have no end."""
        return False

    def heard(self, line: Line) -> None:
        """The server says something unasked."""
        topic, id = line.fields.get("topic"), line.fields.get("id")
        if line.type in ("push", "subscribed") and topic is not None and id is not None:
            for name in {*self.memory, topic}:
                if covers(name, topic):
                    self.memory[name] = id
        self.world.book.heard(self, line)

    def fail(self, invariant: str, text: str) -> None:
        self.world.violate(invariant, f"{self.name}: {text}")

    def check_end(self) -> None:
        """The connection is over: is what it lacks excused?"""
        raise NotImplementedError


class HttpClient(Client):
    """Asks over HTTP."""

    def __init__(self, world: World, name: str, r: random.Random) -> None:
        super().__init__(world, name, r)
        count = r.choice((0, 1, 3, r.randint(1, 20)))
        most = world.plan.most_body
        self.asks: list[Ask] = [http_ask(r, world.new_number(), most) for _ in range(count)]
        if self.is_hog:
            self.asks = [hogging(world.new_number()) for _ in range(ASKS_OF_A_HOG)]
        self.topic = r.choice((*TOPICS, "room:*"))
        self.since = r.choice((None, "0", "0", "strange-5"))
        if r.random() < (
            0.8 if world.plan.theme == "push" else 0.2
        ):  # The last one: it has no end.
            self.asks.append(listening(world.new_number(), self.topic, None))
        self.asked = 0
        self.blocks = 0  # Events of the current answer that were looked at.

    @property
    def has_more(self) -> bool:
        return self.asked < len(self.asks)

    def next_request(self) -> None:
        ask = self.asks[self.asked]
        if ask.kind == "listen":
            since = self.memory.get(self.topic, self.since)
            ask = self.asks[self.asked] = listening(ask.number, self.topic, since)
        self.asked += 1
        self.to_send += ask.data
        self.ends.append(self.sent + len(self.to_send))
        self.world.note(f"{self.name} asks {ask.kind} {ask.number}")

    def understand(self) -> None:
        while self.data:
            if self.is_over_after:
                self.fail("silence", f"after the last answer came {bytes(self.data[:80])!r}")
            if self.answered >= self.asked:
                if self._take_unasked_end():
                    continue
                return
            ask = self.asks[self.answered]
            try:
                reply = read_response(bytes(self.data), ask.is_head)
            except Misframed as error:
                self.fail("answers", f"{error} (request {ask.number})")
                return
            if reply is not None and ask.is_head and reply.status in (400, 408, 503):
                # Refused before its request was read: nobody knew that it is a HEAD.
                ends = reply.fields.get("connection") == "close"
                assert self.peer is not None
                is_all = self.peer.saw_fin and not self.peer.unread
                if ends and len(self.data) == reply.used and not is_all:
                    return
                if self.data[reply.used : reply.used + 1] == b"{":
                    reply = read_response(bytes(self.data), False)
            if reply is None:
                return
            if reply.status == 100:
                if not ask.continues:
                    self.fail("answers", f"a 100 that request {ask.number} did not ask for")
                del self.data[: reply.used]
                continue
            self._compare(ask, reply)
            if not reply.is_whole:
                return
            del self.data[: reply.used]
            self.answered += 1
            self.world.note(f"{self.name} has the answer {ask.number}: {reply.status}")
            self.is_over_after = "close" in reply.fields.get("connection", "").lower()
            is_expected = reply.status == ask.status and not reply.until_close
            if ask.is_last and is_expected and not self.is_over_after:
                self.fail("answers", f"request {ask.number}: the connection should close")

    def _take_unasked_end(self) -> bool:
        """Busy, a timeout, an end of ours within a request: answers that close the connection."""
        try:
            reply = read_response(bytes(self.data), False)
        except Misframed as error:
            self.fail("answers", f"unasked came {error}")
            return False
        if reply is None or not reply.is_whole:
            return False
        if reply.status not in (400, 408, 503):
            self.fail("answers", f"unasked came {reply.status}")
        check_excuse(self.world, self, None, reply.status)
        del self.data[: reply.used]
        self.is_over_after = True
        return True

    def _compare(self, ask: Ask, reply: Reply) -> None:
        if reply.status != ask.status:
            if not reply.is_whole:
                return
            check_excuse(self.world, self, ask, reply.status)
            if reply.status in (400, 408, 504) and reply.fields.get("connection") != "close":
                self.fail("answers", f"{reply.status} to {ask.number} without close")
            return
        if ask.kind == "events":
            self._compare_events(ask, reply)
            return
        if ask.kind == "listen":
            self._hear_events(reply)
            return
        for name, value in ask.fields:
            said = reply.fields.get(name)
            if name == "vary" and said is not None:
                said = ", ".join(sorted(said.split(", ")))
            if said != value:
                self.fail("answers", f"{ask.kind} {ask.number}: {name} is {said}, not {value}")
        if reply.is_whole and reply.fields.get("content-encoding") == "gzip":
            reply = reply._replace(body=zlib.decompress(reply.body, 31))
        if isinstance(ask.body, dict):
            if reply.is_whole and json.loads(reply.body) != ask.body:
                self.fail("answers", f"{ask.number}: {reply.body[:80]!r} instead of {ask.body}")
        elif ask.body is not None:
            if not ask.body.startswith(reply.body) or (reply.is_whole and reply.body != ask.body):
                self.fail("answers", f"{ask.kind} {ask.number}: wrong bytes, {len(reply.body)}")
        if ask.is_cut and reply.is_whole:
            self.fail("answers", f"{ask.number}: a stream that failed looks complete")

    def _compare_events(self, ask: Ask, reply: Reply) -> None:
        *blocks, rest = reply.body.split(b"\n\n")
        seen = [block for block in blocks if not block.startswith(b":")]
        expected = [b"data: %d:%d" % (ask.number, index) for index in range(len(seen))]
        if seen != expected or len(seen) > ask.events:
            self.fail("pushes", f"events of {ask.number}: {seen[-3:]} instead of {expected[-3:]}")
        if reply.is_whole and (rest or len(seen) != ask.events):
            if not self.world.is_stopping:
                self.fail("pushes", f"events of {ask.number}: {len(seen)} of {ask.events}")

    def _hear_events(self, reply: Reply) -> None:
        """The events of a topic: each is what a TCP client would read as a line."""
        *blocks, rest = reply.body.split(b"\n\n")
        for block in blocks[self.blocks :]:
            self.blocks += 1
            if block.startswith(b":"):
                continue
            id_line, _, data = block.rpartition(b"data: ")
            line = read_line(data)
            if line.type not in PUSHED:
                self.fail("frames", f"an event that is none: {block[:80]!r}")
            its_id = str(line.fields.get("id", "")).encode()
            if id_line and id_line != b"id: %b\n" % its_id:
                self.fail("frames", f"the id of an event is not its own: {block[:80]!r}")
            self.heard(line)
        if reply.is_whole and not self.world.is_stopping:
            self.fail("answers", "events of a topic have come to an end")

    @property
    def is_listening(self) -> bool:
        return self.answered < self.asked and self.asks[self.answered].kind == "listen"

    def check_end(self) -> None:
        if self.peer is None or self.has_left:
            return
        if self.data and self.answered < self.asked:
            self._check_cut(self.asks[self.answered])
        if self.is_over_after or may_lack(self.world, self):
            return
        due = self.whole_requests
        if self.answered < due:
            ask = self.asks[self.answered]
            if ask.kind == "listen" or ask.is_cut or (ask.kind == "stream" and ask.is_last):
                return  # Checked above.
            self.fail(
                "answers",
                f"{self.answered} answers to {due} requests; the next is {ask.kind} "
                f"{ask.number}; closed: {self.reason}",
            )

    def _check_cut(self, ask: Ask) -> None:
        """What is here of an answer that will not go on."""
        reply = read_response(bytes(self.data), ask.is_head)
        if reply is None or reply.status != ask.status:
            return
        if reply.until_close and self.peer is not None and self.peer.saw_fin:
            if reply.body != ask.body and not may_lack(self.world, self):
                self.fail("answers", f"{ask.number}: a body cut short looks complete")
        elif ask.is_cut and reply.body != ask.body and not may_lack(self.world, self):
            self.fail("answers", f"{ask.number}: what came before the failure is not all here")


class TcpClient(Client):
    """Sends messages in three formats, and hears pushes."""

    is_http = False

    def __init__(self, world: World, name: str, r: random.Random) -> None:
        super().__init__(world, name, r)
        count = r.choice((0, 1, 3, r.randint(1, 20)))
        most = world.plan.most_body
        share = 0.6 if world.plan.theme == "push" else 0.2
        self.script: list[Told] = [
            subscribing(r, world.new_number())
            if r.random() < share
            else tcp_told(r, world.new_number(), most)
            for _ in range(count)
        ]
        if self.is_hog:
            self.script = [hogging_told(world.new_number()) for _ in range(ASKS_OF_A_HOG)]
        elif r.random() < 0.08:
            self.script = [speaking_http(r, world.new_number())]
        if not world.settings["tcp_keep_alive"]:
            del self.script[1:]
        self.told = 0
        self.parts = 0  # Of the current answer: items of a stream.
        self.closing: str | None = None  # The reason that the server gave.
        self.errors = 0  # Answers that excuse themselves: busy, a timeout.

    @property
    def has_more(self) -> bool:
        return self.told < len(self.script)

    def next_request(self) -> None:
        told = self.script[self.told]
        since = self.memory.get(told.answers[0]) if told.kind == "subscribe" else None
        if since is not None and told.code is None and told.number % 3:
            told = self.script[self.told] = subscribe_since(told, since)
        self.told += 1
        self.to_send += told.data
        self.ends.append(self.sent + len(self.to_send))
        self.world.note(f"{self.name} tells {told.data_type} {told.kind} {told.number}")

    def understand(self) -> None:
        while True:
            end = self.data.find(b"\n")
            if end < 0:
                return
            raw = bytes(self.data[:end])
            del self.data[: end + 1]
            if self.closing is not None:
                self.fail("silence", f"after the goodbye came {raw[:80]!r}")
            try:
                line = read_line(raw)
            except Exception as error:
                self.fail("frames", f"a line that cannot be read: {raw[:80]!r} ({error})")
                return
            if line.type in PUSHED:
                self._hear(line)
            elif line.type == "error":
                self._take_error(line)
            else:
                self._take(line)

    def _hear(self, line: Line) -> None:
        """Something that was not asked for."""
        self.heard(line)
        is_browser = self.script and self.script[0].kind == "web"  # It begins with HTTP.
        ack = None if is_browser else line.fields.get("ack")
        if ack is not None and len(self.signals) < 5:
            number = line.value["k"]
            self.signals.append(b'{"ack": "%b", "data": %d}\n' % (ack.encode(), int(number)))
            self.world.book.acked.add(ack)
        elif line.type == "ping" and self.world.plan.answers_pings and not is_browser:
            self.signals.append(b'{"pong": true}\n')
        elif line.type == "closing":
            self.closing = line.fields["reason"]

    def _current(self, line: Line) -> Told | None:
        if self.answered < self.told:
            return self.script[self.answered]
        self.fail("answers", f"unasked came {line!r}"[:200])
        return None

    def _take(self, line: Line) -> None:
        """An answer, or a piece of one."""
        if self._is_answer_to_a_stump(line):
            return
        told = self._current(line)
        if told is None:
            return
        if line.id is not None and str(line.id) != str(told.number):
            self.fail("answers", f"an answer to {line.id} where {told.number} was due")
        is_stream = told.kind == "items"
        if line.type == "end":
            if not is_stream or self.parts != len(told.answers):
                self.fail("answers", f"{told.number}: the end after {self.parts} items")
            self._done(told)
            return
        if self.parts >= len(told.answers) or str(told.answers[self.parts]) != str(line.value):
            self.fail("answers", f"{told.kind} {told.number}: wrong: {line!r}"[:300])
        self.parts += 1
        if not is_stream or (told.data_type == "raw" and self.parts == len(told.answers)):
            self._done(told)

    def _is_answer_to_a_stump(self, line: Line) -> bool:
        """True for the answer to a message that the client cut short by its FIN.

        A line ends there as well as at LF, so half a message may be a message.
        """
        return self.has_half_closed and self.answered == self.whole_requests

    def _take_error(self, line: Line) -> None:
        code = line.value
        if self._is_answer_to_a_stump(line):
            return
        if code in ("timeout", "busy", "message_too_large") or self.answered >= self.told:
            check_excuse(self.world, self, code, 0)
            if code == "timeout" or self.answered >= self.told:
                # Answered, or the answer that the connection ends with.
                self.is_over_after = True
            if self.answered < self.told and self.whole_requests > self.answered:
                self._done(self.script[self.answered])
            return
        told = self._current(line)
        if told is not None:
            if told.code != code:
                self.fail("answers", f"{told.kind} {told.number}: the error {code}")
            if line.id is not None and str(line.id) != str(told.number):
                self.fail("answers", f"an error for {line.id} where {told.number} was due")
            self._done(told)

    def _done(self, told: Told) -> None:
        self.answered += 1
        self.parts = 0
        self.world.note(f"{self.name} has the answer {told.number}")

    def check_end(self) -> None:
        if self.peer is None or self.has_left:
            return
        if self.data and not may_lack(self.world, self):
            self.fail("frames", f"the last line is not whole: {bytes(self.data[:80])!r}")
        if self.is_over_after or may_lack(self.world, self):
            return
        if self.answered < self.whole_requests:
            told = self.script[self.answered]
            self.fail(
                "answers",
                f"{self.answered} answers to {self.whole_requests} messages; the next is "
                f"{told.kind} {told.number}; closed: {self.reason}",
            )
