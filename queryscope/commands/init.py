"""Owns `queryscope init`: writes a first scenario file. It must not run it."""

import io
import json
import sys
from pathlib import Path

import click

from queryscope import exits
from queryscope.drafts import Draft, from_curl, from_har, from_openapi
from queryscope.errors import ConfigurationError, reason_of


@click.command()
@click.argument("source")
@click.option(
    "--from", "kind", type=click.Choice(["curl", "har", "openapi"]), required=True, help="What SOURCE is made of."
)
@click.option("--target", metavar="URL", help="Where to send it, if not where the source says.")
@click.option("-o", "--output", metavar="FILE", default="-", show_default=True, help="Where to write; - is stdout.")
@click.option("--json", "as_json", is_flag=True, help="Write the scenario as JSON instead of YAML.")
@click.option("--force", is_flag=True, help="Write over FILE if it is there.")
def init(source: str, kind: str, target: str | None, output: str, force: bool, as_json: bool) -> int:
    """Make a scenario from SOURCE: a file, - for standard input, or a curl command in quotes.

    What cannot come along (credentials, requests that change something) is said on stderr.
    """
    text = _text(source, kind)
    draft = from_curl(text) if kind == "curl" else (from_har if kind == "har" else from_openapi)(text, target)
    if kind == "curl" and target is not None:
        draft.target = target
    words = f"{json.dumps(draft.fields(), indent=2, ensure_ascii=False)}\n" if as_json else _yaml(draft)
    if output == "-":
        click.echo(words, nl=False)
    else:
        _write(Path(output), words, force)
    for note in draft.notes:
        click.echo(note, err=True)
    return exits.DONE


def _text(source: str, kind: str) -> str:
    if source == "-":
        return sys.stdin.read()
    if kind == "curl" and source.lstrip().startswith("curl "):
        return source
    try:
        return Path(source).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{source} cannot be read: {reason_of(error)}") from None


def _yaml(draft: Draft) -> str:
    from ruamel.yaml import YAML

    out = io.StringIO()
    yaml = YAML()
    yaml.width = 1000
    yaml.dump(draft.fields(), out)
    return out.getvalue()


def _write(path: Path, words: str, force: bool) -> None:
    try:
        with path.open("w" if force else "x") as file:
            file.write(words)
    except FileExistsError:
        raise ConfigurationError(f"{path} is there already: name another file, or write over it with --force") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {reason_of(error)}") from None
