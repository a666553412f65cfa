"""calls: which lines are an answer, and what the answer is."""

from __future__ import annotations

import unittest
from typing import Any

from pyliteflux.client.calls import Call, is_error_without_id, read_message
from pyliteflux.errors import BadMessage, CallError, ConnectionLost, FrameTooLong


def answered(*messages: dict[str, Any]) -> Any:
    call = Call(7, 1000)
    for message in messages:
        call.take(message, 10)
    assert call.done.is_set()
    return call.result()


class Answers(unittest.TestCase):
    def test_an_answer_is_what_the_server_has_wrapped(self) -> None:
        for message, value in (
            ({"id": 7, "data": [1]}, [1]),
            ({"id": 7, "data": {"id": 5, "type": "x"}}, {"id": 5, "type": "x"}),
            ({"a": 1, "id": 7}, {"a": 1}),
            ({"data": 1, "id": 7}, {"data": 1}),
            ({"id": 7}, {}),
        ):
            with self.subTest(message):
                self.assertEqual(answered(message), value)

    def test_a_generator_is_the_list_of_its_items(self) -> None:
        items = [{"type": "stream", "data": n, "id": 7} for n in range(3)]
        end = {"type": "end", "id": 7}
        self.assertEqual(answered(*items, end), [0, 1, 2])
        self.assertEqual(answered(end), [])

    def test_an_item_alone_is_no_answer_yet(self) -> None:
        call = Call(7, 1000)
        call.take({"type": "stream", "data": 1, "id": 7}, 10)
        self.assertFalse(call.done.is_set())

    def test_an_error_is_raised_also_behind_items(self) -> None:
        error = {"error": "no", "code": "c", "id": 7}
        for before in ((), ({"type": "stream", "data": 1, "id": 7},)):
            with self.assertRaises(CallError):
                answered(*before, error)

    def test_items_over_the_limit_fail_this_call(self) -> None:
        call = Call(7, 15)
        for _ in range(2):
            call.take({"type": "stream", "data": 1, "id": 7}, 10)
        with self.assertRaises(FrameTooLong):
            call.result()

    def test_a_loss_after_the_answer_changes_nothing(self) -> None:
        call = Call(7, 1000)
        call.take({"id": 7, "data": 1}, 10)
        call.fail(ConnectionLost("gone"))
        self.assertEqual(call.result(), 1)


class Lines(unittest.TestCase):
    def test_a_line_is_an_object_or_bad(self) -> None:
        self.assertEqual(read_message(b'{"a": 1}'), {"a": 1})
        for line in (b"", b"[1]", b"hello", b"{", b"\xff"):
            with self.subTest(line), self.assertRaises(BadMessage):
                read_message(line)

    def test_an_error_of_no_question_in_particular(self) -> None:
        self.assertTrue(is_error_without_id({"error": "x", "code": "busy"}))
        for message in ({"error": "x", "id": 7}, {"error": "x", "type": "push"}, {"a": 1}):
            self.assertFalse(is_error_without_id(message))


if __name__ == "__main__":
    unittest.main()
