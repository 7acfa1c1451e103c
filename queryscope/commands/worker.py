"""Owns `queryscope worker SERVICE`: one service alone in this process. It must not hold what the service does."""

import asyncio
import signal

import click

from backbone.platform import open_platform
from backbone.waiting import Drain
from queryscope import exits
from queryscope.commands.common import service_settings
from queryscope.composition import STANDING, ServiceGroup, make_service

END_WITHIN_S = 30.0
"""For a run that is cancelled to be brought to its end."""


@click.command()
@click.argument("service", type=click.Choice(STANDING))
def worker(service: str) -> int:
    """Run one SERVICE alone until SIGTERM or Ctrl-C; it finishes what it holds and gives its partitions back.

    A runner finishes the run that it is at, for QUERYSCOPE_DRAIN_S seconds at most; a second signal cancels that run.
    """
    import uvloop

    settings = service_settings()

    async def main() -> None:
        asked_to_stop, drain = asyncio.Event(), Drain(settings.drain_s)

        def signalled() -> None:
            (drain.hurry if asked_to_stop.is_set() else asked_to_stop).set()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, signalled)
        async with open_platform(settings) as platform:
            group = ServiceGroup([make_service(service, platform, drain)])
            group.start()
            try:
                click.echo(f"{service} runs on {settings.data_dir}", err=True)
                await group.unless_failed(asked_to_stop.wait())
            finally:
                await group.stop(END_WITHIN_S, drain)

    uvloop.run(main())
    return exits.DONE
