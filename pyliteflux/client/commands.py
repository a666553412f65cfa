"""``python -m pyliteflux call`` and ``listen``: try a TCP server without writing a program.

    python -m pyliteflux call HOST:PORT command [data]    one question, the answer as JSON
    python -m pyliteflux listen HOST:PORT topic...        each message as one line of JSON

The rule: what is data goes to the standard output, what is said about it goes to the standard
error, so that both can stand in a pipe.

Chapter: docs/client.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable
from typing import Any

from ..errors import BadMessage, PyLiteFluxError
from ..jsontext import loads
from ..log import one_line
from .calls import read_message
from .events import Event, Push
from .link import Link, reason_of
from .tcp_client import MAX_MESSAGE, TCPClient

_CONTROLS = re.compile(r"[\x7f-\x9f\u2028\u2029]")
INTERRUPTED = 130  # What a shell expects of a program that Ctrl-C has ended: 128 + SIGINT.
# What a server says unasked, to a client that sends lines of text as well.
_NEWS = (
    "push",
    "ping",
    "pong",
    "closing",
    "dropped",
    "subscribed",
    "unsubscribed",
    "join",
    "leave",
)


def talk(arguments: list[str]) -> int:
    """Run one of `COMMANDS`; return the exit status: 0, 1 with a line of reason, 130 by Ctrl-C."""
    function, parser = COMMANDS[arguments[0]]()
    options = parser.parse_args(arguments[1:])
    try:
        function(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough (`| head -1`). Python's last flush has to go
        # somewhere.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        _say(reason_of(error))
        return 1
    except (PyLiteFluxError, ValueError) as error:
        _say(str(error))
        return 1
    return 0


def _call_parser() -> tuple[Callable[[Any], None], argparse.ArgumentParser]:
    parser = argparse.ArgumentParser(
        prog="python -m pyliteflux call", description="Ask a TCP server; print its answer as JSON."
    )
    parser.add_argument("address", type=_address, metavar="HOST:PORT")
    parser.add_argument("command")
    parser.add_argument(
        "data", nargs="?", help="JSON, or else a text; '-' reads it from the standard input"
    )
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument(
        "--raw", action="store_true", help="send a line of text, print the line that answers it"
    )
    return _call, parser


def _listen_parser() -> tuple[Callable[[Any], None], argparse.ArgumentParser]:
    parser = argparse.ArgumentParser(
        prog="python -m pyliteflux listen",
        description="Print what a TCP server pushes, one line of JSON for each message.",
    )
    parser.add_argument("address", type=_address, metavar="HOST:PORT")
    parser.add_argument("topics", nargs="*", metavar="topic", help="such as news, or 'room:*'")
    parser.add_argument("--since", metavar="ID", help="begin behind this message; 0: all it keeps")
    parser.add_argument("--count", type=int, metavar="N", help="end after so many messages")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS")
    return _listen, parser


COMMANDS = {"call": _call_parser, "listen": _listen_parser}


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")  # [::1]:8001
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host or "127.0.0.1", int(port)


def _call(options: Any) -> None:
    text = sys.stdin.read() if options.data == "-" else options.data
    if options.raw:
        answer = _ask_in_text(options, text)
        print(one_line(answer) if _is_terminal() else answer)
        return
    host, port = options.address
    with TCPClient(host, port, timeout=options.timeout, keep_alive=False) as client:
        _print(client.call(options.command, _value(text)), indent=2 if _is_terminal() else None)


def _value(text: str | None) -> Any:
    """Return the data that was meant: JSON where it is JSON, else the text itself."""
    if text is None:
        return None
    try:
        return loads(text.encode())
    except ValueError:
        return text


def _ask_in_text(options: Any, text: str | None) -> str:
    """Send a line, as with `nc`; return the one that answers it."""
    line = options.command if text is None else f"{options.command} {text}"
    line = line.removesuffix("\n")
    if "\n" in line:
        raise ValueError("a line of text cannot have two lines")
    host, port = options.address
    deadline = time.monotonic() + options.timeout
    link = Link.open(host, port, options.timeout, MAX_MESSAGE)
    try:
        link.send(line.encode() + b"\n", deadline)
        for received in link.lines(deadline):
            if not _is_news(received):
                return received.decode(errors="replace")
    finally:
        link.close()
    raise ConnectionError("the server closed without an answer")


def _is_news(line: bytes) -> bool:
    try:
        return read_message(line).get("type") in _NEWS
    except BadMessage:
        return False


def _listen(options: Any) -> None:
    host, port = options.address
    with TCPClient(host, port, timeout=options.timeout) as client:
        for topic in options.topics:
            client.subscribe(topic, options.since)
        count = 0
        while options.count is None or count < options.count:
            item = client.next_event()
            if isinstance(item, Push):
                _print(item.as_dict())
                count += 1
            elif isinstance(item, Event) and item.type != "closing":  # The loss repeats it.
                _say(str(item))


def _print(value: Any, indent: int | None = None) -> None:
    is_unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    text = json.dumps(value, ensure_ascii=not is_unicode, indent=indent)
    # JSON escapes most controls itself; a terminal obeys these too (C1: CSI is U+009B).
    print(_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text), flush=True)


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _say(text: str) -> None:
    print(f"pyliteflux: {one_line(text)}", file=sys.stderr, flush=True)
