"""Owns the proof that nothing of a journey begins any more once its run is stopped. It must not touch the log."""

import asyncio
from collections.abc import Callable

import pytest

from schemas.outcomes import RequestOutcome
from tests.unit.runner.journeys import journey, run
from tests.unit.runner.notebook import Notebook
from tests.unit.runner.servers import Serve, read_request
from tests.unit.runner.site import Site

PAUSE_S = 0.02


class Interrupted(Notebook):
    """Does something in the midst of recording an outcome: of a publisher that fails, say, the run is told there."""

    act: Callable[[], None]

    def put(self, outcome: RequestOutcome) -> None:
        super().put(outcome)
        self.act()


async def timers_due_within(pause_s: float) -> None:
    """Every timer of this loop that is due by then has been run, or was cancelled."""
    loop = asyncio.get_running_loop()
    passed = loop.create_future()
    loop.call_later(2 * pause_s, passed.set_result, None)
    await asyncio.wait_for(passed, 5)


@pytest.fixture
async def faults() -> list[object]:
    """What callbacks of the loop raised."""
    found: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    return found


@pytest.mark.parametrize(
    ("step", "status"),
    [
        ({"request": {"path": "/login"}, "think": f"{PAUSE_S}s"}, 200),
        ({"request": {"path": "/flaky/503/99"}, "retries": {"on": [503], "backoff": f"{PAUSE_S / 2}s"}}, 503),
    ],
)
async def test_who_pauses_when_the_run_is_stopped_asks_for_nothing_afterwards(
    serve: Serve, faults: list[object], step: dict[str, object], status: int
) -> None:
    site, notebook = Site(), Notebook()
    steps = [{"name": "a", **step}, {"name": "b", "request": {"path": "/login"}}]
    engine = journey(await serve(site.talk), notebook, {"concurrency": 1, "requests": 99}, steps=steps, sequence=True)
    notebook.at(1, lambda: engine.stop("cancelled"))
    ending = await run(engine)
    await timers_due_within(PAUSE_S)
    assert ending.reason == "cancelled"
    assert [(each.status, each.error) for each in notebook.outcomes] == [(status, None)]
    assert len(site.asked) == 1
    assert faults == []


async def test_an_answer_that_is_being_recorded_when_the_run_is_stopped_is_not_tried_again(
    serve: Serve, faults: list[object]
) -> None:
    site, notebook = Site(), Interrupted()
    steps = [{"request": {"path": "/flaky/503/99"}, "retries": {"on": [503], "backoff": f"{PAUSE_S / 2}s"}}]
    engine = journey(await serve(site.talk), notebook, {"concurrency": 1, "requests": 9}, steps=steps)
    notebook.act = lambda: engine.stop("failed", "nobody takes the outcomes")
    ending = await run(engine)
    await timers_due_within(PAUSE_S)
    assert ending.reason == "failed"
    assert [(each.status, each.attempt) for each in notebook.outcomes] == [(503, 1)]
    assert len(site.asked) == 1
    assert faults == []


@pytest.mark.parametrize(
    ("answer", "rules"),
    [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", {"retries": {"on": [503], "backoff": "1ms"}}),
        (b"HTTP/1.1 302 There\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n", {"redirects": 3}),
    ],
)
async def test_what_is_answered_after_the_load_has_ended_is_followed_by_nothing(
    serve: Serve, faults: list[object], answer: bytes, rules: dict[str, object]
) -> None:
    asked: asyncio.Queue[bytes] = asyncio.Queue()
    over = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            asked.put_nowait(await read_request(reader))
            await over.wait()
            writer.write(answer)

    server, notebook = await serve(talk), Notebook()
    engine = journey(server, notebook, {"concurrency": 1, "duration": f"{PAUSE_S}s"}, steps=[{**rules}])
    running = asyncio.create_task(run(engine))
    await asyncio.wait_for(asked.get(), 5)
    await timers_due_within(PAUSE_S)
    over.set()
    ending = await running
    assert ending.reason == "completed"
    assert [(each.attempt, each.ruling) for each in notebook.outcomes] == [(1, None)]
    assert asked.empty()
    assert faults == []
