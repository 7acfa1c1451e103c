"""Owns the list of all record types on the log and their JSON Schemas. It must not read or write a file.

Beside it lie, for each type, the JSON Schema last agreed (`<Type>.schema.json`) and golden records (`golden/*.json`)
that every later reader must be able to read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
from pydantic import BaseModel

from schemas import breaches, diagnosis, lifecycle, outcomes, summary
from schemas.topics import BREACHES, DIAGNOSES, OUTCOMES, RUNS, SUMMARIES, Topic


@dataclass(frozen=True, slots=True)
class RecordType:
    """One record type: where it stands, its schema, and how a line of it is read and written again."""

    name: str
    topic: Topic
    schema: Callable[[], dict[str, object]]
    read: Callable[[bytes], object]
    write: Callable[[object], bytes]


def _of_struct(name: str, struct: type[msgspec.Struct]) -> RecordType:
    return RecordType(
        name=name,
        topic=OUTCOMES,
        schema=lambda: dict(msgspec.json.schema(struct)),
        read=lambda line: msgspec.json.decode(line, type=struct),
        write=msgspec.json.encode,
    )


def _of_model(topic: Topic, model: type[BaseModel]) -> RecordType:
    def write(record: object) -> bytes:
        assert isinstance(record, model)
        return record.model_dump_json(by_alias=False).encode()

    return RecordType(
        name=model.__name__,
        topic=topic,
        schema=lambda: model.model_json_schema(by_alias=False),
        read=lambda line: model.model_validate_json(line, extra="ignore"),
        write=write,
    )


def record_types() -> Mapping[str, RecordType]:
    """All record types by name."""
    structs: dict[str, type[msgspec.Struct]] = {
        "RequestOutcome": outcomes.RequestOutcome,
        "WindowMark": outcomes.WindowMark,
        "WorkerFence": outcomes.WorkerFence,
    }
    models: list[tuple[Topic, type[BaseModel]]] = [
        (RUNS, lifecycle.RunRequested),
        (RUNS, lifecycle.RunCancelRequested),
        (RUNS, lifecycle.RateChangeRequested),
        (RUNS, lifecycle.RateChanged),
        (RUNS, lifecycle.WorkersWanted),
        (RUNS, lifecycle.WorkersOffered),
        (RUNS, lifecycle.RunAccepted),
        (RUNS, lifecycle.ClockProbe),
        (RUNS, lifecycle.WorkerReady),
        (RUNS, lifecycle.RunStarted),
        (RUNS, lifecycle.WorkerFinished),
        (RUNS, lifecycle.WorkerLost),
        (RUNS, lifecycle.RunFinished),
        (RUNS, lifecycle.RunFailed),
        (RUNS, lifecycle.RunJudged),
        (RUNS, lifecycle.RunLost),
        (RUNS, lifecycle.RunArchived),
        (BREACHES, breaches.SlaBreached),
        (BREACHES, breaches.SlaRecovered),
        (BREACHES, breaches.LevelJudged),
        (SUMMARIES, summary.RunSummary),
        (DIAGNOSES, diagnosis.DiagnosisReady),
    ]
    found = [_of_struct(name, struct) for name, struct in structs.items()]
    found += [_of_model(topic, model) for topic, model in models]
    return {each.name: each for each in found}
