"""Owns the proof of what is made of answers: checks, extraction, retries, redirects, cookies. It touches no log."""

from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

import pytest

from schemas.journey import Extract
from schemas.outcomes import RequestOutcome, Ruling
from schemas.scenario import Scenario
from services.runner.answer import Answer
from services.runner.request import WireRequest
from services.runner.rules import Rules
from services.runner.step_templates import wire_pools
from services.runner.templates import LiteralTemplate, RequestTemplate
from tests.unit.runner.journeys import journey, run
from tests.unit.runner.notebook import Notebook
from tests.unit.runner.servers import Serve
from tests.unit.runner.site import PACKED, Site

EXPONENTIAL = Extract(regex="^(a|aa)+$")


async def outcomes_of(
    serve: Serve, site: Site, *steps: dict[str, object], load: dict[str, object] | None = None, cookies: bool = False
) -> list[RequestOutcome]:
    notebook = Notebook()
    given = [{"name": f"step {number}", **step} for number, step in enumerate(steps)]
    await run(journey(await serve(site.talk), notebook, load, sequence=True, steps=given, cookies=cookies))
    return notebook.outcomes


def get(path: str, **rules: object) -> dict[str, object]:
    return {"request": {"path": path}, **rules}


def broken(outcome: RequestOutcome) -> str | None:
    return None if outcome.ruling is None else outcome.ruling.check


@pytest.mark.parametrize(
    "check",
    [
        "status == 200", "status in (200, 201)", "status < 400", "header content-type contains json", "header x-trace",
        "header x-trace == abc", "header x-trace matches /^a.c$/", 'body contains "token"', "body matches /t[0-9]/",
        "json user.id == 3", "json user.id >= 3", "json items[0].ok", "json items[0].ok == true", "json gone == null",
        "json length(items) == 1", "json token matches /^t/", 'json token contains "t"', "latency < 10s",
    ],
)  # fmt: skip
async def test_a_check_that_holds_leaves_no_trace(serve: Serve, check: str) -> None:
    (outcome,) = await outcomes_of(serve, Site(), get("/login", checks=[check]))
    assert (outcome.error, outcome.status, outcome.ruling) == (None, 200, None)


@pytest.mark.parametrize(
    "check",
    [
        "status == 201", "status in (201, 202)", "status >= 400", "header content-type contains xml", "header x-none",
        "header x-none != abc", "body contains nothing", "body matches /zzz/", "json user.id == 4",
        'json user.id == "3"',
        "json user.id == true", "json items[1].ok", "json gone", "json user.id != 3", "json user > 3", "latency < 1us",
        "json items contains 7",
    ],
)  # fmt: skip
async def test_a_check_that_does_not_hold_fails_the_answer_and_is_named(serve: Serve, check: str) -> None:
    (outcome,) = await outcomes_of(serve, Site(), get("/login", checks=["status == 200", check]))
    assert (outcome.error, outcome.status, broken(outcome)) == ("check_failed", 200, check)


async def test_a_status_check_alone_makes_a_failing_status_no_failure(serve: Serve) -> None:
    accepted, plain, unasked, wrong = await outcomes_of(
        serve, Site(), get("/status/404", checks=["status == 404"]), get("/status/200"),
        get("/status/500", checks=["json a"]),
    ) + await outcomes_of(serve, Site(), get("/status/404", checks=["status == 410"]))  # fmt: skip
    assert (accepted.error, accepted.ruling) == (None, Ruling(accepted=True))
    assert (plain.error, plain.ruling) == (None, None)
    assert (unasked.error, unasked.status, unasked.ruling) == (None, 500, None)
    assert (wrong.error, wrong.status, broken(wrong)) == ("check_failed", 404, "status == 410")


@pytest.mark.parametrize("encoding", PACKED)
async def test_packed_bodies_are_asked_for_and_read(serve: Serve, encoding: str) -> None:
    site = Site()
    (outcome,) = await outcomes_of(serve, site, get(f"/packed/{encoding}", checks=["json packed == true"]))
    assert outcome.error is None
    assert "Accept-Encoding: gzip, br, zstd" in site.asked[0]


@pytest.mark.parametrize("encoding", PACKED)
async def test_what_unpacks_to_too_much_or_to_nothing_breaks_the_check(serve: Serve, encoding: str) -> None:
    (bomb,) = await outcomes_of(serve, Site(), get(f"/bomb/{encoding}", checks=["body contains 00"]))
    assert broken(bomb) == "body contains 00 (the body is larger than 1 MiB)"
    (torn,) = await outcomes_of(serve, Site(), get(f"/broken/{encoding}", checks=["body contains packed"]))
    assert broken(torn) in (
        f"body contains packed (the body is no {encoding})",
        f"body contains packed (the body is no whole {encoding})",
    )


