"""Owns how long an answer asks to wait: in seconds, or until an instant on the server's own clock."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.runner.response_head import read_head

NOW = datetime(1994, 11, 6, 8, 49, 7, tzinfo=UTC)


def asked_ms(retry_after: str, date: str | None = format_datetime(NOW, usegmt=True)) -> int | None:
    told = "" if date is None else f"Date: {date}\r\n"
    return read_head(f"HTTP/1.1 503 Busy\r\n{told}Retry-After: {retry_after}\r\n\r\n".encode()).retry_after_ms


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [
        ("30", 30_000),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 30_000),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 30_000),
        ("Sun Nov  6 08:49:37 1994", 30_000),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("soon", None),
        ("-5", None),
        ("\u00b2".encode("latin-1").decode("latin-1"), None),
        ("", None),
    ],
)
def test_all_forms_of_an_instant_are_understood_and_nothing_else(retry_after: str, expected: int | None) -> None:
    assert asked_ms(retry_after) == expected


def test_an_instant_means_nothing_where_the_server_does_not_tell_its_time() -> None:
    assert asked_ms("Sun, 06 Nov 1994 08:49:37 GMT", date=None) is None
    assert asked_ms("30", date=None) == 30_000


@settings(deadline=None)
@given(st.integers(-(10**7), 10**7))
def test_an_instant_is_so_many_seconds_from_the_servers_now(seconds: int) -> None:
    assert asked_ms(format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)) == max(seconds, 0) * 1000


@settings(deadline=None)
@given(
    st.text(st.characters(min_codepoint=32, max_codepoint=126)),
    st.text(st.characters(min_codepoint=32, max_codepoint=126)),
)
def test_no_header_breaks_the_reading(retry_after: str, date: str) -> None:
    found = asked_ms(retry_after, date)
    assert found is None or found >= 0
