"""Owns the refusal of what needs a run's raw outcomes once they have left the log. It must not remove anything."""

from backbone.platform import Platform
from queryscope.errors import NotFound


async def refuse_archived(platform: Platform, run_id: str) -> None:
    """Raises NotFound: the run is here, its outcomes are not."""
    from services.aggregator.archive import archived_runs

    if await archived_runs(platform.log, platform.database, run_id):
        raise NotFound(
            f"run {run_id} is archived: its outcomes are no longer on the log, only its result is kept (show {run_id})"
        )
