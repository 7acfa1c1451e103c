"""Owns `queryscope verify`: prints whether the tables equal a rebuild from the log. It must not mend anything."""

import click

from backbone.platform import Platform
from queryscope import exits
from queryscope.archived import refuse_archived
from queryscope.commands.runs import find_run, on_platform
from services.aggregator.verify import VerifyReport


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def verify(run_id: str | None, as_json: bool) -> int:
    """Prove that the tables of one run, or of all, equal a rebuild from the log. Exit 0 equal, 1 not."""
    from services.aggregator.verify import verify as compare

    async def work(platform: Platform) -> VerifyReport:
        chosen = (await find_run(platform, run_id)).run_id if run_id else None
        if chosen is not None:
            await refuse_archived(platform, chosen)
        return await compare(platform, chosen)

    report = on_platform(work)
    if as_json:
        click.echo(report.model_dump_json())
    else:
        for each in report.projections:
            same = "equal" if each.hash == each.rebuilt_hash else "DIFFERENT"
            click.echo(f"{each.name:<14} {each.rows:>8} rows  {same}")
        if report.archived:
            click.echo(f"{report.archived} archived runs are left out: their outcomes are no longer on the log")
        click.echo("equal" if report.equal else "not equal: `queryscope rebuild` fills them anew from the log")
    return exits.DONE if report.equal else exits.NO
