"""A directory of files as a handler: `StaticFiles`.

The rule: of a path that comes from a client nothing is believed. Its segments must be plain
names, and what they lead to, with all links followed, must lie below the directory.

Chapter: docs/files.md.
"""

from __future__ import annotations

import os
import re

from ..app.request import HTTPRequest
from ..app.response import HTTPResponse, RedirectResponse
from ..errors import HTTPError, RouteError
from .files import FileResponse
from .media_types import guess_type
from .negotiation import accepts_gzip


class _StaticFileResponse(FileResponse):
    """The path has been resolved: what is a link by now was put there in the meantime."""

    extra_flags = getattr(os, "O_NOFOLLOW", 0)


# Names that Windows takes for devices, in any directory and with any extension
# (CVE-2024-49766, CVE-2025-66221).
_DEVICES = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"}
_DEVICES |= {f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789¹²³"}
_UNSAFE = re.compile(r"[\x00\\]").search
_DRIVE = re.compile(r"[A-Za-z]:").match


class StaticFiles:
    """A handler that answers with the files below a directory. Register it for "prefix/*".

    directory: links in it may lead anywhere inside it, and nowhere else unless the setting
    static_follow_symlinks says so. index: the file that stands for a directory, None for none;
    directories are never listed. max_age: as of FileResponse. precompressed: where the client
    takes gzip and "name.gz" lies beside "name" and is not older, it is sent in its place.

    What a client may name: a file or a directory, in the spelling that the directory has. Not:
    "..", dot files, empty segments, NUL, backslashes, drives, devices; all of that is a 404.
    Raises RouteError where the directory does not exist. Worker threads: it reads the disk.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        index: str | None = "index.html",
        max_age: int | None = None,
        precompressed: bool = True,
    ) -> None:
        self.directory = os.path.abspath(os.fspath(directory))
        if not os.path.isdir(self.directory):
            raise RouteError(f"there is no directory {self.directory!r} to serve files from")
        self.index = index
        self.max_age = max_age
        self.precompressed = precompressed

    def __call__(self, request: HTTPRequest) -> HTTPResponse:
        """Answer one request; the rest of the path is in ``path_params["*"]``, decoded once."""
        rest = request.path_params.get("*", "")
        # Asked each time: where the directory is a link that a deployment moves on, the files
        # of its new target are served.
        root = os.path.realpath(self.directory)
        names, is_slash_form = _names_of(rest)
        path = _resolve(root, os.path.join(root, *names), request)
        if os.path.isdir(path):
            return self._answer_directory(request, root, path)
        if is_slash_form:
            raise HTTPError(404)  # "page.html/": relative links on it would be wrong.
        return self._answer_file(request, root, path)

    def _answer_directory(self, request: HTTPRequest, root: str, path: str) -> HTTPResponse:
        if self.index is None:
            raise HTTPError(404)
        index = _resolve(root, os.path.join(path, self.index), request)
        if not os.path.isfile(index):
            raise HTTPError(404)
        if request.raw_path.endswith("/"):
            return self._answer_file(request, root, index)
        # Relative links of the page need the slash. An empty first segment has been refused,
        # so this cannot begin with two slashes, which would be another host.
        query = f"?{request.query_string}" if request.query_string else ""
        return RedirectResponse(f"{request.root_path}{request.raw_path}/{query}", 301)

    def _answer_file(self, request: HTTPRequest, root: str, path: str) -> HTTPResponse:
        headers = {"X-Content-Type-Options": "nosniff"}
        content_type = guess_type(path)
        compressed = self._compressed(root, path, request)
        if compressed is not None:
            headers["Vary"] = "Accept-Encoding"  # Also where it is not taken.
            if accepts_gzip(request.headers):
                headers["Content-Encoding"] = "gzip"
                path = compressed
        try:
            return _StaticFileResponse(
                path, content_type=content_type, headers=headers, max_age=self.max_age
            )
        except PermissionError:
            raise HTTPError(404) from None  # Not for others; not a fault to fill the log with.

    def _compressed(self, root: str, path: str, request: HTTPRequest) -> str | None:
        """Return the path of an up-to-date compressed sibling, if there is one."""
        if not self.precompressed:
            return None
        sibling = path + ".gz"
        try:
            if os.stat(sibling).st_mtime_ns < os.stat(path).st_mtime_ns:
                return None  # Somebody has forgotten to compress the new version.
            sibling = _resolve(root, sibling, request)
        except (OSError, HTTPError):
            return None
        return sibling if os.path.isfile(sibling) else None

    def __repr__(self) -> str:
        return f"<StaticFiles {self.directory}>"


def _names_of(rest: str) -> tuple[list[str], bool]:
    """Return the segments of a path, and whether it ends in a slash. Raises HTTPError 404."""
    names = rest.split("/")
    is_slash_form = names[-1] == ""
    if is_slash_form:
        names.pop()
    for name in names:
        if not _is_plain(name):
            raise HTTPError(404)
    return names, is_slash_form


def _is_plain(name: str) -> bool:
    """Tell whether a segment names something in its directory, on every system."""
    if not name or name.startswith(".") or _UNSAFE(name) or _DRIVE(name):
        return False
    if name[-1] in ". " or (os.name == "nt" and ":" in name):
        return False  # Windows drops the former, and takes the latter for a hidden stream.
    return name.partition(".")[0].rstrip(" ").upper() not in _DEVICES


def _resolve(root: str, path: str, request: HTTPRequest) -> str:
    """Return a path with all links followed. Raises HTTPError 404 where it leaves the root.

    By commonpath: commonprefix takes "/static-private" for inside of "/static"
    (CVE-2023-29159). With static_follow_symlinks only a link leads out: a name cannot.
    """
    try:
        real = os.path.realpath(path)
        if os.path.commonpath((root, real)) == root or request.config.static_follow_symlinks:
            return real
    except (OSError, ValueError):
        pass  # Too long, a NUL, half a surrogate pair, another drive.
    raise HTTPError(404)
