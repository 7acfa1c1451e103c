"""Owns the language of checks: what an answer has to be, read from text. It must not look at answers.

One text is one check; `Check.text` of what was read gives an equal check again.
"""

import functools
import json
import re
from dataclasses import dataclass
from typing import Literal

from lark import Lark, Token, Transformer, UnexpectedInput
from lark.exceptions import VisitError

from schemas.units import parse_duration_s

Subject = Literal["status", "header", "body", "json", "latency"]
Operator = Literal["==", "!=", "<", "<=", ">", ">=", "in", "contains", "matches", "is there"]
Value = str | int | float | bool | tuple[int, ...] | None

EXAMPLES = "'status == 200', 'header content-type contains json', 'json user.id == 3' or 'latency < 200ms'"
LONGEST = 2_000
_BARE = re.compile(r"[^\s\"'/()<>=!,][^\s\"'()<>=!,]*")
_PLAIN_PATH = re.compile(r"[^\s\"'<>=!]+")

_GRAMMAR = r"""
?start: status | header | body | json | latency
status: "status" COMPARES INT -> status
      | "status" "in" "(" INT ("," INT)* ")" -> status_in
header: "header" HEADER text_test? -> header
body: "body" text_test -> body
json: "json" (PATH | STRING) json_test? -> json
latency: "latency" COMPARES DURATION -> latency
text_test: COMPARES text -> compares
         | "contains" text -> contains
         | "matches" REGEX -> matches
json_test: COMPARES literal -> compares
         | "contains" literal -> contains
         | "matches" REGEX -> matches
text: STRING -> string
    | WORD -> word
literal: STRING -> string
       | NUMBER -> number
       | CONSTANT -> constant
COMPARES: "==" | "!=" | "<=" | ">=" | "<" | ">"
HEADER: /[A-Za-z0-9!#$%&*+.^_|~-]+/
PATH: /[^\s"'<>=!]+/
STRING: /"(\\.|[^"\\])*"|'[^']*'/s
WORD: /[^\s"'\/()<>=!,][^\s"'()<>=!,]*/
REGEX: /\/(\\.|[^\/\\])+\//s
CONSTANT: "true" | "false" | "null"
NUMBER: /-?\d{1,300}(\.\d{1,300})?([eE][+-]?\d{1,3})?/
INT: /\d{1,9}/
DURATION: /\d{1,9}(\.\d{1,6})?\s*(us|ms|s|m|h)/
%ignore /\s+/
"""


class CheckError(ValueError):
    """A check that cannot be read; the message is one line that says what to write instead."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check. name: of the header, or the JMESPath. value of latency: microseconds; of "matches": the pattern.

    "is there": the header is there; what the path finds is neither null nor false nor empty.
    """

    subject: Subject
    operator: Operator
    value: Value = None
    name: str = ""

    @property
    def text(self) -> str:
        """The canonical text."""
        name = self.name
        if self.subject == "json" and not _PLAIN_PATH.fullmatch(name):
            name = json.dumps(name, ensure_ascii=False)
        words = [self.subject, name, "" if self.operator == "is there" else f"{self.operator} {self._value_text()}"]
        return " ".join(word for word in words if word)

    @property
    def reads_body(self) -> bool:
        return self.subject in ("body", "json")

    def _value_text(self) -> str:
        value = self.value
        if isinstance(value, tuple):
            return f"({', '.join(map(str, value))})"
        if self.subject == "latency":
            assert isinstance(value, int)
            return f"{value}us" if value % 1000 else f"{value // 1000}ms"
        if self.operator == "matches":
            return f"/{value}/"
        if self.subject in ("header", "body") and isinstance(value, str) and _BARE.fullmatch(value):
            return value
        return json.dumps(value, ensure_ascii=False)


@functools.cache
def _grammar() -> Lark:
    return Lark(_GRAMMAR, parser="lalr")


