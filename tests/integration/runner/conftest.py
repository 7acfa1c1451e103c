"""Owns a platform on files of its own and a lab target. It must not know any test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backbone.platform import Platform, open_platform
from backbone.settings import load_settings
from lab.process import LabServer
from lab.settings import TargetSettings


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with open_platform(load_settings(data_dir=tmp_path / "data")) as opened:
        yield opened


@pytest.fixture
async def lab_target() -> AsyncIterator[str]:
    """The URL of a healthy lab target that answers at once, a process of its own."""
    async with LabServer(TargetSettings(base_ms=0)) as lab:
        yield lab.url


@pytest.fixture
async def target() -> AsyncIterator[str]:
    """The URL of a server in this process: quick to start, for tests that care little about who answers."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
