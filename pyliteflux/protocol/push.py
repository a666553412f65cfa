"""What the server says without being asked: pushes, messages of a topic, notices.

The rule: encoded once, however many clients there are (P4). The bytes are made by the thread
that pushes; the other formats are derived from them when the first client needs one, so that
a message cannot change after it was pushed.

Chapter: docs/topics.md.
"""

from __future__ import annotations

from typing import Any

from ..jsontext import Default, dumps, loads
from ..xmltext import xml_document
from .http_response import encode_chunk
from .message import Wrap


class Announcement:
    """One JSON object with a "type", as bytes, for any number of clients. Any thread.

    json: the object and LF. default: the setting json_default.
    Raises TypeError or ValueError at once for a value that JSON cannot write.
    """

    __slots__ = ("_event", "_event_chunk", "_wrapped", "_xml", "id", "json")

    def __init__(self, type: str, default: Default | None = None, **fields: Any) -> None:
        self.json = dumps({"type": type, **fields}, default) + b"\n"
        self.id: str = fields.get("id", "")
        self._xml: bytes | None = None
        self._event: bytes | None = None
        self._event_chunk: bytes | None = None
        self._wrapped: dict[tuple[Wrap, bool], bytes | BaseException] | None = None

    @property
    def xml(self) -> bytes:
        """``<type field="...">data</type>`` and LF, built when first asked for.

        "data", or where there is none whatever is not a plain value, becomes content; the
        rest attributes. Never raises. What is nested too deeply for elements is written as
        its JSON text.
        """
        if self._xml is None:
            # From the bytes, not from the message: its owner may have changed it since.
            try:
                fields = loads(self.json)
            except ValueError:
                type = self.json[10 : self.json.index(b'"', 10)].decode()  # {"type": "push"...
                self._xml = xml_document(type, self.json.decode().rstrip("\n"))
            else:
                type = fields.pop("type")
                if "data" in fields:
                    content = fields.pop("data")
                else:
                    deep = [
                        name for name, value in fields.items() if isinstance(value, (dict, list))
                    ]
                    content = {name: fields.pop(name) for name in deep} or None
                self._xml = xml_document(type, content, fields)
        return self._xml  # Two threads may both build it, and build the same.

    def wrapped(self, wrap: Wrap, is_xml: bool) -> bytes | BaseException:
        """The object, or its document, as a framing sends it; or what its `wrap` has raised.

        Both are kept: what a framing cannot write for one client it cannot write for the next.
        """
        known = self._wrapped
        if known is None:
            known = self._wrapped = {}
        data = known.get((wrap, is_xml))
        if data is None:
            try:
                data = wrap((self.xml if is_xml else self.json)[:-1])
                if not isinstance(data, bytes):
                    raise TypeError(f"wrap returned {type(data).__name__}; it has to return bytes")
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                data = error
            known[wrap, is_xml] = data
        return data

    @property
    def event(self) -> bytes:
        """The object as a server-sent event (HTML standard, section 9.2), with its id if any.

        A browser that reconnects says the last id it has seen.
        """
        if self._event is None:
            id_line = b"id: %b\n" % self.id.encode() if self.id else b""
            self._event = b"%bdata: %b\n" % (id_line, self.json)
        return self._event

    @property
    def event_chunk(self) -> bytes:
        """The event as one chunk of a chunked response."""
        if self._event_chunk is None:
            self._event_chunk = encode_chunk(self.event)
        return self._event_chunk


class PushFrame(Announcement):
    """A pushed message: ``{"type": "push", "data": message}`` and LF (P3).

    ack: the id that the client is to acknowledge.
    """

    __slots__ = ()

    def __init__(
        self, message: Any, ack: str | None = None, default: Default | None = None
    ) -> None:
        if ack is None:
            super().__init__("push", default, data=message)
        else:
            super().__init__("push", default, ack=ack, data=message)


class TopicFrame(Announcement):
    """A message of a topic: ``{"type": "push", "topic": ..., "seq": ..., "id": ..., "data": ...}``.

    data: the message as JSON, encoded by the thread that published it. What comes before it
    is known only when its place in the topic is, so it is put in front here, on the reactor.
    encoded: the topic as JSON.
    """

    __slots__ = ("position", "seq", "topic")

    def __init__(
        self, topic: str, encoded: bytes, seq: int, position: int, id: str, data: bytes
    ) -> None:
        self.topic = topic
        self.seq = seq
        self.position = position
        self.id = id
        self.json = b'{"type": "push", "topic": %b, "seq": %d, "id": "%b", "data": %b}\n' % (
            encoded,
            seq,
            id.encode(),
            data,
        )
        self._xml = self._event = self._event_chunk = self._wrapped = None
