"""Every exception of the package, in one tree: who is at fault decides the branch.

::

    PyLiteFluxError
    ├── ProtocolError            the peer's fault: carries `status`, answered, then closed
    │   ├── BadRequest           400  it breaks the grammar, or could be read in two ways
    │   ├── RequestLineTooLong   414
    │   ├── HeadTooLarge         431
    │   ├── BodyTooLarge         413
    │   ├── ExpectationFailed    417
    │   ├── RequestTimeout       408
    │   ├── NotSupported         501  a method or transfer coding nobody here knows
    │   ├── VersionNotSupported  505
    │   ├── FrameTooLong         a TCP message over its limit: the stream is lost
    │   ├── WrongPort            no TCP message at all, but HTTP or TLS: nothing more is read
    │   └── BadMessage           a TCP message that cannot be read: the stream goes on
    │       └── MessageTimeout   408  it did not arrive in time: the stream is lost
    ├── HTTPError                an answer, raised by a handler or a middleware
    ├── ConfigError              also a ValueError and an AttributeError
    ├── RouteError               also a ValueError
    ├── PoolFull                 a bounded queue is at its bound
    ├── ReactorClosed            the loop that was to run this has ended
    ├── CallError                the server answered a client's call with an error
    └── ConnectionLost           a client's connection is gone; also a ConnectionError

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any, Final


class _NoId(enum.Enum):
    """The type of `NO_ID`: an id may be any JSON value, null too, so None cannot mean "none"."""

    NO_ID = "the message has no id"


NO_ID: Final = _NoId.NO_ID


class PyLiteFluxError(Exception):
    """The root: catches everything that this package raises on purpose."""


class ProtocolError(PyLiteFluxError):
    """The peer broke the protocol. Its connection gets one answer and is closed.

    status: the HTTP status that says so.
    code: the machine-readable name that a TCP client gets.
    setting: which limit it went over, for the log: the peer is not told our names.
    data_type: the format in which a TCP message was being read: "json", "xml" or "raw"; "" where
    who raises it leaves that to the framer.
    """

    status = 400
    code = "bad_message"
    setting = ""
    data_type = ""


class BadRequest(ProtocolError):
    """The request breaks the grammar, or could be read in two ways."""


class RequestLineTooLong(ProtocolError):
    """RFC 9112 section 3: a request-target longer than the server wishes to parse."""

    status = 414
    setting = "max_request_line"


class HeadTooLarge(ProtocolError):
    """RFC 6585 section 5: the header fields (or trailers) are over a limit."""

    status = 431
    setting = "max_header_size, max_headers"


class BodyTooLarge(ProtocolError):
    """RFC 9110 section 15.5.14: the content is over a limit."""

    status = 413
    setting = "max_body_size, or the route's max_body"


class ExpectationFailed(ProtocolError):
    """RFC 9110 section 15.5.18: an Expect other than 100-continue."""

    status = 417


class RequestTimeout(ProtocolError):
    """RFC 9110 section 15.5.9: a request that did not arrive in time."""

    status = 408


class NotSupported(ProtocolError):
    """RFC 9110 section 15.6.2: a method or transfer coding that is not implemented."""

    status = 501


class VersionNotSupported(ProtocolError):
    """RFC 9110 section 15.6.6: a major version of HTTP that is not 1."""

    status = 505


class FrameTooLong(ProtocolError):
    """A TCP message over its limit. Where it ends is unknown, so the stream is lost."""

    status = 413
    code = "message_too_large"
    setting = "tcp_max_message"

    def __init__(self, text: str = "", data_type: str = "raw") -> None:
        super().__init__(text)
        self.data_type = data_type


class WrongPort(ProtocolError):
    """A TCP connection that begins as one of another protocol does. Nothing of it is read.

    spoken: which one, "HTTP" or "TLS".
    """

    code = "wrong_port"

    def __init__(self, text: str, spoken: str, data_type: str) -> None:
        super().__init__(text)
        self.spoken = spoken
        self.data_type = data_type  # The format that the port speaks: "raw", "json" or "xml".


class BadMessage(ProtocolError):
    """A TCP message that cannot be read. The framer is in step at the next one.

    id: to be echoed in the answer, `NO_ID` where none could be read. said: where it can be read
    and only lacks a command, what it says to the route ``*`` (`protocol.message.Command`).
    """

    id: Any = NO_ID
    said: Any = None

    def __init__(
        self, text: str = "", data_type: str = "", id: Any = NO_ID, said: Any = None
    ) -> None:
        super().__init__(text)
        self.data_type = data_type
        self.id = id
        self.said = said


class MessageTimeout(BadMessage):
    """A TCP message whose rest did not come in time."""

    status = 408
    code = "timeout"


class HTTPError(PyLiteFluxError):
    """An answer, raised from anywhere in a handler or a middleware.

    status: 400 to 599. message: the text of the ``"error"`` member, or any JSON value that
    is to be the whole body; None means the status's own phrase. headers: added fields, a
    mapping, or (name, value) pairs where one comes twice (two WWW-Authenticate). Kept as a
    copy: a dict, or a list of pairs.
    """

    headers: dict[str, str] | list[tuple[str, str]]

    def __init__(
        self,
        status: int,
        message: Any = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    ) -> None:
        if not isinstance(status, int) or not 400 <= status <= 599:
            raise ValueError(f"HTTPError status must be 400 to 599, not {status!r}")
        super().__init__(status, message)
        self.status = status
        self.message = message
        if headers is None or isinstance(headers, Mapping):
            self.headers = dict(headers or {})
        else:
            items = getattr(headers, "items", None)  # Of the fields of a response.
            self.headers = list(headers if items is None else items())


class ConfigError(PyLiteFluxError, ValueError, AttributeError):
    """A setting that does not exist, or a value that it does not allow."""


class RouteError(PyLiteFluxError, ValueError):
    """A route that cannot be registered as it was written."""


class PoolFull(PyLiteFluxError):
    """The bounded queue of a worker pool is full: refuse now, or come back later."""


class ReactorClosed(PyLiteFluxError):
    """The reactor has ended, so what was handed to it will never run."""


class CallError(PyLiteFluxError):
    """The server answered a client's call with an error.

    code: the machine-readable name, "" where the answer has none. status: as of HTTP, or None.
    answer: all that it said.
    """

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(answer)
        self.answer = dict(answer)
        self.code = str(answer.get("code", ""))
        status = answer.get("status")
        self.status: int | None = status if isinstance(status, int) else None

    def __str__(self) -> str:
        known = ", ".join(str(value) for value in (self.code, self.status) if value)
        text = self.answer.get("error")
        return f"{text} ({known})" if known else str(text)


class ConnectionLost(PyLiteFluxError, ConnectionError):
    """A client has no connection, or has lost the one that its answer was to come by.

    may_have_run: the message was sent, so nobody knows whether the server has acted on it.
    """

    def __init__(self, text: str, may_have_run: bool = False) -> None:
        super().__init__(text)
        self.may_have_run = may_have_run
