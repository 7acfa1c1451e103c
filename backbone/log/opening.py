"""Owns which adapter a log URL means. It must not know the database: a load worker opens the log alone."""

from urllib.parse import urlsplit

from backbone.log.embedded import open_embedded_log
from backbone.log.errors import LogMisconfigured
from backbone.log.port import Log
from backbone.urls import sqlite_path


async def open_log(url: str, partitions: int) -> Log:
    """Opens the log that `url` names; `partitions` counts where it is created.

    Where it exists, an embedded log must have as many, and Kafka's own number is taken.
    """
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        return await open_embedded_log(sqlite_path(url), partitions)
    if scheme == "kafka":
        from backbone.log.kafka import open_kafka_log  # it takes a while, and few need it

        return await open_kafka_log(url, partitions)
    raise LogMisconfigured(f"'{url}' is not a log: write sqlite:////path/log.db or kafka://host:9092")


def topic_prefix_of(url: str) -> str:
    """What the names of topics begin with at `url`. Raises LogMisconfigured."""
    if urlsplit(url).scheme != "kafka":
        return ""
    from backbone.log.kafka_settings import load_kafka_settings

    return load_kafka_settings().topic_prefix
