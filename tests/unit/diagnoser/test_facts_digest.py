"""Facts do not depend on the order in which outcomes arrive, agree with an exact count, and stay small."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.outcomes import RequestOutcome
from services.diagnoser.columns import columns_of
from services.diagnoser.facts import Judged, LoadFacts
from services.diagnoser.fold import MAX_BINS, MAX_BLOCKS, FactsBuilder
from services.diagnoser.grid import Column, TimeGrid
from services.diagnoser.lanes import MAX_LANES, LaneCounter
from tests.unit.diagnoser.cases import facts_of, fold, load_of
from tests.unit.diagnoser.load_simulator import Simulation, simulate

SHORT = Simulation(fault="server_errors", share=0.2, duration_s=2.5, base_ms=5.0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_any_order_of_outcomes_and_batches_gives_the_same_facts(seed: int) -> None:
    outcomes, marks = simulate(SHORT)
    straight = fold(outcomes, marks, load_of(SHORT))
    assert fold(outcomes, marks, load_of(SHORT), shuffle=seed).digest() == straight.digest()


def test_one_outcome_more_changes_the_digest() -> None:
    outcomes, marks = simulate(SHORT)
    assert fold(outcomes[1:], marks, load_of(SHORT)).digest() != fold(outcomes, marks, load_of(SHORT)).digest()


def test_quantiles_of_blocks_agree_with_sorting() -> None:
    outcomes, marks = simulate(Simulation())
    facts = fold(outcomes, marks, LoadFacts(10))
    for block in range(facts.blocks.count):
        exact = np.sort([o.finished - o.started for o in outcomes if o.finished // 1_000_000 == block]) / 1e3
        assert facts.blocks.p50_ms("latency")[block] == pytest.approx(np.quantile(exact, 0.5), rel=0.012)
        assert facts.blocks.p95_ms("latency")[block] == pytest.approx(np.quantile(exact, 0.95), rel=0.02)
        assert facts.blocks.ok[block] == exact.size


def test_totals_add_up() -> None:
    totals = facts_of(Simulation(fault="error_burst", start_s=3.0)).totals
    assert totals.ok + totals.failed + totals.bad + totals.other + totals.cancelled == totals.outcomes
    assert sum(totals.by_status.values()) == totals.answered


def _stretched(outcome: RequestOutcome, factor: int) -> RequestOutcome:
    times = {name: getattr(outcome, name) * factor for name in ("scheduled", "started", "sent", "finished")}
    return msgspec.structs.replace(outcome, **times)


def test_a_run_of_an_hour_takes_no_more_room_than_one_of_ten_minutes() -> None:
    outcomes, _ = simulate(replace(SHORT, fault="none", duration_s=10.0))
    facts = fold([_stretched(outcome, 400) for outcome in outcomes], [], LoadFacts(10))
    assert facts.blocks.count <= MAX_BLOCKS
    assert facts.bins.answered.size <= MAX_BINS
    assert facts.blocks.width_s > 1
    assert int(facts.blocks.ok.sum()) == pytest.approx(len(outcomes), abs=0.02 * len(outcomes))


def test_a_connection_per_request_keeps_a_bounded_sample() -> None:
    counter = LaneCounter()
    for start in range(0, 20_000, 1_000):
        keys = np.arange(start, start + 1_000)
        counter.add(keys, keys * 100, np.full(1_000, 5_000), {})
    assert counter.lanes().keys.size == MAX_LANES


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 10_000_000), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_merging_cells_loses_nothing_and_forgets_the_order(times: list[int], random: object) -> None:
    def filled(order: list[int]) -> TimeGrid:
        grid = TimeGrid(1_000, 16, {"count": Column(), "latest": Column("max"), "first": Column("min")})
        for at in order:
            cell = grid.cells_of(np.array([at]))
            grid.add("count", cell)
            grid.add("latest", cell, np.array([at]))
            grid.add("first", cell, np.array([at]))
        return grid

    forwards, backwards = filled(times), filled(sorted(times, reverse=True))
    assert int(forwards.column("count").sum()) == len(times)
    assert forwards.width_us == backwards.width_us
    for name in ("count", "latest", "first"):
        assert (forwards.column(name) == backwards.column(name)).all()


def test_no_outcomes_make_empty_facts() -> None:
    facts = FactsBuilder(LoadFacts(1)).build(Judged())
    assert (facts.totals.outcomes, facts.blocks.count, facts.enough) == (0, 0, False)


def test_phases_and_errors_come_through_the_columns() -> None:
    outcome = RequestOutcome("r", 1, 2, 0, 1, 2, 3, 4, 5, error="reset", connect=7, remote="10.0.0.1:80")
    columns = columns_of([outcome])
    assert (int(columns.connect[0]), int(columns.dns[0])) == (7, -1)
    assert bool(columns.transport_failed[0])
    assert list(columns.remotes.values()) == ["10.0.0.1:80"]
