"""Owns the short form of a run, so that a list of runs costs an agent few tokens. It must not fetch anything."""

from pydantic import BaseModel, Field

from schemas.results import RunResult, Status, Verdict


class RunFilters(BaseModel):
    """Exact matches; what is left out matches everything."""

    name: str | None = None
    target: str | None = None
    status: Status | None = None
    verdict: Verdict | None = None
    labels: dict[str, str] = Field(default_factory=dict)

    def as_search_fields(self) -> dict[str, str]:
        """As the search index names them."""
        given = self.model_dump(exclude={"labels"}, exclude_none=True)
        return given | {f"label.{key}": value for key, value in self.labels.items()}

    def match(self, run: RunResult) -> bool:
        """Whether a run is meant."""
        wanted = self.model_dump(exclude={"labels"}, exclude_none=True)
        same = all(getattr(run, key) == value for key, value in wanted.items())
        return same and all(run.labels.get(key) == value for key, value in self.labels.items())


class CompactRun(BaseModel):
    """A run in one line of figures; get_run has the rest."""

    run_id: str
    name: str
    target: str
    status: Status
    verdict: Verdict | None
    started_at: str | None
    requests: int
    error_rate: float
    throughput_rps: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    cause: str | None
    labels: dict[str, str]


class RunList(BaseModel):
    """Nearest first for a query, else newest first."""

    runs: list[CompactRun]


def compact(run: RunResult) -> CompactRun:
    """The short form."""
    latency = run.metrics.latency_ms
    causes = run.diagnosis.causes if run.diagnosis is not None else ()
    return CompactRun(
        run_id=run.run_id,
        name=run.name,
        target=run.target,
        status=run.status,
        verdict=run.verdict,
        started_at=run.started_at,
        requests=run.metrics.requests,
        error_rate=run.metrics.error_rate,
        throughput_rps=run.metrics.throughput_rps,
        p50_ms=latency.p50,
        p95_ms=latency.p95,
        p99_ms=latency.p99,
        cause=causes[0].cause if causes else None,
        labels=run.labels,
    )
