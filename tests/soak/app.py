"""The server under test, in a process of its own: `python -m tests.soak.app [SETTING=JSON ...]`.

Prints its two ports on one line, and serves until it is told to stop or its stdin ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from pyliteflux import EventStream, Router, Server, StreamResponse

router = Router()
server = Server(
    router, http_port=0, tcp_port=0, info=False, tcp_keep_alive=True, shutdown_timeout=2.0
)
server.allow_subscribe("soak:*")
hogged: list[int] = []  # Descriptors that the application keeps from the server.

BIG = b"b" * (50 * 1024 * 1024)


@router.register("/hello")
def hello(request: Any) -> dict[str, str]:
    return {"message": "hello"}


@router.register("/now", blocking=False)
def now(request: Any) -> dict[str, str]:
    return {"message": "hello from the reactor"}


@router.register("/big")
def big(request: Any) -> bytes:
    return BIG


@router.register("/stream")
def stream(request: Any) -> StreamResponse:
    size = int(request.query_params.get("size", 1_000_000))

    def pieces() -> Iterator[bytes]:
        for _ in range(0, size, 10_000):
            yield b"s" * 10_000

    return StreamResponse(pieces())


@router.register("/upload", "POST")
def upload(request: Any) -> dict[str, int]:
    return {"size": len(request.body)}


@router.register("/form", "POST")
def form(request: Any) -> dict[str, Any]:
    return {"fields": dict(request.form_data), "files": len(request.files)}


@router.register("/sleep/{seconds:float}")
def sleep(request: Any) -> str:
    time.sleep(request.path_params["seconds"])
    return "slept"


@router.register("/events")
def events(request: Any) -> EventStream:
    return EventStream("soak:events")


@router.register("/publish", "POST")
def publish(request: Any) -> dict[str, int]:
    return {"count": server.publish("soak:events", request.json_data)}


@router.register("/task")
def task(request: Any) -> str:
    request.bg.add(time.sleep, 0.001)
    return "added"


@router.register("/broadcast/{count:int}")
def broadcast(request: Any) -> dict[str, int]:
    """Push so many messages of 10 KB to all, as fast as one who reads can take them."""
    count = request.path_params["count"]
    for number in range(count):
        server.push_message({"n": number, "fill": "f" * 10_000})
        if number % 4 == 3:
            time.sleep(0.004)
    return {"count": count}


@router.register("/hog/{most:int}")
def hog(request: Any) -> dict[str, int]:
    """Open files until there are no more descriptors."""
    with contextlib.suppress(OSError):
        while len(hogged) < request.path_params["most"]:
            hogged.append(os.open(os.devnull, os.O_RDONLY))
    return {"hogged": len(hogged)}


@router.register("/release", blocking=False)
def release(request: Any) -> dict[str, int]:
    count = len(hogged)
    while hogged:
        os.close(hogged.pop())
    return {"released": count}


@router.register("/stats", blocking=False)
def stats(request: Any) -> dict[str, int]:
    return server.stats


@router.register("echo", protocol="tcp")
def echo(request: Any) -> Any:
    return {"echo": request.data}


@router.register("count", protocol="tcp")
def count(request: Any) -> Iterator[int]:
    yield from range(20)


def main() -> None:
    for argument in sys.argv[1:]:
        name, _, value = argument.partition("=")
        server.config.update(**{name: json.loads(value)})

    def tell() -> None:
        while not server.is_running:
            time.sleep(0.001)
        assert server.http_address is not None and server.tcp_address is not None
        print(server.http_address[1], server.tcp_address[1], flush=True)
        sys.stdin.read()  # Who started us has ended: so do we.
        server.stop()

    threading.Thread(target=tell, daemon=True).start()
    server.run()


if __name__ == "__main__":
    main()
