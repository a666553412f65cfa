"""The least that asyncio can do: a Protocol, lines of JSON, a table of commands.

No framing but lines, no limits, no errors sent: what a framework adds is not in this figure.
Variant `uvloop` runs the same code on uvloop.
"""

import asyncio
import json
import sys

from . import announce

clients = set()


def echo(data):
    return data


def subscribe(data):
    return {"message": "subscribed"}


def broadcast(data):
    frame = json.dumps({"type": "push", "data": data}).encode() + b"\n"
    for client in clients:
        client.write(frame)
    return {"count": len(clients)}


COMMANDS = {"echo": echo, "subscribe": subscribe, "broadcast": broadcast}


class Commands(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.buffer = b""
        clients.add(transport)

    def connection_lost(self, error):
        clients.discard(self.transport)

    def data_received(self, data):
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            answer = COMMANDS[message["command"]](message.get("data"))
            self.transport.write(json.dumps(answer).encode() + b"\n")


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Commands, "127.0.0.1", 0, backlog=1024)
    announce(0, server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:] == ["uvloop"]:
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
