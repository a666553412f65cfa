"""Every setting, in one table: name, type, default, what is allowed, unit, and the reason for it.

`Config` reads like plain attributes (a hot path pays for a dict look-up, nothing more) and
checks on every assignment, so a wrong setting stops at the line that is wrong.
The table in README.md is generated from `SETTINGS`.

Chapter: docs/running.md.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from . import otherwords
from .errors import ConfigError

KIB = 1024
MIB = 1024 * 1024

# How a TCP stream can be cut into messages, beside a way of the user's own.
FRAMINGS = ("auto", "line", "json", "xml", "length")
# What a server, a route or a middleware may be for.
PROTOCOLS = ("http", "tcp", "both")
# What may be done about a client that is over its limit (push/push_queue.py).
DISCONNECT, DROP_OLDEST = "disconnect", "drop_oldest"
DROP_NEWEST, LATEST = "drop_newest", "latest"
POLICIES = (DISCONNECT, DROP_OLDEST, DROP_NEWEST, LATEST)


class Setting(NamedTuple):
    """One row of the table. check: returns the value to keep, or None where it is not allowed.

    A default of None is allowed as it is.
    """

    default: Any
    check: Callable[[Any], Any]
    allowed: str
    reason: str


def _text(value: Any) -> Any:
    return value if isinstance(value, str) and "\0" not in value else None


def _port(value: Any) -> Any:
    return value if type(value) is int and 0 <= value <= 65535 else None


def _flag(value: Any) -> Any:
    return value if type(value) is bool else None


def _count(value: Any) -> Any:
    return value if type(value) is int and value >= 1 else None


def _count_or_off(value: Any) -> Any:
    return value if type(value) is int and value >= 0 else None


def _number(value: Any) -> bool:
    return type(value) in (int, float) and value == value and value != float("inf")


def _seconds(value: Any) -> Any:
    return value if _number(value) and value > 0 else None


def _seconds_or_off(value: Any) -> Any:
    return value if _number(value) and value >= 0 else None


def _one_of(*choices: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        return value if value in choices else None

    return check


def _framing(value: Any) -> Any:
    return value if callable(value) or value in FRAMINGS else None


def _function(value: Any) -> Any:
    return value if callable(value) else None


def _names(value: Any) -> Any:
    """A list or tuple of str, kept as a tuple."""
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return tuple(value)
    return None


def _secret(value: Any) -> Any:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else None


def _secrets(value: Any) -> Any:
    """One, or a list of them, kept as a tuple of bytes. None of several is empty."""
    if isinstance(value, (list, tuple)):
        secrets = tuple(_secret(item) for item in value)
        return secrets if secrets and all(secrets) else None
    return _secret(value)


def _row(default: Any, check: Callable[[Any], Any], allowed: str, reason: str) -> Any:
    """Make a row of the table. To a type checker it is the value that an instance holds."""
    return Setting(default, check, allowed, reason)


_BYTES = "a number of bytes from 1"
_COUNT = "a whole number from 1"
_COUNT_OFF = "a whole number, 0 for no limit"
_SECONDS = "seconds, more than 0"
_SECONDS_OFF = "seconds, 0 for no limit"
_FLAG = "True or False"
_HOST = "a host name or address"


class Config:
    """The settings of one server. Set them before `run`; any thread may read.

    Raises ConfigError where a name does not exist (with the nearest one that does) or a
    value is not allowed.
    """

    # Where to listen.
    http_host: str = _row(
        "127.0.0.1", _text, _HOST, "address of the HTTP port; localhost is IPv4 and IPv6"
    )
    http_port: int = _row(8000, _port, "0 to 65535", "HTTP port; 0 takes a free one")
    tcp_host: str = _row(
        "127.0.0.1", _text, _HOST, "address of the TCP port; localhost is IPv4 and IPv6"
    )
    tcp_port: int = _row(8001, _port, "0 to 65535", "TCP port; 0 takes a free one")
    reuse_port: bool = _row(False, _flag, _FLAG, "SO_REUSEPORT: several processes share the ports")
    backlog: int = _row(1024, _count, _COUNT, "connections the kernel holds until we accept them")
    # How it shows itself.
    info: bool = _row(True, _flag, _FLAG, "the framework's own console lines")
    access_log: bool = _row(True, _flag, _FLAG, "a console line for each request, with info")
    log_queue_limit: int = _row(
        10_000,
        _count,
        _COUNT,
        "log lines that wait to be written; over it they are dropped, with a count",
    )
    debug: bool = _row(
        False, _flag, _FLAG, "development only: tracebacks to the client, thread checks"
    )
    trace: bool = _row(False, _flag, _FLAG, "print each hop of a request: thread, module, what")
    log_colors: str = _row(
        "auto",
        _one_of("auto", "always", "never"),
        "auto, always or never",
        "colours in console lines; auto: on a terminal only",
    )
    # Connections.
    max_connections: int = _row(
        10000,
        _count,
        _COUNT,
        "open connections of both protocols, a tenth kept for each; over it a 503 and close",
    )
    max_connections_per_ip: int = _row(
        0, _count_or_off, _COUNT_OFF, "open connections of one address"
    )
    closed_connections_kept: int = _row(
        1000, _count_or_off, "a whole number", "stories of closed connections, for server.why"
    )
    max_accepts: int = _row(64, _count, _COUNT, "connections accepted in one turn")
    accept_pause: float = _row(
        0.1, _seconds, _SECONDS, "pause of accepting when descriptors ran out"
    )
    recv_size: int = _row(64 * KIB, _count, _BYTES, "read from one connection in one turn")
    loop_budget_ms: int = _row(5, _count, "milliseconds from 1", "work for one connection a turn")
    slow_callback_ms: int = _row(
        100, _count, "milliseconds from 1", "a turn longer than this is logged, with its stack"
    )
    slow_handler_ms: int = _row(
        10000,
        _count_or_off,
        "milliseconds, 0 for no limit",
        "a handler that takes longer is logged, with its stack",
    )
    write_high_water: int = _row(
        256 * KIB, _count, _BYTES, "unsent bytes at which we stop reading and producing"
    )
    write_low_water: int = _row(64 * KIB, _count, _BYTES, "unsent bytes at which we go on")
    kernel_unsent_limit: int = _row(
        128 * KIB,
        _count_or_off,
        "a number of bytes, 0 for the kernel's own limit",
        "what the kernel may hold of one connection and has not sent yet; the rest waits here",
    )
    send_timeout: float = _row(
        30.0, _seconds, _SECONDS, "a peer that takes no byte for so long is reset"
    )
    linger_timeout: float = _row(
        2.0, _seconds, _SECONDS, "wait after our FIN, so that the peer can read the last answer"
    )
    shutdown_timeout: float = _row(10.0, _seconds_or_off, "seconds", "grace for what is under way")
    # HTTP.
    header_timeout: float = _row(
        10.0, _seconds, _SECONDS, "a whole request head, from its first byte"
    )
    body_timeout: float = _row(20.0, _seconds, _SECONDS, "without a byte of the body")
    min_body_rate: int = _row(
        256,
        _count_or_off,
        "bytes per second, 0 for no limit",
        "average of a body after the first body_timeout seconds",
    )
    keep_alive_timeout: float = _row(30.0, _seconds, _SECONDS, "a kept connection between requests")
    keep_alive_requests: int = _row(0, _count_or_off, _COUNT_OFF, "requests of one connection")
    max_request_line: int = _row(8 * KIB, _count, _BYTES, "the request line; over it a 414")
    max_header_size: int = _row(32 * KIB, _count, _BYTES, "the whole head; over it a 431")
    max_headers: int = _row(100, _count, _COUNT, "fields of a head; over it a 431")
    max_body_size: int = _row(10 * MIB, _count_or_off, "a number of bytes", "a body; over it a 413")
    max_buffered_bodies: int = _row(
        256 * MIB,
        _count_or_off,
        "a number of bytes, 0 for no limit",
        "all bodies in memory together, over it a 503 to the one that takes longest; as much "
        "again for large TCP messages, which wait",
    )
    max_chunk_line: int = _row(
        256, _count, _BYTES, "a chunk's size line with its extensions; over it a 400"
    )
    handler_timeout: float = _row(
        0.0, _seconds_or_off, _SECONDS_OFF, "a handler's time; over it a 504 and a logged stack"
    )
    stream_step_timeout: float = _row(
        0.0, _seconds_or_off, _SECONDS_OFF, "one step of a generator; over it the stream is cut"
    )
    static_follow_symlinks: bool = _row(
        False, _flag, _FLAG, "serve files that a link leads to outside of the directory"
    )
    # Forms and uploads.
    max_form_fields: int = _row(1000, _count, _COUNT, "fields of a form; over it a 413")
    max_form_parts: int = _row(1000, _count, _COUNT, "parts of a multipart body; over it a 413")
    max_form_memory: int = _row(
        MIB, _count, _BYTES, "text fields of a multipart body; over it a 413"
    )
    max_part_headers: int = _row(16, _count, _COUNT, "header fields of a part; over it a 413")
    max_part_header_size: int = _row(8 * KIB, _count, _BYTES, "headers of a part; over it a 413")
    upload_memory: int = _row(
        256 * KIB, _count, _BYTES, "an uploaded file kept in memory; a larger one is on disk"
    )
    # TCP.
    tcp_keep_alive: bool = _row(False, _flag, _FLAG, "long-lived TCP connections, needed for push")
    so_keepalive: bool = _row(True, _flag, _FLAG, "the kernel probes silent long-lived peers")
    tcp_idle_timeout: float = _row(
        0.0, _seconds_or_off, _SECONDS_OFF, "a long-lived TCP connection without a message"
    )
    tcp_message_timeout: float = _row(
        30.0, _seconds, _SECONDS, "a TCP message, from its first byte to its last"
    )
    tcp_framing: str | Callable[..., Any] = _row(
        "auto",
        _framing,
        "auto, line, json, xml, length or a callable that makes a framer",
        "what ends a message: its own format, or 4 bytes of length before it",
    )
    tcp_max_message: int = _row(MIB, _count, _BYTES, "one TCP message; over it an error and close")
    tcp_max_depth: int = _row(64, _count, _COUNT, "nesting of a JSON or XML message")
    tcp_send_limit: int = _row(MIB, _count, _BYTES, "pushes waiting for one client")
    slow_client_policy: str = _row(
        DISCONNECT,
        _one_of(*POLICIES),
        "disconnect, drop_oldest, drop_newest or latest",
        "what happens to a client over tcp_send_limit, to a topic's browser over event_buffer",
    )
    tcp_ping_interval: float = _row(
        0.0,
        _seconds_or_off,
        "seconds, 0 for no pings",
        "a JSON client that is silent so long is pinged, and cut after as long again",
    )
    ack_timeout: float = _row(30.0, _seconds, _SECONDS, "a client's time to acknowledge a push")
    max_pending_acks: int = _row(
        1000, _count, _COUNT, "pushes that one client has not acknowledged; over it PoolFull"
    )
    push_backlog: int = _row(
        100000, _count, _COUNT, "pushes on their way to the reactor; over it PoolFull"
    )
    push_backlog_bytes: int = _row(
        64 * MIB, _count, _BYTES, "the same pushes in bytes; one alone is always taken"
    )
    # Topics.
    topic_history: int = _row(100, _count_or_off, "a whole number", "messages kept of each topic")
    topic_history_bytes: int = _row(MIB, _count, _BYTES, "messages kept of each topic, in bytes")
    topic_history_total: int = _row(
        64 * MIB,
        _count,
        _BYTES,
        "messages kept of all topics together; over it those of the quietest go",
    )
    topic_history_seconds: float = _row(
        300.0, _seconds, _SECONDS, "a topic without subscribers or messages is forgotten"
    )
    max_topics: int = _row(
        10000,
        _count,
        _COUNT,
        "topics kept; over it those quiet for longest are forgotten, or a 503",
    )
    presence_list_bytes: int = _row(
        64 * KIB,
        _count_or_off,
        "a number of bytes",
        "members that a newcomer to a topic with presence is told, as JSON; the count tells of all",
    )
    max_subscriptions: int = _row(100, _count, _COUNT, "topics of one client; over it a 429")
    max_waiting_hooks: int = _row(
        1000, _count, _COUNT, "on_join and on_leave calls of one client that wait; over it a 429"
    )
    # Workers.
    worker_threads: int = _row(64, _count, _COUNT, "threads for handlers, started by need")
    worker_queue_limit: int = _row(
        0,
        _count_or_off,
        "a whole number, 0 for max_connections",
        "requests waiting for a thread; over it a 503, while a TCP message waits",
    )
    worker_queue_timeout: float = _row(
        5.0,
        _seconds_or_off,
        _SECONDS_OFF,
        "a 503 while the request at the front has waited longer: the threads do not keep up",
    )
    stream_workers: int = _row(64, _count, _COUNT, "threads for streams' generators")
    cleanup_workers: int = _row(
        16, _count, _COUNT, "threads for on_finish, hooks and what is given back"
    )
    task_workers: int = _row(5, _count, _COUNT, "threads for background tasks")
    task_queue_limit: int = _row(100000, _count, _COUNT, "background tasks waiting")
    # Values, server-sent events and cookies.
    json_default: Callable[[Any], Any] | None = _row(
        None,
        _function,
        "a function, or None",
        "what is written for a value that JSON cannot write, a date, a set and the like aside",
    )
    heartbeat: float = _row(15.0, _seconds, _SECONDS, "a comment on a silent EventStream")
    event_buffer: int = _row(
        256 * KIB,
        _count,
        _BYTES,
        "events waiting for one client; over it it is cut, but see slow_client_policy",
    )
    secret_key: bytes | tuple[bytes, ...] = _row(
        b"",
        _secrets,
        "bytes or str, or a list of them",
        "signs cookies; of a list the first signs, all are read; empty: they are refused",
    )

    def __init__(self, **settings: Any) -> None:
        values = self.__dict__
        for name, setting in SETTINGS.items():
            values[name] = setting.default
        self.update(**settings)

    def update(self, **settings: Any) -> None:
        """Change several settings; if one is wrong, none is changed."""
        checked = {name: _checked(name, value) for name, value in settings.items()}
        self.__dict__.update(checked)

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = _checked(name, value)

    def __getattr__(self, name: str) -> Any:
        # Only reached for what the instance does not hold: an unknown name.
        if name.startswith("__"):
            raise AttributeError(name)  # copy and pickle probe for these
        raise ConfigError(_unknown(name))

    def __delattr__(self, name: str) -> None:
        raise ConfigError(f"setting {name!r} cannot be deleted")

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self.__dict__.items())

    def __repr__(self) -> str:
        changed = ", ".join(
            f"{name}={value!r}" if name != "secret_key" else "secret_key=..."
            for name, value in self
            if value != SETTINGS[name].default
        )
        return f"Config({changed})"


SETTINGS: dict[str, Setting] = {
    name: row for name, row in vars(Config).items() if isinstance(row, Setting)
}


def _checked(name: str, value: Any) -> Any:
    setting = SETTINGS.get(name)
    if setting is None:
        raise ConfigError(_unknown(name))
    kept = setting.check(value)
    if kept is None and value is not setting.default:  # One default is None.
        # Errors end up in logs: of a secret they show what kind of thing it is.
        shown = f"<{type(value).__name__}>" if name == "secret_key" else repr(value)
        raise ConfigError(f"{name} = {shown} is not allowed: it takes {setting.allowed}")
    return kept


def _unknown(name: str) -> str:
    ours = otherwords.SETTINGS.get(name)
    near = difflib.get_close_matches(name, SETTINGS, n=1)
    if ours is not None:
        hint = f": {ours} here"
    else:
        hint = f", did you mean {near[0]!r}?" if near else ""
    return f"there is no setting {name!r}{hint}"
