"""Owns two mends of the Kafka client, made once for the process. It must not know what is sent or committed.

What a connection says that was closed a moment ago: uvloop refuses to write to a transport that is closed and whose
protocol has not heard of it yet, with a RuntimeError. The client expects an OSError: of anything else its background
tasks die (metadata, heartbeats, sending), and nobody starts them again.

What a commit says that is given up: it goes on behind a shield, and what it then fails of nobody looks at. The event
loop would print it as an error of the program.
"""

import asyncio
from typing import Any

from aiokafka import errors as kafka
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.consumer.group_coordinator import GroupCoordinator

_MENDED = "_queryscope_send"


def mend_client() -> None:
    """Once is enough."""
    if not hasattr(AIOKafkaConnection, _MENDED):
        _mend_connections()
        _mend_commits()


def _mend_connections() -> None:
    plain: Any = AIOKafkaConnection.send  # Any: the client's own send has no types

    def send(self: AIOKafkaConnection, request: object, expect_response: bool = True) -> object:
        try:
            answer: object = plain(self, request, expect_response)
            return answer
        except RuntimeError as error:
            self.close(reason=CloseReason.CONNECTION_BROKEN)
            raise kafka.KafkaConnectionError(f"Connection at {self.host}:{self.port} broken: {error}") from error

    setattr(AIOKafkaConnection, _MENDED, plain)
    setattr(AIOKafkaConnection, "send", send)  # noqa: B010 - a plain assignment is what the type checker refuses


def _mend_commits() -> None:
    plain: Any = GroupCoordinator._do_commit_offsets  # Any: as above

    async def commit(self: GroupCoordinator, assignment: object, offsets: object) -> None:
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        task.add_done_callback(_look_at)  # whoever still waits gets it all the same
        await plain(self, assignment, offsets)

    setattr(GroupCoordinator, "_do_commit_offsets", commit)  # noqa: B010 - as above


def _look_at(task: "asyncio.Task[object]") -> None:
    if not task.cancelled():
        task.exception()
