"""What a handler may return, and the response objects for when it wants to say more.

The rule: a response is built and encoded by the thread that ran the handler. The reactor
gets bytes, or something that it can pull bytes from; it never serializes anything.

Chapter: docs/requests-and-responses.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Any
from urllib.parse import quote

from ..filepiece import FilePiece
from ..headers import MutableHeaders, format_fields
from ..jsontext import dumps, loads, refuse
from .context import json_default
from .cookies import format_cookie

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
BYTES = "application/octet-stream"

# As `html.escape` does it. That module brings in all 2231 named characters of HTML: 1.5 ms.
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})


def escape_html(text: str) -> str:
    """Return text that is safe between tags and inside a quoted attribute."""
    return text.translate(_ESCAPES)


class HTTPResponse:
    """A status, fields and a body. Built by a handler, owned by one thread at a time.

    body: bytes, or str that is sent as UTF-8. content_type: where it is None, a Content-Type
    among `headers` counts, else what suits the body. headers: a mapping, or pairs.
    """

    __slots__ = ("status", "body", "content_type", "lines", "own_headers", "__dict__")

    # What follows the body from files: bytes, or (descriptor, offset, count). See files.py.
    segments: Sequence[bytes | FilePiece] = ()
    # True where conditions and ranges are its own business, in `prepare`; see representation.py.
    selects_itself = False
    # True for a stream whose head may not leave before its first piece is there.
    is_held = False

    def __init__(
        self,
        body: bytes | str = b"",
        status: int = 200,
        headers: Any = None,
        content_type: str | None = None,
    ) -> None:
        self.status = status
        self.body: Any = body
        self.content_type = content_type
        self.lines: str | None = None  # The fields as text, once they are checked.
        # None until somebody asks for them.
        self.own_headers = MutableHeaders(headers) if headers else None

    @property
    def headers(self) -> MutableHeaders:
        """The fields, to be changed at will until the response is sent."""
        headers = self.own_headers
        if headers is None:
            headers = self.own_headers = MutableHeaders()
        return headers

    def set_cookie(
        self,
        name: str,
        value: str,
        *,
        max_age: int | timedelta | None = None,
        expires: datetime | int | None = None,
        path: str = "/",
        domain: str | None = None,
        secure: bool | None = None,
        httponly: bool = True,
        samesite: str | None = "Lax",
        partitioned: bool = False,
    ) -> None:
        """Add a Set-Cookie; scripts cannot read it and other sites cannot send it, unless said.

        secure: over HTTPS only; None: where the name begins with ``__Host-`` or ``__Secure-``.
        Raises ValueError that names what RFC 6265 does not allow. See `cookies.format_cookie`.
        """
        self.headers.add(
            "Set-Cookie",
            format_cookie(
                name,
                value,
                max_age=max_age,
                expires=expires,
                path=path,
                domain=domain,
                secure=secure,
                httponly=httponly,
                samesite=samesite,
                partitioned=partitioned,
            ),
        )

    def delete_cookie(
        self,
        name: str,
        *,
        path: str = "/",
        domain: str | None = None,
        secure: bool | None = None,
        httponly: bool = True,
        samesite: str | None = "Lax",
        partitioned: bool = False,
    ) -> None:
        """Tell the client to forget a cookie; say what it was set with, as for `set_cookie`.

        path, domain and partitioned tell which cookie it is. secure and samesite decide whether
        the browser listens: over HTTP, and in the frame of another site, it takes no such field
        without them (RFC 6265bis section 5.7). Raises ValueError as `set_cookie` does.
        """
        self.set_cookie(
            name,
            "",
            max_age=0,
            expires=0,
            path=path,
            domain=domain,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
            partitioned=partitioned,
        )

    @property
    def length(self) -> int:
        """Bytes of content, once it is encoded."""
        return len(self.body)

    def encode(self) -> None:
        """Turn the body into bytes. Runs on the thread of the handler."""
        if isinstance(self.body, str):
            self.body = self.body.encode()
            self._default_type(TEXT)
        elif isinstance(self.body, (bytearray, memoryview)):
            self.body = bytes(self.body)
        elif not isinstance(self.body, bytes):
            raise TypeError(f"a response body must be bytes or str, not {kind_of(self.body)}")
        if self.body:
            self._default_type(BYTES)

    def _default_type(self, content_type: str) -> None:
        if self.content_type is None and (
            self.own_headers is None or "Content-Type" not in self.own_headers
        ):
            self.content_type = content_type

    def fields(self) -> list[tuple[str, str]]:
        """Return the fields as they are to be sent; a Content-Type of the user's wins."""
        fields = [] if self.own_headers is None else self.own_headers.items()
        if self.content_type is not None and (
            self.own_headers is None or "Content-Type" not in self.own_headers
        ):
            fields.append(("Content-Type", self.content_type))
        return fields

    def declared_length(self) -> int | None:
        """Return the Content-Length among the fields. Raises ValueError where it is no number."""
        values = [] if self.own_headers is None else self.own_headers.getlist("Content-Length")
        if not values:
            return None
        value = values[0]
        if not value.isascii() or not value.isdigit() or values.count(value) < len(values):
            raise ValueError(f"Content-Length of a response is {', '.join(values)!r}")
        return int(value)

    def seal(self) -> None:
        """Check the fields, on the thread of the handler: they are not changed any more.

        Raises ValueError for one that must not be sent: while that can still be answered.
        """
        self.lines = format_fields(self.fields())
        if not self.body:
            self.declared_length()  # Of a stream, or to HEAD, it is the handler's that counts.

    def prepare(self, request: Any) -> None:
        """Fit the response to the request; called last, on the thread of the handler."""

    def discard(self) -> None:
        """The body will not be sent: give back what it holds."""


