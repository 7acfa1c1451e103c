"""Owns whether one answer of a language model kept the limits its step sets. It must not know runs or promises.

All in whole microseconds, so that whoever asks again from the record is told the same. A limit is kept by what is equal
to it. What was cut off may have broken a limit already; else it stays open.
"""

from typing import NamedTuple, Protocol

from schemas.llm import Slo
from schemas.outcomes import SloVerdict


class Answer(Protocol):
    """What an outcome says of an answer: instants are microseconds since t0."""

    @property
    def first_token(self) -> int | None: ...

    @property
    def last_token(self) -> int | None: ...

    @property
    def output_tokens(self) -> int | None: ...


class Exchange(NamedTuple):
    """When it was sent and when it ended; whole: with an answer, not cut off or failed."""

    sent: int
    finished: int
    whole: bool


def judge_slo(slo: Slo, exchange: Exchange, answer: Answer) -> SloVerdict:
    """The verdict of all limits together."""
    verdicts = {_ttft(slo, exchange, answer), _tpot(slo, exchange, answer), _e2e(slo, exchange)}
    return "missed" if "missed" in verdicts else "open" if "open" in verdicts else "met"


def _ttft(slo: Slo, exchange: Exchange, answer: Answer) -> SloVerdict:
    if slo.ttft_s is None:
        return "met"
    if answer.first_token is not None:
        return _kept(answer.first_token - exchange.sent <= _us(slo.ttft_s))
    if exchange.whole:
        return "missed"  # it ended without a word
    return "open" if exchange.finished - exchange.sent <= _us(slo.ttft_s) else "missed"


def _tpot(slo: Slo, exchange: Exchange, answer: Answer) -> SloVerdict:
    if slo.tpot_s is None:
        return "met"
    tokens = answer.output_tokens
    if not exchange.whole or tokens is None:
        return "open"
    if tokens < 2 or answer.first_token is None or answer.last_token is None:
        return "met"
    return _kept(answer.last_token - answer.first_token <= _us(slo.tpot_s) * (tokens - 1))


def _e2e(slo: Slo, exchange: Exchange) -> SloVerdict:
    if slo.e2e_s is None:
        return "met"
    if exchange.finished - exchange.sent > _us(slo.e2e_s):
        return "missed"
    return "met" if exchange.whole else "open"


def _kept(kept: bool) -> SloVerdict:
    return "met" if kept else "missed"


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)
