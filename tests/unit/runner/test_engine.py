"""Owns the proof of what a whole load does to a server and what it records. It must not touch the log."""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from time import perf_counter_ns

import pytest

from schemas.scenario import Scenario
from services.runner.engine import Engine
from services.runner.plan import Ending, EnginePlan
from services.runner.step_templates import wire_pools
from tests.unit.runner.notebook import Notebook
from tests.unit.runner.servers import Serve, answering, dialer_to, read_request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def keep_answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await answering(OK)(reader, writer)


async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def engine_for(port: int, notebook: Notebook, load: dict[str, object], **scenario: object) -> Engine:
    wanted = Scenario.model_validate({"target": f"http://127.0.0.1:{port}/", "load": load, **scenario})
    plan = EnginePlan(
        run_id="r",
        worker=0,
        requests=wire_pools(wanted),
        weights=[step.weight for step in wanted.steps],
        load=wanted.load,
        timeouts=wanted.timeouts,
        limits_s={step.name: step.timeout_s for step in wanted.steps if step.timeout_s is not None},
    )
    return Engine(plan, dialer_to(port), notebook, t0_ns=perf_counter_ns())


async def run(engine: Engine) -> Ending:
    return await asyncio.wait_for(engine.run(), 10)


async def test_iterations_make_exactly_the_requests_on_one_connection_a_user(serve: Serve, notebook: Notebook) -> None:
    server = await serve(keep_answering)
    ending = await run(engine_for(server.port, notebook, {"requests": 500, "concurrency": 7}))
    assert ending == Ending("completed")
    assert len(notebook.outcomes) == 500
    assert server.connections == 7
    assert Counter(outcome.reused for outcome in notebook.outcomes) == {True: 493, False: 7}
    assert max(outcome.in_flight for outcome in notebook.outcomes) <= 7


async def test_the_instants_of_an_outcome_are_in_order(serve: Serve, notebook: Notebook) -> None:
    server = await serve(keep_answering)
    await run(engine_for(server.port, notebook, {"requests": 50, "concurrency": 2}))
    for each in notebook.outcomes:
        assert 0 <= each.scheduled <= each.started <= each.sent <= each.first_byte <= each.finished
        assert (each.connect is None) == each.reused


async def test_more_users_than_requests_make_no_more_requests(serve: Serve, notebook: Notebook) -> None:
    server = await serve(keep_answering)
    await run(engine_for(server.port, notebook, {"requests": 3, "concurrency": 20}))
    assert (len(notebook.outcomes), server.connections) == (3, 3)


