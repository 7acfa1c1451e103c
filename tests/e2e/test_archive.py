"""From the terminal: a run is rebuilt, carried elsewhere, and outlives its outcomes."""

import asyncio
import sqlite3

from tests.e2e.harness import Cli, Target, error_line


async def test_a_run_is_rebuilt_carried_elsewhere_and_outlives_its_outcomes(cli: Cli, target: Target) -> None:
    server = await target(base_ms=2.0)
    done = await asyncio.to_thread(cli, "run", server.url, "-r", "200/s", "-d", "2s", "--sla", "p95 < 1s", "--json")
    assert done.code == 0, done.err
    run = done.json["run_id"]
    shown = cli("show", run, "--json").json
    assert shown["diagnosis"] is not None

    with sqlite3.connect(cli.data_dir / "queryscope.db") as db:
        db.execute("UPDATE run_timeline SET requests = requests + 1")
        db.execute("DELETE FROM diagnoses")
    rebuilt = cli("rebuild", "--json")
    assert rebuilt.code == 0, rebuilt.err
    assert rebuilt.json == {"runs": 1, "changed": [run], "archived": [], "events_told_again": 0}

    file = cli.data_dir / "run.qsrun"
    assert cli("export", run[-8:], "-o", str(file)).code == 0
    elsewhere = Cli(cli.data_dir.parent / "elsewhere")
    imported = elsewhere("import", str(file))
    assert imported.code == 0, imported.err
    assert elsewhere("show", run, "--json").json == cli("show", run, "--json").json == shown
    assert elsewhere("verify").code == 0
    file.write_bytes(file.read_bytes()[:-50])
    cut = elsewhere("import", str(file))
    assert cut.code == 104
    assert "cut off" in error_line(cut)

    assert cli("prune").code == 104
    assert cli("prune", "--older-than", "0d", "--json").json["runs"] == [run]
    for command in ("replay", "outcomes"):
        refused = cli(command, run)
        assert (command, refused.code) == (command, 1)
        assert "no longer" in error_line(refused)
    assert cli("rebuild", "--json").json["archived"] == [run]
    assert cli("show", run, "--json").json == shown
