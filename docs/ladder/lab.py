"""The lab: start a server, talk to it piece by piece, and measure it from outside.

A check gets a `Program`. It may `connect()`, which gives a `Client`, and it raises `Failure` with
what was sent, expected and received, and one sentence on what that means. Nothing here imports
PyLiteFlux: any program is graded that prints where it listens. What needs /proc says `Skipped`
where there is none.
"""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
PATIENCE = float(os.environ.get("LEARN_PATIENCE", "3"))  # seconds without a byte
STARTING = 5 * PATIENCE  # seconds until a program has said where it listens
BUSY = 0.25  # of the time: a server with nothing to do is asleep
WAKES = 50  # in a second: one with nothing to do sleeps
MOST_PRINTED = 100_000  # lines that are kept of what a program prints
SHOWN = 56  # characters of bytes in a message
HAS_PROC = os.path.exists("/proc/self/stat")

Row = tuple[str, str]
Piece = bytes | str  # Bytes that were sent, or words about them.


# -- Words -----------------------------------------------------------------------------------------


def language() -> str:
    """ "zh" or "en": what LEARN_LANG says, else what the system speaks."""
    for name in ("LEARN_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name)
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


CHINESE: dict[str, str] = json.loads((HERE / "zh.json").read_text(encoding="utf-8"))


def tr(text: str, *values: object) -> str:
    """Return a sentence in the learner's language, with its {} filled in."""
    if language() == "zh":
        text = CHINESE.get(text, text)
    return text.format(*values) if values else text


def shown(data: Piece) -> str:
    """Bytes as Python writes them, the middle of long ones left out; words as they are."""
    if isinstance(data, str):
        return data
    if len(data) <= SHOWN:
        return repr(data)
    return f"{data[:24]!r}...{data[-12:]!r} " + tr("({} bytes)", len(data))


class Failure(Exception):
    """A server did not do what was expected. so: what that means, in one sentence."""

    def __init__(
        self,
        so: str,
        expected: Piece = "",
        got: Piece = "",
        sent: Sequence[Piece] = (),
    ) -> None:
        super().__init__(so)
        self.so, self.expected, self.got, self.sent = so, expected, got, list(sent)
        self.printed: list[str] = []  # What the program had to say; the runner asks it.

    def rows(self) -> list[Row]:
        """The rows of the message, in the learner's language."""
        rows = [
            (tr("we sent"), " | ".join(map(shown, self.sent))),
            (tr("we expected"), shown(self.expected)),
            (tr("we got"), shown(self.got)),
            (tr("so"), tr(self.so)),
        ]
        names = [tr("it printed"), *[""] * len(self.printed)]
        return [row for row in [*rows, *zip(names, self.printed)] if row[1]]


class Skipped(Exception):
    """A check cannot be made here; the reason is its text."""


def needs_proc() -> None:
    """Skip the check where nothing can be measured from outside."""
    if not HAS_PROC:
        raise Skipped("this system has no /proc, so this is not measured here")


def wait_until(condition: Callable[[], bool], seconds: float | None = None) -> bool:
    """Whether the condition became true in that time."""
    end = time.monotonic() + (PATIENCE if seconds is None else seconds)
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


# -- The client ------------------------------------------------------------------------------------


# What `ss` asks the kernel about one socket: linux/inet_diag.h. (/proc/net/tcp tells it as well,
# but walks over every socket of the machine for it: 6 ms instead of 10 microseconds.)
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
Address = tuple[str, int]


def queues(local: Address, remote: Address) -> tuple[int, int] | None:
    """Bytes in the kernel at this end of a connection, unread and unsent; None: it is gone."""
    ports = struct.pack("!HH", local[1], remote[1])
    names = b"".join(socket.inet_aton(host) + bytes(12) for host, _ in (local, remote))
    anything = 0xFFFFFFFF
    which = ports + names + struct.pack("=III", 0, anything, anything)
    question = struct.pack("=BBxxI", socket.AF_INET, socket.IPPROTO_TCP, anything) + which
    head = struct.pack("=IHHII", 16 + len(question), _SOCK_DIAG_BY_FAMILY, 1, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.send(head + question)
        answer = kernel.recv(4096)
    if struct.unpack_from("=H", answer, 4)[0] != _SOCK_DIAG_BY_FAMILY:
        return None
    unread, unsent = struct.unpack_from("=II", answer, 16 + 4 + 48 + 4)
    return unread, unsent


@functools.cache
def can_see_queues() -> bool:
    """Whether the kernel tells it: Linux does, in most containers too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as near:
            far, _ = listener.accept()
            with far:
                try:
                    return queues(near.getsockname(), far.getsockname()) == (0, 0)
                except (OSError, AttributeError):
                    return False


class Client:
    """One connection to the server. It remembers what it sent since its last right answer."""

    def __init__(self, address: Address, small_buffer: bool = False) -> None:
        self.sock = socket.socket()
        if small_buffer:  # Before the connect, or the window is already promised.
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self.sock.settimeout(PATIENCE)
        try:
            self.sock.connect(address)
        except OSError:
            self.sock.close()
            raise
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.name: Address = self.sock.getsockname()
        self.peer = address
        self.sent: list[Piece] = []
        self.ended = ""  # "<closed>", "<reset>" or "<silence>": why the last read stopped.
        self.is_refused = False  # A send failed: the server had closed, or reads no more.

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def send(self, *pieces: bytes) -> None:
        """Send the pieces, each when the server has read the one before."""
        for piece in pieces:
            if len(self.sent) < 8:
                self.sent.append(piece)
            try:
                self.sock.sendall(piece)
            except OSError:
                self.is_refused = True
                return
            if len(pieces) > 1:  # send(x, b"") waits too
                self.wait_for_reading()

    def wait_for_reading(self) -> None:
        """Return when the server has taken what was sent, and had a moment to act on it."""
        if can_see_queues():
            if not wait_until(lambda: not (queues(self.peer, self.name) or (0, 0))[0]):
                raise Failure(NOT_READ, tr("that they are read"), "<silence>", self.sent)
            time.sleep(0.002)
        else:
            time.sleep(0.02)

    def held(self) -> int:
        """Bytes for us that the kernel holds at both ends; 0 where it does not tell."""
        if not can_see_queues():
            return 0
        theirs, ours = queues(self.peer, self.name), queues(self.name, self.peer)
        return (theirs or (0, 0))[1] + (ours or (0, 0))[0]

    def wait_for_full_kernels(self) -> None:
        """Return when answers have begun to come, and the kernels take no more of them."""
        if not can_see_queues():
            time.sleep(0.2)
            return
        wait_until(lambda: self.held() > 0)
        before = -1
        while self.held() != before:
            before = self.held()
            time.sleep(0.1)

    def finish(self) -> None:
        """Send FIN: nothing more will come, but answers are still read."""
        self.sent.append("<FIN>")
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.is_refused = True

    def reset(self) -> None:
        """Close with an RST, as a process does that was killed."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    def read(self, size: int, silence: float | None = None) -> bytes:
        """Read up to so many bytes. Ends early at the end, or after seconds without a byte."""
        return b"".join(self._pieces(size, silence))

    def skim(self, size: int) -> tuple[int, bytes]:
        """The same for many bytes, of which only the number and the last ones are kept."""
        length, tail = 0, b""
        for piece in self._pieces(size, None):
            length += len(piece)
            tail = (tail + piece)[-16:]
        return length, tail

    def _pieces(self, size: int, silence: float | None) -> Iterator[bytes]:
        self.sock.settimeout(PATIENCE if silence is None else silence)
        self.ended = ""
        while size > 0:
            try:
                data = self.sock.recv(min(size, 1 << 18))
            except TimeoutError:
                self.ended = "<silence>"
                return
            except OSError:
                self.ended = "<reset>"
                return
            if not data:
                self.ended = "<closed>"
                return
            yield data
            size -= len(data)

    def expect(self, answer: bytes, so: str) -> None:
        """Fail unless exactly this comes, and nothing right behind it."""
        got = self.read(len(answer))
        if not self.ended:
            got += self.read(1024, silence=0.005)
            if self.ended == "<silence>":
                self.ended = ""  # As it should be.
        if got != answer:
            raise Failure(so, answer, self.seen(got), self.sent)
        self.sent.clear()

    def expect_all(self, answer: bytes, so: str) -> None:
        """Fail unless exactly this comes, and then FIN."""
        got = self.read(len(answer) + 1)
        if got != answer or self.ended != "<closed>":
            expected = f"{shown(answer)} <closed>"
            raise Failure(so, expected, self.seen(got), self.sent)
        self.sent.clear()

    def expect_end(self, so: str) -> None:
        """Fail unless the server sends FIN now, and nothing before it."""
        got = self.read(1024)
        if got or self.ended != "<closed>":
            raise Failure(so, "<closed>", self.seen(got), self.sent)
        self.sent.clear()

    def seen(self, got: bytes) -> str:
        """What was read, and how that stopped."""
        return " ".join(filter(None, [shown(got) if got else "", self.ended]))


# -- The server ------------------------------------------------------------------------------------


class Program:
    """A server as a process of its own, started with a free port; ended with its `with` block."""

    def __init__(self, command: Sequence[str], **environment: str) -> None:
        self.command = list(command)
        self._errors = tempfile.TemporaryFile()
        self._clients: list[Client] = []  # A check that fails leaves them to us.
        self.printed: list[str] = []
        environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",  # A forgotten flush=True is no lesson of this course.
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONIOENCODING": "utf-8",
            **environment,
        }
        try:
            self.process = subprocess.Popen(
                [*command, "0"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                encoding="utf-8",
                errors="replace",
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            self._errors.close()
            raise Failure(NOT_STARTED, sent=[" ".join(command)], got=str(error)) from None
        self._reader = threading.Thread(target=self._take_output, daemon=True)
        self._reader.start()
        self.address = ("", 0)

    def __enter__(self) -> Program:
        try:
            wait_until(lambda: self._listens() or self._has_ended(), STARTING)
            got = "\n".join(self.printed[:2])
            if not self.address[0]:
                raise Failure(NO_LINE, "listening on 127.0.0.1:40213", got or tr("no such line"))
            if not self.address[1]:
                raise Failure(PORT_ZERO, "listening on 127.0.0.1:40213", got)
        except Failure as failure:
            failure.printed = self.last_words()
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _take_output(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if len(self.printed) < MOST_PRINTED:  # The rest is read, or it could not go on.
                self.printed.append(line.rstrip("\n"))

    def _listens(self) -> bool:
        for line in self.printed:
            found = re.search(r"listening on ([\d.]+):(\d+)", line)
            if found:
                self.address = (found[1], int(found[2]))
                return True
        return False

    def _has_ended(self) -> bool:
        return self.process.poll() is not None and not self._reader.is_alive()

    def stop(self) -> None:
        """End the process and those that it started, and what clients are left."""
        for client in self._clients:
            client.close()
        if hasattr(os, "killpg"):
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        else:
            self.process.kill()
        self.process.wait()
        self._reader.join(1)
        if not self._reader.is_alive():
            assert self.process.stdout is not None
            self.process.stdout.close()
        self._errors.close()

    def connect(self, small_buffer: bool = False) -> Client:
        """Return a new connection; fail if nobody takes it."""
        try:
            client = Client(self.address, small_buffer)
        except OSError as error:
            raise Failure(NOT_TAKEN, tr("a connection"), str(error)) from None
        self._clients.append(client)
        return client

    def errors(self) -> list[str]:
        """The lines of its stderr until now."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").splitlines()

    def last_words(self) -> list[str]:
        """The last lines that it printed, its last error with the line of the program, and how it
        ended; nothing while it runs and is silent."""
        wait_until(self._has_ended, 0.3)  # A dying program needs a moment.
        words = [line for line in self.printed if "listening on" not in line][-3:]
        lines = [line for line in self.errors() if line.strip()]
        own = Path(self.command[-1]).name
        places = re.findall(rf'File ".*{re.escape(own)}", (line \d+)', "\n".join(lines))
        words += [f"{own}, {places[-1]}: {lines[-1]}"] if places else lines[-1:]
        if self.process.poll() is not None:
            words.append(tr("it ended with status {}", self.process.returncode))
        return words

    def must_be_alive(self) -> None:
        """Fail if the process has ended."""
        if self.process.poll() is not None:
            raise Failure(HAS_DIED, tr("a server that goes on"))

    # What is measured covers the processes that it started, too.

    def _family(self) -> list[int]:
        parents: dict[int, int] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    text = Path("/proc", entry, "stat").read_text()
                except OSError:
                    continue
                parents[int(entry)] = int(text.rpartition(")")[2].split()[1])
        family = [self.process.pid]
        for pid in family:
            family += [child for child, parent in parents.items() if parent == pid]
        return family

    def _sum(self, of: Callable[[int], float]) -> float:
        total = 0.0
        for pid in self._family():
            try:
                total += of(pid)
            except (OSError, IndexError, StopIteration):
                continue  # It has just ended.
        return total

    def _status(self, name: str) -> int:
        def of(pid: int) -> int:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            return int(next(line for line in lines if line.startswith(name + ":")).split()[1])

        return int(self._sum(of))

    def memory(self) -> float:
        """MiB of memory in use."""
        return self._status("VmRSS") / 1024

    def threads(self) -> int:
        return self._status("Threads")

    def wakes(self) -> int:
        """How often its first thread has slept and was woken, so far."""
        return self._status("voluntary_ctxt_switches")

    def descriptors(self) -> int:
        return int(self._sum(lambda pid: len(os.listdir(f"/proc/{pid}/fd"))))

    def descriptors_at_rest(self) -> int:
        """The same, when it has closed what it still had to close; 0 where that cannot be seen."""
        if not HAS_PROC:
            return 0
        counts = [self.descriptors()]
        while len(counts) < 30 and (len(counts) < 4 or min(counts[-4:]) != max(counts[-4:])):
            time.sleep(0.07)
            counts.append(self.descriptors())
        return counts[-1]

    def _awake_seconds(self) -> float:
        """Time on a processor, and in the queue for one: what a loop that spins spends on a busy
        machine too."""

        def of(pid: int) -> float:
            try:
                tasks = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
                return sum(sum(map(int, task.read_text().split()[:2])) for task in tasks) / 1e9
            except ValueError:  # A kernel without it.
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        return self._sum(of)

    def must_rest(self, so: str, quarters: int = 6) -> None:
        """Fail unless it sleeps: nearly always, and with few wake-ups. On a busy machine it may
        still have to do what came before, so it has some quarters of a second, and rests in two."""
        needs_proc()
        rested = 0
        for _ in range(quarters):
            awake, wakes, since = self._awake_seconds(), self.wakes(), time.monotonic()
            time.sleep(0.25)
            passed = time.monotonic() - since
            share = (self._awake_seconds() - awake) / passed
            often = (self.wakes() - wakes) / passed
            rested = rested + 1 if share <= BUSY and often <= WAKES else 0
            if rested == 2:
                return
        if share > BUSY:
            text = tr("asleep, but for {} % of the time", round(100 * BUSY))
            raise Failure(so, text, tr("awake for {} % of the time", round(100 * share)))
        text = tr("less than {} wake-ups a second", WAKES)
        raise Failure(so, text, tr("{} wake-ups a second", round(often)))

    def must_give_back(self, before: int, so: str) -> None:
        """Fail unless it has, soon, not more descriptors than before."""
        if not wait_until(lambda: self.descriptors() <= before):
            text = tr("at most {} open descriptors, as before", before)
            raise Failure(so, text, tr("{} open descriptors", self.descriptors()))


NOT_STARTED = "the program could not be started"
NO_LINE = "the first thing a program of this course does is say where it listens"
PORT_ZERO = "port 0 means a free one: ask the listener's getsockname() which it has become"
NOT_TAKEN = "nobody takes new connections: the listener is closed, or its queue is full"
NOT_READ = "the server reads no more of this client: it is busy, or asleep somewhere else"
HAS_DIED = "one client's misfortune has ended the server, and with it all the others"
