"""Owns one mend of the Kafka client: what a connection says that was closed a moment ago. It must not know requests.

uvloop refuses to write to a transport that is closed and whose protocol has not heard of it yet, with a RuntimeError.
The client expects an OSError: of anything else its background tasks die (metadata, heartbeats, sending), and nobody
starts them again.
"""

from typing import Any

from aiokafka import errors as kafka
from aiokafka.conn import AIOKafkaConnection, CloseReason

_MENDED = "_queryscope_send"


def mend_connections() -> None:
    """Makes every connection of this process tell such a loss as it tells any other. Once is enough."""
    if hasattr(AIOKafkaConnection, _MENDED):
        return
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
