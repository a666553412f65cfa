"""Answers sent smaller: gzip for clients that take it (RFC 9110 section 8.4.1.3).

The rule: compressing is for what shrinks and for who asks, and it must never delay a byte. A
stream is flushed after each of its pieces, so the first leaves as soon as it would have
without us.

A warning that every server with TLS owes its users: where one answer holds both a secret and
words of an attacker's, its compressed length tells the secret bit by bit (BREACH). Send
tokens in fields, or such pages with ``Cache-Control: no-transform``, which are left alone.

Chapter: docs/middleware.md.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterator
from typing import Any

from ..app.events import EventStream
from ..app.middleware import Middleware
from ..app.request import Request
from ..app.response import HTTPResponse, StreamResponse
from ..app.values import fields_of, make_response, settle
from ..headers import MutableHeaders
from .files import FileResponse
from .negotiation import accepts_gzip

_GZIP_FORMAT = 16 + zlib.MAX_WBITS  # zlib's way to ask for gzip's head and tail.
_NO_CONTENT_TO_CODE = (204, 205, 206, 304)
# Compressed already, or by their nature: trying costs time and gains nothing.
_DENSE_KINDS = ("image/", "audio/", "video/")
_BUT_NOT = ("image/svg+xml", "image/bmp", "image/x-icon")
_DENSE = {
    "application/gzip",
    "application/pdf",
    "application/vnd.rar",
    "application/x-7z-compressed",
    "application/x-bzip2",
    "application/x-gzip",
    "application/x-rar-compressed",
    "application/x-xz",
    "application/zip",
    "application/zstd",
    "font/woff",
    "font/woff2",
    "text/event-stream",  # Not dense, but each event is an answer of its own.
}


class GzipMiddleware(Middleware):
    """Compress answers. Add it first: it then comes last, and sees what is really sent.

    minimum_size: bytes under which the gain is not worth the work. level: 1 (fast) to 9
    (small). Streams are compressed piece by piece. Left alone: an `EventStream`, a
    `FileResponse` (see `StaticFiles(precompressed=...)`), what has a Content-Encoding, 206,
    an answer with Accept-Ranges, media types that are compressed already, and what would not
    become smaller.

    It works in the thread of the handler: on a route with ``blocking=False`` that is the
    reactor, which stands still meanwhile (some 30 ms for a megabyte of JSON at level 6).
    """

    def __init__(self, minimum_size: int = 500, level: int = 6) -> None:
        if not 1 <= level <= 9:
            raise ValueError(f"level must be 1 to 9, not {level!r}")
        self.minimum_size = minimum_size
        self.level = level

    def process_response(self, request: Request, response: Any) -> Any:
        """Return a compressed response, or the one given."""
        if request.protocol != "http" or isinstance(response, (EventStream, FileResponse)):
            return response
        if response is None or request.response_status in _NO_CONTENT_TO_CODE:
            return response
        fields = fields_of(request, response)
        if not _may_be_coded(fields):
            return response
        fields.add_vary("Accept-Encoding")  # Whatever this client takes: caches must know.
        if not accepts_gzip(request.headers):
            return response
        try:
            made = make_response(response)
        except (TypeError, ValueError):
            return response  # It cannot be written: its 500 passes here as well.
        content_type = fields.get("Content-Type") or made.content_type or ""
        if _is_dense(content_type):
            return response
        if isinstance(made, StreamResponse):
            smaller: HTTPResponse = _GzipStream(made, self.level)
        else:
            if made.length < self.minimum_size:
                return response
            coded = _compress(made.body, self.level)
            if len(coded) >= made.length:
                return response
            smaller = HTTPResponse(coded, made.status, made.fields())
        if made is not response:
            # What a tuple brought, and what other middlewares added, goes with it.
            settle(smaller, request)
        smaller.headers["Content-Encoding"] = "gzip"
        etag = smaller.headers.get("ETag")
        if etag is not None and not etag.startswith("W/"):
            # Equal strong tags promise equal bytes (RFC 9110 section 8.8.1): no longer so.
            smaller.headers["ETag"] = f"W/{etag}"
        return smaller


class _GzipStream(StreamResponse):
    """A stream whose pieces are compressed when their turn comes."""

    __slots__ = ("_inner", "_level", "_running")

    def __init__(self, inner: StreamResponse, level: int) -> None:
        super().__init__(inner.iterable, headers=inner.fields(), status=inner.status)
        del self.headers["Content-Length"]  # It spoke of the bytes before.
        self.is_held = inner.is_held
        self._inner = inner
        self._level = level
        self._running: Generator[bytes, None, None] | None = None

    def pieces(self) -> Iterator[Any]:
        """Return the iterator over compressed pieces."""
        self._running = self._compressed()
        return self._running

    def _compressed(self) -> Generator[bytes, None, None]:
        encode = self._inner.encode_piece
        compressor = zlib.compressobj(self._level, zlib.DEFLATED, _GZIP_FORMAT)
        for piece in self._inner.pieces():
            data = encode(piece)
            if data:
                # The flush costs some bytes a piece; without it the piece would wait here
                # until enough others have come.
                yield compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
        yield compressor.flush()

    def discard(self) -> None:
        """Close the generator of the handler's, whether or not ours has begun."""
        if self._running is not None:
            self._running.close()
        self._inner.discard()


def _compress(data: bytes, level: int) -> bytes:
    compressor = zlib.compressobj(level, zlib.DEFLATED, _GZIP_FORMAT)
    return compressor.compress(data) + compressor.flush()


def _may_be_coded(fields: MutableHeaders) -> bool:
    return (
        "Content-Encoding" not in fields
        and "Content-Range" not in fields
        and "Accept-Ranges" not in fields  # Pieces of what is packed anew each time fit no other.
        and "no-transform" not in ", ".join(fields.getlist("Cache-Control")).lower()
        and not _is_dense(fields.get("Content-Type") or "")
    )


def _is_dense(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind in _DENSE or (kind.startswith(_DENSE_KINDS) and kind not in _BUT_NOT)
