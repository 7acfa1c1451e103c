"""Owns `queryscope prune`: takes the raw outcomes of old runs off the log. It must not remove a result."""

import time

import click

from backbone.platform import Platform
from queryscope import exits
from queryscope.commands.common import as_json_text
from queryscope.commands.runs import on_platform
from queryscope.errors import ConfigurationError, first_line
from schemas.units import parse_days

US_PER_DAY = 86_400_000_000


@click.command()
@click.option("--older-than", metavar="AGE", help="Runs that ended so long ago, like 30d or 12h.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def prune(older_than: str | None, dry_run: bool, as_json: bool) -> int:
    """Remove the raw outcomes of old finished runs from the log; results, timelines and diagnoses stay.

    Without --older-than the age is QUERYSCOPE_OUTCOMES_RETENTION_DAYS.
    """
    from queryscope.settling import settle
    from services.aggregator.archive import PrunePlan, plan_prune
    from services.aggregator.archive import prune as remove

    async def work(platform: Platform) -> PrunePlan:
        now_us = time.time_ns() // 1000
        days = _days(older_than, platform.settings.outcomes_retention_days)
        plan = await plan_prune(platform.log, platform.database, now_us - int(days * US_PER_DAY))
        if not dry_run:
            await remove(platform.log, platform.database, plan, now_us)
            await settle(platform)
        return plan

    plan = on_platform(work)
    if as_json:
        report = {"runs": list(plan.runs), "records": plan.records, "behind": plan.behind, "removed": not dry_run}
        click.echo(as_json_text(report))
        return exits.DONE
    done = "would be archived" if dry_run else "archived"
    gone = "would leave" if dry_run else "have left"
    click.echo(f"{len(plan.runs)} runs {done}: {plan.records} records of outcomes {gone} the log, their results stay")
    for run_id in plan.runs:
        click.echo(f"  {run_id}")
    if plan.behind:
        click.echo(f"{plan.behind} old runs stay for now: their outcomes lie behind those of a younger run")
    return exits.DONE


def _days(text: str | None, setting: float | None) -> float:
    if text is None:
        if setting is None:
            raise ConfigurationError(
                "say how old: --older-than 30d, or QUERYSCOPE_OUTCOMES_RETENTION_DAYS=30 for every time"
            )
        return setting
    try:
        return parse_days(text)
    except ValueError as error:
        raise ConfigurationError(f"--older-than: {first_line(error)}") from None
