"""Owns `queryscope db`: the schema of the database. It must not hold a migration."""

import asyncio

import click

from queryscope import exits
from queryscope.commands.common import command_settings


@click.group()
def db() -> None:
    """Manage the database schema."""


@db.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def upgrade(as_json: bool) -> int:
    """Bring the schema to this version; what is up to date stays untouched."""
    from backbone.database.migrate import upgrade as bring_up

    settings = command_settings()
    asyncio.run(bring_up(settings.database_url))
    click.echo('{"up_to_date":true}' if as_json else "the schema is up to date")
    return exits.DONE
