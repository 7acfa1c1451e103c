"""Owns the SLA language: one model, read from text or from its typed form. It must not evaluate anything."""

import difflib
import functools
from typing import Annotated, Literal, NoReturn, get_args

from lark import Lark, Token, Transformer, UnexpectedInput
from lark.exceptions import VisitError
from pydantic import Field

from schemas.base import Strict
from schemas.units import format_ms, parse_duration_s

Aggregate = Literal["quantile", "mean", "max", "error_rate", "throughput", "goodput", "goodput_rate"]
Timing = Literal["latency", "scheduled_latency", "service", "ttft", "ttfo", "gap", "tpot"]
Operator = Literal["<", "<=", ">", ">="]

METRIC_NAMES = ("p50", "p90", "p95", "p99", "p999", "avg", "mean", "max", "error_rate", "throughput", "goodput")
TIMING_NAMES: tuple[Timing, ...] = get_args(Timing)
STREAM_TIMINGS: frozenset[Timing] = frozenset({"ttft", "ttfo", "gap", "tpot"})
"""Measured on the answers of language models alone."""

_GRAMMAR = r"""
start: metric OP bound modifier*
metric: NAME ["(" NAME ")"]
bound: VALUE -> absolute | "baseline" ["*" NUMBER] -> relative
modifier: "over" VALUE ["for" INT "windows"] -> over
        | "for" INT "windows" -> for_windows
        | "where" NAME OP VALUE -> where
        | "for"? "step" (NAME | STRING) -> step
        | "after" VALUE -> after
        | "abort" -> abort
NAME: /[A-Za-z_][A-Za-z0-9_.\-]*/
VALUE: /\d+(\.\d+)?\s*(us|ms|s|min|m|h|%|\/s)?/
STRING: /"[^"]*"|'[^']*'/
OP: "<=" | ">=" | "<" | ">"
%import common.NUMBER
%import common.INT
%import common.WS
%ignore WS
"""


class SlaError(ValueError):
    """An SLA that cannot be read; the message says what to write instead."""


class Sla(Strict):
    """One promise. Latency thresholds are milliseconds, ratios are 0..1, throughput is requests per second.

    quantile: 0..1, set for aggregate "quantile". `of`: None means the load profile's own (scheduled latency in an
    open loop, latency in a closed one). window_s None: judged over the whole run; else over the last `window_s`
    seconds, breached when it fails in `windows` consecutive seconds.
    """

    aggregate: Aggregate
    quantile: Annotated[float, Field(gt=0, lt=1)] | None = None
    of: Timing | None = None
    operator: Operator
    threshold: float | None = None
    baseline_factor: float | None = None
    where_latency_below_ms: float | None = None
    step: str | None = None
    window_s: Annotated[int, Field(ge=1, le=60)] | None = None
    windows: Annotated[int, Field(ge=1, le=1000)] = 1
    after_s: Annotated[float, Field(ge=0)] = 0.0
    abort: bool = False

    @property
    def metric(self) -> str:
        """The left side as people write it, e.g. "p95", "p99(service)", "error_rate"."""
        if self.aggregate == "quantile":
            assert self.quantile is not None
            name = "p999" if self.quantile == 0.999 else f"p{self.quantile * 100:.10g}"
        else:
            name = {"mean": "avg", "goodput_rate": "goodput"}.get(self.aggregate, self.aggregate)
        return f"{name}({self.of})" if self.of is not None else name

    @property
    def unit(self) -> Literal["ms", "ratio", "per_s"]:
        if self.aggregate in ("error_rate", "goodput"):
            return "ratio"
        return "per_s" if self.aggregate in ("throughput", "goodput_rate") else "ms"

    @property
    def of_slo(self) -> bool:
        """Whether it counts answers of language models that kept the limits of their step."""
        return self.aggregate == "goodput_rate" or (self.aggregate == "goodput" and self.where_latency_below_ms is None)

    @property
    def text(self) -> str:
        """The canonical text form; parse_sla of it gives an equal model."""
        words = [self.metric, self.operator, self._bound_text()]
        if self.where_latency_below_ms is not None:
            words.append(f"where latency < {format_ms(self.where_latency_below_ms)}")
        if self.step is not None:
            words.append(f'step "{self.step}"')
        if self.window_s is not None:
            words.append(f"over {self.window_s}s")
            if self.windows > 1:
                words.append(f"for {self.windows} windows")
        if self.after_s:
            words.append(f"after {self.after_s:g}s")
        if self.abort:
            words.append("abort")
        return " ".join(words)

    def _bound_text(self) -> str:
        if self.baseline_factor is not None:
            return f"baseline * {self.baseline_factor:g}"
        assert self.threshold is not None
        if self.unit == "ratio":
            return f"{self.threshold * 100:.10g}%"
        return f"{self.threshold:g}/s" if self.unit == "per_s" else format_ms(self.threshold)


@functools.cache
def _grammar() -> Lark:
    return Lark(_GRAMMAR, parser="lalr")


def parse_sla(text: str) -> Sla:
    """Reads one SLA expression. Raises SlaError (a ValueError) with a one-line remedy."""
    text = "".join(character if character.isprintable() else " " for character in text)
    try:
        tree = _grammar().parse(text)
        fields = _Reader().transform(tree)
        return Sla.model_validate(fields)
    except UnexpectedInput as error:
        near = text[max(0, (error.column or 1) - 1) :].strip() or "the end"
        raise SlaError(
            f"SLA '{text}' cannot be read at '{near}': write it like 'p95 < 200ms', 'error_rate < 1%' or "
            "'p99 < 800ms over 10s for 3 windows'"
        ) from None
    except VisitError as error:
        if isinstance(error.orig_exc, SlaError):
            raise SlaError(f"SLA '{text}': {error.orig_exc}") from None
        raise
    except SlaError as error:
        raise SlaError(f"SLA '{text}': {error}") from None
    except ValueError as error:
        first = str(error).splitlines()
        raise SlaError(f"SLA '{text}': {first[2].strip() if len(first) > 2 else first[0]}") from None


