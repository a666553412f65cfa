"""Topics: order, resume, presence, limits. The listeners are fakes, the sockets simulated."""

from __future__ import annotations

import json
import random
import threading
import unittest
from collections import Counter
from collections.abc import Callable
from typing import Any

from pyliteflux import Config, EventStream, Router
from pyliteflux.errors import HTTPError
from pyliteflux.push.ledger import REPLAY_COST, Ledger
from pyliteflux.push.topics import Topics
from tests.fakes import Peer, Simulation
from tests.support import captured_logs
from tests.test_cost import Calls


class Listener:
    """Keeps what it is told. on_deliver: called with each, to do what a delivery may bring about.

    space: bytes of missed messages that it takes.
    """

    def __init__(self, client_id: str = "c:1", space: int = 1 << 20) -> None:
        self.client_id = client_id
        self.topics: dict[str, int] | None = None
        self.space = space
        self.told: list[dict[str, Any]] = []
        self.named: list[tuple[str | None, str]] = []  # topic and policy of each
        self.failures: list[Exception] = []
        self.on_deliver: Callable[[dict[str, Any]], object] = lambda message: None

    def deliver(self, frame: Any, topic: str | None, policy: str) -> None:
        message = json.loads(frame.json)
        self.told.append(message)
        self.named.append((topic, policy))
        self.on_deliver(message)

    def replay_room(self) -> int:
        return self.space

    def on_failure(self, error: BaseException) -> None:
        self.failures.append(error)

    def take(self) -> list[dict[str, Any]]:
        told, self.told = self.told, []
        return told

    def data(self) -> list[Any]:
        return [message["data"] for message in self.take() if message["type"] == "push"]


class TopicsTestCase(unittest.TestCase):
    def setUp(self) -> None:
        self.make()

    def make(self, **settings: Any) -> None:
        self.config = Config(**settings)
        self.topics = Topics(self.config)
        self.time = 100.0
        self.topics.begin(lambda: self.time)

    def publish(self, topic: str, *values: Any) -> None:
        for value in values:
            self.topics.publish(topic, json.dumps(value).encode())

    def names(self) -> list[str]:
        return sorted(room.name for room in self.topics.rooms())

    def place(self, position: int) -> str:
        return f"{self.topics.ledger.epoch}-{position}"


class Hearing(TopicsTestCase):
    def test_a_subscription_takes_effect_between_two_messages(self) -> None:
        listener = Listener()
        self.publish("a", 1)
        self.topics.subscribe(listener, "a")
        self.publish("a", 2)
        self.topics.unsubscribe(listener, "a")
        self.publish("a", 3)
        self.assertEqual(
            listener.take(),
            [
                {"type": "subscribed", "topic": "a", "id": self.place(1), "gap": False},
                {"type": "push", "topic": "a", "seq": 2, "id": self.place(2), "data": 2},
                {"type": "unsubscribed", "topic": "a"},
            ],
        )

    def test_a_pattern_hears_all_that_begin_so_and_nothing_else(self) -> None:
        listener = Listener()
        self.topics.subscribe(listener, "room:*")
        for topic in ("room:1", "room:", "rooms", "room", "hall", "room:1:x"):
            self.publish(topic, topic)
        self.assertEqual(listener.data(), ["room:1", "room:", "room:1:x"])

    def test_who_hears_it_by_three_names_gets_it_once(self) -> None:
        listener, other = Listener("c:1"), Listener("c:2")
        for name in ("a:b", "a:*", "*"):
            self.topics.subscribe(listener, name)
        self.topics.subscribe(other, "a:b")
        self.publish("a:b", 1)
        self.assertEqual((listener.data(), other.data()), ([1], [1]))
        self.assertEqual(self.topics.count("a:b"), 2)
        self.assertEqual(self.topics.count("zzz"), 1)

    def test_the_numbers_of_a_topic_are_without_a_hole_and_the_places_grow(self) -> None:
        listener = Listener()
        self.topics.subscribe(listener, "*")
        self.publish("a", 1, 2)
        self.publish("b", 3)
        self.publish("a", 4)
        told = listener.take()[1:]
        self.assertEqual([message["seq"] for message in told], [1, 2, 1, 3])
        self.assertEqual([message["id"] for message in told], [self.place(n) for n in (1, 2, 3, 4)])

    def test_who_has_left_hears_nothing_and_leaves_nothing_behind(self) -> None:
        listener = Listener()
        for name in ("a", "b:*"):
            self.topics.subscribe(listener, name)
        self.topics.drop(listener)
        self.topics.drop(listener)
        self.publish("a", 1)
        self.publish("b:1", 1)
        self.assertEqual(listener.data(), [])
        self.assertIsNone(listener.topics)
        self.assertEqual([self.topics.count(name) for name in ("a", "b:1", "b:*")], [0, 0, 0])
        self.assertIsNone(self.topics.room("b:*"))

    def test_unsubscribing_what_was_not_subscribed_does_nothing(self) -> None:
        listener = Listener()
        self.topics.unsubscribe(listener, "a")
        self.topics.subscribe(listener, "a")
        self.topics.unsubscribe(listener, "b")
        self.assertEqual(len(listener.take()), 1)

    def test_the_policy_is_the_topics_the_patterns_or_the_servers(self) -> None:
        self.make(slow_client_policy="drop_newest")
        self.topics.options.update("room:*", {"slow_client_policy": "latest"})
        self.topics.options.update("room:1", {"slow_client_policy": "drop_oldest"})
        listener = Listener()
        self.topics.subscribe(listener, "*")
        for topic in ("room:1", "room:2", "hall"):
            self.publish(topic, 1)
        self.assertEqual(
            listener.named[1:],
            [("room:1", "drop_oldest"), ("room:2", "latest"), ("hall", "drop_newest")],
        )
        # What it must be told about its own subscriptions is never dropped.
        self.assertEqual(listener.named[0], ("*", "disconnect"))


