"""Owns the worker process: one run's load in a loop of its own, ruled by lines on stdin, reporting by lines on stdout.

It must not write control records or judge. When stdin closes or the parent dies it dies at once: what the log has
acknowledged stays, and the run is found lost.
"""

import asyncio
import ctypes
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import uvloop

from backbone.errors import BackboneError
from backbone.log.errors import LogError
from backbone.log.opening import open_log
from schemas.scenario import Scenario
from services.runner.body_connection import KeepingConnection
from services.runner.dialer import Dialer
from services.runner.engine import Engine
from services.runner.errors import RunnerError, TargetSilent
from services.runner.file_limit import raise_file_limit
from services.runner.journey import script_of
from services.runner.journey_engine import JourneyEngine
from services.runner.pipe import (
    Assignment,
    Broken,
    ChangeRate,
    Command,
    Finished,
    Progress,
    Ready,
    Report,
    RunLevel,
    Start,
    Stop,
    read_assignment,
    read_command,
    to_line,
)
from services.runner.plan import Ending, EnginePlan, Tally
from services.runner.preparing import Prepared, known_values, prepare
from services.runner.publisher import Publisher
from services.runner.recorded import trace_of
from services.runner.request import Endpoint
from services.runner.setup import performed
from services.runner.sharding import Share
from services.runner.spool import Spool
from services.runner.step_templates import literals_of
from services.runner.traces import Trace
from services.runner.transports import dialer_for

SWITCH_INTERVAL_S = 0.0005
GC_THRESHOLDS = (20_000, 10, 10)
_PR_SET_PDEATHSIG = 1
_PARENT_GONE = 3
_OURS = ("services.", "__main__")


