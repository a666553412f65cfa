"""A framer of one's own in twenty lines, and a command that changes the framing on the way."""

import socket

from pyliteflux import BufferedFramer, Frame, FrameTooLong, ProtocolError, Router, Server


class Netstrings(BufferedFramer):
    """``5:hello,`` as D. J. Bernstein wrote it down in 1997."""

    def cut(self):
        colon = self.find(b":")
        digits = bytes(self.buffer[:colon] if colon >= 0 else self.buffer)
        if not digits.isdigit() or len(digits) > 9:
            raise ProtocolError("a netstring begins with its length and a colon")
        if colon < 0:
            return None
        if int(digits) > self.limit:
            raise FrameTooLong(f"a netstring of {int(digits)} bytes, limit {self.limit}")
        end = colon + 1 + int(digits)
        if len(self.buffer) <= end:
            return None
        message = self.take(end + 1)
        if not message.endswith(b","):
            raise ProtocolError("a netstring ends with a comma")
        return Frame("binary", message[colon + 1 : -1])

    def wrap(self, data):
        return b"%d:%b," % (len(data), data)


router = Router()
memory = {}


@router.register("*", protocol="tcp", blocking=False)
def store(request):
    """b"key=value" stores, b"key" asks."""
    key, is_new, value = request.raw.partition(b"=")
    if not is_new:
        return memory.get(key, b"")
    memory[key] = value  # None is returned: to a binary message that is no answer at all.


@router.register("upgrade", protocol="tcp", framing="length")
def upgrade(request):
    return "from here on, lengths"


def talk(title, questions, **settings):
    print(title)
    server = Server(router, http_port=0, tcp_port=0, info=False, tcp_keep_alive=True, **settings)
    with server, socket.create_connection(server.tcp_address, timeout=10) as client:
        for question in questions:
            print("    >", question)
        client.sendall(b"".join(questions))
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answers:
            print("    <", answers.read())


talk("netstrings", [b"9:a=\x00,\n\xff,:3,", b"1:a,", b"4:what,"], tcp_framing=Netstrings)
talk("a stream that is none", [b"1:a,", b"GET / HTTP/1.1\r\n"], tcp_framing=Netstrings)
talk("first lines, then lengths", [b"upgrade\n", b"\0\0\0\1a", b'\0\0\0\x10{"command": "a"}'])
