"""Owns what every command does first and how it prints JSON. It must not know any command."""

import json
import sys
from collections.abc import Callable
from typing import TypeVar

import click
from rich.console import Console

from backbone.settings import Settings, load_settings, origin_of
from backbone.telemetry import configure_logging
from queryscope.errors import ConfigurationError

Command = TypeVar("Command", bound=Callable[..., object])

PIPE_WIDTH = 160
"""Columns of a table on a standard output that is no terminal."""


def command_settings() -> Settings:
    """The settings of a command that people read: log lines only from errors on, unless they ask for more."""
    settings = load_settings()
    asked = origin_of(settings, "log_level") != "default"
    configure_logging(json=False, level=settings.log_level if asked else "error")
    return settings


def service_settings() -> Settings:
    """The settings of a command that serves: log lines as JSON on stderr."""
    settings = load_settings()
    configure_logging(json=True, level=settings.log_level)
    return settings


def metrics_options(command: Command) -> Command:
    """The options of a command that serves: where probes and scrapers ask."""
    host = click.option(
        "--metrics-host", default="127.0.0.1", show_default=True, help="Address of --metrics-port; it tells everybody."
    )
    port = click.option(
        "--metrics-port", type=click.IntRange(0, 65535), help="Serve /metrics, /healthz and /readyz here; 0: any free."
    )
    return host(port(command))


def stdout_console() -> Console:
    """For tables on standard output; a pipe gets them whole."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def as_json_text(value: object) -> str:
    """Compact JSON for stdout."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def pairs(items: object, separator: str, form: str) -> dict[str, str]:
    """What a repeatable option says. Raises ConfigurationError with the form it has to have."""
    assert isinstance(items, tuple)
    pairs = {}
    for item in items:
        name, found, value = str(item).partition(separator)
        if not found or not name.strip():
            raise ConfigurationError(f"'{item}' is not of the form {form}")
        pairs[name.strip()] = value.strip()
    return pairs
