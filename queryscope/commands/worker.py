"""Owns `queryscope worker SERVICE`: one service alone in this process. It must not hold what the service does."""

import asyncio
import signal

import click

from backbone.platform import open_platform
from backbone.settings import Settings
from queryscope import exits
from queryscope.commands.common import metrics_options, service_settings
from queryscope.composition import STANDING, running


@click.command()
@click.argument("service", type=click.Choice(STANDING))
@metrics_options
def worker(service: str, metrics_host: str, metrics_port: int | None) -> int:
    """Run one SERVICE alone until SIGTERM or Ctrl-C; it finishes what it holds and gives its partitions back."""
    import uvloop

    uvloop.run(_work(service_settings(), service, metrics_host, metrics_port))
    return exits.DONE


async def _work(settings: Settings, service: str, metrics_host: str, metrics_port: int | None) -> None:
    from backbone.health_server import HealthService

    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_stop.set)
    async with open_platform(settings) as platform:
        health = None if metrics_port is None else HealthService(platform, host=metrics_host, port=metrics_port)
        async with running(platform, (service,), [health] if health else []) as group:
            shown = f", metrics on {await group.unless_failed(health.listening())}" if health else ""
            click.echo(f"{service} runs on {settings.data_dir}{shown}", err=True)
            await group.unless_failed(asked_to_stop.wait())
