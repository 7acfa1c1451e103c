"""Owns `queryscope export` and `import`: one run, events and all, as one file. It must not know its format."""

from pathlib import Path

import click

from backbone.platform import Platform
from queryscope import exits
from queryscope.commands.common import as_json_text
from queryscope.commands.runs import find_run, on_platform
from queryscope.errors import NotFound


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to write, such as run.qsrun.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def export(run_id: str, output: str, as_json: bool) -> int:
    """Write every event of a finished run to one file, which `import` takes anywhere."""
    from backbone.views import TERMINAL
    from queryscope.archived import refuse_archived
    from queryscope.portable import write_run

    path = Path(output)

    async def work(platform: Platform) -> tuple[str, int]:
        found = await find_run(platform, run_id)
        if found.status not in TERMINAL:
            raise NotFound(f"run {found.run_id} is still {found.status}: export it when it has ended")
        await refuse_archived(platform, found.run_id)
        return found.run_id, await write_run(platform, found.run_id, path)

    found, events = on_platform(work)
    if as_json:
        click.echo(as_json_text({"run_id": found, "events": events, "file": output}))
    else:
        click.echo(f"run {found}: {events} events in {output}")
    return exits.DONE


@click.command("import")
@click.argument("file", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def import_(file: str, as_json: bool) -> int:
    """Append the events of an exported run to this log. A run that is here already is left as it is."""
    from queryscope.importing import Imported, import_run
    from queryscope.settling import settle

    async def work(platform: Platform) -> Imported:
        done = await import_run(platform, Path(file))
        await settle(platform)
        return done

    done = on_platform(work)
    if as_json:
        click.echo(as_json_text({"run_id": done.run_id, "events": done.events, "known": done.known}))
    elif done.known:
        click.echo(f"run {done.run_id} is here already: nothing imported")
    else:
        click.echo(f"run {done.run_id}: {done.events} events imported")
    return exits.DONE
