"""What a command does first on a data directory that a killed process tree left."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from backbone.database import tables as t
from backbone.database.outbox import Outbox
from backbone.platform import open_platform
from backbone.settings import Settings
from queryscope.settling import settle, unsettled
from schemas.lifecycle import WorkerLost
from schemas.topics import RUNS


@pytest.mark.parametrize("service", ["aggregator", "diagnoser"])
async def test_what_was_judged_but_not_told_to_the_log_is_told(tmp_path: Path, service: str) -> None:
    record = WorkerLost(id="1" * 32, run_id="2" * 32, at=1, worker=0, reason="silent")
    async with open_platform(Settings(data_dir=tmp_path)) as platform:
        assert not await unsettled(platform)
        async with platform.database.write() as conn:
            await Outbox(service).add(conn, RUNS, record)
        assert await unsettled(platform)
        await settle(platform)
        async with platform.database.read() as conn:
            assert not (await conn.execute(sa.select(t.outbox.c.id))).all()
        assert sum((await platform.log.ends(RUNS)).values()) == 1
        assert not await unsettled(platform)
