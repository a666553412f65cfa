"""What is accepted and what is refused: cases of the test corpus, fed to the real machine."""

from pyliteflux.errors import ProtocolError
from pyliteflux.protocol.http_connection import NEED_DATA, HttpConnection
from pyliteflux.protocol.http_head import HttpLimits
from tests.protocol.http_corpus import BODY_LIMIT, CASES

SHOWN = """
the least request
two spaces after the method
an LF alone ends the request line
8 empty lines before each of two requests
9 empty lines before a request
the method b'BREW' is a token, but unknown
TRACE is not implemented
version 1.2 is read as 1.1
major version 2.0
a fragment
the path /%2F, encoded
the path b'/%zz', badly encoded
the host of an absolute target wins over Host
no Host in 1.1
two equal Hosts
a space before the colon
a folded line, with a space
every byte from 80 to FF in a value
the value holds the control 00
a coding and a length
the length b'+5'
CL.CL: the first or the last length
identity and a length
the coding b'gzip, chunked'
a coding in 1.0
a length over the limit, the body with it
a size of 16 digits
the size b'0x5'
two other bytes after a chunk
a last chunk cut short hides a request
a trailer is dropped
a trailer Host changes nothing
Expect: 100-continue with a length
Expect: more
an upgrade to h2c is not taken
a request line one byte over the limit
a head one byte over the limit
one field too many
chunks one byte over the limit
a whole request within a body
"""


def verdict(stream):
    """Return "read", or the status that refuses the stream."""
    machine = HttpConnection(HttpLimits(body=BODY_LIMIT))
    machine.receive_data(stream)
    machine.receive_eof()
    try:
        while True:
            event = machine.next_event()
            if event is NEED_DATA and machine.state.name == "CLOSED":
                return "read"
            if machine.state.name == "DONE":
                machine.start_next_cycle()
    except ProtocolError as error:
        return str(error.status)


known = {case.name: case for case in CASES}
for name in SHOWN.strip().splitlines():
    case = known[name]
    answer = verdict(case.data)
    assert answer in ({str(status) for status in case.refused} or {"read"}), (name, answer)
    print(f"{answer:6}{case.section:26}{name}")
