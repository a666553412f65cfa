"""A file as an answer: `FileResponse`.

The rule: a file is opened once, and everything that is said about it (size, date, tag, range)
is said about that open descriptor, whatever happens to its name meanwhile. The descriptor has
one owner at a time: the response, then its `segments`, then the transport, which has the
kernel send from it. Whoever owns it when the answer turns out not to be sent closes it.

Chapter: docs/files.md.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from typing import Any
from urllib.parse import quote

from ..app.conditions import Validators, http_date, parse_http_date
from ..app.ranges import ByteRange, multipart
from ..app.representation import empty, selected
from ..app.response import BYTES, JSON, HTTPResponse
from ..errors import HTTPError
from ..filepiece import FilePiece
from .media_types import guess_type

# O_NONBLOCK: opening a pipe that nobody writes to would hang a thread for ever. O_NOCTTY: a
# terminal must not become ours. O_BINARY: Windows would translate line ends. (Python itself
# adds O_CLOEXEC: PEP 446.)
_OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)
# What open() says of a name behind which there is no file that could be sent.
_NOT_THERE = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENXIO,  # A socket.
}
# Bytes the kernel is asked to have in memory when the reactor comes to send them: as much as
# it sends at once. A cold disk then delays this worker's answer and not the whole loop.
READ_AHEAD = 256 * 1024


class FileResponse(HTTPResponse):
    """A regular file, sent by the kernel; with conditions and ranges (RFC 9110 13 and 14).

    path: opened and measured now, in the calling thread; never put a client's words into it
    unchecked, see `StaticFiles`. content_type: None goes by the name, see media_types.py.
    filename: the browser is to save the file, under this name; with inline to show it, and
    save it so if the user does. conditional: False sends the whole file to whoever
    asks, without ETag and Last-Modified. max_age: seconds a cache may keep it.

    Raises HTTPError 404 where there is no regular file, other OSErrors as they are. A
    response is sent once: make one for each request.
    """

    # Closed by __del__ where nobody else did: a handler may fail after it made this.
    _fd = -1
    extra_flags = 0  # For open(), beside those that each file needs.
    selects_itself = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        content_type: str | None = None,
        filename: str | None = None,
        inline: bool = False,
        status: int = 200,
        headers: Any = None,
        conditional: bool = True,
        max_age: int | None = None,
    ) -> None:
        path = os.fspath(path)
        super().__init__(b"", status, headers, content_type or guess_type(path))
        if filename is not None:
            self.headers["Content-Disposition"] = disposition(filename, inline)
        if max_age is not None:
            self.headers["Cache-Control"] = f"max-age={int(max_age)}"
        self.conditional = conditional
        self._fd, self._stat = _open_regular(path, self.extra_flags)
        self._length = self._stat.st_size

    @property
    def length(self) -> int:
        """Bytes of content: of the file, of the ranges asked for, or of an error."""
        return self._length

    def encode(self) -> None:
        """Nothing: what is sent depends on the request, see `prepare`."""

    def prepare(self, request: Any) -> None:
        """Decide what this request gets: all, ranges, "you have it" (304), 412 or 416.

        Raises TypeError for a TCP message, ValueError where the file has been sent already.
        """
        if request.protocol != "http":
            raise TypeError("a file cannot answer a TCP message: return its content")
        if self._fd < 0:
            raise ValueError("a FileResponse is sent once: make a new one for each request")
        size = self._stat.st_size
        ranges = [ByteRange(0, size)] if size else []
        # Conditions are for what would be a 200, and about what the target is: the answer to
        # a POST is not a version of it (RFC 9110 sections 13.2.1, 14.2).
        if self.conditional and self.status == 200 and request.method in ("GET", "HEAD"):
            current = self._set_validators()
            self.status, found = selected(request.method, request.headers, current, size)
            if self.status not in (200, 206):
                self._answer_without_file()
                return
            ranges = found or ranges
        if request.method == "HEAD":
            self.discard()  # The length is known, and nothing else is needed.
        elif len(ranges) > 1:
            self._send_parts(ranges)
        elif ranges:
            if self.status == 206:
                self.headers["Content-Range"] = ranges[0].content_range(size)
            self._send_one(ranges[0])

    def _set_validators(self) -> Validators:
        """Add ETag, Last-Modified and Accept-Ranges; a handler's own ones win."""
        headers, info, now = self.headers, self._stat, int(time.time())
        # A strong tag promises that equal tags are equal bytes. Size and the time of the last
        # change in nanoseconds keep that, but for a file that is changed twice within one
        # tick of the file system's clock (some milliseconds), keeps its size, and is asked
        # for in between, or whose date a deployment sets by hand. Reading all of it would do
        # better, and would cost as much as sending it.
        tag = f"{info.st_mtime_ns:x}-{info.st_size:x}"
        for coding in headers.getlist("Content-Encoding"):
            tag += f"-{coding}"  # Another representation, another tag (RFC 9110 section 8.8.3.3).
        etag = headers.setdefault("ETag", f'"{tag}"')
        # Never in the future: RFC 9110 section 8.8.2.1.
        modified = min(int(info.st_mtime), now)
        given = headers.get("Last-Modified")
        if given is None:
            headers["Last-Modified"] = http_date(modified)
        else:
            parsed = parse_http_date(given)
            modified = modified if parsed is None else parsed
        headers["Accept-Ranges"] = "bytes"
        return Validators(etag, modified, now)

    def _answer_without_file(self) -> None:
        """Be a 304, 412 or 416: the file is closed, the fields that describe it go."""
        self.discard()
        self.body = empty(self.headers, self.status, self._stat.st_size)
        # Of a 304 remain what a cache updates its copy with: RFC 9110 section 15.4.5.
        del self.headers["Last-Modified"]
        self.content_type = JSON if self.body else None
        self._length = len(self.body)

    def _send_one(self, part: ByteRange) -> None:
        self._length = part.length
        _advise(self._fd, part)
        self.segments = (FilePiece(self._fd, part.offset, part.length),)
        self._fd = -1  # The segment owns it from here on.

    def _send_parts(self, parts: list[ByteRange]) -> None:
        """multipart/byteranges: RFC 9110 section 14.6."""
        boundary = os.urandom(16).hex()  # Not to be guessed, so in no file on purpose.
        content_type = self.headers.get("Content-Type") or self.content_type or BYTES
        heads, end = multipart(parts, self._stat.st_size, content_type, boundary)
        segments: list[bytes | FilePiece] = []
        # Seen by `discard` from the first moment: the next dup() may fail.
        self.segments = segments
        _advise(self._fd, parts[0])
        for head, part in zip(heads, parts, strict=True):
            segments.append(head)
            # Each piece of a file closes its descriptor when it is sent.
            segments.append(FilePiece(os.dup(self._fd), part.offset, part.length))
        segments.append(end)
        self._length = sum(map(len, heads)) + sum(part.length for part in parts) + len(end)
        self.headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
        os.close(self._fd)
        self._fd = -1

    def discard(self) -> None:
        """Close what has not been handed on. Idempotent."""
        segments, self.segments = self.segments, ()
        for segment in segments:
            if isinstance(segment, FilePiece):
                segment.close()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.discard()


