"""Why a connection ended: one word for each cause, spoken by everybody who ends one.

Chapter: docs/why-it-closed.md.
"""

from __future__ import annotations

from .word import Word


class CloseReason(Word):
    """Why a connection ended: for the log, the statistics and `server.why`.

    Where several things happened it is the first, the cause: who breaks the protocol and is
    reset for not reading our answer has broken the protocol.
    """

    DONE = "the conversation was over"
    PEER_CLOSED = "the peer closed"
    PEER_RESET = "the peer reset the connection"
    PEER_GONE = "the peer's machine or network does not answer any more"
    PROTOCOL_ERROR = "the peer broke the protocol"
    TOO_LARGE = "a request or message was over a limit"
    IDLE_TIMEOUT = "nothing was asked for too long"
    EVICTED = "it was idle, and the server needed its place"
    READ_TIMEOUT = "a request or message did not arrive in time"
    HANDLER_TIMEOUT = "a handler did not return in time"
    SEND_TIMEOUT = "the peer took no bytes for too long"
    LINGER_TIMEOUT = "the peer did not close after our last answer"
    PING_TIMEOUT = "the client missed its heartbeats"
    DISCONNECTED = "the application ended it"
    REFUSED = "on_connect refused the client"
    SLOW_CLIENT = "the peer was too slow for what is pushed to it"
    STREAM_FAILED = "a stream failed before its end"
    BUSY = "the server had no room for it"
    SHUTDOWN = "the server was stopped"
    INTERNAL_ERROR = "an error of ours"
