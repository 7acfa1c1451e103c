"""Owns `queryscope outcomes`: a run's records as they stand on the log. It must not change or fold them."""

import asyncio
import sys
from collections.abc import Callable, Iterable

import click
import msgspec

from backbone import views
from backbone.platform import Platform
from queryscope import exits
from queryscope.archived import refuse_archived
from queryscope.commands.runs import find_run, on_platform
from queryscope.errors import NotFound
from queryscope.per_address import PerAddress
from schemas.lifecycle import RunAccepted
from schemas.topics import OUTCOMES


class _Key(msgspec.Struct):
    """As much of a record as tells whose it is and what."""

    run: str = ""
    type: str = ""


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many.")
@click.option("--by", type=click.Choice(["remote"]), help="Instead, a line for each address of the target.")
def outcomes(run_id: str, limit: int | None, by: str | None) -> int:
    """Print a run's records from the log as NDJSON, marks included, in the order of each worker."""

    async def dump(platform: Platform) -> None:
        found = await find_run(platform, run_id)
        async with platform.database.read() as conn:
            accepted = await views.run_accepted(conn, found.run_id)
        if accepted is None:
            raise NotFound(f"run {found.run_id} has no outcomes yet")
        await refuse_archived(platform, found.run_id)
        if by is None:
            await _dump(platform, accepted, limit, _write)
            return
        addresses = PerAddress()
        await _dump(platform, accepted, limit, addresses.add)
        _write(addresses.rows())

    on_platform(dump)
    return exits.DONE


def _write(lines: Iterable[bytes]) -> None:
    sys.stdout.buffer.writelines(line + b"\n" for line in lines)


async def _dump(
    platform: Platform, accepted: RunAccepted, limit: int | None, take: Callable[[list[bytes]], None]
) -> None:
    decoder = msgspec.json.Decoder(_Key)
    left = limit
    beginnings = await platform.log.beginnings(OUTCOMES)
    for partition in sorted({worker.partition for worker in accepted.workers}):
        offset = beginnings[partition]
        while batches := await platform.log.read(OUTCOMES, partition, offset):
            for batch in batches:
                offset = batch.next_offset
                if accepted.run_id.encode() not in batch.lines:
                    continue
                lines = [line for line in batch.lines.split(b"\n") if _is_of(decoder, line, accepted.run_id)]
                lines = lines if left is None else lines[:left]
                await asyncio.to_thread(take, lines)
                left = None if left is None else left - len(lines)
                if left == 0:
                    return


def _is_of(decoder: "msgspec.json.Decoder[_Key]", line: bytes, run_id: str) -> bool:
    try:
        key = decoder.decode(line)
    except msgspec.MsgspecError:
        return False
    return key.run == run_id and key.type in ("outcome", "mark")
