"""Owns judging answers of language models by another slo than the one they were made under, from their records alone.

It must not change a record on the log.
"""

from collections.abc import Mapping

from backbone.maths.slo import Exchange, judge_slo
from schemas.llm import Slo
from services.aggregator.columns import FIRST_FAILED_STATUS
from services.aggregator.decoding import Decoded, FoldedOutcome, OutcomeDecoder


class SloDecoder(OutcomeDecoder):
    """Decodes records as if their step had set this slo. slos: by step."""

    def __init__(self, slos: Mapping[str, Slo]) -> None:
        super().__init__()
        self._slos = slos

    def decode(self, lines: bytes, base_offset: int, count: int, start: int) -> Decoded:
        decoded = super().decode(lines, base_offset, count, start)
        for record in decoded.records:
            if isinstance(record, FoldedOutcome) and record.llm is not None and record.step in self._slos:
                whole = record.error is None and record.status < FIRST_FAILED_STATUS
                exchange = Exchange(record.sent, record.finished, whole)
                record.llm.slo = judge_slo(self._slos[record.step], exchange, record.llm)
        return decoded
