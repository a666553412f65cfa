"""What a handler is given: one request, of either protocol, under the same names.

The rule: nothing is computed before it is asked for. Most handlers look at two or three
things of a request, and each of the others would cost as much as the whole parsing did.

Chapter: docs/requests-and-responses.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

from ..charsets import to_text
from ..config import Config
from ..endpoint import id_of
from ..errors import HTTPError
from ..headers import Headers
from ..jsontext import loads
from ..log import escape
from ..otherwords import REQUEST, missing
from .background import BackgroundTasks, TaskQueue
from .context import Scope
from .cookies import Signer, parse_cookies
from .forms import (
    FormLimits,
    MultiDict,
    charset_of,
    content_type_of,
    media_type_of,
    parse_form,
    parse_urlencoded,
)
from .lazy import lazy
from .multipart import MultipartParser, UploadedFile, close_files

if TYPE_CHECKING:
    from .body_stream import BodyStream
    from .route import Route

NO_HEADERS = Headers()  # Nobody can change it, so all messages without any share it.


class Home:
    """What a request asks of the app that it belongs to; of one made by hand, all of its app."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.tasks = TaskQueue(config.task_queue_limit)


class Caller(Protocol):
    """The client that sent a message, as far as its request may ask things of it. Any thread."""

    def subscribe(self, name: str, since: Any, info: Any) -> None:
        """Let the client hear a topic."""

    def unsubscribe(self, name: str) -> None:
        """Let the client hear a topic no more."""


class Request(Scope):
    """What HTTPRequest and TCPRequest share. Owned by the thread that handles it.

    `request.anything = value` works: middlewares leave things there. `gone` turns True when
    the client has left; a long handler may look at it (Q8).
    """

    protocol: str
    method: str
    path: str
    path_params: dict[str, Any]
    headers: Headers
    body: bytes
    # Who asked, and who is at the other end of the connection: behind a proxy two. (host, port)
    client_address: tuple[str, int]
    peer_address: tuple[str, int]
    app: Home
    route: Route
    started = inf  # time.monotonic() when it was whole.
    gone = False
    # The reactor gives it up, where nobody waits for it any more; the thread of the handler begins.
    is_abandoned = False
    has_begun = False
    has_returned = False  # The handler has: what its stream adds to `bg` need not wait for it.
    # Of a tuple that the handler returned (M5).
    response_status = 200
    response_headers: Any = None
    # What has become of its answer: an error has replaced it, once its middlewares had begun to
    # see it; the generator of its handler has begun; its client was told of a handler_timeout.
    is_replaced = False
    keeps_answer = False  # From here on a layer may add fields, and not put another in its place.
    stream_has_begun = False
    has_timed_out = False
    held: Any = None  # A response whose generator is to be begun before anything is sent.
    error_code: str | None = None  # Of an error of ours, for programs: a TCP answer has it.
    # How many middlewares process_request was called of.
    entered = 0
    # Whether `bg`, or uploads, were asked for. (To look into __dict__ would cost each request
    # the making of one: since 3.11 an object has none until then.)
    has_bg = False
    has_files = False
    caller: Caller | None = None  # Of a TCP message: the connection that it came by.

    @property
    def config(self) -> Config:
        """The settings of its server."""
        return self.app.config

    @property
    def json_default(self) -> Callable[[Any], Any] | None:
        """The setting of this name of its server."""
        return self.app.config.json_default

    def subscribe(self, topic: str, since: Any = None, info: Any = None) -> None:
        """Let this client hear a topic, or with a `*` at the end all that begin so.

        since: the "id" of the last message it has: what came after it is sent first; 0 for
        all that is kept. info: any JSON value, for the topic's members. It takes effect
        before the answer to this message is sent. Any thread that works for this request.

        Raises HTTPError 400 for a bad name and on a connection that ends with its answer
        (tcp_keep_alive is off), 413 for an info that is too long, 429 over max_subscriptions
        or max_waiting_hooks, 503 over max_topics; and TypeError for an HTTP request: a browser
        hears a topic by a response, ``EventStream(topic)``.
        """
        self._connection("subscribe").subscribe(topic, since, info)

    def unsubscribe(self, topic: str) -> None:
        """Let this client hear a topic no more. Raises as `subscribe` does."""
        self._connection("unsubscribe").unsubscribe(topic)

    def _connection(self, what: str) -> Caller:
        if self.caller is None:
            raise TypeError(
                f"an HTTP request cannot {what}: return EventStream(topic) from the handler"
            )
        return self.caller

    def close(self) -> None:
        """Give back what the request holds."""

    def forget(self) -> None:
        """Give up what the client sent: nobody will handle it."""
        self.headers = NO_HEADERS

    @lazy
    def client_id(self) -> str:
        """The client's address as "host:port": the id that `push_message` takes (T8)."""
        return id_of(self.client_address)

    @property
    def connection_id(self) -> str:
        """The id of the connection that it came by, for `server.why` and in the log: "host:port".

        The `client_id`, but where a middleware has put another client in its place: then it is
        the proxy's, and what one proxy passes on of many clients has the same one.
        """
        return id_of(self.peer_address)

    @lazy
    def bg(self) -> BackgroundTasks:
        """Background tasks that run after the handler has returned: `bg.add(function, ...)`."""
        self.has_bg = True
        return BackgroundTasks(self.app.tasks, self, self.has_returned)

    @lazy
    def text(self) -> str:
        """The body as text, in the charset of its Content-Type; never raises.

        UTF-8 where it names none, or none of the list in `pyliteflux.charsets`.
        """
        return to_text(self.body, charset_of(self.headers.get("content-type") or ""))

    if not TYPE_CHECKING:  # Who checks types knows what there is.

        def __getattr__(self, name):
            """Reached only for what a request does not have: say our word for it."""
            raise missing(self, name, REQUEST)

    def __repr__(self) -> str:
        # For log lines: the path is decoded and the client's, a line end in it would forge one.
        return f"<{type(self).__name__} {self.method} {escape(self.path)}>"


