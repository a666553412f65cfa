"""A client of a PyLiteFlux server over TCP: calls, topics, and coming back after a loss.

The rule: nothing is lost in silence and nothing is done twice in silence. A call whose answer
cannot come any more raises; a message of a topic that could not be had is told as a gap.

This is what a program sees. Callers send from their own threads, as many at once as they like,
on one connection; a thread of the client's own (reader.py) reads, and an answer finds its
caller by its id. What happens when pushes come faster than they are taken: item_queue.py.

Chapter: docs/client.md.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import TYPE_CHECKING, Any

from ..errors import CallError, ConnectionLost, ProtocolError
from ..jsontext import dumps
from ..log import GuardedLogger, one_line
from .calls import is_error_without_id, read_message
from .events import LOSSES, Event, Push, Subscription
from .item_queue import ItemQueue
from .link import Backoff, Link, reason_of, seconds_until
from .reader import Reader

if TYPE_CHECKING:
    import ssl

log = GuardedLogger("pyliteflux.client")

MAX_MESSAGE = 16 * 1024 * 1024  # Bytes of one message of the server, or of a streamed answer.
PING_INTERVAL = 15.0  # Seconds without a word of the server after which it is asked for one.
QUEUE_LIMIT = 1024 * 1024  # Bytes of pushes that nobody has taken yet.
_CLOSED = "the client is closed"


class TCPClient:
    """A client of one server. Any thread may call any method; it connects when first used.

    timeout: seconds that a call, and connecting, may take. reconnect: come back after a loss,
    and resume what was subscribed to; without it the first loss is the end. keep_alive: as the
    server's tcp_keep_alive; False makes a connection for each call, and nothing else.
    ping_interval: after so many seconds without a word the server is asked for one, and after as
    many more the connection counts as lost; 0: never. auto_ack: acknowledge a push that asks for
    it when it is taken. on_event: called with each
    `Event` between two pushes, by the thread that takes these; by default losses are logged.
    max_message, queue_limit: bytes. ssl_context: for a TLS proxy before the server. backoff:
    the waits between attempts to come back.

    Use it as a context manager or `close` it: its thread and connection live until then. In a
    process that was forked it begins anew, with a connection of its own.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        timeout: float = 10.0,
        reconnect: bool = True,
        keep_alive: bool = True,
        ping_interval: float = PING_INTERVAL,
        auto_ack: bool = True,
        on_event: Callable[[Event], object] | None = None,
        max_message: int = MAX_MESSAGE,
        queue_limit: int = QUEUE_LIMIT,
        ssl_context: ssl.SSLContext | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.timeout = timeout
        self.keep_alive = keep_alive
        self.auto_ack = auto_ack
        self.on_event = _log_event if on_event is None else on_event
        self._max_message = max_message
        self._ssl_context = ssl_context
        self._peer = f"{host}:{port}"
        self._reader = Reader(
            self._peer,
            lambda: self._open(self.timeout),
            reconnect,
            backoff or Backoff(),
            ItemQueue(queue_limit),
            max_message,
            ping_interval or inf,
        )
        self._once: set[Link] = set()  # Connections for one call.
        self._once_lock = threading.Lock()  # Guards the connections for one call.
        with _fork_lock:
            _clients.add(self)

    # --- calls

    def call(
        self,
        command: str,
        data: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        idempotent: bool = False,
    ) -> Any:
        """Have the server run a command; return its answer, of a generator the list of its items.

        A dict comes without the "id" that the server has added. timeout: seconds for all of it,
        None: the client's. idempotent: it does no harm to run it twice, so send it once more
        where the connection is lost. Raises CallError for an error of the server's;
        ConnectionLost where there is no connection, or it breaks before the answer (as it does
        for one message over max_message); FrameTooLong for items that are over it in all;
        TimeoutError; TypeError or ValueError for what JSON cannot write.
        """
        deadline = self._deadline(timeout)
        message: dict[str, Any] = {"command": command, "data": data}
        if headers is not None:
            message["headers"] = dict(headers)
        try:
            return self._ask(message, deadline)
        except ConnectionLost as lost:
            if not (idempotent and lost.may_have_run) or self._reader.ended:
                raise
        return self._ask(message, deadline)

    def _ask(self, message: dict[str, Any], deadline: float) -> Any:
        if not self.keep_alive:
            return self._ask_once(message, deadline)
        reader = self._reader
        call = reader.new_call()
        line = dumps({**message, "id": call.id}) + b"\n"
        link = reader.await_link(deadline, call)
        try:
            link.send(line, deadline, call.id)
        except TimeoutError:
            pass  # As where it is not answered in time.
        except OSError:
            link.abort()  # The reader finds the end, and fails all calls.
        if not call.done.wait(seconds_until(deadline)):
            reader.forget(call)
            if not call.done.is_set():
                raise self._too_late(message)
        return call.result()

    def _ask_once(self, message: dict[str, Any], deadline: float) -> Any:
        """Ask over a connection of its own, which the server closes after the answer."""
        call = self._reader.new_call()
        line = dumps({**message, "id": call.id}) + b"\n"
        link = None
        try:
            link = self._open(max(0.001, deadline - time.monotonic()))
            with self._once_lock:
                self._once.add(link)
            if self.is_closed:
                link.abort()
            link.send(line, deadline)
            for received in link.lines(deadline):
                answer = read_message(received)
                if answer.get("id") == call.id or is_error_without_id(answer):
                    call.take(answer, len(received))
                    if call.done.is_set():
                        return call.result()
            text = "the server closed without an answer"
        except TimeoutError:
            raise self._too_late(message) from None
        except (OSError, ProtocolError, UnicodeError) as error:
            text = reason_of(error)
        finally:
            if link is not None:
                link.close()
                with self._once_lock:
                    self._once.discard(link)
        if link is None:
            raise ConnectionLost(self._reader.ended or f"no connection to {self._peer}: {text}")
        raise ConnectionLost(self._reader.ended or f"no answer from {self._peer}: {text}", True)

    def _open(self, timeout: float) -> Link:
        return Link.open(self.host, self.port, timeout, self._max_message, self._ssl_context)

    def _deadline(self, timeout: float | None) -> float:
        return time.monotonic() + (self.timeout if timeout is None else timeout)

    def _too_late(self, message: dict[str, Any]) -> TimeoutError:
        return TimeoutError(f"no answer from {self._peer} to {message['command']!r} in time")

    # --- topics

    def subscribe(
        self, topic: str, since: Any = None, *, info: Any = None, timeout: float | None = None
    ) -> None:
        """Hear a topic, or all topics that a pattern (``room:*``) stands for.

        It holds until `unsubscribe`: after a loss the client subscribes again, and what was
        published meanwhile comes, or a "gap" event says that it does not. since: the id of the
        last message that you have, 0 for all that the server keeps. info: what the others of
        the topic may know of you. Raises as `call` does: CallError with the code "forbidden"
        where the server does not allow it.
        """
        self._check_keep_alive()
        deadline = self._deadline(timeout)
        reader = self._reader
        reader.listen()
        mine = Subscription(topic, since, info)
        with reader.lock:
            before = reader.subscriptions.get(topic)
            reader.subscriptions[topic] = mine
        try:
            while not mine.is_ours:
                self._ask_for(mine, deadline)
        except BaseException:
            with reader.lock:
                if reader.subscriptions.get(topic) is mine:
                    del reader.subscriptions[topic]
                    if before is not None:
                        reader.subscriptions[topic] = before
            raise

    def _ask_for(self, mine: Subscription, deadline: float) -> None:
        """Subscribe, or find that the connection was lost meanwhile."""
        try:
            self._ask({"command": "subscribe", "data": mine.wanted()}, deadline)
            mine.is_ours = True
        except OSError as error:
            if self._reader.ended:
                raise
            # Where it has taken effect already, the reader brings it back.
            if not mine.is_ours and not getattr(error, "may_have_run", False):
                raise

    def _take_over(self, deadline: float) -> None:
        """Subscribe here to what the parent of this process had subscribed to."""
        reader = self._reader
        try:
            mine = reader.inherited[0]
        except IndexError:
            return  # Another thread has been faster.
        if reader.subscriptions.get(mine.topic) is mine:  # Nobody has asked for it anew.
            try:
                while not mine.is_ours:
                    self._ask_for(mine, deadline)
            except CallError:
                reader.subscriptions.pop(mine.topic, None)
                reader.disinherit(mine)
                raise
        reader.disinherit(mine)

    def unsubscribe(self, topic: str, *, timeout: float | None = None) -> None:
        """Hear it no more. What has come already is still handed out. Raises as `call` does."""
        with self._reader.lock:
            mine = self._reader.subscriptions.pop(topic, None)
            is_live = mine is not None and mine.is_live
        if is_live:
            self.call("unsubscribe", {"topic": topic}, timeout=timeout)

    @property
    def subscriptions(self) -> dict[str, Any]:
        """Each topic that it hears, with the id to go on from: ``since=`` in another process."""
        with self._reader.lock:
            return {mine.topic: mine.last for mine in self._reader.subscriptions.values()}

    # --- taking what was pushed

    def next_push(self, timeout: float | None = None) -> Push | None:
        """Wait for the next push; return None where none comes within `timeout` seconds.

        Events before it go to `on_event`. Raises ConnectionLost where none can come any more.
        """
        deadline = inf if timeout is None else time.monotonic() + timeout
        while True:
            item = self._next(deadline)
            if item is None or isinstance(item, Push):
                return item
            self.on_event(item)

    def next_event(self, timeout: float | None = None) -> Push | Event | None:
        """As `next_push`, but return the events too, at their places between the pushes."""
        return self._next(inf if timeout is None else time.monotonic() + timeout)

    def __iter__(self) -> Iterator[Push]:
        """Yield each push, until `close`. Raises ConnectionLost where none can come any more."""
        while True:
            try:
                push = self.next_push()
            except ConnectionLost:
                if self.is_closed:
                    return
                raise
            if push is not None:
                yield push

    def _next(self, deadline: float) -> Push | Event | None:
        self._check_keep_alive()
        reader = self._reader
        reader.listen()
        while reader.inherited and not reader.ended:
            self._take_over(self._deadline(None))
        if not reader.was_connected:
            reader.await_link(self._deadline(None))
        item = reader.take(deadline)
        if self.auto_ack and isinstance(item, Push):
            item.ack()
        return item

    def _check_keep_alive(self) -> None:
        if not self.keep_alive:
            raise ValueError("keep_alive=False: a connection for each call can hear nothing")

    # --- the end

    @property
    def is_closed(self) -> bool:
        """`close` has been called."""
        return self._reader.ended == _CLOSED

    def close(self) -> None:
        """End it: calls that wait raise ConnectionLost, iterations end. May be called twice."""
        self._reader.end(_CLOSED)
        with self._once_lock:
            links = list(self._once)
        for link in links:
            link.abort()

    def __enter__(self) -> TCPClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _begin_anew(self) -> None:
        """In a forked child: nothing that is the parent's is sent on, shut down or waited for."""
        links, self._once = self._once, set()
        self._once_lock = threading.Lock()
        for link in links:
            link.close_copy()
        self._reader.begin_anew()

    def __repr__(self) -> str:
        return f"<TCPClient of {self._peer}>"


# A child process has copies of a client's descriptors and of its locks, in the state in which they
# were, and none of its threads. Two processes on one connection would get each other's answers.
_clients: weakref.WeakSet[TCPClient] = weakref.WeakSet()
_fork_lock = threading.Lock()  # Guards the clients of this process, and who forks.
_held: list[threading.Lock] = []  # By the thread that forks.


def _before_fork() -> None:
    """Let no reader be in the middle of a message: its child would miss it, or have it twice."""
    _fork_lock.acquire()
    for client in list(_clients):
        lock = client._reader.lock
        lock.acquire()
        _held.append(lock)


def _after_fork() -> None:
    while _held:
        _held.pop().release()
    _fork_lock.release()


def _after_fork_in_child() -> None:
    _after_fork()  # This thread has the locks, here too.
    for client in list(_clients):
        client._begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork_in_child,
    )


def _log_event(event: Event) -> None:
    level = logging.WARNING if event.type in LOSSES else logging.DEBUG
    log.log(level, "%s", one_line(str(event)))
