"""Owns how figures and stretches of time are worded in evidence. It must not know any detector."""

from schemas.diagnosis import Evidence


def ms(value_us: float) -> str:
    """A latency given in microseconds."""
    milliseconds = value_us / 1e3
    if milliseconds >= 10_000:
        return f"{milliseconds / 1e3:.1f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 100 else f"{milliseconds:.3g} ms"


def percent(share: float) -> str:
    """A share of 0..1; small ones keep two digits."""
    value = share * 100
    if value == 0 or value >= 99.95:
        return f"{value:.0f}%"
    return f"{value:.1f}%" if value >= 1 else f"{value:.2g}%"


def plural(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def seconds(first: float, end: float) -> str:
    """The stretch from one second of the run to another."""
    return f"from second {first:g} to {end:g}"


def evidence(detector: str, text: str, compared: str, **figures: object) -> Evidence:
    """An evidence item without its id, which it gets when all are ranked."""
    return Evidence.model_validate({"id": "", "detector": detector, "text": text, "compared": compared, **figures})
