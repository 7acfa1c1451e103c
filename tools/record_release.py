"""Records what this release writes to the log, for later releases to replay: `record_release.py FOLDER`.

Makes a few short runs of each ending against a target of the lab and leaves in FOLDER: `log.db.zst`, the embedded log
as it lies on the disk; `<ending>.qsrun`, each run as `queryscope export` writes it; `results.json`, what came of them.
Record a release once, when it is made, and never again: what is recorded is the promise.
"""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import zstandard
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.platform import open_platform
from backbone.settings import Settings
from backbone.views import run_result
from lab.process import LabServer
from lab.settings import TargetSettings
from queryscope.portable import write_run
from services.aggregator.verify import TABLES, digest

COMMAND_S = 120
LOST_AFTER_BATCHES = 3
RUNS: Mapping[str, Sequence[str]] = {
    "pass": ("-n", "150", "-c", "4", "--workers", "2", "--sla", "p95 < 10s", "--sla", "error_rate < 50%"),
    "breach": ("-r", "40/s", "-d", "3s", "--sla", "p95 < 1ms over 1s", "--label", "tenant=ácme"),
    "invalid": ("-n", "15", "-c", "2", "--sla", "p99 < 10s"),
    "lost": ("-r", "40/s", "-d", "60s", "--sla", "p95 < 10s"),
}
"""By ending; the one that is lost is killed."""


def plain_columns(table: sa.Table) -> list[str]:
    """The columns that SQL tools read; the JSON beside them has fields of its own."""
    return [column.name for column in table.columns if not isinstance(column.type, sa.JSON)]


async def row_hash(conn: AsyncConnection, table: sa.Table, columns: Sequence[str], run_id: str) -> str:
    """A hash over these columns of a run's rows, in the order of their keys."""
    query = sa.select(*(table.c[name] for name in columns)).where(table.c.run_id == run_id)
    rows = (await conn.execute(query.order_by(*table.primary_key.columns))).all()
    return digest([list(row) for row in rows])


async def outcome_of(conn: AsyncConnection, run_id: str, columns: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What came of a run: its result without the diagnosis, and the hash of its rows in each table."""
    result = await run_result(conn, run_id)
    assert result is not None, run_id
    hashes = {table.name: await row_hash(conn, table, columns[table.name], run_id) for table in TABLES}
    return {"run_id": run_id, "result": result.model_dump(mode="json", exclude={"diagnosis"}), "rows": hashes}


async def record(folder: Path) -> None:
    """Makes the runs and writes everything. Blocks its loop while a command works: nothing else runs on it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        settings = Settings(data_dir=Path(place))
        async with LabServer(TargetSettings(base_ms=5.0)) as target:
            for ending, words in RUNS.items():
                await asyncio.to_thread(_make, ending, ("run", target.url, "--name", ending, *words), settings)
        await asyncio.to_thread(_command, ("runs",), settings)  # whoever comes next records what was lost
        columns = {table.name: plain_columns(table) for table in TABLES}
        async with open_platform(settings) as platform, platform.database.read() as conn:
            found = (await conn.execute(sa.select(TABLES[0].c.name, TABLES[0].c.run_id))).all()
            runs = {name: await outcome_of(conn, run_id, columns) for name, run_id in sorted(found)}
            for name, each in runs.items():
                await write_run(platform, each["run_id"], folder / f"{name}.qsrun")
        text = json.dumps({"columns": columns, "runs": runs}, indent=1, ensure_ascii=False)
        (folder / "results.json").write_text(text + "\n")
        _pack(settings.data_dir / "log.db", folder / "log.db.zst")


def _make(ending: str, words: Sequence[str], settings: Settings) -> None:
    if ending != "lost":
        _command(words, settings)
        return
    process = subprocess.Popen(_line(words), env=_environment(settings), start_new_session=True)
    try:
        _wait_for_batches(settings.data_dir / "log.db")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _command(words: Sequence[str], settings: Settings) -> None:
    subprocess.run(_line(words), env=_environment(settings), timeout=COMMAND_S, check=False)


def _line(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "queryscope", *words]


def _environment(settings: Settings) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QUERYSCOPE_")}
    return kept | {"QUERYSCOPE_DATA_DIR": str(settings.data_dir)}


def _wait_for_batches(log: Path) -> None:
    """Until the last run has published a little."""
    count = "SELECT count(*) FROM batches WHERE topic = 'outcomes'"
    with sqlite3.connect(f"file:{log}?mode=ro", uri=True) as db:
        wanted = int(db.execute(count).fetchone()[0]) + LOST_AFTER_BATCHES
        while int(db.execute(count).fetchone()[0]) < wanted:
            time.sleep(0.05)


def _pack(log: Path, packed: Path) -> None:
    """The log without what SQLite keeps beside it."""
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / log.name
        with sqlite3.connect(log) as db:
            db.execute("VACUUM INTO ?", (str(whole),))
        packed.write_bytes(zstandard.ZstdCompressor(level=19).compress(whole.read_bytes()))


def main() -> int:
    if len(sys.argv) != 2:
        print(f"usage: {sys.argv[0]} FOLDER", file=sys.stderr)
        return 2
    asyncio.run(record(Path(sys.argv[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
