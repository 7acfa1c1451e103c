"""Owns what every log adapter must do. It must not know which adapter it runs on."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pytest

from backbone.log.errors import OffsetOutOfRange
from backbone.log.port import Batch, Log

WAIT_S = 20.0  # generous: bounds a hang, asserts nothing
REPOSITORY = Path(__file__).resolve().parents[3]


class Harness(Protocol):
    url: str

    async def open(self) -> Log: ...
    def topic(self) -> str: ...


def lines_of(batches: Sequence[Batch]) -> list[bytes]:
    return [line for batch in batches for line in batch.lines.split(b"\n")]


async def append(log: Log, topic: str, partition: int, records: Sequence[bytes]) -> int:
    return await log.append(topic, partition, b"\n".join(records), len(records))


async def read_all(log: Log, topic: str, partition: int) -> list[bytes]:
    found: list[bytes] = []
    while batches := await log.read(topic, partition, len(found), max_records=7):
        assert batches[0].base_offset == len(found)
        found += lines_of(batches)
    return found


async def test_offsets_are_dense_and_each_partition_counts_its_own(log: Log, harness: Harness) -> None:
    topic = harness.topic()
    assert await append(log, topic, 0, [b"a", b"b", b"c"]) == 0
    assert await append(log, topic, 1, [b"x"]) == 0
    assert await append(log, topic, 0, [b"d"]) == 3
    assert await log.ends(topic) == {0: 4, 1: 1, **dict.fromkeys(range(2, log.partitions), 0)}


async def test_what_was_appended_is_read_back_in_order(log: Log, harness: Harness) -> None:
    topic = harness.topic()
    await append(log, topic, 3, [b'{"n":1}', '{"n":"µ"}'.encode()])
    await append(log, topic, 3, [b'{"n":3}'])
    batches = await log.read(topic, 3, 0)
    assert lines_of(batches) == [b'{"n":1}', '{"n":"µ"}'.encode(), b'{"n":3}']
    assert [batch.partition for batch in batches] == [3] * len(batches)
    assert batches[-1].next_offset == 3


async def test_a_read_from_the_middle_of_a_batch_covers_the_offset(log: Log, harness: Harness) -> None:
    topic = harness.topic()
    await append(log, topic, 0, [b"0", b"1", b"2", b"3"])
    await append(log, topic, 0, [b"4"])
    batches = await log.read(topic, 0, 2)
    assert batches[0].base_offset <= 2 < batches[0].next_offset
    numbered = [(batch.base_offset + i, line) for batch in batches for i, line in enumerate(lines_of([batch]))]
    assert [line for offset, line in numbered if offset >= 2] == [b"2", b"3", b"4"]


async def test_a_read_is_bounded_by_whole_batches(log: Log, harness: Harness) -> None:
    topic = harness.topic()
    for first in range(0, 100, 10):
        await append(log, topic, 0, [b"%d" % n for n in range(first, first + 10)])
    batches = await log.read(topic, 0, 0, max_records=15)
    assert batches[0].base_offset == 0
    assert 15 <= batches[-1].next_offset < 100


async def test_a_read_at_the_end_is_empty(log: Log, harness: Harness) -> None:
    topic = harness.topic()
    assert await log.read(topic, 0, 0) == []
    await append(log, topic, 0, [b"a"])
    assert list(await log.read(topic, 0, 1)) == []


async def test_a_read_beyond_the_end_is_refused(log: Log, harness: Harness) -> None:
    topic = harness.topic()
    await append(log, topic, 0, [b"a"])
    with pytest.raises(OffsetOutOfRange, match="beyond"):
        await log.read(topic, 0, 2)


async def test_a_batch_with_a_wrong_count_is_refused(log: Log, harness: Harness) -> None:
    topic = harness.topic()
    for lines, count in ((b"a\nb", 1), (b"a", 2), (b"", 0)):
        with pytest.raises(ValueError, match="newlines"):
            await log.append(topic, 0, lines, count)
    assert (await log.ends(topic))[0] == 0


async def test_a_partition_that_is_not_there_is_refused(log: Log, harness: Harness) -> None:
    with pytest.raises(ValueError, match="partitions"):
        await append(log, harness.topic(), log.partitions, [b"a"])


async def test_the_incarnation_and_the_records_stay_over_a_reopening(log: Log, harness: Harness) -> None:
    topic = harness.topic()
    await append(log, topic, 0, [b"a"])
    incarnation = await log.incarnation()
    await log.close()
    again = await harness.open()
    assert await again.incarnation() == incarnation != ""
    assert await read_all(again, topic, 0) == [b"a"]


async def test_a_second_reader_sees_what_was_acknowledged(log: Log, harness: Harness) -> None:
    topic = harness.topic()
    other = await harness.open()
    assert await other.read(topic, 0, 0) == []
    await append(log, topic, 0, [b"a", b"b"])
    assert await read_all(other, topic, 0) == [b"a", b"b"]


async def test_many_appends_at_once_each_get_their_own_offsets(log: Log, harness: Harness) -> None:
    topic = harness.topic()
    bases = await asyncio.gather(*(append(log, topic, 0, [b"%d-%d" % (k, n) for n in range(3)]) for k in range(200)))
    assert sorted(bases) == list(range(0, 600, 3))
    stored = await read_all(log, topic, 0)
    assert all(stored[base : base + 3] == [b"%d-%d" % (k, n) for n in range(3)] for k, base in enumerate(bases))


_WRITER = """
import asyncio, sys
from backbone.log.opening import open_log

