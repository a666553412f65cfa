"""A directory with a secret beside it, and what one can try to get at it."""

import socket
import tempfile
from pathlib import Path

from pyliteflux import Router, Server

ATTEMPTS = [
    ("a page", "/files/page.html"),
    ("a link that stays inside", "/files/inner"),
    ("two dots", "/files/../secret.txt"),
    ("the same, encoded", "/files/%2e%2e/secret.txt"),
    ("its slash encoded", "/files/..%2fsecret.txt"),
    ("encoded twice", "/files/%252e%252e/secret.txt"),
    ("with backslashes", "/files/..%5csecret.txt"),
    ("an absolute path", "/files//etc/passwd"),
    ("the same, encoded", "/files/%2fetc/passwd"),
    ("a link that leads out", "/files/outer"),
    ("a neighbour whose name begins alike", "/files/../files-private/key"),
    ("a dot file", "/files/.env"),
    ("a NUL, to cut the name", "/files/page.html%00.png"),
    ("a device of Windows", "/files/NUL.txt"),
    ("a drive", "/files/C:/secret.txt"),
    ("a list of the directory", "/files/"),
]

with tempfile.TemporaryDirectory() as name:
    top = Path(name)
    files = top / "files"
    (top / "files-private").mkdir()
    files.mkdir()
    (files / "page.html").write_text("a page")
    (files / ".env").write_text("PASSWORD=secret")
    (top / "secret.txt").write_text("secret")
    (top / "files-private" / "key").write_text("secret")
    (files / "inner").symlink_to(files / "page.html")
    (files / "outer").symlink_to(top / "secret.txt")

    router = Router()
    server = Server(router, http_port=0, tcp_port=0, info=False)
    server.static("/files", files)
    with server:
        for what, target in ATTEMPTS:
            with socket.create_connection(server.http_address, timeout=10) as client:
                # By hand: a well-behaved client would tidy the path up before it asks.
                request = f"GET {target} HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n"
                client.sendall(request.encode())
                answer = b"".join(iter(lambda: client.recv(4096), b""))
            status = answer.split(b" ", 2)[1].decode()
            leak = "LEAKED" if b"secret" in answer.lower() else ""
            print(f"{status} {what:36}{target} {leak}".rstrip())
