"""Multipart bodies and their uploads, parsed while they arrive (RFC 7578, RFC 2046).

The rule: a body is hostile until it is read. Every count and every byte that stays in memory
has a limit, scanning is `find` and `split` (no pattern that could backtrack), each byte is
looked at a fixed number of times, and what could be read in two ways is a 400. Parsing may
write to the disk, so it belongs on a worker thread, never on the reactor (CVE-2025-54121).

Chapter: docs/requests-and-responses.md.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from typing import IO, NoReturn
from urllib.parse import unquote_to_bytes

from ..charsets import to_text
from ..errors import HTTPError
from ..headers import OWS, Headers, is_token
from ..word import Word
from .forms import (
    PIECE,
    FormLimits,
    MultiDict,
    charset_of,
    content_type_of,
    header_parameters,
    over_limit,
)

# Text before the first boundary. No client sends any; RFC 2046 section 5.1.1 allows it.
PREAMBLE_LIMIT = 4096
# White space between a boundary and its line end, allowed by the same section.
PADDING_LIMIT = 64

# Of Content-Disposition: what says which field this is, and whether it is a file.
_DECISIVE = ("name", "filename", "filename*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]").search
_CONTROL_BUT_TAB = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search
# Wider than the bchars of RFC 2046 section 5.1.1: "*****" is the boundary of many programs on
# phones. Printable ASCII has one reading, if it does not end with a blank, which a line may.
_IS_BOUNDARY = re.compile(rb"[\x20-\x7e]{0,69}[\x21-\x7e]").fullmatch


class UploadedFile:
    """One file of a form (contract Q2). For the worker thread that has its request.

    name: the form field. filename: what the client calls it, without any path; "" if the
    user chose no file. Do not save under it unchecked: it may be the name of a file you
    have. content_type: the client's claim, in lower case. size: bytes. file: a seekable
    binary file at position 0, in memory or on disk (`on_disk`); gone from both once closed,
    which the end of the request does.
    """

    __slots__ = ("name", "filename", "content_type", "headers", "size", "file", "on_disk")

    def __init__(
        self, name: str, filename: str, headers: Headers, file: IO[bytes], size: int, on_disk: bool
    ) -> None:
        self.name = name
        self.filename = filename
        kind = content_type_of(headers.get("content-type") or "")[0]
        self.content_type = kind or "application/octet-stream"
        self.headers = headers
        self.size = size
        self.file = file
        self.on_disk = on_disk

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes from where the file stands, all that is left by default."""
        return self.file.read(size)

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the lines, as a file does."""
        return iter(self.file)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the whole content to `path`, replacing what is there, in pieces of 64 KiB.

        Where the file stands does not matter and does not change. Raises OSError.
        """
        import shutil  # Not above: few servers are sent files.

        position = self.file.tell()
        self.file.seek(0)
        try:
            with open(path, "wb") as target:
                shutil.copyfileobj(self.file, target, PIECE)
        finally:
            self.file.seek(position)

    def close(self) -> None:
        """Give memory or disk back. Idempotent."""
        self.file.close()

    def __enter__(self) -> UploadedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<UploadedFile {self.name!r}: {self.filename!r}, {self.size} bytes>"


def close_files(files: MultiDict[UploadedFile]) -> None:
    """Close every upload of a form, those of repeated fields too."""
    for name in files:
        for file in files.getlist(name):
            file.close()


class _TextPart:
    """A text field on its way in."""

    __slots__ = ("name", "charset", "content")

    def __init__(self, name: str, charset: str) -> None:
        self.name = name
        self.charset = charset
        self.content = bytearray()


