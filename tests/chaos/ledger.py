"""Owns what rounds came to, kept on the disk round by round, and the table of it. It must not play a round."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.chaos.rounds import Round

COLUMNS = ("kind", "kills", "events", "lost", "counted twice", "on the log twice", "verify", "indexed", "verdicts")


class Ledger:
    """One line of JSON a round; one that was interrupted is taken away."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rounds: list[Round] = []
        if path.exists():
            whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
            path.write_text("".join(whole))
            self.rounds = [Round(**json.loads(line)) for line in whole]

    def add(self, round_: Round) -> None:
        """Keeps it at once."""
        self.rounds.append(round_)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path, "a") as file:
            file.write(json.dumps(asdict(round_)) + "\n")

    def has(self, kind: str, number: int, seed: int) -> bool:
        return any((each.kind, each.number, each.seed) == (kind, number, seed) for each in self.rounds)


def table(rounds: Sequence[Round]) -> str:
    """A row for each kind and one for all, then the rounds that were not right."""
    kinds = list(dict.fromkeys(each.kind for each in rounds))
    rows = [_row(kind, [each for each in rounds if each.kind == kind]) for kind in kinds]
    rows.append(_row("all", rounds))
    lines = [f"| {' | '.join(row)} |" for row in (COLUMNS, ["---"] * len(COLUMNS), *rows)]
    wrong = [each for each in rounds if each.faults]
    lines += [f"\n{len(wrong)} of {len(rounds)} rounds were not right."]
    for each in wrong:
        lines.append(f"{each.kind} {each.number} (seed {each.seed}, run {each.run_id}): {'; '.join(each.faults)}")
    fell = Counter(f"{name} ({each.kind})" for each in rounds for name in each.ended_by_themselves)
    if fell:
        lines.append("Services that ended by themselves: " + _counted(fell))
    return "\n".join(lines)


def _row(name: str, rounds: Sequence[Round]) -> list[str]:
    verified, indexed = (sum(each.verified for each in rounds), sum(each.indexed for each in rounds))
    sums = [sum(getattr(each, field) for each in rounds) for field in ("events", "lost", "twice", "repeated")]
    verdicts = _counted(Counter(each.verdict or "none" for each in rounds))
    shares = [f"{right} of {len(rounds)} {word}" for right, word in ((verified, "equal"), (indexed, "found"))]
    return [name, str(len(rounds)), *(f"{each:,}" for each in sums), *shares, verdicts]


def _counted(counter: "Counter[str]") -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.most_common())
