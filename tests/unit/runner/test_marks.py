"""Owns the proof of what a mark says about its second. It must not publish."""

from backbone.maths.sketch import Sketch
from services.runner.marks import MarkBuilder
from services.runner.vitals import Vitals

VITALS = Vitals(cpu_share=0.5, gc_us=7, rss_bytes=1_000)


def test_an_empty_second_has_a_mark_too() -> None:
    mark = MarkBuilder("r", 0).close(4, intended=10, ages_us=[], vitals=VITALS, queue_bytes=0)
    assert (mark.window, mark.intended, mark.started, mark.in_flight, mark.oldest_age_us) == (4, 10, 0, 0, 0)
    assert mark.in_flight_ages == []


def test_a_mark_carries_the_ages_of_what_is_in_flight() -> None:
    ages = [5, 5, 70_000, 3_000_000]
    mark = MarkBuilder("r", 0).close(0, intended=None, ages_us=ages, vitals=VITALS, queue_bytes=0)
    assert (mark.in_flight, mark.oldest_age_us) == (4, 3_000_000)
    assert mark.in_flight_ages == Sketch.of(ages).to_sparse()


def test_a_closed_loop_intends_what_it_started() -> None:
    builder = MarkBuilder("r", 0)
    builder.started = 12
    assert builder.close(0, intended=None, ages_us=[], vitals=VITALS, queue_bytes=0).intended == 12


def test_delays_and_lag_count_for_the_next_mark_only() -> None:
    builder = MarkBuilder("r", 0)
    for delay_us in range(1, 101):
        builder.note_delay(delay_us)
    builder.note_lag(40)
    builder.note_lag(30)
    first, second = (builder.close(window, intended=0, ages_us=[], vitals=VITALS, queue_bytes=0) for window in range(2))
    assert (first.dispatch_delay_p99_us, first.loop_lag_max_us) == (99, 40)
    assert (second.dispatch_delay_p99_us, second.loop_lag_max_us) == (0, 0)
