"""Starlette on granian (Rust), ASGI, one worker process."""

from granian import Granian

from . import announce, free_port

if __name__ == "__main__":
    port = free_port()
    announce(port)
    Granian(
        "tests.benchmarks.peers.starlette_app:app",
        address="127.0.0.1",
        port=port,
        interface="asgi",
        workers=1,
        websockets=False,
        log_enabled=False,
        log_access=False,
    ).serve()
