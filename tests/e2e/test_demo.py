"""The demo tells its whole story: a baseline, a fault, and the right cause."""

from typing import Any

import pytest

from tests.e2e.harness import Cli, Done

ATTEMPTS = 3


def told(cli: Cli, fault: str) -> tuple[Done, Any]:  # Any: the demo's JSON
    """One telling of the demo. One in which a run called itself invalid (a busy machine) is told again, a few times."""
    for _ in range(ATTEMPTS):
        done = cli("demo", "--no-serve", "--port", "0", "--json", "--fault", fault)
        assert done.out, done.err
        story = done.json
        if story["baseline"]["validity"]["valid"] and story["faulty"]["validity"]["valid"]:
            return done, story
    pytest.fail(f"the machine distorted every one of {ATTEMPTS} tellings: {story['faulty']['validity']}")


@pytest.mark.parametrize("fault", ["slow_replica", "periodic_pause"])
@pytest.mark.timeout(240)
def test_the_demo_names_the_injected_fault(cli: Cli, fault: str) -> None:
    done, story = told(cli, fault)
    assert (story["diagnosed"], story["correct"], done.code) == (fault, True, 0), done.err
    assert story["baseline"]["diagnosis"]["causes"][0]["cause"] == "no_fault"
    assert story["injected"]["fault"] == fault
    assert story["injected"]["record"]
    assert story["faulty"]["diagnosis"]["causes"][0]["evidence"]
    assert story["faulty"]["regression"]["baseline_run_id"] == story["baseline"]["run_id"]


def test_the_demo_prints_tables_and_evidence_for_people(cli: Cli) -> None:
    done = cli("demo", "--no-serve", "--port", "0", "--fault", "server_slowdown")
    assert done.code in (0, 1), done.err
    for words in ("p95 < 50ms", "baseline", "injected: server_slowdown", "diagnosed: ", "E1"):
        assert words in done.out
    assert "watch it live at http://127.0.0.1:" in done.err