class WhileOthersAreTold(TopicsTestCase):
    """A delivery may end a connection; what follows from that comes after it, to everybody."""

    def test_a_leave_reaches_everybody_after_the_message_that_caused_it(self) -> None:
        self.topics.options.update("t", {"presence": True})
        first, slow, last = (Listener(f"c:{n}") for n in range(3))
        for listener in (first, slow, last):
            self.topics.subscribe(listener, "t")
        for listener in (first, slow, last):
            listener.take()
        slow.on_deliver = lambda message: self.topics.drop(slow)
        self.publish("t", 1)
        for listener in (first, last):
            self.assertEqual([m["type"] for m in listener.take()], ["push", "leave"])

    def test_a_chain_of_losses_tells_each_leave_once(self) -> None:
        self.topics.options.update("t", {"presence": True})
        listeners = [Listener(f"c:{n}") for n in range(5)]
        heard = []
        self.topics.on_presence = lambda *news: heard.append(news)
        for listener in listeners:
            self.topics.subscribe(listener, "t")
        heard.clear()
        # Each leaves at the first word after the message, so each leave brings the next one.
        for listener in listeners[1:]:
            listener.on_deliver = lambda message, who=listener: self.topics.drop(who)
        self.publish("t", 1)
        self.assertEqual(sorted(heard), [("leave", "t", f"c:{n}") for n in range(1, 5)])
        told = [m for m in listeners[0].take() if m["type"] == "leave"]
        self.assertEqual(sorted(m["client"] for m in told), [f"c:{n}" for n in range(1, 5)])

    def test_a_listener_that_fails_costs_nobody_else_a_message(self) -> None:
        broken, other = Listener("c:1"), Listener("c:2")
        self.topics.subscribe(broken, "t")
        self.topics.subscribe(other, "t")

        def fail(message: Any) -> None:
            raise RuntimeError("broken")

        broken.on_deliver = fail
        with captured_logs():
            self.publish("t", 1, 2)
        self.assertEqual(other.data(), [1, 2])
        self.assertEqual(len(broken.failures), 2)

    def test_who_is_cut_off_while_it_is_told_what_it_missed_never_joined(self) -> None:
        self.topics.options.update("t", {"presence": True})
        other, slow = Listener("c:1"), Listener("c:2")
        self.topics.subscribe(other, "t")
        self.publish("t", 1, 2, 3)
        other.take()
        slow.on_deliver = lambda message: self.topics.drop(slow)
        self.topics.subscribe(slow, "t", 0)
        self.assertEqual(other.take(), [])
        self.assertEqual(self.topics.count("t"), 1)
        self.assertIsNone(slow.topics)

    def test_a_pattern_whose_only_listener_is_cut_off_as_it_begins_is_no_more(self) -> None:
        listener = Listener()
        listener.on_deliver = lambda message: self.topics.drop(listener)
        self.topics.subscribe(listener, "room:*")
        self.assertEqual(self.names(), [])


