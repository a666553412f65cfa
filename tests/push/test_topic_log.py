"""TopicLog: a ring that says what it no longer has."""

from __future__ import annotations

import json
import unittest
from math import inf

from pyliteflux.push.topic_log import TopicLog


def positions(log: TopicLog, after: int, up_to: float = inf) -> list[int]:
    return [frame.position for frame in log.newest_first(after, up_to)][::-1]


class TopicLogTest(unittest.TestCase):
    def fill(self, log: TopicLog, *places: int, data: bytes = b"1") -> None:
        for position in places:
            log.append(position, f"e-{position}", data)

    def test_a_message_becomes_a_frame_with_its_number_and_place(self) -> None:
        log = TopicLog('a"b', 10, 1000)
        self.fill(log, 3)
        frame = log.append(7, "e-7", '{"x": "ü"}'.encode())
        self.assertEqual(
            json.loads(frame.json),
            {"type": "push", "topic": 'a"b', "seq": 2, "id": "e-7", "data": {"x": "ü"}},
        )
        self.assertEqual((frame.seq, frame.position, frame.topic, frame.id), (2, 7, 'a"b', "e-7"))
        self.assertEqual(log.seq, 2)

    def test_what_came_after_a_position(self) -> None:
        log = TopicLog("t", 10, 1000)
        self.fill(log, 2, 5, 9)
        for after, expected in ((0, [2, 5, 9]), (2, [5, 9]), (4, [5, 9]), (9, []), (99, [])):
            with self.subTest(after):
                self.assertEqual(positions(log, after), expected)
        self.assertEqual(positions(log, 0, 5), [2, 5])

    def test_over_the_count_the_oldest_goes_and_is_known_to_be_lost(self) -> None:
        log = TopicLog("t", 2, 1000)
        self.fill(log, 1, 2)
        self.assertEqual(log.lost, 0)
        self.fill(log, 3)
        self.assertEqual((positions(log, 0), log.lost, len(log)), ([2, 3], 1, 2))

    def test_over_the_bytes_the_oldest_goes(self) -> None:
        log = TopicLog("t", 100, 200)
        self.fill(log, 1, 2, 3, data=b"1" * 20)
        self.assertEqual((positions(log, 0), log.lost), ([2, 3], 1))
        self.assertEqual(log.size, sum(len(frame.json) for frame in log.newest_first(0, inf)))

    def test_a_message_larger_than_the_limit_is_sent_but_not_kept(self) -> None:
        log = TopicLog("t", 100, 200)
        self.fill(log, 1)
        frame = log.append(2, "e-2", b"1" * 500)
        self.assertEqual((frame.seq, positions(log, 0), log.lost, log.size), (2, [], 2, 0))

    def test_without_history_nothing_is_kept_and_the_numbers_go_on(self) -> None:
        log = TopicLog("t", 0, 1000)
        self.fill(log, 1, 2)
        self.assertEqual((len(log), log.seq, log.lost, log.newest), (0, 2, 2, 2))

    def test_a_smaller_limit_takes_effect_at_the_next_trim(self) -> None:
        log = TopicLog("t", 10, 1000)
        self.fill(log, 1, 2, 3)
        log.max_messages = 1
        log.trim()
        self.assertEqual((positions(log, 0), log.lost), ([3], 2))

    def test_clearing_keeps_the_numbers_and_knows_what_is_lost(self) -> None:
        log = TopicLog("t", 10, 1000)
        self.fill(log, 1, 2)
        log.clear()
        self.assertEqual((len(log), log.size, log.lost, log.seq), (0, 0, 2, 2))
        self.fill(log, 5)
        self.assertEqual((positions(log, 0), log.seq), ([5], 3))


if __name__ == "__main__":
    unittest.main()
