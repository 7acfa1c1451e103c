"""A run from the terminal on the real servers: log, database and search index."""

import asyncio
from pathlib import Path

import pytest

from lab.net_faults import NetFault
from lab.process import LabProxy
from queryscope import exits
from tests.e2e.harness import Cli, Target, batches_on, finished, until_batches
from tests.stack.databases import new_database
from tests.stack.elasticsearch import ElasticsearchNode
from tests.stack.postgres import PostgresServer
from tests.stack.sharing import unique

MEANWHILE = 8
"""So many batches become durable while the database is away: more than a second and a half of load."""


@pytest.mark.parametrize(("server", "on_kafka"), [("postgres_server", True), ("mariadb_server", False)])
async def test_a_run_on_servers_is_judged_found_and_equal_to_its_rebuild(
    request: pytest.FixtureRequest,
    server: str,
    on_kafka: bool,
    elasticsearch_node: ElasticsearchNode,
    tmp_path: Path,
    target: Target,
) -> None:
    urls = {
        "database_url": await new_database(request.getfixturevalue(server)),
        "search_url": f"{elasticsearch_node.url}/{unique('runs')}",
    }
    if on_kafka:
        urls |= {"log_url": request.getfixturevalue("kafka_broker").url, "kafka_topic_prefix": f"{unique('e2e')}."}
    cli = Cli(tmp_path, **urls)
    lab = await target(base_ms=2.0)
    run = await asyncio.to_thread(
        cli, "run", lab.url, "-r", "200/s", "-d", "3s", "--sla", "p95 < 20s", "--label", "tenant=ácme", "--json"
    )
    assert run.code in (exits.DONE, exits.INVALID), run.err  # a busy machine may void it; it is counted all the same
    assert run.json["events"] == {"published": 600, "aggregated": 600, "lost": 0, "unacknowledged": 0, "unjudged": 0}
    run_id = run.json["run_id"]
    shown = await asyncio.to_thread(cli, "show", run_id, "--json")
    assert shown.json == run.json
    report = await asyncio.to_thread(cli, "verify", "--json")
    assert report.code == 0, report.out
    found = await asyncio.to_thread(cli, "search", "tenant=ácme", "--json")
    assert run_id in found.out
    examined = await asyncio.to_thread(cli, "doctor", "--json")
    assert {row["name"] for row in examined.json if not row["ok"]} <= {"web page"}  # it may not be built


async def test_a_run_from_the_terminal_goes_on_while_its_database_is_cut_off_and_silent(
    postgres_server: PostgresServer, tmp_path: Path, target: Target
) -> None:
    lab = await target(base_ms=2.0)
    async with LabProxy(postgres_server.port) as way:
        url = (await new_database(postgres_server)).replace(str(postgres_server.port), str(way.port))
        cli = Cli(tmp_path, database_url=url, database_timeout_s="1")
        words = ("run", lab.url, "-r", "200/s", "-d", "5s", "--json", "--sla", "p95 < 10s")
        running = cli.start(*words)
        await until_batches(cli, 2)
        for kind in ("cut", "half_open"):
            await way.inject(NetFault(kind))
            await until_batches(cli, batches_on(cli) + MEANWHILE)
            await way.clear()
        run = await asyncio.to_thread(finished, running)
        assert run.code in (exits.DONE, exits.INVALID), run.err
        assert run.json["events"] == {
            "published": 1000,
            "aggregated": 1000,
            "lost": 0,
            "unacknowledged": 0,
            "unjudged": 0,
        }
        report = await asyncio.to_thread(cli, "verify", "--json")
        assert report.code == 0, report.out
