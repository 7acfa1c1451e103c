"""A run from the terminal with its database and its search index on real servers."""

import asyncio
from pathlib import Path

import pytest

from tests.e2e.harness import Cli, Target
from tests.stack.elasticsearch import ElasticsearchNode


@pytest.mark.parametrize("server", ["postgres_server", "mariadb_server"])
async def test_a_run_on_servers_is_judged_found_and_equal_to_its_rebuild(
    request: pytest.FixtureRequest, server: str, elasticsearch_node: ElasticsearchNode, tmp_path: Path, target: Target
) -> None:
    database_url = request.getfixturevalue(server).url()
    cli = Cli(tmp_path, database_url=database_url, search_url=f"{elasticsearch_node.url}/{server.replace('_', '-')}")
    lab = await target(base_ms=2.0)
    run = await asyncio.to_thread(
        cli, "run", lab.url, "-r", "200/s", "-d", "3s", "--sla", "p95 < 200ms", "--label", "tenant=ácme", "--json"
    )
    assert run.code == 0, run.err
    assert run.json["events"] == {"published": 600, "aggregated": 600, "lost": 0, "unacknowledged": 0}
    run_id = run.json["run_id"]
    shown = await asyncio.to_thread(cli, "show", run_id, "--json")
    assert shown.json == run.json
    report = await asyncio.to_thread(cli, "verify", "--json")
    assert report.code == 0, report.out
    found = await asyncio.to_thread(cli, "search", "tenant=ácme", "--json")
    assert run_id in found.out
    examined = await asyncio.to_thread(cli, "doctor", "--json")
    assert {row["name"] for row in examined.json if not row["ok"]} <= {"web page"}  # it may not be built
