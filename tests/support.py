"""What tests over real sockets share: a raw client, a strict response parser, servers, logs.

The rule: nothing here waits without a deadline, and a deadline that passes fails with a
sentence. The parser forgives nothing, since a client library would forgive what the tests
are about: a body that is cut short raises `CutShort`, and so never passes for a whole one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest
import warnings
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from pyliteflux import Router, Server
from pyliteflux.log import writer

ROOT = Path(__file__).resolve().parent.parent
DEADLINE = 10.0  # Seconds until something that does not happen has failed.

_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ([\t\x20-\x7e]*)").fullmatch
_FIELD = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*"
    rb"[\x21-\x7e\x80-\xff])?)?)"
).fullmatch
_CHUNK_SIZE = re.compile(rb"[1-9a-f][0-9a-f]*|0").fullmatch
_ONCE = {"content-length", "content-type", "connection", "date", "transfer-encoding"}


class CutShort(AssertionError):
    """The connection ended before the message did: its receiver knows that it is not whole."""


class Response:
    """A response as it came: status, reason, fields in order, body."""

    def __init__(
        self, status: int, reason: str, fields: list[tuple[str, str]], body: bytes = b""
    ) -> None:
        self.status = status
        self.reason = reason
        self.fields = fields
        self.body = body

    def all(self, name: str) -> list[str]:
        """Return every value of a field."""
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """Return the value of a field that comes at most once; None where it does not come."""
        values = self.all(name)
        if len(values) > 1:
            raise AssertionError(f"the field {name} came {len(values)} times: {values}")
        return values[0] if values else None

    @property
    def json(self) -> Any:
        """The body as JSON. Fails unless it says that it is."""
        if self.get("Content-Type") != "application/json":
            raise AssertionError(f"not JSON: {self!r}")
        return json.loads(self.body.decode())

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.fields} {self.body[:200]!r}>"


class Client:
    """One TCP connection. Every wait ends after `timeout` seconds, with an AssertionError."""

    def __init__(
        self, address: Any, timeout: float = DEADLINE, receive_buffer: int | None = None
    ) -> None:
        """receive_buffer: bytes that the kernel keeps for us, to be a slow reader sooner."""
        self._buffer = b""
        self._timeout = timeout
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            if receive_buffer is not None:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.sock.settimeout(timeout)
            self.sock.connect(address)
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def client_id(self) -> str:
        """The id that the server knows this client by."""
        host, port = self.sock.getsockname()[:2]
        return f"{host}:{port}"

    # --- out

    def send(self, data: bytes | str) -> None:
        """Send raw bytes."""
        try:
            self.sock.sendall(data.encode() if isinstance(data, str) else data)
        except TimeoutError:
            raise AssertionError(f"could not send within {self._timeout} s") from None

    def send_request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        *,
        version: str = "1.1",
        fields: dict[str, str] | None = None,
    ) -> None:
        """Send a well-formed request; Host and Content-Length are added."""
        lines = [f"{method} {target} HTTP/{version}", "Host: test"]
        lines += [f"{name}: {value}" for name, value in (fields or {}).items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))

    def request(
        self, method: str, target: str, body: bytes | None = None, **options: Any
    ) -> Response:
        """Send a request and return its response; the options are those of `send_request`."""
        self.send_request(method, target, body, **options)
        return self.read_response(method)

    def get(self, target: str, **options: Any) -> Response:
        """GET it."""
        return self.request("GET", target, **options)

    def post_json(self, target: str, value: Any, **options: Any) -> Response:
        """POST a JSON value."""
        options["fields"] = {"Content-Type": "application/json", **options.get("fields", {})}
        return self.request("POST", target, json.dumps(value).encode(), **options)

    def half_close(self) -> None:
        """Send FIN; reading goes on."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close in good order."""
        self.sock.close()

    def reset(self) -> None:
        """Close with a reset, as a crashed or impatient client does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # --- in

    def receive(self) -> bytes:
        """Return what comes next, b"" at the end. Fails where nothing comes in time."""
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return data
        try:
            return self.sock.recv(65536)
        except TimeoutError:
            raise AssertionError(f"nothing came within {self._timeout} s") from None

    def _more(self, what: str) -> None:
        try:
            data = self.sock.recv(65536)
        except TimeoutError:
            raise AssertionError(
                f"{what} did not come within {self._timeout} s; so far {self._buffer[:200]!r}"
            ) from None
        except ConnectionError as error:
            raise CutShort(f"{what}: {error}") from None
        if not data:
            raise CutShort(f"{what}: the connection ended; so far {self._buffer[:200]!r}")
        self._buffer += data

    def read_exactly(self, count: int, what: str = "data") -> bytes:
        """Return so many bytes. Raises CutShort where the connection ends before."""
        pieces = [self._buffer[:count]]
        self._buffer = self._buffer[count:]
        missing = count - len(pieces[0])
        while missing:
            self._more(what)
            pieces.append(self._buffer[:missing])
            self._buffer = self._buffer[missing:]
            missing -= len(pieces[-1])
        return b"".join(pieces)

    def read_until(self, end: bytes, what: str = "data") -> bytes:
        """Return what comes before `end`, and take both."""
        while end not in self._buffer:
            self._more(what)
        data, _, self._buffer = self._buffer.partition(end)
        return data

    def read_line(self) -> str:
        """Return the next line without its LF."""
        return self.read_until(b"\n", "a line").decode()

    def read_rest(self) -> bytes:
        """Return all that comes until the end of the connection. A reset raises CutShort."""
        while True:
            try:
                self._more("the end of the connection")
            except CutShort as error:
                if "the connection ended" not in str(error):
                    raise
                data, self._buffer = self._buffer, b""
                return data

    def expect_end(self) -> None:
        """Fail unless the server closes in good order, without another byte."""
        rest = self.read_rest()
        if rest:
            raise AssertionError(f"the server was to close, but sent {rest[:200]!r}")

    def read_head(self) -> Response:
        """Return the head of the next response, checked; the body is still to be read."""
        head = self.read_until(b"\r\n\r\n", "a response head")
        status_line, *lines = head.split(b"\r\n")
        match = _STATUS_LINE(status_line)
        if match is None:
            raise AssertionError(f"a bad status line: {status_line!r}")
        fields = []
        seen = set()
        for line in lines:
            field = _FIELD(line)
            if field is None:
                raise AssertionError(f"a bad field: {line!r}")
            name, value = field.group(1).decode(), field.group(2).decode("latin-1")
            if name.lower() in seen and name.lower() in _ONCE:
                raise AssertionError(f"a field that came twice: {line!r}")
            seen.add(name.lower())
            fields.append((name, value))
        return Response(int(match.group(1)), match.group(2).decode(), fields)

    def read_chunk(self) -> bytes:
        """Return the next chunk; b"" is the last one, with the end of the body."""
        size = self.read_until(b"\r\n", "a chunk")
        if not _CHUNK_SIZE(size):
            raise AssertionError(f"a bad chunk size: {size!r}")
        data = self.read_exactly(int(size, 16), "the data of a chunk")
        if self.read_exactly(2, "the end of a chunk") != b"\r\n":
            raise AssertionError(f"a chunk without CRLF after {data[-50:]!r}")
        return data

    def read_response(self, method: str = "GET") -> Response:
        """Return the next final response. Raises CutShort where its body is not whole."""
        response = self.read_head()
        while response.status < 200:
            response = self.read_head()
        coding, length = response.get("Transfer-Encoding"), response.get("Content-Length")
        if coding is not None and length is not None:
            raise AssertionError(f"both a length and a coding: {response!r}")
        if response.get("Date") is None:
            raise AssertionError(f"no Date (RFC 9110 section 6.6.1): {response!r}")
        if response.status == 204 and (coding or length):
            raise AssertionError(f"a 204 with a length (RFC 9110 section 8.6): {response!r}")
        if method == "HEAD" or response.status in (204, 304):
            return response
        if coding is not None:
            if coding != "chunked":
                raise AssertionError(f"a transfer coding nobody asked for: {coding}")
            pieces = []
            while piece := self.read_chunk():
                pieces.append(piece)
            response.body = b"".join(pieces)
        elif length is not None:
            if not re.fullmatch("0|[1-9][0-9]*", length):
                raise AssertionError(f"a bad Content-Length: {length!r}")
            response.body = self.read_exactly(int(length), "the body")
        else:
            if response.get("Connection") != "close":
                raise AssertionError(f"a body that nothing ends: {response!r}")
            response.body = self.read_rest()
        return response


def fetch(server: Server, method: str, target: str, *args: Any, **options: Any) -> Response:
    """Ask a server over a connection of its own."""
    with Client(server.http_address) as client:
        return client.request(method, target, *args, **options)


# --- servers


def make_server(router: Router | None = None, **settings: Any) -> Server:
    """Return a quiet server on free ports, with routes of its own; not started."""
    settings = {"http_port": 0, "tcp_port": 0, "info": False, **settings}
    return Server(router=Router() if router is None else router, **settings)


@contextlib.contextmanager
def running_server(router: Router | None = None, **settings: Any) -> Iterator[Server]:
    """Run a quiet server on free ports; fail where it does not stop in time."""
    server = make_server(router, **settings)
    server.start()
    try:
        yield server
    finally:
        stop(server)


def stop(server: Server, timeout: float = DEADLINE) -> None:
    """Stop a server, and fail where that takes too long."""
    stopper = threading.Thread(target=server.stop, name="test-stopper", daemon=True)
    stopper.start()
    stopper.join(timeout)
    if stopper.is_alive():
        raise AssertionError(f"the server did not stop within {timeout} s")


class RunningThread:
    """A call in a thread of its own, `server.run` say; `join` gives its end."""

    def __init__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, args=(function, args, kwargs), name="test-runner", daemon=True
        )
        self._thread.start()

    def _run(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except BaseException as error:
            self._error = error

    def join(self, timeout: float = DEADLINE) -> None:
        """Wait for the end; raise what the call raised."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise AssertionError(f"the call did not return within {timeout} s")
        if self._error is not None:
            raise self._error


