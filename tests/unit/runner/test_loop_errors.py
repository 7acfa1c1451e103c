"""Which errors that reach the event loop end a run: those of our own callbacks, not those of a library's."""

import struct
from collections.abc import Callable

from services.runner.pipe import read_command
from services.runner.worker import is_ours


def raised_by(work: Callable[[], object]) -> Exception:
    try:
        work()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_an_error_within_our_own_code_is_ours() -> None:
    assert is_ours(raised_by(lambda: read_command(b"no command")))


def test_an_error_within_a_library_is_not() -> None:
    assert not is_ours(raised_by(lambda: struct.unpack(">i", b"")))


def test_an_error_without_a_trace_may_be_ours() -> None:
    assert is_ours(ValueError("told by C code"))
    assert is_ours(None)
