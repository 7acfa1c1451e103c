"""Owns what an HTTP target is told at launch, and its form as command-line arguments.

Must not know how the target serves: a parent process that only starts targets imports this.
"""

from dataclasses import dataclass

from lab.errors import LabError
from lab.faults import Fault

MAX_BODY_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """`base_ms` is the mean healthy service time (0: answers at once), `jitter` the sigma of its logarithm."""

    host: str = "127.0.0.1"
    port: int = 0
    control_port: int = 0
    base_ms: float = 2.0
    jitter: float = 0.2
    replicas: int = 4
    seed: int = 1
    body_bytes: int = 200
    tls_cert: str | None = None
    tls_key: str | None = None
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        checks = (
            (0 <= self.port <= 65535 and 0 <= self.control_port <= 65535, "ports go from 0 (any free one) to 65535"),
            (0 <= self.base_ms <= 3_600_000, "base-ms must be between 0 and 3600000"),
            (0 <= self.jitter <= 3, "jitter must be between 0 and 3"),
            (self.replicas >= 1, "replicas must be at least 1"),
            (0 <= self.body_bytes <= MAX_BODY_BYTES, f"body-bytes must be between 0 and {MAX_BODY_BYTES}"),
            ((self.tls_cert is None) == (self.tls_key is None), "give both tls-cert and tls-key, or neither"),
        )
        for fine, problem in checks:
            if not fine:
                raise LabError(problem)

    def arguments(self) -> list[str]:
        """The arguments of `python -m lab http` that mean these settings."""
        named = {
            "host": self.host,
            "port": self.port,
            "control-port": self.control_port,
            "base-ms": self.base_ms,
            "jitter": self.jitter,
            "replicas": self.replicas,
            "seed": self.seed,
            "body-bytes": self.body_bytes,
            "tls-cert": self.tls_cert,
            "tls-key": self.tls_key,
        }
        arguments = [f"--{name}={value}" for name, value in named.items() if value is not None]
        for fault in self.faults:
            pairs = ",".join(f"{name}={value}" for name, value in fault.parameters().items())
            arguments.append(f"--fault={fault.kind}:{pairs}")
        return arguments
