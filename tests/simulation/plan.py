"""What a seed decides at once: the server's settings, who connects, who pushes how much.

The rule: limits are small and timeouts short, so that a world of some hundred steps meets
them; which of them are, changes from world to world, for a limit that is met at once hides
all that comes after it.

Chapter: docs/simulation.md.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from tests.simulation.model import TOPICS

POLICIES = ("disconnect", "drop_oldest", "drop_newest", "latest")


class Sender(NamedTuple):
    """A thread that pushes or publishes. size: bytes of a message. pause: seconds, at times."""

    name: str
    count: int
    size: int
    pause: float


class Plan:
    """One world's settings and cast, drawn from `r`. settings: the server's."""

    def __init__(self, r: random.Random) -> None:
        self.theme = r.choice(("http", "push", "mixed"))
        high = r.choice((500, 4000, 50_000))
        self.settings: dict[str, Any] = {
            "write_high_water": high,
            "write_low_water": r.choice((high, high // 4)),
            "recv_size": r.choice((16, 300, 65536)),
            "tcp_send_limit": r.choice((1000, 10_000, 200_000)),
            "slow_client_policy": r.choice(
                ("disconnect", "disconnect", "drop_oldest", "drop_newest", "latest")
            ),
            "max_body_size": 100_000,
            "tcp_max_message": 100_000,
            "keep_alive_timeout": r.choice((3.0, 60.0)),
            "header_timeout": r.choice((2.0, 20.0)),
            "body_timeout": r.choice((2.0, 20.0)),
            "min_body_rate": r.choice((0, 100)),
            "send_timeout": r.choice((3.0, 60.0)),
            "linger_timeout": 1.0,
            "heartbeat": r.choice((0.5, 5.0)),
            "handler_timeout": r.choice((0.0, 0.0, 1.0)),
            "tcp_message_timeout": r.choice((2.0, 20.0)),
            "tcp_idle_timeout": r.choice((0.0, 0.0, 5.0)),
            "tcp_keep_alive": self.theme == "push" or r.random() < 0.8,
            "shutdown_timeout": r.choice((0.0, 1.0, 10.0)),
            "worker_threads": r.choice((1, 2, 4, 8)),
            "stream_workers": r.choice((1, 4)),
            "worker_queue_limit": r.choice((2, 100, 100, 100)),
            "max_connections": r.choice((3, *[100] * 7)),
            "max_accepts": r.choice((1, 64)),
            "event_buffer": r.choice((300, 100_000)),
            "keep_alive_requests": r.choice((0, 0, 0, 3)),
            "debug": r.random() < 0.3,
            # The watchdog looks at real stacks, and a thread at a point looks like a slow one.
            "slow_callback_ms": 10**9,
            "slow_handler_ms": 0,
        }
        policy = self.settings["slow_client_policy"]
        self.settings.update(
            # A ping can be dropped like a push, and the model does not count pings.
            tcp_ping_interval=r.choice((0.0, 1.0)) if policy == "disconnect" else 0.0,
            topic_history=r.choice((0, 3, 100)),
            topic_history_bytes=r.choice((500, 100_000)),
            topic_history_seconds=r.choice((2.0, 300.0)),
            ack_timeout=r.choice((0.5, 30.0)),
            max_pending_acks=r.choice((1, 1000)),
            push_backlog=r.choice((3, *[100_000] * 5)),
        )
        self.topics = TOPICS
        self.topic_options: dict[str, dict[str, Any]] = {}
        if r.random() < 0.4:
            self.topic_options["room:*"] = {
                "history": r.choice((None, 1, 10)),
                "slow_client_policy": r.choice((None, *POLICIES)),
            }
        if r.random() < 0.3:
            self.topic_options["news"] = {"slow_client_policy": r.choice(POLICIES)}
            if self.policy_of("news") == "disconnect":  # News of members could be dropped.
                self.topic_options["news"]["presence"] = True
        self.has_hooks = r.random() < 0.4
        self.refuses = r.random() < 0.3  # on_connect refuses some.
        self.answers_pings = r.random() < 0.8
        self.disconnects = r.random() < 0.2
        self.most_body = r.choice((100, 5000, 40_000))
        self.settings["max_buffered_bodies"] = r.choice((self.most_body + 300, 64 << 20))
        self.most_answer = self.most_body + 2000
        self.body_high = r.choice((1000, 20_000))
        self.preempt = r.choice((0.0, 0.02, 0.2, 0.5))
        self.lies = r.choice((0.0, 0.1))
        self.stops = r.random() < 0.3
        self.log_fails = r.choice((0.0, 0.0, 0.5))
        self.rude = r.choice((0.0, 0.2, 1.0))  # How much clients reset, and leave.
        # Which clients there are: True for HTTP.
        share = {"http": 0.9, "push": 0.2, "mixed": 0.5}[self.theme]
        self.clients = [r.random() < share for _ in range(r.randint(1, 8))]
        most = {"http": 0, "push": 60, "mixed": 20}[self.theme]
        self.pushers = self._draw_senders(r, "p", most)
        self.publishers = self._draw_senders(r, "t", most)
        senders = self.pushers + self.publishers
        self.most_push = max((sender.size for sender in senders), default=0) + 400

    def _draw_senders(self, r: random.Random, name: str, most: int) -> list[Sender]:
        return [
            Sender(
                f"{name}{number}",
                r.randint(1, most),
                r.choice((5, 300, 300, 3000)),
                r.choice((0.05, 0.3, 1.0)),
            )
            for number in range(r.choice((0, 1, 1, 3)) if most else 0)
        ]

    def policy_of(self, topic: str | None) -> str:
        """Return what happens to messages of a topic for slow clients; None: plain pushes."""
        said = None
        if topic is not None:
            own = self.topic_options.get(topic, {}).get("slow_client_policy")
            is_room = topic.startswith("room:")
            of_rooms = self.topic_options.get("room:*", {}).get("slow_client_policy")
            said = own or (of_rooms if is_room else None)
        return str(said or self.settings["slow_client_policy"])
