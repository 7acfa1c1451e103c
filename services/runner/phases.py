"""Owns which phase of a run an instant belongs to. It must not read a clock or decide what a phase is for."""

from bisect import bisect_right
from collections.abc import Sequence

from schemas.load import Phase
from services.runner.pacing import SECOND_US


class RunPhases:
    """The phases of a run by the instants they begin at, in order; the last one has no end."""

    def __init__(self, phases: Sequence[Phase]) -> None:
        self._starts_us = [phase.starts_s * SECOND_US for phase in phases]
        self._stages = [phase.stage for phase in phases]

    @property
    def is_plain(self) -> bool:
        """Whether everything is judged, as one stage."""
        return self._stages == [0]

    def stage_at(self, instant_us: int) -> int:
        """The stage of a request that is scheduled then; before t0 that of the first phase."""
        return self._stages[max(bisect_right(self._starts_us, instant_us) - 1, 0)]

    def stage_of_second(self, window: int) -> int:
        """The stage of a second, by its end: where users decide when a phase begins, it may begin within it."""
        return self.stage_at((window + 1) * SECOND_US - 1)

    def add(self, starts_us: int, stage: int) -> None:
        """One more phase, behind all others."""
        self._starts_us.append(starts_us)
        self._stages.append(stage)

    def move(self, stage: int, starts_us: int) -> None:
        """A phase begins then instead, for it was found out only now. RunPhases stay in order."""
        self._starts_us[self._stages.index(stage)] = starts_us
