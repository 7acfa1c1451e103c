"""Owns how the text of a template is filled in, within limits. It must not know what the text is for.

What a template may say at all is decided when its scenario is read (schemas/template_language.py). A template that only
puts values between fixed texts, as most do, is done without jinja2: it takes a tenth of the time.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from schemas.template_language import is_template, needs_of
from schemas.template_sandbox import MAX_TEXT_CHARACTERS, limited_range, sandbox, written
from services.runner.errors import RenderFailed, ScenarioNotRunnable

if TYPE_CHECKING:
    from jinja2 import Template

_NO_TEMPLATE = (ValueError, RecursionError, SyntaxError, MemoryError)
Values = Mapping[str, object]
Lookup = Callable[[Values], object]


class Text:
    """One text of a scenario. names: what it takes values from; none where it is always the same.

    parts: fixed texts, and how the values between them are found; empty where it takes jinja2 to fill it in.
    """

    __slots__ = ("_template", "names", "parts", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.names: frozenset[str] = frozenset()
        self._template: Template | None = None
        self.parts: Sequence[str | Lookup] = ()
        if is_template(source):
            try:
                self.names = needs_of(source).names - {"range"}
                self._template = sandbox().from_string(source)
            except _NO_TEMPLATE as error:  # whoever read the scenario has said so already
                raise ScenarioNotRunnable(str(error)) from None
            self.parts = _plain_parts(source)

    @classmethod
    def literal(cls, source: str) -> "Text":
        """One in which nothing is to be filled in, whatever it looks like."""
        text = cls("")
        text.source = source
        return text

    def fill(self, values: Values) -> str:
        """The text with these values. Raises RenderFailed."""
        if self._template is None:
            return self.source
        try:
            if self.parts:
                return self.joined([part if isinstance(part, str) else part(values) for part in self.parts])
            return self._within_limits(self._template.render(values))
        except RenderFailed:
            raise
        except Exception as error:  # a template may go wrong in as many ways as a program
            raise self.failure(error) from None

    def joined(self, found: Sequence[object]) -> str:
        """The text made of its parts, each with its value in its place."""
        return self._within_limits("".join([written(each) for each in found]))

    def failure(self, error: Exception) -> RenderFailed:
        """What to say of it."""
        return RenderFailed(f"'{self.source[:80]}': {_why(error)}")

    def _within_limits(self, filled: str) -> str:
        if len(filled) > MAX_TEXT_CHARACTERS:
            raise RenderFailed(f"'{self.source[:80]}' comes to {len(filled)} characters")
        return filled


def _plain_parts(source: str) -> Sequence[str | Lookup]:
    """Of a template that only puts values between fixed texts; empty for every other one."""
    from jinja2 import nodes

    parts: list[str | Lookup] = []
    for output in sandbox().parse(source).body:
        if not isinstance(output, nodes.Output):
            return ()
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                parts.append(node.data)
            elif (lookup := _lookup(node)) is not None:
                parts.append(lookup)
            else:
                return ()
    return parts


def _lookup(node: object) -> Lookup | None:
    from jinja2 import nodes

    if isinstance(node, nodes.Name):
        return _by_name(node.name)
    if isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name):
        return _by_member(node.node.name, node.attr)
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and not (node.kwargs or node.dyn_args):
        arguments = [each.value for each in node.args if isinstance(each, nodes.Const)]
        if len(arguments) == len(node.args) and node.dyn_kwargs is None:
            return _by_call(node.node.name, arguments)
    return None


def _by_name(name: str) -> Lookup:
    def look_up(values: Values) -> object:
        try:
            return values[name]
        except KeyError:
            raise ValueError(f"'{name}' is not defined") from None

    return look_up


def _by_member(name: str, member: str) -> Lookup:
    def look_up(values: Values) -> object:
        owner = _present(values, name)
        if type(owner) is not dict and not isinstance(owner, Mapping):
            raise ValueError(f"'{name}' has no parts: '{member}' is not in it")
        return _present(owner, member)

    return look_up


def _by_call(name: str, arguments: Iterable[object]) -> Lookup:
    given = tuple(arguments)

    def call(values: Values) -> object:
        function = limited_range if name == "range" else _present(values, name)
        assert callable(function)  # a scenario whose names were checked
        return function(*given)

    return call


def _present(values: Values, name: str) -> object:
    try:
        return values[name]
    except KeyError:
        raise ValueError(f"'{name}' is not defined") from None


def _why(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