def _open_regular(path: str, extra_flags: int = 0) -> tuple[int, os.stat_result]:
    """Return the descriptor and status of a regular file. Raises HTTPError 404, OSError."""
    try:
        fd = os.open(path, _OPEN_FLAGS | extra_flags)
    except ValueError:
        raise HTTPError(404) from None  # A NUL, or half a surrogate pair.
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise HTTPError(404) from None
        raise
    try:
        # Of the descriptor, not of the name: that may be another file by now.
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise HTTPError(404)
    except BaseException:
        os.close(fd)
        raise
    return fd, info


def _advise(fd: int, part: ByteRange) -> None:
    """Have the kernel begin to read what the reactor will send first."""
    if hasattr(os, "posix_fadvise"):
        count = min(part.length, READ_AHEAD)
        try:
            os.posix_fadvise(fd, part.offset, count, os.POSIX_FADV_WILLNEED)
        except OSError:
            pass  # It was only advice.


# Controls, what separates directories, and what turns the direction of writing around: a name
# that reads "invoice-fdp.exe" from the right looks like another kind of file.
_BAD_IN_FILENAME = re.compile(r"[\x00-\x1f\x7f-\x9f/\\\u202a-\u202e\u2066-\u2069]")
_BAD_IN_QUOTES = re.compile(r"[^ !#$&-~]")
_ATTR_CHARS = "!#$&+-.^_`|~"  # RFC 8187 section 3.2.1


def disposition(filename: str, inline: bool = False) -> str:
    """Return the Content-Disposition that has a browser save under a name: RFC 6266.

    inline: it is to show the file, and knows the name in case that it is saved.

    A name beyond ASCII comes twice: in UTF-8 for the browsers, and made simple for the rest.
    Whatever could end the field or climb to another directory becomes an underscore.
    """
    name = _BAD_IN_FILENAME.sub("_", filename)
    # A quote, and "%": some take it for percent-encoding here (RFC 6266 appendix D).
    kind = "inline" if inline else "attachment"
    simple = _BAD_IN_QUOTES.sub("_", name)
    if simple == name:
        return f'{kind}; filename="{name}"'
    encoded = quote(name.encode("utf-8", "replace"), safe=_ATTR_CHARS)
    return f"{kind}; filename=\"{simple}\"; filename*=UTF-8''{encoded}"
