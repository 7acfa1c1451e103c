"""Owns what a step's rules make of an answer: checks passed or not, values found. Compiled once for a run.

It must not send, wait or keep anything between answers.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from schemas.checks import Check, parse_check
from schemas.journey import Extract
from schemas.patterns import compiled
from services.runner.answer import Answer
from services.runner.decoding import BodyUnreadable

Test = Callable[[Answer], bool]
Find = Callable[[Answer], object]
SHOWN_CHARACTERS = 120
_STEPS = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}(\.[A-Za-z_][A-Za-z0-9_]{0,99}|\[[0-9]{1,9}\])*")
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


class Finding(NamedTuple):
    """What became of an answer. broken: which rule it broke, None where it kept them all; accepted: a status of 400
    and above that a status check asks for; values: what was extracted."""

    broken: str | None = None
    accepted: bool = False
    values: Mapping[str, object] = {}


class Rules:
    """The checks and extractions of one step."""

    def __init__(self, checks: Sequence[str], extracts: Mapping[str, Extract]) -> None:
        parsed = [parse_check(text) for text in checks]
        self._checks = [(check.text, _test_of(check)) for check in parsed]
        self._extracts = [(name, _find_of(extract)) for name, extract in extracts.items()]
        self._names_status = any(check.subject == "status" for check in parsed)

    def read(self, answer: Answer) -> Finding:
        """A status of 400 and above that no status check speaks of is a failure as it stands: nothing else is read."""
        bad = answer.status >= 400
        if bad and not self._names_status:
            return Finding()
        for text, test in self._checks:
            if (broken := _broken(text, test, answer)) is not None:
                return Finding(broken)
        values: dict[str, object] = {}
        for name, find in self._extracts:
            try:
                value = find(answer)
            except BodyUnreadable as error:
                return Finding(_shown(f"extract {name}", str(error)))
            if value is None:
                return Finding(_shown(f"extract {name}", "nothing found"))
            values[name] = value
        return Finding(None, bad, values)


def _broken(text: str, test: Test, answer: Answer) -> str | None:
    try:
        return None if test(answer) else text[:SHOWN_CHARACTERS]
    except BodyUnreadable as error:
        return _shown(text, str(error))


def _shown(rule: str, why: str) -> str:
    return f"{rule[: SHOWN_CHARACTERS - len(why) - 3]} ({why})"


def _test_of(check: Check) -> Test:
    match check.subject:
        case "status":
            return _status_test(check)
        case "latency":
            limit_us, compare = check.value, _COMPARE[check.operator]
            assert isinstance(limit_us, int)
            return lambda answer: compare(answer.latency_us, limit_us)
        case "header":
            test, name = _text_test(check), check.name
            return lambda answer: (value := answer.header(name)) is not None and test(value)
        case "body":
            test = _text_test(check)
            return lambda answer: test(answer.text)
        case "json":
            find, judge = _json_find(check.name), _json_test(check)
            return lambda answer: judge(find(answer))


def _status_test(check: Check) -> Test:
    if check.operator == "in":
        allowed = check.value
        assert isinstance(allowed, tuple)
        return lambda answer: answer.status in allowed
    status, compare = check.value, _COMPARE[check.operator]
    assert isinstance(status, int)
    return lambda answer: compare(answer.status, status)


def _text_test(check: Check) -> Callable[[str], bool]:
    wanted = check.value if isinstance(check.value, str) else ""
    match check.operator:
        case "==":
            return lambda text: text == wanted
        case "!=":
            return lambda text: text != wanted
        case "contains":
            return lambda text: wanted in text
        case "matches":
            pattern = compiled(wanted)
            return lambda text: pattern.search(text) is not None
        case _:
            return lambda text: True  # it is there


def _json_test(check: Check) -> Callable[[object], bool]:
    wanted = check.value
    match check.operator:
        case "is there":
            return lambda found: found not in (None, False, "", [], {}) or _is_number(found)
        case "==":
            return lambda found: _same(found, wanted)
        case "!=":
            return lambda found: not _same(found, wanted)
        case "contains":
            return lambda found: _contains(found, wanted)
        case "matches":
            pattern = compiled(str(wanted))
            return lambda found: isinstance(found, str) and pattern.search(found) is not None
        case _:
            compare = _COMPARE[check.operator]
            assert isinstance(wanted, int | float)
            return lambda found: _is_number(found) and compare(found, wanted)  # type: ignore[arg-type]  # it is a number


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(found: object, wanted: object) -> bool:
    return isinstance(found, bool) == isinstance(wanted, bool) and found == wanted  # in JSON true is not 1


def _contains(found: object, wanted: object) -> bool:
    if isinstance(found, str):
        return isinstance(wanted, str) and wanted in found
    return isinstance(found, list) and any(_same(each, wanted) for each in found)


def _json_find(path: str) -> Find:
    """Names and places one after the other, which is what most paths are, cost less without the library."""
    if _STEPS.fullmatch(path):
        steps = [int(step) if step.isdigit() else step for step in re.findall(r"\w+", path)]
        return lambda answer: _walked(answer.json, steps)
    import jmespath
    from jmespath.exceptions import JMESPathError

    search = jmespath.compile(path).search

    def find(answer: Answer) -> object:
        try:
            return search(answer.json)
        except (JMESPathError, TypeError, ValueError, ArithmeticError, RecursionError):
            raise BodyUnreadable("the path does not fit the body") from None

    return find


def _walked(found: object, steps: Sequence[int | str]) -> object:
    for step in steps:
        if isinstance(step, str):
            found = found.get(step) if isinstance(found, dict) else None
        else:
            found = found[step] if isinstance(found, list) and step < len(found) else None
    return found


def _find_of(extract: Extract) -> Find:
    if extract.json_path is not None:
        return _json_find(extract.json_path)
    if extract.header is not None:
        name = extract.header.lower()
        return lambda answer: answer.header(name)
    pattern = compiled(extract.regex or "")
    group = 1 if pattern.groups else 0

    def find(answer: Answer) -> object:
        match = pattern.search(answer.text)
        return None if match is None else match[group]

    return find
