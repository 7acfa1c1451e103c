"""Owns what errors of the Kafka client mean to users of the log, and which are worth another try at once.

It must not know what was asked for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from aiokafka import errors as kafka

from backbone.log.errors import LogCorrupt, LogMisconfigured, LogUnavailable

T = TypeVar("T")

AGAIN_S = 0.05
PATIENCE_S = 3.0

_REFUSED = (
    kafka.AuthenticationFailedError,
    kafka.AuthenticationMethodNotSupported,
    kafka.SaslAuthenticationFailed,
    kafka.UnsupportedSaslMechanismError,
    kafka.TopicAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.ClusterAuthorizationFailedError,
    kafka.IncompatibleBrokerVersion,
    kafka.InvalidTopicError,
    kafka.InvalidReplicationFactorError,
    kafka.InvalidConfigurationError,
    kafka.PolicyViolationError,
)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raises errors of the log for those of the client; `where` names the brokers."""
    try:
        yield
    except _REFUSED as error:
        raise LogMisconfigured(f"Kafka at {where} refuses: {_words(error)}") from error
    except kafka.CorruptRecordException as error:
        raise LogCorrupt(f"Kafka at {where} holds records that cannot be read: {_words(error)}") from error
    except (kafka.KafkaError, kafka.ConsumerStoppedError, TimeoutError, OSError) as error:
        raise LogUnavailable(
            f"Kafka at {where} cannot be reached or is busy ({_words(error)}): start it, or check "
            "QUERYSCOPE_LOG_URL and the QUERYSCOPE_KAFKA_* variables"
        ) from error


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


async def patiently(work: Callable[[], Awaitable[T]], patience_s: float = PATIENCE_S) -> T:
    """Repeats what mends itself soon: a leader that moves, a topic that is new. Raises the last error."""
    end = asyncio.get_running_loop().time() + patience_s
    while True:
        try:
            return await work()
        except kafka.KafkaError as error:
            if not error.retriable or asyncio.get_running_loop().time() > end:
                raise
        await asyncio.sleep(AGAIN_S)
