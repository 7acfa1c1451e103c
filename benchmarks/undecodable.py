"""Measures what undecodable outcomes cost the fold: CPU per event with none and with one in 10,000 damaged.

It must not touch a log: only decoding and folding are measured, by CPU time, so that a busy machine changes little.
"""

import sys
import time
from statistics import median

import msgspec

from schemas.outcomes import RequestOutcome
from services.aggregator.decoding import OutcomeDecoder
from services.aggregator.fold import PartitionFold, by_worker
from services.runner.publisher import BATCH_RECORDS

EVENTS = 400_000
BATCH = BATCH_RECORDS
ONE_IN = 10_000
REPEATS = 7
LIMIT = 1.6
"""The damaged stream may cost so much more; above it the fold is held up by what it sets aside."""


def make_batches(damage: bool) -> list[bytes]:
    """NDJSON as a worker appends it; a damaged line is cut off."""
    encoder = msgspec.json.Encoder()
    batches = []
    for base in range(0, EVENTS, BATCH):
        lines = [encoder.encode(_outcome(seq)) for seq in range(base, base + BATCH)]
        if damage and base % ONE_IN == 0:
            lines[BATCH // 2] = lines[BATCH // 2][:-9]
        batches.append(b"\n".join(lines))
    return batches


def _outcome(seq: int) -> RequestOutcome:
    began = seq * 53
    finished = began + 400 + (seq * 7919) % 3000
    return RequestOutcome(
        run="0193a5b4c8d27e4fa6b1c2d3e4f50617", worker=0, seq=seq, window=finished // 1_000_000,
        scheduled=began, started=began + 3, sent=began + 20, first_byte=finished - 9, finished=finished,
        step="browse", status=200, connection=seq % 64, bytes_out=120, bytes_in=512,
    )  # fmt: skip


def fold_us(batches: list[bytes]) -> tuple[float, int]:
    """CPU microseconds per event, and how many lines were set aside."""
    decoder, fold, offset, bad = OutcomeDecoder(), PartitionFold(0), 0, 0
    began = time.process_time()
    for lines in batches:
        decoded = decoder.decode(lines, offset, BATCH, offset)
        fold.fold(by_worker(decoded.records, decoded.offsets))
        bad += len(decoded.undecodable)
        offset += BATCH
    return (time.process_time() - began) / EVENTS * 1e6, bad


def main() -> int:
    """Prints one table; 1 where the damage costs more than it may, or is not told exactly."""
    whole, damaged = make_batches(False), make_batches(True)
    pairs = [(fold_us(whole), fold_us(damaged)) for _ in range(REPEATS)]  # by turns: both see the same machine
    clean, hurt = median(a[0] for a, _ in pairs), median(b[0] for _, b in pairs)
    ratio = median(b[0] / a[0] for a, b in pairs)
    found, wanted = pairs[0][1][1], EVENTS // ONE_IN
    print("| undecodable outcomes | CPU us/event | set aside |\n|---|---|---|")
    print(f"| none | {clean:.2f} | 0 |")
    print(f"| 1 in {ONE_IN:,} | {hurt:.2f} ({ratio:.2f} times) | {found} of {wanted} |\n")
    return 0 if ratio <= LIMIT and found == wanted else 1


if __name__ == "__main__":
    sys.exit(main())
