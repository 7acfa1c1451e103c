"""The scenario: what a run is asked to do."""

import pytest
from pydantic import ValidationError

from schemas.limits import unmeant_in
from schemas.scenario import REDACTED, Scenario
from schemas.topics import outcome_partition_of, partition_of
from schemas.units import parse_days, parse_duration_s, parse_rate_per_s


def scenario(**fields: object) -> Scenario:
    return Scenario.model_validate({"target": "http://127.0.0.1:8080/a", **fields})


def test_without_any_load_setting_ten_users_run_for_ten_seconds() -> None:
    load = scenario().load
    assert (load.kind, load.concurrency, load.duration_s) == ("constant_concurrency", 10, 10.0)


def test_fewer_requests_than_default_users_means_fewer_users() -> None:
    assert scenario(load={"requests": 3}).load.concurrency == 3


def test_a_rate_makes_an_open_loop() -> None:
    load = scenario(load={"rate": "600/m", "duration": "1m30s"}).load
    assert (load.kind, load.rate_per_s, load.duration_s, load.open_loop) == ("constant_rate", 10.0, 90.0, True)


@pytest.mark.parametrize(
    "target", ["", "nonsense", "ftp://x/", "http://", "http://u:p@h/", "http://h:99999/", "http://h/a b", "http://h:0/"]
)
def test_a_target_that_is_no_http_url_is_refused(target: str) -> None:
    with pytest.raises(ValidationError):
        Scenario(target=target)


def test_an_unknown_field_is_an_error() -> None:
    with pytest.raises(ValidationError, match="concurency"):
        scenario(load={"concurency": 3})


def test_a_promise_about_a_step_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match="the steps are: default"):
        scenario(sla=['p95 < 2ms step "browse"'])


@pytest.mark.parametrize("duration", [10**400, float("inf"), "9" * 400, "1e400"])
def test_no_duration_is_infinite(duration: object) -> None:
    with pytest.raises(ValidationError, match="is not a duration"):
        scenario(load={"duration": duration})


@pytest.mark.parametrize(
    "fields",
    [
        {"load": {"requests": 10**13}},
        {"load": {"duration": "9000h"}},
        {"timeouts": {"total": "9000h"}},
        {"steps": [{"request": {"headers": {"a b": "c"}}}]},
        {"steps": [{"llm": {"model": "m", "prompt": "p", "headers": {"ä": "c"}}}]},
        {"setup": [{"name": "login", "request": {"headers": {"a:": "c"}}}]},
    ],
)
def test_what_was_recorded_can_be_read_though_nobody_may_ask_for_it_any_more(fields: dict[str, object]) -> None:
    assert unmeant_in(scenario(**fields)) is not None
    assert unmeant_in(scenario()) is None


def test_header_line_breaks_are_refused() -> None:
    with pytest.raises(ValidationError, match="line break"):
        scenario(steps=[{"request": {"headers": {"a": "b\r\nc: d"}}}])


def test_literal_credentials_are_logged_as_stars_and_named() -> None:
    full = scenario(steps=[{"request": {"headers": {"Authorization": "Bearer x", "accept": "y"}}}])
    assert full.literal_credentials() == ["header Authorization"]
    logged = full.redacted()
    assert logged.steps[0].request.headers == {"Authorization": REDACTED, "accept": "y"}
    assert "Bearer x" not in logged.model_dump_json()


def test_a_scenario_read_back_from_its_own_json_is_the_same() -> None:
    full = scenario(load={"rate": "5/s", "requests": 50}, sla=["p95 < 2s"], labels={"deploy_tag": 42})
    assert Scenario.model_validate_json(full.model_dump_json(by_alias=False)) == full


@pytest.mark.parametrize(("text", "seconds"), [("250ms", 0.25), ("1m30s", 90.0), ("2", 2.0), ("1.5h", 5400.0)])
def test_durations_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "abc", "10x", "s", "1s2"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration_s(text)


def test_rates_without_a_unit_are_per_second() -> None:
    assert (parse_rate_per_s("200"), parse_rate_per_s("120/m")) == (200.0, 2.0)


def test_the_partition_of_a_run_never_moves() -> None:
    assert [partition_of(f"{i:032x}", 8) for i in range(6)] == [partition_of(f"{i:032x}", 8) for i in range(6)]
    assert partition_of("0192f7c0a1b27c3d8e4f5a6b7c8d9e0f", 8) == 3
    assert outcome_partition_of("0192f7c0a1b27c3d8e4f5a6b7c8d9e0f", 1, 8) == 4


@pytest.mark.parametrize(("text", "days"), [("30d", 30.0), ("12h", 0.5), ("0d", 0.0), ("1.5", 1.5)])
def test_ages_are_written_in_days_or_hours(text: str, days: float) -> None:
    assert parse_days(text) == days


@pytest.mark.parametrize("text", ["", "d", "-1d", "30 weeks", "1m"])
def test_an_age_that_is_none_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="like 30d or 12h"):
        parse_days(text)


CHAT = {"model": "small", "prompt": "a secret", "headers": {"Authorization": "Bearer x"}}


def test_prompts_and_credentials_of_an_llm_step_are_not_logged() -> None:
    full = Scenario.model_validate({"target": "http://h/", "steps": [{"name": "chat", "llm": CHAT}]})
    assert (full.has_prompts, full.literal_credentials()) == (True, ["header Authorization"])
    logged = full.redacted()
    assert "secret" not in logged.model_dump_json()
    assert (logged.has_prompts, logged.literal_credentials()) == (False, [])
    asked_for = full.redacted(prompts=False)
    assert asked_for.steps[0].llm is not None
    assert asked_for.steps[0].llm.prompt == "a secret"


@pytest.mark.parametrize(
    ("llm", "path", "api"),
    [
        ({}, "/v1/chat/completions", "chat"),
        ({"path": "/v1/completions"}, "/v1/completions", "completions"),
        ({"api": "completions"}, "/v1/completions", "completions"),
        ({"path": "/openai/deployments/x/chat/completions?v=1"}, "/openai/deployments/x/chat/completions?v=1", "chat"),
    ],
)
def test_an_llm_step_knows_its_path_and_its_api(llm: dict[str, str], path: str, api: str) -> None:
    step = Scenario.model_validate({"target": "http://h/", "steps": [{"llm": CHAT | llm}]}).steps[0]
    assert step.llm is not None
    assert (step.llm.path, step.llm.api) == (path, api)
    again = Scenario.model_validate_json(Scenario(target="http://h/", steps=[step]).model_dump_json())
    assert again.steps[0] == step


def test_a_step_is_a_request_or_an_llm_call() -> None:
    with pytest.raises(ValidationError, match="two steps"):
        Scenario.model_validate({"target": "http://h/", "steps": [{"request": {"path": "/x"}, "llm": CHAT}]})


@pytest.mark.parametrize("llm", [None, CHAT | {"stream": False}])
def test_a_promise_on_tokens_needs_a_step_that_streams_them(llm: object) -> None:
    with pytest.raises(ValidationError, match="ttft is measured on streamed llm steps"):
        Scenario.model_validate({"target": "http://h/", "steps": [{"llm": llm}], "sla": ["p99(ttft) < 1s"]})
