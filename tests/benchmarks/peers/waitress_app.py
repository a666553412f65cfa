"""Flask or Bottle (the variant) on waitress, with its default of 4 threads."""

import logging
import sys

import waitress

from . import announce, listening_socket

if __name__ == "__main__":
    if sys.argv[1] == "flask":
        from .flask_app import app
    else:
        from .bottle_app import app
    # With more connections than threads it logs a line about its queue for every request.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    listener = listening_socket()
    announce(listener.getsockname()[1])
    waitress.create_server(app, sockets=[listener]).run()