class _FilePart:
    """An upload on its way in: in memory up to `limit` bytes, then on disk.

    Ours rather than tempfile.SpooledTemporaryFile: before Python 3.11 that one is no proper
    file (it lacks `seekable`), so zipfile and TextIOWrapper refuse it.
    """

    __slots__ = ("name", "filename", "headers", "file", "size", "on_disk", "_limit")

    def __init__(self, name: str, filename: str, headers: Headers, limit: int) -> None:
        self.name = name
        self.filename = filename
        self.headers = headers
        self.file: IO[bytes] = io.BytesIO()
        self.size = 0
        self.on_disk = False
        self._limit = limit

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._limit and not self.on_disk:
            import shutil  # Not above: few servers are sent large files.
            from tempfile import TemporaryFile

            memory, self.file = self.file, TemporaryFile()
            self.on_disk = True
            memory.seek(0)
            shutil.copyfileobj(memory, self.file, PIECE)
            memory.close()
        self.file.write(data)

    def finished(self) -> UploadedFile:
        self.file.seek(0)
        return UploadedFile(
            self.name, self.filename, self.headers, self.file, self.size, self.on_disk
        )


class FormState(Word):
    """Where in a multipart body the parser stands."""

    PREAMBLE = "before the first boundary"
    DELIMITER = "behind a boundary: its line end or the two hyphens of the last one"
    PART_HEADERS = "in the header fields of a part"
    CONTENT = "in the content of a part"
    EPILOGUE = "behind the last boundary: whatever comes is ignored"
    CLOSED = "finished, given up or failed"


PREAMBLE, DELIMITER, PART_HEADERS = FormState.PREAMBLE, FormState.DELIMITER, FormState.PART_HEADERS
CONTENT, EPILOGUE, CLOSED = FormState.CONTENT, FormState.EPILOGUE, FormState.CLOSED

NEXT = {
    PREAMBLE: {DELIMITER, CLOSED},
    DELIMITER: {PART_HEADERS, EPILOGUE, CLOSED},
    PART_HEADERS: {CONTENT, CLOSED},
    CONTENT: {DELIMITER, CLOSED},
    EPILOGUE: {CLOSED},
    CLOSED: {CLOSED},
}


