"""Healthy runs with the noise of real machines: slow waves, hiccups, occasional errors. At most 1 % may be blamed."""

import numpy as np

from services.diagnoser.columns import NO_ERROR, Columns
from services.diagnoser.diagnosing import diagnose
from services.diagnoser.facts import Facts, Floats, Judged, LoadFacts
from services.diagnoser.fold import FactsBuilder
from services.diagnoser.past import NO_HISTORY, History
from tests.unit.diagnoser.cases import past_of

USERS = 10
DURATION_US = 10_000_000
RUNS = 200
RHOS = (0.0, 0.7, 0.95)
NOISE = 0.1


def _wave(random: np.random.Generator, rho: float, sigma: float) -> Floats:
    """Slow noise shared by all connections: AR(1) in steps of 50 ms."""
    steps = random.normal(0.0, sigma * np.sqrt(1 - rho**2), DURATION_US // 50_000 + 1)
    wave = np.empty_like(steps)
    level = random.normal(0.0, sigma)
    for place, step in enumerate(steps):
        level = rho * level + step
        wave[place] = level
    return wave


def _healthy(seed: int, rho: float, sigma: float) -> Facts:
    """A closed loop in which each latency is drawn by itself, on top of a slow wave and one hiccup of the machine."""
    random = np.random.default_rng(seed)
    wave = _wave(random, rho, sigma)
    mean_us = 10_000.0
    expected = int(DURATION_US / mean_us * 1.5)
    started, latency = [], []
    hiccup_us = random.uniform(0, DURATION_US)
    for _ in range(USERS):
        raw = mean_us * np.exp(random.normal(0.0, 0.25, expected))
        ends = np.cumsum(raw)
        level = wave[np.minimum((ends / 50_000).astype(int), wave.size - 1)]
        service = raw * np.exp(level)
        ends = np.cumsum(service)
        late = int(np.searchsorted(ends, hiccup_us))
        service[min(late, expected - 1)] += 120_000.0
        ends = np.cumsum(service)
        kept = ends < DURATION_US
        started.append((ends - service)[kept])
        latency.append(service[kept])
    return _facts(random, started, latency)


def _facts(random: np.random.Generator, started: list[Floats], latency: list[Floats]) -> Facts:
    begin = np.concatenate(started).astype(np.int64)
    finished = (np.concatenate(started) + np.concatenate(latency)).astype(np.int64)
    users = np.concatenate([np.full(part.size, user) for user, part in enumerate(started)]).astype(np.int64)
    failed = random.random(begin.size) < 0.0005
    order = np.argsort(finished, kind="stable")
    zeros = np.zeros(begin.size, dtype=np.int64)
    columns = Columns(
        worker=zeros, seq=np.arange(begin.size), scheduled=begin[order], started=begin[order], sent=begin[order],
        finished=finished[order], status=np.where(failed, 503, 200), error=zeros + NO_ERROR, connection=users[order],
        in_flight=zeros + USERS, remote=zeros, dns=zeros - 1, connect=zeros - 1, tls=zeros - 1, accepted=zeros > 0,
        remotes={0: "127.0.0.1:80"},
    )  # fmt: skip
    builder = FactsBuilder(LoadFacts(USERS))
    builder.add(columns)
    return builder.build(Judged())


def test_noise_alone_is_blamed_in_at_most_one_run_of_a_hundred() -> None:
    alarms = []
    references = {rho: past_of(_healthy(10_000, rho, NOISE)) for rho in RHOS}
    for seed in range(RUNS):
        rho = RHOS[seed % len(RHOS)]
        history = History(recent=(references[rho],)) if seed % 2 else NO_HISTORY
        diagnosis = diagnose(_healthy(seed, rho, NOISE), history)
        if diagnosis.ranking.causes[0].cause != "no_fault":
            alarms.append(diagnosis.summary)
    assert len(alarms) <= RUNS // 100, alarms
