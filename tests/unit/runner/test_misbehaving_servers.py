"""Owns the proof that a server may break any rule: each request has one named ending, and the run goes on.

It must not know how the lab plays a kind.
"""

import asyncio
import tracemalloc
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import repeat

import pytest

from lab.misbehaving import MisbehavingSettings, serve_misbehaving
from lab.misconduct import KINDS, Endless, Moves
from lab.service import Addresses
from services.runner.connection import HEAD_LIMIT_BYTES
from services.runner.plan import Ending
from services.runner.request import WireRequest
from tests.unit.runner.notebook import Notebook
from tests.unit.runner.test_connection_splits import connected
from tests.unit.runner.test_engine import engine_for, run

Endings = Mapping[str, tuple[int, str | None]]
"""By kind: the status and the error that a request ends with."""

EXPECTED: Endings = {
    "close_at_once": (0, "closed_early"),
    "close_in_status_line": (0, "closed_early"),
    "close_in_head": (200, "closed_early"),
    "close_in_body": (200, "closed_early"),
    "close_in_chunk": (200, "closed_early"),
    "close_before_last_chunk": (200, "closed_early"),
    "close_after_continue": (0, "closed_early"),
    "reset_at_once": (0, "reset"),
    "reset_in_head": (200, "reset"),
    "reset_in_body": (200, "reset"),
    "reset_in_chunk": (200, "reset"),
    "reset_in_endless_body": (200, "reset"),
    "half_closed_at_once": (0, "closed_early"),
    "half_closed_in_body": (200, "closed_early"),
    "half_closed_after_answer": (200, None),
    "length_too_short": (200, "protocol"),
    "length_is_no_number": (200, "protocol"),
    "length_is_negative": (200, "protocol"),
    "length_has_a_sign": (200, "protocol"),
    "length_is_empty": (200, "protocol"),
    "length_overflows": (200, "protocol"),
    "two_lengths": (200, "protocol"),
    "length_and_chunks": (200, "protocol"),
    "chunk_size_overflows": (200, "protocol"),
    "chunk_size_is_no_number": (200, "protocol"),
    "chunk_size_is_negative": (200, "protocol"),
    "chunk_size_is_empty": (200, "protocol"),
    "chunk_without_its_end": (200, "protocol"),
    "chunk_size_never_ends": (200, "timeout"),
    "chunk_extension_never_ends": (200, "timeout"),
    "chunk_extensions": (200, None),
    "trailers": (200, None),
    "trailers_never_end": (200, "timeout"),
    "continue": (200, None),
    "early_hints": (200, None),
    "continues_never_end": (0, "protocol"),
    "switches_protocols": (101, "protocol"),
    "header_bomb": (200, "protocol"),
    "header_never_ends": (200, "protocol"),
    "status_line_never_ends": (0, "protocol"),
    "empty_lines_never_end": (0, "protocol"),
    "header_without_colon": (200, "protocol"),
    "header_with_nul": (200, "protocol"),
    "header_with_space_in_name": (200, "protocol"),
    "status_of_two_digits": (0, "protocol"),
    "status_of_four_digits": (0, "protocol"),
    "version_of_the_future": (0, "protocol"),
    "no_head": (0, "protocol"),
    "another_protocol": (0, "protocol"),
    "http2": (0, "protocol"),
    "tls_alert": (0, "protocol"),
    "random_bytes": (0, "protocol"),
    "garbage_with_answer": (200, "protocol"),
    "garbage_after_answer": (200, None),
    "two_answers": (200, "protocol"),
    "silence": (0, "timeout"),
    "body_never_ends": (200, "timeout"),
    "chunks_never_end": (200, "timeout"),
    "slow_head": (200, "timeout"),
    "slow_body": (200, "timeout"),
    "slow_chunks": (200, "timeout"),
    "answer": (200, None),
    "answer_and_close": (200, None),
    "answer_until_close": (200, None),
}
SPOILS_THE_NEXT = frozenset({"half_closed_after_answer", "garbage_after_answer"})
"""The answer is whole and what follows it hits whatever this connection carries next."""


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Of a server that misbehaves as its path says."""
    ready: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    serving = asyncio.create_task(serve_misbehaving(MisbehavingSettings(), ready.set_result, stop))
    yield int((await ready).url.rsplit(":", 1)[1].strip("/"))
    stop.set()
    await serving


async def endings_of(port: int, kinds: Sequence[str]) -> dict[str, set[tuple[int, str | None]]]:
    """Of a run that asks for each kind twice, mixed; every request has exactly one outcome and the run completes."""
    notebook = Notebook()
    requests = 2 * len(kinds)
    steps = [{"name": kind, "request": {"path": kind}} for kind in kinds]
    load: dict[str, object] = {"requests": requests, "concurrency": 8}
    engine = engine_for(port, notebook, load, steps=steps, timeouts={"total": "300ms"})
    assert await run(engine) == Ending("completed")
    assert len(notebook.outcomes) == engine.tally.started == engine.tally.finished == requests
    ended: dict[str, set[tuple[int, str | None]]] = defaultdict(set)
    for outcome in notebook.outcomes:
        ended[outcome.step].add((outcome.status, outcome.error))
    return ended


async def test_each_misbehaviour_has_its_ending_and_the_run_goes_on(port: int) -> None:
    ended = await endings_of(port, [kind for kind in KINDS if kind not in SPOILS_THE_NEXT])
    assert ended == {kind: {ending} for kind, ending in EXPECTED.items() if kind not in SPOILS_THE_NEXT}


async def test_what_follows_a_whole_answer_cannot_change_it(port: int) -> None:
    ended = await endings_of(port, [*SPOILS_THE_NEXT, "answer"])
    spoilt = ended.pop("answer")
    assert ended == {kind: {(200, None)} for kind in SPOILS_THE_NEXT}
    assert spoilt <= {(200, None), (0, "closed_early"), (0, "reset"), (0, "protocol")}


def bytes_of(moves: Moves) -> Iterator[bytes]:
    """What a client reads: of what never ends 64 MB."""
    for move in moves:
        match move:
            case bytes():
                yield move
            case Endless(data, 0.0):
                yield from repeat(data, 2**26 // len(data))


@pytest.mark.parametrize("kind", [kind for kind, moves in KINDS.items() if isinstance(moves[-1], Endless)])
def test_an_answer_without_an_end_takes_no_memory(kind: str) -> None:
    connection = connected()
    connection.send(WireRequest("s", b"", head_only=False))
    tracemalloc.start()
    for data in bytes_of(KINDS[kind]):
        if connection.awaiting:
            connection.data_received(data)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 4 * HEAD_LIMIT_BYTES
    connection.give_up("timeout")
    assert connection.error == EXPECTED[kind][1]
