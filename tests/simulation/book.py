"""What was pushed to whom: the reference for everything that the server says unasked.

The rule: what a client is due is noted where the server takes a push, a publication or a
subscription up, in a model that knows nothing of queues, logs and rooms. It is crossed out
when the client reads it. What is skipped is a loss, and at the end the losses must be those
that the client was told of.

Chapter: docs/simulation.md.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from pyliteflux.errors import PoolFull
from tests.simulation.excuses import may_lack
from tests.simulation.invariants import channel_is_http
from tests.simulation.model import Line, fill

if TYPE_CHECKING:
    from tests.simulation.clients import Client
    from tests.simulation.world import World

GONE = ("CLOSING", "CLOSED")
UNORDERED = {"join", "leave", "ping", "closing"}


class Due(NamedTuple):
    """One thing that a client is to hear. replay: of which subscription it is the past.

    is_optional: another subscription's replay may have had it already.
    """

    kind: str  # "push", "topic", "subscribed", "unsubscribed".
    topic: str | None = None
    seq: int = 0
    message: Any = None
    replay: int = 0
    is_optional: bool = False


class Published(NamedTuple):
    """A message of a topic as the model keeps it."""

    position: int
    topic: str
    seq: int
    message: Any


class Book:
    """Pushes and topics, from the sender to the reader."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.posted: Counter[str] = Counter()  # By sender: pushes that were accepted.
        self.last_taken: dict[str, int] = defaultdict(lambda: -1)  # By sender: the newest number.
        self.taken: Counter[str] = Counter()
        self.due: dict[str, list[Due]] = defaultdict(list)  # By client.
        # Listener, name: the position that it wanted to go on from, and that it began at.
        self.listeners: dict[Any, dict[str, tuple[int, int]]] = {}
        self.history: list[Published] = []
        self.seqs: Counter[str] = Counter()
        self.acks: list[tuple[Any, int]] = []
        self.acked: set[str] = set()  # Ids that clients have sent back.
        self._replays = 0
        self._with_gap: set[int] = set()
        # By client and topic: what it missed by what it read, what the server said.
        self._missed: Counter[tuple[str, str | None]] = Counter()
        self._told: Counter[tuple[str, str | None]] = Counter()

    # --- the senders: threads of the user's

    def send_pushes(self, sender: str, count: int, size: int, pause: float) -> None:
        """Push to everybody, to one client now and then, and sometimes ask for its ack."""
        world = self._world
        for number in range(count):
            if world.threads.random.random() < 0.5:
                world.threads.sleep(pause)
            world.threads.point()
            message = {"by": sender, "k": number, "fill": fill(number, size).decode()}
            target = None
            if number % 5 >= 3:
                target = next(iter(world.server.clients), None)
            try:
                if number % 5 == 4 and target is not None:
                    ack = world.server.push_message(message, target, ack=True)
                    self.acks.append((ack, number))
                else:
                    self.posted[sender] += bool(world.server.push_message(message, target))
            except PoolFull:
                world.note(f"{sender}: too many pushes")

    def publish(self, sender: str, count: int, size: int, pause: float) -> None:
        """Publish to some topics."""
        world = self._world
        for number in range(count):
            if world.threads.random.random() < 0.5:
                world.threads.sleep(pause)
            world.threads.point()
            message = {"by": sender, "k": number, "fill": fill(number, size).decode()}
            topic = world.threads.random.choice(world.plan.topics)
            try:
                world.server.publish(topic, message)
                self.posted[sender] += 1
            except PoolFull:
                world.note(f"{sender}: too many pushes")

    # --- what the server takes up: on its reactor thread

    def _take(self, message: Any) -> None:
        """A message has reached the reactor: each comes once, in its sender's order."""
        sender, number = message["by"], message["k"]
        if number <= self.last_taken[sender]:
            self._world.violate(
                "pushes", f"{sender}: {number} comes after {self.last_taken[sender]}"
            )
        self.last_taken[sender] = number

    def on_deliver(self, frame: Any, client_id: str | None) -> None:
        """The hub is about to hand a push out."""
        fields = json.loads(frame.json)
        message = fields["data"]
        self._take(message)
        self.taken[message["by"]] += "ack" not in fields
        world = self._world
        for channel in world.runtime.connections:
            if channel_is_http(channel) or channel.state.name in GONE:
                continue
            if channel.client_id in world.server.clients and client_id in (None, channel.client_id):
                client = world.by_address[channel.address]
                self.due[client.name].append(Due("push", None, 0, message))

    def on_publish(self, name: str, data: bytes, seq: int) -> None:
        """A message is about to be numbered and handed out."""
        message = json.loads(data)
        self._take(message)
        self.taken[message["by"]] += 1
        if seq != self.seqs[name] + 1 and seq != 1:
            self._world.violate("pushes", f"{name}: message {seq} comes after {self.seqs[name]}")
        self.seqs[name] = seq
        self.history.append(Published(len(self.history) + 1, name, seq, message))
        for listener, names in self.listeners.items():
            if any(covers(pattern, name) for pattern in names):
                self._due_of(listener).append(Due("topic", name, seq, message))

    def on_subscribe(self, listener: Any, name: str, since: Any, epoch: str) -> None:
        """A subscription is about to take effect."""
        mine = self.listeners.setdefault(listener, {})
        due = self._due_of(listener)
        self._replays += 1
        due.append(Due("subscribed", name, replay=self._replays))
        start = now = len(self.history)
        if since not in (None, ""):
            its_epoch, _, number = str(since).partition("-")
            start = min(int(number), now) if its_epoch == epoch and number else 0
        for known in self.history[start:]:
            if not covers(name, known.topic):
                continue
            others = [
                begin
                for other, begin in mine.items()
                if other != name and covers(other, known.topic)
            ]
            if any(known.position > began for _, began in others):
                continue  # It has heard that live.
            optional = any(known.position > wanted for wanted, _ in others)
            due.append(Due("topic", known.topic, known.seq, known.message, self._replays, optional))
        wanted, began = mine.get(name, (start, now))
        mine[name] = min(wanted, start), began

    def on_unsubscribe(self, listener: Any, name: str) -> None:
        """A subscription is about to end."""
        if name in self.listeners.get(listener, {}):
            del self.listeners[listener][name]
            self._due_of(listener).append(Due("unsubscribed", name))

    def on_drop(self, listener: Any) -> None:
        """A listener has gone."""
        self.listeners.pop(listener, None)

    def _due_of(self, listener: Any) -> list[Due]:
        host, _, port = listener.client_id.rpartition(":")
        return self.due[self._world.by_address[host, int(port)].name]

    # --- the readers

    def heard(self, client: Client, line: Line) -> None:
        """A client has read something that it did not ask for."""
        world, fields = self._world, line.fields
        gap = "with a gap" if str(fields.get("gap")).lower() == "true" else ""
        world.note(f"{client.name} hears {line.type} {fields.get('topic') or ''} {gap}".rstrip())
        if line.type in UNORDERED:
            return
        if line.type == "dropped":
            topic = fields["topic"] if fields.get("topic") not in (None, "", "null") else None
            self._told[client.name, topic] += int(fields["count"])
            return
        due = self.due[client.name]
        index = next((i for i, entry in enumerate(due) if matches(entry, line)), -1)
        if index < 0:
            world.violate("pushes", f"{client.name} hears what it is not due: {line}"[:400])
        entry = due[index]
        if entry.kind == "subscribed":
            if str(fields.get("gap")).lower() == "true":
                self._with_gap.add(entry.replay)
        for skipped in due[:index]:
            self._skip(client, skipped)
        del due[: index + 1]

    def _skip(self, client: Client, entry: Due) -> None:
        """Something was not read and never will be."""
        if entry.is_optional:
            return
        if entry.replay and entry.kind == "topic" and entry.replay in self._with_gap:
            return  # Told as a gap.
        policy = self._world.plan.policy_of(entry.topic)
        if policy == "disconnect" or entry.kind in ("subscribed", "unsubscribed"):
            self._world.violate("pushes", f"{client.name} never hears {entry}"[:400])
        self._missed[client.name, entry.topic] += 1

    # --- the end

    def check_end(self, clients: list[Client]) -> None:
        """All is read: what is missing must have been told."""
        world = self._world
        for client in clients:
            if not client.is_connected or may_lack(world, client):
                continue
            assert client.peer is not None
            if client.peer.saw_fin or client.peer.saw_reset:
                continue
            for entry in self.due[client.name]:
                self._skip(client, entry)
            for key in {*self._missed, *self._told}:
                if key[0] == client.name and self._missed[key] != self._told[key]:
                    world.violate(
                        "pushes",
                        f"{key[0]} has missed {self._missed[key]} of {key[1] or 'its pushes'} "
                        f"and was told {self._told[key]}",
                    )
        if not world.is_stopping:
            for sender, count in self.posted.items():
                if self.taken[sender] != count:
                    world.violate("pushes", f"{sender}: {count} sent, {self.taken[sender]} taken")

    def check_acks(self) -> None:
        """Every ack is decided, and was asked for by what the client did."""
        for ack, number in self.acks:
            if ack.state == "waiting":
                self._world.violate("leftovers", f"{ack!r} is never decided")
            if ack.state == "acked" and (ack.id not in self.acked or ack.reply != number):
                self._world.violate("pushes", f"{ack!r}: nobody has sent {ack.reply}")

    def leftovers(self) -> list[str]:
        """Return what is left when everybody has gone."""
        rooms = self._world.server._desk.topics.rooms()
        return [f"a subscriber of {room.name}" for room in rooms if room.listeners] + [
            f"the pattern {room.name}" for room in rooms if room.is_pattern
        ]


def covers(pattern: str, name: str) -> bool:
    """Tell whether who subscribed to `pattern` hears the topic `name`."""
    return name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1]))


def matches(entry: Due, line: Line) -> bool:
    """Tell whether a line is what is due."""
    topic = line.fields.get("topic")
    if line.type == "push":
        if entry.kind == "push":
            return topic is None and is_same(entry.message, line.value)
        return (
            entry.kind == "topic"
            and topic == entry.topic
            and str(line.fields["seq"]) == str(entry.seq)
            and is_same(entry.message, line.value)
        )
    return entry.kind == line.type and entry.topic == topic


def is_same(message: Any, value: Any) -> bool:
    """Compare a pushed message with what was read: in XML numbers have become text."""
    if isinstance(value, dict) and isinstance(message, dict):
        return {key: str(item) for key, item in message.items()} == {
            key: str(item) for key, item in value.items()
        }
    return bool(message == value)
