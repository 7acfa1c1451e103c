"""Owns that rows go in and come out alike on every database: upserts, texts, floats, bytes, JSON."""

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backbone.database.engine import Database
from backbone.database.tables import outcome_partials, run_timeline, sla_results, worker_marks
from backbone.database.upsert import Row, insert_missing, upsert

RUN = "0" * 32


def mark(window: int, mark: object = None, worker: int = 0) -> Row:
    return {"run_id": RUN, "worker": worker, "window": window, "mark": mark}


async def marks(database: Database) -> dict[int, object]:
    async with database.read() as conn:
        return {row.window: row.mark for row in await conn.execute(sa.select(worker_marks))}


async def test_an_upsert_inserts_what_is_new_and_replaces_what_is_there(database: Database) -> None:
    async with database.write() as conn:
        await upsert(conn, worker_marks, [mark(1, "a"), mark(2, "b")])
        await upsert(conn, worker_marks, [mark(2, "c"), mark(3, "d")])
        await upsert(conn, worker_marks, [])
    assert await marks(database) == {1: "a", 2: "c", 3: "d"}


async def test_an_insert_of_what_is_missing_leaves_the_rest(database: Database) -> None:
    async with database.write() as conn:
        await insert_missing(conn, worker_marks, [mark(1, "a")])
        await insert_missing(conn, worker_marks, [mark(1, "other"), mark(2, "b")])
        await insert_missing(conn, worker_marks, [])
    assert await marks(database) == {1: "a", 2: "b"}


async def test_an_upsert_leaves_columns_alone_that_it_does_not_name(database: Database) -> None:
    row = {"run_id": RUN, "step": "*", "resolution": 1, "window": 0}
    async with database.write() as conn:
        await upsert(conn, run_timeline, [{**row, "requests": 7, "latency_p50_ms": 1.5}])
        await upsert(conn, run_timeline, [{**row, "latency_p50_ms": 2.5}])
    async with database.read() as conn:
        found = (await conn.execute(sa.select(run_timeline))).one()
    assert (found.requests, found.failed, found.latency_p50_ms, found.latency_p90_ms) == (7, 0, 2.5, None)


async def test_many_rows_with_bytes_go_in_at_once_and_again(database: Database) -> None:
    def rows(turn: int) -> list[Row]:
        key = {"run_id": RUN, "worker": 0, "stage": 0, "step": "*"}
        return [{**key, "window": n, "state": bytes([turn, 0, 39, 92, 255]) * (n % 50)} for n in range(1200)]

    for turn in (1, 2):
        async with database.write() as conn:
            await upsert(conn, outcome_partials, rows(turn))
    async with database.read() as conn:
        found = {row.window: row.state for row in await conn.execute(sa.select(outcome_partials))}
    assert found == {row["window"]: row["state"] for row in rows(2)}


async def test_a_large_state_fits(database: Database) -> None:
    state = bytes(range(256)) * 4096
    row = {"run_id": RUN, "worker": 0, "window": 0, "stage": 0, "step": "*", "state": state}
    async with database.write() as conn:
        await upsert(conn, outcome_partials, [row])
    async with database.read() as conn:
        assert (await conn.execute(sa.select(outcome_partials.c.state))).scalar_one() == state


async def test_keys_that_differ_in_case_accent_or_space_are_different(database: Database) -> None:
    steps = ["a", "A", "a ", "á", "ß", "ss", "日本", "🚀", "'\"\\%_;--"]
    key = {"run_id": RUN, "resolution": 1, "window": 0}
    async with database.write() as conn:
        await upsert(conn, run_timeline, [{**key, "step": step, "requests": n} for n, step in enumerate(steps)])
    async with database.read() as conn:
        found = {row.step: row.requests for row in await conn.execute(sa.select(run_timeline))}
        one = sa.select(run_timeline.c.requests).where(run_timeline.c.step == "A")
        assert (await conn.execute(one)).scalars().all() == [1]
    assert found == {step: n for n, step in enumerate(steps)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(value=st.floats(allow_nan=False, allow_infinity=False))
async def test_a_float_comes_back_with_the_same_bits(database: Database, value: float) -> None:
    row = {"run_id": RUN, "step": "*", "resolution": 1, "window": 0, "latency_p50_ms": value}
    async with database.write() as conn:
        await upsert(conn, run_timeline, [row])
        await upsert(conn, worker_marks, [mark(0, {"value": value})])
    async with database.read() as conn:
        stored = (await conn.execute(sa.select(run_timeline.c.latency_p50_ms))).scalar_one()
        in_json = (await conn.execute(sa.select(worker_marks.c.mark))).scalar_one()["value"]
    assert float(stored).hex() == float(value + 0.0).hex() or stored == value == 0.0
    assert in_json == value


@pytest.mark.parametrize(
    "value",
    [None, True, 0, 2**53, -1.5, "", "x", "🚀 'quoted' \\ \n", [], {}, {"b": [1, None, {"a": "ü"}], "a": False}],
)
async def test_a_json_value_comes_back_as_it_was(database: Database, value: object) -> None:
    async with database.write() as conn:
        await upsert(conn, worker_marks, [mark(0, value)])
    assert await marks(database) == {0: value}


async def test_a_text_that_no_column_can_hold_is_made_to_fit_alike(database: Database) -> None:
    row = {"run_id": RUN, "sla_index": 0, "metric": "p95", "status": "pass", "unit": "ms", "lower_bound": False}
    async with database.write() as conn:
        await upsert(conn, sla_results, [{**row, "expression": "é" * 600, "note": "a\0b"}])
    async with database.read() as conn:
        found = (await conn.execute(sa.select(sla_results))).one()
        assert (await conn.execute(sa.select(sla_results).where(sla_results.c.note == "a\0b"))).first() is not None
    assert (found.expression, found.note) == ("é" * 500, "a\ufffdb")
