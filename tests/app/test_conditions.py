"""`app.conditions`: dates, entity tags and what they decide. RFC 9110 sections 5.6.7, 8.8, 13."""

from __future__ import annotations

import calendar
import time
import unittest

from pyliteflux.app.conditions import (
    Validators,
    failed_precondition,
    http_date,
    parse_etags,
    parse_http_date,
    range_is_current,
)
from pyliteflux.headers import Headers

MOMENT = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT: the example of the RFC.
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"
NOW = Validators('"now"', MOMENT, MOMENT + 100)


def check(method: str = "GET", current: Validators = NOW, **fields: str) -> int | None:
    pairs = [(name.replace("_", "-"), value) for name, value in fields.items()]
    return failed_precondition(method, Headers(pairs), current)


class Dates(unittest.TestCase):
    def test_the_three_forms_are_read(self) -> None:
        for text in (DATE, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"):
            with self.subTest(text):
                self.assertEqual(parse_http_date(text), MOMENT)

    def test_what_is_sent_can_be_read_back(self) -> None:
        for moment in (0, MOMENT, 2**31, 253402300799):
            self.assertEqual(parse_http_date(http_date(moment)), moment)

    def test_every_day_is_counted_as_the_calendar_module_counts_it(self) -> None:
        for year in (1, 1899, 1900, 1970, 1999, 2000, 2023, 2024, 9999):
            for number, month in enumerate(calendar.month_abbr[1:], 1):
                for day in (1, 28, 29, 30, 31):  # One too many is the next month's.
                    text = f"Sun, {day:02} {month} {year:04} 23:59:60 GMT"
                    moment = calendar.timegm((year, number, day, 23, 59, 60))
                    self.assertEqual(parse_http_date(text), moment, text)

    def test_a_year_of_two_digits_is_never_over_fifty_years_ahead(self) -> None:
        limit = time.gmtime().tm_year + 50
        for year in range(100):
            moment = parse_http_date(f"Sunday, 06-Nov-{year:02} 08:49:37 GMT")
            self.assertIsNotNone(moment)
            full = time.gmtime(moment).tm_year
            self.assertEqual(full % 100, year)
            self.assertLessEqual(full, limit)

    def test_anything_else_is_no_date(self) -> None:
        bad = [
            "",
            "0",
            "yesterday",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nox 1994 08:49:37 GMT",
            "Sun, 06 Nov 0000 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 0\u0666 Nov 1994 08:49:37 GMT",
            DATE + ", " + DATE,
        ]
        for text in bad:
            with self.subTest(text):
                self.assertIsNone(parse_http_date(text))


class Tags(unittest.TestCase):
    def test_lists_of_tags_are_read(self) -> None:
        table = {
            '"a"': ['"a"'],
            '"a", "b"': ['"a"', '"b"'],
            'W/"a","b" , ""': ['W/"a"', '"b"', '""'],
            ', ,"a",': ['"a"'],
            '"with,comma", "b"': ['"with,comma"', '"b"'],
        }
        for text, tags in table.items():
            with self.subTest(text):
                self.assertEqual(parse_etags(text), tags)

    def test_what_is_no_list_of_tags_is_none(self) -> None:
        for text in ("", "a", '"a', '"a" "b"', 'w/"a"', '"a"b', ",", '"a";', '*, "a"'):
            with self.subTest(text):
                self.assertIsNone(parse_etags(text))

    def test_a_hostile_list_is_read_in_linear_time(self) -> None:
        # Limits table "quadratic header parsing": counted in steps, not in seconds, by size:
        # were it quadratic, this would take minutes.
        self.assertIsNone(parse_etags('"' * 1_000_001 + "x"))
        self.assertIsNone(parse_etags(" ," * 1_000_000 + "x"))
        self.assertEqual(len(parse_etags('"a",' * 100_000) or ()), 100_000)


class Preconditions(unittest.TestCase):
    def test_without_conditions_nothing_fails(self) -> None:
        self.assertIsNone(check())

    def test_if_match_needs_the_same_strong_tag(self) -> None:
        self.assertIsNone(check(if_match='"now"'))
        self.assertIsNone(check(if_match='"old", "now"'))
        self.assertIsNone(check(if_match="*"))
        self.assertEqual(check(if_match='"old"'), 412)
        self.assertEqual(check(if_match='W/"now"'), 412)
        self.assertEqual(check(if_match="now"), 412)
        weak = Validators('W/"now"', MOMENT, MOMENT + 100)
        self.assertEqual(check(current=weak, if_match='W/"now"'), 412)

    def test_if_none_match_compares_weakly(self) -> None:
        for text in ('"now"', 'W/"now"', '"old", W/"now"', "*"):
            with self.subTest(text):
                self.assertEqual(check(if_none_match=text), 304)
                self.assertEqual(check("HEAD", if_none_match=text), 304)
        self.assertIsNone(check(if_none_match='"old"'))
        self.assertIsNone(check(if_none_match="now"))

    def test_if_unmodified_since_guards_against_change(self) -> None:
        self.assertIsNone(check(if_unmodified_since=DATE))
        self.assertIsNone(check(if_unmodified_since=LATER))
        self.assertEqual(check(if_unmodified_since=EARLIER), 412)
        self.assertIsNone(check(if_unmodified_since="no date"))

    def test_if_modified_since_saves_a_transfer(self) -> None:
        self.assertEqual(check(if_modified_since=DATE), 304)
        self.assertEqual(check(if_modified_since=LATER), 304)
        self.assertIsNone(check(if_modified_since=EARLIER))
        self.assertIsNone(check(if_modified_since="no date"))

    def test_a_tag_has_precedence_over_a_date(self) -> None:
        # RFC 9110 sections 13.1.3, 13.1.4.
        self.assertIsNone(check(if_none_match='"old"', if_modified_since=LATER))
        self.assertEqual(check(if_none_match='"now"', if_modified_since=EARLIER), 304)
        self.assertIsNone(check(if_match='"now"', if_unmodified_since=EARLIER))
        self.assertEqual(check(if_match='"old"', if_unmodified_since=LATER), 412)

    def test_guards_come_before_savings(self) -> None:
        # RFC 9110 section 13.2.2: steps 1 and 2 before 3 and 4.
        self.assertEqual(check(if_match='"old"', if_none_match='"now"'), 412)
        self.assertEqual(check(if_match='"now"', if_none_match='"now"'), 304)
        self.assertEqual(check(if_unmodified_since=EARLIER, if_modified_since=LATER), 412)


class IfRange(unittest.TestCase):
    def is_current(self, text: str, current: Validators = NOW) -> bool:
        return range_is_current(Headers([("If-Range", text)]), current)

    def test_a_range_without_it_is_heeded(self) -> None:
        self.assertTrue(range_is_current(Headers(), NOW))

    def test_a_tag_must_be_the_same_and_strong(self) -> None:
        self.assertTrue(self.is_current('"now"'))
        self.assertFalse(self.is_current('"old"'))
        self.assertFalse(self.is_current('W/"now"'))
        self.assertFalse(self.is_current('W/"now"', Validators('W/"now"', MOMENT, MOMENT + 9)))
        self.assertFalse(self.is_current('"now", "now"'))

    def test_a_date_must_be_equal(self) -> None:
        self.assertTrue(self.is_current(DATE))
        self.assertFalse(self.is_current(EARLIER))
        self.assertFalse(self.is_current(LATER))
        self.assertFalse(self.is_current("no date"))

    def test_a_date_is_weak_while_its_second_lasts(self) -> None:
        # RFC 9110 section 8.8.2.2: in that second the file may have changed twice.
        self.assertFalse(self.is_current(DATE, Validators('"now"', MOMENT, MOMENT)))


if __name__ == "__main__":
    unittest.main()
