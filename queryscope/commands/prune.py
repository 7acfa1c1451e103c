"""Owns `queryscope prune`: takes the raw outcomes of old runs off the log, and old runs out of the search index.

It must not remove a result.
"""

import time
from typing import TYPE_CHECKING

import click

from backbone.platform import Platform
from queryscope import exits
from queryscope.commands.common import as_json_text
from queryscope.commands.runs import on_platform
from queryscope.errors import ConfigurationError, first_line
from schemas.units import parse_days

if TYPE_CHECKING:
    from services.aggregator.archive import PrunePlan

US_PER_DAY = 86_400_000_000


@click.command()
@click.option("--older-than", metavar="AGE", help="Runs that ended so long ago, like 30d or 12h.")
@click.option("--search-older-than", metavar="AGE", help="Runs that ended so long ago are not found by words any more.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def prune(older_than: str | None, search_older_than: str | None, dry_run: bool, as_json: bool) -> int:
    """Remove the raw outcomes of old finished runs from the log; results, timelines and diagnoses stay.

    Ages that are not given are QUERYSCOPE_OUTCOMES_RETENTION_DAYS and QUERYSCOPE_SEARCH_RETENTION_DAYS; without the
    second the search index keeps every run.
    """
    from queryscope.settling import settle
    from services.aggregator.archive import PrunePlan, plan_prune
    from services.aggregator.archive import prune as remove

    async def work(platform: Platform) -> tuple[PrunePlan, int]:
        now_us = time.time_ns() // 1000
        settings = platform.settings
        search_days = _days("--search-older-than", search_older_than, settings.search_retention_days)
        days = _days("--older-than", older_than, settings.outcomes_retention_days)
        if days is None and search_days is None:
            raise ConfigurationError(
                "say how old: --older-than 30d, or QUERYSCOPE_OUTCOMES_RETENTION_DAYS=30 for every time"
            )
        plan = PrunePlan((), {}, 0, 0)
        if days is not None:
            plan = await plan_prune(platform.log, platform.database, now_us - int(days * US_PER_DAY))
        if dry_run:
            return plan, 0
        await remove(platform.log, platform.database, plan, now_us)
        await settle(platform)
        gone = 0 if search_days is None else await platform.search.forget_before(now_us - int(search_days * US_PER_DAY))
        return plan, gone

    plan, forgotten = on_platform(work)
    if as_json:
        report = {"runs": list(plan.runs), "records": plan.records, "behind": plan.behind, "forgotten": forgotten}
        click.echo(as_json_text({**report, "removed": not dry_run}))
        return exits.DONE
    _print(plan, forgotten, dry_run=dry_run)
    return exits.DONE


def _print(plan: "PrunePlan", forgotten: int, *, dry_run: bool) -> None:
    done = "would be archived" if dry_run else "archived"
    gone = "would leave" if dry_run else "have left"
    click.echo(f"{len(plan.runs)} runs {done}: {plan.records} records of outcomes {gone} the log, their results stay")
    for run_id in plan.runs:
        click.echo(f"  {run_id}")
    if plan.behind:
        click.echo(f"{plan.behind} old runs stay for now: their outcomes lie behind those of a younger run")
    if forgotten:
        click.echo(f"{forgotten} runs have left the search index")


def _days(option: str, text: str | None, setting: float | None) -> float | None:
    if text is None:
        return setting
    try:
        return parse_days(text)
    except ValueError as error:
        raise ConfigurationError(f"{option}: {first_line(error)}") from None
