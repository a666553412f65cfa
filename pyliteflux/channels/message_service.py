"""What all TCP channels of a server share: the limits of pushes, and how an answer is encoded.

The rule: an answer becomes bytes where it was made, on the worker: the reactor only sends.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from ..app.debug_page import text_of
from ..app.request import TCPRequest
from ..app.response import StreamResponse
from ..app.route import Route, refusal_route
from ..app.routing import Router
from ..config import Config
from ..endpoint import Endpoint
from ..errors import HTTPError
from ..log import escape
from ..log import framework as log
from ..protocol.framers import Framing
from ..protocol.message import Wrap, encode_answer, encode_error, encode_item
from ..push.hooks import HookCalls
from ..sparing import Sparing
from .journal import DETAIL_LIMIT
from .message_budget import Budget
from .service import Service

# The most that is read from a TCP client in one turn, in bytes: 64 KiB of nothing but brackets
# are some 30 ms of framing, and it is the others' turn before that.
RECV_SIZE = 16 * 1024

UNKNOWN_COMMAND = refusal_route(
    HTTPError(404, {"error": "Command not found", "code": "unknown_command"})
)


# Seconds between two log lines about what is none of ours, such as HTTP on this port.
STRANGER_INTERVAL = 60.0
# And between two about errors that nobody is told of: who sends them never stops.
UNSAID_INTERVAL = 1.0


def check_framings(config: Config, router: Router) -> None:
    """Raise ConfigError for a framing, of the server or of a route, that makes no framer."""
    Framing(config.tcp_framing, config)
    for route in router.routes():
        if route.framing is not None:
            Framing(route.framing, config)


class ItemSource:
    """The items of a generator, each encoded as a message. For `StreamPull`."""

    __slots__ = ("_request", "_default", "remaining", "discard")

    def __init__(self, response: StreamResponse, request: TCPRequest, default: Any) -> None:
        self._request = request
        self._default = default
        self.remaining = response.remaining
        self.discard = response.discard

    def encode_piece(self, piece: Any) -> bytes:
        """Return an item as a message; nothing where nobody is to be answered.

        There the generator still runs to its end: that may be what it is for.
        """
        request = self._request
        if not request.route.answers:
            return b""
        return encode_item(
            piece, request.data_type, request.message_id, request.wrap, self._default
        )


class MessageService(Service):
    """What all TCP channels of a server share: how an answer is encoded, what was dropped."""

    def __init__(
        self,
        http_address: Endpoint | None,
        on_greeted: Callable[[Any, Any, bool], None],
        on_leaving: Callable[[Any], None],
        hook_calls: HookCalls,
        *parts: Any,
    ) -> None:
        super().__init__(*parts)
        self.on_greeted = on_greeted  # A client is let in, from now on one of all, or is not.
        self.on_leaving = on_leaving  # It is told to go: it gets no more pushes.
        # Looked up once, not for each message.
        self._find = self.router.resolve_command
        self.answer = self.handle
        self.recv_size = min(self.recv_size, RECV_SIZE)
        self.max_depth = self.config.tcp_max_depth
        # The TCP messages have as much again as the bodies: neither takes the other's room.
        self.memory = Budget(self.config.max_buffered_bodies or inf, self.recv_size)
        self.push_dropped = 0
        self.hook_calls = hook_calls
        self.http_address = http_address  # Of the port that takes HTTP, if one does.
        self._strangers = Sparing(STRANGER_INTERVAL)
        self._unsaid = Sparing(UNSAID_INTERVAL)
        self._framings: dict[Any, Framing] = {}
        self._reported: set[tuple[Wrap, type[BaseException]]] = set()
        self.framing = self.framing_of(self.config.tcp_framing)
        # Is a silent long-lived client ever pinged or closed?
        self.minds_silence = bool(self.config.tcp_ping_interval or self.config.tcp_idle_timeout)
        self.push_limit = self.config.tcp_send_limit
        # Up to how many unsent bytes a push goes straight to the transport, where it cannot be
        # dropped any more: so it is half of what may wait at most.
        self.push_direct = min(self.config.write_high_water, (self.push_limit + 1) // 2)

    def framing_of(self, choice: Any) -> Framing:
        """Return the framing of that name, or of the user's function. Raises ConfigError."""
        framing = self._framings.get(choice)
        if framing is None:
            framing = self._framings[choice] = Framing(choice, self.config)
        return framing

    def directions(self, spoken: str) -> str:
        """Return what to tell a client that speaks HTTP, or TLS, to the TCP port."""
        if spoken != "HTTP":
            return f"this is the TCP port; it takes no {spoken}"
        if self.http_address is None:
            return "this is the TCP port; HTTP is not served here"
        return f"this is the TCP port; HTTP is on {self.http_address.port}"

    def warn_of_stranger(self, client_id: str, spoken: str) -> None:
        """Log that somebody speaks HTTP or TLS to the TCP port: once a minute, with a count."""
        more = self._strangers.left_out(self.reactor.now)
        if more is None:
            return
        log.warning(
            "TCP %s spoke %s to the TCP port and was refused unread%s: %s",
            escape(client_id),
            spoken,
            f", as {more} more were before it" if more else "",
            "a client has mixed up the ports, or a web page tries to run TCP commands"
            if spoken == "HTTP"
            else "a client has mixed up the ports, or expects TLS, which this port does not have",
        )

    def report_wrap(self, wrap: Wrap, error: BaseException) -> None:
        """Log that a framing cannot write something of ours: once for each kind of reason.

        It may come with each push, for each of a thousand clients; `push_dropped` counts them.
        """
        if (wrap, type(error)) not in self._reported:
            self._reported.add((wrap, type(error)))
            log.error(
                "a push cannot be written by %s, so its clients are not sent it (said once): %s",
                escape(getattr(wrap, "__qualname__", repr(wrap))),
                escape(text_of(error)),
                exc_info=error,
            )

    def route_of(self, command: str) -> Route:
        """Return the application's route for a command, else a ready-made one, else ``*``."""
        find = self._find
        return (
            find(command)
            or self.app.ready_made.resolve_command(command)
            or find("*")
            or UNKNOWN_COMMAND
        )

    def changes_framing(self, command: str) -> bool:
        """Tell whether what follows this command may have to be cut in another way."""
        return self.route_of(command).framing is not None

    def has_route(self, command: str) -> bool:
        """Tell whether the application has a route that takes this command, or any other."""
        return bool(self._find(command) or self._find("*"))

    @property
    def tells_errors(self) -> bool:
        """Is a client told of a message that no route can be found for? Not if ``*`` is silent."""
        rest = self._find("*")
        return rest is None or rest.answers

    def log_unsaid(self, command: str, status: int, text: str) -> None:
        """Log an error that the client is not told of: one a second, with a count. Any thread."""
        more = self._unsaid.left_out(self.reactor.now)
        if more is not None:
            log.warning(
                "TCP %s: %s %s (not sent: answers=False)%s",
                escape(command) or "*",
                status,
                escape(text),
                f", and {more} more before it" if more else "",
            )

    def error_answer(self, text: str, code: str, request: TCPRequest) -> bytes:
        """Return an error as the answer to a message; nothing where it is to have none."""
        if not request.route.answers:
            return b""
        return encode_error(text, code, request.data_type, request.message_id, wrap=request.wrap)

    def handle(
        self, request: TCPRequest, ask: Callable[[TCPRequest], Any] | None = None
    ) -> bytes | StreamResponse:
        """Answer a message, encoded. On the thread of the handler: bytes, or a stream.

        ask: who of the pipeline is to answer, instead of the handler.
        """
        answer = self.pipeline.handle_message(request) if ask is None else ask(request)
        if request.new_framing is not None and (
            request.error_code or request.response_status >= 400
        ):
            request.new_framing = None  # Refused: the client goes on as before.
        if isinstance(answer, StreamResponse):
            return answer
        if not request.route.answers:
            if request.response_status >= 400 and request.error_code != "internal":
                told = answer.get("error", answer) if isinstance(answer, dict) else answer
                self.log_unsaid(request.command, request.response_status, str(told)[:DETAIL_LIMIT])
            return b""
        data_type, id = request.data_type, request.message_id
        try:
            default = self.config.json_default
            is_error = request.response_status >= 400 or request.error_code is not None
            return encode_answer(answer, data_type, id, request.wrap, default, is_error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # A `wrap`, or a `json_default`, may raise anything.
            request.new_framing = None
            return self._answer_instead(request, error)

    def begin(self, request: TCPRequest) -> bytes | StreamResponse:
        """Answer a message whose generator is held, as `Pipeline.begin`. On a worker."""
        return self.handle(request, self.pipeline.begin)

    def _answer_instead(self, request: TCPRequest, error: BaseException) -> bytes | StreamResponse:
        """Answer a message whose answer cannot be written in its format."""
        data_type, id = request.data_type, request.message_id
        answer = self.pipeline.replace_answer(request, error)
        if isinstance(answer, StreamResponse):
            return answer
        try:
            default = self.config.json_default
            is_error = request.response_status >= 400 or request.error_code is not None
            return encode_answer(answer, data_type, id, request.wrap, default, is_error)
        except KeyboardInterrupt:
            raise
        except BaseException as second:  # Of an error handler, or a layer.
            request.response_status = 500
            log.error(
                "TCP %s: the answer of %s (%s) cannot be written: %s",
                escape(request.command),
                request.route.name,
                request.route.place,
                escape(text_of(second)),
                extra={"request_id": request.request_id},
            )
            text = "Internal Server Error"
            return encode_error(text, "internal", data_type, id, wrap=request.wrap)
