"""commands: `python -m pyliteflux call` and `listen`, against a real server."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import unittest
from typing import Any
from unittest import mock

from pyliteflux import Server
from pyliteflux.__main__ import main
from tests.end_to_end.test_client import ClientCase
from tests.support import DEADLINE, ROOT, Program, wait_until


class CommandLineTests(ClientCase):
    """``python -m pyliteflux call`` and ``listen``."""

    def run_main(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        """Run the command line in this process."""
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch("sys.stdin", io.StringIO(stdin)),
        ):
            try:
                status = main(list(arguments))
            except SystemExit as end:
                status = int(str(end.code))
        return status, out.getvalue(), err.getvalue()

    def address(self, server: Server) -> str:
        assert server.tcp_address is not None
        return f"127.0.0.1:{server.tcp_address[1]}"

    def listen(self, *arguments: str) -> Program:
        program = Program.__new__(Program)
        program.process = subprocess.Popen(
            [sys.executable, "-m", "pyliteflux", "listen", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        return program

    def test_data_is_json_or_else_a_text(self) -> None:
        for server in (self.serve(), self.long_lived()):
            at = self.address(server)
            cases = {
                "[1, 2]": "[1, 2]\n",
                '{"a": 1}': '{"a": 1}\n',
                "42": "42\n",
                '"42"': '"42"\n',
                "null": "null\n",
                "NaN": '"NaN"\n',
                "hello world": '"hello world"\n',
                "{broken": '"{broken"\n',
                "\u00e9": '"\u00e9"\n',
            }
            for data, answer in cases.items():
                with self.subTest(data):
                    self.assertEqual(self.run_main("call", at, "echo", data), (0, answer, ""))
            self.assertEqual(self.run_main("call", at, "echo"), (0, "null\n", ""))
            found = self.run_main("call", at, "echo", "-", stdin='{\n"a": [1]}\n')
            self.assertEqual(found, (0, '{"a": [1]}\n', ""))
            found = self.run_main("call", at, "count", "2")
            self.assertEqual(found, (0, "[0, 1]\n", ""))

    def test_on_a_terminal_it_is_laid_out(self) -> None:
        at = self.address(self.serve())
        with mock.patch("pyliteflux.client.commands._is_terminal", return_value=True):
            found = self.run_main("call", at, "echo", '{"a": [1]}')
        self.assertEqual(found, (0, '{\n  "a": [\n    1\n  ]\n}\n', ""))

    def test_a_server_cannot_steer_the_terminal(self) -> None:
        at = self.address(self.serve())
        status, out, _ = self.run_main("call", at, "echo", '"\\u001b[31m\\u009b31m\\u2028"')
        self.assertEqual((status, out), (0, '"\\u001b[31m\\u009b31m\\u2028"\n'))
        with mock.patch("pyliteflux.client.commands._is_terminal", return_value=True):
            status, out, _ = self.run_main("call", "--raw", at, "echo", "\x1b[31m")
        self.assertEqual((status, out), (0, "\\x1b[31m\n"))

    def test_raw_is_a_line_of_text(self) -> None:
        at = self.address(self.serve())
        self.assertEqual(self.run_main("call", "--raw", at, "echo", "a  b"), (0, "a  b\n", ""))
        self.assertEqual(self.run_main("call", at, "echo", "-", "--raw", stdin="x\n")[1], "x\n")
        status, out, err = self.run_main("call", "--raw", at, "echo", "a\nb")
        self.assertEqual((status, out), (1, ""))
        self.assertRegex(err, r"\Apyliteflux: [^\n]*two lines\n\Z")

    def test_raw_passes_over_what_is_no_answer(self) -> None:
        @self.router.register("busy", protocol="tcp")
        def busy(request: Any) -> Any:
            server.push_message({"n": 1}, request.client_id)
            server.push_message({"n": 2}, request.client_id, ack=True)
            server.publish("news", 3)
            return {"type": "busy", "data": None}

        server = self.long_lived()
        server.on_connect(lambda client: client.push({"welcome": True}) and None)
        at = self.address(server)
        self.assertEqual(self.run_main("call", "--raw", at, "echo", "hi"), (0, "hi\n", ""))
        self.assertEqual(
            self.run_main("call", "--raw", at, "busy"), (0, '{"type": "busy", "data": null}\n', "")
        )
        status, out, _ = self.run_main("call", "--raw", at, "subscribe", "news")
        self.assertEqual((status, "topic" in out, "type" in out), (0, True, False))

    def test_an_error_is_one_line_and_status_1(self) -> None:
        at = self.address(self.serve())
        with socket.create_server(("127.0.0.1", 0)) as silent:
            quiet = f"127.0.0.1:{silent.getsockname()[1]}"
            with socket.create_server(("127.0.0.1", 0)) as gone:
                nobody = f"127.0.0.1:{gone.getsockname()[1]}"
            cases = {
                ("call", at, "nope"): "Command not found (unknown_command)",
                ("call", at, "fail"): "a teapot (418)",
                ("call", nobody, "x"): f"no connection to {nobody}: Connection refused",
                ("call", nobody, "x", "--raw"): "refused",
                ("call", quiet, "x", "--timeout", "0.01"): "in time",
                ("call", quiet, "x", "--timeout", "0.01", "--raw"): "timed out",
                ("listen", nobody, "t"): "refused",
                ("listen", at, "t"): "Command not found",
            }
            for arguments, text in cases.items():
                with self.subTest(arguments):
                    status, out, err = self.run_main(*arguments)
                    self.assertEqual((status, out), (1, ""))
                    self.assertRegex(err, r"\Apyliteflux: [^\n]*\n\Z")
                    self.assertIn(text, err)

    def test_an_address_is_checked(self) -> None:
        for address in ("localhost", "localhost:", ":0", ":65536", "x:y", "", ":\u0661"):
            with self.subTest(address):
                status, _, err = self.run_main("call", address, "x")
                self.assertEqual(status, 2)
                self.assertIn("is not HOST:PORT", err)
        server = self.serve()
        assert server.tcp_address is not None
        port = server.tcp_address[1]
        self.assertEqual(self.run_main("call", f":{port}", "echo", "1")[:2], (0, "1\n"))

    def test_listen_prints_a_line_for_each_message(self) -> None:
        server = self.long_lived()
        for number in range(3):
            server.publish("news", {"n": number})
        status, out, err = self.run_main(
            "listen", self.address(server), "news", "--since", "0", "--count", "3"
        )
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((status, err), (0, "pyliteflux: subscribed to news\n"))
        self.assertEqual([line["data"]["n"] for line in lines], [0, 1, 2])
        self.assertEqual((lines[0]["topic"], lines[0]["seq"]), ("news", 1))
        found = self.run_main(
            "listen", self.address(server), "news", "--since", lines[1]["id"], "--count", "1"
        )
        self.assertEqual(json.loads(found[1])["data"], {"n": 2})
        found = self.run_main("listen", self.address(server), "secret")
        self.assertEqual(found[0], 1)
        self.assertIn("forbidden", found[2])

    def test_listen_comes_back_and_ends_by_ctrl_c(self) -> None:
        server = self.long_lived()
        with self.listen(self.address(server), "news") as program:
            wait_until(lambda: server.topic("news").subscribers, "it listens")
            server.publish("news", "one")
            self.assertEqual(json.loads(program.read_line())["data"], "one")
            self.restart(server)
            server.publish("news", "two")
            self.assertEqual(json.loads(program.read_line())["data"], "two")
            program.signal(signal.SIGINT)
            status, out, err = program.finish()
        self.assertEqual((status, out), (130, ""))
        said = re.sub("(?m)^pyliteflux: ", "", err).splitlines()
        self.assertEqual(said[0], "subscribed to news")
        self.assertIn("connected again", said)
        self.assertEqual(said[-1], "subscribed to news")
        self.assertNotIn("Traceback", err)

    def test_a_reader_that_has_had_enough_ends_it_quietly(self) -> None:
        server = self.long_lived()
        with self.listen(self.address(server), "news") as program:
            wait_until(lambda: server.topic("news").subscribers, "it listens")
            assert program.process.stdout is not None
            program.process.stdout.close()
            server.publish("news", "one")
            program.process.wait(DEADLINE)
            assert program.process.stderr is not None
            err = program.process.stderr.read().decode()
            program.process.stderr.close()
            self.assertEqual(program.process.returncode, 1)
            program.process.stdout = program.process.stderr = None
        self.assertEqual(err, "pyliteflux: subscribed to news\n")

    def test_a_target_is_still_a_target(self) -> None:
        status, _, err = self.run_main("call.py")
        self.assertEqual(status, 1)
        self.assertIn("call.py", err)
        status, out, _ = self.run_main("--help")
        self.assertEqual(status, 0)
        self.assertIn("call", out)
        for command in ("call", "listen"):
            status, out, _ = self.run_main(command, "--help")
            self.assertEqual(status, 0)
            self.assertIn("HOST:PORT", out)


if __name__ == "__main__":
    unittest.main()
