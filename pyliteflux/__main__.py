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
import traceback
from pathlib import Path
from typing import Any

from . import Config, ConfigError, HTMLResponse, Server, __version__
from .app.routing import Router
from .client.commands import COMMANDS, talk
from .config import PROTOCOLS, SETTINGS


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
    parser.add_argument("--protocol", choices=PROTOCOLS, help="both, if nothing else is said")
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
        said = dict(_setting(text) for text in options.set)
        if options.protocol:
            said["protocol"] = options.protocol
        Config(**{name: value for name, value in said.items() if name != "protocol"})
        # The options hold for a program that runs its server itself, too.
        Server._said_outside = said
        server = _find(_load(options.target), options.target) if options.target else _welcome()
        if server is not None:
            server.run()
    except _FailedProgram as failed:
        _show(failed.error)
        return 1
    except (ConfigError, OSError) as error:
        print(f"pyliteflux: {error}", file=sys.stderr)
        return 1
    finally:
        Server._said_outside = {}
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


class _FailedProgram(Exception):
    """The program that was to be run has raised this."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


def _load(target: str) -> dict[str, Any]:
    """Run a file or a module; return its names. Raises ConfigError where there is none."""
    module = target.partition(":")[0]
    if module.endswith(".py"):
        path = Path(module).resolve()
        if not path.is_file():
            raise ConfigError(f"there is no file {module}")
        sys.path.insert(0, str(path.parent))
        try:
            return runpy.run_path(str(path), run_name="__pyliteflux__")
        except Exception as error:
            raise _FailedProgram(error) from None
    sys.path.insert(0, "")
    try:
        return vars(importlib.import_module(module))
    except Exception as error:
        # The module itself, or a package that it is in; not one that it imports.
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            hint = ": a file is named with its .py" if Path(f"{module}.py").is_file() else ""
            raise ConfigError(f"there is no module {error.name}{hint}") from None
        raise _FailedProgram(error) from None


def _show(error: BaseException) -> None:
    """Print a traceback that begins in the program, not in what has run it."""
    trace = error.__traceback__
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


def _is_ours(file: str) -> bool:
    runners = (__file__, runpy.__file__, "<frozen runpy>", importlib.__file__)
    return file in runners or file.startswith("<frozen importlib")


def _find(names: dict[str, Any], target: str) -> Server | None:
    """Return the Server that a program makes; None where the program has run one itself."""
    module, _, name = target.partition(":")
    found = {key: value for key, value in names.items() if isinstance(value, Server)}
    if name:
        if name not in found:
            raise ConfigError(f"{module} has no Server named {name!r}")
        found = {name: found[name]}
    begun = [server for server in found.values() if server._has_run]
    for server in begun:
        if server.is_running:
            server.stop()
            raise ConfigError(
                f"{module} has started its server: leave that to the command line, "
                'or guard it by if __name__ == "__main__":'
            )
    if begun:
        return None
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
