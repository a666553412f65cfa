"""`g` without a server: scopes, threads, ids.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import threading
import unittest
from contextvars import Context, ContextVar, copy_context
from typing import Any

from pyliteflux import log
from pyliteflux.app.context import LONGEST_ID, Scope, enter, g, new_request_id


def inside(scope: Scope, function: Any, *args: Any) -> Any:
    """Call a function the way a piece of a request is run."""

    def run() -> Any:
        enter(scope)
        return function(*args)

    return Context().run(run)


class TestNamespace(unittest.TestCase):
    def test_each_scope_has_its_own(self) -> None:
        """G1."""
        one, two = Scope(), Scope()
        inside(one, setattr, g, "name", 1)
        self.assertFalse(inside(two, hasattr, g, "name"))
        inside(two, setattr, g, "name", 2)
        self.assertEqual(inside(one, getattr, g, "name"), 1)
        self.assertEqual(inside(two, getattr, g, "name"), 2)
        self.assertFalse(hasattr(g, "name"))

    def test_whoever_runs_a_piece_in_its_context_sees_it(self) -> None:
        """G1: the context decides, not the thread."""
        context = Context()
        scope = Scope()
        context.run(enter, scope)
        context.run(setattr, g, "step", 1)
        seen: list[Any] = []
        thread = threading.Thread(
            target=lambda: seen.append((context.run(getattr, g, "step"), hasattr(g, "step")))
        )
        thread.start()
        thread.join()
        self.assertEqual(seen, [(1, False)])
        self.assertEqual(context.copy().run(getattr, g, "step"), 1)

    def test_names_are_set_read_deleted_and_listed(self) -> None:
        """G1: an unset name is an AttributeError everywhere."""

        def check() -> None:
            with self.assertRaisesRegex(AttributeError, "user"):
                g.user  # noqa: B018
            with self.assertRaisesRegex(AttributeError, "user"):
                del g.user
            self.assertNotIn("user", g)
            g.user = "Ann"
            self.assertIn("user", g)
            self.assertNotIn(5, g)
            self.assertEqual(dir(g), ["request_id", "user"])
            self.assertEqual(repr(g), "<g {'user': 'Ann'}>")
            del g.user
            self.assertFalse(hasattr(g, "user"))

        inside(Scope(), check)

    def test_outside_it_is_the_threads(self) -> None:
        """G4: empty, per thread, no error."""
        seen: list[bool] = []

        def check() -> None:
            seen.append(hasattr(g, "x"))
            g.x = 1
            seen.append(hasattr(g, "x"))
            seen.append(hasattr(g, "request_id"))

        for _ in range(2):
            thread = threading.Thread(target=check)
            thread.start()
            thread.join()
        self.assertEqual(seen, [False, True, False] * 2)
        self.assertFalse(hasattr(g, "x"))

    def test_other_context_variables_are_the_requests_too(self) -> None:
        """A request's context begins empty: nothing of the server's thread leaks into it."""
        variable: ContextVar[int] = ContextVar("variable", default=0)
        token = variable.set(5)
        try:
            self.assertEqual(inside(Scope(), variable.get), 0)
            self.assertEqual(copy_context().run(variable.get), 5)
        finally:
            variable.reset(token)


class TestRequestId(unittest.TestCase):
    def test_ids_are_unique_over_threads(self) -> None:
        """G2."""
        ids: list[str] = []
        threads = [
            threading.Thread(target=lambda: ids.extend(new_request_id() for _ in range(500)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(set(ids)), 2000)
        self.assertTrue(all(id.isascii() and id.isprintable() and " " not in id for id in ids))

    def test_a_scope_keeps_its_id(self) -> None:
        """G2: made when first asked for; g and log lines say the same."""
        scope = Scope()
        first = scope.request_id
        self.assertEqual(scope.request_id, first)
        self.assertEqual(inside(scope, getattr, g, "request_id"), first)
        self.assertEqual(inside(scope, lambda: log.request_id_of_this_thread()), first)
        self.assertIsNone(log.request_id_of_this_thread())

    def test_it_may_be_set_both_ways(self) -> None:
        """G2: g.request_id and request.request_id are one."""
        scope = Scope()
        inside(scope, setattr, g, "request_id", 77)
        self.assertEqual(scope.request_id, "77")
        scope.request_id = "other"
        self.assertEqual(inside(scope, getattr, g, "request_id"), "other")
        self.assertEqual(scope.namespace, {})

    def test_one_that_cannot_be_sent_back_changes_nothing(self) -> None:
        """G2, A3, L1, X1: it is sent in a field and written into log lines."""
        scope = Scope()
        before = scope.request_id
        bad = (
            "a\r\nb",
            "a\nb",
            "\x00",
            "\x1b[31m",
            "a\x7f",
            "\x9b",
            "\u2028",
            "é",
            "你",
            "\ud83d",
            " ",
        )
        for one in (*bad, "", None, "x" * (LONGEST_ID + 1)):
            inside(scope, setattr, g, "request_id", one)
            scope.request_id = one  # type: ignore[assignment]
            self.assertEqual(scope.request_id, before)
        for good in ("x" * LONGEST_ID, "a b", '"{}"'):
            scope.request_id = f" {good}\n"
            self.assertEqual(scope.request_id, good)


if __name__ == "__main__":
    unittest.main()
