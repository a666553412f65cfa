"""Flask on gunicorn, one worker. Variants: `sync` (no keep-alive) and `gthread` (4 threads)."""

import sys

from gunicorn.app.base import BaseApplication

from . import announce, listening_socket
from .flask_app import app


class Application(BaseApplication):
    """Gunicorn without its command line."""

    def __init__(self, settings):
        self.settings = settings
        super().__init__()

    def load_config(self):
        for name, value in self.settings.items():
            self.cfg.set(name, value)

    def load(self):
        return app


if __name__ == "__main__":
    listener = listening_socket()
    announce(listener.getsockname()[1])
    Application(
        {
            "bind": f"fd://{listener.fileno()}",
            "workers": 1,
            "worker_class": sys.argv[1],
            "threads": 4 if sys.argv[1] == "gthread" else 1,
            "loglevel": "warning",
        }
    ).run()
