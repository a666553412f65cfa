"""Starlette on uvicorn. Variants: `h11` (pure Python), `fast` (httptools, uvloop), `fast-def`."""

import sys

import uvicorn

from . import announce, listening_socket
from .starlette_app import app, sync_app

if __name__ == "__main__":
    variant = sys.argv[1]
    config = uvicorn.Config(
        sync_app if variant == "fast-def" else app,
        http="h11" if variant == "h11" else "httptools",
        loop="asyncio" if variant == "h11" else "uvloop",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=75,  # Its 5 s would end idle connections while they are measured.
    )
    listener = listening_socket()
    announce(listener.getsockname()[1])
    uvicorn.Server(config).run(sockets=[listener])
