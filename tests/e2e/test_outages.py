"""What a run goes through while a server, or the way to it, is away or silent, or while clocks are stepped.

After it every acknowledged outcome is counted once, the tables equal a rebuild, and the verdict is right. All happens
on one site, where each service is a process; `make chaos` does the same for longer.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from schemas.load import Load
from tests.chaos.clocks import ClockSite, step_clocks
from tests.chaos.kinds import Kind
from tests.chaos.network import NetworkSite, cut, silence
from tests.chaos.outages import broker_down, database_stopped
from tests.chaos.rounds import play

LOAD = Load(rate_per_s=300, duration_s=5.0)
CUT_S = (2.0, 2.0)
ROUND = 2
"""Two workers make the load while the log is silent, and while the broker is down."""

SILENT_S = (4.0, 4.0)
"""Longer than the time-outs of a hurried site."""


class TroubledSite(NetworkSite, ClockSite):
    """Everything that may go wrong, on one site, in a hurry."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, hurried=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    kafka_installed: None,
    postgres_installed: None,
    elasticsearch_installed: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[TroubledSite]:
    async with TroubledSite(tmp_path_factory.mktemp("outages")) as made:
        yield made


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "disturb",
    [
        pytest.param(cut("log", for_s=CUT_S), id="the log is cut off"),
        pytest.param(silence("log", for_s=SILENT_S), id="the log is silent"),
        pytest.param(silence("database", for_s=SILENT_S), id="the database is silent"),
        pytest.param(cut("database", "search", for_s=CUT_S), id="database and search are cut off"),
        pytest.param(database_stopped((3.0, 3.0)), id="the database stands still"),
        pytest.param(broker_down(3.0), id="the broker is down"),
        pytest.param(step_clocks((4.0, 4.0)), id="clocks are stepped"),
    ],
)
async def test_a_run_is_counted_exactly_and_judged_rightly_while(
    site: TroubledSite,
    disturb: Callable[[Any, Random], Awaitable[None]],  # Any: the site that the disturbance is for
    request: pytest.FixtureRequest,
) -> None:
    round_ = await play(site, request.node.callspec.id, Kind(disturb, load=LOAD, latest=0.3), ROUND, 1)
    print(round_)
    assert round_.faults == []
    assert round_.ended_by_themselves == []
