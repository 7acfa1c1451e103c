"""Owns the AsyncAPI 3 document of the log: its topics, their record types, who writes and who reads them.

It must not know the services: it is told their wiring. FastStream makes the document's parts from the same endpoints
that it would run; one channel per topic and one message per record type are made of them here. It is imported only when
somebody asks, since it takes as long as the rest of the program.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from pydantic import WithJsonSchema

from backbone.wiring import Installed, RecordClass, Wiring
from schemas.catalogue import record_types
from schemas.topics import TOPICS, Topic

Json = dict[str, Any]  # Any: JSON of another's making

DESCRIPTIONS: Mapping[Topic, str] = {
    "runs": "What is asked of a run and what becomes of it; kept for ever, keyed by run.",
    "outcomes": "Every attempt of every request; each worker of a run writes one partition; kept for a while.",
    "breaches": "Promises that broke or recovered while a run was on; kept for ever, keyed by run.",
    "summaries": "Finished runs, one record each; compacted, keyed by run.",
    "diagnoses": "Why a run went as it did; kept for ever, keyed by run.",
}


def asyncapi(installed: Installed, log_url: str, partitions: int, topic_prefix: str = "") -> Json:
    """The document of the log at `log_url`; topics bear `topic_prefix` on Kafka and none on the embedded log."""
    parts = _parts(installed, log_url, topic_prefix)
    names = {each.name: each.topic for each in record_types().values()}
    written = {record.__name__ for wiring in installed.all for record in wiring.writes}
    servers = _servers(parts)
    channels: Json = {}
    for topic in TOPICS:
        messages = {name: _ref("components", "messages", name) for name in names if names[name] == topic}
        channels[topic] = {
            "address": f"{topic_prefix}{topic}",
            "description": DESCRIPTIONS[topic],
            "servers": [_ref("servers", name) for name in servers],
            "messages": {name: ref for name, ref in messages.items() if name in written},
        }
        if urlsplit(log_url).scheme == "kafka":
            kafka = {"topic": f"{topic_prefix}{topic}", "partitions": partitions, "bindingVersion": "0.5.0"}
            channels[topic]["bindings"] = {"kafka": kafka}
    return {
        **parts,
        "servers": servers,
        "channels": channels,
        "operations": _operations(installed, channels, names),
        "components": {"messages": _messages(written), "schemas": _schemas(parts)},
    }


def _servers(parts: Json) -> Json:
    shown = ("host", "protocol", "description")
    return {
        f"log-{number}": {name: server[name] for name in shown}
        for number, server in enumerate(parts["servers"].values(), 1)
    }


def _operations(installed: Installed, channels: Json, names: Mapping[str, Topic]) -> Json:
    operations: Json = {}
    for wiring in installed.all:
        tags = [{"name": wiring.service}]
        for record in wiring.writes:
            topic = names[record.__name__]
            operations[f"{wiring.service}.writes.{record.__name__}"] = {
                "action": "send",
                "channel": _ref("channels", topic),
                "messages": [_ref("channels", topic, "messages", record.__name__)],
                "tags": tags,
            }
        for topic in wiring.reads:
            operations[f"{wiring.service}.reads.{topic}"] = {
                "action": "receive",
                "channel": _ref("channels", topic),
                "messages": [_ref("channels", topic, "messages", name) for name in channels[topic]["messages"]],
                "tags": tags,
            }
    return operations


def _messages(written: Iterable[str]) -> Json:
    return {
        name: {
            "name": name,
            "title": name,
            "contentType": "application/json",
            "payload": _ref("components", "schemas", name),
        }
        for name in sorted(written)
    }


def _schemas(parts: Json) -> Json:
    """The payloads by the names of their record types, and what they refer to."""
    schemas: Json = parts["components"]["schemas"]
    found: Json = {}
    for title, message in parts["components"]["messages"].items():
        name = title.removesuffix(":Message").rpartition(".")[2]
        found[name] = {"title": name} | schemas[message["payload"]["$ref"].rpartition("/")[2]]
    wanted = _referred(list(found.values()))
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = schemas[name]
            wanted += _referred(schemas[name])
    return dict(sorted(found.items()))


def _referred(schema: object) -> list[str]:
    if isinstance(schema, Mapping):
        own = [schema["$ref"].rpartition("/")[2]] if isinstance(schema.get("$ref"), str) else []
        return own + [name for value in schema.values() for name in _referred(value)]
    if isinstance(schema, Sequence) and not isinstance(schema, str):
        return [name for value in schema for name in _referred(value)]
    return []


def _parts(installed: Installed, log_url: str, topic_prefix: str) -> Json:
    """What FastStream says of a broker with one publisher for each record type and writer."""
    from faststream.kafka import KafkaBroker
    from faststream.specification import AsyncAPI

    kafka = urlsplit(log_url).scheme == "kafka"
    broker = KafkaBroker(
        specification_url=urlsplit(log_url).netloc.split(",") if kafka else "localhost",
        protocol="kafka" if kafka else "sqlite",
        description="Kafka" if kafka else "The embedded log: a file in the data directory of this machine",
    )
    topics = {each.name: each.topic for each in record_types().values()}
    for wiring in installed.all:
        for record in wiring.writes:
            name = record.__name__
            topic = f"{topic_prefix}{topics[name]}"
            broker.publisher(topic, schema=_payload(record), title=f"{wiring.service}.writes.{name}")
    document = AsyncAPI(
        broker,
        title="QueryScope",
        version=version("queryscope"),
        description=_told(installed),
        license={"name": "Apache-2.0"},
    ).to_specification()
    made: Json = json.loads(document.to_json())
    return made


def _payload(record: RecordClass) -> Any:  # Any: an annotated type is no type to the checker
    if not issubclass(record, msgspec.Struct):
        return record
    (_,), parts = msgspec.json.schema_components([record], ref_template="{name}")
    return Annotated[dict[str, object], WithJsonSchema(_whole(parts[record.__name__], parts))]


def _whole(schema: Any, parts: Mapping[str, Json]) -> Any:  # Any: JSON
    """A schema with its parts in their places: the generator that takes it follows no reference but its own."""
    if isinstance(schema, list):
        return [_whole(value, parts) for value in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("$ref"), str):
        return _whole(parts[schema["$ref"]], parts)
    return {name: _whole(value, parts) for name, value in schema.items()}


def _told(installed: Installed) -> str:
    def listed(wirings: Sequence[Wiring]) -> str:
        return ", ".join(wiring.service for wiring in wirings)

    elsewhere = f" In other processes: {listed(installed.elsewhere)}." if installed.elsewhere else ""
    return (
        "The records on the log: JSON objects, one a record, told apart by `type`. Unknown fields are to be ignored. "
        f"Services of this process: {listed(installed.here)}.{elsewhere}"
    )


def _ref(*path: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(path)}
