"""frame: a message as bytes is equal to another one with the same bytes in the same format."""

from __future__ import annotations

import unittest

from pyliteflux import Frame


class Frames(unittest.TestCase):
    def test_two_with_the_same_bytes_and_format_are_one(self) -> None:
        frame = Frame("json", b"{}")
        for other in (Frame("json", b"{}"), Frame("json", b"{}", {})):
            self.assertEqual(frame, other)
            self.assertEqual(len({frame, other}), 1, "what was read of it is not it")
        for another in (Frame("raw", b"{}"), Frame("json", b"{ }"), ("json", b"{}"), b"{}"):
            self.assertNotEqual(frame, another)

    def test_it_shows_what_it_holds(self) -> None:
        self.assertEqual(repr(Frame("raw", b"a\x00")), "Frame('raw', b'a\\x00')")


if __name__ == "__main__":
    unittest.main()
