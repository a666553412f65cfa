"""`app.ranges`: which bytes a Range asks for. RFC 9110 section 14, CVE-2025-62727."""

from __future__ import annotations

import unittest

from pyliteflux.app.ranges import MAX_PARTS, parse_range

SIZE = 1000


def found(text: str, size: int = SIZE) -> list[tuple[int, int]] | None:
    ranges = parse_range(text, size)
    return None if ranges is None else [tuple(item) for item in ranges]


class Ranges(unittest.TestCase):
    def test_satisfiable_ranges(self) -> None:
        table = {
            "bytes=0-0": [(0, 1)],
            "bytes=0-499": [(0, 500)],
            "bytes=500-999": [(500, 500)],
            "bytes=500-": [(500, 500)],
            "bytes=0-": [(0, 1000)],
            "bytes=999-": [(999, 1)],
            "bytes=-1": [(999, 1)],
            "bytes=-1000": [(0, 1000)],
            "bytes=-5000": [(0, 1000)],
            "bytes=900-5000": [(900, 100)],
            "bytes=900-" + "9" * 5000: [(900, 100)],
            "bytes=0000000000000000000000001-2": [(1, 2)],
            "BYTES=1-2": [(1, 2)],
            "bytes= 1-2": [(1, 2)],
            "bytes=1-2,4-5": [(1, 2), (4, 2)],
            "bytes=4-5 ,\t1-2,": [(4, 2), (1, 2)],
            "bytes=-1,0-0": [(999, 1), (0, 1)],
            # What lies beyond the end is left out where something else does not.
            "bytes=0-0,1000-": [(0, 1)],
            "bytes=-0,1-1": [(1, 1)],
        }
        for text, ranges in table.items():
            with self.subTest(text[:60]):
                self.assertEqual(found(text), ranges)

    def test_ranges_beyond_the_end_are_told_so(self) -> None:
        for text in ("bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=2000-,1000-1001"):
            with self.subTest(text):
                self.assertEqual(parse_range(text, SIZE), [])
        self.assertEqual(parse_range("bytes=" + "9" * 5000 + "-", SIZE), [])

    def test_what_cannot_be_read_is_ignored(self) -> None:
        for text in (
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=2-1",
            "bytes=--1",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=0x1-2",
            "bytes=1 -2",
            "bytes=\u0661-2",
            "bytes=0-0,x",
            "bytes=0-1, bytes=4-5",
            "items=0-1",
            "=0-1",
        ):
            with self.subTest(text):
                self.assertIsNone(found(text))

    def test_overlapping_ranges_are_ignored(self) -> None:
        for text in ("bytes=0-10,10-20", "bytes=0-,0-", "bytes=-5,990-", "bytes=5-6,0-9"):
            with self.subTest(text):
                self.assertIsNone(found(text))
        self.assertEqual(found("bytes=0-9,10-19"), [(0, 10), (10, 10)])

    def test_more_parts_than_the_limit_are_ignored(self) -> None:
        parts = [f"{at * 2}-{at * 2}" for at in range(MAX_PARTS + 1)]
        self.assertEqual(len(found("bytes=" + ",".join(parts[:-1])) or ()), MAX_PARTS)
        self.assertIsNone(found("bytes=" + ",".join(parts)))

    def test_a_range_of_an_empty_file_is_ignored(self) -> None:
        for text in ("bytes=0-", "bytes=-5", "bytes=0-0"):
            self.assertIsNone(found(text, 0))

    def test_a_hostile_field_is_read_in_linear_time(self) -> None:
        # Were it quadratic, these would take minutes.
        for text in ("bytes=" + "0-0," * 250_000, "bytes=" + "1" * 1_000_000, "=" * 1_000_000):
            self.assertIsNone(found(text))
        self.assertIsNone(found("bytes=" + "-" * 1_000_000))
        self.assertIsNone(found("bytes=" + " " * 1_000_000 + "-"))


if __name__ == "__main__":
    unittest.main()