async def test_a_body_beyond_the_limit_is_counted_and_not_read(serve: Serve) -> None:
    (outcome,) = await outcomes_of(serve, Site(), get("/large", extract={"x": {"json": "@"}}))
    assert (outcome.error, broken(outcome)) == ("check_failed", "extract x (the body is larger than 1 MiB)")
    assert outcome.bytes_in > 2_000_000


async def test_accept_encoding_is_as_the_scenario_says_and_absent_where_no_body_is_read(serve: Serve) -> None:
    site = Site()
    own: dict[str, object] = {
        "request": {"path": "/login", "headers": {"accept-encoding": "identity"}},
        "checks": ["json token"],
    }
    await outcomes_of(serve, site, own, get("/login", checks=["status == 200"]))
    assert [asked.lower().count("accept-encoding") for asked in site.asked] == [1, 0]
    assert "accept-encoding: identity" in site.asked[0]


class Echo:
    """A template that takes what was extracted."""

    step = "echo"
    literal = None

    def render(self, values: Mapping[str, object]) -> WireRequest:
        text = "/".join(f"{name}-{values[name]}" for name in sorted(values))
        return WireRequest("echo", f"GET /{text} HTTP/1.1\r\nHost: h\r\n\r\n".encode(), False)


async def test_what_is_extracted_reaches_the_steps_that_follow_in_the_same_iteration(serve: Serve) -> None:

    site, notebook = Site(), Notebook()
    extract = {"id": {"json": "user.id"}, "trace": {"header": "X-Trace"}, "token": {"regex": '"token": "(t[0-9]+)'}}
    steps = [{"name": "login", "request": {"path": "/login"}, "extract": extract}, {"name": "echo"}]
    wanted = Scenario.model_validate({"target": "http://h/", "steps": steps, "sequence": True})
    templates: list[list[RequestTemplate]] = [[LiteralTemplate(wire_pools(wanted)[0][0])], [Echo()]]
    load: dict[str, object] = {"concurrency": 1, "requests": 2}
    await run(journey(await serve(site.talk), notebook, load, templates=templates, steps=steps, sequence=True))
    assert site.lines == [
        "GET /login", "GET /id-3/token-t1/trace-abc", "GET /login", "GET /id-3/token-t2/trace-abc",
    ]  # fmt: skip


@pytest.mark.parametrize("rules", [Rules(["body matches /^(a|aa)+$/"], {}), Rules([], {"x": EXPONENTIAL})])
def test_a_body_made_to_hold_an_expression_up_breaks_the_rule_in_linear_time(rules: Rules) -> None:
    body = b"a" * 1_000_000 + b"!"  # a hundred of them hold a backtracking engine up for ever
    found = rules.read(Answer(200, b"HTTP/1.1 200 OK\r\n\r\n", body, 1))
    assert found.broken in ("body matches /^(a|aa)+$/", "extract x (nothing found)")


def test_an_expression_finds_text_beyond_ascii_and_a_group_that_took_nothing_is_nothing_found() -> None:
    answer = Answer(200, b"HTTP/1.1 200 OK\r\n\r\n", "größe: süß".encode(), 1)
    first = Rules(["body matches /ö.e/"], {"x": Extract(regex=": (.+)")}).read(answer)
    assert (first.broken, first.values) == (None, {"x": "süß"})
    assert Rules([], {"x": Extract(regex="größe(bitte)?")}).read(answer).broken == "extract x (nothing found)"


async def test_a_value_that_is_not_there_ends_the_iteration(serve: Serve) -> None:
    (outcome,) = await outcomes_of(serve, Site(), get("/login", extract={"x": {"header": "x-none"}}), get("/next"))
    assert (outcome.error, broken(outcome)) == ("check_failed", "extract x (nothing found)")


async def test_each_attempt_is_an_outcome_and_only_the_last_is_not_followed(serve: Serve) -> None:
    retries = {"attempts": 4, "on": [503], "backoff": "2ms"}
    outcomes = await outcomes_of(serve, Site(), get("/flaky/503/2", retries=retries))
    assert [(each.status, each.attempt, each.parent) for each in outcomes] == [(503, 1, None), (503, 2, 0), (200, 3, 0)]
    assert [each.ruling for each in outcomes] == [Ruling(followed=True), Ruling(followed=True), None]
    assert {each.scheduled for each in outcomes} == {outcomes[0].scheduled}
    for before, after in pairwise(outcomes):
        assert after.started - before.finished >= 0


