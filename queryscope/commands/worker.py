"""Owns `queryscope worker SERVICE`: one service alone in this process. It must not hold what the service does."""

import asyncio
import signal

import click

from backbone.platform import open_platform
from backbone.settings import Settings
from backbone.waiting import Drain
from queryscope import exits
from queryscope.commands.common import metrics_options, service_settings
from queryscope.composition import STANDING, Service, ServiceGroup, make_service

END_WITHIN_S = 30.0
"""For a run that is cancelled to be brought to its end."""


@click.command()
@click.argument("service", type=click.Choice(STANDING))
@metrics_options
def worker(service: str, metrics_host: str, metrics_port: int | None) -> int:
    """Run one SERVICE alone until SIGTERM or Ctrl-C; it finishes what it holds and gives its partitions back.

    A runner finishes the run that it is at, for QUERYSCOPE_DRAIN_S seconds at most; a second signal cancels that run.
    """
    import uvloop

    uvloop.run(_work(service_settings(), service, metrics_host, metrics_port))
    return exits.DONE


async def _work(settings: Settings, service: str, metrics_host: str, metrics_port: int | None) -> None:
    from backbone.health_server import HealthService

    asked_to_stop, drain = asyncio.Event(), Drain(settings.drain_s)

    def signalled() -> None:
        (drain.hurry if asked_to_stop.is_set() else asked_to_stop).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, signalled)
    async with open_platform(settings) as platform:
        health = None if metrics_port is None else HealthService(platform, host=metrics_host, port=metrics_port)
        others: list[Service] = [] if health is None else [health]
        group = ServiceGroup([make_service(service, platform, drain), *others])
        group.start()
        try:
            shown = "" if health is None else f", metrics on {await group.unless_failed(health.listening())}"
            click.echo(f"{service} runs on {settings.data_dir}{shown}", err=True)
            await group.unless_failed(asked_to_stop.wait())
        finally:
            await group.stop(END_WITHIN_S, drain)