# --- waiting


def wait_until(condition: Callable[[], Any], what: str, timeout: float = DEADLINE) -> None:
    """Return once the condition is true; fail, naming `what`, where it does not become so."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(0.002)


def is_closed(address: Any) -> bool:
    """Tell whether nobody listens there.

    A connection that was begun just before the port was closed is dropped without a word by
    Linux, now and then; it is refused when it is begun again, a second later.
    """
    try:
        socket.create_connection(address, DEADLINE).close()
    except ConnectionError:
        return True
    return False


def new_threads(before: Collection[threading.Thread]) -> set[threading.Thread]:
    """Return those that have come since; one that was about to end then may be gone by now."""
    return set(threading.enumerate()).difference(before)


def wait_for(event: threading.Event, what: str, timeout: float = DEADLINE) -> None:
    """Return once the event is set; fail, naming `what`, where it is not."""
    if not event.wait(timeout):
        raise AssertionError(f"not within {timeout} s: {what}")


# --- logs


class LogCapture(logging.Handler):
    """Keeps the records of the package's loggers instead of printing them. Any thread."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._changed = threading.Condition()
        self._records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        with self._changed:
            self._records.append(record)
            self._changed.notify_all()

    @property
    def records(self) -> list[logging.LogRecord]:
        """All that has been logged: what a server logs is written by a thread of its own."""
        writer.flush(DEADLINE)
        return self._records

    def lines(self, level: int = logging.DEBUG) -> list[str]:
        """Return the messages from this level up, each with its traceback if it has one."""
        writer.flush(DEADLINE)
        with self._changed:
            return [_text(record) for record in self._records if record.levelno >= level]

    def find(self, text: str, level: int = logging.DEBUG) -> list[str]:
        """Return the messages that hold this text."""
        return [line for line in self.lines(level) if text in line]

    def wait_for(self, text: str, timeout: float = DEADLINE) -> str:
        """Return the first message that holds this text; fail where none comes."""
        with self._changed:
            self._changed.wait_for(
                lambda: any(text in _text(record) for record in self._records), timeout
            )
        found = self.find(text)
        if not found:
            raise AssertionError(f"no log line with {text!r} within {timeout} s: {self.lines()}")
        return found[0]


