"""Checks of stage 01: accept, recv, sendall, and the end."""

import threading
import time

BREAKS = "sticky"

BYTE = "an echo sends back each piece when it comes; it does not wait for more, or for the end"
BYTES = "bytes are not text: an echo neither decodes nor changes them"
TALK = "one recv() is one piece of the talk and not all of it: recv() again until it gives b''"
PAUSE = "a client may think for a while: silence is not the end, only b'' is"
SIZES = "a piece that just fills a buffer, or is shorter than one, says nothing about the end"
MEGABYTE = "what was received has to be sent whole: send() may take a part, sendall() takes all"
END = "recv() gives b'' when the client has finished; then the server closes too"
NEXT = "when one client has gone the server goes back to accept()"
SILENT = "a client may go without a word: the first recv() gives b''"
RESET = "a client that vanishes makes recv() or send() raise an OSError; only its own talk ends"
RESTS = "a server with nobody there has to sleep in accept() or recv(), not ask again and again"


def check_byte(server):
    """one byte comes back"""
    with server.connect() as client:
        client.send(b"a")
        client.expect(b"a", BYTE)


def check_end(server):
    """FIN is answered with FIN"""
    with server.connect() as client:
        client.send(b"bye")
        client.finish()
        got = client.read(3)
        client.expect_end(END)
        if got != b"bye":
            client.expect(b"bye", END)


def check_silent(server):
    """a client that goes without a word"""
    server.connect().close()
    with server.connect() as client:
        client.send(b"still here?")
        client.expect(b"still here?", SILENT)


def check_next(server):
    """three clients, one after the other"""
    for word in (b"one", b"two", b"three"):
        with server.connect() as client:
            client.send(word)
            client.expect(word, NEXT)


def check_talk(server):
    """several pieces, each when the last one is back"""
    with server.connect() as client:
        for piece in (b"hello\n", b"x", b"how are you?", b"\n", b"quit", b"b" * 5000, b"bye", b"x"):
            client.send(piece)
            client.expect(piece, TALK)


def check_bytes(server):
    """all 256 kinds of bytes come back"""
    with server.connect() as client:
        client.send(bytes(range(256)))
        client.expect(bytes(range(256)), BYTES)
        for piece in (b"\0", b"\0a\0", b" \t a \n\n", b"\r\n", b"\xff\xfe", b"\x1a", b"\x04"):
            client.send(piece)
            client.expect(piece, BYTES)


def check_pause(server):
    """a client that says nothing for two seconds, and then goes on"""
    with server.connect() as client:
        client.send(b"wait")
        client.expect(b"wait", PAUSE)
        time.sleep(2)
        client.send(b"here I am")
        client.expect(b"here I am", PAUSE)


def check_sizes(server):
    """pieces as long as a buffer, one less, one more"""
    with server.connect() as client:
        for size in (1, 512, 1024, 2048, 4096, 8192, 65536):
            for length in (size - 1, size, size + 1):
                if length:
                    client.send(b"s" * length)
                    client.expect(b"s" * length, SIZES)


def check_megabyte(server):
    """eight megabytes, of which nothing is read for a while"""
    data = bytes(range(256)) * 32768
    with server.connect(small_buffer=True) as client:
        sender = threading.Thread(target=client.send, args=(data,))
        sender.start()
        time.sleep(0.2)
        try:
            client.expect(data, MEGABYTE)
        finally:
            client.sock.settimeout(0.1)
            sender.join()


def check_reset(server):
    """a client that vanishes in the middle"""
    with server.connect() as client:
        client.send(b"ab", b"")
        client.reset()
    with server.connect() as client:
        client.send(b"still here?")
        client.expect(b"still here?", RESET)


def check_rests(server):
    """nobody there: the server sleeps"""
    server.must_rest(RESTS)
    with server.connect() as client:
        client.send(b"a", b"")
        server.must_rest(RESTS)
