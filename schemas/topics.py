"""Owns the names of the log's topics and the rule that puts a run on a partition. It must not know any log adapter."""

import hashlib
from typing import Literal, get_args

Topic = Literal["runs", "outcomes", "breaches", "summaries", "diagnoses"]

RUNS: Topic = "runs"
OUTCOMES: Topic = "outcomes"
BREACHES: Topic = "breaches"
SUMMARIES: Topic = "summaries"
DIAGNOSES: Topic = "diagnoses"

TOPICS: tuple[Topic, ...] = get_args(Topic)


def dead_letter_topic(topic: str) -> str:
    """The topic that keeps what a reader of `topic` could not process."""
    return f"{topic}.dlq"


def partition_of(run_id: str, partitions: int) -> int:
    """Partition (0 .. partitions - 1) of a run on every topic keyed by run_id; the same on every machine."""
    return int.from_bytes(hashlib.blake2b(run_id.encode(), digest_size=8).digest(), "big") % partitions


def outcome_partition_of(run_id: str, worker: int, partitions: int) -> int:
    """Partition that worker `worker` of a run writes its outcomes to: neighbours of the run's own, round robin."""
    return (partition_of(run_id, partitions) + worker) % partitions
