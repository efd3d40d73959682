"""A run as JUnit's XML, which every CI shows as tests: a suite a service, a case a rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from compiler.diagnostics import Diagnostic, Severity
from compiler.ir.names import natural_key
from compiler.ir.review import Verdict
from compiler.views.diagnostics import as_read
from compiler.views.terminal import safe_text

_FLEET = "fleet"
_FILES = "files"


def junit_xml(diagnostics: Sequence[Diagnostic], verdicts: Sequence[Verdict]) -> str:
    """Suites of the fleet, of its services, and of the files that have faults.

    A warning is a case that passes and has its text as output.
    """
    suites: dict[str, list[Element]] = defaultdict(list)
    for verdict in verdicts:
        suites[verdict.service or _FLEET].append(_rule(verdict))
    for diagnostic in as_read(diagnostics):
        # A rule that is broken is a case of its service.
        if diagnostic.code == "review-rule" and verdicts:
            continue
        suites[_FILES].append(_finding(diagnostic))
    if not suites:
        suites[_FILES].append(Element("testcase", classname=_FILES, name="read"))
    root = Element("testsuites", name="modelc")
    for name in sorted(
        suites, key=lambda name: (name != _FLEET, name != _FILES, natural_key(name))
    ):
        cases = suites[name]
        suite = SubElement(root, "testsuite", name=safe_text(name), tests=str(len(cases)))
        suite.set("failures", str(sum(1 for case in cases if case.find("failure") is not None)))
        suite.set("skipped", str(sum(1 for case in cases if case.find("skipped") is not None)))
        suite.set("errors", "0")
        suite.extend(cases)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _rule(verdict: Verdict) -> Element:
    case = Element("testcase", classname=safe_text(verdict.service or _FLEET), name=verdict.rule)
    detail = safe_text(verdict.detail)
    if verdict.skipped:
        SubElement(case, "skipped", message=detail)
    elif not verdict.kept:
        SubElement(case, "failure", message=detail, type=verdict.rule).text = detail
    else:
        SubElement(case, "system-out").text = detail
    return case


def _finding(diagnostic: Diagnostic) -> Element:
    place = diagnostic.location
    shown = f"{place.path}:{place.line}:{place.column}" if place else "no file"
    case = Element("testcase", classname=_FILES, name=safe_text(f"{diagnostic.code} at {shown}"))
    if place is not None:
        case.set("file", safe_text(place.path))
        case.set("line", str(place.line))
    told = [*diagnostic.detail.splitlines(), *(f"hint: {hint}" for hint in diagnostic.hints)]
    text = "\n".join(safe_text(line) for line in told)
    if diagnostic.severity is Severity.ERROR:
        failure = SubElement(case, "failure", message=diagnostic.summary, type=diagnostic.code)
        failure.text = text
    else:
        SubElement(case, "system-out").text = text
    return case
