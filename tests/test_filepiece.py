"""filepiece: a piece of a file owns its descriptor until it is closed, once."""

from __future__ import annotations

import os
import tempfile
import unittest

from pyliteflux.filepiece import FilePiece


class Pieces(unittest.TestCase):
    def setUp(self) -> None:
        self.file = tempfile.TemporaryFile()
        self.addCleanup(self.file.close)
        self.fd = os.dup(self.file.fileno())

    def test_its_length_is_what_is_left_of_it(self) -> None:
        piece = FilePiece(self.fd, 10, 30)
        self.addCleanup(piece.close)
        self.assertEqual(len(piece), 30)
        piece.offset, piece.count = 20, 20
        self.assertEqual(len(piece), 20)

    def test_it_closes_its_descriptor_and_never_another_that_has_the_number_since(self) -> None:
        piece = FilePiece(self.fd, 0, 1)
        piece.close()
        with self.assertRaises(OSError):
            os.fstat(self.fd)
        other = os.dup(self.file.fileno())
        self.addCleanup(os.close, other)
        self.assertEqual(other, self.fd, "the lowest free number is taken again")
        piece.close()
        os.fstat(other)


if __name__ == "__main__":
    unittest.main()
