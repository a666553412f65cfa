"""The rare questions to a wire: what the kernel can do for a socket, and for nothing else."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import tempfile
import unittest
from types import SimpleNamespace
from typing import Any
from unittest import mock

from pyliteflux.filepiece import FilePiece
from pyliteflux.reactor import wire
from pyliteflux.why import CloseReason


class WireCase(unittest.TestCase):
    def setUp(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        self.client = socket.create_connection(listener.getsockname())
        self.addCleanup(self.client.close)
        self.sock, _ = listener.accept()
        self.addCleanup(self.sock.close)


class FilesAreSent(WireCase):
    def piece(self) -> FilePiece:
        file = tempfile.TemporaryFile(buffering=0)
        self.addCleanup(file.close)
        file.write(b"0123456789")
        piece = FilePiece(os.dup(file.fileno()), 2, 5)
        self.addCleanup(piece.close)
        return piece

    @unittest.skipUnless(hasattr(os, "sendfile"), "needs sendfile()")
    def test_by_the_kernel_into_a_socket(self) -> None:
        piece = self.piece()
        with mock.patch.object(os, "read", side_effect=AssertionError("by hand")):
            self.assertEqual(wire.send_file(self.sock, piece), 5)
        self.assertEqual((piece.offset, piece.count), (7, 0))
        self.assertEqual(self.client.recv(10), b"23456")

    def test_through_what_stands_in_for_a_socket(self) -> None:
        """Past it the kernel would send the file as it is: unencrypted, where it encrypts."""

        class Secret(socket.socket):
            pass

        for kind in (Secret, ssl.SSLSocket):
            stand_in: Any = mock.Mock(spec=kind)
            stand_in.fileno.return_value = self.sock.fileno()
            stand_in.send.side_effect = len
            with self.subTest(kind), mock.patch.object(os, "sendfile", create=True) as sendfile:
                self.assertEqual(wire.send_file(stand_in, self.piece()), 5)
                stand_in.send.assert_called_once_with(b"23456")
                sendfile.assert_not_called()

    def test_by_hand_where_the_system_has_no_sendfile(self) -> None:
        windows = SimpleNamespace(lseek=os.lseek, read=os.read, SEEK_SET=os.SEEK_SET)
        with mock.patch.object(wire, "os", windows):
            self.assertEqual(wire.send_file(self.sock, self.piece()), 5)
        self.assertEqual(self.client.recv(10), b"23456")

    def test_a_file_that_shrank_or_whose_disk_failed_is_told(self) -> None:
        piece = self.piece()
        piece.offset = 10
        with self.assertRaisesRegex(wire.FileFailed, "shrank"):
            wire.send_file(self.sock, piece)
        failed = OSError(errno.EIO, "Input/output error")
        for name in ("sendfile", "read"):
            kind: Any = self.sock if name == "sendfile" else mock.Mock()
            with mock.patch.object(os, name, side_effect=failed, create=True):
                with self.assertRaisesRegex(wire.FileFailed, "cannot be read"):
                    wire.send_file(kind, self.piece())


class WhatIsSentTogether(unittest.TestCase):
    def sent(self, unsent: list[Any], most: int) -> tuple[bytes, list[bytes]]:
        """Return what one call sends and what it leaves; the kernel takes `most` bytes."""
        took: list[bytes] = []

        def send(data: Any) -> int:
            took.append(bytes(data[:most]))
            return len(took[0])

        self.assertEqual(wire.send_front(mock.Mock(send=send), unsent), len(took[0]))
        return took[0], [bytes(piece) for piece in unsent]

    def test_small_pieces_leave_by_one_send(self) -> None:
        self.assertEqual(self.sent([b"ab", b"cd", b"ef"], 100), (b"abcdef", []))
        self.assertEqual(self.sent([b"ab", b"cd", b"ef"], 3), (b"abc", [b"def"]))

    def test_a_large_piece_leaves_alone_and_is_not_copied(self) -> None:
        large = b"x" * wire.GATHER
        self.assertEqual(self.sent([b"ab", large], 1 << 20), (b"ab", [large]))
        unsent: list[Any] = [large, b"ab"]
        self.sent(unsent, 10)
        self.assertIs(unsent[0].obj, large)


class WhatTheKernelSays(WireCase):
    @unittest.skipIf(wire.QUEUE_SIZE is None, "this system does not tell")
    def test_how_much_it_holds(self) -> None:
        server = self.sock
        self.assertEqual(wire.held_by_kernel(server), 0)
        server.setblocking(False)
        with self.assertRaises(BlockingIOError):
            while True:
                server.send(b"x" * 65536)
        self.assertGreater(wire.held_by_kernel(server), 0)

    def test_a_close_after_reset_on_close_is_an_error_for_the_peer(self) -> None:
        wire.reset_on_close(self.sock)
        self.sock.close()
        with self.assertRaises(ConnectionResetError):
            self.client.recv(1)
        wire.reset_on_close(self.sock)  # The peer has gone: no error of ours.

    def test_a_machine_that_does_not_answer_is_told_from_a_peer_that_resets(self) -> None:
        cases = (
            (errno.ETIMEDOUT, CloseReason.PEER_GONE),
            (errno.EHOSTUNREACH, CloseReason.PEER_GONE),
            (errno.ECONNRESET, CloseReason.PEER_RESET),
            (errno.EPIPE, CloseReason.PEER_RESET),
        )
        for number, reason in cases:
            self.assertIs(wire.cause_of(OSError(number, "")), reason)


if __name__ == "__main__":
    unittest.main()
