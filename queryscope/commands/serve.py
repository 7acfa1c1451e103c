"""Owns `queryscope serve`: API and page with all services in one process tree. It must not hold a route."""

import asyncio
import contextlib
import json
import signal
from collections.abc import Iterator

import click

from backbone.platform import open_platform
from backbone.settings import Settings
from queryscope import exits
from queryscope.commands.common import service_settings
from queryscope.composition import STANDING, Service, ServiceGroup, make_service
from queryscope.servers import address_file


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8420, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--only-api", is_flag=True, help="Serve only; the other services run elsewhere as `worker`s.")
def serve(host: str, port: int, only_api: bool) -> int:
    """Serve the API and the page until SIGTERM or Ctrl-C."""
    import uvloop

    settings = service_settings()
    uvloop.run(_serve(settings, host, port, () if only_api else STANDING))
    return exits.DONE


async def _serve(settings: Settings, host: str, port: int, names: tuple[str, ...]) -> None:
    from services.api.service import ApiService

    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_stop.set)
    async with open_platform(settings) as platform:
        api = ApiService(platform, host=host, port=port)
        services: list[Service] = [api, *(make_service(name, platform) for name in names)]
        group = ServiceGroup(services)
        group.start()
        try:
            url = await group.unless_failed(api.listening())
            with announced(settings, url):
                click.echo(f"QueryScope serves {url} (data in {settings.data_dir}); Ctrl-C ends it", err=True)
                await group.unless_failed(asked_to_stop.wait())
        finally:
            await group.stop()


@contextlib.contextmanager
def announced(settings: Settings, url: str) -> Iterator[None]:
    """Leaves the server's address in the data directory for as long as it serves."""
    path = address_file(settings)
    path.write_text(json.dumps({"url": url}))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
