"""Owns the bytes of a serialised sketch: LEB128 variable-length integers, alone and in vectors.

Must not know what the integers mean. The bytes are not compressed, since the output of a compressor
may change with its version and equal sketches must have equal bytes on every machine.
"""

import numpy as np
from numpy.typing import NDArray

from backbone.maths.errors import SketchFormatError

_MAX_GROUPS = 9  # of 7 bits: a non-negative int64


def encode_int(value: int) -> bytes:
    """One non-negative integer of any size."""
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def decode_int(data: bytes, position: int) -> tuple[int, int]:
    """The integer that starts at `position`, and the position behind it."""
    value = shift = 0
    while position < len(data):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position
    raise SketchFormatError("sketch ends within a number")


def encode_vector(values: NDArray[np.int64]) -> bytes:
    """Non-negative int64 values, one after the other."""
    if values.size == 0:
        return b""
    groups = max(1, -(-int(values.max()).bit_length() // 7))
    shifts = np.arange(groups, dtype=np.int64) * 7
    rest = values[:, np.newaxis] >> shifts
    more_follow = (rest >> 7) > 0
    wanted = rest > 0
    wanted[:, 0] = True
    return ((rest & 0x7F) | (more_follow.astype(np.int64) << 7))[wanted].astype(np.uint8).tobytes()


def decode_vector(data: bytes, position: int, length: int) -> NDArray[np.int64]:
    """Exactly `length` int64 values that fill `data` from `position` to its end."""
    octets = np.frombuffer(data, dtype=np.uint8, offset=position).astype(np.int64)
    ends = np.flatnonzero(octets < 0x80)
    if ends.size != length or (length > 0 and int(ends[-1]) != octets.size - 1) or (length == 0 and octets.size > 0):
        raise SketchFormatError("sketch does not hold the announced number of buckets")
    if length == 0:
        return np.zeros(0, dtype=np.int64)
    starts = np.concatenate(([0], ends[:-1] + 1))
    sizes = ends - starts + 1
    if int(sizes.max()) > _MAX_GROUPS:
        raise SketchFormatError("sketch holds a number beyond 63 bits")
    places = np.arange(octets.size) - np.repeat(starts, sizes)
    return np.add.reduceat((octets & 0x7F) << (7 * places), starts)
