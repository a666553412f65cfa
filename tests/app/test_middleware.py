"""The manager of middlewares: what it takes, and the chain it makes.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import unittest
from typing import Any

from pyliteflux.app.middleware import ContextMiddleware, Middleware, MiddlewareManager


class Full(Middleware):
    def process_request(self, request: Any) -> Any:
        return None

    def process_response(self, request: Any, response: Any) -> Any:
        return response

    def on_finish(self, request: Any) -> None:
        pass


class TestAdding(unittest.TestCase):
    def test_the_order_is_kept_per_protocol(self) -> None:
        """M2, M3."""
        manager = MiddlewareManager()
        a, b, c = Full(), Full(), Full()
        manager.add_middleware(a)
        manager.add_middleware(b, protocol="tcp")
        manager.add_middleware(c, "http")
        for protocol, expected in (("http", [a, c]), ("tcp", [a, b])):
            chain = manager.chains[protocol]
            owners = [method.__self__ for _, method, _ in chain.process_request]  # type: ignore[attr-defined]
            self.assertEqual(owners, expected)
            owners = [method.__self__ for _, method, _ in chain.process_response]  # type: ignore[attr-defined]
            self.assertEqual(owners, expected[::-1])

    def test_a_chain_in_use_does_not_change(self) -> None:
        """A request keeps the chain it began with."""
        manager = MiddlewareManager()
        manager.add_middleware(Full())
        chain = manager.chains["http"]
        manager.add_middleware(Full())
        self.assertEqual((chain.size, manager.chains["http"].size), (1, 2))

    def test_methods_that_do_nothing_cost_nothing(self) -> None:
        """M1: what is inherited from Middleware, or missing, is not in the chain."""

        class Other:
            def on_finish(self, request: Any) -> None:
                pass

        manager = MiddlewareManager()
        for middleware in (Middleware(), ContextMiddleware(), Other(), Full()):
            manager.add_middleware(middleware)
        chain = manager.chains["tcp"]
        self.assertEqual(chain.size, 4)
        self.assertEqual([(place, name) for place, _, name in chain.process_request], [(4, "Full")])
        self.assertEqual(
            [(place, name) for place, _, name in chain.process_response], [(4, "Full")]
        )
        ends = [(place, name) for place, _, name in chain.on_finish]
        self.assertEqual(ends, [(4, "Full"), (3, "Other")])

    def test_a_class_a_stranger_and_another_protocol_are_refused(self) -> None:
        """M2: at the line that is wrong."""
        manager = MiddlewareManager()
        with self.assertRaisesRegex(TypeError, r"Full\(\)"):
            manager.add_middleware(Full)
        with self.assertRaisesRegex(TypeError, "none of"):
            manager.add_middleware(object())
        with self.assertRaisesRegex(ValueError, "udp"):
            manager.add_middleware(Full(), protocol="udp")
        self.assertEqual(manager.chains["http"].size, 0)

    def test_a_subclass_need_not_call_super(self) -> None:
        """M1."""

        class Own(Middleware):
            def __init__(self, **options: Any) -> None:
                self.options = options

        MiddlewareManager().add_middleware(Own(name="x"))

    def test_the_base_class_lets_everything_pass(self) -> None:
        """M1: for those who call super()."""
        base = Middleware()
        response = {"a": 1}
        self.assertIsNone(base.process_request(None))
        self.assertIs(base.process_response(None, response), response)
        self.assertIsNone(base.on_finish(None))  # type: ignore[func-returns-value]


if __name__ == "__main__":
    unittest.main()
