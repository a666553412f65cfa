"""Redis (C), keeping nothing on disk: publish and subscribe."""

import os

from . import announce, free_port, program

if __name__ == "__main__":
    redis = program("redis-server")
    port = free_port()
    announce(0, port)
    options = {"port": str(port), "bind": "127.0.0.1", "save": "", "appendonly": "no"}
    options |= {"logfile": os.devnull, "daemonize": "no", "protected-mode": "no"}
    os.execv(redis, [redis, *(word for name in options for word in (f"--{name}", options[name]))])
