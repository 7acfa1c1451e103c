"""Owns the proof that a live stream loses and repeats nothing. It must not run a benchmark."""

import asyncio
import random
from collections.abc import AsyncIterator

import httpx

from backbone.client import ApiClient, ApiError
from schemas.base import derived_id
from tests.integration.api.conftest import Projector

RUN = derived_id("streamed")
EVENTS = 400
DROPS = 100


async def write_slowly(projector: Projector, chance: random.Random) -> None:
    """The events of a whole run, in batches of random size, as fast as the database takes them."""
    seq = 1
    while seq < EVENTS:
        size = chance.randint(1, 7)
        last = min(seq + size, EVENTS)
        await projector.events(
            RUN, [(each, "window", {"window": each, "text": "ä\u2028\n"}) for each in range(seq, last)]
        )
        seq = last
    await projector.events(RUN, [(EVENTS, "end", {"run_id": RUN, "status": "finished", "verdict": "pass"})])


async def read_some(http: httpx.AsyncClient, last: int, most_bytes: int) -> bytes:
    """What arrives before the connection is dropped after about `most_bytes`, in the middle of an event as a rule."""
    headers = {"last-event-id": str(last)} if last else {}
    found = b""
    async with http.stream("GET", f"/v1/runs/{RUN}/events", headers=headers) as response:
        assert response.status_code == 200
        async for chunk in response.aiter_raw(1):
            found += chunk
            if len(found) >= most_bytes:
                break
    return found


def whole_ids(received: bytes) -> list[int]:
    """Ids of the events that arrived whole."""
    whole, _, _ = received.rpartition(b"\n\n")
    return [int(line[4:]) for line in whole.split(b"\n") if line.startswith(b"id: ")]


async def test_a_stream_dropped_a_hundred_times_has_no_gap_and_no_duplicate(
    http: httpx.AsyncClient, projector: Projector
) -> None:
    chance = random.Random(20)
    await projector.run(RUN)
    writing = asyncio.create_task(write_slowly(projector, chance))
    seen: list[int] = []
    drops = 0
    async with asyncio.timeout(60):
        while not seen or seen[-1] != EVENTS:
            most = chance.randint(20, 500) if drops < DROPS else 1 << 30
            seen += whole_ids(await read_some(http, seen[-1] if seen else 0, most))
            drops += 1
        await writing

    assert drops >= DROPS
    assert seen == list(range(1, EVENTS + 1))


async def test_the_stream_closes_after_the_end_and_stays_closed(http: httpx.AsyncClient, projector: Projector) -> None:
    await projector.run(RUN, status="finished")
    await projector.events(RUN, [(1, "run", {}), (2, "end", {})])

    async with asyncio.timeout(5):
        whole = await http.get(f"/v1/runs/{RUN}/events")
        again = await http.get(f"/v1/runs/{RUN}/events", headers={"last-event-id": "2"})
        unknown = await http.get(f"/v1/runs/{RUN}/events", headers={"last-event-id": "77"})

    assert whole_ids(whole.content) == [1, 2]
    assert whole.headers["content-type"].startswith("text/event-stream")
    assert again.status_code == 204
    assert whole_ids(unknown.content) == [1, 2]


async def test_a_run_that_was_just_asked_for_can_be_followed(http: httpx.AsyncClient, projector: Projector) -> None:
    run_id = (await http.post("/v1/runs", json={"target": "http://127.0.0.1:1/"})).json()["run_id"]

    async with asyncio.timeout(5), http.stream("GET", f"/v1/runs/{run_id}/events") as response:
        await projector.events(run_id, [(1, "end", {})])
        received = b"".join([chunk async for chunk in response.aiter_raw()])

    assert whole_ids(received) == [1]


class CuttingTransport(httpx.AsyncBaseTransport):
    """A network that breaks every live stream after a few chunks."""

    def __init__(self, chunks: int) -> None:
        self._inner = httpx.AsyncHTTPTransport()
        self._chunks = chunks
        self.cuts = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        if request.url.path.endswith("/events") and response.status_code == 200:
            assert isinstance(response.stream, httpx.AsyncByteStream)
            response.stream = _CutStream(response.stream, self)
        return response

    @property
    def chunks(self) -> int:
        return self._chunks

    async def aclose(self) -> None:
        await self._inner.aclose()


class _CutStream(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, network: CuttingTransport) -> None:
        self._inner = inner
        self._network = network

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._network.chunks
        async for chunk in self._inner:
            if left == 0:
                self._network.cuts += 1
                raise httpx.ReadError("cut")
            left -= 1
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


async def test_the_client_resumes_a_stream_that_is_cut(server: str, projector: Projector) -> None:
    await projector.run(RUN)
    network = CuttingTransport(chunks=5)
    seen: list[int] = []
    async with ApiClient(server, transport=network) as client, asyncio.timeout(30):
        await projector.events(RUN, [(1, "window", {})])
        async for event in client.events(RUN):
            seen.append(event.seq)
            if event.event != "end":
                following = event.seq + 1
                await projector.events(RUN, [(following, "end" if following == 16 else "window", {})])

    assert seen == list(range(1, 17))
    assert network.cuts >= 2


async def test_the_client_gives_up_a_stream_that_never_brings_anything(server: str, projector: Projector) -> None:
    await projector.run(RUN)
    error: ApiError | None = None
    async with ApiClient(server, transport=CuttingTransport(chunks=0)) as client, asyncio.timeout(30):
        try:
            async for _ in client.events(RUN):
                pass
        except ApiError as caught:
            error = caught

    assert error is not None
    assert (error.status, error.type) == (None, "stream-broken")
