"""Owns one proxied connection: two sockets, and what the armed faults do to the bytes between them.

Must not know who arms faults or who listens.
"""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable

from lab.net_faults import NetFault, Pace

_CHUNK_BYTES = 64 * 1024
_AHEAD_CHUNKS = 64  # what may wait to be forwarded; beyond that the sender is held up, as by a full network

Waiting = asyncio.Queue[tuple[float, bytes]]
"""What may be forwarded, and when; nothing: the end."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Weather:
    """The faults that are on, by kind; all connections look at it. `flowing` is cleared while nothing is forwarded."""

    def __init__(self) -> None:
        self.faults: dict[str, NetFault] = {}
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.bytes_up = 0
        self.bytes_down = 0

    def set(self, faults: dict[str, NetFault]) -> None:
        self.faults = faults
        if "half_open" in faults:
            self.flowing.clear()
        else:
            self.flowing.set()


class Wire:
    """A client's connection and the one made for it to the upstream."""

    def __init__(self, number: int, weather: Weather, client: Streams) -> None:
        self._number = number
        self._weather = weather
        self._ends = [client[1]]
        self._client = client
        self._slice: NetFault | None = None
        self._left_bytes = 0

    async def run(self, host: str, port: int) -> None:
        """Forwards until both ends are done, or one is reset; then both are closed."""
        try:
            await self._weather.flowing.wait()
            upstream = await asyncio.open_connection(host, port)
            self._ends.append(upstream[1])
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(self._client[0], upstream[1], 2 * self._number))
                group.create_task(self._forward(upstream[0], self._client[1], 2 * self._number + 1))
        except (OSError, ExceptionGroup):
            self.reset()  # what one end did, or that there is no upstream, the other finds out
        finally:
            for end in self._ends:
                end.close()

    def reset(self) -> None:
        """Both ends get a reset, not an orderly end."""
        for end in self._ends:
            sock = end.get_extra_info("socket")
            if sock is not None and not end.transport.is_closing():
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        """One direction: reading and writing go on side by side, so that a delay is no limit of throughput."""
        waiting: Waiting = asyncio.Queue(_AHEAD_CHUNKS)
        pace = Pace(number)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(reader, waiting, pace))
            group.create_task(self._write(writer, waiting, self._counter(up=number % 2 == 0)))

    async def _read(self, reader: asyncio.StreamReader, waiting: Waiting, pace: Pace) -> None:
        while True:
            try:
                chunk = await reader.read(_CHUNK_BYTES)
            except OSError:
                await self._weather.flowing.wait()  # while nothing is forwarded, a reset is not either
                raise
            faults = self._weather.faults
            release_s = pace.release_s(time.monotonic(), len(chunk), faults.get("latency"), faults.get("bandwidth"))
            await waiting.put((release_s, chunk))
            if not chunk:
                return

    async def _write(self, writer: asyncio.StreamWriter, waiting: Waiting, count: Callable[[int], None]) -> None:
        while True:
            release_s, chunk = await waiting.get()
            if (wait_s := release_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            await self._weather.flowing.wait()
            if not chunk:
                writer.write_eof()
                return
            allowed = self._allowed(len(chunk))
            writer.write(chunk[:allowed])
            count(allowed)
            await writer.drain()
            if allowed < len(chunk):
                raise ConnectionResetError("sliced")

    def _allowed(self, size: int) -> int:
        """How many of the next bytes may still go before the connection is sliced."""
        fault = self._weather.faults.get("slice")
        if fault is None:
            return size
        if fault is not self._slice:
            self._slice, self._left_bytes = fault, fault.after_bytes or 0
        allowed = min(size, self._left_bytes)
        self._left_bytes -= allowed
        return allowed

    def _counter(self, *, up: bool) -> Callable[[int], None]:
        def count(size: int) -> None:
            if up:
                self._weather.bytes_up += size
            else:
                self._weather.bytes_down += size

        return count