async def test_a_server_that_closes_each_connection_gets_a_new_one_for_each_request(
    serve: Serve, notebook: Notebook
) -> None:
    server = await serve(answering(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
    await run(engine_for(server.port, notebook, {"requests": 20, "concurrency": 2}))
    assert (notebook.errors, server.connections) == ({None: 20}, 20)


async def test_requests_that_take_too_long_time_out(serve: Serve, notebook: Notebook) -> None:
    server = await serve(never_answer)
    ending = await run(engine_for(server.port, notebook, {"requests": 4, "concurrency": 2}, timeouts={"total": "40ms"}))
    assert ending.reason == "target_dead"
    assert notebook.errors == {"timeout": 4}
    assert all(outcome.finished - outcome.started >= 40_000 for outcome in notebook.outcomes)


async def test_a_step_times_out_by_its_own_limit(serve: Serve, notebook: Notebook) -> None:
    async def answer_what_is_fine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while b"/fine" in await read_request(reader):
            writer.write(OK)
        await reader.read()

    server = await serve(answer_what_is_fine)
    steps = [
        {"name": "slow", "request": {"path": "slow"}},
        {"name": "quick", "request": {"path": "quick"}, "timeout": "60ms"},
        {"name": "fine", "request": {"path": "fine"}, "timeout": "5s"},
    ]
    load: dict[str, object] = {"requests": 9, "concurrency": 1}
    await run(engine_for(server.port, notebook, load, steps=steps, timeouts={"total": "300ms"}))
    took: dict[str, list[int]] = {step: [] for step in ("slow", "quick", "fine")}
    for each in notebook.outcomes:
        took[each.step].append(each.finished - each.started)
    assert {(each.step, each.error) for each in notebook.outcomes} == {
        ("slow", "timeout"),
        ("quick", "timeout"),
        ("fine", None),
    }
    assert min(took["slow"]) >= 300_000
    assert 60_000 <= min(took["quick"]) <= sorted(took["quick"])[1] < 300_000


async def test_a_timed_run_starts_nothing_after_its_end_and_cancels_what_outlives_the_grace(
    serve: Serve, notebook: Notebook
) -> None:
    served = 0

    async def hang_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        while served < 50:
            served += 1
            await answering(OK)(reader, writer)
        await never_answer(reader, writer)

    server = await serve(hang_later)
    load = {"duration": "100ms", "concurrency": 3}
    ending = await run(engine_for(server.port, notebook, load, timeouts={"grace": "50ms"}))
    assert ending == Ending("completed")
    assert notebook.errors == {None: 50, "cancelled": 3}
    assert all(outcome.started < 100_000 for outcome in notebook.outcomes)


async def test_a_refused_target_ends_the_run_as_dead(notebook: Notebook, closed_port: int) -> None:
    ending = await run(engine_for(closed_port, notebook, {"requests": 6, "concurrency": 6}))
    assert ending.reason == "target_dead"
    assert notebook.errors == {"connect_refused": 6}


async def test_a_user_does_not_spin_on_a_refused_port(notebook: Notebook, closed_port: int) -> None:
    await run(engine_for(closed_port, notebook, {"duration": "100ms", "concurrency": 1}))
    assert 1 <= len(notebook.outcomes) <= 4  # after 10, 20 and 40 ms at the earliest


async def test_an_error_status_is_an_answer(serve: Serve, notebook: Notebook) -> None:
    server = await serve(answering(b"HTTP/1.1 503 Busy\r\nRetry-After: 2\r\nX-RateLimit-Remaining: 0\r\n\r\n"))
    ending = await run(engine_for(server.port, notebook, {"requests": 1}))
    assert ending.reason == "completed"
    only = notebook.outcomes[0]
    assert (only.status, only.error, only.retry_after_ms, only.ratelimit_remaining) == (503, None, 2000, 0)


async def test_stopping_cancels_what_is_in_flight_at_once(serve: Serve, notebook: Notebook) -> None:
    hanging = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        hanging.set()
        await reader.read()

    server = await serve(hang)
    engine = engine_for(server.port, notebook, {"duration": "30s", "concurrency": 5})
    running = asyncio.create_task(engine.run())
    await asyncio.wait_for(hanging.wait(), 5)
    engine.stop("aborted", "p95 < 5ms was broken")
    engine.stop("cancelled")
    assert await asyncio.wait_for(running, 2) == Ending("aborted", "p95 < 5ms was broken")
    assert notebook.errors == {"cancelled": 5}


async def test_stopping_ends_connections_that_were_not_begun_yet(notebook: Notebook, closed_port: int) -> None:
    engine = engine_for(closed_port, notebook, {"rate": "100000/s", "duration": "30s", "concurrency": 5})
    running = asyncio.create_task(engine.run())
    asyncio.get_running_loop().call_soon(engine.stop, "cancelled")  # what stop begins itself never gets a first step
    assert (await asyncio.wait_for(running, 5)).reason == "cancelled"
    assert engine.tally.in_flight == 0
    assert len(notebook.outcomes) == engine.tally.started


async def test_steps_are_mixed_by_their_weights(serve: Serve, notebook: Notebook) -> None:
    server = await serve(keep_answering)
    steps = [{"name": "browse", "weight": 3}, {"name": "buy", "weight": 1, "request": {"path": "/buy"}}]
    await run(engine_for(server.port, notebook, {"requests": 40, "concurrency": 4}, steps=steps))
    assert Counter(outcome.step for outcome in notebook.outcomes) == {"browse": 30, "buy": 10}


async def test_a_constant_rate_starts_every_request_at_or_after_its_instant(serve: Serve, notebook: Notebook) -> None:
    server = await serve(keep_answering)
    ending = await run(engine_for(server.port, notebook, {"rate": 1000, "duration": "300ms"}))
    assert ending == Ending("completed")
    assert sorted(outcome.scheduled for outcome in notebook.outcomes) == list(range(0, 300_000, 1000))
    assert all(outcome.started >= outcome.scheduled for outcome in notebook.outcomes)


async def test_a_stalled_server_shows_in_scheduled_latency(serve: Serve, notebook: Notebook) -> None:
    stall = asyncio.Event()

    async def stalling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            await stall.wait()
            writer.write(OK)
            await writer.drain()

    server = await serve(stalling)
    engine = engine_for(server.port, notebook, {"rate": 200, "duration": "400ms", "concurrency": 5})
    asyncio.get_running_loop().call_later(0.3, stall.set)
    await run(engine)
    assert len(notebook.outcomes) == 80
    waits = [outcome.finished - outcome.scheduled for outcome in notebook.outcomes]
    assert sum(wait > 100_000 for wait in waits) >= 30
    assert server.connections == 5


async def test_requests_that_wait_for_a_connection_keep_their_order_and_instants(
    serve: Serve, notebook: Notebook
) -> None:
    server = await serve(keep_answering)
    await run(engine_for(server.port, notebook, {"rate": 20_000, "requests": 400, "concurrency": 1}))
    assert [outcome.scheduled for outcome in notebook.outcomes] == [k * 50 for k in range(400)]
    assert server.connections == 1


async def test_what_an_open_loop_could_not_start_in_time_is_intended_and_not_started(
    serve: Serve, notebook: Notebook
) -> None:
    server = await serve(never_answer)
    load = {"rate": 100, "duration": "200ms", "concurrency": 3}
    engine = engine_for(server.port, notebook, load, timeouts={"grace": "20ms"})
    last = engine.final_mark(await run(engine), unacknowledged=0)
    assert (last.intended, last.started, last.final, last.stopped) == (20, 3, True, "completed")
    assert notebook.errors == {"cancelled": 3}


async def test_the_final_mark_closes_every_window_of_the_run(serve: Serve, notebook: Notebook) -> None:
    server = await serve(keep_answering)
    engine = engine_for(server.port, notebook, {"rate": 50, "duration": "1100ms"})
    last = engine.final_mark(await run(engine), unacknowledged=2)
    assert [mark.window for mark in [*notebook.marks, last]] == [0, 1]
    assert [mark.intended for mark in [*notebook.marks, last]] == [50, 5]
    assert sum(mark.started for mark in [*notebook.marks, last]) == 55
    assert (last.unacknowledged, last.in_flight) == (2, 0)
