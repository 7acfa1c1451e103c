"""Owns what a template may say and which names it takes values from. It must not render one.

Templates are jinja2's, cut down to what always ends soon: expressions, conditions and loops that are not nested; no
methods, no assignments, only the filters and functions named here.
"""

import difflib
import re
from collections.abc import Iterable
from typing import NamedTuple

from schemas.template_sandbox import FILTERS, sandbox

FUNCTIONS = frozenset({"uuid", "random_int", "now_ms", "range"})
CONSTANTS = frozenset({"iteration", "worker"})
ENVIRONMENT = "env"
RESERVED = FUNCTIONS | CONSTANTS | {ENVIRONMENT, "loop"}
MAX_PARTS = 5_000
_ALLOWED = frozenset(
    {
        "Template", "Output", "TemplateData", "Name", "Const", "List", "Tuple", "Dict", "Pair", "CondExpr", "Filter",
        "Test", "Call", "Getattr", "Getitem", "Slice", "Concat", "Compare", "Operand", "Mul", "Div", "FloorDiv", "Add",
        "Sub", "Mod", "Pow", "And", "Or", "Not", "Neg", "Pos", "If", "For", "Keyword",
    }
)  # fmt: skip
_MARKS = ("{{", "{%")
_BEGINNINGS = re.compile(r"\{[{%#]*|\r")


class Needs(NamedTuple):
    """The names that a template takes values from; members: those asked for a part of, with the part."""

    names: frozenset[str]
    members: frozenset[tuple[str, str]]


def is_template(text: str) -> bool:
    """Whether anything is to be filled in."""
    return any(mark in text for mark in _MARKS)


def as_it_stands(text: str) -> str:
    """The template that comes to exactly this text."""
    return _BEGINNINGS.sub(lambda found: f"{{{{ {found[0]!r} }}}}", text) if is_template(text) else text


def needs_of(text: str) -> Needs:
    """What a template takes values from. Raises ValueError with one line that says what is wrong with it."""
    from jinja2 import TemplateSyntaxError, meta, nodes

    if not is_template(text):
        return Needs(frozenset(), frozenset())
    if "\r" in text:  # jinja2 would make it a line feed
        raise ValueError("a carriage return in a template is written {{ '\\r' }}")
    try:
        tree = sandbox().parse(text)
        _refuse_what_may_hang(tree)
        asked = frozenset(meta.find_undeclared_variables(tree))
    except TemplateSyntaxError as error:
        raise ValueError(f"the template cannot be read: {error.message}") from None
    except RecursionError:
        raise ValueError("the template is nested too deeply") from None
    members = {
        (node.node.name, node.attr) for node in tree.find_all(nodes.Getattr) if isinstance(node.node, nodes.Name)
    }
    members |= {
        (node.node.name, str(node.arg.value))
        for node in tree.find_all(nodes.Getitem)
        if isinstance(node.node, nodes.Name) and isinstance(node.arg, nodes.Const)
    }
    return Needs(asked, frozenset(member for member in members if member[0] in asked))


def near(name: str, known: Iterable[str]) -> str:
    """A hint at the name that may have been meant, or nothing."""
    found = difflib.get_close_matches(name, sorted(known), n=1)
    return f": did you mean '{found[0]}'?" if found else ""


def _refuse_what_may_hang(tree: object) -> None:
    from jinja2 import nodes

    assert isinstance(tree, nodes.Template)
    for number, node in enumerate(tree.find_all(nodes.Node)):
        if number > MAX_PARTS:
            raise ValueError(f"the template has more than {MAX_PARTS} parts")
        kind = type(node).__name__
        if kind not in _ALLOWED:
            raise ValueError(f"'{kind.lower()}' has no place in a template: use values, filters, if and for")
        if isinstance(node, nodes.For) and (node.recursive or any(True for _ in node.find_all(nodes.For))):
            raise ValueError("a loop in a loop has no place in a template: one is enough")
        if isinstance(node, nodes.Call) and not (isinstance(node.node, nodes.Name) and node.node.name in FUNCTIONS):
            name = getattr(node.node, "name", getattr(node.node, "attr", "that"))
            raise ValueError(f"'{name}' cannot be called in a template: {', '.join(sorted(FUNCTIONS))} can")
        if isinstance(node, nodes.Filter) and node.name not in FILTERS:
            raise ValueError(f"there is no filter '{node.name}'{near(node.name, FILTERS)}")