def _unknown(kind: str, name: str, known: tuple[str, ...]) -> NoReturn:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise SlaError(f"unknown {kind} '{name}': {hint}known are {', '.join(known)}")


def _quantile(name: str) -> float | None:
    digits = name[1:]
    if not name.startswith("p") or not digits.replace(".", "", 1).isdigit():
        return None
    if "." not in digits and len(digits) > 2 and digits != "100":
        digits = f"{digits[:2]}.{digits[2:]}"
    value = float(digits) / 100
    if not 0 < value < 1:
        raise SlaError(f"'{name}' is not a percentile between p0 and p100")
    return round(value, 12)


class _Reader(Transformer[Token, dict[str, object]]):
    """Turns the parse tree into the fields of Sla."""

    def start(self, items: list[object]) -> dict[str, object]:
        metric, operator, bound, *modifiers = items
        assert isinstance(metric, dict)
        assert isinstance(bound, dict)
        fields: dict[str, object] = {**metric, "operator": str(operator)}
        for modifier in modifiers:
            assert isinstance(modifier, dict)
            if set(modifier) & set(fields):
                raise SlaError(f"'{next(iter(modifier))}' is given twice")
            fields |= modifier
        if fields["aggregate"] == "goodput" and str(bound.get("value")).endswith("/s"):
            fields["aggregate"] = "goodput_rate"
        aggregate = str(fields["aggregate"])
        fields |= _bound_fields(aggregate, bound)
        if aggregate != "goodput" and "where_latency_below_ms" in fields:
            raise SlaError("'where' belongs to a share of goodput alone: 'goodput >= 95% where latency < 300ms'")
        if aggregate == "goodput" and "factor" in bound and "where_latency_below_ms" not in fields:
            raise SlaError("goodput under an slo is not compared with a baseline: write it like 95% or 10/s")
        return fields

    def metric(self, items: list[Token | None]) -> dict[str, object]:
        name = str(items[0])
        timing = str(items[1]) if items[1] is not None else None
        fields: dict[str, object] = {}
        if (quantile := _quantile(name)) is not None:
            fields = {"aggregate": "quantile", "quantile": quantile}
        elif name in METRIC_NAMES:
            fields = {"aggregate": {"avg": "mean"}.get(name, name)}
        else:
            _unknown("metric", name, METRIC_NAMES)
        if timing is not None:
            if timing not in TIMING_NAMES:
                _unknown("timing", timing, TIMING_NAMES)
            if fields["aggregate"] not in ("quantile", "mean", "max"):
                raise SlaError(f"'{name}' takes no timing in brackets")
            fields["of"] = timing
        return fields

    def absolute(self, items: list[Token]) -> dict[str, object]:
        return {"value": str(items[0])}

    def relative(self, items: list[Token | None]) -> dict[str, object]:
        return {"factor": float(items[0]) if items[0] is not None else 1.0}

    def over(self, items: list[Token | None]) -> dict[str, object]:
        seconds = parse_duration_s(str(items[0]))
        if seconds != int(seconds) or not 1 <= seconds <= 60:
            raise SlaError(f"'over {items[0]}' must be a whole number of seconds from 1s to 60s")
        return {"window_s": int(seconds), **({"windows": int(items[1])} if items[1] is not None else {})}

    def for_windows(self, items: list[Token]) -> dict[str, object]:
        return {"window_s": 1, "windows": int(items[0])}

    def where(self, items: list[Token]) -> dict[str, object]:
        if items[0] != "latency" or items[1] not in ("<", "<="):
            raise SlaError("'where' is written 'where latency < 300ms'")
        return {"where_latency_below_ms": _milliseconds(str(items[2]))}

    def step(self, items: list[Token]) -> dict[str, object]:
        return {"step": str(items[0]).strip("\"'")}

    def after(self, items: list[Token]) -> dict[str, object]:
        return {"after_s": parse_duration_s(str(items[0]))}

    def abort(self, _: list[Token]) -> dict[str, object]:
        return {"abort": True}


def _milliseconds(text: str) -> float:
    if text.strip()[-1] in "%" or text.endswith("/s") or text.strip()[-1].isdigit():
        raise SlaError(f"'{text}' is not a time: write its unit, like 200ms or 2s")
    return round(parse_duration_s(text) * 1000, 9)


def _bound_fields(aggregate: str, bound: dict[str, object]) -> dict[str, object]:
    if "factor" in bound:
        return {"baseline_factor": bound["factor"]}
    text = str(bound["value"])
    if aggregate in ("error_rate", "goodput"):
        if not (text.endswith("%") or text.strip()[-1].isdigit()):
            raise SlaError(f"'{text}' is not a share: write it like 1%")
        value = float(text.rstrip("% "))
        return {"threshold": round(value / 100 if text.endswith("%") else value, 12)}
    if aggregate in ("throughput", "goodput_rate"):
        if not (text.endswith("/s") or text.strip()[-1].isdigit()):
            raise SlaError(f"'{text}' is not a rate: write it like 500/s")
        return {"threshold": float(text.removesuffix("/s"))}
    return {"threshold": _milliseconds(text)}
