"""The wall clock of a whole process tree is stepped during a run on the embedded default: nothing rests on it."""

import asyncio
from pathlib import Path

from queryscope import exits
from tests.chaos.clocks import STEP_S, set_clock, under
from tests.e2e.harness import Cli, Target, finished, until_batches


class SteppedCli(Cli):
    """Its processes, and theirs, follow the clock in a file."""

    clock = Path()

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | under(self.clock)


async def test_a_run_whose_clock_jumps_forth_and_back_is_counted_exactly_and_keeps_its_partitions(
    tmp_path: Path, target: Target
) -> None:
    server = await target(base_ms=2.0)
    cli = SteppedCli(tmp_path / "data")
    cli.clock = tmp_path / "clock"
    set_clock(cli.clock, 0)
    running = cli.start("run", server.url, "-r", "200/s", "-d", "4s", "--json", "--sla", "p95 < 10s", "--no-diagnose")
    for batches, by_s in ((2, STEP_S), (3, -STEP_S), (4, 0)):
        await until_batches(cli, batches)
        set_clock(cli.clock, by_s)
    done = await asyncio.to_thread(finished, running)
    assert done.code in (exits.DONE, exits.INVALID), done.err
    assert done.json["events"] == {"published": 800, "aggregated": 800, "lost": 0, "unacknowledged": 0, "unjudged": 0}
    verified = await asyncio.to_thread(cli, "verify", "--json")
    assert verified.code == 0, verified.out
