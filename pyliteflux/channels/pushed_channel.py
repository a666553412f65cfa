"""The half of a TCP client's channel that speaks unasked: pushes, topics, notices, the goodbye.

The rule: what is said unasked never waits for an answer and never comes in the middle of one.
The fast way is one call: a client that keeps up has nothing waiting, and the bytes, which
all clients share, go to its transport. Everything else (a queue, acks) is made when it is
needed and thrown away after.

Chapter: docs/topics.md.
"""

from __future__ import annotations

from math import inf
from typing import Any

from ..app.request import Request, TCPRequest
from ..endpoint import Peer
from ..errors import HTTPError, ReactorClosed
from ..protocol.push import Announcement, PushFrame
from ..push.acks import GONE, TIMEOUT, UNWRITABLE, Ack
from ..push.push_queue import PushQueue
from ..reactor.transport import Transport
from ..topicname import check_info, check_topic
from ..why import CloseReason
from .channel import CLOSED, CLOSING, HANDLING, RECEIVING, Channel
from .journal import Kind
from .message_budget import Share
from .message_service import MessageService


class PushedChannel(Channel):
    """A channel to a client that can be pushed to. Reactor thread only, unless it says any.

    client_id: "host:port" (T8). topics: what it is subscribed to, each with the position from
    which on it hears it; None: nothing. client: what the application sees of it, once it is
    admitted.
    """

    _service: MessageService
    _request: TCPRequest | None

    __slots__ = (
        "_pushes",
        "_share",
        "_acks",
        "_subscribing",
        "_format",
        "_wrap",
        "_keep_alive",
        "topics",
        "client",
    )

    def __init__(self, service: MessageService, transport: Transport, peer: Peer) -> None:
        super().__init__(service, transport, peer, service.reactor.now)
        self._pushes: PushQueue | None = None  # Made when the transport has no room.
        self._share: Share | None = None  # Of the budget, while a large message is here.
        self._acks: dict[str, Ack] | None = None  # Pushes that the client is to acknowledge.
        self._subscribing: list[str] | None = None  # Any thread: subscriptions on their way to us.
        # Of its last message: "json", "xml", "raw" or "binary".
        self._format = service.framing.data_type
        # What the framing does to a message on its way out; None, the commonest: nothing.
        self._wrap = service.framing.wrap
        self._keep_alive = service.config.tcp_keep_alive
        self.topics: dict[str, int] | None = None
        self.client: Any = None

    def deliver(self, frame: Announcement, topic: str | None, policy: str) -> None:
        """Push, or keep it until there is room; over the limit the policy decides (P4)."""
        state = self.state
        if state is CLOSING or state is CLOSED:
            return
        if self._wrap is None:
            data = frame.xml if self._format == "xml" else frame.json
        else:
            written = self._wrapped(frame)
            if written is None:
                self._lose(topic)
                return
            data = written
        transport, service = self._transport, self._service
        pushes = self._pushes
        if pushes is None:
            unsent = transport.size
            if unsent == 0 or unsent + len(data) <= service.push_direct:
                transport.write(data)
                return
            pushes = PushQueue(transport, self, service.push_limit, service.push_direct)
            self._pushes = pushes
        keeps_up = pushes.push(data, topic, policy)
        if self.state is CLOSING or self.state is CLOSED:
            return  # The push has found out that nobody is there any more.
        self._pushes = None if pushes.is_idle else pushes
        if not keeps_up:
            text = f"{pushes.give_up()} messages could not be kept for you"
            self.say_goodbye("slow", text, CloseReason.SLOW_CLIENT)

    def _wrapped(self, frame: Announcement) -> bytes | None:
        """Return what this client's framing makes of a frame; None where its `wrap` fails.

        That costs this client the frame, and nothing more: others may have a framing that can
        write it, and the next one may be written again.
        """
        wrap = self._wrap
        assert wrap is not None
        data = frame.wrapped(wrap, self._format == "xml")
        if isinstance(data, bytes):
            return data
        self._service.report_wrap(wrap, data)
        return None

    def _lose(self, topic: str | None) -> None:
        """Give up a message that cannot be written for this client; it is told so, in its turn."""
        pushes = self._pushes
        if pushes is None:
            service = self._service
            pushes = PushQueue(self._transport, self, service.push_limit, service.push_direct)
            self._pushes = pushes
        pushes.lose(topic)
        self._send_waiting()

    def on_loss(self, topic: str | None) -> None:
        """A message to this client was given up (`PushQueue`)."""
        self._service.push_dropped += 1
        if topic is not None:
            self._service.topics.on_loss(topic)
        self.note(Kind.PUSH_DROPPED, topic)

    def deliver_acked(self, frame: PushFrame, ack: Ack, timeout: float, policy: str) -> None:
        """Push what the client is to acknowledge within `timeout` seconds."""
        if self._wrap is not None and self._wrapped(frame) is None:
            self.deliver(frame, None, policy)  # It is counted, and told.
            ack.end(UNWRITABLE)
            return
        if self._acks is None:
            self._acks = {}
        self._acks[ack.id] = ack
        ack.timer = self._service.reactor.call_later(timeout, self._on_ack_timeout, ack)
        self.deliver(frame, None, policy)
        if self.state is CLOSING or self.state is CLOSED:
            ack.end(GONE)

    def _on_ack_timeout(self, ack: Ack) -> None:
        if self._acks is not None:
            self._acks.pop(ack.id, None)
        self.note(Kind.ACK_TIMEOUT)
        ack.end(TIMEOUT)

    def send_loss(self, topic: str | None, count: int) -> None:
        """Tell the client that messages to it were given up (`PushQueue`)."""
        self._announce(Announcement("dropped", topic=topic, count=count))

    def _announce(self, news: Announcement) -> None:
        if self._wrap is None:
            self._transport.write(news.xml if self._format == "xml" else news.json)
            return
        data = self._wrapped(news)
        if data is not None:
            self._transport.write(data)

    def _send_waiting(self) -> None:
        pushes = self._pushes
        assert pushes is not None
        pushes.send()
        if pushes.is_idle:
            self._pushes = None  # An empty one costs as much as all the rest of a connection.

    def replay_room(self) -> int:
        """Return how many bytes of missed messages it can be sent: who was away is not slow.

        What waits counts: many topics may be resumed at once.
        """
        limit = self._service.push_limit
        if self.queued > limit // 4 and self._transport.flush_is_due:
            self._transport.flush()
        return limit // 2 - self.queued

    @property
    def queued(self) -> int:
        """Any thread: bytes that wait for this client."""
        pushes = self._pushes
        return self._transport.size + (0 if pushes is None else pushes.size)

    @property
    def pending_acks(self) -> int:
        """Any thread: pushes that this client has not acknowledged yet."""
        acks = self._acks
        return 0 if acks is None else len(acks)

    # --- what a handler asks of its connection (any thread)

    def subscribe(self, name: str, since: Any, info: Any) -> None:
        """Have the topics subscribe this client. Raises HTTPError."""
        check_topic(name)
        info = check_info(info, self._service.config.json_default)
        if not self._keep_alive:
            raise HTTPError(400, "the connection ends with this answer: it can hear no topic")
        asked = self._subscribing
        if asked is None:
            asked = self._subscribing = []
        self._service.topics.check_room(self.topics, asked, name)
        self._service.hook_calls.check(self.client_id)
        asked.append(name)
        try:
            self._service.reactor.call_in_turn(self._subscribe, name, since, info)
        except ReactorClosed:
            pass  # The client has left, with all the others.

    def unsubscribe(self, name: str) -> None:
        """Have the topics unsubscribe this client. Raises HTTPError."""
        check_topic(name)
        try:
            self._service.reactor.call_in_turn(self._unsubscribe, name)
        except ReactorClosed:
            pass

    def _subscribe(self, name: str, since: Any, info: Any) -> None:
        if self.state is not CLOSING and self.state is not CLOSED:
            self.note(Kind.SUBSCRIBED, name)
            self._service.topics.subscribe(self, name, since, info)
        if self._subscribing:
            self._subscribing.remove(name)

    def _unsubscribe(self, name: str) -> None:
        if self.topics and name in self.topics:
            self.note(Kind.UNSUBSCRIBED, name)
            self._service.topics.unsubscribe(self, name)

    # --- the end

    def disconnect(self, text: str) -> None:
        """The application ends it: tell the client why, then close."""
        self.note(Kind.DISCONNECTED, text)
        self.say_goodbye("disconnected", text, CloseReason.DISCONNECTED)

    def say_goodbye(self, reason: str, text: str, close_reason: CloseReason) -> None:
        """Tell the client why, then close: what waits for it is given up, and it is told so.

        Who does not even read that, within linger_timeout, is reset.
        """
        if self.state is CLOSING or self.state is CLOSED:
            return
        if self._pushes is not None:
            self._pushes.give_up()
        self._say_closing(reason, text)
        self._close(close_reason)
        self.deadline = self._service.reactor.now + self._service.config.linger_timeout

    def _say_closing(self, reason: str, text: str) -> None:
        # A client that speaks lines would take it for an answer, unless it is pushed to: it sees
        # the end, as ever.
        is_pushed_to = self._format in ("json", "xml", "") or self.topics or reason == "slow"
        if self._keep_alive and is_pushed_to:
            self._announce(Announcement("closing", reason=reason, text=text))

    def _close(self, reason: CloseReason) -> None:
        if self._pushes is not None:
            self._pushes.flush()
        self._service.on_leaving(self)
        request = self._request
        if self.state is HANDLING and request is not None:
            # Its handler still runs: its answer, when it comes, has nobody to go to.
            request.gone = True
            self._await_overdue(request)
        super()._close(reason)

    def _hold(self, size: int) -> Share:
        """A large message is here, so many bytes of it: they count until `_let_go`."""
        if self._share is None:
            self._share = Share(self._service.memory, self._read_on)
        self._share.take(size)
        return self._share

    def _read_on(self) -> None:
        """There is room for more of a large message that waits for it."""
        if self.state is RECEIVING:
            self.deadline = self._service.reactor.now + self._service.config.tcp_message_timeout
            self._transport.resume_reading()

    def _may_read_on(self, size: int) -> bool:
        """So much of a large message is here: where there is no room for more, it waits."""
        if self._hold(size).has_room():
            return True
        self.deadline = inf  # Nobody but us is slow.
        self._transport.pause_reading()
        return False

    def _let_go(self) -> None:
        """What is held of a large message is not needed any more."""
        share, self._share = self._share, None
        if share is not None:
            share.release()

    def _await_overdue(self, request: Request | None) -> None:
        super()._await_overdue(request)
        if request is None or not request.has_begun:
            self._let_go()  # Else the handler still has it.

    def _finish_overdue(self) -> None:
        self._let_go()
        super()._finish_overdue()

    def _give_back(self) -> None:
        """The connection is closed: what waits has nobody to go to."""
        if self._overdue is None:  # Else its handler still has the message.
            self._let_go()
        self._pushes = None
        acks, self._acks = self._acks, None
        for ack in (acks or {}).values():
            ack.end(GONE)
