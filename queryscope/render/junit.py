"""Owns how a run's result looks as JUnit XML, for build servers. It must not compute a figure or write a file.

One test suite a run; a test case for each promise, one for the run's end and one for its validity. A broken promise
is a failure. A run that did not come to its end, or that may not be trusted, is an error: nothing failed, but nothing
is known. Promises that could not be judged are skipped; then the run is invalid, and its validity says so.
"""

import re
import xml.etree.ElementTree as ET

from queryscope.render.result import figure
from schemas.results import RunResult, SlaResult

END = "the run came to its end"
VALIDITY = "the run is valid"
NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""XML 1.0 has no way to write these, not even escaped."""


def junit_xml(result: RunResult) -> str:
    """The document of a run that is over."""
    suite = _suite(result.name, result.metrics.duration_s)
    if result.started_at is not None:
        suite.set("timestamp", result.started_at[:19])
    properties = ET.SubElement(suite, "properties")
    facts = {"run_id": result.run_id, "target": result.target, "verdict": result.verdict or result.status}
    for name, value in (facts | {f"label.{name}": value for name, value in result.labels.items()}).items():
        ET.SubElement(properties, "property", name=_text(name), value=_text(value))
    for each in result.sla:
        _promise(_case(suite, result.name, each.expression, result.metrics.duration_s), each, result)
    ended = _case(suite, result.name, END)
    if result.status != "finished":
        _add(ended, "error", result.status, result.failure or _what_happened(result))
    validity = _case(suite, result.name, VALIDITY)
    if result.status != "finished":
        _add(validity, "skipped", None, "the run did not come to its end")
    elif result.verdict == "invalid":
        _add(validity, "error", "invalid", "; ".join(result.validity.reasons) or "a promise could not be judged")
    return _document(suite)


def junit_of_error(name: str, message: str) -> str:
    """The document where there is no result, because the run could not be made or broke off."""
    suite = _suite(name, 0.0)
    _add(_case(suite, name, END), "error", "error", message)
    return _document(suite)


def _promise(case: ET.Element, each: SlaResult, result: RunResult) -> None:
    bound = "at least " if each.lower_bound else ""
    actual = f"{each.metric} is {bound}{figure(each.actual, each.unit)}"
    words = f"{actual}, the promise is {each.expression}" + (f" ({each.note})" if each.note else "")
    if each.status == "not_enough_data":
        _add(case, "skipped", None, f"not enough data: {words}")
    elif not result.validity.valid:
        _add(case, "skipped", None, f"the run is not valid: {words}")
    elif each.status == "breach":
        failure = _add(case, "failure", "sla", words)
        lines = {
            "metric": each.metric,
            "target": figure(each.target, each.unit),
            "actual": bound + figure(each.actual, each.unit),
            "delta": figure(each.delta, each.unit, signed=True),
            "run": result.run_id,
        }
        failure.text = _text("\n".join(f"{name}: {value}" for name, value in lines.items()))


def _what_happened(result: RunResult) -> str:
    if result.status == "failed":
        kinds = ", ".join(result.metrics.by_error) or "no answer"
        return f"{result.target} never answered HTTP ({kinds})"
    return {"cancelled": "the run was stopped from outside", "lost": "the process of the run died"}.get(
        result.status, f"the run is {result.status}"
    )


def _suite(name: str, time_s: float) -> ET.Element:
    return ET.Element("testsuite", name=_text(name), time=f"{time_s:.3f}")


def _case(suite: ET.Element, run_name: str, name: str, time_s: float = 0.0) -> ET.Element:
    attributes = {"classname": _text(f"queryscope.{run_name}"), "name": _text(name), "time": f"{time_s:.3f}"}
    return ET.SubElement(suite, "testcase", attributes)


def _add(case: ET.Element, tag: str, kind: str | None, message: str) -> ET.Element:
    attributes = {"message": _text(message)} | ({} if kind is None else {"type": kind})
    return ET.SubElement(case, tag, attributes)


def _document(suite: ET.Element) -> str:
    counts = {
        "tests": len(suite.findall("testcase")),
        "failures": len(suite.findall("testcase/failure")),
        "errors": len(suite.findall("testcase/error")),
        "skipped": len(suite.findall("testcase/skipped")),
    }
    root = ET.Element("testsuites", name="queryscope", time=suite.get("time", "0"))
    root.append(suite)
    for element in (root, suite):
        for name, count in counts.items():
            element.set(name, str(count))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _text(value: str) -> str:
    return NOT_IN_XML.sub("\ufffd", value)