class HTTPRequest(Request):
    """One HTTP request."""

    protocol = "http"
    # Of a route with stream=True: the body as it arrives (body_stream.py).
    stream: BodyStream | None = None
    is_secure = False  # A trusted proxy may say otherwise.
    # What a trusted proxy took off the path: "/app" where it passes /app/users on as /users.
    root_path = ""
    _body = b""

    def __init__(
        self,
        method: str = "GET",
        target: str = "/",
        headers: Headers | None = None,
        body: bytes = b"",
        client_address: tuple[str, int] = ("", 0),
        path: str | None = None,
        query: str | None = None,
        host: str = "",
        version: tuple[int, int] = (1, 1),
        path_params: dict[str, Any] | None = None,
        app: Home | None = None,
    ) -> None:
        """target: path and query, percent-encoded; path and query: the same, already cut."""
        if path is None or query is None:
            path, _, query = target.partition("?")
        self.method = method
        self.target = target
        self.raw_path = path
        self.path = unquote(path) if "%" in path else path
        self.query_string = query
        self.headers = Headers() if headers is None else headers
        if body:
            self._body = body
        self.client_address = self.peer_address = client_address
        self.host = host
        self.version = version
        self.path_params = {} if path_params is None else path_params
        self.app = Home(Config()) if app is None else app
        # As in the class. But every request is asked for them, and its own are found faster.
        self.response_status = 200
        self.response_headers = self.context = self._request_id = None
        self.entered = 0
        self.has_bg = self.has_files = False

    @property
    def body(self) -> bytes:
        """The whole body. Of a streamed one, all that has not been read yet."""
        if self.stream is not None:
            self._body += self.stream.read()
        return self._body

    @body.setter
    def body(self, value: bytes) -> None:
        self._body = value

    @lazy
    def query_params(self) -> MultiDict[str]:
        """The query as a dict: first value of a repeated key, `getlist` for all (Q1)."""
        return parse_urlencoded(self.query_string, self.app.config.max_form_fields)

    @lazy
    def cookies(self) -> dict[str, str]:
        """The cookies the client sent."""
        return parse_cookies(self.headers.get("cookie") or "")

    def sign_cookie(self, name: str, value: str) -> str:
        """Return a value for `response.set_cookie` that the client can read but not forge.

        Signed with the setting secret_key; raises ConfigError where it is empty.
        """
        return Signer(self.config.secret_key).sign(name, value, int(time.time()))

    def signed_cookie(self, name: str, max_age: int | None = None) -> str | None:
        """Return the value that `sign_cookie` was given; None where it is missing or forged.

        max_age: seconds after which it is not accepted any more, None for ever.
        """
        signed = self.cookies.get(name)
        if signed is None:
            return None
        signer = Signer(self.config.secret_key)
        return signer.unsign(name, signed, int(time.time()), max_age)

    @lazy
    def content_type(self) -> str:
        """The media type of the body in lower case, without parameters; "" if not given."""
        return media_type_of(self.headers.get("content-type") or "")

    @lazy
    def json_data(self) -> Any:
        """The body as JSON; None where it is not of that type or there is none (Q3).

        Raises HTTPError 400 where it says that it is JSON and is not.
        """
        if not is_json_type(self.content_type):
            return None
        body = self.body
        if not body:
            return None
        try:
            return loads(body)
        except ValueError as error:
            raise HTTPError(400, f"the body is not valid JSON: {error}") from None

    @lazy
    def form_data(self) -> MultiDict[str]:
        """The text fields of a form, urlencoded or multipart (Q2). Raises HTTPError 400, 413."""
        if self.content_type == "application/x-www-form-urlencoded":
            charset = charset_of(self.headers.get("content-type") or "")
            return parse_form(self.body, self.config.max_form_fields, charset)
        return self._multipart[0]

    @lazy
    def files(self) -> MultiDict[UploadedFile]:
        """The uploaded files of a multipart form, by field name. Raises HTTPError 400, 413."""
        return self._multipart[1]

    @lazy
    def _multipart(self) -> tuple[MultiDict[str], MultiDict[UploadedFile]]:
        if self.content_type != "multipart/form-data":
            return MultiDict(), MultiDict()
        if self.stream is None and not self._body:
            return MultiDict(), MultiDict()  # As of JSON: what is not there is not broken.
        parameters = content_type_of(self.headers.get("content-type") or "")[1]
        boundary = parameters.get("boundary", "").encode("latin-1", "replace")
        parser = MultipartParser(boundary, FormLimits.from_config(self.config))
        try:
            if self.stream is not None:
                for piece in self.stream:
                    parser.feed(piece)
            else:
                parser.feed(self._body)
            parsed = parser.finish()
            self.has_files = True
            return parsed
        except BaseException:
            parser.close()
            raise

    def forget(self) -> None:
        """Give up what the client sent: nobody will handle it."""
        super().forget()
        self._body = b""

    def close(self) -> None:
        """Give back what the request holds: the temporary files of uploads."""
        parsed = self.__dict__.get("_multipart")
        if parsed is not None:
            close_files(parsed[1])

    @property
    def scheme(self) -> str:
        """ "https" where a trusted proxy says so, else "http"."""
        return "https" if self.is_secure else "http"

    @property
    def url(self) -> str:
        """The whole URL, as the client would write it: the target URI of RFC 9112 section 3.3.

        What a trusted proxy has said of scheme, host and prefix is in it. Its host is the word
        of the client, or of the proxy.
        """
        target, path = self.target, self.raw_path
        scheme = "https" if target[:6].lower() == "https:" else self.scheme
        query = target[target.find("?") :] if "?" in target else ""  # No authority has one.
        return f"{scheme}://{self.host}{self.root_path}{'' if path == '*' else path}{query}"


