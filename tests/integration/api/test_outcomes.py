"""Owns the proof that a run's records are handed out once each and in order. It must not run a benchmark."""

import json

import httpx
import sqlalchemy as sa

from backbone.database import tables as t
from backbone.platform import Platform
from schemas.base import derived_id
from schemas.topics import OUTCOMES
from tests.integration.api.conftest import Projector

RUN, OTHER = derived_id("mine"), derived_id("other")
PARTITION = 3


async def append(platform: Platform, records: list[dict[str, object]]) -> int:
    lines = b"\n".join(json.dumps(record).encode() for record in records)
    return await platform.log.append(OUTCOMES, PARTITION, lines, len(records))


async def place(platform: Platform, run_id: str, worker: int, first_offset: int) -> None:
    row = {"run_id": run_id, "worker": worker, "partition": PARTITION, "first_offset": first_offset}
    row |= {"next_offset": 0, "next_seq": 0, "missing": [], "marked_window": -1, "outcomes": 0, "after_fence": 0}
    async with platform.database.write() as conn:
        await conn.execute(sa.insert(t.worker_progress).values(row | {"fenced": False, "final": False}))


def outcome(run_id: str, worker: int, seq: int) -> dict[str, object]:
    return {"type": "outcome", "run": run_id, "worker": worker, "seq": seq}


def last_mark(run_id: str, worker: int, seq: int) -> dict[str, object]:
    return {"type": "mark", "run": run_id, "worker": worker, "seq": seq, "final": True}


async def all_pages(http: httpx.AsyncClient, limit: int) -> list[tuple[int, int]]:
    """(worker, seq) of every line, page by page until there is no next one."""
    seen: list[tuple[int, int]] = []
    after: str | None = None
    while True:
        query = {"limit": str(limit)} | ({"after": after} if after else {})
        answer = await http.get(f"/v1/runs/{RUN}/outcomes", params=query)
        lines = [json.loads(line) for line in answer.text.splitlines()]
        assert len(lines) <= limit
        seen += [(line["worker"], line["seq"]) for line in lines]
        after = answer.headers.get("x-next-after")
        if after is None:
            return seen


async def test_pages_of_any_size_hold_each_record_once_in_the_order_of_each_worker(
    http: httpx.AsyncClient, projector: Projector, platform: Platform
) -> None:
    await projector.run(RUN, status="finished")
    await append(platform, [outcome(OTHER, 0, seq) for seq in range(5)])
    first = await append(platform, [outcome(run, worker, 0) for run in (RUN, OTHER) for worker in (0, 1)])
    for seq in range(1, 20):
        await append(platform, [outcome(RUN, 1, seq), outcome(OTHER, 0, 5 + seq), outcome(RUN, 0, seq)])
    await append(platform, [last_mark(RUN, 0, 20), last_mark(RUN, 1, 20), outcome(OTHER, 0, 99)])
    await place(platform, RUN, 0, first)
    await place(platform, RUN, 1, first)

    wanted = [(worker, seq) for worker in (0, 1) for seq in range(21)]
    for limit in (1, 3, 21, 1000):
        assert await all_pages(http, limit) == wanted


async def test_a_run_that_is_on_always_has_a_next_page(
    http: httpx.AsyncClient, projector: Projector, platform: Platform
) -> None:
    await projector.run(RUN, status="running")
    await place(platform, RUN, 0, await append(platform, [outcome(RUN, 0, 0)]))

    first = await http.get(f"/v1/runs/{RUN}/outcomes")
    await append(platform, [outcome(RUN, 0, 1), last_mark(RUN, 0, 2)])
    rest = await http.get(f"/v1/runs/{RUN}/outcomes", params={"after": first.headers["x-next-after"]})

    assert [json.loads(line)["seq"] for line in first.text.splitlines()] == [0]
    assert [json.loads(line)["seq"] for line in rest.text.splitlines()] == [1, 2]
    assert "x-next-after" not in rest.headers


async def test_a_cursor_nobody_gave_out_is_refused(http: httpx.AsyncClient, projector: Projector) -> None:
    await projector.run(RUN)

    assert (await http.get(f"/v1/runs/{RUN}/outcomes", params={"after": "x"})).status_code == 400
    assert (await http.get("/v1/runs/nope/outcomes")).status_code == 404
