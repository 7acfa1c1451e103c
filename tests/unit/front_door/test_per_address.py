"""Owns the proof of what the addresses of a target are told to have done. It must not read a log."""

import json

import msgspec

from queryscope.per_address import PerAddress
from schemas.outcomes import ErrorKind, RequestOutcome, WindowMark


def line(seq: int, remote: str, *, error: ErrorKind | None = None, status: int = 200, reused: bool = True) -> bytes:
    return msgspec.json.encode(
        RequestOutcome(
            "r", 0, seq, 0, 0, 1_000, 1_000, 2_000, 3_000,
            remote=remote, error=error, status=status, reused=reused, connection=1,
        )
    )  # fmt: skip


def test_each_address_has_its_own_figures_and_a_repeated_batch_counts_once() -> None:
    batch = [
        line(0, "10.0.0.1:80", reused=False),
        line(1, "10.0.0.1:80"),
        line(2, "10.0.0.2:80", status=503),
        line(3, "10.0.0.2:80", error="reset", status=0),
        line(4, "10.0.0.2:80", error="cancelled", status=0),
        msgspec.json.encode(WindowMark("r", 0, 5, 0, 4)),
        line(6, "10.0.0.1:80"),
    ]
    addresses = PerAddress()
    addresses.add(batch[:4])
    addresses.add(batch)
    first, second = (json.loads(row) for row in addresses.rows())
    assert (first["remote"], first["requests"], first["failed"], first["connections"]) == ("10.0.0.1:80", 3, 0, 1)
    assert (first["latency_ms"]["count"], first["latency_ms"]["max"]) == (3, 2.0)
    assert (second["remote"], second["requests"], second["failed"], second["cancelled"]) == ("10.0.0.2:80", 2, 2, 1)
    assert second["by_error"] == {"reset": 1, "cancelled": 1}
