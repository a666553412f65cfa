"""What an application wants to hear of its clients: who comes, who leaves, who joins a topic.

The rule: a hook may block, so it runs on a worker, never on the reactor; and a hook that
fails is logged and changes nothing for anybody else.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..log import framework as log

Hook = Callable[..., Any]


class Hooks:
    """The functions registered with `server.on_connect` and its like. Set before `run`."""

    def __init__(self) -> None:
        self.connect: list[Hook] = []
        self.disconnect: list[Hook] = []
        self.join: list[Hook] = []
        self.leave: list[Hook] = []

    def admit(self, client: Any) -> bool:
        """Worker: tell of a new client. Returns False where a hook does, or fails."""
        for hook in self.connect:
            try:
                if hook(client) is False:
                    return False
            except Exception:
                log.exception("on_connect failed for %r; it is refused", client)
                return False
        return True

    def run(self, call: tuple[list[Hook], tuple[Any, ...]]) -> None:
        """Worker: call each of the hooks with the arguments."""
        hooks, arguments = call
        for hook in hooks:
            try:
                hook(*arguments)
            except Exception:
                log.exception("the hook %r failed", hook)
