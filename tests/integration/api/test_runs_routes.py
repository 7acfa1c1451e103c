"""Owns the proof of the routes under /v1/runs on real stores. It must not run a benchmark."""

import httpx

from backbone.platform import Platform
from schemas.base import derived_id
from schemas.codec import decode_line
from schemas.lifecycle import RUN_RECORDS, RateChangeRequested, RunCancelRequested, RunRequested
from schemas.topics import RUNS, partition_of
from tests.integration.api.conftest import Projector

TARGET = "http://127.0.0.1:1/"


async def records(platform: Platform, run_id: str) -> list[object]:
    batches = await platform.log.read(RUNS, partition_of(run_id, platform.log.partitions), 0)
    return [decode_line(RUN_RECORDS, line) for batch in batches for line in batch.lines.split(b"\n")]


async def test_a_request_is_on_the_log_and_shown_as_queued_at_once(http: httpx.AsyncClient, platform: Platform) -> None:
    scenario = {"target": TARGET, "load": {"rate": "50/s", "duration": "3s"}, "sla": ["p95 < 20ms"], "labels": {"a": 1}}

    answer = await http.post("/v1/runs", json=scenario)
    run_id = answer.json()["run_id"]
    shown = await http.get(answer.headers["location"])

    assert answer.status_code == 202
    assert answer.json()["links"]["events"] == f"/v1/runs/{run_id}/events"
    assert (shown.status_code, shown.json()["status"], shown.json()["labels"]) == (200, "queued", {"a": "1"})
    (record,) = await records(platform, run_id)
    assert isinstance(record, RunRequested)
    assert (record.requested_by, record.placement, record.scenario.load.rate_per_s) == ("api", None, 50.0)


async def test_the_table_wins_once_it_shows_the_run(http: httpx.AsyncClient, projector: Projector) -> None:
    run_id = (await http.post("/v1/runs", json={"target": TARGET})).json()["run_id"]

    await projector.run(run_id, status="running")

    assert (await http.get(f"/v1/runs/{run_id}")).json()["status"] == "running"


BAD_SCENARIOS: list[tuple[dict[str, object], str]] = [
    ({"target": TARGET, "loda": {}}, "loda"),
    ({"target": TARGET, "load": {"rate": -1}}, "load.rate"),
    ({"target": "ftp://x"}, "target"),
    ({"target": TARGET, "sla": ["p95 < banana"]}, "sla"),
    ({"target": TARGET, "steps": [{"request": {"method": "no method"}}]}, "steps[0].request.method"),
]


async def test_a_bad_scenario_is_named_by_its_field(http: httpx.AsyncClient) -> None:
    for body, field in BAD_SCENARIOS:
        answer = await http.post("/v1/runs", json=body)

        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["type"] == "invalid-scenario"
        assert problem["detail"].startswith(f"{field}: ")
        assert "\n" not in problem["detail"]


async def test_a_body_that_is_no_json_is_refused_in_one_line(http: httpx.AsyncClient) -> None:
    for body in (b"{", b"\xff\xfe", b"[" * 100_000):
        answer = await http.post("/v1/runs", content=body, headers={"content-type": "application/json"})

        assert answer.status_code == 400
        assert answer.json()["type"] == "malformed-request"


async def test_a_literal_credential_is_refused_and_not_repeated(http: httpx.AsyncClient) -> None:
    steps = [{"request": {"headers": {"Authorization": "Bearer s3cret"}}}]

    answer = await http.post("/v1/runs", json={"target": TARGET, "steps": steps})

    assert (answer.status_code, answer.json()["type"]) == (400, "literal-credential")
    assert "s3cret" not in answer.text


async def test_a_target_is_judged_by_its_address(http: httpx.AsyncClient) -> None:
    for target, status in [
        ("http://127.0.0.1:1/", 202),
        ("http://10.9.1.1/", 202),
        ("http://10.8.1.1/", 403),
        ("http://169.254.169.254/latest", 403),
        ("http://2852039166/", 403),
        ("http://[::ffff:169.254.169.254]/", 403),
    ]:
        answer = await http.post("/v1/runs", json={"target": target})

        assert answer.status_code == status, target
        assert status == 202 or answer.json()["type"] == "target-not-allowed"