class MultipartParser:
    """Read a multipart/form-data body in whatever pieces it comes (RFC 7578, RFC 2046).

    boundary: the Content-Type's parameter. Raises HTTPError 400 for broken syntax and 413
    over a limit; every file is closed by then and the parser is done for. One thread at a
    time; `feed` may write to the disk, and an OSError of the disk (full, no descriptors) passes
    through.
    """

    def __init__(self, boundary: bytes, limits: FormLimits) -> None:
        if not _IS_BOUNDARY(boundary):
            raise HTTPError(400, "multipart/form-data needs a boundary of 1 to 70 printable ASCII")
        self._limits = limits
        self._delimiter = b"\r\n--" + boundary
        # The first boundary may open the body; with this it looks like all the others.
        self._buffer = bytearray(b"\r\n")
        self._searched = 0  # PART_HEADERS: so many leading bytes hold no end of the headers.
        self._preamble = 0  # Bytes dropped so far, among them the two that we put there.
        self._parts = 0
        self._text_parts = 0
        self._memory = 0  # Bytes of all names and values of text fields.
        self._part: _TextPart | _FilePart | None = None  # In CONTENT only.
        self._fields: MultiDict[str] = MultiDict()
        self._files: MultiDict[UploadedFile] = MultiDict()
        self._state = PREAMBLE
        self._steps: dict[FormState, Callable[[], bool]] = {
            PREAMBLE: self._skip_preamble,
            DELIMITER: self._end_boundary,
            PART_HEADERS: self._begin_part,
            CONTENT: self._take_content,
            EPILOGUE: self._ignore_epilogue,
        }

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body, any number of them."""
        if self._state is CLOSED:
            raise ValueError("this multipart body has ended")
        try:
            for start in range(0, len(data), PIECE):
                self._buffer += data[start : start + PIECE]
                while self._steps[self._state]():
                    pass
        except Exception:
            self.close()
            raise

    def finish(self) -> tuple[MultiDict[str], MultiDict[UploadedFile]]:
        """Return the text fields and the files of the whole body; the files are now yours."""
        if self._state is CLOSED:
            raise ValueError("this multipart body has ended")
        if self._state is not EPILOGUE:
            self.close()
            raise HTTPError(400, "the multipart body ends before its last boundary")
        fields, files = self._fields, self._files
        self._files = MultiDict()
        self.close()
        return fields, files

    def close(self) -> None:
        """Give up, and close every file that `finish` has not handed out. Idempotent."""
        self._move(CLOSED)
        self._buffer.clear()
        if isinstance(self._part, _FilePart):
            self._part.file.close()
        self._part = None
        close_files(self._files)
        self._files.clear()

    abort = close

    def _move(self, new: FormState) -> None:
        assert new in NEXT[self._state], (self._state, new)
        self._state = new

    # The steps. Each handles what stands at the front of the buffer and says whether the
    # next step may have something to do; False asks for more data.

    def _skip_preamble(self) -> bool:
        at = self._buffer.find(self._delimiter)
        skipped = at if at >= 0 else self._undecided()
        self._preamble += skipped
        if self._preamble > PREAMBLE_LIMIT:
            raise HTTPError(400, f"no boundary in the first {PREAMBLE_LIMIT} bytes of the body")
        if at < 0:
            del self._buffer[:skipped]
            return False
        del self._buffer[: at + len(self._delimiter)]
        self._move(DELIMITER)
        return True

    def _undecided(self) -> int:
        """Return how many leading bytes cannot be the begin of a delimiter cut in two."""
        return max(0, len(self._buffer) - len(self._delimiter) + 1)

    def _end_boundary(self) -> bool:
        if len(self._buffer) < 2:
            return False
        if self._buffer.startswith(b"--"):
            self._move(EPILOGUE)
            return True
        at = self._buffer.find(b"\r\n", 0, PADDING_LIMIT + 2)
        if at < 0 and len(self._buffer) < PADDING_LIMIT + 2:
            return False
        # RFC 2046 section 5.1.1: a line that goes on after the boundary still is one. Most
        # parsers take it for content, so a body with such a line has two readings.
        if at < 0 or self._buffer[:at].strip(b" \t"):
            raise HTTPError(400, "a multipart boundary must be followed by CRLF or two hyphens")
        del self._buffer[:at]  # The CRLF stays: headers end at CRLF CRLF, be there none.
        self._parts += 1
        if self._parts > self._limits.parts:
            raise over_limit("max_form_parts", self._limits.parts, "parts")
        self._searched = 0
        self._move(PART_HEADERS)
        return True

    def _begin_part(self) -> bool:
        at = self._buffer.find(b"\r\n\r\n", self._searched)
        # Without an end, what is here is the headers but for the CRLF before them and three
        # bytes that may belong to the end.
        size = max(0, at - 2) if at >= 0 else len(self._buffer) - 5
        if size > self._limits.part_header_size:
            raise over_limit("max_part_header_size", self._limits.part_header_size, "header bytes")
        if at < 0:
            self._searched = max(0, len(self._buffer) - 3)
            return False
        headers = self._read_headers(bytes(self._buffer[2:at]))
        del self._buffer[: at + 4]
        self._part = self._new_part(headers)
        self._move(CONTENT)
        return True

    def _read_headers(self, block: bytes) -> Headers:
        # Unfolding first (RFC 5322 section 2.2.3): else a line means two things.
        block = block.replace(b"\r\n ", b" ").replace(b"\r\n\t", b"\t")
        if block.count(b"\r\n") >= self._limits.part_headers:
            raise over_limit("max_part_headers", self._limits.part_headers, "headers in a part")
        pairs = []
        # Browsers write names as raw UTF-8 (RFC 7578 section 5.1).
        for line in block.decode("utf-8", "replace").split("\r\n") if block else ():
            name, colon, value = line.partition(":")
            if not colon or not is_token(name) or _CONTROL_BUT_TAB(value):
                raise HTTPError(400, "a multipart part has a bad header line")
            pairs.append((name, value.strip(OWS)))
        return Headers(pairs)

    def _new_part(self, headers: Headers) -> _TextPart | _FilePart:
        name, filename = _disposition(headers)
        # RFC 7578 section 4.7: deprecated, and nobody sends it. Guessing would corrupt.
        encoding = (headers.get("content-transfer-encoding") or "binary").lower()
        if encoding not in ("7bit", "8bit", "binary"):
            raise HTTPError(400, "Content-Transfer-Encoding of a form part is not supported")
        if filename is not None:
            return _FilePart(name, filename, headers, self._limits.upload_memory)
        self._text_parts += 1
        if self._text_parts > self._limits.fields:
            raise over_limit("max_form_fields", self._limits.fields, "fields")
        self._count_memory(len(name))
        return _TextPart(name, charset_of(headers.get("content-type") or ""))

    def _count_memory(self, size: int) -> None:
        # Text fields have no spool, so they need a sum of their own (CVE-2024-47874).
        self._memory += size
        if self._memory > self._limits.memory:
            raise over_limit("max_form_memory", self._limits.memory, "bytes of text fields")

    def _take_content(self) -> bool:
        at = self._buffer.find(self._delimiter)
        ready = at if at >= 0 else self._undecided()
        part = self._part
        if isinstance(part, _FilePart):
            part.write(bytes(self._buffer[:ready]))
        elif part is not None:
            self._count_memory(ready)
            part.content += self._buffer[:ready]
        if at < 0:
            del self._buffer[:ready]
            return False
        del self._buffer[: at + len(self._delimiter)]
        self._end_part()
        self._move(DELIMITER)
        return True

    def _end_part(self) -> None:
        part, self._part = self._part, None
        if isinstance(part, _FilePart):
            self._files.add(part.name, part.finished())
        elif part is not None:
            self._fields.add(part.name, to_text(part.content, part.charset))

    def _ignore_epilogue(self) -> bool:
        self._buffer.clear()
        return False


def _disposition(headers: Headers) -> tuple[str, str | None]:
    """Return the field name and the file name (None: no file) of a part. RFC 7578 section 4.2."""
    values = headers.getlist("content-disposition")
    if len(values) != 1:
        _refuse("a part needs one, and only one")
    kind, _, rest = values[0].partition(";")
    if kind.strip(OWS).lower() != "form-data":
        _refuse("it must be form-data")
    found: dict[str, str] = {}
    try:
        for parameter, value in header_parameters(rest):
            if parameter in found and parameter in _DECISIVE:
                _refuse(f"{parameter} is given twice")
            found[parameter] = value
    except ValueError as error:
        _refuse(str(error))
    if "name" not in found:
        _refuse("it has no name")
    # Browsers write a quote as %22 (WHATWG HTML, multipart/form-data encoding algorithm).
    name = found["name"].replace("%22", '"')
    filename = _filename(found)
    return name, None if filename is None else _base_name(filename)


def _filename(found: dict[str, str]) -> str | None:
    """Return the better one of `filename` and `filename*`; None without (RFC 6266 section 4.3)."""
    plain, extended = found.get("filename"), found.get("filename*")
    if plain is not None:
        plain = plain.replace("%22", '"')
    if extended is None:
        if plain is None and any(parameter.startswith("filename*") for parameter in found):
            # Only in parts: some servers put them together, to others it is no file at all.
            _refuse("continued parameters are not supported (RFC 8187 section 3.1)")
        return plain
    charset, _, rest = extended.partition("'")
    _, quote, encoded = rest.partition("'")
    text = to_text(unquote_to_bytes(encoded), charset) if quote else extended
    if plain is None:
        return text
    # An odd one decides nothing where there is a plain one: RFC 8187 section 3.2.1 asks to be
    # robust, and one part must not cost the form.
    is_odd = not quote or charset.lower() not in ("utf-8", "iso-8859-1") or _CONTROL(text)
    return plain if is_odd else text


def _base_name(filename: str) -> str:
    if _CONTROL(filename):
        _refuse("a control character in the file name")  # NUL ends a path in C.
    # Both separators, on every system: the client's need not be ours.
    base = filename.replace("\\", "/").rpartition("/")[2]
    return "" if base in (".", "..") else base


def _refuse(why: str) -> NoReturn:
    raise HTTPError(400, f"bad Content-Disposition of a form part: {why}")
