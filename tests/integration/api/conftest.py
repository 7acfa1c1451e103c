"""Owns a served API on an open platform, and a hand that writes projections as the aggregator would."""

from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from backbone.database import tables as t
from backbone.platform import Platform, open_platform
from backbone.settings import Settings
from schemas.results import TimelineRow
from schemas.scenario import Scenario
from tests.integration.served import served


class Projector:
    """Writes rows straight into the tables."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def run(
        self,
        run_id: str,
        *,
        status: str = "running",
        requested_at_us: int = 1,
        load: Mapping[str, object] | None = None,
        **more: object,
    ) -> None:
        scenario = Scenario.model_validate({"target": "http://127.0.0.1:1/", "name": "test", "load": load or {}})
        row = {
            "run_id": run_id,
            "name": scenario.name,
            "target": scenario.target,
            "history_key": "k",
            "status": status,
            "requested_at_us": requested_at_us,
            "labels": {},
            "scenario": scenario.model_dump(mode="json"),
        }
        async with self._platform.database.write() as conn:
            await conn.execute(sa.insert(t.runs).values(row | more))

    async def events(self, run_id: str, events: Iterable[tuple[int, str, Mapping[str, object]]]) -> None:
        rows = [{"run_id": run_id, "seq": seq, "event": event, "data": dict(data)} for seq, event, data in events]
        async with self._platform.database.write() as conn:
            await conn.execute(sa.insert(t.run_events), rows)

    async def windows(self, run_id: str, windows: Iterable[int], *, step: str = "*", resolution: int = 1) -> None:
        rows = [
            TimelineRow.model_validate({"run_id": run_id, "step": step, "resolution": resolution, "window": each})
            for each in windows
        ]
        async with self._platform.database.write() as conn:
            await conn.execute(sa.insert(t.run_timeline), [row.model_dump() for row in rows])


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with open_platform(Settings(data_dir=tmp_path, targets=["10.9.0.0/16"])) as opened:
        yield opened


@pytest.fixture
def projector(platform: Platform) -> Projector:
    return Projector(platform)


@pytest.fixture
async def server(platform: Platform) -> AsyncIterator[str]:
    async with served(platform) as url:
        yield url


@pytest.fixture
async def http(server: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server, trust_env=False) as client:
        yield client
