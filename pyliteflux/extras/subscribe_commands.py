"""Ready-made TCP commands: `subscribe` and `unsubscribe`, for the topics that are allowed.

The rule: what a client may hear is said by the application, so that nothing is allowed
unless `server.allow_subscribe` names it.

Chapter: docs/topics.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..app.request import Request
from ..app.routing import Router
from ..errors import HTTPError


class SubscribeCommands:
    """The two handlers, and what they allow. They never block: they run on the reactor."""

    def __init__(self) -> None:
        self._allowed: tuple[str, ...] = ()

    def allow(self, patterns: Iterable[str]) -> None:
        """Allow some more topics or patterns."""
        self._allowed = tuple(dict.fromkeys((*self._allowed, *patterns)))

    def register(self, router: Router) -> None:
        """Make them commands of a router, once."""
        if router.resolve_command("subscribe") is None:
            router.register("subscribe", protocol="tcp", blocking=False)(self.subscribe)
            router.register("unsubscribe", protocol="tcp", blocking=False)(self.unsubscribe)

    def subscribe(self, request: Request) -> Any:
        """Command: hear a topic."""
        wanted = self._wanted(request)
        topic = wanted["topic"]
        if not any(_covers(pattern, topic) for pattern in self._allowed):
            raise HTTPError(
                403, {"error": f"topic {topic!r} is not open to clients", "code": "forbidden"}
            )
        request.subscribe(topic, wanted.get("since"), wanted.get("info"))
        return {"ok": True, "topic": topic}

    def unsubscribe(self, request: Request) -> Any:
        """Command: hear it no more."""
        topic = self._wanted(request)["topic"]
        request.unsubscribe(topic)
        return {"ok": True, "topic": topic}

    def _wanted(self, request: Any) -> dict[str, Any]:
        data = request.data
        wanted = {"topic": data.strip()} if isinstance(data, str) else data
        if not isinstance(wanted, dict) or not isinstance(wanted.get("topic"), str):
            raise HTTPError(
                400, 'which topic? The data is its name, or {"topic": ..., "since": ...}'
            )
        return wanted


def _covers(pattern: str, topic: str) -> bool:
    """Tell whether all that `topic` may stand for is allowed by `pattern`."""
    return pattern == topic or (pattern.endswith("*") and topic.startswith(pattern[:-1]))
