"""Owns that what is brought of a partition is handed on without a gap that the log does not have."""

from types import SimpleNamespace
from typing import cast

from aiokafka import ConsumerRecord

from backbone.log.kafka_shell import Inbox


def put(inbox: Inbox, *offsets: int, value: bytes | None = b"{}") -> None:
    for offset in offsets:
        inbox.put(cast("ConsumerRecord[bytes, bytes | None]", SimpleNamespace(offset=offset, value=value)))


def test_records_come_out_in_order_and_the_next_one_is_known() -> None:
    inbox = Inbox(5, 5)
    put(inbox, 5, 6, 7)
    assert (list(inbox.take(2)), inbox.next) == ([5, 6], 7)
    assert (list(inbox.take(2)), inbox.next, inbox.whole) == ([7], 8, True)


def test_what_comes_again_is_dropped() -> None:
    inbox = Inbox(5, 5)
    put(inbox, 3, 4, 5, 5, 6)
    assert list(inbox.take(9)) == [5, 6]


def test_a_record_from_further_on_is_doubted() -> None:
    inbox = Inbox(5, 5)
    put(inbox, 9)  # compacted between, or fetched before the seek to 5
    assert not inbox.whole


def test_a_tombstone_is_passed_over() -> None:
    inbox = Inbox(5, 5)
    put(inbox, 5, value=None)
    put(inbox, 6)
    assert (list(inbox.take(9)), inbox.whole) == ([6], True)
