"""Ctrl-C at a run: once, it ends in order; twice, at once."""

import os
import signal

from tests.e2e.harness import Cli, Target, error_line, finished, until_batches

STOPPED = 105


async def test_one_interrupt_ends_a_run_in_order_with_what_was_in_flight_recorded(cli: Cli, target: Target) -> None:
    slow = await target(base_ms=200.0)
    run = cli.start("run", slow.url, "-c", "4", "-d", "60s", "--json", "--no-diagnose")
    await until_batches(cli, 2)
    os.killpg(run.pid, signal.SIGINT)
    done = finished(run)
    assert done.code == STOPPED, done.err
    result = done.json
    metrics, events = result["metrics"], result["events"]
    assert (result["status"], result["verdict"]) == ("cancelled", "cancelled")
    assert metrics["cancelled"] == 4
    assert metrics["attempts"] + metrics["cancelled"] == events["aggregated"] == events["published"]
    assert (events["lost"], events["unacknowledged"]) == (0, 0)


async def test_a_second_interrupt_ends_the_command_at_once_and_the_run_as_lost(cli: Cli, target: Target) -> None:
    slow = await target(base_ms=60_000.0)
    run = cli.start("run", slow.url, "-c", "4", "-d", "60s", "--json", "--no-diagnose")
    await until_batches(cli, 2)
    for _ in range(2):
        os.killpg(run.pid, signal.SIGINT)
    done = finished(run)
    assert done.code == STOPPED, done.err
    if done.out:  # both signals were one: they came before the first was looked at
        assert done.json["status"] == "cancelled"
        return
    assert "ended at once" in error_line(done)
    (shown,) = cli("runs", "--json").json
    assert shown["status"] in ("lost", "cancelled")
