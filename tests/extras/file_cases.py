"""A directory of files, a request for one of them, and what would be sent."""

from __future__ import annotations

import os
import shutil
import tempfile
import unittest
from pathlib import Path

from pyliteflux import FileResponse
from pyliteflux.app.request import HTTPRequest
from pyliteflux.filepiece import FilePiece
from pyliteflux.headers import Headers

CONTENT = bytes(range(256)) * 4


def request_for(
    method: str = "GET", target: str = "/", rest: str | None = None, **fields: str
) -> HTTPRequest:
    headers = Headers([(name.replace("_", "-"), value) for name, value in fields.items()])
    params = {} if rest is None else {"*": rest}
    return HTTPRequest(method, target, headers, path_params=params)


def content_of(response: FileResponse) -> bytes:
    """Return what the server would send, and close it as the server does."""
    pieces = [response.body]
    for segment in response.segments:
        if isinstance(segment, FilePiece):
            os.lseek(segment.fd, segment.offset, os.SEEK_SET)
            pieces.append(os.read(segment.fd, segment.count))
        else:
            pieces.append(segment)
    response.discard()
    return b"".join(pieces)


class DirectoryTestCase(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = Path(os.path.realpath(tempfile.mkdtemp(prefix="pyliteflux-test-")))
        self.addCleanup(shutil.rmtree, self.directory)

    def write(self, name: str, content: bytes = CONTENT) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path
