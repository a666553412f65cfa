"""One file of 26 letters, asked for in many ways."""

import http.client
import os
import tempfile
from pathlib import Path

from pyliteflux import FileResponse, Router, Server

router = Router()


def ask(server, what, show=(), **fields):
    connection = http.client.HTTPConnection(*server.http_address, timeout=10)
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    connection.request("GET", "/letters", headers=headers)
    response = connection.getresponse()
    body = response.read().decode()
    boundary = response.headers.get_param("boundary")
    if boundary:
        body = body.replace(boundary, "BOUNDARY").strip()  # Another one each time.
    print(what)
    print("   ", response.status)
    for name in show:
        print(f"    {name}: {str(response.headers[name]).replace(str(boundary), 'BOUNDARY')}")
    if response.status < 300:
        for line in body.split("\r\n"):
            print(f"    {line}".rstrip())
    connection.close()


with tempfile.TemporaryDirectory() as name:
    path = Path(name, "letters.txt")
    path.write_text("abcdefghijklmnopqrstuvwxyz")
    os.utime(path, (1_000_000_000, 1_000_000_000))  # A fixed date, so that its tag is fixed.
    router.get("/letters")(lambda request: FileResponse(path))
    with Server(router, http_port=0, tcp_port=0, info=False) as server:
        ask(server, "nothing special", ("ETag", "Last-Modified", "Accept-Ranges"))
        tag = '"de0b6b3a7640000-1a"'
        ask(server, f"If-None-Match: {tag}", If_None_Match=tag)
        ask(server, 'If-Match: "another"', If_Match='"another"')
        ask(server, "Range: bytes=0-2", ("Content-Range",), Range="bytes=0-2")
        ask(server, "Range: bytes=-3", ("Content-Range",), Range="bytes=-3")
        ask(server, "Range: bytes=24-99", ("Content-Range",), Range="bytes=24-99")
        ask(server, "Range: bytes=26-", ("Content-Range",), Range="bytes=26-")
        ask(server, "Range: bytes=nonsense", Range="bytes=nonsense")
        ask(server, "Range: bytes=0-20,5-25  (they overlap)", Range="bytes=0-20,5-25")
        ask(server, f"Range: bytes=3-, If-Range: {tag}", Range="bytes=3-", If_Range=tag)
        path.write_text("ABCDEFGHIJKLMNOPQRSTUVWXYZ")  # A new version.
        ask(server, "the same, but the file has changed", Range="bytes=3-", If_Range=tag)
        ask(server, "Range: bytes=0-1,24-25", ("Content-Type",), Range="bytes=0-1,24-25")
