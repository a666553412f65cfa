"""The devices example's page, in a browser."""

from __future__ import annotations

import unittest
from typing import Any
from unittest import mock

from tests.browser.browser import Browser
from tests.support import Client, stop
from tests.test_devices_example import devices_main, sensors

HOSTILE = "<img src=x onerror=document.title='owned'>"


class DevicesPage(unittest.TestCase):
    def setUp(self) -> None:
        self.server, self.devices = devices_main.build(http_port=0, tcp_port=0, info=False)
        self.server.start()
        self.addCleanup(stop, self.server)
        self.browser = Browser()
        self.addCleanup(self.browser.__exit__, None, None, None)
        host, port = self.server.http_address[:2]
        self.browser.open(f"http://{host}:{port}/")
        self.browser.until("#state", "live")

    def switch_on(self, kind: Any, name: str) -> None:
        """Start a simulated device."""
        device = kind(self.server.tcp_address, name, interval=0.05, patience=0.1)
        device.start()
        self.addCleanup(device.stop)
        self.browser.until(f"[data-name={name}] .state", "here")

    def points(self, name: str) -> int:
        """Return of how many points a device's line consists; 0 while it has none yet."""
        script = "return document.querySelector(arguments[0])?.points.length ?? 0"
        count: int = self.browser.run(script, f"[data-name={name}] polyline")
        return count

    def test_values_arrive_live_and_the_chart_grows(self) -> None:
        self.assertIn("No device", self.browser.text("#empty"))
        self.switch_on(sensors.PowerMeter, "meter")
        self.assertEqual(self.browser.text("#empty"), "")
        self.browser.until("[data-name=meter] .now", "volts")
        self.browser.wait(lambda: self.points("meter") > 3, "a line in the chart")
        before, values = self.points("meter"), self.browser.text("[data-name=meter] .now")
        self.browser.wait(lambda: self.points("meter") > before + 3, "a longer line")
        self.assertNotEqual(self.browser.text("[data-name=meter] .now"), values)
        chart = self.browser.element("[data-name=meter] svg")
        self.assertIn("readings of meter: from", chart.get_attribute("aria-label"))
        # A page that is opened later shows what was measured before.
        self.browser.driver.refresh()
        self.browser.wait(lambda: self.points("meter") >= before, "the line is there again")
        self.assertEqual(self.browser.complaints(), [])

    def test_what_is_measured_around_the_snapshot_is_shown_once(self) -> None:
        """A page listens first and asks then: it hears the second reading twice, the third once."""
        snapshot = self.devices.snapshot
        with Client(self.server.tcp_address) as client:
            client.send("hello lamp\nreading 1\n")
            self.browser.until("[data-name=lamp] .now", "1")

            def measure(value: int) -> None:
                client.send(f"reading {value}\n")
                client.read_line()

            def late_snapshot() -> Any:
                measure(2)
                known = snapshot()
                measure(3)
                return known

            client.read_line()
            client.read_line()
            with mock.patch.object(self.devices, "snapshot", late_snapshot):
                self.browser.driver.refresh()
                self.browser.until("[data-name=lamp] .now", "3")
            self.assertEqual(self.points("lamp"), 3)
            measure(4)
            self.browser.until("[data-name=lamp] .now", "4")
            self.assertEqual(self.points("lamp"), 4)

    def test_a_command_reaches_its_device_and_the_answer_is_shown(self) -> None:
        self.switch_on(sensors.Valve, "valve")
        self.switch_on(sensors.Thermometer, "boiler")
        browser = self.browser
        browser.element("[data-name=valve] .offered button").click()
        browser.until("[data-name=valve] .outcome", " ms: turning to 100 %")
        self.assertIn("open: acknowledged after", browser.text("[data-name=valve] .outcome"))
        browser.until("[data-name=valve] .now", "100")
        browser.element("[data-name=valve] input").send_keys("25\n")
        browser.until("[data-name=valve] .outcome", "25: acknowledged after")
        browser.until("[data-name=valve] .now", "25")
        self.assertEqual(browser.element("[data-name=valve] input").get_attribute("value"), "")
        browser.element("[data-name=boiler] .offered button").click()
        browser.until("[data-name=boiler] .outcome", "warmer: sent")
        self.assertEqual(browser.complaints(), [])

    def test_a_dead_device_does_not_answer_and_leaves_with_its_story(self) -> None:
        self.server.config.tcp_ping_interval = 0.5
        browser = self.browser
        self.switch_on(sensors.PowerMeter, "meter")
        card = "[data-name=meter]"
        browser.element(f"{card} summary").click()
        browser.until(f"{card} pre", "message reading")
        # It would be back sooner than somebody can look.
        with (
            mock.patch.object(devices_main, "ANSWER_TIMEOUT", 0.2),
            mock.patch.object(sensors.PowerMeter, "hello", lambda self: b""),
        ):
            browser.element(f"{card} .offered button:nth-child(3)").click()
            browser.until(f"{card} .outcome", "hang: no answer within 0.2 s")
            browser.until(f"{card} .left", "PING_TIMEOUT: the client missed its heartbeats.")
            browser.until(f"{card} pre", "no answer to a ping")
            self.assertEqual(browser.text(f"{card} .state"), "gone")
            self.assertFalse(browser.element(f"{card} input").is_enabled())
        self.assertEqual(browser.complaints(), [])

    def test_after_a_restart_of_the_server_page_and_devices_go_on(self) -> None:
        self.switch_on(sensors.PowerMeter, "meter")
        http, tcp = self.server.http_address, self.server.tcp_address
        stop(self.server)
        self.browser.until("#state", "connection lost")
        self.server.start(http_port=http[1], tcp_port=tcp[1])
        self.browser.until("#state", "live")
        self.browser.until("[data-name=meter] .state", "here")
        values = self.browser.text("[data-name=meter] .now")
        self.browser.wait(
            lambda: self.browser.text("[data-name=meter] .now") != values, "another value"
        )
        # The browser itself reports that it could not connect; nothing else went wrong.
        others = [text for text in self.browser.complaints() if "ERR_" not in text]
        self.assertEqual(others, [])

    def test_another_life_of_the_server_knows_nothing_and_the_page_says_so(self) -> None:
        with Client(self.server.tcp_address) as client:
            client.send("hello lamp\nreading 1\n")
            self.browser.until("[data-name=lamp] .now", "1")
        port = self.server.http_address[1]
        stop(self.server)
        other, _ = devices_main.build(http_port=port, tcp_port=0, info=False)
        other.start()
        self.addCleanup(stop, other)
        self.browser.until("#empty", "No device")
        with Client(other.tcp_address) as client:
            client.send("hello pump\nreading 2\n")
            self.browser.until("[data-name=pump] .now", "2")
        self.assertEqual(self.browser.elements("[data-name=lamp]"), [])

    def test_what_a_device_says_is_text_and_never_markup(self) -> None:
        browser = self.browser
        with Client(self.server.tcp_address) as client:
            client.send(
                '{"command": "hello", "data": {"name": "eve", "unit": "<b>u</b>", '
                f'"commands": ["<i>go</i>"]}}}}\n'
                f'{{"command": "reading", "data": {{"<u>a</u>": 1, "b": "{HOSTILE}"}}}}\n'
            )
            for selector, text in (
                (".now", HOSTILE),
                (".now", "<u>a</u>"),
                (".now", "<b>u</b>"),
                (".offered", "<i>go</i>"),
            ):
                browser.until(f"[data-name=eve] {selector}", text)
            browser.element("[data-name=eve] .offered button").click()
            line = ""
            while '"ack"' not in line:
                line = client.read_line()
            ack = line.partition('"ack": "')[2].partition('"')[0]
            client.send(f'{{"ack": "{ack}", "data": "{HOSTILE}"}}\n')
            browser.until("[data-name=eve] .outcome", HOSTILE)
        browser.until("[data-name=eve] .left", "PEER_")
        for tag in ("img", "b", "i", "u"):
            self.assertEqual(browser.elements(f"#devices {tag}"), [])
        self.assertNotEqual(browser.driver.title, "owned")
        self.assertEqual(browser.complaints(), [])

    def test_it_fits_a_phone(self) -> None:
        self.browser.resize(420)
        with Client(self.server.tcp_address) as client:
            long = "x" * 24
            data = {long: "y" * 200, "b": 1e300}
            client.send(
                f'{{"command": "hello", "data": {{"name": "{"n" * 64}", "unit": "{long}", '
                f'"commands": ["{long}", "{long}"]}}}}\n'
                f'{{"command": "reading", "data": {str(data).replace(chr(39), chr(34))}}}\n'
            )
            self.browser.until(".now", "y" * 200)
            self.browser.element("summary").click()
            self.browser.until("pre", "message reading")
            self.assertFalse(self.browser.overflows)

    def test_every_control_has_a_name_that_says_which_device_it_is_for(self) -> None:
        self.switch_on(sensors.Valve, "valve")
        self.assertEqual(self.browser.element("form input").accessible_name, "Command for valve")
        self.assertEqual(self.browser.element("form button").accessible_name, "Send to valve")
        self.assertEqual(self.browser.element(".offered").accessible_name, "Commands for valve")


if __name__ == "__main__":
    unittest.main()
