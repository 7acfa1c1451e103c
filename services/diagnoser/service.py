"""The diagnoser's shell: reads `breaches` and `summaries`, the outcomes they speak of and earlier runs; writes
`diagnoses` and, through the outbox, the topic of that name. It must not know what a cause looks like.

A finished run gets one final diagnosis. A run in which a promise breaks gets a provisional one per promise, of what was
measured up to the second that broke it, so that the same breach always gives the same diagnosis.
"""

import asyncio
import time
from dataclasses import replace

import structlog
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.consumer import OUTAGES, Effect, RecordConsumer
from backbone.database.outbox import Outbox
from backbone.platform import Platform
from backbone.tracing import traced
from backbone.undecodable import undecodable
from backbone.waiting import backoff_s, pause
from backbone.wiring import Wiring
from schemas.base import derived_id
from schemas.breaches import BREACH_RECORDS, PromiseRecord, SlaBreached
from schemas.codec import decode_line
from schemas.diagnosis import DiagnosisReady
from schemas.sla import parse_sla
from schemas.summary import SUMMARY_RECORDS, OutcomeRange, RunSummary
from schemas.topics import BREACHES, DIAGNOSES, OUTCOMES, SUMMARIES
from services.diagnoser.diagnosing import diagnose
from services.diagnoser.errors import OutcomesExpired
from services.diagnoser.facts import Facts, Judged
from services.diagnoser.history import Subject, history_of, judged_of, similar_to, subject_of
from services.diagnoser.panel import RULESET
from services.diagnoser.past import History
from services.diagnoser.reading import read_facts
from services.diagnoser.store import has_diagnosis, put_diagnosis