def _text(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_text:
        text += "\n" + record.exc_text
    elif record.exc_info:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    return text


@contextlib.contextmanager
def captured_logs() -> Iterator[LogCapture]:
    """Keep what the package logs, and keep it off the console."""
    logger = logging.getLogger("pyliteflux")
    capture = LogCapture()
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(capture)
    try:
        yield capture
    finally:
        writer.flush(DEADLINE)
        logger.removeHandler(capture)
        logger.propagate = propagates


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = unittest.skipUnless(_has_ipv6(), "this machine has no ::1")


class ServerTestCase(unittest.TestCase):
    """A test with a router of its own, a server when it is asked for, and the log kept."""

    def setUp(self) -> None:
        self.router = Router()
        self._stack = contextlib.ExitStack()
        self.addCleanup(self._stack.close)
        self.logs = self._stack.enter_context(captured_logs())

    def serve(self, **settings: Any) -> Server:
        """Run a server with `self.router` until the test ends."""
        return self._stack.enter_context(running_server(self.router, **settings))

    def connect(self, server: Server, **options: Any) -> Client:
        """Return an HTTP connection that is closed when the test ends."""
        return self._stack.enter_context(Client(server.http_address, **options))

    def connect_tcp(self, server: Server, **options: Any) -> Client:
        """Return a TCP connection that is closed when the test ends."""
        return self._stack.enter_context(Client(server.tcp_address, **options))


# --- programs


def in_child(function: Callable[[], object]) -> str:
    """Return what a forked child prints, from the fork on, and then in this call."""
    here, there = os.pipe()
    with (
        open(here, encoding="utf-8") as reader,
        open(there, "w", encoding="utf-8") as writer,
        contextlib.redirect_stdout(writer),
        contextlib.redirect_stderr(writer),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", DeprecationWarning)  # Threads of other tests.
        pid = os.fork()
        if pid == 0:
            try:
                function()
                writer.flush()
            finally:
                os._exit(0)
        writer.close()
        text = reader.read()
    os.waitpid(pid, 0)
    return text


class Program:
    """A Python program in a process of its own, that prints a line when it is ready."""

    def __init__(self, source: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", source],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # What readline() has not returned is left to communicate().
        )

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.communicate()

    def read_line(self, timeout: float = DEADLINE) -> str:
        """Return the next line that it prints; fail where none comes."""
        lines: list[bytes] = []
        assert self.process.stdout is not None
        read = self.process.stdout.readline
        reader = threading.Thread(target=lambda: lines.append(read()), daemon=True)
        reader.start()
        reader.join(timeout)
        if not lines or not lines[0]:
            self.process.kill()
            rest = self.process.communicate()
            raise AssertionError(f"the program printed no line within {timeout} s: {rest}")
        return lines[0].decode().rstrip("\n")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def finish(self, timeout: float = DEADLINE) -> tuple[int, str, str]:
        """Wait for its end; return the exit status, and the rest of stdout and of stderr."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            rest = self.process.communicate()
            raise AssertionError(f"the program did not end within {timeout} s: {rest}") from None
        return self.process.returncode, out.decode(), err.decode()


def run_program(source: str, timeout: float = DEADLINE) -> tuple[int, str, str]:
    """Run a Python program to its end; return exit status, stdout and stderr."""
    with Program(source) as program:
        return program.finish(timeout)
