"""Owns that a log reads back exactly what a plain list would, whatever is appended and read in whatever order."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from backbone.log.embedded import EmbeddedLog, open_embedded_log
from backbone.log.errors import OffsetOutOfRange

PARTITIONS = 2
RECORDS = st.lists(st.binary(max_size=20).map(lambda raw: raw.replace(b"\n", b"n")), min_size=1, max_size=5)
PLACES = st.tuples(st.sampled_from(["runs", "outcomes"]), st.integers(0, PARTITIONS - 1))


class LogBesideLists(RuleBasedStateMachine):
    """The embedded log and its slow exact twin: one list per partition."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.twin: dict[tuple[str, int], list[bytes]] = {}
        self.log = self.open()

    def open(self) -> EmbeddedLog:
        return self.runner.run(open_embedded_log(Path(self.folder.name) / "log.db", PARTITIONS))

    @rule(place=PLACES, records=RECORDS)
    def append(self, place: tuple[str, int], records: list[bytes]) -> None:
        stored = self.twin.setdefault(place, [])
        base = self.runner.run(self.log.append(*place, b"\n".join(records), len(records)))
        assert base == len(stored)
        stored += records

    @rule(place=PLACES, share=st.floats(0, 1), most=st.integers(1, 8))
    def read(self, place: tuple[str, int], share: float, most: int) -> None:
        stored = self.twin.get(place, [])
        offset = round(share * len(stored))
        batches = self.runner.run(self.log.read(*place, offset, most))
        got = [
            (batch.base_offset + index, line)
            for batch in batches
            for index, line in enumerate(batch.lines.split(b"\n"))
            if batch.base_offset + index >= offset
        ]
        assert got == list(enumerate(stored))[offset : offset + len(got)]
        assert len(got) >= min(most, len(stored) - offset)

    @rule(place=PLACES, beyond=st.integers(1, 5))
    def read_beyond(self, place: tuple[str, int], beyond: int) -> None:
        try:
            self.runner.run(self.log.read(*place, len(self.twin.get(place, [])) + beyond))
        except OffsetOutOfRange:
            return
        raise AssertionError("a read beyond the end must be refused")

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.log.close())
        self.log = self.open()

    @invariant()
    def ends_agree(self) -> None:
        for topic in ("runs", "outcomes"):
            expected = {partition: len(self.twin.get((topic, partition), [])) for partition in range(PARTITIONS)}
            assert self.runner.run(self.log.ends(topic)) == expected

    def teardown(self) -> None:
        self.runner.run(self.log.close())
        self.runner.close()
        self.folder.cleanup()


def test_the_log_agrees_with_plain_lists() -> None:
    bounded = settings(max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(LogBesideLists, settings=bounded)
