"""The MCP server's shell: reads and commands through the API, over stdio or HTTP. It must not hold a tool."""

import asyncio
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from mcp.server.transport_security import TransportSecuritySettings

from backbone.client import ApiClient
from backbone.http_server import bind_loopback, serve_app, url_of
from services.mcp.tools import make_server

PATH = "/mcp"


async def serve_stdio(api_url: str) -> None:
    """Serves one agent on stdin and stdout until stdin ends."""
    async with ApiClient(api_url) as api:
        await make_server(api).run_stdio_async()


async def serve_http(api_url: str, *, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serves streamable HTTP until cancelled; `announce` gets the address once it listens. Raises SettingsError."""
    listener = bind_loopback(host, port)
    url = url_of(listener) + PATH
    async with ApiClient(api_url) as api:
        app = make_server(api).streamable_http_app(streamable_http_path=PATH, transport_security=_only_at(listener))
        await serve_app(app, listener, asyncio.Event(), on_started=lambda: announce(url), lifespan="on")


def _only_at(listener: socket.socket) -> TransportSecuritySettings:
    """A web page of another site or port, or a name rebound to this machine, gets nothing."""
    own = urlsplit(url_of(listener))
    hosts = [own.netloc, f"localhost:{own.port}"]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True, allowed_hosts=hosts, allowed_origins=[f"http://{host}" for host in hosts]
    )
