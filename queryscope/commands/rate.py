"""Owns `queryscope rate`: asks an open loop that is on for another rate. It must not change it itself."""

import click

from backbone import views
from backbone.platform import Platform
from queryscope import exits
from queryscope.commands.common import as_json_text, command_settings
from queryscope.commands.runs import find_run, on_platform, on_server
from queryscope.errors import ConfigurationError, NotFound
from queryscope.servers import find_server
from schemas.load import RATES_CHANGE
from schemas.units import parse_rate_per_s


@click.command()
@click.argument("run_id", metavar="RUN")
@click.argument("new_rate", metavar="RATE")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def rate(run_id: str, new_rate: str, as_json: bool) -> int:
    """Change the rate of a RUN that is on and is an open loop, to RATE (500/s, 30000/m) of the whole run.

    It holds from the beginning of one of the next seconds until the load ends; the result says so.
    """
    per_s = _per_second(new_rate)

    async def ask(platform: Platform) -> str:
        from queryscope.sessions import new_run_id, now_us
        from schemas.codec import encode_line
        from schemas.lifecycle import RateChangeRequested
        from schemas.topics import RUNS, partition_of

        found = await find_run(platform, run_id)
        if found.status in views.TERMINAL:
            raise NotFound(f"run {found.run_id} is not on: it is {found.status}")
        if found.load.kind not in RATES_CHANGE:
            raise ConfigurationError(f"run {found.run_id} has no rate to change: its load is {found.load.kind}")
        record = RateChangeRequested(id=new_run_id(), run_id=found.run_id, at=now_us(), rate_per_s=per_s)
        log = platform.log
        await log.append(RUNS, partition_of(found.run_id, log.partitions), encode_line(record), 1)
        return found.run_id

    url = find_server(command_settings())
    found = on_server(url, lambda session: session.change_rate(run_id, new_rate)) if url else on_platform(ask)
    if as_json:
        click.echo(as_json_text({"run_id": found, "asked": "rate", "rate_rps": per_s}))
    return exits.DONE


def _per_second(text: str) -> float:
    try:
        per_s = parse_rate_per_s(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not 0 < per_s <= 1_000_000:
        raise click.UsageError("a rate is above 0 and at most 1,000,000/s; to end the run: queryscope cancel")
    return per_s
