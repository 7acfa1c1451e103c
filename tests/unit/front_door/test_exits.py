"""Exit codes: what scripts rely on."""

import pytest

from queryscope import exits
from schemas.results import LoadInfo, RunResult, Status, Verdict


@pytest.mark.parametrize(
    ("status", "verdict", "failure", "code"),
    [
        ("finished", "pass", None, 0),
        ("finished", "breach", None, 99),
        ("finished", "invalid", None, 98),
        ("failed", "failed", None, 97),
        ("failed", "failed", "no room on the disk", 96),
        ("cancelled", "cancelled", None, 105),
        ("lost", "lost", None, 96),
    ],
)
def test_each_verdict_leaves_its_documented_exit_code(
    status: Status, verdict: Verdict, failure: str | None, code: int
) -> None:
    result = RunResult(
        run_id="a" * 32,
        name="n",
        target="http://127.0.0.1/",
        status=status,
        verdict=verdict,
        failure=failure,
        load=LoadInfo(kind="iterations"),
    )
    assert exits.of_result(result) == code