async def main(url, topic, name, batches):
    log = await open_log(url, 8)
    for k in range(int(batches)):
        base = await log.append(topic, 0, b"\\n".join(b"%s %d %d" % (name.encode(), k, n) for n in range(5)), 5)
        print(base, flush=True)
    await log.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def start_writer(harness: Harness, topic: str, name: str, batches: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WRITER, harness.url, topic, name, str(batches),
        cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_two_processes_append_at_once_without_gaps_or_mixed_batches(log: Log, harness: Harness) -> None:
    topic = harness.topic()
    writers = [await start_writer(harness, topic, name, 60) for name in ("left", "right")]
    outputs = await asyncio.wait_for(asyncio.gather(*(writer.communicate() for writer in writers)), WAIT_S)
    acknowledged = {
        name: list(map(int, out.split())) for name, (out, _) in zip(("left", "right"), outputs, strict=True)
    }
    assert sorted(acknowledged["left"] + acknowledged["right"]) == list(range(0, 600, 5))
    stored = await read_all(log, topic, 0)
    for name, bases in acknowledged.items():
        for k, base in enumerate(bases):
            assert stored[base : base + 5] == [b"%s %d %d" % (name.encode(), k, n) for n in range(5)]


async def test_a_reader_at_the_end_sees_what_another_process_appends(log: Log, harness: Harness) -> None:
    topic = harness.topic()
    for _ in range(3):  # often enough to be answered from what is known already
        assert set((await log.ends(topic)).values()) == {0}
        assert await log.read(topic, 0, 0) == []
    for batches in (1, 2):
        writer = await start_writer(harness, topic, "elsewhere", 1)
        await asyncio.wait_for(writer.communicate(), WAIT_S)
        assert await log.read(topic, 0, 5 * (batches - 1)) != []
        assert [(await log.ends(topic))[0] for _ in range(3)] == [5 * batches] * 3
        assert await log.read(topic, 0, 5 * batches) == []


async def test_what_was_acknowledged_survives_the_kill_of_its_writer(log: Log, harness: Harness) -> None:
    topic = harness.topic()
    writer = await start_writer(harness, topic, "victim", 100_000)
    assert writer.stdout is not None
    bases = [int(await asyncio.wait_for(writer.stdout.readline(), WAIT_S)) for _ in range(30)]
    os.kill(writer.pid, signal.SIGKILL)
    rest, _ = await asyncio.wait_for(writer.communicate(), WAIT_S)
    bases += [int(word) for word in rest.split(b"\n")[:-1]]
    stored = await read_all(log, topic, 0)
    assert bases == list(range(0, 5 * len(bases), 5))
    assert len(stored) in (5 * len(bases), 5 * len(bases) + 5)
    assert stored == [b"victim %d %d" % (k, n) for k in range(len(stored) // 5) for n in range(5)]
    assert await append(log, topic, 0, [b"after"]) == len(stored)


async def test_what_was_trimmed_is_gone_and_what_stays_keeps_its_offsets(log: Log, harness: Harness) -> None:
    topic = harness.topic()
    for records in ([b"a", b"b"], [b"c"], [b"d", b"e"]):
        await append(log, topic, 2, records)
    await append(log, topic, 3, [b"x"])
    assert (await log.beginnings(topic))[2] == 0
    await log.trim(topic, 2, 3)
    assert (await log.beginnings(topic))[2] == 3
    with pytest.raises(OffsetOutOfRange, match="removed by retention"):
        await log.read(topic, 2, 2)
    assert lines_of(await log.read(topic, 2, 3)) == [b"d", b"e"]
    assert lines_of(await log.read(topic, 3, 0)) == [b"x"]
    assert (await log.ends(topic))[2] == 5
    assert await append(log, topic, 2, [b"f"]) == 5


async def test_trimming_everything_leaves_an_empty_partition_at_its_end(log: Log, harness: Harness) -> None:
    topic = harness.topic()
    await append(log, topic, 0, [b"a", b"b"])
    for _ in range(2):
        await log.trim(topic, 0, 2)
        assert (await log.beginnings(topic))[0] == (await log.ends(topic))[0] == 2
        assert await log.read(topic, 0, 2) == []
    with pytest.raises(OffsetOutOfRange, match="beyond its end"):
        await log.trim(topic, 0, 3)
    assert await append(log, topic, 0, [b"c"]) == 2
    assert (await log.beginnings(topic))[0] == 2
