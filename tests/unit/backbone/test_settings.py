"""Owns what settings mean and how a wrong one is told."""

from pathlib import Path

import pytest

from backbone.errors import SettingsError
from backbone.settings import load_settings, origin_of, prepare_data_dir
from backbone.urls import shown_url, sqlite_path, sqlite_url


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATA_DIR", "LOG_URL", "DATABASE_URL", "SEARCH_URL", "URL", "TARGETS", "PARTITIONS", "LOG_LEVEL"):
        monkeypatch.delenv(f"QUERYSCOPE_{name}", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))


def test_without_a_word_everything_lies_in_the_users_data_directory(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.data_dir.name == "queryscope"
    assert sqlite_path(settings.log_url) == settings.data_dir / "log.db"
    assert sqlite_path(settings.database_url) == settings.data_dir / "queryscope.db"
    assert sqlite_path(settings.search_url) == settings.data_dir / "search.db"
    assert settings.locks_dir == settings.data_dir / "locks"
    assert {origin_of(settings, field) for field in type(settings).model_fields} == {"default"}


def test_the_environment_is_read_and_what_is_given_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QUERYSCOPE_DATA_DIR", str(tmp_path / "env"))
    monkeypatch.setenv("QUERYSCOPE_TARGETS", "staging.example, 10.0.0.0/8,")
    monkeypatch.setenv("QUERYSCOPE_LOG_URL", "")
    settings = load_settings()
    assert settings.targets == ["staging.example", "10.0.0.0/8"]
    assert sqlite_path(settings.log_url) == tmp_path / "env" / "log.db"
    assert origin_of(settings, "data_dir") == origin_of(settings, "targets") == "environment"
    assert origin_of(settings, "log_url") == "default"
    given = load_settings(data_dir=tmp_path / "given")
    assert given.data_dir == tmp_path / "given"
    assert sqlite_path(given.search_url) == tmp_path / "given" / "search.db"


def test_a_relative_data_directory_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(data_dir="here")
    assert settings.data_dir == tmp_path / "here"
    assert sqlite_path(settings.log_url) == tmp_path / "here" / "log.db"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"partitions": 0}, "QUERYSCOPE_PARTITIONS: Input should be greater than or equal to 1"),
        ({"log_url": "amqp://localhost:5672"}, "QUERYSCOPE_LOG_URL: 'amqp://localhost:5672' is not supported"),
        ({"database_url": "sqlite:///"}, "'sqlite:///' names no file"),
        ({"database_url": "oracle://ada:secret@db/x"}, "QUERYSCOPE_DATABASE_URL: 'oracle://ada:***@db/x' is not"),
        ({"search_url": "postgresql://db/x"}, "write sqlite:////path/file.db or https://host:9200"),
        ({"log_url": "sqlite:////x.db", "database_url": "sqlite:////x.db"}, "need a file of their own each"),
        ({"url": "nonsense"}, "QUERYSCOPE_URL: 'nonsense' is no address of a server: write it like http://"),
        ({"log_level": "loud"}, "QUERYSCOPE_LOG_LEVEL: Input should be"),
        ({"origins": "load.example.com"}, "QUERYSCOPE_ORIGINS: 'load.example.com' is no origin: write it as https://"),
        ({"drain_s": -1}, "QUERYSCOPE_DRAIN_S: Input should be greater than or equal to 0"),
        ({"colour": "blue"}, "QUERYSCOPE_COLOUR: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(given: dict[str, object], told: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(**given)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgresql://ada:se:c@db:5432/x?ssl=require", "postgresql://ada:***@db:5432/x?ssl=require"),
        ("https://search:9200", "https://search:9200"),
        ("mysql://ada@db/x", "mysql://ada@db/x"),
        ("sqlite:////a/b@c:d.db", "sqlite:////a/b@c:d.db"),
    ],
)
def test_a_url_is_shown_without_its_password(given: str, shown: str) -> None:
    assert shown_url(given) == shown


def test_a_url_and_its_file_are_inverse(tmp_path: Path) -> None:
    assert sqlite_path(sqlite_url(tmp_path / "a b.db")) == tmp_path / "a b.db"


def test_a_data_directory_that_is_a_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"cannot write to the data directory .*set QUERYSCOPE_DATA_DIR"):
        prepare_data_dir(load_settings(data_dir=tmp_path / "file"))


def test_a_data_directory_is_made_where_it_is_missing(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "a" / "b")
    prepare_data_dir(settings)
    assert settings.locks_dir.is_dir()


def test_outcomes_are_kept_for_ever_unless_an_age_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().outcomes_retention_days is None
    monkeypatch.setenv("QUERYSCOPE_OUTCOMES_RETENTION_DAYS", "30")
    assert load_settings().outcomes_retention_days == 30
    monkeypatch.setenv("QUERYSCOPE_OUTCOMES_RETENTION_DAYS", "0")
    with pytest.raises(SettingsError, match="OUTCOMES_RETENTION_DAYS"):
        load_settings()
