"""Sticky packets and half packets, on a real connection; then the framer on the same bytes."""

import socket

from pyliteflux.protocol.framing import MessageFramer

MESSAGES = [
    b"ping\n",
    b'{"command": "set",\n "data": "a } in a string"}\n',
    b'<request command="get"><key>a &gt; b</key></request>\n',
]
ALL = b"".join(MESSAGES)


def wait_for(connection, count):
    """Return once so many bytes are here to be read; they stay."""
    connection.recv(count, socket.MSG_PEEK | socket.MSG_WAITALL)


with socket.create_server(("127.0.0.1", 0)) as listener:
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()

with client, server:
    print("sticky: three sends, one recv")
    for message in MESSAGES:
        client.sendall(message)
    wait_for(server, len(ALL))
    print("   ", server.recv(4096))

    print("half: one send that arrives in two pieces")
    client.sendall(MESSAGES[2][:31])
    wait_for(server, 31)
    print("   ", server.recv(4096))
    client.sendall(MESSAGES[2][31:])
    print("   ", server.recv(4096))


def frames(pieces):
    framer = MessageFramer()
    found = []
    for piece in pieces:
        framer.receive_data(piece)
        while (frame := framer.next_frame()) is not None:
            found.append(frame)
    return found


print("the framer, of the same bytes")
whole = frames([ALL])
for frame in whole:
    print(f"    {frame.data_type:5}{frame.data}")
cuts = [[ALL[:place], ALL[place:]] for place in range(1, len(ALL))]
print("    byte by byte the same:", frames([bytes([byte]) for byte in ALL]) == whole)
print(f"    cut at each of {len(cuts)} places the same:", all(frames(cut) == whole for cut in cuts))
