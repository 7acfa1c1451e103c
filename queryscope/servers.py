"""Owns where a command's server is: by setting, else whoever serves this data directory. It must not call its API."""

import json
import socket
from pathlib import Path
from urllib.parse import urlsplit

from backbone.settings import Settings
from queryscope.errors import ConfigurationError
from schemas.scenario import Scenario
from schemas.scenario_names import environment_of

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def address_file(settings: Settings) -> Path:
    """Where a running `serve` leaves its address."""
    return settings.data_dir / "server.json"


def find_server(settings: Settings) -> str | None:
    """QUERYSCOPE_URL, else the address left in the data directory if something listens there, else None."""
    if settings.url:
        return settings.url.rstrip("/")
    try:
        url = str(json.loads(address_file(settings).read_text())["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 80), timeout=0.5).close()
    except OSError:
        return None
    return url


def choose_server(settings: Settings, scenario: Scenario, *, allow_targets: tuple[str, ...] = ()) -> str | None:
    """The server that shall make this run, None for this process tree.

    The person at the terminal may do more than a server lets anybody do: literal credentials, prompts and targets
    beyond loopback, Unix sockets and files stay in this process tree unless QUERYSCOPE_URL names the server.
    """
    credentials = scenario.literal_credentials()
    from_here = bool(scenario.files or environment_of(scenario))
    if settings.url:
        if credentials:
            raise ConfigurationError(
                f"{credentials[0]} is a credential and is not sent to {settings.url}: unset QUERYSCOPE_URL "
                "to run it from here"
            )
        if from_here:
            raise ConfigurationError(
                f"the scenario reads files or variables of this machine, which {settings.url} has not: unset "
                "QUERYSCOPE_URL to run it from here"
            )
        return find_server(settings)
    host = urlsplit(scenario.target).hostname or ""
    way = scenario.unix is not None or scenario.proxy is not None
    if credentials or from_here or way or scenario.has_prompts or allow_targets or host not in LOOPBACK_NAMES:
        return None
    return find_server(settings)
