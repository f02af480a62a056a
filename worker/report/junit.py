"""Results of examples as JUnit XML, for continuous integration. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple
from xml.etree.ElementTree import Element, SubElement, tostring

if TYPE_CHECKING:
    from collections.abc import Sequence

_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Case(NamedTuple):
    """One example: its file, title and line, how long it took, and (message, text) of each failure."""

    file: str
    title: str
    line: int
    seconds: float
    failures: tuple[tuple[str, str], ...]


def report(cases: Sequence[Case]) -> bytes:
    """Return the report as XML: one suite for each file, one case for each example."""
    root = Element("testsuites", name="ach test")
    _count(root, cases)
    for file in dict.fromkeys(case.file for case in cases):
        own = [case for case in cases if case.file == file]
        suite = SubElement(root, "testsuite", name=_clean(file))
        _count(suite, own)
        for case in own:
            _add(suite, case)
    return tostring(root, encoding="utf-8", xml_declaration=True)


def _count(node: Element, cases: Sequence[Case]) -> None:
    node.set("tests", str(len(cases)))
    node.set("failures", str(sum(bool(case.failures) for case in cases)))
    node.set("errors", "0")
    node.set("time", f"{sum(case.seconds for case in cases):.3f}")


def _add(suite: Element, case: Case) -> None:
    where = {"classname": _clean(case.file), "file": _clean(case.file), "line": str(case.line)}
    node = SubElement(suite, "testcase", name=_clean(case.title), time=f"{case.seconds:.3f}", attrib=where)
    for message, text in case.failures:
        SubElement(node, "failure", message=_clean(message), type="expectation").text = _clean(text)


def _clean(text: str) -> str:
    """Return text without the characters that XML cannot hold."""
    return _NO_XML.sub("\ufffd", text)
