"""What the mended Kafka client keeps quiet, and what it still tells."""

import asyncio
import gc
from collections.abc import Mapping
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka import errors as kafka
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.structs import OffsetAndMetadata

from backbone.log.kafka_mended import mend_client

OFFSETS = {TopicPartition("runs", 0): OffsetAndMetadata(1, "")}


class Coordinator(GroupCoordinator):
    """Knows where its broker is, which answers when it is told to."""

    def __init__(self) -> None:  # the client's own connects
        self.group_id, self.generation, self.member_id, self.coordinator_id = "group", 1, "member", 1
        self._commit_lock = asyncio.Lock()
        self.answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def ensure_coordinator_known(self) -> None:
        pass

    async def commit(self) -> None:
        commit_offsets: Any = super().commit_offsets  # Any: the client's own has no types
        await commit_offsets(None, OFFSETS)

    async def _send_req(self, request: object) -> object:
        return await self.answer


@pytest.fixture
async def said() -> list[Mapping[str, Any]]:  # Any: what loops tell their handler
    mend_client()
    told: list[Mapping[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    return told


async def test_a_commit_that_fails_after_it_was_given_up_is_no_error_of_the_program(
    said: list[Mapping[str, Any]],
) -> None:
    coordinator = Coordinator()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await coordinator.commit()
    coordinator.answer.set_exception(kafka.NotCoordinatorForGroupError())
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    assert said == []


async def test_a_commit_that_fails_is_told_to_whoever_waits() -> None:
    mend_client()
    coordinator = Coordinator()
    coordinator.answer.set_exception(kafka.IllegalGenerationError())
    with pytest.raises(kafka.CommitFailedError):
        await coordinator.commit()
