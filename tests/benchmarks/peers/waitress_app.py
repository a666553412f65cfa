"""Flask or Bottle (the variant) on waitress, with its default of 4 threads."""

import logging
import sys

import waitress

from . import MOST_CONNECTIONS, announce, listening_socket

if __name__ == "__main__":
    if sys.argv[1] == "flask":
        from .flask_app import app
    else:
        from .bottle_app import app
    # With more connections than threads it logs a line about its queue for every request.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    listener = listening_socket()
    announce(listener.getsockname()[1])
    # Its default is to accept 100 connections and let all others wait unserved; thousands of them
    # need poll, as select sees 1024 descriptors at most.
    waitress.create_server(
        app, sockets=[listener], connection_limit=MOST_CONNECTIONS, asyncore_use_poll=True
    ).run()
