"""debug_page: what a developer sees of an exception, whatever that is like."""

from __future__ import annotations

import unittest

from pyliteflux import HTTPRequest
from pyliteflux.app.debug_page import debug_page, text_of, traceback_of, wants_html
from pyliteflux.headers import Headers


class Speechless(Exception):
    def __str__(self) -> str:
        raise self


def raised(error: BaseException) -> BaseException:
    """Return an error that has a traceback."""
    try:
        raise error
    except BaseException as caught:
        return caught


class Page(unittest.TestCase):
    def test_it_shows_the_line_that_raised_with_its_neighbours(self) -> None:
        page = debug_page(HTTPRequest("GET", "/x?y"), raised(ValueError("what happened")))
        self.assertEqual(page.status, 500)
        self.assertIn("<h1><b>ValueError</b>: what happened</h1>", page.body)
        self.assertRegex(page.body, r"<mark> *\d+         raise error</mark>")
        self.assertRegex(page.body, r"<code> *\d+     try:</code>")
        self.assertIn("GET /x?y", page.body)

    def test_what_came_from_the_client_is_escaped(self) -> None:
        fields = Headers([("User-Agent", "<script>")])
        request = HTTPRequest("GET", "/<b>", fields)
        page = debug_page(request, raised(ValueError("</h1><script>")))
        self.assertNotIn("<script>", page.body)
        self.assertNotIn("<b>&", page.body)
        self.assertIn("&lt;script&gt;", page.body)

    def test_of_a_recursion_the_last_calls_are_shown(self) -> None:
        def again(depth: int) -> None:
            if depth == 0:
                raise ValueError
            again(depth - 1)

        try:
            again(100)
        except ValueError as error:
            page = debug_page(HTTPRequest(), error)
        self.assertEqual(page.body.count("<mark>"), 30)
        self.assertIn("calls before these", page.body)

    def test_an_exception_that_cannot_be_told_is_shown_all_the_same(self) -> None:
        error = raised(Speechless())
        self.assertIn("its __str__ failed", text_of(error))
        self.assertIn("Speechless", "".join(traceback_of(error)) + type(error).__name__)
        debug_page(HTTPRequest(), error).encode()

    def test_half_a_surrogate_pair_is_shown_as_an_escape(self) -> None:
        error = raised(ValueError("\ud800"))
        self.assertEqual(text_of(error), "\\ud800")
        debug_page(HTTPRequest(), error).encode()

    def test_it_is_for_browsers(self) -> None:
        for accept, expected in (("text/html,*/*", True), ("TEXT/HTML", True), ("*/*", False)):
            self.assertIs(wants_html(HTTPRequest(headers=Headers([("Accept", accept)]))), expected)
        self.assertIs(wants_html(HTTPRequest()), False)


if __name__ == "__main__":
    unittest.main()
