"""Owns `queryscope dlq`: the records that could not be processed. It must not process one."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from queryscope import exits
from queryscope.commands.common import as_json_text, stdout_console
from queryscope.commands.runs import on_platform
from schemas.topics import TOPICS

if TYPE_CHECKING:
    from queryscope.redriving import Listed

Command = TypeVar("Command", bound=Callable[..., object])

SHOWN_ID = 12
SHOWN_ERROR = 80


@click.group()
def dlq() -> None:
    """List, process again or dismiss records that could not be processed."""


def _json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")(command)


def _choice(command: Command) -> Command:
    one = click.option("--id", "letter_id", metavar="ID", help="This one: its id or the beginning of it.")
    every = click.option("--all", "is_all", is_flag=True, help="All that wait.")
    topic = click.argument("topic", type=click.Choice(TOPICS))
    return topic(one(every(command)))


@dlq.command("list")
@click.argument("topic", type=click.Choice(TOPICS), required=False)
@click.option("--all", "is_all", is_flag=True, help="Also those that were dealt with.")
@_json_option
def list_(topic: str | None, is_all: bool, as_json: bool) -> int:
    """List dead letters: of one topic, or of all."""
    from queryscope.redriving import list_letters

    listed = on_platform(lambda platform: list_letters(platform, [topic] if topic else TOPICS))
    _print([each for each in listed if is_all or each.state in ("waiting", "asked")], as_json)
    return exits.DONE


@dlq.command()
@click.argument("topic", type=click.Choice(TOPICS))
@click.argument("letter_id", metavar="ID")
def show(topic: str, letter_id: str) -> int:
    """Show one dead letter whole, as JSON: where it lies, the error, the payload."""
    from queryscope.redriving import choose

    (found,) = on_platform(lambda platform: choose(platform, topic, letter_id))
    click.echo(json.dumps(_as_dict(found), indent=2, ensure_ascii=False))
    return exits.DONE


@dlq.command()
@_choice
@_json_option
def redrive(topic: str, letter_id: str | None, is_all: bool, as_json: bool) -> int:
    """Have dead letters processed by the service that failed, once its fault is mended.

    Exit code 1 where one failed again.
    """
    from queryscope.redriving import redrive as have_processed

    _check_choice(letter_id, is_all)
    listed = on_platform(lambda platform: have_processed(platform, topic, letter_id))
    _print(listed, as_json)
    return exits.NO if any(each.state == "waiting" for each in listed) else exits.DONE


@dlq.command()
@_choice
@_json_option
def dismiss(topic: str, letter_id: str | None, is_all: bool, as_json: bool) -> int:
    """Note that dead letters are dealt with, so that they are not counted as waiting; they stay readable."""
    from queryscope.redriving import dismiss as note

    _check_choice(letter_id, is_all)
    noted = on_platform(lambda platform: note(platform, topic, letter_id))
    if as_json:
        click.echo(as_json_text([each.letter.id for each in noted]))
    else:
        click.echo(f"{len(noted)} dead letters of {topic} dismissed")
    return exits.DONE


def _check_choice(letter_id: str | None, is_all: bool) -> None:
    if (letter_id is None) != is_all:
        raise click.UsageError("say which: --id ID, or --all")


def _as_dict(each: "Listed") -> dict[str, object]:
    return {**each.letter.model_dump(mode="json", exclude={"type"}), "state": each.state, "run_id": each.run_id}


def _print(listed: "list[Listed]", as_json: bool) -> None:
    if as_json:
        click.echo(as_json_text([_as_dict(each) for each in listed]))
        return
    if not listed:
        click.echo("no dead letters")
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("id", "topic", "at", "projection", "run", "state", "error"):
        table.add_column(heading, no_wrap=heading != "error")
    for each in listed:
        letter = each.letter
        where, run = f"{letter.partition}/{letter.offset}", escape((each.run_id or "")[-8:])
        words = letter.error if len(letter.error) <= SHOWN_ERROR else f"{letter.error[:SHOWN_ERROR]}..."
        table.add_row(letter.id[:SHOWN_ID], letter.topic, where, letter.projection, run, each.state, escape(words))
    stdout_console().print(table)
