"""The thread of a client: it connects, reads, hands out what has come, and comes back.

The rule: it alone opens and closes the connection and takes messages from it, one after the
other, so each loss has one place where it is told: every call on its way fails, every topic
is asked for again from where it broke off. It never runs a caller's code and never waits for
room to send.

Chapter: docs/client.md.
"""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Callable
from math import inf
from typing import Any

from ..errors import CallError, ConnectionLost, FrameTooLong, ProtocolError
from ..jsontext import dumps
from ..log import GuardedLogger
from .calls import Call, is_error_without_id, read_message
from .events import Event, Push, Subscription
from .item_queue import ItemQueue
from .link import Backoff, Link, reason_of, seconds_until

log = GuardedLogger("pyliteflux.client")

CLOSE_TIMEOUT = 1.0  # Seconds that `end` waits for the thread; it may be connecting.
PONG = b'{"pong": true}\n'
PING = b'{"type": "ping"}\n'


class Reader:
    """The connection of a client and what comes by it. Any thread, unless it says otherwise.

    peer: its name in messages. open_link: connects, or raises. limit: bytes of an answer.
    """

    def __init__(
        self,
        peer: str,
        open_link: Callable[[], Link],
        reconnect: bool,
        backoff: Backoff,
        queue: ItemQueue,
        limit: int,
        ping_interval: float = inf,
    ) -> None:
        # Set once.
        self._peer = peer
        self._open_link = open_link
        self._reconnect = reconnect
        self._limit = limit
        self._ping_interval = ping_interval
        # Reader thread only.
        self._backoff = backoff
        # Guarded by the lock, as what `_begin` makes; `ended` may be read without.
        self.ended = ""  # Why nothing works any more.
        self.subscriptions: dict[str, Subscription] = {}
        # Of these, what a parent process had subscribed to: for whoever takes pushes here first.
        self.inherited: list[Subscription] = []
        self._queue = queue
        self._begin()

    def _begin(self) -> None:
        """Nothing has happened yet: no thread, no connection, and nobody waits."""
        self._ids = itertools.count(1)  # Set once.
        self._goodbye = ""  # Reader thread only: what the server said last, should it close now.
        # Guards calls, topics and pushes; `link` may be read without.
        self.lock = threading.Lock()
        self._changed = threading.Condition(
            self.lock
        )  # Waited on by the thread, and by who needs a link.
        self._has_items = threading.Condition(self.lock)  # Waited on by who takes pushes.
        self._thread: threading.Thread | None = None
        self.link: Link | None = None
        self.was_connected = False
        self._was_understood = False  # The other end is a server of our kind.
        self._failures = 0  # Attempts to connect that failed, connections that were lost,
        self._failure = ""  # and how the last one was.
        self._waiting = 0  # Threads that need a link,
        self._hurry = False  # one of them since the last attempt.
        self._calls: dict[int, Call] = {}
        self._is_paused = False

    def begin_anew(self) -> None:
        """In a forked child: the thread and the connection are the parent's.

        What has come stays here as well; the topics are asked for again, from where the parent
        was at the fork, once somebody takes pushes here. A child that only calls hears none.
        """
        link = self.link
        self._begin()  # And a push that came by that link is acknowledged by the parent.
        self._backoff.reset()
        self._queue.has_taker = False
        for topic, mine in list(self.subscriptions.items()):
            if mine.is_ours:
                self.inherited.append(mine)
                mine.is_ours = mine.is_live = False
            elif mine not in self.inherited:
                del self.subscriptions[topic]  # The caller was a thread of the parent.
        if link is not None:
            link.close_copy()

    # --- for callers

    def new_call(self, topic: str | None = None) -> Call:
        """Return a call with an id of its own."""
        return Call(next(self._ids), self._limit, topic)

    def await_link(self, deadline: float, call: Call | None = None) -> Link:
        """Return the connection, made if need be, with `call` entered as one that is to use it.

        Nothing has been sent yet, so waiting for a server that is away does no harm. But where
        it was never there, the address may be wrong, and that is told at once. Raises
        ConnectionLost.
        """
        if not self.lock.acquire(timeout=seconds_until(deadline)):
            raise ConnectionLost(f"no connection to {self._peer}: it takes too long")
        try:
            if self.link is None and not self.ended:
                self._demand_link(deadline)
            if self.link is None or self.ended:
                raise ConnectionLost(self.ended)
            if call is not None:
                self._calls[call.id] = call
                if self._is_paused:
                    self._changed.notify_all()  # What it reads next may be the answer.
            return self.link
        finally:
            self.lock.release()

    def _demand_link(self, deadline: float) -> None:
        """Wait until there is a connection, or there can be none."""
        if self._thread is None:
            name = f"pyliteflux-client-{self._peer}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()
        failures = self._failures
        self._hurry = True
        self._waiting += 1
        self._changed.notify_all()
        try:
            while self.link is None and not self.ended:
                remaining = seconds_until(deadline)
                has_failed = self._failures > failures and not self._was_understood
                if has_failed or remaining <= 0:
                    text = self._failure or "it takes too long"
                    raise ConnectionLost(f"no connection to {self._peer}: {text}")
                self._changed.wait(remaining)
        finally:
            self._waiting -= 1

    def forget(self, call: Call) -> None:
        """Nobody waits for this answer any more."""
        with self.lock:
            self._calls.pop(call.id, None)

    def take(self, deadline: float) -> Push | Event | None:
        """Wait for the next item; None where none comes in time. Raises ConnectionLost."""
        with self.lock:
            while (item := self._queue.take()) is None:
                if self.ended:
                    raise ConnectionLost(self.ended)
                remaining = seconds_until(deadline)
                if remaining <= 0:
                    return None
                self._has_items.wait(remaining)
            if self._is_paused and self._queue.has_room:
                self._changed.notify_all()
            return item

    def listen(self) -> None:
        """From now on somebody takes pushes."""
        with self.lock:
            self._queue.has_taker = True

    def disinherit(self, mine: Subscription) -> None:
        """The subscription is no longer to be asked for again."""
        with self.lock:
            if mine in self.inherited:
                self.inherited.remove(mine)

    def end(self, reason: str) -> None:
        """Close; who waits for anything is woken."""
        with self.lock:
            self.ended = reason
            self._queue.clear()
            link, thread = self.link, self._thread
            self._changed.notify_all()
            self._has_items.notify_all()
        if link is not None:
            link.abort()
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSE_TIMEOUT)

    # --- the thread: connecting

    def _run(self) -> None:
        try:
            while (link := self._connect()) is not None:
                self._on_lost(link, self._read_all(link))
        except BaseException:  # A bug, ours or a backoff's: nobody may wait for ever for it.
            with self.lock:
                self.ended = self.ended or "the client has failed, see the log"
                self._fail_calls(self.ended)
            log.exception("the client of %s has failed", self._peer)  # Somebody's code, too.

    def _connect(self) -> Link | None:
        """Return a connection once one is wanted and made; None at the end."""
        while True:
            with self.lock:
                self._changed.wait_for(self._has_work)
                if self.ended:
                    return None
                self._hurry = False
            try:
                link = self._open_link()
            except (OSError, UnicodeError) as error:  # UnicodeError: the name is no host's.
                log.debug("no connection to %s: %s", self._peer, error)
                with self.lock:
                    self._failures += 1
                    self._failure = reason_of(error)
                    self._changed.notify_all()
                    self._rest()
                continue
            if self._on_connected(link):
                return link
            link.close()

    def _has_work(self) -> bool:
        """Somebody waits for a connection; or nobody does, but what it hears would be missed."""
        is_missed = self._queue.has_taker and self.was_connected and self._reconnect
        return bool(self.ended or self._waiting or is_missed)

    def _rest(self) -> None:
        """Wait before the next attempt, but not longer than until somebody needs it."""
        self._changed.wait_for(lambda: self.ended or self._hurry, self._backoff.next_delay())

    def _on_connected(self, link: Link) -> bool:
        """Ask again for all that is subscribed to. False where it is too late."""
        with self.lock:
            if self.ended:
                return False
            if self.was_connected and self._queue.has_taker:
                self._put(Event("connected"))
            self.was_connected = True
            self._goodbye = ""
            self._hurry = False
            self.link = link
            for mine in self.subscriptions.values():
                if mine.is_ours:
                    call = self.new_call(mine.topic)
                    self._calls[call.id] = call
                    link.in_flight[call.id] = None
                    question = {"command": "subscribe", "data": mine.wanted(), "id": call.id}
                    link.send_soon(dumps(question) + b"\n")
            self._changed.notify_all()
            return True

    def _on_lost(self, link: Link, reason: str) -> None:
        with self.lock:
            self.link = None
            self._failures += 1
            self._failure = reason
            text = f"the connection to {self._peer} is lost: {reason}"
            if not self._reconnect:
                self.ended = self.ended or text
            self._fail_calls(self.ended or text, link)
            for mine in self.subscriptions.values():
                mine.is_live = False
            if self._queue.has_taker:
                self._put(Event("disconnected", reason=reason))
            if not self.ended:
                self._rest()

    def _fail_calls(self, text: str, link: Link | None = None) -> None:
        for id, call in self._calls.items():
            call.fail(ConnectionLost(text, link is None or id in link.in_flight))
        self._calls.clear()
        self._changed.notify_all()
        self._has_items.notify_all()

    # --- the thread: reading

    def _read_all(self, link: Link) -> str:
        """Read until the end; return why it is the end."""
        try:
            silence = functools.partial(self._on_silence, link)
            for line in link.lines(patience=self._ping_interval, on_silence=silence):
                if line:
                    message = read_message(line)
                    with self.lock:
                        self._on_message(link, message, len(line))
                        if self._queue.is_full:
                            self._pause()
            reason = "the server closed it"
        except (OSError, ProtocolError) as error:
            reason = reason_of(error)
            if isinstance(error, FrameTooLong):
                self._skip()
        finally:
            link.close()
        return self._goodbye or reason

    def _on_silence(self, link: Link, times: int) -> None:
        """Ask for a sign of life. Raises TimeoutError where none has come since the last time.

        A server handles questions in turn, and may not get to see what is behind several of
        them. Those who have asked them will not wait for ever: once one of them has given up,
        it has been silent for too long.
        """
        if times == 1:
            link.send_soon(PING)
            return
        with self.lock:
            asked = [self._calls.get(id) for id in list(link.in_flight)]
        is_awaited = all(call is not None and call.topic is None for call in asked)
        if len(asked) < 2 or not is_awaited:
            raise TimeoutError(f"no answer to a ping for {self._ping_interval:g} s")

    def _pause(self) -> None:
        """Stop reading until some of the pushes are taken, or there is a call to be answered."""
        self._is_paused = True
        self._changed.wait_for(lambda: self._queue.has_room or self._calls or self.ended)
        self._is_paused = False

    def _skip(self) -> None:
        """A message is too long to be had: to resume before it would be to meet it again."""
        with self.lock:
            for mine in self.subscriptions.values():
                if mine.is_live:
                    mine.last = None
                    self._put(Event("gap", topic=mine.topic))

    def _on_message(self, link: Link, message: dict[str, Any], size: int) -> None:
        self._was_understood = True
        id, kind = message.get("id"), message.get("type")
        if type(id) is int:
            self._on_answer(link, id, message, size)
        elif isinstance(kind, str):
            self._on_news(link, kind, message, size)
        elif is_error_without_id(message):
            # The server answers in order: it is the oldest that it could not read.
            self._goodbye = str(CallError(message))
            for oldest in list(link.in_flight)[:1]:
                self._on_answer(link, oldest, message, size)

    def _on_answer(self, link: Link, id: int, message: dict[str, Any], size: int) -> None:
        call = self._calls.get(id)
        if call is not None:
            call.take(message, size)
            if call.done.is_set():
                del self._calls[id]
        if message.get("type") == "stream":
            return  # More will come, even if nobody waits for it any more.
        link.in_flight.pop(id, None)
        self._backoff.reset()
        if call is not None and call.topic is not None and "error" in message:
            self.subscriptions.pop(call.topic, None)
            error = CallError(message)
            self._put(Event("refused", topic=call.topic, error=str(error), code=error.code))

    def _on_news(self, link: Link, kind: str, message: dict[str, Any], size: int) -> None:
        topic = message.get("topic")
        if kind == "push":
            self._backoff.reset()
            if not isinstance(topic, str) or self._is_news(topic, message.get("id")):
                self._put(Push(message, lambda answer: self._acknowledge(link, answer)), size)
            return
        if kind == "ping":
            link.send_soon(PONG)
            return
        if kind in ("pong", "stream", "end"):
            return  # To our ping; or the rest of an answer that nobody waits for.
        mine = self.subscriptions.get(topic) if isinstance(topic, str) else None
        if kind == "closing":
            self._goodbye = f"{message.get('reason')}: {message.get('text')}"
        elif kind == "subscribed" and mine is not None:
            mine.confirm(message.get("id"))
        elif kind == "unsubscribed" and mine is not None and mine.is_live:
            del self.subscriptions[mine.topic]
        del message["type"]
        self._put(Event(kind, **message), size)
        if kind == "subscribed" and message.get("gap"):
            self._put(Event("gap", topic=topic, id=message.get("id")))

    def _is_news(self, topic: str, id: Any) -> bool:
        """Note a message of a topic; False where it has come before, by another subscription."""
        mine = [one for one in self.subscriptions.values() if one.covers(topic)]
        if any(one.has_had(id) for one in mine):
            return False
        for one in mine:
            if one.is_live:  # Else more of it, from before this message, is still to come.
                one.last = id
        return True

    def _put(self, item: Push | Event, size: int = 0) -> None:
        self._queue.put(item, size)
        self._has_items.notify()

    # --- for whoever takes a push

    def _acknowledge(self, link: Link, answer: Any) -> bool:
        line = dumps(answer) + b"\n"
        if self.link is not link:
            return False  # The push came by another connection: nobody waits for this.
        try:
            link.send(line, time.monotonic() + CLOSE_TIMEOUT)
        except OSError:
            return False
        return True
