"""Cookies: reading what a browser sends, writing what it will accept, and signing.

The rule: reading is lenient and never raises, for the header is the peer's; writing is
strict and raises at the line that is wrong, for a `;` or a line end in a cookie sets
attributes, or a whole header, of somebody else's choosing. `http.cookies` is not used: its
reader was quadratic (CVE-2024-7592) and its writer let controls pass (CVE-2026-0672).

Chapter: docs/requests-and-responses.md.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from ..errors import ConfigError
from ..headers import OWS, date_field, is_token

# Browsers drop a cookie whose name and value are longer, and say nothing (RFC 6265bis
# section 5.7).
COOKIE_LIMIT = 4096

# RFC 6265 section 4.1.1: all but cookie-octet, and all but the characters of av-octet.
# Beyond ASCII a value is UTF-8, as browsers take and send it (RFC 6265bis section 5.6).
_BAD_IN_VALUE = re.compile(r"[\x00-\x20\",;\\\x7f]").search
# How Python's http.cookies writes what is no cookie-octet: \054 for a comma, \" for a quote.
_ESCAPE = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))")
_BAD_IN_PATH = re.compile(r"[^\x20-\x3a\x3c-\x7e]").search
_IS_DOMAIN = re.compile(r"\.?[0-9A-Za-z_-][0-9A-Za-z_.-]*").fullmatch
_SAME_SITE = {"lax": "Lax", "strict": "Strict", "none": "None"}


def parse_cookies(header: str) -> dict[str, str]:
    """Return the cookies of a Cookie header; what is no cookie is left out. Never raises.

    header: as it came, in Latin-1. Names and values that are UTF-8 are read as that: scripts
    may set such. Quotes around a value are dropped, and with them the escapes that go with
    quotes where Python's http.cookies has written it. Of a repeated name the first counts:
    browsers send the most specific path first (RFC 6265 section 5.4).
    """
    cookies: dict[str, str] = {}
    for pair in header.split(";"):
        name, equals, value = pair.partition("=")
        name = _text(name.strip(OWS))
        # An empty name stays out: "=__Host-a=b" would pass for __Host-a (CVE-2023-23934).
        if not equals or not name or name in cookies:
            continue
        value = value.strip(OWS)
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = value[1:-1]
            if "\\" in value:
                value = _ESCAPE.sub(_unescaped, value)
        cookies[name] = _text(value)
    return cookies


def _unescaped(match: re.Match[str]) -> str:
    octal, character = match.groups()
    return character if octal is None else chr(int(octal, 8))


def _text(latin: str) -> str:
    """Return bytes that were read as Latin-1 as the UTF-8 that they are, if they are."""
    if latin.isascii():
        return latin
    try:
        return latin.encode("latin-1").decode()
    except UnicodeError:
        return latin


def format_cookie(
    name: str,
    value: str,
    *,
    max_age: int | timedelta | None = None,
    expires: datetime | int | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool | None = None,
    httponly: bool = True,
    samesite: str | None = "Lax",
    partitioned: bool = False,
) -> str:
    """Return the value of a Set-Cookie field. RFC 6265 section 4.1.

    max_age: seconds or a timedelta; 0 or less deletes the cookie. expires: seconds since 1970
    or a datetime with a time zone. Neither: until the browser closes. samesite: "Lax",
    "Strict" or "None"; None leaves the attribute out, and so does None for path and domain.
    secure: None for what the name asks for: a ``__Secure-`` or ``__Host-`` cookie is (RFC
    6265bis section 4.1.3). partitioned: a jar of its own for each site that embeds this one
    (CHIPS). A value beyond ASCII is sent as UTF-8.
    Raises ValueError where a part is not allowed, or where browsers would silently drop the
    cookie: over 4096 bytes, or a prefix, SameSite=None or partitioned without what it needs.
    """
    if not isinstance(name, str) or not is_token(name):
        raise ValueError(f"cookie name {name!r} is not a token (RFC 6265 section 4.1.1)")
    if not isinstance(value, str):
        raise ValueError(f"cookie {name}: the value must be a str, not {type(value).__name__}")
    bad = _bad_in(value)
    if bad is not None:
        raise ValueError(
            f"cookie {name}: {bad!r} is not allowed in a value (RFC 6265 section 4.1.1); "
            "sign the value with Signer, or quote it with urllib.parse.quote"
        )
    if not value.isascii():
        value = value.encode().decode("latin-1")  # A head is written in Latin-1.
    if len(name) + len(value) > COOKIE_LIMIT:
        raise ValueError(
            f"cookie {name}: name and value are {len(name) + len(value)} bytes, "
            f"browsers take up to {COOKIE_LIMIT}"
        )
    if secure is None:
        secure = name.lower().startswith(("__secure-", "__host-"))
    _check_prefix(name, path, domain, secure)
    pieces = [f"{name}={value}"]
    if path is not None:
        pieces.append(f"Path={_checked_path(name, path)}")
    if domain is not None:
        if not isinstance(domain, str) or not _IS_DOMAIN(domain):
            raise ValueError(
                f"cookie {name}: domain {domain!r} is not a host name (no port, IDNA as xn--)"
            )
        pieces.append(f"Domain={domain}")
    if max_age is not None:
        pieces.append(f"Max-Age={_seconds(name, max_age)}")
    if expires is not None:
        pieces.append(f"Expires={_date(name, expires)}")
    if secure:
        pieces.append("Secure")
    if httponly:
        pieces.append("HttpOnly")
    if samesite is not None:
        word = _SAME_SITE.get(samesite.lower()) if isinstance(samesite, str) else None
        if word is None:
            raise ValueError(f"cookie {name}: samesite is Lax, Strict or None, not {samesite!r}")
        if word == "None" and not secure:
            raise ValueError(f"cookie {name}: browsers refuse SameSite=None without secure=True")
        pieces.append(f"SameSite={word}")
    if partitioned:
        if not secure:
            raise ValueError(f"cookie {name}: browsers refuse Partitioned without secure=True")
        pieces.append("Partitioned")
    return "; ".join(pieces)


def _bad_in(value: str) -> str | None:
    """Return the first character that no value may hold."""
    bad = _BAD_IN_VALUE(value)
    if bad is not None or value.isascii():
        return None if bad is None else bad.group()
    # Half a surrogate pair is not printable either.
    return next((char for char in value if not (char.isascii() or char.isprintable())), None)


def _check_prefix(name: str, path: str | None, domain: str | None, secure: bool) -> None:
    # Browsers compare these without letter case.
    prefix = name.lower()
    if prefix.startswith("__secure-") and not secure:
        raise ValueError(f"cookie {name}: a __Secure- name needs secure=True")
    if prefix.startswith("__host-") and not (secure and path == "/" and domain is None):
        raise ValueError(f"cookie {name}: a __Host- name needs secure=True, path='/', no domain")


def _checked_path(name: str, path: str) -> str:
    if not isinstance(path, str) or not path.startswith("/") or _BAD_IN_PATH(path):
        raise ValueError(
            f"cookie {name}: path {path!r} must begin with '/' and be ASCII without ';' or controls"
        )
    return path


def _seconds(name: str, max_age: int | timedelta) -> int:
    if isinstance(max_age, timedelta):
        max_age = int(max_age.total_seconds())
    if type(max_age) is not int:
        raise ValueError(f"cookie {name}: max_age is whole seconds or a timedelta")
    return max(0, max_age)


def _date(name: str, expires: datetime | int) -> str:
    if isinstance(expires, datetime):
        if expires.utcoffset() is None:
            raise ValueError(
                f"cookie {name}: expires needs a time zone, as in datetime.now(timezone.utc)"
            )
        moment = expires.astimezone(timezone.utc)
    elif type(expires) is int:
        try:
            moment = datetime.fromtimestamp(expires, timezone.utc)
        except (OverflowError, OSError, ValueError):
            raise ValueError(f"cookie {name}: expires is out of range") from None
    else:
        raise ValueError(f"cookie {name}: expires is seconds since 1970 or a datetime")
    return date_field(moment.timetuple())


class Signer:
    """Sign cookie values, so that a client can read them but not change them. Any thread.

    secrets: the setting secret_key. The first signs; what another of them has signed is read,
    too, so a new secret can be put in front of the old one and nobody is logged out. The mark
    (HMAC-SHA256) covers the cookie's name, so that one cookie cannot be replayed as another,
    and the time of signing. The value is written in base64: any text fits, a third longer. It
    is signed, not encrypted.
    Raises ConfigError for an empty secret.
    """

    __slots__ = ("_secrets",)

    def __init__(self, secrets: bytes | Sequence[bytes]) -> None:
        self._secrets = (secrets,) if isinstance(secrets, bytes) else tuple(secrets)
        if not self._secrets or not all(self._secrets):
            raise ConfigError(
                "signed cookies need the setting secret_key: "
                'python -c "import secrets; print(secrets.token_hex())" makes a good one'
            )

    def sign(self, name: str, value: str, now: int) -> str:
        """Return ``value.time.mark``, fit for `format_cookie`. now: seconds since 1970."""
        if not is_token(name):
            raise ValueError(f"cookie name {name!r} is not a token (RFC 6265 section 4.1.1)")
        # surrogatepass: any str at all comes back as it was.
        text = _base64(value.encode("utf-8", "surrogatepass"))
        signed = f"{text}.{int(now)}"
        return f"{signed}.{_mark(self._secrets[0], name, signed)}"

    def unsign(self, name: str, signed: str, now: int, max_age: int | None) -> str | None:
        """Return the value, or None if it was not signed here, for this name, in max_age seconds.

        max_age: None for no limit. A time of signing after `now` is no fault: the clock may
        have been set back, and nobody else can make one.
        """
        from hmac import compare_digest  # Not above, as `_mark` says.

        content, _, mark = signed.rpartition(".")
        # Bytes, as compare_digest raises for a str that is not ASCII. Nothing of the content
        # is looked at before the mark is right.
        given = mark.encode("utf-8", "replace")
        marks = (_mark(secret, name, content).encode() for secret in self._secrets)
        if not any(compare_digest(given, expected) for expected in marks):
            return None
        text, _, time = content.partition(".")
        if max_age is not None and now - int(time) > max_age:
            return None
        padding = "=" * (-len(text) % 4)
        return base64.urlsafe_b64decode(text + padding).decode("utf-8", "surrogatepass")

    def __repr__(self) -> str:
        return "Signer(...)"  # Never the secret: a repr ends up in logs.


def _mark(secret: bytes, name: str, content: str) -> str:
    # Not above: this brings in libcrypto, 4 MB, and most servers sign nothing.
    import hashlib
    import hmac

    # The label keeps these marks apart from others that the user makes with the same
    # secret; a token holds no "=", so name and content cannot flow into each other.
    message = f"pyliteflux cookie\n{name}={content}".encode("utf-8", "replace")
    return _base64(hmac.new(secret, message, hashlib.sha256).digest())


def _base64(data: bytes) -> str:
    """URL-safe and without padding: all of it may stand in a cookie."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
