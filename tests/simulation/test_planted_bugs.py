"""Can the simulation fail? Bugs are planted into the server, and each has to be found.

Every case says what is broken, how, and by the name of which invariant it must come out,
within so many worlds. A simulation that finds nothing proves something only if this passes.
"""

from __future__ import annotations

import contextlib
import gc
import threading
import unittest
from typing import Any
from unittest import mock

from pyliteflux import log
from pyliteflux.app import pipeline
from pyliteflux.app.error_answers import ErrorAnswers
from pyliteflux.app.pipeline import Pipeline
from pyliteflux.app.response import HTTPResponse, StreamResponse
from pyliteflux.channels.channel import Channel
from pyliteflux.channels.http_channel import HttpChannel
from pyliteflux.channels.message_channel import MessageChannel
from pyliteflux.channels.stream_pull import StreamPull
from pyliteflux.errors import PoolFull
from pyliteflux.headers import MutableHeaders
from pyliteflux.protocol import framing
from pyliteflux.push.hub import Hub
from pyliteflux.push.topic_log import TopicLog
from pyliteflux.reactor.acceptor import Acceptor
from pyliteflux.reactor.life import READING
from pyliteflux.reactor.loop import WRITE, Reactor
from pyliteflux.reactor.timers import TimerHandle
from pyliteflux.reactor.transport import Transport
from pyliteflux.reactor.waker import Waker
from pyliteflux.reactor.workers import WorkerPool
from pyliteflux.why import CloseReason
from tests.simulation.command import run_world

MOST_WORLDS = 150  # Until a planted bug that has not come out has stayed hidden.


