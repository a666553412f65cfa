"""Checks of stage 00: the runner works, and so does a server."""

BREAKS = "deaf"

SAYS = "the bytes on the wire are what is compared: letters, case and the line end"
CLOSES = "after its word the server says that nothing more will come: it closes the connection"
AGAIN = "a server serves one client after the other: what it does stands in a loop"


def check_listens(server):
    """it says where it listens, and takes a connection"""
    with server.connect() as client:
        client.read(1)


def check_says(server):
    """it says hello"""
    with server.connect() as client:
        client.expect(b"hello\n", SAYS)


def check_closes(server):
    """and then it says goodbye: FIN"""
    with server.connect() as client:
        client.read(6)
        client.expect_end(CLOSES)


def check_again(server):
    """the second and the third client are greeted too"""
    for _ in range(3):
        with server.connect() as client:
            client.expect(b"hello\n", AGAIN)
