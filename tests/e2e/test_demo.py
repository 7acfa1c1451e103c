"""The demo tells its whole story: a baseline, a fault, and the right cause."""

import pytest

from tests.e2e.harness import Cli


@pytest.mark.parametrize("fault", ["slow_replica", "server_slowdown", "error_burst", "periodic_pause"])
def test_the_demo_names_the_injected_fault(cli: Cli, fault: str) -> None:
    done = cli("demo", "--no-serve", "--port", "0", "--json", "--fault", fault)
    story = done.json
    assert (story["diagnosed"], story["correct"], done.code) == (fault, True, 0), done.err
    assert story["baseline"]["verdict"] == "pass"
    assert story["baseline"]["diagnosis"]["causes"][0]["cause"] == "no_fault"
    assert story["injected"]["fault"] == fault
    assert story["faulty"]["diagnosis"]["causes"][0]["evidence"]
    assert story["faulty"]["regression"]["baseline_run_id"] == story["baseline"]["run_id"]


def test_the_demo_prints_tables_and_evidence_for_people(cli: Cli) -> None:
    done = cli("demo", "--no-serve", "--port", "0")
    assert done.code == 0, done.err
    for words in ("p95 < 20ms", "baseline", "diagnosed: slow_replica", "E1"):
        assert words in done.out
    assert "watch it live at http://127.0.0.1:" in done.err
