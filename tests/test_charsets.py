"""`charsets`: a name that a peer has written never reaches a registry of Python. X2.

`text-codec-of-the-client`. The kind is tested twice: by feeding names to every door that a peer's
charset comes in by, and by reading the sources for calls that look a name up.
"""

from __future__ import annotations

import ast
import encodings
import unittest
from collections.abc import Iterator

from pyliteflux.app.request import HTTPRequest, TCPRequest
from pyliteflux.charsets import codec_of, to_text
from pyliteflux.errors import BadMessage
from pyliteflux.headers import Headers
from pyliteflux.protocol.frame import Frame
from pyliteflux.protocol.message import decode
from tests.test_layers import package_sources

# Of Python, and to be refused: quadratic, raising, lone surrogates, no text, the system's own.
HARMFUL = (
    "punycode idna undefined utf-7 unicode_escape raw_unicode_escape rot13 hex base64 bz2 zlib "
    "quopri uu mbcs oem locale utf-32 utf-8-sig cp037 iso2022_jp hz"
).split()


def http(body: bytes, content_type: str) -> HTTPRequest:
    return HTTPRequest("POST", "/", Headers([("Content-Type", content_type)]), body)


def multipart(part: str) -> HTTPRequest:
    body = f"--*\r\n{part}\r\n\r\nbcher-kva\r\n--*--\r\n".encode()
    return http(body, "multipart/form-data; boundary=*")


def doors(name: str) -> Iterator[tuple[str, object]]:
    """Yield what comes in by each door where the peer calls the charset of its bytes `name`."""
    body, of_text = b"bcher-kva", f'text/plain; charset="{name}"'
    yield "text", http(body, of_text).text
    # Headers of a TCP message.
    yield "TCP", TCPRequest("say", raw=body, headers=Headers([("Content-Type", of_text)])).text
    form = f"application/x-www-form-urlencoded; charset={name}"
    yield "form", http(b"a=bcher-kv%61", form).form_data["a"]
    yield "JSON", http(b'"bcher-kva"', f"application/json; charset={name}").json_data
    field = f'Content-Disposition: form-data; name="a"\r\nContent-Type: {of_text}'
    yield "field", multipart(field).form_data["a"]
    for both in ('; filename="bcher-kva"', ""):
        file = f"Content-Disposition: form-data; name=a{both}; filename*={name}''bcher-kva"
        request = multipart(file)
        yield "file name", request.files["a"].filename
        request.close()


def read_xml(name: str) -> None:
    data = f'<?xml version="1.0" encoding="{name}"?><request command="a"/>'.encode()
    try:
        decode(Frame("xml", data))
    except BadMessage:
        pass


class Registry(unittest.TestCase):
    def test_a_harmful_codec_is_never_run(self) -> None:
        """`text-codec-of-the-client`: the body is read as UTF-8, whatever the client calls it."""
        for name in (*HARMFUL, *(name.upper() for name in HARMFUL)):
            for door, text in doors(name):
                with self.subTest(door, name=name):
                    self.assertEqual(text, "bcher-kva")
            read_xml(name)

    def test_a_name_that_nobody_has_heard_leaves_nothing_behind(self) -> None:
        """X2: Python keeps each name that it does not know, 30 KB of them here, for ever."""
        list(doors("utf-8"))  # What is loaded at all is now.
        before = set(encodings._cache)  # type: ignore[attr-defined]
        for name in ("never-heard-1", "never_heard_2", "N" * 7000):
            for door, text in doors(name):
                with self.subTest(door):
                    self.assertEqual(text, "bcher-kva")
            read_xml(name)
        self.assertEqual(set(encodings._cache), before)  # type: ignore[attr-defined]


class Charsets(unittest.TestCase):
    def test_the_charsets_that_are_in_use_are_read(self) -> None:
        for label, data in (
            ("gbk", "数据€".encode("gb18030")),
            ("GB2312", "数据".encode("gb2312")),
            (" Big5 ", "數據".encode("big5")),
            ("Shift_JIS", "データ".encode("shift_jis")),
            ("EUC-KR", "데이터".encode("euc-kr")),
            ("windows-1251", "данные".encode("cp1251")),
            ("utf-16le", "数据".encode("utf-16-le")),
        ):
            with self.subTest(label):
                codec = codec_of(label)
                assert codec is not None
                self.assertEqual(to_text(data, label), data.decode(codec))
        self.assertEqual(to_text("ü".encode(), "us-ascii"), "ü")
        self.assertEqual(to_text(b"\xff"), "\ufffd")

    def test_a_form_is_read_in_the_charset_that_it_names(self) -> None:
        form = "application/x-www-form-urlencoded; charset="
        for charset in ("gbk", "GB18030"):
            for body in (b"%C3%FB=%CA%FD%be%dd&b=1+2", "名=数据&b=1 2".encode("gbk")):
                with self.subTest(body, charset=charset):
                    request = http(body, form + charset)
                    self.assertEqual(request.form_data, {"名": "数据", "b": "1 2"})
        # In UTF-16 no separator is an ASCII byte, and no browser sends it.
        self.assertEqual(http(b"a=1&b=%C3%BC", form + "utf-16le").form_data, {"a": "1", "b": "ü"})

    def test_json_is_utf_8_whatever_its_type_says(self) -> None:
        """RFC 8259 section 11: a charset there has no effect."""
        request = http('"数据"'.encode(), "application/json; charset=gbk")
        self.assertEqual(request.json_data, "数据")


