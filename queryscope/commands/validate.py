"""Owns `queryscope validate`: checks a scenario file. It must not run it."""

import click

from queryscope import exits
from queryscope.commands.common import pairs
from queryscope.scenarios import read_scenario


@click.command()
@click.argument("file")
@click.option("--var", "variables", multiple=True, metavar="k=v", help="Another value for a variable; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="The scenario with all defaults as one JSON object.")
def validate(file: str, variables: tuple[str, ...], as_json: bool) -> int:
    """Check a scenario FILE (or - for standard input); an error names line and column."""
    scenario = read_scenario(file, pairs(variables, "=", "--var k=v"))
    if as_json:
        click.echo(scenario.redacted().model_dump_json(by_alias=False))
    else:
        click.echo(f"{file}: good: {scenario.name}, {len(scenario.steps)} step(s), {scenario.load.kind}")
    return exits.DONE
