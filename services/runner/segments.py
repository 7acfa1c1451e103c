"""Owns pieces of a request: bytes that are always the same, and blanks that are filled in. It must not know HTTP."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.runner.errors import RenderFailed
from services.runner.sandbox import Text, Values


@dataclass(frozen=True, slots=True)
class Blank:
    """Bytes made of values. names: of which. fill raises RenderFailed."""

    names: frozenset[str]
    fill: Callable[[Values], bytes]


Segment = bytes | Blank


def blank(text: Text, encode: Callable[[str], bytes]) -> Segment:
    """What `encode` makes of the text; made at once where nothing is to be filled in."""

    def fill(values: Values) -> bytes:
        try:
            return encode(text.fill(values))
        except UnicodeEncodeError:
            raise RenderFailed(f"'{text.source[:80]}' comes to half of a surrogate pair, which is no text") from None

    return Blank(text.names, fill) if text.names else fill({})


def settled(segments: Sequence[Segment], known: Values) -> Sequence[Segment]:
    """With all blanks filled in that these values suffice for, and neighbouring bytes joined."""
    joined: list[Segment] = []
    for segment in segments:
        done = segment if isinstance(segment, bytes) or not segment.names <= known.keys() else segment.fill(known)
        if isinstance(done, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += done
        elif done != b"":
            joined.append(done)
    return joined


def filled(segments: Sequence[Segment], values: Values) -> bytes:
    """All of it. Raises RenderFailed."""
    return b"".join([each if isinstance(each, bytes) else each.fill(values) for each in segments])
