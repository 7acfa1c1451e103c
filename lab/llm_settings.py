"""Owns what a language-model target is told at launch, and its form as command-line arguments.

Must not know how the target serves: a parent process that only starts targets imports this.
"""

from dataclasses import dataclass

from lab.errors import LabError


@dataclass(frozen=True, slots=True)
class LlmSettings:
    """Token i (from 0) of an answer is written ttft_ms + i * gap_ms after its request has come.

    tokens: how many an answer has, where the request's max_tokens allows them (0: as many as that allows); the first
    reasoning_tokens of them are reasoning. cached_tokens: so many of the prompt's the usage calls cached.
    slots: so many answers are made at once (0: any number); whoever comes while all are taken waits in order, and all
    instants count from when there is one.
    """

    host: str = "127.0.0.1"
    port: int = 0
    ttft_ms: float = 100.0
    gap_ms: float = 20.0
    tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    slots: int = 0

    def __post_init__(self) -> None:
        checks = (
            (0 <= self.port <= 65535, "port goes from 0 (any free one) to 65535"),
            (0 <= self.ttft_ms <= 3_600_000, "ttft-ms must be between 0 and 3600000"),
            (0 <= self.gap_ms <= 3_600_000, "gap-ms must be between 0 and 3600000"),
            (min(self.tokens, self.reasoning_tokens, self.cached_tokens) >= 0, "numbers of tokens are not negative"),
            (0 <= self.slots <= 100_000, "slots go from 0 (any number of answers at once) to 100000"),
        )
        for fine, problem in checks:
            if not fine:
                raise LabError(problem)

    def arguments(self) -> list[str]:
        """The arguments of `python -m lab llm` that mean these settings."""
        return [f"--{name.replace('_', '-')}={getattr(self, name)}" for name in self.__slots__]