def _command(request: TCPRequest) -> str:
    """The command."""
    return request.command


def _nothing(request: TCPRequest) -> dict[str, Any]:
    """Empty: a command has no parameters but its data."""
    return {}


def _no_fields(request: TCPRequest) -> MultiDict[Any]:
    """Empty."""
    return MultiDict()


class TCPRequest(Request):
    """One TCP message. It has the names of an HTTP request, those that it lacks empty (Q5).

    command: what chose the handler, "" of a binary message. data: any JSON value, a dict of XML
    children, the rest of a line, or the bytes of a binary message. data_type: "json", "xml",
    "raw" or "binary". raw: the message as it came, in bytes.
    """

    protocol = "tcp"
    method = "TCP"
    query_string = ""

    def __init__(
        self,
        command: str,
        data: Any = None,
        data_type: str = "raw",
        raw: bytes = b"",
        headers: Headers | None = None,
        client_address: tuple[str, int] = ("", 0),
        app: Home | None = None,
        message_id: Any = None,
    ) -> None:
        self.command = self.path = command
        self.data = data
        self.data_type = data_type
        self.raw = self.body = raw
        self.headers = Headers() if headers is None else headers
        self.client_address = self.peer_address = client_address
        self.app = Home(Config()) if app is None else app
        self.message_id = message_id  # Echoed in the answer where the message gave one.
        # How to cut what follows, once this is answered without an error.
        self.new_framing: Any = None
        self.wants_close = False  # The handler answered with Connection: close.
        self.wrap: Any = None  # What the connection's framing does to an answer; None: nothing.
        # The class has these too, but up to 3.11 the interpreter is slow to find them there.
        self.response_status = 200
        self.response_headers = self.context = self.error_code = None
        self.entered = 0
        self.has_bg = False

    def forget(self) -> None:
        """Give up what the client sent: nobody will handle it."""
        super().forget()
        self.data = None
        self.raw = self.body = b""

    raw_path = lazy(_command)
    target = lazy(_command)
    path_params = lazy(_nothing)
    cookies = lazy(_nothing)
    query_params = lazy(_no_fields)
    form_data = lazy(_no_fields)
    files = lazy(_no_fields)

    @property
    def json_data(self) -> Any:
        """The data of a JSON message, else None."""
        return self.data if self.data_type == "json" else None


def is_json_type(media_type: str) -> bool:
    """Tell whether a media type is JSON: application/json, or anything +json (RFC 6839)."""
    return media_type == "application/json" or media_type.endswith("+json")
