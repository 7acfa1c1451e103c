"""Owns how a store's URL names a file, and how one is shown. It must not know the settings: a load worker has none."""

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from backbone.errors import SettingsError


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file; `sqlite_path` is its inverse."""
    return f"sqlite:///{path}"


def sqlite_path(url: str) -> Path:
    """The file a sqlite:///... URL names (three slashes and a relative path, four for an absolute one)."""
    prefix = "sqlite:///"
    if not url.startswith(prefix) or not url[len(prefix) :]:
        raise SettingsError(f"'{url}' names no file: write sqlite:////absolute/path.db")
    return Path(url[len(prefix) :])


def shown_url(url: str) -> str:
    """The URL as messages and logs may show it: without its password."""
    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{login.partition(':')[0]}:***@{host}")) if ":" in login and at else url
