"""Owns `queryscope serve`: API and page with all services in one process tree. It must not hold a route."""

import asyncio
import contextlib
import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import click

from backbone.platform import open_platform
from backbone.settings import Settings
from queryscope import exits
from queryscope.commands.common import metrics_options, service_settings
from queryscope.composition import STANDING, Service, installed, running
from queryscope.servers import address_file


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8420, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--only-api", is_flag=True, help="Serve only; the other services run elsewhere as `worker`s.")
@metrics_options
def serve(host: str, port: int, only_api: bool, metrics_host: str, metrics_port: int | None) -> int:
    """Serve the API and the page until SIGTERM or Ctrl-C."""
    import uvloop

    place = _Place(host, port, metrics_host, metrics_port)
    uvloop.run(_serve(service_settings(), place, () if only_api else STANDING))
    return exits.DONE


@dataclass(frozen=True)
class _Place:
    """Where to listen; no metrics_port: the API alone tells its metrics."""

    host: str
    port: int
    metrics_host: str
    metrics_port: int | None


async def _serve(settings: Settings, place: _Place, names: tuple[str, ...]) -> None:
    from backbone.health_server import HealthService
    from services.api.service import ApiService

    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_stop.set)
    async with open_platform(settings) as platform:
        api = ApiService(platform, host=place.host, port=place.port, installed=lambda: installed(("api", *names)))
        others: list[Service] = [api]
        if place.metrics_port is not None:
            others.append(HealthService(platform, host=place.metrics_host, port=place.metrics_port))
        async with running(platform, names, others) as group:
            url = await group.unless_failed(api.listening())
            with announced(settings, url):
                click.echo(f"QueryScope serves {url} (data in {settings.data_dir}); Ctrl-C ends it", err=True)
                await group.unless_failed(asked_to_stop.wait())


@contextlib.contextmanager
def announced(settings: Settings, url: str) -> Iterator[None]:
    """Leaves the server's address in the data directory for as long as it serves."""
    path = address_file(settings)
    path.write_text(json.dumps({"url": url}))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