class Resume(TopicsTestCase):
    def test_what_was_missed_follows_at_once(self) -> None:
        self.publish("a", 1, 2)
        self.publish("b", 3)
        self.publish("a", 4)
        listener = Listener()
        self.topics.subscribe(listener, "a", self.place(1))
        subscribed, *rest = listener.take()
        self.assertEqual((subscribed["id"], subscribed["gap"]), (self.place(1), False))
        self.assertEqual([(m["data"], m["seq"]) for m in rest], [(2, 2), (4, 3)])
        self.assertEqual(listener.named[1:], [("a", "disconnect")] * 2)

    def test_of_a_pattern_what_was_missed_comes_in_the_order_of_publication(self) -> None:
        for number in range(30):
            self.publish(f"r:{number % 7}", number)
            self.publish("other", -1)
        listener = Listener()
        self.topics.subscribe(listener, "r:*", self.place(20))
        self.assertEqual(listener.data(), list(range(10, 30)))

    def test_zero_is_all_that_is_kept(self) -> None:
        self.publish("a", 1, 2)
        for since in (0, "0"):
            with self.subTest(since):
                listener = Listener()
                self.topics.subscribe(listener, "a", since)
                self.assertIs(listener.told[0]["gap"], False)
                self.assertEqual(listener.data(), [1, 2])

    def test_without_since_nothing_is_repeated_and_nothing_is_missing(self) -> None:
        self.publish("a", 1)
        for since in (None, ""):
            listener = Listener()
            self.topics.subscribe(listener, "a", since)
            self.assertEqual([m["gap"] for m in listener.take()], [False])

    def test_an_id_that_is_none_of_ours_is_a_gap_and_all_that_is_kept(self) -> None:
        self.publish("a", 1, 2)
        epoch = self.topics.ledger.epoch
        for since in (
            *("x", "zzzzzzzz-1", "-1", "1", 1, f"{epoch}", f"{epoch}-", f"{epoch}--1"),
            *(f"{epoch}-1 ", f"{epoch}-+1", f"{epoch}-1_0", f"{epoch}-٣", f"{epoch.upper()}x-1"),
            *({"a": 1}, [1], 1.5, True, "x" * 100_000, "\0", "\ud800"),
        ):
            with self.subTest(since):
                listener = Listener()
                self.topics.subscribe(listener, "a", since)
                self.assertIs(listener.told[0]["gap"], True)
                self.assertEqual(listener.data(), [1, 2])

    def test_an_id_from_the_future_is_as_good_as_the_newest(self) -> None:
        self.publish("a", 1)
        for number in ("2", "9" * 19, "9" * 400):
            listener = Listener()
            self.topics.subscribe(listener, "a", f"{self.topics.ledger.epoch}-{number}")
            self.assertEqual(listener.take()[0]["gap"], False)
            self.publish("a", "news")
            self.assertEqual(listener.data(), ["news"])

    def test_the_gap_is_told_exactly_where_the_ring_is_too_short(self) -> None:
        """For a topic and for a pattern, from every position."""
        self.make(topic_history=3)
        for number in range(1, 9):
            self.publish("a:1", number)
        for name in ("a:1", "a:*"):
            for since in range(9):
                with self.subTest(name, since=since):
                    listener = Listener()
                    self.topics.subscribe(listener, name, self.place(since) if since else 0)
                    self.assertEqual(listener.told[0]["gap"], since < 5)
                    self.assertEqual(listener.data(), list(range(max(6, since + 1), 9)))

    def test_a_forgotten_topic_is_a_gap_for_who_left_before_it_was(self) -> None:
        self.publish("a", 1)
        self.publish("b", 2)
        self.time += 400
        self.topics.sweep()
        self.assertIsNone(self.topics.room("a"))
        self.publish("a", 3)
        for name in ("a", "*"):
            for since, gap in ((1, True), (2, False)):
                with self.subTest(name, since=since):
                    listener = Listener()
                    self.topics.subscribe(listener, name, self.place(since))
                    self.assertEqual(listener.told[0]["gap"], gap)
                    self.assertEqual(listener.data(), [3])

    def test_no_more_is_repeated_than_there_is_room_for(self) -> None:
        """The newest, and the gap is told: who was away must not be too slow at once."""
        for number in range(50):
            self.publish(f"a:{number % 5}", number)
        cost = len('{"type": "push", "topic": "a:1", "seq": 10, "id": "12345678-50", "data": 50}\n')
        for name, all_of_it in (("a:3", [n for n in range(50) if n % 5 == 3]), ("a:*", range(50))):
            with self.subTest(name):
                listener = Listener(space=4 * (cost + REPLAY_COST) + 50)
                self.topics.subscribe(listener, name, 0)
                subscribed = listener.told[0]
                data = listener.data()
                self.assertEqual(data, list(all_of_it)[-4:])
                self.assertIs(subscribed["gap"], True)
                self.assertEqual(subscribed["id"], self.place(data[0]))  # Number n has place n + 1.

    def test_without_any_room_it_is_a_gap_and_no_error(self) -> None:
        self.publish("a", 1)
        listener = Listener(space=-100)
        self.topics.subscribe(listener, "a", 0)
        self.assertEqual([m.get("gap") for m in listener.take()], [True])

    def test_each_message_once_wherever_the_connection_breaks(self) -> None:
        """By every set of overlapping names, after every number of messages read."""
        for names in (["a:1"], ["a:*"], ["a:1", "a:*"], ["a:*", "a:1", "*"], ["b", "a:2"]):
            for seed in range(3):
                for read in range(26):
                    with self.subTest(names=names, seed=seed, read=read):
                        self.break_off(names, seed, read)

    def break_off(self, names: list[str], seed: int, read: int) -> None:
        self.make()
        rng = random.Random(seed)
        client = Client(names)
        topics: list[str] = []  # Message n was published, at place n, to the topic n - 1 here.

        def news(count: int) -> None:
            for _ in range(count):
                topics.append(rng.choice(("a:1", "a:2", "b")))
                self.publish(topics[-1], len(topics))

        for connection in range(4):
            listener = Listener(f"c:{connection}")
            for name in names:
                self.topics.subscribe(listener, name, client.since[name])
                news(rng.randrange(3))
            news(6)
            # The last connection reads all; those before break after `read` messages.
            client.read(listener.take()[: None if connection == 3 else read])
            self.topics.drop(listener)
            news(2)
        expected = [
            number
            for number, topic in enumerate(topics[:-2], 1)
            if any(matches(name, topic) and number > client.began[name] for name in names)
        ]
        # Who hears one topic by two names, and is broken off while it resumes them, cannot tell
        # the server what it has had by the other: then the number of a message tells it.
        got = client.got if len(names) == 1 or names[0] == "b" else list(set(client.got))
        self.assertEqual(sorted(got), expected)

    def test_subscribing_again_repeats_what_is_asked_for(self) -> None:
        listener = Listener()
        self.topics.subscribe(listener, "a")
        self.publish("a", 1, 2)
        listener.take()
        self.topics.subscribe(listener, "a", self.place(1))
        self.assertEqual(listener.data(), [2])
        self.publish("a", 3)
        self.assertEqual(listener.data(), [3])

    def test_what_another_subscription_brought_is_not_repeated(self) -> None:
        for number in range(6):
            self.publish(f"a:{number % 2}", number)
        listener = Listener()
        self.topics.subscribe(listener, "a:1", self.place(2))
        self.assertEqual(listener.data(), [3, 5])
        self.topics.subscribe(listener, "a:*", 0)
        self.assertEqual(listener.data(), [0, 1, 2, 4])  # 1 came before what a:1 has brought.


