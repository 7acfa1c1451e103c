"""Owns `queryscope report`: the files of a run that is over, from what was recorded. It must not judge anything."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import click

from backbone import views
from backbone.platform import Platform
from queryscope import exits
from queryscope.commands.common import as_json_text, command_settings
from queryscope.commands.runs import find_run, on_platform, on_server
from queryscope.errors import NotFound
from queryscope.file_options import file_option, junit_option
from queryscope.remote import ServerSession
from queryscope.result_files import ResultFiles, result_files
from schemas.results import RunResult

Opened = Callable[[RunResult], AbstractContextManager[ResultFiles]]


@click.command()
@click.argument("run_id", metavar="RUN")
@file_option("-o", "--output", metavar="FILE.html", help_line="Where to write the report.")
@junit_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def report(run_id: str, output: Path | None, junit: Path | None, as_json: bool) -> int:
    """Write the report of a run that is over as one HTML file, or its promises as JUnit, or both.

    RUN may be the end of its id. The verdict makes no difference to the exit code.
    """
    if output is None and junit is None:
        raise click.UsageError("say where to: -o FILE.html for the report, --junit FILE.xml for build servers")
    url = command_settings().url

    def opened(result: RunResult) -> AbstractContextManager[ResultFiles]:
        if result.status not in views.TERMINAL:
            raise NotFound(f"run {result.run_id} is still {result.status}: ask for its report when it has ended")
        return result_files(result.name, csv=None, report=output, junit=junit)

    if url:
        found = on_server(url, lambda session: _from_server(session, run_id, opened))
    else:
        found = on_platform(lambda platform: _from_platform(platform, run_id, opened))
    written = {name: str(path) for name, path in (("report", output), ("junit", junit)) if path is not None}
    if as_json:
        click.echo(as_json_text({"run_id": found, **written}))
    else:
        click.echo("\n".join(f"run {found}: {path}" for path in written.values()))
    return exits.DONE


async def _from_server(session: ServerSession, run_id: str, opened: Opened) -> str:
    result = await session.result(run_id)
    with opened(result) as files:
        async for event in session.events(result.run_id):
            files.on_event(event)
        files.write(result, None)
    return result.run_id


async def _from_platform(platform: Platform, run_id: str, opened: Opened) -> str:
    result = await find_run(platform, run_id)
    seq = 0
    with opened(result) as files:
        async with platform.database.read() as conn:
            while events := await views.events_after(conn, result.run_id, seq):
                for event in events:
                    files.on_event(event)
                seq = events[-1].seq
            scenario = await views.run_scenario(conn, result.run_id)
        files.write(result, scenario)
    return result.run_id
