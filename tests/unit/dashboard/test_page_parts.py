"""The page's own tests, run by its own runner."""

import subprocess
from collections.abc import Callable
from pathlib import Path

DASHBOARD = Path(__file__).resolve().parents[3] / "dashboard"


def test_the_pages_pure_parts_pass_their_own_tests(
    require: Callable[[str, str], str], require_that: Callable[[bool, str, str], None]
) -> None:
    node = require("node", "apt-get install nodejs")
    runner = DASHBOARD / "node_modules" / "vitest" / "vitest.mjs"
    require_that(runner.exists(), "the page's packages are not installed", "make install")
    done = subprocess.run(
        [node, str(runner), "run"], cwd=DASHBOARD, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