def main() -> int:
    """Exit status 0 once `finished` or `broken` has been reported."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides what to do
    raise_file_limit()
    sys.setswitchinterval(SWITCH_INTERVAL_S)  # the log's threads must not hold the loop up for the default 5 ms
    line = sys.stdin.buffer.readline()
    if not line:
        return _PARENT_GONE
    uvloop.run(_work(read_assignment(line)))
    return 0


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _report(report: Report) -> None:
    try:
        sys.stdout.buffer.write(to_line(report))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os._exit(_PARENT_GONE)


async def _work(assignment: Assignment) -> None:
    work = _Work(assignment)
    threading.Thread(target=_read_commands, args=(asyncio.get_running_loop(), work.obey), daemon=True).start()
    try:
        _report(await work.run())
    except (RunnerError, BackboneError, LogError) as error:
        _report(Broken(str(error)))


def _read_commands(loop: asyncio.AbstractEventLoop, obey: Callable[[Command], None]) -> None:
    for line in sys.stdin.buffer:
        loop.call_soon_threadsafe(obey, read_command(line))
    os._exit(_PARENT_GONE)


class _Work:
    """One assignment from ready to finished."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._scenario = Scenario.model_validate_json(assignment.scenario)
        self._t0_ns: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._engine: Engine | None = None
        self._stop: Stop | None = None
        self._changes: list[ChangeRate | RunLevel] = []

    def obey(self, command: Command) -> None:
        match command:
            case Start(t0_ns):
                if not self._t0_ns.done():
                    self._t0_ns.set_result(t0_ns)
            case Stop():
                self._halt(command)
            case ChangeRate() | RunLevel():
                self._changes.append(command)
                if self._engine is not None:
                    _change(self._engine, command)

    async def run(self) -> Finished:
        assignment = self._assignment
        log = await open_log(assignment.log_url, assignment.partitions)
        spool = Spool(Path(assignment.spool_dir), assignment.spool_bytes) if assignment.spool_bytes else None
        publisher = Publisher(
            log, assignment.partition, on_failure=lambda failure: self._halt(Stop("failed", str(failure))), spool=spool
        )
        dialer = dialer_for(self._scenario, assignment.policy)
        ready = await self._prepared()
        plan = self._plan(ready, await trace_of(self._scenario.load, log))
        _settle_collector()
        _report(Ready(os.getpid()))
        self._engine = engine = self._make_engine(plan, ready, dialer, publisher, await self._t0_ns)
        for change in self._changes:
            _change(engine, change)
        asyncio.get_running_loop().set_exception_handler(self._on_loop_error)
        if self._stop is not None:
            engine.stop(self._stop.reason, self._stop.detail)
        delivery = asyncio.create_task(publisher.run())
        ending = await engine.run()
        await publisher.drain()
        await publisher.put_last(engine.final_mark(ending, publisher.unacknowledged))
        publisher.close()
        await delivery
        await log.close()
        return _finished(ending, publisher)

    async def _prepared(self) -> Prepared:
        """Whatever is wrong is found here; a target that does not answer ends the load as soon as it begins."""
        scenario, run_id = self._scenario, self._assignment.run_id
        values = known_values(scenario, self._assignment.worker, os.environ)
        if scenario.setup:
            dialer = dialer_for(scenario, self._assignment.policy, kind=KeepingConnection)
            try:
                values = await performed(scenario, dialer, values, run_id)
            except TargetSilent as silence:
                self._halt(Stop("target_dead", str(silence)))
        return prepare(scenario, run_id, values)

    def _make_engine(
        self, plan: EnginePlan, ready: Prepared, dialer: Dialer, publisher: Publisher, t0_ns: int
    ) -> Engine:
        script = script_of(self._scenario, plan.run_id, ready.pools, ready.values, ready.feeds)
        if script is None:
            return Engine(plan, dialer, publisher, t0_ns=t0_ns, on_window=_report_progress)
        return JourneyEngine(
            plan, script, dialer, publisher, t0_ns=t0_ns, on_window=_report_progress, dialer_to=self._dialer_to
        )

    def _halt(self, stop: Stop) -> None:
        self._stop = self._stop or stop
        if self._engine is not None:
            self._engine.stop(stop.reason, stop.detail)

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
        """An error in a callback of ours would leave its request open for ever: the run ends instead and says so."""
        if "future" in context or "task" in context:
            return  # a result that nobody fetched: whoever asked has given up on it
        if not is_ours(context.get("exception")):
            return  # that of a library which lost its connection, say: what it was to do fails or is tried again
        self._halt(Stop("failed", f"the engine failed: {context.get('message')}: {context.get('exception')!r}"))

    def _dialer_to(self, endpoint: Endpoint) -> Dialer:
        return dialer_for(self._scenario, self._assignment.policy, endpoint)

    def _plan(self, ready: Prepared, trace: Trace | None) -> EnginePlan:
        scenario = self._scenario
        return EnginePlan(
            run_id=self._assignment.run_id,
            worker=self._assignment.worker,
            requests=literals_of(ready.pools),
            weights=[step.weight for step in scenario.steps],
            load=scenario.load,
            timeouts=scenario.timeouts,
            share=Share(self._assignment.worker, self._assignment.workers),
            trace=trace,
            limits_s={step.name: step.timeout_s for step in scenario.steps if step.timeout_s is not None},
        )


def _change(engine: Engine, command: ChangeRate | RunLevel) -> None:
    if isinstance(command, RunLevel):
        engine.run_level(command)
    else:
        engine.change_rate(command.at_us, command.rate_per_s)


def is_ours(error: object) -> bool:
    """Whether code of ours was being run; an error without a trace may be."""
    trace = getattr(error, "__traceback__", None)
    return trace is None or any(
        str(frame.f_globals.get("__name__")).startswith(_OURS) for frame, _ in traceback.walk_tb(trace)
    )


def _settle_collector() -> None:
    """What is there now stays; from here on only real growth makes the collector run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _report_progress(tally: Tally) -> None:
    _report(Progress(tally.window, tally.started, tally.finished, tally.failed, tally.in_flight))


def _finished(ending: Ending, publisher: Publisher) -> Finished:
    return Finished(ending.reason, ending.detail, publisher.acknowledged, publisher.unacknowledged)


if __name__ == "__main__":
    os._exit(main())  # all is written and closed; an ordinary exit dies of the thread that still reads stdin