class CostOfPatterns(TopicsTestCase):
    """Who thinks of many patterns makes no message of others cost more."""

    def cost(self) -> int:
        """Return how many calls it takes to publish to twenty topics, as many know patterns."""
        with Calls() as calls:
            for number in range(20):
                self.publish(f"room:{number}", number)
        return sum(calls.ours.values()) + calls.of_c

    def test_a_new_pattern_makes_no_topic_look_at_all_of_them_again(self) -> None:
        costs = []
        for most in (20, 2000):
            self.make(max_subscriptions=5000)
            listener = Listener()
            for number in range(most):
                self.topics.subscribe(listener, f"{number:04}*")
            self.cost()
            self.topics.subscribe(listener, "none*")
            costs.append(self.cost())
            self.assertEqual(self.topics.count("room:1"), 0)
        self.assertEqual(costs[0], costs[1])


class LateLedger(Ledger):
    """Numbers a message when told to, as one does that is kept by another process."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.waiting: list[tuple[str, bytes]] = []

    def append(self, topic: str, data: bytes) -> None:
        self.waiting.append((topic, data))

    def answer(self) -> None:
        waiting, self.waiting = self.waiting, []
        for entry in waiting:
            super().append(*entry)


class WithALedgerThatAnswersLater(TopicsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ledger = LateLedger(self.config, self.topics._on_message)
        self.topics.ledger = self.ledger

    def test_who_subscribes_meanwhile_hears_it_once_and_as_news(self) -> None:
        early, late = Listener("c:1"), Listener("c:2")
        self.topics.subscribe(early, "a")
        self.publish("a", 1)
        self.assertEqual(early.data(), [])
        self.topics.subscribe(late, "a", 0)
        self.assertEqual(late.take()[0]["gap"], False)
        self.ledger.answer()
        self.assertEqual((early.data(), late.data()), ([1], [1]))

    def test_who_leaves_meanwhile_does_not_hear_it_and_has_it_when_it_comes_again(self) -> None:
        listener = Listener()
        self.topics.subscribe(listener, "a")
        since = listener.take()[0]["id"]
        self.publish("a", 1)
        self.topics.drop(listener)
        self.ledger.answer()
        self.assertEqual(listener.take(), [])
        self.topics.subscribe(listener, "a", since)
        self.assertEqual(listener.data(), [1])

    def test_the_order_is_that_of_the_ledger(self) -> None:
        listener = Listener()
        self.topics.subscribe(listener, "*")
        for number in range(6):
            self.publish(f"t{number % 2}", number)
        self.ledger.waiting.sort()  # It had others to ask in between.
        self.ledger.answer()
        self.assertEqual([m["data"] for m in listener.told[1:]], [0, 2, 4, 1, 3, 5])
        self.assertEqual([m["id"] for m in listener.told[1:]], [self.place(n) for n in range(1, 7)])


class Client:
    """The rule for a client that resumes: each subscription keeps the last id that was its."""

    def __init__(self, names: list[str]) -> None:
        self.since: dict[str, Any] = dict.fromkeys(names)
        self.began: dict[str, int] = {}  # From which place on it knows that it hears.
        self.got: list[int] = []

    def read(self, messages: list[dict[str, Any]]) -> None:
        here: list[str] = []
        for message in messages:
            if message["type"] == "subscribed":
                here.append(message["topic"])
                self.began.setdefault(message["topic"], place_of(message["id"]))
                self.keep(message["topic"], message["id"])
            elif message["type"] == "push":
                self.got.append(message["data"])
                for name in here:
                    if matches(name, message["topic"]):
                        self.keep(name, message["id"])

    def keep(self, name: str, id: str) -> None:
        known = self.since[name]
        if known is None or place_of(known) < place_of(id):
            self.since[name] = id


def matches(name: str, topic: str) -> bool:
    return name == topic or (name.endswith("*") and topic.startswith(name[:-1]))


def place_of(id: str) -> int:
    return int(id.partition("-")[2])


class Presence(TopicsTestCase):
    def make(self, **settings: Any) -> None:
        super().make(**settings)
        self.topics.options.update("room:*", {"presence": True})
        self.heard: list[tuple[str, str, str]] = []
        self.topics.on_presence = lambda *news: self.heard.append(news)

    def test_a_newcomer_is_told_as_many_members_as_fit_and_the_count(self) -> None:
        """Contract X2, `presence_flood`: what n clients cost is linear in n."""
        limit = 2000
        self.make(presence_list_bytes=limit)
        sizes = []
        for number in range(60):
            listener = Listener(f"c:{number}")
            self.topics.subscribe(listener, "room:1", info="i" * 90)
            told = listener.take()[0]
            self.assertEqual(told["count"], number + 1)
            self.assertIn(f"c:{number}", told["members"])
            sizes.append(len(json.dumps(told["members"])))
        self.assertEqual(list(told["members"])[:3], ["c:59", "c:0", "c:1"])
        self.assertLess(max(sizes), limit + 200)
        self.assertGreater(sizes[-1], limit - 200)
        self.assertEqual(len(self.topics.members("room:1")), 60)

    def test_who_subscribes_again_is_counted_once(self) -> None:
        one = Listener("c:1")
        for info in ("a", "b"):
            self.topics.subscribe(one, "room:1", info=info)
            told = one.take()[0]
            self.assertEqual((told["members"], told["count"]), ({"c:1": info}, 1))

    def test_members_are_told_to_the_newcomer_and_the_newcomer_to_the_others(self) -> None:
        one, two = Listener("c:1"), Listener("c:2")
        self.topics.subscribe(one, "room:1", info={"n": 1})
        self.assertEqual(one.take()[0]["members"], {"c:1": {"n": 1}})
        self.topics.subscribe(two, "room:1", info="two")
        self.assertEqual(two.take()[0]["members"], {"c:1": {"n": 1}, "c:2": "two"})
        join = {"type": "join", "topic": "room:1", "client": "c:2", "info": "two"}
        self.assertEqual(one.take(), [join])
        self.assertEqual(self.topics.members("room:1"), {"c:1": {"n": 1}, "c:2": "two"})
        self.topics.unsubscribe(two, "room:1")
        self.assertEqual(one.take(), [{**join, "type": "leave"}])
        self.topics.drop(one)
        self.assertEqual(
            self.heard,
            [
                (kind, "room:1", who)
                for kind, who in zip(
                    ("join", "join", "leave", "leave"), ("c:1", "c:2", "c:2", "c:1"), strict=True
                )
            ],
        )
        self.assertEqual(self.topics.members("room:1"), {})

    def test_who_hears_a_pattern_is_told_of_its_topics_members(self) -> None:
        watcher, member = Listener("c:1"), Listener("c:2")
        self.topics.subscribe(watcher, "room:*")
        self.topics.subscribe(member, "room:1")
        self.assertEqual([m["type"] for m in watcher.take()], ["subscribed", "join"])
        self.assertEqual([m["type"] for m in member.take()], ["subscribed"])
        self.assertEqual(self.topics.members("room:1"), {"c:2": None})

    def test_subscribing_again_is_no_second_join_but_changes_the_info(self) -> None:
        one, two = Listener("c:1"), Listener("c:2")
        self.topics.subscribe(one, "room:1")
        self.topics.subscribe(two, "room:1")
        one.take()
        self.topics.subscribe(two, "room:1", info=5)
        self.assertEqual(one.take(), [])
        self.assertEqual(self.topics.members("room:1")["c:2"], 5)

    def test_without_presence_nobody_is_told(self) -> None:
        one, two = Listener("c:1"), Listener("c:2")
        for listener in (one, two):
            self.topics.subscribe(listener, "hall")
        self.topics.drop(two)
        self.assertEqual([sorted(m) for m in one.take()], [["gap", "id", "topic", "type"]])
        self.assertEqual(self.heard, [])


class Limits(TopicsTestCase):
    def test_quiet_topics_are_forgotten_in_time(self) -> None:
        self.make(topic_history_seconds=10)
        listener = Listener()
        self.topics.subscribe(listener, "heard")
        self.publish("heard", 1)
        self.publish("quiet", 1)
        self.time += 9.9
        self.topics.sweep()
        self.assertIsNotNone(self.topics.room("quiet"))
        self.time += 1.1
        self.topics.sweep()
        self.assertIsNone(self.topics.room("quiet"))
        self.assertIsNotNone(self.topics.room("heard"))
        self.topics.drop(listener)
        self.time += 9
        self.topics.sweep()
        self.assertIsNotNone(self.topics.room("heard"))
        self.time += 2
        self.topics.sweep()
        self.assertIsNone(self.topics.room("heard"))

    def test_a_topic_that_a_pattern_hears_keeps_its_numbers(self) -> None:
        self.make(topic_history_seconds=10)
        listener = Listener()
        self.topics.subscribe(listener, "a*")
        self.publish("a", 1)
        for _ in range(5):
            self.time += 20
            self.topics.sweep()
        self.publish("a", 2)
        self.assertEqual([m["seq"] for m in listener.take()[1:]], [1, 2])

    def test_over_max_topics_those_quiet_for_longest_go(self) -> None:
        self.make(max_topics=4)
        listener = Listener()
        self.topics.subscribe(listener, "heard")
        for number in range(10):
            self.time += 1
            self.publish(f"t{number}", number)
            self.publish("t0", number)  # Again and again: it is never the quietest.
        self.assertEqual(
            sorted(room.name for room in self.topics.rooms()), ["heard", "t0", "t8", "t9"]
        )
        self.assertEqual(self.topics.ledger.log("t0").seq, 11)  # type: ignore[union-attr]

    def test_where_every_topic_has_subscribers_one_more_is_refused(self) -> None:
        self.make(max_topics=2)
        for number in range(2):
            self.topics.subscribe(Listener(f"c:{number}"), f"t{number}")
        with self.assertRaises(HTTPError) as caught:
            self.topics.check_room(None, [], "t2")
        self.assertEqual(caught.exception.status, 503)
        self.topics.check_room(None, [], "t1")
        # What is only published is heard by nobody: one of these is kept, for the next.
        for number in range(50):
            self.publish(f"x{number}", 1)
        self.assertEqual(self.names(), ["t0", "t1", "x49"])

    def test_a_client_may_have_so_many_subscriptions_those_on_their_way_counted(self) -> None:
        self.make(max_subscriptions=3)
        self.topics.check_room({"a": 0, "b": 0}, ["b", "a"], "c")
        self.topics.check_room({"a": 0, "b": 0}, ["c"], "c")
        self.topics.check_room({"a": 0, "b": 0, "c": 0}, [], "c")
        for mine, asked in (({"a": 0, "b": 0}, ["c"]), (None, ["a", "b", "c"])):
            with self.assertRaises(HTTPError) as caught:
                self.topics.check_room(mine, asked, "d")
            self.assertEqual(caught.exception.status, 429)

    def test_what_is_counted_is_what_is_kept_whatever_happens(self) -> None:
        rng = random.Random(5)
        self.make(topic_history=4, topic_history_total=5000, max_topics=8, topic_history_seconds=9)
        listeners = [Listener(f"c:{n}") for n in range(4)]
        names = [f"t{n}" for n in range(12)] + ["t1*", "*"]
        for _ in range(3000):
            self.time += rng.random()
            listener, name = rng.choice(listeners), rng.choice(names)
            match rng.randrange(6):
                case 0:
                    self.topics.subscribe(listener, name, rng.choice((None, 0, self.place(7))))
                case 1:
                    self.topics.unsubscribe(listener, name)
                case 2:
                    self.topics.drop(listener)
                case 3:
                    self.topics.sweep()
                case 4 if not name.endswith("*"):
                    self.topics.options.update(name, {"history": rng.randrange(6)})
                case _ if not name.endswith("*"):
                    self.publish(name, "x" * rng.randrange(600))
            rooms = {room.name: room for room in self.topics.rooms()}
            ledger = self.topics.ledger
            self.assertEqual(ledger._kept_bytes, sum(log.size for log in ledger._logs.values()))
            self.assertEqual(set(ledger._logs), {n for n, r in rooms.items() if not r.is_pattern})
            quiet = {name for name, room in rooms.items() if not room.listeners}
            self.assertEqual(set(self.topics._quiet), quiet)
            lengths = Counter(len(name) - 1 for name, room in rooms.items() if room.is_pattern)
            self.assertEqual(self.topics._patterns.lengths, lengths)
            for one in listeners:
                for held in one.topics or ():
                    self.assertIn(one, rooms[held].listeners)
            heard = sum(len(room.listeners) for room in rooms.values())
            self.assertEqual(heard, sum(len(one.topics or ()) for one in listeners))
        for one in listeners:
            self.topics.drop(one)
        self.time += 100
        self.topics.sweep()
        self.assertEqual((self.topics.rooms(), ledger._logs, ledger._kept_bytes), ([], {}, 0))


class Configuring(TopicsTestCase):
    def test_options_take_effect_for_topics_that_exist(self) -> None:
        self.publish("a", 1, 2, 3)
        self.topics.options.update("a", {"history": 1})
        self.publish("a", 4)
        listener = Listener()
        self.topics.subscribe(listener, "a", 0)
        self.assertEqual((listener.told[0]["gap"], listener.data()), (True, [4]))


class ReadByOtherThreads(TopicsTestCase):
    def test_counts_and_members_while_subscribers_come_and_leave(self) -> None:
        over = threading.Event()
        errors: list[BaseException] = []

        def read() -> None:
            try:
                while not over.is_set():
                    for name in ("a", "a*", "b"):
                        self.topics.count(name)
                        self.topics.members(name)
                        self.topics.check_room({}, [], name)
            except BaseException as error:
                errors.append(error)

        readers = [threading.Thread(target=read, daemon=True) for _ in range(3)]
        for reader in readers:
            reader.start()
        listeners = [Listener(f"c:{number}") for number in range(200)]
        for _ in range(5):
            for listener in listeners:
                self.topics.subscribe(listener, "a")
                self.topics.subscribe(listener, "a*")
            self.publish("a", 1)
            for listener in listeners:
                self.topics.drop(listener)
        over.set()
        for reader in readers:
            reader.join(30)
        self.assertEqual(errors, [])


def lines(data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.splitlines()]


class OverSimulatedSockets(unittest.TestCase):
    """What only the channels and the topics together can get wrong."""

    def setUp(self) -> None:
        self.router = Router()

    def simulate(self, **settings: Any) -> Simulation:
        stack = captured_logs()
        self.logs = stack.__enter__()
        self.addCleanup(stack.__exit__, None, None, None)
        simulation = Simulation(self.router, tcp_keep_alive=True, **settings)
        simulation.server.allow_subscribe("*")
        return simulation

    def subscribe(self, simulation: Simulation, peer: Peer, topic: str, **more: Any) -> list[Any]:
        command = {"command": "subscribe", "data": {"topic": topic, **more}}
        peer.send(json.dumps(command).encode() + b"\n")
        simulation.settle()
        return lines(peer.take())

    def numbers(self, data: bytes) -> list[int]:
        return [message["seq"] for message in lines(data) if "seq" in message]

    def test_a_burst_beyond_all_limits_reaches_who_reads_it(self) -> None:
        """The queue is made, flushed and thrown away in the middle of it, again and again."""
        for limit in (300, 1000, 5000):
            with (
                self.subTest(limit),
                self.simulate(
                    tcp_send_limit=limit, write_high_water=400, write_low_water=100
                ) as simulation,
            ):
                peers = [simulation.tcp() for _ in range(3)]
                for peer in peers:
                    self.subscribe(simulation, peer, "t")
                for number in range(60):
                    simulation.server.publish("t", "x" * (number * 7 % 200))
                simulation.settle()
                for peer in peers:
                    self.assertEqual(self.numbers(peer.take()), list(range(1, 61)))
                self.assertEqual(self.logs.find("failed"), [])

    def test_a_peer_that_resets_in_a_burst_costs_the_others_nothing(self) -> None:
        with self.simulate(tcp_send_limit=500) as simulation:
            peers = [simulation.tcp() for _ in range(3)]
            for peer in peers:
                self.subscribe(simulation, peer, "t")
            peers[0].capacity = 100
            peers[1].reset()
            for _ in range(60):
                simulation.server.publish("t", "x" * 50)
            simulation.settle()
            self.assertEqual(self.numbers(peers[2].take()), list(range(1, 61)))
            self.assertEqual(self.logs.find("failed"), [])

    def test_a_command_that_waits_is_not_handled_in_the_middle_of_a_message(self) -> None:
        """A push makes room, and the next command would come between it and its delivery."""
        with self.simulate(
            tcp_send_limit=600, write_high_water=300, write_low_water=50
        ) as simulation:
            server = simulation.server

            @self.router.register("work", protocol="tcp", blocking=False)
            def work(request: Any) -> Any:
                for number in range(12):
                    server.publish("t", number)
                return {"answer": "y" * 700}

            peer = simulation.tcp()
            self.subscribe(simulation, peer, "t")
            again = {"command": "subscribe", "data": {"topic": "t"}}
            peer.send(b"work\n" + json.dumps(again).encode() + b"\n")
            peer.send(b'{"command": "unsubscribe", "data": "t"}\n')
            simulation.settle()
            got = lines(peer.take())
            pushes = [message["seq"] for message in got if message.get("type") == "push"]
            self.assertEqual(pushes, sorted(set(pushes)))
            last = [message.get("type") for message in got].index("unsubscribed")
            self.assertEqual([m for m in got[last + 1 :] if m.get("type") == "push"], [])

    def test_many_topics_resumed_at_once_do_not_make_a_client_slow(self) -> None:
        """What cannot be sent is a gap; else it would be cut, come again, and be cut again."""
        with self.simulate(tcp_send_limit=20_000) as simulation:
            for topic in range(8):
                for _ in range(20):
                    simulation.server.publish(f"t{topic}", "x" * 400)
            simulation.settle()
            peer = simulation.tcp(capacity=3000)
            for topic in range(8):
                command = {"command": "subscribe", "data": {"topic": f"t{topic}", "since": 0}}
                peer.send(json.dumps(command).encode() + b"\n")
            got = b""
            for _ in range(200):
                simulation.settle()
                got += peer.take()
            subscribed = [m for m in lines(got) if m.get("type") == "subscribed"]
            self.assertEqual(len(subscribed), 8)
            self.assertTrue(any(message["gap"] for message in subscribed))
            self.assertFalse(peer.saw_fin)
            simulation.server.publish("t7", "still here")
            simulation.settle()
            self.assertEqual(lines(peer.take())[-1]["data"], "still here")

    def test_the_notices_come_before_the_answer_also_from_a_worker(self) -> None:
        for blocking in (True, False):
            with self.subTest(blocking), self.simulate() as simulation:

                @self.router.register("both", protocol="tcp", blocking=blocking)
                def both(request: Any) -> Any:
                    request.subscribe("a")
                    request.subscribe("b", info={"x": 1})
                    request.unsubscribe("a")
                    return {"done": True}

                peer = simulation.tcp()
                peer.send(b"both\n")
                simulation.settle()
                self.assertEqual(
                    [m.get("type", "answer") for m in lines(peer.take())],
                    ["subscribed", "subscribed", "unsubscribed", "answer"],
                )

    def test_a_handler_that_wants_too_many_topics_is_told(self) -> None:
        """Also on a worker, where none of them is in effect yet."""
        for blocking in (True, False):
            with self.subTest(blocking), self.simulate(max_subscriptions=5) as simulation:

                @self.router.register("many", protocol="tcp", blocking=blocking)
                def many(request: Any) -> Any:
                    for number in range(9):
                        request.subscribe(f"t{number}")

                peer = simulation.tcp()
                peer.send(b'{"command": "many"}\n')
                simulation.settle()
                *subscribed, answer = lines(peer.take())
                self.assertEqual(len(subscribed), 5)
                self.assertEqual(answer["status"], 429)
                self.assertEqual(len(next(iter(simulation.server.clients.values())).topics), 5)

    def test_a_connection_for_one_answer_cannot_subscribe(self) -> None:
        with captured_logs(), Simulation(self.router) as simulation:
            simulation.server.allow_subscribe("*")
            peer = simulation.tcp()
            answer = self.subscribe(simulation, peer, "t")
            self.assertEqual(answer[0]["status"], 400)
            self.assertEqual(simulation.server.topic("t").subscribers, 0)

    def test_xml_and_line_clients_hear_topics_too(self) -> None:
        with self.simulate() as simulation:
            line, xml = simulation.tcp(), simulation.tcp()
            line.send(b"subscribe t\n")
            xml.send(b'<request command="subscribe"><topic>t</topic></request>')
            simulation.settle()
            kinds = [m.get("type", "answer") for m in lines(line.take())]
            self.assertEqual(kinds, ["subscribed", "answer"])
            epoch = simulation.server.topic("t").epoch
            self.assertEqual(
                xml.take().splitlines()[0].decode(),
                f'<subscribed topic="t" id="{epoch}-0" gap="false"/>',
            )
            simulation.server.publish("t", {"a": "<&>", "b": [1]})
            simulation.settle()
            self.assertEqual(lines(line.take())[0]["data"], {"a": "<&>", "b": [1]})
            self.assertEqual(
                xml.take().decode(),
                f'<push topic="t" seq="1" id="{epoch}-1"><a>&lt;&amp;&gt;</a>'
                "<b><item>1</item></b></push>\n",
            )

    def test_a_stop_sends_what_waits_and_then_says_so(self) -> None:
        with self.simulate(tcp_send_limit=20_000, write_high_water=500) as simulation:
            peer = simulation.tcp(capacity=600)
            self.subscribe(simulation, peer, "t")
            for _ in range(50):
                simulation.server.publish("t", "x" * 100)
            simulation.settle()
            simulation.server.stop()
            got = b""
            for _ in range(100):
                simulation.advance(0.01)
                got += peer.take()
            told = lines(got)
            self.assertEqual(self.numbers(got), list(range(1, 51)))
            self.assertEqual((told[-1]["type"], told[-1]["reason"]), ("closing", "shutdown"))

    def test_received_and_told_is_what_was_published(self) -> None:
        """Under every policy, for a client that reads now and then, and in the end all."""
        for policy in ("drop_oldest", "drop_newest", "latest", "disconnect"):
            for seed in range(5):
                with (
                    self.subTest(policy, seed=seed),
                    self.simulate(
                        tcp_send_limit=3000, write_high_water=1000, slow_client_policy=policy
                    ) as simulation,
                ):
                    self.slow_reader(simulation, random.Random(seed), policy)

    def slow_reader(self, simulation: Simulation, rng: random.Random, policy: str) -> None:
        slow, quick = simulation.tcp(capacity=500), simulation.tcp()
        for peer in (slow, quick):
            self.subscribe(simulation, peer, "t")
        got = b""
        for _ in range(150):
            simulation.server.publish("t", "x" * rng.randrange(200))
            simulation.server.push_message("p")
            if rng.random() < 0.5:
                simulation.settle()
            if rng.random() < 0.2:
                got += slow.take()
        for _ in range(200):
            simulation.settle()
            got += slow.take()
        told = lines(got)
        pushed = [message for message in told if message["type"] == "push"]
        lost = sum(message["count"] for message in told if message["type"] == "dropped")
        if policy != "disconnect":
            self.assertEqual(len(pushed) + lost, 300)
        else:
            self.assertEqual(told[-1]["reason"], "slow")
            self.assertEqual(told[-1]["text"], f"{lost} messages could not be kept for you")
        numbers = [message["seq"] for message in pushed if "seq" in message]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertGreater(lost, 0)
        self.assertEqual(simulation.server.stats["push_dropped"], lost)
        self.assertEqual(self.numbers(quick.take()), list(range(1, 151)))

    def browse(
        self, simulation: Simulation, head: bytes = b"GET /e HTTP/1.1\r\nHost: a", **how: Any
    ) -> Peer:
        self.router.get("/e", blocking=False)(lambda request: EventStream("t"))
        browser = simulation.http(**how)
        browser.send(head + b"\r\n\r\n")
        simulation.settle()
        return browser

    def events(self, data: bytes) -> list[Any]:
        return [json.loads(line[6:]) for line in data.splitlines() if line.startswith(b"data: ")]

    def test_what_waits_for_a_browser_goes_on_when_it_reads(self) -> None:
        """Though its transport was never congested: the queue's limit lies below that mark."""
        with self.simulate(event_buffer=8000) as simulation:
            browser = self.browse(simulation, capacity=2000)
            for _ in range(30):
                simulation.server.publish("t", "x" * 20)
            got = b""
            for _ in range(10):
                simulation.settle()
                got += browser.take()
            self.assertEqual([e["seq"] for e in self.events(got) if "seq" in e], list(range(1, 31)))

    def test_a_slow_browser_gets_or_is_told_of_everything(self) -> None:
        for version in (b"1.1", b"1.0"):
            for policy in ("drop_oldest", "drop_newest", "latest", "disconnect"):
                with (
                    self.subTest(policy, version=version),
                    self.simulate(
                        event_buffer=3000, slow_client_policy=policy, linger_timeout=60.0
                    ) as simulation,
                ):
                    head = b"GET /e HTTP/" + version + b"\r\nHost: a"
                    browser = self.browse(simulation, head, capacity=700)
                    for number in range(100):
                        simulation.server.publish("t", "x" * (number % 50))
                        simulation.settle()
                    got = b""
                    for _ in range(60):
                        simulation.settle()
                        got += browser.take()
                    told = self.events(got)
                    numbers = [event["seq"] for event in told if "seq" in event]
                    lost = sum(event["count"] for event in told if event["type"] == "dropped")
                    self.assertEqual(numbers, sorted(set(numbers)))
                    self.assertGreater(lost, 0)
                    self.assertEqual(simulation.server.stats["push_dropped"], lost)
                    if policy == "disconnect":
                        self.assertEqual(told[-1]["reason"], "slow")
                        self.assertIn(str(lost), told[-1]["text"])
                        self.assertFalse(got.endswith(b"0\r\n\r\n"))
                        self.assertTrue(browser.saw_fin)
                    else:
                        self.assertEqual(len(numbers) + lost, 100)

    def test_a_stop_sends_a_browser_what_waits_and_then_says_so(self) -> None:
        with self.simulate(event_buffer=8000) as simulation:
            browser = self.browse(simulation, capacity=500)
            for _ in range(30):
                simulation.server.publish("t", "x" * 20)
            simulation.settle()
            simulation.server.stop()
            got = b""
            for _ in range(30):
                simulation.settle()
                got += browser.take()
            told = self.events(got)
            self.assertEqual([e["seq"] for e in told if "seq" in e], list(range(1, 31)))
            self.assertEqual((told[-1]["type"], told[-1]["reason"]), ("closing", "shutdown"))
            self.assertTrue(got.endswith(b"0\r\n\r\n"))

    def test_a_browser_that_resumes_much_is_not_too_slow_for_it(self) -> None:
        """Small messages: what surrounds each in the stream is more than the message."""
        with self.simulate(event_buffer=20_000, topic_history=1000) as simulation:
            for number in range(500):
                simulation.server.publish("t", number)
            simulation.settle()
            head = b"GET /e HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 0"
            browser = self.browse(simulation, head, capacity=1000)
            got = b""
            for _ in range(60):
                simulation.settle()
                got += browser.take()
            subscribed, *events = self.events(got)
            self.assertIs(subscribed["gap"], True)
            self.assertEqual([event["data"] for event in events][-1], 499)
            self.assertGreater(len(events), 20)
            self.assertFalse(browser.saw_fin)


if __name__ == "__main__":
    unittest.main()
