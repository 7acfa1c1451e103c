"""Owns what a diagnosis knows of earlier runs. It must not read them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from schemas.diagnosis import SimilarRun
from services.diagnoser.facts import MIN_BLOCKS, Floats


@dataclass(frozen=True, slots=True)
class PastRun:
    """One earlier run: whole seconds of it, NaN where nothing was measured.

    comparable: under the same load as the run in question. healthy: valid, and no cause was named for it.
    """

    run_id: str
    is_baseline: bool
    comparable: bool
    healthy: bool
    service_p50_ms: Floats
    throughput: Floats
    error_rate: Floats

    @property
    def usable(self) -> bool:
        return self.comparable and self.healthy and int(np.isfinite(self.service_p50_ms).sum()) >= MIN_BLOCKS


@dataclass(frozen=True, slots=True)
class History:
    """The baseline, the five most recent runs of the same target before this one (latest first), similar runs."""

    baseline: PastRun | None = None
    recent: tuple[PastRun, ...] = ()
    similar: tuple[SimilarRun, ...] = ()

    @property
    def reference(self) -> PastRun | None:
        """The run to compare with: the baseline, else the latest healthy one under the same load."""
        candidates = ((self.baseline,) if self.baseline is not None else ()) + self.recent
        return next((run for run in candidates if run.usable), None)

    @property
    def usual_p50_ms(self) -> Floats:
        """Median service time of each healthy comparable run."""
        return np.array([float(np.nanmedian(run.service_p50_ms)) for run in self.recent if run.usable])

    def hashes(self) -> Mapping[str, bytes]:
        """What of each earlier run the diagnosis rests on."""
        runs = self.recent + ((self.baseline,) if self.baseline is not None else ())
        return {
            f"{run.run_id}{'*' if run.is_baseline else ''}{run.comparable:d}{run.healthy:d}": b"".join(
                part.tobytes() for part in (run.service_p50_ms, run.throughput, run.error_rate)
            )
            for run in runs
        }


NO_HISTORY = History()
