"""Owns `queryscope mcp`: agents' tools over stdio or HTTP, as a client of the API. It must not hold a tool."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

import click

from backbone.platform import open_platform
from backbone.settings import Settings
from queryscope import exits
from queryscope.commands.common import service_settings
from queryscope.composition import STANDING, ServiceGroup, make_service
from queryscope.servers import find_server


@click.command()
@click.option("--http", is_flag=True, help="Streamable HTTP instead of stdio.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on with --http.")
@click.option("--port", default=8421, show_default=True, type=click.IntRange(0, 65535), help="Port with --http.")
def mcp(http: bool, host: str, port: int) -> int:
    """Serve agents over MCP: run_benchmark and query_runs. Without a server it runs all services itself."""
    settings = service_settings()

    async def main() -> None:
        from services.mcp.service import serve_http, serve_stdio

        async with _api_url(settings) as url:
            if http:
                await serve_http(url, host=host, port=port, announce=lambda at: click.echo(f"MCP at {at}", err=True))
            else:
                await serve_stdio(url)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
    sys.stderr.flush()
    return exits.DONE


@contextlib.asynccontextmanager
async def _api_url(settings: Settings) -> AsyncIterator[str]:
    """The API of the server of this data directory, else one of our own on a free loopback port."""
    found = find_server(settings)
    if found is not None:
        yield found
        return
    from services.api.service import ApiService

    async with open_platform(settings) as platform:
        api = ApiService(platform, host="127.0.0.1", port=0)
        group = ServiceGroup([api, *(make_service(name, platform) for name in STANDING)])
        group.start()
        try:
            yield await group.unless_failed(api.listening())
        finally:
            await group.stop()
