"""negotiation: who wants gzip (RFC 9110 section 12.5.3)."""

from __future__ import annotations

import unittest

from pyliteflux.extras.negotiation import accepts_gzip
from pyliteflux.headers import Headers


class Gzip(unittest.TestCase):
    def test_who_asks_for_it_gets_it(self) -> None:
        for field, wanted in (
            ("gzip", True), ("gzip, deflate, br, zstd", True), ("GZIP", True), ("x-gzip", True),
            ("*", True), ("br, *;q=0.1", True), ("gzip;q=0.5, identity;q=0.5", True),
            ("gzip;q=0.001", True), ("deflate\t,\tgzip ; q=1.000", True),
            ("", False), ("br", False), ("gzip;q=0", False), ("gzip;q=0.000", False),
            ("*;q=0", False), ("gzip;q=0, *", False), ("gzip;q=0.4, identity;q=0.5", False),
            ("identity", False), ("gzipped", False),
        ):  # fmt: skip
            with self.subTest(field):
                self.assertIs(accepts_gzip(Headers([("Accept-Encoding", field)])), wanted)

    def test_who_says_nothing_may_know_none(self) -> None:
        self.assertIs(accepts_gzip(Headers()), False)

    def test_a_quality_that_cannot_be_read_is_a_refusal(self) -> None:
        for quality in ("2", "-1", "0.1234", "1.001", "x", "", "nan", "0.5;x=1"):
            with self.subTest(quality):
                fields = Headers([("Accept-Encoding", f"gzip;q={quality}")])
                self.assertIs(accepts_gzip(fields), False)

    def test_what_stands_behind_many_others_is_not_looked_at(self) -> None:
        many = ",".join(["x"] * 32)
        self.assertIs(accepts_gzip(Headers([("Accept-Encoding", many + ",gzip")])), False)


if __name__ == "__main__":
    unittest.main()
