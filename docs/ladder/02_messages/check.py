"""Checks of stage 02: a stream of bytes is not a row of messages."""

import time

from lab import Failure, needs_proc, tr

BREAKS = "idle_neighbour"

ONE = "a line ends with LF; a CR before it belongs to the end; the answer is the line reversed"
STICKY = "one recv() returned several lines, and each of them wants its answer"
HALF = "recv() returned a piece of a line, and your server took it for all of it"
WHOLE = "a line is answered as soon as it is whole, whatever else has come behind it"
BYTES = "a line may come in any number of pieces: keep what is there until its end has come"
CUT = "the same bytes mean the same, wherever they are cut; blank lines are passed over"
CHARACTERS = "a character may be cut as well: decode whole lines, not pieces; only LF ends a line"
SIZES = "what just fills a buffer is no end; neither is what is shorter"
PAUSE = "time is no end of a line either: the rest of it may come later"
TOTAL = "the limit is for one line: a connection may carry any number of them"
FINISH = "FIN ends the last line too; all that was asked is answered, then comes your FIN"
GARBAGE = "bytes that are no UTF-8 are no reason to end: nobody else may suffer from them"
RESET = "a client that vanishes in the middle of a line takes it along: nothing of it is left"
LIMIT = "a line of 65,536 bytes is answered; one more byte gets one line with the word error"
ENDLESS = "without a limit a client can fill your memory with a line that never ends"


def check_one(server):
    """one line, one answer"""
    for sent, answer in ((b"abc\n", b"cba\n"), (b"a b\r\n", b"b a\n")):
        with server.connect() as client:
            client.send(sent)
            client.expect(answer, ONE)


def check_sticky(server):
    """three lines in one send (sticky packets)"""
    with server.connect() as client:
        client.send(b"one\ntwo\nsix\n")
        client.expect(b"eno\nowt\nxis\n", STICKY)
        client.send(b"a1\r\nb2\n")
        client.expect(b"1a\n2b\n", STICKY)


def check_half(server):
    """half a line, then the rest (half packets)"""
    with server.connect() as client:
        client.send(b"ab", b"c\n")
        client.expect(b"cba\n", HALF)
        client.send(b"ab", b"c\nde", b"f\n")
        client.expect(b"cba\nfed\n", HALF)
        client.send(b"ab\ncd")
        client.expect(b"ba\n", WHOLE)
        client.send(b"e\n")
        client.expect(b"edc\n", HALF)


def check_bytes(server):
    """a byte at a time"""
    with server.connect() as client:
        client.send(*(bytes([byte]) for byte in b"hello, world\nbye\r\n"))
        client.expect(b"dlrow ,olleh\neyb\n", BYTES)


STREAMS = [
    (b"ab\n", b"ba\n"),
    (b"ab\r\n", b"ba\n"),
    (b"\nab\n", b"ba\n"),
    (b"\r\n\r\nab\r\n", b"ba\n"),
    (b"ab\ncd\n", b"ba\ndc\n"),
    (b"ab\r\ncd\r\n", b"ba\ndc\n"),
    (b"ab\n\r\ncd\n", b"ba\ndc\n"),
    (b"a\n\n\nb\r\nc\n", b"a\nb\nc\n"),
]


def check_every_cut(server):
    """eight streams, each cut in two at each place"""
    for stream, answer in STREAMS:
        with server.connect() as client:
            for place in range(1, len(stream)):
                client.send(stream[:place], stream[place:])
                client.expect(answer, CUT)


def check_characters(server):
    """characters of two, three and four bytes, cut in the middle"""
    for text in ("a\u00e9z", "\u4e2d\u6587!", "\U0001f600x", "a\u2028b\x0cc\x85d"):
        data = text.encode()
        with server.connect() as client:
            for place in range(1, len(data)):
                client.send(data[:place], data[place:] + b"\n")
                client.expect(text[::-1].encode() + b"\n", CHARACTERS)


def check_sizes(server):
    """lines about as long as a buffer"""
    with server.connect() as client:
        for size in (1024, 2048, 4096, 8192, 16384, 65536):
            for length in range(size - 3, size + 1):
                client.send(b"<" + b"s" * (length - 1) + b"\n")
                client.expect(b"s" * (length - 1) + b"<\n", SIZES)
                if length < 65536:
                    client.send(b"<" + b"s" * (length - 1), b">\n")
                    client.expect(b">" + b"s" * (length - 1) + b"<\n", SIZES)


def check_pause(server):
    """half a line, two seconds of silence, the other half"""
    with server.connect() as client:
        client.send(b"ab")
        time.sleep(2)
        client.send(b"c\n")
        client.expect(b"cba\n", PAUSE)


def check_total(server):
    """some thousand lines on one connection"""
    with server.connect() as client:
        for number in range(40):
            lines = [b"%02d:%02d:%s" % (number, index, b"t" * 60) for index in range(60)]
            client.send(b"\n".join(lines) + b"\n")
            client.expect(b"".join(line[::-1] + b"\n" for line in lines), TOTAL)


def check_finish(server):
    """a last line without its end, then FIN"""
    for sent, answer in ((b"abc\n", b"cba\n"), (b"abc\nde", b"cba\ned\n"), (b"x", b"x\n")):
        with server.connect() as client:
            client.send(sent)
            client.finish()
            client.expect_all(answer, FINISH)


def check_garbage(server):
    """bytes that are no UTF-8, then another client"""
    with server.connect() as client:
        client.send(b"a\xff\xfe\x80b\n", b"")
        client.read(4096, silence=0.1)
    with server.connect() as client:
        client.send(b"abc\n")
        client.expect(b"cba\n", GARBAGE)


def check_reset(server):
    """a client that vanishes in the middle of a line"""
    with server.connect() as client:
        client.send(b"12\nha", b"")
        client.reset()
    with server.connect() as client:
        client.send(b"abc\n")
        client.expect(b"cba\n", RESET)


def refused(server, sent, so):
    """Send what is over the limit: one line that says error, and the end."""
    with server.connect() as client:
        client.send(sent)
        got = client.read(4096)
        if b"error" not in got.lower() or got.count(b"\n") != 1 or client.ended == "<silence>":
            expected = tr("one line with the word error, then the end")
            raise Failure(so, expected, client.seen(got), client.sent)


def check_limit(server):
    """a line of 65,536 bytes, and one of 65,537"""
    with server.connect() as client:
        client.send(b"(" + b"m" * 65535 + b"\n")
        client.expect(b"m" * 65535 + b"(\n", LIMIT)
    refused(server, b"m" * 65537 + b"\nabc\n", LIMIT)
    refused(server, b"m" * 66000, LIMIT)
    with server.connect() as client:
        client.send(b"abc\n")
        client.expect(b"cba\n", LIMIT)


def check_endless(server):
    """64 megabytes of a line that does not end"""
    needs_proc()
    before = most = server.memory()
    with server.connect() as client:
        for _ in range(256):
            client.send(b"e" * (1 << 18), b"")
            most = max(most, server.memory())
            if client.is_refused or most > before + 32:
                break
    if most > before + 32:
        expected = tr("less than {} MiB more memory", 32)
        raise Failure(ENDLESS, expected, tr("{} MiB more", round(most - before)))
