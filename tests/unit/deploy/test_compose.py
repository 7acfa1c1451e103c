"""Owns that compose.yaml is what the Compose specification allows and starts what exists."""

import json
import re
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft7Validator  # type: ignore[import-untyped]  # it carries no types

from backbone.settings import Settings
from queryscope.cli import cli
from queryscope.composition import STANDING
from tests.unit.deploy.conftest import REMEDY, ROOT, TOOLS, Document, RequireThat, load_yaml

OURS = ("api", *STANDING)


@pytest.fixture(scope="module")
def compose() -> Document:
    return load_yaml((ROOT / "compose.yaml").read_text())[0]


def test_it_meets_the_schema_of_the_compose_specification(compose: Document, require_that: RequireThat) -> None:
    schema = TOOLS / "compose-spec.json"
    require_that(schema.is_file(), "the Compose specification's schema is not here", REMEDY)
    problems = Draft7Validator(json.loads(schema.read_text())).iter_errors(compose)
    assert [problem.message for problem in problems] == []


def test_every_image_has_an_exact_version(compose: Document) -> None:
    for name, service in compose["services"].items():
        assert re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$", service["image"]), name


def test_every_service_that_stays_restarts_and_tells_its_health(compose: Document) -> None:
    staying = {name: each for name, each in compose["services"].items() if name != "reader"}
    assert set(OURS) < set(staying)
    for name, service in staying.items():
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name


def test_what_a_service_depends_on_mounts_and_joins_is_there(compose: Document) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other, wish in service.get("depends_on", {}).items():
            one_shot = wish["condition"] == "service_completed_successfully"
            assert one_shot or "healthcheck" in services[other], (name, other)
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert (ROOT / source).exists() if source.startswith("./") else source in compose["volumes"], mount
        assert set(service["networks"]) <= set(compose["networks"]), name


def test_only_this_machine_reaches_what_is_published_and_nobody_the_stores(compose: Document) -> None:
    published = {name: each["ports"] for name, each in compose["services"].items() if "ports" in each}
    assert set(published) == {"api", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert compose["networks"]["stores"]["internal"] is True
    for store in ("kafka", "postgres", "elasticsearch"):
        assert compose["services"][store]["networks"] == ["stores"]


@pytest.mark.parametrize("name", OURS)
def test_our_services_run_without_rights_on_a_file_system_they_cannot_write(compose: Document, name: str) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert any(mount.startswith("/var/lib/queryscope:uid=10001") for mount in service["tmpfs"])


@pytest.mark.parametrize("name", OURS)
def test_our_services_are_started_with_commands_and_settings_that_exist(compose: Document, name: str) -> None:
    service = compose["services"][name]
    assert_starts(service["command"])
    assert {variable.removeprefix("QUERYSCOPE_").lower() for variable in service["environment"]} <= set(
        Settings.model_fields
    )


def test_a_runner_is_given_longer_to_stop_than_it_may_drain(compose: Document) -> None:
    runner = compose["services"]["runner"]
    assert int(runner["stop_grace_period"].removesuffix("s")) >= int(runner["environment"]["QUERYSCOPE_DRAIN_S"]) + 20


def assert_starts(command: list[Any]) -> None:  # Any: what YAML makes of an argument
    """That the command line takes these arguments: --help after them is reached only when all were understood."""
    done = CliRunner().invoke(cli, [*map(str, command), "--help"])
    assert done.exit_code == 0, done.output
    known = set(re.findall(r"--[a-z-]+", done.output))
    assert {word for word in map(str, command) if word.startswith("--")} <= known
