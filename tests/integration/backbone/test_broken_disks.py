"""Owns what a full or read-only disk does: a typed one-line error, nothing lost, and work goes on once there is room.

Runs in mount namespaces of its own; where the kernel does not allow them it is skipped.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


def _may_unshare() -> bool:
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


needs_namespaces = pytest.mark.skipif(not _may_unshare(), reason="needs root and unshare (apt-get install util-linux)")


def run_inside(mount: str, code: str, folder: Path) -> str:
    """Runs `code` where `folder` is the mount; returns what it printed."""
    script = f'{mount} && exec "$PYTHON" -c "$CODE" "$FOLDER"'
    environment = {
        "PYTHON": sys.executable,
        "CODE": code,
        "FOLDER": str(folder),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FULL_LOG = """
import asyncio, os, sys
from pathlib import Path
from backbone.log.embedded import open_embedded_log
from backbone.log.errors import LogFull

async def main(folder):
    log = await open_embedded_log(folder / "log.db", 8)
    reserve = folder / "reserve"
    reserve.write_bytes(os.urandom(300_000))
    stored = 0
    try:
        while True:
            await log.append("outcomes", 0, os.urandom(50_000).replace(b"\\n", b"n"), 1)
            stored += 1
    except LogFull as error:
        print("full:", error)
    batches = await log.read("outcomes", 0, 0, 10_000)
    assert sum(batch.count for batch in batches) == stored > 0
    reserve.unlink()
    assert await log.append("outcomes", 0, b"after", 1) == stored
    await log.close()
    print("goes on")

asyncio.run(main(Path(sys.argv[1])))
"""

FULL_DATABASE = """
import asyncio, os, sys
from pathlib import Path
import sqlalchemy as sa
from backbone.database.engine import open_database
from backbone.database.errors import DatabaseFull
from backbone.database.tables import run_events

async def add(database, seq, size):
    async with database.write() as conn:
        row = {"run_id": "r", "seq": seq, "event": "run", "data": {"x": os.urandom(size).hex()}}
        await conn.execute(sa.insert(run_events).values(row))

async def main(folder):
    database = await open_database(f"sqlite:///{folder / 'queryscope.db'}")
    reserve = folder / "reserve"
    reserve.write_bytes(os.urandom(300_000))
    stored = 0
    try:
        while True:
            await add(database, stored, 20_000)
            stored += 1
    except DatabaseFull as error:
        print("full:", error)
    reserve.unlink()
    await add(database, stored, 10)
    async with database.read() as conn:
        assert (await conn.execute(sa.select(sa.func.count()).select_from(run_events))).scalar() == stored + 1
    await database.close()
    print("goes on")

asyncio.run(main(Path(sys.argv[1])))
"""

NO_WRITING = """
import asyncio, sys
from pathlib import Path
from backbone.database.engine import open_database
from backbone.database.errors import DatabaseMisconfigured
from backbone.errors import SettingsError
from backbone.log.embedded import open_embedded_log
from backbone.log.errors import LogMisconfigured
from backbone.settings import load_settings, prepare_data_dir

async def main(folder):
    for name in ("", "log.db", "queryscope.db"):
        try:
            if not name:
                prepare_data_dir(load_settings(data_dir=folder))
            elif name == "log.db":
                await open_embedded_log(folder / name, 8)
            else:
                await open_database(f"sqlite:///{folder / name}")
        except (SettingsError, LogMisconfigured, DatabaseMisconfigured) as error:
            print(type(error).__name__, error)

asyncio.run(main(Path(sys.argv[1])))
"""


@needs_namespaces
@pytest.mark.parametrize("code", [FULL_LOG, FULL_DATABASE], ids=["log", "database"])
def test_a_full_disk_is_told_and_work_goes_on_once_there_is_room(code: str, tmp_path: Path) -> None:
    full, goes_on = run_inside('mount -t tmpfs -o size=2m tmpfs "$FOLDER"', code, tmp_path).splitlines()
    assert full.startswith("full: ")
    assert "the disk is full; free some space" in full
    assert goes_on == "goes on"


@needs_namespaces
def test_a_read_only_disk_is_told_by_every_part_that_opens_a_file(tmp_path: Path) -> None:
    mount = 'mount --bind "$FOLDER" "$FOLDER" && mount -o remount,bind,ro "$FOLDER"'
    lines = run_inside(mount, NO_WRITING, tmp_path).splitlines()
    assert [line.split()[0] for line in lines] == ["SettingsError", "LogMisconfigured", "DatabaseMisconfigured"]
    assert all("Read-only file system" in line for line in lines)


@needs_namespaces
def test_stores_that_exist_on_a_disk_turned_read_only_are_told_as_well(tmp_path: Path) -> None:

    subprocess.run([sys.executable, "-c", NO_WRITING, str(tmp_path)], cwd=REPOSITORY, check=True, timeout=60)
    mount = 'mount --bind "$FOLDER" "$FOLDER" && mount -o remount,bind,ro "$FOLDER"'
    lines = run_inside(mount, NO_WRITING, tmp_path).splitlines()
    assert [line.split()[0] for line in lines] == ["SettingsError", "LogMisconfigured", "DatabaseMisconfigured"]
