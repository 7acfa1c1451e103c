"""The demo tells its whole story: a baseline, a fault, and the right cause."""

import pytest

from tests.e2e.harness import Cli

ATTEMPTS = 3


@pytest.mark.timeout(240)
def test_the_demo_names_the_injected_fault(cli: Cli) -> None:
    for _ in range(ATTEMPTS):  # one in which a run called itself invalid (a busy machine) is told again
        done = cli("demo", "--no-serve", "--port", "0", "--json", "--fault", "slow_replica")
        assert done.out, done.err
        story = done.json
        if story["baseline"]["validity"]["valid"] and story["faulty"]["validity"]["valid"]:
            break
    assert (story["diagnosed"], story["correct"], done.code) == ("slow_replica", True, 0), story["faulty"]["validity"]
    assert story["baseline"]["diagnosis"]["causes"][0]["cause"] == "no_fault"
    assert story["injected"]["fault"] == "slow_replica"
    assert story["injected"]["record"]
    assert story["faulty"]["diagnosis"]["causes"][0]["evidence"]
    assert story["faulty"]["regression"]["baseline_run_id"] == story["baseline"]["run_id"]


@pytest.mark.timeout(240)
def test_the_demo_prints_tables_and_evidence_for_people(cli: Cli) -> None:
    for _ in range(ATTEMPTS):
        done = cli("demo", "--no-serve", "--port", "0", "--fault", "periodic_pause")
        if "not valid:" not in done.out:
            break
    assert done.code == 0, done.out + done.err
    healthy, faulty = done.out.split("\nwith a fault ")
    assert "Nothing is wrong" in healthy
    for words in ("p95 < 50ms", "E1", "injected: periodic_pause · diagnosed: periodic_pause · found"):
        assert words in faulty
    assert "watch it live at http://127.0.0.1:" in done.err
