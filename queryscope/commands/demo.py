"""Owns `queryscope demo`: plays the story and prints it. It must not hold the story itself."""

import asyncio
import signal
import sys

import click

from queryscope import exits
from queryscope.commands.common import as_json_text, stdout_console
from queryscope.demo import FAULTS, Stage, Story, play, stage
from queryscope.made_run import run_in
from queryscope.sessions import RunOrder
from schemas.results import RunResult


@click.command()
@click.option(
    "--fault", default="slow_replica", show_default=True, type=click.Choice(list(FAULTS)), help="What to inject."
)
@click.option("--no-serve", is_flag=True, help="End when the story is told instead of serving the page.")
@click.option(
    "--port", default=8420, show_default=True, type=click.IntRange(0, 65535), help="Port of the page; 0: any."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def demo(fault: str, no_serve: bool, port: int, as_json: bool) -> int:
    """Show a fault being found: a healthy run, then the same run with a fault injected, then why."""
    import uvloop

    from backbone.telemetry import configure_logging

    configure_logging(json=False, level="warning")
    correct = uvloop.run(_demo(fault, serve=not no_serve, port=port, as_json=as_json))
    return exits.DONE if correct else exits.NO


async def _demo(fault: str, *, serve: bool, port: int, as_json: bool) -> bool:
    async with stage(0 if _taken(port) else port) as on:
        say = not as_json or sys.stderr.isatty()
        if say:
            click.echo(f"QueryScope demo: watch it live at {on.url}", err=True)

        async def run_one(order: RunOrder, label: str) -> RunResult:
            return await run_in(on.session, order, quiet=not say, until_diagnosed=True, label=label)

        story = await play(on, fault, run_one)
        if as_json:
            click.echo(as_json_text(story.as_json()))
        else:
            _tell(story)
        sys.stdout.flush()
        if serve:
            await _keep_serving(on)
        return story.correct


def _taken(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _tell(story: Story) -> None:
    from queryscope.render.result import print_result

    console = stdout_console()
    print_result(console, story.baseline, title="baseline")
    console.print()
    print_result(console, story.faulty, title="with a fault")
    console.print()
    verdict = "found" if story.correct else "not found"
    console.print(f"injected: {story.injected['fault']} · diagnosed: {story.diagnosed} · {verdict}")


async def _keep_serving(on: Stage) -> None:
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_stop.set)
    click.echo(f"the page stays at {on.url} until Ctrl-C", err=True)
    await on.services.unless_failed(asked_to_stop.wait())
