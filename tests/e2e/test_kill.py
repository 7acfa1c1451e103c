"""kill -9 of the whole process tree at random instants: nothing acknowledged is lost or counted twice."""

import asyncio
import json
import os
import random
import signal
import sqlite3

import pytest

from tests.e2e.harness import Cli, Target

KILLS = int(os.environ.get("QUERYSCOPE_KILLS", "5"))
SEED = 20
DEADLINE_S = 60.0


@pytest.mark.parametrize("kill", range(KILLS))
@pytest.mark.timeout(180)
async def test_after_a_kill_every_acknowledged_outcome_is_counted_once_and_the_run_is_lost(
    cli: Cli, target: Target, kill: int
) -> None:
    server = await target(base_ms=1.0)
    process = cli.start("run", server.url, "-c", "16", "-d", "60s", "--json")
    try:
        # the instant is drawn in acknowledged batches, so that it lies within the run on any machine
        await until_batches(cli, random.Random(SEED + kill).randint(1, 60))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    run_id = await asyncio.to_thread(settle, cli)
    shown = cli("show", run_id, "--json").json
    assert (shown["status"], shown["verdict"]) == ("lost", "lost")
    logged = cli("outcomes", run_id)
    assert logged.code == 0, logged.err
    records = [json.loads(line) for line in logged.out.splitlines()]
    outcomes = [each for each in records if each["type"] == "outcome"]
    assert len({each["seq"] for each in outcomes}) == len(outcomes)
    assert shown["events"]["aggregated"] == len(outcomes)
    assert shown["metrics"]["attempts"] + shown["metrics"]["cancelled"] == len(outcomes)
    verified = cli("verify", "--json")
    assert verified.code == 0, verified.out
    assert verified.json["equal"]


async def until_batches(cli: Cli, wanted: int) -> None:
    """Returns when so many batches of outcomes are durable."""
    async with asyncio.timeout(DEADLINE_S):
        while await asyncio.to_thread(batches_on, cli) < wanted:
            pass


def batches_on(cli: Cli) -> int:
    path = cli.data_dir / "log.db"
    if not path.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5) as db:
            return int(db.execute("SELECT count(*) FROM batches WHERE topic = 'outcomes'").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def settle(cli: Cli) -> str:
    """Lets the next process that opens the data directory record what happened; returns the run's id."""
    for _ in range(20):
        settled = cli("runs", "--json").json
        if settled and settled[0]["status"] in ("lost", "finished", "failed"):
            return str(settled[0]["run_id"])
    pytest.fail(f"the run was not settled: {settled}")
