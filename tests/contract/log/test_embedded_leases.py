"""Owns what the embedded adapter promises about claims beyond the contract: kills and reboots are not waited for."""

import asyncio
import sys
from pathlib import Path

from backbone.log.embedded import open_embedded_log

WAIT_S = 20.0  # bounds a hang, asserts nothing
REPOSITORY = Path(__file__).resolve().parents[3]

_MEMBER = """
import asyncio, sys
from pathlib import Path
from backbone.log.embedded import open_embedded_log

async def main(path):
    log = await open_embedded_log(Path(path), 8)
    print(len(await (await log.join("group", "victim")).owned()), flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1]))
"""


async def test_a_killed_process_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _MEMBER, str(path), cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    assert victim.stdout is not None
    assert int(await asyncio.wait_for(victim.stdout.readline(), WAIT_S)) == 8
    log = await open_embedded_log(path, 8)
    assert await (await log.join("group", "early")).owned() == frozenset()
    victim.kill()
    await asyncio.wait_for(victim.wait(), WAIT_S)
    assert len(await (await log.join("group", "late")).owned()) == 4
    await log.close()


async def test_claims_from_before_a_reboot_count_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    before = await open_embedded_log(path, 8, boot="first", clock_ns=lambda: 10**9)
    assert len(await (await before.join("group", "a")).owned()) == 8
    await before.close()
    after = await open_embedded_log(path, 8, boot="second", clock_ns=lambda: 10**9)
    assert len(await (await after.join("group", "b")).owned()) == 8
    await after.close()


async def test_a_claim_further_ahead_than_a_lease_is_of_another_boot(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    before = await open_embedded_log(path, 8, boot="", clock_ns=lambda: 10**15)
    assert len(await (await before.join("group", "a")).owned()) == 8
    await before.close()
    after = await open_embedded_log(path, 8, boot="", clock_ns=lambda: 10**9)
    assert len(await (await after.join("group", "b")).owned()) == 8
    await after.close()


async def test_asking_often_writes_once_a_second(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    now_ns = 10**9
    one = await open_embedded_log(path, 8, clock_ns=lambda: now_ns)
    member = await one.join("group", "a")
    assert len(await member.owned()) == 8
    now_ns += 900_000_000
    other = await one.join("group", "b")
    assert await other.owned() == frozenset()
    assert len(await member.owned()) == 8  # not renewed yet: it has not seen the other
    now_ns += 100_000_000
    assert len(await member.owned()) == 4
    await one.close()
