"""Owns `queryscope rebuild`: fills the tables of finished runs anew from the log. It must not change an outcome."""

import click

from backbone.platform import Platform
from queryscope import exits
from queryscope.commands.common import as_json_text
from queryscope.commands.runs import find_run, on_platform
from queryscope.errors import NotFound, first_line


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def rebuild(run_id: str | None, as_json: bool) -> int:
    """Fill the tables of one finished run, or of all, anew from the log, while everything else goes on."""
    from queryscope.archived import refuse_archived
    from queryscope.rebuilding import Rebuilt
    from queryscope.rebuilding import rebuild as fill_anew
    from queryscope.settling import settle
    from services.aggregator.errors import CannotRebuild

    async def work(platform: Platform) -> Rebuilt:
        chosen = run_id
        if run_id is not None and len(run_id) < 32:  # a whole id may be one whose rows are gone
            chosen = (await find_run(platform, run_id)).run_id
        if chosen is not None:
            await refuse_archived(platform, chosen)
        try:
            done = await fill_anew(platform, chosen)
        except CannotRebuild as error:
            raise NotFound(first_line(error)) from None
        await settle(platform)
        return done

    done = on_platform(work)
    changed = [each.run_id for each in done.runs if each.changed]
    if as_json:
        told = sum(each.told for each in done.runs)
        report = {"runs": len(done.runs), "changed": changed, "archived": done.archived, "events_told_again": told}
        click.echo(as_json_text(report))
        return exits.DONE
    click.echo(f"{len(done.runs)} runs rebuilt, {len(changed)} of them changed")
    for each in changed:
        click.echo(f"  changed: {each}")
    if done.archived:
        click.echo(f"{len(done.archived)} archived runs keep their rows: their outcomes are no longer on the log")
    return exits.DONE
