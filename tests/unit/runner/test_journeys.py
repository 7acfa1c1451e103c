"""Owns the proof of what users do who go through steps. It must not touch the log."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest

from schemas.outcomes import RequestOutcome
from schemas.scenario import Scenario
from services.runner.chance import fraction
from services.runner.errors import FeedExhausted, RenderFailed
from services.runner.journey import Itinerary, script_of
from services.runner.request import WireRequest
from services.runner.sharding import Share
from services.runner.templates import LiteralTemplate
from tests.unit.runner.journeys import journey, run
from tests.unit.runner.notebook import Notebook
from tests.unit.runner.servers import Serve, read_request
from tests.unit.runner.site import Site

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
THREE = [{"name": name, "request": {"path": f"/{name}"}} for name in ("login", "list", "leave")]


async def keep_answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await read_request(reader)
        writer.write(OK)


def by_connection(outcomes: Sequence[RequestOutcome]) -> Mapping[int, list[RequestOutcome]]:
    found: dict[int, list[RequestOutcome]] = defaultdict(list)
    for outcome in outcomes:
        found[outcome.connection].append(outcome)
    return found


async def test_users_do_all_steps_in_their_order_as_often_as_iterations_are_asked_for(serve: Serve) -> None:
    server, notebook = await serve(keep_answering), Notebook()
    ending = await run(journey(server, notebook, {"concurrency": 3, "requests": 20}, steps=THREE, sequence=True))
    assert ending.reason == "completed"
    assert Counter(outcome.step for outcome in notebook.outcomes) == {"login": 20, "list": 20, "leave": 20}
    for outcomes in by_connection(notebook.outcomes).values():
        steps = [outcome.step for outcome in outcomes]
        assert steps == ["login", "list", "leave"] * (len(steps) // 3)


async def test_an_arrival_starts_an_iteration_and_marks_count_iterations(serve: Serve) -> None:
    server, notebook = await serve(keep_answering), Notebook()
    engine = journey(server, notebook, {"rate": 200, "requests": 30}, steps=THREE, sequence=True)
    ending = await run(engine)
    last = engine.final_mark(ending, 0)
    marks = [*notebook.marks, last]
    assert sum(mark.started for mark in marks) == sum(mark.intended for mark in marks) == 30
    assert len(notebook.outcomes) == 90
    starts = sorted(outcome.scheduled for outcome in notebook.outcomes if outcome.step == "login")
    assert starts == [round(k * 5000) for k in range(30)]
    for outcomes in by_connection(notebook.outcomes).values():
        for before, after in pairwise(outcomes):
            assert after.step == "login" or after.scheduled == before.finished


async def test_a_think_pause_is_no_latency_and_lies_between_the_steps(serve: Serve) -> None:
    server, notebook = await serve(keep_answering), Notebook()
    steps = [{**THREE[0], "think": {"min": "20ms", "max": "40ms"}}, THREE[1]]
    await run(journey(server, notebook, {"concurrency": 4, "requests": 8}, steps=steps, sequence=True))
    assert len(notebook.outcomes) == 16
    pauses = []
    for outcomes in by_connection(notebook.outcomes).values():
        for before, after in pairwise(outcomes):
            if after.step == "list":
                pauses.append(after.scheduled - before.finished)
                assert after.started >= after.scheduled
    drawn = [round((0.02 + fraction("r", "think", number, 0) * 0.02) * 1e6) for number in range(8)]
    early = [full - pause for full, pause in zip(sorted(drawn), sorted(pauses), strict=True)]
    assert all(0 <= each <= 1000 for each in early), early


async def test_users_who_pause_when_the_run_ends_leave_no_outcome_and_do_not_hold_it_up(serve: Serve) -> None:
    server, notebook = await serve(keep_answering), Notebook()
    steps = [{**THREE[0], "think": "1h"}, THREE[1]]
    load = {"concurrency": 4, "duration": "100ms"}
    ending = await run(journey(server, notebook, load, steps=steps, sequence=True))
    assert ending.reason == "completed"
    assert [(outcome.step, outcome.error) for outcome in notebook.outcomes] == [("login", None)] * 4


async def test_a_run_stopped_from_outside_ends_though_its_users_pause(serve: Serve) -> None:
    server, notebook = await serve(keep_answering), Notebook()
    steps = [{**THREE[0], "think": "1h"}, THREE[1]]
    engine = journey(server, notebook, {"rate": 100, "requests": 3}, steps=steps, sequence=True)
    notebook.at(3, lambda: engine.stop("cancelled"))
    assert (await run(engine)).reason == "cancelled"
    assert len(notebook.outcomes) == 3


async def test_users_of_a_mix_pause_between_their_iterations(serve: Serve) -> None:
    server, notebook = await serve(keep_answering), Notebook()
    steps = [{**THREE[0], "think": "30ms"}]
    await run(journey(server, notebook, {"concurrency": 1, "requests": 3}, steps=steps))
    starts = [outcome.started for outcome in notebook.outcomes]
    assert len(starts) == 3
    assert all(after - before >= 29_000 for before, after in pairwise(starts))


async def test_a_step_that_fails_ends_its_iteration(serve: Serve) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            asked = await read_request(reader)
            status = b"500 Oh" if b"/list" in asked else b"200 OK"
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

    server, notebook = await serve(refuse), Notebook()
    await run(journey(server, notebook, {"concurrency": 1, "requests": 3}, steps=THREE, sequence=True))
    assert [(outcome.step, outcome.status) for outcome in notebook.outcomes] == [("login", 200), ("list", 500)] * 3


class Unfillable:
    """A template whose values never come."""

    step = "login"
    literal = None

    def render(self, values: Mapping[str, object]) -> WireRequest:
        raise RenderFailed("'token' is not known")


async def test_a_request_that_cannot_be_made_is_our_own_failure_and_sends_nothing(serve: Serve) -> None:
    server, notebook = await serve(keep_answering), Notebook()
    engine = journey(
        server, notebook, {"rate": 1000, "requests": 5}, templates=[[Unfillable()]], steps=THREE[:1], sequence=True
    )
    await run(engine)
    assert [(outcome.error, outcome.bytes_out) for outcome in notebook.outcomes] == [("client", 0)] * 5
    assert server.connections == 0


class ThreeRows:
    """A feed whose rows are used once."""

    def row(self, iteration: int) -> Mapping[str, object]:
        if iteration >= 3:
            raise FeedExhausted("feed 'users' has no more than 3 rows")
        return {"user": iteration}


async def test_a_run_whose_feed_is_used_up_ends_and_says_so(serve: Serve) -> None:
    server, notebook = await serve(keep_answering), Notebook()
    engine = journey(server, notebook, {"rate": 50, "requests": 50}, feeds=ThreeRows(), steps=THREE, sequence=True)
    ending = await run(engine)
    assert (ending.reason, ending.detail) == ("completed", "feed 'users' has no more than 3 rows")
    assert Counter(outcome.step for outcome in notebook.outcomes)["login"] == 3
    assert len(notebook.outcomes) == 3 * len(THREE)  # those that were on went on to their end
    mark = engine.final_mark(ending, 0)
    assert (mark.intended, mark.started) == (3, 3)


@pytest.mark.parametrize("load", [{"rate": 100, "requests": 37}, {"concurrency": 5, "requests": 37}])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_iterations_of_all_workers_are_those_of_the_whole_each_once(load: dict[str, int], workers: int) -> None:
    scenario = Scenario.model_validate(
        {"target": "http://h/", "steps": [{"name": "a", "weight": 2, "think": 1}, {"name": "b"}], "load": load}
    )
    templates = [[LiteralTemplate(WireRequest(name, b"", False))] for name in "ab"]
    script = script_of(scenario, "seed", templates)
    assert script is not None
    whole = Itinerary(script, scenario.load, Share())
    expected = [(walk.number, walk.place) for walk in (whole.begin() for _ in range(37))]
    found = []
    for index in range(workers):
        share = Share(index, workers)
        count = share.part(37) if scenario.load.concurrency else len(range(index, 37, workers))
        itinerary = Itinerary(script, scenario.load, share)
        found += [(walk.number, walk.place) for walk in (itinerary.begin() for _ in range(count))]
    assert sorted(found) == expected


MIXED = [
    {"name": "a", "request": {"path": "/flaky/503/5"}, "retries": {"on": [503], "attempts": 4, "backoff": "1ms"}},
    {"name": "b", "request": {"path": "/to/302//to/302//x"}, "redirects": 3, "think": {"min": 0, "max": "2ms"}},
    {"name": "c", "request": {"path": "/login"}, "checks": ["json user.id == 3"], "extract": {"t": {"json": "token"}}},
    {"name": "d", "request": {"path": "/torn"}, "retries": {"on": ["closed_early", "reset"], "backoff": "1ms"}},
]


def chains(outcomes: Sequence[RequestOutcome]) -> list[list[RequestOutcome]]:
    """The attempts of each request."""
    found: dict[int, list[RequestOutcome]] = defaultdict(list)
    for outcome in outcomes:
        found[outcome.seq if outcome.parent is None else outcome.parent].append(outcome)
    return list(found.values())


@pytest.mark.parametrize("stop_after", [3, 8, 21, 34, 55, 10_000])
@pytest.mark.parametrize("load", [{"concurrency": 5, "requests": 20}, {"rate": 400, "requests": 20}])
async def test_whenever_a_run_is_stopped_the_attempts_of_each_request_are_a_whole_chain(
    serve: Serve, load: dict[str, object], stop_after: int
) -> None:
    site, notebook = Site(), Notebook()
    engine = journey(await serve(site.talk), notebook, load, steps=MIXED, sequence=True)
    notebook.at(stop_after, lambda: engine.stop("cancelled"))
    ending = await run(engine)
    ended_whole = ending.reason == "completed"
    for chain in chains(notebook.outcomes):
        assert [each.attempt for each in chain] == list(range(1, len(chain) + 1))
        assert {each.step for each in chain} == {chain[0].step}
        followed = [each.ruling is not None and each.ruling.followed for each in chain]
        assert all(followed[:-1])
        assert not followed[-1] or not ended_whole
        assert not any(each.error == "cancelled" for each in chain[:-1])
    sent = [each for each in notebook.outcomes if each.bytes_out and each.error != "cancelled"]
    assert len(sent) <= len(site.asked) <= len(notebook.outcomes)
    if ended_whole:
        last = [chain[-1] for chain in chains(notebook.outcomes)]
        assert (engine.tally.finished, len(site.asked)) == (len(last), len(notebook.outcomes))
        assert engine.tally.failed == sum(each.error is not None or each.status >= 400 for each in last)
    assert engine.tally.in_flight == 0
