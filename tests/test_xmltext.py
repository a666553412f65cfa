"""xmltext: what is written is read back, and nothing that expands or points elsewhere is read."""

from __future__ import annotations

import random
import unittest
import xml.etree.ElementTree
from typing import Any

from pyliteflux.xmltext import MAX_ATTRIBUTES, Element, read_xml, xml_document

DEPTH = 64


def read(text: str | bytes) -> Element:
    root, fault = read_xml(text.encode() if isinstance(text, str) else text, DEPTH)
    assert not fault, fault
    return root


class Reading(unittest.TestCase):
    def test_an_element_is_its_attributes_its_children_and_its_text(self) -> None:
        for text, name, value in (
            ("<a/>", "a", ""),
            ("<a>x &lt; y</a>", "a", "x < y"),
            ("<a><b>1</b><c/></a>", "a", {"b": "1", "c": ""}),
            ("<a><b>1</b><b>2</b><b>3</b></a>", "a", {"b": ["1", "2", "3"]}),
            ("<a b='1'/>", "a", {"@b": "1"}),
            ("<a b='1'> x </a>", "a", {"@b": "1", "#text": " x "}),
            ("<a b='1'> <c/> x </a>", "a", {"@b": "1", "c": "", "#text": "x"}),
        ):
            with self.subTest(text):
                root = read(text)
                self.assertEqual((root.name, root.value()), (name, value))

    def test_what_an_envelope_knows_is_left_out_of_its_content(self) -> None:
        self.assertEqual(read("<a id='1' b='2'/>").content("id"), {"@b": "2"})
        self.assertIsNone(read("<a id='1'> \n </a>").content("id"))
        self.assertEqual(read("<a id='1'>x</a>").content("id", "other"), "x")

    def test_of_a_bad_document_the_root_is_what_could_be_read(self) -> None:
        for text, fault in (
            ('<a id="7"><b></a>', "bad XML: mismatched tag: line 1, column 16"),
            ('<a id="7">' + "<b>" * DEPTH, f"nested over {DEPTH} levels"),
            ('<a id="7"><b ' + 'x{}="" ' * (MAX_ATTRIBUTES + 1) + "/></a>", "over 64 attributes"),
        ):
            text = text.format(*range(MAX_ATTRIBUTES + 1))
            root, told = read_xml(text.encode(), DEPTH)
            self.assertIn(fault, told)
            self.assertEqual(root.attributes, {"id": "7"})
        for data in (b"", b"<a", b"\xff", b'<?xml version="1.0" encoding="x"?><a/>'):
            root, told = read_xml(data, DEPTH)
            self.assertTrue(told.startswith("bad XML: "), told)
            self.assertEqual(root.name, "")

    def test_nothing_is_declared_expanded_or_fetched(self) -> None:
        """T3: billion laughs, CVE-2013-0340."""
        for text in (
            '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
            '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
            '<!DOCTYPE a PUBLIC "x" "http://127.0.0.1/"><a/>',
        ):
            self.assertIn("DOCTYPE or ENTITY", read_xml(text.encode(), DEPTH)[1])

    def test_a_fault_repeats_no_byte_of_the_document(self) -> None:
        for data in (
            b"<secret",
            b"<a>&secret;</a>",
            b'<?xml version="1.0" encoding="secret"?><a/>',
        ):
            self.assertNotIn("secret", read_xml(data, DEPTH)[1])


class Writing(unittest.TestCase):
    def test_what_is_written_is_read_back(self) -> None:
        chance = random.Random(1998)
        for _ in range(300):
            value = self.some(chance, 4)
            document = xml_document("root", value, {"id": "7"})
            self.assertEqual(document.count(b"\n"), 1, "one line")
            self.assertEqual(read(document).content("id"), value or None, document)

    def some(self, chance: random.Random, depth: int) -> Any:
        """Return a value that XML can say: text, or a dict of names."""
        text = "".join(chance.choice("ab <>&\"'\n\r\t字😀") for _ in range(chance.randrange(1, 6)))
        if not depth or chance.random() < 0.3:
            return text if text.strip() else "x"
        names = chance.sample(["a", "b-1", "名", "_c", "é"], chance.randrange(1, 4))
        return {name: self.some(chance, depth - 1) for name in names}

    def test_what_json_can_say_and_xml_cannot_is_written_all_the_same(self) -> None:
        for value, document in (
            (None, "<r/>"),
            (
                [1, [2.5, True]],
                "<r><item>1</item><item><item>2.5</item><item>true</item></item></r>",
            ),
            ({"a b": 1, "": 2}, '<r><item key="a b">1</item><item key="">2</item></r>'),
            ({"1": None}, '<r><item key="1"/></r>'),
            ("\0\ud800\ufffe", "<r>\ufffd\ufffd\ufffd</r>"),
            ({"@a": 1, "#text": "x"}, '<r a="1">x</r>'),
        ):
            with self.subTest(value):
                self.assertEqual(xml_document("r", value).decode(), document + "\n")

    def test_nesting_beyond_elements_is_its_json_text(self) -> None:
        deep: Any = "x"
        for _ in range(3000):
            deep = [deep]
        root = xml.etree.ElementTree.fromstring(xml_document("r", deep))
        self.assertTrue((root.text or "").startswith("[[["))

    def test_what_json_cannot_write_is_refused_with_its_place(self) -> None:
        with self.assertRaises(TypeError):
            xml_document("r", {"a": [object()]})
        self.assertEqual(xml_document("r", object(), None, lambda value: "it"), b"<r>it</r>\n")


if __name__ == "__main__":
    unittest.main()
