"""The charsets that a peer may name, and how its bytes become text.

The rule: a name that a peer has written never reaches a registry of Python. There are codecs
that are quadratic (punycode: 160 KB take eight seconds), some that raise (undefined) or make
half surrogates (unicode_escape, utf-7), some that are no text encodings at all; and each name
that Python does not know, it keeps for ever. So a name is looked up in the table below, and
only what stands there, all of it linear and written in C, reaches a codec.

Chapter: docs/requests-and-responses.md.
"""

from __future__ import annotations

_UTF_8 = "utf-8"

# Label, in lower case -> Python's name. As in the Encoding standard of browsers: ASCII is read as
# what contains it, and so are gb2312 and gbk, since senders of those mean whatever their system
# has. What a browser would not send and nobody misses stands not here: the rest is UTF-8.
_SAME = (
    "utf-8 utf-16 utf-16le utf-16be gb18030 big5 shift_jis euc-jp euc-kr koi8-r koi8-u "
    "iso-8859-1 iso-8859-2 iso-8859-3 iso-8859-4 iso-8859-5 iso-8859-6 iso-8859-7 iso-8859-8 "
    "iso-8859-9 iso-8859-10 iso-8859-13 iso-8859-14 iso-8859-15 iso-8859-16 "
    "windows-1250 windows-1251 windows-1252 windows-1253 windows-1254 windows-1255 windows-1256 "
    "windows-1257 windows-1258"
)
_CODECS = {label: label for label in _SAME.split()} | {
    "utf8": _UTF_8,
    "us-ascii": _UTF_8,
    "ascii": _UTF_8,
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "cp936": "gb18030",
    "big5-hkscs": "big5hkscs",
    "shift-jis": "shift_jis",
    "sjis": "shift_jis",
    "windows-31j": "cp932",
    "latin1": "iso-8859-1",
    "latin-1": "iso-8859-1",
}


def codec_of(label: str) -> str | None:
    """Return Python's name of a charset; None where it is none that we take. Any thread."""
    return _CODECS.get(label.strip(" \t").lower())


def to_text(data: bytes | bytearray, label: str = "") -> str:
    """Return bytes as text in the charset that a peer names, else in UTF-8; never raises.

    What is wrong in it becomes U+FFFD.
    """
    return data.decode(_CODECS.get(label.strip(" \t").lower(), _UTF_8), "replace")
