"""The scenario: what a run is asked to do."""

import pytest
from pydantic import ValidationError

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


def test_header_line_breaks_are_refused() -> None:
    with pytest.raises(ValidationError, match="line break"):
        scenario(steps=[{"request": {"headers": {"a": "b\r\nc: d"}}}])


def test_literal_credentials_are_logged_as_stars_and_named() -> None:
    full = scenario(steps=[{"request": {"headers": {"Authorization": "Bearer x", "accept": "y"}}}])
    assert full.credential_headers() == ["Authorization"]
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
