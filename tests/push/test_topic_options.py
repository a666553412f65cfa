"""TopicOptions: what was said of topics and patterns, by any thread."""

from __future__ import annotations

import threading
import unittest

from pyliteflux.errors import ConfigError
from pyliteflux.push.topic_options import TopicOptions


class TopicOptionsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.options = TopicOptions()

    def test_what_is_wrong_is_said_at_once_and_changes_nothing(self) -> None:
        for options in (
            *({"history": -1}, {"history": 1.5}, {"history": True}, {"presence": 1}),
            *({"slow_client_policy": "wait"}, {"colour": 1}, {"presence": True, "history": "x"}),
        ):
            with self.subTest(options), self.assertRaises(ConfigError):
                self.options.update("a", options)
        self.assertEqual(self.options.of("a"), (None, None, None))

    def test_a_name_comes_before_patterns_and_a_long_pattern_before_a_short_one(self) -> None:
        self.options.update("*", {"history": 1, "presence": True})
        self.options.update("room:*", {"history": 2})
        self.options.update("room:1", {"slow_client_policy": "latest"})
        self.options.update("room:1", {"history": 3})
        of = self.options.of
        self.assertEqual(of("room:1"), (3, "latest", True))
        self.assertEqual(of("room:2"), (2, None, True))
        self.assertEqual(of("x"), (1, None, True))

    def test_threads_that_configure_at_once_lose_nothing(self) -> None:
        def configure(name: str) -> None:
            for number in range(200):
                self.options.update(f"{name}{number}", {"history": number})

        threads = [threading.Thread(target=configure, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        for name in "abcd":
            for number in range(200):
                self.assertEqual(self.options.of(f"{name}{number}").history, number)


if __name__ == "__main__":
    unittest.main()