async def test_attempts_come_to_an_end_and_only_what_is_named_is_tried_again(serve: Serve) -> None:
    retries = {"attempts": 3, "on": [503], "backoff": "1ms"}
    outcomes = await outcomes_of(serve, Site(), get("/flaky/503/9", retries=retries))
    assert [(each.status, each.ruling) for each in outcomes] == [
        (503, Ruling(followed=True)), (503, Ruling(followed=True)), (503, None),
    ]  # fmt: skip
    (other,) = await outcomes_of(serve, Site(), get("/flaky/500/9", retries=retries))
    assert (other.status, other.ruling) == (500, None)


async def test_broken_connections_and_failed_checks_are_tried_again_where_named(serve: Serve) -> None:
    retries = {"on": ["closed_early", "reset", "check_failed"], "backoff": "1ms", "attempts": 2}
    torn = await outcomes_of(serve, Site(), get("/torn", retries=retries))
    assert [each.status for each in torn] == [0, 200]
    wrong = await outcomes_of(serve, Site(), get("/flaky/201/1", checks=["status == 200"], retries=retries))
    assert [(each.error, each.status) for each in wrong] == [("check_failed", 201), (None, 200)]
    assert wrong[0].ruling == Ruling(followed=True, check="status == 200")


async def test_a_request_is_not_tried_again_after_the_end_of_the_load(serve: Serve) -> None:
    retries = {"attempts": 5, "on": [503], "backoff": "30s"}
    load: dict[str, object] = {"concurrency": 2, "duration": "100ms"}
    outcomes = await outcomes_of(serve, Site(), get("/flaky/503/99999", retries=retries), load=load)
    assert {each.ruling for each in outcomes} == {None}
    assert {each.attempt for each in outcomes} == {1}


async def test_redirects_are_left_alone_unless_asked_for(serve: Serve) -> None:
    (outcome,) = await outcomes_of(serve, Site(), get("/to/302//there"))
    assert (outcome.status, outcome.ruling) == (302, None)


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [(301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"), (303, "PUT", "GET"), (307, "POST", "POST"),
     (308, "PUT", "PUT"), (302, "PUT", "PUT"), (303, "HEAD", "HEAD"), (302, "GET", "GET")],
)  # fmt: skip
async def test_a_redirect_is_followed_with_the_method_that_http_says(
    serve: Serve, status: int, method: str, then: str
) -> None:
    site = Site()
    request = {
        "path": f"/to/{status}//there?a=1",
        "method": method,
        "body": None if method in ("HEAD", "GET") else "hello",
    }
    outcomes = await outcomes_of(serve, site, {"request": request, "redirects": 3, "checks": ["status == 200"]})
    assert [(each.status, each.attempt, each.parent) for each in outcomes] == [(status, 1, None), (200, 2, 0)]
    assert outcomes[0].ruling == Ruling(followed=True)
    assert site.lines[1] == f"{then} /there?a=1"
    assert outcomes[1].reused
    assert site.asked[1].endswith("hello") == (then in ("POST", "PUT"))
    assert ("content-length" in site.asked[1].lower()) == site.asked[1].endswith("hello")


async def test_a_loop_of_redirects_ends_as_a_broken_rule(serve: Serve) -> None:
    outcomes = await outcomes_of(serve, Site(), get("/to/302//to/302//to/302//to/302//x", redirects=2))
    assert [each.ruling for each in outcomes] == [
        Ruling(followed=True), Ruling(followed=True), Ruling(check="redirects: more than 2"),
    ]  # fmt: skip
    assert outcomes[-1].error == "check_failed"


@pytest.mark.parametrize("location", ["ftp://h/", "http://[::1", "http://h:99999999/", "javascript:x"])
async def test_a_redirect_to_nowhere_is_a_broken_rule(serve: Serve, location: str) -> None:
    (outcome,) = await outcomes_of(serve, Site(), get(f"/to/302/{location}", redirects=2))
    assert outcome.error == "check_failed"
    assert (broken(outcome) or "").startswith("redirects: it leads to no")


