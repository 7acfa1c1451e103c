"""Owns what a run's records say about each address that its connections went to. It must not read the log.

A request that found no connection counts for the last address that was tried; "" where none was.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from backbone.maths.metrics import distribution
from backbone.maths.sketch import Sketch
from schemas.outcomes import RequestOutcome, outcome_decoder


@dataclass
class _Address:
    requests: int = 0
    failed: int = 0
    cancelled: int = 0
    connections: int = 0
    by_error: dict[str, int] = field(default_factory=dict)
    latency: Sketch = field(default_factory=Sketch)


class PerAddress:
    """Collects outcomes; the last attempt of a request and each attempt before it count alike."""

    def __init__(self) -> None:
        self._decoder = outcome_decoder()
        self._addresses: dict[str, _Address] = {}
        self._last_seq: dict[int, int] = {}

    def add(self, lines: Iterable[bytes]) -> None:
        """Lines of one run, of each worker in the order of the log; a batch that was appended twice counts once."""
        for line in lines:
            record = self._decoder.decode(line)
            if isinstance(record, RequestOutcome) and record.seq > self._last_seq.get(record.worker, -1):
                self._last_seq[record.worker] = record.seq
                self._note(record)

    def rows(self) -> list[bytes]:
        """A JSON object for each address, those with most requests first."""
        by_requests = sorted(self._addresses.items(), key=lambda item: (-item[1].requests, item[0]))
        return [msgspec.json.encode(_row(remote, address)) for remote, address in by_requests]

    def _note(self, outcome: RequestOutcome) -> None:
        address = self._addresses.setdefault(outcome.remote, _Address())
        address.connections += outcome.connection > 0 and not outcome.reused
        if outcome.error is not None:
            address.by_error[outcome.error] = address.by_error.get(outcome.error, 0) + 1
        if outcome.error == "cancelled":
            address.cancelled += 1
            return
        address.requests += 1
        if outcome.error is not None or outcome.status >= 400:
            address.failed += 1
        else:
            address.latency.add_one(outcome.finished - outcome.started)


def _row(remote: str, address: _Address) -> dict[str, object]:
    return {
        "remote": remote,
        "requests": address.requests,
        "failed": address.failed,
        "cancelled": address.cancelled,
        "connections": address.connections,
        "by_error": address.by_error,
        "latency_ms": distribution(address.latency).model_dump(),
    }
