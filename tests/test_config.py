"""config: every setting is checked at the line that sets it (C2, C3)."""

from __future__ import annotations

import copy
import pickle
import typing
import unittest
from typing import Any

from pyliteflux import Config, ConfigError, Server
from pyliteflux.config import SETTINGS

DEFAULTS = {
    "http_host": "127.0.0.1",
    "http_port": 8000,
    "tcp_host": "127.0.0.1",
    "tcp_port": 8001,
    "tcp_keep_alive": False,
    "info": True,
}


class ConfigTests(unittest.TestCase):
    def test_the_defaults_are_the_promised_ones(self) -> None:
        """C2."""
        for config in (Config(), Server().config):
            for name, value in DEFAULTS.items():
                self.assertEqual(getattr(config, name), value, name)

    def test_each_default_is_allowed_and_each_row_says_what_is(self) -> None:
        for name, setting in SETTINGS.items():
            with self.subTest(name):
                self.assertEqual(setting.check(setting.default), setting.default)
                self.assertTrue(setting.allowed)
                self.assertTrue(setting.reason)

    def test_each_setting_is_annotated_with_the_type_of_its_values(self) -> None:
        annotated = typing.get_type_hints(Config)
        self.assertEqual(list(annotated), list(SETTINGS))
        for name, kind in annotated.items():
            with self.subTest(name):
                kinds = typing.get_args(kind) or (kind,)
                default = SETTINGS[name].default
                self.assertTrue(
                    any(type(default) is (typing.get_origin(one) or one) for one in kinds),
                    f"{kind} is not the type of {default!r}",
                )

    def test_a_setting_may_be_given_in_three_ways(self) -> None:
        """C1, C2."""
        server = Server(http_host="127.0.0.2", http_port=9000)
        self.assertEqual((server.config.http_host, server.config.http_port), ("127.0.0.2", 9000))
        server.config.http_host = "127.0.0.3"
        self.assertEqual(server.config.http_host, "127.0.0.3")
        server.config.update(http_host="127.0.0.4", http_port=9001)
        self.assertEqual((server.config.http_host, server.config.http_port), ("127.0.0.4", 9001))

    def test_an_unknown_name_is_refused_with_the_nearest_that_exists(self) -> None:
        """C3: in each of the ways to set it, and when it is read."""
        config = Config()
        server = Server()
        attempts: list[Any] = [
            lambda: Config(http_prot=1),
            lambda: Server(http_prot=1),
            lambda: config.update(http_prot=1),
            lambda: setattr(config, "http_prot", 1),
            lambda: config.http_prot,
            lambda: server.run(http_prot=1),
            lambda: server.start(http_prot=1),
        ]
        for attempt in attempts:
            with self.assertRaises(ConfigError) as caught:
                attempt()
            self.assertIsInstance(caught.exception, ValueError)
            self.assertIsInstance(caught.exception, AttributeError)
            self.assertIn("http_prot", str(caught.exception))
            self.assertIn("did you mean 'http_port'?", str(caught.exception))
        self.assertFalse(server.is_running)

    def test_a_name_that_is_near_to_none_gets_no_guess(self) -> None:
        """C3."""
        with self.assertRaises(ConfigError) as caught:
            Config(zzzzzz=1)
        self.assertNotIn("did you mean", str(caught.exception))

    def test_an_unknown_name_is_not_there_for_hasattr(self) -> None:
        """C3: an AttributeError as well."""
        self.assertFalse(hasattr(Config(), "nonsense"))
        self.assertTrue(hasattr(Config(), "http_port"))

    def test_a_bad_value_is_refused_by_setting_value_and_what_is_allowed(self) -> None:
        """C3."""
        for name, value, allowed in (
            ("http_port", 70000, "0 to 65535"),
            ("http_port", -1, "0 to 65535"),
            ("http_port", "8000", "0 to 65535"),
            ("http_port", True, "0 to 65535"),
            ("http_port", 80.0, "0 to 65535"),
            ("http_port", None, "0 to 65535"),
            ("http_host", None, "host name"),
            ("http_host", b"127.0.0.1", "host name"),
            ("http_host", "a\0b", "host name"),
            ("tcp_port", 65536, "0 to 65535"),
            ("tcp_keep_alive", 1, "True or False"),
            ("tcp_keep_alive", "yes", "True or False"),
            ("info", None, "True or False"),
            ("worker_threads", 0, "from 1"),
            ("worker_threads", 1.5, "from 1"),
            ("header_timeout", 0, "more than 0"),
            ("header_timeout", float("nan"), "more than 0"),
            ("header_timeout", float("inf"), "more than 0"),
            ("handler_timeout", -1, "0 for no limit"),
            ("log_colors", "sometimes", "auto, always or never"),
            ("slow_client_policy", "wait", "disconnect, drop_oldest"),
            ("secret_key", 5, "bytes or str"),
            ("secret_key", [], "or a list of them"),
            ("secret_key", ["new", ""], "or a list of them"),
            ("json_default", "str", "a function, or None"),
            ("tcp_framing", "lines", "auto, line, json, xml, length or a callable"),
            ("tcp_framing", None, "auto, line, json, xml, length or a callable"),
        ):
            with self.subTest(name=name, value=value):
                config = Config()
                before = getattr(config, name)
                attempts: list[Any] = [
                    lambda name=name, value=value: Config(**{name: value}),
                    lambda config=config, name=name, value=value: config.update(**{name: value}),
                    lambda config=config, name=name, value=value: setattr(config, name, value),
                ]
                for attempt in attempts:
                    with self.assertRaises(ConfigError) as caught:
                        attempt()
                    text = str(caught.exception)
                    self.assertIn(name, text)
                    shown = f"<{type(value).__name__}>" if name == "secret_key" else repr(value)
                    self.assertIn(shown, text)
                    self.assertIn(allowed, text)
                self.assertEqual(getattr(config, name), before)

    def test_port_0_and_the_ends_of_the_range_are_allowed(self) -> None:
        """C3."""
        for port in (0, 1, 65535):
            self.assertEqual(Config(http_port=port, tcp_port=port).tcp_port, port)

    def test_an_update_with_one_mistake_changes_nothing(self) -> None:
        config = Config()
        with self.assertRaises(ConfigError):
            config.update(http_port=9000, tcp_port=-1)
        self.assertEqual(config.http_port, 8000)
        with self.assertRaises(ConfigError):
            config.update(http_port=9000, nonsense=1)
        self.assertEqual(config.http_port, 8000)

    def test_a_setting_cannot_be_deleted(self) -> None:
        config = Config()
        with self.assertRaises(ConfigError):
            del config.http_port
        self.assertEqual(config.http_port, 8000)

    def test_two_configs_share_nothing(self) -> None:
        one, other = Config(), Config()
        one.http_port = 9000
        self.assertEqual(other.http_port, 8000)

    def test_a_config_can_be_copied_and_pickled(self) -> None:
        config = Config(http_port=9000)
        for other in (copy.copy(config), pickle.loads(pickle.dumps(config))):
            self.assertEqual(other.http_port, 9000)
            other.http_port = 9001
            self.assertEqual(config.http_port, 9000)

    def test_its_repr_tells_what_was_changed_but_no_secret(self) -> None:
        text = repr(Config(http_port=9000, secret_key="very secret"))
        self.assertIn("http_port=9000", text)
        self.assertNotIn("very secret", text)
        self.assertNotIn("tcp_port", text)

    def test_an_error_shows_no_secret(self) -> None:
        with self.assertRaises(ConfigError) as caught:
            Config(secret_key=["very secret", 5])
        self.assertNotIn("very secret", str(caught.exception))

    def test_a_list_of_secrets_is_kept_as_bytes(self) -> None:
        self.assertEqual(Config(secret_key=["new", b"old"]).secret_key, (b"new", b"old"))
        self.assertEqual(Config(secret_key="one").secret_key, b"one")

    def test_none_is_allowed_where_it_is_the_default(self) -> None:
        config = Config(json_default=str)
        config.json_default = None
        self.assertIsNone(config.json_default)

    def test_it_can_be_iterated_as_pairs(self) -> None:
        self.assertEqual(set(dict(Config())), set(SETTINGS))


if __name__ == "__main__":
    unittest.main()
