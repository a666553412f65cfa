"""Who holds the reactor is logged with its stack, while it holds it."""

import http.client
import logging
import re
import threading
from pathlib import Path

from pyliteflux import Router, Server

HERE = str(Path(__file__).parent)
router = Router()
reported = threading.Event()
lines = []


@router.register("/hold", blocking=False)  # A promise not to block.
def hold(request):
    wait_for_something()
    return "done"


def wait_for_something():
    reported.wait(30)


def collect(record):
    if "has been held" in record.getMessage():
        lines.extend(record.getMessage().splitlines())
        reported.set()
    return False


logging.getLogger("pyliteflux.server").addFilter(collect)
with Server(router, http_port=0, tcp_port=0, info=False) as server:
    client = http.client.HTTPConnection(*server.http_address, timeout=30)
    client.request("GET", "/hold")
    client.getresponse().read()
    client.close()

print(re.sub("[0-9]+ ms", "... ms", lines[0]))
for line, code in zip(lines, lines[1:], strict=False):
    if HERE in line:
        print("  in", line.rpartition(" ")[2] + ":", code.strip())
