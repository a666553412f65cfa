"""push: encoded once by who pushes, and never changed by whoever hears it (P3, P4)."""

from __future__ import annotations

import json
import unittest
from typing import Any

from pyliteflux.protocol.push import Announcement, PushFrame, TopicFrame


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


class Pushes(unittest.TestCase):
    """P3: {"type": "push", "data": message} and LF, or <push>...</push>."""

    def test_any_json_value_is_pushed(self) -> None:
        messages: list[Any] = ["text", 1, None, True, [1, "a\nb"], {"a": {"b": []}}, ""]
        for message in messages:
            with self.subTest(message):
                frame = PushFrame(message)
                self.assertEqual(frame.json.count(b"\n"), 1)
                self.assertTrue(frame.json.startswith(b'{"type": "push", "data": '))
                self.assertEqual(json.loads(frame.json)["data"], message)
                self.assertEqual(frame.xml.count(b"\n"), 1)
        self.assertEqual(PushFrame("a\nb").xml, b"<push>a&#10;b</push>\n")
        self.assertEqual(PushFrame({"a": [1]}).xml, b"<push><a><item>1</item></a></push>\n")

    def test_each_form_is_built_once(self) -> None:
        frame = PushFrame([1])
        self.assertIs(frame.json, frame.json)
        self.assertIs(frame.xml, frame.xml)

    def test_a_message_changed_after_the_push_is_sent_as_it_was(self) -> None:
        message = {"a": 1}
        frame = PushFrame(message)
        message["a"] = 2
        self.assertEqual(frame.xml, b"<push><a>1</a></push>\n")

    def test_what_json_cannot_write_is_an_error_where_it_is_pushed(self) -> None:
        for message in (object(), b"x", float("inf"), "\ud800", {b""}):
            with self.assertRaises((TypeError, ValueError)):
                PushFrame(message)

    def test_xml_never_fails_however_deep_the_message_is(self) -> None:
        depths = 0
        for depth in (100, 300, 500, 700, 900, 1500, 3000):
            try:
                frame = PushFrame(nested(depth))
            except ValueError:
                continue  # Refused at once, which is where it belongs.
            depths += 1
            self.assertTrue(frame.xml.startswith(b"<push>"))
            self.assertTrue(frame.xml.endswith(b"</push>\n"))
        self.assertGreater(depths, 1)

    def test_to_a_browser_it_is_an_event_with_its_id(self) -> None:
        """HTML standard section 9.2."""
        frame = TopicFrame("t", b'"t"', 3, 40, "e-40", b"[1]")
        self.assertEqual(frame.event, b"id: e-40\ndata: " + frame.json + b"\n")
        self.assertEqual(PushFrame(1).event, b"data: " + PushFrame(1).json + b"\n")
        size, _, rest = frame.event_chunk.partition(b"\r\n")
        self.assertEqual(rest, frame.event + b"\r\n")
        self.assertEqual(int(size, 16), len(frame.event))

    def test_a_message_of_a_topic_is_what_an_announcement_would_be(self) -> None:
        frame = TopicFrame("t", b'"t"', 3, 40, "e-40", b"[1]")
        said = Announcement("push", topic="t", seq=3, id="e-40", data=[1])
        self.assertEqual((frame.json, frame.xml), (said.json, said.xml))

    def test_what_a_framing_makes_of_it_is_made_once_and_so_is_its_failure(self) -> None:
        calls: list[bytes] = []

        def wrap(data: bytes) -> Any:
            calls.append(data)
            return b"<" + data + b">" if data.startswith(b"{") else "no bytes"

        frame = PushFrame(1)
        for _ in range(2):
            self.assertEqual(frame.wrapped(wrap, False), b"<" + frame.json[:-1] + b">")
            self.assertIsInstance(frame.wrapped(wrap, True), TypeError)
        self.assertEqual(calls, [frame.json[:-1], frame.xml[:-1]])


if __name__ == "__main__":
    unittest.main()
