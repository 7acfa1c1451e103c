"""Owns a session on a server: an embedded one's verbs, through the API. It must not open the log or database."""

import contextlib
from collections.abc import AsyncIterator, Iterator

from backbone.client import ApiClient, ApiError
from backbone.views import RunEvent
from queryscope.errors import ConfigurationError, NotFound, OurFailure
from queryscope.run_ids import RECENT, RUN_ID_LENGTH, ends_with, no_run
from queryscope.sessions import RunOrder
from schemas.results import RunResult


class ServerSession:
    """Runs made by a server."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def start(self, order: RunOrder) -> str:
        with _clear_errors():
            baseline = order.baseline_run_id
            whole = None if baseline is None else await self._whole(baseline)
            return await self._client.create_run(order.scenario, baseline_run_id=whole)

    async def events(self, run_id: str) -> AsyncIterator[RunEvent]:
        with _clear_errors(during_run=True):
            async with contextlib.aclosing(self._client.events(run_id)) as events:
                async for event in events:
                    yield event

    async def result(self, run_id: str) -> RunResult:
        """The run as it stands, by its id or by the end of it. Raises NotFound."""
        with _clear_errors():
            if len(run_id) == RUN_ID_LENGTH:
                return await self._client.run(run_id)
            found = ends_with(run_id, await self._client.runs(limit=RECENT))
        if found is None:
            raise NotFound(no_run(run_id))
        return found

    async def runs(self, *, limit: int, name: str | None) -> list[RunResult]:
        """Newest first."""
        with _clear_errors():
            return await self._client.runs(limit=limit, name=name)

    async def cancel(self, run_id: str) -> str:
        with _clear_errors():
            whole = await self._whole(run_id)
            await self._client.cancel(whole)
        return whole

    async def change_rate(self, run_id: str, rate: str) -> str:
        with _clear_errors():
            whole = await self._whole(run_id)
            await self._client.change_rate(whole, rate)
        return whole

    async def _whole(self, run_id: str) -> str:
        return run_id if len(run_id) == RUN_ID_LENGTH else (await self.result(run_id)).run_id


@contextlib.contextmanager
def _clear_errors(*, during_run: bool = False) -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        if error.status == 404:
            raise NotFound(str(error)) from None
        if error.status is not None and 400 <= error.status < 500:
            raise ConfigurationError(str(error)) from None
        if error.status is None and not during_run:
            raise ConfigurationError(f"{error}: start it with `queryscope serve`, or mend QUERYSCOPE_URL") from None
        raise OurFailure(str(error)) from None


@contextlib.asynccontextmanager
async def server_session(url: str) -> AsyncIterator[ServerSession]:
    """A session on the server at `url`."""
    async with ApiClient(url) as client:
        yield ServerSession(client)
