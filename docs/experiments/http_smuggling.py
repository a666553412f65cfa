"""One stream of bytes, three readers: two lax ones that disagree, and ours."""

from pyliteflux.errors import ProtocolError
from pyliteflux.protocol.http_connection import HttpConnection

HIDDEN = b"GET /admin HTTP/1.1\r\nHost: internal\r\n\r\n"
BODY = b"0\r\n\r\n" + HIDDEN
STREAM = b"POST /comment HTTP/1.1\r\nHost: example.org\r\n"
STREAM += b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(BODY)
STREAM += BODY


def read_lax(stream, believes):
    """Read requests as a forgiving server does. believes: the field that says how long."""
    requests = []
    while stream:
        head, _, stream = stream.partition(b"\r\n\r\n")
        request_line, *lines = head.decode().split("\r\n")
        fields = {}
        for line in lines:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        requests.append(request_line)
        if believes == "transfer-encoding" and believes in fields:
            size = -1
            while size != 0:
                size_line, _, stream = stream.partition(b"\r\n")
                size = int(size_line, 16)
                stream = stream[size + 2 :]
        else:
            stream = stream[int(fields.get("content-length", 0)) :]
    return requests


print("a proxy that believes Content-Length sees")
for request in read_lax(STREAM, "content-length"):
    print("   ", request)
print("a server that believes Transfer-Encoding sees")
for request in read_lax(STREAM, "transfer-encoding"):
    print("   ", request)

print("ours sees")
machine = HttpConnection()
machine.receive_data(STREAM)
for _ in range(2):
    try:
        print("   ", machine.next_event())
    except ProtocolError as error:
        print("   ", error.status, error)
print("    and has kept", machine.buffered, "bytes")
