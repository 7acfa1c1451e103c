"""Owns a target that misbehaves: each request is answered by the moves that its path names.

Must not know what a kind means. Nothing is listened to on any address but loopback.
"""

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from lab.errors import LabError
from lab.listener import Listener
from lab.misconduct import KINDS, Endless, Move
from lab.service import Addresses

_HOST = "127.0.0.1"
_PAUSE_S = 0.01
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)\r\n")
_NOT_FOUND = b"HTTP/1.1 404 No Such Kind\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class MisbehavingSettings:
    """`kind` answers the path `/`; `/KIND` asks for another. port 0: any free one."""

    kind: str = "answer"
    port: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise LabError(f"there is no kind '{self.kind}'; kinds: {', '.join(KINDS)}")
        if not 0 <= self.port <= 65535:
            raise LabError("ports go from 0 (any free one) to 65535")


async def serve_misbehaving(
    settings: MisbehavingSettings, announce: Callable[[Addresses], None], stop: asyncio.Event
) -> None:
    """Serve until `stop` is set; `announce` is called once, when it listens."""
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(_converse(settings.kind, reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def accept() -> asyncio.Protocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), connected)

    front = Listener(_HOST, settings.port, accept)
    try:
        await front.open()
        url = f"http://{_HOST}:{front.port}/"
        announce(Addresses(url, url))
        await stop.wait()
    finally:
        front.release()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _converse(kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, until its client or a move ends it."""
    goes_on = True
    try:
        with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError):
            while goes_on:
                asked = await _asked_kind(reader) or kind
                if asked not in KINDS:
                    writer.write(_NOT_FOUND)
                    continue
                for move in KINDS[asked]:
                    goes_on = await _make(move, reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _asked_kind(reader: asyncio.StreamReader) -> str:
    """Reads a whole request, since what is left unread would turn an orderly end into a reset."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    if length is not None:
        await reader.readexactly(int(length[1]))
    target = head.split(b" ", 2)[1].decode("latin-1")
    return urlsplit(target).path.strip("/")


async def _make(move: Move, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether the connection goes on."""
    match move:
        case bytes():
            writer.write(move)
            await writer.drain()
        case Endless(data, every_s):
            while not writer.is_closing() and not reader.at_eof():
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(every_s)
            return False
        case "pause":
            await asyncio.sleep(_PAUSE_S)
        case "half_close":
            writer.write_eof()
            await reader.read()
            return False
        case "reset":
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        case _:
            return False
    return True
