"""The tree of errors: what it draws is what there is, and an error is what it says."""

from __future__ import annotations

import copy
import re
import unittest

from pyliteflux import errors
from pyliteflux.errors import (
    NO_ID,
    BadMessage,
    CallError,
    FrameTooLong,
    HTTPError,
    MessageTimeout,
    ProtocolError,
    RequestTimeout,
    WrongPort,
)


class TheTree(unittest.TestCase):
    def test_the_drawing_names_every_class_at_its_depth(self) -> None:
        drawn = {}
        for line in (errors.__doc__ or "").splitlines():
            found = re.match(r"    ([│ ├└─]*)([A-Z]\w+Error|[A-Z]\w+)", line)
            if found:
                drawn[found[2]] = len(found[1]) // 4
        kinds = {
            kind.__name__: kind.__mro__.index(errors.PyLiteFluxError)
            for kind in vars(errors).values()
            if isinstance(kind, type) and issubclass(kind, errors.PyLiteFluxError)
        }
        self.assertEqual(drawn, kinds)

    def test_the_statuses_in_the_drawing_are_those_of_the_classes(self) -> None:
        for name, status in re.findall(r"─ (\w+) +(\d{3})", errors.__doc__ or ""):
            with self.subTest(name):
                self.assertEqual(vars(errors)[name].status, int(status))


class Fields(unittest.TestCase):
    def test_of_a_message_that_says_only_what_is_wrong(self) -> None:
        error = BadMessage("no")
        self.assertEqual((str(error), error.data_type, error.said), ("no", "", None))
        self.assertIs(error.id, NO_ID)
        self.assertEqual((error.status, error.code, error.setting), (400, "bad_message", ""))

    def test_of_a_message_whose_id_is_null(self) -> None:
        error = BadMessage("no", "json", None, ("", {}, None, None))
        self.assertEqual((error.data_type, error.id), ("json", None))
        self.assertEqual(error.said[1], {})

    def test_a_class_of_the_users_need_not_call_ours(self) -> None:
        class Bad(BadMessage):
            def __init__(self) -> None:
                pass

        error = Bad()
        self.assertEqual((error.data_type, error.id, error.said), ("", NO_ID, None))

    def test_each_timeout_has_a_class_and_its_name_for_programs(self) -> None:
        late = MessageTimeout("late", "xml")
        self.assertEqual((late.status, late.code, late.data_type), (408, "timeout", "xml"))
        self.assertEqual(RequestTimeout("late").status, 408)
        self.assertEqual(ProtocolError("bad").status, 400)

    def test_of_a_frame_and_of_a_wrong_port(self) -> None:
        self.assertEqual(FrameTooLong("long").data_type, "raw")
        self.assertEqual(FrameTooLong("long", "xml").data_type, "xml")
        error = WrongPort("no", "TLS", "json")
        self.assertEqual((str(error), error.spoken, error.data_type), ("no", "TLS", "json"))

    def test_the_id_that_is_none_is_compared_by_identity_and_survives_a_copy(self) -> None:
        self.assertIs(copy.deepcopy(NO_ID), NO_ID)


class AnAnswer(unittest.TestCase):
    def test_a_status_that_is_no_error_is_refused(self) -> None:
        for status in (200, 399, 600, "404", None):
            with self.subTest(status), self.assertRaisesRegex(ValueError, "400 to 599"):
                HTTPError(status)  # type: ignore[arg-type]

    def test_the_fields_are_copied_and_may_come_twice(self) -> None:
        given = {"Allow": "GET"}
        error = HTTPError(405, headers=given)
        given.clear()
        self.assertEqual(error.headers, {"Allow": "GET"})
        twice = [("WWW-Authenticate", "Basic"), ("WWW-Authenticate", "Bearer")]
        self.assertEqual(HTTPError(401, headers=twice).headers, twice)

    def test_a_call_error_says_what_the_server_has_said(self) -> None:
        error = CallError({"error": "busy", "code": "busy", "status": 503})
        self.assertEqual((str(error), error.code, error.status), ("busy (busy, 503)", "busy", 503))
        plain = CallError({"error": "no", "status": "x"})
        self.assertEqual((str(plain), plain.code, plain.status), ("no", "", None))


if __name__ == "__main__":
    unittest.main()
