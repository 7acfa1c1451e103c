"""Owns the environment that templates are compiled in, and its limits. It must not know what a template is for.

Nothing undefined passes, and nothing grows without end: not while a template is compiled either, when jinja2 works out
what it can.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

FILTERS = frozenset(
    {
        "abs", "capitalize", "d", "default", "first", "float", "int", "join", "last", "length", "lower", "max", "min",
        "replace", "round", "string", "title", "tojson", "trim", "truncate", "upper", "urlencode",
    }
)  # fmt: skip
MAX_TEXT_CHARACTERS = 16_000_000
MAX_LOOP = 10_000
_MAX_BITS = 4_096


@lru_cache(maxsize=1)
def sandbox() -> "SandboxedEnvironment":
    """jinja2 with the filters that are allowed."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Limited(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*", "**", "%"})

        def call_binop(self, context: object, operator: str, left: Any, right: Any) -> Any:  # Any: jinja2's own
            if not (isinstance(left, int | float) and isinstance(right, int | float)):
                raise ValueError(f"'{operator}' is for numbers")
            if _bits(left, right, operator) > _MAX_BITS:
                raise ValueError(f"{operator} comes to too large a number")
            return super().call_binop(context, operator, left, right)  # type: ignore[arg-type]  # jinja2's context

        def getattr(self, obj: Any, attribute: str) -> Any:  # Any: jinja2's own
            """A column of a row is not hidden by a method of the mapping that holds it."""
            return self.getitem(obj, attribute) if isinstance(obj, Mapping) else super().getattr(obj, attribute)

    environment = Limited(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False, finalize=as_written)
    known = environment.filters | {"replace": _replace}
    environment.filters = {name: known[name] for name in FILTERS}
    environment.globals = {"range": limited_range}
    return environment


def written(value: object) -> str:
    """The text that is put in for a value."""
    return value if type(value) is str else str(as_written(value))


def as_written(value: object) -> object:
    """What is put in for a value: texts and numbers as they are, everything else as JSON says it."""
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else _as_json(value)


def _as_json(value: object) -> object:
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:
        return value  # a function, or what is undefined: it says so itself when it is written


def _bits(left: float, right: float, operator: str) -> int:
    if operator == "%" or not (isinstance(left, int) and isinstance(right, int)):
        return 0
    return left.bit_length() * abs(right) if operator == "**" else left.bit_length() + right.bit_length()


def limited_range(*limits: int) -> range:
    """Raises ValueError where it is too long."""
    numbers = range(*limits)
    if len(numbers) > MAX_LOOP:
        raise ValueError(f"a range of {len(numbers)} is too long: {MAX_LOOP} at most")
    return numbers


def _replace(text: object, old: str, new: str) -> str:
    whole = str(text)
    if len(whole) + whole.count(old) * len(new) > MAX_TEXT_CHARACTERS:
        raise ValueError("replace comes to too long a text")
    return whole.replace(old, new)
