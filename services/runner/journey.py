"""Owns one iteration of one user: which step is next, with what values, after what pause. It must not send or wait.

An iteration is one step of the weighted mix, or all steps in their order where the scenario is a sequence. A step that
fails ends its iteration: what follows would be sent without what the answer should have given.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle

from schemas.journey import Think
from schemas.load import Load
from schemas.outcomes import RequestOutcome
from schemas.scenario import Scenario, Step
from services.runner.chance import fraction
from services.runner.feeds import Feeds, NoFeeds
from services.runner.mix import step_sequence
from services.runner.sharding import Share, first_iteration, first_step
from services.runner.templates import RequestTemplate


@dataclass(frozen=True, slots=True)
class StepScript:
    """One step: what it sends in turn, and how long the user pauses after it."""

    templates: Sequence[RequestTemplate]
    weight: int = 1
    think: Think | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """What the users of a run do. values: those that every iteration begins with. seed: of the run's chances."""

    steps: Sequence[StepScript]
    seed: str
    sequence: bool = False
    values: Mapping[str, object] = field(default_factory=dict)
    feeds: Feeds = field(default_factory=NoFeeds)


def script_of(
    scenario: Scenario,
    seed: str,
    templates: Sequence[Sequence[RequestTemplate]],
    values: Mapping[str, object] | None = None,
    feeds: Feeds | None = None,
) -> Script | None:
    """templates: of each step, in turn. None where every request is literal and stands for itself."""
    literal = all(template.literal is not None for pool in templates for template in pool)
    if literal and feeds is None and not scenario.sequence and not any(map(_has_rules, scenario.steps)):
        return None
    steps = [StepScript(pool, step.weight, step.think) for step, pool in zip(scenario.steps, templates, strict=True)]
    return Script(steps, seed, scenario.sequence, values or {}, feeds or NoFeeds())


def _has_rules(step: Step) -> bool:
    return step.think is not None


class Itinerary:
    """One worker's iterations in their order: numbers over the whole run, the steps of each, the requests of each."""

    def __init__(self, script: Script, first: tuple[int, int], step: tuple[int, int]) -> None:
        self._script = script
        self._next_number, self._stride = first
        self._mix = step_sequence([each.weight for each in script.steps], script.seed, *step)
        self._pools = [_in_turn(each.templates, *step) for each in script.steps]

    @classmethod
    def of(cls, script: Script, scenario_load: Load, share: Share) -> "Itinerary":
        """That of a worker with this share of the load."""
        return cls(script, first_iteration(scenario_load, share), first_step(scenario_load, share))

    def begin(self) -> "Walk":
        """The next iteration. Raises FeedExhausted."""
        script, number = self._script, self._next_number
        values = {**script.values, **script.feeds.row(number)}
        self._next_number += self._stride
        places = range(len(script.steps)) if script.sequence else (next(self._mix),)
        return Walk(number, iter(places), values)

    def template(self, place: int) -> RequestTemplate:
        """What the step at this place sends now."""
        return next(self._pools[place])

    def think_us(self, walk: "Walk") -> int:
        """The user's pause after the step it has done."""
        think = self._script.steps[walk.place].think
        if think is None:
            return 0
        drawn = fraction(self._script.seed, "think", walk.number, walk.place)
        return round((think.min_s + drawn * (think.max_s - think.min_s)) * 1e6)


def _in_turn(pool: Sequence[RequestTemplate], first: int, stride: int) -> Iterator[RequestTemplate]:
    return cycle([pool[(first + turn * stride) % len(pool)] for turn in range(len(pool))])


class Walk:
    """Where one user is in its iteration. place: the step that is being done; values: what templates see."""

    __slots__ = ("_places", "ended_us", "failed", "number", "place", "values")

    def __init__(self, number: int, places: Iterator[int], values: dict[str, object]) -> None:
        self.number = number
        self._places = places
        self.values = values
        self.place = next(places)
        self.failed = False
        self.ended_us = 0

    def note(self, outcome: RequestOutcome) -> None:
        """The request of the step has ended."""
        self.ended_us = outcome.finished
        self.failed = outcome.error is not None or outcome.status >= 400

    def advance(self) -> bool:
        """Goes on to the next step; False at the end of the iteration."""
        place = None if self.failed else next(self._places, None)
        if place is None:
            return False
        self.place = place
        return True
