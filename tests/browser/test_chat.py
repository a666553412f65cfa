"""The chat example's page, in a browser."""

from __future__ import annotations

import unittest

from tests.browser.browser import Browser
from tests.support import Client, stop
from tests.test_chat_example import chat

HOSTILE = "<img src=x onerror=document.title='owned'>"


class ChatPage(unittest.TestCase):
    def setUp(self) -> None:
        self.server, _ = chat.build(http_port=0, tcp_port=0, info=False)
        self.server.start()
        self.addCleanup(stop, self.server)
        host, port = self.server.http_address[:2]
        self.browser = Browser()
        self.addCleanup(self.browser.__exit__, None, None, None)
        self.browser.open(f"http://{host}:{port}/")
        self.browser.until("#state", "live")

    def test_what_is_said_in_the_page_and_over_tcp_shows_live(self) -> None:
        browser = self.browser
        client = Client(self.server.tcp_address)
        self.addCleanup(client.close)
        client.send("join Bob\nsay hello from a terminal\n")
        browser.until("#messages", "hello from a terminal")
        browser.element("#name").send_keys("Ada")
        browser.element("#text").send_keys("hello from a page\n")
        browser.until("#messages", "hello from a page")
        self.assertEqual(browser.complaints(), [])

    def test_what_others_say_is_text_and_never_markup(self) -> None:
        client = Client(self.server.tcp_address)
        self.addCleanup(client.close)
        client.send(f"join Eve\nsay {HOSTILE}\n")
        self.browser.until("#messages", HOSTILE)
        self.assertEqual(self.browser.elements("#messages img"), [])
        self.assertNotEqual(self.browser.driver.title, "owned")

    def test_it_fits_a_phone(self) -> None:
        self.browser.resize(420)
        self.assertFalse(self.browser.overflows)


if __name__ == "__main__":
    unittest.main()
