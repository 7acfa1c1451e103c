"""Owns `queryscope replay`: judge a finished run anew from the log. It must not touch the run's record."""

import click
from pydantic import ValidationError

from backbone.platform import Platform
from queryscope import exits
from queryscope.commands.runs import find_run, on_platform
from queryscope.errors import ConfigurationError, NotFound, first_line
from queryscope.llm_options import limits_of
from queryscope.made_run import print_outcome
from schemas.llm import Slo
from schemas.results import RunResult
from schemas.sla import SlaError, parse_sla


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--sla", "slas", multiple=True, metavar="EXPR", help="Judge by this promise instead; repeatable.")
@click.option("--slo", "slo_text", metavar="LIMITS", help="Count goodput by these limits: ttft=500ms,tpot=50ms,e2e=5s.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def replay(run_id: str, slas: tuple[str, ...], slo_text: str | None, as_json: bool) -> int:
    """Judge a finished run anew from the log; its record stays as it is. Exit codes as of `run`."""
    from services.aggregator.errors import CannotReplay
    from services.aggregator.replay import replay as judge_anew

    try:
        promises = [parse_sla(text) for text in slas] or None
        slo = Slo.model_validate(limits_of(slo_text)) if slo_text is not None else None
    except (SlaError, ValidationError) as error:
        raise ConfigurationError(first_line(error)) from None

    async def judged(platform: Platform) -> RunResult:
        found = await find_run(platform, run_id)
        try:
            return await judge_anew(platform, found.run_id, promises, slo)
        except CannotReplay as error:
            raise NotFound(first_line(error)) from None

    result = on_platform(judged)
    print_outcome(result, as_json=as_json)
    return exits.of_result(result)
