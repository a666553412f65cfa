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
from datetime import datetime, timedelta, timezone

from ..errors import ConfigError
from ..headers import TOKEN, date_field

# Browsers drop a cookie whose name and value are longer, and say nothing (RFC 6265bis
# section 5.7).
COOKIE_LIMIT = 4096

_OWS = " \t"
_IS_TOKEN = re.compile(TOKEN).fullmatch
# RFC 6265 section 4.1.1: all but cookie-octet, and all but the characters of av-octet.
_BAD_IN_VALUE = re.compile(r"[^\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]").search
_BAD_IN_PATH = re.compile(r"[^\x20-\x3a\x3c-\x7e]").search
_IS_DOMAIN = re.compile(r"\.?[0-9A-Za-z_-][0-9A-Za-z_.-]*").fullmatch
_SAME_SITE = {"lax": "Lax", "strict": "Strict", "none": "None"}


def parse_cookies(header: str) -> dict[str, str]:
    """Return the cookies of a Cookie header; what is no cookie is left out. Never raises.

    Quotes around a value are dropped. Of a repeated name the first counts: browsers send
    the most specific path first (RFC 6265 section 5.4).
    """
    cookies: dict[str, str] = {}
    for pair in header.split(";"):
        name, equals, value = pair.partition("=")
        name = name.strip(_OWS)
        # An empty name stays out: "=__Host-a=b" would pass for __Host-a (CVE-2023-23934).
        if not equals or not name or name in cookies:
            continue
        value = value.strip(_OWS)
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = value[1:-1]
        cookies[name] = value
    return cookies


def format_cookie(
    name: str,
    value: str,
    *,
    max_age: int | timedelta | None = None,
    expires: datetime | int | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = False,
    httponly: bool = True,
    samesite: str | None = "Lax",
) -> str:
    """Return the value of a Set-Cookie field. RFC 6265 section 4.1.

    max_age: seconds or a timedelta; 0 or less deletes the cookie. expires: seconds since 1970
    or a datetime with a time zone. Neither: until the browser closes. samesite: "Lax",
    "Strict" or "None"; None leaves the attribute out, and so does None for path and domain.
    Raises ValueError where a part is not allowed, or where browsers would silently drop the
    cookie: over 4096 bytes, SameSite=None or a ``__Secure-`` or ``__Host-`` name without what
    it needs (RFC 6265bis section 4.1.3).
    """
    if not isinstance(name, str) or not _IS_TOKEN(name):
        raise ValueError(f"cookie name {name!r} is not a token (RFC 6265 section 4.1.1)")
    if not isinstance(value, str):
        raise ValueError(f"cookie {name}: the value must be a str, not {type(value).__name__}")
    bad = _BAD_IN_VALUE(value)
    if bad is not None:
        raise ValueError(
            f"cookie {name}: {bad.group()!r} is not allowed in a value (RFC 6265 section 4.1.1); "
            "sign the value with Signer, or quote it with urllib.parse.quote"
        )
    if len(name) + len(value) > COOKIE_LIMIT:
        raise ValueError(
            f"cookie {name}: name and value are {len(name) + len(value)} bytes, "
            f"browsers take up to {COOKIE_LIMIT}"
        )
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
    return "; ".join(pieces)


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

    secret: the setting secret_key. The mark (HMAC-SHA256) covers the cookie's name, so that
    one cookie cannot be replayed as another, and the time of signing. The value is written
    in base64: any text fits, a third longer. It is signed, not encrypted.
    Raises ConfigError for an empty secret.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if not secret:
            raise ConfigError(
                "signed cookies need the setting secret_key: "
                'python -c "import secrets; print(secrets.token_hex())" makes a good one'
            )
        self._secret = secret

    def sign(self, name: str, value: str, now: int) -> str:
        """Return ``value.time.mark``, fit for `format_cookie`. now: seconds since 1970."""
        if not _IS_TOKEN(name):
            raise ValueError(f"cookie name {name!r} is not a token (RFC 6265 section 4.1.1)")
        # surrogatepass: any str at all comes back as it was.
        text = _base64(value.encode("utf-8", "surrogatepass"))
        signed = f"{text}.{int(now)}"
        return f"{signed}.{self._mark(name, signed)}"

    def unsign(self, name: str, signed: str, now: int, max_age: int | None) -> str | None:
        """Return the value, or None if it was not signed here, for this name, in max_age seconds.

        max_age: None for no limit. A time of signing after `now` is no fault: the clock may
        have been set back, and nobody else can make one.
        """
        from hmac import compare_digest  # Not above, as `_mark` says.

        content, _, mark = signed.rpartition(".")
        expected = self._mark(name, content)
        # Bytes, as compare_digest raises for a str that is not ASCII. Nothing of the content
        # is looked at before the mark is right.
        if not compare_digest(mark.encode("utf-8", "replace"), expected.encode()):
            return None
        text, _, time = content.partition(".")
        if max_age is not None and now - int(time) > max_age:
            return None
        padding = "=" * (-len(text) % 4)
        return base64.urlsafe_b64decode(text + padding).decode("utf-8", "surrogatepass")

    def _mark(self, name: str, content: str) -> str:
        # Not above: this brings in libcrypto, 4 MB, and most servers sign nothing.
        import hashlib
        import hmac

        # The label keeps these marks apart from others that the user makes with the same
        # secret; a token holds no "=", so name and content cannot flow into each other.
        message = f"pyliteflux cookie\n{name}={content}".encode("utf-8", "replace")
        return _base64(hmac.new(self._secret, message, hashlib.sha256).digest())

    def __repr__(self) -> str:
        return "Signer(...)"  # Never the secret: a repr ends up in logs.


def _base64(data: bytes) -> str:
    """URL-safe and without padding: all of it may stand in a cookie."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
