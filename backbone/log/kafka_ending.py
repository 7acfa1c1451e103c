"""Owns how a client of Kafka is ended: in bounded time, with its tasks and connections, whatever these died of.

It must not know why. The client's own stop() raises what one of its parts died of, and leaves the others as they are.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient


async def end_client(client: AIOKafkaClient, stop: Callable[[], Awaitable[object]], within_s: float) -> None:
    """Ends a client by its `stop`; each part of that may take so long."""
    await _try(stop, within_s)
    await _try(client.close, within_s)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s), client._get_conn_lock:
            pass  # a connection that was being made: nobody else would close it
    await _try(client.close, within_s)


async def end_consumer(consumer: AIOKafkaConsumer, stop: Callable[[], Awaitable[object]], within_s: float) -> None:
    """Its heartbeats would keep a member that is gone in its group, its fetches would go on in vain."""

    async def stop_all() -> None:
        await _try(stop, within_s)
        if consumer._coordinator is not None:
            await _try(consumer._coordinator._stop_heartbeat_task, within_s)
        if consumer._fetcher is not None:
            await _try(consumer._fetcher.close, within_s)

    await end_client(consumer._client, stop_all, 4 * within_s)


async def _try(stop: Callable[[], Awaitable[object]], within_s: float) -> None:
    with contextlib.suppress(Exception):  # it is thrown away: what it died of has been told before
        async with asyncio.timeout(within_s):
            await stop()