async def test_a_redirect_to_another_host_goes_there_without_credentials_and_the_next_step_comes_back(
    serve: Serve,
) -> None:
    there, here = Site(), Site()
    other = await serve(there.talk)
    first = get(f"/to/302/http://127.0.0.1:{other.port}/found", redirects=2)
    first["request"]["headers"] = {"Authorization": "Bearer x", "X-Own": "y", "Accept": "a/b"}  # type: ignore[index]  # it is a dict
    first["auth"] = {"api_key": {"header": "X-Key", "value": "k3y"}}
    outcomes = await outcomes_of(serve, here, first, get("/back"))
    assert [each.status for each in outcomes] == [302, 200, 200]
    assert "k3y" in here.asked[0]
    assert "k3y" not in there.asked[0]
    assert there.lines == ["GET /found"]
    assert "Bearer" not in there.asked[0]
    assert "X-Own" not in there.asked[0]
    assert "Accept: a/b" in there.asked[0]
    assert f"Host: 127.0.0.1:{other.port}" in there.asked[0]
    assert here.lines[1] == "GET /back"


async def test_a_redirect_to_a_host_that_the_policy_forbids_fails_that_request_alone(serve: Serve) -> None:
    load: dict[str, object] = {"concurrency": 1, "requests": 2}
    outcomes = await outcomes_of(serve, Site(), get("/to/302/http://forbidden.test/", redirects=2), load=load)
    assert [each.error for each in outcomes] == [None, "client"] * 2
    assert "does not allow that host" in (broken(outcomes[1]) or "")


async def test_cookies_are_sent_back_and_forgotten_with_the_iteration(serve: Serve) -> None:
    site = Site()
    own: dict[str, object] = {"request": {"path": "/a", "headers": {"Cookie": "own=1"}}}
    load: dict[str, object] = {"concurrency": 1, "requests": 2}
    await outcomes_of(serve, site, get("/login"), get("/page"), own, cookies=True, load=load)
    sent = [[line for line in asked.split("\r\n") if line.lower().startswith("cookie")] for asked in site.asked]
    assert sent == [[], ["Cookie: sid=s1"], ["Cookie: own=1; sid=s1"]] * 2


async def test_without_a_jar_no_cookie_is_sent_back(serve: Serve) -> None:
    site = Site()
    await outcomes_of(serve, site, get("/login"), get("/page"))
    assert not any("cookie" in asked.lower() for asked in site.asked)


async def test_progress_counts_a_request_once_whatever_its_attempts(serve: Serve) -> None:
    site, notebook = Site(), Notebook()
    steps = [
        get("/flaky/503/2", retries={"on": [503], "backoff": "1ms", "attempts": 5}),
        get("/status/404", checks=["status == 404"]),
    ]
    steps = [{"name": f"s{number}", **step} for number, step in enumerate(steps)]
    engine = journey(await serve(site.talk), notebook, steps=steps, sequence=True)
    await run(engine)
    assert (engine.tally.finished, engine.tally.failed, engine.tally.in_flight) == (2, 0, 0)
    assert Counter(outcome.attempt for outcome in notebook.outcomes) == {1: 2, 2: 1, 3: 1}


async def test_a_user_who_waits_for_another_attempt_ends_with_a_run_that_is_stopped(serve: Serve) -> None:
    site, notebook = Site(), Notebook()
    steps = [{"name": "a", **get("/flaky/503/9", retries={"on": [503], "backoff": "30s"})}]
    engine = journey(await serve(site.talk), notebook, steps=steps)
    notebook.at(1, lambda: engine.stop("cancelled"))
    assert (await run(engine)).reason == "cancelled"
    assert [each.ruling for each in notebook.outcomes] == [Ruling(followed=True)]


async def test_what_is_in_flight_when_a_run_is_stopped_is_cancelled_and_not_tried_again(serve: Serve) -> None:
    async def never(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.read(10)
        engine.stop("cancelled")
        await reader.read()

    notebook = Notebook()
    steps = [{"name": "a", **get("/", retries={"on": ["timeout"], "backoff": "1ms"}, checks=["status == 200"])}]
    engine = journey(await serve(never), notebook, steps=steps)
    await run(engine)
    assert [(each.error, each.ruling) for each in notebook.outcomes] == [("cancelled", None)]


async def test_a_time_out_holds_for_each_attempt(serve: Serve) -> None:
    async def never(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.read()

    notebook = Notebook()
    steps = [{"name": "a", **get("/", retries={"on": ["timeout"], "backoff": "1ms", "attempts": 2})}]
    await run(journey(await serve(never), notebook, steps=steps, timeouts={"total": "50ms"}))
    assert [(each.error, each.attempt) for each in notebook.outcomes] == [("timeout", 1), ("timeout", 2)]
    assert [each.ruling for each in notebook.outcomes] == [Ruling(followed=True), None]
