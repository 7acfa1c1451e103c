"""One run on several workers from the terminal, and a standing runner that is asked to leave."""

import asyncio
import signal
import subprocess

from tests.e2e.harness import Cli, Target, finished
from tests.e2e.test_run import first_running


async def test_a_run_on_three_workers_is_one_run_of_exactly_its_requests(cli: Cli, target: Target) -> None:
    server = await target(base_ms=1.0)
    done = await asyncio.to_thread(cli, "run", server.url, "-n", "3001", "-c", "8", "--workers", "3", "--json")
    assert done.code == 0, done.err
    run = done.json
    assert run["load"]["workers"] == 3
    assert run["metrics"]["requests"] == 3001
    assert run["events"] == {"published": 3001, "aggregated": 3001, "lost": 0, "unacknowledged": 0, "unjudged": 0}
    assert cli("verify").code == 0


def test_more_workers_than_requests_are_refused_in_one_line(cli: Cli) -> None:
    done = cli("run", "http://127.0.0.1:1/", "-n", "2", "--workers", "3")
    assert done.code == 104
    assert "3 workers cannot share requests 2" in done.err


async def test_a_runner_that_is_terminated_finishes_its_run_first(cli: Cli, target: Target) -> None:
    server = await target(base_ms=1.0)
    services = [cli.start("worker", name) for name in ("runner", "aggregator")]
    api = cli.start("serve", "--port", "0", "--only-api")
    try:
        await listening(api)
        running = cli.start("run", server.url, "-r", "50/s", "-d", "4s", "--workers", "2", "--json", "--no-diagnose")
        await first_running(cli)
        services[0].send_signal(signal.SIGTERM)
        done = await asyncio.to_thread(finished, running)
        assert done.code == 0, done.err
        assert done.json["metrics"]["requests"] == 200
        left = await asyncio.to_thread(finished, services[0])
        assert left.code == 0, left.err
    finally:
        for process in (*services, api):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=60)


async def listening(api: "subprocess.Popen[str]") -> None:
    """Returns when the server has said where it listens."""

    def until_said() -> None:
        assert api.stderr is not None
        for line in api.stderr:
            if "QueryScope serves" in line:
                return
        raise AssertionError("the server ended")

    await asyncio.wait_for(asyncio.to_thread(until_said), 60)


def test_a_scenario_file_says_how_many_workers(cli: Cli) -> None:
    scenario = cli.data_dir.parent / "scenario.yaml"
    scenario.write_text("target: http://127.0.0.1:1/\nload: {concurrency: 4, workers: 2}\n")
    done = cli("validate", str(scenario), "--json")
    assert done.code == 0, done.err
    assert done.json["load"]["workers"] == 2
