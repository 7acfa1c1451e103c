"""Owns `queryscope worker SERVICE`: one service alone in this process. It must not hold what the service does."""

import asyncio
import signal

import click

from backbone.platform import open_platform
from queryscope import exits
from queryscope.commands.common import service_settings
from queryscope.composition import STANDING, running


@click.command()
@click.argument("service", type=click.Choice(STANDING))
def worker(service: str) -> int:
    """Run one SERVICE alone until SIGTERM or Ctrl-C; it finishes what it holds and gives its partitions back."""
    import uvloop

    settings = service_settings()

    async def main() -> None:
        asked_to_stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, asked_to_stop.set)
        async with open_platform(settings) as platform, running(platform, (service,)) as group:
            click.echo(f"{service} runs on {settings.data_dir}", err=True)
            await group.unless_failed(asked_to_stop.wait())

    uvloop.run(main())
    return exits.DONE
