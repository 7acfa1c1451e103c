"""Journeys from the terminal: users log in, go on with what they were given, and every attempt is accounted for."""

import asyncio
import json

from lab.process import LabServer
from lab.settings import TargetSettings
from queryscope import exits
from tests.e2e.harness import Cli

SHOP = """
target: {url}_site
sequence: true
cookies: true
steps:
  - name: login
    request: {{method: POST, path: /login, body: "{{}}"}}
    extract: {{token: {{json: token}}}}
    checks: ["status == 200", "json user.id == 3"]
    think: {{min: 1ms, max: 5ms}}
  - name: orders
    request: {{path: "/orders/{{{{ token }}}}"}}
    checks: ["status == 200"]
  - {{name: packed, request: {{path: /packed/br}}, checks: ["json packed"]}}
  - {{name: flaky, request: {{path: /flaky/503/2}}, retries: {{attempts: 9, on: [503], backoff: 2ms}}}}
  - {{name: moved, request: {{path: /redirect/302/2}}, redirects: 5}}
  - {{name: gone, request: {{path: /status/404}}, checks: ["status == 404"]}}
  - {{name: wrong, request: {{path: /packed/gzip}}, checks: ["json packed == 7"]}}
load: {{requests: 40, concurrency: 6, workers: 2}}
sla: ["error_rate < 50%"]
"""


async def test_every_request_counts_once_and_every_attempt_is_on_the_log_and_can_be_replayed(cli: Cli) -> None:
    async with LabServer(TargetSettings(base_ms=0)) as lab:
        scenario = cli.data_dir.parent / "shop.yaml"
        scenario.write_text(SHOP.format(url=lab.url))
        done = await asyncio.to_thread(cli, "run", str(scenario), "--json")
    assert done.code in (exits.DONE, exits.INVALID), done.err
    run, metrics = done.json, done.json["metrics"]
    steps = {step["name"]: step for step in run["steps"]}
    assert {name: step["requests"] for name, step in steps.items()} == dict.fromkeys(steps, 40)
    assert {name: step["failed"] for name, step in steps.items()} == {**dict.fromkeys(steps, 0), "wrong": 40}
    assert (steps["moved"]["attempts"], steps["gone"]["by_status"]) == (120, {"404": 40})
    assert steps["flaky"]["attempts"] >= 80
    assert (metrics["by_error"], metrics["by_check"]) == ({"check_failed": 40}, {"json packed == 7": 40})
    logged = await asyncio.to_thread(cli, "outcomes", run["run_id"])
    outcomes = [each for each in map(json.loads, logged.out.splitlines()) if each["type"] == "outcome"]
    assert metrics["attempts"] == len(outcomes) == run["events"]["aggregated"]
    assert sum(not each.get("ruling", {}).get("followed", False) for each in outcomes) == metrics["requests"] == 280
    assert cli("verify", run["run_id"]).code == 0
