"""Owns the chances of a run: numbers that look random and are the same whenever the same place is asked for."""

import hashlib

_WHOLE = 1 << 64


def fraction(seed: str, *place: str | int) -> float:
    """At least 0, below 1; independent for each place, whichever worker asks and when."""
    text = "\x1f".join(map(str, (seed, *place)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / _WHOLE
