"""Owns durations and rates as people write them ("1m30s", "200/s"). It must not know where they are used."""

import math
import re

_UNIT_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|min|m|h)")
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:/\s*(s|m|min|h))?")


def parse_duration_s(text: str | float) -> float:
    """Seconds of "250ms", "30s", "1m30s" or a bare number of seconds. Raises ValueError with what was expected."""
    seconds = _number(text) if isinstance(text, int | float) else _seconds_of(text)
    if math.isinf(seconds):  # as JSON it would be null, which means something else
        raise ValueError(f"'{_shown(text)}' is not a duration: write it like 250ms, 30s or 1m30s")
    return seconds


def _seconds_of(text: str) -> float:
    compact = text.strip().replace(" ", "")
    parts = _PART.findall(compact)
    if parts and "".join(f"{number}{unit}" for number, unit in parts) == compact:
        return sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    try:
        return float(compact)
    except ValueError:
        raise ValueError(f"'{_shown(text)}' is not a duration: write it like 250ms, 30s or 1m30s") from None


def _number(value: float) -> float:
    """Whole numbers may be larger than any float."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _shown(text: str | float) -> str:
    return str(text) if len(str(text)) <= 40 else f"{str(text)[:40]}…"


def parse_whole_s(text: str | float) -> int:
    """The same in whole seconds. Raises ValueError with what was expected."""
    seconds = parse_duration_s(text)
    if not seconds.is_integer():
        raise ValueError(f"'{text}' is no whole number of seconds: phases change at whole seconds, write 1s or 90s")
    return int(seconds)


def parse_share(text: str | float) -> float:
    """A share of one from "5%" or a plain number like 0.05."""
    if isinstance(text, str) and text.strip().endswith("%"):
        text, per = text.strip().removesuffix("%"), 100
    else:
        per = 1
    try:
        return float(text) / per
    except ValueError:
        raise ValueError(f"'{text}' is not a share: write it like 5% or 0.05") from None


def parse_days(text: str) -> float:
    """Days of "30d", "12h" or a bare number of days. Raises ValueError with what was expected."""
    compact = text.strip()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(d|h)?", compact)
    if match is None:
        raise ValueError(f"'{text}' is not an age: write it like 30d or 12h")
    return float(match[1]) / (24 if match[2] == "h" else 1)


def parse_rate_per_s(text: str | float) -> float:
    """Requests per second of "200/s", "600/m" or a bare number. Raises ValueError with what was expected."""
    if isinstance(text, int | float):
        return _number(text)
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"'{_shown(text)}' is not a rate: write it like 200/s or 600/m")
    return float(match[1]) / _UNIT_S[match[2] or "s"]


def format_ms(milliseconds: float) -> str:
    """A latency as people write it: "0.4ms", "250ms", "2s"."""
    if milliseconds >= 1000 and milliseconds % 1000 == 0:
        return f"{milliseconds / 1000:g}s"
    return f"{milliseconds:g}ms"
