"""Owns one iteration of one user: which step is next, with what values, after what pause. It must not send or wait.

An iteration is one step of the weighted mix, or all steps in their order where the scenario is a sequence. A step that
fails ends its iteration: what follows would be sent without what the answer should have given.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle

from schemas.journey import Retries, Think
from schemas.load import Load
from schemas.outcomes import RequestOutcome
from schemas.scenario import Scenario, Step
from services.runner.chance import fraction
from services.runner.conversations import TALKS, Talks
from services.runner.cookies import Jar
from services.runner.feeds import Feeds, NoFeeds
from services.runner.mix import step_sequence
from services.runner.request import WireRequest
from services.runner.rules import Rules
from services.runner.sharding import Share, first_iteration, first_step
from services.runner.templates import LiteralTemplate, RequestTemplate
from services.runner.wire_edit import Hop, unpackable


@dataclass(frozen=True, slots=True)
class StepScript:
    """One step: what it sends in turn, what is made of the answer, how long the user pauses after it.

    rules: None where nothing is read of the answer. redirects: how many are followed. turns: how often in a row the
    step is done, as one conversation. packed: the answer may come packed.
    """

    templates: Sequence[RequestTemplate]
    weight: int = 1
    think: Think | None = None
    rules: Rules | None = None
    retries: Retries | None = None
    redirects: int = 0
    packed: bool = False
    turns: int = 1


@dataclass(frozen=True, slots=True)
class Script:
    """What the users of a run do. values: those that every iteration begins with. seed: of the run's chances."""

    steps: Sequence[StepScript]
    seed: str
    target: str
    sequence: bool = False
    cookies: bool = False
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
    plain = not (scenario.sequence or scenario.cookies or any(map(_is_ruled, scenario.steps)))
    if literal and feeds is None and plain:
        return None
    steps = [_step_script(step, pool) for step, pool in zip(scenario.steps, templates, strict=True)]
    return Script(steps, seed, scenario.target, scenario.sequence, scenario.cookies, values or {}, feeds or NoFeeds())


def _is_ruled(step: Step) -> bool:
    return bool(step.think or step.checks or step.extract or step.retries or step.redirects)


def _step_script(step: Step, templates: Sequence[RequestTemplate]) -> StepScript:
    rules = Rules(step.checks, step.extract) if step.checks or step.extract else None
    packed = step.reads_body and step.llm is None  # the reading of streams unpacks nothing
    if packed:
        templates = [_asking_for_packed(template) for template in templates]
    turns = 1 if step.llm is None else step.llm.turns
    return StepScript(templates, step.weight, step.think, rules, step.retries, step.redirects, packed, turns)


def _asking_for_packed(template: RequestTemplate) -> RequestTemplate:
    """Where the request is ready; others are told when they are."""
    return template if template.literal is None else LiteralTemplate(unpackable(template.literal))


class Itinerary:
    """One worker's iterations in their order: numbers over the whole run, the steps of each, the requests of each."""

    def __init__(self, script: Script, load: Load, share: Share) -> None:
        self._script = script
        self._next_number, self._stride = first_iteration(load, share)
        first = first_step(load, share)
        self._mix = step_sequence([each.weight for each in script.steps], script.seed, *first)
        self._talks = any(each.turns > 1 for each in script.steps)
        self._pools = [_in_turn(each.templates, *first) for each in script.steps]

    def begin(self) -> "Walk":
        """The next iteration. Raises FeedExhausted."""
        script, number = self._script, self._next_number
        values = {**script.values, **script.feeds.row(number)}
        self._next_number += self._stride
        places: Sequence[int] = range(len(script.steps)) if script.sequence else (next(self._mix),)
        if self._talks:
            values[TALKS] = Talks(number)
            places = [place for place in places for _ in range(script.steps[place].turns)]
        return Walk(number, iter(places), values, Jar() if script.cookies else None)

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


@dataclass(slots=True)
class Asking:
    """One request of a step through all its attempts: what is sent now, where to, and how often it was.

    first: its first attempt. tries: of what is sent now; hops: redirects followed.
    """

    request: WireRequest
    hop: Hop | None = None
    first: RequestOutcome | None = None
    attempts: int = 0
    tries: int = 0
    hops: int = 0


class Walk:
    """Where one user is in its iteration. place: the step that is being done; values: what templates see.

    asking: the request that is on; None between steps and where it could not be made. again_us: the pause after which
    it is sent once more; None where it has ended.
    """

    __slots__ = ("_places", "again_us", "asking", "ended_us", "failed", "jar", "number", "place", "values")

    def __init__(self, number: int, places: Iterator[int], values: dict[str, object], jar: Jar | None) -> None:
        self.number = number
        self._places = places
        self.values = values
        self.jar = jar
        self.place = next(places)
        self.asking: Asking | None = None
        self.again_us: int | None = None
        self.failed = False
        self.ended_us = 0

    def advance(self) -> bool:
        """Goes on to the next step; False at the end of the iteration."""
        self.asking = None
        place = None if self.failed else next(self._places, None)
        if place is None:
            return False
        self.place = place
        return True
