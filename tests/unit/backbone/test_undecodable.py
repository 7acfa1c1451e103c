"""Owns which lines are taken for records of a newer version, and which for none at all."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from backbone.errors import RecordUndecodable, RecordUnknown
from backbone.undecodable import undecodable
from schemas.codec import decode_line
from schemas.lifecycle import RUN_RECORDS
from schemas.summary import SUMMARY_RECORDS


def error_of(adapter: TypeAdapter[Any], line: bytes) -> RecordUndecodable:  # Any: the records of whatever topic
    with pytest.raises(ValidationError) as caught:
        decode_line(adapter, line)
    return undecodable("runs", caught.value)


@pytest.mark.parametrize("adapter", [RUN_RECORDS, SUMMARY_RECORDS])
def test_a_record_of_a_type_that_came_later_is_known_as_such(adapter: TypeAdapter[Any]) -> None:
    error = error_of(adapter, b'{"type": "RunPaused", "run_id": "1", "pauses": [1, 2]}')
    assert isinstance(error, RecordUnknown)
    assert "RunPaused" in str(error)


@pytest.mark.parametrize("adapter", [RUN_RECORDS, SUMMARY_RECORDS])
@pytest.mark.parametrize("line", [b"{", b"\xff", b"[]", b"{}", b'{"run_id": "1"}'])
def test_what_names_no_type_is_no_record(adapter: TypeAdapter[Any], line: bytes) -> None:
    assert not isinstance(error_of(adapter, line), RecordUnknown)


def test_a_record_of_a_known_type_that_is_wrong_is_no_record() -> None:
    assert not isinstance(error_of(RUN_RECORDS, b'{"type": "RunRequested", "at": "x"}'), RecordUnknown)