class PlantedBugs(unittest.TestCase):
    """Each test plants one bug by replacing one method."""

    def expect(self, owner: Any, name: str, bug: Any, *invariants: str, first: int = 0) -> None:
        """Plant it, and fail unless a world breaks one of these invariants, and no other.

        first: the world to begin with, near one that is known to find it: to save time.
        """
        with mock.patch.object(owner, name, bug):
            for seed in range(first, first + MOST_WORLDS):
                failure = run_world(seed).failure
                if failure is not None:
                    break
            else:
                self.fail(f"not found in {MOST_WORLDS} worlds: {name}")
        gc.collect()
        self.assertIn(failure.name, invariants, str(failure))

    def test_a_waker_that_lowers_its_flag_too_early_loses_a_wake_up(self) -> None:
        def drain(waker: Any) -> bytes:
            waker._pending = False
            data = b""
            try:
                data = waker._near.recv(4096)
            except BlockingIOError:
                pass
            return data

        self.expect(Waker, "drain", drain, "wake-ups", "rest", first=110)

    def test_a_worker_that_does_not_announce_its_answers(self) -> None:
        def wake(reactor: Any, inner: Any = Reactor.wake) -> None:
            if not threading.current_thread().name.startswith("pyliteflux-worker"):
                inner(reactor)

        self.expect(Reactor, "wake", wake, "wake-ups", "rest", "stop")

    def test_a_pool_that_does_not_look_again(self) -> None:
        def look(pool: Any) -> None:
            pool._watching = False

        self.expect(WorkerPool, "_look", look, "wake-ups", "rest", first=12)

    def test_an_answer_that_overtakes_another(self) -> None:
        write = Transport.write

        def overtaking(transport: Any, data: Any) -> None:
            write(transport, data)
            if len(transport._unsent) > 1:
                transport._unsent.insert(0, transport._unsent.pop())

        self.expect(Transport, "write", overtaking, "answers", "frames", "pushes")

    def test_write_left_armed(self) -> None:
        def watch(transport: Any, inner: Any = Transport._watch) -> None:
            was_armed = transport._interest & WRITE
            inner(transport)
            if was_armed and transport._interest and not transport._interest & WRITE:
                transport._interest |= WRITE
                transport._reactor.modify(transport, transport._interest)

        self.expect(Transport, "_watch", watch, "interest")

    def test_a_rest_that_is_sent_from_the_wrong_byte(self) -> None:
        """A pushed frame, or an answer, is cut by a partial send."""
        send = Transport._send

        def cutting(transport: Any) -> None:
            before = transport.size
            send(transport)
            rest = transport._unsent
            if rest and 1 < transport.size < before and isinstance(rest[0], memoryview):
                rest[0] = rest[0][1:]
                transport.size -= 1

        self.expect(Transport, "_send", cutting, "answers", "frames", "pushes")

    def test_a_timer_that_is_left(self) -> None:
        """The timer of an ack that has come goes on, because nobody has cancelled it."""

        def keep(handle: Any) -> None:
            if "_on_ack_timeout" not in str(handle._callback):
                cancel(handle)

        cancel = TimerHandle.cancel
        self.expect(TimerHandle, "cancel", keep, "leftovers")

    def test_a_ring_that_forgets_without_saying_so(self) -> None:
        def trim(log: Any, inner: Any = TopicLog.trim) -> None:
            before = log.lost
            inner(log)
            log.lost = before

        self.expect(TopicLog, "trim", trim, "pushes", first=59)

    def test_a_deadline_that_is_not_set(self) -> None:
        def wait(channel: Any, inner: Any = HttpChannel._await_data) -> None:
            inner(channel)
            if channel.state.name in ("HEAD", "BODY"):
                channel.deadline = float("inf")

        self.expect(HttpChannel, "_await_data", wait, "deadlines")

    def test_a_generator_that_is_not_closed(self) -> None:
        def close(pull: Any) -> None:
            pull._is_over = True
            kept.append(pull)  # Or its finalizer would do it.

        kept: list[Any] = []
        self.expect(StreamPull, "_close", close, "generators", "finish", first=13)

    def test_on_finish_that_comes_twice(self) -> None:
        def finish(channel: Any, request: Any, inner: Any = Channel._finish) -> None:
            inner(channel, request)
            inner(channel, request)

        self.expect(Channel, "_finish", finish, "finish")

    def test_a_client_that_stays_in_the_hub(self) -> None:
        self.expect(Hub, "remove", lambda hub, channel: None, "leftovers")

    def test_a_descriptor_that_is_not_given_back(self) -> None:
        def close(transport: Any, reason: Any, inner: Any = Transport.close) -> None:
            sock = transport._wire
            if reason is CloseReason.PEER_RESET:
                transport._wire = mock.Mock(fileno=lambda: -1)
                if transport._interest:
                    transport._interest = 0
                    transport._reactor._selector.unregister(sock)
            inner(transport, reason)

        self.expect(Transport, "close", close, "leftovers")

    def test_a_farewell_that_takes_the_last_answer_away(self) -> None:
        """Closed at once, with unread input: the kernel sends RST, and that takes all."""

        def finish(transport: Any, reason: Any) -> None:
            while transport.is_open and transport.size:
                before = transport.size
                transport.flush()
                if transport.size == before:
                    break
            transport.close(reason)

        names = "answers", "frames", "pushes", "reasons"
        self.expect(Transport, "finish", finish, *names, first=13)

    def test_a_stream_that_ignores_the_high_mark(self) -> None:
        self.expect(Transport, "room", property(lambda transport: 1 << 20), "memory", first=98)

    def test_an_eof_that_is_read_for_ever(self) -> None:
        def on_eof(transport: Any, inner: Any = Transport._on_eof) -> None:
            inner(transport)
            if transport.is_open and not transport._interest & 1:
                transport.input = READING
                transport._watch()

        self.expect(Transport, "_on_eof", on_eof, "kernel", first=11)

    def test_a_body_that_is_never_read_on(self) -> None:
        """The handler has caught up, and nobody tells the reactor."""
        self.expect(HttpChannel, "_resume_from_worker", lambda channel: None, "rest", first=24)

    def test_a_second_message_that_is_handled_beside_the_first(self) -> None:
        def receive(channel: Any, data: bytes, inner: Any = MessageChannel.data_received) -> None:
            if channel.state.name == "HANDLING":
                channel.state = type(channel.state).IDLE
            inner(channel, data)

        names = "one at a time", "answers", "errors", "reasons", "finish", "rest"
        self.expect(MessageChannel, "data_received", receive, *names, first=22)

    def test_a_stop_that_waits_for_ever(self) -> None:
        self.expect(Reactor, "stop", lambda reactor: None, "stop", "rest")

    def test_an_error_before_the_first_piece_that_comes_behind_the_head(self) -> None:
        def begin(response: Any, encode: Any = None) -> None:
            response.is_held = False

        self.expect(StreamResponse, "begin", begin, "answers", "generators", first=7)

    def test_a_length_of_a_head_handler_that_is_lost(self) -> None:
        self.expect(HTTPResponse, "declared_length", lambda response: None, "answers", "reasons")

    def test_fields_of_a_tuple_that_come_after_the_middlewares(self) -> None:
        self.expect(pipeline, "settle", lambda *arguments, **named: None, "answers", first=13)

    def test_a_vary_that_looks_at_the_first_field_alone(self) -> None:
        def add_vary(fields: Any, name: str) -> None:
            fields["Vary"] = name

        self.expect(MutableHeaders, "add_vary", add_vary, "answers", first=13)

    def test_a_log_handler_that_fails_and_is_heard(self) -> None:
        def complain(error: BaseException) -> None:
            raise error

        self.expect(log, "_complain", complain, "errors", "answers", "reasons", "finish", "rest")

    def test_an_exception_that_nobody_holds_on_the_reactor_thread(self) -> None:
        def give_up(this: Any, request: Any, error: Any, *rest: Any) -> Any:
            raise error

        def replace(this: Any, request: Any, chain: Any, error: Any, *rest: Any) -> Any:
            raise error

        with mock.patch.object(ErrorAnswers, "value_of", give_up):
            self.expect(Pipeline, "_replace", replace, "errors", "answers", "reasons")

    def test_a_continuation_for_each_read(self) -> None:
        def later(channel: Any) -> None:
            channel._service.reactor.call_soon(channel._continue)

        self.expect(Channel, "_continue_later", later, "fairness", first=101)

    def test_a_stop_that_closes_the_ports_at_once(self) -> None:
        self.expect(Acceptor, "finish", lambda acceptor, most: acceptor.close(), "stop")

    def test_a_message_that_is_refused_where_it_could_wait(self) -> None:
        self.expect(MessageChannel, "may_refuse", True, "answers", "reasons")

    def test_http_that_is_taken_for_messages(self) -> None:
        self.expect(framing, "is_request_line", lambda *arguments: False, "silence", "answers")

    def test_what_must_be_given_back_and_is_refused(self) -> None:
        def finish(channel: Any, request: Any) -> None:
            service = channel._service
            if request is not None and service.pipeline.needs_finish(request):
                with contextlib.suppress(PoolFull):
                    service.cleanup.submit(service.pipeline.finish, request)

        self.expect(Channel, "_finish", finish, "finish", first=160)


if __name__ == "__main__":
    unittest.main()
