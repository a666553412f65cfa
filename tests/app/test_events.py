"""Server-sent events without a server: the format, and the pushed stream's life.

The HTML standard, section 9.2. Chapter: docs/architecture.md.
"""

from __future__ import annotations

import threading
import unittest
from typing import Any

from pyliteflux.app.events import EventStream, encode_event
from tests.support import captured_logs


class TestFormat(unittest.TestCase):
    def test_events_as_bytes(self) -> None:
        """One field a line, a blank line ends it; each line of the data is a field."""
        for arguments, expected in (
            ({"data": "x"}, "data: x\n\n"),
            ({"data": ""}, "data: \n\n"),
            ({"data": "a\nb\rc\r\nd\n"}, "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"),
            ({"data": {"a": [1, "ü"]}}, 'data: {"a": [1, "ü"]}\n\n'),
            ({"data": 0}, "data: 0\n\n"),
            ({"data": "x", "event": "e", "id": 5, "retry": 10},
             "event: e\nid: 5\nretry: 10\ndata: x\n\n"),
            ({"data": None, "id": ""}, "id: \n\n"),
            # Only \n, \r and \r\n end a line there; these must not.
            ({"data": "a\u2028b\x0bc\x85d"}, "data: a\u2028b\x0bc\x85d\n\n"),
        ):  # fmt: skip
            self.assertEqual(encode_event(**arguments).decode(), expected)

    def test_line_ends_in_names_and_ids_are_refused(self) -> None:
        """They would be a field of the attacker's choosing."""
        for name in ("event", "id"):
            for bad in ("a\nb", "a\rb", "a\0b"):
                with self.assertRaisesRegex(ValueError, name):
                    encode_event("x", **{name: bad})

    def test_items_of_an_iterable(self) -> None:
        """A dict is an event where it has "data" and nothing else that is unknown."""
        encode = EventStream(iter(())).encode_piece
        self.assertEqual(encode("x"), b"data: x\n\n")
        self.assertEqual(encode({"data": "x", "id": 1}), b"id: 1\ndata: x\n\n")
        self.assertEqual(encode({"data": "x", "y": 1}), b'data: {"data": "x", "y": 1}\n\n')
        self.assertEqual(encode({"id": 1}), b'data: {"id": 1}\n\n')
        self.assertEqual(encode(b": as it is\n\n"), b": as it is\n\n")
        with self.assertRaises(TypeError):
            encode(object())

    def test_retry_comes_first(self) -> None:
        """Pushed or pulled."""
        stream = EventStream(iter(["x"]), retry=5)
        pieces = b"".join(map(stream.encode_piece, stream.pieces()))
        self.assertEqual(pieces, b"retry: 5\n\ndata: x\n\n")
        self.assertEqual(_connected(EventStream(retry=5)), [b"retry: 5\n\n"])


def _connected(stream: EventStream) -> list[Any]:
    delivered: list[Any] = []
    stream.connect(delivered.append)
    return delivered


class TestPushed(unittest.TestCase):
    def test_before_and_after_it_is_connected(self) -> None:
        """In order; `is_pushed` tells the two kinds apart."""
        stream = EventStream()
        self.assertTrue(stream.is_pushed)
        self.assertFalse(EventStream([]).is_pushed)
        self.assertTrue(stream.send("early"))
        delivered = _connected(stream)
        self.assertTrue(stream.send("late"))
        self.assertTrue(stream.comment("c"))
        self.assertEqual(delivered, [b"data: early\n\n", b"data: late\n\n", b": c\n\n"])

    def test_close(self) -> None:
        """None is the end; nothing comes after it, before or after connecting."""
        stream = EventStream()
        delivered = _connected(stream)
        stream.close()
        stream.close()
        self.assertFalse(stream.send("x"))
        self.assertEqual(delivered, [None])
        early = EventStream()
        early.send("x")
        early.close()
        self.assertEqual(_connected(early), [b"data: x\n\n", None])

    def test_disconnect_calls_on_close_once(self) -> None:
        """Also where the response is given up unsent."""
        for end in ("disconnect", "discard"):
            calls: list[int] = []
            stream = EventStream(on_close=lambda calls=calls: calls.append(1))
            delivered = _connected(stream)
            getattr(stream, end)()
            stream.disconnect()
            self.assertEqual((calls, stream.is_open), ([1], False))
            self.assertFalse(stream.send("x"))
            self.assertEqual(delivered, [])

    def test_on_close_may_use_the_stream(self) -> None:
        """No lock is held while the user's code runs."""
        stream = EventStream(on_close=lambda: seen.append(stream.send("x")))
        seen: list[bool] = []
        thread = threading.Thread(target=stream.disconnect, daemon=True)
        thread.start()
        thread.join(10)
        self.assertEqual(seen, [False])

    def test_an_on_close_that_raises_is_logged(self) -> None:
        """A5."""
        with captured_logs() as logs:
            EventStream(on_close=lambda: 1 // 0).disconnect()
        self.assertIn("ZeroDivisionError", logs.find("on_close")[0])

    def test_one_with_an_iterable_cannot_be_pushed_to(self) -> None:
        """A TypeError for whoever tries."""
        with self.assertRaisesRegex(TypeError, "iterable"):
            EventStream(["x"]).send("y")

    def test_wrong_values_are_refused_before_anything_is_sent(self) -> None:
        """ValueError and TypeError for the caller; the stream goes on."""
        stream = EventStream()
        delivered = _connected(stream)
        for wrong in (object(), float("nan")):
            with self.assertRaises((TypeError, ValueError)):
                stream.send(wrong)
        with self.assertRaises(ValueError):
            stream.send("x", id="a\nb")
        self.assertEqual(delivered, [])
        self.assertTrue(stream.send("x"))

    def test_fields(self) -> None:
        """Content-Type and what keeps proxies from buffering; the user's win."""
        fields = dict(EventStream(headers={"X-Accel-Buffering": "yes"}).fields())
        self.assertEqual(
            fields,
            {
                "X-Accel-Buffering": "yes",
                "Cache-Control": "no-cache",
                "Content-Type": "text/event-stream",
            },
        )


if __name__ == "__main__":
    unittest.main()
