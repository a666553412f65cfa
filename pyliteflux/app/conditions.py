"""Conditional requests: does the client have the current version already? RFC 9110 section 13.

The rule: a condition that cannot be read must do no harm. One that would save work (If-None-
Match, If-Modified-Since, If-Range) is then as if it were not there; one that guards against a
mistake (If-Match) has failed. Everything here is plain functions over field values, and
linear in them: a field is the peer's.

Chapter: docs/files.md.
"""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import NamedTuple

from ..headers import Headers, date_field

# RFC 9110 section 8.8.3. The two alternatives of a list cannot begin alike: no backtracking.
_TAG = r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_NEXT_TAG = re.compile(rf"[ \t,]*({_TAG})[ \t]*(?=,|\Z)").match
_IS_TAG = re.compile(_TAG).fullmatch

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# The three forms of RFC 9110 section 5.6.7, all of which must be understood. Not by strptime:
# that one knows the names of the days in the language of the server's administrator.
_CLOCK = r"([0-9]{2}):([0-9]{2}):([0-9]{2})"
_IMF_DATE = re.compile(rf"[A-Za-z]{{3}}, ([0-9]{{2}}) ([A-Za-z]{{3}}) ([0-9]{{4}}) {_CLOCK} GMT")
_RFC850_DATE = re.compile(
    rf"[A-Za-z]{{6,9}}, ([0-9]{{2}})-([A-Za-z]{{3}})-([0-9]{{2}}) {_CLOCK} GMT"
)
_ASCTIME_DATE = re.compile(rf"[A-Za-z]{{3}} ([A-Za-z]{{3}}) ([ 0-9][0-9]) {_CLOCK} ([0-9]{{4}})")
# Fields of the content: no 304 says them (RFC 9110 section 15.4.5), and they are not true of an
# error.
NOT_IN_A_304 = ("Content-Type", "Content-Encoding", "Content-Disposition", "Content-Language")
_EPOCH = datetime(1970, 1, 1).toordinal()


class Validators(NamedTuple):
    """What tells one version of a representation from another (RFC 9110 section 8.8).

    etag: with its quotes, strong, or weak with W/; "" where there is none. modified: whole
    seconds since the epoch, None where nobody knows. now: the same, when the response was made.
    """

    etag: str
    modified: int | None
    now: int


def http_date(seconds: float) -> str:
    """Return a time in the form that is sent: Sun, 06 Nov 1994 08:49:37 GMT."""
    return date_field(time.gmtime(seconds))


def parse_http_date(text: str) -> int | None:
    """Return seconds since the epoch, or None where it is none of the three forms."""
    match = _IMF_DATE.fullmatch(text)
    if match is not None:
        day, month, year, *clock = match.groups()
    else:
        match = _RFC850_DATE.fullmatch(text)
        if match is not None:
            day, month, year, *clock = match.groups()
            # Two digits that seem to be over 50 years ahead are of the century before.
            this_year = time.gmtime().tm_year
            full = int(year) + this_year // 100 * 100
            year = str(full - 100 if full > this_year + 50 else full)
        else:
            match = _ASCTIME_DATE.fullmatch(text)
            if match is None:
                return None
            month, day, *clock, year = match.groups()
    hour, minute, second = (int(part) for part in clock)
    try:
        month_number = _MONTHS.index(month.lower()) + 1
    except ValueError:
        return None
    if not (1 <= int(day) <= 31 and hour < 24 and minute < 60 and second <= 60 and int(year)):
        return None
    # As `calendar.timegm` does it. That module brings in `locale`; this one is there anyway.
    days = datetime(int(year), month_number, 1).toordinal() - _EPOCH + int(day) - 1
    return ((days * 24 + hour) * 60 + minute) * 60 + second


def parse_etags(text: str) -> list[str] | None:
    """Return the entity tags of a list, or None where it is not one."""
    tags: list[str] = []
    at = 0
    while True:
        match = _NEXT_TAG(text, at)
        if match is None:
            return tags if tags and not text[at:].strip(" \t,") else None
        tags.append(match.group(1))
        at = match.end()


def failed_precondition(method: str, headers: Headers, current: Validators) -> int | None:
    """Return 304 or 412 where a condition says so, else None: RFC 9110 section 13.2.2.

    method: "GET" or "HEAD"; no other asks for this representation. Only to be called where
    the answer would be a 200 otherwise (section 13.2.1).
    """
    # Step 1 and 2: does the client work on the version that it believes in?
    if_match = headers.get("if-match")
    if if_match is not None:
        if if_match.strip() != "*" and not _matches_strongly(if_match, current.etag):
            return 412
    else:
        unmodified_since = _date_of(headers, "if-unmodified-since")
        modified = current.modified  # Without one the condition is ignored (section 13.1.4).
        if unmodified_since is not None and modified is not None and modified > unmodified_since:
            return 412
    # Step 3 and 4: has the client got it already? The tag decides where there is one.
    if_none_match = headers.get("if-none-match")
    if if_none_match is not None:
        if if_none_match.strip() == "*" or _matches_weakly(if_none_match, current.etag):
            return 304
    else:
        modified_since = _date_of(headers, "if-modified-since")
        modified = current.modified
        if modified_since is not None and modified is not None and modified <= modified_since:
            return 304
    return None


def range_is_current(headers: Headers, current: Validators) -> bool:
    """Step 5: may a Range be heeded, or would its bytes be glued to another version?

    If-Range is a strong entity tag or a date (RFC 9110 section 13.1.5), and True where there
    is none. A date counts only when it is equal, and when its second is over: in that second
    the file may have changed again.
    """
    text = headers.get("if-range")
    if text is None:
        return True
    text = text.strip()
    if _IS_TAG(text):
        return text == current.etag and not text.startswith("W/")
    date = parse_http_date(text)
    return date is not None and date == current.modified and date < current.now


def _date_of(headers: Headers, name: str) -> int | None:
    text = headers.get(name)
    return None if text is None else parse_http_date(text.strip())


def _matches_strongly(text: str, etag: str) -> bool:
    """RFC 9110 section 8.8.3.2: the same, and neither is weak."""
    tags = parse_etags(text)
    return tags is not None and not etag.startswith("W/") and etag in tags


def _matches_weakly(text: str, etag: str) -> bool:
    tags = parse_etags(text)
    opaque = etag.removeprefix("W/")
    return tags is not None and any(tag.removeprefix("W/") == opaque for tag in tags)
