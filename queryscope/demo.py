"""Owns the story of the demo: healthy run, same run with a fault, diagnosis. It must not print."""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from backbone.platform import open_platform
from backbone.settings import Settings
from lab.faults import Fault
from lab.process import LabServer
from lab.settings import TargetSettings
from queryscope.composition import ServiceGroup, make_service
from queryscope.sessions import EmbeddedSession, RunOrder
from schemas.results import RunResult
from schemas.scenario import Scenario

RATE_PER_S = 200
DURATION_S = 10
CONCURRENCY = 16
BASE_MS = 20.0  # at RATE_PER_S some five connections are open, so that every replica is behind one
REPLICAS = 4
SEED = 7

# what makes each fault plain to see under the demo's load; the rest are the lab's defaults
FAULTS: dict[str, dict[str, float]] = {
    "slow_replica": {},
    "server_slowdown": {},
    "periodic_pause": {},
    "error_burst": {"start_s": 3.0, "duration_s": 3.0},
    "server_errors": {},
    "bad_request": {},
    "saturation": {},
    "dead_target": {},
}


@dataclass(frozen=True, slots=True)
class Stage:
    """What the demo stands on while it runs."""

    url: str
    session: EmbeddedSession
    services: ServiceGroup
    target: LabServer


@dataclass(frozen=True, slots=True)
class Story:
    """What happened: both runs, what was injected, what was diagnosed."""

    baseline: RunResult
    faulty: RunResult
    injected: dict[str, object]

    @property
    def diagnosed(self) -> str | None:
        diagnosis = self.faulty.diagnosis
        return diagnosis.causes[0].cause if diagnosis is not None and diagnosis.causes else None

    @property
    def correct(self) -> bool:
        return self.diagnosed == self.injected["fault"]

    def as_json(self) -> dict[str, object]:
        return {
            "baseline": self.baseline.model_dump(mode="json"),
            "faulty": self.faulty.model_dump(mode="json"),
            "injected": self.injected,
            "diagnosed": self.diagnosed,
            "correct": self.correct,
        }


def demo_scenario(url: str, fault: str) -> Scenario:
    """The load of both runs: an open loop, but for what a closed loop shows best (it keeps every connection busy)."""
    closed = fault in ("saturation", "slow_replica")
    load = {"concurrency": CONCURRENCY} if closed else {"rate": RATE_PER_S}
    return Scenario.model_validate(
        {
            "name": "demo",
            "target": url,
            "load": {**load, "duration": DURATION_S},
            "sla": ["p95 < 50ms", "error_rate < 1%"],
        }
    )


@contextlib.asynccontextmanager
async def stage(port: int) -> AsyncIterator[Stage]:
    """A temporary data directory with all services, the page and a lab target; everything ends with the context."""
    from services.api.service import ApiService

    with tempfile.TemporaryDirectory(prefix="queryscope-demo-", ignore_cleanup_errors=True) as folder:
        settings = Settings(data_dir=Path(folder))
        target_settings = TargetSettings(base_ms=BASE_MS, replicas=REPLICAS, seed=SEED)
        async with open_platform(settings) as platform, LabServer(target_settings) as target:
            api = ApiService(platform, host="127.0.0.1", port=port)
            names = ("runner", "aggregator", "diagnoser", "indexer")
            services = ServiceGroup([api, *(make_service(name, platform) for name in names)])
            services.start()
            session = EmbeddedSession(platform, services)
            try:
                url = await services.unless_failed(api.listening())
                yield Stage(url, session, services, target)
            finally:
                await session.close()
                await services.stop()


async def play(on: Stage, fault: str, run_one: Callable[[RunOrder, str], Awaitable[RunResult]]) -> Story:
    """Both runs and what came of them; `run_one(order, label)` follows one run to its diagnosis."""
    scenario = demo_scenario(on.target.url, fault)
    baseline = await run_one(RunOrder(scenario), "baseline")
    planned = Fault(kind=fault, **FAULTS[fault])  # type: ignore[arg-type]  # all parameters given here are floats
    await on.target.inject(planned, relative_to="next_request")
    faulty = await run_one(RunOrder(scenario, baseline_run_id=baseline.run_id), "with a fault")
    record = await on.target.record()
    await on.target.clear()
    injected: dict[str, object] = {"fault": fault, "parameters": planned.parameters(), "record": record}
    return Story(baseline, faulty, injected)
