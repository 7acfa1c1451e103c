"""Owns what people may configure and where each value came from. It must not open anything but the data directory."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from backbone.errors import SettingsError
from backbone.origins import parse_origin
from backbone.urls import shown_url, sqlite_path, sqlite_url

ENV_PREFIX = "QUERYSCOPE_"
LOG_FILE = "log.db"
DATABASE_FILE = "queryscope.db"
SEARCH_FILE = "search.db"
URL_SCHEMES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "log_url": (("sqlite", "kafka"), "sqlite:////path/file.db or kafka://host:9092"),
    "database_url": (
        ("sqlite", "postgresql", "mysql", "mariadb"),
        "sqlite:////path/file.db, postgresql://user@host/database or mysql://user@host/database",
    ),
    "search_url": (("sqlite", "http", "https"), "sqlite:////path/file.db or https://host:9200"),
}
"""By field: the schemes that an adapter exists for, and what to write."""


def _default_data_dir() -> Path:
    return Path(platformdirs.user_data_dir("queryscope", appauthor=False))


class Settings(BaseSettings):
    """Everything configurable, from QUERYSCOPE_* variables. `load_settings` is how to get one with clear errors."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    data_dir: Path = Field(default_factory=_default_data_dir)
    log_url: str = ""
    database_url: str = ""
    search_url: str = ""
    database_timeout_s: float = Field(default=10.0, gt=0, le=600)
    search_api_key: SecretStr | None = None
    url: str | None = None
    targets: Annotated[list[str], NoDecode] = Field(default_factory=list)
    origins: Annotated[list[str], NoDecode] = Field(default_factory=list)
    scenario_env: Annotated[list[str], NoDecode] = Field(default_factory=list)
    files_dir: Path | None = None
    partitions: int = Field(default=8, ge=1, le=256)
    spool_mb: int = Field(default=1024, ge=0)
    drain_s: float = Field(default=3600.0, ge=0, le=86_400)
    outcomes_retention_days: float | None = Field(default=None, gt=0)
    search_retention_days: float | None = Field(default=None, gt=0)
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def locks_dir(self) -> Path:
        """Where the locks of runs on this machine lie."""
        return self.data_dir / "locks"

    @property
    def spool_dir(self) -> Path:
        """Where outcomes wait while the log is away."""
        return self.data_dir / "spool"

    @field_validator("targets", "origins", "scenario_env", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("origins")
    @classmethod
    def _read_origins(cls, values: list[str]) -> list[str]:
        return [parse_origin(value) for value in values]

    @field_validator("url")
    @classmethod
    def _read_server(cls, value: str | None) -> str | None:
        if value and not value.lower().startswith(("http://", "https://")):
            raise ValueError(f"'{shown_url(value)}' is no address of a server: write it like http://127.0.0.1:8420")
        return value

    @field_validator("data_dir")
    @classmethod
    def _make_absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @model_validator(mode="before")
    @classmethod
    def _fill_urls(cls, values: dict[str, Any]) -> dict[str, Any]:  # Any: raw input of a before-validator
        data_dir = Path(values.get("data_dir") or _default_data_dir()).expanduser().absolute()
        for field, name in (("log_url", LOG_FILE), ("database_url", DATABASE_FILE), ("search_url", SEARCH_FILE)):
            values[field] = values.get(field) or sqlite_url(data_dir / name)
        return values

    @model_validator(mode="after")
    def _check_urls(self) -> Self:
        for field, (schemes, example) in URL_SCHEMES.items():
            url = str(getattr(self, field))
            scheme = urlsplit(url).scheme
            if scheme not in schemes:
                raise ValueError(f"{ENV_PREFIX}{field.upper()}: '{shown_url(url)}' is not supported: write {example}")
            if scheme == "sqlite":
                sqlite_path(url)
        if len({self.log_url, self.database_url, self.search_url}) < 3:
            raise ValueError("log, database and search need a file of their own each")
        return self


def load_settings(**given: Any) -> Settings:  # Any: values as a command line gives them; pydantic checks each
    """Settings from the environment, `given` wins. Raises SettingsError with one line."""
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = "".join(f"{ENV_PREFIX}{str(part).upper()}: " for part in first["loc"][:1])
        raise SettingsError(f"{name}{first['msg'].removeprefix('Value error, ')}") from None


def origin_of(settings: Settings, field: str) -> Literal["default", "environment", "given"]:
    """Where a setting's value came from."""
    default = Settings.model_fields[field].get_default(call_default_factory=True)
    if f"{ENV_PREFIX}{field}".upper() in {name.upper() for name, value in os.environ.items() if value}:
        return "environment"
    derived = field.endswith("_url") and str(getattr(settings, field)).startswith(sqlite_url(settings.data_dir))
    return "default" if derived or getattr(settings, field) == default else "given"


def prepare_data_dir(settings: Settings) -> None:
    """Makes the data directory and proves that it can be written. Raises SettingsError with one line."""
    try:
        settings.locks_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.data_dir):
            pass
    except OSError as error:
        raise SettingsError(
            f"cannot write to the data directory {settings.data_dir} ({error.strerror}): "
            f"make it writable or set {ENV_PREFIX}DATA_DIR to a directory that is"
        ) from None
