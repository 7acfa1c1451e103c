"""Owns what the doctor finds in sound and in broken installations."""

from pathlib import Path

import pytest

from backbone.database.engine import open_database
from backbone.database.offsets import advance_offset
from backbone.doctor import Check, examine
from backbone.platform import open_platform
from backbone.settings import load_settings


def failing(checks: list[Check]) -> dict[str, str]:
    """Rows that are not well, without the page, which a source tree need not have."""
    return {check.name: check.detail for check in checks if not check.ok and check.name != "web page"}


async def test_a_fresh_directory_is_well_and_each_setting_says_where_it_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUERYSCOPE_PARTITION", "9")
    monkeypatch.setenv("QUERYSCOPE_PARTITIONS", "8")
    checks = await examine(load_settings(data_dir=tmp_path))
    assert failing(checks) == {}
    rows = {check.name: check.detail for check in checks}
    assert rows["QUERYSCOPE_DATA_DIR"] == f"{tmp_path} (given)"
    assert rows["QUERYSCOPE_PARTITIONS"] == "8 (environment)"
    assert rows["QUERYSCOPE_PARTITION"] == "ignored: no such setting; did you mean QUERYSCOPE_PARTITIONS?"
    assert {"log", "database", "search index", "package schemas", "web page", "open files"} <= rows.keys()


async def test_a_database_of_another_log_is_found(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    database = await open_database(settings.database_url)
    async with database.write() as conn:
        await advance_offset(conn, "p", "runs", 0, expected=0, next=1, incarnation="other")
    await database.close()
    assert "another log" in failing(await examine(settings))["database"]


async def test_damaged_files_are_each_told_in_one_line(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    for name in ("log.db", "queryscope.db", "search.db"):
        (tmp_path / name).write_bytes(b"this is no database at all" * 50)
    found = failing(await examine(settings))
    assert found.keys() == {"log", "database", "search index"}
    assert all("\n" not in detail for detail in found.values())


async def test_a_data_directory_that_is_a_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = failing(await examine(load_settings(data_dir=tmp_path / "file")))
    assert "cannot write to the data directory" in found["data directory"]


async def test_a_platform_opens_on_a_fresh_directory_and_again(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "new")
    async with open_platform(settings) as platform:
        incarnation = await platform.log.incarnation()
    async with open_platform(settings) as platform:
        assert await platform.log.incarnation() == incarnation
        assert await platform.search.count() == 0