async def test_a_run_whose_arrivals_are_wanted_again_must_be_a_known_run(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/runs", json={"target": TARGET, "load": {"trace": "0" * 32}})
    assert answer.status_code == 400
    assert "there is no such run" in answer.text


async def test_a_baseline_must_be_a_known_run(
    http: httpx.AsyncClient, projector: Projector, platform: Platform
) -> None:
    known = derived_id("known")
    await projector.run(known, status="finished")

    unknown = await http.post("/v1/runs", json={"target": TARGET}, params={"baseline": "0" * 32})
    taken = await http.post("/v1/runs", json={"target": TARGET}, params={"baseline": known})

    assert unknown.status_code == 404
    (record,) = await records(platform, taken.json()["run_id"])
    assert isinstance(record, RunRequested)
    assert record.baseline_run_id == known


async def test_a_cancel_is_on_the_log_and_too_late_after_the_end(
    http: httpx.AsyncClient, projector: Projector, platform: Platform
) -> None:
    on, ended = derived_id("on"), derived_id("ended")
    await projector.run(on, status="running")
    await projector.run(ended, status="finished")

    answers = [(await http.post(f"/v1/runs/{run}/cancel")).status_code for run in (on, ended, "0" * 32)]

    assert answers == [202, 409, 404]
    assert isinstance((await records(platform, on))[0], RunCancelRequested)


async def test_a_wish_for_another_rate_is_on_the_log_where_there_is_a_rate(
    http: httpx.AsyncClient, projector: Projector, platform: Platform
) -> None:
    opened, closed, ended = derived_id("open"), derived_id("closed"), derived_id("over")
    await projector.run(opened, status="running", load={"rate": 100})
    await projector.run(closed, status="running", load={"concurrency": 2})
    await projector.run(ended, status="finished", load={"rate": 100})

    runs, body = (opened, closed, ended, "0" * 32), {"rate": "500/s"}
    answers = [(await http.post(f"/v1/runs/{run}/rate", json=body)).status_code for run in runs]
    wrong = [(await http.post(f"/v1/runs/{opened}/rate", json={"rate": rate})).status_code for rate in ("0/s", "fast")]

    assert answers == [202, 400, 409, 404]
    assert wrong == [422, 422]
    (record,) = await records(platform, opened)
    assert isinstance(record, RateChangeRequested)
    assert record.rate_per_s == 500
    assert await records(platform, closed) == []


async def test_pages_of_runs_cover_each_once_newest_first(http: httpx.AsyncClient, projector: Projector) -> None:
    for number in range(7):
        await projector.run(derived_id("run", number), requested_at_us=number // 2)  # two at the same instant

    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = (await http.get("/v1/runs", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        seen += [run["run_id"] for run in page["runs"]]
        cursor = page["next"]
        if cursor is None:
            break

    assert len(seen) == len(set(seen)) == 7
    assert seen[0] == derived_id("run", 6)


async def test_a_timeline_is_paged_by_window(http: httpx.AsyncClient, projector: Projector) -> None:
    run_id = derived_id("long")
    await projector.run(run_id)
    await projector.windows(run_id, range(700))
    await projector.windows(run_id, range(5), step="login", resolution=10)

    first = (await http.get(f"/v1/runs/{run_id}/timeline")).json()
    second = (await http.get(f"/v1/runs/{run_id}/timeline", params={"after": first["next"]})).json()
    step = (await http.get(f"/v1/runs/{run_id}/timeline?step=login&resolution=10&after=2")).json()

    assert [row["window"] for row in first["rows"] + second["rows"]] == list(range(700))
    assert (len(first["rows"]), first["next"], second["next"]) == (600, 599, None)
    assert [row["window"] for row in step["rows"]] == [3, 4]


async def test_unknown_runs_routes_and_methods_are_problems(http: httpx.AsyncClient) -> None:
    for method, path, status in [
        ("GET", "/v1/runs/nope", 404),
        ("GET", "/v1/runs/nope/timeline", 404),
        ("GET", "/v1/runs/nope/events", 404),
        ("GET", "/v1/runs/nope/sla", 404),
        ("GET", "/v1/runs/nope/diagnosis", 404),
        ("GET", "/nowhere", 404),
        ("DELETE", "/v1/runs", 405),
        ("GET", "/v1/runs?limit=0", 422),
        ("GET", "/v1/runs?cursor=x", 400),
        ("GET", "/v1/search", 422),
    ]:
        answer = await http.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), path
        assert answer.json()["status"] == status


async def test_a_page_of_another_site_reaches_nothing(http: httpx.AsyncClient) -> None:
    rebound = await http.get("/v1/runs", headers={"host": "rebound.example"})
    foreign = await http.post("/v1/runs", json={"target": TARGET}, headers={"origin": "http://evil.example"})
    form = await http.post("/v1/runs", content=b'{"target": "x"}', headers={"content-type": "text/plain"})

    assert [each.status_code for each in (rebound, foreign, form)] == [403, 403, 403]
    assert {each.headers["content-type"] for each in (rebound, foreign, form)} == {"application/problem+json"}
