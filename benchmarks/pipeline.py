"""From a runner to committed rows while a run is on, on one machine, on both backbones side by side.

Prints for each backbone: events/s from end to end and CPU of each process per event, how long after a second is closed
its row is there, how long after its end a run is judged, and how fast a log is folded again. Choose with
QUERYSCOPE_BENCHMARK_BACKBONES (embedded,kafka+postgresql), _RATES (events/s), _SECONDS and _RUNS.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backbone.database.engine import Database, open_database
from backbone.log.opening import open_log
from backbone.log.port import Log
from backbone.settings import load_settings
from benchmarks import flow
from benchmarks.backbones import BACKBONES, Backbone, Missing, backbone, cpu_s, worker
from benchmarks.observing import Reading, Rows, folded_of, judged, percentiles_ms
from benchmarks.refolding import refold
from lab.process import LabServer
from lab.settings import TargetSettings
from schemas.topics import OUTCOMES

CHOSEN = os.environ.get("QUERYSCOPE_BENCHMARK_BACKBONES", ",".join(BACKBONES)).split(",")
RATES = [int(rate) for rate in os.environ.get("QUERYSCOPE_BENCHMARK_RATES", "20000,60000").split(",")]
SECONDS = int(os.environ.get("QUERYSCOPE_BENCHMARK_SECONDS", "15"))
RUNS = int(os.environ.get("QUERYSCOPE_BENCHMARK_RUNS", "25"))
WARM_S = 3
CONCURRENCY = 64
WORKERS = 2
SAMPLE_S = 0.5
LATE_S = 120
RUN_EVENTS = 2_000
MAIN, LOAD = "aggregator and the rest", "load process"


def main() -> int:
    """0 when every event was folded."""
    right = True
    for name in CHOSEN:
        try:
            with backbone(name) as standing:
                right = asyncio.run(_measure(standing)) and right
        except Missing as error:
            print(f"{name}: left out: {error}\n", file=sys.stderr)
    return 0 if right else 1


async def _measure(standing: Backbone) -> bool:
    for variable, value in standing.environment.items():
        if variable.startswith("QUERYSCOPE_"):
            os.environ[variable] = value
    settings = load_settings()
    log, database = await open_log(settings.log_url, settings.partitions), await open_database(settings.database_url)
    try:
        bench = _Bench(standing, log, database)
        await bench.whole_run()
        right = [await bench.flow(rate) for rate in RATES]
        await bench.judging()
        await refold(log, standing.name)
        print()
        return all(right)
    finally:
        await log.close()
        await database.close()
        for variable in standing.environment.keys() & {"QUERYSCOPE_LOG_URL", "QUERYSCOPE_DATABASE_URL"}:
            os.environ.pop(variable)


@dataclass(frozen=True, slots=True)
class _Bench:
    """The figures of one backbone, each printed as it is made."""

    standing: Backbone
    log: Log
    database: Database

    async def whole_run(self) -> None:
        """`queryscope run` against the lab's target: everything of ours in its process tree."""
        async with LabServer(TargetSettings(base_ms=0.0)) as target:
            words = ["run", target.url, "-c", str(CONCURRENCY), "-d", f"{SECONDS}s", "--json", "--no-diagnose"]
            command = [sys.executable, "-m", "queryscope", *words]
            process = await asyncio.create_subprocess_exec(
                *command, stdout=subprocess.DEVNULL, env=dict(self.standing.environment)
            )
            processes = {MAIN: process.pid, "target": target.pid, **self.standing.servers}
            before = await self._first(processes)
            last = before
            while process.returncode is None and last.at_s - before.at_s < SECONDS - WARM_S - 2:
                await asyncio.sleep(SAMPLE_S)
                reading = await self._reading(processes)
                if reading.cpu_s[LOAD] < last.cpu_s[LOAD]:
                    break  # the load process has ended
                last = reading
            await process.wait()
        print(f"{self.standing.name}: queryscope run -c {CONCURRENCY} -d {SECONDS}s")
        _print_flow(before, last, others=("target",))

    async def _first(self, processes: Mapping[str, int]) -> Reading:
        """Once the load is on and warm."""
        start = await self.log.ends(OUTCOMES)
        while await self.log.ends(OUTCOMES) == start:  # noqa: ASYNC110  the log has no event to wait for
            await asyncio.sleep(SAMPLE_S)
        await asyncio.sleep(WARM_S)
        return await self._reading(processes)

    async def flow(self, rate: int) -> bool:
        """The publisher's process without a target, the aggregator in one of its own."""
        with worker("aggregator", self.standing.environment) as aggregator:
            words = [str(rate), str(SECONDS), str(WORKERS)]
            command = [sys.executable, "-m", "benchmarks.flow", *words]
            process = await asyncio.create_subprocess_exec(
                *command, stdout=subprocess.PIPE, env=dict(self.standing.environment)
            )
            assert process.stdout is not None
            run_id = flow.run_id_of(await process.stdout.readline())
            rows = asyncio.create_task(Rows(self.database, run_id).watch())
            processes = {"publisher": process.pid, "aggregator": aggregator, **self.standing.servers}
            before = await self._first(processes)
            await asyncio.sleep(SECONDS - WARM_S - 2)
            last = await self._reading(processes)
            line = await process.stdout.readline()
            if await process.wait():
                rows.cancel()
                print(f"{self.standing.name}: {rate:,} events/s: the publisher gave up")
                return False
            report = flow.report_of(line)
            seen = await asyncio.wait_for(rows, LATE_S)
            ends = sum((await self.log.ends(OUTCOMES)).values())
            right = ends == await folded_of(self.database)
        print(f"{self.standing.name}: {rate:,} events/s asked for by {WORKERS} workers")
        _print_flow(before, last)
        late_s = [seen[window] - at_s for window, at_s in enumerate(report.acknowledged_s) if window in seen]
        print(f"  second closed to row committed: {percentiles_ms(late_s)}")
        return right

    async def judging(self) -> None:
        """Short runs, one after the other."""
        late_s = []
        with worker("aggregator", self.standing.environment):
            for _ in range(RUNS):
                run_id = await flow.short_run(self.log, RUN_EVENTS)
                finished_s = time.monotonic()
                late_s.append(await judged(self.database, run_id, LATE_S) - finished_s)
        print(f"{self.standing.name}: run finished to judged: {percentiles_ms(late_s)}")

    async def _reading(self, processes: Mapping[str, int]) -> Reading:
        ends = sum((await self.log.ends(OUTCOMES)).values())
        used = {name: cpu_s(pid) for name, pid in processes.items()}
        if MAIN in used:
            used[LOAD] = used[MAIN] - cpu_s(processes[MAIN], descendants=False)
            used[MAIN] -= used[LOAD]
        return Reading(time.monotonic(), used, ends, await folded_of(self.database))


def _print_flow(before: Reading, last: Reading, others: Sequence[str] = ()) -> None:
    folded, seconds = last.folded - before.folded, last.at_s - before.at_s
    lags = f"lag {before.lag:,} events at first, {last.lag:,} at last"
    print(f"  {folded / seconds:,.0f} events/s published, folded and committed for {seconds:.0f} s, {lags}")
    each = {name: (last.cpu_s[name] - used) / max(folded, 1) * 1e6 for name, used in before.cpu_s.items()}
    ours = sum(us for name, us in each.items() if name not in (*others, "broker", "database"))
    shown = ", ".join(f"{name} {us:.1f}" for name, us in each.items())
    busy = sum(last.cpu_s[name] - used for name, used in before.cpu_s.items()) / seconds
    print(f"  CPU us/event: {shown}; ours {ours:.1f}; {busy:.2f} of {os.cpu_count()} cores in use by all of these")


if __name__ == "__main__":
    sys.exit(main())
