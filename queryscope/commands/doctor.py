"""Owns `queryscope doctor`: prints the settings and the state of every component. It must not mend anything."""

import asyncio

import click

from queryscope import exits
from queryscope.commands.common import as_json_text, command_settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON array on stdout.")
def doctor(as_json: bool) -> int:
    """Check the settings and every component. Exit 0 healthy, 1 not."""
    from backbone.doctor import examine

    checks = asyncio.run(examine(command_settings()))
    if as_json:
        click.echo(as_json_text([each.model_dump(mode="json") for each in checks]))
    else:
        for each in checks:
            click.echo(f"{'ok  ' if each.ok else 'FAIL'}  {each.name:<28} {each.detail}")
    return exits.DONE if all(each.ok for each in checks) else exits.NO
