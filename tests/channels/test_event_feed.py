"""Events that come when they please, in a simulated world: order, limits, the end. P4, A2."""

from __future__ import annotations

import unittest
from typing import Any

from pyliteflux import EventStream
from pyliteflux.channels.event_feed import MAX_EVENT_ID, EventFeed, TopicFeed
from tests.channels.test_http_channel import MOMENT, SWEEP, ChannelCase, get


class FeedCase(ChannelCase):
    def setUp(self) -> None:
        super().setUp()
        self.streams: list[EventStream] = []

        @self.router.register("/events")
        def events(request: Any) -> EventStream:
            self.streams.append(EventStream(on_close=lambda: self.closed.append("events")))
            return self.streams[-1]

        @self.router.register("/topic")
        def topic(request: Any) -> EventStream:
            self.streams.append(EventStream("news", on_close=lambda: self.closed.append("topic")))
            return self.streams[-1]


class Pushed(FeedCase):
    def test_a_silent_event_stream_gets_a_comment_each_heartbeat(self) -> None:
        @self.router.register("/events")
        def events(request: Any) -> EventStream:
            return EventStream()

        simulation = self.simulate(heartbeat=15)
        peer = self.ask(simulation, get("/events"))
        peer.take()
        simulation.advance(15 - MOMENT)
        self.assertEqual(peer.take(), b"")
        simulation.advance(MOMENT + SWEEP)
        self.assertIn(b":", peer.take())
        simulation.advance(60)
        self.assertEqual(peer.take().count(b"\n\n"), 4)

    def test_what_was_sent_before_the_answer_comes_first(self) -> None:
        @self.router.register("/early")
        def early(request: Any) -> EventStream:
            stream = EventStream()
            stream.send("a")
            self.streams.append(stream)
            return stream

        simulation = self.simulate()
        peer = self.ask(simulation, get("/early"))
        self.assertIs(type(simulation.channel(peer)._stream), EventFeed)
        self.streams[0].send("b")
        self.streams[0].close()
        simulation.settle()
        data = peer.take()
        self.assertLess(data.index(b"data: a"), data.index(b"data: b"))
        self.assertTrue(data.endswith(b"0\r\n\r\n"))

    def test_who_is_sent_more_than_it_reads_is_cut(self) -> None:
        simulation = self.simulate(event_buffer=1000)
        peer = self.ask(simulation, get("/events"), capacity=100)
        for _ in range(20):
            self.streams[0].send("x" * 100)
        simulation.settle()
        self.assertFalse(self.streams[0].is_open)
        self.assertEqual(self.closed, ["events"])
        self.assertTrue(peer.is_over)


class OfATopic(FeedCase):
    def test_it_hears_the_topic_and_what_is_sent_beside(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, get("/topic"))
        self.assertIs(type(simulation.channel(peer)._stream), TopicFeed)
        peer.take()
        simulation.server.publish("news", 1)
        self.streams[0].send("beside")
        simulation.settle()
        data = peer.take()
        self.assertIn(b'"data": 1}', data)
        self.assertIn(b"data: beside", data)

    def test_what_it_does_not_read_is_dropped_and_it_is_told(self) -> None:
        simulation = self.simulate(event_buffer=1000, slow_client_policy="drop_oldest")
        peer = self.ask(simulation, get("/topic"), capacity=100)
        for number in range(40):
            simulation.server.publish("news", f"{number}" * 50)
        simulation.settle()
        data = b""
        while more := peer.take():
            data += more
            simulation.settle()
        self.assertIn(b'"type": "dropped"', data)
        self.assertIn(b"39" * 50, data)
        self.assertIsNone(simulation.channel(peer)._stream._queue, "an empty queue is not kept")

    def test_it_may_cost_who_does_not_read_its_connection(self) -> None:
        simulation = self.simulate(event_buffer=1000, slow_client_policy="disconnect")
        peer = self.ask(simulation, get("/topic"), capacity=100)
        for _ in range(40):
            simulation.server.publish("news", "x" * 50)
        simulation.settle()
        data = b""
        while more := peer.take():
            data += more
            simulation.settle()
        self.assertIn(b'"type": "closing"', data)
        self.assertEqual(self.closed, ["topic"])

    def test_a_last_id_that_is_none_of_ours_is_a_gap(self) -> None:
        simulation = self.simulate()
        last = "9" * (MAX_EVENT_ID + 1)
        peer = self.ask(simulation, get("/topic", f"Last-Event-ID: {last}"))
        self.assertIn(b'"gap": true', peer.take())

    def test_the_server_says_goodbye_when_it_stops(self) -> None:
        simulation = self.simulate()
        peer = self.ask(simulation, get("/topic"))
        peer.take()
        simulation.server.stop()
        simulation.settle()
        data = peer.take()
        self.assertIn(b'"type": "closing"', data)
        self.assertTrue(data.endswith(b"0\r\n\r\n"))


if __name__ == "__main__":
    unittest.main()
