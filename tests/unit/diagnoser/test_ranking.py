"""How answers become an order of causes, and how that is worded."""

import re
from itertools import permutations

import pytest

from schemas.causes import CAUSE_IDS
from schemas.diagnosis import Evidence
from services.diagnoser.experiments import next_experiment
from services.diagnoser.panel import DETECTORS
from services.diagnoser.rank import Circumstances, rank
from services.diagnoser.report import summary
from services.diagnoser.votes import Vote, innocent, not_enough
from tests.unit.diagnoser.cases import diagnosis_of
from tests.unit.diagnoser.load_simulator import FaultKind, Simulation

ENOUGH = Circumstances(enough=True)


def _item(text: str) -> Evidence:
    return Evidence(id="", detector="d", text=text, compared="a against b")


SLOW = Vote("server_slowdown", "found", "rose", 0.9, 1e-6, (_item("slow by 3"),), alike=("saturation",))
REPLICA = Vote("slow_replica", "found", "mixture", 0.8, 1e-9, (_item("one of 4"),))
QUIET = innocent("error_burst", "no failures", p_value=0.4)


def test_a_cause_that_another_explains_comes_after_it() -> None:
    ranking = rank([SLOW, REPLICA, QUIET], ENOUGH)
    assert [cause.cause for cause in ranking.causes] == ["slow_replica", "server_slowdown"]
    assert ranking.causes[0].supports == ("E1",)


def test_the_order_of_the_answers_does_not_matter() -> None:
    rankings = {repr(rank(votes, ENOUGH)) for votes in permutations([SLOW, REPLICA, QUIET])}
    assert len(rankings) == 1


def test_what_does_not_survive_the_number_of_tests_is_listed_as_innocent_with_its_evidence() -> None:
    weak = Vote("periodic_pause", "found", "regular", 0.6, 0.009, (_item("6 times"),))
    others = [innocent(cause, "no", p_value=0.8) for cause in ("slow_replica", "error_burst", "saturation")]
    ranking = rank([weak, *others], ENOUGH)
    assert ranking.causes[0].cause == "no_fault"
    checked = {item.cause: item for item in ranking.checked}["periodic_pause"]
    assert (checked.outcome, checked.evidence) == ("innocent", ("E1",))


def test_nothing_found_and_nothing_missed_is_no_fault() -> None:
    assert rank([QUIET], ENOUGH).causes[0].cause == "no_fault"


def test_nothing_found_but_a_promise_missed_is_unknown_and_cites_the_promise() -> None:
    ranking = rank([QUIET], Circumstances(enough=True, complaints=("promise missed: p95 < 1ms",)))
    assert (ranking.causes[0].cause, ranking.causes[0].supports) == ("unknown", ("E1",))


def test_too_little_data_is_said_before_no_fault() -> None:
    ranking = rank([not_enough("slow_replica", "short")], Circumstances(enough=False))
    assert ranking.causes[0].cause == "insufficient_data"


def test_causes_that_look_alike_are_less_certain() -> None:
    certain = rank([Vote("server_slowdown", "found", "rose", 0.9, 1e-6, (_item("x"),))], ENOUGH)
    assert rank([SLOW], ENOUGH).causes[0].confidence < certain.causes[0].confidence


@pytest.mark.parametrize("fault", ["periodic_pause", "slow_replica", "error_burst", "saturation", "server_errors"])
def test_every_figure_of_the_summary_stands_in_the_evidence_it_cites(fault: FaultKind) -> None:
    diagnosis = diagnosis_of(Simulation(fault=fault, base_ms=5.0, start_s=2.0))
    by_id = {item.id: item for item in diagnosis.ranking.evidence}
    for sentence in re.split(r"(?<=\.) (?=[A-Z0-9])", diagnosis.summary):
        cited = re.findall(r"E\d+", sentence)
        figures = re.findall(r"(?<![\w.])\d+(?:\.\d+)?", re.sub(r"\[[^\]]*\]", "", sentence))
        if figures:
            assert cited, sentence
        for figure in figures:
            assert any(figure in by_id[item].text for item in cited), (figure, sentence)


def test_evidence_ids_are_unique_and_every_one_is_cited() -> None:
    ranking = diagnosis_of(Simulation(fault="saturation", base_ms=5.0)).ranking
    ids = [item.id for item in ranking.evidence]
    cited = {i for cause in ranking.causes for i in cause.supports + cause.contradicts}
    cited |= {i for item in ranking.checked for i in item.evidence}
    assert len(ids) == len(set(ids))
    assert cited == set(ids)


def test_witnesses_are_outcomes_of_the_run() -> None:
    diagnosis = diagnosis_of(Simulation(fault="server_errors", base_ms=5.0))
    (item,) = [item for item in diagnosis.ranking.evidence if item.detector == "server_errors"]
    assert item.events
    assert all(re.fullmatch(r"0:\d+", event) for event in item.events)


def test_each_detector_votes_for_a_cause_of_the_closed_list() -> None:
    names = [detect.__module__.rsplit(".", 1)[1] for detect in DETECTORS]
    assert set(names) <= set(CAUSE_IDS)
    assert len(set(names)) == len(names)


def test_every_answer_names_what_to_do_next_but_no_fault() -> None:
    for cause in ("unknown", "insufficient_data", *(detect.__module__.rsplit(".", 1)[1] for detect in DETECTORS)):
        assert next_experiment(cause), cause  # type: ignore[arg-type]  # the list of causes is closed: tested above
    assert next_experiment("no_fault") == ""


def test_the_same_ranking_is_worded_the_same() -> None:
    assert summary(rank([SLOW, QUIET], ENOUGH)) == summary(rank([QUIET, SLOW], ENOUGH))
