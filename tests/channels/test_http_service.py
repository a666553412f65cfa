"""HttpService: one Date for all answers of a second."""

from __future__ import annotations

import contextlib
import unittest
from unittest import mock

from pyliteflux.channels.http_service import HttpService
from tests.fakes import Simulation


class HttpServiceTest(unittest.TestCase):
    def setUp(self) -> None:
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.simulation = stack.enter_context(Simulation())
        self.service: HttpService = self.simulation.runtime.http
        self.wall = stack.enter_context(mock.patch("pyliteflux.channels.http_service.time.time"))
        self.wall.return_value = 784111777.25  # RFC 9110 section 5.6.7

    def date(self) -> str:
        return self.service.heads().date

    def test_the_date_is_made_once_a_second(self) -> None:
        self.assertIn("Sun, 06 Nov 1994 08:49:37 GMT", self.date())
        self.wall.return_value += 0.5
        self.simulation.advance(0.5)
        self.assertIs(self.service.heads(), self.service.heads())
        self.assertIn("08:49:37", self.date())
        self.wall.return_value += 0.5
        self.simulation.advance(0.5)
        self.assertIn("08:49:38", self.date())

    def test_what_no_app_has_seen_has_a_name_in_the_access_log(self) -> None:
        peer = self.simulation.http()
        self.simulation.settle()
        address = self.simulation.channel(peer).address
        request = self.service.unread_request("-", "/x", address)
        self.assertEqual((request.method, request.started), ("-", self.service.reactor.now))


if __name__ == "__main__":
    unittest.main()
