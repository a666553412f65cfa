"""A session at the command line: call, listen, errors, a cut. Real processes, a real server."""

import re
import shlex
import subprocess
import sys
import time

from pyliteflux import Router, Server

router = Router()
server = Server(router, http_port=0, tcp_port=0, info=False, tcp_keep_alive=True)
server.allow_subscribe("room:*")


@router.register("add", protocol="tcp")
def add(request):
    return sum(request.data)


@router.register("say", protocol="tcp")
def say(request):
    server.publish("room:1", request.data)
    return {"said": request.data}


def start(line):
    print("$", line)
    arguments = shlex.split(line.rstrip(" &").replace(":8001", f":{server.tcp_address[1]}"))
    return subprocess.Popen(
        [sys.executable, *arguments[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=30)
    # A port and an epoch are other ones each time; here they are these.
    output = output.replace(f":{server.tcp_address[1]}", ":8001")
    print(re.sub(r'"[0-9a-f]{8}-(\d+)"', r'"3f9a2c51-\1"', output), end="")
    if process.returncode:
        print(f"(exit status {process.returncode})")


def run(line):
    finish(start("python -m pyliteflux " + line))


def wait_for_listener(but_not=()):
    while set(server.clients) <= set(but_not) or not server.topic("room:*").subscribers:
        time.sleep(0.01)
    return list(server.clients)


with server:
    run("call 127.0.0.1:8001 add '[1, 2, 3]'")
    run("call 127.0.0.1:8001 say 'is anybody there?'")
    run("call 127.0.0.1:8001 dance")
    run("listen 127.0.0.1:8001 secret")
    run("listen 127.0.0.1:8001 room:1 --since 0 --count 1")
    listener = start("python -m pyliteflux listen 127.0.0.1:8001 'room:*' --count 3 &")
    first = wait_for_listener()
    run("call 127.0.0.1:8001 say one")
    for client_id in first:
        server.disconnect(client_id, "an experiment")
    run("call 127.0.0.1:8001 say two")
    wait_for_listener(but_not=first)
    run("call 127.0.0.1:8001 say three")
    print("and the listener said:")
    finish(listener)