def parse_check(text: str) -> Check:
    """Reads one check. Raises CheckError."""
    shown = "".join(character if character.isprintable() else " " for character in text[:200])
    if len(text) > LONGEST:
        raise CheckError(f"check '{shown}...' is longer than {LONGEST} characters")
    try:
        check = _Reader().transform(_grammar().parse(text))
        check.text.encode()
    except UnexpectedInput as error:
        at: int | None = error.pos_in_stream  # declared as None by the library, and set
        near = shown[max(0, at or 0) :].strip()[:40] or "the end"
        raise CheckError(f"check '{shown}' cannot be read at '{near}': write it like {EXAMPLES}") from None
    except VisitError as error:
        raise CheckError(f"check '{shown}': {str(error.orig_exc).splitlines()[0]}") from None
    except UnicodeEncodeError:
        raise CheckError(f"check '{shown}' has half of a character in it") from None
    return check


Test = tuple[Operator, Value]


class _Reader(Transformer[Token, Check]):
    """Turns the parse tree into a Check."""

    def status(self, items: list[Token]) -> Check:
        return Check("status", _operator(items[0]), _status(items[1]))

    def status_in(self, items: list[Token]) -> Check:
        return Check("status", "in", tuple(map(_status, items)))

    def header(self, items: list[object]) -> Check:
        test = _test(items)
        if test[0] in ("<", "<=", ">", ">="):
            raise CheckError(f"a header is text: use ==, !=, contains or matches instead of {test[0]}")
        return Check("header", *test, name=str(items[0]).lower())

    def body(self, items: list[object]) -> Check:
        test = _test(["", *items])
        if test[0] in ("<", "<=", ">", ">="):
            raise CheckError(f"a body is text: use ==, !=, contains or matches instead of {test[0]}")
        return Check("body", *test)

    def json(self, items: list[object]) -> Check:
        from schemas.journey import checked_jmespath

        path = str(items[0])
        if path[:1] in "\"'":
            path = _unquoted(path)
        operator, value = _test(items)
        ordered = operator in ("<", "<=", ">", ">=")
        if ordered and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise CheckError(f"{operator} compares numbers")
        if operator == "contains" and not isinstance(value, str | int | float):
            raise CheckError("contains looks for a text, a number, true or false")
        return Check("json", operator, value, checked_jmespath(path))

    def latency(self, items: list[Token]) -> Check:
        operator = _operator(items[0])
        if operator not in ("<", "<="):
            raise CheckError("a latency is checked with < or <=")
        return Check("latency", operator, round(parse_duration_s(str(items[1])) * 1e6))

    def compares(self, items: list[object]) -> Test:
        return _operator(items[0]), _value(items[1])

    def contains(self, items: list[object]) -> Test:
        return "contains", _value(items[0])

    def matches(self, items: list[object]) -> Test:
        from schemas.journey import checked_regex

        return "matches", checked_regex(str(items[0])[1:-1])

    def string(self, items: list[Token]) -> tuple[str]:
        return (_unquoted(str(items[0])),)

    def word(self, items: list[Token]) -> tuple[str]:
        return (str(items[0]),)

    def number(self, items: list[Token]) -> tuple[int | float]:
        number: int | float = json.loads(str(items[0]))
        if number in (float("inf"), float("-inf")):
            raise CheckError(f"{items[0][:20]} is too large a number")
        return (number,)

    def constant(self, items: list[Token]) -> tuple[bool | None]:
        return ({"true": True, "false": False, "null": None}[str(items[0])],)


def _test(items: list[object]) -> Test:
    test = items[1] if len(items) > 1 else None
    return test if isinstance(test, tuple) else ("is there", None)


def _value(item: object) -> Value:
    assert isinstance(item, tuple)  # values travel boxed: a tree drops a bare None
    value: Value = item[0]
    return value


def _operator(token: object) -> Operator:
    return str(token)  # type: ignore[return-value]  # the grammar knows no other


def _status(token: Token) -> int:
    status = int(token)
    if not 100 <= status <= 999:
        raise CheckError(f"{token} is not an HTTP status")
    return status


def _unquoted(text: str) -> str:
    if text[0] == "'":
        return text[1:-1]
    try:
        plain: str = json.loads(text, strict=False)
    except ValueError:
        raise CheckError(f"{text} has an escape in it that JSON does not know") from None
    return plain
