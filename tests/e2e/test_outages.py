"""What a run goes through while a server, or the way to it, is away or silent, or while clocks are stepped.

After it every acknowledged outcome is counted once, the tables equal a rebuild, and the verdict is right. All happens
on one site, where each service is a process; `make chaos` does the same for longer.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from schemas.load import Load
from tests.chaos.clocks import ClockSite, step_clocks
from tests.chaos.kinds import Disturb, Kind
from tests.chaos.network import NetworkSite, cut, silence
from tests.chaos.outages import broker_down, database_stopped
from tests.chaos.rounds import play

LOAD = Load(rate_per_s=300, duration_s=8.0)
CUT_S = (2.0, 2.0)
ROUND = 2
"""Two workers make the load while the log is silent, and while the broker is down."""

SILENT_S = (4.0, 4.0)
"""Longer than the time-outs of a hurried site."""


def in_turn(*disturbs: Disturb) -> Disturb:
    """One after another, in one run."""

    async def disturb(site: TroubledSite, dice: Random) -> None:
        for each in disturbs:
            await each(site, dice)

    return disturb


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
        pytest.param(
            in_turn(cut("log", for_s=CUT_S), silence("log", for_s=SILENT_S)), id="the log is cut off, then silent"
        ),
        pytest.param(
            in_turn(silence("database", for_s=SILENT_S), cut("database", "search", for_s=CUT_S)),
            id="the database is silent, then cut off with the search",
        ),
        pytest.param(
            in_turn(database_stopped((3.0, 3.0)), step_clocks((4.0, 4.0))),
            id="the database stands still, then clocks are stepped",
        ),
        pytest.param(broker_down(3.0), id="the broker is down"),
    ],
)
async def test_a_run_is_counted_exactly_and_judged_rightly_while(
    site: TroubledSite,
    disturb: Disturb,
    request: pytest.FixtureRequest,
) -> None:
    round_ = await play(site, request.node.callspec.id, Kind(disturb, load=LOAD, latest=0.3), ROUND, 1)
    print(round_)
    assert round_.faults == []
    assert round_.ended_by_themselves == []
