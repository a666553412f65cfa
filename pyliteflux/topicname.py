"""What a topic may be called, and what a subscriber may say of itself.

Stands on the ground because a response (`app.events`), a command and the topics themselves
(`server.topics`) must agree. Names often come from a client, so a bad one is its error, a 400.

Chapter: docs/topics.md.
"""

from __future__ import annotations

from typing import Any

from .errors import HTTPError
from .jsontext import Default, dumps, loads

MAX_NAME = 256  # Characters of a topic's name. It is part of every message.
# Bytes of a member's info as JSON. It is kept with the member, and told to all the others.
MAX_INFO = 4096


class BadTopic(HTTPError, ValueError):
    """A name that no topic can have: a ValueError to a program, a 400 where a client chose it."""

    def __init__(self, text: str) -> None:
        super().__init__(400, text)


def check_topic(name: Any) -> str:
    """Return the name of a topic, or of a pattern: with a `*` at the end, all that begin so.

    Raises BadTopic for anything else.
    """
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= MAX_NAME
        or not name.isprintable()
        or " " in name
        or "*" in name[:-1]
    ):
        raise BadTopic(
            f"a topic is 1 to {MAX_NAME} printable characters without blanks, a '*' only at the end"
        )
    return name


def check_info(info: Any, default: Default | None = None) -> Any:
    """Return a copy of what a subscriber says of itself, which nobody can change any more.

    default: the setting json_default.
    Raises TypeError or ValueError for what JSON cannot write, HTTPError 413 over MAX_INFO.
    """
    if info is None:
        return None
    data = dumps(info, default)
    if len(data) > MAX_INFO:
        raise HTTPError(413, f"the info is {len(data)} bytes, limit {MAX_INFO}")
    return loads(data)
