"""Owns `queryscope search`: runs found by words. It must not rank."""

import click

from backbone.platform import Platform
from backbone.search.port import SearchHit
from queryscope import exits
from queryscope.commands.common import as_json_text
from queryscope.commands.runs import on_platform


@click.command()
@click.argument("query", nargs=-1, required=True)
@click.option("-n", "--limit", default=10, type=click.IntRange(1, 100), help="How many (10).")
@click.option("--json", "as_json", is_flag=True, help="A JSON array on stdout.")
def search(query: tuple[str, ...], limit: int, as_json: bool) -> int:
    """Find runs by words of their summaries, nearest first."""
    from backbone.search.hybrid import search_runs

    async def find(platform: Platform) -> list[SearchHit]:
        return list(await search_runs(platform.search, " ".join(query), limit=limit))

    hits = on_platform(find)
    if as_json:
        fields = [{"run_id": hit.run_id, "score": hit.score, "text": hit.text, **hit.fields} for hit in hits]
        click.echo(as_json_text(fields))
    else:
        for hit in hits:
            click.echo(f"{hit.run_id}  {hit.text.splitlines()[0] if hit.text else ''}")
        if not hits:
            click.echo("no run matches", err=True)
    return exits.DONE if hits else exits.NO
