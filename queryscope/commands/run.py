"""Owns the options of `queryscope run`. It must not import what a run needs before there is one: help is quick."""

from pathlib import Path

import click

from queryscope.file_options import result_file_options
from queryscope.transport_options import transport_options


@click.command()
@click.argument("target")
@click.option("-X", "--method", default=None, help="HTTP method (GET, or POST with a body).")
@click.option("-H", "--header", "headers", multiple=True, metavar="'K: V'", help="A request header; repeatable.")
@click.option("-b", "--body", default=None, metavar="BODY|@FILE", help="The request body.")
@click.option("-n", "--requests", type=click.IntRange(min=1), help="How many requests.")
@click.option(
    "-c", "--concurrency", type=click.IntRange(min=1), help="Users of a closed loop; connection cap of a rate."
)
@click.option("-r", "--rate", metavar="RATE", help="Open loop: requests per second, like 200/s.")
@click.option("-d", "--duration", metavar="TIME", help="How long, like 30s.")
@click.option("--warmup", metavar="TIME", help="Load before that, which is not judged, like 5s.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes that share the load (1).")
@click.option("--timeout", metavar="TIME", help="Limit of one request (30s).")
@transport_options
@click.option("--sla", "slas", multiple=True, metavar="EXPR", help="A promise, like 'p95 < 200ms'; repeatable.")
@click.option("--label", "labels", multiple=True, metavar="k=v", help="A label; repeatable.")
@click.option("--var", "variables", multiple=True, metavar="k=v", help="With a scenario file: a variable; repeatable.")
@click.option("--name", help="Runs of one name and target form a history.")
@click.option("--baseline", metavar="RUN", help="The run to compare with.")
@click.option("--allow-target", "allow", multiple=True, metavar="CIDR", help="Allow link-local or metadata addresses.")
@click.option("--llm", is_flag=True, help="Call an OpenAI-compatible API: TARGET is its base URL.")
@click.option("--model", help="With --llm: the model to ask.")
@click.option("--prompt", metavar="TEXT|@FILE", help="With --llm: what to ask it; of FILE.jsonl each line.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="With --llm: limit of an answer (128).")
@click.option("--slo", metavar="LIMITS", help="With --llm: what a good answer keeps: ttft=500ms,tpot=50ms,e2e=5s.")
@click.option("--no-stream", is_flag=True, help="With --llm: ask for whole answers instead of streams.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@result_file_options
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@click.option("--no-diagnose", is_flag=True, help="Do not wait for the diagnosis.")
def run(
    target: str,
    as_json: bool,
    quiet: bool,
    no_diagnose: bool,
    baseline: str | None,
    csv: Path | None,
    report: Path | None,
    junit: Path | None,
    **options: object,
) -> int:
    """Load TARGET (a URL, a scenario file or - for standard input) and judge it.

    Without any load option: 10 connections for 10 s. Exit codes: 0 pass, 99 SLA breached, 98 invalid, 97 the target
    never answered, 96 our own part failed, 104 bad configuration, 105 stopped, 2 usage.
    """
    from queryscope.made_run import run_and_judge

    files = {"csv": csv, "report": report, "junit": junit}
    return run_and_judge(target, options, files, baseline, as_json=as_json, quiet=quiet, diagnose=not no_diagnose)
