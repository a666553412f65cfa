"""Who is asking: user name and password, the Basic scheme (RFC 7617).

The rule: how long a check takes must not tell how right a guess was. Both sides are hashed and
compared in constant time, for a user that does not exist as for one that does.

Chapter: docs/middleware.md.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..app.context import g
from ..app.middleware import Middleware
from ..app.request import Request
from ..errors import HTTPError

_CONTROL = re.compile(r"[\x00-\x1f\x7f]").search


class BasicAuthMiddleware(Middleware):
    """Let in who has a name and a password; `g.user` is the name afterwards. Else it is a 401.

    users: a dict of name to password, or a function ``check(name, password)`` whose truth
    decides; it is called for each request, by the thread of the handler. realm: what the
    browser shows. On TCP the "headers" of a JSON message are asked (M7).

    The password is readable on the wire: only behind TLS. Add `CORSMiddleware` before it, for
    browsers send no credentials with a preflight.
    """

    def __init__(
        self,
        users: Mapping[str, str] | Callable[[str, str], Any],
        realm: str = "restricted",
    ) -> None:
        if callable(users):
            self._check: Callable[[str, str], Any] = users
        else:
            self._digests = {name: _digest(password) for name, password in users.items()}
            self._check = self._check_digest
        if _CONTROL(realm) or not realm.isascii():
            raise ValueError(f"the realm {realm!r} must be plain ASCII")
        quoted = realm.replace("\\", "\\\\").replace('"', '\\"')
        self._challenge = {"WWW-Authenticate": f'Basic realm="{quoted}", charset="UTF-8"'}

    def process_request(self, request: Request) -> Any:
        """Set `g.user`, or raise HTTPError 401 with the challenge."""
        credentials = _credentials(request.headers.get("authorization"))
        if credentials is None or not self._check(*credentials):
            raise HTTPError(401, None, self._challenge)
        g.user = credentials[0]
        return None

    def _check_digest(self, name: str, password: str) -> bool:
        from hmac import compare_digest  # Not above, as `_digest` says.

        expected = self._digests.get(name)
        # Of an unknown user the comparison is made all the same.
        is_equal = compare_digest(_digest(password), expected or _digest(""))
        return is_equal and expected is not None


def _digest(password: str) -> bytes:
    import hashlib  # Not above: this brings in libcrypto, 4 MB, and most servers need none.

    # Not to store: to give both sides one length. compare_digest() would tell lengths apart.
    return hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest()


def _credentials(field: str | None) -> tuple[str, str] | None:
    """Return (name, password) of an Authorization field; None where it holds none."""
    scheme, _, encoded = (field or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(" "), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    name, colon, password = text.partition(":")
    if not colon or _CONTROL(text):
        return None  # RFC 7617 section 2.
    return name, password
