"""Measures how many outcomes a second the embedded log makes durable: python benchmarks/log_append.py [BATCHES].

It must not be read as a promise: the disk's sync time decides, so that is measured beside it.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from backbone.log.embedded import open_embedded_log
from schemas.outcomes import RequestOutcome

RECORDS = 2_000


def make_batch(seed: int) -> bytes:
    """NDJSON of outcomes as a run makes them, about 260 bytes each."""
    encoder = msgspec.json.Encoder()
    lines = []
    for n in range(RECORDS):
        seq = seed * RECORDS + n
        began = seq * 53
        finished = began + 400 + (seq * 7919) % 3000
        lines.append(
            encoder.encode(
                RequestOutcome(
                    run="0193a5b4c8d27e4fa6b1c2d3e4f50617", worker=0, seq=seq, window=finished // 1_000_000,
                    scheduled=began, started=began + 3, sent=began + 20, first_byte=finished - 9, finished=finished,
                    step="browse", status=200, connection=seq % 64, bytes_out=120, bytes_in=512,
                    remote="127.0.0.1:8080", in_flight=64, loop_lag=seq % 90,
                )
            )
        )  # fmt: skip
    return b"\n".join(lines)


def sync_ms(folder: Path) -> float:
    """Milliseconds of one 4 KB write and its sync."""
    with (folder / "probe").open("wb") as probe:
        began = time.perf_counter()
        for _ in range(100):
            probe.write(b"x" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
        return (time.perf_counter() - began) * 10


async def measure(batches: int) -> None:
    packed = [make_batch(seed) for seed in range(20)]
    record_bytes = len(packed[0]) / RECORDS
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_DIR")) as folder:
        print(f"sync of the disk: {sync_ms(Path(folder)):.2f} ms; {record_bytes:.0f} bytes a record")
        log = await open_embedded_log(Path(folder) / "log.db", 8)
        began = time.perf_counter()
        for n in range(batches):
            await log.append("outcomes", 0, packed[n % len(packed)], RECORDS)
        append_s = time.perf_counter() - began
        events, offset = batches * RECORDS, 0
        began = time.perf_counter()
        while found := await log.read("outcomes", 0, offset):
            offset = found[-1].next_offset
        read_s = time.perf_counter() - began
        await log.close()
        stored = sum(path.stat().st_size for path in Path(folder).glob("log.db*"))
        print(f"append: {events / append_s:,.0f} events/s durable, {1000 * append_s / batches:.2f} ms a batch")
        print(f"read:   {events / read_s:,.0f} events/s; stored: {stored / events:.1f} bytes an event")


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
