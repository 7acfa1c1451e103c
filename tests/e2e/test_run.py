"""One run from the terminal: what it says must be what is on the log."""

import asyncio
import csv
import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from lab.faults import Fault
from queryscope import exits
from tests.e2e.harness import Cli, Target, finished

SUMMARY_FIELDS = ("p50", "p90", "p95", "p99", "p999")
BEGINS_WITHIN_S = 60


def exact_quantile(values: list[int], q: float) -> float:
    """Nearest rank on sorted values, in milliseconds."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] / 1000


async def test_every_request_is_an_event_and_the_percentiles_are_those_of_the_logged_outcomes(
    cli: Cli, target: Target, tmp_path: Path
) -> None:
    server = await target(base_ms=2.0)
    seconds, report, junit = (tmp_path / name for name in ("seconds.csv", "report.html", "junit.xml"))
    files = ("--csv", str(seconds), "--report", str(report), "--junit", str(junit))
    done = await asyncio.to_thread(cli, "run", server.url, "-n", "8000", "-c", "16", "--json", *files)
    assert done.code == 0, done.err
    run = done.json
    assert run["verdict"] == "pass"
    assert run["metrics"]["requests"] == 8000
    assert run["events"] == {"published": 8000, "aggregated": 8000, "lost": 0, "unacknowledged": 0, "unjudged": 0}
    with seconds.open(newline="") as file:
        assert sum(int(row["requests"]) for row in csv.DictReader(file)) == 8000
    assert "8,000" in report.read_text()
    assert ET.parse(junit).getroot().attrib["failures"] == "0"
    again = [tmp_path / "again.html", tmp_path / "again.xml"]
    told = await asyncio.to_thread(cli, "report", run["run_id"], "-o", str(again[0]), "--junit", str(again[1]))
    assert told.code == 0, told.err
    assert again[1].read_text() == junit.read_text()
    assert "<svg" in again[0].read_text()
    logged = await asyncio.to_thread(cli, "outcomes", run["run_id"])
    records = [json.loads(line) for line in logged.out.splitlines()]
    outcomes = [each for each in records if each["type"] == "outcome"]
    assert len(outcomes) == 8000
    assert [each["seq"] for each in records] == list(range(records[0]["seq"], records[0]["seq"] + len(records)))
    for name, start in (("latency_ms", "started"), ("service_ms", "sent"), ("scheduled_latency_ms", "scheduled")):
        values = [each["finished"] - each[start] for each in outcomes]
        for field, q in zip(SUMMARY_FIELDS, (0.5, 0.9, 0.95, 0.99, 0.999), strict=True):
            assert run["metrics"][name][field] == pytest.approx(exact_quantile(values, q), rel=0.005)
        assert run["metrics"][name]["mean"] == pytest.approx(sum(values) / len(values) / 1000, rel=1e-9)
        assert run["metrics"][name]["max"] == max(values) / 1000


async def test_a_stall_shows_in_the_scheduled_latency_of_an_open_loop(cli: Cli, target: Target) -> None:
    server = await target(Fault(kind="stall", start_s=1.0, duration_s=3.0))
    done = await asyncio.to_thread(cli, "run", server.url, "-r", "100/s", "-d", "5s", "--json")
    run = done.json
    assert run["metrics"]["scheduled_latency_ms"]["p99"] > 2000
    assert run["metrics"]["requests"] == 500
    assert run["load"]["kind"] == "constant_rate"


async def test_two_terminals_on_one_data_directory_are_both_right(cli: Cli, target: Target) -> None:
    server = await target(base_ms=4.0)
    both = [cli.start("run", server.url, "-r", "150/s", "-d", "3s", "--json", "--name", name) for name in "ab"]
    first, second = [await asyncio.to_thread(finished, process) for process in both]
    for done in (first, second):
        assert done.code in (exits.DONE, exits.INVALID), done.err
        assert done.json["metrics"]["requests"] == 450
        assert done.json["events"] == {
            "published": 450,
            "aggregated": 450,
            "lost": 0,
            "unacknowledged": 0,
            "unjudged": 0,
        }
        assert done.json["status"] == "finished"
    assert cli("verify").code == 0


async def test_a_run_whose_requests_all_hang_from_the_middle_on_is_aborted_and_does_not_pass(
    cli: Cli, target: Target
) -> None:
    server = await target(Fault(kind="hang", start_s=2.0))
    done = await asyncio.to_thread(
        cli, "run", server.url, "-c", "8", "-d", "60s", "--sla", "p95 < 200ms over 3s abort", "--json"
    )
    assert done.code == 99, done.err
    run = done.json
    assert run["verdict"] == "breach"
    assert run["sla"][0]["status"] == "breach"
    assert run["metrics"]["duration_s"] < 40


async def test_a_run_that_hangs_to_its_end_does_not_pass_without_abort_either(cli: Cli, target: Target) -> None:
    server = await target(Fault(kind="hang", start_s=2.0))
    scenario = cli.data_dir.parent / "hang.yaml"
    scenario.write_text(
        f"target: {server.url}\nload: {{concurrency: 8, duration: 4s}}\n"
        "timeouts: {grace: 1s}\nsla: ['p999 < 200ms']\n"
    )
    done = await asyncio.to_thread(cli, "run", str(scenario), "--json")
    run = done.json
    assert run["metrics"]["cancelled"] == 8
    assert run["sla"][0]["status"] != "pass"
    assert run["verdict"] != "pass"


async def test_a_breached_promise_leaves_exit_code_99_and_a_replay_under_a_kinder_one_does_not_touch_it(
    cli: Cli, target: Target
) -> None:
    server = await target(base_ms=5.0)
    done = await asyncio.to_thread(cli, "run", server.url, "-n", "600", "-c", "8", "--sla", "p95 < 1ms", "--json")
    assert done.code == 99, done.err
    run_id = done.json["run_id"]
    before = cli("show", run_id, "--json")
    kinder = cli("replay", run_id, "--sla", "p95 < 500ms", "--json")
    assert (kinder.code, kinder.json["verdict"]) == (0, "pass")
    stricter = cli("replay", run_id, "--sla", "p95 < 0.01ms", "--json")
    assert (stricter.code, stricter.json["verdict"]) == (99, "breach")
    same = cli("replay", run_id, "--json")
    assert same.json["metrics"] == done.json["metrics"]
    assert same.json["sla"] == done.json["sla"]
    assert cli("show", run_id, "--json").out == before.out
    assert cli("verify", run_id).code == 0


async def test_a_cancelled_run_drains_and_is_recorded_as_cancelled(cli: Cli, target: Target) -> None:
    server = await target()
    process = cli.start("run", server.url, "-c", "4", "-d", "60s", "--json")
    run_id = await first_running(cli)
    assert cli("cancel", run_id).code == 0
    done = await asyncio.to_thread(finished, process)
    assert done.code == 105, done.err
    assert (done.json["status"], done.json["verdict"]) == ("cancelled", "cancelled")
    assert done.json["events"]["lost"] == 0


async def first_running(cli: Cli) -> str:
    """The id of the first run that is on."""
    async with asyncio.timeout(BEGINS_WITHIN_S):
        while True:
            listed = await asyncio.to_thread(cli, "runs", "--json")
            running = [run["run_id"] for run in json.loads(listed.out or "[]") if run["status"] == "running"]
            if running:
                return str(running[0])


async def test_a_scenario_file_runs_a_weighted_mix_and_reports_each_step(cli: Cli, target: Target) -> None:
    server = await target(base_ms=1.0)
    scenario = cli.data_dir.parent / "mix.yaml"
    scenario.write_text(
        f"name: mix\ntarget: {server.url}\nsteps:\n"
        "  - {name: browse, weight: 3, request: {path: /a}}\n"
        "  - {name: buy, request: {method: POST, path: /b, body: '{}'}}\n"
        "load: {requests: 400, concurrency: 4}\nsla: ['error_rate < 1% step buy']\n"
    )
    done = await asyncio.to_thread(cli, "run", str(scenario), "--json")
    assert done.code == 0, done.err
    counts = {step["name"]: step["requests"] for step in done.json["steps"]}
    assert counts == {"browse": 300, "buy": 100}
