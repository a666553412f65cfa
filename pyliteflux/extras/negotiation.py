"""Which content coding a client takes: Accept-Encoding, RFC 9110 section 12.5.3.

The rule: the untouched body is always right. It is only encoded for a client that asks for
gzip in so many words, and that does not like the untouched one better.

Chapter: docs/files.md.
"""

from __future__ import annotations

import re

from ..headers import Headers

# More elements than any client has reason to send are not looked at.
_MAX_CODINGS = 32
_QUALITY = re.compile(r"[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*").fullmatch


def accepts_gzip(headers: Headers) -> bool:
    """Tell whether the client wants gzip; q=0 is a refusal, and identity may be preferred."""
    field = headers.get("accept-encoding")
    if field is None:
        return False  # Any coding would be allowed, but who says nothing may know none.
    if field in ("gzip", "gzip, deflate", "gzip, deflate, br", "gzip, deflate, br, zstd"):
        return True  # What nearly every client sends.
    qualities = _qualities(field)
    gzip = qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0.0)))
    # The star does not speak of identity: without a word of its own that is the last resort.
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)


def _qualities(field: str) -> dict[str, float]:
    """Return coding -> q. An element that cannot be read counts as refused."""
    qualities = {}
    for element in field.lower().split(",", _MAX_CODINGS)[:_MAX_CODINGS]:
        coding, semicolon, parameter = element.partition(";")
        quality = 1.0
        if semicolon:
            match = _QUALITY(parameter)
            quality = float(match.group(1)) if match else 0.0
        qualities[coding.strip(" \t")] = quality
    return qualities