class DiagnoserService:
    """One member of the group; runs are shared by partition."""

    name = "diagnoser"
    wiring = Wiring(name, reads=(BREACHES, SUMMARIES, OUTCOMES), writes=(DiagnosisReady,))

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._outbox = Outbox(self.name, platform.metrics)
        self._consumer = RecordConsumer(
            platform,
            projection=self.name,
            topics=[BREACHES, SUMMARIES],
            handler=traced(self._handle, platform.tracing, self.name),
            group=self.name,
        )
        self._logger = structlog.get_logger(self.name)

    async def run(self, stop: asyncio.Event) -> None:
        """Consumes until `stop` is set."""
        over = asyncio.Event()
        consuming = asyncio.create_task(self._consumer.run(stop))
        draining = asyncio.create_task(self._drain_until(over))
        try:
            await asyncio.wait((consuming, draining), return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.set()
            if not consuming.done():
                consuming.cancel()
            endings = await asyncio.gather(consuming, draining, return_exceptions=True)
        for ending in endings:
            if isinstance(ending, Exception):
                raise ending

    async def _handle(self, topic: str, line: bytes) -> Effect | None:
        trigger = _trigger_of(topic, line)
        try:
            if isinstance(trigger, RunSummary):
                record = await self._final(trigger)
            else:
                record = await self._provisional(trigger) if isinstance(trigger, SlaBreached) else None
        except OutcomesExpired as error:
            self._logger.warning("run is not diagnosed", reason=str(error))
            return None
        if record is None:
            return None

        async def effect(conn: AsyncConnection) -> None:
            await put_diagnosis(conn, record)
            await self._outbox.add(conn, DIAGNOSES, record)

        return effect

    async def _final(self, summary: RunSummary) -> DiagnosisReady | None:
        async with self._platform.database.read() as conn:
            if await has_diagnosis(conn, _diagnosis_id(summary.run_id, summary.id)):
                return None  # of a summary that came twice, or imported with its run
        subject, history = await _look_up(self._platform, summary.run_id)
        subject = replace(subject, ranges=summary.outcomes, result=summary.result)
        judged = judged_of(summary.result)
        facts = await read_facts(self._platform.log, subject.run_id, subject.load, subject.ranges, judged)
        return await _conclude(subject, facts, history, summary.id, summary.at, final=True)

    async def _provisional(self, breach: SlaBreached) -> DiagnosisReady | None:
        subject, history = await _look_up(self._platform, breach.run_id)
        diagnosis_id = _diagnosis_id(breach.run_id, f"sla-{breach.sla_index}")
        async with self._platform.database.read() as conn:
            known = await has_diagnosis(conn, diagnosis_id)
        if known or subject.over or subject.scenario.load.has_levels:
            return None
        slow = parse_sla(breach.expression).unit != "ratio"
        judged = Judged(breached=(breach.expression,), has_sla=True, slow=slow)
        ranges = await self._so_far(subject)
        facts = await read_facts(self._platform.log, subject.run_id, subject.load, ranges, judged, breach.window)
        if not facts.enough:
            return None
        record = await _conclude(subject, facts, history, breach.id, breach.at, final=False)
        return record.model_copy(update={"id": diagnosis_id})

    async def _so_far(self, subject: Subject) -> tuple[OutcomeRange, ...]:
        ends = await self._platform.log.ends(OUTCOMES)
        return tuple(part.model_copy(update={"next_offset": ends[part.partition]}) for part in subject.ranges)

    async def _drain_until(self, over: asyncio.Event) -> None:
        """Appends what the outbox holds, soon after each diagnosis and once more at the end."""
        outages = 0
        while True:
            last_time = over.is_set()
            try:
                if last_time or self._outbox.is_due(time.monotonic()):
                    await self._outbox.drain(self._platform.database, self._platform.log)
                outages = 0
            except OUTAGES as error:
                outages += 1
                self._logger.warning("diagnoses wait", error=str(error))
            if last_time:
                return
            if outages:
                await pause(over, backoff_s(outages))
            else:
                await self._outbox.rest(over, time.monotonic())


def _trigger_of(topic: str, line: bytes) -> RunSummary | PromiseRecord:
    try:
        return decode_line(SUMMARY_RECORDS, line) if topic == SUMMARIES else decode_line(BREACH_RECORDS, line)
    except ValidationError as error:
        raise undecodable(topic, error) from None


async def diagnose_run(platform: Platform, run_id: str) -> DiagnosisReady:
    """Diagnoses a run anew from the log and stores nothing. Raises RunUnknown, OutcomesExpired, LogUnavailable."""
    subject, history = await _look_up(platform, run_id)
    facts = await read_facts(platform.log, run_id, subject.load, subject.ranges, judged_of(subject.result))
    return await _conclude(subject, facts, history, "asked", subject.requested_at_us, final=subject.over)


async def _look_up(platform: Platform, run_id: str) -> tuple[Subject, History]:
    async with platform.database.read() as conn:
        subject = await subject_of(conn, run_id)
        history = await history_of(conn, subject)
    return subject, replace(history, similar=await similar_to(platform.search, subject))


async def _conclude(
    subject: Subject, facts: Facts, history: History, trigger: str, at: int, *, final: bool
) -> DiagnosisReady:
    diagnosis = await asyncio.to_thread(diagnose, facts, history)
    return DiagnosisReady(
        id=_diagnosis_id(subject.run_id, trigger),
        run_id=subject.run_id,
        at=at,
        trigger=trigger,
        final=final,
        ruleset=RULESET,
        causes=diagnosis.ranking.causes,
        evidence=diagnosis.ranking.evidence,
        checked=diagnosis.ranking.checked,
        summary=diagnosis.summary,
        next_experiment=diagnosis.next_experiment,
        recent_runs=tuple(run.run_id for run in history.recent),
        similar_runs=history.similar,
        inputs_hash=diagnosis.inputs_hash,
        sampled_share=facts.sampled_share,
    )


def _diagnosis_id(run_id: str, trigger: str) -> str:
    return derived_id("diagnosis", run_id, trigger)