class HTTPJSONResponse(HTTPResponse):
    """A JSON response (A4). data: any JSON value; json_encoder: a json.JSONEncoder class."""

    __slots__ = ("data", "json_encoder")

    def __init__(
        self,
        data: Any = None,
        status: int = 200,
        headers: Any = None,
        json_encoder: type[json.JSONEncoder] | None = None,
    ) -> None:
        super().__init__(b"", status, headers)
        self.data = data
        self.json_encoder = json_encoder

    def encode(self) -> None:
        """Serialize the data. Raises TypeError or ValueError where JSON cannot say it."""
        if self.json_encoder is None:
            self.body = dumps(self.data, stand_in)
        else:
            encoder = self.json_encoder(ensure_ascii=False, allow_nan=False)
            self.body = encoder.encode(self.data).encode()
        self._default_type(JSON)

    def as_value(self) -> Any:
        """Return what a TCP answer is made of: the data, or what its encoder made of them."""
        if self.json_encoder is None:
            return self.data
        self.encode()
        return loads(self.body)


class HTMLResponse(HTTPResponse):
    """An HTML page. Whatever of it came from a client must have been escaped (`html.escape`)."""

    __slots__ = ()

    def __init__(self, body: str | bytes = "", status: int = 200, headers: Any = None) -> None:
        super().__init__(body, status, headers)

    def encode(self) -> None:
        """Encode the page as UTF-8."""
        self._default_type(HTML)
        super().encode()


# A target that begins so is another host for a browser: "//evil", "/\evil", with tabs and line
# ends removed first, as the URL standard does.
_OTHER_HOST = re.compile(r"[\t\r\n]*[/\\][\t\r\n]*[/\\]").match
_URL_SAFE = "%/:?#[]@!$&'()*+,;=~-._"


class RedirectResponse(HTTPResponse):
    """A redirect (RFC 9110 section 15.4). location: a path, or a whole http(s) URL.

    Raises ValueError for a location that begins with two slashes: a path taken from a request
    would send the client to a host of the attacker's (CVE-2021-28861). status: 301, 302, 303,
    307 or 308; 303 turns a POST into a GET, 307 and 308 never do.
    """

    __slots__ = ()

    def __init__(self, location: str, status: int = 302, headers: Any = None) -> None:
        if status not in (301, 302, 303, 307, 308):
            raise ValueError(f"{status} is no redirect: use 301, 302, 303, 307 or 308")
        if _OTHER_HOST(location):
            raise ValueError(f"the location {location!r} would lead to another host")
        target = quote(location, safe=_URL_SAFE)
        page = f'<a href="{escape_html(target)}">moved</a>\n'
        super().__init__(page, status, headers, HTML)
        self.headers["Location"] = target


class StreamResponse(HTTPResponse):
    """A body that is produced while it is sent (A2).

    iterable: of str (sent as UTF-8) or bytes; empty pieces are skipped. Each piece leaves at
    once. While the client is slow nothing is pulled; when it leaves, a generator is closed.
    """

    __slots__ = ("iterable", "_begun")

    def __init__(
        self,
        iterable: Iterable[bytes | str],
        content_type: str = TEXT,
        headers: Any = None,
        status: int = 200,
    ) -> None:
        super().__init__(b"", status, headers)
        if isinstance(iterable, (str, bytes)) or not isinstance(iterable, Iterable):
            raise TypeError(
                f"StreamResponse takes an iterable of str or bytes, not {kind_of(iterable)}"
            )
        self.iterable: Iterable[bytes | str] = iterable
        self._begun: Iterator[Any] | None = None  # Its pieces, the first of them pulled already.
        self._default_type(content_type)

    def encode(self) -> None:
        """Nothing yet: each piece is encoded when its turn comes."""

    def pieces(self) -> Iterator[Any]:
        """Return the iterator that the pieces are pulled from. Worker threads, one at a time."""
        return iter(self.iterable)

    def begin(self, encode: Callable[[Any], bytes] | None = None) -> None:
        """Run to the first piece, or to the end: what fails until then can still be answered.

        encode: makes bytes of a piece; empty ones do not count. None: the pieces stay as they
        are. Worker threads, in the context of the request.
        """
        pieces = self.pieces()
        self.is_held = False
        self._begun = pieces
        for piece in pieces:
            first = piece if encode is None else encode(piece)
            if encode is None or first:
                self._begun = chain((first,), pieces)
                return

    def remaining(self) -> Iterator[Any]:
        """Return the iterator over the pieces that are to be sent. Worker threads."""
        return self.pieces() if self._begun is None else self._begun

    def encode_piece(self, piece: Any) -> bytes:
        """Return a piece as bytes. Raises TypeError where it is neither str nor bytes."""
        if isinstance(piece, str):
            return piece.encode()
        if isinstance(piece, (bytes, bytearray, memoryview)):
            return bytes(piece)
        raise TypeError(f"a stream must yield str or bytes, not {kind_of(piece)}")

    def discard(self) -> None:
        """Close the generator: its `finally` blocks run."""
        close = getattr(self.iterable, "close", None)
        if close is not None:
            close()


def kind_of(value: Any) -> str:
    """Return a short description of a value for an error message."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def stand_in(value: Any) -> Any:
    """Ask the setting json_default what is written in the place of a value."""
    default = json_default()
    return refuse(value) if default is None else default(value)
