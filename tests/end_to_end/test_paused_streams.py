"""A stream whose credit is used up goes on, whenever the kernel takes what it produced (A2)."""

from __future__ import annotations

import threading
import unittest
from collections.abc import Iterator
from typing import Any

from pyliteflux import StreamResponse
from tests.support import ServerTestCase, wait_for, wait_until

JUST_OVER_THE_HIGH_WATERMARK = 256 * 1024 + 1  # The default is 256 KiB.


class PausedStreams(ServerTestCase):
    def test_a_stream_goes_on_where_one_turn_sees_both_its_piece_and_its_pause(self) -> None:
        """The pause finds no room, since the piece is flushed only at the end of the turn. If
        the kernel takes all of it then, there never was a congestion that could end."""
        asked, held = threading.Event(), threading.Event()

        @self.router.register("/stream")
        def stream(request: Any) -> StreamResponse:
            def pieces() -> Iterator[bytes]:
                asked.set()
                wait_for(held, "the reactor is held")
                yield b"x" * JUST_OVER_THE_HIGH_WATERMARK
                yield b"end"

            return StreamResponse(pieces(), content_type="application/octet-stream")

        @self.router.register("/hold", blocking=False)
        def hold(request: Any) -> dict[str, bool]:
            held.set()
            wait_until(lambda: streams.running == 0, "the worker has come back")
            return {"held": True}

        server = self.serve()
        streams = server._runtime.pools.streams
        client, other = self.connect(server), self.connect(server)
        client.send_request("GET", "/stream")
        wait_for(asked, "the stream has begun")
        other.get("/hold")
        self.assertEqual(client.read_response().body, b"x" * JUST_OVER_THE_HIGH_WATERMARK + b"end")


if __name__ == "__main__":
    unittest.main()
