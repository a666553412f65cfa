"""Server-sent events: a response that stays open and carries events as they happen.

An `EventStream` without an iterable is *pushed*: whoever holds it calls `send` from any
thread, and no thread waits on its behalf, so ten thousand of them cost ten thousand sockets
and nothing more. With an iterable it is pulled like any stream, one event for each item.

The format is that of the HTML standard, section 9.2. Chapter: docs/streams.md.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from ..jsontext import Default, dumps
from ..log import framework as log
from ..topicname import check_info, check_topic
from .context import json_default
from .response import StreamResponse

_LINE_END = re.compile(r"\r\n|\r|\n")
HEARTBEAT = b":\n\n"  # A comment: it keeps proxies awake, and finds out who has left.


class EventStream(StreamResponse):
    """A stream of server-sent events.

    iterable: None to push with `send`. A str is a topic, or with a `*` at the end all that
    begin so: the browser hears what `server.publish` says there, each event the JSON object
    that a TCP client gets, and a reconnect goes on where it broke off. Else its items are
    events: a str is the data, a dict with "data" and perhaps "event", "id", "retry" is a
    whole event, other values are JSON. info: with a topic: what its members show of this one.
    retry: milliseconds after which the browser is to reconnect. on_close: called once, on a
    worker thread, when the client has left or the stream was closed.
    A reconnecting browser sends the last id in the request field Last-Event-ID.

    Raises HTTPError 400 for what no topic can be called, 413 for an info that is too long, and
    TypeError or ValueError for one that JSON cannot write.
    """

    __slots__ = (
        "_lock",
        "_deliver",
        "_early",
        "_retry",
        "_on_close",
        "_json_default",
        "is_open",
        "topic",
        "info",
    )

    def __init__(
        self,
        iterable: Iterable[Any] | str | None = None,
        *,
        info: Any = None,
        retry: int | None = None,
        headers: Any = None,
        on_close: Callable[[], object] | None = None,
    ) -> None:
        self.topic = check_topic(iterable) if isinstance(iterable, str) else None
        # Noted here, in the handler: `send` comes from anywhere.
        self._json_default = json_default()
        self.info = check_info(info, self._json_default)
        if self.topic is not None:
            iterable = None
        super().__init__(iterable if iterable is not None else (), "text/event-stream", headers)
        # A cache or a proxy that keeps events back would defeat the purpose.
        self.headers.setdefault("Cache-Control", "no-cache")
        self.headers.setdefault("X-Accel-Buffering", "no")
        self._lock = threading.Lock()  # Keeps the order: send() may come from several threads.
        self._deliver: Callable[[bytes | None], None] | None = None
        self._early: list[bytes] | None = [] if iterable is None else None
        self._on_close = on_close
        self.is_open = True
        self._retry = b"" if retry is None else encode_event(None, retry=retry)
        if self._retry and self._early is not None:
            self._early.append(self._retry)

    @property
    def is_pushed(self) -> bool:
        """True where events come from `send` and not from an iterable."""
        return self._early is not None

    def send(
        self,
        data: Any,
        event: str | None = None,
        id: str | int | None = None,
        retry: int | None = None,
    ) -> bool:
        """Send one event. Any thread; never blocks. Returns False once the client has left.

        data: a str as it is, any other value as JSON. Raises ValueError for a line end in
        event or id, TypeError on a stream that has an iterable.
        """
        return self._push(encode_event(data, event, id, retry, self._json_default))

    def comment(self, text: str = "") -> bool:
        """Send a line that browsers ignore. Any thread."""
        lines = "".join(f": {line}\n" for line in _LINE_END.split(text))
        return self._push(f"{lines}\n".encode())

    def close(self) -> None:
        """End the stream properly: the client sees a complete response. Any thread."""
        self._push(None)

    def _push(self, data: bytes | None) -> bool:
        with self._lock:
            if not self.is_open:
                return False
            if self._early is None:
                raise TypeError("this EventStream has an iterable: it cannot be pushed to as well")
            if data is None:
                self.is_open = False
            if self._deliver is not None:
                self._deliver(data)
            elif data is not None:
                self._early.append(data)
            return True

    # --- the server's side

    def connect(self, deliver: Callable[[bytes | None], None]) -> None:
        """From now on hand what is sent to `deliver`; what was sent before comes first."""
        with self._lock:
            early, self._early = self._early, []
            for data in early or ():
                deliver(data)
            self._deliver = deliver
            if not self.is_open:
                deliver(None)

    def disconnect(self) -> None:
        """The client has left, or all is sent. Idempotent; calls `on_close` the first time."""
        with self._lock:
            self.is_open = False
            self._deliver = None
            on_close, self._on_close = self._on_close, None
        if on_close is not None:
            try:
                on_close()
            except BaseException:
                log.exception("on_close of an EventStream failed")

    def pieces(self) -> Iterator[Any]:
        """Return the iterator of events; `retry` comes first."""
        return chain((self._retry,), super().pieces())

    def encode_piece(self, piece: Any) -> bytes:
        """Return an item of the iterable as one event."""
        if isinstance(piece, bytes):
            return piece  # Already in the format.
        if isinstance(piece, dict) and "data" in piece and piece.keys() <= _EVENT_KEYS:
            return encode_event(**piece, default=self._json_default)
        return encode_event(piece, default=self._json_default)

    def discard(self) -> None:
        """The stream will not be sent, or no further."""
        super().discard()
        self.disconnect()


_EVENT_KEYS = {"data", "event", "id", "retry"}


def encode_event(
    data: Any,
    event: str | None = None,
    id: str | int | None = None,
    retry: int | None = None,
    default: Default | None = None,
) -> bytes:
    """Return one event as bytes. data None leaves it out: such an event only sets id or retry.

    default: the setting json_default.
    """
    lines = []
    for name, value in (("event", event), ("id", id)):
        if value is not None:
            text = str(value)
            if "\n" in text or "\r" in text or "\0" in text:
                raise ValueError(f"the {name} of an event must not hold line ends or NUL")
            lines.append(f"{name}: {text}\n")
    if retry is not None:
        lines.append(f"retry: {int(retry)}\n")
    if data is not None:
        text = data if isinstance(data, str) else dumps(data, default).decode()
        lines.extend(f"data: {line}\n" for line in _LINE_END.split(text))
    return ("".join(lines) + "\n").encode()
