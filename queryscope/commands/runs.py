"""Owns the commands that look at runs or stop one: runs, show, cancel, diagnose. They must not write a projection."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from backbone import views
from backbone.platform import Platform, open_platform
from queryscope import exits
from queryscope.commands.common import as_json_text, command_settings, stdout_console
from queryscope.errors import NotFound, first_line
from queryscope.made_run import print_outcome
from queryscope.remote import ServerSession, server_session
from queryscope.run_ids import RECENT, ends_with, no_run
from queryscope.servers import find_server
from queryscope.settling import settle
from schemas.diagnosis import DiagnosisReady
from schemas.results import RunResult

T = TypeVar("T")


def on_platform(work: Callable[[Platform], Awaitable[T]]) -> T:
    """Opens the platform of this data directory, settles what others left there, runs `work` on it, closes it."""

    async def main() -> T:
        async with open_platform(command_settings()) as platform:
            await settle(platform)
            return await work(platform)

    return asyncio.run(main())


def on_server(url: str, work: Callable[[ServerSession], Awaitable[T]]) -> T:
    """Runs `work` on a server session."""

    async def main() -> T:
        async with server_session(url) as session:
            return await work(session)

    return asyncio.run(main())


async def find_run(platform: Platform, run_id: str) -> RunResult:
    """A run by its id or by the end of it. Raises NotFound."""
    async with platform.database.read() as conn:
        found = await views.run_result(conn, run_id)
        if found is None:
            found = ends_with(run_id, (await views.list_runs(conn, limit=RECENT))[0])
    if found is None:
        raise NotFound(no_run(run_id))
    return found


@click.command()
@click.option("-n", "--limit", default=20, type=click.IntRange(1, 500), help="How many (20).")
@click.option("--name", help="Only runs of this name.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array on stdout.")
def runs(limit: int, name: str | None, as_json: bool) -> int:
    """List runs, newest first."""

    async def listed(platform: Platform) -> list[RunResult]:
        async with platform.database.read() as conn:
            return (await views.list_runs(conn, limit=limit, name=name))[0]

    url = command_settings().url
    found = on_server(url, lambda session: session.runs(limit=limit, name=name)) if url else on_platform(listed)
    if as_json:
        click.echo(as_json_text([each.model_dump(mode="json") for each in found]))
        return exits.DONE
    from queryscope.render.result import runs_table

    console = stdout_console()
    if found:
        console.print(runs_table(found))
    else:
        console.print("no runs yet: start one with `queryscope run URL`")
    return exits.DONE


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def show(run_id: str, as_json: bool) -> int:
    """Show one run. RUN may be the end of its id."""
    url = command_settings().url
    if url:
        result = on_server(url, lambda session: session.result(run_id))
    else:
        result = on_platform(lambda platform: find_run(platform, run_id))
    if as_json:
        click.echo(result.model_dump_json())
        return exits.DONE
    print_outcome(result, as_json=False)
    return exits.DONE


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def cancel(run_id: str, as_json: bool) -> int:
    """Stop a run that is on: it drains within 2 s and is recorded as cancelled."""

    async def ask(platform: Platform) -> str:
        from queryscope.sessions import new_run_id, now_us
        from schemas.codec import encode_line
        from schemas.lifecycle import RunCancelRequested
        from schemas.topics import RUNS, partition_of

        found = await find_run(platform, run_id)
        if found.status in views.TERMINAL:
            raise NotFound(f"run {found.run_id} is not on: it is {found.status}")
        record = RunCancelRequested(id=new_run_id(), run_id=found.run_id, at=now_us())
        log = platform.log
        await log.append(RUNS, partition_of(found.run_id, log.partitions), encode_line(record), 1)
        return found.run_id

    url = find_server(command_settings())
    found = on_server(url, lambda session: session.cancel(run_id)) if url else on_platform(ask)
    if as_json:
        click.echo(as_json_text({"run_id": found, "asked": "cancel"}))
    return exits.DONE


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def diagnose(run_id: str, as_json: bool) -> int:
    """Explain a finished run from the log, anew; what is recorded stays as it is."""
    from services.diagnoser.errors import DiagnoserError
    from services.diagnoser.service import diagnose_run

    async def explain(platform: Platform) -> DiagnosisReady:
        found = await find_run(platform, run_id)
        if found.status not in views.TERMINAL:
            raise NotFound(f"run {found.run_id} is still {found.status}: diagnose it when it has ended")
        try:
            return await diagnose_run(platform, found.run_id)
        except DiagnoserError as error:
            raise NotFound(first_line(error)) from None

    report = on_platform(explain)
    if as_json:
        click.echo(report.model_dump_json())
        return exits.DONE
    click.echo(report.summary)
    for item in report.evidence:
        click.echo(f"  {item.id}  {item.text}")
    for checked in report.checked:
        click.echo(f"  checked {checked.cause}: {checked.outcome.replace('_', ' ')} ({checked.reason})")
    if report.next_experiment:
        click.echo(f"next: {report.next_experiment}")
    return exits.DONE
