"""Owns a target that answers one short page as fast as it can: nginx where it is installed, else the lab's.

It must not know who asks.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from lab.process import LabServer
from lab.settings import TargetSettings

_NGINX_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
_START_S = 10.0
_CONFIG = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; default_type application/json;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ return 200 '{page}'; }} }}
}}
"""


@contextlib.asynccontextmanager
async def static_target(core: int | None) -> AsyncIterator[tuple[str, str]]:
    """Its URL and its name; pinned to a core where one is given."""
    nginx = shutil.which("nginx", path=_NGINX_PATH)
    if nginx is None:
        async with LabServer(TargetSettings(base_ms=0.0)) as lab:
            if core is not None:
                os.sched_setaffinity(lab.pid, {core})
            yield lab.url, "the lab's target (nginx is not installed)"
        return
    with tempfile.TemporaryDirectory(prefix="queryscope-nginx-") as folder:
        port = _free_port()
        config = Path(folder, "nginx.conf")
        config.write_text(_CONFIG.format(folder=folder, port=port, page='{"items":"' + "a" * 188 + '"}'))
        pinned = [] if core is None else ["taskset", "-c", str(core)]
        process = await asyncio.create_subprocess_exec(*pinned, nginx, "-p", folder, "-c", str(config))
        try:
            await _listening(port)
            yield f"http://127.0.0.1:{port}/", "nginx, a page of 200 bytes"
        finally:
            process.terminate()
            await process.wait()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def _listening(port: int) -> None:
    async with asyncio.timeout(_START_S):
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)
