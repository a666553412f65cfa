"""Worlds that once failed, each with what was found in it. They run with every `make test`.

The rule: a seed means what it meant only as long as nothing is drawn in another order. So
the bug itself has a plain test, named here; the seed is one more world, no worse than others.

Chapter: docs/simulation.md.
"""

from __future__ import annotations

from typing import NamedTuple


class Found(NamedTuple):
    """A world that failed. invariant: which did not hold. test: what shows the bug alone."""

    seed: int
    steps: int
    invariant: str
    what: str
    test: str


FOUND = [
    Found(
        12,
        400,
        "reasons",
        "a push that flushed the transport lost its own queue: drained() had thrown it away",
        "test_found_bugs.PushQueues.test_a_push_that_flushes_keeps_the_queue_that_it_waits_in",
    ),
    Found(
        8,
        400,
        "reasons",
        "the same for the events of a topic: the browser was cut with an internal error",
        "test_found_bugs.PushQueues.test_an_event_that_flushes_keeps_the_queue_that_it_waits_in",
    ),
    Found(
        121,
        400,
        "pushes",
        "events that waited for a transport below its high mark were never sent",
        "test_found_bugs.PushQueues.test_events_that_wait_are_sent_though_nothing_was_congested",
    ),
    Found(
        145,
        400,
        "reasons",
        "a bad message put tcp_idle_timeout off where it came in pieces, not where it came whole",
        "test_found_bugs.Idleness.test_a_bad_message_is_one_however_it_came",
    ),
    Found(
        69,
        400,
        "deadlines",
        "a client waited without a deadline for an on_connect that did not return",
        "test_found_bugs.Greeting."
        "test_an_on_connect_that_never_returns_is_given_up_after_handler_timeout",
    ),
    Found(
        169,
        400,
        "finish",
        "cheap requests by the dozen filled the queue of on_finish, and others' were dropped",
        "test_found_bugs.GivingBack.test_of_http_requests_sent_at_once",
    ),
]
