"""What `import pyliteflux` brings in, and that the first request has nothing left to bring.

A clock would tell another time on every machine, so these tests go by the names of modules.
Both run in an interpreter of their own that has loaded nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

# Of the standard library: none is needed to serve, and each takes its time, or memory, or brings
# in others that do. What a rare path needs of them it imports there.
HEAVY = {
    "argparse", "ast", "asyncio", "calendar", "concurrent", "configparser", "copy", "csv",
    "dataclasses", "decimal", "dis", "email", "fractions", "gettext", "gzip", "hashlib", "hmac",
    "html", "http.client", "http.cookies", "http.server", "importlib.metadata",
    "importlib.resources", "inspect", "locale", "multiprocessing", "optparse", "pathlib",
    "pickle", "pkgutil", "platform", "pprint", "queue", "random", "runpy", "secrets", "shutil",
    "socketserver", "sqlite3", "ssl", "statistics", "subprocess", "tempfile", "unittest",
    "urllib.request", "uuid", "xml.dom", "xml.etree", "xml.sax", "zipfile",
}  # fmt: skip

_IMPORT = """
import json, sys
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
import pyliteflux
print(json.dumps(sorted(set(sys.modules) - before)))
"""

# Each exchange is a first one: nothing of the kind was asked before.
_ASK = """
import json, socket, sys
sys.path.insert(0, sys.argv[1])
from pyliteflux import Router, Server

router = Router()
router.register("/inline", blocking=False)(lambda request: {"path": request.path})
router.register("/worker")(lambda request: {"q": request.query_params.get("q")})
router.register("/post", method="POST")(lambda request: request.json_data)
router.register("echo", protocol="tcp")(lambda request: request.data)

def ask(address, question):
    with socket.create_connection(address, timeout=20) as client:
        client.sendall(question)
        return client.recv(65536)

with Server(http_port=0, tcp_port=0, info=False, router=router) as server:
    before, late = set(sys.modules), {}
    for name, address, question, answer in (
        ("inline", server.http_address, b"GET /inline HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n", b" 200 "),
        ("worker", server.http_address, b"GET /worker?q=a+b HTTP/1.1\\r\\nHost: x\\r\\n"
            b"Cookie: a=1\\r\\nAccept: */*\\r\\n\\r\\n", b'{"q": "a b"}'),
        ("post", server.http_address, b"POST /post HTTP/1.1\\r\\nHost: x\\r\\n"
            b"Content-Type: application/json\\r\\nContent-Length: 2\\r\\n\\r\\n{}", b" 200 "),
        ("missing", server.http_address, b"GET /none HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n", b" 404 "),
        ("nonsense", server.http_address, b"\\x16\\x03\\x01\\r\\n\\r\\n", b" 400 "),
        ("json", server.tcp_address, b'{"command": "echo", "data": [1]}\\n', b"[1]"),
        ("line", server.tcp_address, b"echo hello\\n", b"hello"),
        ("xml", server.tcp_address, b'<request command="echo"><data>x</data></request>\\n', b">x<"),
    ):
        got = ask(address, question)
        assert answer in got, (name, got)
        late[name] = sorted(set(sys.modules) - before)
        before |= set(sys.modules)
print(json.dumps(late))
"""


def fresh(code: str) -> Any:
    """Run `code` where neither this suite nor any installed package was there before it."""
    command = [sys.executable, "-I", "-S", "-c", code, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/")
    if done.returncode or done.stderr:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout)


class WhatAnImportBringsIn(unittest.TestCase):
    def test_no_module_that_serving_does_not_need(self) -> None:
        brought = fresh(_IMPORT)
        self.assertIn("pyliteflux.server.server", brought)
        self.assertEqual([name for name in brought if name in HEAVY], [])

    def test_the_first_request_of_each_kind_imports_nothing(self) -> None:
        """It would wait for the disk, and fail where the process is out of descriptors."""
        for kind, late in fresh(_ASK).items():
            with self.subTest(kind):
                self.assertEqual(late, [])


if __name__ == "__main__":
    unittest.main()
