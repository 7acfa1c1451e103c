"""Owns how a scenario is read from a file or from options, with errors that point at the place. It must not run one."""

import difflib
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError

from queryscope.errors import ConfigurationError, reason_of
from queryscope.prompts import read_prompts
from queryscope.variables import with_variables
from schemas.auth import ApiKey, Auth, Basic
from schemas.feeds import Feed
from schemas.limits import unmeant_in
from schemas.llm import Llm, Price, Slo
from schemas.load import Load, Spike, Stage
from schemas.prompts import Synthetic
from schemas.request import FilePart, Request
from schemas.scenario import Scenario, SetupStep, Step, Timeouts
from schemas.scenario_files import with_files
from schemas.scenario_names import refuse_unknown_names
from schemas.transport import Dns, Tls


def is_file_argument(target: str) -> bool:
    """Whether the TARGET argument names a scenario file (or "-") rather than a URL."""
    return target == "-" or ("://" not in target and target.lower().endswith((".yaml", ".yml", ".json")))


def read_scenario(argument: str, variables: Mapping[str, str] | None = None) -> Scenario:
    """Reads YAML or JSON from a file, or stdin for "-". Raises ConfigurationError with line and column.

    variables: other values for those of the scenario.
    """
    try:
        text = sys.stdin.read() if argument == "-" else Path(argument).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"scenario {argument} cannot be read: {reason_of(error)}") from None
    if argument == "-":
        return parse_scenario(text, "standard input", variables=variables)
    return parse_scenario(text, argument, Path(argument).parent, variables=variables)


def parse_scenario(
    text: str, origin: str, folder: Path = Path(), *, variables: Mapping[str, str] | None = None
) -> Scenario:
    """A scenario from YAML or JSON text; `origin` names it in errors, its files lie below `folder`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        document = YAML(typ="rt").load(io.StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{origin}:{mark.line + 1}:{mark.column + 1}" if mark is not None else origin
        raise ConfigurationError(f"{place}: {error.problem or 'not YAML'}") from None
    except YAMLError as error:
        raise ConfigurationError(f"{origin}: not YAML ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(document, Mapping):
        raise ConfigurationError(f"{origin}: a scenario is a mapping that has at least `target: http://...`")
    try:
        scenario = Scenario.model_validate(_with_prompts(_plain(document), folder))
        scenario = with_variables(scenario, variables or {})
        scenario = with_files(scenario, lambda path: str((folder / path).absolute()))
        if scenario.data or scenario.load.trace_file is not None:
            _check_data(scenario, document, origin)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, document, origin)) from None
    if unmeant := unmeant_in(scenario):
        raise ConfigurationError(f"{origin}: {unmeant}")
    return scenario


def _check_data(scenario: Scenario, document: object, origin: str) -> None:
    """Reads the files of rows and of arrivals, and looks whether templates name columns that there are."""
    from services.runner.errors import ScenarioNotRunnable
    from services.runner.preparing import columns_of
    from services.runner.traces import read_trace

    try:
        if scenario.load.trace_file is not None:
            read_trace(scenario.load.trace_file, scenario.load.speed)
        refuse_unknown_names(scenario, columns_of(scenario))
    except ScenarioNotRunnable as error:
        line, column = _position(document, ("data",))
        raise ConfigurationError(f"{origin}:{line}:{column}: {error}") from None


def _plain(node: object) -> object:
    """ruamel's position-carrying containers as plain ones."""
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(item) for item in node]
    return node


def _with_prompts(document: object, folder: Path) -> object:
    """With the prompts that stand in files of their own; what is not as it should be is left for the schema to say."""
    steps = document.get("steps") if isinstance(document, dict) else None
    for step in steps if isinstance(steps, list) else ():
        llm = step.get("llm") if isinstance(step, dict) else None
        if isinstance(llm, dict) and isinstance(llm.get("prompt"), str):
            llm["prompt"] = read_prompts(llm["prompt"], folder)
    return document


def _explain(error: ValidationError, document: object, origin: str) -> str:
    problem = error.errors(include_url=False)[0]
    line, column = _position(document, problem["loc"])
    where = ".".join(map(str, problem["loc"]))
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(problem["loc"][-1]), _known_fields(problem["loc"]), n=1)
        message = "no such field" + (f": did you mean '{near[0]}'?" if near else "")
    return f"{origin}:{line}:{column}: {where}: {' '.join(message.split())}"


def _known_fields(loc: Sequence[int | str]) -> list[str]:
    models: dict[str, type[BaseModel]] = {"load": Load, "timeouts": Timeouts, "steps": Step, "request": Request}
    models |= {"stages": Stage, "spike": Spike, "llm": Llm, "prices": Price, "data": Feed}
    models |= {"setup": SetupStep, "auth": Auth, "basic": Basic, "api_key": ApiKey, "multipart": FilePart}
    models |= {"slo": Slo, "synthetic": Synthetic, "tls": Tls, "dns": Dns}
    owner: type[BaseModel] = Scenario
    for part in loc[:-1]:
        owner = models.get(str(part), owner)
    return [field.alias or name for name, field in owner.model_fields.items()]


def _position(document: object, loc: Sequence[int | str]) -> tuple[int, int]:
    """Line and column, from 1, of the deepest part of `loc` that is in the document."""
    node, found = document, (1, 1)
    for part in loc:
        marks = getattr(node, "lc", None)
        if marks is None:
            break
        try:
            line, column = marks.key(part) if isinstance(node, Mapping) else marks.item(part)
            node = node[part]  # type: ignore[index]  # a mapping or a list: it has positions
        except (KeyError, IndexError, TypeError):
            break
        found = (line + 1, column + 1)
    return found
