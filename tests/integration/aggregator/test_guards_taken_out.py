"""Each guard against a lost or doubled event is taken out, and the test that is there for it has to fail.

A row of the table: the guard, its test, the function of ours that works without it, and how the test then fails.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.offsets import advance_offset, load_offset
from backbone.database.outbox import Outbox
from backbone.database.tables import offsets
from backbone.log.embedded import EmbeddedLog
from backbone.platform import open_platform
from backbone.settings import Settings
from schemas.outcomes import RequestOutcome
from schemas.topics import OUTCOMES
from services.aggregator import columns, fold, fold_service
from services.aggregator.decoding import FoldedOutcome, FoldedRecord
from services.aggregator.fold import PartitionFold, WorkerFold
from services.aggregator.fold_service import PROJECTION, PartitionReader
from services.aggregator.progress import WorkerProgress
from services.runner.publisher import Publisher
from tests.integration.aggregator import test_guards as guards
from tests.integration.aggregator.world import World
from tests.unit.runner.test_publisher import test_no_outcome_arrives_for_a_marked_window as windows_of_a_publisher

TakeOut = Callable[[pytest.MonkeyPatch], None]
Proof = Callable[[Settings], Awaitable[None]]


class Guard(NamedTuple):
    """`fails` is what the test's failure reads like: a pattern."""

    name: str
    proof: Proof
    take_out: TakeOut
    fails: str


def on_a_world(test: Callable[[World], Awaitable[None]]) -> Proof:
    async def proof(settings: Settings) -> None:
        async with open_platform(settings) as platform:
            await test(World(platform))

    return proof


async def of_a_publisher(_: Settings) -> None:
    await asyncio.to_thread(windows_of_a_publisher)  # it runs a loop of its own


def double_append(patch: pytest.MonkeyPatch) -> None:
    """Whatever comes is new."""

    def admit(progress: WorkerProgress, seq: int) -> bool:
        progress.next_seq = seq + 1
        return True

    def admit_many(progress: WorkerProgress, seqs: Any) -> None:
        progress.next_seq = int(seqs[-1]) + 1

    patch.setattr(WorkerProgress, "admit", admit)
    patch.setattr(WorkerProgress, "admit_many", admit_many)


def snapshot_read(patch: pytest.MonkeyPatch) -> None:
    """State first, then the offset as it is by then."""
    together = PartitionReader._load

    async def load(reader: PartitionReader, conn: AsyncConnection, incarnation: str) -> Any:
        loaded = await together(reader, conn, incarnation)
        async with reader._database.read() as later:
            offset = await load_offset(later, PROJECTION, OUTCOMES, reader._partition, incarnation)
        loaded.offset = loaded.committed = offset
        return loaded

    patch.setattr(PartitionReader, "_load", load)


def zombie_owner(patch: pytest.MonkeyPatch) -> None:
    """Whoever commits sets the offset, wherever it was."""

    async def advance(conn: AsyncConnection, *key: Any, expected: int, next: int, incarnation: str) -> None:
        found = (await conn.execute(sa.select(offsets.c.next).where(offsets.c.partition == key[2]))).scalar()
        await advance_offset(conn, *key, expected=found or 0, next=next, incarnation=incarnation)

    patch.setattr(fold_service, "advance_offset", advance)


def fence(patch: pytest.MonkeyPatch) -> None:
    """Outcomes count, behind the fence too."""
    guarded = PartitionFold._fold_outcomes

    def fold_all(state: PartitionFold, worker: WorkerFold, records: Sequence[FoldedRecord]) -> None:
        fenced, worker.progress.fenced = worker.progress.fenced, False
        guarded(state, worker, records)
        worker.progress.fenced = fenced

    patch.setattr(PartitionFold, "_fold_outcomes", fold_all)


def outbox(patch: pytest.MonkeyPatch) -> None:
    """What is told is kept in memory until the commit is done, and the process dies in between."""

    async def forget(*_: object) -> None:
        pass

    patch.setattr(Outbox, "add", forget)


def censored_requests(patch: pytest.MonkeyPatch) -> None:
    """Percentiles of what was answered."""
    patch.setattr(columns, "CUT_OFF", frozenset[str]())


def late_window_of_the_fold(patch: pytest.MonkeyPatch) -> None:
    """An outcome goes where it says that it belongs."""

    def add(outcomes: Sequence[FoldedOutcome], _: object, *rest: Any) -> None:
        columns.add_grouped(outcomes, columns.integers([outcome.window for outcome in outcomes]), *rest)

    patch.setattr(fold, "add_grouped", add)


def late_window_of_the_publisher(patch: pytest.MonkeyPatch) -> None:
    """The second in which a request finished, marked or not."""
    guarded = Publisher.put

    def put(publisher: Publisher, outcome: RequestOutcome) -> None:
        guarded(publisher, outcome)
        outcome.window = outcome.finished // 1_000_000

    patch.setattr(Publisher, "put", put)


def foreign_incarnation(patch: pytest.MonkeyPatch) -> None:
    """One log is like another."""

    async def any_log(_: EmbeddedLog) -> str:
        return "log"

    patch.setattr(EmbeddedLog, "incarnation", any_log)


GUARDS = (
    Guard("double append", on_a_world(guards.test_an_append_repeated_by_the_publisher_counts_once),
          double_append, "'pass', 238, 238"),
    Guard("snapshot read", on_a_world(guards.test_state_and_offset_come_from_one_snapshot),
          snapshot_read, "assert 62 == 20"),
    Guard("zombie owner", on_a_world(guards.test_a_zombie_neither_loses_nor_doubles_what_the_new_owner_counted),
          zombie_owner, "DID NOT RAISE.*OwnershipLost"),
    Guard("fence", on_a_world(guards.test_what_follows_a_fence_is_dropped_and_changes_no_verdict),
          fence, "'lost', 60"),
    Guard("outbox", on_a_world(guards.test_derived_events_survive_a_death_between_commit_and_append),
          outbox, r"\[0, 0\] == \[1, 1\]"),
    Guard("censored requests", on_a_world(guards.test_a_percentile_among_requests_that_were_cut_off_is_no_pass),
          censored_requests, "'pass', 'pass'"),
    Guard("late window, in the fold", on_a_world(guards.test_an_outcome_for_a_marked_second_counts_in_the_next),
          late_window_of_the_fold, r"41, 40, \[20, 20, 0\]"),
    Guard("late window, at the publisher", of_a_publisher,
          late_window_of_the_publisher, "record.window == max|assert"),
    Guard("foreign incarnation", guards.test_another_log_is_refused,
          foreign_incarnation, "DID NOT RAISE.*ForeignIncarnation"),
)  # fmt: skip


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
async def test_the_test_of_a_guard_fails_when_the_guard_is_taken_out(
    guard: Guard, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard.take_out(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception), match=guard.fails):
        await guard.proof(settings)