# Calls named decode or encode whose first argument is not written out. Those of str and bytes
# look a codec up: here by a name out of the table. The others are methods of ours.
_BY_A_VARIABLE = {
    "charsets.py: data.decode(_CODECS.get(label.strip(' \\t').lower(), _UTF_8), 'replace')",
    "app/forms.py: text[start:end].encode(raw, 'replace')",
    "app/forms.py: decoded.decode(codec, 'replace')",
    "app/response.py: encoder.encode(self.data)",
    "__main__.py: import importlib",  # The administrator names the module of the application.
    "__main__.py: importlib.import_module(module)",
    "statuses.py: import http",  # Nothing of it but HTTPStatus.
    "log.py: logging.getLogger(name)",  # Of the framework: its loggers are made with the module.
    "console.py: text.encode(self.stream.encoding or 'utf-8', 'backslashreplace')",  # Ours.
    "jsontext.py: public.encode(probe)",
    "channels/http_reply.py: heads.encode(status, response.content_type, request_id_of(request),"
    " size)",
}
# Each reads registries, or numbers and dates in the manner of the administrator's language.
_NO_MODULES = {"codecs", "email", "http", "cgi", "locale", "gettext", "importlib"}
_NO_CALLS = {"strptime", "import_module", "__import__", "isnumeric", "isdecimal"}


def _suspects(file: str, tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [] if node.level else [node.module or ""]
            yield from (f"{file}: import {n}" for n in names if n.split(".")[0] in _NO_MODULES)
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        is_written_out = all(
            isinstance(word.value, ast.Constant) for word in node.keywords if word.arg == "encoding"
        )
        if name in ("decode", "encode") and isinstance(function, ast.Attribute):
            is_written_out &= not node.args or isinstance(node.args[0], ast.Constant)
        elif name in ("str", "bytes", "bytearray", "unquote") and len(node.args) > 1:
            is_written_out &= isinstance(node.args[1], ast.Constant)
        elif name == "getLogger" and node.args:
            is_written_out &= isinstance(node.args[0], ast.Constant)
        if name in _NO_CALLS or not is_written_out:
            yield f"{file}: {ast.unparse(node)}"


class Sources(unittest.TestCase):
    def test_nobody_looks_a_name_up_that_is_not_written_in_the_sources(self) -> None:
        found = {
            suspect
            for file, text in package_sources().items()
            for suspect in _suspects(file.removeprefix("pyliteflux/"), ast.parse(text, file))
        }
        self.assertEqual(found, _BY_A_VARIABLE)

    def test_no_digit_is_one_of_another_script(self) -> None:
        """Python's ``\\d``, `isdigit` and `int` know those of 60 scripts; a peer's are ASCII."""
        for file, text in package_sources().items():
            for node in ast.walk(ast.parse(text, file)):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "re.compile":
                    for part in ast.walk(node.args[0]):
                        if isinstance(part, ast.Constant) and isinstance(part.value, str):
                            self.assertNotRegex(part.value, r"\\[dw]", f"{file}:{node.lineno}")
                if isinstance(node, ast.BoolOp | ast.If) and ".isdigit()" in ast.unparse(node):
                    self.assertIn(".isascii()", ast.unparse(node), f"{file}:{node.lineno}")

    def test_the_scan_sees_what_it_is_to_see(self) -> None:
        for line in (
            "body.decode(charset)",
            "body.decode(encoding=charset)",
            "str(body, charset)",
            "open(path, encoding=charset)",
            "unquote(text, charset)",
            "logging.getLogger(name)",
            "import codecs",
            "from email.message import Message",
            "time.strptime(text)",
        ):
            with self.subTest(line):
                self.assertTrue(list(_suspects("a.py", ast.parse(line))))
