"""``python -m pyliteflux``: run a server from the command line, or talk to one.

    python -m pyliteflux app.py              run the Server that app.py makes
    python -m pyliteflux package.module:name the one that is called name
    python -m pyliteflux                     a small page that says that it works
    python -m pyliteflux call ...            ask a TCP server (client/commands.py)
    python -m pyliteflux listen ...          hear what it pushes

Chapter: docs/running.md.
"""

from __future__ import annotations

import argparse
import importlib
import runpy
import sys
from pathlib import Path
from typing import Any

from . import ConfigError, HTMLResponse, Server, __version__
from .app.routing import Router
from .client.commands import COMMANDS
from .client.commands import main as talk
from .config import SETTINGS


def main(arguments: list[str] | None = None) -> int:
    """Run; return the exit status: 0 after a graceful stop, 1 where it could not start."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in COMMANDS:
        return talk(arguments)
    parser = argparse.ArgumentParser(
        prog="python -m pyliteflux",
        description="Run an HTTP and TCP server.",
        epilog="Or talk to one: python -m pyliteflux call --help, or listen --help",
    )
    parser.add_argument("target", nargs="?", help="app.py, or package.module:server")
    parser.add_argument("--protocol", choices=("both", "http", "tcp"), default="both")
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a setting, such as http_port=9000; may be repeated",
    )
    parser.add_argument("--version", action="version", version=f"PyLiteFlux {__version__}")
    options = parser.parse_args(arguments)
    try:
        settings = dict(_setting(text) for text in options.set)
        server = _find(options.target) if options.target else _welcome()
        server.run(options.protocol, **settings)
    except (ConfigError, OSError, ImportError) as error:
        print(f"pyliteflux: {error}", file=sys.stderr)
        return 1
    return 0


def _setting(text: str) -> tuple[str, Any]:
    """Return NAME=VALUE as a setting, the value in the type of its default."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set takes NAME=VALUE, not {text!r}")
    default = SETTINGS[name].default if name in SETTINGS else value
    if isinstance(default, bool):
        flags = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        return name, flags.get(value.lower(), value)
    try:
        return name, type(default)(value) if isinstance(default, (int, float)) else value
    except ValueError:
        return name, value  # The check of the setting says what it takes.


def _find(target: str) -> Server:
    """Return the Server that a file or a module makes."""
    module, _, name = target.partition(":")
    names: dict[str, Any]
    if module.endswith(".py"):
        path = Path(module).resolve()
        sys.path.insert(0, str(path.parent))
        names = runpy.run_path(str(path), run_name="__pyliteflux__")
    else:
        sys.path.insert(0, "")
        names = vars(importlib.import_module(module))
    found = {key: value for key, value in names.items() if isinstance(value, Server)}
    if name:
        if name not in found:
            raise ConfigError(f"{module} has no Server named {name!r}")
        return found[name]
    if len(found) != 1:
        known = ", ".join(found) or "none"
        raise ConfigError(f"{module} must make exactly one Server, or name it: {known}")
    return next(iter(found.values()))


def _welcome() -> Server:
    router = Router()

    @router.register("/")
    def welcome(request: Any) -> Any:
        return HTMLResponse("<!doctype html><title>PyLiteFlux</title><h1>It works.</h1>")

    @router.register("ping", protocol="tcp")
    def ping(request: Any) -> Any:
        return "pong"

    return Server(router)


if __name__ == "__main__":
    sys.exit(main())
