"""Owns what a worker has ready before its load: values, requests, rows. It must not send anything.

Whatever is wrong with a file, the environment or a template is found here, before anything is measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from schemas.feeds import Feed
from schemas.scenario import Scenario
from schemas.scenario_names import environment_of, refuse_unknown_names
from services.runner.data_feeds import DataFeed, DataFeeds
from services.runner.errors import RenderFailed, ScenarioNotRunnable
from services.runner.feeds import Feeds
from services.runner.row_files import RowFile
from services.runner.sandbox import Text, Values
from services.runner.step_templates import FilledTemplate, Sources, pools_of
from services.runner.templates import RequestTemplate


@dataclass(frozen=True, slots=True)
class Prepared:
    """pools: what each step sends in turn. values: those that are the same in all iterations. feeds: the others."""

    pools: Sequence[Sequence[RequestTemplate]]
    values: Values
    feeds: Feeds | None


def prepare(scenario: Scenario, run_id: str, values: Values) -> Prepared:
    """values: all that are known before the load. Raises ScenarioNotRunnable."""
    pools = pools_of(scenario, Sources(values))
    wanted = frozenset(n for pool in pools for each in pool if isinstance(each, FilledTemplate) for n in each.names)
    open_feeds = [DataFeed(feed, _opened(feed), run_id) for feed in scenario.data]
    _check_names(scenario, {each.name: each.columns for each in open_feeds})
    used = [each for each in open_feeds if each.ends or wanted & {each.name, *each.columns}]
    return Prepared(pools, values, DataFeeds(used, run_id, wanted) if wanted or used else None)


def known_values(scenario: Scenario, worker: int, environment: Mapping[str, str]) -> dict[str, object]:
    """The variables, what they and others take from the environment, and the worker's number.

    Raises ScenarioNotRunnable where the environment has not what is asked for.
    """
    named = environment_of(scenario)
    if missing := [name for name in named if name not in environment]:
        raise ScenarioNotRunnable(f"the environment variable {missing[0]} is not set, and the scenario names it")
    values: dict[str, object] = {"env": {name: environment[name] for name in named}, "worker": worker}
    for name, value in scenario.variables.items():
        try:
            values[name] = Text(value).fill(values) if isinstance(value, str) else value
        except RenderFailed as error:
            raise ScenarioNotRunnable(f"variable '{name}': {error}") from None
    return values


def columns_of(scenario: Scenario) -> Mapping[str, Sequence[str]]:
    """The columns of each feed, its file checked from its first row to its last. Raises ScenarioNotRunnable."""
    return {feed.name: _opened(feed).columns for feed in scenario.data}


def _check_names(scenario: Scenario, columns: Mapping[str, Sequence[str]]) -> None:
    """Whoever asked over HTTP was not told before."""
    try:
        refuse_unknown_names(scenario, columns)
    except ValidationError as error:
        raise ScenarioNotRunnable(error.errors(include_url=False)[0]["msg"]) from None


def _opened(feed: Feed) -> RowFile:
    try:
        return RowFile(feed.file, feed.kind)
    except ScenarioNotRunnable as error:
        raise ScenarioNotRunnable(f"data '{feed.name}': {error}") from None
