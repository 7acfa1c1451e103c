"""Owns the proof that the page is built again exactly when its sources changed, and never left out silently.

It must not know npm: no test here gets as far as running it.
"""

from pathlib import Path

import pytest

import hatch_build


@pytest.fixture
def built_checkout(tmp_path: Path) -> Path:
    (tmp_path / "dashboard/src").mkdir(parents=True)
    (tmp_path / "dashboard/package-lock.json").write_text("{}")
    (tmp_path / "dashboard/src/main.ts").write_text("render()")
    page, stamp = tmp_path / hatch_build.PAGE, tmp_path / hatch_build.STAMP
    page.parent.mkdir(parents=True)
    page.write_text("<html>")
    stamp.parent.mkdir(parents=True)
    stamp.write_text(hatch_build.digest_of_sources(tmp_path / "dashboard"))
    return tmp_path


def test_an_unchanged_page_is_not_built_again(built_checkout: Path) -> None:
    assert hatch_build.build_page(built_checkout) is False


def test_what_npm_installed_does_not_count_as_a_source(built_checkout: Path) -> None:
    (built_checkout / "dashboard/node_modules/vite").mkdir(parents=True)
    (built_checkout / "dashboard/node_modules/vite/index.js").write_text("x")
    assert hatch_build.build_page(built_checkout) is False


@pytest.mark.parametrize("change", ["edited", "added", "renamed"])
def test_a_changed_source_changes_the_digest(built_checkout: Path, change: str) -> None:
    dashboard = built_checkout / "dashboard"
    before = hatch_build.digest_of_sources(dashboard)
    source = dashboard / "src/main.ts"
    if change == "edited":
        source.write_text("render(1)")
    elif change == "added":
        (dashboard / "src/more.ts").write_text("")
    else:
        source.rename(dashboard / "src/other.ts")
    assert hatch_build.digest_of_sources(dashboard) != before


def test_a_checkout_without_the_dashboard_is_refused(tmp_path: Path) -> None:
    with pytest.raises(hatch_build.PageBuildError, match=r"no package-lock\.json"):
        hatch_build.build_page(tmp_path)
